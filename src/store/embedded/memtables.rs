//! Bounds what all tables together gather in memory before it goes to files.
//!
//! fjall bounds each table's share alone; a project of many tables has many shares. Comes in: what each batch adds to a
//! table. Goes out: where all of them have too much, the tables with the most begin a file each. Costs a look at one number
//! for each batch.

use std::sync::atomic::{AtomicU64, Ordering};

use super::open::fault;
use super::rows::Table;
use super::tables::Inner;
use crate::store::StoreError;

/// About how many bytes a table has gathered in memory. Only commits change it, and they come one after the other.
#[derive(Debug, Default)]
pub(super) struct Gathered(AtomicU64);

impl Gathered {
    /// A row is added.
    pub fn add(&self, bytes: usize) {
        self.0.store(self.0.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Inner {
    /// Lets the tables with the most begin a file, until half of what all may gather is on its way out. What already is
    /// counts until it has left memory.
    pub fn bound_memtables(&self) -> Result<(), StoreError> {
        let (one_max, all_max) = self.memtables;
        for table in self.tables.iter().filter(|table| table.gathered.bytes() >= one_max) {
            // fjall has begun a file for it by itself.
            table.gathered.reset();
        }
        if self.generation.database.write_buffer_size() <= all_max {
            return Ok(());
        }
        let all: u64 = self.tables.iter().map(|table| table.gathered.bytes()).sum();
        if all < all_max / 4 {
            // What is too much is of another generation, or on its way out: files of a few rows would not help.
            return Ok(());
        }
        let mut tables: Vec<&Table> = self.tables.iter().filter(|table| table.gathered.bytes() > 0).collect();
        tables.sort_unstable_by_key(|table| std::cmp::Reverse(table.gathered.bytes()));
        let mut leaving = 0;
        for table in tables {
            if leaving >= all_max / 2 {
                break;
            }
            leaving += table.gathered.bytes();
            table.gathered.reset();
            let begun = table.keyspace.rotate_memtable();
            begun.map_err(|error| fault("beginning a file for a table", error))?;
        }
        Ok(())
    }
}
