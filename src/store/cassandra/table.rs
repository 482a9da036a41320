//! One table as Cassandra has it: names, types, the statements that read and write it, and rows of its answers.
//!
//! Comes in: a table's plan and model, mutations, cells of answers. Goes out: texts of statements, their values, and rows.
//! Sending is `session`'s. A header's columns are static ones of the table that it heads: they are deleted one by one,
//! because whatever deletes a partition takes the rows too.

use super::bounds::Slice;
use super::cells::{CellType, read};
use super::session::Binds;
use crate::event::Offset;
use crate::plan::TablePlan;
use crate::plan::cql::{Cql, CqlHolds, direction, quoted};
use crate::plan::key::{clustering_prefix, key_values, partition_bytes};
use crate::schema::{ColumnId, Order, ReadModel};
use crate::store::layout::Layout;
use crate::store::{Columns, Mutation, StoreError, StoredRow};
use crate::value::Value;
use crate::value::encode::{Malformed, RowKey, take_part};

/// A table of one generation.
pub(super) struct Physical {
    pub layout: Layout,
    /// With its keyspace, as statements name it.
    pub name: String,
    /// Names and types of the key, those of the partition first.
    keys: Vec<(String, CellType)>,
    cells: Vec<(ColumnId, String, CellType)>,
    /// Names of the position and of the live flag, of a base table.
    kept: Option<[String; 2]>,
    texts: Texts,
}

/// Statements that do not depend on what is asked.
struct Texts {
    insert: String,
    delete: String,
    select: String,
}

/// What is to be written, of one statement.
pub(super) struct Written<'t> {
    pub text: &'t str,
    pub binds: Binds,
}

impl Physical {
    /// A table of a plan.
    pub fn new(keyspace: &str, cql: &Cql<'_>, model: &ReadModel, layout: Layout) -> Physical {
        let table = &layout.table;
        let name = format!("{}.{}", quoted(keyspace), quoted(&cql.table(table).name));
        let (mut keys, mut cells, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut parts = table.partition.iter().chain(&table.clustering);
        for column in cql.columns(table) {
            let shown = quoted(&column.name);
            match column.holds {
                CqlHolds::Key => {
                    let part = parts.next().expect("a table has a column for each part of its key");
                    keys.push((shown, CellType::of(model, &part.ty)));
                }
                CqlHolds::Cell(id) => {
                    let ty = CellType::of_column(model, model.ty(table.entity).column(id));
                    cells.push((id, shown, ty));
                }
                CqlHolds::Position | CqlHolds::Live => kept.push(shown),
            }
        }
        let kept = <[String; 2]>::try_from(kept).ok();
        let texts = texts(&name, &keys, &cells, kept.as_ref(), table);
        Physical { layout, name, keys, cells, kept, texts }
    }

    fn table(&self) -> &TablePlan {
        &self.layout.table
    }

    fn is_header(&self) -> bool {
        self.table().heads.is_some()
    }

    /// The statements of a mutation, all of one partition.
    ///
    /// # Errors
    /// A value does not fit its column, or the stamp is out of range.
    pub fn writes(&self, mutation: &Mutation) -> Result<Vec<Written<'_>>, StoreError> {
        match mutation {
            Mutation::Replace { cells, .. } => self.writes_of(mutation, &cells.values()),
            _ => self.writes_of(mutation, &[]),
        }
    }

