//! A store and a log that hang, fail, and come back when a test says so: they pass everything on while their gate is open.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::event::{Offset, Record, TopicPartition};
use crate::plan::Plan;
use crate::source::{Fetched, Reader, Source, SourceError, TopicInfo};
use crate::store::{Batch, Manifest, Profile, Store, StoreError, Tables};
use crate::testing::Around;

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is passed on.
    Open,
    /// It waits until the gate is not closed any more.
    Closed,
    /// It fails, and may be tried again.
    Failing,
}

/// Writes of a store, or reads of a log, behind a gate. A clone has the same gate.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    gate: Arc<watch::Sender<Gate>>,
}

impl Default for Gatekeeper {
    fn default() -> Gatekeeper {
        Gatekeeper { gate: Arc::new(watch::Sender::new(Gate::Open)) }
    }
}

impl Gatekeeper {
    /// Opens or closes the gate.
    pub fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// Waits while it is closed; answers whether the call fails.
    async fn pass(&self) -> bool {
        let mut gate = self.gate.subscribe();
        let seen = gate.wait_for(|gate| *gate != Gate::Closed).await;
        seen.is_ok_and(|gate| *gate == Gate::Failing)
    }

    async fn write(&self) -> Result<(), StoreError> {
        match self.pass().await {
            true => Err(StoreError::Unavailable("it fails, as the test asked".to_owned())),
            false => Ok(()),
        }
    }
}

/// A store whose commits stand behind a gate; reads always pass.
pub struct HeldStore {
    inner: Arc<dyn Store>,
    gate: Gatekeeper,
}

impl HeldStore {
    pub fn new(inner: Arc<dyn Store>, gate: &Gatekeeper) -> HeldStore {
        HeldStore { inner, gate: gate.clone() }
    }
}

impl Store for HeldStore {
    fn profile(&self) -> Profile {
        self.inner.profile()
    }

    fn manifest(&self) -> BoxFuture<'_, Result<Option<Manifest>, StoreError>> {
        self.inner.manifest()
    }

    fn set_manifest<'a>(
        &'a self,
        expected: Option<&'a Manifest>,
        new: &'a Manifest,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.inner.set_manifest(expected, new)
    }

    fn open<'a>(
        &'a self,
        generation: u32,
        plan: &'a Arc<Plan>,
    ) -> BoxFuture<'a, Result<Arc<dyn Tables>, StoreError>> {
        Box::pin(async move {
            let inner = self.inner.open(generation, plan).await?;
            Ok(Arc::new(HeldTables { inner, gate: self.gate.clone() }) as Arc<dyn Tables>)
        })
    }

    fn persist(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            self.gate.write().await?;
            self.inner.persist().await
        })
    }

    fn drop_generation(&self, generation: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.drop_generation(generation)
    }
}

/// Tables whose commits stand behind a gate.
pub struct HeldTables {
    inner: Arc<dyn Tables>,
    gate: Gatekeeper,
}

impl HeldTables {
    pub fn new(inner: Arc<dyn Tables>, gate: &Gatekeeper) -> HeldTables {
        HeldTables { inner, gate: gate.clone() }
    }
}

impl Around for HeldTables {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.gate.write().await?;
            self.inner.commit(batch).await
        })
    }
}

/// A log whose readers stand behind a gate; what it holds is always told.
pub struct HeldSource {
    inner: Arc<dyn Source>,
    gate: Gatekeeper,
}

impl HeldSource {
    pub fn new(inner: Arc<dyn Source>, gate: &Gatekeeper) -> HeldSource {
        HeldSource { inner, gate: gate.clone() }
    }
}

impl Source for HeldSource {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>, SourceError>> {
        self.inner.topics()
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicInfo>, SourceError>> {
        self.inner.topic(name)
    }

    fn read<'a>(
        &'a self,
        from: &'a [(TopicPartition, Offset)],
    ) -> BoxFuture<'a, Result<Box<dyn Reader>, SourceError>> {
        Box::pin(async move {
            let inner = self.inner.read(from).await?;
            Ok(Box::new(HeldReader { inner, gate: self.gate.clone() }) as Box<dyn Reader>)
        })
    }

    fn fetch<'a>(
        &'a self,
        at: &'a TopicPartition,
        offset: Offset,
    ) -> BoxFuture<'a, Result<Option<Record>, SourceError>> {
        self.inner.fetch(at, offset)
    }
}

struct HeldReader {
    inner: Box<dyn Reader>,
    gate: Gatekeeper,
}

impl Reader for HeldReader {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            match self.gate.pass().await {
                true => Err(SourceError::Unavailable("it fails, as the test asked".to_owned())),
                false => self.inner.next(bytes_max).await,
            }
        })
    }

    fn more(&mut self, bytes_max: usize) -> Result<Option<Fetched>, SourceError> {
        self.inner.more(bytes_max)
    }

    fn seek(&mut self, at: &TopicPartition, offset: Offset) -> Result<(), SourceError> {
        self.inner.seek(at, offset)
    }
}
