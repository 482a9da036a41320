//! `kinora schema`: what an editor needs to complete and check Kinora's files while they are written. Made from the
//! tables that the loaders use; needs no project.

use clap::ValueEnum;

use crate::cli::{Exit, Output};

/// Arguments of `schema`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Which files it is for.
    of: Of,
}

/// The kinds of files that people write.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// SDL that defines the directives of `schema/*.graphql`.
    Directives,
}

pub fn run(output: &Output, arguments: &Arguments) -> Exit {
    match arguments.of {
        Of::Directives => {
            let sdl = crate::schema::directives_sdl();
            output.value(&serde_json::json!({ "sdl": sdl }), |_| sdl.clone());
        }
    }
    Exit::Done
}
