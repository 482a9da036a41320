//! The names that expressions see, and the slots that they stand in.
//!
//! Comes in: names with their types, one after the other. Goes out: an environment for `expr`. What `fold` and `route` put
//! into the slots has the same order, fixed here.

use std::sync::Arc;

use crate::expr::{Compiled, Format, Read, Shape, Type};

/// The event.
pub const EVENT: usize = 0;
/// The row before the event. Expressions of `from` and `key` see no row: the record stands in its place.
pub const ROW: usize = 1;
/// What the event's record says of itself: `record`.
pub const RECORD: usize = 2;
/// The element that the row is made for, where one event makes many rows.
pub const ELEMENT: usize = 3;
/// The first `let`; behind the last one come `old` and the names of `each`.
pub const FIRST_LET: usize = 4;

/// The slot of `record` in expressions of `from` and `key`; behind it stands the element.
pub const ROUTE_RECORD: usize = 1;

/// Names in scope; the place of one is its slot.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub names: Vec<(String, Type)>,
    pub shapes: Vec<Option<Arc<Shape>>>,
}

impl Names {
    /// What expressions of `from` see: the event as it came, and its record.
    pub fn of_origin() -> Names {
        let mut names = Names::default();
        names.push("event", Type::Dyn, None);
        names.push("record", Type::LogRecord, Some(Arc::new(record_shape(false))));
        names
    }

    /// What expressions of `key` see.
    pub fn of_key(event: Option<Arc<Shape>>, element: Option<&Element>) -> Names {
        let mut names = Names::default();
        names.push("event", Type::Dyn, event);
        names.push("record", Type::LogRecord, Some(Arc::new(record_shape(true))));
        names.push_element(element);
        names
    }

    /// What cases see: the event, the row, its record, the element.
    pub fn of_case(event: Option<Arc<Shape>>, row: Type, element: Option<&Element>) -> Names {
        let mut names = Names::default();
        names.push("event", Type::Dyn, event);
        names.push("row", row, None);
        names.push("record", Type::LogRecord, Some(Arc::new(record_shape(true))));
        names.push_element(element);
        names
    }

    /// What `compute` and `assert` see: the new row.
    pub fn of_row(row: Type) -> Names {
        let mut names = Names::default();
        names.push("row", row, None);
        names
    }

    pub fn push(&mut self, name: &str, ty: Type, shape: Option<Arc<Shape>>) {
        self.names.push((name.to_owned(), ty));
        self.shapes.push(shape);
    }

    /// With one name more.
    pub fn with(&self, name: &str, ty: Type, shape: Option<Arc<Shape>>) -> Names {
        let mut names = self.clone();
        names.push(name, ty, shape);
        names
    }

    /// With a `let`.
    pub fn push_let(&mut self, name: &str, compiled: &Compiled) {
        self.push(name, compiled.ty.clone(), compiled.shape.clone());
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    fn push_element(&mut self, element: Option<&Element>) {
        match element {
            Some(element) => self.push(&element.name, Type::Dyn, element.shape.clone()),
            // Its slot is there all the same, under a name that nobody can write.
            None => self.push("", Type::Dyn, None),
        }
    }
}

/// The name of the element that a row is made for.
#[derive(Clone, Debug)]
pub struct Element {
    pub name: String,
    pub shape: Option<Arc<Shape>>,
}

/// Whether an expression reads a slot.
pub fn reads(compiled: &Compiled, slot: usize) -> bool {
    compiled.reads.iter().any(|read| {
        let (Read::Slot(found) | Read::Column(found, _) | Read::Field(found, _)) = read;
        *found == slot
    })
}

/// What `record` has. What is known only once the event is read stands there for keys and cases.
fn record_shape(of_event: bool) -> Shape {
    let optional = |shape: Shape| Shape { null: true, ..shape };
    let headers = Shape {
        object: Some(Arc::new(crate::expr::ObjectShape {
            name: "record.headers".into(),
            known: Vec::new(),
            others: Some(Arc::new(Shape::text())),
        })),
        ..Shape::default()
    };
    let mut fields = vec![
        ("topic", Shape::text()),
        ("partition", Shape::integer()),
        ("offset", Shape::integer()),
        ("position", Shape::text()),
        ("key", optional(Shape::text())),
        ("timestamp", Shape::formatted(Format::DateTime)),
        ("headers", headers),
    ];
    if of_event {
        fields.extend([
            ("type", Shape::text()),
            ("version", Shape::integer()),
            ("time", Shape::formatted(Format::DateTime)),
            ("part", Shape::integer()),
            ("id", Shape::text()),
        ]);
    }
    Shape::object("`record`", fields)
}
