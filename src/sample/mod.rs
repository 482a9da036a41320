//! Sample events: a shop's life, drawn from a seed.
//!
//! Comes in: a seed, how many events, and the time at which they end. Goes out: the events, one by one, in order of
//! time; the same seed gives the same events. `dev` fills an empty log with a few thousand, benchmarks draw a million.
//! Nothing here writes to a log.

mod shop;
#[cfg(test)]
mod tests;

pub use shop::Shop;

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    pub topic: &'static str,
    /// The record's key.
    pub key: String,
    /// The event's body as JSON text.
    pub value: String,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Topics of the shop.
pub const SHOP_TOPICS: [&str; 4] = ["shop.carts", "shop.orders", "shop.products", "shop.customers"];

/// An operation that shows the shop's read models; answers on every sample.
pub const SHOP_QUERY: &str = r#"{
  productsInCategory(categoryId: "lighting", first: 3) {
    nodes { id sku name price { amount currency } }
  }
  ordersToPick(warehouseId: "w1", first: 3) {
    nodes { number placedAt total { amount currency } lines { name quantity } }
  }
  cart(id: "demo") {
    status itemCount total { amount currency }
    lines { name quantity product { sku } }
    user { id }
  }
}
"#;

/// A line for `POST /topics/shop.carts`: adds to a cart that the query above shows, once more each time.
pub const SHOP_LINE: &str = r#"{"key": "demo", "value": {"type": "ItemAddedToCart", "v": 1, "id": "5d5c4a52-6f0e-4c8e-9d57-0c2a6b8f1e11", "at": "2026-11-21T12:00:00.000Z", "cartId": "demo", "customerId": "u1", "productId": "p1", "name": "Desk lamp", "quantity": 1, "unitPrice": "12.50", "currency": "EUR"}}"#;

/// Draws `count` events of the shop, over the sixty days that end at `now_ms`.
pub fn shop(seed: u64, count: usize, now_ms: i64) -> Shop {
    Shop::new(seed, count, now_ms)
}
