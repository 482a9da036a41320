//! One session with a cluster: connecting, preparing, sending, and trying again within bounds.
//!
//! Comes in: settings, statements and values. Goes out: rows, or a [`StoreError`] in one sentence. Every statement that is sent
//! here may be sent twice: it carries its own stamp, or compares what it changes. A statement that timed out may have been
//! applied, or may be later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, TryFutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session as Driver;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::policies::load_balancing::{DefaultPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency as Level, SerialConsistency};
use tokio::sync::OnceCell;

use super::cells::{CellType, push_framed};
use super::tls;
use super::window::Window;
use crate::config::{Cassandra, Consistency};
use crate::observe::metrics;
use crate::store::StoreError;
use crate::store::ledger::lock;
use crate::value::Value;
use crate::value::encode::Malformed;

/// Values of a statement, as the protocol has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Binds {
    /// Each with its length before it.
    bytes: Vec<u8>,
}

impl Binds {
    /// A value of a column.
    ///
    /// # Errors
    /// It is none of the column's type.
    pub fn cell(&mut self, ty: &CellType, value: &Value) -> Result<(), Malformed> {
        push_framed(&mut self.bytes, ty, value)
    }

    /// Leaves a column as it is.
    pub fn unset(&mut self) {
        self.bytes.extend_from_slice(&(-2i32).to_be_bytes());
    }

    pub fn long(mut self, value: i64) -> Binds {
        self.push_long(value);
        self
    }

