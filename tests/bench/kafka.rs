//! Consuming from Kafka: our reader beside a bare loop over librdkafka's batches, on the same topic in one run.
//!
//! Run `cargo bench --bench kafka`. It starts a broker, or uses `KINORA_TEST_KAFKA=host:port`, and fills a topic of six
//! partitions with `KINORA_BENCH_EVENTS` records (default 2,000,000) of a 12-byte key and 232 bytes of JSON, in batches
//! compressed with lz4. Each side reads all of it, every byte of key and value, in its own connection with the same settings of
//! fetching, checksums verified. Pairs are interleaved A B B A; each figure is CPU time of this process, librdkafka's threads
//! included and the broker not. The ratio is the median of the pairs', with the least and the greatest. `KINORA_BENCH_PAIRS`
//! sets how many (default 5).

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../servers/kafka.rs"]
mod kafka_server;
#[path = "pairs.rs"]
mod pairs;
#[path = "usage.rs"]
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora::config::Kafka as Settings;
use kinora::event::TopicPartition;
use kinora::source::Source;
use kinora::source::kafka::Kafka;
use kinora::source::kafka::producer::Producer;
use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use pairs::compared;
use usage::{cpu, peak_memory_mib};

#[path = "../../src/allocator.rs"]
mod allocator;

const PARTITIONS: u32 = 6;
const VALUE_BYTES: usize = 232;
/// Messages of one call of the bare loop: the size at which it was quickest.
const BATCH: usize = 5_000;
/// What the write loop asks for at a time.
const FETCH_BYTES: usize = 256 << 10;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    allocator::set_up();
    let (events, pairs) = (number("KINORA_BENCH_EVENTS", 2_000_000), number("KINORA_BENCH_PAIRS", 5));
    let address = kafka_server::shared();
    let settings = Settings { brokers: vec![address.clone()], ..Settings::default() };
    let kafka = Kafka::open(&settings).expect("the settings are right");
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let topic: Arc<str> = format!("bench.{since}").into();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let producer = Producer::open(&kafka).expect("the settings are right");
    runtime.block_on(producer.create_topic(&topic, PARTITIONS)).expect("is made");
    drop(producer);
    fill(&address, &topic, events);

    let millions = events as f64 / 1e6;
    let mut walls = (Vec::new(), Vec::new());
    let ours = || {
        let begun = (cpu(), Instant::now());
        runtime.block_on(read(&kafka, &topic, events));
        walls.0.push(begun.1.elapsed().as_secs_f64());
        (cpu().user + cpu().system - begun.0.user - begun.0.system) / millions
    };
    let bare = || {
        let begun = (cpu(), Instant::now());
        consume(&settings, &topic, events);
        walls.1.push(begun.1.elapsed().as_secs_f64());
        (cpu().user + cpu().system - begun.0.user - begun.0.system) / millions
    };
    let found = compared(pairs, ours, bare);
    let per_second = |walls: &mut Vec<f64>| millions / pairs::median(walls);
    println!("kafka: {events} records, {pairs} pairs; CPU seconds for a million, and millions a second");
    println!("reader     {:.2}   {:.2} M/s", found.ours, per_second(&mut walls.0));
    println!("bare loop  {:.2}   {:.2} M/s", found.theirs, per_second(&mut walls.1));
    println!("ratio      {:.2} ({:.2}–{:.2})", found.ratio, found.least, found.greatest);
    println!("peak memory of both {:.0} MiB", peak_memory_mib());
}

fn fill(address: &str, topic: &str, events: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("compression.type", "lz4")
        .set("batch.size", (192 << 10).to_string())
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", (256 << 10).to_string())
        .create()
        .expect("is made");
    for number in 0..events {
        let key = format!("k{number:011}");
        let head = format!("{{\"type\":\"Measured\",\"id\":\"{key}\",\"value\":{number},\"text\":\"");
        let value = format!("{head}{}\"}}", "abcdefgh".repeat(29).split_at(VALUE_BYTES - head.len() - 2).0);
        let partition = i32::try_from(number % PARTITIONS as usize).expect("small");
        let mut record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
        while let Err((_, full)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = full;
        }
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("is sent");
}

/// Every byte, eight at a time.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word)).fold(0, u64::wrapping_add);
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// Ours.
async fn read(kafka: &Kafka, topic: &Arc<str>, events: usize) {
    let at = |partition| (TopicPartition { topic: Arc::clone(topic), partition }, 0);
    let from: Vec<_> = (0..PARTITIONS).map(at).collect();
    let mut reader = kafka.read(&from).await.expect("reads");
    let (mut seen, mut total) = (0, 0_u64);
    while seen < events {
        let mut fetched = Some(reader.next(FETCH_BYTES).await.expect("reads"));
        while let Some(some) = fetched {
            seen += some.records.len();
            for record in &some.records {
                let key = sum(record.key.as_deref().unwrap_or_default());
                let value = sum(record.value.as_deref().unwrap_or_default());
                total = total.wrapping_add(key).wrapping_add(value).wrapping_add(record.offset);
            }
            fetched = reader.more(FETCH_BYTES).expect("reads");
        }
    }
    assert_eq!(seen, events);
    std::hint::black_box(total);
}

/// The bare loop: batches from the consumer's one queue, nothing copied.
#[expect(unsafe_code, reason = "librdkafka's batches have no safe form")]
fn consume(settings: &Settings, topic: &str, events: usize) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "2")
        .create()
        .expect("is made");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let partition = i32::try_from(partition).expect("small");
        list.add_partition_offset(topic, partition, Offset::Offset(0)).expect("is an offset");
    }
    consumer.assign(&list).expect("is assigned");
    let mut messages = Vec::with_capacity(BATCH);
    let (mut seen, mut total) = (0, 0_u64);
    // SAFETY: the queue and each message are alive until they are destroyed, once, below; lengths are as librdkafka says, and
    // no message of this topic lacks key or value.
    unsafe {
        let queue = c::rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        while seen < events {
            let taken = c::rd_kafka_consume_batch_queue(queue, 1_000, messages.as_mut_ptr(), BATCH);
            messages.set_len(usize::try_from(taken).expect("it reads"));
            for message in messages.drain(..) {
                let found: &c::rd_kafka_message_t = &*message;
                assert_eq!(found.err, c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
                let key = std::slice::from_raw_parts(found.key.cast::<u8>(), found.key_len);
                let value = std::slice::from_raw_parts(found.payload.cast::<u8>(), found.len);
                total = total.wrapping_add(sum(key)).wrapping_add(sum(value));
                total = total.wrapping_add(found.offset.unsigned_abs());
                seen += 1;
                c::rd_kafka_message_destroy(message);
            }
        }
        c::rd_kafka_queue_destroy(queue);
    }
    assert_eq!(seen, events);
    std::hint::black_box(total);
}
