//! What the server asks of an embedded engine.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::engine::{Embedded, Status};
use crate::event::Position;
use crate::resolve::{Answer, Request};
use crate::serve::{Backend, ParkedDetail, ParkedView, PublishError, WaitingEvent};
use crate::source::{NewRecord, Source, SourceError};
use crate::store::{ParkedEntry, ParkedKey, QueuedEvent, Tables, all_parked};

/// Events of a parked key's queue that are shown.
const QUEUE_SHOWN: usize = 100;

/// Bytes of a waiting event's value that are shown.
const VALUE_SHOWN: usize = 4096;

impl Backend for Embedded {
    fn execute(&self, request: Request) -> BoxFuture<'_, Option<Answer>> {
        Box::pin(async move {
            let serving = self.serving()?;
            Some(serving.graph.execute(request, &serving.tables).await)
        })
    }

    fn sdl(&self) -> Option<Arc<str>> {
        self.definitions().map(|definitions| Arc::clone(&definitions.model.sdl))
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(Embedded::status(self))
    }

    fn publish(
        &self,
        topic: String,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'_, Result<Vec<Position>, PublishError>> {
        Box::pin(async move {
            Embedded::publish(self, &topic, records).await.map_err(|error| match error {
                SourceError::Refused(reason) => PublishError::Refused(reason),
                other => PublishError::Unavailable(other.to_string()),
            })
        })
    }

    fn parked(&self) -> BoxFuture<'_, Vec<ParkedView>> {
        Box::pin(async move {
            let Some(serving) = self.serving() else { return Vec::new() };
            let parked = all_parked(serving.tables.as_ref()).await.unwrap_or_default();
            parked.iter().map(|((projection, _), entry)| view(projection, entry)).collect()
        })
    }

    fn parked_key(&self, shown: String) -> BoxFuture<'_, Result<Vec<ParkedDetail>, String>> {
        Box::pin(async move {
            let Some(serving) = self.serving() else { return Ok(Vec::new()) };
            let parked = all_parked(serving.tables.as_ref()).await.map_err(|error| error.to_string())?;
            let mut details = Vec::new();
            for ((projection, key), entry) in parked.iter().filter(|(_, entry)| *entry.shown == *shown) {
                let queue = self.queue(serving.tables.as_ref(), projection, key).await?;
                details.push(ParkedDetail { parked: view(projection, entry), queue });
            }
            Ok(details)
        })
    }
}

impl Embedded {
    /// The events that wait behind a parked key, with their values as the log has them.
    async fn queue(
        &self,
        tables: &dyn Tables,
        projection: &str,
        key: &ParkedKey,
    ) -> Result<Vec<WaitingEvent>, String> {
        let queued = tables
            .parked_queue(projection, key, None, QUEUE_SHOWN)
            .await
            .map_err(|error| error.to_string())?;
        let mut waiting = Vec::with_capacity(queued.len());
        for event in queued {
            waiting.push(self.waiting(event).await?);
        }
        Ok(waiting)
    }

    async fn waiting(&self, event: QueuedEvent) -> Result<WaitingEvent, String> {
        let record = self.broker().fetch(&event.at, event.offset).await.map_err(|error| error.to_string())?;
        let value = record.and_then(|record| record.value).map(|value| {
            let shown = &value[..value.len().min(VALUE_SHOWN)];
            String::from_utf8_lossy(shown).into_owned()
        });
        let position = Position { at: event.at, offset: event.offset };
        Ok(WaitingEvent { position: position.to_string(), time_ms: event.time_ms, value })
    }
}

fn view(projection: &str, entry: &ParkedEntry) -> ParkedView {
    let since = &entry.since;
    let position = Position { at: since.at.clone(), offset: since.offset };
    ParkedView {
        projection: projection.to_owned(),
        entity: entry.entity.to_string(),
        key: entry.shown.to_string(),
        since: position.to_string(),
        since_ms: since.time_ms,
        stage: entry.stage.to_string(),
        reason: entry.reason.to_string(),
        type_name: entry.type_name.as_ref().map(ToString::to_string),
        waiting: entry.waiting,
    }
}
