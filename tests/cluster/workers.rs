//! Processes that fold are killed, held up, and come and go, while events flow.
//!
//! `KINORA_CLUSTER_KILLS` and `KINORA_CLUSTER_EVENTS` make the run with kills longer, `KINORA_CLUSTER_CHANGES` the one in which
//! processes come and go every 2 s; `KINORA_SEED_BASE` draws other events and other moments.

use std::time::Duration;

use crate::deployment::Deployment;
use crate::load::{Draws, Load, Log, Pace};
use crate::process::AT_MOST;
use crate::process::Process;
use crate::{compare, number, seed};

/// How often a process joins or leaves.
const CHANGE_EVERY: Duration = Duration::from_secs(2);

/// Publishes in parts while one process after the other is killed and replaced.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_processes_were_killed_while_they_folded() {
    let Some(deployment) = Deployment::shop("killed").await else { return };
    let (kills, count) = (number("KINORA_CLUSTER_KILLS", 4), number("KINORA_CLUSTER_EVENTS", 6_000));
    let seed = seed();
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_KILLS={kills} KINORA_CLUSTER_EVENTS={count}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let (mut draws, mut log) = (Draws::new(&deployment, seed, count / 12), Log::default());
    let mut folding: Vec<_> = (0..3).map(|_| deployment.project()).collect();
    let serving = deployment.serve();
    let part = count.div_ceil(kills + 1);
    // Some of a part may still be folded while the next is published.
    let at_most = AT_MOST + Duration::from_millis(20 * part as u64);
    for round in 0..=kills {
        let before = log.ends.clone();
        log.publish(&deployment.publisher, &mut draws, part).await;
        if round < kills {
            // Soon after it was published, so that some of it is under way.
            tokio::time::sleep(Duration::from_millis(chance.u64(..600))).await;
            let victim = chance.usize(..3);
            folding[victim].kill();
            folding[victim] = deployment.project();
            serving.wait_until_read_within(&before, at_most).await;
        }
    }
    serving.wait_until_read_within(&log.ends, at_most).await;
    compare::all(&deployment, &serving, &log).await;
    for process in folding {
        process.ends_well_or_fenced().await;
    }
    serving.ends_well().await;
}

/// A process that was away for longer than the group waits for it writes nothing that stays, and says so: it hears from the
/// group that its partitions are lost, and takes its place anew; or, where it had something under way, it finds the epoch of
/// another in the store, and ends with 5.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_away_too_long_says_so_and_harms_nothing() {
    let Some(deployment) = Deployment::shop("away").await else { return };
    let (mut draws, mut log) = (Draws::new(&deployment, seed(), 250), Log::default());
    let old = deployment.project();
    let serving = deployment.serve();
    log.publish(&deployment.publisher, &mut draws, 1_500).await;
    serving.wait_until_read(&log.ends).await;
    log.publish(&deployment.publisher, &mut draws, 500).await;
    old.signal("STOP");
    // This only the other can fold, once the group has given the first one up.
    log.publish(&deployment.publisher, &mut draws, 500).await;
    let new = deployment.project();
    serving.wait_until_read(&log.ends).await;
    old.signal("CONT");
    let said = old.wait_until_said(&["Partitions are lost to the group.", "lost ownership of"]).await;
    println!("it said: {said}");
    log.publish(&deployment.publisher, &mut draws, 500).await;
    compare::all(&deployment, &serving, &log).await;
    let ended = old.told_to_end().await;
    assert!(ended.code == Some(0) || ended.code == Some(5), "{:?}: {}", ended.code, ended.said);
    new.ends_well().await;
    serving.ends_well().await;
}

/// A process joins or leaves every 2 s while events flow.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_right_after_processes_came_and_went_every_two_seconds() {
    let Some(deployment) = Deployment::shop("storm").await else { return };
    let (changes, seed) = (number("KINORA_CLUSTER_CHANGES", 5), seed());
    println!("KINORA_SEED_BASE={seed} KINORA_CLUSTER_CHANGES={changes}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut folding = vec![deployment.project(), deployment.project()];
    let serving = deployment.serve();
    let pace = Pace { at_once: 20, every: Duration::from_millis(100) };
    let draws = Draws::new(&deployment, seed, changes * 40);
    let mut load = Load::begin(&deployment.publisher, Log::default(), draws, pace);
    load.wait_for_more(100).await;
    let mut leaving: Vec<Process> = Vec::new();
    let mut ticks = tokio::time::interval(CHANGE_EVERY);
    for _ in 0..changes {
        ticks.tick().await;
        let joins = folding.len() < 2 || (folding.len() < 4 && chance.bool());
        if joins {
            folding.push(deployment.project());
        } else {
            let process = folding.swap_remove(chance.usize(..folding.len()));
            process.signal("TERM");
            leaving.push(process);
        }
    }
    load.wait_for_more(100).await;
    let log = load.end().await;
    compare::all(&deployment, &serving, &log).await;
    for process in leaving {
        process.ends_well_or_fenced().await;
    }
    for process in folding {
        process.ends_well_or_fenced().await;
    }
}

/// A process that has folded all of its own is not said to stand still because others fold theirs.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_folded_its_own_does_not_stand_still() {
    const STALL: Duration = Duration::from_secs(1);
    let Some(deployment) = Deployment::shop("still").await else { return };
    let folding = [(); 2].map(|()| deployment.project_with(&[("KINORA_PROJECT__STALL", "1s")]));
    let serving = deployment.serve();
    let (mut draws, mut log) = (Draws::new(&deployment, seed(), 50), Log::default());
    for _ in 0..2 {
        log.publish(&deployment.publisher, &mut draws, 200).await;
        serving.wait_until_read(&log.ends).await;
    }
    // What stood still while there was much to do may be said a moment longer.
    let mut looks = tokio::time::interval(STALL);
    for look in 0..6 {
        looks.tick().await;
        for process in folding.iter().filter(|_| look > 2) {
            let status = process.get("/status.json").await.to_string();
            assert!(status.contains("\"state\"") && !status.contains("stalled: "), "{status}");
        }
    }
    for process in folding {
        process.ends_well_or_fenced().await;
    }
}
