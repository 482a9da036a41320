//! What the server asks of an engine: of one that is all in one process, of one that folds, of one that answers.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::engine::parked::Desk;
use crate::engine::{Definitions, Embedded, Projecting, Reading, Serving, Status, parked, pausing};
use crate::event::Position;
use crate::observe::Measured;
use crate::resolve::{Answer, Request};
use crate::serve::{
    Backend, ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery, PauseOrder,
    Paused, PublishError,
};
use crate::source::{NewRecord, SourceError};

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

    fn measured(&self) -> BoxFuture<'_, Measured> {
        Box::pin(Embedded::measured(self))
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

    fn parked(&self, query: ParkedQuery) -> BoxFuture<'_, Result<ParkedList, ParkedError>> {
        Box::pin(parked::list(self, query))
    }

    fn parked_key(
        &self,
        key: String,
        query: ParkedQuery,
    ) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>> {
        Box::pin(async move { parked::show(self, &key, query).await })
    }

    fn release_parked(
        &self,
        key: String,
        action: ParkedAction,
    ) -> BoxFuture<'_, Result<ParkedDone, ParkedError>> {
        Box::pin(async move { parked::release(self, &key, action).await })
    }

    fn set_paused(&self, order: PauseOrder) -> BoxFuture<'_, Result<Paused, ParkedError>> {
        Box::pin(Embedded::set_paused(self, order))
    }
}

/// One of the two halves, `project` and `serve`: what each answers in its own way.
trait Half: Desk {
    fn definitions(&self) -> &Definitions;

    /// `None` where it does not answer operations.
    fn serving(&self) -> Option<Arc<Serving>>;

    fn status(&self) -> BoxFuture<'_, Status>;

    fn measured(&self) -> BoxFuture<'_, Measured>;
}

impl Half for Projecting {
    fn definitions(&self) -> &Definitions {
        Projecting::definitions(self)
    }

    fn serving(&self) -> Option<Arc<Serving>> {
        None
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(Projecting::status(self))
    }

    fn measured(&self) -> BoxFuture<'_, Measured> {
        Box::pin(Projecting::measured(self))
    }
}

impl Half for Reading {
    fn definitions(&self) -> &Definitions {
        Reading::definitions(self)
    }

    fn serving(&self) -> Option<Arc<Serving>> {
        Some(Reading::serving(self))
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async { Reading::status(self) })
    }

    fn measured(&self) -> BoxFuture<'_, Measured> {
        Box::pin(async { Reading::measured(self) })
    }
}

impl<H: Half + 'static> Backend for H {
    fn execute(&self, request: Request) -> BoxFuture<'_, Option<Answer>> {
        Box::pin(async move {
            let serving = self.serving()?;
            Some(serving.graph.execute(request, &serving.tables).await)
        })
    }

    fn sdl(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.definitions().model.sdl))
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Half::status(self)
    }

    fn measured(&self) -> BoxFuture<'_, Measured> {
        Half::measured(self)
    }

    fn publish(&self, _: String, _: Vec<NewRecord>) -> BoxFuture<'_, Result<Vec<Position>, PublishError>> {
        // Publishing goes to the log itself where processes share it.
        let refused = PublishError::Refused("events are published to Kafka, not here".to_owned());
        Box::pin(async { Err(refused) })
    }

    fn parked(&self, query: ParkedQuery) -> BoxFuture<'_, Result<ParkedList, ParkedError>> {
        Box::pin(parked::list(self, query))
    }

    fn parked_key(
        &self,
        key: String,
        query: ParkedQuery,
    ) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>> {
        Box::pin(async move { parked::show(self, &key, query).await })
    }

    fn release_parked(
        &self,
        key: String,
        action: ParkedAction,
    ) -> BoxFuture<'_, Result<ParkedDone, ParkedError>> {
        Box::pin(async move { parked::release(self, &key, action).await })
    }

    fn set_paused(&self, order: PauseOrder) -> BoxFuture<'_, Result<Paused, ParkedError>> {
        Box::pin(async { pausing::order(self.tables()?.as_ref(), self.definitions(), order).await })
    }
}
