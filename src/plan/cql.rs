//! Prints types and tables as the CQL that Cassandra 5 takes.
//!
//! Comes in: a model and its plan. Goes out: statements, in an order in which they can be run. Names are without
//! generation and keyspace; running them is a store's.

use super::{Entries, KeyColumn, Nearest, Plan, ReadPlan, TablePlan, TableRole};
use crate::schema::{
    BUCKETS, Column, ColumnId, ColumnType, IndexDecl, ObjectType, Order, ReadModel, TypeId, TypeKind, snake,
};

/// The statements that make everything the plan stores: `CREATE TYPE`, each after those it holds, then `CREATE TABLE`,
/// and `CREATE INDEX` after its table.
pub fn create_statements(model: &ReadModel, plan: &Plan) -> Vec<String> {
    let mut done = Vec::new();
    let mut statements = Vec::new();
    for (index, ty) in model.types.iter().enumerate() {
        let is_stored = match ty.kind {
            TypeKind::Udt | TypeKind::Key { .. } => true,
            TypeKind::Variants => !ty.columns.is_empty(),
            _ => false,
        };
        if is_stored {
            create_type(
                model,
                TypeId(u32::try_from(index).expect("types are counted in u32")),
                &mut done,
                &mut statements,
            );
        }
    }
    for table in &plan.tables {
        match table.role {
            TableRole::Index { of, by } => {
                // An index that answers single values answers ranges too.
                let made = create_index(model, plan.table(of), table, by);
                if !statements.contains(&made) {
                    statements.push(made);
                }
            }
            TableRole::Buckets { of } if matches!(plan.table(of).role, TableRole::Index { .. }) => {}
            _ if table.heads.is_some() => {}
            _ => statements.push(create_table(model, plan, table)),
        }
    }
    for entity in &plan.entities {
        let ty = model.ty(entity.entity);
        for index in &ty.indexes {
            statements.extend(create_vector_index(ty, index));
        }
    }
    statements
}

/// The statement that makes the index of a vector.
fn create_vector_index(ty: &ObjectType, index: &IndexDecl) -> Option<String> {
    let similarity = index.similarity?.word();
    let (table, name) = (snake(&index.table), snake(&ty.column(index.column).name));
    let index = quoted(&format!("{table}__by_{name}"));
    Some(format!(
        "CREATE INDEX {index} ON {} ({}) USING 'sai' WITH OPTIONS = {{ 'similarity_function': '{similarity}' }};",
        quoted(&table),
        quoted(&name)
    ))
}

/// How a read of the nearest rows ends in CQL.
pub(super) fn nearest_first(model: &ReadModel, read: &ReadPlan, nearest: &Nearest) -> String {
    let name = snake(&model.ty(read.entity).column(nearest.column).name);
    format!("ORDER BY {} ANN OF ? LIMIT ?", quoted(&name))
}

/// The statement that makes one table. The columns of a header over its partitions are static.
pub fn create_table(model: &ReadModel, plan: &Plan, table: &TablePlan) -> String {
    let statics = plan.header_of(table.id).into_iter().flat_map(|header| {
        let columns = columns(model, plan, header).split_off(header.partition.len());
        columns.into_iter().map(|(name, ty)| (static_name(name), format!("{ty} STATIC")))
    });
    let all = columns(model, plan, table).into_iter().chain(statics);
    let columns: Vec<String> = all.map(|(name, ty)| format!("  {} {ty},\n", quoted(&name))).collect();
    let names = |keys: &[KeyColumn]| {
        keys.iter().map(|key| quoted(&snake(&key.part.name))).collect::<Vec<_>>().join(", ")
    };
    let partition = match &table.partition[..] {
        [one] => quoted(&snake(&one.part.name)),
        several => format!("({})", names(several)),
    };
    let clustering = match table.clustering.is_empty() {
        true => String::new(),
        false => format!(", {}", names(&table.clustering)),
    };
    let mut options: Vec<String> = Vec::new();
    if table.clustering.iter().any(|key| key.order == Order::Desc) {
        let one = |key: &KeyColumn| format!("{} {}", quoted(&snake(&key.part.name)), direction(key.order));
        let orders: Vec<String> = table.clustering.iter().map(one).collect();
        options.push(format!("CLUSTERING ORDER BY ({})", orders.join(", ")));
    }
    options.extend(table.options.iter().map(|option| format!("{} = {}", option.name, option.value)));
    let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join("\n  AND ")) };
    let name = quoted(&table_name(table));
    format!("CREATE TABLE {name} (\n{}  PRIMARY KEY ({partition}{clustering})\n){with};", columns.concat())
}

/// The name of a header's column: what the engine keeps of a header stands beside what it keeps of each row.
fn static_name(name: String) -> String {
    match name.strip_prefix("__") {
        Some(kept) => format!("__header_{kept}"),
        None => name,
    }
}

/// The statement that makes a storage-attached index: Cassandra keeps the entries itself.
fn create_index(model: &ReadModel, of: &TablePlan, entries: &TablePlan, by: Entries) -> String {
    let column = model.ty(of.entity).column(entries.indexed().part.column);
    let (table, name) = (table_name(of), snake(&column.name));
    let target = match (by, &column.ty) {
        (Entries::Elements, ColumnType::Map { .. }) => format!("KEYS({})", quoted(&name)),
        (Entries::Elements, _) => format!("VALUES({})", quoted(&name)),
        (Entries::Values | Entries::Order, _) => quoted(&name),
    };
    let index = quoted(&format!("{table}__by_{name}"));
    format!("CREATE INDEX {index} ON {} ({target}) USING 'sai';", quoted(&table))
}

