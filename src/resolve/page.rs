//! Pages: what `first`, `last`, `after` and `before` mean, and the cursors that name a place in a table.
//!
//! A cursor holds typed key bytes, not the state of a driver: it survives restarts and rebuilds, and it is signed, so
//! that nobody can name a place of his own making. Comes in: paging arguments. Goes out: a [`Wanted`], or the code
//! and sentence that refuse it. Reading the rows is `walk`'s.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use crate::plan::TablePlan;

use super::error::{Code, Fault};

/// Layout: version, table's name, table's key, definitions, place of reading (8 bytes each but the version), lengths of
/// bucket and partition (4 bytes each), bucket, partition, clustering, signature.
const VERSION: u8 = 2;
const HEAD: usize = 1 + 8 * 4 + 4 * 2;
const SIGNATURE: usize = 16;

/// Signs and verifies cursors.
#[derive(Clone)]
pub(super) struct Signer {
    /// Keyed once; each signature starts from a copy. The first signs.
    keys: Vec<Hmac<Sha256>>,
    definitions: u64,
}

/// What a cursor must belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Hash of the table's name.
    pub table: u64,
    /// Hash of the table's key: its columns, functions, types and orders.
    pub key: u64,
    /// Hash of the field and the partition that is read.
    pub place: u64,
}

/// A place in a table's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Encoded value of the time bucket, where the table has one.
    pub bucket: Box<[u8]>,
    /// Encoded partition of the row, where rows of several partitions are merged that may have the same clustering.
    pub partition: Box<[u8]>,
    /// Encoded clustering of the row.
    pub clustering: Box<[u8]>,
}

/// A place whose bytes are elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkRef<'m> {
    pub bucket: &'m [u8],
    pub partition: &'m [u8],
    pub clustering: &'m [u8],
}

/// A page that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub count: usize,
    /// From the end: `last`.
    pub backward: bool,
    pub after: Option<Mark>,
    pub before: Option<Mark>,
}

/// Paging arguments as they were given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Paging<'a> {
    pub first: Option<i64>,
    pub last: Option<i64>,
    pub after: Option<&'a str>,
    pub before: Option<&'a str>,
}

impl Home {
    /// The home of a table's rows, read through a field in one partition.
    pub fn new(table: &TablePlan, place: &[u8]) -> Home {
        Home {
            table: xxh3_64(table.name.as_bytes()),
            key: xxh3_64(table.key_text().as_bytes()),
            place: xxh3_64(place),
        }
    }
}

impl Signer {
    /// A signer with these secrets.
    ///
    /// # Errors
    /// One sentence, if there is no secret.
    pub fn new(secrets: &[Vec<u8>], definitions: &str) -> Result<Signer, String> {
        if secrets.is_empty() || secrets.iter().any(Vec::is_empty) {
            return Err(
                "cursors cannot be signed: serve.cursor_secrets is empty or holds an empty secret".to_owned()
            );
        }
        let keys = secrets
            .iter()
            .map(|secret| Hmac::new_from_slice(secret).map_err(|error| error.to_string()))
            .collect::<Result<_, String>>()?;
        Ok(Signer { keys, definitions: xxh3_64(definitions.as_bytes()) })
    }

    /// Appends the cursor of a place, without quotes.
    pub fn push_cursor(&self, out: &mut Vec<u8>, home: &Home, mark: MarkRef<'_>) {
        let MarkRef { bucket, partition, clustering } = mark;
        let mut bytes =
            Vec::with_capacity(HEAD + bucket.len() + partition.len() + clustering.len() + SIGNATURE);
        bytes.push(VERSION);
        for hash in [home.table, home.key, self.definitions, home.place] {
            bytes.extend_from_slice(&hash.to_be_bytes());
        }
        for part in [bucket, partition] {
            let length = u32::try_from(part.len()).expect("a key is far below 4 GiB");
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        bytes.extend_from_slice(bucket);
        bytes.extend_from_slice(partition);
        bytes.extend_from_slice(clustering);
        let mut mac = self.keys[0].clone();
        mac.update(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes()[..SIGNATURE]);
        let start = out.len();
        let length = base64::encoded_len(bytes.len(), false).expect("a cursor is short");
        out.resize(start + length, 0);
        let written = URL_SAFE_NO_PAD.encode_slice(&bytes, &mut out[start..]).expect("the room was measured");
        out.truncate(start + written);
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    /// `CURSOR_INVALID` if it was not signed here, or belongs elsewhere; `CURSOR_MODEL_CHANGED` if the table has
    /// another key now.
    pub fn open(&self, argument: &str, cursor: &str, home: &Home) -> Result<Mark, Fault> {
        let invalid = |why: &str| {
            Fault::new(Code::CursorInvalid, format!("`{argument}` is not a cursor of this list: {why}."))
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid("it is not base64url"))?;
        if bytes.len() < HEAD + SIGNATURE || bytes[0] != VERSION {
            return Err(invalid("it is too short or of another version"));
        }
        let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE);
        if !self.verifies(signed, signature) {
            return Err(invalid("its signature does not verify"));
        }
        let hash =
            |at: usize| u64::from_be_bytes(signed[1 + at * 8..9 + at * 8].try_into().expect("eight bytes"));
        if hash(0) != home.table {
            return Err(invalid("it names a place in another table"));
        }
        if hash(1) != home.key {
            let message = format!(
                "`{argument}` is a cursor from before the table's key changed; start again without it."
            );
            return Err(Fault::new(Code::CursorModelChanged, message));
        }
        if hash(3) != home.place {
            return Err(invalid("it comes from another field or another parent"));
        }
        let length = |at: usize| {
            let bytes = signed[at..at + 4].try_into().expect("four bytes");
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let parts = signed[HEAD..].split_at_checked(length(HEAD - 8)).and_then(|(bucket, rest)| {
            let (partition, clustering) = rest.split_at_checked(length(HEAD - 4))?;
            Some(Mark { bucket: bucket.into(), partition: partition.into(), clustering: clustering.into() })
        });
        parts.ok_or_else(|| invalid("it is cut short"))
    }

    /// Compares in constant time, with every key.
    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            let mut mac = key.clone();
            mac.update(signed);
            mac.verify_truncated_left(signature).is_ok()
        })
    }
}

