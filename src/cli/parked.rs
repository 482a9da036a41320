//! `kinora parked`: keys that wait because an event could not be applied.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::status::{Teller, table, teller};
use crate::cli::{Context, Exit, Failed, unreachable};
use crate::serve::client::ClientError;
use crate::serve::{Backend, ParkedDetail, ParkedView};

/// Arguments of `parked`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Directory of log and store [default: `dev.data`, which is `.kinora` in the project].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Lists every parked key with the event that parked it, and why.
    List,
    /// Shows the events that wait behind a key.
    Show {
        /// The key as `list` prints it, such as `{"id":"o1"}`.
        key: String,
    },
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let data = context.data_dir(arguments.data.as_ref());
    let outcome = runtime.block_on(async {
        let teller = teller(context, &data).await?;
        match &arguments.command {
            Command::List => list(context, &teller).await.map(|()| Exit::Done),
            Command::Show { key } => show(context, &teller, key).await,
        }
    });
    outcome.unwrap_or_else(|(exit, message)| {
        context.output.error(&message);
        exit
    })
}

async fn list(context: &Context, teller: &Teller) -> Result<(), Failed> {
    let parked: Vec<ParkedView> = match teller {
        Teller::Running(endpoint) => read(endpoint.get("/admin/parked").await)?,
        Teller::Own { engine, .. } => engine.parked().await,
    };
    context.output.value(&parked, |parked| {
        if parked.is_empty() {
            return "nothing is parked".to_owned();
        }
        let mut rows = vec![["projection", "key", "since", "event", "waiting", "reason"].map(str::to_owned)];
        for key in parked {
            rows.push([
                key.projection.clone(),
                key.key.clone(),
                key.since.clone(),
                key.type_name.clone().unwrap_or_else(|| "?".to_owned()),
                key.waiting.to_string(),
                format!("{}: {}", key.stage, key.reason),
            ]);
        }
        table(&rows).join("\n")
    });
    Ok(())
}

async fn show(context: &Context, teller: &Teller, key: &str) -> Result<Exit, Failed> {
    let details: Vec<ParkedDetail> = match teller {
        Teller::Running(endpoint) => {
            read(endpoint.get(&format!("/admin/parked/{}", percent_encoded(key))).await)?
        }
        Teller::Own { engine, .. } => engine.parked_key(key.to_owned()).await.map_err(unreachable)?,
    };
    if details.is_empty() {
        context
            .output
            .error(&format!("nothing is parked under {key:?}; `kinora parked list` shows the keys"));
        return Ok(Exit::Usage);
    }
    context.output.value(&details, |details| details.iter().map(text).collect::<Vec<_>>().join("\n\n"));
    Ok(Exit::Done)
}

fn text(detail: &ParkedDetail) -> String {
    let parked = &detail.parked;
    let mut lines = vec![
        format!("{} of {} is parked since {}", parked.key, parked.projection, parked.since),
        format!("{}: {}", parked.stage, parked.reason),
        match parked.waiting {
            1 => "1 event waits:".to_owned(),
            waiting => format!("{waiting} events wait:"),
        },
    ];
    for event in &detail.queue {
        let value = event.value.as_deref().unwrap_or("no value");
        lines.push(format!("  {}  {value}", event.position));
    }
    lines.join("\n")
}

fn read<T: serde::de::DeserializeOwned>(reply: Result<serde_json::Value, ClientError>) -> Result<T, Failed> {
    let mut reply = reply.map_err(unreachable)?;
    serde_json::from_value(reply["parked"].take())
        .map_err(|error| unreachable(format!("the answer is not of this program: {error}")))
}

/// A path segment: all but letters, digits and `-._~` as `%XX` (RFC 3986, section 2).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_key_becomes_one_path_segment() {
        assert_eq!(percent_encoded("{\"id\":\"a/b\"}"), "%7B%22id%22%3A%22a%2Fb%22%7D");
        assert_eq!(percent_encoded("o-1_x.~"), "o-1_x.~");
    }
}
