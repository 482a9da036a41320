//! Three nodes with three replicas: one is killed, one is held up, and two are killed together, while events flow.
//!
//! Only where `KINORA_CLUSTER_NODES=3` is set: it takes the memory of three nodes, and loopback addresses up to 127.0.0.3.

use std::time::Duration;

use crate::deployment::Deployment;
use crate::kafka_server::Server;
use crate::load::{Draws, Load, Log, Pace};
use crate::process::AT_MOST;
use crate::servers::free_ports;
use crate::servers::node::Node;
use crate::{compare, number, seed, sync};

const PACE: Pace = Pace { at_once: 20, every: Duration::from_millis(100) };

/// Runs what blocks for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it comes to its end")
}

/// Starts nodes one after the other, each in the first one's cluster.
fn start_nodes() -> Vec<Node> {
    let variables = [sync(), ("CASSANDRA_HEAP", "320m")];
    let ports = free_ports();
    let seed = format!("127.0.0.1:{}", ports[1]);
    let start = |number: u8| {
        let seed = (number > 1).then_some(seed.as_str());
        Node::start_at(&format!("127.0.0.{number}"), ports, seed, &variables)
    };
    (1..=3).map(start).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_nodes_of_three_were_killed_and_held_up() {
    if number("KINORA_CLUSTER_NODES", 0) != 3 {
        println!("three nodes were left out: set KINORA_CLUSTER_NODES=3");
        return;
    }
    println!("KINORA_SEED_BASE={}", seed());
    let (kafka, nodes) = blocking(|| (Server::start(false), start_nodes())).await;
    let all = nodes.iter().map(Node::address).collect::<Vec<_>>().join("\", \"");
    let deployment = Deployment::shop_on_three("nodes", (&kafka.address(), &all)).await;
    let folding = [deployment.project(), deployment.project()];
    let serving = deployment.serve();
    let draws = Draws::new(&deployment, seed(), 600);
    let mut load = Load::begin(&deployment.publisher, Log::default(), draws, PACE);
    load.wait_for_more(300).await;

    // One of three is no loss: all goes on while it is away.
    nodes[1].kill();
    load.wait_for_more(300).await;
    let log = load.end().await;
    serving.wait_until_read_within(&log.ends, 2 * AT_MOST).await;
    let nodes = blocking(move || {
        nodes[1].up();
        nodes
    });
    let nodes = nodes.await;
    let mut load = Load::begin(&deployment.publisher, log, Draws::new(&deployment, seed() + 1, 600), PACE);
    nodes[2].hold_up();
    load.wait_for_more(300).await;
    nodes[2].go_on();
    let log = load.end().await;
    // What the one missed that was killed it has from the others.
    serving.wait_until_read_within(&log.ends, 2 * AT_MOST).await;
    compare::all(&deployment, &serving, &log).await;

    // Two at once, as soon as the last event is acknowledged: one replica of each row goes on alone, and nobody has a quorum.
    let mut load = Load::begin(&deployment.publisher, log, Draws::new(&deployment, seed() + 2, 600), PACE);
    load.wait_for_more(300).await;
    let log = load.end().await;
    serving.wait_until_read_within(&log.ends, 2 * AT_MOST).await;
    nodes[0].kill();
    nodes[2].kill();
    let nodes = blocking(move || {
        nodes[0].up();
        nodes[2].up();
        nodes
    });
    let _nodes = nodes.await;
    let mut load = Load::begin(&deployment.publisher, log, Draws::new(&deployment, seed() + 3, 600), PACE);
    load.wait_for_more(300).await;
    let log = load.end().await;
    serving.wait_until_read_within(&log.ends, 2 * AT_MOST).await;
    compare::all(&deployment, &serving, &log).await;
    for process in folding {
        process.ends_well().await;
    }
    serving.ends_well().await;
}
