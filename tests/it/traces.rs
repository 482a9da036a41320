//! Traces of `kinora dev`, as a collector gets them; and what becomes of a process whose collector is away.

use serde_json::json;

use crate::exposition::Scrape;
use crate::spans::{Collector, Span};
use crate::support::{Dev, Project, kinora, until, written};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn dev<'p>(project: &'p Project, variables: &[(&str, String)]) -> Dev<'p> {
    let mut command = kinora();
    command.args(["dev", "--listen", "127.0.0.1:0", "--project"]).arg(project.path());
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    Dev::run(project, command).await.ready().await
}

fn children<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.parent == parent.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_a_batch_are_traced_with_their_steps() {
    let collector = Collector::start().await;
    let project = Project::notes();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
    let dev = dev(&project, &[endpoint, ("OTEL_SERVICE_NAME", "notes-read".to_owned())]).await;
    let position = dev.publish("notes", &[written("n1", "a text")]).await;
    assert!(dev.text("n1", &position).await.is_some());
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let headers = [
        JSON,
        ("x-read-after", position.as_str()),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let body =
        json!({ "query": "query NoteForPage { note(id: \"n1\") { text } }", "operationName": "NoteForPage" });
    assert_eq!(dev.post("/graphql", &headers, &body.to_string()).await.status, 200);
    // Its sender keeps no trace, so none is kept here.
    let unkept = ("traceparent", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    dev.post("/graphql", &[JSON, unkept], &body.to_string()).await;
    dev.post("/graphql", &[JSON, ("traceparent", "nonsense")], "{\"query\":\"{ __typename }\"}").await;

    let spans = until("request and batch are traced, with all of their steps", async || {
        let spans = collector.spans();
        let request = spans.iter().any(|span| span.name == "request" && span.trace == trace);
        let other =
            spans.iter().any(|span| span.attributes.get("kind").is_some_and(|kind| kind == "introspection"));
        let batch = spans.iter().any(|span| span.name == "batch");
        (request && other && batch).then_some(spans)
    });
    let spans = spans.await;
    let request =
        spans.iter().find(|span| span.name == "request" && span.trace == trace).expect("it is there");
    assert_eq!(request.parent, "b7ad6b7169203331");
    assert_eq!((&*request.attributes["operation"], &*request.attributes["kind"]), ("NoteForPage", "query"));
    assert_eq!(request.resource["service.name"], "notes-read");
    let mut steps: Vec<&str> = children(&spans, request).iter().map(|span| span.name.as_str()).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["plan", "read", "wait", "write"]);
    let read = children(&spans, request).into_iter().find(|span| span.name == "read").expect("it is there");
    assert_eq!((&*read.attributes["table"], &*read.attributes["keys"]), ("notes", "1"));
    for step in children(&spans, request) {
        assert_eq!(step.trace, request.trace);
        assert!(request.start <= step.start && step.start <= step.end && step.end <= request.end, "{step:?}");
    }
    assert!(spans.iter().all(|span| !span.trace.starts_with("1af765")), "its sender keeps none");

    let batch = spans.iter().find(|span| span.name == "batch").expect("it is there");
    assert!(batch.parent.is_empty(), "it begins a trace");
    let (partition, _) = position.rsplit_once('@').expect("a position");
    let at = format!("{}:{}", batch.attributes["topic"], batch.attributes["partition"]);
    assert_eq!((&*at, &*batch.attributes["projection"]), (partition, "notes"));
    let mut steps: Vec<&str> = children(&spans, batch).iter().map(|span| span.name.as_str()).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["commit", "decode", "fetch", "fold", "load"]);
    let busy = |name: &str| {
        let step = children(&spans, batch).into_iter().find(|span| span.name == name).expect("it is there");
        step.attributes["busy_ns"].parse::<u64>().expect("a number")
    };
    assert!(busy("decode") > 0 && busy("fold") > 0 && busy("commit") > 0);
    // Nothing that an event says is in a span.
    assert!(spans.iter().all(|span| span.attributes.values().all(|value| !value.contains("a text"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_nobody_up_and_the_loss_is_counted_and_said_once() {
    let nobody =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let project = Project::notes();
    project.write("kinora.toml", &format!("[telemetry]\ntraces = \"http://{nobody}\"\n"));
    let dev = dev(&project, &[]).await;
    let lost = async || {
        let scrape = Scrape::read(&dev.get("/metrics").await.text()).expect("it is well-formed");
        scrape.sum("kinora_spans_lost_total", &[("why", "not taken")])
    };
    for round in 0..3 {
        let before = lost().await;
        let position = dev.publish("notes", &[written("n1", &round.to_string())]).await;
        assert_eq!(dev.text("n1", &position).await, Some(round.to_string()));
        until("the loss is counted", async || (lost().await > before).then_some(())).await;
    }
    assert_eq!(dev.err().matches("Spans of traces are lost.").count(), 1, "{}", dev.err());
    assert_eq!(dev.signal("TERM").await.code(), Some(0), "nor does it hold up the end");
}
