//! What a segment holds after whatever happened to it: its frames are checked from front to end.
//!
//! Comes in: a segment file. Goes out: its length, its index and the offset after its last record. Only the last write of
//! the last segment can be torn, for the next is begun after it was synced: a torn one is cut off, or passed over where the
//! log is only looked at. Any other damage is an error that names the file and the byte.

use std::path::Path;

use tracing::warn;

use super::disk::{Disk, DiskFile, Open};
use super::log::{Access, SegmentState};
use super::record::{self, BadFrame};
use crate::event::Offset;
use crate::source::SourceError;

/// Bytes between two entries of a segment's index.
pub(super) const INDEX_EVERY: u64 = 64 * 1024;
/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// Checks a segment's frames. In the last segment a torn write, or one that is under way, is cut off or passed over.
pub(super) fn recover(
    disk: &dyn Disk,
    path: &Path,
    first: Offset,
    last: bool,
    access: Access,
) -> Result<(SegmentState, Offset), SourceError> {
    let io = |source| SourceError::Io { what: format!("reading {}", path.display()), source };
    let mut window = Window::open(disk, path).map_err(io)?;
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
        // The partition syncs it before anything is appended or read.
        let cut_off = disk.open(path, Open::Append).and_then(|mut file| file.truncate(keep));
        cut_off.map_err(|source| SourceError::Io {
            what: format!("cutting off the torn end of {}", path.display()),
            source,
        })?;
    }
    state.len = keep;
    state.index.retain(|(_, place)| *place < state.len);
    Ok((state, end))
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

/// A file that is gone through from front to end, a piece at a time: as long as it was at the beginning, for another
/// process may append to it meanwhile.
struct Window {
    file: Box<dyn DiskFile>,
    len: u64,
    /// What was read last; what comes before `passed` is done with.
    piece: Vec<u8>,
    passed: usize,
    /// Where the piece begins in the file.
    start: u64,
}

impl Window {
    fn open(disk: &dyn Disk, path: &Path) -> std::io::Result<Window> {
        let file = disk.open(path, Open::Read)?;
        let len = file.len()?;
        Ok(Window { file, len, piece: Vec::new(), passed: 0, start: 0 })
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
        self.read(needed.saturating_sub(self.piece.len()).max(PIECE))?;
        Ok(self.piece.len() >= needed)
    }

    /// Reads so many bytes more, or as many as there are.
    fn read(&mut self, more: usize) -> std::io::Result<()> {
        let have = self.piece.len();
        let place = self.start + have as u64;
        let left = usize::try_from(self.len.saturating_sub(place)).unwrap_or(usize::MAX);
        self.piece.resize(have + more.min(left), 0);
        let read = self.file.read_at(&mut self.piece[have..], place)?;
        self.piece.truncate(have + read);
        Ok(())
    }

    /// All that follows.
    fn rest(mut self) -> std::io::Result<Vec<u8>> {
        self.read(usize::MAX)?;
        self.piece.drain(..self.passed);
        Ok(self.piece)
    }
}
