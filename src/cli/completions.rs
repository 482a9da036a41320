//! `kinora completions`: a script with which a shell completes commands and flags. Made from the commands themselves;
//! needs no project.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Exit, Output};

/// Arguments of `completions`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The shell that is to read the script.
    shell: Shell,
}

pub fn run(output: &Output, arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "kinora", &mut script);
    let script = String::from_utf8_lossy(&script);
    output.value(&serde_json::json!({ "script": script }), |_| script.clone().into_owned());
    Exit::Done
}
