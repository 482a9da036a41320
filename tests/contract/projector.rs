//! What the write loop promises to a store: no more batches than its bounds ask for, no row written without need.

use std::path::Path;
use std::sync::Arc;

use kinora::engine::{self, Definitions};
use kinora::project::{ProjectSettings, Projector};
use kinora::source::file::{Lines, parse_line};
use kinora::store::Store;
use kinora::store::memory::MemoryStore;
use kinora::testing::Interrupted;

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
        let shop = shop();
        let log = Lines::default();
        log.create_topic("shop.orders", 1);
        let tables = MemoryStore::new().open(1, &shop.plan).await.expect("opens");
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
