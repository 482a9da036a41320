//! Who holds a data directory: this process, a running `dev`, or nobody.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failed};
use crate::serve::{Endpoint, EndpointError};
use crate::source::SourceError;
use crate::source::broker::{Broker, BrokerSettings};
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedSettings, EmbeddedStore};

/// A data directory held by this process, until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// What asking for a data directory came to.
#[derive(Debug)]
pub enum Holder {
    /// This process has it now.
    Us(DataLock),
    /// A running process has it; commands go through its endpoint.
    Running(Endpoint),
}

/// Why a data directory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("the data directory {} cannot be used: {source}; --data takes another", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is held by another process that has not said where it listens; try again, or end it", path.display())]
    HeldInSilence { path: PathBuf },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Takes a data directory, or finds out who has it. Makes the directory where it is not there.
///
/// # Errors
/// The directory cannot be made or locked, or its holder left no endpoint.
pub fn take(data: &Path) -> Result<Holder, DataError> {
    let io = |source| DataError::Io { path: data.to_owned(), source };
    std::fs::create_dir_all(data).map_err(io)?;
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(data.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            // One that a killed process has left leads nowhere.
            Endpoint::remove(data);
            Ok(Holder::Us(DataLock { _file: file }))
        }
        Err(TryLockError::WouldBlock) => match Endpoint::read(data)? {
            Some(endpoint) => Ok(Holder::Running(endpoint)),
            None => Err(DataError::HeldInSilence { path: data.to_owned() }),
        },
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Opens the log of a data directory to read it: as it stands, where another process holds it. The lock, where this
/// process has it, is to be kept as long as the log.
pub fn log_to_read(data: &Path) -> Result<(Option<DataLock>, Broker), Failed> {
    match take(data) {
        Ok(Holder::Us(lock)) => Ok((Some(lock), open_log(data)?)),
        Ok(Holder::Running(_)) | Err(DataError::HeldInSilence { .. }) => {
            Ok((None, opened(data, Broker::look(&data.join("log")))?))
        }
        Err(error) => Err(crate::cli::unreachable(error)),
    }
}

/// Opens the log of a data directory that this process holds.
pub fn open_log(data: &Path) -> Result<Broker, Failed> {
    open_log_with(data, BrokerSettings::default())
}

/// As [`open_log`], with settings.
pub fn open_log_with(data: &Path, settings: BrokerSettings) -> Result<Broker, Failed> {
    opened(data, Broker::open_with(&data.join("log"), settings))
}

fn opened(data: &Path, log: Result<Broker, SourceError>) -> Result<Broker, Failed> {
    log.map_err(|error| match error {
        SourceError::Corrupt(_) => damaged(data, &error),
        error => not_written(&error),
    })
}

/// How a command ends whose records the log does not take.
pub fn not_written(error: &SourceError) -> Failed {
    let exit = match error {
        SourceError::Halted(_) => Exit::Halted,
        _ => Exit::Unreachable,
    };
    (exit, error.to_string())
}

/// Opens the store of a data directory that this process holds.
pub fn open_store(data: &Path) -> Result<EmbeddedStore, Failed> {
    open_store_with(data, EmbeddedSettings::default())
}

/// As [`open_store`], with settings.
pub fn open_store_with(data: &Path, settings: EmbeddedSettings) -> Result<EmbeddedStore, Failed> {
    EmbeddedStore::open_with(&data.join("store"), settings).map_err(|error| match error {
        StoreError::Corrupt(_) => {
            let data = data.display();
            let advice = "the log is whole: without this folder `kinora dev` folds it anew";
            (Exit::Halted, format!("{error}; {advice}: move {data}/store away"))
        }
        error => (Exit::Unreachable, error.to_string()),
    })
}

fn damaged(data: &Path, error: &SourceError) -> Failed {
    let data = data.display();
    (
        Exit::Halted,
        format!("{error}; restore {data}/log from a copy, or begin anew in another place with --data"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_free_again_afterwards() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("new");
        let held = take(&data).expect("free");
        assert!(matches!(held, Holder::Us(_)));
        let error = take(&data).expect_err("held").to_string();
        assert!(error.contains("held by another process"), "{error}");
        drop(held);
        assert!(matches!(take(&data), Ok(Holder::Us(_))));
    }
}
