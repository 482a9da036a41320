//! The binary as others meet it: a process, HTTP, Apollo's gateway, and the public audit of GraphQL over HTTP.
//!
//! First use and bad input always run. What needs Node (`gateway.mjs`, `library.mjs`, `composition.mjs`, `audit.mjs`, `sarif.mjs`, packages of
//! `package.json`) runs where `KINORA_REAL=1` is set, as `.ci/run` does, and a missing Node is then a failure.

#![allow(clippy::print_stdout, reason = "what was left out, and what scripts said, is shown")]

mod bad_definitions;
mod bad_input;
mod composition;
mod library;
mod process;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use process::Dev;

const AT: &str = "2026-01-01T00:00:00.000Z";

/// An OrderPlaced as the shop's producers write it.
fn order_placed(id: &str, number: &str, user: &str, at: &str, line: &Json) -> Json {
    json!({ "type": "OrderPlaced", "v": 1, "id": "0c8ff6a0-0000-4000-8000-000000000001", "at": at, "orderId": id,
        "number": number, "customerId": user, "warehouseId": "w1", "currency": "EUR", "lines": [line] })
}

fn line(product: &str, name: &str, quantity: i64, price: &str) -> Json {
    json!({ "productId": product, "categoryId": "k1", "name": name, "quantity": quantity, "unitPrice": price })
}

fn product_added(id: &str, sku: &str, name: &str) -> Json {
    json!({ "type": "ProductAdded", "v": 1, "at": AT, "productId": id, "sku": sku, "categoryId": "k1", "name": name,
        "price": "12.50", "currency": "EUR" })
}

#[test]
fn first_use_page_graphiql_and_a_federated_query_answer_and_an_event_is_readable_at_once() {
    let dev = Dev::start();
    println!("ready after {:?}", dev.ready_after);

    let page = dev.get("/", "text/html");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("/graphql") && !page.body.contains("src=\"http"),
        "the page loads nothing from elsewhere"
    );
    let status = dev.get("/status.json", "application/json").json();
    let names = |list: &str| -> Vec<String> {
        let of = |item: &Json| item["name"].as_str().expect("what is listed has a name").to_owned();
        status["status"][list]
            .as_array()
            .unwrap_or_else(|| panic!("no {list}: {status}"))
            .iter()
            .map(of)
            .collect()
    };
    assert_eq!(names("topics"), ["shop.carts", "shop.customers", "shop.orders", "shop.products"]);
    assert_eq!(names("projections"), ["carts", "customers", "orders", "products"]);
    let graphiql = dev.get("/graphql", "text/html");
    assert_eq!(graphiql.status, 200);
    assert!(graphiql.body.to_lowercase().contains("graphiql"), "a browser is not shown GraphiQL");
    assert!(!graphiql.body.contains("src=\"http"), "GraphiQL loads a script from elsewhere");
    assert_eq!(dev.get("/health/live", "*/*").status, 200);

    let sdl = dev.data("{ _service { sdl } }", None);
    let sdl = sdl["_service"]["sdl"].as_str().expect("_service has an SDL");
    assert!(sdl.contains("@key") && !sdl.contains("@table"), "{sdl}");

    let position = dev.publish_event(
        "shop.orders",
        "o1",
        order_placed("o1", "n1", "u1", AT, &line("p1", "Lamp", 2, "12.50")),
    );
    let response = dev.query("{ order(id: \"o1\") { status total { amount } } }", json!({}), Some(&position));
    assert_eq!(
        response.json()["data"],
        json!({ "order": { "status": "PLACED", "total": { "amount": "25.00" } } })
    );
    let read =
        response.header("x-read-position").unwrap_or_else(|| panic!("no x-read-position: {response:?}"));
    assert!(read.split(',').any(|at| at.trim() == position), "{read} lacks {position}");
}

