//! The embedded log: append-only topics in a directory, for one process.
//!
//! Layout: `<directory>/<topic>/topic.json` (id, number of partitions, version of the format) and
//! `<directory>/<topic>/<partition>/<first offset>.log`. `record` has the bytes of a record, `log` one partition, `read`
//! readers, `recover` what is left after a crash, `disk` what is asked of files. An append is acknowledged when its bytes are on
//! the disk. Nothing is ever deleted.

mod disk;
mod log;
mod read;
mod record;
mod recover;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::{NewRecord, PartitionInfo, Reader, Source, SourceError, TopicInfo, partition};
use crate::clock::now_ms;
use crate::event::{Offset, Position, Record, TopicPartition};
use disk::{Disk, Open, RealDisk, is_full};
use log::{Access, Partition, Shared};
use read::{BrokerReader, Cursor};

const FORMAT_VERSION: u32 = 1;
/// Most partitions of a topic.
const PARTITIONS_MAX: u32 = 10_000;
/// Most bytes of `topic.json`; it has about a hundred.
const TOPIC_FILE_MAX: usize = 64 * 1024;
/// Directories above the log's that may have been made with it: the data directory, and where that lies.
const MADE_ABOVE: usize = 2;
/// Most partitions of all topics, where the settings do not say fewer.
const PARTITIONS_ALL_MAX: usize = 10_000;

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct BrokerSettings {
    /// Whether an append waits for fsync, and readers see only what is synced. Without, a power loss may take the last appends,
    /// and a store that has folded them is then ahead of the log and refuses to go on. Default: true; false suits tests
    /// and benchmarks.
    pub sync: bool,
    /// Bytes after which a new segment file is begun. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Partitions of all topics together: each keeps a file open, and each projection that reads it one more. A topic that
    /// would be more is not made; those that are there stay. Default: 10,000.
    pub partitions_max: usize,
}

impl Default for BrokerSettings {
    fn default() -> BrokerSettings {
        BrokerSettings { sync: true, segment_bytes: 64 * 1024 * 1024, partitions_max: PARTITIONS_ALL_MAX }
    }
}

/// The embedded log. A clone is the same log.
#[derive(Clone, Debug)]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    shared: Arc<Shared>,
    topics: RwLock<BTreeMap<Arc<str>, Arc<Topic>>>,
    /// Counts the writes; readers at their end wait for it.
    changes: watch::Sender<u64>,
    /// Held locked as long as the log is open: two writers would destroy it. `None`: it is only looked at.
    _lock: Option<File>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    id: u128,
    partitions: Vec<Arc<Partition>>,
    /// The partition of the next record without a key.
    turn: AtomicU32,
}

/// `topic.json`.
#[derive(Debug, Serialize, Deserialize)]
struct TopicFile {
    version: u32,
    /// 32 hexadecimal digits.
    id: String,
    partitions: u32,
    /// Checksum of the three; topics of before there was one do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
}

impl TopicFile {
    /// xxh3 of version, id and partitions as text, in hexadecimal.
    fn sum_of(version: u32, id: &str, partitions: u32) -> String {
        format!("{:016x}", xxh3_64(format!("{version} {id} {partitions}").as_bytes()))
    }
}

impl Broker {
    /// Opens the log in a directory, making it if it is missing. Blocks while every file is checked.
    ///
    /// # Errors
    /// [`SourceError::Refused`] if it is open already or of another version, [`SourceError::Corrupt`] with file and byte.
    pub fn open(directory: &Path) -> Result<Broker, SourceError> {
        Broker::open_with(directory, BrokerSettings::default())
    }

