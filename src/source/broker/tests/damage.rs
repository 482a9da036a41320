//! Files of the log are cut off, flipped and emptied: it has a beginning of its records, or says that it is damaged.
//!
//! Each seed is a log of several segments and a damage somewhere in it. What can be read afterwards is what was written, and
//! only the last write may be missing. `KINORA_SEEDS` says how many, `KINORA_SEED_BASE` where they begin.

use super::*;

/// A log in a directory, and what is in it.
struct Written {
    directory: tempfile::TempDir,
    values: Vec<String>,
    /// How many records there were before the last write.
    before_last: usize,
}

fn open(directory: &Path) -> Result<Broker, SourceError> {
    let settings = BrokerSettings { sync: false, segment_bytes: 700, ..BrokerSettings::default() };
    Broker::open_with(directory, settings)
}

fn written(random: &mut fastrand::Rng) -> Written {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let broker = open(directory.path()).expect("it opens");
    broker.create_topic("t", 1).expect("it can be made");
    let (mut values, mut before_last) = (Vec::new(), 0);
    for write in 0..random.usize(2..12) {
        before_last = values.len();
        let new: Vec<String> = (0..random.usize(1..4))
            .map(|nth| format!("{write}.{nth}:{}", "y".repeat(random.usize(0..200))))
            .collect();
        let partition = Arc::clone(&broker.inner.topic("t").expect("it is there").partitions[0]);
        let records = new.iter().map(|value| record(value)).collect();
        drop(partition.queue(records, 0));
        partition.write_pending(|| {});
        values.extend(new);
    }
    Written { directory, values, before_last }
}

#[test]
fn a_damaged_log_has_a_beginning_of_its_records_or_says_that_it_is_damaged() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (seeds, base) = (number("KINORA_SEEDS", 300), number("KINORA_SEED_BASE", 1));
    let (mut refused, mut shorter) = (0, 0);
    for seed in base..base.saturating_add(seeds) {
        let shown = format!("KINORA_SEEDS=1 KINORA_SEED_BASE={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let log = written(&mut random);
        let path = any_file(log.directory.path(), &mut random);
        damage(&path, &mut random);
        match open(log.directory.path()).and_then(|broker| read(&broker)) {
            Ok(found) => {
                assert!(log.values.starts_with(&found), "{shown}: {}: {found:?}", path.display());
                let last_alone = found.len() == log.before_last || found.len() == log.values.len();
                assert!(last_alone || is_cut_between(&log, &path), "{shown}: {}: {found:?}", path.display());
                shorter += u32::from(found.len() < log.values.len());
            }
            Err(error @ (SourceError::Corrupt(_) | SourceError::Refused(_))) => {
                let text = error.to_string();
                assert!(text.contains(".log") || text.contains("topic.json"), "{shown}: {text}");
                refused += 1;
            }
            Err(error) => panic!("{shown}: {}: {error}", path.display()),
        }
    }
    assert!(seeds < 100 || refused > 20 && shorter > 20, "{refused} refused, {shorter} shorter");
}

/// Whether the damaged file is the last segment: one that was cut off behind a record is a shorter log.
fn is_cut_between(log: &Written, path: &Path) -> bool {
    let segments = segments(&log.directory.path().join("t/0"));
    segments.last().is_some_and(|last| last == path)
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("it can be listed");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    found.sort_unstable();
    found
}

fn any_file(directory: &Path, random: &mut fastrand::Rng) -> PathBuf {
    if random.u8(0..8) == 0 {
        return directory.join("t/topic.json");
    }
    let segments = segments(&directory.join("t/0"));
    // The last one is where damage may pass for a torn write.
    let at = if random.bool() { segments.len() - 1 } else { random.usize(0..segments.len()) };
    segments[at].clone()
}

fn damage(path: &Path, random: &mut fastrand::Rng) {
    let mut bytes = std::fs::read(path).expect("it can be read");
    if bytes.is_empty() {
        bytes = vec![0; random.usize(1..600)];
    } else {
        let at = random.usize(0..bytes.len());
        match random.u8(0..4) {
            0 => bytes.truncate(at),
            1 => bytes[at..].fill(0),
            _ => bytes[at] ^= 1 << random.u8(0..8),
        }
    }
    std::fs::write(path, bytes).expect("it can be written");
}

fn read(broker: &Broker) -> Result<Vec<String>, SourceError> {
    let Ok(topic) = broker.inner.topic("t") else { return Ok(Vec::new()) };
    let end = topic.info().partitions[0].end;
    let read = |offset| {
        let record = broker.inner.cursor(&at(0), offset)?.one()?.expect("it is there");
        assert_eq!(record.offset, offset);
        Ok(String::from_utf8(record.value.expect("it has one").to_vec()).expect("it is text"))
    };
    (0..end).map(read).collect()
}
