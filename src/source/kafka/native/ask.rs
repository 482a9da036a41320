//! Questions to brokers: what topics there are, the offsets of partitions, a topic to be made. Every one blocks until it is
//! answered.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as c;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use super::super::client::Consumer;
use super::{known, text};
use crate::event::TopicPartition;
use crate::source::SourceError;

/// A topic as the controller describes it.
pub(in crate::source::kafka) struct Described {
    pub id: u128,
    pub partitions: u32,
    pub is_internal: bool,
}

/// Ids and numbers of partitions of topics, in the order of their names. Blocks until a broker has answered.
///
/// # Errors
/// No broker answers in time; a name that has a zero byte. Of one topic: its error code.
pub(in crate::source::kafka) fn describe(
    client: &Consumer,
    names: &[Arc<str>],
    timeout: Duration,
) -> Result<Vec<Result<Described, RDKafkaErrorCode>>, SourceError> {
    let names = names_of(names.iter())?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
    // SAFETY: the names live through the call, which copies them; the collection is destroyed after the request has taken
    // what it needs; client, options and queue are alive.
    unsafe {
        let topics = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        c::rd_kafka_DescribeTopics(request.native(), topics, request.options, request.queue);
        c::rd_kafka_TopicCollection_destroy(topics);
    }
    let event = request.answer()?;
    // SAFETY: the event is the answer to this request; what it shows lives until it is dropped, behind this block. Null is
    // answered for an event of another kind.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(client.context().why(None));
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        Ok((0..count).map(|index| described(*topics.add(index))).collect())
    }
}

/// # Safety
/// The pointer is to a description that lives.
unsafe fn described(topic: *const c::rd_kafka_TopicDescription_t) -> Result<Described, RDKafkaErrorCode> {
    // SAFETY: the caller says that the description lives; what is asked of it lives as long.
    unsafe {
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code = if error.is_null() { 0 } else { c::rd_kafka_error_code(error) as i32 };
        if code != 0 {
            return Err(known(code));
        }
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        let half = |bits: i64| u128::from(bits.cast_unsigned());
        let id = half(c::rd_kafka_Uuid_most_significant_bits(id)) << 64
            | half(c::rd_kafka_Uuid_least_significant_bits(id));
        let mut partitions = 0;
        c::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        Ok(Described {
            id,
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            is_internal: c::rd_kafka_TopicDescription_is_internal(topic) != 0,
        })
    }
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy)]
pub(in crate::source::kafka) enum Asked {
    Start,
    /// Where a reader that sees only what is committed comes to an end: at the first open transaction, else at the last record.
    End,
    /// The first record whose timestamp is not before this one; milliseconds since 1970.
    From(i64),
}

/// The offset and the error code of a partition: a negative offset is none.
pub(in crate::source::kafka) type Listed = (TopicPartition, i64, Option<RDKafkaErrorCode>);

/// Offsets of partitions, in any order. Blocks until the brokers have answered.
///
/// # Errors
/// No broker answers in time; a name that has a zero byte.
pub(in crate::source::kafka) fn list_offsets(
    client: &Consumer,
    partitions: &[TopicPartition],
    asked: Asked,
    timeout: Duration,
) -> Result<Vec<Listed>, SourceError> {
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
    let spec = match asked {
        Asked::Start => c::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
        Asked::End => c::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
        // Smaller numbers mean something else.
        Asked::From(time_ms) => time_ms.max(0),
    };
    let names = names_of(partitions.iter().map(|at| &at.topic))?;
    // SAFETY: the list is made, filled and destroyed here; names are copied into it, and what is added can be written to
    // until the next is. Options, client and queue are alive; an error of the options is destroyed.
    unsafe {
        let committed = c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
        let error = c::rd_kafka_AdminOptions_set_isolation_level(request.options, committed);
        if !error.is_null() {
            c::rd_kafka_error_destroy(error);
        }
        let list =
            c::rd_kafka_topic_partition_list_new(c_int::try_from(partitions.len()).unwrap_or(c_int::MAX));
        for (name, at) in names.iter().zip(partitions) {
            let partition = i32::try_from(at.partition).unwrap_or(i32::MAX);
            (*c::rd_kafka_topic_partition_list_add(list, name.as_ptr(), partition)).offset = spec;
        }
        c::rd_kafka_ListOffsets(request.native(), list, request.options, request.queue);
        c::rd_kafka_topic_partition_list_destroy(list);
    }
    let event = request.answer()?;
    // SAFETY: as in `describe`.
    unsafe {
        let result = c::rd_kafka_event_ListOffsets_result(event.0);
        if result.is_null() {
            return Err(client.context().why(None));
        }
        let mut count = 0;
        let infos = c::rd_kafka_ListOffsets_result_infos(result, &mut count);
        let listed = |index| {
            let found = &*c::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            let topic: Arc<str> = CStr::from_ptr(found.topic).to_string_lossy().into();
            let at = TopicPartition { topic, partition: found.partition.unsigned_abs() };
            let code = (&raw const found.err).cast::<i32>().read();
            (at, found.offset, (code != 0).then(|| known(code)))
        };
        Ok((0..count).map(listed).collect())
    }
}

