//! One partition on disk: append-only segment files, and how writes are gathered.
//!
//! Comes in: records. Goes out: offsets, after the bytes are on the disk. Callers that append at once share one write
//! and one fsync; readers see a record once it is synced, so nothing that was read is lost with the power. Where there is no
//! room, what was written of a call is taken back and the next call may find room; after any other error, and after a failed
//! fsync whatever its reason, nothing more is appended to any partition of the log before a restart.
//! `recover` checks what a segment holds; its index is made then and kept in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tokio::sync::oneshot;

use super::BrokerSettings;
use super::disk::{Disk, DiskFile, Open, is_full};
use super::record;
use super::recover::{INDEX_EVERY, recover};
use crate::event::Offset;
use crate::source::{NewRecord, SourceError};

/// What this process does with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Appends to it; nobody else does.
    Write,
    /// Reads what was whole when it was opened; another process may be appending.
    Look,
}

/// What all partitions of a log share.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub settings: BrokerSettings,
    pub access: Access,
    /// Why nothing is appended any more.
    failed: OnceLock<String>,
}

/// One file of a partition.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// Offset of its first record.
    pub first: Offset,
    state: RwLock<SegmentState>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SegmentState {
    /// Bytes that readers may read: all of them are durable.
    pub len: u64,
    /// Some offsets and where their frames begin, ascending.
    pub index: Vec<(Offset, u64)>,
}

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    directory: PathBuf,
    shared: Arc<Shared>,
    view: RwLock<View>,
    pending: Mutex<Pending>,
}

/// What readers see.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub segments: Vec<Arc<Segment>>,
    /// The next offset.
    pub end: Offset,
}

#[derive(Debug, Default)]
struct Pending {
    calls: Vec<Call>,
    /// Whether someone is writing: he takes what gathers meanwhile.
    writing: bool,
    /// The open end of the last segment; with whoever writes while he does.
    writer: Option<Writer>,
}

/// The records of one append that go to this partition.
#[derive(Debug)]
struct Call {
    records: Vec<NewRecord>,
    now_ms: i64,
    done: oneshot::Sender<Result<Offset, NotWritten>>,
}

#[derive(Debug)]
struct Writer {
    file: Box<dyn DiskFile>,
    segment: Arc<Segment>,
    len: u64,
    next: Offset,
}

/// The bytes of some calls, and what is to be known of them.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// For each call the offset of its first record.
    firsts: Vec<Offset>,
    index: Vec<(Offset, u64)>,
    /// The offset after the last record.
    next: Offset,
}

/// Why records were not appended; none of them is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// There is no room.
    Full(String),
    /// The log takes no more.
    Halted(String),
}

/// An operation of the disk that failed.
struct Failure {
    what: String,
    source: io::Error,
    /// Whether what is on the disk is not known any more.
    broken: bool,
}

impl From<NotWritten> for SourceError {
    fn from(reason: NotWritten) -> SourceError {
        match reason {
            NotWritten::Full(reason) => SourceError::Full(reason),
            NotWritten::Halted(reason) => SourceError::Halted(reason),
        }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> SourceError {
        SourceError::Io { what: failure.what, source: failure.source }
    }
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, settings: BrokerSettings, access: Access) -> Arc<Shared> {
        Arc::new(Shared { disk, settings, access, failed: OnceLock::new() })
    }

    /// Why nothing is appended any more; `None` while the log is whole.
    pub fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    /// Ends all appending; the first reason stays. Answers the reason.
    pub fn halt(&self, reason: String) -> String {
        let said = self.failed.get_or_init(|| {
            tracing::error!(%reason, "The log takes no more records.");
            reason
        });
        said.clone()
    }

    /// Makes the names in a directory durable, where the log is synced at all.
    pub fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.settings.sync { self.disk.sync_directory(path) } else { Ok(()) }
    }

    fn refusal(&self, failure: &Failure) -> NotWritten {
        let Failure { what, source, broken } = failure;
        if *broken {
            let reason = format!("{what} failed: {source}; check the disk, then start again");
            NotWritten::Halted(self.halt(reason))
        } else {
            NotWritten::Full(format!(
                "{what} failed: {source}; nothing was kept of it: make room, then publish it again"
            ))
        }
    }
}

impl Failure {
    /// A write, or another operation that leaves everything as it was where there is no room.
    fn writing(what: &str, path: &Path, source: io::Error) -> Failure {
        Failure { what: format!("{what} {}", path.display()), broken: !is_full(&source), source }
    }

    /// An fsync: whatever the reason, what was written before may be lost.
    fn syncing(path: &Path, source: io::Error) -> Failure {
        Failure { what: format!("fsync of {}", path.display()), source, broken: true }
    }
}

