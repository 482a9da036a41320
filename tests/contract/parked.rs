//! What every store promises of owners and of keys that wait: who may decide, what leaves a queue, and how both are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use kinora::event::TopicPartition;
use kinora::plan::Plan;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::{Fate, MemoryStore, Write};
use kinora::store::{
    Batch, Begun, Ended, Owner, ParkChange, ParkedCounts, ParkedEntry, ParkedItem, ParkedKey, ParkedPage,
    Profile, QueuedEvent, Store, StoreError, Tables, all_parked,
};
use kinora::value::encode::RowKey;

fn orders() -> Arc<str> {
    Arc::from("orders")
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: "shop.orders".into(), partition }
}

fn event(offset: u64) -> QueuedEvent {
    QueuedEvent { at: at(2), offset, order: offset, time_ms: 9 }
}

fn entry(since: u64) -> ParkedEntry {
    ParkedEntry {
        since: event(since),
        entity: "Order".into(),
        shown: "{\"id\":\"o1\"}".into(),
        stage: "fold".into(),
        reason: format!("event {since} is wrong").into(),
        type_name: Some("OrderPlaced".into()),
        waiting: 1,
        begun: None,
    }
}

fn row(number: u16) -> ParkedKey {
    ParkedKey::Row(RowKey::new(number.to_be_bytes().to_vec(), &[]))
}

fn park(key: &ParkedKey, since: u64) -> ParkChange {
    ParkChange::Park { projection: orders(), key: key.clone(), entry: entry(since) }
}

fn enqueue(key: &ParkedKey, offset: u64) -> ParkChange {
    ParkChange::Enqueue { projection: orders(), key: key.clone(), event: event(offset) }
}

fn dequeue(key: &ParkedKey, offset: u64, ended: Ended) -> ParkChange {
    ParkChange::Dequeue { projection: orders(), key: key.clone(), event: event(offset), ended }
}

fn restate(key: &ParkedKey, since: u64) -> ParkChange {
    ParkChange::Restate { projection: orders(), key: key.clone(), entry: entry(since) }
}

async fn open(store: &dyn Store) -> Arc<dyn Tables> {
    let plan = Plan { tables: Vec::new(), entities: Vec::new(), reads: Vec::new() };
    store.open(1, &Arc::new(plan)).await.expect("opens")
}

async fn own(tables: &dyn Tables) -> Arc<[Owner]> {
    tables.own(&orders(), &[at(0), at(2)]).await.expect("owns").into()
}

async fn decide(
    tables: &dyn Tables,
    owners: &Arc<[Owner]>,
    parked: Vec<ParkChange>,
) -> Result<(), StoreError> {
    tables.commit(Batch { parked, owners: Arc::clone(owners), ..Batch::default() }).await
}

async fn offsets(tables: &dyn Tables, key: &ParkedKey) -> Vec<u64> {
    let queue = tables.parked_queue("orders", key, None, 100_000).await.expect("reads");
    queue.iter().map(|event| event.offset).collect()
}

async fn each_owner_has_the_next_epoch_and_only_the_last_decides(store: impl Store) {
    let tables = open(&store).await;
    let key = row(1);
    // Nobody has taken it: whoever comes may decide.
    decide(&*tables, &Arc::default(), vec![park(&key, 5)]).await.expect("commits");
    let first = own(&*tables).await;
    assert_eq!(first.iter().map(|owner| owner.epoch).collect::<Vec<_>>(), [1, 1]);
    decide(&*tables, &first, vec![enqueue(&key, 6)]).await.expect("commits");
    let second = own(&*store.open(1, &no_plan()).await.expect("opens")).await;
    assert_eq!(second.iter().map(|owner| owner.epoch).collect::<Vec<_>>(), [2, 2]);
    let changes = || [park(&row(2), 9), enqueue(&key, 7), dequeue(&key, 5, Ended::Dropped), restate(&key, 6)];
    for change in changes() {
        for stranger in [&first, &Arc::default()] {
            let refused = decide(&*tables, stranger, vec![change.clone()]).await.expect_err("is refused");
            let text = refused.to_string();
            assert!(text.starts_with("lost ownership of shop.orders partition "), "{text}");
            assert!(text.contains("epoch 2"), "{text}");
        }
    }
    assert_eq!(offsets(&*tables, &key).await, [5, 6]);
    assert_eq!(all_parked(&*tables).await.expect("reads").len(), 1);
    for change in changes() {
        decide(&*tables, &second, vec![change]).await.expect("commits");
    }
    assert_eq!(offsets(&*tables, &key).await, [6, 7]);
    // Another projection's partitions, and other partitions of this one, are others' business.
    let other: Arc<str> = Arc::from("carts");
    assert_eq!(tables.own(&other, &[at(2)]).await.expect("owns")[0].epoch, 1);
    assert_eq!(tables.own(&orders(), &[at(1)]).await.expect("owns")[0].epoch, 1);
    decide(&*tables, &second, vec![enqueue(&key, 8)]).await.expect("commits");
}

