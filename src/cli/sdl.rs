//! `kinora sdl`: the bytes that `_service { sdl }` answers.

use std::io::Write;

use crate::cli::{Context, Exit};

pub fn run(context: &Context) -> Exit {
    let definitions = match context.definitions() {
        Ok(definitions) => definitions,
        Err(exit) => return exit,
    };
    let sdl = &definitions.model.sdl;
    if context.output.json {
        context.output.value(&serde_json::json!({ "sdl": &**sdl }), |_| String::new());
    } else {
        let _ = std::io::stdout().lock().write_all(sdl.as_bytes());
    }
    Exit::Done
}