#[test]
fn a_killed_process_goes_on_where_it_stopped() {
    let mut dev = Dev::start();
    let mut last = String::new();
    for number in 0..50 {
        let event = json!({ "type": "ItemAddedToCart", "v": 1, "at": AT, "cartId": "c1", "customerId": "u1",
            "productId": format!("p{}", number % 7), "name": "Lamp", "quantity": 1, "unitPrice": "0.10", "currency": "EUR" });
        last = dev.publish_event("shop.carts", "c1", event);
        if number % 10 == 9 {
            dev.kill_and_restart();
        }
    }
    let cart =
        dev.data("{ cart(id: \"c1\") { itemCount total { amount } lines { quantity } } }", Some(&last));
    assert_eq!(cart["cart"]["itemCount"], json!(50));
    assert_eq!(cart["cart"]["total"]["amount"], json!("5.00"));
}

#[test]
fn apollo_gateway_answers_queries_that_cross_both_ways() {
    if left_out("Apollo's gateway") {
        return;
    }
    let dev = Dev::start();
    let later = "2026-03-01T00:00:00.000Z";
    dev.publish_event("shop.products", "p1", product_added("p1", "s1", "Lamp"));
    let orders = [
        ("o1", "n1", "u1", AT, line("p1", "Lamp", 2, "12.50")),
        ("o2", "n2", "u1", later, line("p9", "Gone", 1, "5.00")),
        ("o3", "n3", "u2", AT, line("p1", "Lamp", 1, "12.50")),
        ("o4", "n4", "u9", AT, line("p1", "Lamp", 1, "12.50")),
    ];
    for (id, number, user, at, line) in orders {
        let position = dev.publish_event("shop.orders", id, order_placed(id, number, user, at, &line));
        dev.data("{ __typename order(id: \"o1\") { id } }", Some(&position));
    }
    node("gateway.mjs", &dev.url("/graphql"));
}

#[test]
fn the_audit_of_graphql_over_http_finds_nothing() {
    if left_out("the audit of GraphQL over HTTP") {
        return;
    }
    let dev = Dev::start();
    node("audit.mjs", &dev.url("/graphql"));
}

#[test]
fn findings_of_every_kind_are_sarif() {
    if left_out("the schema of SARIF") {
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/projection");
    let logs = tempfile::tempdir().expect("a temporary directory can be made");
    let mut count = 0;
    for folder in std::fs::read_dir(golden).expect("there are golden projects") {
        let folder = folder.expect("it can be listed").path();
        let project = tempfile::tempdir().expect("a temporary directory can be made");
        let copy = |name: &str, part: &str| {
            std::fs::create_dir_all(project.path().join(part)).expect("a folder can be made");
            std::fs::copy(folder.join(name), project.path().join(part).join(name)).expect("it can be copied");
        };
        for file in std::fs::read_dir(&folder).expect("it can be listed") {
            let name = file.expect("it can be listed").file_name().to_string_lossy().into_owned();
            match name.rsplit('.').next() {
                Some("graphql") => copy(&name, "schema"),
                Some("yaml" | "json") => copy(&name, "projections"),
                _ => {}
            }
        }
        let check = ["check", "--format", "sarif", "--project"];
        let output = Command::new(env!("CARGO_BIN_EXE_kinora")).args(check).arg(project.path()).output();
        let log = logs.path().join(format!("{count}.sarif"));
        std::fs::write(log, output.expect("kinora can be run").stdout).expect("it can be written");
        count += 1;
    }
    node("sarif.mjs", &logs.path().display().to_string());
    assert!(count > 20, "{count} projects");
}

/// Whether the tests that need Node are not asked for.
fn left_out(what: &str) -> bool {
    let asked = std::env::var("KINORA_REAL").is_ok_and(|value| value == "1");
    if !asked {
        println!("{what} was left out: set KINORA_REAL=1 after `npm ci --ignore-scripts` in tests/real");
    }
    !asked
}

/// Runs a script of this folder; its output is shown where it fails.
fn node(script: &str, argument: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages are missing: run `npm ci --ignore-scripts` in {}",
        folder.display()
    );
    let output = Command::new("node")
        .args([script, argument])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|fault| panic!("node cannot be started: {fault}; install Node 20 or newer"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed:\n{text}");
    println!("{text}");
}