fn no_plan() -> Arc<Plan> {
    Arc::new(Plan { tables: Vec::new(), entities: Vec::new(), reads: Vec::new() })
}

async fn how_a_release_was_begun_is_kept_where_batches_are_not_applied_whole(store: impl Store) {
    let tables = open(&store).await;
    if tables.profile() == Profile::Atomic {
        return;
    }
    let (owners, key) = (own(&*tables).await, row(1));
    let begin = |was: Option<&Begun>, begun: &Begun| ParkChange::Begin {
        projection: orders(),
        key: key.clone(),
        since: event(5),
        was: was.cloned(),
        begun: begun.clone(),
    };
    let skip = Begun { at: at(2), from: 5, upto: 7, first: Ended::Skipped, rest: Ended::Applied };
    let drop = Begun { at: at(2), from: 7, upto: 9, first: Ended::Dropped, rest: Ended::Dropped };
    decide(&*tables, &owners, vec![begin(None, &skip)]).await.expect("a key that is not parked stays so");
    decide(&*tables, &owners, vec![park(&key, 5), enqueue(&key, 7), enqueue(&key, 9)])
        .await
        .expect("commits");
    let begun = async || {
        tables.reload().await.expect("reads");
        tables.parked_entry("orders", &key).await.expect("reads").expect("is parked").begun
    };
    assert_eq!(begun().await, None);
    for _ in 0..2 {
        decide(&*tables, &owners, vec![begin(None, &skip), restate(&key, 5)]).await.expect("commits");
    }
    assert_eq!(begun().await.as_ref(), Some(&skip));
    let ways = [event(4), event(5), event(7), event(8)].map(|event| skip.of(&event));
    assert_eq!(ways, [None, Some(Ended::Skipped), Some(Ended::Applied), None]);
    decide(&*tables, &owners, vec![begin(Some(&skip), &drop)]).await.expect("commits");
    // One of before, that comes once more.
    let refused = decide(&*tables, &owners, vec![begin(None, &skip)]).await.expect_err("is refused");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert_eq!(begun().await.as_ref(), Some(&drop));
    let refused = decide(&*tables, &Arc::default(), vec![begin(Some(&drop), &skip)]).await;
    assert!(matches!(refused, Err(StoreError::LostOwnership { .. })), "{refused:?}");
    decide(
        &*tables,
        &owners,
        vec![5, 7, 9].into_iter().map(|at| dequeue(&key, at, Ended::Dropped)).collect(),
    )
    .await
    .expect("commits");
    decide(&*tables, &owners, vec![park(&key, 11)]).await.expect("commits");
    assert_eq!(begun().await, None, "a key that is parked again begins anew");
}

async fn with_its_last_event_a_key_is_parked_no_more(store: impl Store) {
    let tables = open(&store).await;
    let (owners, key) = (own(&*tables).await, row(1));
    decide(&*tables, &owners, vec![park(&key, 5), enqueue(&key, 7), enqueue(&key, 9)])
        .await
        .expect("commits");
    decide(&*tables, &owners, vec![dequeue(&key, 5, Ended::Applied), restate(&key, 7)])
        .await
        .expect("commits");
    let stated = tables.parked_entry("orders", &key).await.expect("reads").expect("is parked");
    assert_eq!(stated, ParkedEntry { waiting: 2, ..entry(7) });
    assert_eq!(tables.parked().since("orders", &key), Some((at(2), 7)));
    // Again, as after a crash: nothing is counted twice.
    decide(&*tables, &owners, vec![dequeue(&key, 5, Ended::Applied)]).await.expect("commits");
    decide(
        &*tables,
        &owners,
        vec![dequeue(&key, 7, Ended::Skipped), dequeue(&key, 9, Ended::Dropped), restate(&key, 9)],
    )
    .await
    .expect("commits");
    for _ in 0..2 {
        assert_eq!(tables.parked_entry("orders", &key).await.expect("reads"), None);
        assert!(tables.parked().is_empty());
        assert!(offsets(&*tables, &key).await.is_empty());
        let counts = ParkedCounts { retried: 1, skipped: 1, dropped: 1 };
        assert_eq!(tables.parked().counts("orders"), counts);
        tables.reload().await.expect("reads");
    }
    decide(&*tables, &owners, vec![park(&key, 12)]).await.expect("commits");
    let parked = tables.parked_entry("orders", &key).await.expect("reads");
    assert_eq!(parked, Some(entry(12)), "a key can be parked again");
}

