//! Servers that are killed or held up while events flow: each comes back, and no row is lost, doubled or old.
//!
//! `KINORA_CLUSTER_OUTAGES` says how often broker and node are killed, `KINORA_CLUSTER_STALL` how many seconds the node is held
//! up while memory is watched, `KINORA_SEED_BASE` draws other events.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deployment::Deployment;
use crate::kafka_server::{self, Server};
use crate::load::{Draws, Load, Log, Pace};
use crate::process::Process;
use crate::servers::node::Node;
use crate::{compare, number, seed, sync};

const PACE: Pace = Pace { at_once: 20, every: Duration::from_millis(100) };

/// Longest wait for what was published while servers were away.
const AT_MOST: Duration = Duration::from_secs(240);

/// What a stalled process is allowed in memory, beyond what it had: `project.budget` twice, `project.cache`, `kafka.memory`
/// for each of the four projections, and what comes and goes.
const GROWTH_MAX: u64 = (2 * 4 + 1 + 4 + 19) << 20;

/// Bytes that make events long while the node is held up.
const PADDING: usize = 32 << 10;

/// The settings that this comes from.
const SMALL: [(&str, &str); 3] =
    [("KINORA_PROJECT__BUDGET", "4MiB"), ("KINORA_PROJECT__CACHE", "1MiB"), ("KINORA_KAFKA__MEMORY", "1MiB")];

/// Servers of this test's own: those that tests share are nobody's to kill.
struct Own {
    kafka: Arc<Server>,
    node: Arc<Node>,
}

impl Own {
    async fn start() -> Own {
        let node = std::thread::spawn(|| Node::start(&[sync()]));
        let start = || (Server::start(false), node.join().expect("Cassandra starts"));
        let (kafka, node) = tokio::task::spawn_blocking(start).await.expect("they start");
        Own { kafka: Arc::new(kafka), node: Arc::new(node) }
    }

    /// Kills the broker, and starts it again while events wait to be published.
    async fn kill_kafka(&self) {
        let kafka = Arc::clone(&self.kafka);
        kafka.kill();
        tokio::task::spawn_blocking(move || kafka.up()).await.expect("it starts again");
    }

    /// Kills the node, and starts it again while events flow.
    async fn kill_node(&self) {
        let node = Arc::clone(&self.node);
        node.kill();
        tokio::task::spawn_blocking(move || node.up()).await.expect("it starts again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_servers_were_killed_and_held_up_under_load() {
    if kafka_server::left_out("servers that are killed") {
        return;
    }
    let (outages, stall, seed) =
        (number("KINORA_CLUSTER_OUTAGES", 1), number("KINORA_CLUSTER_STALL", 10), seed());
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_OUTAGES={outages} KINORA_CLUSTER_STALL={stall}");
    let own = Own::start().await;
    let deployment = Deployment::shop_on("outage", (&own.kafka.address(), &own.node.address())).await;
    let mut folding = vec![deployment.project_with(&SMALL), deployment.project_with(&SMALL)];
    let serving = deployment.serve();
    let mut log = Log::default();
    for outage in 0..outages {
        let draws = Draws::new(&deployment, seed + outage as u64, 400);
        let mut load = Load::begin(&deployment.publisher, log, draws, PACE);
        load.wait_for_more(200).await;
        own.kill_kafka().await;
        load.wait_for_more(200).await;
        revive(&deployment, &mut folding).await;
        own.kill_node().await;
        load.wait_for_more(200).await;
        log = load.end().await;
        serving.wait_until_read_within(&log.ends, AT_MOST).await;
        compare::all(&deployment, &serving, &log).await;
        revive(&deployment, &mut folding).await;
    }
    for process in folding {
        process.ends_well_or_fenced().await;
    }
    let folding = deployment.project_with(&SMALL);
    // It has its partitions by then.
    let draws = &mut Draws::new(&deployment, seed, 400);
    log.publish(&deployment.publisher, draws, 200).await;
    serving.wait_until_read(&log.ends).await;
    let log = stalled(&deployment, (&own.node, &folding), log, (stall, seed)).await;
    serving.wait_until_read_within(&log.ends, AT_MOST).await;
    compare::all(&deployment, &serving, &log).await;
    folding.ends_well().await;
    serving.ends_well().await;
}

/// Starts others in the place of processes whose partitions the group gave away while the broker was gone.
async fn revive(deployment: &Deployment, folding: &mut [Process]) {
    for process in folding {
        if !process.runs() {
            std::mem::replace(process, deployment.project_with(&SMALL)).ends_well_or_fenced().await;
        }
    }
}

/// Holds the node up for so many seconds, while more events come than a process may hold in memory.
async fn stalled(
    deployment: &Deployment,
    (node, folding): (&Node, &Process),
    log: Log,
    (seconds, seed): (usize, u64),
) -> Log {
    let (before, published) = (folding.resident_bytes(), log.sent.len());
    let draws = Draws::new(deployment, seed, 400).padded(PADDING);
    let pace = Pace { at_once: 25, every: Duration::from_millis(100) };
    let load = Load::begin(&deployment.publisher, log, draws, pace);
    node.hold_up();
    let begun = Instant::now();
    let mut most = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let is_enough = || (load.count() - published) * PADDING > 2 * GROWTH_MAX as usize;
    while begun.elapsed() < Duration::from_secs(seconds as u64) || !is_enough() {
        assert!(begun.elapsed() < AT_MOST, "events do not flow");
        looks.tick().await;
        most = most.max(folding.resident_bytes());
    }
    node.go_on();
    let log = load.end().await;
    let came = ((log.sent.len() - published) * PADDING) >> 20;
    println!(
        "{} MiB, at most {} MiB while {came} MiB came in {:?}",
        before >> 20,
        most >> 20,
        begun.elapsed()
    );
    assert!(most < before + GROWTH_MAX, "{} MiB grew to {} MiB", before >> 20, most >> 20);
    log
}
