//! What is kept beside rows: the manifest, progress with its bases, and who owns which partition.
//!
//! Comes in: decisions of the write loop. Goes out: what stands. Manifest, bases and owners are comparing writes; progress is a
//! plain one that carries its next offset as its stamp, so that a late one loses inside the database.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answers::{Answer, applied};
use super::names::{self, within};
use super::session::{Binds, Reads, Session};
use super::table::signed;
use crate::clock::now_ms;
use crate::event::{Start, TopicPartition};
use crate::store::{
    Began, Generation, Internal, Manifest, Owner, Progress, ProgressMark, Relayed, StoreError,
};

/// Where statements go: a session, a keyspace, and a generation.
#[derive(Clone)]
pub(super) struct Place {
    pub session: Arc<Session>,
    pub generation: u32,
}

impl Place {
    pub fn keyspace(&self) -> &str {
        &self.session.settings.keyspace
    }

    /// Runs a statement and reads each row of its answer.
    pub async fn rows(
        &self,
        statement: &str,
        reads: Reads,
        binds: Binds,
        row: impl FnMut(&Answer<'_>) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        rows(&self.session, statement, reads, binds, row).await
    }

    /// Runs a statement that answers nothing.
    pub async fn run(&self, statement: &str, binds: Binds) -> Result<(), StoreError> {
        self.session.execute(&within(statement, self.keyspace()), Reads::Usual, &binds).await?;
        Ok(())
    }

    /// The values of a partition of a projection, as every table of ours has them.
    pub fn binds(&self, binds: Binds, projection: &str, at: &TopicPartition) -> Binds {
        binds.int(self.generation).text(projection).text(&at.topic).int(at.partition)
    }
}

/// Runs a statement and reads each row of its answer.
pub(super) async fn rows(
    session: &Session,
    statement: &str,
    reads: Reads,
    binds: Binds,
    mut row: impl FnMut(&Answer<'_>) -> Result<(), StoreError> + Send,
) -> Result<(), StoreError> {
    let text = within(statement, &session.settings.keyspace);
    super::session::each_row(session.execute(&text, reads, &binds).await?, |cells| row(&Answer { cells }))
}

const MANIFEST: &str = "active";

/// The manifest; `None` before the first generation.
pub(super) async fn manifest(session: &Session) -> Result<Option<Manifest>, StoreError> {
    match manifest_text(session).await? {
        Some(text) => read_manifest(&text).map(Some),
        None => Ok(None),
    }
}

async fn manifest_text(session: &Session) -> Result<Option<String>, StoreError> {
    let mut found = None;
    rows(session, names::MANIFEST, Reads::Serial, Binds::default().text(MANIFEST), |row| {
        found = row.maybe_text(0)?;
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Replaces the manifest if it is still as expected.
pub(super) async fn set_manifest(
    session: &Session,
    expected: Option<&Manifest>,
    new: &Manifest,
) -> Result<bool, StoreError> {
    let new = manifest_bytes(new);
    let (statement, binds) = match expected {
        None => (names::NEW_MANIFEST, Binds::default().text(MANIFEST).text(&new)),
        Some(expected) => {
            let binds = Binds::default().text(&new).text(MANIFEST).text(&manifest_bytes(expected));
            (names::SET_MANIFEST, binds)
        }
    };
    // One that was sent twice finds itself: then it is there all the same.
    Ok(applied(session, statement, binds).await? || manifest_text(session).await?.as_deref() == Some(&new))
}

#[derive(Serialize, Deserialize)]
struct ManifestText {
    active: u32,
    generations: Vec<GenerationText>,
}

#[derive(Serialize, Deserialize)]
struct GenerationText {
    number: u32,
    definitions: String,
    #[serde(default)]
    starts: Vec<BeganText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    internal: Vec<InternalText>,
}

#[derive(Serialize, Deserialize)]
struct InternalText {
    projection: String,
    topic: String,
    topic_id: String,
    partitions: u32,
}

#[derive(Serialize, Deserialize)]
struct BeganText {
    projection: String,
    topic: String,
    partition: u32,
    topic_id: String,
    /// `earliest`, `latest`, milliseconds since 1970, `group NAME`, or `offset` where it was given.
    start: String,
    offset: u64,
}

fn manifest_bytes(manifest: &Manifest) -> String {
    let began = |began: &Began| BeganText {
        projection: began.projection.to_string(),
        topic: began.at.topic.to_string(),
        partition: began.at.partition,
        topic_id: format!("{:032x}", began.topic_id),
        start: match &began.start {
            Start::Earliest => "earliest".to_owned(),
            Start::Latest => "latest".to_owned(),
            Start::At(ms) => ms.to_string(),
            Start::Group(name) => format!("group {name}"),
            Start::Offsets(_) => "offset".to_owned(),
        },
        offset: began.offset,
    };
    let internal = |internal: &Internal| InternalText {
        projection: internal.projection.to_string(),
        topic: internal.topic.to_string(),
        topic_id: format!("{:032x}", internal.topic_id),
        partitions: internal.partitions,
    };
    let generation = |generation: &Generation| GenerationText {
        number: generation.number,
        definitions: generation.definitions.clone(),
        starts: generation.starts.iter().map(began).collect(),
        internal: generation.internal.iter().map(internal).collect(),
    };
    let generations = manifest.generations.iter().map(generation).collect();
    serde_json::to_string(&ManifestText { active: manifest.active, generations })
        .expect("texts and numbers have JSON")
}

fn read_manifest(text: &str) -> Result<Manifest, StoreError> {
    let damaged =
        |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("the manifest in Cassandra: {error}"));
    let found: ManifestText = serde_json::from_str(text).map_err(|error| damaged(&error))?;
    let began = |began: BeganText| {
        Ok(Began {
            projection: began.projection.into(),
            at: TopicPartition { topic: began.topic.into(), partition: began.partition },
            topic_id: u128::from_str_radix(&began.topic_id, 16).map_err(|error| damaged(&error))?,
            start: match began.start.as_str() {
                "earliest" => Start::Earliest,
                "latest" => Start::Latest,
                "offset" => Start::given(began.partition, began.offset),
                other if other.starts_with("group ") => Start::Group(other["group ".len()..].into()),
                ms => Start::At(ms.parse().map_err(|error| damaged(&error))?),
            },
            offset: began.offset,
        })
    };
    let internal = |internal: InternalText| {
        Ok(Internal {
            projection: internal.projection.into(),
            topic: internal.topic.into(),
            topic_id: u128::from_str_radix(&internal.topic_id, 16).map_err(|error| damaged(&error))?,
            partitions: internal.partitions,
        })
    };
    let generation = |generation: GenerationText| {
        Ok(Generation {
            number: generation.number,
            definitions: generation.definitions,
            starts: generation.starts.into_iter().map(began).collect::<Result<_, StoreError>>()?,
            internal: generation.internal.into_iter().map(internal).collect::<Result<_, StoreError>>()?,
        })
    };
    let generations = found.generations.into_iter().map(generation).collect::<Result<_, StoreError>>()?;
    Ok(Manifest { active: found.active, generations })
}

/// Reads progress, each mark with the base of its partition: a base never changes, so one that is known is not read again.
pub(super) async fn progress(place: &Place, known: &Progress) -> Result<Progress, StoreError> {
    let generation = || Binds::default().int(place.generation);
    let mut marks: Vec<ProgressMark> = Vec::new();
    place
        .rows(names::PROGRESS, Reads::Usual, generation(), |row| {
            marks.push(ProgressMark {
                projection: row.text(0)?.into(),
                at: row.partition(1)?,
                topic_id: row.uuid(3)?,
                next: row.offset(4)?,
                end: row.offset(5)?,
                time_ms: row.long(6)?,
                base: 0,
                relayed: row.maybe_text(7)?.map(|text| relayed(&text)).transpose()?,
            });
            Ok(())
        })
        .await?;
    let base_of = |mark: &ProgressMark| known.of(&mark.projection, &mark.at).map(|known| known.base);
    if marks.iter().all(|mark| base_of(mark).is_some()) {
        marks.iter_mut().for_each(|mark| mark.base = base_of(mark).unwrap_or_default());
        return Ok(Progress::new(marks));
    }
    // A base is written before the first mark, so it is read after the marks.
    let mut bases: Vec<(Arc<str>, TopicPartition, i64)> = Vec::new();
    place
        .rows(names::BASES, Reads::Serial, generation(), |row| {
            bases.push((row.text(0)?.into(), row.partition(1)?, row.long(3)?));
            Ok(())
        })
        .await?;
    for mark in &mut marks {
        let of_mark = |(projection, at, _): &&(Arc<str>, TopicPartition, i64)| {
            *projection == mark.projection && *at == mark.at
        };
        let Some((.., base)) = bases.iter().find(of_mark) else {
            let (projection, at) = (&mark.projection, &mark.at);
            return Err(StoreError::Corrupt(format!(
                "progress of projection {projection:?} in {} partition {} has no base in kinora_bases",
                at.topic, at.partition
            )));
        };
        mark.base = *base;
    }
    Ok(Progress::new(marks))
}

/// Fixes the base of a partition, once for all; answers which it is.
pub(super) async fn fix_base(place: &Place, mark: &ProgressMark) -> Result<i64, StoreError> {
    let binds = place.binds(Binds::default(), &mark.projection, &mark.at).long(mark.base);
    let mut base = mark.base;
    place
        .rows(names::NEW_BASE, Reads::Usual, binds, |row| {
            if !row.bool(0)? {
                base = row.long(5)?;
            }
            Ok(())
        })
        .await?;
    Ok(base)
}

/// Writes a mark. It has its next offset as its stamp.
pub(super) async fn set_progress(place: &Place, mark: &ProgressMark) -> Result<(), StoreError> {
    let next = signed(mark.next)?;
    let mut binds = place
        .binds(Binds::default(), &mark.projection, &mark.at)
        .blob(&mark.topic_id.to_be_bytes())
        .long(next)
        .long(signed(mark.end)?)
        .long(mark.time_ms);
    match &mark.relayed {
        Some(relayed) => binds = binds.text(&relayed.text()),
        // A null would be a tombstone for each batch.
        None => binds.unset(),
    }
    place.run(names::SET_PROGRESS, binds.long(next)).await
}

fn relayed(text: &str) -> Result<Arc<Relayed>, StoreError> {
    let damaged = |reason| StoreError::Corrupt(format!("column relayed of kinora_progress: {reason}"));
    Relayed::read(text).map(Arc::new).map_err(damaged)
}

/// Takes a partition: raises its epoch by one.
pub(super) async fn own(
    place: &Place,
    (projection, at): (&Arc<str>, &TopicPartition),
    grace: Duration,
) -> Result<Owner, StoreError> {
    know(place, projection, at).await?;
    loop {
        let (found, seen_ms) = taken_and_seen(place, projection, at).await?;
        // Since the epoch was found nobody took it, if it is taken below: so it was also not settled by another.
        refuse_if_forgotten((projection, at), seen_ms, grace)?;
        let (next, mut taken) = (found + 1, false);
        let binds = Binds::default().long(signed(next)?).long(now_ms());
        place
            .rows(
                names::SET_EPOCH,
                Reads::Usual,
                place.binds(binds, projection, at).maybe_long(some(found)?),
                |row| {
                    taken = row.bool(0)?;
                    Ok(())
                },
            )
            .await?;
        if taken {
            return Ok(Owner { projection: Arc::clone(projection), at: at.clone(), epoch: next });
        }
    }
}

/// Refuses a partition whose last owner was last heard of so long ago that deletions of then may be purged: an event that is
/// applied once more would bring back what they deleted (B12). Half of the time, since replicas purge at their own.
fn refuse_if_forgotten(
    (projection, at): (&str, &TopicPartition),
    seen_ms: Option<i64>,
    grace: Duration,
) -> Result<(), StoreError> {
    let Some(away) = seen_ms.map(|seen| now_ms().saturating_sub(seen)) else { return Ok(()) };
    if u128::from(away.unsigned_abs()) <= grace.as_millis() / 2 || away < 0 {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "projection {projection:?} in {} partition {} was not ended in order, and nobody has worked it for {} hours: more than \
         half of the least gc_grace_seconds of the keyspace ({}), so Cassandra may have purged deletions, and what they \
         deleted could come back; fold anew into a new keyspace: set cassandra.keyspace, then `kinora apply`",
        at.topic,
        at.partition,
        away / 3_600_000,
        grace.as_secs()
    )))
}

/// Says that an owner is there, or, with `None`, that it has ended in order.
pub(super) async fn set_seen(place: &Place, owner: &Owner, seen_ms: Option<i64>) -> Result<(), StoreError> {
    let (mut is_ours, mut found) = (false, 0);
    let binds = place.binds(Binds::default().maybe_long(seen_ms), &owner.projection, &owner.at);
    place
        .rows(names::SET_SEEN, Reads::Usual, binds.maybe_long(some(owner.epoch)?), |row| {
            is_ours = row.bool(0)?;
            found = row.maybe_offset(1)?.unwrap_or_default();
            Ok(())
        })
        .await?;
    if is_ours { Ok(()) } else { Err(lost(owner, found)) }
}

/// The least time for which tables of the keyspace keep deletions.
pub(super) async fn grace(place: &Place) -> Result<Duration, StoreError> {
    let mut least = i64::MAX;
    place
        .rows(names::GRACE, Reads::Usual, Binds::default().text(place.keyspace()), |row| {
            least = least.min(i64::from(row.int(0)?));
            Ok(())
        })
        .await?;
    Ok(Duration::from_secs(u64::try_from(least).unwrap_or_default()))
}

/// An epoch as the store has it: none before the first.
pub(super) fn some(epoch: u64) -> Result<Option<i64>, StoreError> {
    (epoch > 0).then(|| signed(epoch)).transpose()
}

/// Lists a partition, so that whoever comes finds what is decided about it.
pub(super) async fn know(place: &Place, projection: &str, at: &TopicPartition) -> Result<(), StoreError> {
    place.run(names::NEW_PARTITION, place.binds(Binds::default(), projection, at)).await
}

/// The epoch of a partition, after every taking that was acknowledged, and when its owner was last heard of, in milliseconds
/// since 1970; `None` where it has settled.
async fn taken_and_seen(
    place: &Place,
    projection: &str,
    at: &TopicPartition,
) -> Result<(u64, Option<i64>), StoreError> {
    let mut found = (0, None);
    place
        .rows(names::EPOCH, Reads::Serial, place.binds(Binds::default(), projection, at), |row| {
            found = (row.maybe_offset(0)?.unwrap_or_default(), row.maybe_long(1)?);
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Refuses who owns a partition no more.
pub(super) async fn check_owner(place: &Place, owner: &Owner) -> Result<(), StoreError> {
    let (found, _) = taken_and_seen(place, &owner.projection, &owner.at).await?;
    if found == owner.epoch {
        return Ok(());
    }
    Err(lost(owner, found))
}

/// The refusal of who owns a partition no more.
pub(super) fn lost(owner: &Owner, found: u64) -> StoreError {
    let Owner { projection, at, epoch } = owner.clone();
    StoreError::LostOwnership { projection, at, epoch, found }
}

/// The partitions of a generation that anything was decided about.
pub(super) async fn partitions(place: &Place) -> Result<Vec<(Arc<str>, TopicPartition)>, StoreError> {
    let mut found = Vec::new();
    place
        .rows(names::PARTITIONS, Reads::Usual, Binds::default().int(place.generation), |row| {
            found.push((Arc::from(row.text(0)?), row.partition(1)?));
            Ok(())
        })
        .await?;
    Ok(found)
}

fn gone(generation: u32) -> String {
    format!("gone {generation}")
}

/// Whether a generation was removed. Its number is never used again: what it left behind would hide what is written.
pub(super) async fn is_gone(place: &Place) -> Result<bool, StoreError> {
    let mut found = false;
    let binds = Binds::default().text(&gone(place.generation));
    place
        .rows(names::MANIFEST, Reads::Serial, binds, |row| {
            found = !row.is_null(0);
            Ok(())
        })
        .await?;
    Ok(found)
}

/// Says for good that a generation was removed.
pub(super) async fn set_gone(place: &Place) -> Result<(), StoreError> {
    applied(
        &place.session,
        names::NEW_MANIFEST,
        Binds::default().text(&gone(place.generation)).text("removed"),
    )
    .await?;
    Ok(())
}

/// Removes what a generation that is gone has left of progress and owners. Bases and epochs are comparing writes, and stay:
/// they are some bytes for each partition.
pub(super) async fn forget_all(place: &Place) -> Result<(), StoreError> {
    place.run(names::DROP_PROGRESS, Binds::default().int(place.generation)).await?;
    place.run(names::DROP_PARTITIONS, Binds::default().int(place.generation)).await
}
