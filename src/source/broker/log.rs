//! One partition on disk: append-only segment files, their recovery at open, and how writes are gathered.
//!
//! Comes in: records. Goes out: offsets, after the bytes are on the disk. Callers that append at once share one write
//! and one fsync. Only the last write can be torn by a crash, and it is cut off at open; any other damage is an error
//! that names the file and the byte. A segment's index is made at open and kept in memory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Take, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::oneshot;
use tracing::warn;

use super::BrokerSettings;
use super::record::{self, BadFrame};
use crate::event::Offset;
use crate::source::{NewRecord, SourceError};

/// Bytes between two entries of a segment's index.
const INDEX_EVERY: u64 = 64 * 1024;
/// Bytes read at once when a segment is recovered.
const PIECE: usize = 256 * 1024;

/// What this process does with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Appends to it; nobody else does.
    Write,
    /// Reads what was whole when it was opened; another process may be appending.
    Look,
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
struct SegmentState {
    /// Bytes that readers may read: all of them are durable.
    len: u64,
    /// Some offsets and where their frames begin, ascending.
    index: Vec<(Offset, u64)>,
}

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    directory: PathBuf,
    settings: BrokerSettings,
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
    /// Why nothing is written any more.
    failed: Option<String>,
}

/// The records of one append that go to this partition.
#[derive(Debug)]
struct Call {
    records: Vec<NewRecord>,
    now_ms: i64,
    done: oneshot::Sender<Result<Offset, String>>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    segment: Arc<Segment>,
    len: u64,
    next: Offset,
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
    /// is only looked at.
    pub fn open(
        directory: PathBuf,
        settings: BrokerSettings,
        access: Access,
    ) -> Result<Partition, SourceError> {
        let mut firsts = segment_offsets(&directory)?;
        if firsts.is_empty() && access == Access::Write {
            create_segment(&directory, 0)?;
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
            let (state, end) = recover(&path, *first, at + 1 == firsts.len(), access)?;
            segments.push(Arc::new(Segment { path, first: *first, state: RwLock::new(state) }));
            next = end;
        }
        let pending = match (access, segments.last()) {
            (Access::Write, Some(last)) => {
                let (file, segment) = (open_append(&last.path)?, Arc::clone(last));
                let writer = Writer { file, segment, len: last.len(), next };
                Pending { writer: Some(writer), ..Pending::default() }
            }
            _ => Pending { failed: Some("this log is only looked at".to_owned()), ..Pending::default() },
        };
        let view = View { segments, end: next };
        Ok(Partition { directory, settings, view: RwLock::new(view), pending: Mutex::new(pending) })
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
    ) -> (oneshot::Receiver<Result<Offset, String>>, bool) {
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
            let (calls, writer, failed) = {
                let mut pending = lock(&self.pending);
                (std::mem::take(&mut pending.calls), pending.writer.take(), pending.failed.clone())
            };
            let outcome = match (writer, failed) {
                (Some(writer), None) => self.write(writer, &calls),
                (_, failed) => Err(failed.unwrap_or_else(|| "an earlier write did not finish".to_owned())),
            };
            tell();
            let firsts = {
                let mut pending = lock(&self.pending);
                pending.writing = !pending.calls.is_empty();
                if !pending.writing {
                    written = None;
                }
                match outcome {
                    Ok((writer, firsts)) => {
                        pending.writer = Some(writer);
                        Ok(firsts)
                    }
                    Err(reason) => {
                        pending.failed = Some(reason.clone());
                        Err(reason)
                    }
                }
            };
            for (at, call) in calls.into_iter().enumerate() {
                // Whoever gave up waiting is not told; the records are there all the same.
                let _ = call.done.send(firsts.as_ref().map(|firsts| firsts[at]).map_err(String::clone));
            }
        }
    }

    /// One write and one fsync for all calls. After an error nothing more is written: what is on the disk is not known.
    fn write(&self, mut writer: Writer, calls: &[Call]) -> Result<(Writer, Vec<Offset>), String> {
        let fail = |what: &str, path: &Path, error: &std::io::Error| {
            format!(
                "{what} {} failed: {error}; nothing more is appended to it before a restart",
                path.display()
            )
        };
        if writer.len >= self.settings.segment_bytes {
            writer = self.roll(&writer).map_err(|error| format!("beginning a segment failed: {error}"))?;
        }
        let (write, start) = (writer.next, writer.len);
        let mut bytes = Vec::new();
        let (mut firsts, mut index) = (Vec::with_capacity(calls.len()), Vec::new());
        let mut indexed = read(&writer.segment.state).index.last().map_or(0, |(_, place)| *place);
        for call in calls {
            firsts.push(writer.next);
            for (at, new) in call.records.iter().enumerate() {
                let place = start + bytes.len() as u64;
                if place >= indexed + INDEX_EVERY {
                    index.push((writer.next, place));
                    indexed = place;
                }
                let left = u32::try_from(call.records.len() - at - 1).unwrap_or(u32::MAX);
                let timestamp_ms = new.timestamp_ms.unwrap_or(call.now_ms);
                record::push(&mut bytes, new, writer.next, write, left, timestamp_ms);
                writer.next += 1;
            }
        }
        let path = &writer.segment.path;
        writer.file.write_all(&bytes).map_err(|error| fail("writing", path, &error))?;
        if self.settings.sync {
            writer.file.sync_data().map_err(|error| fail("syncing", path, &error))?;
        }
        writer.len += bytes.len() as u64;
        {
            let mut state = writer.segment.state.write().unwrap_or_else(PoisonError::into_inner);
            state.len = writer.len;
            state.index.extend(index);
        }
        self.view.write().unwrap_or_else(PoisonError::into_inner).end = writer.next;
        Ok((writer, firsts))
    }

    fn roll(&self, full: &Writer) -> Result<Writer, SourceError> {
        let path = create_segment(&self.directory, full.next)?;
        let file = open_append(&path)?;
        let segment = Arc::new(Segment { path, first: full.next, state: RwLock::default() });
        self.view.write().unwrap_or_else(PoisonError::into_inner).segments.push(Arc::clone(&segment));
        Ok(Writer { file, segment, len: 0, next: full.next })
    }
}

