//! A project on two engines at once, one on the store in memory and one on the store on disk: whatever is asked, both
//! answer the same.

use std::sync::Arc;

use serde_json::Value as Json;

use kinora::engine::{Embedded, EmbeddedSettings};
use kinora::event::Position;
use kinora::source::NewRecord;
use kinora::source::broker::Broker;
use kinora::store::embedded::{Durability, EmbeddedStore};
use kinora::store::memory::MemoryStore;
use kinora::store::{Store, all_parked};

use crate::support::{Project, ask_at, record};

/// A read model `T` that takes over the fields of events `Set`, and is deleted by `Gone`.
pub fn upserting(columns: &[&str]) -> String {
    let sets: Vec<String> = columns.iter().map(|column| format!("{column}: event.{column}")).collect();
    format!(
        "projection: things\ninto: T\nfrom: {{ topic: things, format: json, type: event.type, recordKey: event.id }}\n\
         key: {{ id: event.id }}\nunknown: park\nevents:\n  Set: {{ upsert: {{ {} }} }}\n  Gone: {{ delete: row }}\n",
        sets.join(", ")
    )
}

/// A project of one schema and one projection.
pub fn project(schema: &str, projection: &str) -> Project {
    let project = Project::empty();
    project.write("schema/model.graphql", schema);
    project.write("projections/things.yaml", projection);
    project
}

/// Both stores with the project's definitions; each answers whatever is published to it.
pub struct Both {
    pub engines: Vec<Arc<Embedded>>,
    last: Vec<Vec<Position>>,
    _project: Project,
}

impl Both {
    pub async fn start(schema: &str, projection: &str) -> Both {
        Both::start_with(schema, projection, &[]).await
    }

    /// With more projections, by name.
    pub async fn start_with(schema: &str, projection: &str, more: &[(&str, &str)]) -> Both {
        let project = project(schema, projection);
        for (name, text) in more {
            project.write(&format!("projections/{name}.yaml"), text);
        }
        let mut engines = Vec::new();
        for name in ["memory", "disk"] {
            let directory = project.data().join(name);
            std::fs::create_dir_all(&directory).expect("a folder can be made");
            let broker = Broker::open(&directory.join("log")).expect("the log opens");
            let store: Arc<dyn Store> = match name {
                "memory" => Arc::new(MemoryStore::new()),
                _ => Arc::new(
                    EmbeddedStore::open(&directory.join("store"), Durability::default())
                        .expect("the store opens"),
                ),
            };
            let engine = Embedded::idle(Arc::new(broker), store, EmbeddedSettings::new("a key for cursors"));
            engine.take_over(project.definitions()).await.expect("it answers");
            engines.push(engine);
        }
        Both { last: vec![Vec::new(); engines.len()], engines, _project: project }
    }

    /// Publishes events under their `id`.
    pub async fn publish(&mut self, events: &[Json]) {
        self.publish_to("things", "id", events).await;
    }

    /// Publishes events under their `id`, all before any is folded alone.
    pub async fn publish_at_once(&mut self, events: &[Json]) {
        for (engine, last) in self.engines.iter().zip(&mut self.last) {
            let keyed = |event: &Json| {
                let key = event["id"].as_str().map(|key| key.to_owned().into());
                NewRecord { key, ..record(event) }
            };
            let records = events.iter().map(keyed).collect();
            for position in engine.publish("things", records).await.expect("published") {
                last.retain(|known: &Position| known.at != position.at);
                last.push(position);
            }
            engine.catch_up().await.expect("folded");
        }
    }

    /// Publishes events to a topic, under this field of theirs.
    pub async fn publish_to(&mut self, topic: &str, key: &str, events: &[Json]) {
        for (engine, last) in self.engines.iter().zip(&mut self.last) {
            for event in events {
                let key = event[key].as_str().map(|key| key.to_owned().into());
                let positions =
                    engine.publish(topic, vec![NewRecord { key, ..record(event) }]).await.expect("published");
                for position in positions {
                    last.retain(|known: &Position| known.at != position.at);
                    last.push(position);
                }
            }
        }
    }

    /// The whole answer to a query, the same from both stores, not older than what was published.
    #[track_caller]
    pub fn ask<'q>(&'q self, query: &'q str) -> impl Future<Output = Json> + 'q {
        self.ask_at(query, None)
    }

    /// As [`Both::ask`], at a time.
    #[track_caller]
    pub fn ask_at<'q>(&'q self, query: &'q str, at_ms: Option<i64>) -> impl Future<Output = Json> + 'q {
        let caller = std::panic::Location::caller();
        async move {
            let mut answers = Vec::new();
            for (engine, last) in self.engines.iter().zip(&self.last) {
                let mut answer = ask_at(engine, query, last, at_ms).await;
                answer.as_object_mut().expect("an object").remove("extensions");
                answers.push(answer);
            }
            assert_eq!(answers[0], answers[1], "the stores differ, asked at {caller}");
            answers.remove(0)
        }
    }

    /// What the query answers, which has no errors.
    #[track_caller]
    pub fn data<'q>(&'q self, query: &'q str) -> impl Future<Output = Json> + 'q {
        self.free_of_errors(query, None)
    }

    /// As [`Both::data`], at a time, milliseconds since 1970.
    #[track_caller]
    pub fn data_at<'q>(&'q self, query: &'q str, at_ms: i64) -> impl Future<Output = Json> + 'q {
        self.free_of_errors(query, Some(at_ms))
    }

    #[track_caller]
    fn free_of_errors<'q>(&'q self, query: &'q str, at_ms: Option<i64>) -> impl Future<Output = Json> + 'q {
        let caller = std::panic::Location::caller();
        async move {
            let mut answer = self.ask_at(query, at_ms).await;
            assert_eq!(answer.get("errors"), None, "asked at {caller}");
            answer["data"].take()
        }
    }

    /// The reason why the only parked key waits; `None` where none does.
    pub async fn parked(&self) -> Option<String> {
        let mut reasons = Vec::new();
        for engine in &self.engines {
            let tables = Arc::clone(&engine.serving().expect("it answers").tables);
            let parked = all_parked(tables.as_ref()).await.expect("readable");
            reasons.push(parked.values().next().map(|entry| entry.reason.to_string()));
        }
        assert_eq!(reasons[0], reasons[1], "the stores differ");
        reasons.remove(0)
    }

    pub async fn end(self) {
        for engine in self.engines {
            engine.shut_down().await;
        }
    }
}
