//! Freshness: positions that an answer must not be older than, and those that it has.
//!
//! Comes in: the text of `x-read-after` and `x-read-wait`, and the progress of projections. Goes out: whether the
//! positions were reached in time, and the vector that answers carry. Which projections count is decided by the feeds
//! of what an operation reads, not by the marks that exist: one that never ran has not reached anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::now_ms;
use crate::event::{Position, TopicPartition};
use crate::observe::metrics;
use crate::plan::Feed;
use crate::store::{Progress, Tables};

use super::{OnTimeout, Wait, wire};

/// Most positions that a request can name.
const POSITIONS_MAX: usize = 100;
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Reads `topic:partition@offset[,…]`.
///
/// # Errors
/// One sentence: which entry is wrong and what is expected, or that there are more than 100.
pub fn parse_read_after(text: &str) -> Result<Vec<Position>, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.len() > POSITIONS_MAX {
        return Err(format!("{} positions are named; at most {POSITIONS_MAX} are taken", entries.len()));
    }
    entries.into_iter().map(position).collect()
}

fn position(entry: &str) -> Result<Position, String> {
    let shown: String = entry.chars().take(60).collect();
    let refused =
        || format!("{shown:?} is not a position; expected topic:partition@offset, like shop.orders:3@17");
    let (place, offset) = entry.rsplit_once('@').ok_or_else(refused)?;
    let (topic, partition) = place.rsplit_once(':').ok_or_else(refused)?;
    let topic_ok = !topic.is_empty()
        && topic.len() <= 249
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !topic_ok {
        return Err(refused());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(partition) || !digits(offset) {
        return Err(refused());
    }
    let partition = partition.parse().map_err(|_| refused())?;
    let offset = offset.parse().map_err(|_| refused())?;
    Ok(Position { at: TopicPartition { topic: Arc::from(topic), partition }, offset })
}

/// Reads `500ms`, `2s`, `500ms;on-timeout=fail`. At most 30 seconds.
///
/// # Errors
/// One sentence: what is wrong and what is expected.
pub fn parse_wait(text: &str) -> Result<Wait, String> {
    let mut parts = text.split(';').map(str::trim);
    let at_most = duration(parts.next().unwrap_or_default())?;
    let mut on_timeout = OnTimeout::Stale;
    for part in parts {
        on_timeout = match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("on-timeout", "stale")) => OnTimeout::Stale,
            Some(("on-timeout", "fail")) => OnTimeout::Fail,
            _ => return Err(format!("{part:?} is not known; expected on-timeout=stale or on-timeout=fail")),
        };
    }
    Ok(Wait { at_most, on_timeout })
}

fn duration(text: &str) -> Result<Duration, String> {
    let refused =
        || format!("{text:?} is not a duration; expected a whole number of ms or s, like 500ms, at most 30s");
    let (digits, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1000),
        (None, None) => return Err(refused()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let ms = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)).ok_or_else(refused)?;
    let wait = Duration::from_millis(ms);
    if wait > WAIT_MAX { Err(refused()) } else { Ok(wait) }
}

/// How waiting ended.
#[derive(Debug, Default)]
pub(super) struct Waited {
    /// The first position that was not reached in time.
    pub missed: Option<Position>,
    /// Topics that were named but are not read.
    pub ignored: Vec<Arc<str>>,
}

