//! What a [`Program`] makes of a log: by its meaning as the documentation has it, one record at a time, every row cloned.
//!
//! Comes in: a program and records in the order in which they count. Goes out: rows, and what waits for each parked key.
//! Nothing of the engine is called; [`Mutant`]s are deliberate faults, to show that the logs would tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::program::{Case, Num, Program, Remove, Rows, Set, TYPES, Verb, When};

/// A record as the log has it.
#[derive(Clone, Debug)]
pub struct Given {
    pub topic: &'static str,
    pub partition: u32,
    pub time_ms: i64,
    pub key: String,
    pub value: Json,
    /// `topic:partition@offset`
    pub position: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub n: Option<i64>,
    pub a: Option<i64>,
    pub word: Option<String>,
    pub first: Option<String>,
    pub at: Option<String>,
    pub total: Option<i64>,
    pub tags: BTreeSet<String>,
    pub log: Vec<String>,
    pub parts: BTreeMap<String, (i64, Option<String>)>,
    pub items: Vec<(String, i64)>,
    pub address: Option<(String, Option<i64>)>,
    pub ids: Vec<String>,
    pub last: Option<i64>,
    pub moment: Option<i64>,
}

/// The times that events carry, with milliseconds since 1970: two of one day, the next month an hour later.
pub const MOMENTS: [(&str, i64); 4] = [
    ("2026-01-31T10:00:00Z", 1_769_853_600_000),
    ("2026-01-31T23:30:00Z", 1_769_902_200_000),
    ("2026-02-01T00:15:00Z", 1_769_904_900_000),
    ("2026-02-20T12:00:00Z", 1_771_588_800_000),
];

/// Partition and id.
pub type Key = (String, String);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub rows: BTreeMap<Key, Row>,
    /// By row, the positions that wait.
    pub parked_rows: BTreeMap<Key, Vec<String>>,
    /// By record key.
    pub parked_records: BTreeMap<String, Vec<String>>,
}

/// A rule of the language that is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mutant {
    NoInitially,
    NoAlways,
    MissingIsIgnored,
    RemembersNothing,
    SequenceOfNothing,
    SplitEventsAlone,
    OnceAlways,
    NoKeep,
    ParkedGoesOn,
    RangeSparesParked,
    NoUpcast,
}

/// It cannot be applied.
struct Rejected;

type Or<T> = Result<T, Rejected>;

struct Event {
    kind: usize,
    body: Map<String, Json>,
    id: String,
}

pub struct Reference<'p> {
    program: &'p Program,
    mutant: Option<Mutant>,
    passed: Passed,
    pub state: State,
}

/// What an operator has passed: these do nothing, as if they were not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passed {
    /// Positions, each with the row that passes it.
    pub rows: BTreeSet<(Key, String)>,
    /// Positions that waited before their row was known.
    pub records: BTreeSet<String>,
}

