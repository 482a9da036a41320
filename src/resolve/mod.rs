//! GraphQL operations → batched store reads → JSON.
//!
//! Comes in: an operation's text, variables, a freshness wish, and the tables to read. Goes out: the bytes of a
//! response. `operation` parses, validates and plans once (`select` and `refer`, kept in a bounded cache), `execute` runs level by level
//! with one read set per table, `entity` answers `_entities`, `indexed` reads what indexes answer, `nearest` orders rows by a vector, `page` has cursors and connections, `fresh` positions
//! and waiting. Knows nothing of HTTP (`serve`) nor of the write loop (`project`).

mod coerce;
mod data;
mod entity;
mod error;
mod execute;
mod fetch;
pub mod fresh;
mod indexed;
mod limits;
mod nearest;
mod operation;
mod page;
mod parked;
mod planned;
mod range;
mod refer;
mod select;
#[cfg(test)]
mod tests;
mod variables;
mod walk;
pub(crate) mod wire;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::clock::now_ms;
use crate::event::Position;
use crate::observe::{Limit, OperationKind, Reads, metrics};
use crate::plan::{Feed, Plan};
use crate::schema::{ReadModel, TypeId, TypeKind};
use crate::store::Tables;

pub use error::Code;

use error::{Fault, Refusal};
use execute::Executor;
use fresh::{Freshness, Waited};
use limits::Room;
use operation::{Operation, Operations};
use page::{Home, Signer};
use parked::Marks;
use write::Writer;

/// What a graph is built from. Built once for each set of definitions.
#[derive(Clone, Debug)]
pub struct GraphSettings {
    pub limits: Limits,
    /// Keys for cursors: the first signs, all verify. Never empty.
    pub cursor_secrets: Vec<Vec<u8>>,
    /// Hash of the definitions: part of each cursor.
    pub definitions_hash: String,
    /// Which projection feeds which entity.
    pub feeds: Vec<Feed>,
    pub introspection: bool,
}

/// Bounds on an operation, checked before the parser where the text alone tells. Each is tested below, at and above.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tokens: usize,
    pub depth: usize,
    pub aliases: usize,
    pub root_fields: usize,
    pub directives: usize,
    pub representations: usize,
    /// Operations kept planned.
    pub cached_operations: usize,
    /// Bytes of rows that are held for one answer, as they lie in memory.
    pub read_bytes: usize,
    /// Bytes of one answer.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tokens: 10_000,
            depth: 20,
            aliases: 100,
            root_fields: 50,
            directives: 50,
            representations: 1_000,
            cached_operations: 1_000,
            read_bytes: 64 << 20,
            answer_bytes: 32 << 20,
        }
    }
}

/// One GraphQL request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// Positions that the answer must not be older than.
    pub read_after: Vec<Position>,
    pub wait: Wait,
    /// Whether mutations are refused because the request came by GET. (There are none; kept for the right code.)
    pub get: bool,
    /// The time of the answer, milliseconds since 1970: rows whose `ttl` is over then are not there. `None`: now.
    pub at_ms: Option<i64>,
}

/// How long to wait for positions, and what then.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub at_most: Duration,
    pub on_timeout: OnTimeout,
}

impl Default for Wait {
    fn default() -> Wait {
        Wait { at_most: Duration::from_millis(500), on_timeout: OnTimeout::Stale }
    }
}

/// What to answer when the positions were not reached in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    /// Answer with what there is, marked `stale`.
    Stale,
    /// No data, code `STALE_READ`.
    Fail,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response as JSON.
    pub body: Vec<u8>,
    pub outcome: Outcome,
    /// For the header `x-read-position`: `topic:partition@offset,…` of what was read, empty if nothing was.
    pub position: String,
    pub stale: bool,
    /// For how long it may be kept; `None`: not at all.
    pub caching: Option<Caching>,
    /// What was asked for.
    pub kind: OperationKind,
}

/// How long an answer may be kept, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// In seconds.
    pub max_age_s: u32,
    /// By the client alone, not by shared caches.
    pub is_private: bool,
}

/// What became of a request: `serve` makes the HTTP status from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Executed; field errors may be inside.
    Executed,
    /// The text does not parse.
    NotParsed,
    /// It parses, but is not valid against the schema, or a variable does not fit, or a limit is exceeded.
    NotValid,
    /// Positions not reached in time, with `on-timeout=fail`.
    Stale,
}

/// The read side of one set of definitions.
#[derive(Debug)]
pub struct Graph {
    pub model: Arc<ReadModel>,
    pub plan: Arc<Plan>,
    pub settings: GraphSettings,
    operations: Operations,
    signer: Signer,
    /// For each table the home of its cursors: hashing a table's key once is enough.
    homes: Vec<Home>,
    /// For each table what its reads are counted with.
    counts: Vec<Reads>,
}

impl Graph {
    /// The read side of checked definitions.
    ///
    /// # Errors
    /// One sentence: there is no cursor secret, or the schema made from the definitions is not valid.
    pub fn new(model: Arc<ReadModel>, plan: Arc<Plan>, settings: GraphSettings) -> Result<Graph, String> {
        let operations = Operations::new(&model, &settings.limits)?;
        let signer = Signer::new(&settings.cursor_secrets, &settings.definitions_hash)?;
        let homes = plan.tables.iter().map(|table| Home::new(table, b"")).collect();
        let counts = plan.tables.iter().map(|table| metrics().reads(&table.name)).collect();
        Ok(Graph { model, plan, settings, operations, signer, homes, counts })
    }