/// Waits until every projection that feeds what is read has applied the named positions.
pub(super) async fn wait(tables: &dyn Tables, feeds: &[&Feed], wanted: &[Position], wait: Wait) -> Waited {
    let mut waited = Waited::default();
    let mut relevant: Vec<&Position> = Vec::new();
    for position in wanted {
        if feeds.iter().any(|feed| feed.topic == position.at.topic) {
            relevant.push(position);
        } else if !waited.ignored.contains(&position.at.topic) {
            waited.ignored.push(position.at.topic.clone());
        }
    }
    if relevant.is_empty() {
        return waited;
    }
    // Taken before the first look, so that no change falls between.
    let mut changes = tables.progress_changes();
    let deadline = tokio::time::Instant::now() + wait.at_most;
    loop {
        let progress = tables.progress();
        let missing = relevant.iter().find(|position| !reached(&progress, feeds, position));
        let Some(missing) = missing else {
            metrics().waits_reached.inc();
            return waited;
        };
        let changed = tokio::time::timeout_at(deadline, changes.changed()).await;
        if !matches!(changed, Ok(Ok(()))) {
            metrics().waits_missed.inc();
            waited.missed = Some((*missing).clone());
            return waited;
        }
    }
}

fn reached(progress: &Progress, feeds: &[&Feed], position: &Position) -> bool {
    feeds.iter().filter(|feed| feed.topic == position.at.topic).all(|feed| {
        progress.of(&feed.projection, &position.at).is_some_and(|mark| mark.next > position.offset)
    })
}

/// How many projections feed what is read from a topic.
fn projections(feeds: &[&Feed], topic: &str) -> usize {
    let mut names: Vec<&str> =
        feeds.iter().filter(|feed| *feed.topic == *topic).map(|feed| &*feed.projection).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// How fresh an answer is, at least.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Topic → partition → last offset that all projections which are read have applied.
    position: BTreeMap<Arc<str>, BTreeMap<u32, u64>>,
    lag_events: u64,
    lag_ms: i64,
}

impl Freshness {
    /// From the progress of the feeds that are read.
    pub fn of(progress: &Progress, feeds: &[&Feed]) -> Freshness {
        let mut freshness = Freshness::default();
        let now_ms = now_ms();
        // For each partition how many projections have come how far at least.
        let mut reached: BTreeMap<&Arc<str>, BTreeMap<u32, (usize, u64)>> = BTreeMap::new();
        for mark in progress.all() {
            let is_fed = |feed: &&Feed| feed.projection == mark.projection && feed.topic == mark.at.topic;
            if !feeds.iter().any(is_fed) {
                continue;
            }
            freshness.count(mark, now_ms);
            let partitions = reached.entry(&mark.at.topic).or_default();
            let (projections, next) = partitions.entry(mark.at.partition).or_insert((0, u64::MAX));
            *projections += 1;
            *next = mark.next.min(*next);
        }
        for (topic, partitions) in reached {
            let fed = projections(feeds, topic);
            for (partition, (projections, next)) in partitions {
                // A projection without a mark has applied nothing.
                if let Some(last) = next.checked_sub(1).filter(|_| projections == fed) {
                    freshness.position.entry(topic.clone()).or_default().insert(partition, last);
                }
            }
        }
        freshness
    }

    fn count(&mut self, mark: &crate::store::ProgressMark, now_ms: i64) {
        let behind = mark.end.saturating_sub(mark.next);
        self.lag_events = self.lag_events.saturating_add(behind);
        if behind > 0 && mark.time_ms > 0 {
            self.lag_ms = self.lag_ms.max(now_ms.saturating_sub(mark.time_ms));
        }
    }

    /// For the header `x-read-position`.
    pub fn header(&self) -> String {
        let mut text = Vec::new();
        for (topic, partitions) in &self.position {
            for (partition, offset) in partitions {
                if !text.is_empty() {
                    text.push(b',');
                }
                text.extend_from_slice(topic.as_bytes());
                text.push(b':');
                wire::push_count(&mut text, u64::from(*partition));
                text.push(b'@');
                wire::push_count(&mut text, *offset);
            }
        }
        String::from_utf8(text).expect("topics are text, and so are digits")
    }

