//! What librdkafka can do and its Rust binding has no safe form of: `batch` takes batches from a partition's queue, `ask`
//! asks brokers about many topics and partitions at once. The only `unsafe` of the library; every block says why it is
//! sound.
//!
//! Comes in: a client. Goes out: records that own their bytes (one allocation for a batch), ids, offsets. Nothing that
//! librdkafka owns leaves this folder.
#![allow(unsafe_code)]

mod ask;
mod batch;

use std::ffi::{CStr, c_char};

use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

pub(super) use ask::{Asked, Described, Listed, create_topic, describe, list_offsets};
pub(super) use batch::{Mark, PartitionQueue};

/// # Safety
/// `from` is null, or text that ends in a zero byte.
unsafe fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: the caller says that it is text.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

/// An error code; one that the binding does not know is `Unknown`.
fn known(code: i32) -> RDKafkaErrorCode {
    c::rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}
