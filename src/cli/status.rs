//! `kinora status`: topics, projections, lag, parked keys, once or again and again; of the processes that share a cluster, of a
//! running `dev`, or of its data as they lie. `--tables` shows what lies in Cassandra.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::signals::Signals;
use crate::cli::teller::Teller;
use crate::cli::{Context, Exit, Failed, counted, unreachable};
use crate::engine::{PartitionStatus, ProjectionStatus, Status};
use crate::plan::stored::{StoredTable, stored};

/// Arguments of `status`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Directory of log and store of a `dev` [default: `dev.data`, which is `.kinora` in the project, unless
    /// `cassandra.nodes` is set].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Shows it again each second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Shows the tables in Cassandra that hold the rows, for who reads them from elsewhere.
    #[arg(long, conflicts_with = "watch")]
    tables: bool,
}

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let told = runtime.block_on(async {
        match arguments {
            Arguments { tables: true, .. } => tables(context, arguments).await,
            Arguments { watch: true, .. } => watch(context, arguments).await,
            _ => {
                let teller = Teller::find(context, arguments.data.as_ref()).await?;
                let with_partitions = matches!(teller, Teller::Cluster(_));
                context.output.value(&teller.status().await?, |status| text(status, with_partitions));
                Ok(())
            }
        }
    });
    match told {
        Ok(()) => Exit::Done,
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

/// Shows how far everything is until told to stop, or until nobody reads it any more. Trouble after the first time is shown
/// and may pass.
async fn watch(context: &Context, arguments: &Arguments) -> Result<(), Failed> {
    let mut signals =
        Signals::listen().map_err(|error| unreachable(format!("signals cannot be listened to: {error}")))?;
    let mut teller = Some(watched(context, arguments).await?);
    let output = &context.output;
    let clear = if std::io::stdout().is_terminal() && !output.json { "\x1b[2J\x1b[H" } else { "" };
    let mut is_first = true;
    loop {
        let look = async {
            let asked = match teller.take() {
                Some(teller) => teller,
                None => watched(context, arguments).await?,
            };
            let status = asked.status().await?;
            Ok::<_, Failed>((asked, status))
        };
        let looked = tokio::select! {
            () = signals.next() => return Ok(()),
            looked = look => looked,
        };
        let is_read = match looked {
            Ok((asked, status)) => {
                let with_partitions = matches!(asked, Teller::Cluster(_));
                teller = Some(asked);
                match output.json {
                    true => output.try_line(&serde_json::json!(status).to_string()),
                    false => output.try_line(&format!("{clear}{}\n", text(&status, with_partitions))),
                }
            }
            Err(failed) if is_first => return Err(failed),
            Err((_, message)) => {
                output.error(&message);
                true
            }
        };
        if !is_read {
            return Ok(());
        }
        is_first = false;
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

/// Who is watched: data that nobody works stay as they are, and whoever holds them keeps a `dev` from starting.
async fn watched(context: &Context, arguments: &Arguments) -> Result<Teller, Failed> {
    match Teller::find(context, arguments.data.as_ref()).await? {
        Teller::Own { .. } => {
            Err(unreachable("no `kinora dev` runs on these data, so there is nothing to watch".to_owned()))
        }
        teller => Ok(teller),
    }
}

/// What lies in Cassandra.
#[derive(Serialize)]
struct Tables {
    keyspace: String,
    generation: u32,
    tables: Vec<StoredTable>,
}

async fn tables(context: &Context, arguments: &Arguments) -> Result<(), Failed> {
    let teller = match arguments.data {
        Some(_) => None,
        None => Some(Teller::find(context, None).await?),
    };
    let Some(Teller::Cluster(overseeing)) = teller else {
        let reason = "`--tables` shows tables in Cassandra, and `cassandra.nodes` is not set or `--data` names other data; \
                      `kinora check --explain` shows those of the definitions";
        return Err((Exit::Usage, reason.to_owned()));
    };
    let (definitions, generation) = (overseeing.definitions(), overseeing.generation());
    let tables = Tables {
        keyspace: context.settings.cassandra.keyspace.clone(),
        generation,
        tables: stored(&definitions.model, &definitions.plan, generation),
    };
    context.output.value(&tables, tables_text);
    Ok(())
}

fn tables_text(tables: &Tables) -> String {
    let Tables { keyspace, generation, tables } = tables;
    let mut lines = vec![
        format!("keyspace {keyspace}, generation {generation}"),
        "Never write to them. Read base tables in whole rows, or at LOCAL_ONE: where replicas differ, a read of some columns at a"
            .to_owned(),
        "higher level repairs these alone, and splits a row. Another generation has other tables.".to_owned(),
    ];
    for stored in tables {
        lines.push(format!("\n{}: {}", stored.name, stored.role));
        let columns = stored.columns.iter().map(|column| {
            let key = column.key.clone().unwrap_or_default();
            [format!("  {}", column.name), column.ty.clone(), key, column.holds.clone()]
        });
        lines.extend(table(&columns.collect::<Vec<_>>()));
        lines.extend(stored.notes.iter().map(|note| format!("  ! {note}")));
    }
    lines.join("\n")
}

fn text(status: &Status, with_partitions: bool) -> String {
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
            format!("{}, {} ms", counted(projection.lag_events, "event"), projection.lag_ms),
            projection.parked_keys.to_string(),
            projection.state.clone(),
        ]);
    }
    lines.extend(table(&rows));
    lines.extend(status.projections.iter().filter_map(began));
    lines.push(String::new());
    if with_partitions {
        lines.extend(partitions(status));
        lines.push(String::new());
    }
    let mut rows = vec![["topic", "partitions", "events"].map(str::to_owned)];
    for topic in &status.topics {
        let events: u64 = topic.partitions.iter().map(|(start, end)| end - start).sum();
        rows.push([topic.name.clone(), topic.partitions.len().to_string(), events.to_string()]);
    }
    lines.extend(table(&rows));
    lines.join("\n")
}

/// Each partition of each projection, and who works it.
fn partitions(status: &Status) -> Vec<String> {
    let head = ["projection", "partition", "position", "lag", "parked", "owner", "epoch"];
    let mut rows = vec![head.map(str::to_owned)];
    for projection in &status.projections {
        for part in &projection.partitions {
            let (process, epoch) = match &part.owner {
                Some(owner) => (owner.process.clone(), owner.epoch.to_string()),
                None => ("nobody".to_owned(), String::new()),
            };
            rows.push([
                projection.name.clone(),
                format!("{}:{}", part.topic, part.partition),
                format!("{}/{}", part.position, part.end),
                format!("{}, {} ms", counted(part.end.saturating_sub(part.position), "event"), part.lag_ms),
                part.parked_keys.to_string(),
                process,
                epoch,
            ]);
        }
    }
    table(&rows)
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
