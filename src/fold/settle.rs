//! What every row must hold once an event is applied: nothing null that cannot be, no collection above its bound, vectors whole,
//! no key twice in a map, computed columns made anew, and for handlers written in Rust the right types.
//!
//! Comes in: the new cells. Goes out: the same cells with computed columns, or a [`Reject`] naming the column.

use super::{Patch, reject, unevaluated};
use crate::event::Reject;
use crate::expr::Slot;
use crate::handler::{Compute, Projection, RowShape};
use crate::schema::{Column, ColumnId, ColumnType, Scalar, Vector};
use crate::value::Value;

/// Checks a new row, and makes its computed columns.
pub fn fresh(projection: &Projection, cells: &mut [Value]) -> Result<(), Reject> {
    for (index, column) in projection.shape.columns.iter().enumerate() {
        if !is_computed(projection, index) {
            check(&projection.shape, column, &cells[index])?;
        }
    }
    for compute in &projection.compute {
        cells[compute.column.0 as usize] = computed(projection, compute, cells)?;
    }
    asserted(projection, cells)
}

/// Checks what must hold of every row.
fn asserted(projection: &Projection, cells: &[Value]) -> Result<(), Reject> {
    for assert in &projection.asserts {
        let holds = assert.holds.holds(&[Slot::Record(Some(cells))]);
        let place = format!("assert {:?}", assert.name);
        let holds = holds.map_err(|fault| unevaluated(&place, &assert.holds, &fault))?;
        if !holds {
            let reason = format!("assert {:?} does not hold: {}", assert.name, assert.holds.text);
            return Err(reject(reason));
        }
    }
    Ok(())
}

/// Checks what a patch has changed in a row, and makes the computed columns anew whose sources it changed. The patch
/// holds the old cells, and gets those of the computed columns.
pub fn patched(projection: &Projection, cells: &mut [Value], patch: &mut Patch) -> Result<(), Reject> {
    for id in patch.columns() {
        let (column, cell) = (projection.shape.column(id), &cells[id.0 as usize]);
        match cell {
            // Single elements were checked when they were made, and stand in order.
            Value::Map(entries) if patch.sets_elements(id.0 as usize) => check_len(column, entries.len())?,
            _ if is_computed(projection, id.0 as usize) => {}
            cell => check(&projection.shape, column, cell)?,
        }
    }
    for compute in &projection.compute {
        let index = compute.column.0 as usize;
        let touched = |column: usize| patch.sets(column) || patch.sets_elements(column);
        let due = match &compute.reads {
            None => true,
            Some(reads) => touched(index) || reads.iter().any(|column| touched(column.0 as usize)),
        };
        if due {
            let new = computed(projection, compute, cells)?;
            patch.note(index, std::mem::replace(&mut cells[index], new));
        }
    }
    asserted(projection, cells)
}

fn is_computed(projection: &Projection, index: usize) -> bool {
    projection.compute.iter().any(|compute| compute.column.0 as usize == index)
}

/// The cell of a computed column, checked.
fn computed(projection: &Projection, compute: &Compute, cells: &[Value]) -> Result<Value, Reject> {
    let column = projection.shape.column(compute.column);
    let made = compute.value.cell(&[Slot::Record(Some(cells))]);
    let value = made.map_err(|fault| unevaluated(&column.name, &compute.value, &fault))?;
    let value = value.unwrap_or_default();
    check(&projection.shape, column, &value)?;
    Ok(value)
}

