//! Pauses, requests and workers: rows by which processes that share a keyspace tell each other what they are to do.
//!
//! Pauses and requests are comparing writes. A partition of a projection has one place for requests, so that there are never
//! more of them than partitions; what stands there ends by its TTL. What workers say of themselves is written plainly, and
//! again before its TTL ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::answers::{Answer, applied};
use super::meta::{self, Place};
use super::names;
use super::parked::{key_bytes, read_key};
use super::session::{Binds, Reads};
use super::table::signed;
use crate::event::TopicPartition;
use crate::store::coordination::{Asked, Coordination, Pause, Request, Worker};
use crate::store::{Owner, StoreError};

/// How often a request is sent again where others come in between.
const TRIES: usize = 3;

pub(super) async fn pauses(place: &Place) -> Result<Vec<Pause>, StoreError> {
    let mut found = Vec::new();
    place
        .rows(names::PAUSES, Reads::Usual, Binds::default().int(place.generation), |row| {
            found.push(Pause {
                projection: row.text(0)?.into(),
                by: row.text(1)?.into(),
                since_ms: row.long(2)?,
            });
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Pauses a projection; answers the pause that stands.
pub(super) async fn pause(place: &Place, pause: &Pause) -> Result<Pause, StoreError> {
    let binds =
        Binds::default().int(place.generation).text(&pause.projection).text(&pause.by).long(pause.since_ms);
    applied(&place.session, names::PAUSE, binds).await?;
    let standing = pauses(place).await?.into_iter().find(|one| one.projection == pause.projection);
    Ok(standing.unwrap_or_else(|| pause.clone()))
}

pub(super) async fn resume(place: &Place, projection: &str) -> Result<(), StoreError> {
    let binds = Binds::default().int(place.generation).text(projection);
    applied(&place.session, names::RESUME, binds).await.map(drop)
}

/// Removes the pauses of a generation that is gone. Requests and workers end by themselves.
pub(super) async fn forget_all(place: &Place) -> Result<(), StoreError> {
    for pause in pauses(place).await? {
        resume(place, &pause.projection).await?;
    }
    Ok(())
}

fn ttl(kept: Duration) -> u32 {
    u32::try_from(kept.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// Null where the time of what stood there is over.
fn read_asked(row: &Answer<'_>) -> Result<Option<Asked>, StoreError> {
    if [3, 4, 5, 7, 8].into_iter().any(|at| row.is_null(at)) {
        return Ok(None);
    }
    let request = Request {
        projection: row.text(0)?.into(),
        at: row.partition(1)?,
        id: row.uuid(3)?,
        key: read_key(row.bytes(4)?)?,
        step: row.text(5)?.into(),
        first: row.maybe_text(6)?.map(Into::into),
        by: row.text(7)?.into(),
        asked_ms: row.long(8)?,
    };
    Ok(Some(Asked { request, taken: row.maybe_offset(9)?, answer: row.maybe_text(10)?.map(Into::into) }))
}

/// The partitions of a worker as text: `shop.orders:3@7` for one that it took in epoch 7. Kafka's names have no spaces.
fn shown(partitions: &[(TopicPartition, u64)]) -> String {
    let one = |(at, epoch): &(TopicPartition, u64)| format!("{}:{}@{epoch}", at.topic, at.partition);
    partitions.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn read_partitions(text: &str) -> Result<Vec<(TopicPartition, u64)>, StoreError> {
    let one = |text: &str| {
        let (place, epoch) = text.rsplit_once('@')?;
        let (topic, partition) = place.rsplit_once(':')?;
        let at = TopicPartition { topic: topic.into(), partition: partition.parse().ok()? };
        Some((at, epoch.parse().ok()?))
    };
    let misread =
        |text: &str| StoreError::Corrupt(format!("{text:?} in kinora_workers is no partition with an epoch"));
    text.split(' ')
        .filter(|text| !text.is_empty())
        .map(|text| one(text).ok_or_else(|| misread(text)))
        .collect()
}

impl Place {
    fn slot(&self, binds: Binds, request: &Request) -> Binds {
        self.binds(binds, &request.projection, &request.at)
    }

    async fn request_at(&self, projection: &str, at: &TopicPartition) -> Result<Option<Asked>, StoreError> {
        let mut found = None;
        self.rows(names::REQUEST, Reads::Serial, self.binds(Binds::default(), projection, at), |row| {
            found = read_asked(row)?;
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn ask_once(
        &self,
        request: &Request,
        before: Option<u128>,
        kept: Duration,
    ) -> Result<(), StoreError> {
        let binds = Binds::default()
            .int(ttl(kept))
            .blob(&request.id.to_be_bytes())
            .blob(&key_bytes(&request.key))
            .text(&request.step)
            .maybe_text(request.first.as_deref())
            .text(&request.by)
            .long(request.asked_ms)
            .maybe_long(None)
            .maybe_text(None);
        let binds = self.slot(binds, request);
        let binds = match before {
            Some(before) => binds.blob(&before.to_be_bytes()),
            None => binds.maybe_text(None),
        };
        applied(&self.session, names::ASK, binds).await.map(drop)
    }

    /// The values that a request is compared with.
    fn comparing(&self, binds: Binds, request: &Request, taken: Option<u64>) -> Result<Binds, StoreError> {
        let binds = self.slot(binds, request).blob(&request.id.to_be_bytes());
        Ok(binds.maybe_long(meta::some(taken.unwrap_or_default())?))
    }
}

impl Coordination for Place {
    fn ask<'a>(&'a self, request: &'a Request, kept: Duration) -> BoxFuture<'a, Result<Asked, StoreError>> {
        Box::pin(async move {
            let mut standing = self.request_at(&request.projection, &request.at).await?;
            for _ in 0..TRIES {
                match &standing {
                    Some(there) if there.answer.is_none() || there.request.id == request.id => break,
                    before => {
                        self.ask_once(request, before.as_ref().map(|before| before.request.id), kept).await?
                    }
                }
                standing = self.request_at(&request.projection, &request.at).await?;
            }
            standing.ok_or_else(|| {
                StoreError::Unavailable("what was asked for did not stay in the store; ask again".to_owned())
            })
        })
    }

    fn asked(&self) -> BoxFuture<'_, Result<Vec<Asked>, StoreError>> {
        Box::pin(async {
            let mut found = Vec::new();
            self.rows(names::REQUESTS, Reads::Usual, Binds::default().int(self.generation), |row| {
                found.extend(read_asked(row)?);
                Ok(())
            })
            .await?;
            Ok(found)
        })
    }

    fn asked_at<'a>(
        &'a self,
        projection: &'a Arc<str>,
        at: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Option<Asked>, StoreError>> {
        Box::pin(self.request_at(projection, at))
    }

    fn take<'a>(&'a self, asked: &'a Asked, owner: &'a Owner) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let request = &asked.request;
            if asked.answer.is_some() || asked.taken.is_some_and(|taken| taken > owner.epoch) {
                return Ok(false);
            }
            let binds = self.comparing(Binds::default().long(signed(owner.epoch)?), request, asked.taken)?;
            let is_taken = applied(&self.session, names::TAKE, binds).await?;
            let is_ours = |there: Asked| there.request.id == request.id && there.taken == Some(owner.epoch);
            // One that was sent twice finds itself.
            Ok(is_taken || self.request_at(&request.projection, &request.at).await?.is_some_and(is_ours))
        })
    }

    fn answer<'a>(
        &'a self,
        request: &'a Request,
        owner: &'a Owner,
        answer: &'a str,
        kept: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let binds = Binds::default().int(ttl(kept)).text(answer);
            let binds = self.comparing(binds, request, Some(owner.epoch))?;
            applied(&self.session, names::ANSWER, binds).await.map(drop)
        })
    }

    fn withdraw<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let binds = self.comparing(Binds::default(), request, None)?;
            if applied(&self.session, names::WITHDRAW, binds).await? {
                return Ok(true);
            }
            let standing = self.request_at(&request.projection, &request.at).await?;
            Ok(standing.is_none_or(|there| there.request.id != request.id))
        })
    }

    fn announce<'a>(&'a self, worker: &'a Worker, kept: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let binds = Binds::default()
                .int(self.generation)
                .text(&worker.projection)
                .blob(&worker.id.to_be_bytes())
                .text(&worker.process)
                .text(&shown(&worker.partitions))
                .text(&worker.state)
                .int(ttl(kept));
            self.run(names::ANNOUNCE, binds).await
        })
    }

    fn leave<'a>(&'a self, worker: &'a Worker) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let binds = Binds::default().int(self.generation).text(&worker.projection);
            self.run(names::LEAVE, binds.blob(&worker.id.to_be_bytes())).await
        })
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<Worker>, StoreError>> {
        Box::pin(async {
            let mut found = Vec::new();
            let generation = Binds::default().int(self.generation);
            self.rows(names::WORKERS, Reads::Usual, generation, |row| {
                // The cells of a row end one after the other.
                if !(2..=4).any(|at| row.is_null(at)) {
                    found.push(Worker {
                        projection: row.text(0)?.into(),
                        id: row.uuid(1)?,
                        process: row.text(2)?.into(),
                        partitions: read_partitions(row.text(3)?)?,
                        state: row.text(4)?.into(),
                    });
                }
                Ok(())
            })
            .await?;
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_worker_come_back_from_their_text() {
        let at = |topic: &str, partition| TopicPartition { topic: topic.into(), partition };
        for partitions in
            [vec![], vec![(at("shop.orders", 3), 7)], vec![(at("a", 0), 1), (at("b-c_d", 12), 900)]]
        {
            assert_eq!(read_partitions(&shown(&partitions)).expect("is ours"), partitions);
        }
        for text in ["x", "x:1", "x@1", "x:1@y", "x:y@1"] {
            assert!(read_partitions(text).is_err(), "{text}");
        }
    }
}
