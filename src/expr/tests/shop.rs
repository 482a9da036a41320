//! Every expression of the shop, compiled and run.

use super::*;

fn holds(text: &str, event: &str, row: Option<&[Value]>) -> bool {
    let event = json(event);
    let cart = cart();
    let frame = [Slot::Json(&event), Slot::Record(row), Slot::Record(None), Slot::Record(Some(&cart))];
    ok(text, &Expected::Condition).holds(&frame).unwrap_or_else(|fault| panic!("{text}: {}", fault.0))
}

fn cell(column: &str, text: &str, event: &str) -> Option<Value> {
    let model = model();
    let cart = model.ty(CART);
    let column = cart.column(cart.column_named(column).unwrap());
    let expected = Expected::Cell { ty: column.ty.clone(), nullable: !column.non_null };
    run(text, &expected, event).unwrap_or_else(|fault| panic!("{text}: {}", fault.0))
}

#[test]
fn conditions_read_the_row_as_it_was() {
    let cart = cart();
    assert!(holds("row.status != CHECKED_OUT", "{}", Some(&cart)));
    assert!(holds("row.status != CHECKED_OUT", "{}", None), "an absent row has null here");
    assert!(holds("row.status in [OPEN, PAID]", "{}", Some(&cart)));
    assert!(!holds("row.status in [OPEN, PAID]", "{}", None));
    assert!(!holds("row.status == PLACED", "{}", Some(&cart)));
    assert!(holds("event.productId in row.lines", r#"{"productId":"p1"}"#, Some(&cart)));
    assert!(!holds("event.productId in row.lines", r#"{"productId":"p9"}"#, Some(&cart)));
    assert!(!holds("event.productId in row.lines", r#"{"productId":"p1"}"#, None));
    let both = "event.productId in row.lines && event.quantity > 0";
    assert!(holds(both, r#"{"productId":"p1","quantity":2}"#, Some(&cart)));
    assert!(!holds(both, r#"{"productId":"p1","quantity":0}"#, Some(&cart)));
    // The joined condition: the file's and the case's.
    assert!(holds(
        "(row.status != CHECKED_OUT) && (event.productId in row.lines)",
        r#"{"productId":"p2"}"#,
        Some(&cart)
    ));
}

#[test]
fn cells_are_made_of_events_and_rows() {
    assert_eq!(cell("status", "OPEN", "{}"), Some(Value::text("OPEN")));
    assert_eq!(cell("userId", "event.customerId", r#"{"customerId":"u1"}"#), Some(Value::text("u1")));
    assert_eq!(cell("userId", "event.customerId", "{}"), None);
    assert_eq!(cell("userId", "event.customerId", r#"{"customerId":null}"#), Some(Value::Null));
    let at = r#"{"at":"2026-01-01T00:00:00.000Z"}"#;
    assert_eq!(cell("updatedAt", "event.at", at), Some(Value::Timestamp(1_767_225_600_000)));
    assert_eq!(
        cell("itemCount", "old.?quantity.orValue(0) + event.quantity", r#"{"quantity":2}"#),
        Some(Value::Int(4))
    );
    let absent =
        run_absent("old.?quantity.orValue(0) + event.quantity", &cell_of(Scalar::Int), r#"{"quantity":2}"#);
    assert_eq!(absent, Ok(Some(Value::Int(2))));
    let money = Value::Record(vec![decimal("12.50"), Value::text("EUR")]);
    let event = r#"{"unitPrice":"12.50","currency":"EUR","price":"12.50"}"#;
    assert_eq!(cell("total", "money(event.unitPrice, event.currency)", event), Some(money.clone()));
    assert_eq!(cell("total", "money(event.price, new.total.currency)", event), Some(money));
}

#[test]
fn computed_columns_sum_exactly() {
    assert_eq!(cell("itemCount", "new.lines.values().map(l, l.quantity).sum()", "{}"), Some(Value::Int(3)));
    let total = "money(new.lines.values().map(l, l.unitPrice.amount * l.quantity).sum(), new.currency)";
    assert_eq!(cell("total", total, "{}"), Some(Value::Record(vec![decimal("26.10"), Value::text("EUR")])));
    let event =
        r#"{"currency":"EUR","lines":[{"unitPrice":"12.50","quantity":2},{"unitPrice":1.10,"quantity":1}]}"#;
    let total = "money(event.lines.map(l, decimal(l.unitPrice) * l.quantity).sum(), event.currency)";
    assert_eq!(cell("total", total, event), Some(Value::Record(vec![decimal("26.10"), Value::text("EUR")])));
    let none = r#"{"currency":"EUR","lines":[]}"#;
    assert_eq!(cell("total", total, none), Some(Value::Record(vec![decimal("0"), Value::text("EUR")])));
}

#[test]
fn a_new_row_without_lines_has_no_items() {
    let mut cart = cart();
    cart[5] = Value::Null;
    let event = json("{}");
    let frame = [Slot::Json(&event), Slot::Record(None), Slot::Record(None), Slot::Record(Some(&cart))];
    let count = ok("new.lines.values().map(l, l.quantity).sum()", &cell_of(Scalar::Int));
    assert_eq!(count.cell(&frame), Ok(Some(Value::Int(0))));
}

#[test]
fn a_tables_condition_reads_columns_by_name() {
    let model = model();
    let env = Env { model: &model, names: Vec::new(), shapes: Vec::new(), columns_of: Some(CART) };
    let compiled = compile("status == OPEN && currency == 'EUR'", SPAN, &env, &Expected::Condition).unwrap();
    let cart = cart();
    assert_eq!(compiled.holds(&[Slot::Record(Some(&cart))]), Ok(true));
    use crate::expr::Read;
    assert_eq!(compiled.reads, [Read::Column(0, ColumnId(2)), Read::Column(0, ColumnId(7))]);
    let faults = compile("status == OPNE", SPAN, &env, &Expected::Condition).unwrap_err();
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `OPEN`?"));
}

#[test]
fn what_is_read_is_known() {
    use crate::expr::Read;
    let compiled = ok("event.quantity > 0 && row.status == PAID && event in [1]", &Expected::Condition);
    assert_eq!(
        compiled.reads,
        [Read::Field(0, "quantity".into()), Read::Column(1, ColumnId(2)), Read::Slot(0)]
    );
}

#[test]
fn lists_lets_and_text_are_handed_over_borrowed() {
    let event = json(r#"{"lines":[{"q":1},{"q":2}],"type":"A","n":5}"#);
    let frame = [Slot::Json(&event), Slot::Record(None)];
    let lines = ok("event.lines", &Expected::List);
    let found = lines.list(&frame).unwrap().unwrap();
    assert_eq!(found.len(), 2);
    assert!(matches!(found[1], Slot::Json(_)));
    assert!(ok("event.none", &Expected::List).list(&frame).unwrap().is_none());
    assert_eq!(ok("event.n", &Expected::List).list(&frame).unwrap_err().0, "event.n is 5, expected a list");
    let many = ok("event.lines.filter(l, l.q > 1)", &Expected::Any);
    let slot = many.slot(&frame).unwrap();
    let model = model();
    let names = vec![("many".to_owned(), many.ty.clone())];
    let env = Env { model: &model, names, shapes: Vec::new(), columns_of: None };
    let size = compile("many.size()", SPAN, &env, &Expected::Any).unwrap();
    assert_eq!(size.cell(&[slot]), Ok(Some(Value::Int(1))));
    let text =
        |expression: &str| ok(expression, &Expected::Text).text(&frame).map(|text| text.map(String::from));
    assert_eq!(text("event.type"), Ok(Some("A".to_owned())));
    assert_eq!(text("event.n"), Ok(Some("5".to_owned())));
    assert_eq!(text("event.none"), Ok(None));
    assert_eq!(text("event.lines").unwrap_err().0, "event.lines is a list, expected a string or an integer");
    let kind = |expression: &str| ok(expression, &Expected::Text).cell(&frame);
    assert_eq!(kind("event.n"), Ok(Some(Value::text("5"))));
    assert_eq!(kind("event.none"), Ok(None));
    let version = ok("event.v", &Expected::Int);
    assert!(version.may_be_missing());
    assert!(ok("event.?v", &Expected::Int).may_be_missing());
    assert!(!ok("event.?v.orValue(1)", &Expected::Int).may_be_missing());
    assert!(!ok("new.itemCount", &Expected::Int).may_be_missing());
    assert_eq!(version.cell(&frame), Ok(None));
}
