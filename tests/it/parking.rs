//! Parked keys outlive a restart and a corrected projection takes them up again.

use serde_json::json;

use kinora::store::all_parked;

use crate::support::{Project, ask, projection, record, written};

#[tokio::test]
async fn a_parked_key_waits_over_a_restart_with_its_queue_in_order() {
    let project = Project::notes();
    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    let bad = json!({ "type": "NoteWritten", "id": "a", "text": 7 });
    let events = [written("a", "first"), bad, written("b", "other")].iter().map(record).collect();
    engine.publish("notes", events).await.expect("published");
    engine.catch_up().await.expect("it goes on");
    engine.shut_down().await;
    drop(engine);

    let engine = project.engine();
    engine.take_over(project.definitions()).await.expect("it answers");
    let last = engine.publish("notes", vec![record(&written("a", "later"))]).await.expect("published");
    let answer = ask(&engine, "{ note(id: \"a\") { text } other: note(id: \"b\") { text } }", &last).await;
    assert_eq!(answer["data"], json!({ "note": { "text": "first" }, "other": { "text": "other" } }));
    assert_eq!(answer["extensions"]["kinora"]["parked"][0]["path"], json!(["note"]), "{answer}");
    let tables = engine.serving().expect("it answers").tables.clone();
    let parked = all_parked(tables.as_ref()).await.expect("readable");
    let ((projection_name, key), entry) = parked.iter().next().expect("a parked key");
    assert_eq!((parked.len(), entry.waiting), (1, 2));
    let queue = tables.parked_queue(projection_name, key, None, 10).await.expect("readable");
    let offsets: Vec<_> = queue.iter().map(|event| event.offset).collect();
    assert_eq!(offsets.len(), 2);
    assert!(offsets.is_sorted(), "{offsets:?}");

    project.write("projections/notes.yaml", &projection("string(event.text)"));
    engine.take_over(project.definitions()).await.expect("it answers");
    let answer = ask(&engine, "{ note(id: \"a\") { text } }", &last).await;
    assert_eq!(
        answer["data"]["note"]["text"],
        json!("later"),
        "a corrected projection parks nothing: {answer}"
    );
    assert!(answer["extensions"]["kinora"].get("parked").is_none(), "{answer}");
    engine.shut_down().await;
}
