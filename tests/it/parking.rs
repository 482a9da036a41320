//! Parked keys outlive a restart, a corrected projection takes them up again, and operators set them free.

use serde_json::json;

use kinora::store::all_parked;

use crate::support::{Dev, Project, ask, projection, record, until, written};

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

fn eaten(id: &str) -> serde_json::Value {
    json!({ "type": "NoteEaten", "id": id })
}

#[tokio::test]
async fn operators_set_keys_free_with_and_without_a_running_dev() {
    let project = Project::notes();
    let mut dev = Some(Dev::start(&project).await.ready().await);
    for (round, running) in [("one", true), ("two", false)] {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        if dev.is_none() {
            dev = Some(Dev::start(&project).await.ready().await);
        }
        let live = dev.take().expect("it was started");
        let events = [
            written(&a, "before"),
            eaten(&a),
            written(&a, "between"),
            eaten(&a),
            written(&a, "after"),
            eaten(&b),
            written(&b, "waits"),
        ];
        let position = live.publish("notes", &events).await;
        assert_eq!(live.text(&a, &position).await.as_deref(), Some("before"));
        if running {
            dev = Some(live);
        } else {
            live.signal("TERM").await;
        }
        let (key_a, key_b) = (format!(r#"{{"id":"{a}"}}"#), format!(r#"{{"id":"{b}"}}"#));
        let parked = |arguments: &[&str]| project.run(&[&["parked"], arguments].concat());
        // What cannot be right still is not, and says so.
        parked(&["retry", &key_a]).says(1, &["4 events wait", "@1: event type NoteEaten is not known"]);
        let done = parked(&["skip-first", &key_a, "--format", "json"]).says(1, &[]).json();
        assert_eq!((&done["skipped"], &done["applied"], &done["waiting"]), (&json!(1), &json!(1), &json!(2)));
        let stopped = done["stopped"].as_str().expect("it stopped at the next");
        assert!(stopped.contains("event type NoteEaten is not known"), "{stopped}");
        parked(&["skip-first", &key_a])
            .says(0, &["1 event applied", "1 event skipped", "nothing waits any more"]);
        parked(&["retry", &key_a]).says(2, &["nothing is parked under"]);
        let listed = parked(&["list", "--format", "json"]).says(0, &[]).json();
        let id = listed[0]["id"].as_str().expect("an id");
        assert_eq!((listed.as_array().map(Vec::len), &listed[0]["key"]), (Some(1), &json!(key_b)));
        parked(&["drop", id]).says(0, &["2 events dropped", "nothing waits any more"]);
        parked(&["list"]).says(0, &["nothing is parked"]);
        if dev.is_none() {
            dev = Some(Dev::start(&project).await.ready().await);
        }
        let live = dev.as_ref().expect("it was started");
        assert_eq!(live.text(&a, "").await.as_deref(), Some("after"));
        assert_eq!(live.text(&b, "").await, None);
        // What was passed is passed: the next event of the key is applied.
        let position = live.publish("notes", &[written(&b, "new")]).await;
        assert_eq!(live.text(&b, &position).await.as_deref(), Some("new"));
    }
    let status = dev.expect("it runs").status().await;
    let one = &status["projections"][0];
    let counts = ["parked_keys", "parked_retried", "parked_skipped", "parked_dropped"].map(|name| &one[name]);
    assert_eq!(counts, [&json!(0), &json!(4), &json!(4), &json!(4)], "{status}");
}

#[tokio::test]
async fn a_key_parked_by_its_record_waits_until_the_bad_record_is_skipped() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let lines = [
        r#"{"key":"a","value":"no object"}"#,
        r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":"first"}}"#,
        r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":7}}"#,
        r#"{"key":"a","value":{"type":"NoteWritten","id":"a","text":"last"}}"#,
    ];
    let headers = [("content-type", "application/x-ndjson")];
    let reply = dev.post("/topics/notes", &headers, &lines.join("\n")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let listed = until("it is parked", async || {
        let listed = project.run(&["parked", "list", "--format", "json"]).json();
        (listed[0]["waiting"] == json!(4)).then_some(listed)
    });
    assert_eq!(listed.await[0]["key"], json!("a"));
    let body = json!({ "query": "{ note(id: \"a\") { text } }" }).to_string();
    let ask = async || {
        let reply = dev.post("/graphql", &[("content-type", "application/json")], &body).await;
        serde_json::from_slice::<serde_json::Value>(&reply.body).expect("JSON")
    };
    let answer = ask().await;
    assert_eq!(answer["extensions"]["kinora"]["parked"][0]["key"], json!("a"), "{answer}");
    // The rest goes on to its row, which refuses the third and is parked for it.
    project.run(&["parked", "skip-first", "a"]).says(0, &["3 events applied", "1 event skipped"]);
    let answer = ask().await;
    assert_eq!(answer["data"]["note"]["text"], json!("first"));
    let mark = &answer["extensions"]["kinora"]["parked"][0];
    assert_eq!((&mark["key"], &mark["path"]), (&json!(r#"{"id":"a"}"#), &json!(["note"])), "{answer}");
    project.run(&["parked", "skip-first", r#"{"id":"a"}"#]).says(0, &["1 event applied"]);
    let answer = ask().await;
    assert_eq!(answer["data"]["note"]["text"], json!("last"));
    assert!(answer["extensions"]["kinora"].get("parked").is_none(), "{answer}");
}

#[tokio::test]
async fn parked_keys_and_their_queues_are_listed_in_pages() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let ids: Vec<String> = (0..7).map(|number| format!("n{number}")).collect();
    let events: Vec<_> = ids.iter().flat_map(|id| [eaten(id), eaten(id), eaten(id)]).collect();
    let position = dev.publish("notes", &events).await;
    dev.text("n0", &position).await;
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    while found.len() < ids.len() {
        let mut arguments = vec!["parked", "list", "--limit", "3", "--format", "json"];
        arguments.extend(after.iter().flat_map(|after| ["--after", after]));
        let listed = project.run(&arguments).says(0, &[]).json();
        let listed = listed.as_array().expect("a list");
        assert!((1..=3).contains(&listed.len()));
        found.extend(listed.iter().map(|key| key["key"].as_str().expect("a key").to_owned()));
        after = listed.last().and_then(|key| Some(key["id"].as_str()?.to_owned()));
    }
    found.sort();
    let expected: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    assert_eq!(found, expected);
    project.run(&["parked", "list", "--limit", "2"]).says(0, &["more with --after notes/r"]);
    project.run(&["parked", "list", "--projection", "others"]).says(0, &["nothing is parked"]);
    let show = |more: &[&str]| {
        let arguments =
            [&["parked", "show", r#"{"id":"n3"}"#, "--limit", "2", "--format", "json"], more].concat();
        project.run(&arguments).says(0, &[]).json()[0]["queue"].clone()
    };
    let first = show(&[]);
    let rest = show(&["--after", first[1]["id"].as_str().expect("an id")]);
    assert_eq!((first.as_array().map(Vec::len), rest.as_array().map(Vec::len)), (Some(2), Some(1)));
    assert_ne!(first[1]["position"], rest[0]["position"]);
    for (arguments, code, said) in [
        (["list", "--after", "here"], 2, "\"here\" is not what was listed"),
        (["list", "--limit", "0"], 2, "--limit"),
    ] {
        let ended = project.run(&[&["parked"][..], &arguments].concat());
        // A running process answers what it refuses with 400.
        assert!(ended.code == Some(code) || ended.code == Some(4), "{ended:?}");
        ended.says(ended.code.expect("it ended"), &[said]);
    }
}

#[tokio::test]
async fn a_projection_of_which_too_large_a_share_is_parked_halts_before_it_writes_more() {
    let project = Project::notes();
    // Two of ten thousand.
    project.write("kinora.toml", "[parking]\nmax_share = 0.0002\n");
    let dev = Dev::start(&project).await.ready().await;
    let position = dev.publish("notes", &[eaten("a"), eaten("b"), eaten("a"), written("c", "x")]).await;
    assert_eq!(dev.text("c", &position).await.as_deref(), Some("x"));
    dev.publish("notes", &[eaten("d")]).await;
    let state = until("it halts", async || {
        let status = dev.status().await;
        let state = status["projections"][0]["state"].as_str().expect("a text").to_owned();
        state.starts_with("halted").then_some(state)
    });
    let state = state.await;
    let said =
        "3 of 10000 events in a row parked a key, more than `parking.max_share` allows (0.0002); the last: ";
    assert!(state.contains(said), "{state}");
    let listed = project.run(&["parked", "list", "--format", "json"]).says(0, &[]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    // Its keys can be set free all the same.
    project.run(&["parked", "drop", r#"{"id":"a"}"#]).says(0, &["2 events dropped"]);
}
