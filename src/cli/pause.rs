//! `kinora pause` and `kinora resume`: a projection that is to fold nothing for a while, and to go on.
//!
//! Comes in: its name. Goes out: an order in the store, which whoever folds heeds within about a second, and which stands
//! until it is taken back, whoever ends and starts meanwhile.

use std::path::PathBuf;

use crate::cli::teller::Teller;
use crate::cli::{Context, Exit};
use crate::engine::who;
use crate::serve::{PauseOrder, Paused};

/// Arguments of `pause` and `resume`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Name of the projection.
    projection: String,
    /// Directory of log and store of a `dev` [default: `dev.data`, which is `.kinora` in the project, unless
    /// `cassandra.nodes` is set].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub fn pause(context: &Context, arguments: &Arguments) -> Exit {
    run(context, arguments, true)
}

pub fn resume(context: &Context, arguments: &Arguments) -> Exit {
    run(context, arguments, false)
}

fn run(context: &Context, arguments: &Arguments, pause: bool) -> Exit {
    let runtime = match context.runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let order = PauseOrder { projection: arguments.projection.clone(), pause, by: who::person() };
    let done = runtime.block_on(async {
        let teller = Teller::find(context, arguments.data.as_ref()).await?;
        teller.opened().await?;
        teller.set_paused(order).await
    });
    match done {
        Ok(done) => {
            context.output.value(&done, text);
            Exit::Done
        }
        Err((exit, message)) => {
            context.output.error(&message);
            exit
        }
    }
}

fn text(done: &Paused) -> String {
    let Paused { projection, by, since_ms, .. } = done;
    let since = jiff::Timestamp::from_millisecond(since_ms.unwrap_or_default()).unwrap_or_default();
    let stood = by.as_ref().map(|by| format!("by {by} since {since}")).unwrap_or_default();
    match (done.paused, done.changed) {
        (true, true) => {
            format!("{projection} is paused: what is under way is committed, then it folds nothing")
        }
        (true, false) => format!("{projection} is paused already, {stood}"),
        (false, true) => format!("{projection} goes on; it was paused {stood}"),
        (false, false) => format!("{projection} was not paused"),
    }
}
