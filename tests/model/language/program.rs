//! Random projections: what they do, as data, and the YAML that says the same.
//!
//! Comes in: a seed's chance. Goes out: a [`Program`], and its text. All are over one schema; none is refused by `check`.

use fastrand::Rng;

use super::blind;
use super::copy::{Copy, copies};
use super::reference::MOMENTS;

/// Every form of a column; `at` is set by `always`, `total` computed, `ids` and `last` remember events. What a program
/// adds stands at the words in capitals.
const SCHEMA: &str = r#"
scalar Long
scalar DateTime
type Query {
  row(p: ID!, id: ID!): Row @read
READS}
type Row
  @key(fields: "p id")
  @table(name: "rows", partition: "p", clustering: "id", rows: 1000)
TABLES{
  p: ID!
  id: ID!
  n: Int!
  a: IntEQUALS
  word: String!
  first: String
  at: String
  total: Int
  tags: [String!]! @column(as: SET, max: 4)CONTAINS
  log: [String!]! @column(as: LIST, max: 5)
  parts: [Part!]! @column(as: MAP, key: "name", max: 3)
  items: [Item!]! @column(as: LIST, max: 4)
  address: Address
  ids: [String!]! @column(as: LIST, max: 3, hidden: true)
  last: Long @column(hidden: true)
  moment: DateTime!
}
type Part @udt { name: String!  count: Int!  remark: String }
type Item @udt { k: String!  n: Int! }
type Address @udt { city: String!  zip: Int }
"#;

/// Event types that are handled; `Seen` is ignored, `Odd` unknown.
pub const TYPES: [&str; 5] = ["T0", "T1", "T2", "T3", "T4"];

#[derive(Clone, Debug)]
pub struct Program {
    /// Kind C: two topics of two partitions each, merged by time.
    pub is_merged: bool,
    pub remembers: bool,
    pub sequence: Option<Sequence>,
    pub unknown_parks: bool,
    pub when: Option<When>,
    pub always: bool,
    pub computes: bool,
    pub assert_below: Option<i64>,
    /// `T0` had `num` for `n` and no `a`; `T1` was split into itself and a `T2` of each item.
    pub upcasts: bool,
    pub rules: Vec<Rule>,
    /// The tables beside the base table; never empty.
    pub copies: Vec<Copy>,
    /// `a` and `tags` are found by indexes too.
    pub indexes: bool,
    /// Kind A: upserts from the event alone.
    pub is_blind: bool,
}

#[derive(Clone, Debug)]
pub struct Sequence {
    pub first: Option<i64>,
    pub accepts_gaps: bool,
    pub repeat_parks: bool,
}

/// What an event type does.
#[derive(Clone, Debug)]
pub struct Rule {
    pub rows: Rows,
    pub cases: Vec<Case>,
}