async fn keys_and_queues_are_read_in_pages(store: impl Store) {
    let tables = open(&store).await;
    let owners = own(&*tables).await;
    let mut keys: Vec<ParkedKey> =
        [0, 1, 2, 0xFF, 0x100, 0x1FF, 0xFE00, 0xFF00, 0xFF01, 0xFFFF].map(row).to_vec();
    keys.push(ParkedKey::Record(b"o1".as_slice().into()));
    keys.push(ParkedKey::Position(at(2), 4));
    let changes = keys.iter().flat_map(|key| [park(key, 1), enqueue(key, 2), enqueue(key, 256)]).collect();
    decide(&*tables, &owners, changes).await.expect("commits");
    let other = ParkChange::Park { projection: "carts".into(), key: row(1), entry: entry(1) };
    decide(&*tables, &Arc::default(), vec![other]).await.expect("commits");
    let all = async |projection: Option<&str>, rows: Option<&[u8]>, limit| {
        let mut found: Vec<ParkedItem> = Vec::new();
        loop {
            let after = found.last().map(|item| (&*item.projection, &item.key));
            let page = ParkedPage { projection, rows, after, limit };
            let more = tables.parked_page(page).await.expect("reads");
            assert!(more.len() <= limit);
            if more.is_empty() {
                return found.into_iter().map(|item| (item.projection, item.key)).collect::<Vec<_>>();
            }
            found.extend(more);
        }
    };
    for limit in [1, 3, 100] {
        let found = all(None, None, limit).await;
        assert_eq!(found.len(), keys.len() + 1);
        assert_eq!(&*found[0].0, "carts");
        let mine = all(Some("orders"), None, limit).await;
        assert_eq!(mine, found[1..]);
        assert!(keys.iter().all(|key| mine.iter().any(|(_, found)| found == key)));
        for (begin, count) in [(vec![0xFF], 3), (vec![1], 2), (vec![0], 4), (vec![0, 1], 1), (vec![3], 0)] {
            assert_eq!(all(Some("orders"), Some(&begin), limit).await.len(), count, "{begin:?}");
        }
    }
    let first = tables.parked_queue("orders", &keys[0], None, 2).await.expect("reads");
    assert_eq!(first, [event(1), event(2)]);
    let rest = tables.parked_queue("orders", &keys[0], first.last(), 2).await.expect("reads");
    assert_eq!(rest, [event(256)]);
    assert!(tables.parked_queue("orders", &keys[0], rest.last(), 2).await.expect("reads").is_empty());
}

/// Random decisions beside a plain map of queues; on a store that loses writes, each batch until it is acknowledged.
async fn queues_are_what_was_decided(store: impl Store) {
    for seed in super::seeds(20) {
        let mut random = Rng::with_seed(seed);
        store.drop_generation(1).await.expect("drops");
        let tables = open(&store).await;
        let owners = own_until_acknowledged(&*tables).await;
        let mut queues: BTreeMap<ParkedKey, Vec<u64>> = BTreeMap::new();
        for offset in 1..60 {
            let key = row(random.u16(0..4));
            let queue = queues.entry(key.clone()).or_default();
            let changes = match random.u8(0..3) {
                0 if !queue.is_empty() => {
                    let left = queue.remove(0);
                    let stated = queue.first().map(|next| restate(&key, *next));
                    [dequeue(&key, left, Ended::Applied)].into_iter().chain(stated).collect()
                }
                _ => {
                    queue.push(offset);
                    vec![if queue.len() == 1 { park(&key, offset) } else { enqueue(&key, offset) }]
                }
            };
            while decide(&*tables, &owners, changes.clone()).await.is_err() {}
        }
        for (key, queue) in queues {
            assert_eq!(offsets(&*tables, &key).await, queue, "seed {seed}");
            let entry = tables.parked_entry("orders", &key).await.expect("reads");
            let stated = entry.as_ref().map(|entry| (entry.since.offset, entry.waiting));
            assert_eq!(stated, queue.first().map(|first| (*first, queue.len() as u64)), "seed {seed}");
            let since = tables.parked().since("orders", &key).map(|(_, offset)| offset);
            assert_eq!(since, queue.first().copied(), "seed {seed}");
        }
    }
}

