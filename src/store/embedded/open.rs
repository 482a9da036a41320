//! Opens the directory of the embedded store and its keyspaces, and says in words what fjall refuses.
//!
//! Comes in: a path and settings. Goes out: a database whose format this program knows. The format's version is
//! one byte in `meta`; it is raised when keys, rows or `meta` are laid out differently.

use std::path::Path;
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{EmbeddedSettings, journal};
use crate::store::StoreError;

/// Version of what Kinora lays into fjall.
const FORMAT_VERSION: u8 = 1;
const VERSION_KEY: &[u8] = b"version";
const META: &str = "meta";
/// Threads that write and merge files. Of several, fjall's first hands work to the others in a loop that never rests.
const WORKERS: usize = 1;
/// What fjall insists on.
const OPEN_FILES_MIN: usize = 10;
/// Bytes of journals on the disk, fjall's default: tables whose newest rows only journals hold go to files before there are
/// more. It bounds how much is read back when the store is opened.
const JOURNAL_BYTES: u64 = 512 << 20;
/// New files of a table before they are merged into its old ones. Each merge of rows with keys at random rewrites most of
/// the table, each file costs a read a look at its filter; fjall's default is 4.
const FILES_BEFORE_MERGE: u8 = 8;

/// Opens the database and its `meta`, after checking its version.
pub(super) fn open(directory: &Path, settings: EmbeddedSettings) -> Result<(Database, Keyspace), StoreError> {
    let what = || format!("opening the store in {}", directory.display());
    let io = |source| StoreError::Io { what: what(), source };
    std::fs::create_dir_all(directory).map_err(io)?;
    let last = journal::look_through(directory)?;
    let builder = Database::builder(directory)
        .cache_size(settings.cache_bytes)
        .max_cached_files(Some(settings.open_files.max(OPEN_FILES_MIN)))
        .max_journaling_size(JOURNAL_BYTES)
        .worker_threads(WORKERS);
    let database = unbroken(&what(), || builder.open())?.map_err(|error| match error {
        fjall::Error::Locked => StoreError::Refused(format!(
            "another process has the store in {} open; stop it, or let it do this through its admin address",
            directory.display()
        )),
        other => fault(&what(), other),
    })?;
    let meta = keyspace(&database, META, settings)?;
    check_version(directory, &database, &meta)?;
    check_order(directory, &database, settings, last)?;
    Ok((database, meta))
}

/// Lets fjall read what may be damaged: some of it makes fjall panic.
fn unbroken<T>(what: &str, read: impl FnOnce() -> T) -> Result<T, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .map_err(|_| StoreError::Corrupt(format!("{what}: fjall cannot make sense of it")))
}

/// Refuses tables that are newer than the journals, whose last batch has this number. fjall syncs the journal before it writes
/// a table, and keeps it while any table lacks something of it; so they are not, unless something happened to the files. Then
/// some tables would have the rows of batches that others have lost.
fn check_order(
    directory: &Path,
    database: &Database,
    settings: EmbeddedSettings,
    last: Option<u64>,
) -> Result<(), StoreError> {
    for name in database.list_keyspace_names() {
        if keyspace(database, &name, settings)?.tree.get_highest_persisted_seqno() > last {
            return Err(StoreError::Corrupt(format!(
                "table {name:?} in {} is newer than the journal, which has lost its end",
                directory.display()
            )));
        }
    }
    Ok(())
}

fn check_version(directory: &Path, database: &Database, meta: &Keyspace) -> Result<(), StoreError> {
    match meta.get(VERSION_KEY).map_err(|error| fault("reading the version of the store", error))?.as_deref()
    {
        Some([FORMAT_VERSION]) => Ok(()),
        None if database.keyspace_count() == 1 => {
            let written = meta.insert(VERSION_KEY, [FORMAT_VERSION]);
            written
                .and_then(|()| database.persist(PersistMode::SyncAll))
                .map_err(|error| fault("writing the version of the store", error))
        }
        None => {
            let path = directory.display();
            Err(StoreError::Corrupt(format!("{path} holds tables but not the version of their format")))
        }
        Some(found) => Err(StoreError::Refused(format!(
            "the store in {} has format {found:?}, but this version of Kinora knows format [{FORMAT_VERSION}]; run the \
             version that wrote it, or fold the log into an empty directory",
            directory.display()
        ))),
    }
}

/// Opens a keyspace, making it if it is missing.
pub(super) fn keyspace(
    database: &Database,
    name: &str,
    settings: EmbeddedSettings,
) -> Result<Keyspace, StoreError> {
    if !fjall_accepts(name) {
        return Err(StoreError::Refused(format!(
            "{name:?} is not a name for a table: it has 1 to 255 bytes"
        )));
    }
    let options = || {
        let merging = Leveled::default().with_l0_threshold(FILES_BEFORE_MERGE);
        KeyspaceCreateOptions::default()
            .max_memtable_size(settings.memtable_bytes)
            .compaction_strategy(Arc::new(merging))
    };
    database.keyspace(name, options).map_err(|error| fault(&format!("opening table {name:?}"), error))
}

fn fjall_accepts(name: &str) -> bool {
    (1..=255).contains(&name.len())
}

/// What the names of a generation's keyspaces end with.
pub(super) fn generation_suffix(generation: u32) -> String {
    format!("__g{generation}")
}

/// An error of fjall's, as one of ours.
pub(super) fn fault(what: &str, error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(source) => StoreError::Io { what: what.to_owned(), source },
        fjall::Error::Poisoned => StoreError::Refused(format!(
            "{what}: an earlier write or fsync failed, so nothing more is written; check the disk, then start again"
        )),
        fjall::Error::KeyspaceDeleted => {
            StoreError::Refused(format!("{what}: the tables of this generation have been dropped"))
        }
        fjall::Error::InvalidVersion(found) => StoreError::Refused(format!(
            "{what}: it was written by another major version of fjall ({found:?}); fold the log into an empty directory"
        )),
        other => StoreError::Corrupt(format!("{what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::{Durability, EmbeddedStore};

    fn open_error(directory: &Path) -> String {
        EmbeddedStore::open(directory, Durability::Buffer).expect_err("is refused").to_string()
    }

    #[test]
    fn a_store_of_another_format_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        {
            let (_database, meta) = open(directory.path(), EmbeddedSettings::default()).expect("opens");
            meta.insert(VERSION_KEY, [FORMAT_VERSION + 1]).expect("writes");
        }
        let error = open_error(directory.path());
        assert!(error.contains("has format [2], but this version of Kinora knows format [1]"), "{error}");
    }

    #[test]
    fn a_store_that_is_open_is_refused_with_advice() {
        let directory = tempfile::tempdir().expect("a directory");
        let _open = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
        let error = open_error(directory.path());
        assert!(error.contains("another process has the store in"), "{error}");
        assert!(error.contains("stop it"), "{error}");
    }

    #[test]
    fn a_path_that_is_a_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "x").expect("writes");
        let error = open_error(&path);
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
