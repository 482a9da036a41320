//! `from.id` with `remember`, and `from.sequence`: what a row remembers of the events that it has taken.
//!
//! Comes in: a source as declared. Goes out: the expressions and the columns that remember, and faults: columns that cannot.

use super::bind::Binder;
use super::declaration::{FromDecl, SequenceDecl};
use super::names::Names;
use super::yaml::Text;
use super::{Remember, Repeat, Sequence};
use crate::expr::Expected;
use crate::schema::{ColumnId, ColumnType, Scalar};

impl Binder<'_> {
    /// What makes an event known again, and where a row remembers it.
    pub(super) fn remember(&mut self, from: &FromDecl, names: &Names) -> Option<Remember> {
        let (id, column) = match (&from.id, &from.remember) {
            (Some(id), Some(column)) => (id, column),
            (Some(id), None) => {
                let help = "name a hidden list that holds the last ids of a row: `remember: recentIds`, and in the schema `recentIds: [String!]! @column(as: LIST, max: 64, hidden: true)`";
                self.fault("P022", id.span, "`id` is not remembered anywhere", help);
                return None;
            }
            (None, Some(column)) => {
                let help = "say what makes an event known again: `id: event.id`";
                self.fault("P022", column.span, "`remember` has no `id`", help);
                return None;
            }
            (None, None) => return None,
        };
        let id = self.compile(id, names, &Expected::Text);
        let found = self.kept(column)?;
        let of_text = |ty: &ColumnType| matches!(ty, ColumnType::Scalar(Scalar::String | Scalar::Id));
        if !matches!(&self.ty.column(found).ty, ColumnType::List(of) if of_text(of)) {
            let message = format!("`{}` cannot hold ids", column.text);
            let help = "declare it `[String!]! @column(as: LIST, max: 64, hidden: true)`; its `max` is how many are remembered";
            self.fault("P022", column.span, message, help);
            return None;
        }
        Some(Remember { id: id?, column: found })
    }

    /// The numbers of a row's events, and where the last one stands.
    pub(super) fn sequence(&mut self, declared: &SequenceDecl, names: &Names) -> Option<Sequence> {
        let number = self.compile(&declared.number, names, &Expected::Int);
        let column = self.kept(&declared.column)?;
        let ty = &self.ty.column(column).ty;
        if !matches!(ty, ColumnType::Scalar(Scalar::Int | Scalar::Long | Scalar::BigInt)) {
            let message = format!("`{}` cannot hold a number", declared.column.text);
            self.fault(
                "P022",
                declared.column.span,
                message,
                "declare it `Long`, hidden where it is nobody's concern",
            );
            return None;
        }
        Some(Sequence {
            number: number?,
            column,
            first: declared.first,
            accepts_gaps: declared.accepts_gaps,
            repeat: declared.repeat.unwrap_or(Repeat::Ignore),
        })
    }

    /// A column that the engine keeps itself.
    fn kept(&mut self, name: &Text) -> Option<ColumnId> {
        let column = self.column(name)?;
        if self.plan.entity(self.entity).base_key.contains(&column) {
            let message = format!("`{}` is in the row's key and never changes", name.text);
            self.fault("P022", name.span, message, "name a column of its own");
            return None;
        }
        Some(column)
    }
}
