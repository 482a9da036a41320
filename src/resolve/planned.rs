//! The plan of an operation: what is loaded in which order, and what is written where.
//!
//! Made by `select`, once for each operation. A tree of [`Out`]s that `write` walks, and [`Site`]s that `execute` loads
//! level by level; by index, not by name.
//!
//! Objects are numbered within *sets*: the rows of a site, or the elements of a list of value types. A site knows the
//! set of its parents, so that all parents are loaded at once, whatever list they stand in.

use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::ast;

use crate::schema::{ColumnId, EnumId, KeyPath, Scalar, TypeId};

use super::Caching;
use super::error::Place;

/// Everything that executing an operation needs to know.
#[derive(Debug)]
pub(super) struct Planned {
    pub root: Vec<Out>,
    pub sites: Vec<Site>,
    pub sets: Vec<Set>,
    pub entity_lists: Vec<EntityList>,
    /// The entities whose rows are read: their projections are waited for.
    pub reads: Vec<TypeId>,
    pub introspection: bool,
    /// How long an answer may be kept: as long as the read that allows the least. `None` where nothing is read.
    pub caching: Option<Caching>,
    /// How many levels of sites there are.
    pub levels: usize,
}

/// A field to write.
#[derive(Debug)]
pub(super) struct Out {
    pub name: Box<str>,
    /// `"name":`, escaped.
    pub prefix: Box<[u8]>,
    pub non_null: bool,
    pub place: Option<Place>,
    pub what: What,
}

/// What a field is written from. Cells are those of the object that the field belongs to.
#[derive(Debug)]
pub(super) enum What {
    /// JSON known beforehand: `__typename`, `sdl`.
    Fixed(Arc<[u8]>),
    /// An object without a row: `_service`.
    Object(Vec<Out>),
    Value {
        cell: usize,
        shape: Shape,
    },
    /// A value that is never there: an external field that no one sent.
    Nothing,
    /// Another subgraph's entity: its key cells are here, and it is there if none of them is null.
    Stub {
        key: Vec<usize>,
        fields: Vec<Out>,
    },
    /// One row of a site, or null.
    Row {
        site: usize,
        fields: Vec<Out>,
    },
    /// A plain list of a site's rows.
    Rows {
        site: usize,
        item_non_null: bool,
        fields: Vec<Out>,
    },
    /// A page of a site's rows, as a connection.
    Connection {
        site: usize,
        fields: Vec<Out>,
    },
    Nodes {
        fields: Vec<Out>,
    },
    Edges {
        fields: Vec<Out>,
    },
    PageInfo {
        fields: Vec<Out>,
    },
    Cursor,
    Node {
        fields: Vec<Out>,
    },
    /// How many rows the whole list has; null above the bound.
    TotalCount,
    HasNext,
    HasPrevious,
    StartCursor,
    EndCursor,
    Entities {
        list: usize,
    },
    /// `__schema` and `__type`: answered beforehand, under the response key.
    Introspection,
}

/// The form of a stored value.
#[derive(Debug)]
pub(super) enum Shape {
    Scalar(Scalar),
    Enum(EnumId),
    Record(Vec<Out>),
    /// An interface or union: what each member is, in the members' order.
    Variants(Vec<Member>),
    List {
        item_non_null: bool,
        item: Box<Shape>,
        /// The set that numbers the elements, where something is loaded from them.
        set: Option<usize>,
        /// A map's key column: it may stand in the key only.
        key: Option<usize>,
    },
    /// A list of keys of one column: the entities that they lead to. What is not there is null, or left out.
    References {
        item_non_null: bool,
        /// What each key leads to; its only cell is the key.
        what: Box<What>,
        /// The set that numbers the keys.
        set: usize,
    },
}

/// What is written for a member of an interface or union.
#[derive(Debug)]
pub(super) enum Member {
    /// A value type: its fields.
    Value(Vec<Out>),
    /// An entity of which the key is stored: what it leads to.
    Entity(Box<What>),
}

/// Where objects are numbered.
#[derive(Debug)]
pub(super) enum Set {
    Root,
    /// The rows of a site.
    Rows(usize),
    /// The elements of a list inside the objects of another set.
    Elements {
        of: usize,
        path: Vec<usize>,
        cell: usize,
        key: Option<usize>,
        level: usize,
    },
}

/// An object's place: its set, and the records to go through inside the set's object.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub set: usize,
    pub path: Vec<usize>,
}

/// Something to load for all objects of a set at once.
#[derive(Debug)]
pub(super) struct Site {
    pub parent: Spot,
    pub level: usize,
    pub load: Load,
    pub entity: TypeId,
    /// Columns that are wanted of the rows, ascending.
    pub columns: Vec<ColumnId>,
    /// The set of the rows.
    pub rows: usize,
}

/// How a site is loaded.
#[derive(Debug)]
pub(super) enum Load {
    /// By the base key: for each of its columns the parent's cell.
    Ref {
        key: Vec<usize>,
    },
    Read(Box<Read>),
    /// Representations of one type in an `_entities`; the list's entry fills it.
    Entities,
}

/// An `@read` with its arguments.
#[derive(Debug)]
pub(super) struct Read {
    /// Index in [`Plan::reads`].
    pub read: usize,
    pub arguments: Vec<Option<Node<ast::Value>>>,
    /// Where the parts of the parent's key are, through records, and its columns.
    pub stub_cells: Vec<(KeyPath, Vec<usize>)>,
    pub column_cells: Vec<(ColumnId, usize)>,
    pub paging: PagingArguments,
    pub wants: Wants,
}

/// The paging arguments of a read, as they stand in the operation.
#[derive(Debug, Default)]
pub(super) struct PagingArguments {
    pub first: Option<Node<ast::Value>>,
    pub last: Option<Node<ast::Value>>,
    pub after: Option<Node<ast::Value>>,
    pub before: Option<Node<ast::Value>>,
}

/// Which parts of a page are selected: the others cost no read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    pub rows: bool,
    pub next: bool,
    pub previous: bool,
    pub cursors: bool,
    pub total: bool,
}

/// One `_entities` field.
#[derive(Debug)]
pub(super) struct EntityList {
    pub representations: Node<ast::Value>,
    pub types: Vec<EntityChoice>,
}

/// A type that representations can be of.
#[derive(Debug)]
pub(super) struct EntityChoice {
    pub ty: TypeId,
    pub site: usize,
    pub fields: Vec<Out>,
}

impl Planned {
    /// Nothing planned yet.
    pub fn empty() -> Planned {
        Planned {
            root: Vec::new(),
            sites: Vec::new(),
            sets: Vec::new(),
            entity_lists: Vec::new(),
            reads: Vec::new(),
            introspection: false,
            caching: None,
            levels: 0,
        }
    }
}
