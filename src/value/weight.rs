//! About how many bytes of memory values take: what bounds of batches and answers count.

use super::Value;

/// Bytes of a cell itself.
const CELL: usize = size_of::<Value>();

/// About how many bytes a row's cells take in memory, what they hold included.
pub fn weight(cells: &[Value]) -> usize {
    cells.iter().map(weight_of).sum()
}

fn weight_of(value: &Value) -> usize {
    let held = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) | Value::Set(values) | Value::Record(values) => weight(values),
        Value::Map(entries) => entries.iter().map(|(key, value)| weight_of(key) + weight_of(value)).sum(),
        _ => 0,
    };
    CELL + held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_counts() {
        let text = |len: usize| Value::text("x".repeat(len));
        assert_eq!(weight(&[]), 0);
        assert_eq!(weight(&[Value::Null, Value::Int(1)]), 2 * CELL);
        assert_eq!(weight(&[text(1_000)]), CELL + 1_000);
        let list = Value::List(vec![text(10), text(20)]);
        assert_eq!(weight(std::slice::from_ref(&list)), 3 * CELL + 30);
        assert_eq!(weight(&[Value::Map(vec![(text(5), list)])]), 5 * CELL + 35);
    }
}
