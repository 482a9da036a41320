//! Batches of the records of one partition. Comes in: a partition that is about to be assigned. Goes out: records, and what
//! stands between them.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::super::client::Consumer;
use super::{known, text};
use crate::event::{Offset, Record, TopicPartition};

/// The queue of one partition, apart from those of all others.
pub(in crate::source::kafka) struct PartitionQueue {
    queue: NonNull<c::rd_kafka_queue_t>,
    topic: CString,
    partition: i32,
    /// What the queue's callback points at: it is told when the queue is no longer empty.
    _wake: Arc<Notify>,
    /// The queue must not outlive its client.
    client: Arc<Consumer>,
    /// Room for the messages of a batch; empty between calls.
    messages: Vec<*mut c::rd_kafka_message_t>,
}

// SAFETY: librdkafka's queues may be used from any thread; `messages` is empty between calls, which take `&mut self`.
unsafe impl Send for PartitionQueue {}

/// What a queue has beside records.
#[derive(Debug)]
pub(in crate::source::kafka) enum Mark {
    /// The next record, when there is one, will not be before this offset.
    End(Offset),
    Fault {
        code: RDKafkaErrorCode,
        reason: String,
    },
}

impl PartitionQueue {
    /// The queue of a partition that is not assigned yet. `None`: the name has a zero byte, or the client is closed.
    pub fn split(client: &Arc<Consumer>, at: &TopicPartition, wake: &Arc<Notify>) -> Option<PartitionQueue> {
        let topic = CString::new(&*at.topic).ok()?;
        let partition = i32::try_from(at.partition).ok()?;
        // SAFETY: the client is alive, and the topic's name ends in a zero byte. The answer is null, or a queue that this
        // struct alone destroys.
        let queue = NonNull::new(unsafe {
            c::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition)
        })?;
        let (wake, client) = (Arc::clone(wake), Arc::clone(client));
        // SAFETY: the queue is alive. Without a target it no longer passes on to the queue of the whole client. The opaque
        // pointer is that of `wake`, which lives until `drop` has taken the callback away.
        unsafe {
            c::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            let opaque = Arc::as_ptr(&wake).cast_mut().cast::<c_void>();
            c::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_filled), opaque);
        }
        Some(PartitionQueue { queue, topic, partition, _wake: wake, client, messages: Vec::new() })
    }

    /// Takes at most so many records, and what stands between them, without waiting; answers the bytes of the records.
    pub fn take(&mut self, records_max: usize, records: &mut Vec<Record>, marks: &mut Vec<Mark>) -> usize {
        self.messages.clear();
        self.messages.reserve(records_max);
        // SAFETY: the queue is alive and the buffer has room for `records_max` pointers. As many are written as are
        // answered (a negative number: none), each to a message that is ours to destroy.
        let messages = unsafe {
            let buffer = self.messages.as_mut_ptr();
            let taken = c::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, buffer, records_max);
            self.messages.set_len(usize::try_from(taken).unwrap_or(0));
            std::mem::take(&mut self.messages)
        };
        let batch = Batch(messages);
        let bytes = batch.copy(records, marks);
        self.messages = batch.into_room();
        bytes
    }

    /// End of the partition as the last answer to a fetch said it, open transactions included; `None` before the first.
    pub fn known_end(&self) -> Option<Offset> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: client and name are alive, both numbers can be written to.
        let code = unsafe {
            c::rd_kafka_get_watermark_offsets(
                self.client.client().native_ptr(),
                self.topic.as_ptr(),
                self.partition,
                &mut low,
                &mut high,
            )
        };
        (code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| u64::try_from(high).ok())?
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and not used after this. librdkafka calls back with the queue locked, and the first
        // call takes that lock: no callback runs when it returns, so `_wake` may go.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            c::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Called by librdkafka, on a thread of its own, when a queue is no longer empty.
unsafe extern "C" fn on_filled(_: *mut c::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer is that of `PartitionQueue::_wake`, which outlives the callback; telling neither blocks nor unwinds.
    unsafe { &*opaque.cast::<Notify>() }.notify_one();
}

