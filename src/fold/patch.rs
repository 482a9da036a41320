//! What an event changes in a row: cells, and elements of map columns.
//!
//! Comes in: new cells and elements, step by step. Goes out: the row changed in place, and what takes that back: a
//! patch trades places with what it changes, so a second swap restores the row. Whether the result may stand is
//! `settle`'s.

use smallvec::SmallVec;

use crate::schema::ColumnId;
use crate::value::Value;

/// New cells and elements, each place once; once swapped, the old ones.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    /// A column and its cell.
    cells: SmallVec<[(usize, Value); 4]>,
    elements: SmallVec<[Element; 1]>,
}

/// An element of a map column.
#[derive(Debug)]
struct Element {
    column: usize,
    key: Value,
    /// `None`: it is not there.
    value: Option<Value>,
}

impl Patch {
    /// The new cell of a column, if the patch has one as a whole.
    pub fn cell(&self, column: usize) -> Option<&Value> {
        self.cells.iter().find(|(at, _)| *at == column).map(|(_, value)| value)
    }

    /// As [`Patch::cell`], to be changed.
    pub fn cell_mut(&mut self, column: usize) -> Option<&mut Value> {
        self.cells.iter_mut().find(|(at, _)| *at == column).map(|(_, value)| value)
    }

    /// Sets a column as a whole; elements that were set before are part of it or gone.
    pub fn set(&mut self, column: usize, value: Value) {
        self.elements.retain(|element| element.column != column);
        match self.cell_mut(column) {
            Some(cell) => *cell = value,
            None => self.cells.push((column, value)),
        }
    }

    /// Sets several columns as a whole.
    pub fn mark(&mut self, cells: &[(usize, Value)]) {
        for (column, value) in cells {
            self.set(*column, value.clone());
        }
    }

    /// What the patch says of an element: `None` if nothing, `Some(None)` if it goes.
    pub fn element(&self, column: usize, key: &Value) -> Option<Option<&Value>> {
        let mut elements = self.elements.iter();
        let found = elements.find(|element| element.column == column && element.key == *key)?;
        Some(found.value.as_ref())
    }

    /// Sets an element of a map that the row has; `None` removes it.
    pub fn set_element(&mut self, column: usize, key: Value, value: Option<Value>) {
        let mut elements = self.elements.iter_mut();
        match elements.find(|element| element.column == column && element.key == key) {
            Some(element) => element.value = value,
            None => self.elements.push(Element { column, key, value }),
        }
    }

    /// Whether a column is set as a whole.
    pub fn sets(&self, column: usize) -> bool {
        self.cells.iter().any(|(at, _)| *at == column)
    }

    /// Whether elements of a column are set.
    pub fn sets_elements(&self, column: usize) -> bool {
        self.elements.iter().any(|element| element.column == column)
    }

    /// Notes the old cell of a column that was changed in the row itself.
    pub fn note(&mut self, column: usize, old: Value) {
        if !self.sets(column) {
            self.cells.push((column, old));
        }
    }

    /// Trades places: the row gets what the patch holds, the patch what the row held.
    pub fn swap(&mut self, row: &mut [Value]) {
        for (column, value) in &mut self.cells {
            std::mem::swap(&mut row[*column], value);
        }
        for element in &mut self.elements {
            if let Value::Map(entries) = &mut row[element.column] {
                element.swap(entries);
            }
        }
    }

    /// The columns of which the patch says something; one may come twice.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> {
        let cells = self.cells.iter().map(|(column, _)| *column);
        let columns = cells.chain(self.elements.iter().map(|element| element.column));
        columns.map(|column| ColumnId(u32::try_from(column).expect("a row has far fewer columns")))
    }

    /// The columns that are set as a whole, with their cells.
    pub fn into_cells(self) -> impl Iterator<Item = (usize, Value)> {
        self.cells.into_iter()
    }
}

impl Element {
    fn swap(&mut self, entries: &mut Vec<(Value, Value)>) {
        let found = entries.binary_search_by(|(known, _)| known.cmp(&self.key));
        self.value = match (found, self.value.take()) {
            (Ok(at), Some(new)) => Some(std::mem::replace(&mut entries[at].1, new)),
            (Ok(at), None) => Some(entries.remove(at).1),
            (Err(at), Some(new)) => {
                entries.insert(at, (self.key.clone(), new));
                None
            }
            (Err(_), None) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &[i64]) -> Value {
        Value::Map(keys.iter().map(|key| (Value::Int(*key), Value::Int(key * 10))).collect())
    }

    #[test]
    fn a_second_swap_restores_the_row() {
        let before = vec![Value::Int(1), map(&[1, 3]), Value::text("a")];
        let mut patch = Patch::default();
        patch.set(0, Value::Int(2));
        patch.set_element(1, Value::Int(2), Some(Value::Int(20)));
        patch.set_element(1, Value::Int(3), None);
        patch.set_element(1, Value::Int(4), None);
        patch.set_element(1, Value::Int(1), Some(Value::Int(11)));
        patch.set_element(1, Value::Int(1), Some(Value::Int(10)));
        let mut row = before.clone();
        patch.swap(&mut row);
        assert_eq!(row, [Value::Int(2), map(&[1, 2]), Value::text("a")]);
        row[2] = Value::text("b");
        patch.note(2, Value::text("a"));
        patch.note(0, Value::Int(7));
        patch.swap(&mut row);
        assert_eq!(row, before);
    }

    #[test]
    fn a_column_that_is_set_as_a_whole_forgets_its_elements() {
        let mut patch = Patch::default();
        patch.set_element(0, Value::Int(1), None);
        patch.set(0, map(&[5]));
        let mut row = vec![map(&[1])];
        patch.swap(&mut row);
        assert_eq!(row, [map(&[5])]);
        assert!(patch.sets(0) && !patch.sets_elements(0));
    }
}
