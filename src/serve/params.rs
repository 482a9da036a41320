//! The parameters of a GraphQL request, from a JSON body or from a query string. Pure.

use serde_json::{Map, Value};

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Params {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
}

/// Reads a JSON body.
///
/// # Errors
/// One sentence that names the parameter and what it was.
pub(super) fn from_body(body: &[u8]) -> Result<Params, String> {
    if body.is_empty() {
        return Err("the body is empty; it must be a JSON object with `query`".to_owned());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => from_members(members),
        Ok(Value::Array(_)) => Err("the body is a list; batches of operations are not taken".to_owned()),
        Ok(other) => Err(format!("the body is {}; it must be a JSON object with `query`", kind(&other))),
        Err(error) => Err(format!("the body is not JSON: {error}")),
    }
}

/// Reads a query string; `variables` and `extensions` are JSON text in it.
///
/// # Errors
/// As [`from_body`].
pub(super) fn from_query(text: &str) -> Result<Params, String> {
    let mut members = Map::new();
    for (name, value) in pairs(text)? {
        let value = match name.as_str() {
            "variables" | "extensions" if value.is_empty() => Value::Null,
            "variables" | "extensions" => serde_json::from_str(&value)
                .map_err(|error| format!("the parameter `{name}` is not JSON: {error}"))?,
            _ => Value::String(value),
        };
        if members.insert(name.clone(), value).is_some() {
            return Err(format!("the parameter `{name}` is given twice"));
        }
    }
    from_members(members)
}

/// Names and values of a query string, decoded.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn from_members(mut members: Map<String, Value>) -> Result<Params, String> {
    let query = match members.remove("query") {
        Some(Value::String(query)) => query,
        None => return Err("the parameter `query` is missing".to_owned()),
        Some(other) => return Err(format!("the parameter `query` is {}; it must be text", kind(&other))),
    };
    let operation_name = match members.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(other) => {
            return Err(format!("the parameter `operationName` is {}; it must be text", kind(&other)));
        }
    };
    let variables = object(members.remove("variables"), "variables")?;
    object(members.remove("extensions"), "extensions")?;
    Ok(Params { query, operation_name, variables })
}

fn object(value: Option<Value>, name: &str) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(other) => Err(format!("the parameter `{name}` is {}; it must be an object", kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Undoes `+` and `%xx`; what is no escape stays as it is.
///
/// # Errors
/// What comes of it is not UTF-8.
fn decoded(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|pair| {
            let digits = pair.iter().all(u8::is_ascii_hexdigit);
            let pair = std::str::from_utf8(pair).ok().filter(|_| digits)?;
            u8::from_str_radix(pair, 16).ok()
        });
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| "the parameters are not UTF-8 once their %XX are read".to_owned())
}

/// Whether the text's operation is a mutation: looked at only to give a refused GET its right status. Names stand
/// at brace depth 0; strings and comments are passed over.
pub(super) fn is_mutation(query: &str) -> bool {
    let mut depth = 0_i32;
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix('#') {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
            continue;
        }
        if let Some(block) = rest.strip_prefix("\"\"\"") {
            rest = block.find("\"\"\"").map_or("", |end| &block[end + 3..]);
            continue;
        }
        if let Some(text) = rest.strip_prefix('"') {
            rest = after_string(text);
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if is_name(first) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            if depth == 0 && &rest[..end] == "mutation" {
                return true;
            }
            rest = &rest[end..];
            continue;
        }
        match first {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ => {}
        }
        rest = &rest[first.len_utf8()..];
    }
    false
}

/// What follows a string whose opening quote is gone.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return &text[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_gives_its_parameters() {
        let params = from_body(
            br#"{"query":"{ a }","operationName":"A","variables":{"x":1},"extensions":null,"more":1}"#,
        )
        .expect("well formed");
        assert_eq!(params.query, "{ a }");
        assert_eq!(params.operation_name.as_deref(), Some("A"));
        assert_eq!(params.variables["x"], 1);
    }

    #[test]
    fn each_ill_typed_parameter_is_named_with_what_it_was() {
        let cases = [
            ("", "the body is empty; it must be a JSON object with `query`"),
            ("[]", "the body is a list; batches of operations are not taken"),
            ("1", "the body is a number; it must be a JSON object with `query`"),
            ("{}", "the parameter `query` is missing"),
            (r#"{"query":{}}"#, "the parameter `query` is an object; it must be text"),
            (
                r#"{"query":"x","operationName":0}"#,
                "the parameter `operationName` is a number; it must be text",
            ),
            (r#"{"query":"x","variables":"y"}"#, "the parameter `variables` is text; it must be an object"),
            (
                r#"{"query":"x","extensions":[]}"#,
                "the parameter `extensions` is a list; it must be an object",
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(from_body(body.as_bytes()).expect_err(body), expected);
        }
        assert!(from_body(b"{\"q").expect_err("torn").starts_with("the body is not JSON: "));
    }

    #[test]
    fn a_query_string_is_decoded() {
        let params = from_query("query=%7B+a%28x%3A%22%C3%A9%22%29+%7D&variables=%7B%22n%22%3A1%7D")
            .expect("well formed");
        assert_eq!(params.query, "{ a(x:\"é\") }");
        assert_eq!(params.variables["n"], 1);
        assert_eq!(from_query("query=a&query=b").expect_err("twice"), "the parameter `query` is given twice");
        assert!(
            from_query("query=a&variables=x").expect_err("no JSON").starts_with("the parameter `variables`")
        );
        assert_eq!(decoded("50%").as_deref(), Ok("50%"));
        assert_eq!(decoded("%zz%+5%é").as_deref(), Ok("%zz% 5%é"));
        assert!(decoded("%ff").is_err());
    }

    #[test]
    fn a_mutation_is_seen_only_as_an_operation() {
        assert!(is_mutation("mutation { a }"));
        assert!(is_mutation("# hello\nquery A { b } mutation B { c }"));
        assert!(!is_mutation("{ mutation }"));
        assert!(!is_mutation("# mutation\n{ a }"));
        assert!(!is_mutation("query A($mutation: Int) { a(x: \"} mutation {\") }"));
        assert!(!is_mutation("query A { a(x: \"\"\"mutation\"\"\") }"));
    }
}
