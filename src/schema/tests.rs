//! The golden cases of the schema language, and the texts made for gateways and operations.

use super::*;
use crate::testing::spoil;

fn load_text(text: &str) -> (Option<ReadModel>, String) {
    let mut sources = Sources::default();
    let file = sources.add("schema.graphql", text);
    let (model, faults) = load(&[file], &sources);
    (model, crate::diagnostic::render(&faults, &sources, false))
}

fn shop() -> ReadModel {
    let (model, faults) = load_text(include_str!("../../schema/shop.graphql"));
    assert_eq!(faults, "");
    model.expect("the shop loads")
}

#[test]
fn the_shop_loads_and_its_sdl_is_the_text_without_what_is_ours() {
    let model = shop();
    println!("{}", model.sdl);
    println!("{}", model.api_sdl);
    for ours in ["@table", "@read", "@ref", "@udt", "@column", "@arg", "currency: String! @"] {
        assert!(!model.sdl.contains(ours), "{ours} in\n{}", model.sdl);
    }
}

/// Loads and plans every file of a case's folder, and renders what was found.
fn findings(folder: &std::path::Path) -> String {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a case is a folder")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "graphql"))
        .collect();
    paths.sort();
    let mut sources = Sources::default();
    let files: Vec<FileId> = paths
        .iter()
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy();
            sources.add(format!("schema/{name}"), std::fs::read_to_string(path).expect("a case can be read"))
        })
        .collect();
    let (model, mut faults) = load(&files, &sources);
    if let Some(model) = &model {
        faults.extend(crate::plan::plan(model, &sources).1);
    }
    let text = crate::diagnostic::render(&faults, &sources, false);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    if lines.is_empty() { "nothing found\n".to_string() } else { lines.join("\n") + "\n" }
}

#[test]
fn every_kind_of_fault_reads_as_its_golden_text() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema");
    let bless = std::env::var_os("KINORA_BLESS").is_some_and(|bless| bless == "1");
    let mut folders: Vec<_> = std::fs::read_dir(&root)
        .expect("the cases are there")
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 60, "{} cases are too few", folders.len());
    let mut differing = Vec::new();
    let mut seen = String::new();
    for folder in folders {
        let found = findings(&folder);
        let expect = folder.join("expect.txt");
        if bless {
            std::fs::write(&expect, &found).expect("the case's folder can be written");
        }
        let name = folder.file_name().expect("a folder has a name").to_string_lossy().to_string();
        let quiet = name.ends_with("_quiet").then(|| name[5..8].to_uppercase());
        assert!(!quiet.is_some_and(|code| found.contains(&code)), "{name}:\n{found}");
        if std::fs::read_to_string(&expect).unwrap_or_default() != found {
            differing.push(format!("{name}:\n{found}"));
        }
        seen.push_str(&found);
    }
    assert!(differing.is_empty(), "KINORA_BLESS=1 rewrites these:\n{}", differing.join("\n"));
    for finding in seen.split("\n\n  ").filter(|finding| finding.starts_with('×')) {
        assert!(finding.contains("  help: "), "no advice in\n{finding}");
    }
    let missing: Vec<String> = codes().into_iter().filter(|code| !seen.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

/// Every code that the rooms `schema` and `plan` can give, as their sources write it.
fn codes() -> Vec<String> {
    let mut codes = Vec::new();
    for room in ["src/schema", "src/plan"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(room);
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("a folder can be listed").path();
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(path).expect("sources are text");
            for piece in text.split('"') {
                let is_code = piece.len() >= 3
                    && piece.starts_with(['S', 'L'])
                    && piece[1..].bytes().all(|byte| byte.is_ascii_digit());
                if is_code {
                    codes.push(piece.to_string());
                }
            }
        }
    }
    codes.sort();
    codes.dedup();
    codes
}

/// The gateway's SDL of a schema that needs one table, with `fields` in its type.
fn sdl_of(head: &str, fields: &str) -> String {
    let text = format!("{head}type Query {{ a(id: ID!): A @read }}\n{fields}");
    let (model, faults) = load_text(&text);
    model.unwrap_or_else(|| panic!("{faults}")).sdl.to_string()
}

