//! The log on a disk that loses power, fills up and fails: what it has told anyone stays true.
//!
//! Each seed is a history of appends, new topics, kills and power cuts, at any operation of the disk. Kept beside it: what
//! was acknowledged, what readers have seen, and what was refused. `KINORA_SEEDS` says how many histories, `KINORA_SEED_BASE`
//! where they begin.

use std::collections::{BTreeMap, BTreeSet};

use super::simulated::{Happened, Simulated};
use super::*;
use crate::source::Reader;

const LOG: &str = "/data/log";

/// What the log has said.
#[derive(Default)]
struct Said {
    /// Records that a reader could see, by topic and offset: from then on for ever.
    seen: BTreeMap<String, Vec<String>>,
    /// Records that were refused while the process went on; they must never be there.
    refused: BTreeSet<String>,
    /// Calls by their first record: they are there whole, or not at all.
    calls: BTreeMap<String, Vec<String>>,
    /// Values are drawn in turn, so that each is there at most once.
    drawn: usize,
}

struct History {
    seed: u64,
    disk: Simulated,
    random: fastrand::Rng,
    said: Said,
}

#[test]
fn what_was_acknowledged_or_read_survives_power_cuts_and_what_was_refused_is_not_there() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seeds, base) = (number("KINORA_SEEDS", 300), number("KINORA_SEED_BASE", 1));
    let mut all = Happened::default();
    for seed in base..base.saturating_add(seeds) {
        let run = std::panic::catch_unwind(|| {
            let random = fastrand::Rng::with_seed(seed);
            let mut history = History { seed, disk: Simulated::new(seed), random, said: Said::default() };
            history.run();
            history.disk.happened()
        });
        let happened = run.unwrap_or_else(|_| panic!("KINORA_SEEDS=1 KINORA_SEED_BASE={seed}"));
        all.dropped += happened.dropped;
        all.torn += happened.torn;
        all.names_lost += happened.names_lost;
        all.failed_syncs += happened.failed_syncs;
        all.failed_appends += happened.failed_appends;
        all.full += happened.full;
        all.stopped += happened.stopped;
    }
    let rarest = [all.dropped, all.torn, all.names_lost, all.failed_syncs, all.failed_appends, all.full];
    assert!(seeds < 100 || rarest.iter().all(|count| *count > 20), "too little has happened: {all:?}");
}

impl History {
    fn run(&mut self) {
        for _ in 0..self.random.usize(3..8) {
            self.live();
            if self.random.u8(0..3) == 0 { self.disk.kill() } else { self.disk.cut_power() }
        }
        let broker = self.open().expect("the last start has no trouble");
        self.check(&broker);
        self.append(&broker, "t0");
        self.check(&broker);
    }

    /// One life of a process, to its end at any operation or after some appends.
    fn live(&mut self) {
        if self.random.u8(0..4) > 0 {
            self.disk.stop_after(self.random.u32(1..120));
        }
        let Some(broker) = self.open() else { return };
        self.check(&broker);
        match self.random.u8(0..8) {
            0 => self.disk.fail_sync_after(self.random.u32(0..20)),
            1 => self.disk.fail_append_after(self.random.u32(0..10)),
            2 | 3 => self.disk.set_room(Some(self.random.usize(0..4_000))),
            _ => {}
        }
        for _ in 0..self.random.usize(1..30) {
            let topic = format!("t{}", self.random.u8(0..3));
            self.append(&broker, &topic);
            self.check(&broker);
            if self.random.u8(0..5) == 0 {
                self.disk.set_room(None);
            }
            if self.disk.has_stopped() {
                return;
            }
        }
    }

    /// Opens the log; `None` where the process stopped meanwhile.
    fn open(&self) -> Option<Broker> {
        let settings = BrokerSettings { sync: true, segment_bytes: 1_500, ..BrokerSettings::default() };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let path = Path::new(LOG);
        let made = disk
            .make_directory(path)
            .and_then(|()| disk.sync_directory(Path::new("/")))
            .and_then(|()| disk.sync_directory(Path::new("/data")));
        let opened = made
            .map_err(|source| SourceError::Io { what: "making it".to_owned(), source })
            .and_then(|()| Broker::opened(path, Shared::new(disk, settings, Access::Write), None));
        match opened {
            Ok(broker) => Some(broker),
            Err(error) => {
                assert!(self.disk.has_stopped(), "seed {}: {error}", self.seed);
                None
            }
        }
    }

