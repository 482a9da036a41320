//! What is served: the read models, as the author's `schema/*.graphql` declare them.
//!
//! Comes in: SDL text. Goes out: a [`ReadModel`], or every fault of the text at once, and the SDL that a
//! gateway sees. `parse` reads the text, `directive` knows our directives, `columns`, `fieldset` and `options` the small languages
//! inside them; `bind` makes the model with `scalar`, `variant`, `one_of`, `column`, `reference`, `table`, `header`, `interface`, `index`, `read` and
//! `connection`; `names` has the rules of names; `sdl` cuts what is ours out of the text and appends what is derived, `hint` what gateways are told of sizes and caches, `link` the version; `editor` defines our directives for editors; `outline` has what composition with other subgraphs looks at.
//! Nothing here knows of tables' layout on disk (that is `plan`) or of events.

mod bind;
mod column;
mod columns;
mod connection;
mod directive;
mod editor;
mod fieldset;
mod header;
mod hint;
mod index;
mod interface;
mod link;
mod names;
mod one_of;
mod options;
pub mod outline;
mod parse;
mod read;
mod reference;
mod scalar;
mod sdl;
mod table;
#[cfg(test)]
mod tests;
mod variant;
mod vector;

use std::sync::Arc;

use apollo_compiler::Schema;

pub(crate) use self::column::same_key_type;
pub use self::editor::directives_sdl;
pub use self::names::{BUCKETS, NAME_BYTES_MAX, TIME, snake};
pub use self::options::TableOption;
pub use self::scalar::{cql_type, is_ordered, scalar_name};
pub use self::sdl::Draft;
pub use self::table::function_name;
pub use self::vector::{DIMENSIONS_MAX, Similarity, Vector};
use crate::diagnostic::{Diagnostic, FileId, Severity, Sources, Span};

/// Index of an object type in [`ReadModel::types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// Index of an enum in [`ReadModel::enums`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnumId(pub u32);

/// Index of a column in [`ObjectType::columns`], of a cell in a row or in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

/// All read models of a project, bound and checked.
#[derive(Debug)]
pub struct ReadModel {
    /// Every object type of the SDL that the gateway sees, derived ones (connections) included.
    pub types: Vec<ObjectType>,
    pub enums: Vec<EnumType>,
    /// The root type `Query`.
    pub query: TypeId,
    /// The SDL that `kinora sdl` and `_service { sdl }` give, byte for byte. As loaded without costs,
    /// which only a plan knows: [`ReadModel::weighed_sdl`].
    pub sdl: Arc<str>,
    /// What `sdl` is made of once the cost of reads is known.
    pub draft: Draft,
    /// The schema that operations are validated against: the types of `sdl` without the directives that only a
    /// gateway reads, with `_service` and `_entities`. Valid by itself.
    pub api_sdl: Arc<str>,
}

/// Reads the author's schema files into a model.
///
/// The order of `files` has no meaning: they are taken by path. With errors there is no model; every fault of
/// every file is in the list, syntax first: where a file cannot be read, types are not looked at.
pub fn load(files: &[FileId], sources: &Sources) -> (Option<ReadModel>, Vec<Diagnostic>) {
    let mut files = files.to_vec();
    files.sort_by(|a, b| sources.file(*a).path.cmp(&sources.file(*b).path));
    let mut faults = Vec::new();
    let parsed = parse::parse(&files, sources, &mut faults);
    if !faults.is_empty() {
        return (None, faults);
    }
    let (declarations, faults) = parse::declarations(&parsed, sources);
    let mut bound = bind::bind(&declarations, sources);
    bound.faults.splice(0..0, faults);
    let mut faults = bound.faults;
    let Some(query) = bound.query.filter(|_| !faults.iter().any(|fault| fault.severity == Severity::Error))
    else {
        return (None, faults);
    };
    let none: Arc<str> = Arc::from("");
    let (types, enums, draft) = (bound.types, bound.enums, Draft::default());
    let mut model = ReadModel { types, enums, query, sdl: none.clone(), draft, api_sdl: none };
    model.draft = sdl::draft(&parsed, &declarations, &model, sources);
    model.sdl = model.weighed_sdl(&|_, _| None);
    model.api_sdl = sdl::executable(&declarations, &model).into();
    match Schema::parse_and_validate(model.api_sdl.to_string(), "schema") {
        Ok(_) => (Some(model), faults),
        Err(invalid) => {
            faults.extend(invalid.errors.iter().map(|error| not_graphql(&error.error.to_string(), &model)));
            (None, faults)
        }
    }
}

