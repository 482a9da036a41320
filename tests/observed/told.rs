//! What `kinora project` and `kinora serve` tell of themselves: their metrics, together, are of all that was published.

use std::collections::{BTreeMap, BTreeSet};

use kinora::observe::list::ALL;
use kinora::sample::{self, SHOP_TOPICS, SampleEvent};

use crate::deployment::Deployment;
use crate::exposition::Scrape;
use crate::process::Process;
use crate::{NOW_MS, number};

async fn scrape(process: &Process) -> Scrape {
    let reply = process.reply("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let scrape = Scrape::read(&text).unwrap_or_else(|reason| panic!("{reason}\n{text}"));
    let name = |listed: &str| listed.strip_suffix("_total").unwrap_or(listed).to_owned();
    let listed: BTreeSet<String> = ALL.iter().map(|one| name(one.name)).collect();
    let strange: Vec<&String> =
        scrape.families.iter().map(|family| &family.name).filter(|name| !listed.contains(*name)).collect();
    assert!(strange.is_empty(), "{strange:?} are not in the list");
    scrape
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_fold_and_answer_tell_together_what_was_published() {
    let Some(deployment) = Deployment::begin("observed").await else { return };
    let events: Vec<SampleEvent> = sample::shop(3, number("KINORA_CLUSTER_EVENTS", 2_000), NOW_MS).collect();
    let mut read_after = BTreeMap::new();
    deployment.publish(&[], &mut read_after);
    let folding = [deployment.project(), deployment.project()];
    let serving = deployment.serve();
    deployment.publish(&events, &mut read_after);
    serving.wait_until_read(&read_after).await;

    // Partitions may be on their way from one to the other.
    let begun = std::time::Instant::now();
    let seen = loop {
        let seen = [scrape(&folding[0]).await, scrape(&folding[1]).await];
        let sum = |name: &str| seen.iter().map(|seen| seen.sum(name, &[])).sum::<f64>();
        let of_serve = scrape(&serving).await.sum("kinora_position", &[]);
        if sum("kinora_lag_events") == 0.0 && sum("kinora_position") == of_serve {
            break seen;
        }
        assert!(begun.elapsed().as_secs() < 60, "they do not agree within a minute");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let both =
        |name: &str, labels: &[(&str, &str)]| seen.iter().map(|seen| seen.sum(name, labels)).sum::<f64>();
    for topic in SHOP_TOPICS {
        let published = events.iter().filter(|event| event.topic == topic).count() as f64;
        let of_it = [("topic", topic)];
        assert!(both("kinora_records_total", &of_it) >= published, "{topic}");
        assert_eq!(both("kinora_lag_events", &of_it), 0.0, "{topic}");
        let projections = both("kinora_position", &of_it) / published;
        assert!(projections >= 1.0 && projections.fract() == 0.0, "{topic}: each projection has all of it");
        assert_eq!(both("kinora_position", &of_it), both("kinora_log_end", &of_it));
    }
    assert!(both("kinora_rows_written_total", &[]) > 0.0);
    assert!(
        both("kinora_partitions_moved_total", &[("how", "taken")]) >= both("kinora_partitions", &[]) / 4.0
    );
    assert!(both("kinora_batch_duration_seconds_count", &[("projection", "orders")]) > 0.0);
    assert_eq!(both("kinora_reads_total", &[]) + both("kinora_operation_duration_seconds_count", &[]), 0.0);

    let seen = scrape(&serving).await;
    assert!(seen.sum("kinora_operation_duration_seconds_count", &[("kind", "query")]) >= 1.0);
    assert!(seen.sum("kinora_freshness_waits_total", &[("outcome", "reached")]) >= 1.0);
    assert!(seen.sum("kinora_reads_total", &[]) >= 4.0, "one of each projection");
    assert_eq!(seen.sum("kinora_position", &[]), both("kinora_position", &[]));
    assert_eq!(seen.sum("kinora_lag_events", &[]), 0.0);
    assert_eq!(seen.sum("kinora_projection_state", &[("state", "folded elsewhere")]), 4.0);
    assert_eq!(seen.sum("kinora_records_total", &[]), 0.0, "it folds nothing");
    assert!(seen.family("kinora_budget_bytes").is_none());
    for (name, process) in [("project", &folding[0]), ("project", &folding[1]), ("serve", &serving)] {
        let mib = scrape(process).await.sum("process_resident_memory_bytes", &[]) / f64::from(1 << 20);
        println!("{name} holds {mib:.0} MiB");
    }
    for process in folding {
        process.ends_well().await;
    }
    serving.ends_well().await;
}
