//! `kinora schema`: what an editor needs to complete and check Kinora's files while they are written. Made from the
//! tables that the loaders use; needs no project.

use clap::ValueEnum;

use crate::cli::{Exit, Output};
use crate::handler::{YamlFile, schema_of};

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
    /// JSON Schema of `projections/<name>.yaml`.
    Projection,
    /// JSON Schema of `projections/defaults.yaml`.
    Defaults,
    /// JSON Schema of `projections/<name>.cases.yaml`.
    Cases,
}

pub fn run(output: &Output, arguments: &Arguments) -> Exit {
    let file = match arguments.of {
        Of::Directives => {
            let sdl = crate::schema::directives_sdl();
            output.value(&serde_json::json!({ "sdl": sdl }), |_| sdl.clone());
            return Exit::Done;
        }
        Of::Projection => YamlFile::Projection,
        Of::Defaults => YamlFile::Defaults,
        Of::Cases => YamlFile::Cases,
    };
    // It is JSON, whatever format is asked for.
    output.line(&serde_json::to_string_pretty(&schema_of(file)).expect("what is shown has JSON"));
    Exit::Done
}
