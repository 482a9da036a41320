//! Packs GraphiQL into the binary, where npm has it; else the binary has a small query page of our own.
//!
//! npm's own client fetches three packages by exact version; `pack.mjs` compares each with its pinned SHA-512 before it
//! takes a file out. The result is kept in `OUT_DIR`. `KINORA_GRAPHIQL=off` builds without.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

const PACKAGES: [&str; 3] = ["graphiql@3.9.0", "react@18.3.1", "react-dom@18.3.1"];

/// Name in the binary, content type. `pack.mjs` writes each as `<name>.gz`.
const FILES: [(&str, &str); 5] = [
    ("graphiql-3.9.0.js", "text/javascript; charset=utf-8"),
    ("graphiql-3.9.0.css", "text/css; charset=utf-8"),
    ("react-18.3.1.js", "text/javascript; charset=utf-8"),
    ("react-dom-18.3.1.js", "text/javascript; charset=utf-8"),
    ("LICENSES.txt", "text/plain; charset=utf-8"),
];

fn main() {
    println!("cargo::rerun-if-changed=src/serve/assets/build.rs");
    println!("cargo::rerun-if-changed=src/serve/assets/pack.mjs");
    println!("cargo::rerun-if-env-changed=KINORA_GRAPHIQL");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out);
    let packed = match env::var("KINORA_GRAPHIQL").as_deref() {
        Ok("off") => Err("KINORA_GRAPHIQL is off".to_owned()),
        _ if FILES.iter().all(|(name, _)| out.join(format!("{name}.gz")).is_file()) => Ok(()),
        _ => pack(out),
    };
    if let Err(reason) = &packed {
        println!("cargo::warning=GraphiQL is not in this build, a small query page is instead: {reason}");
    }
    fs::write(out.join("graphiql.rs"), listing(packed.is_ok())).expect("OUT_DIR can be written");
}

/// Fetches and unpacks.
fn pack(out: &Path) -> Result<(), String> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(Command::new(npm)
        .arg("pack")
        .args(PACKAGES)
        .args(["--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=30000", "--loglevel=error"])
        .current_dir(out))?;
    let script = env::current_dir().map_err(|error| error.to_string())?.join("src/serve/assets/pack.mjs");
    run(Command::new("node").arg(script).arg(out))?;
    for package in PACKAGES {
        // What is left behind costs only room.
        let _ = fs::remove_file(out.join(format!("{}.tgz", package.replace('@', "-"))));
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|error| format!("{name} does not start: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
    Err(format!("{name} failed: {last}"))
}

/// The Rust text that `serve` includes.
fn listing(packed: bool) -> String {
    let mut text = "static PACKED: &[Packed] = &[\n".to_owned();
    for (name, content_type) in FILES.iter().filter(|_| packed) {
        text += &format!(
            "    Packed {{ name: {name:?}, content_type: {content_type:?}, \
             gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.gz\")) }},\n"
        );
    }
    text + "];\n"
}
