//! A shop: rows are written by hand, as a fold would write them. There are two stores, in memory and on disk, and
//! every answer is asked of both: they must be the same.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::watched::Watched;

use super::super::{Answer, Graph, GraphSettings, Limits, Outcome, Request};
use crate::diagnostic::Sources;
use crate::event::TopicPartition;
use crate::plan::{self, Feed, Plan, TableId, TableRole, key};
use crate::schema::{self, ObjectType, ReadModel};
use crate::store::embedded::{Durability, EmbeddedStore};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Mutation, ProgressMark, Store, Tables};
use crate::value::{Decimal, Value};

/// Definitions, tables and a graph over them.
pub struct Shop {
    pub model: Arc<ReadModel>,
    pub plan: Arc<Plan>,
    pub graph: Graph,
    pub tables: Arc<Watched>,
    /// The same rows on disk.
    pub on_disk: Arc<Watched>,
    _directory: tempfile::TempDir,
}

impl Shop {
    /// The shop that ships.
    pub async fn new() -> Shop {
        Shop::with(include_str!("../../../schema/shop.graphql"), |_| {}).await
    }

    /// Any schema, with other settings.
    pub async fn with(schema: &str, change: impl FnOnce(&mut GraphSettings)) -> Shop {
        let mut sources = Sources::default();
        let file = sources.add("schema.graphql", schema);
        let (model, faults) = schema::load(&[file], &sources);
        let model = Arc::new(model.unwrap_or_else(|| panic!("{faults:#?}")));
        let (plan, faults) = plan::plan(&model, &sources);
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("{faults:#?}")));
        let feeds = model
            .types
            .iter()
            .filter(|ty| !ty.tables.is_empty())
            .map(|ty| {
                let name = format!("{}s", ty.name.to_lowercase());
                Feed {
                    projection: name.as_str().into(),
                    entity: model.type_named(&ty.name).unwrap(),
                    topic: format!("shop.{name}").into(),
                    record_key: ty.column_named("id"),
                }
            })
            .collect();
        let mut settings = GraphSettings {
            limits: Limits::default(),
            cursor_secrets: vec![b"secret".to_vec()],
            definitions_hash: "abc".to_owned(),
            feeds,
            introspection: true,
        };
        change(&mut settings);
        let graph = Graph::new(model.clone(), plan.clone(), settings).unwrap();
        let tables = MemoryStore::new().open(1, &plan).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path(), Durability::Buffer).unwrap();
        let on_disk = store.open(1, &plan).await.unwrap();
        let [tables, on_disk] = [tables, on_disk].map(|tables| Arc::new(Watched::new(tables)));
        Shop { model, plan, graph, tables, on_disk, _directory: directory }
    }

    /// Writes to both stores.
    pub async fn commit(&self, batch: Batch) {
        self.tables.commit(batch.clone()).await.unwrap();
        self.on_disk.commit(batch).await.unwrap();
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> TableId {
        self.plan.tables.iter().find(|table| table.name == name).unwrap().id
    }

    /// Writes a row of an entity into all its tables. Columns by name; the rest is null.
    pub async fn put(&self, ty: &str, columns: &[(&str, Value)]) {
        let id = self.model.type_named(ty).unwrap();
        let object = self.model.ty(id);
        let cells = Arc::new(cells(object, columns));
        let entity = self.plan.entity(id);
        let mut batch = Batch::default();
        for table in std::iter::once(&entity.base).chain(&entity.copies) {
            let table = self.plan.table(*table);
            let paid =
                object.column_named("status").is_none_or(|at| cells[at.0 as usize].as_str() == Some("PAID"));
            if table.filter.is_some() && !paid {
                continue;
            }
            let key = key::row_key(table, &cells).unwrap();
            if let Some(names) = table.buckets {
                let names = self.plan.table(names);
                let key = key::row_key(names, &cells).unwrap();
                batch.derived.push(Mutation::Replace {
                    table: names.id,
                    key,
                    cells: cells.clone().into(),
                    offset: 1,
                    base: 0,
                });
            }
            let replace =
                Mutation::Replace { table: table.id, key, cells: cells.clone().into(), offset: 1, base: 0 };
            if table.role == TableRole::Base { batch.base.push(replace) } else { batch.derived.push(replace) }
        }
        self.commit(batch).await;
    }

    /// Says that a projection has applied a partition up to `next`, of `end`.
    pub async fn progress(&self, projection: &str, topic: &str, partition: u32, next: u64, end: u64) {
        let at = TopicPartition { topic: topic.into(), partition };
        let mark = ProgressMark {
            projection: projection.into(),
            at,
            topic_id: 1,
            next,
            end,
            time_ms: 1000,
            base: 0,
            relayed: None,
        };
        self.commit(Batch { progress: vec![mark], ..Batch::default() }).await;
    }

    /// The answer to a request.
    pub async fn answer(&self, request: Request) -> (Answer, Json) {
        let (answer, body) = self.answer_of(request.clone(), &self.tables).await;
        let (again, other) = self.answer_of(request, &self.on_disk).await;
        assert_eq!(steady(&body), steady(&other), "the store on disk answers something else");
        assert_eq!((answer.outcome, &answer.position), (again.outcome, &again.position));
        (answer, body)
    }

    async fn answer_of(&self, request: Request, tables: &Arc<Watched>) -> (Answer, Json) {
        let tables: Arc<dyn Tables> = tables.clone();
        let answer = self.graph.execute(request, &tables).await;
        let body = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer.body)));
        (answer, body)
    }

    /// The body of the answer to an operation.
    pub async fn ask(&self, query: &str, variables: Json) -> Json {
        let Json::Object(variables) = variables else { panic!("variables are an object") };
        self.answer(Request { query: query.to_owned(), variables, ..Request::default() }).await.1
    }

    /// `data` of an answer that has no errors.
    pub async fn data(&self, query: &str) -> Json {
        let mut body = self.ask(query, json!({})).await;
        assert_eq!(body.get("errors"), None, "{query}");
        body["data"].take()
    }

    /// Outcome, code and message of a request that was refused before it ran.
    pub async fn refused(&self, query: &str, variables: Json) -> (Outcome, String, String) {
        let Json::Object(variables) = variables else { panic!("variables are an object") };
        let (answer, body) =
            self.answer(Request { query: query.to_owned(), variables, ..Request::default() }).await;
        assert_eq!(body.get("data"), None, "{body}");
        let error = &body["errors"][0];
        let text = |value: &Json| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        (answer.outcome, text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// A record of a value type.
    pub fn record(&self, ty: &str, columns: &[(&str, Value)]) -> Value {
        Value::Record(cells(self.model.ty(self.model.type_named(ty).unwrap()), columns))
    }

    /// An amount in euros.
    pub fn money(&self, mantissa: i128) -> Value {
        let amount = Value::Decimal(Decimal { mantissa, scale: 2 });
        self.record("Money", &[("amount", amount), ("currency", text("EUR"))])
    }

    /// A line of a cart or order.
    pub fn line(&self, ty: &str, product: &str, quantity: i64) -> Value {
        let name = text(format!("name of {product}"));
        let columns = [
            ("productId", text(product)),
            ("name", name),
            ("quantity", Value::Int(quantity)),
            ("unitPrice", self.money(1250)),
        ];
        self.record(ty, &columns)
    }

    pub async fn put_product(&self, id: &str, sku: &str, category: &str, name: &str) {
        let columns = [
            ("id", text(id)),
            ("sku", text(sku)),
            ("categoryId", text(category)),
            ("name", text(name)),
            ("price", self.money(999)),
        ];
        self.put("Product", &columns).await;
    }

    pub async fn put_order(&self, id: &str, user: &str, status: &str, placed_ms: i64, products: &[&str]) {
        let lines = products.iter().map(|product| self.line("OrderLine", product, 1)).collect();
        let columns = [
            ("id", text(id)),
            ("number", text(format!("N-{id}"))),
            ("userId", text(user)),
            ("warehouseId", text("w1")),
            ("status", text(status)),
            ("placedAt", Value::Timestamp(placed_ms)),
            ("total", self.money(2500)),
            ("lines", Value::List(lines)),
        ];
        self.put("Order", &columns).await;
    }

    pub async fn put_cart(&self, id: &str, user: &str, order: Option<&str>, products: &[&str]) {
        let lines =
            products.iter().map(|product| (text(*product), self.line("CartLine", product, 2))).collect();
        let columns = [
            ("id", text(id)),
            ("userId", text(user)),
            ("status", text("OPEN")),
            ("itemCount", Value::Int(2)),
            ("total", self.money(2500)),
            ("lines", Value::Map(lines)),
            ("orderId", order.map_or(Value::Null, text)),
            ("updatedAt", Value::Timestamp(0)),
            ("currency", text("EUR")),
        ];
        self.put("Cart", &columns).await;
    }
}

/// A body without what differs each time: how long ago an event was, and the ids of internal errors.
fn steady(body: &Json) -> String {
    let mut body = body.clone();
    if let Some(ms) = body.pointer_mut("/extensions/kinora/lag/ms") {
        *ms = json!(0);
    }
    for error in body.get_mut("errors").and_then(Json::as_array_mut).into_iter().flatten() {
        if error["extensions"]["code"] == "INTERNAL" {
            error["message"] = json!("");
        }
    }
    body.to_string()
}

/// Text as a value.
pub fn text(text: impl Into<crate::value::Text>) -> Value {
    Value::text(text)
}

fn cells(object: &ObjectType, columns: &[(&str, Value)]) -> Vec<Value> {
    let mut cells = vec![Value::Null; object.columns.len()];
    for (name, value) in columns {
        let at = object.column_named(name).unwrap_or_else(|| panic!("{} has no column {name}", object.name));
        cells[at.0 as usize] = value.clone();
    }
    cells
}
