//! The types of expressions: how they are shown, joined, and made from columns.
//!
//! Comes in: types of names and columns. Goes out: types of expressions. Looks at no expression.

use crate::schema::{ColumnType, ReadModel, Scalar, scalar_name};

use super::Type;

impl Type {
    /// Whether null may come.
    pub(super) fn is_nullable(&self) -> bool {
        matches!(self, Type::Null | Type::Nullable(_))
    }

    /// Without `T?` and without optional.
    pub(super) fn unwrapped(&self) -> &Type {
        match self {
            Type::Nullable(of) | Type::Optional(of) => of.unwrapped(),
            other => other,
        }
    }

    /// `T?` of this; what may be null already stays.
    pub(super) fn nullable(self) -> Type {
        match self {
            Type::Null | Type::Nullable(_) | Type::Optional(_) | Type::Dyn => self,
            other => Type::Nullable(Box::new(other)),
        }
    }

    pub(super) fn optional(self) -> Type {
        match self {
            Type::Optional(_) => self,
            Type::Nullable(of) => Type::Optional(of),
            other => Type::Optional(Box::new(other)),
        }
    }

    /// What `each` and `map` go through: the elements of a list, the keys of a map. `None` where it is neither.
    pub fn element(&self) -> Option<Type> {
        super::check::inner(self)
    }

    /// The type as messages show it.
    pub fn shown(&self, model: &ReadModel) -> String {
        match self {
            Type::Dyn => "a value of the event".to_owned(),
            Type::Null => "null".to_owned(),
            Type::Bool => "Boolean".to_owned(),
            Type::Int => "Int".to_owned(),
            Type::Uint => "Uint".to_owned(),
            Type::Float => "Float".to_owned(),
            Type::Decimal => "Decimal".to_owned(),
            Type::Text => "String".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Timestamp => "DateTime".to_owned(),
            Type::Date => "LocalDate".to_owned(),
            Type::Time => "LocalTime".to_owned(),
            Type::Duration => "Duration".to_owned(),
            Type::Uuid => "UUID".to_owned(),
            Type::Type => "a type".to_owned(),
            Type::LogRecord => "a record".to_owned(),
            Type::Enum(id) => model.enumeration(*id).name.clone(),
            Type::Record(id) => model.ty(*id).name.clone(),
            Type::Money => "money(amount, currency)".to_owned(),
            Type::List(of) => format!("[{}]", of.shown(model)),
            Type::Map(key, value) => format!("map of {} by {}", value.shown(model), key.shown(model)),
            Type::Nullable(of) => format!("{}?", of.shown(model)),
            Type::Optional(of) => format!("optional {}", of.shown(model)),
        }
    }
}

/// The type of what a column holds, nullness aside.
pub(super) fn of_column(column: &ColumnType, model: &ReadModel) -> Type {
    match column {
        ColumnType::Scalar(scalar) => of_scalar(*scalar),
        ColumnType::Enum(id) => Type::Enum(*id),
        ColumnType::Record(id) => Type::Record(*id),
        ColumnType::List(of) | ColumnType::Set(of) => Type::List(Box::new(of_column(of, model))),
        ColumnType::Map { key, record } => {
            let key = of_column(&model.ty(*record).column(*key).ty, model);
            Type::Map(Box::new(key), Box::new(Type::Record(*record)))
        }
    }
}

fn of_scalar(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Boolean => Type::Bool,
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt => Type::Int,
        Scalar::Float | Scalar::Float32 => Type::Float,
        Scalar::String | Scalar::Ascii | Scalar::Id => Type::Text,
        // In their text form: no expression computes with them.
        Scalar::Duration | Scalar::Ip | Scalar::Ipv4 | Scalar::Ipv6 | Scalar::Json => Type::Text,
        Scalar::Decimal | Scalar::VarInt => Type::Decimal,
        Scalar::DateTime => Type::Timestamp,
        Scalar::LocalDate => Type::Date,
        Scalar::LocalTime => Type::Time,
        Scalar::Uuid | Scalar::TimeUuid => Type::Uuid,
        Scalar::Bytes => Type::Bytes,
    }
}

/// The name of a column's type, as the author wrote it.
pub(super) fn column_shown(column: &ColumnType, model: &ReadModel) -> String {
    match column {
        ColumnType::Scalar(Scalar::Bytes) => Type::Bytes.shown(model),
        ColumnType::Scalar(scalar) => scalar_name(*scalar).to_owned(),
        ColumnType::Enum(id) => model.enumeration(*id).name.clone(),
        ColumnType::Record(id) => model.ty(*id).name.clone(),
        ColumnType::List(of) | ColumnType::Set(of) => format!("[{}]", column_shown(of, model)),
        ColumnType::Map { record, .. } => format!("[{}]", model.ty(*record).name),
    }
}

/// The one type of two values of which either may come; `None` if there is none.
pub(super) fn join(left: &Type, right: &Type) -> Option<Type> {
    if left == right {
        return Some(left.clone());
    }
    Some(match (left, right) {
        (Type::Dyn, _) | (_, Type::Dyn) => Type::Dyn,
        (Type::Null, other) | (other, Type::Null) => other.clone().nullable(),
        (Type::Nullable(of), other) | (other, Type::Nullable(of)) => join(of, other)?.nullable(),
        (Type::Optional(of), other) | (other, Type::Optional(of)) => join(of, other)?.optional(),
        (Type::Int, Type::Decimal) | (Type::Decimal, Type::Int) => Type::Decimal,
        (Type::List(left), Type::List(right)) => Type::List(Box::new(join(left, right)?)),
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            Type::Map(Box::new(join(key, other_key)?), Box::new(join(value, other_value)?))
        }
        _ => return None,
    })
}

/// Whether `==` can ever be true of two types.
pub(super) fn comparable(left: &Type, right: &Type) -> bool {
    let (left, right) = (left.unwrapped(), right.unwrapped());
    match (left, right) {
        (Type::Null, _) | (_, Type::Null) => true,
        (Type::Int | Type::Uint | Type::Float, Type::Int | Type::Uint | Type::Float) => true,
        (Type::Uint, Type::Decimal) | (Type::Decimal, Type::Uint) => true,
        (Type::Money, Type::Record(_)) | (Type::Record(_), Type::Money) => true,
        (Type::List(left), Type::List(right)) => comparable(left, right),
        (Type::Map(key, value), Type::Map(other_key, other_value)) => {
            comparable(key, other_key) && comparable(value, other_value)
        }
        _ => join(left, right).is_some(),
    }
}