impl Segment {
    /// Bytes that may be read.
    pub fn len(&self) -> u64 {
        read(&self.state).len
    }

    /// Where to begin to look for an offset: at or before its frame.
    pub fn place(&self, offset: Offset) -> u64 {
        let state = read(&self.state);
        let after = state.index.partition_point(|(at, _)| *at <= offset);
        after.checked_sub(1).map_or(0, |entry| state.index[entry].1)
    }
}

impl Partition {
    /// Opens a partition's directory, which exists; checks every frame. A torn write is cut off, or passed over where the log
    /// is only looked at. What is there then is durable before anyone reads it: a process that was killed may have left records
    /// that were never synced.
    pub fn open(directory: PathBuf, shared: &Arc<Shared>) -> Result<Partition, SourceError> {
        let disk = shared.disk.as_ref();
        let mut firsts = segment_offsets(disk, &directory)?;
        if firsts.is_empty() && shared.access == Access::Write {
            create_segment(shared, &directory, 0)?;
            firsts.push(0);
        }
        let (mut segments, mut next) =
            (Vec::with_capacity(firsts.len()), firsts.first().copied().unwrap_or_default());
        for (at, first) in firsts.iter().enumerate() {
            let path = segment_path(&directory, *first);
            if *first != next {
                let reason = format!("{} should begin at offset {next}; is a file missing?", path.display());
                return Err(SourceError::Corrupt(reason));
            }
            let (state, end) = recover(disk, &path, *first, at + 1 == firsts.len(), shared.access)?;
            segments.push(Arc::new(Segment { path, first: *first, state: RwLock::new(state) }));
            next = end;
        }
        let writer = match (shared.access, segments.last()) {
            (Access::Write, Some(last)) => Some(Writer::open(shared, &directory, Arc::clone(last), next)?),
            _ => None,
        };
        Ok(Partition {
            directory,
            shared: Arc::clone(shared),
            view: RwLock::new(View { segments, end: next }),
            pending: Mutex::new(Pending { writer, ..Pending::default() }),
        })
    }

    /// Opens a segment to read it.
    pub fn open_segment(&self, segment: &Segment) -> io::Result<Box<dyn DiskFile>> {
        self.shared.disk.open(&segment.path, Open::Read)
    }

    /// What can be read now.
    pub fn view(&self) -> View {
        read(&self.view).clone()
    }

    /// The offsets `start..end` that are there.
    pub fn offsets(&self) -> (Offset, Offset) {
        let view = read(&self.view);
        (view.segments.first().map_or(view.end, |segment| segment.first), view.end)
    }

    /// Queues records for writing. Answers where the offset of the first will be told once all are durable, and
    /// whether the caller must now see to it that [`Partition::write_pending`] runs.
    pub fn queue(
        &self,
        records: Vec<NewRecord>,
        now_ms: i64,
    ) -> (oneshot::Receiver<Result<Offset, NotWritten>>, bool) {
        let (done, told) = oneshot::channel();
        let mut pending = lock(&self.pending);
        pending.calls.push(Call { records, now_ms, done });
        let must_write = !pending.writing;
        pending.writing = true;
        (told, must_write)
    }

    /// Writes what is queued, and what gathers meanwhile. Blocks on the disk. `written` is called after each write; it
    /// is dropped before the last callers are told, so that whoever is told can open the log anew.
    pub fn write_pending(&self, written: impl Fn()) {
        let mut written = Some(written);
        while let Some(tell) = &written {
            let (calls, mut writer) = {
                let mut pending = lock(&self.pending);
                (std::mem::take(&mut pending.calls), pending.writer.take())
            };
            let outcome = match (&mut writer, self.shared.failed()) {
                (_, Some(failed)) => Err(NotWritten::Halted(failed.to_owned())),
                (None, None) => Err(NotWritten::Halted("this log is only looked at".to_owned())),
                (Some(writer), None) => {
                    self.write(writer, &calls).map_err(|failure| self.shared.refusal(&failure))
                }
            };
            tell();
            {
                let mut pending = lock(&self.pending);
                pending.writer = writer;
                pending.writing = !pending.calls.is_empty();
                if !pending.writing {
                    written = None;
                }
            }
            for (at, call) in calls.into_iter().enumerate() {
                // Whoever gave up waiting is not told; the records are there all the same.
                let _ = call.done.send(outcome.as_ref().map(|firsts| firsts[at]).map_err(NotWritten::clone));
            }
        }
    }

