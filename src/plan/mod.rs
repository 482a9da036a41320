//! How it is stored: the read models laid out as tables, and every read bound to exactly one of them.
//!
//! Comes in: a [`ReadModel`]. Goes out: a [`Plan`], or every fault at once with the `@table` line that is
//! missing. `layout` lays out tables, `key` makes keys, `fit` knows what a table can answer, `bind` binds reads,
//! `argument` what they are given, `index` what indexes answer of it, `nearest` what is near, `load` keys; `refuse` says why not, `cost`
//! what a read costs, `cql` prints tables as CQL, `explain` shows it all. Reads nothing and writes nothing; what is stored badly is
//! `lint`'s.

mod argument;
mod bind;
mod cost;
pub mod cql;
pub mod explain;
mod fit;
mod index;
pub mod key;
mod layout;
mod load;
mod nearest;
mod refuse;
pub mod stored;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, Sources};
use crate::expr::Compiled;
use crate::schema::{
    ArgOp, ArgumentBinding, ColumnId, ColumnType, Expiry, FieldId, KeyFunction, KeyPart, KeyPath, Named,
    Order, ReadModel, Similarity, TableOption, TypeId,
};
use crate::value::Value;

/// Index of a table in [`Plan::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// Everything that `project`, `resolve` and the stores need to know of storage.
#[derive(Debug)]
pub struct Plan {
    pub tables: Vec<Arc<TablePlan>>,
    /// One for each entity, with its tables.
    pub entities: Vec<EntityPlan>,
    /// One for each `@read` field.
    pub reads: Vec<ReadPlan>,
}

/// The tables of one entity.
#[derive(Clone, Debug)]
pub struct EntityPlan {
    pub entity: TypeId,
    /// The table whose rows carry the fold's state and position.
    pub base: TableId,
    /// Every other table of the entity that holds its rows.
    pub copies: Vec<TableId>,
    /// For each `@key` of the type, in its order: how a representation is loaded.
    /// `None` where the key is not resolvable.
    pub keys: Vec<Option<KeyLoad>>,
    /// How a `@ref` from anywhere to this type is loaded: by the base key.
    pub base_key: Vec<ColumnId>,
}

/// How the row of an entity is found by one of its keys.
#[derive(Clone, Debug)]
pub struct KeyLoad {
    pub table: TableId,
    /// For each partition column of the table: the position in the key's fields of what fills it.
    /// Clustering columns left over are open: the first row in clustering order answers.
    pub partition: Vec<Part<usize>>,
    pub clustering: Vec<Part<usize>>,
}

/// One table.
#[derive(Debug)]
pub struct TablePlan {
    pub id: TableId,
    /// Name without generation.
    pub name: String,
    pub entity: TypeId,
    pub role: TableRole,
    /// For a header, the table whose partitions it heads: one table in Cassandra, where the header's columns are static.
    /// A store may keep headers by themselves; one that keeps them in their partition deletes them column by column,
    /// because whatever deletes the partition takes the rows too.
    pub heads: Option<TableId>,
    pub partition: Vec<KeyColumn>,
    /// For a copy, what of the base key was missing is appended.
    pub clustering: Vec<KeyColumn>,
    /// How many of `clustering`'s last columns were appended by us.
    pub appended: usize,
    /// The entity's columns that this table's rows hold (key columns included).
    pub columns: Vec<ColumnId>,
    /// Whether `columns` are all the entity's columns: a read needs no completion.
    pub complete: bool,
    /// `where`: a row is in this table only while it holds.
    pub filter: Option<Compiled>,
    /// Until when a row is in this table: its own `ttl`, and that of the base table.
    pub expires: Vec<Expiry>,
    /// The table of this table's non-empty buckets, where its partition has a time bucket.
    pub buckets: Option<TableId>,
    pub rows: Option<u64>,
    pub rate: Option<u64>,
    /// What Cassandra is told beside columns and key.
    pub options: Vec<TableOption>,
}

/// What a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableRole {
    /// Holds the fold's state and each row's position.
    Base,
    /// Another key over the same rows.
    Copy,
    /// Names the non-empty buckets of `of`: partition = that table's partition without the bucket,
    /// clustering = the bucket, in the order of the first clustering column of `of`.
    Buckets { of: TableId },
    /// Entries of an `@index`: the rows of each partition of `of` by the indexed column too. Written as a copy is, in
    /// the same batch. A store that has indexes of its own needs neither this table nor its buckets.
    Index { of: TableId, by: Entries },
}

