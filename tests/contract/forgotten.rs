//! Partitions that nobody worked for so long that Cassandra may have forgotten deletions since: they are refused, unless
//! their last owner ended in order (B12).

use std::sync::Arc;

use kinora::event::TopicPartition;
use kinora::plan::Plan;
use kinora::store::{Owner, Store, StoreError, Tables};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::cluster::{Cluster, cluster, model, settings};

const DAY_MS: i64 = 86_400_000;

struct Fixture {
    store: Cluster,
    tables: Arc<dyn Tables>,
    session: Session,
    keyspace: String,
}

impl Fixture {
    /// `None` where no real servers are asked for.
    async fn new() -> Option<Fixture> {
        let settings = settings().await?;
        let store = cluster(Arc::new(model(Vec::new()))).await?;
        let nothing = Plan { tables: Vec::new(), entities: Vec::new(), reads: Vec::new() };
        let tables = store.open(1, &Arc::new(nothing)).await.expect("opens");
        let session = SessionBuilder::new().known_node(&settings.nodes[0]).build().await.expect("connects");
        Some(Fixture { store, tables, session, keyspace: settings.keyspace })
    }

    async fn own(&self) -> Result<Vec<Owner>, StoreError> {
        let at = TopicPartition { topic: "shop.orders".into(), partition: 3 };
        self.tables.own(&Arc::from("orders"), &[at]).await
    }

    /// Makes it so long ago that the owner was heard of.
    async fn move_back(&self, owner: &Owner, by_ms: i64) {
        let statement = format!(
            "UPDATE {}.kinora_owned SET seen_ms = ? WHERE generation = ? AND projection = 'orders' AND \
             topic = 'shop.orders' AND partition = 3 IF epoch = ?",
            self.keyspace
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seen = i64::try_from(now.as_millis()).expect("fits") - by_ms;
        let number = i32::try_from(self.store.number(1).await).expect("fits");
        let epoch = i64::try_from(owner.epoch).expect("fits");
        self.session.query_unpaged(statement, (seen, number, epoch)).await.expect("is written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_was_left_in_disorder_for_long_is_refused() {
    let Some(fixture) = Fixture::new().await else { return };
    let owner = fixture.own().await.expect("owns").remove(0);
    fixture.move_back(&owner, 4 * DAY_MS).await;
    let owner = fixture.own().await.expect("ten days are kept, and half of them are not over").remove(0);
    fixture.move_back(&owner, 6 * DAY_MS).await;
    let refused = fixture.own().await.expect_err("is refused").to_string();
    for part in ["\"orders\" in shop.orders partition 3", "144 hours", "(864000)", "cassandra.keyspace"] {
        assert!(refused.contains(part), "{part:?} in {refused}");
    }
    fixture.tables.check_owners(std::slice::from_ref(&owner)).await.expect("nobody has taken it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_owner_ended_in_order_is_taken_up_whenever() {
    let Some(fixture) = Fixture::new().await else { return };
    let first = fixture.own().await.expect("owns").remove(0);
    fixture.move_back(&first, 60 * DAY_MS).await;
    fixture.tables.settle(std::slice::from_ref(&first)).await.expect("is the owner");
    let second = fixture.own().await.expect("owns").remove(0);
    assert_eq!(second.epoch, 2);
    let refused = fixture.tables.settle(&[first]).await;
    assert!(matches!(refused, Err(StoreError::LostOwnership { found: 2, .. })), "{refused:?}");
    // Whoever has taken it has settled nothing yet.
    fixture.move_back(&second, 60 * DAY_MS).await;
    fixture.own().await.expect_err("is refused");
}
