//! `kinora dev` ends and begins again: on the same data, with other definitions, on data that are not whole.

use serde_json::json;

use tokio::io::AsyncWriteExt;

use crate::support::{Dev, Project, projection, until, written};

#[tokio::test]
async fn a_signal_ends_it_at_once_and_the_next_one_goes_on() {
    let project = Project::notes();
    for (round, signal) in ["TERM", "INT", "KILL"].into_iter().enumerate() {
        let dev = Dev::start(&project).await.ready().await;
        let position = dev.publish("notes", &[written(&format!("n{round}"), signal)]).await;
        for earlier in 0..=round {
            assert!(dev.text(&format!("n{earlier}"), &position).await.is_some(), "{earlier}");
        }
        dev.prints("generation 1 answers").await;
        let start = std::time::Instant::now();
        let status = dev.signal(signal).await;
        assert!(start.elapsed() < std::time::Duration::from_secs(10), "{signal}");
        if signal != "KILL" {
            assert_eq!(status.code(), Some(0), "{signal}");
            assert!(!project.data().join("endpoint").exists(), "{signal}");
        }
    }
}

#[tokio::test]
async fn definitions_that_changed_in_between_make_a_new_generation() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    dev.publish("notes", &[written("a", "x")]).await;
    dev.signal("TERM").await;
    project.write("projections/notes.yaml", &projection("event.text + \"!\""));
    project.run(&["status"]).says(0, &["the definitions have changed since the rows were made"]);
    let dev = Dev::start(&project).await.ready().await;
    dev.prints("generation 2 answers, 1 event folded").await;
    assert_eq!(dev.text("a", "").await.as_deref(), Some("x!"));
}

#[tokio::test]
async fn faulty_definitions_at_the_start_are_shown_and_answer_once_corrected() {
    let project = Project::notes();
    project.write("projections/notes.yaml", &projection("evnt.text"));
    let dev = Dev::start(&project).await;
    dev.prints("nothing answers until this is corrected").await;
    let status = dev.status().await;
    assert_eq!((&status["generation"], status["diagnostics"].as_array().map(Vec::len)), (&json!(0), Some(1)));
    let position = dev.publish("notes", &[written("a", "x")]).await;
    project.write("projections/notes.yaml", &projection("event.text"));
    dev.prints("generation 1 answers, 1 event folded").await;
    assert_eq!(dev.text("a", &position).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn what_is_in_use_is_named_with_a_way_out() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    let address = dev.endpoint().address.to_string();
    project
        .run(&["dev", "--listen", "127.0.0.1:0"])
        .says(4, &["is in use by a `kinora dev` at http://", "--data takes another directory"]);
    let other = project.path().join("other");
    let other = other.to_str().expect("a path of text");
    project
        .run(&["dev", "--listen", &address, "--data", other])
        .says(4, &[&format!("cannot listen on {address}"), "--listen takes another address"]);
    let file = project.path().join("schema/notes.graphql");
    project
        .run(&["dev", "--data", file.to_str().expect("a path of text")])
        .says(4, &["the data directory", "cannot be used", "--data takes another"]);
    assert_eq!(dev.get("/health/ready").await.status, 200, "the running one is not disturbed");
}

#[tokio::test]
async fn damaged_data_end_it_with_their_name_and_what_to_do() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    dev.publish("notes", &[written("a", "x")]).await;
    dev.publish("notes", &[written("a", "y")]).await;
    dev.signal("TERM").await;

    let log = project.data().join("log/notes");
    let segment = (0..4)
        .map(|partition| log.join(format!("{partition}/00000000000000000000.log")))
        .find(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0))
        .expect("one partition has the records");
    let whole = std::fs::read(&segment).expect("readable");
    let mut damaged = whole.clone();
    damaged[whole.len() / 4] ^= 0xff;
    std::fs::write(&segment, &damaged).expect("writable");
    let says = ["the log is damaged", "00000000000000000000.log", "restore "];
    project.run(&["dev", "--listen", "127.0.0.1:0"]).says(5, &says);
    project.run(&["status"]).says(5, &says);
    std::fs::write(&segment, &whole).expect("writable");

    let current = project.data().join("store/keyspaces/0/current");
    std::fs::write(&current, "no number of a version").expect("writable");
    project.run(&["dev", "--listen", "127.0.0.1:0"]).says(5, &["the store's data is damaged", "move "]);

    std::fs::remove_dir_all(project.data().join("store")).expect("the advice can be followed");
    let dev = Dev::start(&project).await.ready().await;
    dev.prints("generation 1 answers, 2 events folded").await;
    assert_eq!(dev.text("a", "").await.as_deref(), Some("y"));
}

#[tokio::test]
async fn a_log_that_has_lost_records_of_which_rows_were_made_takes_no_others_in_their_place() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    for text in ["x", "y"] {
        let position = dev.publish("notes", &[written("a", text)]).await;
        assert_eq!(dev.text("a", &position).await.as_deref(), Some(text));
    }
    dev.signal("TERM").await;
    let log = project.data().join("log/notes");
    let segment = (0..4)
        .map(|partition| log.join(format!("{partition}/00000000000000000000.log")))
        .find(|path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0))
        .expect("one partition has the records");
    let whole = std::fs::read(&segment).expect("readable");
    std::fs::write(&segment, &whole[..whole.len() - 1]).expect("writable");
    let says =
        ["ends at offset 1, but rows were made of what lay before 2", "the log has lost its last records"];
    project.run(&["dev", "--listen", "127.0.0.1:0"]).says(5, &says);
    project.run_with(&["publish", "notes"], "{\"key\":\"a\",\"value\":{}}\n").says(5, &says);
    std::fs::write(&segment, &whole).expect("writable");
    let dev = Dev::start(&project).await.ready().await;
    assert_eq!(dev.text("a", "").await.as_deref(), Some("y"));
}

#[tokio::test]
async fn a_log_that_was_begun_anew_under_old_rows_is_refused_with_advice() {
    let project = Project::notes();
    let dev = Dev::start(&project).await.ready().await;
    dev.publish("notes", &[written("a", "x")]).await;
    dev.signal("TERM").await;
    std::fs::remove_dir_all(project.data().join("log")).expect("the log is there");
    let dev = Dev::start(&project).await;
    dev.prints("nothing answers until this is corrected").await;
    let err = dev.err();
    assert!(err.contains("was created anew") && err.contains("move `store` out"), "{err}");
    assert_eq!(dev.get("/health/ready").await.status, 503);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_requests() {
    let project = Project::notes();
    project.write("kinora.toml", "[serve]\ndrain = \"10m\"\n");
    let dev = Dev::start(&project).await.ready().await;
    let mut stream = tokio::net::TcpStream::connect(dev.endpoint().address).await.expect("it listens");
    stream.write_all(b"GET /health/live HT").await.expect("sent");
    let address = dev.endpoint().address;
    // A connection of which nothing was read yet would be closed: others that came after it are answered first.
    for _ in 0..10 {
        assert_eq!(dev.get("/health/live").await.status, 200);
    }
    dev.tell("TERM");
    until("it takes no more", async || tokio::net::TcpStream::connect(address).await.err()).await;
    let status = dev.signal("TERM").await;
    assert_eq!(status.code(), Some(130));
    assert!(!project.data().join("endpoint").exists());
}
