//! Prints types and tables as the CQL that Cassandra 5 takes.
//!
//! Comes in: a model and its plan. Goes out: statements, in an order in which they can be run, and what they make, column by
//! column. Names are without keyspace; running statements is a store's.

use xxhash_rust::xxh64::xxh64;

use super::{KeyColumn, Nearest, Plan, ReadPlan, TablePlan, TableRole};
use crate::schema::{
    BUCKETS, Column, ColumnId, ColumnType, IndexDecl, NAME_BYTES_MAX, ObjectType, Order, ReadModel, TypeId,
    TypeKind, snake,
};

/// The statements that make everything the plan stores: `CREATE TYPE`, each after those it holds, then `CREATE TABLE`,
/// and `CREATE INDEX` after the tables.
pub fn create_statements(model: &ReadModel, plan: &Plan) -> Vec<String> {
    let cql = Cql::new(model, plan);
    let types = cql.types().into_iter().map(|ty| ty.create);
    let tables = cql.tables().into_iter().map(|(_, table)| table.create);
    types.chain(tables).chain(cql.vector_indexes().into_iter().map(|index| index.create)).collect()
}

/// How a read of the nearest rows ends in CQL.
pub(super) fn nearest_first(model: &ReadModel, read: &ReadPlan, nearest: &Nearest) -> String {
    let name = snake(&model.ty(read.entity).column(nearest.column).name);
    format!("ORDER BY {} ANN OF ? LIMIT ?", quoted(&name))
}

/// Everything that a plan stores, as CQL.
#[derive(Debug)]
pub struct Cql<'m> {
    model: &'m ReadModel,
    plan: &'m Plan,
    /// What tables and types of one generation have at the end of their names.
    suffix: String,
}

/// A value type, as CQL has it.
#[derive(Debug)]
pub struct CqlType {
    /// Without quotes.
    pub name: String,
    /// Name and type of each field, in their order.
    pub fields: Vec<(String, String)>,
    /// The statement that makes it.
    pub create: String,
}

/// A table, as CQL has it.
#[derive(Debug)]
pub struct CqlTable {
    /// Without quotes.
    pub name: String,
    /// Those of the partition first, then those of the clustering, then what a row holds beside its key.
    pub columns: Vec<CqlColumn>,
    /// The statement that makes it.
    pub create: String,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct CqlColumn {
    /// Without quotes.
    pub name: String,
    pub ty: String,
    pub kind: CqlKind,
    pub holds: CqlHolds,
}

/// Where a column stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CqlKind {
    Partition,
    Clustering(Order),
    /// Once for each partition.
    Static,
    Regular,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CqlHolds {
    /// A part of the key.
    Key,
    /// A column of the entity.
    Cell(ColumnId),
    /// Offset of the last event that was applied.
    Position,
    /// Whether the row is there.
    Live,
}

/// An index that the store keeps by itself.
#[derive(Debug)]
pub struct CqlIndex {
    /// Without quotes.
    pub name: String,
    /// The statement that makes it.
    pub create: String,
}

impl<'m> Cql<'m> {
    /// With the names of no generation.
    pub fn new(model: &'m ReadModel, plan: &'m Plan) -> Cql<'m> {
        Cql { model, plan, suffix: String::new() }
    }