/// Checks one cell against its column, and what is inside it.
pub fn check(shape: &RowShape, column: &Column, value: &Value) -> Result<(), Reject> {
    check_alone(column, value)?;
    let inner = match (&column.ty, value) {
        (ColumnType::Record(id), Value::Record(_)) => Some(*id),
        (ColumnType::Map { record, .. }, _) => Some(*record),
        (ColumnType::List(of), _) => match **of {
            ColumnType::Record(id) => Some(id),
            _ => None,
        },
        _ => None,
    };
    let Some(columns) = inner.and_then(|id| shape.records.get(&id)) else { return Ok(()) };
    // Scalars were made to fit; only collections have bounds, here or deeper.
    let is_compound = |column: &Column| !matches!(column.ty, ColumnType::Scalar(_) | ColumnType::Enum(_));
    if !columns.iter().any(is_compound) {
        return Ok(());
    }
    let inside = |place: &dyn Fn() -> String, record: &Value| {
        let Value::Record(cells) = record else { return Ok(()) };
        check_variant(columns, cells)
            .map_err(|found| reject(format!("{}{} {}", column.name, place(), found.reason)))?;
        let mut parts = columns.iter().zip(cells).filter(|(column, _)| is_compound(column));
        parts.try_for_each(|(part, cell)| {
            check(shape, part, cell)
                .map_err(|found| reject(format!("{}{}.{}", column.name, place(), found.reason)))
        })
    };
    match value {
        Value::List(items) => {
            items.iter().enumerate().try_for_each(|(at, item)| inside(&|| format!("[{at}]"), item))
        }
        Value::Map(entries) => {
            entries.iter().try_for_each(|(key, item)| inside(&|| format!("[{}]", shown(key)), item))
        }
        record => inside(&String::new, record),
    }
}

/// Of an interface or union: the member that is named is there, and no other.
fn check_variant(columns: &[Column], cells: &[Value]) -> Result<(), Reject> {
    let Some((Column { name, .. }, Value::Text(member))) = columns.first().zip(cells.first()) else {
        return Ok(());
    };
    if name != "__typename" {
        return Ok(());
    }
    let mut parts = columns.iter().zip(cells).skip(1);
    match parts.find(|(part, cell)| (part.name == **member) == cell.is_null()) {
        None => Ok(()),
        Some((part, Value::Null)) => Err(reject(format!("is named {member}, but holds no {}", part.name))),
        Some((part, _)) => Err(reject(format!("is named {member}, but holds a {}", part.name))),
    }
}

