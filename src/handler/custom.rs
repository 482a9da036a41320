//! Handlers written in Rust: the way out where the projection language cannot say it.
//!
//! Comes in: a row and an event. Goes out: what becomes of the row. Which rows and events is said by the projection's
//! file all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, Reject};
use crate::value::{Cells, Value};

/// Handlers written in Rust, by the name that `handler:` says.
pub type CustomHandlers = BTreeMap<String, Arc<dyn Fold>>;

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It stays as it is.
    Nothing,
    /// It is there, with these cells: one for each column.
    Write(Cells),
    /// It goes.
    Delete,
}

/// A handler written in Rust: the way out where the projection language cannot say it.
///
/// It sees the row and the event and nothing else, and must answer the same whenever it is asked the same; then
/// crashes, redelivery and rebuilds are as harmless as with a declared projection. Key, position and state stay
/// the engine's. The projection says where events come from and what the row's key is; `handler: name` stands in the
/// place of `events:`, and the program that embeds the engine gives the handler by that name to [`engine::load`] or
/// [`engine::bind`]:
///
/// ```
/// use std::sync::Arc;
///
/// use kinora::diagnostic::{Sources, render};
/// use kinora::engine;
/// use kinora::event::{Event, JsonValueTrait, Record, Reject, Stage, TopicPartition};
/// use kinora::fold::{self, State};
/// use kinora::handler::{Change, CustomHandlers, Fold};
/// use kinora::route::{Routed, route};
/// use kinora::value::Value;
///
/// /// The longest text of each author: longest so far is more than the projection language compares.
/// struct Longest;
///
/// impl Fold for Longest {
///     fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
///         let missing = || Reject::new(Stage::Fold, "event.text is missing, expected a string");
///         let text = event.body.get("text").and_then(|text| text.as_str()).ok_or_else(missing)?;
///         // Cells stand in the order of the columns: id, text.
///         match row {
///             Some([_, Value::Text(before)]) if before.len() >= text.len() => Ok(Change::Nothing),
///             Some([id, _]) => Ok(Change::Write(vec![id.clone(), Value::text(text)])),
///             _ => Ok(Change::Write(vec![Value::text(event.key.as_deref().unwrap_or_default()), Value::text(text)])),
///         }
///     }
/// }
///
/// let mut sources = Sources::default();
/// let schema = sources.add(
///     "schema/notes.graphql",
///     r#"
///     type Query { note(id: ID!): Note @read }
///     type Note @key(fields: "id") @table(name: "notes", partition: "id") { id: ID!  text: String! }
///     "#,
/// );
/// let projection = sources.add(
///     "projections/notes.yaml",
///     "
/// projection: notes
/// into: Note
/// from: { topic: notes, format: json, type: event.type, recordKey: event.author }
/// key: { id: event.author }
/// unknown: park
/// handler: longest
/// ",
/// );
/// let handlers = CustomHandlers::from([("longest".to_owned(), Arc::new(Longest) as Arc<dyn Fold>)]);
/// let loaded = engine::bind(sources, &[schema], &[projection], &handlers);
/// let faults = render(&loaded.findings, &loaded.sources, false);
/// let definitions = loaded.definitions.ok_or(faults)?;
///
/// // What the engine does with each record of the topic:
/// let notes = &definitions.projections[0];
/// let base = definitions.plan.table(definitions.plan.entity(notes.entity).base);
/// let at = TopicPartition { topic: "notes".into(), partition: 0 };
/// let mut row: State = None;
/// for (offset, text) in ["short", "the longest", "shorter"].into_iter().enumerate() {
///     let value = format!(r#"{{"type":"Written","author":"ada","text":"{text}"}}"#);
///     let record = Record {
///         offset: offset as u64,
///         timestamp_ms: 0,
///         key: Some("ada".into()),
///         value: Some(value.into_bytes().into()),
///         headers: Vec::new(),
///     };
///     let Routed::Event { key_cells, event, .. } = route(notes, base, &at, &record) else { panic!("it is routed") };
///     // What comes back would take the event back; here nothing does.
///     let _ = fold::apply(notes, &key_cells, &mut row, &event).map_err(|reject| reject.to_string())?;
/// }
/// assert_eq!(row.as_deref(), Some(&vec![Value::text("ada"), Value::text("the longest")]));
/// # Ok::<(), String>(())
/// ```
///
/// [`engine::load`]: crate::engine::load
/// [`engine::bind`]: crate::engine::bind
pub trait Fold: Send + Sync {
    /// The change that an event makes; `row` is `None` where there is none. Cells stand in the order of the
    /// read model's columns; those of the key must stay as they are. Computed columns are made afterwards.
    ///
    /// # Errors
    /// A reason to park the row's key: a fact about the event, as one sentence with the values found.
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject>;
}