    /// With the names of a generation: `orders__g2`.
    pub fn of_generation(model: &'m ReadModel, plan: &'m Plan, generation: u32) -> Cql<'m> {
        Cql { model, plan, suffix: generation_suffix(generation) }
    }

    /// The value types, each after those it holds.
    pub fn types(&self) -> Vec<CqlType> {
        let (mut done, mut types) = (Vec::new(), Vec::new());
        for (index, ty) in self.model.types.iter().enumerate() {
            let is_stored = match ty.kind {
                TypeKind::Udt | TypeKind::Key { .. } => true,
                TypeKind::Variants => !ty.columns.is_empty(),
                _ => false,
            };
            if is_stored {
                let id = TypeId(u32::try_from(index).expect("types are counted in u32"));
                self.add_type(id, &mut done, &mut types);
            }
        }
        types
    }

    /// The tables, without headers: their columns are static ones of the tables that they head.
    pub fn tables(&self) -> Vec<(&'m TablePlan, CqlTable)> {
        let own = self.plan.tables.iter().filter(|table| table.heads.is_none());
        own.map(|table| (&**table, self.table(table))).collect()
    }

    /// One table; of a header the one that it heads.
    pub fn table(&self, table: &TablePlan) -> CqlTable {
        let table = table.heads.map_or(table, |rows| self.plan.table(rows));
        let header = self.plan.header_of(table.id).into_iter().flat_map(|header| self.columns(header));
        let statics = header.filter(|column| column.kind == CqlKind::Static);
        let columns: Vec<CqlColumn> = self.columns(table).into_iter().chain(statics).collect();
        let name = self.physical(&table_name(table));
        let create = create_table(&name, &columns, table);
        CqlTable { name, columns, create }
    }

    /// What a table holds by itself: key, cells, and what the engine keeps. What a header holds is static.
    pub fn columns(&self, table: &TablePlan) -> Vec<CqlColumn> {
        let key = |key: &KeyColumn, kind: CqlKind| CqlColumn {
            name: snake(&key.part.name),
            ty: self.cql_type(&key.ty),
            kind,
            holds: CqlHolds::Key,
        };
        let partition = table.partition.iter().map(|column| key(column, CqlKind::Partition));
        let clustering = table.clustering.iter().map(|column| key(column, CqlKind::Clustering(column.order)));
        let mut columns: Vec<CqlColumn> = partition.chain(clustering).collect();
        if matches!(table.role, TableRole::Buckets { .. }) {
            return columns;
        }
        let (kind, kept) = match table.heads {
            Some(_) => (CqlKind::Static, "__header_"),
            None => (CqlKind::Regular, "__"),
        };
        let keys = || table.partition.iter().chain(&table.clustering);
        let in_key = |id: ColumnId| keys().any(|key| key.is_plain() && key.part.column == id);
        for &id in table.columns.iter().filter(|id| !in_key(**id)) {
            let column = self.model.ty(table.entity).column(id);
            let (name, ty) = (snake(&column.name), self.column_type(column));
            columns.push(CqlColumn { name, ty, kind, holds: CqlHolds::Cell(id) });
        }
        if table.role == TableRole::Base {
            for (name, ty, holds) in
                [("o", "bigint", CqlHolds::Position), ("live", "boolean", CqlHolds::Live)]
            {
                columns.push(CqlColumn { name: format!("{kept}{name}"), ty: ty.to_owned(), kind, holds });
            }
        }
        columns
    }

    /// The indexes of vectors.
    pub fn vector_indexes(&self) -> Vec<CqlIndex> {
        let of_entity = |entity: &super::EntityPlan| {
            let ty = self.model.ty(entity.entity);
            ty.indexes.iter().filter_map(|index| self.vector_index(ty, index)).collect::<Vec<_>>()
        };
        self.plan.entities.iter().flat_map(of_entity).collect()
    }

    fn vector_index(&self, ty: &ObjectType, index: &IndexDecl) -> Option<CqlIndex> {
        let similarity = index.similarity?.word();
        let (table, column) = (snake(&index.table), snake(&ty.column(index.column).name));
        let name = self.physical(&format!("{table}__by_{column}"));
        let create = format!(
            "CREATE INDEX {} ON {} ({}) USING 'sai' WITH OPTIONS = {{ 'similarity_function': '{similarity}' }};",
            quoted(&name),
            quoted(&self.physical(&table)),
            quoted(&column)
        );
        Some(CqlIndex { name, create })
    }

    fn add_type(&self, id: TypeId, done: &mut Vec<TypeId>, types: &mut Vec<CqlType>) {
        if done.contains(&id) {
            return;
        }
        done.push(id);
        let ty = self.model.ty(id);
        for inner in ty.columns.iter().filter_map(|column| record_of(&column.ty)) {
            self.add_type(inner, done, types);
        }
        let fields: Vec<(String, String)> =
            ty.columns.iter().map(|column| (snake(&column.name), self.column_type(column))).collect();
        let shown: Vec<String> = fields.iter().map(|(name, ty)| format!("  {} {ty}", quoted(name))).collect();
        let name = self.physical(&snake(ty.stored_name()));
        let create = format!("CREATE TYPE {} (\n{}\n);", quoted_type(&name), shown.join(",\n"));
        types.push(CqlType { name, fields, create });
    }

    fn column_type(&self, column: &Column) -> String {
        match column.vector {
            Some(vector) => format!("vector<float, {}>", vector.dimensions),
            None => self.cql_type(&column.ty),
        }
    }

    fn cql_type(&self, ty: &ColumnType) -> String {
        match ty {
            ColumnType::Scalar(scalar) => crate::schema::cql_type(*scalar).to_string(),
            ColumnType::Enum(_) => "text".to_string(),
            ColumnType::Record(record) => {
                let name = self.physical(&snake(self.model.ty(*record).stored_name()));
                format!("frozen<{}>", quoted_type(&name))
            }
            ColumnType::List(of) => format!("frozen<list<{}>>", self.cql_type(of)),
            ColumnType::Set(of) => format!("frozen<set<{}>>", self.cql_type(of)),
            ColumnType::Map { key, record } => {
                let key = self.cql_type(&self.model.ty(*record).column(*key).ty);
                format!("frozen<map<{key}, {}>>", self.cql_type(&ColumnType::Record(*record)))
            }
        }
    }

    /// The name that something has in this generation: cut, with a digest of the whole, where the store takes no longer one.
    fn physical(&self, name: &str) -> String {
        let room = NAME_BYTES_MAX - self.suffix.len();
        if self.suffix.is_empty() || name.len() <= room {
            return format!("{name}{}", self.suffix);
        }
        let digest = format!("_{:08x}", xxh64(name.as_bytes(), 0) >> 32);
        format!("{}{digest}{}", &name[..room - digest.len()], self.suffix)
    }
}

