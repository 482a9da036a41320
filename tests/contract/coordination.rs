//! What every store promises of pauses, and those that processes share of requests and of what workers say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kinora::event::TopicPartition;
use kinora::plan::Plan;
use kinora::store::coordination::{Coordination, Pause, Request, Worker, owner_of};
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Owner, ParkedKey, Store, Tables};

const LONG: Duration = Duration::from_secs(60);

async fn open_in(store: &dyn Store, generation: u32) -> Arc<dyn Tables> {
    let plan = Plan { tables: Vec::new(), entities: Vec::new(), reads: Vec::new() };
    store.open(generation, &Arc::new(plan)).await.expect("opens")
}

async fn open(store: &dyn Store) -> Arc<dyn Tables> {
    open_in(store, 1).await
}

fn desk(tables: &dyn Tables) -> &dyn Coordination {
    tables.coordination().expect("processes share this store")
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: "shop.orders".into(), partition }
}

fn owner(partition: u32, epoch: u64) -> Owner {
    Owner { projection: "orders".into(), at: at(partition), epoch }
}

fn pause(projection: &str, by: &str) -> Pause {
    Pause { projection: projection.into(), by: by.into(), since_ms: 1_767_225_600_000 }
}

fn request(id: u128, partition: u32) -> Request {
    Request {
        id,
        projection: "orders".into(),
        at: at(partition),
        key: ParkedKey::Record(Box::new([0, 0xFF])),
        step: "skip-first".into(),
        first: id.is_multiple_of(2).then(|| "shop.orders:2@17".into()),
        by: "ada@desk".into(),
        asked_ms: 9,
    }
}

async fn a_pause_stands_until_it_is_taken_back_and_is_that_of_its_generation(store: impl Store) {
    let tables = open(&store).await;
    assert_eq!(tables.pauses().await.expect("reads"), []);
    tables.resume("orders").await.expect("there is nothing to take back");
    let first = pause("orders", "ada@desk");
    assert_eq!(tables.pause(&first).await.expect("writes"), first);
    assert_eq!(
        tables.pause(&pause("orders", "bob@desk")).await.expect("writes"),
        first,
        "the first one stands"
    );
    tables.pause(&pause("carts", "bob@desk")).await.expect("writes");
    let other = open_in(&store, 2).await;
    assert_eq!(other.pauses().await.expect("reads"), []);
    let mut found = open(&store).await.pauses().await.expect("reads");
    found.sort_by(|a, b| a.projection.cmp(&b.projection));
    assert_eq!(found, [pause("carts", "bob@desk"), first.clone()]);
    tables.resume("orders").await.expect("writes");
    assert_eq!(tables.pauses().await.expect("reads"), [pause("carts", "bob@desk")]);
    let later = pause("orders", "bob@desk");
    assert_eq!(tables.pause(&later).await.expect("writes"), later, "it can be paused again");
    drop(tables);
    store.drop_generation(1).await.expect("drops");
    assert_eq!(open(&store).await.pauses().await.expect("reads"), []);
}

async fn of_a_partition_one_request_stands_at_a_time(store: impl Store) {
    let tables = open(&store).await;
    let desk = desk(tables.as_ref());
    assert_eq!(desk.asked().await.expect("reads"), []);
    for (id, partition) in [(1, 0), (2, 3)] {
        let asked = desk.ask(&request(id, partition), LONG).await.expect("asks");
        assert_eq!((asked.request, asked.taken, asked.answer), (request(id, partition), None, None));
    }
    assert_eq!(desk.ask(&request(1, 0), LONG).await.expect("asks").request.id, 1, "it finds itself");
    let second = desk.ask(&request(5, 0), LONG).await.expect("asks");
    assert_eq!(second.request, request(1, 0), "another is under way");
    let mut all = desk.asked().await.expect("reads");
    all.sort_by_key(|asked| asked.request.id);
    assert_eq!(
        all.iter().map(|asked| asked.request.clone()).collect::<Vec<_>>(),
        [request(1, 0), request(2, 3)]
    );

    assert!(desk.take(&second, &owner(0, 4)).await.expect("takes"));
    desk.answer(&request(1, 0), &owner(0, 4), "done", LONG).await.expect("answers");
    let answered = desk.asked_at(&"orders".into(), &at(0)).await.expect("reads").expect("stands");
    assert_eq!((answered.taken, answered.answer.as_deref()), (Some(4), Some("done")));
    assert!(!desk.take(&answered, &owner(0, 5)).await.expect("reads"), "it is done");
    let third = desk.ask(&request(6, 0), LONG).await.expect("asks");
    assert_eq!((third.request, third.taken, third.answer), (request(6, 0), None, None));
}

async fn a_request_is_done_by_the_latest_owner(store: impl Store) {
    let tables = open(&store).await;
    let desk = desk(tables.as_ref());
    let orders: Arc<str> = "orders".into();
    let seen = desk.ask(&request(1, 0), LONG).await.expect("asks");
    assert!(desk.take(&seen, &owner(0, 7)).await.expect("takes"));
    assert!(desk.take(&seen, &owner(0, 7)).await.expect("takes"), "asked twice, it is this owner's still");
    assert!(!desk.take(&seen, &owner(0, 6)).await.expect("reads"), "an earlier owner comes too late");
    assert!(!desk.withdraw(&request(1, 0)).await.expect("reads"), "it may have been done by now");
    let taken = desk.asked_at(&orders, &at(0)).await.expect("reads").expect("stands");
    assert_eq!(taken.taken, Some(7));
    assert!(desk.take(&taken, &owner(0, 8)).await.expect("takes"), "who comes after goes on");
    desk.answer(&request(1, 0), &owner(0, 7), "too late", LONG).await.expect("says nothing");
    let taken = desk.asked_at(&orders, &at(0)).await.expect("reads").expect("stands");
    assert_eq!((taken.taken, taken.answer.as_deref()), (Some(8), None));
    desk.answer(&request(1, 0), &owner(0, 8), "done", LONG).await.expect("answers");
    let taken = desk.asked_at(&orders, &at(0)).await.expect("reads").expect("stands");
    assert_eq!(taken.answer.as_deref(), Some("done"));
}

