//! The engine inside another program, and reading one's own writes while many write.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::support::{Project, ask, record, written};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_reads_what_they_wrote_while_all_write_at_once() {
    const WRITERS: usize = 16;
    const WRITES: usize = 40;
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let engine = Arc::clone(&engine);
        writers.push(tokio::spawn(async move {
            for write in 0..WRITES {
                let (id, text) = (format!("n{}", (writer + write) % 5), format!("{writer}/{write}"));
                let own = format!("own-{writer}");
                let events = vec![record(&written(&own, &text)), record(&written(&id, &text))];
                let positions = engine.publish("notes", events).await.expect("published");
                let query = format!(
                    "{{ own: note(id: \"{own}\") {{ text }} shared: note(id: \"{id}\") {{ text }} }}"
                );
                let answer = ask(&engine, &query, &positions).await;
                assert_eq!(answer["data"]["own"]["text"], json!(text), "{answer}");
                assert!(answer["data"]["shared"]["text"].is_string(), "{answer}");
                assert!(answer["extensions"]["kinora"].get("stale").is_none(), "{answer}");
                for position in &positions {
                    let reached = &answer["extensions"]["kinora"]["position"]["notes"]
                        [position.at.partition.to_string()];
                    assert!(reached.as_u64().is_some_and(|reached| reached >= position.offset), "{answer}");
                }
            }
        }));
    }
    for writer in writers {
        writer.await.expect("no writer fails");
    }
    let status = engine.status().await;
    let events: u64 = status.projections[0].partitions.iter().map(|partition| partition.position).sum();
    assert_eq!(events, (WRITERS * WRITES * 2) as u64);
    engine.shut_down().await;
}

#[tokio::test]
async fn an_engine_catches_up_with_what_was_published_before_it_had_definitions() {
    let project = Project::notes();
    let engine = project.engine();
    assert!(engine.serving().is_none() && engine.status().await.generation == 0);
    let events: Vec<_> = (0..100).map(|number| record(&written(&format!("n{}", number % 10), "x"))).collect();
    let positions = engine.publish("notes", events).await.expect("published");
    engine.take_over(project.definitions()).await.expect("it answers");
    let status = engine.status().await;
    assert_eq!((status.generation, status.projections[0].lag_events), (1, 0));
    let answer: Json = ask(&engine, "{ note(id: \"n9\") { text } }", &positions).await;
    assert_eq!(answer["data"]["note"]["text"], json!("x"));
    engine.shut_down().await;
    assert!(engine.serving().is_none(), "what was shut down answers nothing");
}
