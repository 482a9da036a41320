//! The shop: products and customers first, then carts that fill, are checked out and become orders that are paid,
//! shipped or cancelled.
//!
//! After the beginning, of a hundred draws 45 add to a cart, 15 remove a line, 10 change a quantity, 12 check out and
//! order, 6 pay, 5 ship, 2 cancel, 3 are of customers and 2 of products. A draw that nothing can follow adds to a cart.

use std::collections::VecDeque;
use std::fmt::Write as _;

use fastrand::Rng;

use super::SampleEvent;

const SPAN_MS: i64 = 60 * 24 * 3_600_000;
/// Carts and orders under way that are remembered; beyond this the oldest are forgotten.
const UNDER_WAY_MAX: usize = 20_000;

const CATEGORIES: [(&str, [&str; 4]); 5] = [
    ("lighting", ["Desk lamp", "Floor lamp", "Lantern", "Light chain"]),
    ("kitchen", ["Kettle", "Bread knife", "Cutting board", "Pepper mill"]),
    ("garden", ["Watering can", "Trowel", "Flower pot", "Bird house"]),
    ("office", ["Notebook", "Fountain pen", "Paper tray", "Desk mat"]),
    ("toys", ["Kite", "Wooden train", "Marble run", "Yo-yo"]),
];
const COLOURS: [&str; 6] = ["white", "black", "red", "green", "blue", "oak"];
const FIRST_NAMES: [&str; 8] = ["Ada", "Ben", "Chiara", "Dilan", "Emre", "Fatou", "Grete", "Hugo"];
const LAST_NAMES: [&str; 8] = ["Alvarez", "Bauer", "Costa", "Dubois", "Eriksen", "Ferri", "Novak", "Okafor"];
const REASONS: [&str; 3] = ["changed my mind", "out of stock", "payment failed"];
const CARRIERS: [&str; 3] = ["DHL", "DPD", "UPS"];

/// Events of the shop, one by one.
#[derive(Debug)]
pub struct Shop {
    random: Rng,
    start_ms: i64,
    count: usize,
    drawn: usize,
    /// How many of each are there before carts begin.
    products_first: usize,
    customers_first: usize,
    products: Vec<Product>,
    customers: usize,
    carts: VecDeque<Cart>,
    carts_made: usize,
    orders: VecDeque<Order>,
    orders_made: usize,
    /// What must follow next: the order of a cart that was checked out.
    next: Option<SampleEvent>,
}

#[derive(Clone, Debug)]
struct Product {
    name: String,
    category: &'static str,
    cents: u64,
    withdrawn: bool,
}

#[derive(Clone, Debug)]
struct Cart {
    id: usize,
    customer: usize,
    /// Product and quantity.
    lines: Vec<(usize, u64)>,
}

#[derive(Clone, Debug)]
struct Order {
    id: usize,
    cents: u64,
    paid: bool,
}

impl Shop {
    pub(super) fn new(seed: u64, count: usize, now_ms: i64) -> Shop {
        Shop {
            random: Rng::with_seed(seed),
            start_ms: now_ms - SPAN_MS,
            count,
            drawn: 0,
            products_first: (count / 50).clamp(5, 20_000),
            customers_first: (count / 25).clamp(5, 200_000),
            products: Vec::new(),
            customers: 0,
            carts: VecDeque::new(),
            carts_made: 0,
            orders: VecDeque::new(),
            orders_made: 0,
            next: None,
        }
    }

    /// Time of the event that is being drawn: events are spread evenly, the last stands at the end.
    fn now_ms(&self) -> i64 {
        let share = (self.drawn + 1) as f64 / self.count as f64;
        self.start_ms + (SPAN_MS as f64 * share) as i64
    }

