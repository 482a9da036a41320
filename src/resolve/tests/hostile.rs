//! Operations that nobody means: nested without end, or spoilt. Each is an answer, never the end of the process.

use serde_json::json;

use super::super::Request;
use super::shop::Shop;
use crate::testing::spoil;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts").block_on(future)
}

#[test]
fn no_nesting_of_an_operation_needs_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let shop = run(Shop::new());
        let pieces = [
            "{", "{a", "{a:a", "(", "a(b:", "[", "{a:", "...{", "...on A{", "@a(b:", "$", "}", ")", "]",
            "\"", "#\n", ":", "!",
        ];
        for (before, after) in
            [("", ""), ("query($v: ", ") { a }"), ("{ order(id: ", ") { id } }"), ("{a) ", "}")]
        {
            for query in spoil::nested(&pieces, 3_000, before, after) {
                run(shop.ask(&query, json!({})));
            }
        }
    });
}

#[test]
fn the_deepest_operation_that_can_be_allowed_needs_no_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let schema = include_str!("../../../schema/shop.graphql");
        let shop = run(Shop::with(schema, |settings| settings.limits.depth = 1_000_000));
        for levels in [20, 100, 1_000, 10_000] {
            let query = format!(
                "{{ order(id: \"o\") {{ {} id {} }} }}",
                "user { orders { nodes { ".repeat(levels),
                "} } } ".repeat(levels)
            );
            run(shop.ask(&query, json!({})));
            let list = format!(
                "query ($v: {}ID{}) {{ order(id: $v) {{ id }} }}",
                "[".repeat(levels),
                "]".repeat(levels)
            );
            run(shop.ask(&list, json!({})));
            let value = format!("{{ order(id: {}1{}) {{ id }} }}", "[".repeat(levels), "]".repeat(levels));
            run(shop.ask(&value, json!({})));
        }
    });
}

#[test]
fn no_text_of_an_operation_makes_it_panic() {
    let shop = run(Shop::new());
    let texts = [
        "query Q($id: ID!, $first: Int = 5) { order(id: $id) { ...F lines { name quantity unitPrice { amount } } } } fragment F on Order { id user { id orders(first: $first) @include(if: true) { edges { cursor node { number } } pageInfo { endCursor hasNextPage } } } }",
        "{ a: cart(id: \"c1\") { __typename total { amount currency } } _entities(representations: [{ __typename: \"Order\", id: \"o1\" }]) { ... on Order { status placedAt } } _service { sdl } }",
        "{ __schema { types { name fields(includeDeprecated: true) { name type { ofType { name } } } } } __type(name: \"Order\") { kind } }",
    ];
    spoil::never_panics(&texts, |text| {
        let variables = json!({ "id": "o1", "first": 3 }).as_object().cloned().unwrap_or_default();
        run(shop.answer(Request { query: text.to_owned(), variables, ..Request::default() }));
    });
}