impl<'p> Reference<'p> {
    pub fn new(program: &'p Program, mutant: Option<Mutant>) -> Reference<'p> {
        Reference { program, mutant, passed: Passed::default(), state: State::default() }
    }

    /// As [`Reference::new`], of a log of which some has been passed.
    pub fn passing(program: &'p Program, passed: Passed) -> Reference<'p> {
        Reference { passed, ..Reference::new(program, None) }
    }

    /// The whole log.
    pub fn of(program: &'p Program, mutant: Option<Mutant>, log: &[Given]) -> State {
        let mut reference = Reference::new(program, mutant);
        log.iter().for_each(|given| reference.take(given));
        reference.state
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn take(&mut self, given: &Given) {
        if self.passed.records.contains(&given.position) {
            return;
        }
        if let Some(waiting) = self.state.parked_records.get_mut(&given.key) {
            return waiting.push(given.position.clone());
        }
        let Json::Object(body) = &given.value else { panic!("events are objects") };
        if self.route(given, body).is_err() {
            self.state.parked_records.insert(given.key.clone(), vec![given.position.clone()]);
        }
    }

    /// Finds the rows of a record and lets each take its events.
    fn route(&mut self, given: &Given, body: &Map<String, Json>) -> Or<()> {
        let kind = body["type"].as_str().expect("events have a type");
        let version = body.get("v").map_or(1, |version| version.as_i64().expect("versions are numbers"));
        if kind == "Seen" {
            return Ok(());
        }
        let handled = TYPES.iter().position(|known| *known == kind);
        let newest = match (self.program.upcasts, handled) {
            (true, Some(0)) => 2,
            (true, Some(1)) if self.program.splits() => 2,
            _ => 1,
        };
        let Some(kind) = handled.filter(|_| version <= newest) else { return self.unknown(given, body) };
        let events = match version < newest && !self.is(Mutant::NoUpcast) {
            false => vec![Event { kind, body: body.clone(), id: given.position.clone() }],
            true => self.upcast(kind, body, given)?,
        };
        for event in &events {
            self.known_again(&event.body)?;
        }
        if let [event] = events.as_slice()
            && self.program.rules[event.kind].rows == Rows::Range
        {
            let p = self.partition(given, &event.body)?;
            self.delete_range(&p, event, given);
            return Ok(());
        }
        let mut rows: Vec<(Key, Vec<&Event>)> = Vec::new();
        for event in &events {
            for key in self.keys(given, event)? {
                match rows.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, events)) => events.push(event),
                    None => rows.push((key, vec![event])),
                }
            }
        }
        for (key, events) in rows {
            self.apply(&key, &events, &given.position);
        }
        Ok(())
    }

    fn upcast(&self, kind: usize, body: &Map<String, Json>, given: &Given) -> Or<Vec<Event>> {
        let mut body = body.clone();
        let id = given.position.clone();
        if kind == 0 {
            if let Some(number) = body.remove("num") {
                if body.contains_key("n") {
                    return Err(Rejected);
                }
                body.insert("n".into(), number);
            }
            body.entry("a").or_insert(7.into());
            return Ok(vec![Event { kind, body, id }]);
        }
        let items = body["items"].as_array().expect("what is split is not spoilt").clone();
        let mut head = body.clone();
        head.remove("items");
        let mut events = vec![Event { kind: 1, body: head, id: id.clone() }];
        for (part, item) in (1..).zip(items) {
            let mut body = body.clone();
            body.insert("item".into(), item);
            events.push(Event { kind: 2, body, id: format!("{id}/{part}") });
        }
        Ok(events)
    }

    fn unknown(&mut self, given: &Given, body: &Map<String, Json>) -> Or<()> {
        if !self.program.unknown_parks {
            return Ok(());
        }
        let key = (self.partition(given, body)?, text(body, "id").required()?);
        if self.passes(&key, &given.position) {
            return Ok(());
        }
        self.state.parked_rows.entry(key).or_default().push(given.position.clone());
        Ok(())
    }

    fn passes(&self, key: &Key, position: &str) -> bool {
        !self.passed.rows.is_empty() && self.passed.rows.contains(&(key.clone(), position.to_owned()))
    }

    /// The id and the number, which must be there where they are asked for.
    fn known_again(&self, body: &Map<String, Json>) -> Or<()> {
        if self.program.remembers {
            text(body, "eid").required()?;
        }
        if self.program.sequence.is_some() {
            int(body, "seq").required()?;
        }
        Ok(())
    }

    fn partition(&self, given: &Given, body: &Map<String, Json>) -> Or<String> {
        let p = text(body, "p").required()?;
        if !self.program.is_merged && given.key != p {
            return Err(Rejected);
        }
        Ok(p)
    }

    fn keys(&self, given: &Given, event: &Event) -> Or<Vec<Key>> {
        let own = |field| Ok((self.partition(given, &event.body)?, text(&event.body, field).required()?));
        match self.program.rules[event.kind].rows {
            Rows::Own => Ok(vec![own("id")?]),
            Rows::Two => Ok(vec![own("id")?, own("other")?]),
            Rows::Each => match event.body.get("list") {
                None | Some(Json::Null) => Ok(Vec::new()),
                Some(Json::Array(ids)) => ids
                    .iter()
                    .map(|id| {
                        Ok((self.partition(given, &event.body)?, id.as_str().ok_or(Rejected)?.to_owned()))
                    })
                    .collect(),
                Some(_) => Err(Rejected),
            },
            Rows::Range => panic!("a range is no piece"),
        }
    }

