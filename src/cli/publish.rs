//! `kinora publish`: records from a file, or standard input, into a topic.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use crate::cli::data::{self, Holder};
use crate::cli::{Context, Exit, Failed, counted, unreachable};
use crate::clock::now_ms;
use crate::event::Position;
use crate::sample::{self, SampleEvent};
use crate::serve::Endpoint;
#[cfg(feature = "kafka")]
use crate::source::Source as _;
use crate::source::broker::{Broker, check_name};
use crate::source::file::{PublishedLine, parse_line};
#[cfg(feature = "kafka")]
use crate::source::kafka::{Kafka, producer::Producer};
use crate::source::{NewRecord, SourceError};

/// Arguments of `publish`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Topic to append to; the embedded log makes it where it is not there.
    #[arg(required_unless_present = "sample")]
    topic: Option<String>,
    /// File of JSON lines, one record each: `{"key": …, "value": …}` [default: standard input].
    file: Option<PathBuf>,
    /// Directory of log and store [default: Kafka where `kafka.brokers` is set, else `dev.data`, which is `.kinora` in the
    /// project].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Makes a topic in Kafka too where it is not there, with as many partitions as `[topics]` says.
    #[arg(long)]
    create: bool,
    /// Publishes so many made-up events of the sample that `dev.sample` names, each to its topic, which is made.
    #[arg(long, value_name = "EVENTS", conflicts_with_all = ["topic", "file"])]
    sample: Option<usize>,
}

/// What draws made-up events.
const SAMPLE_SEED: u64 = 1;

/// Records sent as one request or one append.
const CHUNK_RECORDS: usize = 1_000;

