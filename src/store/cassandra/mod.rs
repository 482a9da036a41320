//! The store in Apache Cassandra, for any number of processes.
//!
//! Comes in: definitions, batches, reads. Goes out: rows. Each write carries the stamp of its event, so that one which comes
//! late, twice or from a process that lost its partition loses inside the database. `session` sends, `table` knows one table
//! and its statements, `cells` the bytes of values, `bounds` those of scans, `rows` reads, `write` writes, `meta` keeps
//! progress and owners, `parked` the keys that wait, `coordination` what
//! processes tell each other, `names` has the engine's own tables, `answers` reads these, `ddl` makes
//! tables, `tls` encrypts. Only [`CassandraStore::apply`] and [`Store::drop_generation`] change the schema.

mod answers;
mod bounds;
mod cells;
mod coordination;
mod ddl;
mod meta;
mod names;
mod parked;
mod rows;
mod session;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod tls;
mod window;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use self::meta::Place;
use self::session::Session;
use self::table::Physical;
use self::tables::{CassandraTables, Shared};
use super::layout::layouts;
use super::{Generation, Manifest, Profile, Store, StoreError, Tables};
use crate::config::Cassandra;
use crate::plan::Plan;
use crate::plan::cql::Cql;
use crate::schema::ReadModel;

/// The tables of one read model in a cluster.
pub struct CassandraStore {
    session: Arc<Session>,
    model: Arc<ReadModel>,
    /// Those that are open: all handles to one share what they know.
    generations: Mutex<BTreeMap<u32, Arc<Shared>>>,
}

impl fmt::Debug for CassandraStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraStore")
            .field("keyspace", &self.session.settings.keyspace)
            .finish_non_exhaustive()
    }
}

impl CassandraStore {
    /// Connects to a cluster. The plans that are opened are of this model.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no node answers, [`StoreError::Refused`] if a setting is wrong or we are not let in.
    pub async fn connect(settings: &Cassandra, model: Arc<ReadModel>) -> Result<CassandraStore, StoreError> {
        let session = Arc::new(Session::connect(settings).await?);
        Ok(CassandraStore { session, model, generations: Mutex::default() })
    }

    /// The statements that [`CassandraStore::apply`] would run for a generation, in their order. Changes nothing.
    ///
    /// # Errors
    /// The keyspace is missing: the error says the statement that makes one. A table is other than it should be.
    pub async fn pending(&self, generation: u32, plan: &Plan) -> Result<Vec<String>, StoreError> {
        ddl::pending(&self.session, &Cql::of_generation(&self.model, plan, generation)).await
    }

    /// Makes the keyspace, replicated as the settings say, where it is not there; answers the statement where it was run.
    ///
    /// # Errors
    /// `cassandra.replication` is not set, or the cluster refuses it.
    pub async fn make_keyspace(&self) -> Result<Option<String>, StoreError> {
        ddl::make_keyspace(&self.session).await
    }

    /// How the keyspace is replicated: the class without its package, and replicas by datacenter; `None` where there is no
    /// keyspace.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn replication(&self) -> Result<Option<(String, Vec<(String, u32)>)>, StoreError> {
        let Some(shown) = ddl::replication(&self.session).await? else { return Ok(None) };
        let parts = shown.split(", ").filter_map(|part| part.split_once(": "));
        let (class, replicas): (Vec<_>, Vec<_>) = parts.partition(|(name, _)| *name == "class");
        let class = class.first().map_or_else(String::new, |(_, class)| (*class).to_owned());
        let count = |(name, count): (&str, &str)| Some((name.to_owned(), count.parse().ok()?));
        Ok(Some((class, replicas.into_iter().filter_map(count).collect())))
    }

    /// The nodes that acknowledge writes before they have synced them (`commitlog_sync: periodic`), by their address. One that
    /// does not say is not among them.
    pub async fn unsynced_nodes(&self) -> Vec<String> {
        self.session.unsynced_nodes().await
    }

    /// Makes the tables of a generation, by one process at a time, and reads back what was made; answers the statements that
    /// were run. Everything that is there already stays as it is.
    ///
    /// # Errors
    /// As [`CassandraStore::pending`]; the cluster refuses a statement; another process has been at it for long.
    pub async fn apply(&self, generation: u32, plan: &Plan) -> Result<Vec<String>, StoreError> {
        ddl::apply(&self.session, &Cql::of_generation(&self.model, plan, generation)).await
    }

    /// The number of the generation that these definitions made, or that they would make: one above all before.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn generation_of(
        &self,
        manifest: Option<&Manifest>,
        definitions: &str,
    ) -> Result<u32, StoreError> {
        let Some(manifest) = manifest else { return Ok(1) };
        let same = |generation: &&Generation| generation.definitions == definitions;
        if let Some(made) = manifest.generations.iter().rev().find(same) {
            return Ok(made.number);
        }
        let last = manifest.generations.iter().map(|generation| generation.number).max().unwrap_or_default();
        let mut number = last + 1;
        while meta::is_gone(&self.place(number)).await? {
            number += 1;
        }
        Ok(number)
    }

    fn place(&self, generation: u32) -> Place {
        Place { session: Arc::clone(&self.session), generation }
    }

    async fn open_generation(&self, number: u32, plan: &Plan) -> Result<Arc<dyn Tables>, StoreError> {
        let cql = Cql::of_generation(&self.model, plan, number);
        ddl::check(&self.session, &cql).await?;
        let place = self.place(number);
        if meta::is_gone(&place).await? {
            return Err(StoreError::Refused(format!(
                "generation {number} was removed, and its number is not used again; `kinora apply` makes another"
            )));
        }
        let keyspace = &self.session.settings.keyspace;
        let physical = |layout| Arc::new(Physical::new(keyspace, &cql, &self.model, layout));
        let tables = layouts(plan).into_iter().map(physical).collect();
        let mut generations = self.generations.lock().await;
        let generation = match generations.get(&number) {
            Some(generation) => Arc::clone(generation),
            None => {
                let loaded = Arc::new(Shared::load(place).await?);
                generations.insert(number, Arc::clone(&loaded));
                loaded
            }
        };
        Ok(Arc::new(CassandraTables { shared: generation, tables }))
    }

    async fn drop_tables(&self, number: u32) -> Result<(), StoreError> {
        let place = self.place(number);
        self.generations.lock().await.remove(&number);
        if !ddl::is_prepared(&self.session).await? {
            return Ok(());
        }
        // First, so that whoever comes in between is refused.
        meta::set_gone(&place).await?;
        ddl::drop_generation(&self.session, number).await?;
        parked::forget_all(&place).await?;
        coordination::forget_all(&place).await?;
        meta::forget_all(&place).await
    }
}

impl Store for CassandraStore {
    fn profile(&self) -> Profile {
        Profile::Stamped
    }

    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>> {
        Box::pin(async {
            match ddl::has_manifest(&self.session).await? {
                true => meta::manifest(&self.session).await,
                false => Ok(None),
            }
        })
    }

    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(meta::set_manifest(&self.session, expected, new))
    }

    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>> {
        Box::pin(self.open_generation(generation, plan))
    }

    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.drop_tables(generation))
    }
}
