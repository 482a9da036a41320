//! What the server asks of an embedded engine.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::engine::{Embedded, Status};
use crate::event::Position;
use crate::resolve::{Answer, Request};
use crate::serve::{
    Backend, ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery, PublishError,
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
        Box::pin(self.list_parked(query))
    }

    fn parked_key(
        &self,
        key: String,
        query: ParkedQuery,
    ) -> BoxFuture<'_, Result<Vec<ParkedDetail>, ParkedError>> {
        Box::pin(async move { self.show_parked(&key, query).await })
    }

    fn release_parked(
        &self,
        key: String,
        action: ParkedAction,
    ) -> BoxFuture<'_, Result<ParkedDone, ParkedError>> {
        Box::pin(async move { self.step_parked(&key, action).await })
    }
}
