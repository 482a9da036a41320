//! Stored rows as canonical JSON, in the form that the oracle has its own in.
//!
//! Comes in: the tables of any store. Goes out: every row of one of them, cells by column name.

use kinora::plan::TablePlan;
use kinora::schema::{ColumnId, ColumnType, ReadModel, TypeId};
use kinora::store::Tables;
use kinora::value::Value;
use serde_json::Value as Json;

use crate::value::{Dec, time_text};

/// Every row of a table, so many read at a time.
pub async fn stored(model: &ReadModel, table: &TablePlan, (tables, page): (&dyn Tables, usize)) -> Vec<Json> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let found = tables.all(table.id, after.as_ref(), page).await.expect("the table can be read");
        let Some(last) = found.last() else { return rows };
        after = Some(last.key.clone());
        for row in found {
            assert!(row.live, "a row that is not there was listed: {row:?}");
            let cell = |column: &ColumnId| {
                let declared = model.ty(table.entity).column(*column);
                (declared.name.clone(), json(model, &declared.ty, &row.cells[column.0 as usize]))
            };
            rows.push(Json::Object(table.columns.iter().map(cell).collect()));
        }
    }
}

/// A cell as canonical JSON: records by column name, collections stored by key as lists.
fn json(model: &ReadModel, ty: &ColumnType, value: &Value) -> Json {
    match (ty, value) {
        (_, Value::Null) => Json::Null,
        (_, Value::Bool(truth)) => Json::from(*truth),
        (_, Value::Int(int)) => Json::from(*int),
        (_, Value::Float(float)) => Json::from(*float),
        (_, Value::Text(text)) => Json::from(&**text),
        (_, Value::Timestamp(ms)) => Json::from(time_text(*ms)),
        (_, Value::Decimal(decimal)) => {
            let dec = Dec { digits: decimal.mantissa.into(), scale: decimal.scale };
            Json::from(dec.to_string())
        }
        (ColumnType::List(of), Value::List(items)) => {
            items.iter().map(|item| json(model, of, item)).collect()
        }
        (ColumnType::Record(id), Value::Record(fields)) => record(model, *id, fields),
        (ColumnType::Map { key, record: id }, Value::Map(entries)) => entries
            .iter()
            .map(|(stored_by, element)| {
                let Value::Record(fields) = element else { panic!("an element is a record: {element:?}") };
                let mut element = record(model, *id, fields);
                let name = &model.ty(*id).column(*key).name;
                let ColumnType::Scalar(_) = model.ty(*id).column(*key).ty else { panic!("keys are scalars") };
                element[name] = json(model, &model.ty(*id).column(*key).ty, stored_by);
                element
            })
            .collect(),
        (ty, value) => panic!("the shop has no {ty:?} with {value:?}"),
    }
}

fn record(model: &ReadModel, id: TypeId, fields: &[Value]) -> Json {
    let columns = model.ty(id).columns.iter().zip(fields);
    Json::Object(
        columns.map(|(column, value)| (column.name.clone(), json(model, &column.ty, value))).collect(),
    )
}
