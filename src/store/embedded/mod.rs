//! The store on disk, for one process: fjall, a log-structured tree written in Rust.
//!
//! Its profile is atomic: rows, copies, parked keys and progress of a batch are one write of fjall's. So a row keeps
//! one stamp, the offset of its last event, and copies need no tombstones: what a crash leaves is always the
//! state after a whole number of batches. `open` opens the directory and knows its version, `meta` has progress and
//! owners, `parked` the keys that wait, `rows` reads, `tables` commits batches, which `write` makes writes of, `memtables`
//! bounds what they gather in memory, `sweep` frees rows that have ended, `journal` finds what a crash or damage did to
//! fjall's journals. Each table of a generation is a keyspace `<table>__g<n>`; `meta` is one more.

mod journal;
mod memtables;
mod meta;
mod open;
mod parked;
mod rows;
mod sweep;
mod tables;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use fjall::{Database, Keyspace};
use futures_util::future::BoxFuture;

use super::ledger::lock;
use super::{Manifest, Profile, ProgressMark, Store, StoreError, Tables};
use crate::plan::Plan;
use tables::{EmbeddedTables, Generation};

/// When a commit is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// A commit is with the operating system before it is acknowledged: it survives a crash of the process. A power
    /// loss may take the last commits, newest first and each whole; the log then brings their events again.
    #[default]
    Buffer,
    /// A commit is on the disk before it is acknowledged: it survives a power loss. Costs an fsync for each batch.
    Sync,
}

/// How the store is opened.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedSettings {
    /// When a commit is safe. Default: [`Durability::Buffer`].
    pub durability: Durability,
    /// Bytes of blocks kept in memory for reading. Default: 16 MiB.
    pub cache_bytes: u64,
    /// Bytes that a table gathers in memory before they go to a file. Default: 2 MiB.
    pub memtable_bytes: u64,
    /// Bytes that all tables together gather in memory: those with the most go to files before there are more. Default:
    /// 64 MiB.
    pub memtables_bytes: u64,
    /// Files of tables kept open. Default: 900.
    pub open_files: usize,
}

impl Default for EmbeddedSettings {
    fn default() -> EmbeddedSettings {
        EmbeddedSettings {
            durability: Durability::default(),
            cache_bytes: 16 * 1024 * 1024,
            memtable_bytes: 2 * 1024 * 1024,
            memtables_bytes: 64 * 1024 * 1024,
            open_files: 900,
        }
    }
}

/// Generations of tables in a directory.
pub struct EmbeddedStore {
    database: Database,
    meta: Keyspace,
    settings: EmbeddedSettings,
    /// Held while the manifest is compared and replaced.
    manifest: Mutex<()>,
    /// Generations that are open: all handles to one share its progress and its lock.
    generations: Mutex<BTreeMap<u32, Weak<Generation>>>,
}

impl EmbeddedStore {
    /// Opens the directory, making it if it is missing. Blocks while the journal is read back.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if another process has it open or another version of Kinora wrote it,
    /// [`StoreError::Corrupt`] if what lies there cannot be read.
    pub fn open(directory: &Path, durability: Durability) -> Result<EmbeddedStore, StoreError> {
        EmbeddedStore::open_with(directory, EmbeddedSettings { durability, ..EmbeddedSettings::default() })
    }

    /// As [`EmbeddedStore::open`], with all settings.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_with(directory: &Path, settings: EmbeddedSettings) -> Result<EmbeddedStore, StoreError> {
        let (database, meta) = open::open(directory, settings)?;
        Ok(EmbeddedStore {
            database,
            meta,
            settings,
            manifest: Mutex::new(()),
            generations: Mutex::default(),
        })
    }

    /// How far the projections of each generation have come: what was made of events that lie before these offsets is stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn reached(&self) -> Result<Vec<ProgressMark>, StoreError> {
        let Some(manifest) = meta::manifest(&self.meta)? else { return Ok(Vec::new()) };
        let mut marks = Vec::new();
        for generation in manifest.generations {
            marks.extend(meta::progress(&self.meta, generation.number)?.marks);
        }
        Ok(marks)
    }

    fn generation(&self, number: u32) -> Result<Arc<Generation>, StoreError> {
        let mut generations = lock(&self.generations);
        if let Some(generation) = generations.get(&number).and_then(Weak::upgrade) {
            return Ok(generation);
        }
        let generation = Arc::new(Generation::load(&self.database, &self.meta, number)?);
        generations.insert(number, Arc::downgrade(&generation));
        Ok(generation)
    }

    fn drop_now(&self, number: u32) -> Result<(), StoreError> {
        lock(&self.generations).remove(&number);
        let suffix = open::generation_suffix(number);
        for name in self.database.list_keyspace_names() {
            if name.ends_with(&suffix) {
                let keyspace = open::keyspace(&self.database, &name, self.settings)?;
                self.database
                    .delete_keyspace(keyspace)
                    .map_err(|error| open::fault("dropping a table", error))?;
            }
        }
        meta::forget(&self.database, &self.meta, number)
    }

    fn replace_manifest(&self, expected: Option<&Manifest>, new: &Manifest) -> Result<bool, StoreError> {
        let _one_at_a_time = lock(&self.manifest);
        if meta::manifest(&self.meta)?.as_ref() != expected {
            return Ok(false);
        }
        meta::set_manifest(&self.database, &self.meta, new)?;
        Ok(true)
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Store for EmbeddedStore {
    fn profile(&self) -> Profile {
        Profile::Atomic
    }

    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>> {
        Box::pin(async { meta::manifest(&self.meta) })
    }

    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.replace_manifest(expected, new) })
    }

    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>> {
        Box::pin(async move {
            let shared = self.generation(generation)?;
            let tables = EmbeddedTables::open(&self.database, self.settings, shared, plan)?;
            Ok(Arc::new(tables) as Arc<dyn Tables>)
        })
    }

    fn persist(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let database = self.database.clone();
        let persist = move || {
            let persisted = database.persist(fjall::PersistMode::SyncAll);
            persisted.map_err(|error| open::fault("writing the store to the disk", error))
        };
        Box::pin(async move {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => runtime.spawn_blocking(persist).await.unwrap_or_else(|_| {
                    Err(StoreError::Unavailable("the program is shutting down".to_owned()))
                }),
                Err(_) => persist(),
            }
        })
    }

    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.drop_now(generation) })
    }
}
