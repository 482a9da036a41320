//! How a batch becomes one write of fjall's: one entry for each row, in the order of the keys.
//!
//! Comes in: mutations, in the order of their phases. Goes out: what stands under each key after all of them. fjall gives
//! all of a batch one sequence number, so of two writes of one key in it either might win: a key is written once.

use fjall::OwnedWriteBatch as WriteBatch;

use super::meta::MetaWrites;
use super::open::fault;
use super::parked::ParkedWrites;
use super::rows::Table;
use super::tables::Inner;
use crate::event::Offset;
use crate::schema::ColumnId;
use crate::store::{Columns, Mutation, RowCells, StoreError};
use crate::value::encode::RowKey;
use crate::value::row::{DecodedRow, decode_row, encode_row, push_row, row_head};
use crate::value::{Value, look_at, look_at_bytes};

/// What is to stand under a key.
struct PendingRow {
    key: RowKey,
    offset: Offset,
    content: Content,
}

enum Content {
    Cells(RowCells),
    /// A base row that only remembers its position.
    Buried,
    /// Encoded already.
    Bytes(Vec<u8>),
    Removed,
}

/// Rows that are looked at before they are encoded.
const ROWS_LOOKED_AT: usize = 32;

impl Inner {
    /// Writes rows and what is said of them all at once. `is_next`: none of the rows is news to the store, see
    /// [`crate::store::Batch::begins_at`].
    pub(super) fn write(
        &self,
        mut mutations: Vec<Mutation>,
        (meta, parked): (MetaWrites<'_>, &ParkedWrites<'_>),
        is_next: bool,
    ) -> Result<(), StoreError> {
        let entries = mutations.len() + meta.len() + parked.len();
        let mut write = WriteBatch::with_capacity(self.generation.database.clone(), entries);
        // In order of the keys each finds its place in the tree near the one before; those of one key stay in the order of
        // their phases.
        mutations.sort_by(|a, b| (a.table(), a.key().bytes()).cmp(&(b.table(), b.key().bytes())));
        let mut bytes = Vec::new();
        let mut mutations = mutations.into_iter();
        let mut ahead = 0;
        while let [first, ..] = mutations.as_slice() {
            let table = self.table(first.table())?;
            let is_same = |next: &&Mutation| next.table() == first.table() && next.key() == first.key();
            let of_the_row = mutations.as_slice().iter().take_while(is_same).count();
            if ahead < of_the_row {
                ahead = mutations.len().min(ROWS_LOOKED_AT).max(of_the_row);
                look_at(mutations.as_slice()[..ahead].iter().filter_map(cells));
                look_at_bytes(mutations.as_slice()[..ahead].iter().filter_map(encoded));
            }
            ahead -= of_the_row;
            let mut row = None;
            for mutation in mutations.by_ref().take(of_the_row) {
                row = table.after(row, mutation, is_next)?;
            }
            if let Some(row) = row {
                table.put(&mut write, row, &mut bytes)?;
            }
        }
        parked.add_to(&mut write);
        meta.into_batch(&mut write);
        write.durability(Some(self.mode())).commit().map_err(|error| fault("committing a batch", error))?;
        self.bound_memtables()
    }
}

/// The cells of the row that is written whole.
fn cells(mutation: &Mutation) -> Option<&[Value]> {
    match mutation {
        Mutation::Replace { cells: RowCells::Values(cells), .. } => Some(cells),
        _ => None,
    }
}

/// The row that is written whole, where it is encoded.
fn encoded(mutation: &Mutation) -> Option<&[u8]> {
    match mutation {
        Mutation::Replace { cells: RowCells::Encoded(row), .. } => Some(row.bytes()),
        _ => None,
    }
}

