//! Rows of the engine's own tables, read column by column.
//!
//! Comes in: cells of an answer. Goes out: typed values, or a sentence about what they are not.

use uuid::Uuid;

use super::meta::rows;
use super::session::{Binds, Reads, Session};
use crate::event::{Offset, TopicPartition};
use crate::store::StoreError;

/// One row of an answer.
pub(super) struct Answer<'a> {
    pub cells: &'a [Option<&'a [u8]>],
}

fn misread(at: usize, what: &str) -> StoreError {
    StoreError::Corrupt(format!("column {at} of a table of the engine's in Cassandra is {what}"))
}

impl<'a> Answer<'a> {
    fn cell(&self, at: usize) -> Option<&'a [u8]> {
        self.cells.get(at).copied().flatten()
    }

    fn some(&self, at: usize) -> Result<&'a [u8], StoreError> {
        self.cell(at).ok_or_else(|| misread(at, "null"))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], StoreError> {
        self.some(at)?.try_into().map_err(|_| misread(at, &format!("not of {N} bytes")))
    }

    /// Whether the cell is null.
    pub fn is_null(&self, at: usize) -> bool {
        self.cell(at).is_none()
    }

    pub fn bytes(&self, at: usize) -> Result<&'a [u8], StoreError> {
        self.some(at)
    }

    pub fn text(&self, at: usize) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.some(at)?).map_err(|_| misread(at, "no UTF-8"))
    }

    pub fn maybe_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.is_null(at) {
            true => Ok(None),
            false => self.text(at).map(|text| Some(text.to_owned())),
        }
    }

    pub fn bool(&self, at: usize) -> Result<bool, StoreError> {
        Ok(self.array::<1>(at)? != [0])
    }

    pub fn int(&self, at: usize) -> Result<i32, StoreError> {
        self.array(at).map(i32::from_be_bytes)
    }

    pub fn long(&self, at: usize) -> Result<i64, StoreError> {
        self.array(at).map(i64::from_be_bytes)
    }

    pub fn offset(&self, at: usize) -> Result<Offset, StoreError> {
        u64::try_from(self.long(at)?).map_err(|_| misread(at, "below zero"))
    }

    pub fn maybe_long(&self, at: usize) -> Result<Option<i64>, StoreError> {
        if self.is_null(at) { Ok(None) } else { self.long(at).map(Some) }
    }

    pub fn maybe_offset(&self, at: usize) -> Result<Option<Offset>, StoreError> {
        if self.is_null(at) { Ok(None) } else { self.offset(at).map(Some) }
    }

    pub fn uuid(&self, at: usize) -> Result<u128, StoreError> {
        self.array(at).map(|bytes| Uuid::from_bytes(bytes).as_u128())
    }

    /// Topic and partition, in two columns.
    pub fn partition(&self, at: usize) -> Result<TopicPartition, StoreError> {
        let partition = u32::try_from(self.int(at + 1)?).map_err(|_| misread(at + 1, "below zero"))?;
        Ok(TopicPartition { topic: self.text(at)?.into(), partition })
    }
}

/// Runs a comparing write; answers whether it was applied.
pub(super) async fn applied(session: &Session, statement: &str, binds: Binds) -> Result<bool, StoreError> {
    let mut applied = false;
    rows(session, statement, Reads::Usual, binds, |row| {
        applied = row.bool(0)?;
        Ok(())
    })
    .await?;
    Ok(applied)
}
