//! What reaches the store: how many reads, and what becomes of those that fail.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::json;

use super::shop::{Shop, text};
use super::watched::{Read, Watched};

/// The reads of an operation, one line for each, sorted: shards and buckets are read in no fixed order.
async fn reads(shop: &Shop, query: &str) -> Vec<String> {
    shop.tables.take_reads();
    shop.data(query).await;
    let name = |table: &crate::plan::TableId| shop.plan.table(*table).name.clone();
    let mut lines: Vec<String> = shop
        .tables
        .take_reads()
        .iter()
        .map(|read| match read {
            Read::Get { table, keys } => format!("get {} × {keys}", name(table)),
            Read::Scan { table, limit } => format!("scan {} to {limit}", name(table)),
        })
        .collect();
    lines.sort();
    lines
}

async fn shop() -> Shop {
    let shop = Shop::new().await;
    for product in ["p1", "p2", "p3"] {
        shop.put_product(product, &format!("s-{product}"), "k", product).await;
    }
    for order in 0..10 {
        shop.put_order(&format!("o{order}"), "u1", "PAID", order, &["p1", "p2", "p3"]).await;
    }
    shop.put_cart("c1", "u1", Some("o1"), &["p1", "p2"]).await;
    shop.put_cart("c2", "u1", Some("o1"), &["p2", "p3"]).await;
    shop
}

#[tokio::test]
async fn a_level_reads_each_table_once_and_each_row_once() {
    let shop = shop().await;
    let query = r#"{ a: cart(id: "c1") { lines { product { name } } order { id } }
                     b: cart(id: "c2") { lines { product { name } } order { id lines { product { sku } } } }
                     again: cart(id: "c1") { id } product(id: "p1") { id } }"#;
    assert_eq!(
        reads(&shop, query).await,
        [
            // The roots: two carts of three fields, one product.
            "get carts × 2",
            "get orders × 1",
            "get products × 1",
            // Three products of four lines of carts; then those of the order's lines.
            "get products × 3",
            "get products × 3",
        ]
    );
    let query = r#"{ _entities(representations: [{__typename: "Order", id: "o1"}, {__typename: "Product", id: "p1"},
        {__typename: "Order", id: "o2"}, {__typename: "Order", id: "o1"}]) { ... on Order { id } ... on Product { id } } }"#;
    assert_eq!(reads(&shop, query).await, ["get orders × 2", "get products × 1"]);
}

#[tokio::test]
async fn a_copy_that_lacks_columns_costs_one_read_of_its_base_table() {
    let shop = shop().await;
    let names = r#"{ a: productBySku(sku: "s-p1") { name } b: productBySku(sku: "s-p2") { name } }"#;
    assert_eq!(
        reads(&shop, names).await,
        ["get products × 2", "scan products_by_sku to 1", "scan products_by_sku to 1"]
    );
    let only_key = r#"{ productBySku(sku: "s-p1") { id sku } }"#;
    assert_eq!(reads(&shop, only_key).await, ["scan products_by_sku to 1"]);
}

