//! Random operations over a random shop, answered by us and by a plain reference: apollo-compiler's own executor, with
//! resolvers that look at all rows for every field. `data` must be the same to the byte, and errors must stand where
//! the reference has them.
//!
//! Nothing of planning, batching, walking or writing is shared. Cursors are opaque: the reference learns them from one
//! whole read of each list, and so checks that a row has the same cursor on every page.

use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, JsonValue};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use super::operations::Operations;
use super::paging::seeds;
use super::shop::{Shop, text};
use crate::schema::{Field, FieldSource, FieldType, Named, TypeId, TypeKind};
use crate::store::Tables;
use crate::value::{Decimal, Value};

const USERS: [&str; 3] = ["u1", "u2", "u3"];
const CATEGORIES: [&str; 2] = ["k1", "k2"];
const WAREHOUSES: [&str; 2] = ["w1", "w2"];
/// 2024-01-31T23:00:00Z: rows lie around it in several months.
const AROUND_MS: i64 = 1_706_742_000_000;

#[tokio::test]
async fn random_operations_agree_with_a_plain_executor() {
    for seed in seeds() {
        println!("seed {seed} (KINORA_SEEDS=1 KINORA_SEED_BASE={seed})");
        let mut random = fastrand::Rng::with_seed(seed);
        let shop = random_shop(&mut random).await;
        let reference = Reference::of(&shop).await;
        let cursors: Vec<String> = reference.cursors.values().cloned().collect();
        let mut operations = Operations::new(&reference.schema, random.fork(), cursors);
        for _ in 0..25 {
            let (query, variables) = operations.next();
            let (data, errors) = reference.answer(&query, &variables);
            let body = shop.ask(&query, variables.clone()).await;
            assert_eq!(
                body["data"].to_string(),
                data,
                "seed {seed}\n{query}\n{variables}\n{errors:?}\n{body}"
            );
            let ours: Vec<String> = body["errors"]
                .as_array()
                .map(|errors| errors.iter().map(|error| error["path"].to_string()).collect())
                .unwrap_or_default();
            assert_eq!(
                ours.is_empty(),
                errors.is_empty(),
                "seed {seed}\n{query}\n{variables}\n{errors:?}\n{body}"
            );
            for path in &ours {
                assert!(
                    errors.contains(path),
                    "seed {seed}: {path} is no error of {errors:?}\n{query}\n{variables}"
                );
            }
        }
    }
}

