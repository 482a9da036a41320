//! `kinora parked`: keys that wait because an event could not be applied; of the processes that share a cluster, of a running
//! `dev`, or of its data as they lie.
//!
//! `list` and `show` read a page. `retry`, `skip-first` and `drop` are done in steps, each of which is kept: whoever
//! interrupts them goes on with the same command.

use std::path::PathBuf;

use clap::Subcommand;
use futures_util::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::status::table;
use crate::cli::teller::Teller;
use crate::cli::{Context, Exit, Failed, counted};
use crate::serve::{
    PARKED_LISTED, PARKED_LISTED_MAX, ParkedAction, ParkedDetail, ParkedDone, ParkedList, ParkedQuery,
};

/// Arguments of `parked`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Directory of log and store of a `dev` [default: `dev.data`, which is `.kinora` in the project, unless
    /// `cassandra.nodes` is set].
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
    let outcome = runtime.block_on(async {
        let teller = Teller::find(context, arguments.data.as_ref()).await?;
        teller.opened().await?;
        let command = Parked { context, teller: &teller, projection: arguments.projection.as_deref() };
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
    async fn list(&self, page: &Page) -> Result<Exit, Failed> {
        let list = self.teller.parked(self.page(page)).await?;
        self.context.output.value(&list.parked, |_| listed(&list));
        Ok(Exit::Done)
    }

    async fn show(&self, key: &str, page: &Page) -> Result<Exit, Failed> {
        let details = self.teller.parked_key(key, self.page(page)).await?;
        if details.is_empty() {
            return Err(nothing_under(key));
        }
        self.context
            .output
            .value(&details, |details| details.iter().map(text).collect::<Vec<_>>().join("\n\n"));
        Ok(Exit::Done)
    }

    /// Steps until nothing waits, something stops it, or a person does.
    async fn release(&self, key: &str, release: &str) -> Result<Exit, Failed> {
        let details = self.teller.parked_key(key, self.page(&Page { limit: 1, after: None })).await?;
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
            let done = self.teller.release_parked(&detail.parked.id, action.clone()).await?;
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

    fn page(&self, page: &Page) -> ParkedQuery {
        ParkedQuery {
            projection: self.projection.map(str::to_owned),
            after: page.after.clone(),
            limit: usize::try_from(page.limit).unwrap_or(PARKED_LISTED_MAX),
        }
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
        let value = match (&event.value, &detail.unread) {
            (Some(value), _) => value,
            (None, Some(_)) => "",
            (None, None) => "no value",
        };
        lines.push(format!("  {}  {value}", event.position).trim_end().to_owned());
    }
    lines.extend(detail.unread.iter().map(|reason| format!("values are not shown: {reason}")));
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
