//! Where events come from: topics, how they are read, and what a record without a value does.
//!
//! Comes in: the declarations of `from`. Goes out: [`Origin`]s with their expressions typed, and faults: what is missing,
//! formats that are not there, topics and names that are said twice, tombstones that name no row.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bind::{Binder, same_text};
use super::declaration::{Declaration, EventDecl, FromDecl};
use super::kind::has_one_spelling;
use super::names::{Names, RECORD, ROUTE_RECORD, reads};
use super::nearest::advice;
use super::yaml::Text;
use super::{Handling, Key, Origin, Tombstone, Unknown, steps};
use crate::expr::{Compiled, Expected};
use crate::schema::{ColumnId, ColumnType, Scalar};

impl Binder<'_> {
    /// The sources, each once, with the names that `events` has for their types.
    pub(super) fn sources(&mut self, declaration: &Declaration) -> Option<Vec<Origin>> {
        let bound: Vec<Option<Origin>> =
            declaration.from.iter().map(|from| self.origin(from, declaration.unknown)).collect();
        let mut sources: Vec<Origin> = bound.into_iter().collect::<Option<_>>()?;
        for (index, from) in declaration.from.iter().enumerate() {
            if sources[..index].iter().any(|other| other.topic == sources[index].topic) {
                let message = format!("`{}` is named twice", sources[index].topic);
                self.fault("P003", from.span, message, "name each topic once");
                return None;
            }
        }
        for event in &declaration.events {
            let Some(on) = &event.on else { continue };
            self.named_on(event, on, &mut sources);
        }
        Some(sources)
    }

    /// `on: topic/Type`: an event of one topic under a name of its own.
    fn named_on(&mut self, event: &EventDecl, on: &Text, sources: &mut [Origin]) {
        let topics: Vec<Arc<str>> = sources.iter().map(|from| Arc::clone(&from.topic)).collect();
        let Some((topic, type_name)) = on.text.rsplit_once('/') else {
            let help = "write topic and type: `on: shop.orders/OrderPlaced`";
            return self.fault("P006", on.span, format!("`{}` is no topic and type", on.text), help);
        };
        for source in
            sources.iter_mut().filter(|source| *source.topic != *topic || *type_name != event.name.text)
        {
            source.aliases.push(event.name.text.as_str().into());
        }
        match sources.iter_mut().find(|source| *source.topic == *topic) {
            Some(source) => {
                let before = source.names.insert(type_name.into(), event.name.text.as_str().into());
                if let Some(before) = before {
                    let message = format!("`{}` is `{before}` already", on.text);
                    self.fault(
                        "P003",
                        on.span,
                        message,
                        "an event has one entry: put its cases into one list",
                    );
                }
            }
            None => {
                let help = advice(topic, topics.iter().map(|topic| &**topic));
                self.fault("P006", on.span, format!("`from` has no topic `{topic}`"), help);
            }
        }
    }

    fn origin(&mut self, from: &FromDecl, unknown: Option<Unknown>) -> Option<Origin> {
        self.format(from);
        let (as_it_came, names) = (Names::of_origin(), Names::of_key(self.event.clone(), None));
        if from.topic.is_none() {
            self.fault("P005", from.span, "`from` has no `topic`", "name the topic: `topic: shop.orders`");
        }
        if from.type_name.is_none() {
            let help = "say where an event's type stands: `type: event.type`";
            self.fault("P005", from.span, "`from` has no `type`", help);
        }
        let time = Expected::Cell { ty: ColumnType::Scalar(Scalar::DateTime), nullable: true };
        let mut compile = |text: &Option<Text>, names: &Names, expected| {
            text.as_ref().map(|text| self.compile(text, names, expected))
        };
        let type_name = compile(&from.type_name, &as_it_came, &Expected::Text);
        let version = compile(&from.version, &as_it_came, &Expected::Int);
        // Made before the rest of `record` is known, but of today's event.
        let time = compile(&from.time, &as_it_came, &time);
        let record_key = compile(&from.record_key, &names, &Expected::Text);
        let remember = self.remember(from, &names);
        let sequence = from.sequence.as_ref().and_then(|sequence| self.sequence(sequence, &names));
        if matches!(record_key, Some(None)) {
            return None; // Its own fault is reported already.
        }
        Some(Origin {
            topic: Arc::from(from.topic.as_ref()?.text.as_str()),
            names: FxHashMap::default(),
            aliases: Vec::new(),
            type_name: type_name??,
            version: version.flatten(),
            time: time.flatten(),
            record_key: record_key.flatten(),
            record_key_column: None,
            tombstone: from.tombstone.map(|(tombstone, _)| tombstone),
            unknown: from.unknown.or(unknown).unwrap_or(Unknown::Park),
            start: from.start.clone(),
            remember,
            sequence,
        })
    }

    fn format(&mut self, from: &FromDecl) {
        let help = "write `format: json`";
        let Some(format) = &from.format else {
            return self.fault("P005", from.span, "`from` has no `format`", help);
        };
        let later = ["avro", "protobuf", "debezium", "cloudevents", "json-schema", "raw"];
        if later.contains(&format.text.to_lowercase().as_str()) {
            self.fault("P010", format.span, format!("`format: {}` is not supported yet", format.text), help);
        } else if format.text != "json" {
            self.fault("P006", format.span, format!("`{}` is not a format", format.text), help);
        }
    }

    pub(super) fn tombstone(&mut self, from: &FromDecl, origin: &Origin, keys: &[Key], is_merged: bool) {
        let Some((Tombstone::Delete, span)) = from.tombstone else { return };
        if origin.record_key_column.is_none() && !is_merged {
            return; // Said once, where the update kind is chosen.
        }
        let readable = |id: ColumnId| {
            let ty = &self.ty.column(id).ty;
            matches!(ty, ColumnType::Scalar(_)) && has_one_spelling(ty)
        };
        let one = matches!(keys, [key] if key.len() == 1);
        if !one || !origin.record_key_column.is_some_and(readable) {
            self.fault(
                "P020",
                span,
                "`tombstone: delete` cannot tell which row to delete",
                "a record without a value has only its key: `recordKey` and the one column of `key` must be the same expression, of type ID, String, Int, Long, BigInt or UUID",
            );
        }
    }
}