/// Which rows it concerns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rows {
    Own,
    Two,
    Each,
    Range,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub when: Option<When>,
    pub verb: Verb,
    pub parks_missing: bool,
    pub initially: Vec<Set>,
    pub sets: Vec<Set>,
    pub once: bool,
    pub removes: Vec<Remove>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    Above(i64),
    Few(i64),
    Big,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Create,
    Update,
    Upsert,
    Replace,
    Delete,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Num {
    Event,
    More,
    Let,
    Const(i64),
    /// Only where the row is surely there.
    RowMore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Set {
    N(Num),
    A,
    Word,
    Tag,
    Tags,
    /// The record's id, or a word of the event; how many are kept.
    Log(bool, Option<usize>),
    Part,
    PartCount,
    Items,
    Address,
    Zip,
    Moment,
    /// As `Word` and `Moment`, with a value where the event has none.
    WordOr,
    MomentOr,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Remove {
    Tag,
    Log,
    Part,
}

impl Program {
    pub fn draw(rng: &mut Rng) -> Program {
        let is_merged = rng.u32(0..3) == 0;
        let mut program = Program {
            is_merged,
            remembers: rng.u32(0..3) == 0,
            sequence: (rng.u32(0..5) == 0).then(|| Sequence {
                first: rng.bool().then_some(1),
                accepts_gaps: rng.u32(0..3) > 0,
                repeat_parks: rng.u32(0..3) == 0,
            }),
            unknown_parks: rng.bool(),
            when: (rng.u32(0..6) == 0).then_some(When::Few(6)),
            always: rng.bool(),
            computes: rng.bool(),
            assert_below: (rng.u32(0..3) == 0).then_some(12),
            upcasts: rng.bool(),
            rules: (0..TYPES.len()).map(|index| rule(rng, index)).collect(),
            copies: copies(rng),
            indexes: rng.u32(0..4) == 0,
            is_blind: false,
        };
        if !is_merged && rng.u32(0..8) == 0 {
            blind::make(rng, &mut program);
        }
        program
    }

    /// The same where what it refuses by a rule of its own is taken: nothing that it applies comes to something else.
    pub fn mended(&self) -> Program {
        let mut mended = Program { assert_below: None, ..self.clone() };
        if let Some(sequence) = &mut mended.sequence {
            (sequence.accepts_gaps, sequence.repeat_parks) = (true, false);
        }
        mended.rules.iter_mut().flat_map(|rule| &mut rule.cases).for_each(|case| case.parks_missing = false);
        mended
    }

    /// The file of the schema.
    pub fn schema(&self) -> String {
        let tables: String = self.copies.iter().map(|copy| copy.table()).collect();
        let reads: String = self.copies.iter().map(|copy| copy.read()).collect();
        let index = |ops: &str| match self.indexes {
            true => format!(r#" @index(table: "rows", ops: [{ops}])"#),
            false => String::new(),
        };
        let text = SCHEMA.replace("READS", &reads).replace("TABLES", &tables);
        text.replace("EQUALS", &index("EQ")).replace("CONTAINS", &index("CONTAINS"))
    }

    /// The file of the projection.
    pub fn text(&self) -> String {
        let topics = if self.is_merged { &["a", "b"][..] } else { &["a"] };
        let mut text = String::from("projection: rows\ninto: Row\nfrom:\n");
        for topic in topics {
            text.push_str(&format!(
                "  - {{ topic: {topic}, format: json, type: event.type, version: event.v{} }}\n",
                self.from()
            ));
        }
        text.push_str("key: { p: event.p, id: event.id }\n");
        text.push_str(if self.is_merged { "order: time\n" } else { "" });
        text.push_str(if self.unknown_parks { "unknown: park\n" } else { "unknown: ignore\n" });
        text.push_str("let: { more: event.n + 1, big: event.n > 3 }\n");
        if let Some(when) = self.when {
            text.push_str(&format!("when: {}\n", when.text()));
        }
        if self.upcasts {
            text.push_str("upcast:\n  T0: { 1: { rename: { num: n }, default: { a: 7 } } }\n");
            if self.splits() {
                text.push_str("  T1: { 1: { split: [{ type: T1, drop: [items] }, { type: T2, each: items, as: item }] } }\n");
            }
        }
        text.push_str(if self.always { "always: { at: event.word }\n" } else { "" });
        text.push_str(if self.computes { "compute: { total: row.n + 1 }\n" } else { "" });
        if let Some(bound) = self.assert_below {
            text.push_str(&format!("assert: {{ few: row.n < {bound} }}\n"));
        }
        text.push_str("events:\n  Seen: ignore\n");
        for (name, rule) in TYPES.iter().zip(&self.rules) {
            text.push_str(&format!("  {name}:\n"));
            for (index, case) in rule.cases.iter().enumerate() {
                text.push_str(&format!(
                    "    - {{ {}{} }}\n",
                    if index == 0 { rule.rows.text() } else { "" },
                    case.text(rule.rows)
                ));
            }
        }
        text
    }

    /// Whether the old `T1` is split: a piece cannot delete a range.
    pub fn splits(&self) -> bool {
        self.upcasts && self.rules[1].rows != Rows::Range && self.rules[2].rows != Rows::Range
    }

    fn from(&self) -> String {
        let mut text = String::new();
        text.push_str(if self.is_merged { "" } else { ", recordKey: event.p" });
        text.push_str(if self.remembers { ", id: event.eid, remember: ids" } else { "" });
        if let Some(Sequence { first, accepts_gaps, repeat_parks }) = &self.sequence {
            let first = first.map(|first| format!(", first: {first}")).unwrap_or_default();
            let gap = if *accepts_gaps { "accept" } else { "park" };
            let repeat = if *repeat_parks { "park" } else { "ignore" };
            text.push_str(&format!(
                ", sequence: {{ number: event.seq, in: last{first}, gap: {gap}, repeat: {repeat} }}"
            ));
        }
        text
    }
}

impl Rows {
    fn text(self) -> &'static str {
        match self {
            Rows::Own => "",
            Rows::Two => "key: [{ p: event.p, id: event.id }, { p: event.p, id: event.other }], ",
            Rows::Each => "each: event.list, as: one, key: { p: event.p, id: one }, ",
            Rows::Range => "key: { p: event.p }, ",
        }
    }
}

impl When {
    fn text(self) -> String {
        match self {
            When::Above(bound) => format!("event.n > {bound}"),
            When::Few(bound) => format!("row.?n.orValue(0) < {bound}"),
            When::Big => "big".to_owned(),
            When::Absent => "row == null".to_owned(),
        }
    }
}

impl Case {
    fn text(&self, rows: Rows) -> String {
        let mut keys = Vec::new();
        keys.extend(self.when.map(|when| format!("when: {}", quoted(&when.text()))));
        if self.parks_missing {
            keys.push("missing: park".to_owned());
        }
        if !self.initially.is_empty() {
            keys.push(format!("initially: {}", sets(&self.initially)));
        }
        keys.extend(match self.verb {
            Verb::Create => Some(format!("create: {}", sets(&self.sets))),
            Verb::Update => Some(format!("update: {}", sets(&self.sets))),
            Verb::Upsert => Some(format!("upsert: {}", sets(&self.sets))),
            Verb::Replace => Some(format!("replace: {}", sets(&self.sets))),
            Verb::Delete if rows == Rows::Range => Some("delete: rows".to_owned()),
            Verb::Delete => Some("delete: row".to_owned()),
            Verb::Remove => None,
        });
        if self.once {
            keys.push("once: { first: event.word }".to_owned());
        }
        if !self.removes.is_empty() {
            let paths: Vec<&str> = self.removes.iter().map(|remove| remove.text()).collect();
            keys.push(format!("remove: [{}]", paths.join(", ")));
        }
        keys.join(", ")
    }
}

impl Remove {
    fn text(self) -> &'static str {
        match self {
            Remove::Tag => "'tags[event.word]'",
            Remove::Log => "'log[event.word]'",
            Remove::Part => "'parts[event.k]'",
        }
    }
}

impl Set {
    /// Of the sets of one case only one may have each of these.
    fn column(self) -> &'static str {
        match self {
            Set::N(_) => "n",
            Set::A => "a",
            Set::Word | Set::WordOr => "word",
            Set::Tag | Set::Tags => "tags",
            Set::Log(..) => "log",
            Set::Part | Set::PartCount => "parts",
            Set::Items => "items",
            Set::Address | Set::Zip => "address",
            Set::Moment | Set::MomentOr => "moment",
        }
    }

    fn text(self) -> String {
        match self {
            Set::N(Num::Event) => "n: event.n".to_owned(),
            Set::N(Num::More) => "n: row.?n.orValue(0) + event.n".to_owned(),
            Set::N(Num::Let) => "n: more".to_owned(),
            Set::N(Num::Const(number)) => format!("n: {number}"),
            Set::N(Num::RowMore) => "n: row.n + event.n".to_owned(),
            Set::A => "a: event.a".to_owned(),
            Set::Word => "word: event.word".to_owned(),
            Set::Tag => "tags: { add: event.word }".to_owned(),
            Set::Tags => "tags: { addAll: event.list }".to_owned(),
            Set::Log(by_id, keep) => {
                let keep = keep.map(|keep| format!(", keep: {keep}")).unwrap_or_default();
                format!("log: {{ append: {}{keep} }}", if by_id { "record.id" } else { "event.word" })
            }
            Set::Part => {
                "'parts[event.k]': { count: old.?count.orValue(0) + event.n, remark: event.word }".to_owned()
            }
            Set::PartCount => "'parts[event.k].count': old.count + event.n".to_owned(),
            Set::Items => "items: { each: event.items, as: i, set: { k: i.k, n: i.n } }".to_owned(),
            Set::Address => "address: { city: event.word, zip: event.a }".to_owned(),
            Set::Zip => "address.zip: event.a".to_owned(),
            Set::Moment => "moment: event.moment".to_owned(),
            Set::WordOr => "word: event.?word.orValue('none')".to_owned(),
            Set::MomentOr => format!("moment: event.?moment.orValue(timestamp('{}'))", MOMENTS[3].0),
        }
    }
}

