//! The tables that a drawn read model has beside its base table: other keys over the same rows, most of which move.
//!
//! Comes in: a seed's chance. Goes out: SDL, which rows a table holds by the meaning of its lines, and what its read
//! answers.

use fastrand::Rng;
use serde_json::{Value as Json, json};

use super::reference::{Key, Row};

/// A table beside the base table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Copy {
    ByWord,
    ByNumber,
    Lately,
    ByOwn,
    ByDay,
    ByMonth,
    ByShard,
    Words,
    ById,
    Halves,
}

const ALL: [Copy; 10] = [
    Copy::ByWord,
    Copy::ByNumber,
    Copy::Lately,
    Copy::ByOwn,
    Copy::ByDay,
    Copy::ByMonth,
    Copy::ByShard,
    Copy::Words,
    Copy::ById,
    Copy::Halves,
];

/// One to four of them.
pub fn copies(rng: &mut Rng) -> Vec<Copy> {
    let mut all = ALL.to_vec();
    rng.shuffle(&mut all);
    all.truncate(rng.usize(1..5));
    all
}

impl Copy {
    pub fn name(self) -> &'static str {
        match self {
            Copy::ByWord => "by_word",
            Copy::ByNumber => "by_number",
            Copy::Lately => "lately",
            Copy::ByOwn => "by_own",
            Copy::ByDay => "by_day",
            Copy::ByMonth => "by_month",
            Copy::ByShard => "by_shard",
            Copy::Words => "words",
            Copy::ById => "by_id",
            Copy::Halves => "halves",
        }
    }

    /// The line of the schema.
    pub fn table(self) -> String {
        let key = match self {
            Copy::ByWord => r#"partition: "word", clustering: "p, id", where: "n > 2""#,
            Copy::ByNumber => r#"partition: "n", clustering: "word DESC, p, id""#,
            Copy::Lately => r#"partition: "n", clustering: "moment DESC, p, id", fields: "word""#,
            Copy::ByOwn => r#"partition: "p", clustering: "word DESC, id", where: "a.orValue(0) > 3""#,
            Copy::ByDay => r#"partition: "p, day(moment)", clustering: "moment DESC, id""#,
            Copy::ByMonth => {
                r#"partition: "word, month(moment)", clustering: "moment, p, id", where: "n < 4""#
            }
            Copy::ByShard => r#"partition: "hash(word, 3)", clustering: "word, p, id""#,
            Copy::Words => r#"partition: "p", clustering: "word, id", fields: "word""#,
            Copy::ById => r#"partition: "id", clustering: "p""#,
            Copy::Halves => r#"partition: "hash(id, 2)", clustering: "p, id", fields: "word""#,
        };
        format!("  @table(name: \"{}\", {key}, rows: 1000)\n", self.name())
    }

    /// The field that reads it; none of one that no argument leads to.
    pub fn read(self) -> String {
        let argument = match self {
            Copy::ByWord | Copy::ByMonth => "word: String!",
            Copy::ByNumber | Copy::Lately => "n: Int!",
            Copy::ByOwn | Copy::ByDay | Copy::Words => "p: ID!",
            Copy::ById => "id: ID!",
            Copy::ByShard | Copy::Halves => return String::new(),
        };
        format!("  {0}({argument}): [Row!]! @read(table: \"{0}\")\n", self.name())
    }

    /// The argument with which its read finds a row.
    pub fn argument(self, (p, id): &Key, row: &Row) -> Option<(&'static str, Json)> {
        Some(match self {
            Copy::ByWord | Copy::ByMonth => ("word", json!(row.word)),
            Copy::ByNumber | Copy::Lately => ("n", json!(row.n)),
            Copy::ByOwn | Copy::ByDay | Copy::Words => ("p", json!(p)),
            Copy::ById => ("id", json!(id)),
            Copy::ByShard | Copy::Halves => return None,
        })
    }

    /// Whether it holds a row.
    pub fn holds(self, row: &Row) -> bool {
        match self {
            Copy::ByWord => row.n > Some(2),
            Copy::ByOwn => row.a.unwrap_or(0) > 3,
            Copy::ByMonth => row.n < Some(4),
            _ => true,
        }
    }

    /// The columns that it holds, its key among them; `None`: all.
    pub fn columns(self) -> Option<&'static [&'static str]> {
        match self {
            Copy::Lately => Some(&["p", "id", "n", "word", "moment"]),
            Copy::Words | Copy::Halves => Some(&["p", "id", "word"]),
            _ => None,
        }
    }

    /// How many digits of the time of a row say in which bucket it stands, if the table is cut by time.
    pub fn bucket_digits(self) -> Option<usize> {
        match self {
            Copy::ByDay => Some("2026-01-31".len()),
            Copy::ByMonth => Some("2026-01".len()),
            _ => None,
        }
    }
}