async fn own_until_acknowledged(tables: &dyn Tables) -> Arc<[Owner]> {
    loop {
        if let Ok(owners) = tables.own(&orders(), &[at(0), at(2)]).await {
            return owners.into();
        }
    }
}

fn embedded() -> (tempfile::TempDir, EmbeddedStore) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    (directory, store)
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod stamped {
            $(#[tokio::test] async fn $test() { super::$test(super::MemoryStore::new()).await; })*
        }
        mod atomic {
            $(#[tokio::test] async fn $test() { super::$test(super::MemoryStore::atomic()).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $test() {
                let (_directory, store) = super::embedded();
                super::$test(store).await;
            })*
        }
        #[cfg(feature = "cassandra")]
        mod cassandra {
            $(#[tokio::test] async fn $test() {
                let model = std::sync::Arc::new(crate::cluster::model(Vec::new()));
                if let Some(store) = crate::cluster::cluster(model).await {
                    super::$test(store).await;
                }
            })*
        }
    };
}

suite!(
    each_owner_has_the_next_epoch_and_only_the_last_decides,
    how_a_release_was_begun_is_kept_where_batches_are_not_applied_whole,
    with_its_last_event_a_key_is_parked_no_more,
    keys_and_queues_are_read_in_pages,
    queues_are_what_was_decided,
);

#[tokio::test]
async fn of_an_atomic_store_nothing_of_a_batch_is_applied_for_who_lost_ownership() {
    let (_directory, store) = embedded();
    for tables in [open(&MemoryStore::atomic()).await, open(&store).await] {
        assert_eq!(tables.profile(), Profile::Atomic);
        let owners = own(&*tables).await;
        own(&*tables).await;
        let mark = kinora::store::ProgressMark {
            projection: orders(),
            at: at(2),
            topic_id: 1,
            next: 5,
            end: 9,
            time_ms: 0,
            base: 0,
            relayed: None,
        };
        let batch = Batch { progress: vec![mark], owners, ..Batch::default() };
        assert!(matches!(
            tables.commit(batch).await,
            Err(StoreError::LostOwnership { epoch: 1, found: 2, .. })
        ));
        assert!(tables.progress().marks.is_empty());
    }
}

#[tokio::test]
async fn owners_outlive_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    for epoch in 1..4 {
        let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
        let owners = own(&*open(&store).await).await;
        assert!(owners.iter().all(|owner| owner.epoch == epoch), "{owners:?}");
    }
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    store.drop_generation(1).await.expect("drops");
    drop(store);
    let store = EmbeddedStore::open(directory.path(), Durability::Buffer).expect("opens");
    assert_eq!(own(&*open(&store).await).await[0].epoch, 1, "a generation that is gone has no owners");
}

#[tokio::test]
async fn queues_are_what_was_decided_where_decisions_are_lost_late_or_repeated() {
    for seed in super::seeds(20) {
        let mut random = Rng::with_seed(seed);
        let store = MemoryStore::with_faults(move |_| {
            [Fate::Applied, Fate::Repeated, Fate::Unacknowledged, Fate::Late, Fate::Lost][random.usize(0..5)]
        });
        queues_are_what_was_decided(store.clone()).await;
        let tables = open(&store).await;
        let before = all_parked(&*tables).await.expect("reads");
        let queues = async || {
            let mut queues = Vec::new();
            for key in (0..4).map(row) {
                queues.push(offsets(&*tables, &key).await);
            }
            queues
        };
        let waiting = queues().await;
        // What lands last is what was decided first; it changes no queue, and parks no key whose queue is empty.
        store.release();
        assert_eq!(queues().await, waiting, "seed {seed}");
        let after = all_parked(&*tables).await.expect("reads");
        assert!(after.keys().eq(before.keys()), "seed {seed}");
    }
}

#[tokio::test]
async fn a_decision_that_lands_late_holds_only_if_its_owner_still_does() {
    let mut first = true;
    let store = MemoryStore::with_faults(move |write| match write {
        Write::Park(_) if std::mem::take(&mut first) => Fate::Late,
        _ => Fate::Applied,
    });
    let tables = open(&store).await;
    let owners = own(&*tables).await;
    assert!(decide(&*tables, &owners, vec![park(&row(1), 5)]).await.is_err());
    own(&*tables).await;
    store.release();
    assert!(tables.parked().is_empty());
}