fn check_alone(column: &Column, value: &Value) -> Result<(), Reject> {
    match value {
        Value::Null if column.non_null => {
            Err(reject(format!("{} has no value, and cannot be null", column.name)))
        }
        Value::List(items) => match column.vector {
            Some(vector) => check_vector(&column.name, vector, items),
            None => check_len(column, items.len()),
        },
        Value::Set(items) => check_len(column, items.len()),
        Value::Map(entries) => {
            check_len(column, entries.len())?;
            match entries.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                Some(pair) => {
                    Err(reject(format!("{}: two elements have the key {}", column.name, shown(&pair[1].0))))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// A vector has all its numbers, and a direction where its angle is compared.
fn check_vector(name: &str, vector: Vector, numbers: &[Value]) -> Result<(), Reject> {
    if numbers.len() != vector.dimensions as usize {
        let (found, wanted) = (numbers.len(), vector.dimensions);
        return Err(reject(format!("{name} would have {found} numbers, a vector of it has {wanted}")));
    }
    let is_zero = |number: &Value| matches!(number, Value::Float(number) if *number == 0.0);
    if vector.has_direction && numbers.iter().all(is_zero) {
        return Err(reject(format!("{name} would have no direction: all its numbers are 0")));
    }
    Ok(())
}

/// A key as a reason shows it.
pub fn shown(key: &Value) -> String {
    match key {
        Value::Text(text) => format!("{text:?}"),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Checks the number of elements against the bound.
pub fn check_len(column: &Column, len: usize) -> Result<(), Reject> {
    match column.max {
        Some(max) if len > max as usize => {
            Err(reject(format!("{} would have {len} elements, at most {max} are allowed", column.name)))
        }
        _ => Ok(()),
    }
}

/// Checks a row that a handler written in Rust made, and makes the computed columns.
pub fn custom(
    projection: &Projection,
    key_cells: &[(ColumnId, Value)],
    mut cells: Vec<Value>,
) -> Result<Vec<Value>, Reject> {
    let shape = &projection.shape;
    if cells.len() != shape.columns.len() {
        let (found, wanted) = (cells.len(), shape.columns.len());
        return Err(reject(format!("the handler made {found} cells, a row has {wanted}")));
    }
    for (column, value) in key_cells {
        if cells[column.0 as usize] != *value {
            let name = &shape.column(*column).name;
            return Err(reject(format!("the handler changed {name}, which is in the row's key")));
        }
    }
    for (column, cell) in shape.columns.iter().zip(&cells) {
        if !fits(shape, &column.ty, cell) {
            return Err(reject(format!("the handler put a value of another type into {}", column.name)));
        }
    }
    fresh(projection, &mut cells)?;
    Ok(cells)
}

/// Whether a value is of a column's type. Null always is: `check` looks at that.
fn fits(shape: &RowShape, ty: &ColumnType, value: &Value) -> bool {
    match (ty, value) {
        (_, Value::Null) => true,
        (ColumnType::Scalar(scalar), value) => scalar_fits(*scalar, value),
        (ColumnType::Enum(id), Value::Text(name)) => {
            shape.enums.get(&id.0).is_some_and(|values| values.iter().any(|value| **value == **name))
        }
        (ColumnType::Record(id), Value::Record(cells)) => record_fits(shape, *id, cells),
        (ColumnType::List(of), Value::List(items)) | (ColumnType::Set(of), Value::Set(items)) => {
            items.iter().all(|item| !item.is_null() && fits(shape, of, item))
        }
        (ColumnType::Map { key, record }, Value::Map(entries)) => {
            entries.iter().all(|(at, value)| match value {
                Value::Record(cells) => {
                    record_fits(shape, *record, cells) && cells[key.0 as usize] == *at && !at.is_null()
                }
                _ => false,
            })
        }
        _ => false,
    }
}

fn record_fits(shape: &RowShape, id: crate::schema::TypeId, cells: &[Value]) -> bool {
    let Some(columns) = shape.records.get(&id) else { return false };
    columns.len() == cells.len()
        && columns
            .iter()
            .zip(cells)
            .all(|(column, cell)| fits(shape, &column.ty, cell) && check(shape, column, cell).is_ok())
}

fn scalar_fits(scalar: Scalar, value: &Value) -> bool {
    match (scalar, value) {
        (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Long | Scalar::BigInt, Value::Int(_))
        | (Scalar::String | Scalar::Id, Value::Text(_))
        | (Scalar::Duration, Value::Period(_))
        | (Scalar::Decimal, Value::Decimal(_))
        | (Scalar::DateTime, Value::Timestamp(_))
        | (Scalar::LocalDate, Value::Date(_))
        | (Scalar::LocalTime, Value::Time(_))
        | (Scalar::Uuid, Value::Uuid(_))
        | (Scalar::Bytes, Value::Bytes(_)) => true,
        (Scalar::Byte, Value::Int(number)) => i8::try_from(*number).is_ok(),
        (Scalar::Short, Value::Int(number)) => i16::try_from(*number).is_ok(),
        (Scalar::Int, Value::Int(number)) => i32::try_from(*number).is_ok(),
        (Scalar::VarInt, Value::Decimal(number)) => number.scale == 0,
        (Scalar::Float, Value::Float(number)) => number.is_finite(),
        #[expect(clippy::cast_possible_truncation, reason = "what is lost is what must not be there")]
        (Scalar::Float32, Value::Float(number)) => {
            number.is_finite() && f64::from(*number as f32).to_bits() == number.to_bits()
        }
        (Scalar::Ascii, Value::Text(text)) => text.is_ascii(),
        (Scalar::TimeUuid, Value::TimeUuid(uuid)) => uuid.get_version_num() == 1,
        (Scalar::Ip, Value::Ip(ip)) => *ip == ip.to_canonical(),
        (Scalar::Ipv4, Value::Ip(ip)) => ip.is_ipv4(),
        (Scalar::Ipv6, Value::Ip(ip)) => ip.is_ipv6(),
        (Scalar::Json, Value::Text(text)) => {
            serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
        }
        _ => false,
    }
}