    fn draw(&mut self) -> SampleEvent {
        if let Some(event) = self.next.take() {
            return event;
        }
        if self.products.len() < self.products_first {
            return self.add_product();
        }
        if self.customers < self.customers_first {
            return self.register();
        }
        let drawn = match self.random.u32(..100) {
            0..45 => None,
            45..60 => self.remove_line(),
            60..70 => self.change_quantity(),
            70..82 => self.check_out(),
            82..88 => self.pay(),
            88..93 => self.ship(),
            93..95 => self.cancel(),
            95..98 => Some(self.of_customer()),
            _ => Some(self.of_product()),
        };
        drawn.unwrap_or_else(|| self.add_to_cart())
    }

    fn add_product(&mut self) -> SampleEvent {
        let at = self.products.len();
        let (category, names) = CATEGORIES[at % CATEGORIES.len()];
        let name = names[at / CATEGORIES.len() % names.len()];
        let colour = COLOURS[self.random.usize(..COLOURS.len())];
        let cents = self.random.u64(199..12_000);
        self.products.push(Product { name: format!("{name}, {colour}"), category, cents, withdrawn: false });
        self.product_added(at)
    }

    fn product_added(&mut self, at: usize) -> SampleEvent {
        let Product { name, category, cents, .. } = self.products[at].clone();
        let id = at + 1;
        let prefix = category[..3].to_uppercase();
        let fields = format!(
            r#""productId":"p{id}","sku":"{prefix}-{id:05}","categoryId":"{category}","name":"{name}","price":"{}","currency":"EUR""#,
            decimal(cents)
        );
        self.event("shop.products", format!("p{id}"), "ProductAdded", &fields)
    }

