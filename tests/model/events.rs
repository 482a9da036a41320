//! Draws event logs of the shop from a seed: few keys, so that events meet, and among the good ones those that must
//! change nothing and those that must be parked.

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};

use crate::oracle::Sent;

/// How many events in a hundred are made bad.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub bad_percent: u32,
    /// Keys of each kind: few make events meet.
    pub keys: u32,
}

/// An instant of the small set that events are drawn from: around the ends of months and years, many the same.
const TIMES: [&str; 8] = [
    "2025-11-30T23:59:59.999Z",
    "2025-12-01T00:00:00.000Z",
    "2025-12-31T23:59:59.999Z",
    "2026-01-01T00:00:00.000Z",
    "2026-01-15T12:30:00.250Z",
    "2026-01-31T23:59:59.999Z",
    "2026-02-01T00:00:00Z",
    "2024-02-29T08:00:00.001Z",
];

const NAMES: [&str; 7] = ["Lamp", "lamp", "Chair", "Ärmel", "zebra", "", "椅子\u{1F6CB} \"x\"\\"];
const CURRENCIES: [&str; 3] = ["EUR", "USD", "CHF"];
const PRICES: [&str; 9] = ["12.50", "0.1", "3", "0.00", "99999999.99", "-1.05", "1.005", "7.5000", "0"];

/// One event. Good ones only where `mix.bad_percent` is 0.
pub fn draw(rng: &mut Rng, mix: Mix) -> Sent {
    let (topic, id_field, mut event) = match rng.u32(0..100) {
        0..35 => ("shop.carts", "cartId", cart_event(rng, mix)),
        35..75 => ("shop.orders", "orderId", order_event(rng, mix)),
        75..90 => ("shop.products", "productId", product_event(rng, mix)),
        _ => ("shop.customers", "customerId", customer_event(rng, mix)),
    };
    let fields = event.as_object_mut().expect("events are objects");
    fields.insert("id".into(), json!(format!("00000000-0000-4000-8000-{:012x}", rng.u64(0..1 << 48))));
    fields.insert("at".into(), json!(pick(rng, &TIMES)));
    if !fields.contains_key("v") && rng.u32(0..10) > 0 {
        fields.insert("v".into(), json!(1));
    }
    let key = fields[id_field].as_str().expect("ids are text").to_owned();
    let mut sent =
        Sent { topic: topic.to_owned(), key: Some(key), value: Some(event.to_string().into_bytes()) };
    if rng.u32(0..100) < mix.bad_percent {
        spoil(rng, mix, id_field, event, &mut sent);
    }
    sent
}

fn cart_event(rng: &mut Rng, mix: Mix) -> Json {
    let cart = id(rng, "c", mix);
    let product = id(rng, "p", mix);
    match rng.u32(0..20) {
        0..10 => {
            json!({ "type": "ItemAddedToCart", "cartId": cart, "customerId": id(rng, "u", mix), "productId": product,
            "name": pick(rng, &NAMES), "quantity": quantity(rng), "unitPrice": pick(rng, &PRICES),
            "currency": pick(rng, &CURRENCIES) })
        }
        10..14 => json!({ "type": "ItemRemovedFromCart", "cartId": cart, "productId": product }),
        14..18 => {
            json!({ "type": "QuantityChanged", "cartId": cart, "productId": product, "quantity": quantity(rng) })
        }
        _ => json!({ "type": "CartCheckedOut", "cartId": cart, "orderId": id(rng, "o", mix) }),
    }
}

fn order_event(rng: &mut Rng, mix: Mix) -> Json {
    let order = id(rng, "o", mix);
    match rng.u32(0..20) {
        0..10 => {
            let lines: Vec<Json> = (0..rng.u32(0..4))
                .map(|_| {
                    json!({ "productId": id(rng, "p", mix), "categoryId": id(rng, "k", mix),
                    "name": pick(rng, &NAMES), "quantity": quantity(rng), "unitPrice": pick(rng, &PRICES) })
                })
                .collect();
            let mut event = json!({ "type": "OrderPlaced", "orderId": order, "number": id(rng, "n", mix),
                "warehouseId": id(rng, "w", Mix { keys: 2, ..mix }), "lines": lines });
            let fields = event.as_object_mut().expect("made as an object");
            if rng.u32(0..5) == 0 {
                fields.insert("v".into(), json!(0));
                fields.insert("customer".into(), json!(id(rng, "u", mix)));
            } else {
                fields.insert("customerId".into(), json!(id(rng, "u", mix)));
                fields.insert("currency".into(), json!(pick(rng, &CURRENCIES)));
            }
            event
        }
        10..14 => {
            json!({ "type": "PaymentTaken", "orderId": order, "paymentId": "pay", "amount": pick(rng, &PRICES) })
        }
        14..17 => {
            json!({ "type": "OrderShipped", "orderId": order, "carrier": "post", "trackingId": id(rng, "t", mix) })
        }
        _ => json!({ "type": "OrderCancelled", "orderId": order, "reason": pick(rng, &NAMES) }),
    }
}

