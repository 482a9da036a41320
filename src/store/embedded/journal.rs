//! Looks through fjall's journals before fjall opens them: fjall reads on where it should not.
//!
//! Comes in: the store's directory, which nobody else has open. Goes out: the number of the last batch, or an error that names
//! file and byte. A journal that another follows was synced to its end before that one was begun: a hole in it is damage, which fjall takes for
//! its end, so that batches are missing between others. The last journal may be torn anywhere behind its last fsync by a
//! power loss; it is cut off behind the last batch before the first hole, where fjall would refuse to open or keep a part.
//! That what is left goes together with the tables, `open` checks by the numbers of the batches.
//!
//! A journal of fjall 3 is batches, then zeros. A batch is: 1, number of items (4 bytes), its number (8); for each item 2,
//! kind (1), compression (1, none here), keyspace (8), lengths of key (2), value (4) and stored value (4), key, value, or 4
//! and keyspace (8); then 3, xxh3 of the items (8), `FJL` and 3. Numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use crate::store::StoreError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Bytes of an item between its first and its key.
const ITEM_HEAD: usize = 20;
/// Most by which the numbers of two batches in turn differ: fjall counts other things in between, but few. No checksum covers
/// a number, and a wrong one lets an older row win or a batch be passed over.
const NUMBERS_APART: u64 = 1 << 20;

/// Checks all journals; cuts a torn end off the last. Answers the number of the last batch that is whole; `None` where there
/// is none, or another process has the store open.
///
/// # Errors
/// [`StoreError::Corrupt`] for a hole in a journal that another follows, [`StoreError::Io`].
pub(super) fn look_through(directory: &Path) -> Result<Option<u64>, StoreError> {
    let io = |path: &Path| {
        let what = format!("reading {}", path.display());
        move |source| StoreError::Io { what, source }
    };
    // fjall's own lock: a journal that is being written looks torn.
    let _lock = match OpenOptions::new().read(true).write(true).open(directory.join("lock")) {
        Ok(lock) if lock.try_lock().is_err() => return Ok(None),
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(directory)(error)),
    };
    let journals = journals(directory).map_err(io(directory))?;
    let Some((last, sealed)) = journals.split_last() else { return Ok(None) };
    let mut number = None;
    for path in sealed {
        if let Some(hole) = to_end(path, &mut number).map_err(io(path))? {
            let path = path.display();
            return Err(StoreError::Corrupt(format!("{path} at byte {}: {}", hole.batch, hole.reason)));
        }
    }
    if let Some(Hole { batch, reason }) = to_end(last, &mut number).map_err(io(last))? {
        warn!(path = %last.display(), at = batch, reason, "Cut off the end of the store's journal; the log has its events.");
        let file = OpenOptions::new().write(true).open(last).map_err(io(last))?;
        file.set_len(batch).and_then(|()| file.sync_all()).map_err(io(last))?;
    }
    Ok(number)
}