/// Messages that are ours: destroyed when this goes, also where a copy panics.
struct Batch(Vec<*mut c::rd_kafka_message_t>);

impl Batch {
    fn copy(&self, records: &mut Vec<Record>, marks: &mut Vec<Mark>) -> usize {
        // SAFETY: each pointer is to a message that lives until `drop`, and nobody else has it.
        let messages = || self.0.iter().map(|message| unsafe { &**message });
        let lens = messages().map(|message| message.len + message.key_len);
        let mut buffer = BytesMut::with_capacity(lens.sum());
        let mut bytes = 0;
        records.reserve(self.0.len());
        for message in messages() {
            match code_of(message) {
                0 => {
                    let record = record(message, &mut buffer);
                    bytes += record.len_bytes();
                    records.push(record);
                }
                code => marks.push(mark(message, code)),
            }
        }
        bytes
    }

    fn into_room(mut self) -> Vec<*mut c::rd_kafka_message_t> {
        self.destroy();
        std::mem::take(&mut self.0)
    }

    fn destroy(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: the message is ours, and out of the list now: it is destroyed once.
            unsafe { c::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// The error code of a message, 0 for none. A newer broker may send one that the binding's enumeration lacks: it is read as
/// the number that it is.
fn code_of(message: &c::rd_kafka_message_t) -> i32 {
    // SAFETY: the field is a C enumeration, which is an `int`, and any bytes are one.
    unsafe { (&raw const message.err).cast::<i32>().read() }
}

fn record(message: &c::rd_kafka_message_t, buffer: &mut BytesMut) -> Record {
    // SAFETY: librdkafka says of each message where key and payload lie and how long they are; null is none at all.
    let (key, value) = unsafe {
        (copied(message.key, message.key_len, buffer), copied(message.payload, message.len, buffer))
    };
    // SAFETY: the message is alive; nobody asks of which kind its time is.
    let timestamp_ms = unsafe { c::rd_kafka_message_timestamp(message, ptr::null_mut()) };
    // An offset of a record that a broker sent is never negative.
    Record { offset: message.offset.unsigned_abs(), timestamp_ms, key, value, headers: headers(message) }
}

/// # Safety
/// `from` is null, or so many bytes can be read there.
unsafe fn copied(from: *const c_void, len: usize, buffer: &mut BytesMut) -> Option<Bytes> {
    let from = NonNull::new(from.cast_mut().cast::<u8>())?;
    // SAFETY: the caller says that the bytes are there.
    buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(from.as_ptr(), len) });
    Some(buffer.split().freeze())
}

fn headers(message: &c::rd_kafka_message_t) -> Vec<(String, Bytes)> {
    let mut all = ptr::null_mut();
    // SAFETY: the message is alive, and keeps the headers that it answers with.
    let code = unsafe { c::rd_kafka_message_headers(message, &mut all) };
    if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || all.is_null() {
        return Vec::new();
    }
    // SAFETY: the headers were just answered.
    let count = unsafe { c::rd_kafka_header_cnt(all) };
    let one = |index| {
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers live, the index is below their number, and the three can be written to. The name ends in a
        // zero byte; the value has `len` bytes, or is null.
        unsafe {
            c::rd_kafka_header_get_all(all, index, &mut name, &mut value, &mut len);
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            let value = NonNull::new(value.cast_mut().cast::<u8>());
            let value = value.map_or(&[][..], |value| std::slice::from_raw_parts(value.as_ptr(), len));
            (name, Bytes::copy_from_slice(value))
        }
    };
    (0..count).map(one).collect()
}

fn mark(message: &c::rd_kafka_message_t, code: i32) -> Mark {
    if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32 {
        return Mark::End(u64::try_from(message.offset).unwrap_or(0));
    }
    // SAFETY: a message with an error carries its text, or librdkafka has one that lives for ever.
    let reason = unsafe { text(c::rd_kafka_message_errstr(message)) };
    Mark::Fault { code: known(code), reason }
}
