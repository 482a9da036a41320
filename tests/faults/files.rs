//! Files of a directory, and copies of them.

use std::path::{Path, PathBuf};

pub fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "jnl")
}

/// All files below a directory, by their paths in it, in order.
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(part) = open.pop() {
        for entry in std::fs::read_dir(directory.join(&part)).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let path = part.join(entry.file_name());
            if entry.file_type().expect("it has one").is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort_unstable();
    found
}

/// Copies files; of a journal without the room that it keeps for later.
pub fn copy(from: &Path, to: &Path, files: &[PathBuf]) {
    for file in files {
        let mut bytes = std::fs::read(from.join(file)).expect("it can be read");
        if is_journal(file) {
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(used);
        }
        let path = to.join(file);
        std::fs::create_dir_all(path.parent().expect("it lies in one")).expect("it can be made");
        std::fs::write(path, bytes).expect("it can be written");
    }
}
