//! Faulty definitions → mended ones, as far as findings say how.
//!
//! Comes in: what a project's files came to. Goes out: what they come to with every fix made, and the new texts, checked
//! anew until nothing more can be mended. [`write`] puts the texts into the files, all or none where none has changed
//! since it was read.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{self, FileId, Sources};
use crate::engine::load::{Loaded, bind_with};
use crate::handler::CustomHandlers;
use crate::lint::Severities;

/// Most rounds: a fix may bring a fault to light that the one before had hidden.
const ROUNDS_MAX: usize = 10;

/// A file whose text is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Path below the project's directory.
    pub path: String,
    pub old: Arc<str>,
    pub new: Arc<str>,
}

/// Why mended texts could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MendError {
    #[error("{} has changed while it was checked; nothing was written: run it again", path.display())]
    Changed { path: PathBuf },
    #[error("{} cannot be mended: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Makes all fixes of all findings. Answers what the texts came to then, the files that differ, and how many findings
/// were mended. Nothing is written.
pub fn mend(
    loaded: Loaded,
    custom: &CustomHandlers,
    severities: &Severities,
) -> (Loaded, Vec<Mended>, usize) {
    let before = loaded.sources.clone();
    let mut loaded = loaded;
    // A finding is mended once: where its fix does not help, it stays.
    let mut tried: Vec<(&str, String)> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let is_new = |finding: &&diagnostic::Diagnostic| {
            !tried.iter().any(|(code, message)| *code == finding.code && *message == finding.message)
        };
        let fresh = loaded.findings.iter().filter(is_new);
        let (texts, mended) = diagnostic::mended(fresh, &loaded.sources);
        if texts.is_empty() {
            break;
        }
        let done: Vec<_> = mended.iter().map(|finding| (finding.code, finding.message.clone())).collect();
        tried.extend(done);
        loaded = with_texts(&loaded.sources, texts, custom, severities);
    }
    let files = before.files().iter().zip(loaded.sources.files());
    let differing = files.filter(|(old, new)| old.text != new.text).map(|(old, new)| Mended {
        path: old.path.clone(),
        old: Arc::clone(&old.text),
        new: Arc::clone(&new.text),
    });
    let differing = differing.collect();
    (loaded, differing, tried.len())
}

/// The same files with other texts, checked.
fn with_texts(
    old: &Sources,
    mut texts: Vec<(FileId, String)>,
    custom: &CustomHandlers,
    severities: &Severities,
) -> Loaded {
    let mut sources = Sources::default();
    let (mut schema, mut projections) = (Vec::new(), Vec::new());
    for (index, file) in old.files().iter().enumerate() {
        let is_it = |(id, _): &(FileId, String)| id.0 as usize == index;
        let text: Arc<str> = match texts.iter().position(is_it) {
            Some(at) => texts.swap_remove(at).1.into(),
            None => Arc::clone(&file.text),
        };
        let id = sources.add(file.path.clone(), text);
        match file.path.starts_with("schema/") {
            true => schema.push(id),
            false => projections.push(id),
        }
    }
    bind_with(sources, &schema, &projections, custom, severities)
}

/// Writes mended texts into the files of a project, each in one step.
///
/// # Errors
/// A file that is not what was read: then nothing is written. A file that cannot be written: those before it are.
pub fn write(project: &Path, files: &[Mended]) -> Result<(), MendError> {
    let mut ready = Vec::new();
    for file in files {
        let path = project.join(&file.path);
        let io = |source| MendError::Io { path: path.clone(), source };
        // A link stays one: what it leads to is written.
        let path = path.canonicalize().map_err(io)?;
        let beside = beside(&path, &file.new).map_err(io)?;
        ready.push((path, beside, &file.old));
    }
    for (path, _, old) in &ready {
        let now = std::fs::read(path).map_err(|source| MendError::Io { path: path.clone(), source })?;
        if now != old.as_bytes() {
            return Err(MendError::Changed { path: path.clone() });
        }
    }
    for (path, beside, _) in ready {
        let renamed = std::fs::rename(&beside.path, &path);
        renamed.map_err(|source| MendError::Io { path, source })?;
    }
    Ok(())
}

/// A file that is removed again unless it was renamed.
struct Beside {
    path: PathBuf,
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The new text on the disk, beside the file and with its rights. Its ending is that of no definition.
fn beside(path: &Path, text: &str) -> io::Result<Beside> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.mended", std::process::id()));
    let beside = Beside { path: path.with_file_name(name) };
    let mut file = std::fs::File::create_new(&beside.path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::metadata(path)?.permissions())?;
    file.sync_all()?;
    Ok(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(path: &str, old: &str, new: &str) -> Mended {
        Mended { path: path.to_owned(), old: old.into(), new: new.into() }
    }

    #[test]
    fn a_file_that_changed_underneath_is_left_alone_and_all_others_too() {
        let project = tempfile::tempdir().expect("a directory");
        let path = |name: &str| project.path().join(name);
        std::fs::write(path("a"), "one").expect("can be written");
        std::fs::write(path("b"), "changed").expect("can be written");
        let files = [mended("a", "one", "two"), mended("b", "read", "new")];
        let error = write(project.path(), &files).expect_err("is refused").to_string();
        assert!(
            error.ends_with("b has changed while it was checked; nothing was written: run it again"),
            "{error}"
        );
        let read = |name: &str| std::fs::read_to_string(path(name)).expect("is there");
        assert_eq!((read("a").as_str(), read("b").as_str()), ("one", "changed"));
        assert_eq!(std::fs::read_dir(project.path()).expect("is there").count(), 2, "nothing is left behind");
        write(project.path(), &files[..1]).expect("is written");
        assert_eq!(read("a"), "two");
        let error = write(project.path(), &[mended("c", "", "")]).expect_err("is not there").to_string();
        assert!(error.contains("c cannot be mended: "), "{error}");
    }
}
