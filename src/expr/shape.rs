//! What is known of a JSON value before an event is there: which fields it has and of what kinds they are.
//!
//! Comes in: what a schema of events says (`handler` reads it), or what the engine itself puts in a slot. Goes out: faults of
//! expressions that name a field which is never there, or want a value to be what it never is. A value without a shape
//! may be anything. Shapes change nothing at run time: events are looked at as they come.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, nearest};
use crate::schema::{ColumnType, Scalar};

use super::check::{Checker, Typed};
use super::code::{By, Code, Each};
use super::coerce::Kind;
use super::types::column_shown;

/// What a JSON value may be. Of several, any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    pub text: Option<TextShape>,
    pub integer: bool,
    /// Any number, with a fraction or without.
    pub number: bool,
    pub boolean: bool,
    pub null: bool,
    pub list: Option<Arc<Shape>>,
    pub object: Option<Arc<ObjectShape>>,
    /// Anything at all.
    pub any: bool,
}

/// What a string may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextShape {
    pub format: Option<Format>,
    /// The only texts that it may be; empty: any.
    pub values: Vec<Box<str>>,
}

/// What a string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    DateTime,
    Date,
    Time,
    Duration,
    Uuid,
    /// Some other format: what it holds is not known here.
    Other,
}

/// The fields of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectShape {
    /// What it is, for messages: `the event OrderPlaced`.
    pub name: Box<str>,
    pub known: Vec<(Box<str>, Arc<Shape>)>,
    /// Whether other fields may be there, and of what shape.
    pub others: Option<Arc<Shape>>,
}

impl Shape {
    /// Of which nothing is known.
    pub fn any() -> Shape {
        Shape { any: true, ..Shape::default() }
    }

    pub fn text() -> Shape {
        Shape { text: Some(TextShape::default()), ..Shape::default() }
    }

    pub fn formatted(format: Format) -> Shape {
        Shape { text: Some(TextShape { format: Some(format), values: Vec::new() }), ..Shape::default() }
    }

    pub fn integer() -> Shape {
        Shape { integer: true, ..Shape::default() }
    }

    /// An object with exactly these fields.
    pub fn object(name: &str, known: Vec<(&str, Shape)>) -> Shape {
        let known = known.into_iter().map(|(name, shape)| (name.into(), Arc::new(shape))).collect();
        let fields = ObjectShape { name: name.into(), known, others: None };
        Shape { object: Some(Arc::new(fields)), ..Shape::default() }
    }

    /// Whether a value of that kind can be made of it.
    fn may_be(&self, kind: Kind) -> bool {
        if self.any {
            return true;
        }
        let numeric = self.integer || self.number;
        match kind {
            Kind::Bool => self.boolean,
            Kind::Int | Kind::Float => numeric,
            Kind::Decimal => numeric || self.text.as_ref().is_some_and(|text| text.may_be(kind)),
            _ => self.text.as_ref().is_some_and(|text| text.may_be(kind)),
        }
    }

    /// Whether a value of one shape may be of the kind of a value of the other.
    fn meets(&self, other: &Shape) -> bool {
        let numeric = |shape: &Shape| shape.integer || shape.number;
        self.any
            || other.any
            || (numeric(self) && numeric(other))
            || (self.text.is_some() && other.text.is_some())
            || (self.boolean && other.boolean)
            || (self.list.is_some() && other.list.is_some())
            || (self.object.is_some() && other.object.is_some())
    }

    /// The shape as messages show it.
    fn shown(&self) -> String {
        let mut parts = Vec::new();
        if let Some(text) = &self.text {
            parts.push(text.shown());
        }
        for (is, name) in [
            (self.number, "a number"),
            (self.integer && !self.number, "an integer"),
            (self.boolean, "a Boolean"),
        ] {
            parts.extend(is.then(|| name.to_owned()));
        }
        parts.extend(self.list.is_some().then(|| "a list".to_owned()));
        parts.extend(self.object.is_some().then(|| "an object".to_owned()));
        parts.extend((self.null || parts.is_empty()).then(|| "null".to_owned()));
        parts.join(" or ")
    }
}