/// Rows of all kinds, some of them broken: no amount, an unknown status, no name.
async fn random_shop(random: &mut fastrand::Rng) -> Shop {
    let shop = Shop::with(include_str!("../../../schema/shop.graphql"), |settings| {
        settings.limits.aliases = 10_000;
        settings.limits.tokens = 100_000;
        settings.limits.root_fields = 1_000;
        settings.limits.directives = 10_000;
        settings.limits.depth = 100;
    })
    .await;
    let rarely = |random: &mut fastrand::Rng| random.u8(0..25) == 0;
    let pick = |random: &mut fastrand::Rng, of: &[&str]| text(of[random.usize(0..of.len())]);
    let money = |random: &mut fastrand::Rng| {
        let amount = Value::Decimal(Decimal { mantissa: random.i128(-10_000..10_000), scale: 2 });
        let amount = if random.u8(0..40) == 0 { Value::Null } else { amount };
        shop.record("Money", &[("amount", amount), ("currency", text("EUR"))])
    };
    let line = |random: &mut fastrand::Rng, ty: &str, product: &str| {
        let columns = [
            ("productId", text(product)),
            ("name", if rarely(random) { Value::Null } else { text(format!("name of {product}")) }),
            ("quantity", Value::Int(random.i64(1..5))),
            ("unitPrice", money(random)),
        ];
        shop.record(ty, &columns)
    };
    for at in 0..random.usize(0..8) {
        let columns = [
            ("id", text(format!("p{at}"))),
            ("sku", text(format!("s{}", random.u8(0..5)))),
            ("categoryId", pick(random, &CATEGORIES)),
            ("name", text(format!("product {}", random.u8(0..3)))),
            ("price", money(random)),
        ];
        shop.put("Product", &columns).await;
    }
    for at in 0..random.usize(0..16) {
        let lines = (0..random.usize(0..4)).map(|_| {
            let product = format!("p{}", random.u8(0..9));
            line(random, "OrderLine", &product)
        });
        let lines = Value::List(lines.collect());
        let status =
            if rarely(random) { "LOST" } else { ["PLACED", "PAID", "PAID", "SHIPPED"][random.usize(0..4)] };
        let columns = [
            ("id", text(format!("o{at}"))),
            ("number", text(format!("n{}", random.u8(0..10)))),
            ("userId", pick(random, &USERS)),
            ("warehouseId", pick(random, &WAREHOUSES)),
            ("status", text(status)),
            ("placedAt", Value::Timestamp(AROUND_MS + random.i64(-9..9) * 10 * 86_400_000)),
            ("paidAt", if random.bool() { Value::Null } else { Value::Timestamp(random.i64(0..1 << 41)) }),
            ("trackingId", if random.bool() { Value::Null } else { text("t \"quoted\"\n") }),
            ("total", money(random)),
            ("lines", lines),
        ];
        shop.put("Order", &columns).await;
    }
    for at in 0..random.usize(0..5) {
        let mut lines: Vec<(Value, Value)> = Vec::new();
        for product in 0..9 {
            if random.u8(0..3) == 0 {
                let product = format!("p{product}");
                lines.push((text(product.clone()), line(random, "CartLine", &product)));
            }
        }
        let columns = [
            ("id", text(format!("c{at}"))),
            ("userId", if random.bool() { Value::Null } else { pick(random, &USERS) }),
            ("status", text("OPEN")),
            ("itemCount", Value::Int(random.i64(0..9))),
            ("total", money(random)),
            ("lines", Value::Map(lines)),
            ("orderId", if random.bool() { Value::Null } else { text(format!("o{}", random.u8(0..16))) }),
            ("updatedAt", Value::Timestamp(random.i64(0..1 << 41))),
            ("currency", text("EUR")),
        ];
        shop.put("Cart", &columns).await;
    }
    for at in 0..2 {
        let name = if rarely(random) { Value::Null } else { text("Ada") };
        shop.put("Customer", &[("id", text(format!("u{at}"))), ("name", name), ("email", text("a@b"))]).await;
    }
    shop
}

/// A row of an entity, or a record, by its columns.
type Cells = Vec<Value>;

/// All rows, and how they are asked.
struct Reference<'s> {
    shop: &'s Shop,
    schema: Valid<Schema>,
    /// Each entity's rows, in the order of their ids.
    rows: FxHashMap<TypeId, Vec<Cells>>,
    /// The cursor of a row in a list.
    cursors: FxHashMap<(List, String), String>,
}

