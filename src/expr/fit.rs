//! Whether an expression's type fits its place, as far as that can be known before an event is there.
//!
//! Comes in: a typed expression and what its place wants. Goes out: nothing, or the fault with what was expected and
//! found, and how to convert.

use crate::diagnostic::Diagnostic;
use crate::schema::{ColumnType, Scalar, TypeId};

use super::check::{Checker, Typed};
use super::code::Code;
use super::types::{column_shown, of_column};
use super::val::Val;
use super::{Expected, Type};

impl Checker<'_> {
    /// The hint that a place gives to the names in it.
    pub(super) fn hint(&self, expected: &Expected) -> Option<Type> {
        match expected {
            Expected::Condition => Some(Type::Bool),
            Expected::Cell { ty, .. } => Some(of_column(ty, self.model())),
            Expected::Text | Expected::Int | Expected::Any | Expected::List => None,
        }
    }

    /// Refuses a type that can never fit the place.
    pub(super) fn fit(&mut self, typed: &Typed, expected: &Expected) {
        // The name of a type is hardly ever what is meant where a value stands.
        if let (Code::Literal(Val::Type(name)), true) = (&typed.code, *expected != Expected::Any) {
            self.unknown_name(name, &typed.at);
            return;
        }
        match expected {
            Expected::Any => {}
            Expected::Condition => {
                if typed.ty == Type::Dyn {
                    return self.shape_may_be(typed, super::coerce::Kind::Bool);
                }
                let fits = matches!(&typed.ty, Type::Bool)
                    || matches!(&typed.ty, Type::Nullable(of) if **of == Type::Bool);
                if !fits {
                    self.misplaced(
                        typed,
                        "Boolean",
                        Some("compare it with something, such as `x == 1`".to_owned()),
                    );
                }
            }
            Expected::Text => {
                let fits = matches!(
                    typed.ty.unwrapped(),
                    Type::Dyn | Type::Text | Type::Int | Type::Uuid | Type::Enum(_)
                );
                if !fits {
                    self.misplaced(typed, "String", Some("write `string(…)`".to_owned()));
                }
            }
            Expected::Int => {
                if !matches!(typed.ty.unwrapped(), Type::Dyn | Type::Int) {
                    self.misplaced(typed, "Int", None);
                }
            }
            Expected::List if typed.ty == Type::Dyn => self.shape_is_list(typed),
            Expected::List => {
                if !matches!(typed.ty.unwrapped(), Type::Dyn | Type::List(_) | Type::Map(..)) {
                    self.misplaced(typed, "a list", None);
                }
            }
            Expected::Cell { ty, nullable } => self.fit_cell(typed, ty, *nullable),
        }
    }

    fn fit_cell(&mut self, typed: &Typed, ty: &ColumnType, nullable: bool) {
        if typed.ty == Type::Null {
            if !nullable {
                let expected = column_shown(ty, self.model());
                self.misplaced(
                    typed,
                    &expected,
                    Some("the column is declared `!`: it must hold a value".to_owned()),
                );
            }
            return;
        }
        if typed.ty == Type::Dyn {
            return self.shape_fits(typed, ty);
        }
        let found = typed.ty.unwrapped();
        if matches!((found, ty), (Type::Float, ColumnType::Scalar(Scalar::Decimal))) {
            self.floating(typed);
            return;
        }
        if self.fits(found, ty) {
            return;
        }
        let help = match (found, ty) {
            (Type::Text, ColumnType::Scalar(Scalar::Decimal)) => Some("write `decimal(…)`"),
            (Type::Text, ColumnType::Scalar(Scalar::DateTime)) => Some("write `timestamp(…)`"),
            (Type::Text | Type::Timestamp, ColumnType::Scalar(Scalar::LocalDate)) => Some("write `date(…)`"),
            (
                Type::Text | Type::Decimal | Type::Float | Type::Uint,
                ColumnType::Scalar(
                    Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt,
                ),
            ) => Some("write `int(…)`"),
            (Type::Text, ColumnType::Scalar(Scalar::Float | Scalar::Float32)) => Some("write `double(…)`"),
            (_, ColumnType::Scalar(Scalar::String | Scalar::Ascii | Scalar::Id)) => Some("write `string(…)`"),
            (_, ColumnType::Scalar(Scalar::Json)) => Some("only a value of the event is JSON"),
            _ => None,
        };
        let expected = column_shown(ty, self.model());
        self.misplaced(typed, &expected, help.map(str::to_owned));
    }

    fn fits(&self, found: &Type, ty: &ColumnType) -> bool {
        let found = found.unwrapped();
        match (found, ty) {
            (Type::Dyn, _) => true,
            (_, ColumnType::Scalar(scalar)) => fits_scalar(found, *scalar),
            (Type::Enum(found), ColumnType::Enum(wanted)) => found == wanted,
            (Type::Record(found), ColumnType::Record(wanted)) => found == wanted,
            (Type::Money, ColumnType::Record(wanted)) => self.is_money(*wanted),
            (Type::List(found), ColumnType::List(of) | ColumnType::Set(of)) => self.fits(found, of),
            (Type::List(found), ColumnType::Map { record, .. })
            | (Type::Map(_, found), ColumnType::Map { record, .. }) => {
                matches!(**found, Type::Dyn) || **found == Type::Record(*record)
            }
            _ => false,
        }
    }

    /// Whether a value type's columns are `amount: Decimal` and `currency: String`.
    fn is_money(&self, id: TypeId) -> bool {
        let columns = &self.model().ty(id).columns;
        let has = |name: &str, scalar: Scalar| {
            columns.iter().any(|column| column.name == name && column.ty == ColumnType::Scalar(scalar))
        };
        columns.len() == 2 && has("amount", Scalar::Decimal) && has("currency", Scalar::String)
    }

    fn misplaced(&mut self, typed: &Typed, expected: &str, help: Option<String>) {
        let found = self.shown(&typed.ty);
        let message = format!("expected {expected}, found {found}");
        let mut diagnostic =
            Diagnostic::error("E009", self.place(&typed.at), message).label(format!("this is {found}"));
        diagnostic.help = help;
        self.faults.push(diagnostic);
    }
}

fn fits_scalar(found: &Type, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Boolean => *found == Type::Bool,
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt => *found == Type::Int,
        Scalar::Float | Scalar::Float32 => matches!(found, Type::Float | Type::Int),
        Scalar::String | Scalar::Ascii => matches!(found, Type::Text),
        Scalar::Id => matches!(found, Type::Text | Type::Int | Type::Uuid),
        Scalar::Decimal | Scalar::VarInt => matches!(found, Type::Decimal | Type::Int),
        Scalar::DateTime => *found == Type::Timestamp,
        Scalar::LocalDate => *found == Type::Date,
        Scalar::LocalTime => matches!(found, Type::Time | Type::Text),
        Scalar::Duration => matches!(found, Type::Duration | Type::Text),
        Scalar::Uuid | Scalar::TimeUuid => matches!(found, Type::Uuid | Type::Text),
        Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 => *found == Type::Text,
        // Text that a column of JSON holds is JSON already: taken for a string, it would be quoted again.
        Scalar::Json => false,
        Scalar::Bytes => matches!(found, Type::Bytes | Type::Text),
    }
}
