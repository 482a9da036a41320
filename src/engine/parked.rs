//! Parked keys for operators: listed and shown in pages, retried, skipped and dropped step by step.
//!
//! Comes in: keys as a person names them. Goes out: what the store and the log have of them, and steps that the projection's
//! owner does: its running loop, or, where none runs, one that is opened for the step.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_ms;
use crate::engine::{Embedded, Projecting, Reading};
use crate::event::{Offset, Position, TopicPartition};
use crate::project::retry::{ParkedRequest, ParkedStep, Release, Stepped};
use crate::project::{Projector, Scope};
use crate::serve::{
    ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery, ParkedView, WaitingEvent,
};
use crate::source::{Source, SourceError};
use crate::store::{ParkedEntry, ParkedItem, ParkedKey, ParkedPage, QueuedEvent, StoreError, Tables};
use crate::value::encode::RowKey;

/// Keys read at once while one is looked for by what it is shown as.
const PAGE: usize = 500;

/// Most keys that one text may name.
const NAMED_MAX: usize = 20;

/// Bytes of a waiting event's value that are shown.
const VALUE_SHOWN: usize = 4096;

/// What a process has for those who look at parked keys.
pub(super) trait Desk: Send + Sync {
    /// The tables that answer.
    fn tables(&self) -> Result<Arc<dyn Tables>, ParkedError>;

    /// Learns what is parked now, where nobody else in this process does.
    fn refresh(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// Where waiting events are read; `None` where this process does not read the log.
    fn log(&self) -> Option<&dyn Source>;

    /// Lets the owner of a parked key do a step.
    fn step<'a>(
        &'a self,
        item: &'a ParkedItem,
        step: ParkedStep,
    ) -> BoxFuture<'a, Result<ParkedDone, ParkedError>>;
}

/// A page of the parked keys of all projections, or of one.
pub(super) async fn list(desk: &dyn Desk, query: ParkedQuery) -> Result<ParkedList, ParkedError> {
    desk.refresh().await.map_err(failed)?;
    let tables = desk.tables()?;
    let after = query.after.as_deref().map(|id| place_of(id).ok_or_else(|| not_an_id(id))).transpose()?;
    let page = ParkedPage {
        projection: query.projection.as_deref(),
        rows: None,
        after: after.as_ref().map(|(projection, key)| (projection.as_str(), key)),
        limit: query.limit.saturating_add(1),
    };
    let mut items = tables.parked_page(page).await.map_err(failed)?;
    let is_cut = items.len() > query.limit;
    items.truncate(query.limit);
    let parked: Vec<ParkedView> = items.iter().map(view).collect();
    let next = parked.last().filter(|_| is_cut).map(|last| last.id.clone());
    Ok(ParkedList { parked, next })
}

/// The parked keys that a text names, each with a page of its queue.
pub(super) async fn show(
    desk: &dyn Desk,
    key: &str,
    query: ParkedQuery,
) -> Result<Vec<ParkedDetail>, ParkedError> {
    desk.refresh().await.map_err(failed)?;
    let tables = desk.tables()?;
    let after = query.after.as_deref().map(|id| queued_of(id).ok_or_else(|| not_an_id(id))).transpose()?;
    let (mut details, mut log, mut unread) = (Vec::new(), desk.log(), None);
    for item in named(tables.as_ref(), key, query.projection.as_deref()).await? {
        let queued = tables.parked_queue(&item.projection, &item.key, after.as_ref(), query.limit);
        let mut queue = Vec::new();
        for event in queued.await.map_err(failed)? {
            let value = match log {
                Some(source) => value_of(source, &event).await.unwrap_or_else(|error| {
                    // What waits is known without the log, and it would fail for the others too.
                    (log, unread) = (None, Some(error.to_string()));
                    None
                }),
                None => None,
            };
            queue.push(waiting(event, value));
        }
        details.push(ParkedDetail { parked: view(&item), queue, unread: unread.clone() });
    }
    Ok(details)
}

