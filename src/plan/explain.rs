//! Shows a plan to a person, or as JSON to a tool: tables with their keys and CQL, how each entity is kept up to date,
//! and for each read its table, partition, order, reads and cost.
//!
//! Comes in: a model, its plan, and the [`Update`] of each projection. Goes out: text or JSON. Decides nothing.

use serde_json::{Value, json};

use super::cost;
use super::{
    ENTRIES_MAX, Entries, KeyColumn, Part, Plan, ReadPlan, ReadSource, Shape, TablePlan, TableRole,
    VALUES_MAX, cql,
};
use crate::schema::{ArgOp, Bucket, Expiry, Field, KeyFunction, Order, ReadModel, TypeId, function_name};

/// How the rows of an entity are written, as it is shown.
#[derive(Clone, Debug)]
pub struct Update {
    pub projection: String,
    pub topic: String,
    pub entity: String,
    /// Letter and name of the update kind.
    pub kind: &'static str,
    /// What is done for an event of that kind.
    pub how: &'static str,
    /// Why the compiler chose it.
    pub why: String,
}

/// The plan as text.
pub fn explain(model: &ReadModel, plan: &Plan, updates: &[Update]) -> String {
    let mut text =
        String::from("Tables: the partition says where a row lives, the clustering sorts the rows there\n");
    for table in &plan.tables {
        text.push_str(&table_text(model, plan, table));
    }
    if !updates.is_empty() {
        text.push_str("\nUpdates: what an event does to the tables\n");
        for Update { projection, topic, entity, kind, how, why } in updates {
            text.push_str(&format!(
                "  {projection}: {topic} -> {entity}\n    kind        {kind}: {how}\n    why         {why}\n"
            ));
        }
    }
    text.push_str("\nKeys: where `_entities` finds a row\n");
    for entity in &plan.entities {
        text.push_str(&keys_text(model, plan, entity.entity));
    }
    text.push_str(
        "\nReads: one table each; the cost is how many partitions an answer reads, for a walk of buckets at least\n",
    );
    for read in &plan.reads {
        text.push_str(&read_text(model, plan, read));
    }
    text.push_str("\nCQL, as Cassandra 5 takes it\n");
    for statement in cql::create_statements(model, plan) {
        text.push_str(&format!("{statement}\n"));
    }
    text
}

/// The plan as JSON: `tables`, `updates`, `keys`, `reads`, `cql`.
pub fn explain_json(model: &ReadModel, plan: &Plan, updates: &[Update]) -> Value {
    let tables: Vec<Value> = plan.tables.iter().map(|table| table_json(model, table)).collect();
    let update = |update: &Update| {
        let Update { projection, topic, entity, kind, how, why } = update;
        json!({ "projection": projection, "topic": topic, "entity": entity, "kind": kind, "how": how, "why": why })
    };
    let updates: Vec<Value> = updates.iter().map(update).collect();
    let keys: Vec<Value> =
        plan.entities.iter().flat_map(|entity| keys_json(model, plan, entity.entity)).collect();
    let reads: Vec<Value> = plan.reads.iter().map(|read| read_json(model, plan, read)).collect();
    json!({
        "tables": tables,
        "updates": updates,
        "keys": keys,
        "reads": reads,
        "cql": cql::create_statements(model, plan),
    })
}

/// A read's name: `Query.order`.
pub fn read_name(model: &ReadModel, read: &ReadPlan) -> String {
    let parent = model.ty(read.parent);
    format!("{}.{}", parent.name, parent.field(read.field).name)
}