    /// One write and one fsync for all calls; answers the offset of each one's first record.
    fn write(&self, writer: &mut Writer, calls: &[Call]) -> Result<Vec<Offset>, Failure> {
        if writer.len >= self.shared.settings.segment_bytes {
            self.roll(writer)?;
        }
        let frames = writer.frames(calls);
        writer.append(&frames.bytes, self.shared.settings.sync)?;
        writer.len += frames.bytes.len() as u64;
        writer.next = frames.next;
        {
            let mut state = writer.segment.state.write().unwrap_or_else(PoisonError::into_inner);
            state.len = writer.len;
            state.index.extend(frames.index);
        }
        self.view.write().unwrap_or_else(PoisonError::into_inner).end = writer.next;
        Ok(frames.firsts)
    }

    /// Begins a new segment.
    fn roll(&self, writer: &mut Writer) -> Result<(), Failure> {
        let path = create_segment(&self.shared, &self.directory, writer.next)?;
        let file = open_append(&self.shared, &path)?;
        let segment = Arc::new(Segment { path, first: writer.next, state: RwLock::default() });
        self.view.write().unwrap_or_else(PoisonError::into_inner).segments.push(Arc::clone(&segment));
        *writer = Writer { file, segment, len: 0, next: writer.next };
        Ok(())
    }
}

impl Writer {
    /// Takes up the last segment, and makes durable what it holds.
    fn open(
        shared: &Shared,
        directory: &Path,
        segment: Arc<Segment>,
        next: Offset,
    ) -> Result<Writer, SourceError> {
        let mut file = open_append(shared, &segment.path)?;
        if shared.settings.sync {
            file.sync().map_err(|error| Failure::syncing(&segment.path, error))?;
        }
        shared.sync_directory(directory).map_err(|error| Failure::syncing(directory, error))?;
        Ok(Writer { file, len: segment.len(), segment, next })
    }

    /// The frames of some calls, as they follow what is there.
    fn frames(&self, calls: &[Call]) -> Frames {
        let write = self.next;
        let mut frames = Frames { next: write, ..Frames::default() };
        let mut indexed = read(&self.segment.state).index.last().map_or(0, |(_, place)| *place);
        for call in calls {
            frames.firsts.push(frames.next);
            for (at, new) in call.records.iter().enumerate() {
                let place = self.len + frames.bytes.len() as u64;
                if place >= indexed + INDEX_EVERY {
                    frames.index.push((frames.next, place));
                    indexed = place;
                }
                let left = u32::try_from(call.records.len() - at - 1).unwrap_or(u32::MAX);
                let timestamp_ms = new.timestamp_ms.unwrap_or(call.now_ms);
                record::push(&mut frames.bytes, new, frames.next, write, left, timestamp_ms);
                frames.next += 1;
            }
        }
        frames
    }

    /// Writes and syncs. What an error leaves of it is cut off again: else it would be there after a restart, though whoever
    /// wrote it was told that it is not, and after a failed fsync the system takes it for durable, which it may not be.
    fn append(&mut self, bytes: &[u8], sync: bool) -> Result<(), Failure> {
        let path = self.segment.path.clone();
        if let Err(error) = self.file.append(bytes) {
            let failure = Failure::writing("writing", &path, error);
            self.cut_back().map_err(|error| Failure::syncing(&path, error))?;
            return Err(failure);
        }
        if sync && let Err(error) = self.file.sync() {
            // The log halts whether this succeeds or not.
            let _ = self.cut_back();
            return Err(Failure::syncing(&path, error));
        }
        Ok(())
    }

    fn cut_back(&mut self) -> io::Result<()> {
        self.file.truncate(self.len)?;
        self.file.sync()
    }
}

fn segment_path(directory: &Path, first: Offset) -> PathBuf {
    directory.join(format!("{first:020}.log"))
}

fn segment_offsets(disk: &dyn Disk, directory: &Path) -> Result<Vec<Offset>, SourceError> {
    let io = |source| SourceError::Io { what: format!("listing {}", directory.display()), source };
    let names = disk.list(directory).map_err(io)?;
    let offset = |name: &String| name.strip_suffix(".log").and_then(|stem| stem.parse::<Offset>().ok());
    let mut offsets: Vec<Offset> = names.iter().filter_map(offset).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

fn create_segment(shared: &Shared, directory: &Path, first: Offset) -> Result<PathBuf, Failure> {
    let path = segment_path(directory, first);
    let made = shared.disk.open(&path, Open::Anew);
    let mut file = made.map_err(|error| Failure::writing("making", &path, error))?;
    if shared.settings.sync {
        file.sync().map_err(|error| Failure::syncing(&path, error))?;
    }
    shared.sync_directory(directory).map_err(|error| Failure::syncing(directory, error))?;
    Ok(path)
}

fn open_append(shared: &Shared, path: &Path) -> Result<Box<dyn DiskFile>, Failure> {
    shared.disk.open(path, Open::Append).map_err(|error| Failure::writing("opening", path, error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