impl Table {
    /// What is to stand under a key after one more mutation. `None`: what is stored stays.
    fn after(
        &self,
        before: Option<PendingRow>,
        mutation: Mutation,
        is_next: bool,
    ) -> Result<Option<PendingRow>, StoreError> {
        let offset = mutation.offset();
        let (key, content) = match mutation {
            Mutation::Replace { key, cells, .. } => (key, Content::Cells(cells)),
            Mutation::Bury { key, .. } => (key, Content::Buried),
            Mutation::Delete { key, .. } => (key, Content::Removed),
            Mutation::Assign { key, cells, .. } => {
                return self.assigned(before, (key, offset), cells).map(Some);
            }
        };
        // What stands in the store is only asked for base rows, and not if the batch is the next one of its partition.
        let stands = match &before {
            Some(row) => Some(row.offset),
            None if self.layout.is_base() && !is_next => self.stored_offset(&key)?,
            None => None,
        };
        // On one stamp a delete wins over a row.
        let wins_ties = matches!(content, Content::Removed);
        let wins = stands.is_none_or(|stands| offset > stands || wins_ties && offset == stands);
        Ok(if wins { Some(PendingRow { key, offset, content }) } else { before })
    }

    fn stored_offset(&self, key: &RowKey) -> Result<Option<Offset>, StoreError> {
        let Some(bytes) = self.bytes(key)? else {
            return Ok(None);
        };
        let (offset, _) = row_head(&bytes).map_err(|error| self.layout.corrupt(&error))?;
        Ok(Some(offset))
    }

    /// The row with the assigned cells, everything else as it was.
    fn assigned(
        &self,
        before: Option<PendingRow>,
        (key, offset): (RowKey, Offset),
        assigned: Vec<(ColumnId, Value)>,
    ) -> Result<PendingRow, StoreError> {
        let width = self.layout.width;
        let decode = |bytes: &[u8]| {
            decode_row(bytes, Columns::All, width).map_err(|error| self.layout.corrupt(&error))
        };
        let whole = |offset, cells: Vec<Value>| DecodedRow { offset, live: true, cells };
        let nothing = || vec![Value::Null; width];
        let row = match before.map(|row| (row.content, row.offset)) {
            Some((Content::Bytes(bytes), _)) => Some(decode(&bytes)?),
            Some((Content::Cells(cells), offset)) => Some(whole(offset, cells.values().to_vec())),
            Some((Content::Buried, offset)) => Some(whole(offset, nothing())),
            Some((Content::Removed, _)) => None,
            None => self.bytes(&key)?.map(|bytes| decode(&bytes)).transpose()?,
        };
        let mut row = row.unwrap_or_else(|| whole(0, nothing()));
        for (column, value) in assigned {
            if let Some(cell) = row.cells.get_mut(column.0 as usize) {
                *cell = value;
            }
        }
        self.layout.fill_from_key(&key, &mut row.cells)?;
        let offset = row.offset.max(offset);
        let bytes = encode_row(offset, true, &row.cells, &self.layout.table.columns);
        Ok(PendingRow { key, offset, content: Content::Bytes(bytes) })
    }

    /// Adds what becomes of a row to a batch. `bytes` is room to encode it in.
    fn put(&self, write: &mut WriteBatch, row: PendingRow, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let PendingRow { key, offset, content } = row;
        if let Some(aside) = &self.aside
            && aside.contains_key(key.bytes()).map_err(|error| fault("committing a batch", error))?
        {
            write.remove(aside, key.bytes());
        }
        bytes.clear();
        match content {
            Content::Cells(RowCells::Values(cells)) => {
                push_row(bytes, offset, true, &cells, &self.layout.table.columns);
            }
            Content::Cells(RowCells::Encoded(row)) => {
                let row = row.of_columns(&self.layout.table.columns, bytes);
                self.insert(write, &key, row);
                return Ok(());
            }
            Content::Buried => push_row(bytes, offset, false, &[], &[]),
            Content::Bytes(encoded) => *bytes = encoded,
            Content::Removed => {
                write.remove(&self.keyspace, key.bytes());
                return Ok(());
            }
        }
        self.insert(write, &key, bytes);
        Ok(())
    }

    fn insert(&self, write: &mut WriteBatch, key: &RowKey, row: &[u8]) {
        self.gathered.add(key.bytes().len() + row.len());
        write.insert(&self.keyspace, key.bytes(), row);
    }
}