impl Paging<'_> {
    /// The page that the arguments ask for.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for both directions, a negative count, or one above `max`; what [`Signer::open`] says of a
    /// cursor.
    pub fn wanted(&self, page: u32, max: u32, signer: &Signer, home: &Home) -> Result<Wanted, Fault> {
        let (count, backward, name) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Fault::new(Code::BadUserInput, "`first` and `last` cannot be given together."));
            }
            (first, None) => (first.unwrap_or(i64::from(page)), false, "first"),
            (None, Some(last)) => (last, true, "last"),
        };
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= max as usize) else {
            let message = format!("`{name}` is {count}; it must be from 0 to {max}.");
            return Err(Fault::new(Code::BadUserInput, message));
        };
        let open = |argument, cursor: Option<&str>| {
            cursor.map(|cursor| signer.open(argument, cursor, home)).transpose()
        };
        Ok(Wanted {
            count,
            backward,
            after: open("after", self.after)?,
            before: open("before", self.before)?,
        })
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer {{ {} keys }}", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home = Home { table: 1, key: 2, place: 3 };

    fn signer(secrets: &[&str]) -> Signer {
        Signer::new(&secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect::<Vec<_>>(), "d")
            .unwrap()
    }

    fn cursor(signer: &Signer, home: &Home) -> String {
        let mut out = Vec::new();
        let mark = MarkRef { bucket: b"bk", partition: b"part", clustering: b"clustering" };
        signer.push_cursor(&mut out, home, mark);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cursor_opens_with_any_of_the_secrets_and_the_first_signs() {
        let made = cursor(&signer(&["old"]), &HOME);
        let mark = signer(&["new", "old"]).open("after", &made, &HOME).unwrap();
        assert_eq!((&*mark.bucket, &*mark.clustering), (&b"bk"[..], &b"clustering"[..]));
        assert_eq!(&*mark.partition, b"part");
        assert_eq!(signer(&["new"]).open("after", &made, &HOME).unwrap_err().code, Code::CursorInvalid);
        assert_eq!(cursor(&signer(&["new", "old"]), &HOME), cursor(&signer(&["new"]), &HOME));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let signer = signer(&["secret"]);
        let made = URL_SAFE_NO_PAD.decode(cursor(&signer, &HOME)).unwrap();
        for at in 0..made.len() {
            let mut forged = made.clone();
            forged[at] ^= 1;
            let fault = signer.open("after", &URL_SAFE_NO_PAD.encode(&forged), &HOME).unwrap_err();
            assert_eq!(fault.code, Code::CursorInvalid, "byte {at}");
            let cut = URL_SAFE_NO_PAD.encode(&made[..at]);
            assert_eq!(
                signer.open("after", &cut, &HOME).unwrap_err().code,
                Code::CursorInvalid,
                "cut at {at}"
            );
        }
        for garbage in ["", "é", "a b", "====", "AAAA"] {
            assert_eq!(signer.open("after", garbage, &HOME).unwrap_err().code, Code::CursorInvalid);
        }
    }

    #[test]
    fn a_cursor_belongs_to_its_table_its_key_and_its_place() {
        let signer = signer(&["secret"]);
        let made = cursor(&signer, &HOME);
        let code = |home: Home| signer.open("before", &made, &home).unwrap_err();
        assert_eq!(code(Home { table: 9, ..HOME }).code, Code::CursorInvalid);
        assert_eq!(code(Home { place: 9, ..HOME }).code, Code::CursorInvalid);
        let changed = code(Home { key: 9, ..HOME });
        assert_eq!(changed.code, Code::CursorModelChanged);
        assert!(changed.message.contains("`before`"), "{}", changed.message);
    }

    #[test]
    fn counts_are_bounded_and_never_clamped() {
        let signer = signer(&["secret"]);
        let wanted =
            |first, last| Paging { first, last, ..Paging::default() }.wanted(20, 100, &signer, &HOME);
        assert_eq!(wanted(None, None).unwrap().count, 20);
        assert_eq!(wanted(Some(0), None).unwrap().count, 0);
        assert_eq!(wanted(Some(100), None).unwrap().count, 100);
        assert!(wanted(None, Some(7)).unwrap().backward);
        for (first, last, text) in [
            (Some(101), None, "`first` is 101; it must be from 0 to 100."),
            (None, Some(-1), "`last` is -1; it must be from 0 to 100."),
            (Some(1), Some(1), "`first` and `last` cannot be given together."),
        ] {
            let fault = wanted(first, last).unwrap_err();
            assert_eq!((fault.code, &*fault.message), (Code::BadUserInput, text));
        }
    }

    #[test]
    fn without_a_secret_there_is_no_signer() {
        assert!(Signer::new(&[], "d").unwrap_err().contains("cursor_secrets"));
        assert!(Signer::new(&[Vec::new()], "d").is_err());
    }
}