const A: &str = "@key(fields: \"id\")";

#[test]
fn what_is_ours_goes_with_the_blanks_before_it_and_no_other_text() {
    let sdl = sdl_of(
        "# head\n",
        "type A @key(fields: \"id\") # why\n  @table(name: \"a\", partition: \"id\") { # then\n  id: ID!,,\n  \
         \"Not for others.\"\n  secret: String @column(hidden: true) # gone\n  two: Int @column(hidden: true)\n  \
         x: [String!]!   @column(max: 5)   @deprecated y: Int @column(hidden: true) z: Int }",
    );
    let expect = "# head\ntype Query { a(id: ID!): A }\ntype A @key(fields: \"id\") \
                  # why\n { # then\n  id: ID!,, # \
                  gone\n  x: [String!]!   @deprecated @listSize(assumedSize: 5) z: Int }\n";
    let (authored, _) = sdl.split_once("\nextend schema").expect("a link is appended");
    assert_eq!(authored, expect);
}

/// The gateway's SDL of a whole schema, with what its reads cost.
fn told(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("schema.graphql", text);
    let (model, faults) = load(&[file], &sources);
    let model = model.unwrap_or_else(|| panic!("{}", crate::diagnostic::render(&faults, &sources, false)));
    let (plan, faults) = crate::plan::plan(&model, &sources);
    assert!(faults.is_empty(), "{}", crate::diagnostic::render(&faults, &sources, false));
    let plan = plan.expect("no fault");
    model.weighed_sdl(&|ty, field| plan.weight(&model, ty, field)).to_string()
}

#[test]
fn the_reference_shows_what_a_gateway_is_told() {
    let (_, section) = PAGE.split_once("## What the gateway is told").expect("the section");
    let block = |fence: &str| {
        let (_, rest) = section.split_once(fence).expect("a block");
        rest.split_once("```").expect("a block ends").0.to_string()
    };
    let sdl = told(&block("```graphql\n"));
    assert!(sdl.starts_with(&block("```text\n")), "{sdl}");
}

