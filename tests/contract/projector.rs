//! What the write loop promises to a store: no more batches than its bounds ask for, no row written without need.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use kinora::engine::{self, Definitions};
use kinora::project::{ProjectSettings, Projector};
use kinora::source::file::{Lines, parse_line};
use kinora::store::memory::MemoryStore;
use kinora::store::{Batch, Mutation, Store, StoreError, Tables};
use kinora::testing::{Around, Interrupted};

fn shop() -> Arc<Definitions> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = engine::load(project, &Default::default()).expect("the shop can be read");
    loaded.definitions.expect("the shop passes every check")
}

/// The orders of the shop, folded from a log of one partition.
struct Orders {
    log: Lines,
    tables: Arc<Interrupted>,
    projector: Projector,
    published: u64,
}

impl Orders {
    async fn begin(settings: ProjectSettings) -> Orders {
        Orders::begin_on(settings, |tables| tables, MemoryStore::new()).await
    }

    async fn begin_on(
        settings: ProjectSettings,
        around: impl FnOnce(Arc<dyn Tables>) -> Arc<dyn Tables>,
        store: MemoryStore,
    ) -> Orders {
        let shop = shop();
        let log = Lines::default();
        log.create_topic("shop.orders", 1);
        let tables = around(store.open(1, &shop.plan).await.expect("opens"));
        let tables = Arc::new(Interrupted::after(tables, u64::MAX));
        let orders = shop.projections.iter().find(|projection| &*projection.name == "orders");
        let orders = Arc::clone(orders.expect("the shop has it"));
        let written = Arc::clone(&tables) as Arc<dyn kinora::store::Tables>;
        let projector = Projector::open(orders, Arc::clone(&shop.plan), written, &log, settings, 0).await;
        Orders { log, tables, projector: projector.expect("opens"), published: 0 }
    }

    fn publish(&mut self, order: &str, kind: &str, fields: &str) {
        let at = format!("2026-01-01T10:00:{:02}.000Z", self.published % 60);
        let value = format!(r#"{{"type": "{kind}", "v": 1, "at": "{at}", "orderId": "{order}"{fields}}}"#);
        let line = parse_line(&format!(r#"{{"key": "{order}", "value": {value}}}"#)).expect("is a line");
        self.log.push("shop.orders", line.record).expect("is taken");
        self.published += 1;
    }

    fn place(&mut self, order: &str) {
        let fields =
            r#", "number": "1001", "customerId": "u1", "warehouseId": "w1", "currency": "EUR", "lines": []"#;
        self.publish(order, "OrderPlaced", fields);
    }

    /// Folds to the end; answers the writes that took, progress left out, and the batches.
    async fn fold(&mut self) -> (u64, u64) {
        let (written, batches) = (self.tables.written(), self.tables.batches());
        self.projector.catch_up(&[self.published]).await.expect("folds");
        let batches = self.tables.batches() - batches;
        (self.tables.written() - written - batches, batches)
    }
}

#[tokio::test]
async fn a_copy_of_whose_columns_none_has_changed_is_not_written_again() {
    let mut orders = Orders::begin(ProjectSettings::default()).await;
    orders.place("o1");
    // Base, number, user, and the name of the user's month.
    assert_eq!(orders.fold().await, (4, 1));
    orders.publish("o1", "PaymentTaken", r#", "paymentId": "y1", "amount": "0""#);
    // Base, user, and now to pick.
    assert_eq!(orders.fold().await, (3, 1));
    orders.publish("o1", "OrderShipped", r#", "carrier": "DHL", "trackingId": "t1""#);
    // Base, user, and no longer to pick.
    assert_eq!(orders.fold().await, (3, 1));
    orders.publish("o1", "OrderShipped", r#", "carrier": "DHL", "trackingId": "t1""#);
    assert_eq!(orders.fold().await, (0, 1));
}

#[tokio::test]
async fn a_backlog_is_one_batch_and_a_row_is_written_once_in_it() {
    let mut orders = Orders::begin(ProjectSettings::default()).await;
    for number in 0..3_000 {
        orders.place(&format!("o{number}"));
        orders.publish(&format!("o{number}"), "PaymentTaken", r#", "paymentId": "y1", "amount": "0""#);
    }
    // Four tables, and the name of one month.
    assert_eq!(orders.fold().await, (4 * 3_000 + 1, 1));
}

#[tokio::test]
async fn a_batch_ends_at_its_bounds() {
    let rows = ProjectSettings { batch_rows_max: 10, ..ProjectSettings::default() };
    let bytes = ProjectSettings { batch_bytes_max: 1, ..ProjectSettings::default() };
    for (settings, batches) in [(rows, 10), (bytes, 100)] {
        let mut orders = Orders::begin(settings).await;
        (0..100).for_each(|number| orders.place(&format!("o{number}")));
        assert_eq!(orders.fold().await.1, batches, "{settings:?}");
    }
}

/// Tables that remember the keys of the base rows of each batch, in their order.
struct Kept {
    inner: Arc<dyn Tables>,
    batches: Arc<Mutex<Vec<Vec<Vec<u8>>>>>,
}

impl Around for Kept {
    fn inner(&self) -> &dyn Tables {
        self.inner.as_ref()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        let keys = |mutation: &Mutation| mutation.key().bytes().to_vec();
        self.batches.lock().expect("no panic").push(batch.base.iter().map(keys).collect());
        self.inner.commit(batch)
    }
}

#[tokio::test]
async fn rows_of_whole_batches_are_folded_by_key_and_where_they_grow_too_large_in_the_logs_order() {
    let small = ProjectSettings { batch_bytes_max: 3 << 10, ..ProjectSettings::default() };
    let mut found = Vec::new();
    for (settings, by_key) in [(ProjectSettings::default(), true), (small, false)] {
        let batches = Arc::new(Mutex::new(Vec::new()));
        let keep = |inner| Arc::new(Kept { inner, batches: Arc::clone(&batches) }) as Arc<dyn Tables>;
        let mut orders = Orders::begin_on(settings, keep, MemoryStore::atomic()).await;
        for number in (100..300).rev() {
            orders.place(&format!("o{number}"));
        }
        for number in (100..300).rev() {
            orders.publish(&format!("o{number}"), "PaymentTaken", r#", "paymentId": "y1", "amount": "0""#);
        }
        orders.fold().await;
        let batches = std::mem::take(&mut *batches.lock().expect("no panic"));
        let batches: Vec<_> = batches.into_iter().filter(|keys| keys.len() > 1).collect();
        assert_eq!(batches.len() == 1, by_key, "{} batches", batches.len());
        let is_by_key = |keys: &Vec<Vec<u8>>| keys.is_sorted();
        assert!(batches.iter().all(|keys| is_by_key(keys) == by_key), "by key: {by_key}");
        let base = shop().plan.tables.iter().find(|table| table.name == "orders").expect("is there").id;
        let rows = Tables::all(orders.tables.as_ref(), base, None, 1_000).await.expect("can be read");
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.key, row.offset, row.cells)).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(rows.len(), 200);
        found.push(rows);
    }
    assert_eq!(found[0], found[1]);
}
