//! `kinora parked`: keys that wait because an event could not be applied; of a running `dev`, else of its data as they lie.
//!
//! `list` and `show` read a page. `retry`, `skip-first` and `drop` are done in steps, each of which is kept: whoever
//! interrupts them goes on with the same command.

use std::path::PathBuf;

use clap::Subcommand;
use futures_util::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::status::{Teller, table, teller};
use crate::cli::{Context, Exit, Failed, counted, unreachable};
use crate::serve::client::ClientError;
use crate::serve::{
    Backend, PARKED_LISTED, PARKED_LISTED_MAX, ParkedAction, ParkedDetail, ParkedDone, ParkedError,
    ParkedList, ParkedQuery,
};

/// Arguments of `parked`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Directory of log and store [default: `dev.data`, which is `.kinora` in the project].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only keys of this projection.
    #[arg(long, global = true, value_name = "NAME")]
    projection: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Lists parked keys with the event that each waits for, and why.
    List(Page),
    /// Shows the events that wait behind a key.
    Show {
        /// The key as `list` prints it, such as `{"id":"o1"}`, or its id.
        key: String,
        #[command(flatten)]
        page: Page,
    },
    /// Applies the events that wait behind a key, in order, up to the first that still cannot be.
    Retry {
        /// The key as `list` prints it, or its id.
        key: String,
    },
    /// Passes the first event that waits without applying it, and retries the others.
    SkipFirst {
        /// The key as `list` prints it, or its id.
        key: String,
    },
    /// Passes all events that wait without applying them: the row stays as it is.
    Drop {
        /// The key as `list` prints it, or its id.
        key: String,
    },
}

#[derive(clap::Args, Debug)]
struct Page {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = PARKED_LISTED as u64,
        value_parser = clap::value_parser!(u64).range(1..=PARKED_LISTED_MAX as u64))]
    limit: u64,
    /// Goes on behind the one with this id.
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let data = context.data_dir(arguments.data.as_ref());
    let outcome = runtime.block_on(async {
        let teller = teller(context, &data).await?;
        let command = Parked { context, teller: &teller, projection: arguments.projection.as_deref() };
        command.opened().await?;
        match &arguments.command {
            Command::List(page) => command.list(page).await,
            Command::Show { key, page } => command.show(key, page).await,
            Command::Retry { key } => command.release(key, "retry").await,
            Command::SkipFirst { key } => command.release(key, "skip-first").await,
            Command::Drop { key } => command.release(key, "drop").await,
        }
    });
    outcome.unwrap_or_else(|(exit, message)| {
        context.output.error(&message);
        exit
    })
}

/// What all of these commands need.
struct Parked<'a> {
    context: &'a Context,
    teller: &'a Teller,
    projection: Option<&'a str>,
}

impl Parked<'_> {
    /// Says why where the data cannot be looked at.
    async fn opened(&self) -> Result<(), Failed> {
        match self.teller {
            Teller::Own { engine, .. } if engine.serving().is_none() => {
                Err(unreachable(engine.status().await.diagnostics.join("; ")))
            }
            _ => Ok(()),
        }
    }

    async fn list(&self, page: &Page) -> Result<Exit, Failed> {
        let list: ParkedList = match self.teller {
            Teller::Running(endpoint) => {
                read(endpoint.get(&format!("/admin/parked?{}", self.query(page))).await)?
            }
            Teller::Own { engine, .. } => engine.parked(self.page(page)).await.map_err(failed)?,
        };
        self.context.output.value(&list.parked, |_| listed(&list));
        Ok(Exit::Done)
    }

    async fn show(&self, key: &str, page: &Page) -> Result<Exit, Failed> {
        let details = self.details(key, page).await?;
        if details.is_empty() {
            return Err(nothing_under(key));
        }
        self.context
            .output
            .value(&details, |details| details.iter().map(text).collect::<Vec<_>>().join("\n\n"));
        Ok(Exit::Done)
    }

    async fn details(&self, key: &str, page: &Page) -> Result<Vec<ParkedDetail>, Failed> {
        match self.teller {
            Teller::Running(endpoint) => {
                let path = format!("/admin/parked/{}?{}", percent_encoded(key), self.query(page));
                let mut reply: serde_json::Value = read(endpoint.get(&path).await)?;
                read(Ok(reply["parked"].take()))
            }
            Teller::Own { engine, .. } => {
                engine.parked_key(key.to_owned(), self.page(page)).await.map_err(failed)
            }
        }
    }

    /// Steps until nothing waits, something stops it, or a person does.
    async fn release(&self, key: &str, release: &str) -> Result<Exit, Failed> {
        let details = self.details(key, &Page { limit: 1, after: None }).await?;
        let [detail] = details.as_slice() else {
            let ids: Vec<&str> = details.iter().map(|detail| detail.parked.id.as_str()).collect();
            return match ids.is_empty() {
                true => Err(nothing_under(key)),
                false => {
                    let ids = ids.join(" or ");
                    Err((Exit::Usage, format!("several parked keys are shown as {key:?}: give an id, {ids}")))
                }
            };
        };
        let bar = self.bar(detail.parked.waiting);
        let mut interrupted = Box::pin(tokio::signal::ctrl_c());
        // Who asks for a skip means the event that is first now.
        let first = detail.queue.first().map(|event| event.position.clone());
        let mut action = ParkedAction {
            release: release.to_owned(),
            projection: None,
            first: first.filter(|_| release == "skip-first"),
        };
        let mut sum = ParkedDone::default();
        loop {
            let done = self.step(&detail.parked.id, action.clone()).await?;
            sum.applied += done.applied;
            sum.skipped += done.skipped;
            sum.dropped += done.dropped;
            (sum.waiting, sum.stopped) = (done.waiting, done.stopped);
            let gone = sum.applied + sum.skipped + sum.dropped;
            bar.set_length(gone + sum.waiting);
            bar.set_position(gone);
            if sum.waiting == 0 || sum.stopped.is_some() {
                break;
            }
            if interrupted.as_mut().now_or_never().is_some() {
                sum.stopped = Some("interrupted; the same command goes on".to_owned());
                break;
            }
            if action.first.take().is_some() {
                action.release = "retry".to_owned();
            }
        }
        bar.finish_and_clear();
        self.context.output.value(&sum, outcome);
        Ok(if sum.waiting == 0 { Exit::Done } else { Exit::Findings })
    }

    async fn step(&self, id: &str, action: ParkedAction) -> Result<ParkedDone, Failed> {
        match self.teller {
            Teller::Running(endpoint) => {
                let first = action.first.map(|first| format!("?first={}", percent_encoded(&first)));
                let (id, release, first) = (percent_encoded(id), action.release, first.unwrap_or_default());
                let path = format!("/admin/parked/{id}/{release}{first}");
                read(endpoint.post(&path, "application/json", b"").await)
            }
            Teller::Own { engine, .. } => match engine.release_parked(id.to_owned(), action).await {
                // Another process has freed it meanwhile.
                Err(ParkedError::NotThere(_)) => Ok(ParkedDone::default()),
                done => done.map_err(failed),
            },
        }
    }

    fn page(&self, page: &Page) -> ParkedQuery {
        ParkedQuery {
            projection: self.projection.map(str::to_owned),
            after: page.after.clone(),
            limit: usize::try_from(page.limit).unwrap_or(PARKED_LISTED_MAX),
        }
    }

    fn query(&self, page: &Page) -> String {
        let mut query = format!("limit={}", page.limit);
        for (name, value) in [("projection", self.projection), ("after", page.after.as_deref())] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", percent_encoded(value)));
            }
        }
        query
    }

    /// A bar on standard error, where a person watches.
    fn bar(&self, events: u64) -> ProgressBar {
        if !self.context.output.bars() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events {per_sec} {eta}");
        ProgressBar::new(events).with_style(style.expect("the template is ours"))
    }
}