    /// As [`Broker::open`], with settings.
    ///
    /// # Errors
    /// As [`Broker::open`].
    pub fn open_with(directory: &Path, settings: BrokerSettings) -> Result<Broker, SourceError> {
        let io =
            |source| SourceError::Io { what: format!("opening the log in {}", directory.display()), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock = File::create(directory.join(".lock")).map_err(io)?;
        if lock.try_lock().is_err() {
            return Err(SourceError::Refused(format!(
                "the log in {} is open already, here or in another process; stop that one, or publish through its address",
                directory.display()
            )));
        }
        // A power loss must not take the directory with what is acknowledged in it.
        let disk = RealDisk;
        if settings.sync {
            let whole = directory.canonicalize().map_err(io)?;
            for above in whole.ancestors().skip(1).take(MADE_ABOVE) {
                disk.sync_directory(above).map_err(io)?;
            }
        }
        let shared = Shared::new(Arc::new(disk), settings, Access::Write);
        Broker::opened(directory, shared, Some(lock))
    }

    /// Looks at a log that another process may be appending to: as it stands now, and nothing is ever written. A write that is
    /// under way is not there yet. Blocks while every file is checked.
    ///
    /// # Errors
    /// There is no such directory; otherwise as [`Broker::open`].
    pub fn look(directory: &Path) -> Result<Broker, SourceError> {
        let shared = Shared::new(Arc::new(RealDisk), BrokerSettings::default(), Access::Look);
        Broker::opened(directory, shared, None)
    }

    fn opened(directory: &Path, shared: Arc<Shared>, lock: Option<File>) -> Result<Broker, SourceError> {
        let io =
            |source| SourceError::Io { what: format!("opening the log in {}", directory.display()), source };
        let mut topics = BTreeMap::new();
        if shared.access == Access::Write {
            shared.sync_directory(directory).map_err(io)?;
        }
        for name in shared.disk.list(directory).map_err(io)? {
            if let Some(topic) = open_topic(&directory.join(name), &shared)? {
                topics.insert(Arc::clone(&topic.name), Arc::new(topic));
            }
        }
        let inner = Inner {
            directory: directory.to_owned(),
            shared,
            topics: RwLock::new(topics),
            changes: watch::Sender::new(0),
            _lock: lock,
        };
        Ok(Broker { inner: Arc::new(inner) })
    }

    /// All topics, as they stand.
    pub fn infos(&self) -> Vec<TopicInfo> {
        let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().map(|topic| topic.info()).collect()
    }

    /// Why this log takes no more records: a write or an fsync failed. `None` while it is whole, or full. What was
    /// acknowledged can be read all the same.
    pub fn halted(&self) -> Option<String> {
        self.inner.shared.failed().map(str::to_owned)
    }

    /// Makes a topic; answers it as it is if it exists, whatever its number of partitions. Blocks on the disk.
    ///
    /// # Errors
    /// The name is none that Kafka takes, the number of partitions is not in 1..=10,000, or the disk fails.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, SourceError> {
        check_name(name)?;
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let reason = format!("topic {name:?} has 1 to {PARTITIONS_MAX} partitions, not {partitions}");
            return Err(SourceError::Refused(reason));
        }
        let mut topics = self.inner.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Ok(topic.info());
        }
        let shared = &self.inner.shared;
        if shared.access == Access::Look {
            return Err(SourceError::Refused("this log is only looked at".to_owned()));
        }
        if let Some(reason) = shared.failed() {
            return Err(SourceError::Halted(reason.to_owned()));
        }
        let (there, most) = (
            topics.values().map(|topic| topic.partitions.len()).sum::<usize>(),
            shared.settings.partitions_max,
        );
        if there + partitions as usize > most {
            return Err(SourceError::Refused(format!(
                "topic {name:?} is not made: the log has {there} partitions, and {most} are the most; give topics fewer \
                 partitions, or let this process open more files, as with `ulimit -n 65536`"
            )));
        }
        let path = self.inner.directory.join(name);
        make_topic(shared, &path, partitions)?;
        let synced = shared.sync_directory(&self.inner.directory);
        synced.map_err(|error| not_made(shared, &path, error))?;
        let topic = open_topic(&path, shared)?.ok_or_else(|| {
            SourceError::Corrupt(format!("{} has no topic.json although it was just written", path.display()))
        })?;
        let info = topic.info();
        topics.insert(Arc::clone(&topic.name), Arc::new(topic));
        drop(topics);
        self.inner.changes.send_modify(|count| *count += 1);
        Ok(info)
    }

    /// Appends records; answers their positions, in their order, once all are on the disk. Records are checked before
    /// any is written. Of a call that a crash interrupts each partition has all records or none. Waits for the disk
    /// off the runtime's threads; if the future is dropped, the records are appended all the same.
    ///
    /// # Errors
    /// [`SourceError::Refused`] if there is no such topic or partition, or a record is too large;
    /// [`SourceError::Full`] if there is no room, [`SourceError::Halted`] if the disk fails, now or before. Then no partition has
    /// a part of the call's records for it, but those of other partitions may be there.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, SourceError> {
        let topic = self.inner.topic(topic)?;
        let now_ms = now_ms();
        let (places, groups) = topic.assign(records)?;
        let mut told = BTreeMap::new();
        for (number, records) in groups {
            let partition = Arc::clone(&topic.partitions[number as usize]);
            let (done, must_write) = partition.queue(records, now_ms);
            if must_write {
                let inner = Arc::clone(&self.inner);
                tokio::task::spawn_blocking(move || {
                    partition.write_pending(move || inner.changes.send_modify(|count| *count += 1));
                });
            }
            told.insert(number, done);
        }
        let mut firsts = BTreeMap::new();
        for (number, done) in told {
            let first = match done.await {
                Ok(Ok(first)) => first,
                Ok(Err(reason)) => return Err(reason.into()),
                Err(_) => return Err(SourceError::Unavailable("the program is shutting down".to_owned())),
            };
            firsts.insert(number, first);
        }
        let position = |(number, nth): (u32, u64)| Position {
            at: TopicPartition { topic: Arc::clone(&topic.name), partition: number },
            offset: firsts[&number] + nth,
        };
        Ok(places.into_iter().map(position).collect())
    }
}

