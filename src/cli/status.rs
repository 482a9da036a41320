//! `kinora status`: topics, projections, lag, parked keys; of a running `dev`, else of its data as they lie.

use std::path::Path;
use std::sync::Arc;

use crate::cli::data::{self, DataLock, Holder};
use crate::cli::{Context, DataArguments, Exit, Failed, unreachable};
use crate::engine::{Embedded, Looked, PartitionStatus, ProjectionStatus, Status};
use crate::serve::Endpoint;

/// Who can tell about a data directory.
pub enum Teller {
    /// A running process.
    Running(Endpoint),
    /// This process, which has opened the data without folding anything, and holds them.
    Own { engine: Arc<Embedded>, _lock: DataLock },
}

pub fn run(context: &Context, arguments: &DataArguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    match runtime.block_on(status(context, arguments)) {
        Ok(status) => {
            context.output.value(&status, text);
            Exit::Done
        }
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

async fn status(context: &Context, arguments: &DataArguments) -> Result<Status, Failed> {
    let data = context.data_dir(arguments.data.as_ref());
    match teller(context, &data).await? {
        Teller::Running(endpoint) => {
            let status = endpoint.get("/admin/status").await.map_err(unreachable)?;
            serde_json::from_value(status)
                .map_err(|error| unreachable(format!("the answer is not a status: {error}")))
        }
        Teller::Own { engine, .. } => Ok(engine.status().await),
    }
}

/// Finds a running process, or opens the data.
pub async fn teller(context: &Context, data: &Path) -> Result<Teller, Failed> {
    if !data.join("log").is_dir() {
        return Err(unreachable(format!(
            "{} holds no data of Kinora; `kinora dev` makes them",
            data.display()
        )));
    }
    let lock = match data::take(data).map_err(unreachable)? {
        Holder::Running(endpoint) => return Ok(Teller::Running(endpoint)),
        Holder::Us(lock) => lock,
    };
    let (broker, store) = (data::open_log(data)?, data::open_store(data)?);
    let settings = super::dev::engine_settings(&context.settings, vec![0; 32]);
    let engine = Embedded::idle(Arc::new(broker), Arc::new(store), settings);
    engine.set_refused(unseen(context, &engine).await?);
    Ok(Teller::Own { engine, _lock: lock })
}

/// Opens what answered last. Says why nothing of it can be shown where the definitions do not fit.
async fn unseen(context: &Context, engine: &Embedded) -> Result<Vec<String>, Failed> {
    let loaded = crate::engine::load_with(&context.project, &Default::default(), &context.settings.lint);
    let Some(definitions) = loaded.map_err(|error| (Exit::Invalid, error.to_string()))?.definitions else {
        return Ok(vec!["the definitions have faults, see `kinora check`".to_owned()]);
    };
    let found = engine.look(&definitions).await.map_err(unreachable)?;
    Ok(match found {
        Looked::Opened => Vec::new(),
        Looked::Empty => vec!["nothing is folded yet; `kinora dev` does it".to_owned()],
        Looked::OtherDefinitions => {
            vec![
                "the definitions have changed since the rows were made; `kinora dev` makes them anew"
                    .to_owned(),
            ]
        }
    })
}

fn text(status: &Status) -> String {
    let mut lines = vec![format!("kinora {}  generation {}", status.version, status.generation)];
    if let Some(building) = &status.building {
        lines.push(format!(
            "building generation {}: {} of {} events",
            building.generation, building.done, building.total
        ));
    }
    lines.extend(status.log_halted.iter().map(|reason| format!("! the log has halted: {reason}")));
    lines.extend(status.diagnostics.iter().map(|diagnostic| format!("! {diagnostic}")));
    lines.push(String::new());
    let mut rows =
        vec![["projection", "type", "topic", "position", "lag", "parked", "state"].map(str::to_owned)];
    for projection in &status.projections {
        let position: u64 = projection.partitions.iter().map(|partition| partition.position).sum();
        let end: u64 = projection.partitions.iter().map(|partition| partition.end).sum();
        rows.push([
            projection.name.clone(),
            projection.entity.clone(),
            projection.topic.clone(),
            format!("{position}/{end}"),
            format!("{} events, {} ms", projection.lag_events, projection.lag_ms),
            projection.parked_keys.to_string(),
            projection.state.clone(),
        ]);
    }
    lines.extend(table(&rows));
    lines.extend(status.projections.iter().filter_map(began));
    lines.push(String::new());
    let mut rows = vec![["topic", "partitions", "events"].map(str::to_owned)];
    for topic in &status.topics {
        let events: u64 = topic.partitions.iter().map(|(start, end)| end - start).sum();
        rows.push([topic.name.clone(), topic.partitions.len().to_string(), events.to_string()]);
    }
    lines.extend(table(&rows));
    lines.join("\n")
}

/// Where a projection began that has not read its topics from their start.
fn began(projection: &ProjectionStatus) -> Option<String> {
    let later = projection.partitions.iter().filter(|partition| partition.start != "earliest");
    let places: Vec<String> = later
        .map(|partition| {
            let PartitionStatus { topic, partition, began, start, .. } = partition;
            format!("{topic}:{partition}@{began} ({start})")
        })
        .collect();
    (!places.is_empty()).then(|| format!("{} began at {}", projection.name, places.join(", ")))
}

/// Rows as lines, columns aligned.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bc"], ["long", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["a     bc", "long  d"]);
    }
}