    /// `replaced` are the cells of a row that is replaced.
    fn writes_of<'m>(
        &self,
        mutation: &'m Mutation,
        replaced: &'m [Value],
    ) -> Result<Vec<Written<'_>>, StoreError> {
        let stamp = stamp(mutation)?;
        let key = key_values(self.table(), mutation.key()).map_err(|error| self.layout.corrupt(&error))?;
        let delete = |stamp: i64| {
            let mut binds = Binds::default().long(stamp);
            self.bind_key(&mut binds, &key)?;
            Ok(Written { text: &self.texts.delete, binds })
        };
        let insert = |cell: &dyn Fn(ColumnId) -> Option<&'m Value>, live: bool| {
            let mut binds = Binds::default();
            self.bind_key(&mut binds, &key)?;
            for (id, name, ty) in &self.cells {
                match cell(*id) {
                    Some(value) => binds.cell(ty, value).map_err(|error| self.misfit(name, &error))?,
                    None => binds.unset(),
                }
            }
            if self.kept.is_some() {
                binds.push_long(signed(mutation.offset())?);
                if live { binds.push_bool(true) } else { binds.unset() }
            }
            binds.push_long(stamp);
            Ok(Written { text: &self.texts.insert, binds })
        };
        match mutation {
            Mutation::Replace { .. } => {
                let held = |id: ColumnId| replaced.get(id.0 as usize).filter(|cell| !cell.is_null());
                Ok(vec![delete(stamp - 1)?, insert(&held, true)?])
            }
            Mutation::Delete { .. } => Ok(vec![delete(stamp)?]),
            Mutation::Bury { .. } if self.kept.is_some() => {
                Ok(vec![delete(stamp - 1)?, insert(&|_| None, false)?])
            }
            Mutation::Bury { .. } => Ok(vec![delete(stamp)?]),
            Mutation::Assign { cells, .. } => {
                let held = |id: ColumnId| cells.iter().rev().find(|(at, _)| *at == id).map(|(_, cell)| cell);
                Ok(vec![insert(&held, true)?])
            }
        }
    }

    fn bind_key(&self, binds: &mut Binds, values: &[Value]) -> Result<(), StoreError> {
        for ((name, ty), value) in self.keys.iter().zip(values) {
            binds.cell(ty, value).map_err(|error| self.misfit(name, &error))?;
        }
        Ok(())
    }

    fn misfit(&self, column: &str, error: &Malformed) -> StoreError {
        StoreError::Refused(format!("table {:?}, column {column}: {error}", self.table().name))
    }

    /// The read of one row.
    pub fn read_one(&self, key: &RowKey) -> Result<Written<'_>, StoreError> {
        let values = key_values(self.table(), key).map_err(|error| self.layout.corrupt(&error))?;
        let mut binds = Binds::default();
        self.bind_key(&mut binds, &values)?;
        Ok(Written { text: &self.texts.select, binds })
    }

    /// The read of a slice of a partition, in its order or against it.
    pub fn read_slice(
        &self,
        partition: &[u8],
        slice: &Slice,
        reverse: bool,
    ) -> Result<(String, Binds), StoreError> {
        let mut binds = Binds::default();
        self.bind_partition(&mut binds, partition)?;
        let mut wheres: Vec<String> =
            self.keys[..self.table().partition.len()].iter().map(|(name, _)| format!("{name} = ?")).collect();
        let clustering = &self.keys[self.table().partition.len()..];
        for ((name, ty), value) in clustering.iter().zip(&slice.equal) {
            wheres.push(format!("{name} = ?"));
            binds.cell(ty, value).map_err(|error| self.misfit(name, &error))?;
        }
        for (edge, sign) in [(&slice.from, '>'), (&slice.to, '<')] {
            let (Some(edge), Some((name, ty))) = (edge, clustering.get(slice.equal.len())) else { continue };
            wheres.push(format!("{name} {sign}{} ?", if edge.included { "=" } else { "" }));
            binds.cell(ty, &edge.value).map_err(|error| self.misfit(name, &error))?;
        }
        let order = match reverse && !clustering.is_empty() {
            true => format!(" ORDER BY {}", self.reverse_order()),
            false => String::new(),
        };
        Ok((format!("{} WHERE {}{order}", self.select_from(), wheres.join(" AND ")), binds))
    }

    fn reverse_order(&self) -> String {
        let names = self.keys[self.table().partition.len()..].iter().zip(&self.table().clustering);
        let turned = |order| match order {
            Order::Asc => direction(Order::Desc),
            Order::Desc => direction(Order::Asc),
        };
        names
            .map(|((name, _), column)| format!("{name} {}", turned(column.order)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn bind_partition(&self, binds: &mut Binds, partition: &[u8]) -> Result<(), StoreError> {
        let mut rest = partition;
        for (column, (name, ty)) in self.table().partition.iter().zip(&self.keys) {
            let value = take_part(&mut rest, &column.ty, column.order)
                .map_err(|error| self.layout.corrupt(&error))?;
            binds.cell(ty, &value).map_err(|error| self.misfit(name, &error))?;
        }
        match rest.is_empty() {
            true => Ok(()),
            false => Err(self.layout.corrupt(&format!("a partition has {} bytes too many", rest.len()))),
        }
    }

    /// The read of all partitions behind one, or of all.
    pub fn read_behind(&self, after: Option<&RowKey>) -> Result<(String, Binds), StoreError> {
        let mut binds = Binds::default();
        let select = match self.is_header() {
            true => self.select_from().replacen("SELECT", "SELECT DISTINCT", 1),
            false => self.select_from(),
        };
        let Some(after) = after else { return Ok((select, binds)) };
        self.bind_partition(&mut binds, after.partition())?;
        let names: Vec<&str> =
            self.keys[..self.table().partition.len()].iter().map(|(name, _)| name.as_str()).collect();
        let marks = vec!["?"; names.len()].join(", ");
        Ok((format!("{select} WHERE token({}) > token({marks})", names.join(", ")), binds))
    }

    fn select_from(&self) -> String {
        select_from(&self.name, &self.keys, &self.cells, self.kept.as_ref())
    }

    /// A row of an answer; `None` where only static columns stand in it, or nothing that anybody sees.
    ///
    /// # Errors
    /// A cell is not of its column's type.
    pub fn row(
        &self,
        answer: &[Option<&[u8]>],
        columns: Columns<'_>,
    ) -> Result<Option<StoredRow>, StoreError> {
        let corrupt = |error: Malformed| self.layout.corrupt(&error);
        let (key, rest) = answer.split_at_checked(self.keys.len()).unwrap_or((answer, &[]));
        let mut values = Vec::with_capacity(key.len());
        for (cell, (_, ty)) in key.iter().zip(&self.keys) {
            let Some(bytes) = cell else { return Ok(None) };
            values.push(read(bytes, ty).map_err(corrupt)?);
        }
        let (held, kept) = rest.split_at_checked(self.cells.len()).unwrap_or((rest, &[]));
        let Some((offset, live)) = self.standing(kept)? else { return Ok(None) };
        let key = self.key(&values)?;
        let mut cells = vec![Value::Null; self.layout.width];
        if live {
            for (cell, (id, _, ty)) in held.iter().zip(&self.cells) {
                if let (Some(bytes), Some(slot)) = (cell, cells.get_mut(id.0 as usize)) {
                    *slot = read(bytes, ty).map_err(corrupt)?;
                }
            }
            self.layout.fill_from_key(&key, &mut cells)?;
            crate::store::keep_wanted(columns, &mut cells);
        }
        Ok(Some(StoredRow { key, offset, live, cells }))
    }

    /// Position and live flag of a row. That of a copy is not stored: nobody asks for it, and it is there if it is found.
    fn standing(&self, kept: &[Option<&[u8]>]) -> Result<Option<(Offset, bool)>, StoreError> {
        if self.kept.is_none() {
            return Ok(Some((0, true)));
        }
        let [position, live] = kept else {
            return Err(self.layout.corrupt(&"a row has no position"));
        };
        let Some(position) = position else { return Ok(None) };
        let bytes: [u8; 8] =
            (*position).try_into().map_err(|_| self.layout.corrupt(&"a position is no bigint"))?;
        let offset = u64::try_from(i64::from_be_bytes(bytes))
            .map_err(|_| self.layout.corrupt(&"a position is below zero"))?;
        Ok(Some((offset, live.is_some_and(|live| live != [0]))))
    }

    fn key(&self, values: &[Value]) -> Result<RowKey, StoreError> {
        let (partition, clustering) = values.split_at(self.table().partition.len());
        let partition = partition_bytes(self.table(), partition);
        let clustering = clustering_prefix(self.table(), clustering);
        match (partition, clustering) {
            (Some(partition), Some(clustering)) => Ok(RowKey::new(partition, &clustering)),
            _ => Err(self.layout.corrupt(&"a part of a key is null")),
        }
    }
}

/// The write timestamp of a mutation's event.
fn stamp(mutation: &Mutation) -> Result<i64, StoreError> {
    let stamp = signed(mutation.offset())?.checked_add(mutation.base());
    // One below it is written too, and the least number stands for none.
    stamp.filter(|stamp| *stamp > i64::MIN + 1).ok_or_else(|| {
        let (base, offset) = (mutation.base(), mutation.offset());
        StoreError::Refused(format!("base {base} and offset {offset} make no write timestamp"))
    })
}

/// An offset as CQL has it.
pub(super) fn signed(offset: Offset) -> Result<i64, StoreError> {
    i64::try_from(offset)
        .map_err(|_| StoreError::Refused(format!("offset {offset} is above what a bigint holds")))
}

fn select_from(
    name: &str,
    keys: &[(String, CellType)],
    cells: &[(ColumnId, String, CellType)],
    kept: Option<&[String; 2]>,
) -> String {
    let keys = keys.iter().map(|(name, _)| name.as_str());
    let cells = cells.iter().map(|(_, name, _)| name.as_str());
    let kept = kept.into_iter().flatten().map(String::as_str);
    format!("SELECT {} FROM {name}", keys.chain(cells).chain(kept).collect::<Vec<_>>().join(", "))
}

fn texts(
    name: &str,
    keys: &[(String, CellType)],
    cells: &[(ColumnId, String, CellType)],
    kept: Option<&[String; 2]>,
    table: &TablePlan,
) -> Texts {
    let of_keys = keys.iter().map(|(name, _)| name.as_str());
    let others = cells.iter().map(|(_, name, _)| name.as_str());
    let others: Vec<&str> = others.chain(kept.into_iter().flatten().map(String::as_str)).collect();
    let all: Vec<&str> = of_keys.clone().chain(others.iter().copied()).collect();
    let marks = vec!["?"; all.len()].join(", ");
    let wheres = of_keys.map(|name| format!("{name} = ?")).collect::<Vec<_>>().join(" AND ");
    let deleted = match table.heads {
        Some(_) => format!("{} ", others.join(", ")),
        None => String::new(),
    };
    let one = if table.heads.is_some() { " LIMIT 1" } else { "" };
    Texts {
        insert: format!("INSERT INTO {name} ({}) VALUES ({marks}) USING TIMESTAMP ?", all.join(", ")),
        delete: format!("DELETE {deleted}FROM {name} USING TIMESTAMP ? WHERE {wheres}"),
        select: format!("{} WHERE {wheres}{one}", select_from(name, keys, cells, kept)),
    }
}
