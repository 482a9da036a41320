//! Statements of a process that folds are lost, late, applied without an answer, or cut off.
//!
//! `KINORA_CLUSTER_STORM` says how many events are published while it storms; `KINORA_SEED_BASE` draws other fates.

use std::time::Duration;

use crate::deployment::Deployment;
use crate::load::{Draws, Load, Log, Pace};
use crate::proxy::Proxy;
use crate::{compare, number, seed};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_writes_timed_out_applied_and_not() {
    let Some(deployment) = Deployment::shop("network").await else { return };
    let (count, seed) = (number("KINORA_CLUSTER_STORM", 2_000), seed());
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_STORM={count}");
    let proxy = Proxy::start(&deployment.cassandra().nodes[0], seed).await;
    let (node, serving) = (proxy.address(), deployment.serve());
    let mut processes = Vec::new();
    for _ in 0..2 {
        processes.push(
            deployment
                .project_with(&[("KINORA_CASSANDRA__NODES", &node), ("KINORA_CASSANDRA__TIMEOUT", "500ms")]),
        );
    }
    let pace = Pace { at_once: 20, every: Duration::from_millis(50) };
    let draws = Draws::new(&deployment, seed, count / 12);
    let mut load = Load::begin(&deployment.publisher, Log::default(), draws, pace);
    load.wait_for_more(20).await;
    proxy.storm(true);
    load.wait_for_more(count).await;
    while proxy.met().into_iter().any(|(_, met)| met == 0) {
        load.wait_for_more(100).await;
        assert!(load.count() < 20 * count, "not every fate was met: {:?}", proxy.met());
    }
    let log = load.end().await;
    proxy.storm(false);
    println!("{:?}", proxy.met());
    compare::all(&deployment, &serving, &log).await;
    for process in processes {
        process.ends_well().await;
    }
}