/// How the entries of an index are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// For `EQ` and `IN`: the value ends the partition, so that its rows lie together in the order of the table.
    Values,
    /// For ranges: the value begins the clustering.
    Order,
    /// For `CONTAINS`: as `Values`, one entry for each element of a collection, of a map for each key.
    Elements,
}

/// A column of a key.
#[derive(Clone, Debug)]
pub struct KeyColumn {
    pub part: KeyPart,
    /// Type of the stored key value.
    pub ty: ColumnType,
    /// Type of the column that the part is made from: what a hash is taken over depends on it.
    pub source: ColumnType,
    pub order: Order,
}

/// What fills a part of a key when reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<Source> {
    /// A value, put through the key part's function.
    From(Source),
    /// Every bucket in turn, as the buckets table names them.
    EachBucket,
    /// Every shard at once, merged: `0..n`.
    EachShard(u32),
}

/// What fills a part of a key in an `@read`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadSource {
    /// An argument of the field, by its index in `Field::args`.
    Argument(usize),
    /// A column of the parent's row.
    ParentColumn(ColumnId),
    /// A part of the key of a parent that is a stub: it comes in the representation or the `@ref`.
    ParentField(KeyPath),
}

/// One `@read` field bound to its table.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    pub parent: TypeId,
    pub field: FieldId,
    pub table: TableId,
    pub entity: TypeId,
    /// For each argument of the field what its values are read as: what the column stores that it is compared with.
    /// `None` for those of paging.
    pub arguments: Vec<Option<Named>>,
    pub partition: Vec<Part<ReadSource>>,
    /// Equalities on the first clustering columns. Here and in the partition, an argument of `IN` is a list: the rows
    /// of each of its values, merged.
    pub equal: Vec<ReadSource>,
    /// Bounds on the clustering column after `equal`.
    pub bounds: Vec<(ArgOp, ReadSource)>,
    /// Entries of an index of `table` in the order of their values, which are read in place of the table where a bound is
    /// given.
    pub ranged: Option<Ranged>,
    /// What else must hold of a row, each answered by an index where the store has its own, here by its base row.
    pub filters: Vec<Filter>,
    /// It answers the rows of its one partition in the order of how near a vector of theirs is, not the table's.
    pub nearest: Option<Nearest>,
    pub shape: Shape,
    /// Whether it answers in the reverse of the table's order.
    pub reversed: bool,
    /// The copy lacks columns: one batched read of the base table completes its rows.
    pub completed: bool,
}

/// Bounds on an indexed column.
#[derive(Clone, Debug)]
pub struct Ranged {
    /// The entries, [`Entries::Order`].
    pub entries: TableId,
    pub bounds: Vec<(ArgOp, ReadSource)>,
}

/// A comparison of an indexed column.
#[derive(Clone, Debug)]
pub struct Filter {
    pub column: ColumnId,
    pub op: ArgOp,
    pub source: ReadSource,
}

/// An order of rows: those whose vector is nearest to a given one come first.
#[derive(Clone, Debug)]
pub struct Nearest {
    pub column: ColumnId,
    /// How many numbers the column's vectors have.
    pub dimensions: u32,
    pub similarity: Similarity,
    pub source: ReadSource,
}

/// What a read answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The first row in clustering order, or null.
    One,
    /// A plain list of at most `max` rows.
    List { page: u32, max: u32 },
    Connection {
        page: u32,
        max: u32,
        lookback_ms: Option<i64>,
        /// Whether the rows of the whole list are counted, up to `max`.
        counted: bool,
    },
}

/// Most values of an argument of `IN`, and most combinations of the values of several.
pub const VALUES_MAX: usize = 100;

/// Most entries of indexes that a page looks at where they are sorted or filtered: what needs more is refused.
pub const ENTRIES_MAX: usize = 10_000;

impl ReadPlan {
    /// The arguments of `IN`, by their index in `Field::args`.
    pub fn any_of(&self, model: &ReadModel) -> Vec<usize> {
        let declared = model.ty(self.parent).field(self.field).args.iter().enumerate();
        let is_in = |binds: &ArgumentBinding| matches!(binds, ArgumentBinding::Column { op: ArgOp::In, .. });
        declared.filter(|(_, argument)| is_in(&argument.binds)).map(|(index, _)| index).collect()
    }
}

