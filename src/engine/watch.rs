//! Tells when a project's definitions have changed on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Watches `schema/` and `projections/` of a project, for as long as it lives.
pub struct DefinitionWatch {
    changes: mpsc::Receiver<()>,
    /// Held because dropping it ends the watch.
    _watcher: RecommendedWatcher,
}

/// Editors write a file in several steps: changes closer together than this count as one.
const SETTLE: Duration = Duration::from_millis(100);

impl DefinitionWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The system refuses to watch the directory.
    pub fn begin(project: &Path) -> Result<DefinitionWatch, notify::Error> {
        // One waiting note is enough: it says that something has changed, not what.
        let (send, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| {
                !event.kind.is_access() && event.paths.iter().any(|path| is_definition(path))
            }) {
                let _ = send.try_send(());
            }
        })?;
        for folder in ["schema", "projections"] {
            let folder: PathBuf = project.join(folder);
            if folder.is_dir() {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            }
        }
        Ok(DefinitionWatch { changes, _watcher: watcher })
    }

    /// Waits for the next change, and until it has settled.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        while tokio::time::timeout(SETTLE, self.changes.recv()).await.is_ok_and(|note| note.is_some()) {}
    }
}

fn is_definition(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
    matches!(ending, "graphql" | "graphqls" | "yaml" | "yml")
}