/// Makes a topic, with the brokers' own replication and these settings. Blocks until it is made. `None`: it is; otherwise the
/// code and the reason of the refusal.
///
/// # Errors
/// No broker answers in time; a text that has a zero byte.
pub(in crate::source::kafka) fn create_topic(
    client: &Consumer,
    (name, partitions, replicas): (&str, u32, Option<u16>),
    settings: &[(String, String)],
    timeout: Duration,
) -> Result<Option<(RDKafkaErrorCode, String)>, SourceError> {
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout)?;
    let name = zero_ended(name)?;
    let settings: Result<Vec<(CString, CString)>, SourceError> =
        settings.iter().map(|(name, value)| Ok((zero_ended(name)?, zero_ended(value)?))).collect();
    let (settings, partitions) = (settings?, c_int::try_from(partitions).unwrap_or(c_int::MAX));
    let replicas = replicas.map_or(-1, c_int::from);
    let mut reason: [c_char; 256] = [0; 256];
    // SAFETY: texts live through the calls, which copy them; the reason has the size that is said. The topic is null, or made
    // here and destroyed once the request has copied it. Options, client and queue are alive.
    unsafe {
        let topic =
            c::rd_kafka_NewTopic_new(name.as_ptr(), partitions, replicas, reason.as_mut_ptr(), reason.len());
        if topic.is_null() {
            return Err(SourceError::Refused(format!(
                "topic {name:?} cannot be made: {}",
                text(reason.as_ptr())
            )));
        }
        for (name, value) in &settings {
            c::rd_kafka_NewTopic_set_config(topic, name.as_ptr(), value.as_ptr());
        }
        let mut topics = [topic];
        c::rd_kafka_CreateTopics(request.native(), topics.as_mut_ptr(), 1, request.options, request.queue);
        c::rd_kafka_NewTopic_destroy(topic);
    }
    let event = request.answer()?;
    // SAFETY: as in `describe`; there is one answer for the one topic.
    unsafe {
        let result = c::rd_kafka_event_CreateTopics_result(event.0);
        let mut count = 0;
        if result.is_null() {
            return Err(client.context().why(None));
        }
        let topics = c::rd_kafka_CreateTopics_result_topics(result, &mut count);
        if count == 0 {
            return Err(client.context().why(None));
        }
        let code = c::rd_kafka_topic_result_error(*topics) as i32;
        let reason = text(c::rd_kafka_topic_result_error_string(*topics));
        Ok((code != 0).then(|| (known(code), reason)))
    }
}

fn names_of<'n>(names: impl Iterator<Item = &'n Arc<str>>) -> Result<Vec<CString>, SourceError> {
    names.map(|name| zero_ended(name)).collect()
}

fn zero_ended(text: &str) -> Result<CString, SourceError> {
    CString::new(text).map_err(|_| SourceError::Refused(format!("{text:?} has a zero byte")))
}

/// A question to brokers, with a queue of its own for the answer.
struct Request<'c> {
    client: &'c Consumer,
    options: *mut c::rd_kafka_AdminOptions_t,
    queue: *mut c::rd_kafka_queue_t,
    asked: Instant,
    timeout: Duration,
}

/// An event that is ours.
struct Event(*mut c::rd_kafka_event_t);

/// How long an answer is waited for before what else the client has to tell is heard.
const SLICE_MS: c_int = 50;
/// After so long without any connection nothing more is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl<'c> Request<'c> {
    fn new(
        client: &'c Consumer,
        operation: c::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Request<'c>, SourceError> {
        let native = client.client().native_ptr();
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        let mut reason: [c_char; 256] = [0; 256];
        // SAFETY: the client is alive; options and queue are new and destroyed in `drop`; the text has the size that is said.
        unsafe {
            let options = c::rd_kafka_AdminOptions_new(native, operation);
            let queue = c::rd_kafka_queue_new(native);
            let request = Request { client, options, queue, asked: Instant::now(), timeout };
            let code = c::rd_kafka_AdminOptions_set_request_timeout(
                options,
                timeout_ms,
                reason.as_mut_ptr(),
                reason.len(),
            );
            if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(SourceError::Refused(format!("`kafka.timeout`: {}", text(reason.as_ptr()))));
            }
            Ok(request)
        }
    }

    fn native(&self) -> *mut c::rd_kafka_t {
        self.client.client().native_ptr()
    }

    /// Waits for the answer, and hears meanwhile what the client tells of its connections.
    fn answer(&self) -> Result<Event, SourceError> {
        let context = self.client.context();
        loop {
            // What it answers with is told to the context as well.
            let _ = self.client.poll(Duration::ZERO);
            // SAFETY: the queue is alive; the answer is null, or an event that is ours.
            let event = Event(unsafe { c::rd_kafka_queue_poll(self.queue, SLICE_MS) });
            let waited = self.asked.elapsed();
            if event.0.is_null() {
                if context.is_cut_off(waited > PATIENCE) || waited > self.timeout + PATIENCE {
                    return Err(context.why(None));
                }
                continue;
            }
            // SAFETY: the event is alive. Its code is read as the number that it is.
            let code = unsafe { c::rd_kafka_event_error(event.0) } as i32;
            if code != 0 {
                return Err(context.why(Some(known(code))));
            }
            context.answered();
            return Ok(event);
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // SAFETY: both are ours and not used after this; an answer that comes later is dropped by librdkafka.
        unsafe {
            c::rd_kafka_queue_destroy(self.queue);
            c::rd_kafka_AdminOptions_destroy(self.options);
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the event is ours and not used after this.
            unsafe { c::rd_kafka_event_destroy(self.0) };
        }
    }
}
