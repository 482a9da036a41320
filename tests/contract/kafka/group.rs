//! Consumer groups of two and three members: who joins, leaves, is killed, or comes back under its name.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kinora::config::Kafka as Settings;
use kinora::engine;
use kinora::event::TopicPartition;
use kinora::source::NewRecord;
use kinora::source::group::{Change, Group as _};
use kinora::source::kafka::group::{Membership, Protocol};
use kinora::store::Began;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{OnKafka, within};
use crate::sources::Subject;

const PARTITIONS: u32 = 6;

/// A member, and what it works.
struct Member {
    membership: Membership,
    works: BTreeSet<TopicPartition>,
    changes: usize,
}

impl Member {
    fn join(subject: &OnKafka, protocol: Protocol, instance: Option<&str>) -> Member {
        let settings = settings(subject, instance);
        let membership = Membership::join(&settings, &[&subject.name("t")], protocol).expect("joins");
        Member { membership, works: BTreeSet::new(), changes: 0 }
    }

    /// Takes the next change as an owner does that has nothing under way.
    async fn step(&mut self) {
        let change = self.membership.change().await;
        self.changes += 1;
        match change {
            Change::Assigned(partitions) => {
                for at in partitions {
                    assert!(self.works.insert(at), "is assigned twice");
                }
            }
            Change::Revoked(revoked) => {
                revoked.partitions.iter().for_each(|at| assert!(self.works.remove(at), "was not worked"));
                revoked.hand_over();
            }
            Change::Lost(partitions) => self.works.retain(|at| !partitions.contains(at)),
            Change::Failed(error) => panic!("{error}"),
        }
    }
}

fn settings(subject: &OnKafka, instance: Option<&str>) -> Settings {
    let group = subject.name("group");
    Settings { group, instance: instance.map(str::to_owned), ..subject.settings.clone() }
}

/// Steps until the members work everything, each about as much; at no time is anything worked twice.
async fn share(members: &mut [&mut Member]) {
    let fair = PARTITIONS as usize / members.len();
    within("a fair share", async {
        loop {
            let all: usize = members.iter().map(|member| member.works.len()).sum();
            let union: BTreeSet<_> = members.iter().flat_map(|member| &member.works).collect();
            assert_eq!(all, union.len(), "a partition is worked twice");
            if all == PARTITIONS as usize && members.iter().all(|member| member.works.len() == fair) {
                return;
            }
            let steps = members.iter_mut().map(|member| Box::pin(member.step()));
            futures_util::future::select_all(steps).await;
        }
    })
    .await;
}

async fn members_join_and_leave(protocol: Protocol) {
    let Some(subject) = OnKafka::open("group").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let mut first = Member::join(&subject, protocol, None);
    share(&mut [&mut first]).await;
    let mut second = Member::join(&subject, protocol, None);
    share(&mut [&mut first, &mut second]).await;
    let mut third = Member::join(&subject, protocol, None);
    share(&mut [&mut first, &mut second, &mut third]).await;
    drop(second);
    share(&mut [&mut first, &mut third]).await;
    drop(first);
    share(&mut [&mut third]).await;
}

#[tokio::test]
async fn members_share_partitions_in_a_group_of_the_broker() {
    members_join_and_leave(Protocol::Broker).await;
}

#[tokio::test]
async fn members_share_partitions_in_a_group_of_their_own() {
    members_join_and_leave(Protocol::Members).await;
}

#[tokio::test]
async fn what_is_revoked_stays_until_it_is_handed_over() {
    let Some(subject) = OnKafka::open("handed").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let mut first = Member::join(&subject, Protocol::Broker, None);
    share(&mut [&mut first]).await;
    let mut second = Member::join(&subject, Protocol::Broker, None);
    let change = within("what is taken away", first.membership.change()).await;
    let Change::Revoked(revoked) = change else { panic!("{change:?}") };
    assert_eq!(revoked.partitions.len(), 3);
    // The other gets them when they are handed over, however long that takes: longer than a beat of the group here.
    let early = tokio::time::timeout(Duration::from_secs(2), second.membership.change()).await;
    if let Ok(Change::Assigned(early)) = early {
        assert!(early.is_empty(), "{early:?} is still worked by the first");
    }
    revoked.partitions.iter().for_each(|at| assert!(first.works.remove(at)));
    revoked.hand_over();
    share(&mut [&mut first, &mut second]).await;
}

#[tokio::test]
async fn a_member_that_comes_back_under_its_name_has_what_it_had() {
    let Some(subject) = OnKafka::open("named").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let mut first = Member::join(&subject, Protocol::Broker, Some("one"));
    share(&mut [&mut first]).await;
    let mut second = Member::join(&subject, Protocol::Broker, Some("two"));
    share(&mut [&mut first, &mut second]).await;
    let (had, changes) = (second.works.clone(), first.changes);
    drop(second);
    let mut second = Member::join(&subject, Protocol::Broker, Some("two"));
    within("what it had", async {
        while second.works.is_empty() {
            tokio::select! {
                () = second.step() => {}
                () = first.step() => panic!("the other hears of it"),
            }
        }
    })
    .await;
    assert_eq!(second.works, had);
    assert_eq!(first.changes, changes);
}