/// Checks a segment's frames. In the last segment a torn write, or one that is under way, is cut off or passed over.
fn recover(
    path: &Path,
    first: Offset,
    last: bool,
    access: Access,
) -> Result<(SegmentState, Offset), SourceError> {
    let io = |source| SourceError::Io { what: format!("reading {}", path.display()), source };
    let mut window = Window::open(path).map_err(io)?;
    let mut state = SegmentState { len: 0, index: Vec::new() };
    let mut next = first;
    // Where the last call that is not complete yet began.
    let mut open_call: Option<(u64, Offset)> = None;
    let fault = loop {
        let at = window.at();
        let frame = match record::frame(window.bytes()) {
            Ok(frame) if frame.offset == next => frame,
            Ok(_) => break Some("its offset is not the next one"),
            Err(BadFrame::Short(needed)) if window.fill(needed).map_err(io)? => continue,
            Err(BadFrame::Short(_)) if window.bytes().is_empty() => {
                break open_call.map(|_| "its call is incomplete");
            }
            Err(BadFrame::Short(_)) => break Some("the file ends inside it"),
            Err(BadFrame::Damaged(reason)) => break Some(reason),
        };
        if at >= state.index.last().map_or(0, |(_, place)| *place) + INDEX_EVERY {
            state.index.push((next, at));
        }
        open_call = if frame.left == 0 { None } else { open_call.or(Some((at, next))) };
        window.pass(frame.len);
        next += 1;
    };
    let at = window.at();
    let Some(reason) = fault else {
        state.len = at;
        return Ok((state, next));
    };
    let rest = window.rest().map_err(io)?;
    if !last || later_write(&rest, next) {
        let path = path.display();
        return Err(SourceError::Corrupt(format!(
            "the record of {path} at byte {at} (offset {next}): {reason}"
        )));
    }
    let (keep, end) = open_call.unwrap_or((at, next));
    if access == Access::Write {
        let cut = at + rest.len() as u64 - keep;
        warn!(path = %path.display(), keep, cut, "Cut off the end of a write that a crash interrupted.");
        let file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(keep).and_then(|()| file.sync_all()).map_err(io)?;
    }
    state.len = keep;
    state.index.retain(|(_, place)| *place < state.len);
    Ok((state, end))
}

/// A file that is gone through from front to end, a piece at a time: as long as it was at the beginning, for another
/// process may append to it meanwhile.
struct Window {
    file: Take<File>,
    /// What was read last; what comes before `passed` is done with.
    piece: Vec<u8>,
    passed: usize,
    /// Where the piece begins in the file.
    start: u64,
}

impl Window {
    fn open(path: &Path) -> std::io::Result<Window> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Window { file: file.take(len), piece: Vec::new(), passed: 0, start: 0 })
    }

    /// Place in the file.
    fn at(&self) -> u64 {
        self.start + self.passed as u64
    }

    /// What follows, as far as it was read.
    fn bytes(&self) -> &[u8] {
        &self.piece[self.passed..]
    }

    fn pass(&mut self, len: usize) {
        self.passed += len;
    }

    /// Reads on until at least so many bytes follow; answers whether they do.
    fn fill(&mut self, needed: usize) -> std::io::Result<bool> {
        self.start = self.at();
        self.piece.drain(..self.passed);
        self.passed = 0;
        let more = needed.saturating_sub(self.piece.len()).max(PIECE) as u64;
        Read::by_ref(&mut self.file).take(more).read_to_end(&mut self.piece)?;
        Ok(self.piece.len() >= needed)
    }

    /// All that follows.
    fn rest(mut self) -> std::io::Result<Vec<u8>> {
        self.file.read_to_end(&mut self.piece)?;
        self.piece.drain(..self.passed);
        Ok(self.piece)
    }
}

/// Whether a frame after the bad one, which comes first, belongs to a later write. Then the bad one was on the disk whole, once.
fn later_write(bad: &[u8], expected: Offset) -> bool {
    let plausible = expected..expected.saturating_add(bad.len() as u64);
    (1..bad.len()).any(|at| {
        let rest = &bad[at..];
        record::claimed_offset(rest).is_some_and(|offset| plausible.contains(&offset))
            && record::frame(rest).is_ok_and(|frame| frame.write > expected)
    })
}

fn segment_path(directory: &Path, first: Offset) -> PathBuf {
    directory.join(format!("{first:020}.log"))
}

fn segment_offsets(directory: &Path) -> Result<Vec<Offset>, SourceError> {
    let io = |source| SourceError::Io { what: format!("listing {}", directory.display()), source };
    let mut offsets = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".log"));
        offsets.extend(stem.and_then(|stem| stem.parse::<Offset>().ok()));
    }
    offsets.sort_unstable();
    Ok(offsets)
}

fn create_segment(directory: &Path, first: Offset) -> Result<PathBuf, SourceError> {
    let path = segment_path(directory, first);
    File::create(&path)
        .and_then(|file| file.sync_all())
        .and_then(|()| super::sync_directory(directory))
        .map_err(|source| SourceError::Io { what: format!("making {}", path.display()), source })?;
    Ok(path)
}

fn open_append(path: &Path) -> Result<File, SourceError> {
    let opened = OpenOptions::new().append(true).open(path);
    opened.map_err(|source| SourceError::Io { what: format!("opening {}", path.display()), source })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
