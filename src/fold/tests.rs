//! The shop's rules, one by one, and what each Reject says.

use std::sync::Arc;

use super::*;
use crate::handler::testing::{Loaded, Outcome, Rows, load_text, shop};
use crate::handler::{CustomHandlers, UpdateKind};

const AT: &str = "1970-01-01T00:00:00";

/// An event of the shop: type, second of the day, id field with id, other fields as JSON.
fn event(kind: &str, second: u32, id: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    let at = &AT[..AT.len() - 2];
    format!(r#"{{"type":"{kind}","v":1,"id":"x","at":"{at}{second:02}.000Z",{id}{comma}{fields}}}"#)
}

fn cart(kind: &str, second: u32, fields: &str) -> (&'static str, String) {
    ("c1", event(kind, second, r#""cartId":"c1""#, fields))
}

fn add(second: u32, product: &str, quantity: i64, price: &str, currency: &str) -> (&'static str, String) {
    let fields = format!(
        r#""customerId":"u{second}","productId":"{product}","name":"n{second}","quantity":{quantity},"unitPrice":"{price}","currency":"{currency}""#
    );
    cart("ItemAddedToCart", second, &fields)
}

fn order(kind: &str, second: u32, fields: &str) -> (&'static str, String) {
    ("o1", event(kind, second, r#""orderId":"o1""#, fields))
}

fn placed(second: u32, lines: &str) -> (&'static str, String) {
    let fields =
        format!(r#""number":"1001","customerId":"u1","warehouseId":"w1","currency":"EUR","lines":[{lines}]"#);
    order("OrderPlaced", second, &fields)
}

const CART: &[&str] = &["id", "userId", "status", "itemCount", "total", "lines", "orderId", "updatedAt"];

fn carts(shop: &Loaded, records: &[(&str, String)]) -> String {
    shop.rows("carts").all(records).show(CART)
}

#[test]
fn an_added_item_makes_the_cart_or_adds_to_its_line() {
    let shop = shop();
    assert_eq!(
        carts(&shop, &[add(1, "p1", 1, "12.50", "EUR")]),
        "id=c1 userId=u1 status=OPEN itemCount=1 total=(12.50,EUR) lines={p1:(n1,1,(12.50,EUR),p1)} orderId=null updatedAt=@1000"
            .replace("(n1,1,(12.50,EUR),p1)", &line(&shop, "n1", 1, "12.50,EUR", "p1"))
    );
    let two = carts(
        &shop,
        &[add(1, "p2", 1, "12.50", "EUR"), add(2, "p1", 2, "3", "EUR"), add(3, "p2", 1, "11.0", "USD")],
    );
    assert_eq!(
        two,
        format!(
            "id=c1 userId=u3 status=OPEN itemCount=4 total=(28.0,USD) lines={{p1:{},p2:{}}} orderId=null updatedAt=@3000",
            line(&shop, "n2", 2, "3,EUR", "p1"),
            line(&shop, "n3", 2, "11.0,USD", "p2")
        )
    );
}

/// A cart line as the record shows it, whatever the order of its columns.
fn line(shop: &Loaded, name: &str, quantity: i64, price: &str, product: &str) -> String {
    let ty = shop.model.ty(shop.model.type_named("CartLine").expect("the shop has cart lines"));
    let part = |column: &crate::schema::Column| match column.name.as_str() {
        "name" => name.to_owned(),
        "quantity" => quantity.to_string(),
        "unitPrice" => format!("({price})"),
        _ => product.to_owned(),
    };
    format!("({})", ty.columns.iter().map(part).collect::<Vec<_>>().join(","))
}

#[test]
fn a_removed_item_drops_its_line_and_the_empty_cart_stays() {
    let shop = shop();
    let remove =
        |second, product: &str| cart("ItemRemovedFromCart", second, &format!(r#""productId":"{product}""#));
    assert_eq!(
        carts(&shop, &[add(1, "p1", 2, "1.50", "EUR"), remove(2, "p9"), remove(3, "p1"), remove(4, "p1")]),
        "id=c1 userId=u1 status=OPEN itemCount=0 total=(0,EUR) lines={} orderId=null updatedAt=@3000"
    );
    assert_eq!(carts(&shop, &[remove(1, "p1")]), "");
}

#[test]
fn a_changed_quantity_touches_a_line_that_is_there_and_zero_drops_it() {
    let shop = shop();
    let change = |second, product: &str, quantity: i64| {
        cart("QuantityChanged", second, &format!(r#""productId":"{product}","quantity":{quantity}"#))
    };
    assert_eq!(
        carts(&shop, &[add(1, "p1", 2, "1.50", "EUR"), change(2, "p1", 5), change(3, "p9", 5)]),
        format!(
            "id=c1 userId=u1 status=OPEN itemCount=5 total=(7.50,EUR) lines={{p1:{}}} orderId=null updatedAt=@2000",
            line(&shop, "n1", 5, "1.50,EUR", "p1")
        )
    );
    assert_eq!(
        carts(&shop, &[add(1, "p1", 2, "1.50", "EUR"), change(2, "p1", 0), change(3, "p1", 1)]),
        "id=c1 userId=u1 status=OPEN itemCount=0 total=(0,EUR) lines={} orderId=null updatedAt=@2000"
    );
    assert_eq!(carts(&shop, &[change(1, "p1", 1)]), "");
}

#[test]
fn nothing_changes_a_cart_after_checkout() {
    let shop = shop();
    let out = |second, order: &str| cart("CartCheckedOut", second, &format!(r#""orderId":"{order}""#));
    let done = carts(&shop, &[add(1, "p1", 1, "2", "EUR"), out(2, "o1")]);
    assert_eq!(
        done,
        format!(
            "id=c1 userId=u1 status=CHECKED_OUT itemCount=1 total=(2,EUR) lines={{p1:{}}} orderId=o1 updatedAt=@2000",
            line(&shop, "n1", 1, "2,EUR", "p1")
        )
    );
    let later = [
        add(1, "p1", 1, "2", "EUR"),
        out(2, "o1"),
        add(3, "p1", 1, "2", "EUR"),
        cart("ItemRemovedFromCart", 4, r#""productId":"p1""#),
        cart("QuantityChanged", 5, r#""productId":"p1","quantity":9"#),
        out(6, "o2"),
    ];
    assert_eq!(carts(&shop, &later), done);
    assert_eq!(carts(&shop, &[out(1, "o1")]), "");
}

#[test]
fn an_event_that_sets_what_is_there_still_moves_updated_at() {
    let shop = shop();
    let again = cart("QuantityChanged", 7, r#""productId":"p1","quantity":2"#);
    assert!(carts(&shop, &[add(1, "p1", 2, "1", "EUR"), again]).ends_with("updatedAt=@7000"));
}

const ORDER: &[&str] = &["status", "placedAt", "paidAt", "shippedAt", "trackingId", "cancelReason", "total"];

fn orders(records: &[(&str, String)]) -> String {
    shop().rows("orders").all(records).show(ORDER)
}

const LINE: &str = r#"{"productId":"p1","categoryId":"k","name":"n","quantity":2,"unitPrice":"12.50"}"#;

#[test]
fn an_order_is_placed_once_and_totals_its_lines() {
    let twice = format!("{LINE},{LINE}");
    let first = orders(&[placed(1, &twice)]);
    assert_eq!(
        first,
        "status=PLACED placedAt=@1000 paidAt=null shippedAt=null trackingId=null cancelReason=null total=(50.00,EUR)"
    );
    assert_eq!(orders(&[placed(1, &twice), placed(2, "")]), first);
    assert!(orders(&[placed(1, "")]).ends_with("total=(0,EUR)"));
}

#[test]
fn an_order_moves_only_as_its_rules_say() {
    let pay = || order("PaymentTaken", 2, r#""paymentId":"y","amount":"1""#);
    let ship = || order("OrderShipped", 3, r#""carrier":"DHL","trackingId":"t""#);
    let cancel = || order("OrderCancelled", 4, r#""reason":"r""#);
    let tail = "total=(0,EUR)";
    let head = "placedAt=@1000";
    let check = |events: &[(&str, String)], expected: &str| {
        let all = [&[placed(1, "")], events].concat();
        assert_eq!(orders(&all), expected);
    };
    check(
        &[pay(), pay()],
        &format!("status=PAID {head} paidAt=@2000 shippedAt=null trackingId=null cancelReason=null {tail}"),
    );
    check(
        &[pay(), ship(), cancel()],
        &format!("status=SHIPPED {head} paidAt=@2000 shippedAt=@3000 trackingId=t cancelReason=null {tail}"),
    );
    check(
        &[ship(), pay()],
        &format!("status=SHIPPED {head} paidAt=null shippedAt=@3000 trackingId=t cancelReason=null {tail}"),
    );
    check(
        &[pay(), cancel(), ship()],
        &format!("status=CANCELLED {head} paidAt=@2000 shippedAt=null trackingId=null cancelReason=r {tail}"),
    );
    assert_eq!(orders(&[pay(), ship(), cancel()]), "");
}

#[test]
fn an_order_of_version_0_is_brought_to_version_1() {
    let shop = shop();
    let old = r#"{"type":"OrderPlaced","v":0,"at":"1970-01-01T00:00:01Z","orderId":"o1","number":"1","customer":"u9","warehouseId":"w","lines":[]}"#;
    let none = old
        .replace(r#""v":0,"#, "")
        .replace("customer", "customerId")
        .replace("\"lines\"", r#""currency":"USD","lines""#);
    assert_eq!(
        shop.rows("orders").all(&[("o1", old.to_owned())]).show(&["userId", "total"]),
        "userId=u9 total=(0,EUR)"
    );
    assert_eq!(
        shop.rows("orders").all(&[("o1", none)]).show(&["userId", "total"]),
        "userId=u9 total=(0,USD)"
    );
}

#[test]
fn a_product_is_replaced_repriced_and_withdrawn() {
    let shop = shop();
    let product = |kind: &str, fields: &str| ("p1", event(kind, 1, r#""productId":"p1""#, fields));
    let added =
        product("ProductAdded", r#""sku":"s","categoryId":"k","name":"n","price":"1.50","currency":"USD""#);
    let repriced = product("ProductRepriced", r#""price":"2""#);
    let withdrawn = product("ProductWithdrawn", "");
    let show = |records: &[(&str, String)]| shop.rows("products").all(records).show(&["id", "sku", "price"]);
    assert_eq!(show(&[added.clone(), repriced.clone()]), "id=p1 sku=s price=(2,USD)");
    assert_eq!(show(&[added.clone(), withdrawn.clone(), repriced.clone()]), "");
    assert_eq!(show(&[added.clone(), withdrawn, added]), "id=p1 sku=s price=(1.50,USD)");
    assert_eq!(show(&[repriced]), "");
}

#[test]
fn a_customer_is_registered_renamed_and_erased() {
    let shop = shop();
    let customer = |kind: &str, fields: &str| ("u1", event(kind, 1, r#""customerId":"u1""#, fields));
    let registered = customer("CustomerRegistered", r#""name":"a","email":"e""#);
    let renamed = customer("CustomerRenamed", r#""name":"b""#);
    let show =
        |records: &[(&str, String)]| shop.rows("customers").all(records).show(&["id", "name", "email"]);
    assert_eq!(show(&[registered.clone(), renamed.clone()]), "id=u1 name=b email=e");
    assert_eq!(show(&[registered, renamed, customer("CustomerErased", "")]), "");
}

#[test]
fn a_reject_says_which_column_and_why() {
    let shop = shop();
    let reason = |name: &str, before: &[(&str, String)], (key, value): (&str, String)| {
        let mut rows = shop.rows(name).all(before);
        match rows.take(key, &value) {
            Outcome::Rejected(reason) => reason,
            other => panic!("{value}: {other:?}"),
        }
    };
    let whole = add(1, "p1", 1, "2", "EUR");
    let without = |field: &str| {
        let start = whole.1.find(&format!(r#","{field}":"#)).expect("the field is there");
        let end = whole.1[start + 1..].find([',', '}']).expect("something follows") + start + 1;
        ("c1", format!("{}{}", &whole.1[..start], &whole.1[end..]))
    };
    assert_eq!(
        reason("carts", &[], without("quantity")),
        "fold: lines[\"p1\"].quantity: event.quantity is missing"
    );
    assert_eq!(reason("carts", &[], without("productId")), "fold: lines: event.productId is missing");
    assert_eq!(
        reason("carts", &[], without("name")),
        "fold: lines[\"p1\"].name has no value, and cannot be null"
    );
    assert_eq!(reason("carts", &[], without("at")), "fold: updatedAt has no value, and cannot be null");
    let long: String = (0..501).map(|_| LINE).collect::<Vec<_>>().join(",");
    assert_eq!(
        reason("orders", &[], placed(1, &long)),
        "fold: lines would have 501 elements, at most 500 are allowed"
    );
    let wrong = ("o1", placed(1, LINE).1.replace(r#""quantity":2"#, r#""quantity":"two""#));
    let wrong = reason("orders", &[], wrong);
    assert!(wrong.starts_with("fold: lines[0].quantity: "), "{wrong}");
    let bounded: Vec<(&str, String)> = (0..200).map(|n| add(1, &format!("p{n}"), 1, "1", "EUR")).collect();
    assert_eq!(
        reason("carts", &bounded, add(1, "p200", 1, "1", "EUR")),
        "fold: lines would have 201 elements, at most 200 are allowed"
    );
}

const SMALL: &str = r#"
type Query { note(id: ID!): Note @read }
type Note @key(fields: "id") @table(name: "notes", partition: "id") {
  id: ID!
  text: String
  size: Int!
  parts: [Part!]! @column(as: MAP, key: "name", max: 3)
}
type Part @udt { name: String!  count: Int!  remark: String }
"#;

fn small(events: &str, custom: &CustomHandlers) -> Loaded {
    small_of(SMALL, events, custom)
}

fn small_of(schema: &str, events: &str, custom: &CustomHandlers) -> Loaded {
    let head = "projection: notes\ninto: Note\nfrom: { topic: t, format: json, type: event.type, recordKey: event.id }\nkey: { id: event.id }\nunknown: ignore\n";
    let loaded = load_text(schema, &[("projections/notes.yaml", &format!("{head}{events}"))], custom);
    assert_eq!(loaded.findings, "", "{events}");
    loaded
}

fn take(rows: &mut Rows<'_>, event: &str) -> Outcome {
    rows.take("n1", event)
}

#[test]
fn a_missing_path_leaves_a_column_and_null_clears_it() {
    let loaded = small(
        "events:\n  Made: { create: { text: event.text, size: event.size } }\n  Set: { upsert: { text: event.text, size: event.size } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    assert_eq!(
        take(&mut rows, r#"{"type":"Set","id":"n1","text":"a"}"#),
        Outcome::Rejected("fold: size has no value, and cannot be null".to_owned())
    );
    assert_eq!(take(&mut rows, r#"{"type":"Made","id":"n1","text":"a","size":1}"#), Outcome::Written);
    assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","size":2}"#), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=a size=2");
    assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","text":null}"#), Outcome::Written);
    assert_eq!(rows.show(&["text", "size"]), "text=null size=2");
    assert!(matches!(take(&mut rows, r#"{"type":"Set","id":"n1","size":null}"#), Outcome::Rejected(_)));
}

#[test]
fn each_fills_a_map_and_a_key_twice_is_rejected() {
    let loaded = small(
        "events:\n  Made:\n    replace:\n      size: event.parts.size()\n      parts: { each: event.parts, as: p, set: { name: p.n, count: p.c } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    let made = r#"{"type":"Made","id":"n1","parts":[{"n":"b","c":2},{"n":"a","c":1}]}"#;
    assert_eq!(take(&mut rows, made), Outcome::Written);
    assert_eq!(rows.show(&["size", "parts"]), "size=2 parts={a:(a,1,null),b:(b,2,null)}");
    let twice = made.replace("\"a\"", "\"b\"");
    assert_eq!(
        take(&mut rows, &twice),
        Outcome::Rejected("fold: parts: two elements have the key \"b\"".to_owned())
    );
    let four = r#"{"type":"Made","id":"n1","parts":[{"n":"a","c":1},{"n":"b","c":1},{"n":"c","c":1},{"n":"d","c":1}]}"#;
    assert_eq!(
        take(&mut rows, four),
        Outcome::Rejected("fold: parts would have 4 elements, at most 3 are allowed".to_owned())
    );
}

#[test]
fn each_over_null_clears_the_column_and_over_nothing_leaves_it() {
    let schema = SMALL.replace("parts: [Part!]!", "parts: [Part!]");
    let events = "events:\n  Set: { upsert: { size: 1, parts: { each: event.parts, as: p, set: { name: p.n, count: 1 } } } }\n";
    for (schema, of_null) in [
        (schema.as_str(), Outcome::Written),
        (SMALL, Outcome::Rejected("fold: parts has no value, and cannot be null".to_owned())),
    ] {
        let loaded = small_of(schema, events, &CustomHandlers::new());
        let mut rows = loaded.rows("notes");
        take(&mut rows, r#"{"type":"Set","id":"n1","parts":[{"n":"a"}]}"#);
        assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1"}"#), Outcome::Written);
        assert_eq!(rows.show(&["parts"]), "parts={a:(a,1,null)}");
        assert_eq!(take(&mut rows, r#"{"type":"Set","id":"n1","parts":null}"#), of_null);
    }
}

#[test]
fn elements_are_made_touched_and_removed_and_old_is_the_element_before_the_event() {
    let loaded = small(
        r#"
events:
  Add:
    upsert:
      size: row.size.orValue(0) + 1
      parts[event.a]: { count: old.?count.orValue(0) + 1 }
      parts[event.b]: { count: old.?count.orValue(10) + 1 }
  Touch: { update: { "parts[event.a].remark": event.r, "parts[event.a].count": old.count.orValue(0) * 2 } }
  Drop: { remove: ["parts[event.a]", "parts[event.b]"] }
"#,
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Add","id":"n1","a":"x","b":"x"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,11,null)}", "both saw that there was none");
    take(&mut rows, r#"{"type":"Add","id":"n1","a":"x","b":"y"}"#);
    assert_eq!(rows.show(&["size", "parts"]), "size=2 parts={x:(x,12,null),y:(y,11,null)}");
    take(&mut rows, r#"{"type":"Touch","id":"n1","a":"y","r":"hot"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,12,null),y:(y,22,hot)}");
    take(&mut rows, r#"{"type":"Touch","id":"n1","a":"y","r":null}"#);
    assert_eq!(take(&mut rows, r#"{"type":"Touch","id":"n1","a":"z","r":"no"}"#), Outcome::Written);
    assert_eq!(rows.show(&["parts"]), "parts={x:(x,12,null),y:(y,44,null)}", "only what is there is touched");
    take(&mut rows, r#"{"type":"Drop","id":"n1","a":"z","b":"x"}"#);
    assert_eq!(rows.show(&["parts"]), "parts={y:(y,44,null)}");
    assert_eq!(rows.take("n2", r#"{"type":"Drop","id":"n2","a":"z","b":"x"}"#), Outcome::Nothing);
}

#[test]
fn computed_columns_come_after_what_they_read_whatever_their_order() {
    let loaded = small(
        r#"
events:
  Set: { upsert: { "parts[event.a]": { count: event.n } } }
  Note: { update: { "parts[event.a].remark": event.r } }
compute:
  text: string(row.size) + " in all"
  size: row.parts.values().map(p, p.count).sum()
"#,
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Set","id":"n1","a":"x","n":2}"#);
    take(&mut rows, r#"{"type":"Set","id":"n1","a":"y","n":3}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=5 in all size=5");
}

#[test]
fn numbers_dates_and_enums_that_do_not_fit_are_rejected_with_what_was_found() {
    let schema = SMALL
        .replace("text: String", "text: String  at: LocalDate  big: Long  state: State  price: Decimal")
        + "scalar LocalDate\nscalar Long\nscalar Decimal\nenum State { NEW OLD }\n";
    let events = "events:\n  Set: { upsert: { size: event.size, at: event.at, big: event.big, state: event.state, price: event.price } }\n";
    let loaded = small_of(&schema, events, &CustomHandlers::new());
    let mut rows = loaded.rows("notes");
    for (field, reason) in [
        (r#""size":2147483648"#, "size: event.size is 2147483648, expected an integer of 32 bits"),
        (r#""size":1.5"#, "size: event.size is 1.5, expected an integer of 32 bits"),
        (
            r#""size":1,"big":9223372036854775808"#,
            "big: event.big is 9223372036854775808, expected an integer of 64 bits",
        ),
        (
            r#""size":1,"at":"2026-02-30""#,
            "at: event.at is \"2026-02-30\", expected a date such as \"2026-01-31\"",
        ),
        (r#""size":1,"state":"new""#, "state: event.state is \"new\", expected one of State: NEW, OLD"),
        (
            r#""size":1,"price":"1,5""#,
            "price: event.price is \"1,5\", expected a decimal number of at most 38 digits such as \"12.50\"",
        ),
    ] {
        let outcome = take(&mut rows, &format!(r#"{{"type":"Set","id":"n1",{field}}}"#));
        assert_eq!(outcome, Outcome::Rejected(format!("fold: {reason}")));
    }
    let fits = r#"{"type":"Set","id":"n1","size":1.0,"big":7,"price":12.50}"#;
    assert_eq!(take(&mut rows, fits), Outcome::Written);
    assert_eq!(rows.show(&["size", "big", "price"]), "size=1 big=7 price=12.50");
}

#[test]
fn lets_are_made_only_where_they_are_used() {
    let loaded = small(
        "let: { twice: event.size * 2, other: event.nothing + 1 }\nevents:\n  Made:\n    let: { more: twice + 1 }\n    create: { size: more }\n  Bad: { create: { size: other } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    assert_eq!(
        take(&mut rows, r#"{"type":"Bad","id":"n1"}"#),
        Outcome::Rejected("fold: let other: event.nothing is missing".to_owned())
    );
    assert_eq!(take(&mut rows, r#"{"type":"Made","id":"n1","size":3}"#), Outcome::Written);
    assert_eq!(rows.show(&["size"]), "size=7");
}

#[test]
fn replace_clears_what_it_does_not_name_and_upsert_keeps_it() {
    let loaded = small(
        "events:\n  Up: { upsert: { size: 1, text: event.text } }\n  Anew: { replace: { size: 2 } }\n",
        &CustomHandlers::new(),
    );
    let mut rows = loaded.rows("notes");
    take(&mut rows, r#"{"type":"Up","id":"n1","text":"a"}"#);
    take(&mut rows, r#"{"type":"Up","id":"n1"}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=a size=1");
    take(&mut rows, r#"{"type":"Anew","id":"n1"}"#);
    assert_eq!(rows.show(&["text", "size"]), "text=null size=2");
}

/// Counts events; a handler as an embedding program writes it.
struct Counter;

impl Fold for Counter {
    fn fold(&self, row: Option<&[Value]>, event: &Event) -> Result<Change, Reject> {
        match &*event.kind {
            "Gone" => Ok(Change::Delete),
            "Bad" => Ok(Change::Write(Vec::new())),
            "Moved" => {
                Ok(Change::Write(vec![Value::text("n2"), Value::Null, Value::Int(1), Value::Map(Vec::new())]))
            }
            "Wrong" => Ok(Change::Write(vec![
                Value::text("n1"),
                Value::Int(1),
                Value::Int(1),
                Value::Map(Vec::new()),
            ])),
            _ => {
                let seen = match row.map(|cells| &cells[2]) {
                    Some(Value::Int(seen)) => *seen,
                    _ => 0,
                };
                Ok(Change::Write(vec![
                    Value::text("n1"),
                    Value::Null,
                    Value::Int(seen + 1),
                    Value::Map(Vec::new()),
                ]))
            }
        }
    }
}

#[test]
fn a_handler_in_rust_folds_with_the_same_checks() {
    let custom = CustomHandlers::from([("counter".to_owned(), Arc::new(Counter) as Arc<dyn Fold>)]);
    let loaded = small("handler: counter\n", &custom);
    assert_eq!(loaded.projection("notes").kind, UpdateKind::OwnedFold);
    let mut rows = loaded.rows("notes");
    let one = |kind: &str| format!(r#"{{"type":"{kind}","id":"n1"}}"#);
    take(&mut rows, &one("Any"));
    assert_eq!(take(&mut rows, &one("Any")), Outcome::Written);
    assert_eq!(rows.show(&["size"]), "size=2");
    let rejected = |reason: &str| Outcome::Rejected(format!("fold: {reason}"));
    assert_eq!(take(&mut rows, &one("Bad")), rejected("the handler made 0 cells, a row has 4"));
    assert_eq!(take(&mut rows, &one("Moved")), rejected("the handler changed id, which is in the row's key"));
    assert_eq!(take(&mut rows, &one("Wrong")), rejected("the handler put a value of another type into text"));
    assert_eq!(take(&mut rows, &one("Gone")), Outcome::Deleted);
}

#[test]
fn a_blind_set_assigns_only_what_the_event_says() {
    let loaded = small(
        "events:\n  Set: { upsert: { text: event.text, size: 'int(event.?size.orValue(0))' } }\n",
        &CustomHandlers::new(),
    );
    let projection = loaded.projection("notes");
    assert_eq!(projection.kind, UpdateKind::BlindSet, "{}", projection.kind_reason);
    let mut rows = loaded.rows("notes");
    let mut assigned = |event: &str| {
        let crate::route::Routed::Event { key_cells, event, .. } = rows.route(Some("n1"), Some(event)) else {
            panic!("it is routed")
        };
        let cells = assignments(projection, &key_cells, &event).expect("it is applied").expect("it assigns");
        cells.into_iter().map(|(column, _)| column.0).collect::<Vec<_>>()
    };
    assert_eq!(assigned(r#"{"type":"Set","id":"n1"}"#), [0, 2]);
    assert_eq!(assigned(r#"{"type":"Set","id":"n1","text":null,"size":4}"#), [0, 1, 2]);
}
