//! The shop's orders served by async-graphql's dynamic schema, as its documentation shows it.
//!
//! Fair to it: rows are read from the same tables, only the columns that are selected, one read of all keys for
//! `_entities`, one scan for each shard of a list (of its share of the page and a little more, which is enough for these
//! rows: the answers are compared), shards merged by their key's bytes. Base keys are looked up in a map instead of
//! being encoded, nothing is waited for, marked or said of freshness. What it does for each request itself
//! (parsing, validation) is left as it is, since it keeps no operations.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dynamic::{Field, FieldFuture, FieldValue, InputValue, Object, TypeRef};
use async_graphql::{Name, Value as Graph, Variables};
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value as Json};

use kinora::plan::{Plan, TableId};
use kinora::schema::{ColumnId, ReadModel, TypeId};
use kinora::store::{Bound, Columns, Scan, StoredRow, Tables};
use kinora::value::Value;
use kinora::value::encode::RowKey;

pub use async_graphql::Request;
pub use async_graphql::dynamic::Schema;

/// Three digits of a second, as the shop's answers have.
const TIMES: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// What its resolvers read from.
struct Shop {
    tables: Arc<dyn Tables>,
    /// What the measured operations select: a row's other columns are not read here either.
    columns: Vec<ColumnId>,
    orders: TableId,
    to_pick: TableId,
    /// Keys of all orders by id, and the partitions of the list: finding them is no part of what is measured.
    keys: HashMap<String, RowKey>,
    shards: Vec<Vec<u8>>,
}

/// Builds the schema over those tables.
pub async fn build(model: &ReadModel, plan: &Plan, tables: Arc<dyn Tables>) -> Schema {
    let order = model.type_named("Order").expect("the shop has orders");
    let columns = Places::of(model, order);
    let table =
        |name: &str| plan.tables.iter().find(|table| table.name == name).expect("the shop has the table").id;
    let (orders, to_pick) = (table("orders"), table("orders_to_pick"));
    let mut keys = HashMap::new();
    for row in tables.all(orders, None, usize::MAX).await.expect("the table can be read") {
        keys.insert(text(&row.cells[columns.id]).to_owned(), row.key);
    }
    let mut shards: Vec<Vec<u8>> = Vec::new();
    for row in tables.all(to_pick, None, usize::MAX).await.expect("the table can be read") {
        if !shards.iter().any(|shard| shard == row.key.partition()) {
            shards.push(row.key.partition().to_vec());
        }
    }
    let shop = Shop { tables, columns: columns.wanted(), orders, to_pick, keys, shards };
    let money = Object::new("Money")
        .field(Field::new("amount", TypeRef::named_nn(TypeRef::STRING), |context| {
            FieldFuture::new(
                async move { Ok(Some(part(context.parent_value.try_downcast_ref::<Value>()?, 0))) },
            )
        }))
        .field(Field::new("currency", TypeRef::named_nn(TypeRef::STRING), |context| {
            FieldFuture::new(
                async move { Ok(Some(part(context.parent_value.try_downcast_ref::<Value>()?, 1))) },
            )
        }));
    let nodes = Field::new("nodes", TypeRef::named_nn_list_nn("Order"), |context| {
        FieldFuture::new(async move {
            let page = context.parent_value.try_downcast_ref::<Page>()?;
            Ok(Some(FieldValue::list(page.rows.iter().map(|row| FieldValue::borrowed_any(row)))))
        })
    });
    let page_info = Field::new("pageInfo", TypeRef::named_nn("PageInfo"), |context| {
        FieldFuture::new(async move {
            let page = context.parent_value.try_downcast_ref::<Page>()?;
            Ok(Some(FieldValue::borrowed_any(page)))
        })
    });
    let has_next = Field::new("hasNextPage", TypeRef::named_nn(TypeRef::BOOLEAN), |context| {
        FieldFuture::new(async move {
            let page = context.parent_value.try_downcast_ref::<Page>()?;
            Ok(Some(FieldValue::value(page.more)))
        })
    });
    Schema::build("Query", None, None)
        .enable_federation()
        .entity_resolver(|context| {
            FieldFuture::new(async move {
                let shop = context.data::<Shop>()?;
                let mut keys = Vec::new();
                for representation in context.args.try_get("representations")?.list()?.iter() {
                    keys.push(shop.keys[representation.object()?.try_get("id")?.string()?].clone());
                }
                let rows = shop.tables.get(shop.orders, &keys, Columns::Only(&shop.columns)).await?;
                let rows = rows
                    .into_iter()
                    .map(|row| FieldValue::owned_any(row.expect("it is there")).with_type("Order"));
                Ok(Some(FieldValue::list(rows)))
            })
        })
        .register(money)
        .register(order_type(&columns))
        .register(Object::new("PageInfo").field(has_next))
        .register(Object::new("OrderConnection").field(nodes).field(page_info))
        .register(query())
        .data(shop)
        .finish()
        .expect("the schema is whole")
}