/// One step for the one parked key that a text names.
pub(super) async fn release(
    desk: &dyn Desk,
    key: &str,
    action: ParkedAction,
) -> Result<ParkedDone, ParkedError> {
    desk.refresh().await.map_err(failed)?;
    let tables = desk.tables()?;
    let mut named = named(tables.as_ref(), key, action.projection.as_deref()).await?;
    let item = match (named.pop(), named.len()) {
        (Some(item), 0) => item,
        (None, _) => return Err(ParkedError::NotThere(key.to_owned())),
        (Some(last), _) => {
            let ids = named.iter().chain([&last]).map(|item| id(&item.projection, &item.key));
            let ids: Vec<String> = ids.collect();
            return Err(ParkedError::Refused(format!(
                "several parked keys are shown as {key:?}: name one by its id, {}",
                ids.join(" or ")
            )));
        }
    };
    let first = action.first.as_deref().map(|text| position_of(text).ok_or_else(|| not_an_id(text)));
    let release = release_of(&action.release)?;
    let step = ParkedStep { key: item.key.clone(), release, first: first.transpose()? };
    desk.step(&item, step).await
}

/// What a step has done, in the words of whoever asked.
fn done(stepped: Stepped) -> ParkedDone {
    let Stepped { applied, skipped, dropped, waiting, stopped } = stepped;
    let stopped = stopped.map(|stopped| format!("{}: {}", stopped.position, stopped.reason));
    ParkedDone { applied, skipped, dropped, waiting, stopped }
}

/// What a person calls it.
pub(super) fn release_of(name: &str) -> Result<Release, ParkedError> {
    Release::named(name).ok_or_else(|| {
        ParkedError::Refused(format!("{name:?} is not what can be done: retry, skip-first or drop"))
    })
}

/// The parked keys that a text names: by the id that a list shows, or as they are shown.
async fn named(
    tables: &dyn Tables,
    text: &str,
    projection: Option<&str>,
) -> Result<Vec<ParkedItem>, ParkedError> {
    if let Some((found_in, key)) = place_of(text) {
        let entry = tables.parked_entry(&found_in, &key).await.map_err(failed)?;
        let item = |entry| ParkedItem { projection: found_in.as_str().into(), key, entry };
        return Ok(entry.map(item).into_iter().collect());
    }
    let mut found: Vec<ParkedItem> = Vec::new();
    let mut last: Option<ParkedItem> = None;
    loop {
        let after = last.as_ref().map(|item| (&*item.projection, &item.key));
        let page = ParkedPage { projection, rows: None, after, limit: PAGE };
        let items = tables.parked_page(page).await.map_err(failed)?;
        let is_last = items.len() < PAGE;
        last = items.last().cloned();
        found.extend(items.into_iter().filter(|item| *item.entry.shown == *text));
        if is_last || found.len() >= NAMED_MAX {
            found.truncate(NAMED_MAX);
            return Ok(found);
        }
    }
}

/// The beginning of an event's value, where the log has it.
async fn value_of(log: &dyn Source, event: &QueuedEvent) -> Result<Option<String>, SourceError> {
    let record = log.fetch(&event.at, event.offset).await?;
    Ok(record.and_then(|record| record.value).map(|value| {
        let shown = &value[..value.len().min(VALUE_SHOWN)];
        String::from_utf8_lossy(shown).into_owned()
    }))
}

fn waiting(event: QueuedEvent, value: Option<String>) -> WaitingEvent {
    let position = Position { at: event.at.clone(), offset: event.offset }.to_string();
    let id = format!("{}/{position}", event.order);
    WaitingEvent { position, id, time_ms: event.time_ms, value }
}

impl Desk for Embedded {
    fn tables(&self) -> Result<Arc<dyn Tables>, ParkedError> {
        Ok(Arc::clone(&self.serving().ok_or_else(nothing_answers)?.tables))
    }