/// A rule of GraphQL that no check of ours covers, placed on the type that the reason names first.
fn not_graphql(reason: &str, model: &ReadModel) -> Diagnostic {
    let name = reason.split('`').nth(1).and_then(|path| path.split('.').next()).unwrap_or_default();
    let types = model.types.iter().map(|ty| (&ty.name, ty.span));
    let mut named = types.chain(model.enums.iter().map(|found| (&found.name, found.span)));
    let span = named.find(|(known, _)| *known == name).map(|(_, span)| span);
    let nowhere = Span { file: FileId(0), start: 0, end: 0 };
    let message = format!("the schema is not valid GraphQL: {}", reason.trim());
    let fault = Diagnostic { span, ..Diagnostic::error("S060", nowhere, message) };
    fault.help("This is a rule of the GraphQL specification; compare the type it names with it.")
}

/// An object type.
#[derive(Debug)]
pub struct ObjectType {
    pub name: String,
    pub kind: TypeKind,
    pub span: Span,
    pub fields: Vec<Field>,
    /// What is stored: the cells of an entity's row, or the parts of a `@udt`. Hidden ones included.
    pub columns: Vec<Column>,
    /// `@key`s, in the author's order. Only resolvable ones can come in `_entities`.
    pub keys: Vec<EntityKey>,
    /// `@table`s, in the author's order; the first is the base table. Empty unless an entity.
    pub tables: Vec<TableDecl>,
    /// `@index`es of those tables.
    pub indexes: Vec<IndexDecl>,
    /// `@udt(name:)`: the name of its CQL type, where it is not its own.
    pub stored_as: Option<String>,
    /// Names of the interfaces that it implements, and of the unions that it is a member of.
    pub belongs_to: Vec<String>,
    /// Of an interface with a resolvable `@key`: the entities that a representation of it may be, in the order in which
    /// they count.
    pub resolves_to: Vec<TypeId>,
}

/// What an object type is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// The root type `Query`.
    Query,
    /// Has `@table`: its rows are stored here.
    Entity,
    /// Has `@key` but no `@table`: another subgraph's, its key is its existence.
    Stub,
    /// A value type stored inside a row.
    Udt,
    /// An interface or union. Over value types it is stored inside a row: its first column is the name of the member
    /// that a value is of, then one for each member, of which that one's is there. Over entities that a `@ref` leads to
    /// likewise, with the key of each. Over others it has no columns.
    Variants,
    /// Of an entity that is a member of such: its key, stored inside a row. Its only field is the reference.
    Key { of: TypeId },
    /// `XConnection`: `edges`, `nodes`, `pageInfo`.
    Connection { node: TypeId },
    /// `XEdge`: `cursor`, `node`.
    Edge { node: TypeId },
    /// `PageInfo`.
    PageInfo,
}

/// One `@key`.
#[derive(Clone, Debug)]
pub struct EntityKey {
    /// The key's fields in the order written.
    pub fields: Vec<KeyPath>,
    pub resolvable: bool,
    pub span: Span,
}

/// Index of a field in [`ObjectType::fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u32);

/// A part of a key: a scalar field of the type, or fields of other entities that lead to one (`org { id }`).
pub type KeyPath = Vec<FieldId>;

