//! Stored rows as JSON by column names: what cases expect, and what tests compare.

use serde_json::{Map, Value as Json};

use crate::plan::{Plan, TableId};
use crate::resolve::wire;
use crate::schema::{ColumnType, ReadModel, Scalar, TIME, TypeId, TypeKind};
use crate::store::{StoreError, Tables};
use crate::value::Value;

/// Rows read at a time.
const PAGE: usize = 1_000;

/// Every living row of a table. Columns that the table does not hold are `null`.
///
/// Reads the whole table: for tests and cases.
///
/// # Errors
/// The store fails.
pub async fn rows(
    model: &ReadModel,
    plan: &Plan,
    tables: &dyn Tables,
    table: TableId,
) -> Result<Vec<Map<String, Json>>, StoreError> {
    let entity = plan.table(table).entity;
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = tables.all(table, after.as_ref(), PAGE).await?;
        rows.extend(page.iter().map(|stored| row(model, entity, &stored.cells)));
        match page.into_iter().next_back() {
            Some(last) => after = Some(last.key),
            None => return Ok(rows),
        }
    }
}

/// A row, or the parts of a record, by column names.
pub fn row(model: &ReadModel, ty: TypeId, cells: &[Value]) -> Map<String, Json> {
    let columns = &model.ty(ty).columns;
    columns
        .iter()
        .zip(cells)
        .filter(|(column, _)| column.name != TIME)
        .map(|(column, cell)| (column.name.clone(), cell_json(model, &column.ty, cell)))
        .collect()
}

/// A cell in its wire form; a map of records as the list of its records, in key order.
fn cell_json(model: &ReadModel, ty: &ColumnType, cell: &Value) -> Json {
    match (ty, cell) {
        (ColumnType::Scalar(scalar), cell) => scalar_json(*scalar, cell),
        (ColumnType::Enum(_), Value::Text(name)) => Json::String(name.to_string()),
        (ColumnType::Record(record), Value::Record(parts))
            if model.ty(*record).kind == TypeKind::Variants =>
        {
            variant_json(model, *record, parts)
        }
        (ColumnType::Record(record), Value::Record(parts)) => Json::Object(row(model, *record, parts)),
        (ColumnType::List(of) | ColumnType::Set(of), Value::List(items) | Value::Set(items)) => {
            items.iter().map(|item| cell_json(model, of, item)).collect()
        }
        (ColumnType::Map { record, .. }, Value::Map(entries)) => {
            let record = ColumnType::Record(*record);
            entries.iter().map(|(_, part)| cell_json(model, &record, part)).collect()
        }
        _ => Json::Null,
    }
}

/// A value of an interface or union as an event has it: the member's parts beside its name.
fn variant_json(model: &ReadModel, ty: TypeId, parts: &[Value]) -> Json {
    let mut columns = model.ty(ty).columns.iter().zip(parts);
    let name = columns.next().map(|(column, name)| cell_json(model, &column.ty, name)).unwrap_or_default();
    let member =
        columns.find(|(_, part)| !part.is_null()).map(|(column, part)| cell_json(model, &column.ty, part));
    let mut object = Map::from_iter([("__typename".to_owned(), name)]);
    if let Some(Json::Object(member)) = member {
        object.extend(member);
    }
    Json::Object(object)
}

fn scalar_json(scalar: Scalar, cell: &Value) -> Json {
    let mut text = Vec::new();
    match wire::push_scalar(&mut text, scalar, cell) {
        true => serde_json::from_slice(&text).expect("the wire form is JSON"),
        false => Json::Null,
    }
}
