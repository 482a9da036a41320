//! Tells when a project's definitions have changed on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Watches `schema/` and `projections/` of a project, for as long as it lives; also where they are made later.
pub struct DefinitionWatch {
    project: PathBuf,
    changes: mpsc::Receiver<()>,
    /// Whether a folder of definitions was made, removed or moved since it was last looked at.
    folders_changed: Arc<AtomicBool>,
    watcher: RecommendedWatcher,
}

/// Editors write a file in several steps: changes closer together than this count as one.
const SETTLE: Duration = Duration::from_millis(100);

/// The folders that hold definitions.
const FOLDERS: [&str; 2] = ["schema", "projections"];

impl DefinitionWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system refuses to watch the directory.
    pub fn begin(project: &Path) -> Result<DefinitionWatch, notify::Error> {
        // One waiting note is enough: it says that something has changed, not what.
        let (send, changes) = mpsc::channel(1);
        let folders_changed = Arc::new(AtomicBool::new(false));
        let folders = Arc::clone(&folders_changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if event.kind.is_access() {
                return;
            }
            let folder = event.paths.iter().any(|path| is_folder(path));
            if folder {
                folders.store(true, Ordering::SeqCst);
            }
            if folder || event.paths.iter().any(|path| is_definition(path)) {
                let _ = send.try_send(());
            }
        })?;
        watcher.watch(project, RecursiveMode::NonRecursive)?;
        let mut watch = DefinitionWatch { project: project.to_owned(), changes, folders_changed, watcher };
        watch.take_up_folders();
        Ok(watch)
    }

    /// Waits for the next change, and until it has settled.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            if self.folders_changed.swap(false, Ordering::SeqCst) {
                self.take_up_folders();
            }
            match tokio::time::timeout(SETTLE, self.changes.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Watches each folder that is there now. A folder made anew under an old name is another one to the system, so
    /// the old watch goes first; that it had none is no fault.
    fn take_up_folders(&mut self) {
        for folder in FOLDERS {
            let path = self.project.join(folder);
            let _ = self.watcher.unwatch(&path);
            if path.is_dir()
                && let Err(error) = self.watcher.watch(&path, RecursiveMode::NonRecursive)
            {
                tracing::warn!(path = %path.display(), %error, "Changes in this folder will not be seen.");
            }
        }
    }
}

fn is_folder(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| FOLDERS.contains(&name))
}

fn is_definition(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    matches!(ending, "graphql" | "graphqls" | "yaml" | "yml" | "json")
}