    /// Appends the members of `extensions.kinora`.
    pub fn push(&self, out: &mut Vec<u8>, waited: &Waited) {
        out.extend_from_slice(br#""position":{"#);
        for (index, (topic, partitions)) in self.position.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            wire::push_string(out, topic);
            out.extend_from_slice(b":{");
            for (index, (partition, offset)) in partitions.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.push(b'"');
                wire::push_count(out, u64::from(*partition));
                out.extend_from_slice(b"\":");
                wire::push_count(out, *offset);
            }
            out.push(b'}');
        }
        out.extend_from_slice(br#"},"lag":{"events":"#);
        wire::push_count(out, self.lag_events);
        out.extend_from_slice(br#","ms":"#);
        wire::push_integer(out, self.lag_ms);
        out.push(b'}');
        if waited.missed.is_some() {
            out.extend_from_slice(br#","stale":true"#);
        }
        if !waited.ignored.is_empty() {
            out.extend_from_slice(br#","ignored":["#);
            for (index, topic) in waited.ignored.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                wire::push_string(out, topic);
            }
            out.push(b']');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back_as_they_are_written() {
        let text = "shop.orders:3@17,a-b_c:0@0";
        let positions = parse_read_after(&format!(" {} ", text.replace(',', " , "))).unwrap();
        assert_eq!(positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","), text);
        let hundred = vec!["t:0@1"; 100].join(",");
        assert_eq!(parse_read_after(&hundred).unwrap().len(), 100);
        assert!(parse_read_after(&format!("{hundred},t:0@1")).unwrap_err().contains("101 positions"));
    }

    #[test]
    fn a_position_is_what_every_projection_that_is_read_has_applied() {
        let feed = |projection: &str, entity| Feed {
            projection: projection.into(),
            entity: crate::schema::TypeId(entity),
            topic: "t".into(),
            record_key: None,
        };
        let mark = |projection: &str, partition, next| crate::store::ProgressMark {
            projection: projection.into(),
            at: TopicPartition { topic: "t".into(), partition },
            topic_id: 1,
            next,
            end: 10,
            time_ms: 0,
            base: 0,
            relayed: None,
        };
        let marks = vec![mark("a", 0, 5), mark("b", 0, 3), mark("a", 1, 5), mark("a", 2, 5), mark("b", 2, 0)];
        let progress = Progress::new(marks);
        // One projection may feed two of the entities that are read.
        let (a, b) = (feed("a", 1), feed("b", 2));
        let of = |feeds: &[&Feed]| Freshness::of(&progress, feeds).header();
        assert_eq!(of(&[&a]), "t:0@4,t:1@4,t:2@4");
        assert_eq!(of(&[&a, &feed("a", 3)]), "t:0@4,t:1@4,t:2@4");
        assert_eq!(of(&[&a, &b]), "t:0@2");
        assert_eq!(of(&[]), "");
        assert_eq!(Freshness::of(&progress, &[&b]).lag_events, 17);
    }

    #[test]
    fn what_is_no_position_is_refused_with_the_entry() {
        for text in [
            "",
            "a",
            "a:1",
            "a@1",
            ":1@2",
            "a:@1",
            "a:1@",
            "a:-1@1",
            "a:1@+1",
            "a b:1@2",
            "a:1@2,",
            "a:4294967296@1",
        ] {
            let error = parse_read_after(text).unwrap_err();
            assert!(error.contains("expected topic:partition@offset"), "{text}: {error}");
        }
    }

    #[test]
    fn waits_are_bounded_at_thirty_seconds() {
        assert_eq!(parse_wait("30s").unwrap().at_most, Duration::from_secs(30));
        assert_eq!(parse_wait("29999ms; on-timeout=fail").unwrap().on_timeout, OnTimeout::Fail);
        assert_eq!(parse_wait("0ms;on-timeout=stale").unwrap().on_timeout, OnTimeout::Stale);
        for text in [
            "",
            "1",
            "ms",
            "31s",
            "30001ms",
            "-1s",
            "1.5s",
            "1s;",
            "1s;on-timeout=maybe",
            "1s;x=y",
            "99999999999999999999s",
        ] {
            assert!(parse_wait(text).is_err(), "{text}");
        }
    }
}
