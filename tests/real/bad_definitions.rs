//! Faulty definitions: `kinora check` names each with code, file, line, column and advice, and exits with 3.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The shop with one text replaced in one file, checked.
fn check(file: &str, from: &str, to: &str) -> Output {
    let project = tempfile::tempdir().expect("a temporary directory can be made");
    let shop = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["schema", "projections"] {
        std::fs::create_dir(project.path().join(folder)).expect("a folder can be made");
        for entry in std::fs::read_dir(shop.join(folder)).expect("the shop has the folder") {
            let name = entry.expect("an entry can be read").file_name();
            let text = std::fs::read_to_string(shop.join(folder).join(&name)).expect("a definition is text");
            std::fs::write(project.path().join(folder).join(&name), text).expect("a file can be written");
        }
    }
    let path = project.path().join(file);
    let text = std::fs::read_to_string(&path).expect("the file is there");
    assert!(text.contains(from), "{file} does not say `{from}`");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("a file can be written");
    Command::new(env!("CARGO_BIN_EXE_kinora"))
        .args(["check", "--format", "json", "--project"])
        .arg(project.path())
        .stdin(Stdio::null())
        .output()
        .expect("kinora can be run")
}

/// The change is refused; what is said contains all the parts.
fn refused(file: &str, from: &str, to: &str, says: &[&str]) {
    let output = check(file, from, to);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in says.iter().chain(&[file]) {
        assert!(text.contains(part), "`{from}` → `{to}`: `{part}` is not said: {text}");
    }
}

#[test]
fn the_shop_itself_passes() {
    let output = check("schema/shop.graphql", "type Query", "type Query");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn malformed_sdl_is_named() {
    refused("schema/shop.graphql", "type Query {", "type Query {{", &["\"line\": 6", "\"column\": 13"]);
    let output = check("schema/shop.graphql", "type Query {", "type Query {{");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.matches("\"code\"").count(), 1, "one fault is one finding: {text}");
}

#[test]
fn an_unknown_directive_argument_is_named() {
    refused("schema/shop.graphql", "rows: 500)", "rowz: 500)", &["rowz", "rows"]);
}

#[test]
fn a_type_mismatch_in_an_expression_is_named() {
    refused(
        "projections/orders.yaml",
        "quantity: l.quantity",
        "quantity: \"'two'\"",
        &["E009", "\"line\": 25", "expected Int, found String"],
    );
}

#[test]
fn a_typo_in_an_enum_value_is_named_with_the_nearest() {
    refused("projections/orders.yaml", "status: PLACED", "status: PLACD", &["PLACD", "PLACED"]);
}

#[test]
fn a_read_without_a_table_is_refused_with_the_missing_line() {
    refused(
        "schema/shop.graphql",
        "customer(id: ID!): Customer @read",
        "customer(id: ID!): Customer @read\n  byMail(email: String!): Customer @read",
        &["byMail", "@table("],
    );
}

#[test]
fn all_faults_are_named_at_once() {
    let output = check("projections/orders.yaml", "status: PLACED", "status: PLACD\n      nope: 1");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("PLACD") && text.contains("nope"), "{text}");
}