/// A field of an object type, as the graph shows it.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub ty: FieldType,
    pub args: Vec<Argument>,
    pub source: FieldSource,
    pub span: Span,
}

/// Where a field's value comes from.
#[derive(Clone, Debug)]
pub enum FieldSource {
    /// A cell of the row, or a part of the record.
    Column(ColumnId),
    /// `@ref`: another entity, of which this row (or record) holds the key.
    Ref(RefDecl),
    /// `@read`: rows of another table.
    Read(ReadDecl),
    /// Belongs to a connection, edge or page info: the executor knows it by name.
    Page,
    /// Nothing is stored: a key field of a stub, or an `@external` field. Its value can only come in a
    /// representation, or for a key in the `@ref` that led here.
    External,
}

/// `@ref(key:)`. Of a list of references the key is one part, and its column a list or set of such.
#[derive(Clone, Debug)]
pub struct RefDecl {
    pub target: TypeId,
    /// Pairs: a part of the target's key, and the column here that holds it.
    pub key: Vec<(KeyPath, ColumnId)>,
}

/// `@read` as written; `plan` binds it to a table.
#[derive(Clone, Debug)]
pub struct ReadDecl {
    pub table: Option<String>,
    /// The child's `@ref` field that leads back to the parent.
    pub via: Option<String>,
    /// Default page size.
    pub page: u32,
    /// Largest page.
    pub max: u32,
    /// Most buckets walked, as a duration back from the newest; `None`: all.
    pub lookback_ms: Option<i64>,
    /// Whether the rows of the whole list are counted, up to `max`.
    pub counted: bool,
    /// `order`: columns with directions, and where they stand.
    pub order: Option<(Vec<(String, Order)>, Span)>,
    /// Seconds for which caches may keep an answer.
    pub max_age_s: u32,
    /// Whether shared caches may not.
    pub is_private: bool,
    pub span: Span,
}

/// An argument of a field.
#[derive(Clone, Debug)]
pub struct Argument {
    pub name: String,
    pub ty: FieldType,
    /// `@arg(column:, op:)`, or the argument's own name and `EQ`. Paging arguments have `Paging`.
    pub binds: ArgumentBinding,
    pub span: Span,
}

/// What an argument does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentBinding {
    /// `first`, `last`, `after`, `before` of a list or connection.
    Paging,
    Column {
        column: String,
        op: ArgOp,
    },
}

/// Comparison of `@arg(op:)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgOp {
    Eq,
    /// One of a list.
    In,
    Lt,
    Lte,
    Gt,
    Gte,
    /// Text that begins with the argument.
    Prefix,
    /// A collection that holds the argument: an element, or of a `MAP` a key.
    Contains,
    /// A vector near the argument: not a filter but an order, the nearest first.
    Ann,
}

impl ArgOp {
    /// The word of `@arg(op:)` and `@index(ops:)`.
    pub fn word(self) -> &'static str {
        match self {
            ArgOp::Eq => "EQ",
            ArgOp::In => "IN",
            ArgOp::Lt => "LT",
            ArgOp::Lte => "LTE",
            ArgOp::Gt => "GT",
            ArgOp::Gte => "GTE",
            ArgOp::Prefix => "PREFIX",
            ArgOp::Contains => "CONTAINS",
            ArgOp::Ann => "ANN",
        }
    }

    /// The comparison that a word stands for; `EQ` for any other.
    fn of(word: &str) -> ArgOp {
        use ArgOp::{Ann, Contains, Gt, Gte, In, Lt, Lte, Prefix};
        [In, Lt, Lte, Gt, Gte, Prefix, Contains, Ann]
            .into_iter()
            .find(|op| op.word() == word)
            .unwrap_or(ArgOp::Eq)
    }

    /// Whether it bounds a range.
    pub fn is_range(self) -> bool {
        matches!(self, ArgOp::Lt | ArgOp::Lte | ArgOp::Gt | ArgOp::Gte)
    }
}