fn sets(sets: &[Set]) -> String {
    let texts: Vec<String> = sets.iter().map(|set| set.text()).collect();
    format!("{{ {} }}", texts.join(", "))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn rule(rng: &mut Rng, index: usize) -> Rule {
    let rows = match rng.u32(0..8) {
        0 => Rows::Two,
        1 => Rows::Each,
        2 if index > 2 => Rows::Range,
        _ => Rows::Own,
    };
    if rows == Rows::Range {
        let when = rng.bool().then_some(When::Few(4));
        return Rule { rows, cases: vec![Case { when, ..blank(Verb::Delete) }] };
    }
    // The first types mostly make rows, so that the others find some.
    let count = rng.usize(1..3);
    let cases = (0..count).map(|at| case(rng, index, at + 1 < count)).collect();
    Rule { rows, cases }
}

pub fn blank(verb: Verb) -> Case {
    let nothing = Vec::new;
    Case {
        when: None,
        verb,
        parks_missing: false,
        initially: nothing(),
        sets: nothing(),
        once: false,
        removes: Vec::new(),
    }
}

fn case(rng: &mut Rng, index: usize, must_choose: bool) -> Case {
    let verb = match (index, rng.u32(0..10)) {
        (0 | 1, 0..6) | (_, 0) => Verb::Upsert,
        (0 | 1, 6..8) | (_, 1) => Verb::Create,
        (0 | 1, 8) | (_, 2) => Verb::Replace,
        (_, 3) => Verb::Delete,
        (_, 4) => Verb::Remove,
        _ => Verb::Update,
    };
    let mut case = blank(verb);
    if must_choose || rng.u32(0..4) == 0 {
        let whens = [When::Above(rng.i64(0..4)), When::Few(rng.i64(1..8)), When::Big, When::Absent];
        case.when = Some(whens[rng.usize(0..whens.len())]);
    }
    case.parks_missing = matches!(verb, Verb::Update | Verb::Delete | Verb::Remove) && rng.u32(0..6) == 0;
    if verb != Verb::Delete && verb != Verb::Remove {
        fill(rng, &mut case);
    }
    if matches!(verb, Verb::Create | Verb::Update | Verb::Upsert) {
        case.once = rng.u32(0..3) == 0;
    }
    if verb == Verb::Remove || matches!(verb, Verb::Update | Verb::Upsert) && rng.u32(0..4) == 0 {
        let all = [Remove::Tag, Remove::Log, Remove::Part];
        case.removes = all.into_iter().filter(|_| rng.bool()).collect();
        if case.removes.is_empty() {
            case.removes.push(Remove::Part);
        }
    }
    case
}

fn fill(rng: &mut Rng, case: &mut Case) {
    let makes = case.verb != Verb::Update;
    let mut nums = vec![Num::Event, Num::More, Num::Let, Num::Const(rng.i64(0..5))];
    nums.extend((!makes).then_some(Num::RowMore));
    let number = Set::N(nums[rng.usize(0..nums.len())]);
    if case.verb == Verb::Upsert && rng.bool() {
        case.initially.push(Set::N(Num::Const(rng.i64(0..3))));
        case.initially.extend(rng.bool().then_some(Set::Word));
        case.initially.extend(rng.bool().then_some(Set::Log(false, None)));
        case.initially.extend((rng.u32(0..3) == 0).then_some(Set::Part));
    }
    let named = |set: Set| case.initially.iter().any(|known| known.column() == set.column());
    let mut sets = Vec::new();
    for must in [number, Set::Word, Set::Moment] {
        if makes && !named(must) || rng.u32(0..3) == 0 {
            sets.push(must);
        }
    }
    let keep = rng.bool().then(|| rng.usize(1..4));
    let made_before = named(Set::Part);
    let mut others = vec![
        Set::A,
        Set::Tag,
        Set::Tags,
        Set::Log(rng.bool(), keep),
        Set::Part,
        Set::PartCount,
        Set::Items,
        Set::Address,
        Set::Zip,
    ];
    others.retain(|set| !(made_before && *set == Set::PartCount));
    rng.shuffle(&mut others);
    for set in others.into_iter().take(rng.usize(0..5)) {
        if !sets.iter().any(|known: &Set| known.column() == set.column()) {
            sets.push(set);
        }
    }
    case.sets = sets;
}