/// A list, by its field and its parent or argument.
type List = (&'static str, String);

impl<'s> Reference<'s> {
    async fn of(shop: &'s Shop) -> Reference<'s> {
        let schema = Schema::parse_and_validate(&*shop.model.api_sdl, "schema.graphql").unwrap();
        let mut rows = FxHashMap::default();
        for entity in &shop.plan.entities {
            let mut of: Vec<Cells> = shop
                .tables
                .all(entity.base, None, usize::MAX)
                .await
                .unwrap()
                .into_iter()
                .map(|row| row.cells)
                .collect();
            let id = shop.model.ty(entity.entity).column_named("id").unwrap().0 as usize;
            of.sort_by(|a, b| a[id].as_str().cmp(&b[id].as_str()));
            rows.insert(entity.entity, of);
        }
        let mut reference = Reference { shop, schema, rows, cursors: FxHashMap::default() };
        reference.learn_cursors().await;
        reference
    }

    async fn learn_cursors(&mut self) {
        let selection = "{ edges { cursor node { id } } }";
        let of_users = USERS.map(|user| {
            let query = format!(
                r#"{{ _entities(representations: [{{__typename: "User", id: "{user}"}}]) {{ ... on User {{ orders(first: 100) {selection} }} }} }}"#
            );
            (("orders", user.to_owned()), query, "/_entities/0/orders/edges")
        });
        let of_categories = CATEGORIES.map(|category| {
            let query =
                format!(r#"{{ productsInCategory(categoryId: "{category}", first: 100) {selection} }}"#);
            (("productsInCategory", category.to_owned()), query, "/productsInCategory/edges")
        });
        let of_warehouses = WAREHOUSES.map(|warehouse| {
            let query = format!(r#"{{ ordersToPick(warehouseId: "{warehouse}", first: 1000) {selection} }}"#);
            (("ordersToPick", warehouse.to_owned()), query, "/ordersToPick/edges")
        });
        for (list, query, pointer) in of_users.into_iter().chain(of_categories).chain(of_warehouses) {
            let data = self.shop.data(&query).await;
            for edge in data.pointer(pointer).unwrap().as_array().unwrap() {
                let id = edge["node"]["id"].as_str().unwrap().to_owned();
                let cursor = edge["cursor"].as_str().unwrap().to_owned();
                self.cursors.insert((list.clone(), id), cursor);
            }
        }
    }

    /// `data` as JSON, and the paths of the errors.
    fn answer(&self, query: &str, variables: &Json) -> (String, Vec<String>) {
        let document = ExecutableDocument::parse_and_validate(&self.schema, query, "operation.graphql")
            .unwrap_or_else(|faults| panic!("{}\n{query}", faults.errors));
        let variables: JsonMap = serde_json::from_value(variables.clone()).unwrap();
        let response = Execution::new(&self.schema, &document)
            .operation_name(None)
            .unwrap()
            .raw_variable_values(&variables)
            .execute_sync(&Thing { reference: self, is: Is::Root })
            .unwrap_or_else(|error| panic!("{}\n{query}\n{variables:?}", error.message()));
        let errors = response.errors.iter().map(|error| serde_json::to_string(&error.path).unwrap());
        (serde_json::to_string(&response.data).unwrap(), errors.collect())
    }

    fn thing(&self, is: Is) -> ResolvedValue<'_> {
        ResolvedValue::object(Thing { reference: self, is })
    }

    fn nullable(&self, is: Option<Is>) -> ResolvedValue<'_> {
        is.map_or_else(ResolvedValue::null, |is| self.thing(is))
    }

    fn ty(&self, name: &str) -> TypeId {
        self.shop.model.type_named(name).unwrap()
    }

    fn cell<'c>(&self, ty: TypeId, cells: &'c [Value], column: &str) -> &'c Value {
        &cells[self.shop.model.ty(ty).column_named(column).unwrap().0 as usize]
    }

    /// The rows of a type whose column has that text.
    fn having(&self, ty: &str, column: &str, wanted: &str) -> Vec<Cells> {
        let ty = self.ty(ty);
        let rows = self.rows[&ty].iter();
        rows.filter(|cells| self.cell(ty, cells, column).as_str() == Some(wanted)).cloned().collect()
    }

    fn first(&self, ty: &str, column: &str, wanted: &str) -> Option<Is> {
        let cells = self.having(ty, column, wanted).into_iter().next()?;
        Some(Is::Object { ty: self.ty(ty), cells })
    }

    /// A page of a sorted list.
    fn page(&self, ty: &str, list: List, rows: Vec<Cells>, info: &ResolveInfo<'_>) -> Result<Is, FieldError> {
        let refused = |message: &str| Err(FieldError { message: message.to_owned() });
        let ty = self.ty(ty);
        let ids: Vec<&str> = rows.iter().map(|cells| self.cell(ty, cells, "id").as_str().unwrap()).collect();
        let argument = |name: &str| info.arguments().get(name).filter(|value| !value.is_null());
        let count = |name: &str| argument(name).map(|value| value.as_i64().unwrap());
        let place = |name: &str| match argument(name) {
            None => Ok(None),
            Some(cursor) => ids
                .iter()
                .position(|id| {
                    self.cursors.get(&(list.clone(), (*id).to_owned())).map(String::as_str) == cursor.as_str()
                })
                .map(Some)
                .ok_or(FieldError { message: "not a cursor of this list".to_owned() }),
        };
        let max = if list.0 == "ordersToPick" { 1000 } else { 100 };
        let (count, backward) = match (count("first"), count("last")) {
            (Some(_), Some(_)) => return refused("both"),
            (first, None) => (first.unwrap_or(20), false),
            (None, Some(last)) => (last, true),
        };
        if !(0..=max).contains(&count) {
            return refused("count");
        }
        let count = usize::try_from(count).unwrap();
        let from = place("after")?.map_or(0, |at| at + 1);
        let to = place("before")?.unwrap_or(rows.len());
        let taken = count.min(to.saturating_sub(from));
        let (start, end) = if backward { (to - taken, to) } else { (from, from + taken) };
        let cursors: Vec<String> = ids[start..start + taken]
            .iter()
            .map(|id| self.cursors[&(list.clone(), (*id).to_owned())].clone())
            .collect();
        Ok(Is::Connection(Page {
            ty,
            previous: start > 0,
            next: end < rows.len(),
            cursors,
            rows: rows[start..start + taken].to_vec(),
        }))
    }

    /// Sorted by two columns.
    fn sorted(&self, ty: &str, mut rows: Vec<Cells>, by: &str) -> Vec<Cells> {
        let ty = self.ty(ty);
        rows.sort_by_key(|cells| match self.cell(ty, cells, by) {
            Value::Timestamp(ms) => {
                (*ms, String::new(), self.cell(ty, cells, "id").as_str().unwrap().to_owned())
            }
            other => (
                0,
                other.as_str().unwrap().to_owned(),
                self.cell(ty, cells, "id").as_str().unwrap().to_owned(),
            ),
        });
        rows
    }

    fn entity(&self, representation: &JsonValue) -> Result<ResolvedValue<'_>, FieldError> {
        let refused = || FieldError { message: "no representation".to_owned() };
        let member = |name: &str| representation.as_object().and_then(|object| object.get(name)?.as_str());
        let ty = member("__typename").ok_or_else(refused)?;
        let object = self.shop.model.types.iter().find(|object| object.name == ty && !object.keys.is_empty());
        let keys = &object.ok_or_else(refused)?.keys;
        for key in keys {
            let name = &*self.shop.model.ty(self.ty(ty)).field(key.fields[0][0]).name;
            let Some(value) = member(name) else { continue };
            if ty == "User" {
                return Ok(self.thing(Is::User(value.to_owned())));
            }
            return Ok(self.nullable(self.first(ty, name, value)));
        }
        Err(refused())
    }
}

