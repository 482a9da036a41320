//! The bytes of a record in the embedded log.
//!
//! Goes in: records. Goes out: frames, and records that share the bytes they were read in. All numbers are
//! big-endian. A frame is: length of the body (4 bytes), checksum of the body (8 bytes, xxh3), body. A body is: offset
//! (8), offset of the first record of the write (8), records that follow in the same call (4), timestamp (8), flags
//! (1: 1 key, 2 value), then key and value where there, each with its length (4), then the number of headers (2) and
//! for each its name and value, each with its length (4).

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Offset, Record};
use crate::source::NewRecord;

/// Length of what stands before the body.
pub(super) const HEAD: usize = 12;
/// Largest body. A larger length is damage.
pub(super) const BODY_MAX: usize = 64 * 1024 * 1024;
const FIXED: usize = 29;
const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;

/// What a frame says beside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub offset: Offset,
    /// Offset of the first record of the write that this one was part of. A write is begun after the one before is
    /// on the disk, so only the last write can be torn.
    pub write: Offset,
    /// How many records of the same call follow in this partition.
    pub left: u32,
    /// Bytes of the frame, head included.
    pub len: usize,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// They end before the frame does; it has this many bytes.
    Short(usize),
    /// They are damaged.
    Damaged(&'static str),
}

/// Length of the body of a record; `None` if it is larger than the log takes.
pub(super) fn body_len(record: &NewRecord) -> Option<usize> {
    let sized = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| 4 + bytes.len());
    let headers: usize = record.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    let len = FIXED + sized(&record.key) + sized(&record.value) + 2 + headers;
    (len <= BODY_MAX && record.headers.len() <= usize::from(u16::MAX)).then_some(len)
}

/// Appends a frame. The record fits: see [`body_len`].
pub(super) fn push(
    out: &mut Vec<u8>,
    record: &NewRecord,
    offset: Offset,
    write: Offset,
    left: u32,
    timestamp_ms: i64,
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&write.to_be_bytes());
    out.extend_from_slice(&left.to_be_bytes());
    out.extend_from_slice(&timestamp_ms.to_be_bytes());
    let flag = |there: bool, flag| if there { flag } else { 0 };
    out.push(flag(record.key.is_some(), HAS_KEY) | flag(record.value.is_some(), HAS_VALUE));
    for bytes in [&record.key, &record.value].into_iter().flatten() {
        push_sized(out, bytes);
    }
    let headers = u16::try_from(record.headers.len()).expect("the number was checked before");
    out.extend_from_slice(&headers.to_be_bytes());
    for (name, value) in &record.headers {
        push_sized(out, name.as_bytes());
        push_sized(out, value);
    }
    let body = start + HEAD;
    let len = u32::try_from(out.len() - body).expect("the length was checked before");
    let checksum = xxh3_64(&out[body..]);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    out[start + 4..body].copy_from_slice(&checksum.to_be_bytes());
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("the length was checked before");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads the frame at the front of the bytes and checks it, without making a record.
pub(super) fn frame(bytes: &[u8]) -> Result<Frame, BadFrame> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(BadFrame::Short(HEAD))?;
    let (len, checksum) = head.split_first_chunk::<4>().expect("the head is longer");
    let body_len = u32::from_be_bytes(*len) as usize;
    if !(FIXED + 2..=BODY_MAX).contains(&body_len) {
        return Err(BadFrame::Damaged("its length is impossible"));
    }
    let body = rest.get(..body_len).ok_or(BadFrame::Short(HEAD + body_len))?;
    if xxh3_64(body).to_be_bytes() != *checksum {
        return Err(BadFrame::Damaged("its checksum does not match"));
    }
    let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    let left = u32::from_be_bytes(body[16..20].try_into().expect("four bytes"));
    Ok(Frame { offset: number(0), write: number(8), left, len: HEAD + body_len })
}

/// The offset that the frame at the front of the bytes claims, unchecked: a quick look before [`frame`].
pub(super) fn claimed_offset(bytes: &[u8]) -> Option<Offset> {
    let offset = bytes.get(HEAD..HEAD + 8)?;
    Some(u64::from_be_bytes(offset.try_into().expect("eight bytes")))
}

/// The record in a checked frame; it shares the bytes. `None` if its inner lengths do not fit.
pub(super) fn record(frame: &Bytes) -> Option<Record> {
    let mut at = HEAD + 20;
    let offset = claimed_offset(frame)?;
    let timestamp_ms = i64::from_be_bytes(frame.get(at..at + 8)?.try_into().expect("eight bytes"));
    let flags = *frame.get(at + 8)?;
    at += 9;
    let key = if flags & HAS_KEY == 0 { None } else { Some(take_sized(frame, &mut at)?) };
    let value = if flags & HAS_VALUE == 0 { None } else { Some(take_sized(frame, &mut at)?) };
    let count = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().expect("two bytes"));
    at += 2;
    let mut headers = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let name = String::from_utf8(take_sized(frame, &mut at)?.to_vec()).ok()?;
        headers.push((name, take_sized(frame, &mut at)?));
    }
    (at == frame.len()).then_some(Record { offset, timestamp_ms, key, value, headers })
}

fn take_sized(frame: &Bytes, at: &mut usize) -> Option<Bytes> {
    let len = u32::from_be_bytes(frame.get(*at..*at + 4)?.try_into().expect("four bytes")) as usize;
    let start = *at + 4;
    let end = start.checked_add(len).filter(|end| *end <= frame.len())?;
    *at = end;
    Some(frame.slice(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NewRecord {
        NewRecord {
            key: Some(Bytes::from_static(b"o1")),
            value: Some(Bytes::from_static(b"{}")),
            headers: vec![("h".to_owned(), Bytes::from_static(b"v"))],
            ..NewRecord::default()
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let mut out = Vec::new();
        push(&mut out, &sample(), 258, 256, 1, 5);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = "0000000000000102000000000000010000000001000000000000000503\
            000000026f31000000027b7d000100000001680000000176";
        assert_eq!(&hex[24..], body);
        assert_eq!(&hex[..8], "00000035");
        assert_eq!(body_len(&sample()), Some(0x35));
    }

    #[test]
    fn a_record_comes_back_with_nulls_told_from_empty() {
        for (key, value) in [(None, None), (Some(Bytes::new()), None), (None, Some(Bytes::new()))] {
            let given = NewRecord { key, value, ..sample() };
            let mut out = Vec::new();
            push(&mut out, &given, 7, 7, 0, -1);
            assert_eq!(frame(&out), Ok(Frame { offset: 7, write: 7, left: 0, len: out.len() }));
            let record = record(&Bytes::from(out)).expect("its lengths fit");
            assert_eq!((record.offset, record.timestamp_ms), (7, -1));
            assert_eq!((record.key, record.value, record.headers), (given.key, given.value, given.headers));
        }
    }

    #[test]
    fn damage_of_any_byte_is_seen() {
        let mut out = Vec::new();
        push(&mut out, &sample(), 7, 7, 0, -1);
        for at in 0..out.len() {
            let mut damaged = out.clone();
            damaged[at] ^= 0x40;
            assert!(frame(&damaged).is_err(), "byte {at}");
            assert!(frame(&out[..at]).is_err(), "cut at {at}");
            let _ = record(&Bytes::from(damaged));
        }
    }
}