/// One read as text, with the table that it reads.
pub fn explain_read(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> String {
    format!("{}\n{}", read_text(model, plan, read), table_text(model, plan, plan.table(read.table)))
}

/// One read as JSON: `read`, and the `table` that it reads.
pub fn explain_read_json(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> Value {
    json!({ "read": read_json(model, plan, read), "table": table_json(model, plan.table(read.table)) })
}

/// What a table is for.
pub(super) fn role_text(model: &ReadModel, plan: &Plan, table: &TablePlan) -> String {
    let entity = model.ty(table.entity);
    let heads = table.heads.map(|rows| &model.ty(plan.table(rows).entity).name);
    match table.role {
        TableRole::Base => match heads {
            Some(rows) => format!("header of {}, once in each partition of its rows, {rows}", entity.name),
            None => format!("base table of {}", entity.name),
        },
        TableRole::Copy => format!("copy of {}", entity.name),
        TableRole::Buckets { of } => format!("buckets of {}", plan.table(of).name),
        TableRole::Index { of, by } => {
            let by = match by {
                Entries::Values => "by value",
                Entries::Order => "in order, for ranges",
                Entries::Elements => "by element",
            };
            format!("index of {}, {by}", plan.table(of).name)
        }
    }
}

/// Until when rows are in a table.
pub(super) fn until_text(model: &ReadModel, table: &TablePlan) -> Vec<String> {
    let entity = model.ty(table.entity);
    let one = |expiry: &Expiry| {
        let from = match entity.time_column() == Some(expiry.from) {
            true => "the last event that wrote the row",
            false => &entity.column(expiry.from).name,
        };
        format!("{} after {from}", span_of_time(expiry.after_ms))
    };
    table.expires.iter().map(one).collect()
}

fn table_text(model: &ReadModel, plan: &Plan, table: &TablePlan) -> String {
    let (entity, role) = (model.ty(table.entity), role_text(model, plan, table));
    let mut text =
        format!("  {}: {role}\n    partition   {}\n", table.name, keys(model, table, &table.partition));
    let declared = table.clustering.len() - table.appended;
    if declared > 0 {
        text.push_str(&format!("    clustering  {}\n", keys(model, table, &table.clustering[..declared])));
    }
    if table.appended > 0 {
        let appended = keys(model, table, &table.clustering[declared..]);
        text.push_str(&format!(
            "    appended    {appended} (the base key, so that two rows never share a key)\n"
        ));
    }
    if let Some(filter) = &table.filter {
        text.push_str(&format!("    where       {}\n", filter.text));
    }
    if !table.complete && !matches!(table.role, TableRole::Buckets { .. }) {
        let names: Vec<&str> =
            table.columns.iter().map(|column| entity.column(*column).name.as_str()).collect();
        text.push_str(&format!("    columns     {}\n", names.join(", ")));
    }
    for until in until_text(model, table) {
        text.push_str(&format!("    until       {until}\n"));
    }
    if let Some(rows) = table.rows {
        text.push_str(&format!("    rows        {rows} in a partition\n"));
    }
    if let Some(rate) = table.rate {
        text.push_str(&format!("    rate        {rate} writes a second to the hottest partition\n"));
    }
    for option in &table.options {
        text.push_str(&format!("    option      {} = {} (in Cassandra)\n", option.name, option.value));
    }
    text
}

fn keys_text(model: &ReadModel, plan: &Plan, entity: TypeId) -> String {
    let (ty, found) = (model.ty(entity), plan.entity(entity));
    let mut text = String::new();
    for (key, load) in ty.keys.iter().zip(&found.keys) {
        let names: Vec<String> = key.fields.iter().map(|path| model.path_shown(entity, path)).collect();
        let how = match load {
            None => "not resolvable".to_string(),
            Some(load) => {
                let table = plan.table(load.table);
                let then = if table.complete {
                    String::new()
                } else {
                    format!(", then {}", plan.table(found.base).name)
                };
                format!("{}{then}", table.name)
            }
        };
        text.push_str(&format!("  {} by {}: {how}\n", ty.name, names.join(" ")));
    }
    text
}

fn keys_json(model: &ReadModel, plan: &Plan, entity: TypeId) -> Vec<Value> {
    let (ty, found) = (model.ty(entity), plan.entity(entity));
    let one = |(key, load): (&crate::schema::EntityKey, &Option<super::KeyLoad>)| {
        let fields: Vec<String> = key.fields.iter().map(|path| model.path_shown(entity, path)).collect();
        let table = load.as_ref().map(|load| plan.table(load.table));
        json!({
            "entity": ty.name,
            "fields": fields,
            "table": table.map(|table| &table.name),
            "completed": table.is_some_and(|table| !table.complete),
        })
    };
    ty.keys.iter().zip(&found.keys).map(one).collect()
}

fn read_text(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> String {
    let (parent, table) = (model.ty(read.parent), plan.table(read.table));
    let field = parent.field(read.field);
    let by = read_by(plan, read);
    let mut text = format!("  {}.{}: {by}\n", parent.name, field.name);
    text.push_str(&format!("    partition   {}\n", partition(model, table, read, field)));
    if !read.equal.is_empty() {
        let given = read.equal.iter().zip(&table.clustering);
        let equal: Vec<String> = given
            .map(|(from, key)| {
                let sign = if is_list(model, read, from) { "in" } else { "=" };
                format!("{} {sign} {}", key.part.name, source(model, read, field, from))
            })
            .collect();
        text.push_str(&format!("    rows        {}\n", equal.join(", ")));
    }
    if let (false, Some(key)) = (read.bounds.is_empty(), table.clustering.get(read.equal.len())) {
        let bounds: Vec<String> = read
            .bounds
            .iter()
            .map(|(op, from)| format!("{} {} {}", key.part.name, sign(*op), source(model, read, field, from)))
            .collect();
        text.push_str(&format!("    range       {}\n", bounds.join(", ")));
    }
    let compared = filters(model, plan, read, field);
    if !compared.is_empty() {
        text.push_str(&format!("    index       {}\n", compared.join(", ")));
    }
    let order = read_order(model, table, read, field);
    if !order.is_empty() {
        text.push_str(&format!("    order       {order}\n"));
    }
    if let Some(nearest) = &read.nearest {
        text.push_str(&format!("    CQL         {}\n", cql::nearest_first(model, read, nearest)));
    }
    let (reads, cost) = (partitions_read(model, plan, read), cost::cost(model, read));
    if plan.is_under_header(read) {
        let header = &parent.name;
        text.push_str(&format!(
            "    header      {header} lies in this partition: a store with static columns reads both at once\n"
        ));
    }
    text.push_str(&format!(
        "    answers     {}\n    reads       {reads}; cost {cost}\n",
        answers(table, read)
    ));
    text
}

/// The table that a read reads, and by which index.
fn read_by(plan: &Plan, read: &ReadPlan) -> String {
    let table = plan.table(read.table);
    let by = |of: &str, entries: &TablePlan| format!("{of} by its index of {}", entries.indexed().part.name);
    match (table.role, &read.ranged) {
        (TableRole::Index { of, .. }, _) => by(&plan.table(of).name, table),
        (_, Some(ranged)) => by(&table.name, plan.table(ranged.entries)),
        _ => table.name.clone(),
    }
}

/// What a read compares beside the key: the bounds that its entries are read by, then what its rows are filtered by.
fn filters(model: &ReadModel, plan: &Plan, read: &ReadPlan, field: &Field) -> Vec<String> {
    let column = |id| &model.ty(read.entity).column(id).name;
    let bounds = read.ranged.iter().flat_map(|ranged| {
        let of = column(plan.table(ranged.entries).indexed().part.column);
        ranged.bounds.iter().map(move |(op, from)| (of, *op, from))
    });
    let filters = read.filters.iter().map(|filter| (column(filter.column), filter.op, &filter.source));
    let shown = |(name, op, from): (&String, ArgOp, &ReadSource)| {
        format!("{name} {} {}", sign(op), source(model, read, field, from))
    };
    bounds.chain(filters).map(shown).collect()
}

pub(super) fn keys(model: &ReadModel, table: &TablePlan, keys: &[KeyColumn]) -> String {
    let one = |key: &KeyColumn| {
        let column = &model.ty(table.entity).column(key.part.column).name;
        let order = if key.order == crate::schema::Order::Desc { " DESC" } else { "" };
        match key.part.via {
            KeyFunction::Itself if is_element(table, key) => format!("element of {column}"),
            KeyFunction::Itself => format!("{column}{order}"),
            KeyFunction::Hash(count) | KeyFunction::Prefix(count) => {
                format!("{}({column}, {count}) AS {}", function_name(key.part.via), key.part.name)
            }
            via @ KeyFunction::Bucket(_) => {
                format!("{}({column}) AS {}{order}", function_name(via), key.part.name)
            }
        }
    };
    keys.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn partition(model: &ReadModel, table: &TablePlan, read: &ReadPlan, field: &Field) -> String {
    let one = |(part, key): (&Part<ReadSource>, &KeyColumn)| {
        let name = &key.part.name;
        match part {
            Part::From(from) => {
                let sign = match is_element(table, key) {
                    true => "contains",
                    false if is_list(model, read, from) => "in",
                    false => "=",
                };
                format!("{name} {sign} {}", through(key, &source(model, read, field, from)))
            }
            Part::EachBucket => format!("{name}: each bucket in turn"),
            Part::EachShard(shards) => format!("{name}: all {shards} shards, merged"),
        }
    };
    read.partition.iter().zip(&table.partition).map(one).collect::<Vec<_>>().join(", ")
}

fn is_element(table: &TablePlan, key: &KeyColumn) -> bool {
    let has_elements = matches!(table.role, TableRole::Index { by: Entries::Elements, .. });
    has_elements && table.indexed().part.column == key.part.column
}

fn through(key: &KeyColumn, value: &str) -> String {
    match key.part.via {
        KeyFunction::Itself => value.to_string(),
        KeyFunction::Hash(count) | KeyFunction::Prefix(count) => {
            format!("{}({value}, {count})", function_name(key.part.via))
        }
        via @ KeyFunction::Bucket(_) => format!("{}({value})", function_name(via)),
    }
}

fn source(model: &ReadModel, read: &ReadPlan, field: &Field, from: &ReadSource) -> String {
    let parent = model.ty(read.parent);
    match from {
        ReadSource::Argument(index) => format!("${}", field.args[*index].name),
        ReadSource::ParentColumn(column) => format!("{}.{}", parent.name, parent.column(*column).name),
        ReadSource::ParentField(path) => format!("{}.{}", parent.name, model.path_shown(read.parent, path)),
    }
}

fn is_list(model: &ReadModel, read: &ReadPlan, from: &ReadSource) -> bool {
    matches!(from, ReadSource::Argument(index) if read.any_of(model).contains(index))
}

/// The order of a read's rows: by how near they are, then the table's.
fn read_order(model: &ReadModel, table: &TablePlan, read: &ReadPlan, field: &Field) -> String {
    let of_table = order(&table.clustering[read.equal.len()..], read.reversed);
    let Some(nearest) = &read.nearest else { return of_table };
    let name = &model.ty(read.entity).column(nearest.column).name;
    let (to, by) = (source(model, read, field, &nearest.source), nearest.similarity.word());
    let then = if of_table.is_empty() { String::new() } else { format!(", then {of_table}") };
    format!("{name} nearest to {to} by {by}{then}")
}

fn order(clustering: &[KeyColumn], reversed: bool) -> String {
    let turned = |order| match (order, reversed) {
        (Order::Asc, false) | (Order::Desc, true) => Order::Asc,
        (Order::Desc, false) | (Order::Asc, true) => Order::Desc,
    };
    let one = |key: &KeyColumn| format!("{} {}", key.part.name, cql::direction(turned(key.order)));
    clustering.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn answers(table: &TablePlan, read: &ReadPlan) -> String {
    match read.shape {
        Shape::One if read.equal.len() == table.clustering.len() => "the row, or null".to_string(),
        Shape::One => "the first row, or null".to_string(),
        Shape::List { page, max } => format!("a list of {page} rows, at most {max}"),
        Shape::Connection { page, max, lookback_ms, counted } => {
            let back =
                lookback_ms.map_or(String::new(), |ms| format!(", buckets of the last {}", span_of_time(ms)));
            let count = if counted { format!(", counted up to {max}") } else { String::new() };
            format!("pages of {page} rows, at most {max}{back}{count}")
        }
    }
}

/// A length of time in the largest unit that says it without a rest.
fn span_of_time(ms: i64) -> String {
    let units =
        [(86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "seconds"), (1, "ms")];
    let (size, name) = units.into_iter().find(|(size, _)| ms % size == 0).expect("1 divides every number");
    format!("{} {name}", ms / size)
}

/// How many partitions are read, in words.
fn partitions_read(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> String {
    let (shards, lists) = (cost::shards(read), cost::listed_keys(model, read));
    let at_once = match (shards, &lists[..]) {
        (1, []) => "1 partition".to_string(),
        (shards, []) => format!("{shards} partitions at once"),
        (shards, lists) => {
            let declared = &model.ty(read.parent).field(read.field).args;
            let names: Vec<String> = lists.iter().map(|at| format!("${}", declared[*at].name)).collect();
            let partitions =
                if shards == 1 { "1 partition".to_string() } else { format!("{shards} partitions") };
            format!("{partitions} for each value of {}, at most {VALUES_MAX}, merged", names.join(" and "))
        }
    };
    let walks = read.partition.contains(&Part::EachBucket);
    let reads = match walks {
        true => format!("the buckets, then {at_once} for each bucket until the page is full"),
        false => at_once,
    };
    let counted = matches!(read.shape, Shape::Connection { counted: true, .. });
    let reads = if counted { format!("{reads}, once more for the count") } else { reads };
    let reads = match read.nearest {
        Some(_) => format!("{reads}, whole, at most {ENTRIES_MAX} rows"),
        None => reads,
    };
    let reads = match (&read.ranged, read.filters.is_empty()) {
        (None, true) => reads,
        (Some(_), true) => {
            format!("{reads}: of each, all entries in the range, sorted, at most {ENTRIES_MAX} for a page")
        }
        (ranged, false) => {
            let sorted = if ranged.is_some() { "all entries in the range, sorted, and " } else { "" };
            format!(
                "{reads}: of each, {sorted}the base row of every entry until the page is full, at most {ENTRIES_MAX} for a page"
            )
        }
    };
    match read.completed {
        true => {
            let base = &plan.table(plan.entity(read.entity).base).name;
            format!("{reads}, then one batched read of {base}")
        }
        false => reads,
    }
}

fn table_json(model: &ReadModel, table: &TablePlan) -> Value {
    let entity = model.ty(table.entity);
    let role = match table.role {
        TableRole::Base if table.heads.is_some() => "header",
        TableRole::Base => "base",
        TableRole::Copy => "copy",
        TableRole::Buckets { .. } => "buckets",
        TableRole::Index { .. } => "index",
    };
    let key = |key: &KeyColumn| {
        json!({
            "name": key.part.name,
            "column": entity.column(key.part.column).name,
            "via": via_name(key.part.via),
            "order": cql::direction(key.order),
        })
    };
    let columns: Vec<&str> =
        table.columns.iter().map(|column| entity.column(*column).name.as_str()).collect();
    json!({
        "name": table.name,
        "entity": entity.name,
        "role": role,
        "partition": table.partition.iter().map(key).collect::<Vec<_>>(),
        "clustering": table.clustering.iter().map(key).collect::<Vec<_>>(),
        "appended": table.appended,
        "columns": columns,
        "where": table.filter.as_ref().map(|filter| filter.text.to_string()),
        "until": table
            .expires
            .iter()
            .map(|expiry| json!({ "from": entity.column(expiry.from).name, "afterMs": expiry.after_ms }))
            .collect::<Vec<_>>(),
        "rows": table.rows,
        "rate": table.rate,
        "options": table.options.iter().map(|option| (option.name.clone(), json!(option.value))).collect::<serde_json::Map<_, _>>(),
    })
}

fn via_name(via: KeyFunction) -> Value {
    match via {
        KeyFunction::Itself => Value::Null,
        KeyFunction::Hash(count) | KeyFunction::Prefix(count) => {
            json!(format!("{} {count}", function_name(via)))
        }
        KeyFunction::Bucket(Bucket::Hour | Bucket::Day | Bucket::Week | Bucket::Month | Bucket::Year) => {
            json!(function_name(via))
        }
    }
}

fn read_json(model: &ReadModel, plan: &Plan, read: &ReadPlan) -> Value {
    let (parent, table) = (model.ty(read.parent), plan.table(read.table));
    let field = parent.field(read.field);
    let (reads, cost) = (partitions_read(model, plan, read), cost::cost(model, read));
    let mut shown = json!({
        "field": format!("{}.{}", parent.name, field.name),
        "table": table.name,
        "partition": partition(model, table, read, field),
        "index": filters(model, plan, read, field),
        "order": read_order(model, table, read, field),
        "answers": answers(table, read),
        "reads": reads,
        "cost": cost,
        "completed": read.completed,
        "underHeader": plan.is_under_header(read),
    });
    if let Some(nearest) = &read.nearest {
        shown["cqlOrder"] = json!(cql::nearest_first(model, read, nearest));
    }
    shown
}

fn sign(op: ArgOp) -> &'static str {
    match op {
        ArgOp::Eq => "=",
        ArgOp::In => "in",
        ArgOp::Prefix => "begins with",
        ArgOp::Contains => "contains",
        ArgOp::Ann => "near to",
        ArgOp::Lt => "<",
        ArgOp::Lte => "<=",
        ArgOp::Gt => ">",
        ArgOp::Gte => ">=",
    }
}