/// A page of rows.
#[derive(Clone)]
struct Page {
    ty: TypeId,
    rows: Vec<Cells>,
    cursors: Vec<String>,
    next: bool,
    previous: bool,
}

#[derive(Clone)]
enum Is {
    Root,
    Service,
    User(String),
    Object {
        ty: TypeId,
        cells: Cells,
    },
    Connection(Page),
    /// The edge of a page's row.
    Edge(Page, usize),
    PageInfo(Page),
}

struct Thing<'r> {
    reference: &'r Reference<'r>,
    is: Is,
}

impl ObjectValue for Thing<'_> {
    fn type_name(&self) -> &str {
        let model = &self.reference.shop.model;
        let connection =
            |ty: TypeId, what: [&'static str; 2]| what[usize::from(model.ty(ty).name == "Product")];
        match &self.is {
            Is::Root => "Query",
            Is::Service => "_Service",
            Is::User(_) => "User",
            Is::Object { ty, .. } => &model.ty(*ty).name,
            Is::Connection(page) => connection(page.ty, ["OrderConnection", "ProductConnection"]),
            Is::Edge(page, _) => connection(page.ty, ["OrderEdge", "ProductEdge"]),
            Is::PageInfo(_) => "PageInfo",
        }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let reference = self.reference;
        let name = info.field_name();
        Ok(match (&self.is, name) {
            (Is::Root, _) => return self.root(name, info),
            (Is::Service, _) => ResolvedValue::leaf(&*reference.shop.model.sdl),
            (Is::User(id), "id") => ResolvedValue::leaf(id.as_str()),
            (Is::User(id), _) => {
                let mut rows = reference.sorted("Order", reference.having("Order", "userId", id), "placedAt");
                rows.reverse();
                reference.thing(reference.page("Order", ("orders", id.clone()), rows, info)?)
            }
            (Is::Object { ty, cells }, _) => {
                let object = reference.shop.model.ty(*ty);
                let field = object.fields.iter().find(|field| field.name == name).unwrap();
                self.of_row(*ty, field, cells)
            }
            (Is::Connection(page), "nodes") => {
                let nodes = page.rows.iter().map(|cells| Is::Object { ty: page.ty, cells: cells.clone() });
                ResolvedValue::list(nodes.map(|is| reference.thing(is)))
            }
            (Is::Connection(page), "edges") => {
                let edges = (0..page.rows.len()).map(|at| Is::Edge(page.clone(), at));
                ResolvedValue::list(edges.map(|is| reference.thing(is)))
            }
            (Is::Connection(page), _) => reference.thing(Is::PageInfo(page.clone())),
            (Is::Edge(page, at), "cursor") => ResolvedValue::leaf(page.cursors[*at].as_str()),
            (Is::Edge(page, at), _) => {
                reference.thing(Is::Object { ty: page.ty, cells: page.rows[*at].clone() })
            }
            (Is::PageInfo(page), "hasNextPage") => ResolvedValue::leaf(page.next),
            (Is::PageInfo(page), "hasPreviousPage") => ResolvedValue::leaf(page.previous),
            (Is::PageInfo(page), "startCursor") => cursor(page.cursors.first()),
            (Is::PageInfo(page), _) => cursor(page.cursors.last()),
        })
    }
}