/// What the names of a generation's tables and types end in.
pub fn generation_suffix(generation: u32) -> String {
    format!("__g{generation}")
}

fn create_table(name: &str, columns: &[CqlColumn], table: &TablePlan) -> String {
    let shown = columns.iter().map(|column| {
        let is_static = if column.kind == CqlKind::Static { " STATIC" } else { "" };
        format!("  {} {}{is_static},\n", quoted(&column.name), column.ty)
    });
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
    let columns: String = shown.collect();
    format!("CREATE TABLE {} (\n{columns}  PRIMARY KEY ({partition}{clustering})\n){with};", quoted(name))
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

fn record_of(ty: &ColumnType) -> Option<TypeId> {
    match ty {
        ColumnType::Record(record) | ColumnType::Map { record, .. } => Some(*record),
        ColumnType::List(of) | ColumnType::Set(of) => record_of(of),
        ColumnType::Scalar(_) | ColumnType::Enum(_) => None,
    }
}

/// `ASC` or `DESC`.
pub fn direction(order: Order) -> &'static str {
    match order {
        Order::Asc => "ASC",
        Order::Desc => "DESC",
    }
}

/// A name as CQL takes it: in quotes where it is a reserved word or begins with `_`.
pub fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    match is_plain && !RESERVED.contains(&name) {
        true => name.to_string(),
        false => format!("\"{name}\""),
    }
}

/// A value type's name as CQL takes it: also in quotes where it is a type of CQL's own, or kept for one.
fn quoted_type(name: &str) -> String {
    match TYPES.contains(&name) {
        true => format!("\"{name}\""),
        false => quoted(name),
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