fn listed(list: &ParkedList) -> String {
    if list.parked.is_empty() {
        return "nothing is parked".to_owned();
    }
    let mut rows = vec![["projection", "key", "since", "event", "waiting", "reason"].map(str::to_owned)];
    for key in &list.parked {
        rows.push([
            key.projection.clone(),
            key.key.clone(),
            key.since.clone(),
            key.type_name.clone().unwrap_or_else(|| "?".to_owned()),
            key.waiting.to_string(),
            format!("{}: {}", key.stage, key.reason),
        ]);
    }
    let mut lines = table(&rows);
    lines.extend(list.next.iter().map(|next| format!("more with --after {next}")));
    lines.join("\n")
}

fn text(detail: &ParkedDetail) -> String {
    let parked = &detail.parked;
    let mut lines = vec![
        format!("{} of {} is parked since {}", parked.key, parked.projection, parked.since),
        format!("{}: {}", parked.stage, parked.reason),
        format!("id {}", parked.id),
        match parked.waiting {
            1 => "1 event waits:".to_owned(),
            waiting => format!("{waiting} events wait:"),
        },
    ];
    for event in &detail.queue {
        let value = event.value.as_deref().unwrap_or("no value");
        lines.push(format!("  {}  {value}", event.position));
    }
    if let Some(last) = detail.queue.last().filter(|_| (detail.queue.len() as u64) < parked.waiting) {
        lines.push(format!("more, if there are, with --after {}", last.id));
    }
    lines.join("\n")
}

fn outcome(sum: &ParkedDone) -> String {
    let done = [(sum.applied, "applied"), (sum.skipped, "skipped"), (sum.dropped, "dropped")];
    let done = done.iter().filter(|(count, _)| *count > 0);
    let mut lines: Vec<String> =
        done.map(|(count, what)| format!("{} {what}", counted(*count, "event"))).collect();
    lines.push(match sum.waiting {
        0 => "nothing waits any more".to_owned(),
        1 => "1 event waits".to_owned(),
        waiting => format!("{waiting} events wait"),
    });
    lines.extend(sum.stopped.clone());
    lines.join("\n")
}

fn nothing_under(key: &str) -> Failed {
    (Exit::Usage, format!("nothing is parked under {key:?}; `kinora parked list` shows the keys"))
}

fn failed(error: ParkedError) -> Failed {
    match error {
        ParkedError::NotThere(_) | ParkedError::Refused(_) => (Exit::Usage, error.to_string()),
        ParkedError::Unavailable(reason) => unreachable(reason),
    }
}

fn read<T: serde::de::DeserializeOwned>(reply: Result<serde_json::Value, ClientError>) -> Result<T, Failed> {
    let reply = reply.map_err(unreachable)?;
    serde_json::from_value(reply)
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
