//! Partitions shared among processes, by a consumer group.
//!
//! Comes in: topics. Goes out: [`Change`]s of what this process is to work. It says who should work a partition, no more: that
//! nobody else still does is held by epochs in the store. The member fetches no records. It reports offsets to the group for
//! tools that show lag, and never reads them back.
//!
//! A thread of the member answers the group whatever its owner does, so a slow store makes nobody leave. What is taken away is
//! kept until the owner has drained it and says so; what the group has given up on is lost at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::client::{self, Context};
use crate::config::Kafka as Settings;
use crate::event::{Offset, TopicPartition};
use crate::source::SourceError;
use crate::source::group::{Change, Group, Revoked};

/// Most changes that the owner has not taken yet; a member whose owner takes none leaves.
const CHANGES_MAX: usize = 64;
/// How long the name of this process may still be another's when it joins: longer than brokers take to forget the dead.
const NAME_WITHIN: Duration = Duration::from_secs(60);
/// How long it waits before it tries again.
const NAME_PAUSE: Duration = Duration::from_millis(200);
/// How often the thread looks whether the member is to leave.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Milliseconds after which a silent member is taken for dead, in groups that the members form themselves.
const SESSION_MS: &str = "10000";

/// How a group is formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// By the broker (KIP-848): changes reach only those whom they concern.
    Broker,
    /// By the members, cooperatively: what stays goes on meanwhile.
    Members,
}

/// Hands partitions over when it is dropped.
struct HandOver {
    partitions: TopicPartitionList,
    consumer: Weak<Member>,
}

type Member = BaseConsumer<GroupContext>;

/// Membership in a consumer group; dropped, the process leaves it.
pub struct Membership {
    settings: Arc<Settings>,
    topics: Vec<String>,
    protocol: Protocol,
    joined: Joined,
    /// Since when the name of this process has been another's, while it waits for it.
    waits_since: Option<Instant>,
    /// Whether it is to join again.
    is_out: bool,
}

/// A member as the group knows it.
struct Joined {
    consumer: Option<Arc<Member>>,
    told: mpsc::Receiver<Told>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the member's thread tells.
enum Told {
    Change(Change),
    /// The group still has another member of the same name.
    NameIsTaken,
}

struct GroupContext {
    common: Context,
    told: mpsc::Sender<Told>,
    /// For what is revoked: how it is handed over.
    consumer: Mutex<Weak<Member>>,
    failed: AtomicBool,
}

impl Membership {
    /// Joins the group of the settings for topics. The first partitions come as a change. A name (`kafka.instance`) that the
    /// group still knows, of this process before it was killed, is waited for.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn join(settings: &Settings, topics: &[&str], protocol: Protocol) -> Result<Membership, SourceError> {
        let (settings, topics) = (Arc::new(settings.clone()), topics.iter().map(|name| (*name).to_owned()));
        let topics: Vec<String> = topics.collect();
        let joined = Joined::join(&settings, &topics, protocol)?;
        Ok(Membership { settings, topics, protocol, joined, waits_since: None, is_out: false })
    }

    /// How the group is formed.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    async fn next(&mut self) -> Change {
        loop {
            if self.is_out {
                tokio::time::sleep(NAME_PAUSE).await;
                match Joined::join(&self.settings, &self.topics, self.protocol) {
                    Ok(joined) => self.joined = joined,
                    Err(error) => return Change::Failed(error),
                }
                self.is_out = false;
            }
            match self.joined.told.recv().await {
                Some(Told::Change(change)) => {
                    self.waits_since = None;
                    return change;
                }
                Some(Told::NameIsTaken) if self.may_wait() => self.is_out = true,
                Some(Told::NameIsTaken) => {
                    return Change::Failed(sentence(RDKafkaErrorCode::UnreleasedInstanceId));
                }
                None => {
                    let left = "the consumer group was left".to_owned();
                    return Change::Failed(SourceError::Unavailable(left));
                }
            }
        }
    }

    /// Whether the other of the same name may be this process as it was before: a group forgets the dead after a while.
    fn may_wait(&mut self) -> bool {
        self.waits_since.get_or_insert_with(Instant::now).elapsed() < NAME_WITHIN
    }
}

impl Group for Membership {
    fn change(&mut self) -> BoxFuture<'_, Change> {
        Box::pin(self.next())
    }

    fn report(&self, offsets: &[(TopicPartition, Offset)]) {
        let Some(consumer) = &self.joined.consumer else { return };
        let mut list = TopicPartitionList::new();
        for (at, offset) in offsets {
            let offset = At::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            let _ = list.add_partition_offset(&at.topic, partition_of(at), offset);
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "Offsets were not reported to the consumer group.");
        }
    }
}