    fn log(&self) -> Option<&dyn Source> {
        Some(self.broker().as_ref())
    }

    fn step<'a>(
        &'a self,
        item: &'a ParkedItem,
        step: ParkedStep,
    ) -> BoxFuture<'a, Result<ParkedDone, ParkedError>> {
        let projection = &item.projection;
        Box::pin(async move {
            if let Some(asked) = self.parked_queue_of(projection) {
                return ask(&asked, projection, step).await;
            }
            // No loop of this projection runs: it has halted, or nothing runs at all.
            let _one_at_a_time = self.stepping().lock().await;
            let definitions = self.definitions().ok_or_else(nothing_answers)?;
            let found = definitions.projections.iter().find(|found| found.name == *projection);
            let found = found
                .ok_or_else(|| ParkedError::Refused(format!("there is no projection {projection:?}")))?;
            let starts = self.starts();
            let opened = Projector::open_within(
                Arc::clone(found),
                Arc::clone(&definitions.plan),
                self.tables()?,
                self.broker().as_ref(),
                (self.project_settings(), now_ms().saturating_mul(1_000)),
                Scope { starts: &starts, ..Scope::default() },
            );
            let mut projector = opened.await.map_err(failed)?;
            projector.step_parked(self.broker().as_ref(), &step).await.map(done).map_err(failed)
        })
    }
}

impl Desk for Projecting {
    fn tables(&self) -> Result<Arc<dyn Tables>, ParkedError> {
        Ok(Arc::clone(Projecting::tables(self)))
    }

    fn log(&self) -> Option<&dyn Source> {
        Some(self.source())
    }

    fn step<'a>(
        &'a self,
        item: &'a ParkedItem,
        step: ParkedStep,
    ) -> BoxFuture<'a, Result<ParkedDone, ParkedError>> {
        Box::pin(async move {
            let at = &item.entry.since.at;
            let asked = self.parked_queue_of(&item.projection, at).ok_or_else(|| {
                ParkedError::Refused(format!(
                    "{}:{} is worked by another process: `kinora parked` asks that one",
                    at.topic, at.partition
                ))
            })?;
            ask(&asked, &item.projection, step).await
        })
    }
}

impl Desk for Reading {
    fn tables(&self) -> Result<Arc<dyn Tables>, ParkedError> {
        Ok(Arc::clone(&self.serving().tables))
    }

    fn log(&self) -> Option<&dyn Source> {
        None
    }

    fn step<'a>(
        &'a self,
        _: &'a ParkedItem,
        _: ParkedStep,
    ) -> BoxFuture<'a, Result<ParkedDone, ParkedError>> {
        let reason = "this process only answers: `kinora parked` asks whoever works the key's partition";
        Box::pin(async move { Err(ParkedError::Refused(reason.to_owned())) })
    }
}

/// Asks a running loop, and waits for its answer.
async fn ask(
    asked: &mpsc::Sender<ParkedRequest>,
    projection: &str,
    step: ParkedStep,
) -> Result<ParkedDone, ParkedError> {
    let stopped = || ParkedError::Unavailable(format!("projection {projection:?} was stopped; ask again"));
    ask_loop(asked, step).await.ok_or_else(stopped)?
}

/// As [`ask`]; `None` where the loop was stopped before it did anything.
pub(super) async fn ask_loop(
    asked: &mpsc::Sender<ParkedRequest>,
    step: ParkedStep,
) -> Option<Result<ParkedDone, ParkedError>> {
    let (reply, answer) = oneshot::channel();
    asked.send(ParkedRequest { step, reply }).await.ok()?;
    // A step that was begun is always answered.
    Some(answer.await.ok()?.map(done).map_err(ParkedError::Unavailable))
}

fn nothing_answers() -> ParkedError {
    ParkedError::Unavailable("no generation answers yet, so no key is known to be parked".to_owned())
}