/// A request as it takes them.
pub fn request(query: &str, variables: &Map<String, Json>) -> Request {
    Request::new(query).variables(Variables::from_json(Json::Object(variables.clone())))
}

/// Runs an operation and writes its response as JSON.
pub async fn execute(schema: &Schema, request: Request) -> Vec<u8> {
    let response = schema.execute(request).await;
    serde_json::to_vec(&response).expect("a response can be written")
}

/// A page of orders.
struct Page {
    rows: Vec<StoredRow>,
    more: bool,
}

/// Where the orders' columns stand.
#[derive(Clone, Copy)]
struct Places {
    id: usize,
    number: usize,
    status: usize,
    placed_at: usize,
    total: usize,
}

impl Places {
    fn of(model: &ReadModel, order: TypeId) -> Places {
        let at = |name: &str| model.ty(order).column_named(name).expect("orders have the column").0 as usize;
        Places {
            id: at("id"),
            number: at("number"),
            status: at("status"),
            placed_at: at("placedAt"),
            total: at("total"),
        }
    }

    fn wanted(&self) -> Vec<ColumnId> {
        let mut columns: Vec<ColumnId> = [self.id, self.number, self.status, self.placed_at, self.total]
            .map(|column| ColumnId(u32::try_from(column).expect("columns are counted in u32")))
            .into();
        columns.sort_unstable();
        columns
    }
}

fn order_type(columns: &Places) -> Object {
    let scalar = |name: &str, ty: &str, column: usize| {
        Field::new(name, TypeRef::named_nn(ty), move |context| {
            FieldFuture::new(async move {
                let row = context.parent_value.try_downcast_ref::<StoredRow>()?;
                Ok(Some(FieldValue::value(graph(&row.cells[column]))))
            })
        })
    };
    let total = columns.total;
    Object::new("Order")
        .key("id")
        .field(scalar("id", TypeRef::ID, columns.id))
        .field(scalar("number", TypeRef::STRING, columns.number))
        .field(scalar("status", TypeRef::STRING, columns.status))
        .field(scalar("placedAt", TypeRef::STRING, columns.placed_at))
        .field(Field::new("total", TypeRef::named_nn("Money"), move |context| {
            FieldFuture::new(async move {
                let row = context.parent_value.try_downcast_ref::<StoredRow>()?;
                Ok(Some(FieldValue::borrowed_any(&row.cells[total])))
            })
        }))
}

fn query() -> Object {
    let by_id = Field::new("order", TypeRef::named("Order"), |context| {
        FieldFuture::new(async move {
            let shop = context.data::<Shop>()?;
            let Some(key) = shop.keys.get(context.args.try_get("id")?.string()?) else { return Ok(None) };
            let mut rows =
                shop.tables.get(shop.orders, std::slice::from_ref(key), Columns::Only(&shop.columns)).await?;
            Ok(rows.remove(0).map(FieldValue::owned_any))
        })
    })
    .argument(InputValue::new("id", TypeRef::named_nn(TypeRef::ID)));
    let list = Field::new("ordersToPick", TypeRef::named_nn("OrderConnection"), move |context| {
        FieldFuture::new(async move {
            let shop = context.data::<Shop>()?;
            let first = usize::try_from(context.args.try_get("first")?.u64()?)?;
            let mut rows = Vec::new();
            let limit = first / shop.shards.len() + 64;
            for shard in &shop.shards {
                let scan = Scan {
                    table: shop.to_pick,
                    partition: shard,
                    from: Bound::Unbounded,
                    to: Bound::Unbounded,
                    reverse: false,
                    limit,
                    columns: Columns::Only(&shop.columns),
                    at_ms: None,
                };
                rows.extend(shop.tables.scan(scan).await?);
            }
            rows.sort_by(|a, b| a.key.clustering().cmp(b.key.clustering()));
            let more = rows.len() > first;
            rows.truncate(first);
            Ok(Some(FieldValue::owned_any(Page { rows, more })))
        })
    })
    .argument(InputValue::new("warehouseId", TypeRef::named_nn(TypeRef::ID)))
    .argument(InputValue::new("first", TypeRef::named(TypeRef::INT)));
    Object::new("Query").field(by_id).field(list)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("the column holds text")
}

/// A part of a money record.
fn part(money: &Value, at: usize) -> FieldValue<'static> {
    match money {
        Value::Record(parts) => FieldValue::value(graph(&parts[at])),
        other => panic!("money is a record, not {other:?}"),
    }
}

/// A cell as a GraphQL value, in the form that the shop's answers have.
fn graph(value: &Value) -> Graph {
    match value {
        Value::Null => Graph::Null,
        Value::Text(text) => Graph::String(text.to_string()),
        Value::Int(int) => Graph::from(*int),
        Value::Timestamp(ms) => {
            let time = jiff::Timestamp::from_millisecond(*ms).expect("it was stored");
            Graph::String(TIMES.timestamp_to_string(&time))
        }
        Value::Decimal(decimal) => Graph::String(decimal.to_string()),
        other => Graph::Enum(Name::new(format!("{other:?}"))),
    }
}
