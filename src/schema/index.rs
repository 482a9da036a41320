//! `@index`: columns outside the key of a table by which its partitions can be filtered.
//!
//! Comes in: types with columns and tables. Goes out: `indexes` of each type, or the faults. How an index is laid out, and
//! which read it answers, is `plan`'s.

use super::bind::Binder;
use super::column::{can_be_key, column_name, with_nearest};
use super::directive::Use;
use super::{
    ArgOp, ColumnId, ColumnType, FieldSource, IndexDecl, NAME_BYTES_MAX, Similarity, TypeId, TypeKind, snake,
};
use crate::diagnostic::Diagnostic;

impl Binder<'_> {
    /// Binds every `@index`, once tables and references are known.
    pub(super) fn bind_indexes(&mut self) {
        for ty in self.ids() {
            for index in 0..self.drafts[ty.0 as usize].fields.len() {
                let field = &self.drafts[ty.0 as usize].fields[index];
                for used in field.uses.iter().filter(|used| used.name == "index").cloned().collect::<Vec<_>>()
                {
                    match self.index(ty, index, &used) {
                        Ok(Some(found)) => {
                            let owner = &mut self.types[ty.0 as usize];
                            if let Some(vector) = &mut owner.columns[found.column.0 as usize].vector {
                                vector.has_direction |= found.similarity == Some(Similarity::Cosine);
                            }
                            owner.indexes.push(found);
                        }
                        Ok(None) => {}
                        Err(fault) => self.faults.push(*fault),
                    }
                }
            }
        }
    }

    fn index(&self, ty: TypeId, field: usize, used: &Use) -> Result<Option<IndexDecl>, Box<Diagnostic>> {
        let owner = &self.types[ty.0 as usize];
        let name = &self.drafts[ty.0 as usize].fields[field].node.name;
        let fault = |message: String| Diagnostic::error("S080", used.span, message);
        if owner.kind != TypeKind::Entity {
            return Err(fault(format!("`{}` has no table that an index could be of", owner.name))
                .label("no table")
                .help("An index stands on a column of a type with `@table`.")
                .into());
        }
        let Some(column) = self.indexed_column(ty, field) else { return Ok(None) };
        let ops = self.index_ops(ty, column, used).map_err(|(why, help)| {
            fault(format!("`{name}` cannot be indexed{why}")).label("cannot be indexed").help(help)
        })?;
        let similarity = used.choice("similarity");
        if similarity.is_some() && !ops.contains(&ArgOp::Ann) {
            return Err(fault(format!("`similarity` of the index of `{name}` has no use: it is no vector"))
                .label("no vector")
                .help("Leave it out: vectors are columns of `@column(type: \"vector<float, n>\")`.")
                .into());
        }
        let similarity =
            ops.contains(&ArgOp::Ann).then(|| similarity.map_or(Similarity::Cosine, Similarity::of));
        // A table with a fault of its own is not in the list.
        let declared = self.drafts[ty.0 as usize].uses.iter().filter(|used| used.name == "table").count();
        if owner.tables.len() != declared {
            return Ok(None);
        }
        let fits = |table: &&super::TableDecl| {
            !table.key_columns().contains(&column)
                && (!table.clustering.is_empty()
                    || owner.tables.first().is_some_and(|base| base.name != table.name))
        };
        let table = match used.text("table") {
            Some(text) => match owner.tables.iter().find(|table| table.name == text.value) {
                Some(table) => table,
                None => {
                    let message = format!("`{}` has no table `{}`", owner.name, text.value);
                    let fault = Diagnostic::error("S080", text.span, message).label("not a table");
                    let names = owner.tables.iter().map(|table| table.name.as_str());
                    return Err(with_nearest(fault, &text.value, names).into());
                }
            },
            None => {
                let found: Vec<_> = owner.tables.iter().filter(fits).collect();
                let [one] = found[..] else {
                    let fault = fault(format!("`@index` of `{name}` does not say of which table"))
                        .label("which one?");
                    return Err(Box::new(match found.first() {
                        Some(first) => fault.help(format!("Name it: `@index(table: \"{}\")`.", first.name)),
                        None => fault.help(
                            "An index filters the rows of a partition: add a `@table` whose partitions have several.",
                        ),
                    }));
                };
                one
            }
        };
        if table.key_columns().contains(&column) {
            return Err(fault(format!("`{name}` is in the key of `{}` already", table.name))
                .label("in the key")
                .help("Leave the index out: the key answers it.")
                .into());
        }
        if owner.indexes.iter().any(|before| before.column == column && before.table == table.name) {
            return Err(fault(format!("`{name}` has two indexes of `{}`", table.name))
                .label("a second time")
                .help("Keep one, with the `ops` of both.")
                .into());
        }
        let stored = format!("{}__by_{}", snake(&table.name), snake(&owner.column(column).name));
        if stored.len() > NAME_BYTES_MAX {
            let message = format!("the name of the index, `{stored}`, has {} bytes", stored.len());
            return Err(Diagnostic::error("S004", used.span, message)
                .label("too long")
                .help(format!(
                    "The store takes names of at most {NAME_BYTES_MAX} bytes. Give the table a shorter one."
                ))
                .into());
        }
        Ok(Some(IndexDecl { column, table: table.name.clone(), ops, similarity, span: used.span }))
    }

    /// What an index answers, or why it cannot: what stands behind "cannot be indexed", and what to do.
    fn index_ops(
        &self,
        ty: TypeId,
        column: ColumnId,
        used: &Use,
    ) -> Result<Vec<ArgOp>, (&'static str, &'static str)> {
        let column = self.types[ty.0 as usize].column(column);
        let (stored, words) = (&column.ty, used.words("ops"));
        let is_asked_for_near = words.is_some_and(|words| words.contains(&"ANN"));
        match column.vector {
            Some(_) if words.is_none_or(|words| words == ["ANN"]) => return Ok(vec![ArgOp::Ann]),
            Some(_) => {
                return Err((
                    " so: a vector is found by what it is near to",
                    "Write `ops: [ANN]`: rows whose vector is nearest to the argument.",
                ));
            }
            None if is_asked_for_near => {
                return Err((
                    " by `ANN`: it is no vector",
                    "Vectors are lists of numbers with `@column(type: \"vector<float, n>\")`.",
                ));
            }
            None => {}
        }
        if can_be_key(stored) {
            let ops: Vec<ArgOp> = words.unwrap_or(&["EQ"]).iter().map(|word| ArgOp::of(word)).collect();
            return match ops.contains(&ArgOp::Contains) {
                false => Ok(ops),
                true => Err((
                    " by `CONTAINS`: it is no collection",
                    "Write `EQ`, `IN` or the ranges that reads ask for.",
                )),
            };
        }
        match stored {
            ColumnType::List(_) | ColumnType::Set(_) | ColumnType::Map { .. } => {}
            _ => {
                return Err((
                    ": it has no order",
                    "Indexes are on enums and on scalars but Duration and JSON.",
                ));
            }
        }
        if super::element(&self.types, stored).is_none() {
            return Err((
                ": its elements are no scalars or enums",
                "A list of value types is found by a key of theirs: `@column(as: MAP, key: \"…\")`.",
            ));
        }
        match words.is_none_or(|words| words == ["CONTAINS"]) {
            true => Ok(vec![ArgOp::Contains]),
            false => Err((
                " so: a collection is found by what it holds",
                "Write `ops: [CONTAINS]`: rows whose collection holds the argument, of a `MAP` as a key.",
            )),
        }
    }

    /// The column of a field: its own, or the one that holds the key of a reference.
    fn indexed_column(&self, ty: TypeId, field: usize) -> Option<ColumnId> {
        let owner = &self.types[ty.0 as usize];
        let field = &self.drafts[ty.0 as usize].fields[field];
        let bound = owner.field_named(&field.node.name).map(|id| &owner.field(id).source);
        match bound {
            Some(FieldSource::Ref(decl)) => match &decl.key[..] {
                [(_, column)] => Some(*column),
                _ => None,
            },
            Some(FieldSource::Column(column)) => Some(*column),
            _ => owner.column_named(column_name(field)),
        }
    }
}
