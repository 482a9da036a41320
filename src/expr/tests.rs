//! The language from outside: expressions as authors write them, compiled and run.

mod faults;
mod parse;
mod shop;
mod values;

use crate::diagnostic::{Diagnostic, FileId, Span};
use crate::event::Json;
use crate::schema::{
    Column, ColumnId, ColumnType, EnumId, EnumType, Field, FieldId, FieldSource, FieldType, Named,
    ObjectType, ReadModel, RefDecl, Scalar, TypeId, TypeKind,
};
use crate::value::{Decimal, Value};

use super::{Compiled, Env, Expected, Fault, Slot, Type, compile};

pub(super) const SPAN: Span = Span { file: FileId(0), start: 0, end: 0 };
pub(super) const MONEY: TypeId = TypeId(0);
pub(super) const LINE: TypeId = TypeId(1);
pub(super) const CART: TypeId = TypeId(2);
pub(super) const STATUS: EnumId = EnumId(0);

/// A cart as the shop has it, with a few columns of other types.
pub(super) fn model() -> ReadModel {
    let scalar = ColumnType::Scalar;
    let money = vec![
        column("amount", scalar(Scalar::Decimal), true),
        column("currency", scalar(Scalar::String), true),
    ];
    let line = vec![
        column("name", scalar(Scalar::String), true),
        column("quantity", scalar(Scalar::Int), true),
        column("unitPrice", ColumnType::Record(MONEY), true),
        column("productId", scalar(Scalar::Id), true),
    ];
    let cart = vec![
        column("id", scalar(Scalar::Id), true),
        column("userId", scalar(Scalar::Id), false),
        column("status", ColumnType::Enum(STATUS), true),
        column("itemCount", scalar(Scalar::Int), true),
        column("total", ColumnType::Record(MONEY), true),
        column("lines", ColumnType::Map { key: ColumnId(3), record: LINE }, true),
        column("updatedAt", scalar(Scalar::DateTime), true),
        column("currency", scalar(Scalar::String), true),
        column("note", scalar(Scalar::String), false),
        column("weight", scalar(Scalar::Float), false),
        column("paidAt", scalar(Scalar::DateTime), false),
    ];
    let mut cart = object("Cart", TypeKind::Entity, cart);
    cart.fields.push(Field {
        name: "user".to_owned(),
        ty: FieldType::Named { name: Named::Object(CART), non_null: false },
        args: Vec::new(),
        source: FieldSource::Ref(RefDecl { target: CART, key: vec![(vec![FieldId(0)], ColumnId(1))] }),
        span: SPAN,
    });
    ReadModel {
        types: vec![object("Money", TypeKind::Udt, money), object("CartLine", TypeKind::Udt, line), cart],
        enums: vec![EnumType {
            name: "CartStatus".to_owned(),
            values: ["OPEN", "PLACED", "PAID", "CHECKED_OUT"].map(str::to_owned).to_vec(),
            span: SPAN,
        }],
        query: CART,
        sdl: "".into(),
        draft: Default::default(),
        api_sdl: "".into(),
    }
}

fn column(name: &str, ty: ColumnType, non_null: bool) -> Column {
    Column { name: name.to_owned(), ty, non_null, hidden: false, max: None, vector: None, span: SPAN }
}

fn object(name: &str, kind: TypeKind, columns: Vec<Column>) -> ObjectType {
    ObjectType {
        name: name.to_owned(),
        kind,
        span: SPAN,
        fields: Vec::new(),
        columns,
        keys: Vec::new(),
        tables: Vec::new(),
        indexes: Vec::new(),
        stored_as: None,
        belongs_to: Vec::new(),
        resolves_to: Vec::new(),
    }
}

/// `event` in slot 0, `row` in slot 1 (perhaps absent), `old` in slot 2 (perhaps absent), `new` in slot 3 (there).
pub(super) fn names() -> Vec<(String, Type)> {
    let nullable = |id| Type::Nullable(Box::new(Type::Record(id)));
    vec![
        ("event".to_owned(), Type::Dyn),
        ("row".to_owned(), nullable(CART)),
        ("old".to_owned(), nullable(LINE)),
        ("new".to_owned(), Type::Record(CART)),
    ]
}

pub(super) fn compiled(text: &str, expected: &Expected) -> Result<Compiled, Vec<Diagnostic>> {
    let model = model();
    let end = u32::try_from(text.len()).unwrap();
    compile(
        text,
        Span { end, ..SPAN },
        &Env { model: &model, names: names(), shapes: Vec::new(), columns_of: None },
        expected,
    )
}

pub(super) fn ok(text: &str, expected: &Expected) -> Compiled {
    compiled(text, expected).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"))
}

pub(super) fn cell_of(scalar: Scalar) -> Expected {
    Expected::Cell { ty: ColumnType::Scalar(scalar), nullable: false }
}

pub(super) fn json(text: &str) -> Json {
    sonic_rs::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A cart with two lines.
pub(super) fn cart() -> Vec<Value> {
    let line = |id: &str, quantity, price: &str| {
        let price = Value::Record(vec![Value::Decimal(Decimal::parse(price).unwrap()), Value::text("EUR")]);
        (
            Value::text(id),
            Value::Record(vec![Value::text("Lamp"), Value::Int(quantity), price, Value::text(id)]),
        )
    };
    vec![
        Value::text("c1"),
        Value::Null,
        Value::text("OPEN"),
        Value::Int(3),
        Value::Record(vec![Value::Decimal(Decimal::parse("26.10").unwrap()), Value::text("EUR")]),
        Value::Map(vec![line("p1", 2, "12.50"), line("p2", 1, "1.10")]),
        Value::Timestamp(1000),
        Value::text("EUR"),
        Value::Null,
        Value::Null,
        Value::Null,
    ]
}

/// Runs an expression over an event and the cart.
pub(super) fn run(text: &str, expected: &Expected, event: &str) -> Result<Option<Value>, Fault> {
    let (event, cart) = (json(event), cart());
    let line = cart[5].clone();
    let Value::Map(lines) = &line else { panic!("lines are a map") };
    let Value::Record(old) = &lines[0].1 else { panic!("a line is a record") };
    let frame =
        [Slot::Json(&event), Slot::Record(Some(&cart)), Slot::Record(Some(old)), Slot::Record(Some(&cart))];
    ok(text, expected).cell(&frame)
}

/// As [`run`], with neither row nor element there.
pub(super) fn run_absent(text: &str, expected: &Expected, event: &str) -> Result<Option<Value>, Fault> {
    let (event, cart) = (json(event), cart());
    let frame = [Slot::Json(&event), Slot::Record(None), Slot::Record(None), Slot::Record(Some(&cart))];
    ok(text, expected).cell(&frame)
}

/// The value of an expression whose place takes anything.
pub(super) fn value(text: &str, event: &str) -> Value {
    run(text, &Expected::Any, event).unwrap_or_else(|fault| panic!("{text}: {}", fault.0)).unwrap_or_default()
}

/// Why an expression has no value.
pub(super) fn reason(text: &str, expected: &Expected, event: &str) -> String {
    match run(text, expected, event) {
        Ok(value) => panic!("{text} is {value:?}"),
        Err(fault) => fault.0,
    }
}

pub(super) fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}
