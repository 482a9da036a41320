//! Reads of the rows whose vector is nearest to an argument: `op: ANN`.
//!
//! Comes in: what a read asks for. Goes out: the table that answers, of which the read gives one whole partition, or the
//! fault. The rows are put in order when they are read.

use super::bind::{Asked, Ground, is_index};
use super::fit::{Given, Misfit};
use super::index::Bound;
use super::{Nearest, ReadSource, Shape, TablePlan};
use crate::diagnostic::{Diagnostic, nearest as nearest_name};
use crate::schema::{ArgOp, Argument, ArgumentBinding, ColumnId, same_key_type};

impl Ground<'_> {
    /// Adds the vector that rows are to be near to.
    pub(super) fn add_nearest(
        &self,
        asked: &mut Asked<'_>,
        argument: &Argument,
        id: ColumnId,
        source: ReadSource,
    ) -> Result<(), Box<Diagnostic>> {
        let column = self.model.ty(asked.entity).column(id);
        let fault = |message: String, label: &str, help: String| {
            Box::new(Diagnostic::error("S070", argument.span, message).label(label).help(help))
        };
        let element = self.model.element(&column.ty);
        let fits = element.is_some_and(|element| same_key_type(element, argument.ty.named()));
        if column.vector.is_none() {
            let message = format!("`op: ANN` asks for the nearest vectors, but `{}` is none", column.name);
            let help = "It is for lists of numbers with `@column(type: \"vector<float, n>\")`.";
            return Err(fault(message, "no vector", help.to_string()));
        }
        if !fits || !argument.ty.non_null() {
            let message = format!("`{}` is not a list of numbers that is always given", argument.name);
            let help = format!("Write `{}: [Float!]!`.", argument.name);
            return Err(fault(message, "not `[Float!]!`", help));
        }
        if !matches!(asked.shape, Shape::List { .. }) {
            let field = &asked.field.name;
            let message = format!("`{field}` asks for the nearest rows, which have no pages and no cursors");
            let ty = &self.model.ty(asked.entity).name;
            return Err(fault(
                message,
                "not a plain list",
                format!("Answer a list: `{field}(…): [{ty}!]!`."),
            ));
        }
        if asked.nearest.is_some() {
            let message = format!("`{}` asks for the nearest rows a second time", asked.field.name);
            return Err(fault(
                message,
                "a second order",
                "Rows have one order: keep one of the two.".to_string(),
            ));
        }
        asked.nearest = Some((id, source));
        Ok(())
    }

    /// The table that answers the nearest rows of one of its partitions.
    pub(super) fn nearest(
        &self,
        asked: &Asked<'_>,
        (column, source): &(ColumnId, ReadSource),
    ) -> Result<(Bound<'_>, Nearest), Box<Diagnostic>> {
        if let Some((_, at)) = &asked.decl.order {
            let message =
                format!("`order` of `{}` has no use: the nearest row comes first", asked.field.name);
            let fault = Diagnostic::error("S074", *at, message).label("another order");
            return Err(fault.help("Leave it out.").into());
        }
        let child = self.model.ty(asked.entity);
        let tables = self.vector_tables(asked, *column)?;
        let mut misfit = None;
        let mut found: Vec<Bound<'_>> = Vec::new();
        for table in tables {
            match self.fit(asked, table) {
                Ok(fit) if self.is_whole(asked, table) => found.push(Bound::by_key(table, fit)),
                Ok(_) => misfit = misfit.or(Some((table, None))),
                Err(why) => misfit = misfit.or(Some((table, Some(why)))),
            }
        }
        if let [first, second, ..] = &found[..] {
            let message = format!(
                "`{}` could read `{}` or `{}`",
                asked.field.name, first.table.name, second.table.name
            );
            return Err(Diagnostic::error("S071", asked.decl.span, message)
                .label("which one?")
                .help(format!("Say which: `@read(table: \"{}\")`.", first.table.name))
                .into());
        }
        let Some(bound) = found.pop() else {
            let (table, why) = misfit.expect("a table has the index");
            return Err(match why {
                Some(why @ Misfit::Partition(_)) => Box::new(self.refused(asked, Some(table), &why)),
                _ => Box::new(self.not_whole(asked, table)),
            });
        };
        let index = child
            .indexes
            .iter()
            .find(|index| index.column == *column && index.table == bound.table.name)
            .and_then(|index| index.similarity)
            .expect("the table has the index");
        let vector = child.column(*column).vector.expect("checked with the argument");
        let nearest = Nearest {
            column: *column,
            dimensions: vector.dimensions,
            similarity: index,
            source: source.clone(),
        };
        Ok((bound, nearest))
    }

    /// The tables with an index of the vector: the one that is named, or those that hold all rows.
    fn vector_tables(&self, asked: &Asked<'_>, column: ColumnId) -> Result<Vec<&TablePlan>, Box<Diagnostic>> {
        let child = self.model.ty(asked.entity);
        let name = &child.column(column).name;
        let declared = || self.tables_of(asked.entity).filter(|table| !is_index(table));
        let fault = |message: String| Diagnostic::error("S071", asked.decl.span, message);
        if let Some(wanted) = &asked.decl.table
            && !declared().any(|table| table.name == *wanted)
        {
            let fault = fault(format!("`{}` has no table `{wanted}`", child.name)).label("not a table");
            let names = || declared().map(|table| table.name.as_str());
            return Err(Box::new(match nearest_name(wanted, names()) {
                Some(near) => fault.help(format!("Did you mean `{near}`?")).fix_name(wanted, names()),
                None => fault.help(format!("Its tables: {}.", super::bind::list(names()))),
            }));
        }
        let has_index = |table: &&TablePlan| {
            child.indexes.iter().any(|index| index.column == column && index.table == table.name)
        };
        let is_meant = |table: &&TablePlan| match &asked.decl.table {
            Some(wanted) => table.name == *wanted,
            None => table.filter.is_none(),
        };
        let tables: Vec<&TablePlan> = declared().filter(has_index).filter(is_meant).collect();
        if tables.is_empty() {
            let of = asked.decl.table.as_deref().unwrap_or("…");
            return Err(fault(format!("no index finds what is near to `{name}`"))
                .label("no index")
                .help(format!(
                    "Add to `{}.{name}`: `@index(table: \"{of}\", ops: [ANN])`, of the table whose partition is read; one \
                     with a `where` must be named.",
                    child.name
                ))
                .into());
        }
        Ok(tables)
    }

    /// Whether what is given beside the vector is one partition of the table, and nothing else.
    fn is_whole(&self, asked: &Asked<'_>, table: &TablePlan) -> bool {
        let is_one = |given: &Given| matches!(given, Given::Column(_) | Given::Part(_));
        let Ok(fit) = self.fit(asked, table) else { return false };
        fit.is_determined()
            && fit.equal.is_empty()
            && asked.bounds.is_empty()
            && asked.given.iter().all(is_one)
    }

    fn not_whole(&self, asked: &Asked<'_>, table: &TablePlan) -> Diagnostic {
        let is_beside = |argument: &&Argument| match &argument.binds {
            ArgumentBinding::Column { op: ArgOp::Ann, .. } | ArgumentBinding::Paging => false,
            ArgumentBinding::Column { column, op } => {
                let is_key = table.partition.iter().any(|key| {
                    key.part.name == *column
                        || self.model.ty(asked.entity).column(key.part.column).name == *column
                });
                *op != ArgOp::Eq || !is_key
            }
        };
        let (at, label) = match asked.field.args.iter().find(is_beside) {
            Some(argument) => (argument.span, "beside `ANN`"),
            None => (asked.decl.span, "several partitions"),
        };
        let message = format!(
            "`{}` asks for the nearest rows of something else than one whole partition of `{}`",
            asked.field.name, table.name
        );
        Diagnostic::error("S071", at, message).label(label).help(
            "Beside the vector give each column of the partition by `EQ`, and nothing else; for a filter read a copy that \
             has it in its partition.",
        )
    }
}