const TOLD: &str = "scalar DateTime
type Query {
  one(id: ID!): A @read
  byKind(kind: ID!, first: Int, last: Int, before: String, after: String): AConnection! @read(page: 7, count: CAPPED) # why
  newest(kind: ID!, day: DateTime @arg(column: \"day\")): [A!]!
    # said below
    @read(table: \"b\", page: 3, max: 9)
  sharded(x: ID!, first: Int): AConnection! @read(count: CAPPED)
  several(ids: [ID!]! @arg(column: \"id\", op: IN)): [A!]! @read
}
type A @key(fields: \"id\") @table(name: \"a\", partition: \"id\")
  @table(name: \"b\", partition: \"kind, day(at) AS day\", clustering: \"at, id\", fields: \"x\", rows: 5)
  @table(name: \"c\", partition: \"x, hash(id, 4)\", clustering: \"id\") {
  id: ID! kind: ID! at: DateTime! x: ID! secret: Int @column(hidden: true)
  tags: [String!]! @column(as: SET, max: 12) @deprecated
}
";

#[test]
fn a_gateway_is_told_sizes_and_costs_after_the_field_they_are_of() {
    let expect = r#"scalar DateTime
type Query {
  one(id: ID!): A @cost(weight: 1)
  byKind(kind: ID!, first: Int, last: Int, before: String, after: String): AConnection! @cost(weight: 4) @listSize(assumedSize: 7, slicingArguments: ["first", "last"], sizedFields: ["edges", "nodes"], requireOneSlicingArgument: false) # why
  newest(kind: ID!, day: DateTime): [A!]!
    # said below
 @listSize(assumedSize: 3)
  sharded(x: ID!, first: Int): AConnection! @cost(weight: 8) @listSize(assumedSize: 20, slicingArguments: ["first"], sizedFields: ["edges", "nodes"], requireOneSlicingArgument: false)
  several(ids: [ID!]!): [A!]! @listSize(assumedSize: 20)
}
type A @key(fields: "id") {
  id: ID! kind: ID! at: DateTime! x: ID!
  tags: [String!]! @deprecated @listSize(assumedSize: 12)
}

extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@cost", "@key", "@listSize", "@shareable"])
"#;
    let sdl = told(TOLD);
    let (head, _) = sdl.split_once("\ntype AConnection").expect("paging types are appended");
    assert_eq!(head, expect, "{sdl}");
}

#[test]
fn a_gateway_is_told_what_the_authors_version_of_the_federation_has() {
    let link = |version: u32, more: &str| {
        told(&format!(
            "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.{version}\", import: [\"@key\"{more}])\n{TOLD}"
        ))
    };
    let old = link(8, "");
    for absent in ["cost", "listSize", "cacheTag"] {
        assert!(!old.contains(absent), "{old}");
    }
    let middle = link(9, ", {name: \"@cost\", as: \"@price\"}");
    assert!(middle.contains("): A @price(weight: 1)\n"), "{middle}");
    assert!(
        middle.contains("@federation__listSize(assumedSize: 12)") && !middle.contains("acheTag"),
        "{middle}"
    );
    assert!(!link(12, "").contains("acheTag"), "tags are for those who import them");
    let new = link(12, ", {name: \"@cacheTag\", as: \"@drop\"}");
    for tag in [
        "@key(fields: \"id\") @drop(format: \"a-{$key.id}\") {",
        "A @drop(format: \"one-{$args.id}\") @federation__cost(weight: 1)\n",
        "@drop(format: \"byKind-{$args.kind}\")",
        " @drop(format: \"newest-{$args.kind}\") @federation__listSize(assumedSize: 3)\n",
    ] {
        assert!(new.contains(tag), "{tag} in {new}");
    }
    assert_eq!(new.matches("@drop(").count(), 5, "`several` has no argument that is one value: {new}");
}

#[test]
fn what_the_author_tells_a_gateway_stays_alone_in_its_place() {
    let text = "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.12\",
  import: [\"@key\", \"@cacheTag\", \"@cost\", \"@listSize\"])
type Query { a(id: ID!): A @cacheTag(format: \"mine\") @cost(weight: 9) @read }
type A @key(fields: \"id\") @cacheTag(format: \"own-{$key.id}\") @table(name: \"a\", partition: \"id\") {
  id: ID! tags: [Int!]! @column(as: LIST, max: 4) @listSize(assumedSize: 2)
}";
    let sdl = told(text);
    assert!(sdl.contains("A @cacheTag(format: \"mine\") @cost(weight: 9) }"), "{sdl}");
    for (directive, count) in [("@cacheTag(", 2), ("@cost(", 1), ("@listSize(", 1)] {
        assert_eq!(sdl.matches(directive).count(), count, "{sdl}");
    }
    let defined = told(&format!(
        "directive @cost(weight: Int!) on FIELD_DEFINITION\ntype Query {{ a(id: ID!): A @read }}\ntype A {A} @table(name: \"a\", partition: \"id\") {{ id: ID! }}"
    ));
    assert!(!defined.contains("@cost(weight: 1)") && !defined.contains("\"@cost\""), "{defined}");
}

#[test]
fn a_tag_of_an_entity_has_the_fields_that_all_its_keys_share() {
    let tag = |keys: &str| {
        let sdl = told(&format!(
            "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.12\", import: [\"@key\", \"@cacheTag\"])
type Query {{ a(id: ID!): AThing @read }}
type AThing {keys} @table(name: \"a\", partition: \"id\") @table(name: \"b\", partition: \"x, id\") \
             @table(name: \"c\", partition: \"x\", clustering: \"id\") {{ id: ID! x: ID! }}"
        ));
        let tag = sdl.split_once("@cacheTag(format: \"aThing").map(|(_, rest)| rest.to_string());
        tag.map(|rest| rest.split('"').next().unwrap_or_default().to_string())
    };
    assert_eq!(tag("@key(fields: \"id\")").as_deref(), Some("-{$key.id}"));
    assert_eq!(tag("@key(fields: \"x id\")").as_deref(), Some("-{$key.x}-{$key.id}"));
    assert_eq!(tag("@key(fields: \"x id\") @key(fields: \"id\")").as_deref(), Some("-{$key.id}"));
    assert_eq!(tag("@key(fields: \"id\") @key(fields: \"x\")"), None);
    assert_eq!(tag("@key(fields: \"id\", resolvable: false)"), None);
}

#[test]
fn the_link_has_the_lowest_version_that_covers_what_is_used() {
    for (directive, version) in [
        ("", "v2.0\", import: [\"@key\"]"),
        ("@tag(name: \"x\")", "v2.0\", import: [\"@key\", \"@tag\"]"),
        ("@override(from: \"b\")", "v2.0\", import: [\"@key\", \"@override\"]"),
        ("@override(from: \"b\", label: \"percent(5)\")", "v2.7\", import: [\"@key\", \"@override\"]"),
        ("@authenticated", "v2.5\", import: [\"@authenticated\", \"@key\"]"),
        ("@cost(weight: 5)", "v2.9\", import: [\"@cost\", \"@key\"]"),
    ] {
        let table = "@table(name: \"a\", partition: \"id\")";
        let sdl = sdl_of("", &format!("type A {A} {table} {{ id: ID!  x: Int {directive} }}\n"));
        assert!(sdl.contains(&format!("https://specs.apollo.dev/federation/{version}")), "{sdl}");
    }
    let ty = format!("type A implements M {A} @table(name: \"a\", partition: \"id\") {{ id: ID! }}\n");
    let sdl = sdl_of(&format!("interface M {A} {{ id: ID! }}\n"), &ty);
    assert!(sdl.contains("https://specs.apollo.dev/federation/v2.3\""), "{sdl}");
}

#[test]
fn the_authors_own_link_stays_the_only_one() {
    let head = "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.3\", import: [\"@key\"])\n";
    let text = format!(
        "{head}type Query {{ a(id: ID!): A @read  all(kind: ID!, first: Int): AConnection! @read }}\ntype A {A} \
         @table(name: \"a\", partition: \"id\") @table(name: \"b\", partition: \"kind\") {{ id: ID! kind: ID! }}\n"
    );
    let (model, faults) = load_text(&text);
    let model = model.unwrap_or_else(|| panic!("{faults}"));
    assert_eq!(model.sdl.matches("federation/v2").count(), 1, "{}", model.sdl);
    assert!(model.sdl.contains("type AConnection @federation__shareable {"), "{}", model.sdl);
}

#[test]
fn types_spread_over_files_are_one_model_whatever_their_order() {
    let mut sources = Sources::default();
    let query =
        sources.add("schema/b.graphql", "type Query { a(id: ID!): A @read }\nextend type A { x: Int }\n");
    let ty = sources
        .add("schema/a.graphql", format!("type A {A} @table(name: \"a\", partition: \"id\") {{ id: ID! }}"));
    let sdl = |files: &[FileId]| load(files, &sources).0.expect("loads").sdl;
    assert_eq!(sdl(&[query, ty]), sdl(&[ty, query]));
    assert!(
        sdl(&[ty, query]).starts_with("type A @key(fields: \"id\") { id: ID! }\n\ntype Query"),
        "{}",
        sdl(&[ty, query])
    );
}

#[test]
fn a_reference_makes_a_hidden_column_that_is_required_where_it_is_a_key() {
    let model = shop();
    let column = |ty: &str, name: &str| {
        let ty = model.ty(model.type_named(ty).expect("is declared"));
        ty.column(ty.column_named(name).expect("is made")).clone()
    };
    let (cart_user, order_user) = (column("Cart", "userId"), column("Order", "userId"));
    assert!(cart_user.hidden && !cart_user.non_null);
    assert!(order_user.hidden && order_user.non_null, "it is in the partition of `orders_by_user`");
    assert!(column("CartLine", "productId").non_null, "it is the key of the map `lines`");
    assert!(!column("OrderLine", "productId").non_null);
    let ColumnType::Map { key, record } = column("Cart", "lines").ty else { panic!("`lines` is a map") };
    assert_eq!(model.ty(record).column(key).name, "productId");
}

#[test]
fn paging_types_are_derived_once_each() {
    let model = shop();
    let names: Vec<&str> = model
        .types
        .iter()
        .filter(|ty| {
            matches!(ty.kind, TypeKind::Connection { .. } | TypeKind::Edge { .. } | TypeKind::PageInfo)
        })
        .map(|ty| ty.name.as_str())
        .collect();
    assert_eq!(names, ["OrderConnection", "OrderEdge", "ProductConnection", "ProductEdge", "PageInfo"]);
}

#[test]
fn no_nesting_of_sdl_needs_more_than_a_usual_stack() {
    spoil::on_a_usual_stack(|| {
        let pieces =
            ["[", "{", "(", "{a: ", "a(b: ", "@a(b: ", "type A {", "]", "\"\"\"", "& ", "!", "| ", "query {"];
        for (before, after) in
            [("", ""), ("type Query { a(id: ID! = ", "): A }"), ("type A @key(fields: ", ") { id: ID! }")]
        {
            for text in spoil::nested(&pieces, 2_000, before, after) {
                load_text(&text);
            }
        }
        for piece in ["[", "{a:", "a {", "@a(b: "] {
            load_text(&format!("type A {{ b(c: Int = {}", piece.repeat(50_000)));
        }
    });
    let list = |depth: usize| format!("type Query {{ a: {}Int{} }}", "[".repeat(depth), "]".repeat(depth));
    let (_, found) = load_text(&list(64));
    assert!(found.contains("S040") && !found.contains("S001"), "{found}");
    let (_, found) = load_text(&list(65));
    assert!(
        found.contains(
            "this is not GraphQL: more than 64 lists, objects or selections stand inside each other"
        ),
        "{found}"
    );
}

const PAGE: &str = include_str!("../../docs/schema.md");

#[test]
fn every_example_of_the_reference_passes_check() {
    let mut count = 0;
    for block in PAGE.split("```graphql\n").skip(1) {
        let (text, _) = block.split_once("```").expect("a block ends");
        let mut sources = Sources::default();
        let file = sources.add("docs/schema.md", text);
        let (model, mut faults) = load(&[file], &sources);
        let model =
            model.unwrap_or_else(|| panic!("{}", crate::diagnostic::render(&faults, &sources, false)));
        let (plan, found) = crate::plan::plan(&model, &sources);
        faults.extend(found);
        let subject =
            crate::lint::Subject { sources: &sources, model: &model, plan: plan.as_ref(), projections: &[] };
        faults.extend(crate::lint::lint(subject, &Default::default()));
        faults.retain(|fault| fault.severity != Severity::Info);
        assert!(faults.is_empty(), "{text}\n{}", crate::diagnostic::render(&faults, &sources, false));
        count += 1;
    }
    assert!(count >= 7, "{count} examples");
}

#[test]
fn the_reference_has_every_directive_argument_word_and_scalar() {
    let mut missing = Vec::new();
    let mut has = |what: String, text: String| {
        if !PAGE.contains(&text) {
            missing.push(what);
        }
    };
    for (directive, arguments) in directive::vocabulary() {
        has(format!("@{directive}"), format!("`@{directive}"));
        for (argument, words) in arguments {
            has(format!("{argument} of @{directive}"), format!("`{argument}`"));
            for word in words {
                has(format!("{word} of {argument} of @{directive}"), format!("{word}`"));
            }
        }
    }
    for (name, scalar) in scalar::BUILT_IN.iter().chain(scalar::SCALARS) {
        has((*name).to_string(), format!("`{name}`"));
        has(format!("CQL of {name}"), format!("`{}`", cql_type(*scalar)));
    }
    assert!(missing.is_empty(), "docs/schema.md lacks {missing:?}");
}
