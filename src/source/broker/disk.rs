//! What the embedded log asks of a disk, and the real one.
//!
//! Everything that the log does to files goes through [`Disk`] and [`DiskFile`], so that tests can put a disk below it that
//! fails, fills up or loses power (`tests/simulated.rs`). Nothing here retries or decides: an error goes to whoever asked.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Directories and the files in them.
pub(super) trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file; only [`Open::Anew`] makes it.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;

    /// Names of what a directory holds, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and those above it. Does nothing where it is there.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Renames a file; one that stood at the new name is gone.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// To read it.
    Read,
    /// To append to it, and to cut it off.
    Append,
    /// As `Append`, made where it is missing, and emptied.
    Anew,
}

/// An open file.
pub(super) trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads from a place on until the buffer is full or the file ends; answers how many bytes were read.
    fn read_at(&mut self, buffer: &mut [u8], place: u64) -> io::Result<usize>;

    /// So many bytes from a place on, or fewer where the file ends before.
    fn bytes_at(&mut self, len: usize, place: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.read_at(&mut bytes, place)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Writes all bytes at its end. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it off at a length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes its content and length durable. After an error nothing is known of what was written since the last success, and
    /// asking again does not tell: the system may have forgotten that it was never written.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whether an error says that there is no room: nothing is broken, and there may be room later.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The disk of this machine.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let file = match how {
            Open::Read => File::open(path)?,
            Open::Append => OpenOptions::new().append(true).open(path)?,
            Open::Anew => {
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                file.set_len(0)?;
                file
            }
        };
        Ok(Box::new(RealFile(file)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?;
        // Names that are no text are not ours.
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().ok();
        entries.filter_map(|entry| entry.map(name).transpose()).collect()
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a directory cannot be opened, and its names are durable with their files.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&mut self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match read_some(&mut self.0, &mut buffer[read..], place + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Into memory that nobody has cleared before.
    fn bytes_at(&mut self, len: usize, place: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        self.0.seek(SeekFrom::Start(place))?;
        (&self.0).take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(unix)]
fn read_some(file: &mut File, buffer: &mut [u8], place: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, place)
}

#[cfg(not(unix))]
fn read_some(file: &mut File, buffer: &mut [u8], place: u64) -> io::Result<usize> {
    file.seek(SeekFrom::Start(place))?;
    file.read(buffer)
}
