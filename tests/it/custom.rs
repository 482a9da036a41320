//! A handler written in Rust, as a program of its own would have it.
//!
//! A sensor sends temperatures; the read model keeps their middle value over the last five. No handler of the
//! projection language can say that: it would have to sort. `handler: median` names the one below, and all else
//! (key, position, parking, the graph) is as with a declared one.

use std::sync::Arc;

use serde_json::json;

use kinora::event::{Event, JsonValueTrait, Reject, Stage};
use kinora::fold::{Change, Fold};
use kinora::handler::CustomHandlers;
use kinora::store::all_parked;
use kinora::value::Value;

use crate::support::{Project, ask, record};

/// Readings that the middle is taken of.
const WINDOW: usize = 5;

const SCHEMA: &str = r#"
type Query { sensor(id: ID!): Sensor @read }
type Sensor @key(fields: "id") @table(name: "sensors", partition: "id") {
  id: ID!
  "The last five readings, oldest first."
  readings: [Float!]! @column(as: LIST, max: 5)
  middle: Float!
}
"#;

const PROJECTION: &str = "
projection: sensors
into: Sensor
from: { topic: sensors, format: json, type: event.type, recordKey: event.id }
key: { id: event.id }
unknown: park
handler: median
";

/// Folds `Measured` and `Retired`; cells stand in the order of the schema: id, readings, middle.
struct Median;

impl Fold for Median {
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        match &*event.kind {
            "Measured" => measured(row, event),
            "Retired" => Ok(Change::Delete),
            other => Err(reject(format!("event type {other} is not Measured or Retired"))),
        }
    }
}

fn measured(row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
    let celsius = event.body.get("celsius").and_then(|value| value.as_f64());
    let celsius = celsius.ok_or_else(|| reject("event.celsius is not a number".to_owned()))?;
    let id = event.body.get("id").and_then(|value| value.as_str().map(str::to_owned));
    let id = id.ok_or_else(|| reject("event.id is not a text".to_owned()))?;
    let mut readings: Vec<f64> = match row {
        Some([_, Value::List(readings), _]) => readings.iter().filter_map(number).collect(),
        _ => Vec::new(),
    };
    readings.push(celsius);
    let surplus = readings.len().saturating_sub(WINDOW);
    readings.drain(..surplus);
    let mut sorted = readings.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    let readings = readings.into_iter().map(Value::Float).collect();
    Ok(Change::Write(vec![Value::text(id), Value::List(readings), Value::Float(middle)]))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

fn reject(reason: String) -> Reject {
    Reject::new(Stage::Fold, reason)
}

fn project() -> Project {
    let project = Project::empty();
    project.write("schema/sensors.graphql", SCHEMA);
    project.write("projections/sensors.yaml", PROJECTION);
    project
}

fn handlers() -> CustomHandlers {
    CustomHandlers::from([("median".to_owned(), Arc::new(Median) as Arc<dyn Fold>)])
}

#[tokio::test]
async fn a_handler_in_rust_folds_into_rows_that_the_graph_answers() {
    let project = project();
    let engine = project.engine();
    engine.take_over(project.definitions_with(&handlers())).await.expect("it answers");
    let mut last = Vec::new();
    for celsius in [20.5, 90.0, 21.0, 19.5, 22.0, 23.0] {
        let event = json!({ "type": "Measured", "id": "s1", "celsius": celsius });
        last = engine.publish("sensors", vec![record(&event)]).await.expect("published");
    }
    let query = "{ sensor(id: \"s1\") { readings middle } }";
    let expected = json!({ "readings": [90.0, 21.0, 19.5, 22.0, 23.0], "middle": 22.0 });
    assert_eq!(ask(&engine, query, &last).await["data"]["sensor"], expected);

    let retired = record(&json!({ "type": "Retired", "id": "s1" }));
    let last = engine.publish("sensors", vec![retired]).await.expect("published");
    assert_eq!(ask(&engine, query, &last).await["data"]["sensor"], json!(null));
    engine.shut_down().await;
}

#[tokio::test]
async fn what_a_handler_in_rust_rejects_waits_with_its_reason() {
    let project = project();
    let engine = project.engine();
    engine.take_over(project.definitions_with(&handlers())).await.expect("it answers");
    let good = json!({ "type": "Measured", "id": "s1", "celsius": 20.0 });
    let bad = json!({ "type": "Measured", "id": "s1", "celsius": "warm" });
    let records = [&good, &bad, &good].map(record).to_vec();
    let last = engine.publish("sensors", records).await.expect("published");
    let answer = ask(&engine, "{ sensor(id: \"s1\") { readings } }", &last).await;
    assert_eq!(answer["data"]["sensor"]["readings"], json!([20.0]));
    let tables = Arc::clone(&engine.serving().expect("it answers").tables);
    let parked = all_parked(tables.as_ref()).await.expect("readable");
    let entry = parked.values().next().expect("a parked key");
    assert_eq!((&*entry.reason, entry.waiting), ("event.celsius is not a number", 2));
    engine.shut_down().await;
}

#[test]
fn a_handler_that_nobody_gave_is_named_with_the_way_to_give_it() {
    let ended = project().run(&["check"]);
    ended.says(3, &["there is no handler `median`", "given by the program that embeds the engine"]);
}