/// The GraphQL type of a field or argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    Named { name: Named, non_null: bool },
    List { of: Box<FieldType>, non_null: bool },
}

impl FieldType {
    /// Whether null is refused.
    pub fn non_null(&self) -> bool {
        match self {
            FieldType::Named { non_null, .. } | FieldType::List { non_null, .. } => *non_null,
        }
    }

    /// Puts another type under all lists.
    fn set_named(&mut self, new: Named) {
        match self {
            FieldType::Named { name, .. } => *name = new,
            FieldType::List { of, .. } => of.set_named(new),
        }
    }

    /// The named type under all lists.
    pub fn named(&self) -> Named {
        match self {
            FieldType::Named { name, .. } => *name,
            FieldType::List { of, .. } => of.named(),
        }
    }
}

/// A named type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Scalar(Scalar),
    Enum(EnumId),
    Object(TypeId),
}

/// The scalars that can be stored and served. Names and wire forms are in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    Boolean,
    /// 8 bits, signed.
    Byte,
    /// 16 bits.
    Short,
    /// 32 bits.
    Int,
    /// 64 bits, a JSON number on the wire.
    Long,
    /// 64 bits, a string on the wire.
    BigInt,
    /// At most 38 digits, a string on the wire.
    VarInt,
    Float,
    /// A double that a float of 32 bits can hold.
    Float32,
    String,
    /// Text of ASCII letters only.
    Ascii,
    Id,
    /// Exact, a string on the wire, scale kept.
    Decimal,
    /// Milliseconds, `…sssZ` on the wire.
    DateTime,
    /// `YYYY-MM-DD`.
    LocalDate,
    /// `HH:mm:ss.nnnnnnnnn`.
    LocalTime,
    /// ISO 8601 on the wire; never part of a key.
    Duration,
    Uuid,
    /// A UUID of version 1, ordered by its time.
    TimeUuid,
    /// Base64 with padding.
    Bytes,
    /// An address of IPv4 or IPv6, in its canonical text.
    Ip,
    Ipv4,
    Ipv6,
    /// Any JSON, stored as text; never part of a key.
    Json,
}

/// An enum; its values are stored by name.
#[derive(Debug)]
pub struct EnumType {
    pub name: String,
    pub values: Vec<String>,
    pub span: Span,
}

/// Something stored: a cell of a row, or a part of a record.
#[derive(Clone, Debug)]
pub struct Column {
    /// The author's name for it; `plan` makes the CQL name from it.
    pub name: String,
    pub ty: ColumnType,
    /// A row without it is not a row: folding rejects.
    pub non_null: bool,
    /// Stored, but not in the graph.
    pub hidden: bool,
    /// Bound on the elements of a collection.
    pub max: Option<u32>,
    /// Of a list of numbers that is a vector: what all its values have in common.
    pub vector: Option<Vector>,
    pub span: Span,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Scalar(Scalar),
    Enum(EnumId),
    /// A `@udt`.
    Record(TypeId),
    List(Box<ColumnType>),
    Set(Box<ColumnType>),
    /// A list of records stored by one of their columns, unique by it, answered in its order.
    Map {
        key: ColumnId,
        record: TypeId,
    },
}

impl ColumnType {
    /// The scalar or enum that a column holds; `None` for anything else.
    pub fn named(&self) -> Option<Named> {
        match self {
            ColumnType::Scalar(scalar) => Some(Named::Scalar(*scalar)),
            ColumnType::Enum(id) => Some(Named::Enum(*id)),
            ColumnType::Record(_) | ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => None,
        }
    }
}