    pub fn push_long(&mut self, value: i64) {
        self.bytes.extend_from_slice(&8i32.to_be_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn push_bool(&mut self, value: bool) {
        self.bytes.extend_from_slice(&1i32.to_be_bytes());
        self.bytes.push(u8::from(value));
    }

    pub fn int(mut self, value: u32) -> Binds {
        self.bytes.extend_from_slice(&4i32.to_be_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn text(self, text: &str) -> Binds {
        self.blob(text.as_bytes())
    }

    /// Null where there is none.
    pub fn maybe_text(mut self, text: Option<&str>) -> Binds {
        match text {
            Some(text) => self.text(text),
            None => {
                self.bytes.extend_from_slice(&(-1i32).to_be_bytes());
                self
            }
        }
    }

    /// Null where there is none.
    pub fn maybe_long(mut self, value: Option<i64>) -> Binds {
        match value {
            Some(value) => self.long(value),
            None => {
                self.bytes.extend_from_slice(&(-1i32).to_be_bytes());
                self
            }
        }
    }

    pub fn blob(mut self, bytes: &[u8]) -> Binds {
        let len = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// How many bytes they take on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} values are missing or too many")]
struct Miscounted(usize);

impl SerializeRow for Binds {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let mut rest = &self.bytes[..];
        let mut count = 0;
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let cell = writer.make_cell_writer();
            rest = tail;
            count += 1;
            match i32::from_be_bytes(*len) {
                -1 => drop(cell.set_null()),
                ..-1 => drop(cell.set_unset()),
                len => {
                    let (value, tail) = rest.split_at_checked(len as usize).unwrap_or((rest, &[]));
                    cell.set_value(value).map_err(SerializationError::new)?;
                    rest = tail;
                }
            }
        }
        match context.columns().len().abs_diff(count) {
            0 => Ok(()),
            off => Err(SerializationError::new(Miscounted(off))),
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A session, shared by everything that one process does with a cluster.
pub(super) struct Session {
    driver: Driver,
    pub settings: Cassandra,
    /// By their text. There are as many as tables have shapes of reads and writes.
    prepared: Mutex<HashMap<Arc<str>, Arc<OnceCell<PreparedStatement>>>>,
    /// What is left of the retries: each statement earns a tenth of one.
    retries: AtomicI64,
    /// How many statements each batch and each read may have under way.
    window: Arc<Window>,
}

const RETRY: i64 = 10;
const RETRIES_MAX: i64 = 200 * RETRY;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Something that is under way.
pub(super) type Step<'a, T> = BoxFuture<'a, Result<T, StoreError>>;
type Attempt<'a, T> = BoxFuture<'a, Result<T, ExecutionError>>;

/// How a statement's answer is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As the settings say.
    Usual,
    /// After everything that comparing writes have decided.
    Serial,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// No node answers, or it refuses us.
    pub async fn connect(settings: &Cassandra) -> Result<Session, StoreError> {
        if settings.nodes.is_empty() {
            return Err(StoreError::Refused(
                "no Cassandra is named: set cassandra.nodes to its nodes, like [\"10.0.0.1:9042\"]"
                    .to_owned(),
            ));
        }
        let (level, serial) = match settings.consistency {
            Consistency::LocalQuorum => (Level::LocalQuorum, SerialConsistency::LocalSerial),
            Consistency::Quorum => (Level::Quorum, SerialConsistency::Serial),
        };
        let mut policy = DefaultPolicy::builder().token_aware(true);
        if let Some(datacenter) = &settings.datacenter {
            policy = policy.prefer_datacenter(datacenter.clone());
        }
        let profile = ExecutionProfile::builder()
            .consistency(level)
            .serial_consistency(Some(serial))
            .request_timeout(Some(settings.timeout))
            .load_balancing_policy(policy.build())
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&settings.nodes)
            .connection_timeout(settings.connect)
            .fetch_schema_metadata(true)
            .auto_await_schema_agreement(false)
            .default_execution_profile_handle(profile.into_handle());
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            builder = builder.user(user, String::from_utf8_lossy(&password.0));
        }
        if let Some(tls) = tls::client(&settings.tls)? {
            builder = builder.tls_context(Some(tls));
        }
        let nodes = settings.nodes.join(", ");
        let driver = match tokio::time::timeout(settings.connect, builder.build()).await {
            Ok(Ok(driver)) => driver,
            Ok(Err(error)) => return Err(not_connected(&nodes, &error.to_string())),
            Err(_) => {
                let wait = settings.connect;
                return Err(StoreError::Unavailable(format!(
                    "Cassandra at {nodes} has not answered within {wait:?} (cassandra.connect)"
                )));
            }
        };
        Ok(Session {
            driver,
            settings: settings.clone(),
            prepared: Mutex::default(),
            retries: AtomicI64::new(RETRIES_MAX),
            window: Arc::new(Window::new(settings.concurrent)),
        })
    }

    /// A statement, prepared once.
    pub fn prepare<'a>(&'a self, text: &'a str, reads: Reads) -> Step<'a, PreparedStatement> {
        Box::pin(async move {
            let cell = {
                let mut prepared = lock(&self.prepared);
                match prepared.get(text) {
                    Some(cell) => Arc::clone(cell),
                    None => Arc::clone(prepared.entry(text.into()).or_default()),
                }
            };
            cell.get_or_try_init(|| self.make(text, reads)).await.cloned()
        })
    }

    fn make<'a>(&'a self, text: &'a str, reads: Reads) -> Step<'a, PreparedStatement> {
        Box::pin(async move {
            let mut statement =
                self.driver.prepare(text).await.map_err(|error| not_prepared(text, &error))?;
            statement.set_is_idempotent(true);
            if reads == Reads::Serial {
                statement.set_consistency(match self.settings.consistency {
                    Consistency::LocalQuorum => Level::LocalSerial,
                    Consistency::Quorum => Level::Serial,
                });
            }
            Ok(statement)
        })
    }

    /// Runs a statement whose answer is one page.
    pub fn execute<'a>(&'a self, text: &'a str, reads: Reads, binds: &'a Binds) -> Step<'a, QueryResult> {
        Box::pin(async move {
            let statement = self.prepare(text, reads).await?;
            self.repeat(&|| Box::pin(self.driver.execute_unpaged(&statement, binds))).await
        })
    }

    /// Runs a statement for one page of its answer.
    pub fn page<'a>(
        &'a self,
        text: &'a str,
        binds: &'a Binds,
        rows: usize,
        state: &'a PagingState,
    ) -> Step<'a, (QueryResult, Option<PagingState>)> {
        Box::pin(async move {
            let mut statement = self.prepare(text, Reads::Usual).await?;
            statement.set_page_size(i32::try_from(rows).unwrap_or(i32::MAX));
            let (result, next) = self
                .repeat(&|| Box::pin(self.driver.execute_single_page(&statement, binds, state.clone())))
                .await?;
            let next = match next {
                PagingStateResponse::HasMorePages { state } => Some(state),
                PagingStateResponse::NoMorePages => None,
            };
            Ok((result, next))
        })
    }

