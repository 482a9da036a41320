//! Reads the embedded log: a set of partitions in turn, and single records.
//!
//! Comes in: positions. Goes out: records that share the buffer they were read into. Files are read in chunks through
//! the page cache, on the caller's thread; only waiting for new records is asynchronous.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::disk::DiskFile;
use super::log::{Partition, Segment};
use super::record::{self, BadFrame};
use crate::event::{Offset, Record, TopicPartition};
use crate::source::{Fetched, Reader, SourceError};

/// How much is read to find one record: as much as the index leaves open.
const CHUNK: usize = 64 * 1024;

/// Reads partitions of the embedded log.
pub(super) struct BrokerReader {
    cursors: Vec<Cursor>,
    /// Whose turn it was.
    turn: usize,
    /// Told after each write to the log.
    changes: watch::Receiver<u64>,
}

/// A place in a partition.
pub(super) struct Cursor {
    at: TopicPartition,
    partition: Arc<Partition>,
    next: Offset,
    /// The segment being read, and where its next frame begins.
    open: Option<OpenSegment>,
}

struct OpenSegment {
    segment: Arc<Segment>,
    file: Box<dyn DiskFile>,
    place: u64,
}

impl BrokerReader {
    pub fn new(cursors: Vec<Cursor>, changes: watch::Receiver<u64>) -> BrokerReader {
        BrokerReader { turn: cursors.len().saturating_sub(1), cursors, changes }
    }

    /// Records of the next partition in turn that has some.
    fn poll(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        for _ in 0..self.cursors.len() {
            self.turn = (self.turn + 1) % self.cursors.len();
            if let Some(fetched) = self.cursors[self.turn].fetch(bytes_max)? {
                return Ok(Some(fetched));
            }
        }
        Ok(None)
    }
}

impl Reader for BrokerReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            loop {
                self.changes.borrow_and_update();
                if let Some(fetched) = self.poll(bytes_max)? {
                    return Ok(fetched);
                }
                if self.changes.changed().await.is_err() {
                    return Err(SourceError::Unavailable("the log was closed".to_owned()));
                }
            }
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        match self.cursors.get_mut(self.turn) {
            Some(cursor) => cursor.fetch(bytes_max),
            None => Ok(None),
        }
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        let Some(cursor) = self.cursors.iter_mut().find(|cursor| cursor.at == *at) else {
            let place = format!("{}:{}", at.topic, at.partition);
            return Err(SourceError::Refused(format!("{place} is not among the partitions of this reader")));
        };
        *cursor = Cursor::new(at.clone(), Arc::clone(&cursor.partition), offset)?;
        Ok(())
    }
}

impl Cursor {
    /// A place at an offset that the partition has, or at its end.
    pub fn new(at: TopicPartition, partition: Arc<Partition>, next: Offset) -> Result<Cursor, SourceError> {
        let (start, end) = partition.offsets();
        crate::source::within(&at, next, start, end)?;
        Ok(Cursor { at, partition, next, open: None })
    }

    /// The record at the cursor; `None` at the end.
    pub fn one(&mut self) -> Result<Option<Record>, SourceError> {
        Ok(self.fetch(CHUNK)?.and_then(|fetched| fetched.records.into_iter().next()))
    }

    fn fetch(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        let end = self.partition.offsets().1;
        if self.next >= end {
            return Ok(None);
        }
        let mut records = Vec::new();
        // A second round where the first ended at the end of a segment.
        while records.is_empty() {
            let mut open = match self.open.take() {
                Some(open) if open.place < open.segment.len() => open,
                _ => open_at(&self.partition, self.next)?,
            };
            records = open.read(self.next, bytes_max)?;
            self.open = Some(open);
        }
        self.next += records.len() as u64;
        Ok(Some(Fetched { at: self.at.clone(), records, next: self.next, end }))
    }
}

fn open_at(partition: &Partition, offset: Offset) -> Result<OpenSegment, SourceError> {
    let segments = partition.view().segments;
    let after = segments.partition_point(|segment| segment.first <= offset);
    let segment = after.checked_sub(1).map(|at| Arc::clone(&segments[at]));
    let segment =
        segment.ok_or_else(|| SourceError::Gone(format!("offset {offset} is no longer in the log")))?;
    let file = partition
        .open_segment(&segment)
        .map_err(|source| SourceError::Io { what: format!("opening {}", segment.path.display()), source })?;
    let place = segment.place(offset);
    Ok(OpenSegment { segment, file, place })
}

/// Most records of a chunk for which room is made before they are read.
const RECORDS_EXPECTED_MAX: usize = 4_096;

impl OpenSegment {
    /// Records from `next` on that fit into a chunk of about `bytes_max`, one at least unless all that was read lies
    /// before `next`: then none, and the place has moved on.
    fn read(&mut self, next: Offset, bytes_max: usize) -> Result<Vec<Record>, SourceError> {
        let mut want = bytes_max.max(record::HEAD);
        loop {
            let chunk = self.chunk(want)?;
            let (records, used, short) = self.decode(&chunk, next)?;
            if used > 0 {
                self.place += used as u64;
                return Ok(records);
            }
            match short {
                Some(needed) if needed > want => want = needed,
                _ => return Err(self.corrupt("the file ends inside it")),
            }
        }
    }

    fn chunk(&mut self, want: usize) -> Result<Bytes, SourceError> {
        let left = self.segment.len().saturating_sub(self.place);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(want);
        match self.file.bytes_at(len, self.place) {
            Ok(bytes) if bytes.len() == len => Ok(Bytes::from(bytes)),
            Ok(_) => Err(self.corrupt("the file has become shorter than what was written")),
            Err(source) => {
                Err(SourceError::Io { what: format!("reading {}", self.segment.path.display()), source })
            }
        }
    }

    /// Records of a chunk, the bytes that their frames take, and how many bytes the frame has that did not fit.
    fn decode(
        &self,
        chunk: &Bytes,
        next: Offset,
    ) -> Result<(Vec<Record>, usize, Option<usize>), SourceError> {
        let (mut records, mut at) = (Vec::new(), 0);
        while at < chunk.len() {
            let frame = match record::frame(&chunk[at..]) {
                Ok(frame) => frame,
                Err(BadFrame::Short(needed)) => return Ok((records, at, Some(needed))),
                Err(BadFrame::Damaged(_)) if at > 0 => break,
                Err(BadFrame::Damaged(reason)) => return Err(self.corrupt(reason)),
            };
            if frame.offset >= next {
                if records.is_empty() {
                    // The others are about as long.
                    records.reserve(((chunk.len() - at) / frame.len).min(RECORDS_EXPECTED_MAX));
                }
                let record = record::record(&chunk.slice(at..at + frame.len));
                records.push(record.ok_or_else(|| self.corrupt("its lengths do not fit"))?);
            }
            at += frame.len;
        }
        Ok((records, at, None))
    }

    fn corrupt(&self, reason: &str) -> SourceError {
        let path = self.segment.path.display();
        SourceError::Corrupt(format!("the record of {path} at byte {}: {reason}", self.place))
    }
}