#[tokio::test]
async fn what_a_killed_member_worked_goes_to_the_others() {
    let Some(subject) = OnKafka::open("killed").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let mut first = Member::join(&subject, Protocol::Broker, None);
    share(&mut [&mut first]).await;
    let mut killed = Process::start(&subject);
    within("the other's share", async {
        while first.works.len() > PARTITIONS as usize / 2 {
            first.step().await;
        }
    })
    .await;
    assert!(killed.line().contains("assigned 3"), "the process says what it works");
    killed.kill();
    share(&mut [&mut first]).await;
}

#[tokio::test]
async fn what_is_reported_shows_to_tools_that_look_for_lag() {
    let Some(subject) = OnKafka::open("reported").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let mut member = Member::join(&subject, Protocol::Broker, None);
    share(&mut [&mut member]).await;
    member.membership.report(&[(subject.at(0), 7), (subject.at(3), 9)]);
    let tool: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", subject.settings.brokers.join(","))
        .set("group.id", subject.name("group"))
        .create()
        .expect("is made");
    let mut asked = TopicPartitionList::new();
    for partition in [0, 3] {
        asked.add_partition(&subject.name("t"), partition);
    }
    let committed = within("the report", async {
        loop {
            let found = tool.committed_offsets(asked.clone(), Duration::from_secs(10)).expect("answers");
            let offsets: Vec<Offset> = found.elements().iter().map(|element| element.offset()).collect();
            if !offsets.contains(&Offset::Invalid) {
                return offsets;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(committed.await, [Offset::Offset(7), Offset::Offset(9)]);
}

#[tokio::test]
async fn a_projection_begins_where_a_group_has_come_to() {
    let Some(subject) = OnKafka::open("adopted").await else { return };
    subject.create_topic("t", PARTITIONS).await;
    let record = |partition| NewRecord {
        partition: Some(partition),
        value: Some("{}".into()),
        ..NewRecord::default()
    };
    subject.append("t", (0..18).map(|number| record(3 * (number % 2))).collect()).await.expect("is appended");
    let old: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", subject.settings.brokers.join(","))
        .set("group.id", subject.name("old"))
        .create()
        .expect("is made");
    let committed = |offset: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&subject.name("t"), 0, Offset::Offset(offset)).expect("is an offset");
        old.commit(&list, CommitMode::Sync).expect("is committed");
    };
    let project = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(project.path().join(path).parent().expect("it has one"))
            .expect("a folder is made");
        std::fs::write(project.path().join(path), text).expect("it is written");
    };
    write(
        "schema/a.graphql",
        "type Query { a(id: ID!): A @read } type A @key(fields: \"id\") @table(name: \"a\", partition: \"id\") { id: ID! }",
    );
    let start = format!("start: {{ group: {} }}", subject.name("old"));
    let from = format!(
        "from: {{ topic: {}, format: json, type: event.type, recordKey: event.id, {start} }}",
        subject.name("t")
    );
    write(
        "projections/a.yaml",
        &format!(
            "projection: a\ninto: A\n{from}\nkey: {{ id: event.id }}\nunknown: park\nevents: {{ Made: {{ upsert: {{}} }} }}\n"
        ),
    );
    let definitions = Arc::new(
        engine::load(project.path(), &Default::default())
            .expect("can be read")
            .definitions
            .expect("they are right"),
    );

    committed(7);
    let began = engine::starts(&definitions, subject.source(), &[]).await.expect("it is found");
    let offsets = |began: &[Began]| began.iter().map(|began| began.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&began), [7, 0, 0, 0, 0, 0], "where nothing was committed, all is read");
    // The group goes on; what was found stays.
    committed(8);
    let again = engine::starts(&definitions, subject.source(), &began).await.expect("it is known");
    assert_eq!(offsets(&again), offsets(&began));
    committed(10);
    let refused =
        engine::starts(&definitions, subject.source(), &[]).await.expect_err("the log has no such offset");
    assert!(
        refused.to_string().contains("0 is 10, where the log has offsets from 0 to its end at 9"),
        "{refused}"
    );
}

/// A member in a process of its own: this program, told to be one.
struct Process {
    child: Child,
    output: BufReader<Box<dyn Read + Send>>,
}

const ROLE: &str = "KINORA_TEST_GROUP_MEMBER";

impl Process {
    fn start(subject: &OnKafka) -> Process {
        let role = [subject.settings.brokers.join(","), subject.name("group"), subject.name("t")].join(" ");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "kafka::group::member_of_a_test", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("is piped"));
        Process { child, output: BufReader::new(output) }
    }

    /// The next line that the member says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.contains("member:") {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).expect("is text"), 0, "the member has ended");
        }
        line
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing, but where another test starts it as a process.
#[tokio::test]
async fn member_of_a_test() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [brokers, group, topic] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let settings =
        Settings { brokers: vec![brokers.to_owned()], group: group.to_owned(), ..Settings::default() };
    let mut membership = Membership::join(&settings, &[topic], Protocol::Broker).expect("joins");
    loop {
        match membership.change().await {
            Change::Assigned(partitions) if partitions.is_empty() => {}
            Change::Assigned(partitions) => {
                let mut out = std::io::stdout();
                writeln!(out, "member: assigned {}", partitions.len()).expect("can be written");
                out.flush().expect("can be written");
            }
            other => panic!("{other:?}"),
        }
    }
}