impl Inner {
    fn topic(&self, name: &str) -> Result<Arc<Topic>, SourceError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| SourceError::Refused(format!("there is no topic {name:?}")))
    }

    fn cursor(&self, at: &TopicPartition, offset: Offset) -> Result<Cursor, SourceError> {
        let topic = self.topic(&at.topic)?;
        let partition = topic.partition(at.partition)?;
        Cursor::new(at.clone(), Arc::clone(partition), offset)
    }
}

/// For each record its partition and its place among the call's records there; and the records by partition.
type Assigned = (Vec<(u32, u64)>, BTreeMap<u32, Vec<NewRecord>>);

impl Topic {
    fn info(&self) -> TopicInfo {
        let info = |partition: &Arc<Partition>| {
            let (start, end) = partition.offsets();
            PartitionInfo { start, end }
        };
        TopicInfo {
            name: Arc::clone(&self.name),
            id: self.id,
            partitions: self.partitions.iter().map(info).collect(),
        }
    }

    fn partition(&self, number: u32) -> Result<&Arc<Partition>, SourceError> {
        let (name, count) = (&self.name, self.partitions.len());
        self.partitions.get(number as usize).ok_or_else(|| {
            SourceError::Refused(format!(
                "topic {name:?} has {count} partitions from 0, there is no partition {number}"
            ))
        })
    }

    fn assign(&self, records: Vec<NewRecord>) -> Result<Assigned, SourceError> {
        for (at, record) in records.iter().enumerate() {
            if record::body_len(record).is_none() {
                let max = record::BODY_MAX;
                let reason =
                    format!("record {} of the call has more than {max} bytes or 65,535 headers", at + 1);
                return Err(SourceError::Refused(reason));
            }
            self.partition(record.partition.unwrap_or(0))?;
        }
        let mut groups: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let number = self.number_of(&record);
            let group = groups.entry(number).or_default();
            places.push((number, group.len() as u64));
            group.push(record);
        }
        Ok((places, groups))
    }

    fn number_of(&self, record: &NewRecord) -> u32 {
        let count = u32::try_from(self.partitions.len()).expect("at most 10,000 partitions");
        match (record.partition, &record.key) {
            (Some(number), _) => number,
            (None, Some(key)) => partition::of_key(key, count),
            (None, None) => self.turn.fetch_add(1, Ordering::Relaxed) % count,
        }
    }
}