/// Whether anything looks at `record`. A handler written in Rust may.
pub fn reads_record(sources: &[Origin], keys: &[Key], handling: &Handling) -> bool {
    let mut route: Vec<&Compiled> = Vec::new();
    for Origin { type_name, version, time, record_key, remember, sequence, .. } in sources {
        let id = remember.as_ref().map(|remember| &remember.id);
        let number = sequence.as_ref().map(|sequence| &sequence.number);
        let found = [Some(type_name), version.as_ref(), time.as_ref(), record_key.as_ref(), id, number];
        route.extend(found.into_iter().flatten());
    }
    route.extend(keys.iter().flatten().map(|(_, compiled)| compiled));
    let in_cases = match handling {
        Handling::Custom(_) => true,
        Handling::Declared(declared) => {
            for rows in declared.events.values().filter_map(|event| event.rows.as_ref()) {
                route.extend(&rows.each);
                route.extend(rows.keys.iter().flatten().map(|(_, compiled)| compiled));
            }
            steps::all(declared).any(|compiled| reads(compiled, RECORD))
        }
    };
    in_cases || route.into_iter().any(|compiled| reads(compiled, ROUTE_RECORD))
}

/// The key column made from the expression that also makes the record's key.
pub fn record_key_column(origin: &Origin, key: &[(ColumnId, Compiled)]) -> Option<ColumnId> {
    let wanted = &origin.record_key.as_ref()?.text;
    key.iter().find(|(_, compiled)| same_text(&compiled.text, wanted)).map(|(column, _)| *column)
}