/// Lays a model out as tables, and binds every read and every key to exactly one of them.
///
/// Every fault is in the list. Where it has errors the plan must not be worked with, but what rests on its tables can be
/// checked all the same; there is no plan where tables could not be laid out.
pub fn plan(model: &ReadModel, sources: &Sources) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut faults = Vec::new();
    let (tables, mut entities) = layout::lay_out(model, &mut faults);
    let is_laid_out = !has_errors(&faults);
    let ground = bind::Ground { model, tables: &tables, entities: &entities };
    let reads = ground.reads(&mut faults);
    let keys: Vec<_> = entities.iter().map(|entity| ground.key_loads(entity.entity, &mut faults)).collect();
    for (entity, keys) in entities.iter_mut().zip(keys) {
        entity.keys = keys;
    }
    debug_assert!(
        faults.iter().flat_map(|fault| fault.span).all(|span| (span.file.0 as usize) < sources.files().len())
    );
    faults.extend(refuse::l26(model));
    if !is_laid_out {
        return (None, faults);
    }
    (Some(Plan { tables, entities, reads }), faults)
}

fn has_errors(faults: &[Diagnostic]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}

impl Plan {
    /// The table with that number.
    pub fn table(&self, id: TableId) -> &Arc<TablePlan> {
        &self.tables[id.0 as usize]
    }

    /// The header over the partitions of a table.
    pub fn header_of(&self, rows: TableId) -> Option<&TablePlan> {
        self.tables.iter().map(|table| &**table).find(|table| table.heads == Some(rows))
    }

    /// Whether a read finds its rows in the partition of its parent's header: one read of it has both.
    pub fn is_under_header(&self, read: &ReadPlan) -> bool {
        let Some(header) = self.header_of(read.table).filter(|header| header.entity == read.parent) else {
            return false;
        };
        let of_parent = |key: &KeyColumn| Part::From(ReadSource::ParentColumn(key.part.column));
        read.partition.iter().eq(header.partition.iter().map(of_parent).collect::<Vec<_>>().iter())
    }

    /// The tables of an entity.
    ///
    /// # Panics
    /// If the type is not an entity.
    pub fn entity(&self, id: TypeId) -> &EntityPlan {
        self.entities.iter().find(|entity| entity.entity == id).expect("the type has tables")
    }

    /// The read of a field.
    pub fn read(&self, parent: TypeId, field: FieldId) -> Option<&ReadPlan> {
        self.reads.iter().find(|read| read.parent == parent && read.field == field)
    }
}

impl TablePlan {
    /// What its keys are made of, in full: changes whenever the bytes of a key would mean something else.
    pub fn key_text(&self) -> String {
        let mut text = String::new();
        for column in self.partition.iter().chain(&self.clustering) {
            let part = &column.part;
            text.push_str(&format!("{}|{:?}|{:?}|{:?};", part.name, part.via, column.ty, column.order));
        }
        text.push_str(&self.partition.len().to_string());
        text
    }

    /// The indexed column of entries of an index.
    ///
    /// # Panics
    /// If the table is no such.
    pub fn indexed(&self) -> &KeyColumn {
        let key = match self.role {
            TableRole::Index { by: Entries::Order, .. } => self.clustering.first(),
            _ => self.partition.last(),
        };
        key.expect("entries have the indexed column in their key")
    }

    /// The name that a store keeps the table's rows under: a header's are apart from those of the table it heads.
    pub fn space(&self) -> Cow<'_, str> {
        match self.heads {
            Some(_) => Cow::Owned(format!("{}__header", self.name)),
            None => Cow::Borrowed(&self.name),
        }
    }

    /// Whether a row with these cells is gone at a time.
    pub fn is_over(&self, cells: &[Value], at_ms: i64) -> bool {
        self.expires.iter().any(|expiry| expiry.is_over(cells, at_ms))
    }
}

impl KeyColumn {
    /// Whether this part is the column's own value.
    pub fn is_plain(&self) -> bool {
        self.part.via == KeyFunction::Itself
    }
}

/// Which projection feeds an entity, and from where. A read of the entity waits for it, and a parked key of it
/// marks answers.
#[derive(Clone, Debug)]
pub struct Feed {
    pub projection: Arc<str>,
    pub entity: TypeId,
    pub topic: Arc<str>,
    /// The base key column whose text form is the record's key, where the projection says so.
    pub record_key: Option<ColumnId>,
}