async fn a_request_that_nobody_took_is_taken_back_or_ends(store: impl Store) {
    let tables = open(&store).await;
    let desk = desk(tables.as_ref());
    let orders: Arc<str> = "orders".into();
    let seen = desk.ask(&request(1, 0), LONG).await.expect("asks");
    assert!(desk.withdraw(&request(1, 0)).await.expect("withdraws"));
    assert!(desk.withdraw(&request(1, 0)).await.expect("withdraws"), "once more changes nothing");
    assert_eq!(desk.asked().await.expect("reads"), []);
    assert!(!desk.take(&seen, &owner(0, 1)).await.expect("reads"), "nobody does it any more");
    assert_eq!(desk.asked_at(&orders, &at(0)).await.expect("reads"), None);

    let short = Duration::from_secs(1);
    desk.ask(&request(2, 0), short).await.expect("asks");
    let begun = Instant::now();
    while desk.asked_at(&orders, &at(0)).await.expect("reads").is_some() {
        assert!(begun.elapsed() < LONG, "a request of a second stands for a minute");
        tokio::task::yield_now().await;
    }
    let next = desk.ask(&request(3, 0), LONG).await.expect("asks");
    assert_eq!(next.request.id, 3);
}

async fn workers_are_listed_while_they_say_so(store: impl Store) {
    let tables = open(&store).await;
    let desk = desk(tables.as_ref());
    let worker = |id: u128, partitions: &[(u32, u64)], state: &str| Worker {
        id,
        projection: "orders".into(),
        process: format!("host:{id}").into(),
        partitions: partitions.iter().map(|(partition, epoch)| (at(*partition), *epoch)).collect(),
        state: state.into(),
    };
    let (first, second) = (worker(1, &[(0, 3), (1, 3)], "running"), worker(2, &[(1, 4)], "running"));
    desk.announce(&first, LONG).await.expect("says");
    desk.announce(&second, LONG).await.expect("says");
    let changed = worker(2, &[(1, 4), (2, 1)], "halted: for good");
    desk.announce(&changed, LONG).await.expect("says");
    let mut found = desk.workers().await.expect("reads");
    found.sort_by_key(|worker| worker.id);
    assert_eq!(found, [first.clone(), changed.clone()]);
    let owner =
        |partition| owner_of(&found, "orders", &at(partition)).map(|(worker, epoch)| (worker.id, epoch));
    assert_eq!([0, 1, 2, 3].map(owner), [Some((1, 3)), Some((2, 4)), Some((2, 1)), None]);
    assert!(owner_of(&found, "carts", &at(0)).is_none());
    desk.leave(&first).await.expect("takes back");
    assert_eq!(desk.workers().await.expect("reads"), std::slice::from_ref(&changed));
    desk.announce(&changed, Duration::from_secs(1)).await.expect("says");
    let begun = Instant::now();
    while !desk.workers().await.expect("reads").is_empty() {
        assert!(begun.elapsed() < LONG, "who has gone is listed for a minute");
        tokio::task::yield_now().await;
    }
}

macro_rules! suite {
    (all: $($all:ident),*; shared: $($shared:ident),* $(,)?) => {
        mod stamped {
            $(#[tokio::test] async fn $all() { super::$all(super::MemoryStore::new()).await; })*
            $(#[tokio::test] async fn $shared() { super::$shared(super::MemoryStore::new()).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $all() {
                let directory = tempfile::tempdir().expect("a directory");
                let store = super::EmbeddedStore::open(directory.path(), super::Durability::Buffer);
                super::$all(store.expect("opens")).await;
            })*
        }
        #[cfg(feature = "cassandra")]
        mod cassandra {
            $(#[tokio::test] async fn $all() {
                let model = std::sync::Arc::new(crate::cluster::model(Vec::new()));
                if let Some(store) = crate::cluster::cluster(model).await {
                    super::$all(store).await;
                }
            })*
            $(#[tokio::test] async fn $shared() {
                let model = std::sync::Arc::new(crate::cluster::model(Vec::new()));
                if let Some(store) = crate::cluster::cluster(model).await {
                    super::$shared(store).await;
                }
            })*
        }
    };
}

suite!(
    all: a_pause_stands_until_it_is_taken_back_and_is_that_of_its_generation;
    shared: of_a_partition_one_request_stands_at_a_time,
    a_request_is_done_by_the_latest_owner,
    a_request_that_nobody_took_is_taken_back_or_ends,
    workers_are_listed_while_they_say_so,
);

#[tokio::test]
async fn the_embedded_store_keeps_pauses_over_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let open_store = || EmbeddedStore::open(directory.path(), Durability::Sync).expect("opens");
    {
        let store = open_store();
        let tables = open(&store).await;
        tables.pause(&pause("orders", "ada@desk")).await.expect("writes");
        tables.pause(&pause("carts", "ada@desk")).await.expect("writes");
        tables.resume("carts").await.expect("writes");
        assert!(tables.coordination().is_none(), "one process has it for itself");
    }
    let store = open_store();
    assert_eq!(open(&store).await.pauses().await.expect("reads"), [pause("orders", "ada@desk")]);
}