    fn register(&mut self) -> SampleEvent {
        self.customers += 1;
        let id = self.customers;
        let name = self.person();
        let fields = format!(r#""customerId":"u{id}","name":"{name}","email":"u{id}@example.org""#);
        self.event("shop.customers", format!("u{id}"), "CustomerRegistered", &fields)
    }

    fn person(&mut self) -> String {
        let first = FIRST_NAMES[self.random.usize(..FIRST_NAMES.len())];
        let last = LAST_NAMES[self.random.usize(..LAST_NAMES.len())];
        format!("{first} {last}")
    }

    fn of_customer(&mut self) -> SampleEvent {
        let id = self.random.usize(..self.customers) + 1;
        match self.random.u32(..10) {
            0..7 => self.register(),
            7..9 => {
                let fields = format!(r#""customerId":"u{id}","name":"{}""#, self.person());
                self.event("shop.customers", format!("u{id}"), "CustomerRenamed", &fields)
            }
            _ => {
                let fields = format!(r#""customerId":"u{id}""#);
                self.event("shop.customers", format!("u{id}"), "CustomerErased", &fields)
            }
        }
    }

    fn of_product(&mut self) -> SampleEvent {
        let at = self.random.usize(..self.products.len());
        let key = format!("p{}", at + 1);
        if self.products[at].withdrawn {
            self.products[at].withdrawn = false;
            return self.product_added(at);
        }
        // The first products stay: the ready-made query shows them.
        if at >= 20 && self.random.u32(..10) == 0 {
            self.products[at].withdrawn = true;
            return self.event(
                "shop.products",
                key.clone(),
                "ProductWithdrawn",
                &format!(r#""productId":"{key}""#),
            );
        }
        let cents = self.products[at].cents * self.random.u64(85..120) / 100;
        self.products[at].cents = cents;
        let fields = format!(r#""productId":"{key}","price":"{}""#, decimal(cents));
        self.event("shop.products", key, "ProductRepriced", &fields)
    }

    fn add_to_cart(&mut self) -> SampleEvent {
        let at = self.cart_for_adding();
        let product = self.popular_product();
        let quantity = self.random.u64(1..4);
        let cart = &mut self.carts[at];
        match cart.lines.iter_mut().find(|(one, _)| *one == product) {
            Some((_, there)) => *there += quantity,
            None => cart.lines.push((product, quantity)),
        }
        let (id, customer) = (cart.id, cart.customer);
        let Product { name, cents, .. } = &self.products[product];
        let fields = format!(
            r#""cartId":"c{id}","customerId":"u{customer}","productId":"p{}","name":"{name}","quantity":{quantity},"unitPrice":"{}","currency":"{}""#,
            product + 1,
            decimal(*cents),
            currency(customer)
        );
        self.event("shop.carts", format!("c{id}"), "ItemAddedToCart", &fields)
    }

    /// A new cart for every third item, else one that is open.
    fn cart_for_adding(&mut self) -> usize {
        if !self.carts.is_empty() && self.random.u32(..3) > 0 {
            return self.random.usize(..self.carts.len());
        }
        if self.carts.len() == UNDER_WAY_MAX {
            self.carts.pop_front();
        }
        self.carts_made += 1;
        let customer = self.random.usize(..self.customers) + 1;
        self.carts.push_back(Cart { id: self.carts_made, customer, lines: Vec::new() });
        self.carts.len() - 1
    }

    /// A few products are bought most of the time.
    fn popular_product(&mut self) -> usize {
        let share = self.random.f64();
        ((share * share * share * self.products.len() as f64) as usize).min(self.products.len() - 1)
    }

    /// An open cart with lines, and one of its lines.
    fn filled_cart(&mut self) -> Option<(usize, usize)> {
        let at = (!self.carts.is_empty()).then(|| self.random.usize(..self.carts.len()))?;
        let lines = self.carts[at].lines.len();
        (lines > 0).then(|| (at, self.random.usize(..lines)))
    }

    fn remove_line(&mut self) -> Option<SampleEvent> {
        let (at, line) = self.filled_cart()?;
        let cart = &mut self.carts[at];
        let (product, _) = cart.lines.swap_remove(line);
        let id = cart.id;
        let fields = format!(r#""cartId":"c{id}","productId":"p{}""#, product + 1);
        Some(self.event("shop.carts", format!("c{id}"), "ItemRemovedFromCart", &fields))
    }

    fn change_quantity(&mut self) -> Option<SampleEvent> {
        let (at, line) = self.filled_cart()?;
        let quantity = self.random.u64(..6);
        let cart = &mut self.carts[at];
        let (product, id) = (cart.lines[line].0, cart.id);
        match quantity {
            0 => drop(cart.lines.swap_remove(line)),
            _ => cart.lines[line].1 = quantity,
        }
        let fields = format!(r#""cartId":"c{id}","productId":"p{}","quantity":{quantity}"#, product + 1);
        Some(self.event("shop.carts", format!("c{id}"), "QuantityChanged", &fields))
    }

    /// Closes a cart; its order is the event after.
    fn check_out(&mut self) -> Option<SampleEvent> {
        let (at, _) = self.filled_cart()?;
        let cart = self.carts.swap_remove_back(at)?;
        self.orders_made += 1;
        let order = self.orders_made;
        let fields = format!(r#""cartId":"c{}","orderId":"o{order}""#, cart.id);
        let checked_out = self.event("shop.carts", format!("c{}", cart.id), "CartCheckedOut", &fields);
        self.next = Some(self.place(order, &cart));
        Some(checked_out)
    }

    fn place(&mut self, id: usize, cart: &Cart) -> SampleEvent {
        let mut lines = String::new();
        let mut total = 0;
        for (product, quantity) in &cart.lines {
            let Product { name, category, cents, .. } = &self.products[*product];
            total += cents * quantity;
            let comma = if lines.is_empty() { "" } else { "," };
            let _ = write!(
                lines,
                r#"{comma}{{"productId":"p{}","categoryId":"{category}","name":"{name}","quantity":{quantity},"unitPrice":"{}"}}"#,
                product + 1,
                decimal(*cents)
            );
        }
        if self.orders.len() == UNDER_WAY_MAX {
            self.orders.pop_front();
        }
        self.orders.push_back(Order { id, cents: total, paid: false });
        let warehouse = self.random.u32(1..4);
        let customer = cart.customer;
        let head = format!(r#""orderId":"o{id}","number":"{:08}""#, 10_000_000 + id);
        let tail = format!(r#""warehouseId":"w{warehouse}","lines":[{lines}]"#);
        // Some producers still write the first version.
        let old = currency(customer) == "EUR" && self.random.u32(..30) == 0;
        match old {
            true => {
                let fields = format!(r#"{head},"customer":"u{customer}",{tail}"#);
                self.versioned("shop.orders", format!("o{id}"), "OrderPlaced", 0, &fields)
            }
            false => {
                let currency = currency(customer);
                let fields = format!(r#"{head},"customerId":"u{customer}","currency":"{currency}",{tail}"#);
                self.event("shop.orders", format!("o{id}"), "OrderPlaced", &fields)
            }
        }
    }

    fn pay(&mut self) -> Option<SampleEvent> {
        let at = self.order_that(|order| !order.paid)?;
        let order = &mut self.orders[at];
        order.paid = true;
        let (id, cents) = (order.id, order.cents);
        let fields = format!(r#""orderId":"o{id}","paymentId":"pay{id}","amount":"{}""#, decimal(cents));
        Some(self.event("shop.orders", format!("o{id}"), "PaymentTaken", &fields))
    }

    fn ship(&mut self) -> Option<SampleEvent> {
        let at = self.order_that(|order| order.paid)?;
        let id = self.orders.remove(at)?.id;
        let carrier = CARRIERS[self.random.usize(..CARRIERS.len())];
        let fields =
            format!(r#""orderId":"o{id}","carrier":"{carrier}","trackingId":"{carrier}{:010}""#, id * 7_919);
        Some(self.event("shop.orders", format!("o{id}"), "OrderShipped", &fields))
    }

    fn cancel(&mut self) -> Option<SampleEvent> {
        let at = self.order_that(|_| true)?;
        let id = self.orders.remove(at)?.id;
        let reason = REASONS[self.random.usize(..REASONS.len())];
        let fields = format!(r#""orderId":"o{id}","reason":"{reason}""#);
        Some(self.event("shop.orders", format!("o{id}"), "OrderCancelled", &fields))
    }

    /// One of the oldest orders under way that fits.
    fn order_that(&mut self, fits: impl Fn(&Order) -> bool) -> Option<usize> {
        let from = self.random.usize(..self.orders.len().clamp(1, 8));
        self.orders.iter().enumerate().skip(from).take(64).find(|(_, order)| fits(order)).map(|(at, _)| at)
    }

    fn event(&mut self, topic: &'static str, key: String, kind: &str, fields: &str) -> SampleEvent {
        self.versioned(topic, key, kind, 1, fields)
    }

    fn versioned(
        &mut self,
        topic: &'static str,
        key: String,
        kind: &str,
        version: u8,
        fields: &str,
    ) -> SampleEvent {
        let timestamp_ms = self.now_ms();
        let at = jiff::Timestamp::from_millisecond(timestamp_ms)
            .map_or_else(|_| "1970-01-01T00:00:00.000Z".to_owned(), |at| format!("{at:.3}"));
        let id = uuid::Uuid::from_u128(
            self.random.u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62),
        );
        let value = format!(r#"{{"type":"{kind}","v":{version},"id":"{id}","at":"{at}",{fields}}}"#);
        SampleEvent { topic, key, value, timestamp_ms }
    }
}

impl Iterator for Shop {
    type Item = SampleEvent;

    fn next(&mut self) -> Option<SampleEvent> {
        if self.drawn == self.count {
            return None;
        }
        let event = self.draw();
        self.drawn += 1;
        Some(event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.drawn, Some(self.count - self.drawn))
    }
}

/// Cents as a decimal string.
fn decimal(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Every tenth customer pays in dollars.
fn currency(customer: usize) -> &'static str {
    if customer.is_multiple_of(10) { "USD" } else { "EUR" }
}
