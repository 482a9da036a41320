//! The shop's rules written out by hand, rule by rule as the documentation says them in words. It reads no definition:
//! that the oracle agrees with it shows that the projections mean what the words say. Takes good events only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::oracle::Sent;
use crate::value::{Dec, parse_time, time_text};

/// Carts, orders, products and customers, by id.
#[derive(Debug, Default)]
pub struct Shop {
    carts: BTreeMap<String, Cart>,
    orders: BTreeMap<String, Order>,
    products: BTreeMap<String, Product>,
    customers: BTreeMap<String, (String, String)>,
    /// Carts whose numbers no longer fit: their events wait from there on.
    waiting: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Cart {
    user: String,
    checked_out: bool,
    currency: String,
    order: Option<String>,
    updated_at: String,
    lines: BTreeMap<String, Line>,
}

#[derive(Clone, Debug)]
struct Line {
    product: String,
    name: String,
    quantity: i64,
    price: Dec,
    currency: String,
}

#[derive(Clone, Debug)]
struct Order {
    number: String,
    user: String,
    warehouse: String,
    currency: String,
    status: &'static str,
    placed_at: String,
    paid_at: Option<String>,
    shipped_at: Option<String>,
    tracking: Option<String>,
    reason: Option<String>,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Product {
    sku: String,
    category: String,
    name: String,
    price: Dec,
    currency: String,
}

impl Shop {
    /// Applies one event.
    pub fn apply(&mut self, sent: &Sent) {
        let event: Json = serde_json::from_slice(sent.value.as_deref().expect("good events have a value"))
            .expect("good events are JSON");
        let text =
            |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name} in {event}")).to_owned();
        let at = || time_text(parse_time(&text("at")).expect("good events have a time"));
        match text("type").as_str() {
            "OrderPlaced" => {
                let old = event["v"] == json!(0);
                let placed = Order {
                    number: text("number"),
                    user: text(if old { "customer" } else { "customerId" }),
                    warehouse: text("warehouseId"),
                    currency: if old { "EUR".to_owned() } else { text("currency") },
                    status: "PLACED",
                    placed_at: at(),
                    paid_at: None,
                    shipped_at: None,
                    tracking: None,
                    reason: None,
                    lines: Vec::new(),
                };
                let lines = event["lines"].as_array().expect("an order has lines");
                let lines = lines.iter().map(|line| Line::read(line, &placed.currency)).collect();
                self.orders.entry(text("orderId")).or_insert(Order { lines, ..placed });
            }
            "PaymentTaken" => self.order(&text("orderId"), &["PLACED"], |order| {
                (order.status, order.paid_at) = ("PAID", Some(at()));
            }),
            "OrderShipped" => self.order(&text("orderId"), &["PLACED", "PAID"], |order| {
                (order.status, order.shipped_at) = ("SHIPPED", Some(at()));
                order.tracking = Some(text("trackingId"));
            }),
            "OrderCancelled" => self.order(&text("orderId"), &["PLACED", "PAID"], |order| {
                (order.status, order.reason) = ("CANCELLED", Some(text("reason")));
            }),
            "ProductAdded" => {
                let product = Product {
                    sku: text("sku"),
                    category: text("categoryId"),
                    name: text("name"),
                    price: Dec::parse(&text("price")).expect("good prices are decimals"),
                    currency: text("currency"),
                };
                self.products.insert(text("productId"), product);
            }
            "ProductRepriced" => {
                if let Some(product) = self.products.get_mut(&text("productId")) {
                    product.price = Dec::parse(&text("price")).expect("good prices are decimals");
                }
            }
            "ProductWithdrawn" => drop(self.products.remove(&text("productId"))),
            "CustomerRegistered" => {
                drop(self.customers.insert(text("customerId"), (text("name"), text("email"))))
            }
            "CustomerRenamed" => {
                if let Some(customer) = self.customers.get_mut(&text("customerId")) {
                    customer.0 = text("name");
                }
            }
            "CustomerErased" => drop(self.customers.remove(&text("customerId"))),
            _ => self.cart(&event, &text("cartId"), at()),
        }
    }

    fn order(&mut self, id: &str, while_in: &[&str], change: impl FnOnce(&mut Order)) {
        if let Some(order) = self.orders.get_mut(id)
            && while_in.contains(&order.status)
        {
            change(order);
        }
    }