impl Source for Broker {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        Box::pin(async { Ok(self.infos()) })
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        Box::pin(async move {
            let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
            Ok(topics.get(name).map(|topic| topic.info()))
        })
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move {
            let cursors: Result<Vec<Cursor>, SourceError> =
                from.iter().map(|(at, offset)| self.inner.cursor(at, *offset)).collect();
            let reader = BrokerReader::new(cursors?, self.inner.changes.subscribe());
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        Box::pin(async move {
            match self.inner.cursor(at, offset) {
                Ok(mut cursor) => cursor.one(),
                Err(SourceError::Gone(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }
}

/// Whether a topic may have this name: the names that Kafka takes.
///
/// # Errors
/// [`SourceError::Refused`] with what a name is.
pub fn check_name(name: &str) -> Result<(), SourceError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".." {
        return Ok(());
    }
    Err(SourceError::Refused(format!(
        "{name:?} is not a topic name: 1 to 249 letters, digits, dots, underscores and hyphens, and not \".\" or \"..\""
    )))
}

/// Makes a topic's directory; its `topic.json` last, so that a topic is there whole or not at all.
fn make_topic(shared: &Shared, path: &Path, partitions: u32) -> Result<(), SourceError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| SourceError::Unavailable(format!("no random numbers for a topic's id: {error}")))?;
    let id = format!("{:032x}", u128::from_be_bytes(id));
    let sum = Some(TopicFile::sum_of(FORMAT_VERSION, &id, partitions));
    let file = TopicFile { version: FORMAT_VERSION, id, partitions, sum };
    let text = serde_json::to_vec(&file).expect("numbers and text are always JSON");
    write_topic(shared, path, partitions, &text).map_err(|error| not_made(shared, path, error))
}

fn write_topic(shared: &Shared, path: &Path, partitions: u32, text: &[u8]) -> io::Result<()> {
    let disk = &shared.disk;
    for number in 0..partitions {
        disk.make_directory(&path.join(number.to_string()))?;
    }
    let unfinished = path.join("topic.json.new");
    let mut file = disk.open(&unfinished, Open::Anew)?;
    file.append(text)?;
    if shared.settings.sync {
        file.sync()?;
    }
    disk.rename(&unfinished, &path.join("topic.json"))?;
    shared.sync_directory(path)
}

/// What a topic that could not be made comes to: with room it can be made later, else the disk is not to be trusted.
fn not_made(shared: &Shared, path: &Path, error: io::Error) -> SourceError {
    let reason = format!("making {} failed: {error}", path.display());
    if is_full(&error) {
        return SourceError::Full(format!("{reason}; make room, then try again"));
    }
    SourceError::Halted(shared.halt(format!("{reason}; check the disk, then start again")))
}

/// A whole small file.
fn whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let mut file = disk.open(path, Open::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX).min(TOPIC_FILE_MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Opens a topic's directory; `None` if its making was never finished.
fn open_topic(path: &Path, shared: &Arc<Shared>) -> Result<Option<Topic>, SourceError> {
    let file = path.join("topic.json");
    let corrupt = |reason: String| SourceError::Corrupt(format!("{}: {reason}", file.display()));
    let text = match whole(shared.disk.as_ref(), &file) {
        Ok(text) => text,
        // Not finished, or no directory: the lock file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(SourceError::Io { what: format!("reading {}", file.display()), source }),
    };
    let found: TopicFile = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if found.version != FORMAT_VERSION {
        return Err(SourceError::Refused(format!(
            "{} has format {}, but this version of Kinora knows format {FORMAT_VERSION}; run the version that wrote it",
            file.display(),
            found.version
        )));
    }
    let expected = TopicFile::sum_of(found.version, &found.id, found.partitions);
    if found.sum.as_ref().is_some_and(|sum| *sum != expected) {
        return Err(corrupt("its checksum does not match".to_owned()));
    }
    let id = u128::from_str_radix(&found.id, 16)
        .map_err(|error| corrupt(format!("id {:?}: {error}", found.id)))?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| corrupt("the topic's name is not UTF-8".to_owned()))?;
    let open = |number: u32| Partition::open(path.join(number.to_string()), shared).map(Arc::new);
    if !(1..=PARTITIONS_MAX).contains(&found.partitions) {
        return Err(corrupt(format!("{} partitions; a topic has 1 to {PARTITIONS_MAX}", found.partitions)));
    }
    if shared.access == Access::Write {
        let io = |source| SourceError::Io { what: format!("syncing {}", path.display()), source };
        shared.sync_directory(path).map_err(io)?;
    }
    let partitions = (0..found.partitions).map(open).collect::<Result<_, SourceError>>()?;
    Ok(Some(Topic { name: name.into(), id, partitions, turn: AtomicU32::new(0) }))
}
