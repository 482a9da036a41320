//! Events of a topic as `init` looks at them: from a file of lines, or from the embedded log.
//!
//! A line is a record as `publish` takes it, or an event by itself. What is no JSON object is left to `propose`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::cli::data;
use crate::cli::{Exit, Failed, unreachable};
use crate::event::TopicPartition;
use crate::propose::Sample;
use crate::source::Source;
use crate::source::file::parse_line;

/// The first events of a file, at most `most`.
///
/// # Errors
/// The file cannot be read, or a line is not JSON, with its number.
pub fn of_file(path: &Path, most: usize) -> Result<Vec<Sample>, Failed> {
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| (Exit::Usage, format!("{name}: {error}")))?;
    let mut samples = Vec::new();
    for (number, line) in (1u64..).zip(BufReader::new(file).lines()) {
        let at = |reason: String| (Exit::Findings, format!("{name}:{number}: {reason}; nothing was written"));
        let line = line.map_err(|error| at(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        if samples.len() == most {
            break;
        }
        samples.push(sample(&line).map_err(at)?);
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample, String> {
    let value: Json =
        serde_json::from_str(line).map_err(|error| format!("this line is not JSON: {error}"))?;
    let is_record = value.as_object().is_some_and(|fields| {
        let known = ["topic", "key", "value", "valueBase64", "headers", "timestamp"];
        let has_value = fields.contains_key("value") || fields.contains_key("valueBase64");
        has_value && fields.keys().all(|name| known.contains(&name.as_str()))
    });
    if !is_record {
        return Ok(Sample { key: None, value });
    }
    let record = parse_line(line)?.record;
    Ok(of_record(record.key.as_deref(), record.value.as_deref()))
}

fn of_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Sample {
    Sample {
        key: key.map(|key| String::from_utf8_lossy(key).into_owned()),
        value: value.and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default(),
    }
}

/// The first events of a topic in the log of a data directory, evenly from its partitions, at most `most`.
///
/// # Errors
/// There are no data or no such topic.
pub async fn of_topic(data: &Path, topic: &str, most: usize) -> Result<Vec<Sample>, Failed> {
    let shown = data.display();
    if !data.join("log").is_dir() {
        let reason =
            format!("{shown} holds no data of Kinora; --data names another directory, --from a file");
        return Err((Exit::Unreachable, reason));
    }
    let (_lock, log) = data::log_to_read(data)?;
    let Some(found) = log.topic(topic).await.map_err(unreachable)? else {
        let names: Vec<String> =
            log.topics().await.map_err(unreachable)?.iter().map(|topic| topic.name.to_string()).collect();
        let known =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err((Exit::Usage, format!("the log in {shown} has no topic {topic:?}; {known}")));
    };
    let mut samples = Vec::new();
    let mut offsets: Vec<u64> = found.partitions.iter().map(|partition| partition.start).collect();
    loop {
        let before = samples.len();
        for ((partition, offset), info) in (0u32..).zip(&mut offsets).zip(&found.partitions) {
            if *offset >= info.end || samples.len() == most {
                continue;
            }
            let at = TopicPartition { topic: Arc::clone(&found.name), partition };
            if let Some(record) = log.fetch(&at, *offset).await.map_err(unreachable)? {
                samples.push(of_record(record.key.as_deref(), record.value.as_deref()));
            }
            *offset += 1;
        }
        let is_read = offsets.iter().zip(&found.partitions).all(|(offset, info)| *offset >= info.end);
        if is_read || (samples.len() == before && samples.len() == most) {
            return Ok(samples);
        }
    }
}