pub(super) fn failed(error: impl std::fmt::Display) -> ParkedError {
    ParkedError::Unavailable(error.to_string())
}

fn not_an_id(text: &str) -> ParkedError {
    ParkedError::Refused(format!("{text:?} is not what was listed; take it as it stands there"))
}

fn view(item: &ParkedItem) -> ParkedView {
    let ParkedItem { projection, key, entry } = item;
    let ParkedEntry { since, entity, shown, stage, reason, type_name, waiting, .. } = entry;
    ParkedView {
        id: id(projection, key),
        projection: projection.to_string(),
        entity: entity.to_string(),
        key: shown.to_string(),
        since: Position { at: since.at.clone(), offset: since.offset }.to_string(),
        since_ms: since.time_ms,
        stage: stage.to_string(),
        reason: reason.to_string(),
        type_name: type_name.as_ref().map(ToString::to_string),
        waiting: *waiting,
    }
}

/// What names a parked key alone: `orders/r2.0a0b`.
fn id(projection: &str, key: &ParkedKey) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match key {
        ParkedKey::Row(key) => format!("{projection}/r{}.{}", key.partition().len(), hex(key.bytes())),
        ParkedKey::Record(bytes) => format!("{projection}/k{}", hex(bytes)),
        ParkedKey::Position(at, offset) => format!("{projection}/p{}:{}@{offset}", at.topic, at.partition),
    }
}

/// The key that an id names; `None` if it is none.
fn place_of(id: &str) -> Option<(String, ParkedKey)> {
    let (projection, rest) = id.rsplit_once('/')?;
    let (kind, rest) = (rest.get(..1)?, rest.get(1..)?);
    let key = match kind {
        "r" => {
            let (partition, bytes) = rest.split_once('.')?;
            ParkedKey::Row(RowKey::split(unhex(bytes)?, partition.parse().ok()?)?)
        }
        "k" => ParkedKey::Record(unhex(rest)?.into()),
        "p" => {
            let Position { at, offset } = position_of(rest)?;
            ParkedKey::Position(at, offset)
        }
        _ => return None,
    };
    Some((projection.to_owned(), key))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// `topic:partition@offset`.
pub(super) fn position_of(text: &str) -> Option<Position> {
    let (place, offset) = text.rsplit_once('@')?;
    let (topic, partition) = place.rsplit_once(':')?;
    let at = TopicPartition { topic: topic.into(), partition: partition.parse().ok()? };
    Some(Position { at, offset: offset.parse().ok()? })
}

/// `order/topic:partition@offset`.
fn queued_of(text: &str) -> Option<QueuedEvent> {
    let (order, position) = text.split_once('/')?;
    let (order, Position { at, offset }): (Offset, _) = (order.parse().ok()?, position_of(position)?);
    Some(QueuedEvent { at, offset, order, time_ms: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_key() {
        let at = TopicPartition { topic: "shop.orders".into(), partition: 3 };
        for key in [
            ParkedKey::Row(RowKey::new(vec![0, 0xFF], &[7])),
            ParkedKey::Record(b"a/b".as_slice().into()),
            ParkedKey::Record(Box::default()),
            ParkedKey::Position(at.clone(), 17),
        ] {
            assert_eq!(place_of(&id("orders", &key)), Some(("orders".to_owned(), key)));
        }
        for text in [
            "",
            "orders",
            "orders/",
            "orders/x00",
            "orders/r9.00",
            "orders/k0",
            "orders/kzz",
            "{\"id\":\"a/r\"}",
        ] {
            assert_eq!(place_of(text), None, "{text:?}");
        }
        let queued = QueuedEvent { at, offset: 17, order: 40, time_ms: 0 };
        assert_eq!(queued_of("40/shop.orders:3@17"), Some(queued));
        assert_eq!(queued_of("shop.orders:3@17"), None);
    }
}
