//! Cassandra as one of the stores: a keyspace for this process, and for each generation that a test opens one of its own.
//!
//! Comes in: a read model. Goes out: a store that makes tables as they are opened, which the real one never does by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use kinora::config::{Bytes, Cassandra};
use kinora::diagnostic::{FileId, Span};
use kinora::plan::Plan;
use kinora::schema::{Column, ColumnType, Draft, ObjectType, ReadModel, Scalar, TypeId, TypeKind};
use kinora::store::cassandra::CassandraStore;
use kinora::store::{Manifest, Profile, Store, StoreError, Tables};
use scylla::client::session_builder::SessionBuilder;
use tokio::sync::{Mutex, OnceCell};

#[path = "../servers/mod.rs"]
pub mod servers;

/// A store whose generations are made as they are opened.
pub struct Cluster {
    store: CassandraStore,
    /// The real number of each generation: none is used twice.
    numbers: Mutex<BTreeMap<u32, u32>>,
}

/// Settings of this process's keyspace; `None` where no real servers are asked for.
pub async fn settings() -> Option<Cassandra> {
    static KEYSPACE: OnceCell<()> = OnceCell::const_new();
    let address = &servers::cassandra()?.address;
    let keyspace = format!("kinora_{}", std::process::id());
    let make = async || {
        let session = SessionBuilder::new().known_node(address).build().await.expect("the node answers");
        let replication = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
        session
            .query_unpaged(format!("DROP KEYSPACE IF EXISTS {keyspace}"), ())
            .await
            .expect("what an earlier process left is dropped");
        session
            .query_unpaged(format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}"), ())
            .await
            .expect("a keyspace is made");
    };
    KEYSPACE.get_or_init(make).await;
    // Small, so that what is written to one partition goes in several.
    Some(Cassandra { nodes: vec![address.clone()], keyspace, batch: Bytes::kib(4), ..Cassandra::default() })
}

/// A store of a model; `None` where no real servers are asked for.
pub async fn cluster(model: Arc<ReadModel>) -> Option<Cluster> {
    let store = CassandraStore::connect(&settings().await?, model).await.expect("connects");
    Some(Cluster { store, numbers: Mutex::default() })
}

impl Cluster {
    /// The real number of a generation.
    pub async fn number(&self, generation: u32) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let fresh = || NEXT.fetch_add(1, Ordering::Relaxed);
        *self.numbers.lock().await.entry(generation).or_insert_with(fresh)
    }
}

impl Store for Cluster {
    fn profile(&self) -> Profile {
        self.store.profile()
    }

    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>> {
        self.store.manifest()
    }

    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let nothing = Plan { tables: Vec::new(), entities: Vec::new(), reads: Vec::new() };
            self.store.apply(0, &nothing).await?;
            self.store.set_manifest(expected, new).await
        })
    }

    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>> {
        Box::pin(async move {
            let number = self.number(generation).await;
            self.store.apply(number, plan).await?;
            self.store.open(number, plan).await
        })
    }

    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let number = self.number(generation).await;
            self.numbers.lock().await.remove(&generation);
            self.store.drop_generation(number).await
        })
    }
}

/// A model of entities whose columns have these types, each with a name of its own.
pub fn model(entities: Vec<Vec<Scalar>>) -> ReadModel {
    let span = Span { file: FileId(0), start: 0, end: 0 };
    let column = |number: usize, index: usize, scalar: Scalar| Column {
        name: format!("v{number}_{index}"),
        ty: ColumnType::Scalar(scalar),
        non_null: false,
        hidden: false,
        max: None,
        vector: None,
        span,
    };
    let entity = |(number, scalars): (usize, Vec<Scalar>)| ObjectType {
        name: format!("Entity{number}"),
        kind: TypeKind::Entity,
        span,
        fields: Vec::new(),
        columns: (0..).zip(scalars).map(|(index, scalar)| column(number, index, scalar)).collect(),
        keys: Vec::new(),
        tables: Vec::new(),
        indexes: Vec::new(),
        stored_as: None,
        belongs_to: Vec::new(),
        resolves_to: Vec::new(),
    };
    ReadModel {
        types: entities.into_iter().enumerate().map(entity).collect(),
        enums: Vec::new(),
        query: TypeId(0),
        sdl: "".into(),
        draft: Draft::default(),
        api_sdl: "".into(),
    }
}