    /// Answers a request. Waits for positions first, if the request names some; reads the tables; never writes.
    /// Whatever the request holds, there is an answer.
    pub async fn execute(&self, request: Request, tables: &Arc<dyn Tables>) -> Answer {
        match self.answer(request, &**tables).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let outcome = if refusal.parsed { Outcome::NotValid } else { Outcome::NotParsed };
                refused(refusal.body(), outcome)
            }
        }
    }

    async fn answer(&self, request: Request, tables: &dyn Tables) -> Result<Answer, Refusal> {
        let Request { query, operation_name, variables, read_after, wait, get: _, at_ms } = request;
        let accept = || {
            self.operations.accept(
                &query,
                operation_name.as_deref(),
                variables,
                &self.model,
                &self.plan,
                &self.settings.limits,
                self.settings.introspection,
            )
        };
        let operation = tracing::info_span!("plan").in_scope(accept)?;
        let mut executor = Executor {
            model: &self.model,
            plan: &self.plan,
            signer: &self.signer,
            homes: &self.homes,
            tables,
            operation: &operation,
            at_ms: at_ms.unwrap_or_else(now_ms),
            marking: false,
            room: Room::new(self.settings.limits.read_bytes),
            counts: &self.counts,
        };
        let kind = kind(&operation.planned);
        self.check_representations(&operation)?;
        let lists: Vec<_> =
            operation.planned.entity_lists.iter().map(|list| entity::read(&executor, list)).collect();
        let feeds = self.feeds(&operation, &lists);
        let waited =
            fresh::wait(tables, &feeds, &read_after, wait).instrument(tracing::info_span!("wait")).await;
        if waited.missed.is_some() && wait.on_timeout == OnTimeout::Fail {
            return Ok(stale(&waited, wait));
        }
        // Before the rows: what is read can be newer than what is said of it, never older.
        let freshness = Freshness::of(&tables.progress(), &feeds);
        let parked = tables.parked();
        let marks = Marks::new(&self.plan, &parked, &feeds);
        executor.marking = marks.is_some();
        let data = executor.load(lists).await;
        if let Some(fault) = executor.room.fault() {
            metrics().limit_hit(Limit::Read);
            return Err(Refusal::of(fault));
        }
        let answer_bytes = self.settings.limits.answer_bytes;
        let mut writer = Writer::new(&self.model, &self.signer, &operation, &data, (marks, answer_bytes));
        writer.out.extend_from_slice(br#"{"data":"#);
        tracing::info_span!("write").in_scope(|| writer.data());
        if writer.is_overfull {
            return Err(Refusal::of(limits::too_large(answer_bytes)));
        }
        let Writer { mut out, errors, marks, .. } = writer;
        let is_whole = errors.is_empty() && waited.missed.is_none();
        if !errors.is_empty() {
            out.extend_from_slice(br#","errors":["#);
            out.extend_from_slice(&errors);
            out.push(b']');
        }
        if !feeds.is_empty() || !waited.ignored.is_empty() {
            out.extend_from_slice(br#","extensions":{"kinora":{"#);
            freshness.push(&mut out, &waited);
            if let Some(marks) = marks {
                marks.push(tables, &mut out).await;
            }
            out.extend_from_slice(b"}}");
        }
        out.push(b'}');
        let position = freshness.header();
        let caching = operation.planned.caching.filter(|caching| is_whole && caching.max_age_s > 0);
        Ok(Answer {
            body: out,
            outcome: Outcome::Executed,
            position,
            stale: waited.missed.is_some(),
            caching,
            kind,
        })
    }

    fn check_representations(&self, operation: &Operation) -> Result<(), Refusal> {
        let lists = &operation.planned.entity_lists;
        let count: usize = lists.iter().map(|list| entity::count(list, &operation.variables)).sum();
        let bound = self.settings.limits.representations;
        if count > bound {
            return Err(Refusal::of(limits::exceeded(Limit::Representations, "representations", bound)));
        }
        Ok(())
    }

    /// The feeds of all entities that an operation reads.
    fn feeds(&self, operation: &Operation, lists: &[Vec<entity::Item>]) -> Vec<&Feed> {
        let mut reads: Vec<TypeId> = operation.planned.reads.clone();
        for (list, items) in operation.planned.entity_lists.iter().zip(lists) {
            reads.extend(entity::types(list, items).filter(|ty| self.model.ty(*ty).kind == TypeKind::Entity));
        }
        self.settings.feeds.iter().filter(|feed| reads.contains(&feed.entity)).collect()
    }
}

/// What an operation asks for.
fn kind(planned: &planned::Planned) -> OperationKind {
    match (planned.entity_lists.is_empty(), planned.reads.is_empty()) {
        (false, _) => OperationKind::Entities,
        (true, false) => OperationKind::Query,
        (true, true) => OperationKind::Introspection,
    }
}

/// The answer of a request that would rather fail than be stale.
fn stale(waited: &Waited, wait: Wait) -> Answer {
    let missed = waited.missed.as_ref().map(ToString::to_string).unwrap_or_default();
    let message = format!("Position {missed} was not reached within {} ms.", wait.at_most.as_millis());
    let body = Refusal::of(Fault::new(Code::StaleRead, message)).body();
    Answer { stale: true, ..refused(body, Outcome::Stale) }
}

/// An answer without data.
fn refused(body: Vec<u8>, outcome: Outcome) -> Answer {
    let kind = OperationKind::Refused;
    Answer { body, outcome, position: String::new(), stale: false, caching: None, kind }
}