impl Joined {
    fn join(settings: &Arc<Settings>, topics: &[String], protocol: Protocol) -> Result<Joined, SourceError> {
        let config = config(settings, protocol)?;
        let (sender, told) = mpsc::channel(CHANGES_MAX);
        let context = GroupContext {
            common: Context::new(settings),
            told: sender,
            consumer: Mutex::default(),
            failed: AtomicBool::new(false),
        };
        let refused = |error: KafkaError| {
            SourceError::Refused(format!("group {:?} cannot be joined: {error}", settings.group))
        };
        let consumer = Arc::new(Member::from_config_and_context(&config, context).map_err(refused)?);
        *consumer.context().consumer.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::downgrade(&consumer);
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (consumer, stop) = (Arc::clone(&consumer), Arc::clone(&stop));
            let thread = std::thread::Builder::new().name("kafka-group".to_owned());
            thread.spawn(move || answer(&consumer, &stop)).map_err(|source| SourceError::Io {
                what: "starting the thread of the consumer group".to_owned(),
                source,
            })?
        };
        Ok(Joined { consumer: Some(consumer), told, stop, thread: Some(thread) })
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // What was revoked and not handed over is now; then the client leaves the group as it is closed, which takes a moment.
        self.told.close();
        while self.told.try_recv().is_ok() {}
        let (consumer, thread) = (self.consumer.take(), self.thread.take());
        let leave = move || {
            if let Some(thread) = thread {
                let _ = thread.join();
            }
            drop(consumer);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(leave)),
            Err(_) => leave(),
        }
    }
}

/// How a member is set up.
fn config(settings: &Settings, protocol: Protocol) -> Result<ClientConfig, SourceError> {
    let mut config = client::config(settings)?;
    config.set("group.id", &settings.group);
    if let Some(instance) = &settings.instance {
        config.set("group.instance.id", instance);
    }
    match protocol {
        Protocol::Broker => {
            config.set("group.protocol", "consumer");
        }
        Protocol::Members => {
            config.set("group.protocol", "classic");
            config.set("partition.assignment.strategy", "cooperative-sticky");
            config.set("session.timeout.ms", SESSION_MS);
            config.set("heartbeat.interval.ms", "1000");
        }
    }
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error");
    Ok(config)
}

impl Drop for HandOver {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.upgrade() {
            unassign(&consumer, &self.partitions);
        }
    }
}

/// The member's thread: answers the group until the member leaves.
fn answer(consumer: &Member, stop: &AtomicBool) {
    let context = consumer.context();
    while !stop.load(Ordering::Relaxed) && !context.failed.load(Ordering::Relaxed) {
        // Records do not come: every partition is paused. Errors that pass are told to the context.
        if let Some(Err(error)) = consumer.poll(LOOK_EVERY) {
            context.heard(&error);
        }
    }
}

impl GroupContext {
    fn tell(&self, change: Change) {
        self.send(Told::Change(change));
    }

    fn send(&self, told: Told) {
        if self.told.try_send(told).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn heard(&self, error: &KafkaError) {
        let failed = match error {
            KafkaError::MessageConsumptionFatal(code) => Some(*code),
            KafkaError::MessageConsumption(
                code @ (RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::UnsupportedVersion
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::UnreleasedInstanceId
                | RDKafkaErrorCode::InvalidGroupId),
            ) => Some(*code),
            _ => None,
        };
        if let Some(code) = failed {
            match code {
                RDKafkaErrorCode::UnreleasedInstanceId => self.send(Told::NameIsTaken),
                code => self.tell(Change::Failed(sentence(code))),
            }
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

fn sentence(code: RDKafkaErrorCode) -> SourceError {
    SourceError::Refused(match code {
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            format!(
                "Kafka does not let this process join `kafka.group`: {code}; grant its user READ on the group"
            )
        }
        RDKafkaErrorCode::UnsupportedVersion => {
            format!("the brokers form no groups themselves: {code}; let members form it")
        }
        RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => format!(
            "another process has the same `kafka.instance`: {code}; give each process a name of its own"
        ),
        code => format!("the consumer group `kafka.group` cannot be joined: {code}"),
    })
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &Member, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let named = named(partitions);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            assign(consumer, partitions);
            return self.tell(Change::Assigned(named));
        }
        if consumer.assignment_lost() {
            unassign(consumer, partitions);
            return self.tell(Change::Lost(named));
        }
        let handle = self.consumer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Closed, a client is handed its own partitions to give up, and nobody is there to ask.
        if named.is_empty() || handle.strong_count() == 0 {
            return unassign(consumer, partitions);
        }
        self.tell(Change::Revoked(Revoked::new(
            named,
            HandOver { partitions: partitions.clone(), consumer: handle },
        )));
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "Offsets were not reported to the consumer group.");
        }
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.common.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.common.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.common.generate_oauth_token(config)
    }
}

/// Takes partitions, from some offset, and pauses them: the member reads nothing.
fn assign(consumer: &Member, partitions: &mut TopicPartitionList) {
    // Any offset will do; without one the group would be asked for what was committed.
    let _ = partitions.set_all_offsets(At::Offset(0));
    let done = consumer.incremental_assign(partitions).and_then(|()| consumer.pause(partitions));
    if let Err(error) = done {
        tracing::warn!(%error, "Partitions could not be taken.");
    }
}

fn unassign(consumer: &Member, partitions: &TopicPartitionList) {
    if let Err(error) = consumer.incremental_unassign(partitions) {
        tracing::debug!(%error, "Partitions could not be handed over.");
    }
}

fn partition_of(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition).unwrap_or(i32::MAX)
}

fn named(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let named = elements.iter().map(|element| TopicPartition {
        topic: element.topic().into(),
        partition: element.partition().unsigned_abs(),
    });
    named.collect()
}