fn product_event(rng: &mut Rng, mix: Mix) -> Json {
    let product = id(rng, "p", mix);
    match rng.u32(0..10) {
        0..6 => json!({ "type": "ProductAdded", "productId": product, "sku": id(rng, "s", mix),
            "categoryId": id(rng, "k", Mix { keys: 2, ..mix }), "name": pick(rng, &NAMES), "price": pick(rng, &PRICES),
            "currency": pick(rng, &CURRENCIES) }),
        6..8 => json!({ "type": "ProductRepriced", "productId": product, "price": pick(rng, &PRICES) }),
        _ => json!({ "type": "ProductWithdrawn", "productId": product }),
    }
}

fn customer_event(rng: &mut Rng, mix: Mix) -> Json {
    let customer = id(rng, "u", mix);
    match rng.u32(0..10) {
        0..5 => json!({ "type": "CustomerRegistered", "customerId": customer, "name": pick(rng, &NAMES),
            "email": "a@example.org" }),
        5..8 => json!({ "type": "CustomerRenamed", "customerId": customer, "name": pick(rng, &NAMES) }),
        _ => json!({ "type": "CustomerErased", "customerId": customer }),
    }
}

/// Makes an event bad in one way: whether it is parked is for the fold to say, since an event that would change
/// nothing is not looked at closely.
fn spoil(rng: &mut Rng, mix: Mix, id_field: &str, mut event: Json, sent: &mut Sent) {
    let not_events: [&[u8]; 8] =
        [b"not json", b"{\"type\":", b"[]", b"7", b"\"text\"", b"", b"\xff\xfe{}", b"{} {}"];
    let fields = event.as_object_mut().expect("events are objects");
    match rng.u32(0..18) {
        0 | 1 => return sent.value = Some(not_events[rng.usize(0..not_events.len())].to_vec()),
        2 => return sent.value = None,
        3 => return sent.key = Some(format!("other-{}", id(rng, "x", mix))),
        4 => return sent.key = None,
        5 => {
            drop(fields.insert("type".into(), pick_json(rng, &[json!("ItemStolen"), json!([]), Json::Null])))
        }
        6 => drop(fields.insert("v".into(), pick_json(rng, &[json!(2), json!(99), json!("x"), json!(-1)]))),
        7 => drop(fields.remove(id_field)),
        8 => drop(fields.insert(id_field.into(), pick_json(rng, &[Json::Null, json!([]), json!({})]))),
        9 => drop(
            fields.insert("at".into(), pick_json(rng, &[json!("yesterday"), json!("2026-02-30T00:00:00Z")])),
        ),
        10..13 => remove_one(rng, fields, id_field),
        _ => wrong_one(rng, fields, id_field),
    }
    sent.value = Some(event.to_string().into_bytes());
}

fn remove_one(rng: &mut Rng, fields: &mut Map<String, Json>, id_field: &str) {
    let names: Vec<String> = changeable(fields, id_field);
    if !names.is_empty() {
        fields.remove(&names[rng.usize(0..names.len())]);
    }
}

fn wrong_one(rng: &mut Rng, fields: &mut Map<String, Json>, id_field: &str) {
    let mut names: Vec<String> = changeable(fields, id_field);
    if fields.get("type") != Some(&json!("ItemAddedToCart")) {
        names.retain(|name| name != "productId");
    }
    if names.is_empty() {
        return;
    }
    let name = &names[rng.usize(0..names.len())];
    let wrong = match name.as_str() {
        "quantity" => {
            pick_json(rng, &[json!("2"), json!(1.5), json!(3_000_000_000_i64), Json::Null, json!([])])
        }
        "unitPrice" | "price" => pick_json(
            rng,
            &[
                json!("dear"),
                json!(""),
                json!("1e3"),
                json!("1234567890123456789012345678901234567890"),
                Json::Null,
                json!({}),
            ],
        ),
        "lines" => {
            pick_json(rng, &[json!({}), Json::Null, json!("none"), json!([7]), json!([null]), json!([{}])])
        }
        "productId" => Json::Null,
        "at" => json!("soon"),
        _ => pick_json(rng, &[Json::Null, json!(true), json!([]), json!({})]),
    };
    fields.insert(name.clone(), wrong);
}

/// The fields that may be spoilt: not those that were spoilt apart, nor what an upcast reads.
fn changeable(fields: &Map<String, Json>, id_field: &str) -> Vec<String> {
    let apart = ["type", "v", "id", "customer", id_field];
    fields.keys().filter(|name| !apart.contains(&name.as_str())).cloned().collect()
}

fn id(rng: &mut Rng, letter: &str, mix: Mix) -> String {
    format!("{letter}{}", rng.u32(0..mix.keys))
}

fn quantity(rng: &mut Rng) -> i64 {
    match rng.u32(0..20) {
        0..4 => 0,
        4 => i64::from(i32::MAX),
        5 => -2,
        _ => rng.i64(1..6),
    }
}

fn pick<'p>(rng: &mut Rng, from: &[&'p str]) -> &'p str {
    from[rng.usize(0..from.len())]
}

fn pick_json(rng: &mut Rng, from: &[Json]) -> Json {
    from[rng.usize(0..from.len())].clone()
}