/// A table's name as the store has it, without generation.
pub fn table_name(table: &TablePlan) -> String {
    match table.role {
        TableRole::Buckets { .. } => {
            let of = table.name.strip_suffix(BUCKETS).unwrap_or(&table.name);
            format!("{}{BUCKETS}", snake(of))
        }
        _ => snake(&table.name),
    }
}

/// Name and type of each column: those of the key first, then the others, then what the engine keeps.
fn columns(model: &ReadModel, plan: &Plan, table: &TablePlan) -> Vec<(String, String)> {
    let keys: Vec<&KeyColumn> = table.partition.iter().chain(&table.clustering).collect();
    let mut columns: Vec<(String, String)> =
        keys.iter().map(|key| (snake(&key.part.name), cql_type(model, &key.ty))).collect();
    if matches!(table.role, TableRole::Buckets { .. }) {
        return columns;
    }
    let is_key = |column: ColumnId| keys.iter().any(|key| key.is_plain() && key.part.column == column);
    for &id in table.columns.iter().filter(|&&column| !is_key(column)) {
        let name = &model.ty(table.entity).column(id).name;
        let stored = column_type(model, model.ty(table.entity).column(id));
        // Cassandra looks only into collections that are not frozen. All cells are written anew with their row anyway.
        let stored = match looks_into(plan, table, id) {
            true => stored
                .strip_prefix("frozen<")
                .and_then(|of| of.strip_suffix('>'))
                .unwrap_or(&stored)
                .to_owned(),
            false => stored,
        };
        columns.push((snake(name), stored));
    }
    if table.role == TableRole::Base {
        columns.push(("__o".to_string(), "bigint".to_string()));
        columns.push(("__live".to_string(), "boolean".to_string()));
    }
    columns
}

/// Whether an index finds rows of a table by what this column holds.
fn looks_into(plan: &Plan, table: &TablePlan, column: ColumnId) -> bool {
    let role = TableRole::Index { of: table.id, by: Entries::Elements };
    plan.tables.iter().any(|entries| entries.role == role && entries.indexed().part.column == column)
}

fn create_type(model: &ReadModel, id: TypeId, done: &mut Vec<TypeId>, statements: &mut Vec<String>) {
    if done.contains(&id) {
        return;
    }
    done.push(id);
    let ty = model.ty(id);
    for inner in ty.columns.iter().filter_map(|column| record_of(&column.ty)) {
        create_type(model, inner, done, statements);
    }
    let fields: Vec<String> = ty
        .columns
        .iter()
        .map(|column| format!("  {} {}", quoted(&snake(&column.name)), column_type(model, column)))
        .collect();
    statements.push(format!("CREATE TYPE {} (\n{}\n);", quoted_type(ty.stored_name()), fields.join(",\n")));
}

fn record_of(ty: &ColumnType) -> Option<TypeId> {
    match ty {
        ColumnType::Record(record) | ColumnType::Map { record, .. } => Some(*record),
        ColumnType::List(of) | ColumnType::Set(of) => record_of(of),
        ColumnType::Scalar(_) | ColumnType::Enum(_) => None,
    }
}

fn column_type(model: &ReadModel, column: &Column) -> String {
    match column.vector {
        Some(vector) => format!("vector<float, {}>", vector.dimensions),
        None => cql_type(model, &column.ty),
    }
}

fn cql_type(model: &ReadModel, ty: &ColumnType) -> String {
    match ty {
        ColumnType::Scalar(scalar) => crate::schema::cql_type(*scalar).to_string(),
        ColumnType::Enum(_) => "text".to_string(),
        ColumnType::Record(record) => format!("frozen<{}>", quoted_type(model.ty(*record).stored_name())),
        ColumnType::List(of) => format!("frozen<list<{}>>", cql_type(model, of)),
        ColumnType::Set(of) => format!("frozen<set<{}>>", cql_type(model, of)),
        ColumnType::Map { key, record } => {
            let key = cql_type(model, &model.ty(*record).column(*key).ty);
            format!("frozen<map<{key}, {}>>", cql_type(model, &ColumnType::Record(*record)))
        }
    }
}

/// `ASC` or `DESC`.
pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::Asc => "ASC",
        Order::Desc => "DESC",
    }
}

/// A name as CQL takes it: in quotes where it is a reserved word or begins with `_`.
fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    match is_plain && !RESERVED.contains(&name) {
        true => name.to_string(),
        false => format!("\"{name}\""),
    }
}

/// A value type's name as CQL takes it: also in quotes where it is a type of CQL's own, or kept for one.
fn quoted_type(name: &str) -> String {
    let name = snake(name);
    match TYPES.contains(&name.as_str()) {
        true => format!("\"{name}\""),
        false => quoted(&name),
    }
}

const TYPES: &[&str] = &[
    "ascii",
    "bigint",
    "bitstring",
    "blob",
    "boolean",
    "byte",
    "complex",
    "counter",
    "date",
    "decimal",
    "double",
    "duration",
    "empty",
    "enum",
    "float",
    "frozen",
    "inet",
    "int",
    "interval",
    "list",
    "macaddr",
    "map",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "tuple",
    "uuid",
    "varchar",
    "varint",
    "vector",
];

const RESERVED: &[&str] = &[
    "add",
    "allow",
    "alter",
    "and",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "default",
    "delete",
    "desc",
    "describe",
    "drop",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "limit",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "primary",
    "rename",
    "replace",
    "revoke",
    "schema",
    "select",
    "set",
    "table",
    "to",
    "token",
    "truncate",
    "unlogged",
    "unset",
    "update",
    "use",
    "using",
    "view",
    "where",
    "with",
];
