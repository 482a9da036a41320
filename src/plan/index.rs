//! Which indexes of a table answer what its key does not.
//!
//! Comes in: what a read asks for, and a table. Goes out: the table (or entries of an index in its place), the fit of what
//! is left, and the comparisons that filter. Which table a read takes is `bind`'s.

use super::bind::{Asked, Ground};
use super::fit::{Fit, Given, fit};
use super::{Entries, Filter, Part, Ranged, TablePlan, TableRole};
use crate::diagnostic::Diagnostic;
use crate::schema::{ArgOp, ColumnId};

/// How a table answers a read.
pub(super) struct Bound<'t> {
    pub table: &'t TablePlan,
    pub fit: Fit,
    pub ranged: Option<Ranged>,
    pub filters: Vec<Filter>,
}

impl<'t> Bound<'t> {
    /// By its key alone.
    pub fn by_key(table: &'t TablePlan, fit: Fit) -> Bound<'t> {
        Bound { table, fit, ranged: None, filters: Vec::new() }
    }

    /// Whether an index has part in it.
    pub fn is_indexed(&self) -> bool {
        self.ranged.is_some() || matches!(self.table.role, TableRole::Index { .. })
    }
}

/// One comparison of a read: with a value that is given, or a bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Given(usize),
    Bound(usize),
}

impl Ground<'_> {
    /// How a table answers with its indexes what its key alone does not; `None` if it does not either.
    ///
    /// # Errors
    /// There is an index, but of other `ops`.
    pub(super) fn index_of<'g>(
        &'g self,
        asked: &Asked<'_>,
        table: &'g TablePlan,
    ) -> Result<Option<Bound<'g>>, Box<Diagnostic>> {
        let in_key = |column: ColumnId| {
            table.partition.iter().chain(&table.clustering).any(|key| key.part.column == column)
        };
        let given = asked.given.iter().enumerate().filter_map(|(at, given)| match given {
            Given::Column(column) => Some((*column, ArgOp::Eq, At::Given(at))),
            Given::AnyOf(column) => Some((*column, ArgOp::In, At::Given(at))),
            Given::Holds(column) => Some((*column, ArgOp::Contains, At::Given(at))),
            Given::Part(_) => None,
        });
        let bounds = asked.bounds.iter().enumerate();
        let bounds = bounds.map(|(at, (column, op, _))| (*column, *op, At::Bound(at)));
        let beside: Vec<(ColumnId, ArgOp, At)> =
            given.chain(bounds).filter(|(column, ..)| !in_key(*column)).collect();
        for (column, op, _) in &beside {
            if !self.answers_op(asked, table, *column, *op)? {
                return Ok(None);
            }
        }
        // An index that stands alone reads the fewest entries where it compares with one value, the most for a range.
        let rank = |op: ArgOp| match op {
            ArgOp::Eq => 0,
            ArgOp::Contains => 1,
            ArgOp::In => 2,
            _ => 3,
        };
        let Some((column, op, first)) = beside.iter().copied().min_by_key(|(_, op, _)| rank(*op)) else {
            return Ok(None);
        };
        let Some(fit) = self.fit_without(asked, table, &beside) else { return Ok(None) };
        let (bound, taken): (Bound<'g>, Vec<At>) = match first {
            At::Given(at) => {
                let by = if op == ArgOp::Contains { Entries::Elements } else { Entries::Values };
                let entries = self.entries(table, column, by);
                let mut fit = fit;
                fit.partition.push(Part::From(at));
                (Bound::by_key(entries, fit), vec![first])
            }
            At::Bound(_) => {
                let of_it =
                    beside.iter().filter(|(other, _, at)| *other == column && matches!(at, At::Bound(_)));
                let taken: Vec<At> = of_it.map(|(.., at)| *at).collect();
                let bounds = asked.bounds.iter().filter(|(other, ..)| *other == column);
                let bounds = bounds.map(|(_, op, source)| (*op, source.clone())).collect();
                let entries = self.entries(table, column, Entries::Order).id;
                (Bound { ranged: Some(Ranged { entries, bounds }), ..Bound::by_key(table, fit) }, taken)
            }
        };
        let rest = beside.iter().filter(|(.., at)| !taken.contains(at));
        let filters = rest.map(|(column, op, at)| {
            let source = match at {
                At::Given(at) => &asked.sources[*at],
                At::Bound(at) => &asked.bounds[*at].2,
            };
            Filter { column: *column, op: *op, source: source.clone() }
        });
        Ok(Some(Bound { filters: filters.collect(), ..bound }))
    }

    /// Whether a table has an index that answers this comparison.
    fn answers_op(
        &self,
        asked: &Asked<'_>,
        table: &TablePlan,
        column: ColumnId,
        op: ArgOp,
    ) -> Result<bool, Box<Diagnostic>> {
        let child = self.model.ty(asked.entity);
        let declared = child.indexes.iter().find(|index| index.column == column && index.table == table.name);
        let Some(index) = declared else { return Ok(false) };
        if index.ops.contains(&op) {
            return Ok(true);
        }
        let (name, word) = (&child.column(column).name, op.word());
        let message = format!("the index of `{name}` of `{}` does not answer `{word}`", table.name);
        let fault = Diagnostic::error("S071", asked.decl.span, message).label("not in its `ops`");
        if op == ArgOp::Prefix {
            return Err(fault.help("No index does: sort a copy by the column.").into());
        }
        let mut words: Vec<&str> = index.ops.iter().map(|op| op.word()).collect();
        words.push(word);
        let words = words.join(", ");
        Err(fault.help(format!("Add it there: `@index(ops: [{words}])` on `{}.{name}`.", child.name)).into())
    }

    /// How a table answers what is left of a read without some comparisons.
    fn fit_without(
        &self,
        asked: &Asked<'_>,
        table: &TablePlan,
        without: &[(ColumnId, ArgOp, At)],
    ) -> Option<Fit> {
        let is_left = |at: At| without.iter().all(|(.., other)| *other != at);
        let places: Vec<usize> = (0..asked.given.len()).filter(|at| is_left(At::Given(*at))).collect();
        let given: Vec<Given> = places.iter().map(|at| asked.given[*at].clone()).collect();
        let mut bounds = asked.bounds.iter().enumerate().filter(|(at, _)| is_left(At::Bound(*at)));
        let range = bounds.next().map(|(_, (column, ..))| *column);
        if bounds.any(|(_, (column, ..))| Some(*column) != range) {
            return None;
        }
        let name = |column: ColumnId| self.model.ty(asked.entity).column(column).name.clone();
        let mut fit = fit(table, &given, range, &name).ok()?;
        for part in &mut fit.partition {
            if let Part::From(at) = part {
                *at = places[*at];
            }
        }
        fit.equal.iter_mut().for_each(|at| *at = places[*at]);
        Some(fit)
    }

    fn entries(&self, of: &TablePlan, column: ColumnId, by: Entries) -> &TablePlan {
        let is_it = |entries: &&TablePlan| {
            let role = TableRole::Index { of: of.id, by };
            entries.role == role && entries.indexed().part.column == column
        };
        self.tables_of(of.entity).find(is_it).expect("entries were laid out for each of the `ops`")
    }
}
