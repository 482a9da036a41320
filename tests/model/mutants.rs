//! Shows that the comparison can fail: an engine that is the oracle itself passes, and every deliberate fault in it is
//! found.

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use crate::answers::{CURSOR, Cursors, Question, answer, row_name, table_rows};
use crate::driver::{Engine, Held, run};
use crate::events::Mix;
use crate::oracle::{Oracle, Parked, Row, Sent};
use crate::shop;
use crate::value::V;

/// A fault built in on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Redelivery folds the last event twice.
    Redelivered,
    /// A restart loses the last event.
    Lost,
    /// Two events of one batch change places.
    Reordered,
    /// The scale of amounts is not kept.
    ScaleDropped,
    /// A parked event is skipped, and the key goes on.
    Skipped,
    /// Rows stay in a copy that they have left.
    CopyKept,
    /// Lists end one row early.
    PageShort,
    /// Answers show `null` instead of the empty text.
    EmptyIsNull,
}

struct Faulty {
    fault: Fault,
    oracle: Oracle,
    log: Vec<Sent>,
    pending: Vec<Sent>,
    picked: Vec<Row>,
}

impl Faulty {
    fn new(fault: Fault) -> Faulty {
        Faulty { fault, oracle: shop(), log: Vec::new(), pending: Vec::new(), picked: Vec::new() }
    }

    fn fold(&mut self, sent: &Sent) {
        let parked = self.oracle.parked.clone();
        self.oracle.apply(sent);
        if self.fault == Fault::Skipped {
            self.oracle.parked = parked;
        }
        self.picked
            .extend(self.oracle.rows_of("Order").filter(|row| row["status"] == V::text("PAID")).cloned());
    }
}

impl Engine for Faulty {
    fn publish(&mut self, records: &[Sent]) -> Vec<String> {
        let from = self.log.len();
        self.log.extend_from_slice(records);
        self.pending.extend_from_slice(records);
        (from..self.log.len()).map(|number| format!("log:0@{number}")).collect()
    }

    fn catch_up(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        if self.fault == Fault::Reordered && pending.len() > 1 {
            pending.reverse();
        }
        pending.iter().for_each(|sent| self.fold(sent));
    }

    fn restart(&mut self, _rng: &mut Rng) {
        if self.fault == Fault::Lost {
            self.pending.pop();
        }
    }

    fn redeliver(&mut self) {
        if self.fault == Fault::Redelivered
            && let Some(last) = self.log.last().cloned()
        {
            self.fold(&last);
        }
    }

    fn table(&mut self, name: &str) -> Vec<Json> {
        let tables = self.oracle.definitions.types.iter();
        let mut all = tables.flat_map(|(entity, ty)| ty.tables.iter().map(move |table| (entity, table)));
        let (entity, table) = all.find(|(_, table)| table.name == name).expect("the table exists");
        let mut rows = table_rows(&self.oracle, entity, table);
        if self.fault == Fault::CopyKept && table.filter.is_some() {
            let gone = |row: &&Row| !rows.iter().any(|kept| kept["id"] == row["id"].to_json());
            let kept = self.picked.iter().find(gone).map(|row| V::Map(row.clone()).to_json());
            rows.extend(kept);
        }
        rows
    }

    fn query(&mut self, query: &str, variables: &Map<String, Json>) -> Json {
        // Cursors of this engine are the rows' names.
        let rows =
            ["Order", "Product"].map(|entity| self.oracle.rows_of(entity).map(move |row| (entity, row)));
        let names = rows.into_iter().flatten().map(|(entity, row)| row_name(&self.oracle, entity, row));
        let cursors: Cursors = names.map(|name| (name.clone(), name)).collect();
        let mut data = answer(&self.oracle, &Question { query, variables, cursors: &cursors });
        spoil(&mut data, self.fault);
        json!({ "data": data })
    }

    fn parked(&mut self) -> Vec<Held> {
        let held = self.oracle.parked.iter().map(|((projection, key), held)| Held {
            projection: projection.clone(),
            key: match key {
                Parked::Row(key) | Parked::Record(key) => key.clone(),
                Parked::Alone(number) => format!("log:0@{number}"),
            },
            since: format!("log:0@{}", held.since),
            waiting: held.waiting,
        });
        held.collect()
    }
}

/// Puts cursors where the walk has left their place, and the fault in.
fn spoil(json: &mut Json, fault: Fault) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| spoil(item, fault)),
        Json::Object(fields) => {
            if let Some(Json::Array(edges)) = fields.get_mut("edges") {
                for edge in edges.iter_mut() {
                    edge["cursor"] = Json::from(Json::from(vec![edge["node"]["id"].clone()]).to_string());
                }
                if fault == Fault::PageShort {
                    edges.pop();
                }
                let ends = [edges.first(), edges.last()].map(|edge| edge.map(|edge| edge["cursor"].clone()));
                for (name, end) in ["startCursor", "endCursor"].into_iter().zip(ends) {
                    fields["pageInfo"][name] = end.unwrap_or_default();
                }
            }
            fields.values_mut().for_each(|value| spoil(value, fault));
        }
        Json::String(text) if fault == Fault::ScaleDropped && text.ends_with(".50") => drop(text.pop()),
        Json::String(text) if fault == Fault::EmptyIsNull && text.is_empty() => *json = Json::Null,
        Json::String(text) if text == CURSOR => {}
        _ => {}
    }
}

/// The first difference found in a few runs.
fn found(fault: Fault) -> Option<String> {
    let mix = Mix { bad_percent: 2, keys: 5 };
    (1..=4).find_map(|seed| run(seed, 4, mix, shop(), &mut Faulty::new(fault)).err().map(|d| d.to_string()))
}

#[test]
fn an_engine_without_fault_agrees() {
    assert_eq!(found(Fault::None), None);
}

#[test]
fn every_built_in_fault_is_found() {
    use Fault::{CopyKept, EmptyIsNull, Lost, PageShort, Redelivered, Reordered, ScaleDropped, Skipped};
    for fault in [Redelivered, Lost, Reordered, ScaleDropped, Skipped, CopyKept, PageShort, EmptyIsNull] {
        assert!(found(fault).is_some(), "{fault:?} was not found");
    }
}