    fn cart(&mut self, event: &Json, id: &str, at: String) {
        let text =
            |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name} in {event}")).to_owned();
        let there = self.carts.get(id);
        if self.waiting.contains(id) || there.is_some_and(|cart| cart.checked_out) {
            return;
        }
        let mut cart = match (there, event["type"].as_str()) {
            (Some(cart), _) => cart.clone(),
            (None, Some("ItemAddedToCart")) => Cart {
                user: String::new(),
                checked_out: false,
                currency: String::new(),
                order: None,
                updated_at: String::new(),
                lines: BTreeMap::new(),
            },
            (None, _) => return,
        };
        match text("type").as_str() {
            "ItemAddedToCart" => {
                (cart.user, cart.currency) = (text("customerId"), text("currency"));
                let mut line = Line::read(event, &cart.currency);
                line.quantity += cart.lines.get(&line.product).map_or(0, |old| old.quantity);
                cart.lines.insert(line.product.clone(), line);
            }
            "CartCheckedOut" => (cart.checked_out, cart.order) = (true, Some(text("orderId"))),
            kind => {
                let quantity =
                    if kind == "QuantityChanged" { event["quantity"].as_i64().expect("a number") } else { 0 };
                match cart.lines.get_mut(&text("productId")) {
                    None => return,
                    Some(line) if quantity > 0 => line.quantity = quantity,
                    Some(_) => drop(cart.lines.remove(&text("productId"))),
                }
            }
        }
        cart.updated_at = at;
        let fits = |number: i64| i32::try_from(number).is_ok();
        if fits(cart.item_count()) && cart.lines.values().all(|line| fits(line.quantity)) {
            self.carts.insert(id.to_owned(), cart);
        } else {
            self.waiting.insert(id.to_owned());
        }
    }

    /// All rows of a type as the base table holds them, sorted by their text.
    pub fn rows(&self, entity: &str) -> Vec<Json> {
        let mut rows: Vec<Json> = match entity {
            "Cart" => self.carts.iter().map(|(id, cart)| cart.row(id)).collect(),
            "Order" => self.orders.iter().map(|(id, order)| order.row(id)).collect(),
            "Product" => self.products.iter().map(|(id, product)| product.row(id)).collect(),
            "Customer" => {
                self.customers.iter().map(|(id, (n, e))| json!({ "id": id, "name": n, "email": e })).collect()
            }
            other => panic!("the shop has no {other}"),
        };
        rows.sort_by_key(Json::to_string);
        rows
    }
}

fn money(amount: &Dec, currency: &str) -> Json {
    json!({ "amount": amount.to_string(), "currency": currency })
}

fn total<'l>(lines: impl Iterator<Item = &'l Line>) -> Dec {
    lines.fold(Dec::zero(), |sum, line| {
        let price =
            line.price.times(&Dec::from_int(i128::from(line.quantity))).expect("good prices are small");
        sum.plus(&price).expect("good prices are small")
    })
}

impl Line {
    fn read(line: &Json, currency: &str) -> Line {
        Line {
            product: line["productId"].as_str().expect("a line has a product").to_owned(),
            name: line["name"].as_str().expect("a line has a name").to_owned(),
            quantity: line["quantity"].as_i64().expect("a line has a quantity"),
            price: Dec::parse(line["unitPrice"].as_str().expect("prices are text"))
                .expect("prices are decimals"),
            currency: currency.to_owned(),
        }
    }

    fn row(&self) -> Json {
        json!({ "productId": self.product, "name": self.name, "quantity": self.quantity,
            "unitPrice": money(&self.price, &self.currency) })
    }
}

impl Cart {
    fn item_count(&self) -> i64 {
        self.lines.values().map(|line| line.quantity).sum()
    }

    fn row(&self, id: &str) -> Json {
        json!({
            "id": id, "userId": self.user, "status": if self.checked_out { "CHECKED_OUT" } else { "OPEN" },
            "itemCount": self.item_count(), "total": money(&total(self.lines.values()), &self.currency),
            "lines": self.lines.values().map(Line::row).collect::<Vec<_>>(), "orderId": self.order,
            "updatedAt": self.updated_at, "currency": self.currency,
        })
    }
}

impl Order {
    fn row(&self, id: &str) -> Json {
        json!({
            "id": id, "number": self.number, "userId": self.user, "warehouseId": self.warehouse, "status": self.status,
            "placedAt": self.placed_at, "paidAt": self.paid_at, "shippedAt": self.shipped_at,
            "trackingId": self.tracking, "cancelReason": self.reason,
            "total": money(&total(self.lines.iter()), &self.currency),
            "lines": self.lines.iter().map(Line::row).collect::<Vec<_>>(),
        })
    }
}

impl Product {
    fn row(&self, id: &str) -> Json {
        json!({ "id": id, "sku": self.sku, "categoryId": self.category, "name": self.name,
            "price": money(&self.price, &self.currency) })
    }
}
