//! Who holds a data directory: this process, a running `dev`, or nobody.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::serve::{Endpoint, EndpointError};

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
    #[error("{}: {source}", path.display())]
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
        Ok(()) => Ok(Holder::Us(DataLock { _file: file })),
        Err(TryLockError::WouldBlock) => match Endpoint::read(data)? {
            Some(endpoint) => Ok(Holder::Running(endpoint)),
            None => Err(DataError::HeldInSilence { path: data.to_owned() }),
        },
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
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
