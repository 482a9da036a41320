//! `dev` is killed again and again while clients publish, and each client reads what it wrote.
//!
//! Every record has a mark of its own, also where it is published once more because no answer came. At the end each
//! acknowledged mark is in the log, once, at the position that was told; every other at most once; and every row is what a fold
//! of that log in this test comes to. Meanwhile no client reads a row that is older than what it wrote or read before.
//!
//! `KINORA_KILLS` says how often it is killed, `KINORA_KILL_EVENTS` how many events are published at least:
//! `KINORA_KILLS=200 KINORA_KILL_EVENTS=1000000` is the long run.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::accounts::{self, TOPIC, added};
use crate::process::{Dev, publish, query};

const CLIENTS: u64 = 4;
/// Accounts that a client writes to; nobody else does.
const ACCOUNTS: u64 = 5;

/// What clients and the one that kills share.
struct World {
    address: Mutex<SocketAddr>,
    acknowledged: AtomicU64,
    enough: AtomicBool,
    /// Most records of a request.
    records_max: u64,
}

/// What a client knows at its end.
#[derive(Default)]
struct Told {
    /// Positions with the marks of the records there.
    acknowledged: Vec<(String, String)>,
    /// Requests without an answer.
    lost: u64,
    /// Reads after a write.
    reads: u64,
}

#[test]
fn nothing_is_lost_doubled_or_goes_back_when_it_is_killed_while_clients_publish() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (kills, events) = (number("KINORA_KILLS", 10), number("KINORA_KILL_EVENTS", 4_000));
    let seed = number("KINORA_SEED_BASE", 1);
    println!("KINORA_KILLS={kills} KINORA_KILL_EVENTS={events} KINORA_SEED_BASE={seed}");
    let project = tempfile::tempdir().expect("a directory can be made");
    accounts::write_project(project.path());
    let data = project.path().join("data");
    let start = Instant::now();
    let mut dev = Dev::start(project.path(), &data, &[]).ready();
    let world = World {
        address: Mutex::new(dev.address),
        acknowledged: AtomicU64::new(0),
        enough: AtomicBool::new(false),
        records_max: (events / (kills + 1) / 20).clamp(1, 500),
    };
    let (told, starting) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let world = &world;
                scope.spawn(move || client(world, number, seed))
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut starting = 0;
        for kill in 0..kills {
            // Some are killed while they start; the others after their share of events, and a moment more.
            if random.u8(0..4) > 0 {
                let share = events * (kill + 1) / (kills + 1);
                world.wait_for(share.saturating_sub(random.u64(0..=events / (kills + 1))), &clients);
            } else {
                starting += 1;
            }
            std::thread::park_timeout(Duration::from_micros(random.u64(0..60_000)));
            dev.kill();
            dev = Dev::start(project.path(), &data, &[]);
            if random.u8(0..4) > 0 {
                dev.await_ready();
            }
            *world.address.lock().unwrap_or_else(PoisonError::into_inner) = dev.address;
        }
        world.wait_for(events, &clients);
        world.enough.store(true, Ordering::Release);
        let told: Vec<Told> =
            clients.into_iter().map(|client| client.join().expect("no client fails")).collect();
        (told, starting)
    });
    assert_eq!(dev.end().code(), Some(0));
    let took = start.elapsed();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let found = runtime.expect("a runtime can be made").block_on(accounts::read(project.path(), &data));
    found.check_rows();
    let all: BTreeSet<&String> = found.log.values().collect();
    assert_eq!(all.len(), found.log.len(), "a record is there twice");
    for (position, mark) in told.iter().flat_map(|told| &told.acknowledged) {
        assert_eq!(found.log.get(position), Some(mark), "{position} was acknowledged");
    }
    let (lost, reads): (u64, u64) = told.iter().fold((0, 0), |(l, r), told| (l + told.lost, r + told.reads));
    let acknowledged: usize = told.iter().map(|told| told.acknowledged.len()).sum();
    assert!(acknowledged as u64 >= events && reads > 0);
    println!(
        "{kills} kills ({starting} soon after a start), {acknowledged} events acknowledged, {} in the log, {lost} requests \
         without an answer, {reads} reads after a write, {} rows as the log has them, {took:.1?}",
        found.log.len(),
        found.expected.len() * 2,
    );
}

impl World {
    /// Waits until so many events are acknowledged.
    fn wait_for(&self, events: u64, clients: &[std::thread::ScopedJoinHandle<'_, Told>]) {
        while self.acknowledged.load(Ordering::Acquire) < events {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes and reads until there is enough.
fn client(world: &World, number: u64, seed: u64) -> Told {
    let mut random = fastrand::Rng::with_seed(seed * 1_000 + number);
    let mut told = Told::default();
    // For each account the last event that was acknowledged, and what was read last.
    let mut written = [0; ACCOUNTS as usize];
    let mut seen = [(0, 0); ACCOUNTS as usize];
    let mut attempt = 0_u64;
    while !world.enough.load(Ordering::Acquire) {
        attempt += 1;
        let mut next = written;
        let records: Vec<Json> = (0..random.u64(1..=world.records_max))
            .map(|nth| {
                let account = random.usize(0..ACCOUNTS as usize);
                next[account] += 1;
                added(&format!("a{number}-{account}"), next[account], &format!("{number}.{attempt}.{nth}"))
            })
            .collect();
        let answer = publish(world.address(), TOPIC, &records);
        let Some(answer) = answer.filter(|answer| answer.status == 200) else {
            told.lost += 1;
            std::thread::park_timeout(Duration::from_millis(2));
            continue;
        };
        let answer = answer.json();
        let positions = answer["positions"].as_array().expect("positions");
        assert_eq!(positions.len(), records.len());
        for (position, record) in positions.iter().zip(&records) {
            let mark = record["value"]["mark"].as_str().expect("it is text").to_owned();
            told.acknowledged.push((position.as_str().expect("it is text").to_owned(), mark));
        }
        world.acknowledged.fetch_add(records.len() as u64, Ordering::AcqRel);
        written = next;
        let read_after = answer["readAfter"].as_str().expect("positions");
        for account in 0..ACCOUNTS as usize {
            let id = format!("a{number}-{account}");
            let text = format!("{{ account(id: \"{id}\") {{ count last }} }}");
            // The process may have been killed; the next read must see it all the same.
            let Some(data) = query(world.address(), &text, read_after) else { continue };
            let field = |name: &str| data["account"][name].as_u64().unwrap_or(0);
            let (count, last) = (field("count"), field("last"));
            assert!(count >= written[account], "{id}: {count} events read, {} written", written[account]);
            assert!(last >= written[account], "{id}: {last} read, {} written", written[account]);
            assert!(
                (count, last) >= seen[account],
                "{id} went back: {:?}, then {count}, {last}",
                seen[account]
            );
            seen[account] = (count, last);
            told.reads += 1;
        }
    }
    told
}