/// One `@table`.
#[derive(Clone, Debug)]
pub struct TableDecl {
    pub name: String,
    /// `static`: the rows are what each partition of the table of that name has once; that table is another type's.
    pub is_header: bool,
    pub partition: Vec<KeyPart>,
    pub clustering: Vec<(KeyPart, Order)>,
    /// Columns of this copy beside its key; `None`: all.
    pub fields: Option<Vec<ColumnId>>,
    /// `where`: CEL text over the columns, and where it stands.
    pub filter: Option<(String, Span)>,
    /// `ttl` and `ttlFrom`: until when a row is in this table.
    pub expiry: Option<Expiry>,
    /// Rows expected in a partition (p99).
    pub rows: Option<u64>,
    /// Writes expected per second to the hottest partition (p99).
    pub rate: Option<u64>,
    /// What Cassandra is told beside that.
    pub options: Vec<TableOption>,
    /// The whole directive.
    pub span: Span,
    pub partition_span: Span,
    pub clustering_span: Span,
}

/// Until when a row is there: so long after the time in a column of it. Where that is null, without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A DateTime: the author's, or [`ObjectType::time_column`].
    pub from: ColumnId,
    pub after_ms: i64,
}

/// One `@index`: the partitions of a table can be filtered by a column outside its key.
#[derive(Clone, Debug)]
pub struct IndexDecl {
    pub column: ColumnId,
    /// Name of the table.
    pub table: String,
    /// What can be asked of it: `EQ`, `IN`, ranges; of a collection `CONTAINS`; of a vector `ANN`.
    pub ops: Vec<ArgOp>,
    /// Of a vector.
    pub similarity: Option<Similarity>,
    pub span: Span,
}

/// A part of a table's key, made from one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    pub column: ColumnId,
    pub via: KeyFunction,
    /// `AS name`; else the column's name, with the function's appended.
    pub name: String,
}

/// How a key part is made from its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFunction {
    /// The column itself.
    Itself,
    /// First day (or hour) of the time bucket that holds the timestamp or date, in UTC.
    Bucket(Bucket),
    /// xxHash64, seed 0, of the column's CQL bytes, modulo this.
    Hash(u32),
    /// So many letters (Unicode scalar values) from the text's beginning.
    Prefix(u32),
}

/// Width of a time bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    Year,
    Month,
    Week,
    Day,
    Hour,
}

/// Direction of a clustering column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Asc,
    Desc,
}

/// The column in which a part of a key is stored; `None` where it is in none.
fn key_column(types: &[ObjectType], ty: TypeId, path: &[FieldId]) -> Option<ColumnId> {
    let (first, rest) = path.split_first()?;
    match &types[ty.0 as usize].field(*first).source {
        FieldSource::Column(column) if rest.is_empty() => Some(*column),
        FieldSource::Ref(decl) => decl.key.iter().find(|(path, _)| path == rest).map(|(_, column)| *column),
        _ => None,
    }
}

fn element<'t>(types: &'t [ObjectType], ty: &'t ColumnType) -> Option<&'t ColumnType> {
    let of = match ty {
        ColumnType::List(of) | ColumnType::Set(of) => of,
        ColumnType::Map { key, record } => &types[record.0 as usize].column(*key).ty,
        ColumnType::Scalar(_) | ColumnType::Enum(_) | ColumnType::Record(_) => return None,
    };
    column::can_be_key(of).then_some(of)
}

/// A part of a key as a key writes it: `org { id }`.
fn path_shown(types: &[ObjectType], ty: TypeId, path: &[FieldId]) -> String {
    let (mut names, mut owner) = (Vec::new(), ty);
    for id in path {
        let field = types[owner.0 as usize].field(*id);
        names.push(field.name.as_str());
        if let Named::Object(inner) = field.ty.named() {
            owner = inner;
        }
    }
    fieldset::shown(names.into_iter())
}

impl TableDecl {
    /// The columns that the key is made of, each once, in the key's order.
    pub fn key_columns(&self) -> Vec<ColumnId> {
        let clustering = self.clustering.iter().map(|(part, _)| part);
        let mut columns: Vec<ColumnId> = Vec::new();
        for part in self.partition.iter().chain(clustering) {
            if !columns.contains(&part.column) {
                columns.push(part.column);
            }
        }
        columns
    }
}

