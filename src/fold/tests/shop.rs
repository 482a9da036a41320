//! The shop's rules, one by one, and what each Reject says.

use crate::handler::testing::{Loaded, Outcome, shop};

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
        "fold: ItemAddedToCart.lines[\"p1\"].quantity: event.quantity is missing, in `old.?quantity.orValue(0) + event.quantity`"
    );
    assert_eq!(
        reason("carts", &[], without("productId")),
        "fold: ItemAddedToCart.lines: event.productId is missing"
    );
    assert_eq!(
        reason("carts", &[], without("name")),
        "fold: ItemAddedToCart.lines[\"p1\"].name has no value, and cannot be null"
    );
    assert_eq!(
        reason("carts", &[], without("at")),
        "fold: ItemAddedToCart.updatedAt has no value, and cannot be null"
    );
    let long: String = (0..501).map(|_| LINE).collect::<Vec<_>>().join(",");
    assert_eq!(
        reason("orders", &[], placed(1, &long)),
        "fold: OrderPlaced.lines would have 501 elements, at most 500 are allowed"
    );
    let wrong = ("o1", placed(1, LINE).1.replace(r#""quantity":2"#, r#""quantity":"two""#));
    let wrong = reason("orders", &[], wrong);
    assert!(wrong.starts_with("fold: OrderPlaced.lines[0].quantity: "), "{wrong}");
    let bounded: Vec<(&str, String)> = (0..200).map(|n| add(1, &format!("p{n}"), 1, "1", "EUR")).collect();
    assert_eq!(
        reason("carts", &bounded, add(1, "p200", 1, "1", "EUR")),
        "fold: ItemAddedToCart.lines would have 201 elements, at most 200 are allowed"
    );
}