    /// Appends some calls as one write, and keeps what was said of them.
    fn append(&mut self, broker: &Broker, topic: &str) {
        if broker.create_topic(topic, 1).is_err() {
            return;
        }
        let partition = Arc::clone(&broker.inner.topic(topic).expect("it is there").partitions[0]);
        let mut told = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            let values: Vec<String> = (0..self.random.usize(1..4)).map(|_| self.value()).collect();
            self.said.calls.insert(values[0].clone(), values.clone());
            let records = values.iter().map(|value| record(value)).collect();
            told.push((partition.queue(records, 0).0, values));
        }
        partition.write_pending(|| {});
        let seen = self.said.seen.entry(topic.to_owned()).or_default();
        for (mut told, values) in told {
            match told.try_recv().expect("each call is told") {
                Ok(first) => {
                    assert_eq!(first, seen.len() as u64, "offsets have no holes");
                    seen.extend(values);
                }
                Err(_) if self.disk.has_stopped() => {}
                Err(_) => self.said.refused.extend(values),
            }
        }
    }

    fn value(&mut self) -> String {
        self.said.drawn += 1;
        format!("{}:{}", self.said.drawn, "x".repeat(self.random.usize(0..700)))
    }

    /// Reads everything: what was said stays, and what is new is whole.
    fn check(&mut self, broker: &Broker) {
        if self.disk.has_stopped() {
            return;
        }
        let seed = self.seed;
        let topics = broker.inner.topics.read().unwrap_or_else(PoisonError::into_inner).clone();
        for name in self.said.seen.iter().filter(|(_, seen)| !seen.is_empty()).map(|(name, _)| name) {
            assert!(topics.contains_key(name.as_str()), "seed {seed}: {name} is lost");
        }
        for (name, topic) in topics {
            let found = read_all(broker, &name, topic.info().partitions[0].end);
            let seen = self.said.seen.entry(name.to_string()).or_default();
            let (had, has) = (numbers(seen), numbers(&found));
            assert!(found.starts_with(seen), "seed {seed}: {name} had {had:?} and has {has:?}");
            let mut new = &found[seen.len()..];
            while let Some(first) = new.first() {
                let call = &self.said.calls[first];
                assert!(new.starts_with(call), "seed {seed}: half a call of {name}: {:?}", numbers(new));
                assert!(!self.said.refused.contains(first), "seed {seed}: {} was refused", numbers(call)[0]);
                new = &new[call.len()..];
            }
            *seen = found;
        }
    }
}

/// Values without what fills them.
fn numbers(values: &[String]) -> Vec<&str> {
    values.iter().map(|value| value.split(':').next().unwrap_or_default()).collect()
}

fn read_all(broker: &Broker, topic: &str, end: Offset) -> Vec<String> {
    let at = TopicPartition { topic: topic.into(), partition: 0 };
    let cursor = broker.inner.cursor(&at, 0).expect("it begins at 0");
    let mut reader = BrokerReader::new(vec![cursor], broker.inner.changes.subscribe());
    let mut found = Vec::new();
    while let Some(fetched) = reader.more(1 << 16).expect("it can be read") {
        for record in fetched.records {
            assert_eq!(record.offset, found.len() as u64);
            let value = record.value.expect("it has a value");
            found.push(String::from_utf8(value.to_vec()).expect("it is text"));
        }
    }
    assert_eq!(found.len() as u64, end);
    found
}

/// A log with one topic and one record in it.
fn one_record(disk: &Simulated) -> Broker {
    disk.make_directory(Path::new(LOG)).expect("it can be made");
    let shared = Shared::new(Arc::new(disk.clone()), BrokerSettings::default(), Access::Write);
    let broker = Broker::opened(Path::new(LOG), shared, None).expect("it opens");
    broker.create_topic("t", 1).expect("it can be made");
    append(&broker, "first").expect("it is whole");
    broker
}

fn append(broker: &Broker, value: &str) -> Result<Offset, String> {
    let partition = Arc::clone(&broker.inner.topic("t").expect("it is there").partitions[0]);
    let mut told = partition.queue(vec![record(value)], 0).0;
    partition.write_pending(|| {});
    told.try_recv().expect("it is told").map_err(|reason| SourceError::from(reason).to_string())
}

#[test]
fn a_failed_fsync_ends_all_appending_with_its_reason_and_reads_go_on() {
    let disk = Simulated::new(1);
    let broker = one_record(&disk);
    disk.fail_sync_after(0);
    let expected = "the log has halted: fsync of /data/log/t/0/00000000000000000000.log failed: the disk failed; check \
        the disk, then start again";
    assert_eq!(append(&broker, "second"), Err(expected.to_owned()));
    assert_eq!(append(&broker, "third"), Err(expected.to_owned()), "it is not tried again");
    assert_eq!(broker.halted().as_deref(), expected.strip_prefix("the log has halted: "));
    let refused = broker.create_topic("u", 1).expect_err("nothing is made any more").to_string();
    assert_eq!(refused, expected);
    assert_eq!(read_all(&broker, "t", 1), ["first"]);
    assert_eq!(broker.inner.topic("t").expect("it is there").info().partitions[0].end, 1);
}

#[test]
fn a_failed_write_ends_all_appending() {
    let disk = Simulated::new(1);
    let broker = one_record(&disk);
    disk.fail_append_after(0);
    let error = append(&broker, "second").expect_err("it fails");
    assert!(error.starts_with("the log has halted: writing /data/log/t/0/0"), "{error}");
    assert_eq!(append(&broker, "third"), Err(error));
}

#[test]
fn a_full_disk_refuses_and_takes_records_again_once_there_is_room() {
    for room in 0..60 {
        let disk = Simulated::new(1);
        let broker = one_record(&disk);
        disk.set_room(Some(room));
        let error = append(&broker, "second, which is a longer one").expect_err("there is no room");
        assert!(error.starts_with("the log is full: writing /data/log/t/0/0"), "{error}");
        assert!(error.ends_with("nothing was kept of it: make room, then publish it again"), "{error}");
        assert_eq!(broker.halted(), None);
        disk.set_room(None);
        assert_eq!(append(&broker, "third"), Ok(1), "with room for {room} bytes");
        assert_eq!(read_all(&broker, "t", 2), ["first", "third"]);
    }
}