#[tokio::test]
async fn a_page_reads_no_more_than_what_is_selected_of_it() {
    let shop = shop().await;
    let list = |selection: &str, paging: &str| {
        format!(r#"{{ productsInCategory(categoryId: "k"{paging}) {{ {selection} }} }}"#)
    };
    assert_eq!(reads(&shop, &list("__typename", "")).await, [""; 0]);
    assert_eq!(reads(&shop, &list("nodes { id }", ", first: 2")).await, ["scan products_by_category to 2"]);
    let flags = "pageInfo { hasNextPage hasPreviousPage }";
    assert_eq!(reads(&shop, &list(flags, ", first: 2")).await, ["scan products_by_category to 3"]);
    let data = shop.data(&list("edges { cursor }", ", first: 1")).await;
    let cursor = data["productsInCategory"]["edges"][0]["cursor"].as_str().unwrap().to_owned();
    let after = format!(r#", first: 1, after: "{cursor}""#);
    assert_eq!(reads(&shop, &list("nodes { id }", &after)).await, ["scan products_by_category to 1"]);
    assert_eq!(
        reads(&shop, &list("pageInfo { hasPreviousPage }", &after)).await,
        ["scan products_by_category to 1", "scan products_by_category to 1"],
        "one for the page, one for what precedes it"
    );
}

#[tokio::test]
async fn each_shard_is_asked_for_its_share_and_again_where_that_was_too_little() {
    let schema = r#"
        type Query { es(g: ID!, first: Int, last: Int): EConnection! @read(table: "es_by_g", max: 1000) e(id: ID!): E @read }
        type E @key(fields: "id") @table(name: "es", partition: "id")
          @table(name: "es_by_g", partition: "g, hash(shard, 4)", clustering: "id", rows: 1000) { id: ID! g: ID! shard: ID! }"#;
    let shop = Shop::with(schema, |_| {}).await;
    let mut ids = Vec::new();
    for at in 0..300 {
        let id = format!("e{at:03}");
        // The first rows all lie in one shard.
        let shard = if at < 200 { "same".to_owned() } else { at.to_string() };
        shop.put("E", &[("id", text(id.clone())), ("g", text("g")), ("shard", text(shard))]).await;
        ids.push(json!({"id": id}));
    }
    for (count, most) in [(1, 4), (10, 48), (100, 400), (300, 1000), (1000, 1400)] {
        for (word, expect) in [("first", &ids[..count.min(300)]), ("last", &ids[300 - count.min(300)..])] {
            shop.tables.take_reads();
            let data = shop.data(&format!(r#"{{ es(g: "g", {word}: {count}) {{ nodes {{ id }} }} }}"#)).await;
            assert_eq!(data["es"]["nodes"], json!(expect), "{word} {count}");
            let asked: usize = shop
                .tables
                .take_reads()
                .iter()
                .map(|read| match read {
                    Read::Scan { limit, .. } => *limit,
                    Read::Get { .. } => 0,
                })
                .sum();
            assert!(asked <= most, "{word} {count} asked the shards for {asked} rows");
        }
    }
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The errors that any test of this process logs. One for all: a subscriber of one thread may be passed over where
    /// another thread meets a place that logs for the first time.
    fn of_process() -> &'static Log {
        static LOG: LazyLock<Log> = LazyLock::new(|| {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::ERROR)
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
            log
        });
        &LOG
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn fail(shop: &Shop, names: &[&str]) {
    let tables: Vec<_> = names.iter().map(|name| shop.table(name)).collect();
    let both: [&Watched; 2] = [&shop.tables, &shop.on_disk];
    both.iter().for_each(|watched| watched.fail(&tables));
}

#[tokio::test]
async fn a_failing_table_is_a_masked_error_at_each_parent_and_harms_no_other() {
    let log = Log::of_process();
    let shop = shop().await;
    fail(&shop, &["products"]);
    let query = r#"{ cart(id: "c1") { id lines { name product { name } } order { id } }
                     productsInCategory(categoryId: "k") { nodes { id } } product(id: "p1") { id } }"#;
    let body = shop.ask(query, json!({})).await;
    assert_eq!(
        body["data"],
        json!({
            "cart": {
                "id": "c1",
                "lines": [{"name": "name of p1", "product": null}, {"name": "name of p2", "product": null}],
                "order": {"id": "o1"},
            },
            "productsInCategory": {"nodes": [{"id": "p1"}, {"id": "p2"}, {"id": "p3"}]},
            "product": null,
        })
    );
    let errors = body["errors"].as_array().unwrap();
    let mut paths: Vec<String> = errors.iter().map(|error| error["path"].to_string()).collect();
    paths.sort();
    assert_eq!(
        paths,
        [r#"["cart","lines",0,"product"]"#, r#"["cart","lines",1,"product"]"#, r#"["product"]"#]
    );
    for error in errors {
        assert_eq!(error["extensions"]["code"], "INTERNAL");
        let message = error["message"].as_str().unwrap();
        let id = message.strip_prefix("Internal error. The log has the cause under id ").unwrap();
        let id = id.strip_suffix('.').unwrap();
        assert_eq!(id.len(), 32, "{message}");
        let logged = log.text();
        let line = logged.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{id}: {logged}"));
        assert!(line.contains("ERROR") && line.contains("the disk is on fire"), "{line}");
        assert!(line.contains(r#"reading table \"products\""#), "{line}");
    }
    assert!(!body.to_string().contains("fire"));
}

#[tokio::test]
async fn a_failing_list_or_completion_is_an_error_of_its_field() {
    let shop = shop().await;
    fail(&shop, &["products_by_category"]);
    let body = shop
        .ask(
            r#"{ product(id: "p1") { id } productsInCategory(categoryId: "k") { nodes { id } } }"#,
            json!({}),
        )
        .await;
    assert_eq!(body["data"], json!(null), "a connection that must not be null takes its parent along");
    assert_eq!(body["errors"][0]["path"], json!(["productsInCategory"]));
    // A copy is found, but its base row cannot be read.
    fail(&shop, &["products"]);
    let body = shop
        .ask(
            r#"{ whole: productBySku(sku: "s-p1") { id name } key: productBySku(sku: "s-p1") { id } order(id: "o1") { id } }"#,
            json!({}),
        )
        .await;
    assert_eq!(body["data"], json!({"whole": null, "key": {"id": "p1"}, "order": {"id": "o1"}}));
    assert_eq!(body["errors"][0]["path"], json!(["whole"]));
    // The names of buckets cannot be read; the other users of the level are not asked again.
    let names = shop.plan.table(shop.table("orders_by_user")).buckets.unwrap();
    let names = shop.plan.table(names).name.clone();
    fail(&shop, &[&names]);
    let entities = r#"{ _entities(representations: [{__typename: "User", id: "u1"}, {__typename: "Order", id: "o1"},
        {__typename: "User", id: "u2"}]) { ... on User { id orders { nodes { id } } } ... on Order { id } } }"#;
    let body = shop.ask(entities, json!({})).await;
    assert_eq!(body["data"], json!({"_entities": [null, {"id": "o1"}, null]}));
    let paths: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| error["path"].clone()).collect();
    assert_eq!(paths, [json!(["_entities", 0, "orders"]), json!(["_entities", 2, "orders"])]);
    fail(&shop, &["orders"]);
    let body = shop.ask(entities, json!({})).await;
    assert_eq!(body["data"]["_entities"][1], json!(null));
    assert_eq!(body["data"]["_entities"][2], json!({"id": "u2", "orders": {"nodes": []}}));
    assert_eq!(body["errors"][0]["path"], json!(["_entities", 1]));
    fail(&shop, &[]);
    assert_eq!(shop.ask(entities, json!({})).await.get("errors"), None);
}
