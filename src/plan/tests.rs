//! The shop's exact plan, and the rules of binding one by one.

use super::*;
use crate::schema;
use crate::testing::spoil;

fn planned(text: &str) -> (ReadModel, Option<Plan>, String) {
    let mut sources = Sources::default();
    let file = sources.add("schema.graphql", text);
    let (model, mut faults) = schema::load(&[file], &sources);
    let model = model.unwrap_or_else(|| panic!("{}", crate::diagnostic::render(&faults, &sources, false)));
    let (plan, found) = plan(&model, &sources);
    faults.extend(found);
    let text = crate::diagnostic::render(&faults, &sources, false);
    (model, plan, text)
}

/// Compares with a golden file, or rewrites it where `KINORA_BLESS=1`.
fn golden(path: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan").join(path);
    if std::env::var_os("KINORA_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, text).expect("the golden folder can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; KINORA_BLESS=1 rewrites it", path.display());
}

#[test]
fn the_shop_plans_without_an_error_or_warning() {
    let (model, plan, faults) = planned(include_str!("../../schema/shop.graphql"));
    let plan = plan.unwrap_or_else(|| panic!("{faults}"));
    assert!(!faults.contains("error") && !faults.contains("warning"), "{faults}");
    let updates = [explain::Update {
        projection: "orders".to_string(),
        topic: "shop.orders".to_string(),
        entity: "Order".to_string(),
        kind: "B owned fold",
        how: "the row is read once, folded, and written with its position",
        why: "`update` of `OrderCancelled` depends on whether the row is there".to_string(),
    }];
    golden("shop.txt", &explain::explain(&model, &plan, &updates));
    let json =
        serde_json::to_string_pretty(&explain::explain_json(&model, &plan, &updates)).expect("is JSON");
    golden("shop.json", &(json + "\n"));
}

const TIME: &str = "scalar DateTime\nscalar LocalDate\n";

/// How one read of `Order`, with these tables beside the base table, is bound: text of `explain`, without its head.
fn bound(tables: &str, read: &str) -> String {
    let text = format!(
        "{TIME}type Query {{ {read} }}\ntype Order @key(fields: \"id\") @table(name: \"orders\", partition: \"id\") \
         {tables} {{ id: ID! city: String! number: String! at: DateTime! }}"
    );
    let (model, plan, faults) = planned(&text);
    let plan = plan.unwrap_or_else(|| panic!("{faults}"));
    let text = explain::explain(&model, &plan, &[]);
    let (_, rest) = text.split_once("\nReads: ").expect("reads are shown");
    let (_, rest) = rest.split_once('\n').expect("the head is a line");
    let (reads, _) = rest.split_once("\nCQL").expect("CQL is shown");
    reads.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_hash_is_computed_where_its_column_is_given_and_merged_where_not() {
    let table = "@table(name: \"t\", partition: \"city, hash(id, 4)\", clustering: \"id\")";
    let one = bound(table, "a(city: String!, id: ID!): Order @read(table: \"t\")");
    assert!(one.contains("partition   city = $city, idHash = hash($id, 4); rows        id = $id;"), "{one}");
    let all = bound(table, "a(city: String!): [Order!]! @read");
    assert!(all.contains("idHash: all 4 shards, merged; order       id ASC;"), "{all}");
    assert!(all.contains("4 partitions at once; cost 4"), "{all}");
}

#[test]
fn a_bucket_is_walked_or_given_by_its_name_or_computed() {
    let table = "@table(name: \"t\", partition: \"city, month(at) AS month\", clustering: \"at DESC\")";
    let walked = bound(table, "a(city: String!): [Order!]! @read");
    assert!(walked.contains("month: each bucket in turn; order       at DESC, id ASC"), "{walked}");
    let named = bound(table, "a(city: String!, month: DateTime!): [Order!]! @read");
    assert!(named.contains("month = month($month); order       at DESC, id ASC"), "{named}");
    let computed = bound(table, "a(city: String!, at: DateTime!): [Order!]! @read");
    assert!(computed.contains("month = month($at); rows        at = $at; order       id ASC"), "{computed}");
}

#[test]
fn a_range_bounds_the_next_clustering_column() {
    let table = "@table(name: \"t\", partition: \"city\", clustering: \"number, at\", rows: 9)";
    let args = "city: String!, number: String!, from: DateTime @arg(column: \"at\", op: GTE), \
                to: DateTime @arg(column: \"at\", op: LT)";
    let read = bound(table, &format!("a({args}): [Order!]! @read"));
    assert!(read.contains("rows        number = $number; range       at >= $from, at < $to;"), "{read}");
}

#[test]
fn the_base_table_is_taken_first_and_a_fully_given_table_before_a_walk() {
    let copies = "@table(name: \"shards\", partition: \"city, hash(id, 4)\", clustering: \"id\") \
                  @table(name: \"whole\", partition: \"city\", clustering: \"id\")";
    assert!(bound(copies, "a(city: String!): [Order!]! @read").starts_with("Query.a: whole;"));
    let copy = "@table(name: \"again\", partition: \"id\")";
    assert!(bound(copy, "a(id: ID!): Order @read").starts_with("Query.a: orders;"));
}

#[test]
fn a_copy_is_completed_by_the_base_key_at_the_end_of_its_clustering() {
    let text = format!(
        "{TIME}type Query {{ a(id: ID!, org: ID!): Order @read }}\ntype Order @table(name: \"orders\", partition: \
         \"org\", clustering: \"id DESC\") @table(name: \"t\", partition: \"city\", clustering: \"id\") {{ id: ID! org: \
         ID! city: String! }}"
    );
    let (_, plan, faults) = planned(&text);
    let plan = plan.unwrap_or_else(|| panic!("{faults}"));
    let names: Vec<&str> = plan.tables[1].clustering.iter().map(|key| key.part.name.as_str()).collect();
    assert_eq!((names, plan.tables[1].appended), (vec!["id", "org"], 1));
    assert_eq!(plan.entities[0].base_key, [ColumnId(1), ColumnId(0)]);
}

#[test]
fn a_parent_gives_its_stored_key_or_that_of_its_representation() {
    let text = "type Query { a(id: ID!): A @read }\ntype A @key(fields: \"id\") @table(name: \"a\", partition: \"id\") \
                { id: ID! bs: [B!]! @read }\ntype U @key(fields: \"id\") { id: ID! bs: [B!]! @read }\ntype B \
                @key(fields: \"id\") @table(name: \"b\", partition: \"id\") @table(name: \"b_by_a\", partition: \
                \"aId\") @table(name: \"b_by_u\", partition: \"uId\") { id: ID! a: A @ref(key: \"aId\") u: U \
                @ref(key: \"uId\") }";
    let (model, plan, faults) = planned(text);
    let plan = plan.unwrap_or_else(|| panic!("{faults}"));
    let source = |ty: &str| {
        let id = model.type_named(ty).expect("is declared");
        let field = model.ty(id).field_named("bs").expect("is declared");
        plan.read(id, field).expect("is bound").partition[0].clone()
    };
    assert_eq!(source("A"), Part::From(ReadSource::ParentColumn(ColumnId(0))));
    assert_eq!(source("U"), Part::From(ReadSource::ParentField(vec![FieldId(0)])));
}

#[test]
fn the_cost_counts_buckets_and_completion() {
    let table = "@table(name: \"t\", partition: \"city, month(at)\", clustering: \"at\", fields: \"city\")";
    let both =
        bound(table, "a(city: String!, first: Int): OrderConnection! @read(table: \"t\", lookback: \"90d\")");
    assert!(
        both.contains(
            "pages of 20 rows, at most 100, buckets of the last 90 days; reads       the buckets, then 1 partition for \
             each bucket until the page is full, then one batched read of orders; cost 3"
        ),
        "{both}"
    );
}

#[test]
fn reserved_words_of_cql_are_quoted() {
    let text = "type Query { a(id: ID!): A @read }\ntype A @table(name: \"order\", partition: \"id\") { id: ID! set: \
                String from: Int date: Duration type: Int }\ntype Duration @udt { key: Int token: Int }";
    let (model, plan, _) = planned(text);
    let statements = cql::create_statements(&model, &plan.expect("plans"));
    assert_eq!(statements[0], "CREATE TYPE \"duration\" (\n  key int,\n  \"token\" int\n);");
    assert!(statements[1].starts_with(
        "CREATE TABLE \"order\" (\n  id text,\n  \"set\" text,\n  \"from\" int,\n  date frozen<\"duration\">,\n  type int,"
    ), "{}", statements[1]);
}

#[test]
fn no_text_of_a_schema_makes_it_panic_and_none_is_without_a_plan_for_no_reason() {
    let page = include_str!("../../docs/schema.md");
    let examples = page.split("```graphql\n").skip(1).filter_map(|block| block.split("```").next());
    let texts: Vec<&str> =
        std::iter::once(include_str!("../../schema/shop.graphql")).chain(examples).collect();
    spoil::never_panics(&texts, |text| {
        let mut sources = Sources::default();
        let file = sources.add("schema.graphql", text);
        let (model, mut faults) = schema::load(&[file], &sources);
        let plan = model.as_ref().and_then(|model| {
            let (plan, found) = plan(model, &sources);
            faults.extend(found);
            plan
        });
        let has_error = faults.iter().any(|fault| fault.severity == Severity::Error);
        assert!(plan.is_some() || has_error, "a plan, or an error that says why not");
        crate::diagnostic::render(&faults, &sources, false);
        crate::diagnostic::to_json(&faults, &sources);
        if let (Some(model), Some(plan), false) = (&model, &plan, has_error) {
            explain::explain(model, plan, &[]);
            explain::explain_json(model, plan, &[]);
        }
    });
}

/// What `expr` gives for `month(x)` and the others must be what tables are cut by: both are stored.
#[test]
fn buckets_and_hashes_of_expressions_are_those_of_tables() {
    use crate::expr::{Env, Expected, Slot, Type, compile};
    use crate::schema::{Bucket, KeyFunction, KeyPart, Order, Scalar};
    use crate::value::Value;

    let model = planned(include_str!("../../schema/shop.graphql")).0;
    let made = |text: &str, ty: Type, value: &Value| {
        let span = crate::diagnostic::Span { file: crate::diagnostic::FileId(0), start: 0, end: 0 };
        let env =
            Env { model: &model, names: vec![("x".to_owned(), ty)], shapes: Vec::new(), columns_of: None };
        let compiled = compile(text, span, &env, &Expected::Any).expect("it compiles");
        compiled.cell(&[Slot::Value(value)]).expect("it has a value")
    };
    let stored = |via, scalar, value: &Value| {
        let source = ColumnType::Scalar(scalar);
        let part = KeyPart { column: ColumnId(0), via, name: "x".to_owned() };
        key::apply(&KeyColumn { part, ty: source.clone(), source, order: Order::Asc }, value)
    };
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let time = Value::Timestamp(random.i64(-62_135_596_800_000..253_402_207_200_000));
        for (name, bucket) in [
            ("year", Bucket::Year),
            ("month", Bucket::Month),
            ("week", Bucket::Week),
            ("day", Bucket::Day),
            ("hour", Bucket::Hour),
        ] {
            let found = made(&format!("{name}(x)"), Type::Timestamp, &time);
            assert_eq!(
                found,
                stored(KeyFunction::Bucket(bucket), Scalar::DateTime, &time),
                "{name}({time:?})"
            );
        }
        let text = Value::text(random.u32(..).to_string());
        let found = made("hash(x, 7)", Type::Text, &text);
        assert_eq!(found, stored(KeyFunction::Hash(7), Scalar::String, &text), "hash({text:?}, 7)");
    }
}
