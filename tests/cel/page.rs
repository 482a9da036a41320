//! The reference page `docs/expressions.md`: its examples are run, and no form of a call is missing.

use kinora::event::Json;
use kinora::expr::{Slot, Type, Val, forms};

use crate::values::{evaluate, record};

const PAGE: &str = include_str!("../../docs/expressions.md");

/// The event of the page.
fn event() -> Json {
    let start = PAGE.find("```json").expect("the page has an event") + "```json".len();
    let end = PAGE[start..].find("```").expect("the event ends") + start;
    sonic_rs::from_str(&PAGE[start..end]).expect("the event is JSON")
}

/// Cells of a table's row; `\|` is a line in a cell.
fn cells(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\u{0}");
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn every_example_of_the_page_is_what_it_says() {
    let event = event();
    let record = record("shop.orders", 2, 41);
    let names = [("event".to_owned(), Type::Dyn), ("record".to_owned(), Type::LogRecord)];
    let frame = [Slot::Json(&event), Slot::Json(&record)];
    let (mut examples, mut wrong) = (0, Vec::new());
    let mut in_examples = false;
    for line in PAGE.lines() {
        let cells = cells(line);
        let [.., example, is] = cells.as_slice() else {
            in_examples = false;
            continue;
        };
        if example == "example" && is == "is" {
            in_examples = true;
            continue;
        }
        let (true, Some(example), Some(is)) = (in_examples, code(example), code(is)) else { continue };
        examples += 1;
        match evaluate(&format!("({example}) == ({is})"), &names, &frame, |found| {
            matches!(found, Val::Bool(true))
        }) {
            Ok(true) => {}
            _ => wrong.push(format!(
                "{example} is {:?}, the page says {is}",
                evaluate(example, &names, &frame, |found| format!("{found:?}"))
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(examples > 120, "only {examples} examples were found");
}

#[test]
fn every_form_of_a_call_stands_on_the_page() {
    let missing: Vec<_> = forms().filter(|(_, form)| !PAGE.contains(&format!("| `{form}` |"))).collect();
    assert!(missing.is_empty(), "docs/expressions.md lacks {missing:?}");
}