/// Bytes after which a request is sent, though it has fewer records.
const CHUNK_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct Published {
    records: u64,
    /// `x-read-after` for all of them.
    #[serde(rename = "readAfter")]
    read_after: String,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    match runtime.block_on(publish(context, arguments)) {
        Ok(published) => {
            context.output.value(&published, |published| {
                let records = counted(published.records, "record");
                match published.read_after.as_str() {
                    "" => format!("{records} published: there was none to publish"),
                    read_after => format!("{records} published; x-read-after: {read_after}"),
                }
            });
            Exit::Done
        }
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

async fn publish(context: &Context, arguments: &Arguments) -> Result<Published, Failed> {
    match (&arguments.topic, arguments.sample) {
        (Some(topic), _) => publish_lines(context, arguments, topic).await,
        (None, events) => publish_sample(context, arguments, events.unwrap_or_default()).await,
    }
}

/// Publishes made-up events, topic by topic: their times, not their positions, say how topics go together.
async fn publish_sample(context: &Context, arguments: &Arguments, count: usize) -> Result<Published, Failed> {
    if context.settings.dev.sample.is_none() {
        let reason =
            "`--sample` publishes the events that `dev.sample` of kinora.toml names, and it names none";
        return Err((Exit::Usage, reason.to_owned()));
    }
    let mut by_topic: BTreeMap<&str, Vec<SampleEvent>> = BTreeMap::new();
    for event in sample::shop(SAMPLE_SEED, count, now_ms()) {
        by_topic.entry(event.topic).or_default().push(event);
    }
    let bar = bar(context, None);
    let mut all = Published { records: 0, read_after: String::new() };
    for (topic, events) in by_topic {
        let mut publishing = Publishing::begin(context, arguments, topic).await?;
        for event in events {
            bar.inc(1);
            let line =
                json!({ "key": event.key, "value": raw(&event.value), "timestamp": event.timestamp_ms });
            let line = line.to_string();
            let record =
                record(topic, &line, publishing.record_bytes_max).map_err(|reason| (Exit::Bug, reason))?;
            publishing.add(line, record).await?;
        }
        publishing.flush().await?;
        let published = publishing.ended();
        all.records += published.records;
        if !all.read_after.is_empty() && !published.read_after.is_empty() {
            all.read_after.push(',');
        }
        all.read_after.push_str(&published.read_after);
    }
    bar.finish_and_clear();
    Ok(all)
}

fn raw(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("a sample's event is JSON")
}

async fn publish_lines(context: &Context, arguments: &Arguments, topic: &str) -> Result<Published, Failed> {
    check_name(topic).map_err(|error| (Exit::Usage, error.to_string()))?;
    let Input { reader, bytes, name } = open(arguments)?;
    let mut publishing = Publishing::begin(context, arguments, topic).await?;
    let bar = bar(context, bytes);
    for (number, line) in (1u64..).zip(reader.lines()) {
        let line = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => line,
            Err(error) => return Err(publishing.broke_off(&name, number, &error.to_string()).await),
        };
        bar.inc(line.len() as u64 + 1);
        match record(topic, &line, publishing.record_bytes_max) {
            Ok(record) => publishing.add(line, record).await?,
            Err(reason) => return Err(publishing.broke_off(&name, number, &reason).await),
        }
    }
    publishing.flush().await?;
    bar.finish_and_clear();
    Ok(publishing.ended())
}

/// A line's record, if this topic takes it.
fn record(topic: &str, line: &str, bytes_max: usize) -> Result<NewRecord, String> {
    let PublishedLine { topic: named, record } = parse_line(line)?;
    if let Some(other) = named.filter(|named| **named != *topic) {
        return Err(format!("the line's topic is {other:?}, but {topic:?} is published to"));
    }
    match record.len_bytes() {
        length if length > bytes_max => {
            Err(format!("the record has {length} bytes, {bytes_max} are the most (`serve.limits.record`)"))
        }
        _ => Ok(record),
    }
}

/// Records on their way into a topic, some hundred at a time.
struct Publishing {
    topic: String,
    sink: Sink,
    /// Bytes after which a request is sent: what the server takes, at most [`CHUNK_BYTES`].
    chunk_bytes_max: usize,
    record_bytes_max: usize,
    chunk: Vec<(String, NewRecord)>,
    chunk_bytes: usize,
    published: u64,
    /// The highest offset of each partition, by `topic:partition`.
    ends: BTreeMap<String, u64>,
}

/// Where records go.
enum Sink {
    /// The log, with the lock that is held as long as it is open.
    Own {
        broker: Broker,
        _lock: data::DataLock,
    },
    Running(Endpoint),
    #[cfg(feature = "kafka")]
    Kafka(Producer),
}

impl Sink {
    async fn open(context: &Context, arguments: &Arguments, topic: &str) -> Result<Sink, Failed> {
        if arguments.data.is_none() && !context.settings.kafka.brokers.is_empty() {
            let makes = arguments.create || arguments.sample.is_some();
            return Sink::kafka(context, makes.then_some(topic)).await;
        }
        let data = context.data_dir(arguments.data.as_ref());
        let lock = match data::take(&data).map_err(unreachable)? {
            Holder::Running(endpoint) => return Ok(Sink::Running(endpoint)),
            Holder::Us(lock) => lock,
        };
        let broker = data::open_log(&data)?;
        if data.join("store").is_dir() {
            data::check_log(&data, &broker, &data::open_store(&data)?)?;
        }
        broker
            .create_topic(topic, context.settings.partitions(topic))
            .map_err(|error| data::not_written(&error))?;
        Ok(Sink::Own { broker, _lock: lock })
    }

    /// Kafka; makes a topic first, where one is named and not there.
    #[cfg(feature = "kafka")]
    async fn kafka(context: &Context, makes: Option<&str>) -> Result<Sink, Failed> {
        let open = async || {
            let kafka = Kafka::open(&context.settings.kafka)?;
            let producer = Producer::open(&kafka)?;
            if let Some(topic) = makes
                && kafka.topic(topic).await?.is_none()
            {
                producer.create_topic(topic, context.settings.partitions(topic)).await?;
            }
            Ok(producer)
        };
        Ok(Sink::Kafka(open().await.map_err(|error: SourceError| data::not_written(&error))?))
    }

    #[cfg(not(feature = "kafka"))]
    async fn kafka(_: &Context, _: Option<&str>) -> Result<Sink, Failed> {
        let reason = "`kafka.brokers` is set, but this program was built without its feature `kafka`";
        Err((Exit::Invalid, reason.to_owned()))
    }
}

impl Publishing {
    async fn begin(context: &Context, arguments: &Arguments, topic: &str) -> Result<Publishing, Failed> {
        let (sink, topic) = (Sink::open(context, arguments, topic).await?, topic.to_owned());
        let limits = &context.settings.serve.limits;
        Ok(Publishing {
            topic,
            sink,
            chunk_bytes_max: CHUNK_BYTES.min(limits.publish.len()),
            record_bytes_max: limits.record.len(),
            chunk: Vec::new(),
            chunk_bytes: 0,
            published: 0,
            ends: BTreeMap::new(),
        })
    }

    /// What was published.
    fn ended(self) -> Published {
        let ends = self.ends.iter();
        let read_after: Vec<String> = ends.map(|(partition, end)| format!("{partition}@{end}")).collect();
        Published { records: self.published, read_after: read_after.join(",") }
    }

    async fn add(&mut self, line: String, record: NewRecord) -> Result<(), Failed> {
        let bytes = line.len() + 1;
        if self.chunk.len() == CHUNK_RECORDS || self.chunk_bytes + bytes > self.chunk_bytes_max {
            self.flush().await?;
        }
        self.chunk_bytes += bytes;
        self.chunk.push((line, record));
        Ok(())
    }

    /// Sends what waits.
    async fn flush(&mut self) -> Result<(), Failed> {
        let chunk = std::mem::take(&mut self.chunk);
        self.chunk_bytes = 0;
        let records = chunk.len() as u64;
        if records == 0 {
            return Ok(());
        }
        let before = self.published;
        self.send(chunk).await.map_err(|(exit, reason)| match before {
            0 => (exit, reason),
            before => (exit, format!("{reason}; {} before are published", counted(before, "record"))),
        })?;
        self.published += records;
        Ok(())
    }

    /// Publishes what was read before a bad line, and says where to go on.
    async fn broke_off(&mut self, name: &str, line: u64, reason: &str) -> Failed {
        if let Err(failed) = self.flush().await {
            return failed;
        }
        let before = match self.published {
            0 => "nothing was published".to_owned(),
            published => format!(
                "{} before this line went in, it and what follows did not",
                counted(published, "record")
            ),
        };
        (Exit::Findings, format!("{name}:{line}: {reason}; {before}"))
    }

    async fn send(&mut self, chunk: Vec<(String, NewRecord)>) -> Result<(), Failed> {
        match &self.sink {
            Sink::Own { broker, .. } => {
                let appended = broker.append(&self.topic, records(chunk)).await;
                self.appended(appended)?;
            }
            #[cfg(feature = "kafka")]
            Sink::Kafka(producer) => {
                let appended = producer.append(&self.topic, records(chunk)).await;
                self.appended(appended)?;
            }
            Sink::Running(endpoint) => {
                let lines: Vec<&str> = chunk.iter().map(|(line, _)| line.as_str()).collect();
                let path = format!("/topics/{}", self.topic);
                let reply = endpoint.post(&path, "application/x-ndjson", lines.join("\n").as_bytes()).await;
                let reply = reply.map_err(unreachable)?;
                for position in reply["readAfter"].as_str().unwrap_or("").split(',') {
                    if let Some((partition, offset)) = position.rsplit_once('@')
                        && let Ok(offset) = offset.parse()
                    {
                        note(&mut self.ends, partition.to_owned(), offset);
                    }
                }
            }
        }
        Ok(())
    }

    fn appended(&mut self, positions: Result<Vec<Position>, SourceError>) -> Result<(), Failed> {
        for Position { at, offset } in positions.map_err(|error| data::not_written(&error))? {
            note(&mut self.ends, format!("{}:{}", at.topic, at.partition), offset);
        }
        Ok(())
    }
}

fn records(chunk: Vec<(String, NewRecord)>) -> Vec<NewRecord> {
    chunk.into_iter().map(|(_, record)| record).collect()
}

fn note(ends: &mut BTreeMap<String, u64>, partition: String, offset: u64) {
    let end = ends.entry(partition).or_insert(offset);
    *end = offset.max(*end);
}

/// Where lines come from.
struct Input {
    reader: BufReader<Box<dyn Read>>,
    /// How many there are in all, where that is known.
    bytes: Option<u64>,
    name: String,
}

fn open(arguments: &Arguments) -> Result<Input, (Exit, String)> {
    let Some(path) = &arguments.file else {
        let reader = BufReader::new(Box::new(std::io::stdin()) as Box<dyn Read>);
        return Ok(Input { reader, bytes: None, name: "standard input".to_owned() });
    };
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|error| (Exit::Usage, format!("{name}: {error}")))?;
    let bytes = file.metadata().ok().map(|metadata| metadata.len());
    Ok(Input { reader: BufReader::new(Box::new(file)), bytes, name })
}

fn bar(context: &Context, bytes: Option<u64>) -> indicatif::ProgressBar {
    if !context.output.bars() {
        return indicatif::ProgressBar::hidden();
    }
    match bytes {
        Some(bytes) => indicatif::ProgressBar::new(bytes).with_style(
            indicatif::ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                .expect("the template is ours"),
        ),
        None => indicatif::ProgressBar::new_spinner(),
    }
}