impl TextShape {
    fn may_be(&self, kind: Kind) -> bool {
        let Some(format) = self.format else { return true };
        match kind {
            Kind::Timestamp => matches!(format, Format::DateTime | Format::Other),
            Kind::Date => matches!(format, Format::Date | Format::Other),
            Kind::Time => matches!(format, Format::Time | Format::Other),
            Kind::Duration => matches!(format, Format::Duration | Format::Other),
            Kind::Uuid => matches!(format, Format::Uuid | Format::Other),
            Kind::Decimal | Kind::Bytes => format == Format::Other,
            _ => true,
        }
    }

    fn shown(&self) -> String {
        let format = match self.format {
            Some(Format::DateTime) => "a time",
            Some(Format::Date) => "a date",
            Some(Format::Time) => "a time of day",
            Some(Format::Duration) => "a duration",
            Some(Format::Uuid) => "a UUID",
            Some(Format::Other) | None => "a string",
        };
        format.to_owned()
    }
}

impl Checker<'_> {
    /// What is known of the JSON value that a piece of code finds.
    pub(super) fn shape_of(&self, code: &Code) -> Option<Arc<Shape>> {
        match code {
            Code::Slot(slot, _) => self.env.shapes.get(*slot)?.clone(),
            Code::Local(local) => self.local_shapes.get(*local)?.clone(),
            Code::Select { of, by: By::Name(name), .. } => self.shape_of(of)?.field(name),
            Code::Index { of, .. } => self.shape_of(of)?.element(),
            Code::Coerce { of, .. } => self.shape_of(of),
            Code::Each { verb: Each::Filter, over, .. } => self.shape_of(over),
            _ => None,
        }
    }

    /// The shape of what `each` and `map` go through.
    pub(super) fn element_shape(&self, code: &Code) -> Option<Arc<Shape>> {
        self.shape_of(code)?.list.clone()
    }

    /// Refuses a field that the value never has.
    pub(super) fn shape_has(&mut self, of: &Typed, field: &str, at: &std::ops::Range<usize>) -> Option<()> {
        let Some(shape) = self.shape_of(&of.code) else { return Some(()) };
        if shape.any || shape.field(field).is_some() {
            return Some(());
        }
        let (message, help) = match &shape.object {
            Some(object) => {
                let known: Vec<&str> = object.known.iter().map(|(name, _)| &**name).collect();
                let help = match nearest(field, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("its fields are {}", known.join(", ")),
                };
                (format!("{} has no field `{field}`", object.name), help)
            }
            None => {
                let name = self.source(&of.at);
                let found = shape.shown();
                (format!("`{name}` is {found}, which has no fields"), "only objects have fields".to_owned())
            }
        };
        self.fault(Diagnostic::error("E004", self.place(at), message).label("unknown field").help(help));
        None
    }

    /// Refuses a value that is never of the kind which its place wants.
    pub(super) fn shape_may_be(&mut self, typed: &Typed, kind: Kind) {
        let Some(shape) = self.shape_of(&typed.code) else { return };
        if !shape.may_be(kind) {
            self.never(typed, &shape, kind.shown());
        }
    }

    /// Refuses two values of the event that are never of one kind, side by side.
    pub(super) fn shapes_meet(
        &mut self,
        left: &Typed,
        right: &Typed,
        at: &std::ops::Range<usize>,
    ) -> Option<()> {
        let (Some(a), Some(b)) = (self.shape_of(&left.code), self.shape_of(&right.code)) else {
            return Some(());
        };
        if a.meets(&b) {
            return Some(());
        }
        let (one, other) = (self.source(&left.at), self.source(&right.at));
        let message = format!("`{one}` is {} and `{other}` is {}", a.shown(), b.shown());
        let fault = Diagnostic::error("E007", self.place(at), message);
        self.fault(fault.help("both sides must be of one kind: convert one of them"));
        None
    }

    /// Refuses a value that is never a list or an object that can be gone through.
    pub(super) fn shape_is_list(&mut self, typed: &Typed) {
        let Some(shape) = self.shape_of(&typed.code) else { return };
        if !shape.any && shape.list.is_none() && shape.object.is_none() {
            self.never(typed, &shape, "a list");
        }
    }

    /// Refuses a value that never fits a column.
    pub(super) fn shape_fits(&mut self, typed: &Typed, ty: &ColumnType) {
        let Some(shape) = self.shape_of(&typed.code) else { return };
        if shape.any {
            return;
        }
        let expected = column_shown(ty, self.model());
        let fits = match ty {
            ColumnType::Scalar(Scalar::Id) => shape.integer || shape.number || shape.text.is_some(),
            ColumnType::Scalar(scalar) => kind_of(*scalar).is_none_or(|kind| shape.may_be(kind)),
            ColumnType::Enum(id) => {
                let values = &self.model().enumeration(*id).values;
                let Some(text) = &shape.text else { return self.never(typed, &shape, &expected) };
                let foreign = text.values.iter().find(|text| !values.iter().any(|value| **value == ***text));
                if let Some(foreign) = foreign {
                    let name = self.source(&typed.at);
                    let message = format!("`{name}` may be \"{foreign}\", which is no value of `{expected}`");
                    let help = match nearest(foreign, values.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`? `upcast` can convert it"),
                        None => format!("its values are {}; `upcast` can convert it", values.join(", ")),
                    };
                    self.fault(Diagnostic::error("E009", self.place(&typed.at), message).help(help));
                }
                true
            }
            ColumnType::List(_) | ColumnType::Set(_) => shape.list.is_some(),
            ColumnType::Record(_) => shape.object.is_some(),
            ColumnType::Map { .. } => shape.list.is_some() || shape.object.is_some(),
        };
        if !fits {
            self.never(typed, &shape, &expected);
        }
    }

    fn never(&mut self, typed: &Typed, shape: &Shape, expected: &str) {
        let (name, found) = (self.source(&typed.at), shape.shown());
        let message = format!("`{name}` is {found}, expected {expected}");
        let fault =
            Diagnostic::error("E009", self.place(&typed.at), message).label(format!("this is {found}"));
        self.fault(
            fault.help("convert the value; where the schema of the event says so wrongly, correct it"),
        );
    }
}

impl Shape {
    fn field(&self, name: &str) -> Option<Arc<Shape>> {
        if self.any {
            return None;
        }
        let object = self.object.as_ref()?;
        let known = object.known.iter().find(|(known, _)| **known == *name);
        known.map(|(_, shape)| shape).or(object.others.as_ref()).cloned()
    }

    fn element(&self) -> Option<Arc<Shape>> {
        match (&self.list, &self.object) {
            (Some(list), None) => Some(Arc::clone(list)),
            _ => None,
        }
    }
}

/// What a value must be for a scalar column; `None` where it may be several things.
fn kind_of(scalar: Scalar) -> Option<Kind> {
    Some(match scalar {
        Scalar::Boolean => Kind::Bool,
        Scalar::Byte | Scalar::Short | Scalar::Int | Scalar::Long | Scalar::BigInt => Kind::Int,
        Scalar::Float | Scalar::Float32 => Kind::Float,
        Scalar::Decimal => Kind::Decimal,
        Scalar::String | Scalar::Id | Scalar::Ascii => Kind::Text,
        Scalar::Bytes => Kind::Bytes,
        Scalar::DateTime => Kind::Timestamp,
        Scalar::LocalDate => Kind::Date,
        Scalar::LocalTime => Kind::Time,
        Scalar::Uuid | Scalar::TimeUuid => Kind::Uuid,
        _ => return None,
    })
}
