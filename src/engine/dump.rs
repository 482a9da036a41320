//! Stored rows as JSON by column names: what cases expect, and what tests compare.

use serde_json::{Map, Value as Json};

use crate::plan::{Plan, TableId};
use crate::resolve::wire;
use crate::schema::{ColumnType, ReadModel, Scalar, TypeId};
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
        .map(|(column, cell)| (column.name.clone(), cell_json(model, &column.ty, cell)))
        .collect()
}

/// A cell in its wire form; a map of records as the list of its records, in key order.
fn cell_json(model: &ReadModel, ty: &ColumnType, cell: &Value) -> Json {
    match (ty, cell) {
        (ColumnType::Scalar(scalar), cell) => scalar_json(*scalar, cell),
        (ColumnType::Enum(_), Value::Text(name)) => Json::String(name.to_string()),
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

fn scalar_json(scalar: Scalar, cell: &Value) -> Json {
    let mut text = Vec::new();
    match wire::push_scalar(&mut text, scalar, cell) {
        true => serde_json::from_slice(&text).expect("the wire form is JSON"),
        false => Json::Null,
    }
}
