//! `kinora publish`: records from a file, or standard input, into a topic.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::data::{self, Holder};
use crate::cli::{Context, Exit};
use crate::event::Position;
use crate::serve::Endpoint;
use crate::serve::client::ClientError;
use crate::source::NewRecord;
use crate::source::broker::Broker;
use crate::source::file::parse_line;

/// Arguments of `publish`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Topic to append to; made where it is not there.
    topic: String,
    /// File of JSON lines, one record each: `{"key": …, "value": …}` [default: standard input].
    file: Option<PathBuf>,
    /// Directory of log and store [default: `dev.data`, which is `.kinora` in the project].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

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
                format!("{} records published; x-read-after: {}", published.records, published.read_after)
            });
            Exit::Done
        }
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

/// Where records go.
enum Sink {
    /// The log, with the lock that is held as long as it is open.
    Own {
        broker: Broker,
        _lock: data::DataLock,
    },
    Running(Endpoint),
}

async fn publish(context: &Context, arguments: &Arguments) -> Result<Published, (Exit, String)> {
    let failed = |error: String| (Exit::Unreachable, error);
    let data = context.data_dir(arguments.data.as_ref());
    let sink = match data::take(&data).map_err(|error| failed(error.to_string()))? {
        Holder::Running(endpoint) => Sink::Running(endpoint),
        Holder::Us(lock) => {
            let broker = Broker::open(&data.join("log")).map_err(|error| failed(error.to_string()))?;
            let partitions = context.settings.partitions(&arguments.topic);
            broker
                .create_topic(&arguments.topic, partitions)
                .map_err(|error| (Exit::Usage, error.to_string()))?;
            Sink::Own { broker, _lock: lock }
        }
    };
    let Input { reader, bytes, name } = open(arguments)?;
    let bar = bar(context, bytes);
    let mut ends = std::collections::BTreeMap::new();
    let mut records = 0;
    let mut chunk = Vec::new();
    let mut chunk_bytes = 0;
    for (number, line) in (1u64..).zip(reader.lines()) {
        let line = line.map_err(|error| (Exit::Unreachable, format!("{name}: {error}")))?;
        bar.inc(line.len() as u64 + 1);
        if line.trim().is_empty() {
            continue;
        }
        let parsed = parse_line(&line).map_err(|reason| {
            let before = records + chunk.len() as u64;
            (Exit::Findings, format!("{name}:{number}: {reason}; {before} records before it were read"))
        })?;
        chunk_bytes += line.len();
        chunk.push((line, parsed.record));
        if chunk.len() == CHUNK_RECORDS || chunk_bytes >= CHUNK_BYTES {
            records += chunk.len() as u64;
            send(&sink, &arguments.topic, std::mem::take(&mut chunk), &mut ends).await?;
            chunk_bytes = 0;
        }
    }
    records += chunk.len() as u64;
    if !chunk.is_empty() {
        send(&sink, &arguments.topic, chunk, &mut ends).await?;
    }
    bar.finish_and_clear();
    let read_after: Vec<String> = ends.iter().map(|(partition, end)| format!("{partition}@{end}")).collect();
    Ok(Published { records, read_after: read_after.join(",") })
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

async fn send(
    sink: &Sink,
    topic: &str,
    chunk: Vec<(String, NewRecord)>,
    ends: &mut std::collections::BTreeMap<String, u64>,
) -> Result<(), (Exit, String)> {
    match sink {
        Sink::Own { broker, .. } => {
            let records = chunk.into_iter().map(|(_, record)| record).collect();
            let positions = broker
                .append(topic, records)
                .await
                .map_err(|error| (Exit::Unreachable, error.to_string()))?;
            for Position { at, offset } in positions {
                note(ends, format!("{}:{}", at.topic, at.partition), offset);
            }
        }
        Sink::Running(endpoint) => {
            let lines: Vec<&str> = chunk.iter().map(|(line, _)| line.as_str()).collect();
            let path = format!("/topics/{topic}");
            let reply = endpoint.post(&path, "application/x-ndjson", lines.join("\n").as_bytes()).await;
            let reply = reply.map_err(|error: ClientError| (Exit::Unreachable, error.to_string()))?;
            for position in reply["readAfter"].as_str().unwrap_or("").split(',') {
                if let Some((partition, offset)) = position.rsplit_once('@')
                    && let Ok(offset) = offset.parse()
                {
                    note(ends, partition.to_owned(), offset);
                }
            }
        }
    }
    Ok(())
}

fn note(ends: &mut std::collections::BTreeMap<String, u64>, partition: String, offset: u64) {
    let end = ends.entry(partition).or_insert(offset);
    *end = offset.max(*end);
}
