//! A phase of a batch as statements: grouped by partition, bounded by bytes, so many under way at once.
//!
//! Comes in: mutations, in any order. Goes out: nothing, once each was acknowledged; or the first error, after which any of
//! them may have been applied. Their order does not matter: each has the stamp of its event.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use scylla::statement::prepared::PreparedStatement;

use super::session::{Binds, Reads, Session};
use super::table::Physical;
use crate::plan::TableId;
use crate::store::{Mutation, StoreError, layout};

/// Most statements of one write: the protocol counts them in 16 bits.
const STATEMENTS_MAX: usize = 10_000;

/// The statements of one table, prepared as they are needed.
type Ready = FxHashMap<(TableId, usize), PreparedStatement>;

/// Writes all mutations.
pub(super) async fn write(
    session: &Session,
    tables: &[Arc<Physical>],
    mutations: &[Mutation],
) -> Result<(), StoreError> {
    let mut ready = Ready::default();
    let mut groups: FxHashMap<(TableId, &[u8]), Vec<&Mutation>> = FxHashMap::default();
    for mutation in mutations {
        groups.entry((mutation.table(), mutation.key().partition())).or_default().push(mutation);
    }
    let mut writes: Vec<Vec<(PreparedStatement, Binds)>> = Vec::with_capacity(groups.len());
    for ((id, _), mutations) in groups {
        let table = layout::of(tables, id)?;
        split(session, table, &mutations, &mut ready, &mut writes).await?;
    }
    let mut sent = Vec::with_capacity(writes.len());
    for write in writes {
        sent.push(session.write(write));
    }
    session.all(sent).await?;
    Ok(())
}

/// Splits what is written to one partition. The statements of one mutation stay together.
async fn split(
    session: &Session,
    table: &Physical,
    mutations: &[&Mutation],
    ready: &mut Ready,
    writes: &mut Vec<Vec<(PreparedStatement, Binds)>>,
) -> Result<(), StoreError> {
    let (mut write, mut bytes) = (Vec::new(), 0);
    for mutation in mutations {
        let statements = table.writes(mutation)?;
        let more: usize = statements.iter().map(|statement| statement.binds.len()).sum();
        let is_full = bytes + more > session.settings.batch.len() || write.len() + 2 > STATEMENTS_MAX;
        if is_full && !write.is_empty() {
            writes.push(std::mem::take(&mut write));
            bytes = 0;
        }
        bytes += more;
        for statement in statements {
            // Texts are the table's own, so where they lie tells them apart.
            let name = (table.layout.table.id, statement.text.as_ptr() as usize);
            let prepared = match ready.get(&name) {
                Some(prepared) => prepared.clone(),
                None => {
                    let prepared = session.prepare(statement.text, Reads::Usual).await?;
                    ready.insert(name, prepared.clone());
                    prepared
                }
            };
            write.push((prepared, statement.binds));
        }
    }
    if !write.is_empty() {
        writes.push(write);
    }
    Ok(())
}