    fn delete_range(&mut self, p: &str, event: &Event, given: &Given) {
        let there: Vec<Key> = self.state.rows.keys().filter(|key| key.0 == p).cloned().collect();
        let waiting: Vec<Key> = self.state.parked_rows.keys().filter(|key| key.0 == p).cloned().collect();
        for key in there {
            if !waiting.contains(&key) {
                self.apply(&key, &[event], &given.position);
            }
        }
        if !self.is(Mutant::RangeSparesParked) {
            for key in waiting {
                if self.passes(&key, &given.position) {
                    continue;
                }
                self.state.parked_rows.entry(key).or_default().push(given.position.clone());
            }
        }
    }

    /// All events of a record that a row takes, or none.
    fn apply(&mut self, key: &Key, events: &[&Event], position: &str) {
        if self.passes(key, position) {
            return;
        }
        if let Some(waiting) = self.state.parked_rows.get_mut(key) {
            waiting.push(position.to_owned());
            if !self.is(Mutant::ParkedGoesOn) {
                return;
            }
        }
        let mut row = self.state.rows.get(key).cloned();
        let taken = self.take_all(&mut row, events);
        if self.is(Mutant::SplitEventsAlone) || taken.is_ok() {
            match row {
                Some(row) => drop(self.state.rows.insert(key.clone(), row)),
                None => drop(self.state.rows.remove(key)),
            }
        }
        if taken.is_err() && !self.state.parked_rows.contains_key(key) {
            self.state.parked_rows.insert(key.clone(), vec![position.to_owned()]);
        }
    }

    fn take_all(&self, row: &mut Option<Row>, events: &[&Event]) -> Or<()> {
        let first = &events[0].body;
        let (mut ids, mut last) = (None, None);
        if self.program.remembers && !self.is(Mutant::RemembersNothing) {
            let id = text(first, "eid").required()?;
            let mut known = row.as_ref().map(|row| row.ids.clone()).unwrap_or_default();
            if known.contains(&id) {
                return Ok(());
            }
            known.push(id);
            known.drain(..known.len().saturating_sub(3));
            ids = Some(known);
        }
        if let Some(sequence) = self.program.sequence.as_ref().filter(|_| !self.is(Mutant::SequenceOfNothing))
        {
            let number = int(first, "seq").required()?;
            let expected = match row.as_ref().and_then(|row| row.last) {
                Some(last) if number <= last && sequence.repeat_parks => return Err(Rejected),
                Some(last) if number <= last => return Ok(()),
                Some(last) => Some(last + 1),
                None => sequence.first,
            };
            if !sequence.accepts_gaps && expected.is_some_and(|expected| expected != number) {
                return Err(Rejected);
            }
            last = Some(number);
        }
        for event in events {
            let after = self.fold(row.as_ref(), event)?;
            let untouched = after.is_none();
            if let Some(after) = after {
                *row = after;
            }
            if let Some(row) = row {
                row.ids = ids.clone().unwrap_or_else(|| std::mem::take(&mut row.ids));
                row.last = last.or(row.last);
                if !untouched && self.program.assert_below.is_some_and(|bound| row.n >= Some(bound)) {
                    return Err(Rejected);
                }
            }
        }
        Ok(())
    }