impl ReadModel {
    /// `sdl` with what reads cost: `@cost` on each read that has a weight and no `@cost` of the author's.
    pub fn weighed_sdl(&self, weight: &dyn Fn(TypeId, FieldId) -> Option<u32>) -> Arc<str> {
        self.draft.text(weight).into()
    }

    /// What an index of a collection finds it by: the type of its elements, of a `MAP` that of its keys. `None` where that
    /// is no scalar or enum, or the column is no collection.
    pub fn element<'m>(&'m self, ty: &'m ColumnType) -> Option<&'m ColumnType> {
        element(&self.types, ty)
    }

    /// The column of an entity in which a part of its key is stored; `None` where it is in none.
    pub fn key_column(&self, ty: TypeId, path: &[FieldId]) -> Option<ColumnId> {
        key_column(&self.types, ty, path)
    }

    /// What values of a part of a key are read as: what its column stores, else what its last field answers.
    pub fn read_as(&self, ty: TypeId, path: &[FieldId]) -> Named {
        if let Some(named) =
            self.key_column(ty, path).and_then(|column| self.ty(ty).column(column).ty.named())
        {
            return named;
        }
        let mut named = Named::Object(ty);
        for id in path {
            if let Named::Object(inner) = named {
                named = self.ty(inner).field(*id).ty.named();
            }
        }
        named
    }

    /// A part of a key as a key writes it: `org { id }`.
    pub fn path_shown(&self, ty: TypeId, path: &[FieldId]) -> String {
        path_shown(&self.types, ty, path)
    }

    /// The type with that number.
    pub fn ty(&self, id: TypeId) -> &ObjectType {
        &self.types[id.0 as usize]
    }

    /// The enum with that number.
    pub fn enumeration(&self, id: EnumId) -> &EnumType {
        &self.enums[id.0 as usize]
    }

    /// The type with that name.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        let index = self.types.iter().position(|ty| ty.name == name)?;
        Some(TypeId(u32::try_from(index).expect("types are counted in u32")))
    }
}

impl ObjectType {
    /// A value type without anything yet.
    pub fn new(name: String, span: Span) -> ObjectType {
        ObjectType {
            name,
            kind: TypeKind::Udt,
            span,
            fields: Vec::new(),
            columns: Vec::new(),
            keys: Vec::new(),
            tables: Vec::new(),
            indexes: Vec::new(),
            stored_as: None,
            belongs_to: Vec::new(),
            resolves_to: Vec::new(),
        }
    }

    /// The name that the store knows it by.
    pub fn stored_name(&self) -> &str {
        self.stored_as.as_deref().unwrap_or(&self.name)
    }

    /// The field with that number.
    pub fn field(&self, id: FieldId) -> &Field {
        &self.fields[id.0 as usize]
    }

    /// The field with that name.
    pub fn field_named(&self, name: &str) -> Option<FieldId> {
        let index = self.fields.iter().position(|field| field.name == name)?;
        Some(FieldId(u32::try_from(index).expect("fields are counted in u32")))
    }

    /// The column with that number.
    pub fn column(&self, id: ColumnId) -> &Column {
        &self.columns[id.0 as usize]
    }

    /// The column in which the engine keeps the time of the last event that wrote a row, where a `ttl` counts from it.
    pub fn time_column(&self) -> Option<ColumnId> {
        let index = self.columns.iter().position(|column| column.name == TIME)?;
        Some(ColumnId(u32::try_from(index).expect("columns are counted in u32")))
    }

    /// Names of the columns that an author can mean.
    pub fn column_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(|column| column.name.as_str()).filter(|name| *name != TIME)
    }

    /// The column with that name, of those that an author can mean.
    pub fn column_named(&self, name: &str) -> Option<ColumnId> {
        let index = self.columns.iter().position(|column| column.name == name && name != TIME)?;
        Some(ColumnId(u32::try_from(index).expect("columns are counted in u32")))
    }
}