fn cursor<'a>(cursor: Option<&String>) -> ResolvedValue<'a> {
    cursor.map_or_else(ResolvedValue::null, |cursor| ResolvedValue::leaf(cursor.as_str()))
}

impl Thing<'_> {
    fn root<'a>(&'a self, name: &str, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let reference = self.reference;
        let argument =
            |name: &str| info.arguments().get(name).and_then(JsonValue::as_str).unwrap_or_default();
        let by =
            |ty: &str, column: &str| Ok(reference.nullable(reference.first(ty, column, argument(column))));
        match name {
            "cart" => by("Cart", "id"),
            "order" => by("Order", "id"),
            "orderByNumber" => by("Order", "number"),
            "product" => by("Product", "id"),
            "productBySku" => by("Product", "sku"),
            "customer" => by("Customer", "id"),
            "ordersToPick" => {
                let warehouse = argument("warehouseId");
                let order = reference.ty("Order");
                let mut rows = reference.having("Order", "warehouseId", warehouse);
                rows.retain(|cells| reference.cell(order, cells, "status").as_str() == Some("PAID"));
                let rows = reference.sorted("Order", rows, "placedAt");
                let list = ("ordersToPick", warehouse.to_owned());
                Ok(reference.thing(reference.page("Order", list, rows, info)?))
            }
            "productsInCategory" => {
                let category = argument("categoryId");
                let rows =
                    reference.sorted("Product", reference.having("Product", "categoryId", category), "name");
                let list = ("productsInCategory", category.to_owned());
                Ok(reference.thing(reference.page("Product", list, rows, info)?))
            }
            "_service" => Ok(reference.thing(Is::Service)),
            "_entities" => {
                let given = info.arguments().get("representations").and_then(JsonValue::as_array);
                let items = given.into_iter().flatten().map(|item| reference.entity(item));
                // The executor takes an item that fails for a list that fails; an object of a type that cannot stand
                // there is a fault of the item, as a bad representation is.
                let items = items.map(|item| Ok(item.unwrap_or_else(|_| reference.thing(Is::Service))));
                Ok(ResolvedValue::List(Box::new(items)))
            }
            other => panic!("{other} is not known here"),
        }
    }

    fn of_row<'a>(&'a self, ty: TypeId, field: &Field, cells: &[Value]) -> ResolvedValue<'a> {
        let reference = self.reference;
        let model = &reference.shop.model;
        match &field.source {
            FieldSource::Column(column) => self.value(&field.ty, &cells[column.0 as usize]),
            FieldSource::Ref(target) => {
                let key = cells[target.key[0].1.0 as usize].as_str();
                let name = &model.ty(target.target).name;
                let is = key.and_then(|key| match model.ty(target.target).kind {
                    TypeKind::Stub => Some(Is::User(key.to_owned())),
                    _ => reference.first(name, "id", key),
                });
                reference.nullable(is)
            }
            _ => panic!("{}.{} is not of a row", model.ty(ty).name, field.name),
        }
    }

    fn value<'a>(&'a self, ty: &FieldType, value: &Value) -> ResolvedValue<'a> {
        let items = |of: &FieldType, values: Vec<&Value>| {
            let items: Vec<_> = values.into_iter().map(|value| self.value(of, value)).collect();
            ResolvedValue::list(items)
        };
        match (ty, value) {
            (_, Value::Null) => ResolvedValue::null(),
            (FieldType::List { of, .. }, Value::List(values)) => items(of, values.iter().collect()),
            (FieldType::List { of, .. }, Value::Map(entries)) => {
                items(of, entries.iter().map(|(_, value)| value).collect())
            }
            (FieldType::Named { name: Named::Object(ty), .. }, Value::Record(cells)) => {
                self.reference.thing(Is::Object { ty: *ty, cells: cells.clone() })
            }
            (_, Value::Text(text)) => ResolvedValue::leaf(&**text),
            (_, Value::Int(number)) => ResolvedValue::leaf(*number),
            (_, Value::Decimal(decimal)) => ResolvedValue::leaf(decimal.to_string()),
            (_, Value::Timestamp(ms)) => {
                let time = jiff::Timestamp::from_millisecond(*ms).unwrap();
                ResolvedValue::leaf(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
            }
            (_, other) => panic!("{other:?} is of no type of the shop"),
        }
    }
}

#[tokio::test]
async fn the_reference_itself_answers_what_a_person_would() {
    let shop = Shop::new().await;
    shop.put_product("p1", "s1", "k1", "Lamp").await;
    shop.put_order("o1", "u1", "PAID", 0, &["p1", "p2"]).await;
    let reference = Reference::of(&shop).await;
    let (data, errors) = reference.answer(
        r#"{ order(id: "o1") { user { id orders { nodes { number } } } lines { product { name } quantity } placedAt } }"#,
        &json!({}),
    );
    let expect = concat!(
        r#"{"order":{"user":{"id":"u1","orders":{"nodes":[{"number":"N-o1"}]}},"lines":[{"product":{"name":"Lamp"},"#,
        r#""quantity":1},{"product":null,"quantity":1}],"placedAt":"1970-01-01T00:00:00.000Z"}}"#
    );
    assert_eq!((&*data, errors), (expect, Vec::new()));
}