    /// What the row is afterwards; `None`: the event does nothing.
    fn fold(&self, row: Option<&Row>, event: &Event) -> Or<Option<Option<Row>>> {
        let holds = |when: &Option<When>| when.map_or(Ok(true), |when| holds(when, row, &event.body));
        if !holds(&self.program.when)? {
            return Ok(None);
        }
        let mut chosen = None;
        for case in &self.program.rules[event.kind].cases {
            if chosen.is_none() && holds(&case.when)? {
                chosen = Some(case);
            }
        }
        let Some(case) = chosen else { return Ok(None) };
        match (case.verb, row) {
            (Verb::Create, Some(_)) => return Ok(None),
            (Verb::Update | Verb::Delete | Verb::Remove, None) => {
                return match case.parks_missing && !self.is(Mutant::MissingIsIgnored) {
                    true => Err(Rejected),
                    false => Ok(None),
                };
            }
            (Verb::Delete, Some(_)) => return Ok(Some(None)),
            _ => {}
        }
        let fresh = row.is_none() || case.verb == Verb::Replace;
        // What is made anew has no elements from before.
        let kept = row.filter(|_| !fresh);
        let mut new = if fresh { Row::default() } else { row.cloned().unwrap_or_default() };
        if fresh && !self.is(Mutant::NoInitially) {
            for set in &case.initially {
                self.set(*set, (row, kept), &mut new, event)?;
            }
        }
        self.change(case, (row, kept), &mut new, event)?;
        if new.n.is_none() || new.word.is_none() || new.moment.is_none() {
            return Err(Rejected);
        }
        if new.tags.len() > 4 || new.log.len() > 5 || new.parts.len() > 3 {
            return Err(Rejected);
        }
        if self.program.computes {
            new.total = new.n.map(|n| n + 1);
        }
        Ok(Some(Some(new)))
    }

    fn change(
        &self,
        case: &Case,
        before: (Option<&Row>, Option<&Row>),
        new: &mut Row,
        event: &Event,
    ) -> Or<()> {
        for set in &case.sets {
            self.set(*set, before, new, event)?;
        }
        if case.once && (new.first.is_none() || self.is(Mutant::OnceAlways)) {
            text(&event.body, "word").into_cell(&mut new.first)?;
        }
        for remove in &case.removes {
            match remove {
                Remove::Tag => drop(new.tags.remove(&text(&event.body, "word").required()?)),
                Remove::Log => {
                    let gone = text(&event.body, "word").required()?;
                    new.log.retain(|word| *word != gone);
                }
                Remove::Part => drop(new.parts.remove(&text(&event.body, "k").required()?)),
            }
        }
        if self.program.always && !self.is(Mutant::NoAlways) {
            text(&event.body, "word").into_cell(&mut new.at)?;
        }
        Ok(())
    }

    /// One assignment. `row` is the row before the event, `kept` the same where it is not made anew, `new` what the
    /// assignments so far have made.
    fn set(
        &self,
        set: Set,
        (row, kept): (Option<&Row>, Option<&Row>),
        new: &mut Row,
        event: &Event,
    ) -> Or<()> {
        let body = &event.body;
        let number = || int(body, "n").required();
        match set {
            Set::N(Num::Event) => int(body, "n").into_cell(&mut new.n)?,
            Set::N(Num::More) => new.n = Some(row.and_then(|row| row.n).unwrap_or(0) + number()?),
            Set::N(Num::Let) => new.n = Some(number()? + 1),
            Set::N(Num::Const(number)) => new.n = Some(number),
            Set::N(Num::RowMore) => new.n = Some(row.and_then(|row| row.n).ok_or(Rejected)? + number()?),
            Set::A => int(body, "a").into_cell(&mut new.a)?,
            Set::Word => text(body, "word").into_cell(&mut new.word)?,
            Set::Tag => new.tags.extend(text(body, "word").unless_null()?),
            Set::Tags => match body.get("list") {
                None => {}
                Some(Json::Array(list)) => {
                    for one in list {
                        new.tags.insert(one.as_str().ok_or(Rejected)?.to_owned());
                    }
                }
                Some(_) => return Err(Rejected),
            },
            Set::Log(by_id, keep) => {
                let word = if by_id { Some(event.id.clone()) } else { text(body, "word").unless_null()? };
                if let Some(word) = word {
                    new.log.push(word);
                    let keep = keep.filter(|_| !self.is(Mutant::NoKeep)).unwrap_or(usize::MAX);
                    new.log.drain(..new.log.len().saturating_sub(keep));
                }
            }
            Set::Part => {
                let name = text(body, "k").required()?;
                let before = kept.and_then(|row| row.parts.get(&name)).map_or(0, |(count, _)| *count);
                let remark = new.parts.get(&name).and_then(|(_, remark)| remark.clone());
                let mut part = (before + number()?, remark);
                text(body, "word").into_cell(&mut part.1)?;
                new.parts.insert(name, part);
            }
            Set::PartCount => {
                let name = text(body, "k").required()?;
                if let Some(part) = new.parts.get_mut(&name) {
                    part.0 += number()?;
                }
            }
            Set::Items => match body.get("items") {
                None => {}
                Some(Json::Array(items)) if items.len() <= 4 => {
                    let item = |item: &Json| {
                        let Json::Object(item) = item else { return Err(Rejected) };
                        Ok((text(item, "k").required()?, int(item, "n").required()?))
                    };
                    new.items = items.iter().map(item).collect::<Or<_>>()?;
                }
                Some(_) => return Err(Rejected),
            },
            Set::Address => {
                let (mut city, mut zip) = match new.address.take() {
                    Some((city, zip)) => (Some(city), zip),
                    None => (None, None),
                };
                text(body, "word").into_cell(&mut city)?;
                int(body, "a").into_cell(&mut zip)?;
                new.address = Some((city.ok_or(Rejected)?, zip));
            }
            Set::Moment => match text(body, "moment") {
                Field::Missing => {}
                Field::Null => new.moment = None,
                Field::Wrong => return Err(Rejected),
                Field::Is(text) => new.moment = Some(moment(&text)?),
            },
            Set::WordOr => new.word = Some(text(body, "word").or("none")?),
            Set::MomentOr => new.moment = Some(moment(&text(body, "moment").or(MOMENTS[3].0)?)?),
            Set::Zip => {
                if let Some((_, zip)) = &mut new.address {
                    int(body, "a").into_cell(zip)?;
                }
            }
        }
        Ok(())
    }
}

