//! The shop's orders as one would write them by hand: `serde_json` into a struct that borrows from the record, and a
//! match over the event's type. The same rules as `projections/orders.yaml`, its upcast, and its faults as panics.

use jiff::Timestamp;
use kinora::event::Record;
use kinora::value::Decimal;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// Any event of the topic: what its type does not have is not there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    v: i64,
    at: &'a str,
    order_id: &'a str,
    number: Option<&'a str>,
    customer: Option<&'a str>,
    customer_id: Option<&'a str>,
    warehouse_id: Option<&'a str>,
    currency: Option<&'a str>,
    #[serde(borrow, default)]
    lines: Vec<EventLine<'a>>,
    tracking_id: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventLine<'a> {
    product_id: &'a str,
    name: &'a str,
    quantity: i64,
    unit_price: &'a str,
}

/// A row.
pub struct Order {
    number: String,
    user_id: String,
    warehouse_id: String,
    status: Status,
    placed_at_ms: i64,
    paid_at_ms: Option<i64>,
    shipped_at_ms: Option<i64>,
    tracking_id: Option<String>,
    cancel_reason: Option<String>,
    total: Money,
    lines: Vec<Line>,
}

struct Line {
    product_id: String,
    name: String,
    quantity: i64,
    unit_price: Money,
}

struct Money {
    amount: Decimal,
    currency: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Placed,
    Paid,
    Shipped,
    Cancelled,
}

/// Rows by id.
#[derive(Default)]
pub struct ByHand {
    pub orders: FxHashMap<String, Order>,
}

/// Decodes records into their structs, and no more.
pub fn decoded(records: &[Record]) {
    for record in records {
        drop(std::hint::black_box(event(record)));
    }
}

fn event(record: &Record) -> Event<'_> {
    serde_json::from_slice(record.value.as_deref().unwrap_or_default()).expect("an event is JSON")
}

impl ByHand {
    /// The rows that records make.
    pub fn folded(records: &[Record]) -> ByHand {
        let mut rows = ByHand::default();
        for record in records {
            rows.apply(&event(record));
        }
        rows
    }

    fn apply(&mut self, event: &Event<'_>) {
        if event.kind == "OrderPlaced" {
            if !self.orders.contains_key(event.order_id) {
                self.orders.insert(event.order_id.to_owned(), Order::placed(event));
            }
            return;
        }
        let Some(order) = self.orders.get_mut(event.order_id) else { return };
        let open = matches!(order.status, Status::Placed | Status::Paid);
        match event.kind {
            "PaymentTaken" if order.status == Status::Placed => {
                (order.status, order.paid_at_ms) = (Status::Paid, Some(ms(event.at)));
            }
            "OrderShipped" if open => {
                (order.status, order.shipped_at_ms) = (Status::Shipped, Some(ms(event.at)));
                order.tracking_id = event.tracking_id.map(str::to_owned);
            }
            "OrderCancelled" if open => {
                order.status = Status::Cancelled;
                order.cancel_reason = event.reason.map(str::to_owned);
            }
            "PaymentTaken" | "OrderShipped" | "OrderCancelled" => {}
            other => panic!("{other} is not known"),
        }
    }
}

impl Order {
    fn placed(event: &Event<'_>) -> Order {
        let (customer, currency) = match event.v {
            0 => (event.customer, Some("EUR")),
            _ => (event.customer_id, event.currency),
        };
        let currency = currency.expect("it has a currency");
        let mut total = Decimal::from(0);
        let mut lines = Vec::with_capacity(event.lines.len());
        for line in &event.lines {
            let price: Decimal = line.unit_price.parse().expect("a decimal");
            let of_line = price.checked_mul(Decimal::from(line.quantity)).expect("it fits");
            total = total.checked_add(of_line).expect("it fits");
            lines.push(Line {
                product_id: line.product_id.to_owned(),
                name: line.name.to_owned(),
                quantity: i64::from(i32::try_from(line.quantity).expect("it fits")),
                unit_price: Money { amount: price, currency: currency.to_owned() },
            });
        }
        Order {
            number: event.number.expect("it has a number").to_owned(),
            user_id: customer.expect("it has a customer").to_owned(),
            warehouse_id: event.warehouse_id.expect("it has a warehouse").to_owned(),
            status: Status::Placed,
            placed_at_ms: ms(event.at),
            paid_at_ms: None,
            shipped_at_ms: None,
            tracking_id: None,
            cancel_reason: None,
            total: Money { amount: total, currency: currency.to_owned() },
            lines,
        }
    }

    /// The row in the form in which ours is compared.
    pub fn json(&self, id: &str) -> Json {
        let line = |line: &Line| {
            json!({
                "productId": line.product_id,
                "name": line.name,
                "quantity": line.quantity,
                "unitPrice": line.unit_price.json(),
            })
        };
        json!({
            "id": id,
            "number": self.number,
            "userId": self.user_id,
            "warehouseId": self.warehouse_id,
            "status": format!("{:?}", self.status).to_uppercase(),
            "placedAt": shown(Some(self.placed_at_ms)),
            "paidAt": shown(self.paid_at_ms),
            "shippedAt": shown(self.shipped_at_ms),
            "trackingId": self.tracking_id,
            "cancelReason": self.cancel_reason,
            "total": self.total.json(),
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

impl Money {
    fn json(&self) -> Json {
        json!({ "amount": self.amount.to_string(), "currency": self.currency })
    }
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a time").as_millisecond()
}

fn shown(ms: Option<i64>) -> Option<String> {
    ms.map(|ms| {
        Timestamp::from_millisecond(ms).expect("a time").strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    })
}