/// The journals, oldest first.
fn journals(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Where a journal cannot be read on: the batch that is not whole begins there.
struct Hole {
    batch: u64,
    reason: &'static str,
}

/// A journal that is gone through.
struct Walk {
    reader: BufReader<File>,
    at: u64,
    len: u64,
    buffer: Vec<u8>,
    /// Number of the batch before.
    number: Option<u64>,
}

/// Why a batch cannot be read.
enum Broken {
    Io(io::Error),
    /// It is not what was written.
    Torn(&'static str),
}

/// Reads all batches of a journal; answers where they break off before the zeros at the end. `number` is that of the last
/// batch of the journals before, and then of this one.
fn to_end(path: &Path, number: &mut Option<u64>) -> io::Result<Option<Hole>> {
    let mut walk = Walk::open(path, *number)?;
    loop {
        let batch = walk.at;
        match walk.batch() {
            Ok(true) => *number = walk.number,
            Ok(false) => return Ok(None),
            Err(Broken::Torn(reason)) => return Ok(Some(Hole { batch, reason })),
            Err(Broken::Io(error)) => return Err(error),
        }
    }
}

impl Walk {
    fn open(path: &Path, number: Option<u64>) -> io::Result<Walk> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let reader = BufReader::with_capacity(256 * 1024, file);
        Ok(Walk { reader, at: 0, len, buffer: Vec::new(), number })
    }

    /// Reads one batch; answers whether there was one.
    fn batch(&mut self) -> Result<bool, Broken> {
        if self.at == self.len {
            return Ok(false);
        }
        match self.take(1)?[0] {
            START => {}
            0 => return self.only_zeros(),
            _ => return Err(Broken::Torn("no batch begins here")),
        }
        let items = u32::from_le_bytes(self.array()?);
        let number = u64::from_le_bytes(self.array()?);
        let fits = |last: u64| number > last && number - last <= NUMBERS_APART;
        if !self.number.is_none_or(fits) {
            return Err(Broken::Torn("the number of the batch does not follow the one before"));
        }
        let mut sum = Xxh3::new();
        for _ in 0..items {
            self.item(&mut sum)?;
        }
        if self.take(1)?[0] != END {
            return Err(Broken::Torn("the batch has no end"));
        }
        let expected = u64::from_le_bytes(self.array()?);
        if sum.digest() != expected {
            return Err(Broken::Torn("the checksum of the batch does not match"));
        }
        if self.array::<4>()? != TRAILER {
            return Err(Broken::Torn("the batch does not end as it should"));
        }
        self.number = Some(number);
        Ok(true)
    }

    fn item(&mut self, sum: &mut Xxh3) -> Result<(), Broken> {
        match self.take(1)?[0] {
            ITEM => {
                sum.update(&[ITEM]);
                let head: [u8; ITEM_HEAD] = self.array()?;
                sum.update(&head);
                let key = u16::from_le_bytes([head[10], head[11]]);
                let value = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
                sum.update(self.take(usize::from(key))?);
                sum.update(self.take(value as usize)?);
                Ok(())
            }
            CLEAR => {
                sum.update(&[CLEAR]);
                sum.update(self.take(8)?);
                Ok(())
            }
            _ => Err(Broken::Torn("the batch has fewer items than it says")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&[u8], Broken> {
        if len as u64 > self.len - self.at {
            return Err(Broken::Torn("the file ends inside the batch"));
        }
        self.buffer.resize(len, 0);
        self.reader.read_exact(&mut self.buffer).map_err(Broken::Io)?;
        self.at += len as u64;
        Ok(&self.buffer)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were asked for"))
    }

    /// The rest of the file: room that was not used, or what is left of a batch whose beginning is lost.
    fn only_zeros(&mut self) -> Result<bool, Broken> {
        while self.at < self.len {
            let some = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(256 * 1024);
            if self.take(some)?.iter().any(|byte| *byte != 0) {
                return Err(Broken::Torn("bytes follow where no batch begins"));
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::EmbeddedSettings;
    use crate::store::embedded::open::open;

    /// A store with three batches in its journal; where they begin, and where the last ends.
    fn written(directory: &Path) -> (PathBuf, Vec<u8>) {
        let (database, meta) = open(directory, EmbeddedSettings::default()).expect("it opens");
        for number in 0..3_u8 {
            let mut write = database.batch();
            write.insert(&meta, [b'x', number], vec![number; 40]);
            write.remove(&meta, [b'y', number]);
            write.commit().expect("it is written");
        }
        drop((meta, database));
        let path = journals(directory).expect("there is one").remove(0);
        let bytes = std::fs::read(&path).expect("it can be read");
        (path, bytes)
    }

    #[test]
    fn what_fjall_writes_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, bytes) = written(directory.path());
        let mut walk = Walk::open(&path, None).expect("it opens");
        let mut batches = 0;
        while walk.batch().is_ok_and(|whole| whole) {
            batches += 1;
        }
        assert_eq!(batches, 4, "the version, and three");
        assert_eq!(walk.at, bytes.len() as u64, "the rest was looked at");
        look_through(directory.path()).expect("all is whole");
        assert_eq!(std::fs::read(&path).expect("it can be read").len(), bytes.len(), "nothing was cut off");
    }

    #[test]
    fn every_flipped_byte_is_seen_in_a_sealed_journal_and_cut_off_in_the_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, bytes) = written(directory.path());
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
        let next = path.with_file_name("1000.jnl");
        for at in 0..end {
            let mut damaged = bytes[..end + 10].to_vec();
            damaged[at] ^= 0x55;
            std::fs::write(&path, &damaged).expect("it can be written");
            std::fs::write(&next, []).expect("it can be written");
            let seen = look_through(directory.path()).err().map(|error| error.to_string());
            // Nothing follows the last number that it could not go together with, and then it is as good as any.
            let is_number = numbers(&bytes[..end]).contains(&at);
            assert!(seen.is_some() || is_number, "byte {at}");
            assert!(
                seen.is_some() || numbers(&bytes[..end]).last().is_some_and(|last| at + 8 > *last),
                "byte {at}"
            );
            std::fs::remove_file(&next).expect("it is there");
            look_through(directory.path()).expect("its end is cut off");
            let left = std::fs::read(&path).expect("it can be read");
            assert!(bytes.starts_with(&left) || is_number, "byte {at}");
        }
    }

    /// Places of the numbers of batches.
    fn numbers(bytes: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        let mut from = 0;
        while let Some(end) = bytes[from..].windows(4).position(|four| four == TRAILER) {
            places.extend(from + 5..from + 13);
            from += end + 4;
        }
        places
    }
}