fn holds(when: When, row: Option<&Row>, body: &Map<String, Json>) -> Or<bool> {
    Ok(match when {
        When::Above(bound) => int(body, "n").required()? > bound,
        When::Big => int(body, "n").required()? > 3,
        When::Few(bound) => row.and_then(|row| row.n).unwrap_or(0) < bound,
        When::Absent => row.is_none(),
    })
}

/// One of the times that events carry.
fn moment(text: &str) -> Or<i64> {
    MOMENTS.iter().find(|(written, _)| *written == text).map(|(_, ms)| *ms).ok_or(Rejected)
}

/// A field of an event.
enum Field<T> {
    Missing,
    Null,
    Wrong,
    Is(T),
}

impl<T> Field<T> {
    /// Inside a larger expression, or as a key.
    fn required(self) -> Or<T> {
        match self {
            Field::Is(value) => Ok(value),
            _ => Err(Rejected),
        }
    }

    /// Alone: missing leaves the cell, null clears it.
    fn into_cell(self, cell: &mut Option<T>) -> Or<()> {
        match self {
            Field::Missing => {}
            Field::Null => *cell = None,
            Field::Wrong => return Err(Rejected),
            Field::Is(value) => *cell = Some(value),
        }
        Ok(())
    }

    /// Something else where it is missing or null.
    fn or(self, other: &str) -> Or<String>
    where
        T: Into<String>,
    {
        match self {
            Field::Missing | Field::Null => Ok(other.to_owned()),
            Field::Wrong => Err(Rejected),
            Field::Is(value) => Ok(value.into()),
        }
    }

    /// As an element that is added.
    fn unless_null(self) -> Or<Option<T>> {
        match self {
            Field::Missing => Ok(None),
            Field::Is(value) => Ok(Some(value)),
            Field::Null | Field::Wrong => Err(Rejected),
        }
    }
}

fn text(body: &Map<String, Json>, field: &str) -> Field<String> {
    match body.get(field) {
        None => Field::Missing,
        Some(Json::Null) => Field::Null,
        Some(Json::String(text)) => Field::Is(text.clone()),
        Some(_) => Field::Wrong,
    }
}

fn int(body: &Map<String, Json>, field: &str) -> Field<i64> {
    match body.get(field) {
        None => Field::Missing,
        Some(Json::Null) => Field::Null,
        Some(Json::Number(number)) => number.as_i64().map_or(Field::Wrong, Field::Is),
        Some(_) => Field::Wrong,
    }
}