    /// Writes one partition: one statement, or several as one.
    pub fn write(&self, writes: Vec<(PreparedStatement, Binds)>) -> Step<'_, ()> {
        Box::pin(async move {
            if let [(statement, binds)] = &writes[..] {
                self.repeat(&|| Box::pin(self.driver.execute_unpaged(statement, binds))).await?;
                return Ok(());
            }
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.set_is_idempotent(true);
            let mut values = Vec::with_capacity(writes.len());
            for (statement, binds) in writes {
                batch.append_statement(statement);
                values.push(binds);
            }
            self.repeat(&|| Box::pin(self.driver.batch(&batch, &values))).await?;
            Ok(())
        })
    }

    /// Takes steps, so many at once as the settings say; answers what they come to, in their order.
    pub fn all<'a, T: Send + 'a>(&self, steps: Vec<Step<'a, T>>) -> Step<'a, Vec<T>> {
        let window = Arc::clone(&self.window);
        Box::pin(async move {
            let (mut waiting, mut under_way) = ((0..).zip(steps), FuturesUnordered::new());
            let mut found: Vec<(usize, T)> = Vec::new();
            loop {
                let room = window.width().saturating_sub(under_way.len());
                // In any order: one that is slow keeps none behind it from being sent.
                under_way.extend(
                    waiting
                        .by_ref()
                        .take(room)
                        .map(|(number, step)| step.map_ok(move |answer| (number, answer))),
                );
                let Some(answer) = under_way.next().await else { break };
                found.push(answer?);
            }
            found.sort_unstable_by_key(|(number, _)| *number);
            Ok(found.into_iter().map(|(_, answer)| answer).collect())
        })
    }

    /// Runs a statement that changes the schema, once, and waits until all nodes have it.
    pub async fn change_schema(&self, text: &str) -> Result<(), StoreError> {
        let failed = |error: &dyn std::fmt::Display| {
            StoreError::Refused(format!("Cassandra did not take this statement: {error}\n{text}"))
        };
        let mut statement = scylla::statement::Statement::new(text);
        statement.set_request_timeout(Some(self.settings.timeout.max(SCHEMA_TIMEOUT)));
        self.driver.query_unpaged(statement, ()).await.map_err(|error| failed(&reason(&error)))?;
        self.driver.await_schema_agreement().await.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// The nodes that say that they sync their commit log now and then.
    pub async fn unsynced_nodes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for node in self.driver.get_cluster_state().get_nodes_info() {
            let mut statement = scylla::statement::Statement::new(COMMIT_LOG);
            statement.set_consistency(Level::One);
            let this = NodeIdentifier::Node(Arc::clone(node));
            statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(this, None)));
            let Ok(answer) = self.driver.query_unpaged(statement, ()).await else { continue };
            let mut is_periodic = false;
            let read = each_row(answer, |cells| {
                is_periodic = cells.first().is_some_and(|cell| *cell == Some(b"periodic".as_slice()));
                Ok(())
            });
            if read.is_ok() && is_periodic {
                found.push(node.address.to_string());
            }
        }
        found
    }

    /// Sends until it is answered, within the bounds.
    async fn repeat<'a, T>(
        &self,
        send: &(dyn Fn() -> Attempt<'a, T> + Send + Sync),
    ) -> Result<T, StoreError> {
        let mut pause = PAUSE_MIN;
        let earned = self.retries.fetch_add(1, Ordering::Relaxed);
        if earned > RETRIES_MAX {
            self.retries.store(RETRIES_MAX, Ordering::Relaxed);
        }
        for left in (0..=self.settings.retries).rev() {
            let sent = send().await;
            match &sent {
                Err(error) if is_behind(error) => {
                    if let Some(width) = self.window.behind(Instant::now()) {
                        tracing::debug!(width, "Cassandra is behind; fewer statements are sent at once.");
                    }
                }
                _ => self.window.taken(),
            }
            match sent {
                Ok(answer) => return Ok(answer),
                Err(error) if !may_pass(&error) => return Err(refused(&error)),
                Err(error) => {
                    if left == 0 || self.retries.fetch_sub(RETRY, Ordering::Relaxed) < RETRY {
                        return Err(StoreError::Unavailable(format!(
                            "Cassandra: {}; what was to be written may have been applied, or may be later",
                            reason(&error)
                        )));
                    }
                    tracing::debug!(error = %error, "Cassandra did not take a statement; it is sent again.");
                    metrics().store_retries.inc();
                    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        unreachable!("the last attempt returns")
    }
}

/// Each node answers for itself. ScyllaDB has no such table, and syncs as it acknowledges only if told; it is not asked further.
const COMMIT_LOG: &str = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'";

const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads each row of an answer.
pub(super) fn each_row(
    result: QueryResult,
    mut row: impl FnMut(&[Option<&[u8]>]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("an answer of Cassandra cannot be read: {error}"))
    };
    let rows = result.into_rows_result().map_err(|error| unreadable(&error))?;
    let mut cells: Vec<Option<&[u8]>> = Vec::new();
    for columns in rows.rows::<ColumnIterator<'_, '_>>().map_err(|error| unreadable(&error))? {
        cells.clear();
        for column in columns.map_err(|error| unreadable(&error))? {
            cells.push(column.map_err(|error| unreadable(&error))?.slice.map(|slice| slice.as_slice()));
        }
        row(&cells)?;
    }
    Ok(())
}

/// Whether the same statement may be taken when it is sent again.
fn may_pass(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::RequestTimeout(_)
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::EmptyPlan => true,
        ExecutionError::LastAttemptError(error) => match error {
            RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
                true
            }
            RequestAttemptError::DbError(error, _) => matches!(
                error,
                DbError::Overloaded
                    | DbError::Unavailable { .. }
                    | DbError::IsBootstrapping
                    | DbError::ReadTimeout { .. }
                    | DbError::WriteTimeout { .. }
                    | DbError::ReadFailure { .. }
                    | DbError::WriteFailure { .. }
                    | DbError::ServerError
                    | DbError::RateLimitReached { .. }
                    | DbError::Unprepared { .. }
            ),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the cluster did not keep up with what it was sent.
fn is_behind(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::RequestTimeout(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => matches!(
            error,
            DbError::Overloaded
                | DbError::ReadTimeout { .. }
                | DbError::WriteTimeout { .. }
                | DbError::RateLimitReached { .. }
        ),
        ExecutionError::LastAttemptError(error) => {
            matches!(error, RequestAttemptError::UnableToAllocStreamId)
        }
        _ => false,
    }
}

/// What a node said, or the driver where none did.
fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(_, message)) => message.clone(),
        other => other.to_string(),
    }
}

fn refused(error: &ExecutionError) -> StoreError {
    StoreError::Refused(format!("Cassandra refuses: {}", reason(error)))
}

fn not_prepared(text: &str, error: &PrepareError) -> StoreError {
    let shown = error.to_string();
    match error {
        PrepareError::AllAttemptsFailed { first_attempt: RequestAttemptError::DbError(_, message) } => {
            StoreError::Refused(format!("Cassandra refuses a statement: {message} ({text})"))
        }
        _ => StoreError::Unavailable(format!("Cassandra: {shown}")),
    }
}

fn not_connected(nodes: &str, error: &str) -> StoreError {
    let is_refusal =
        ["credentials", "uthenticat", "password", "ertificate"].iter().any(|word| error.contains(word));
    match is_refusal {
        true => StoreError::Refused(format!(
            "Cassandra at {nodes} refuses us: {error}; see cassandra.user, cassandra.password and cassandra.tls"
        )),
        false => StoreError::Unavailable(format!("Cassandra at {nodes}: {error}; see cassandra.nodes")),
    }
}
