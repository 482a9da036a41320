//! `<name>.cases.yaml`: what the author expects: given these records, these rows and this answer.
//!
//! Comes in: the text of a cases file. Goes out: [`Case`]s, with places, and every fault of the text: T001 an unknown
//! key, T002 a missing key, T003 a wrong shape. Running them is the `test` command's. Scalars follow YAML's core
//! schema: quoted is text, plain may be a number, a boolean or null.

use serde_json::{Map, Value as Json};

use super::nearest::unknown_keys;
use super::yaml::{self, Entry, Node, NodeKind, Text};
use crate::diagnostic::{Diagnostic, FileId, Sources, Span};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub span: Span,
    /// Records, in the order in which they are appended.
    pub given: Vec<Given>,
    /// Rows by type. Every row of a named type is listed; of each only the named columns are compared.
    pub rows: Vec<ExpectedRows>,
    /// By projection, what the given records are once they are upcast: `type`, `version` and `event`, in order.
    pub events: Vec<ExpectedRows>,
    pub query: Option<Query>,
    /// What must be parked in the end: nothing unless said.
    pub parked: Vec<ExpectedParked>,
}

/// A record to append.
#[derive(Clone, Debug)]
pub struct Given {
    pub span: Span,
    pub topic: String,
    pub key: Option<String>,
    /// The record's value, as bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
    /// Milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// All rows of a type, as expected.
#[derive(Clone, Debug)]
pub struct ExpectedRows {
    pub type_name: String,
    pub span: Span,
    pub rows: Vec<ExpectedRow>,
}

/// The named columns of one row, as the graph would show them.
#[derive(Clone, Debug)]
pub struct ExpectedRow {
    pub span: Span,
    pub columns: Map<String, Json>,
}

/// A GraphQL operation and the `data` that it must answer.
#[derive(Clone, Debug)]
pub struct Query {
    pub text: String,
    pub span: Span,
    pub variables: Map<String, Json>,
    pub answer: Json,
    pub answer_span: Span,
}

/// A parked key.
#[derive(Clone, Debug)]
pub struct ExpectedParked {
    pub span: Span,
    pub projection: Option<String>,
    /// The key as it is listed, or the record's key.
    pub key: Option<String>,
    pub stage: Option<String>,
    /// Part of the reason.
    pub reason: Option<String>,
    pub waiting: Option<u64>,
}

/// Reads one file of cases. All faults come at once; a case with a fault is left out.
pub fn load(file: FileId, sources: &Sources) -> (Vec<Case>, Vec<Diagnostic>) {
    let (root, mut faults) = yaml::read(file, &sources.file(file).text);
    let Some(root) = root else { return (Vec::new(), faults) };
    let mut reader = Reader { faults: &mut faults };
    let top = reader.map(&root, "a file of cases", &["cases"]);
    if top.get("cases").is_none() {
        reader.fault("T002", root.span, "`cases` is missing", "write `cases:` and a list of cases");
    }
    let mut cases = Vec::new();
    for node in top.get("cases").map(|node| reader.list(node, "`cases`")).unwrap_or_default() {
        let before = reader.faults.len();
        let case = reader.case(node);
        if reader.faults.len() == before {
            cases.extend(case);
        }
    }
    (cases, faults)
}

struct Fields<'n>(&'n [Entry]);

impl<'n> Fields<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.0.iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
    }
}

struct Reader<'f> {
    faults: &'f mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn fault(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Diagnostic::error(code, span, message).help(help));
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        if let NodeKind::Map(entries) = &node.kind {
            return entries;
        }
        let message = format!("{what} is a map, found {}", node.describe());
        self.fault("T003", node.span, message, "write `name: value`");
        &[]
    }

    fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Fields<'n> {
        let entries = self.entries(node, what);
        self.faults.extend(unknown_keys("T001", what, entries, known));
        Fields(entries)
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            NodeKind::List(items) => items,
            NodeKind::Scalar(text) if text.is_null() => &[],
            _ => {
                let message = format!("{what} is a list, found {}", node.describe());
                self.fault("T003", node.span, message, "begin each item with `- `");
                &[]
            }
        }
    }

    fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        if let NodeKind::Scalar(text) = &node.kind
            && !text.is_null()
        {
            return Some(text.clone());
        }
        let message = format!("{what} belongs here, found {}", node.describe());
        self.fault("T003", node.span, message, "write one value");
        None
    }

    fn string(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = fields.get(key)?;
        self.text(node, &format!("a value for `{key}`")).map(|text| text.text)
    }

    fn number(&mut self, fields: &Fields<'_>, key: &str) -> Option<i64> {
        let text = self.text(fields.get(key)?, &format!("a number for `{key}`"))?;
        let number = text.text.parse().ok();
        if number.is_none() {
            let message = format!("`{}` is not a whole number", text.text);
            self.fault("T003", text.span, message, format!("`{key}` is a whole number"));
        }
        number
    }

    fn required(&mut self, fields: &Fields<'_>, key: &str, span: Span) {
        if fields.get(key).is_none() {
            self.fault("T002", span, format!("`{key}` is missing"), format!("add `{key}:`"));
        }
    }

    fn json(&mut self, node: &Node) -> Json {
        match serde_json::from_str(&yaml::to_json(node)) {
            Ok(value) => value,
            Err(error) => {
                let message = format!("this value cannot be said in JSON: {error}");
                self.fault("T003", node.span, message, "quote numbers that are too large");
                Json::Null
            }
        }
    }

    fn object(&mut self, node: &Node, what: &str) -> Map<String, Json> {
        self.entries(node, what);
        match self.json(node) {
            Json::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn case(&mut self, node: &Node) -> Option<Case> {
        let known = ["name", "given", "events", "rows", "query", "variables", "answer", "parked"];
        let fields = self.map(node, "a case", &known);
        self.required(&fields, "name", node.span);
        self.required(&fields, "given", node.span);
        let name = fields.get("name").and_then(|node| self.text(node, "the case's name"))?;
        let given = fields.get("given").map(|node| self.list(node, "`given`")).unwrap_or_default();
        let rows = fields.get("rows").map(|node| self.entries(node, "`rows`")).unwrap_or_default();
        let events = fields.get("events").map(|node| self.entries(node, "`events`")).unwrap_or_default();
        let parked = fields.get("parked").map(|node| self.list(node, "`parked`")).unwrap_or_default();
        Some(Case {
            span: name.span,
            name: name.text,
            given: given.iter().filter_map(|node| self.given(node)).collect(),
            rows: rows.iter().map(|entry| self.rows(entry)).collect(),
            events: events.iter().map(|entry| self.events(entry)).collect(),
            query: self.query(&fields),
            parked: parked.iter().map(|node| self.parked(node)).collect(),
        })
    }

    fn given(&mut self, node: &Node) -> Option<Given> {
        let known = ["topic", "key", "value", "raw", "headers", "timestamp"];
        let fields = self.map(node, "a record", &known);
        self.required(&fields, "topic", node.span);
        let value = match (fields.get("value"), fields.get("raw")) {
            (Some(value), None) => match &value.kind {
                NodeKind::Scalar(text) if text.is_null() => None,
                _ => Some(yaml::to_json(value).into_bytes()),
            },
            (None, Some(raw)) => self.text(raw, "bytes as text").map(|text| text.text.into_bytes()),
            (Some(_), Some(raw)) => {
                let help = "write `value` for JSON, or `raw` for text that is not JSON";
                self.fault("T003", raw.span, "a record has either `value` or `raw`", help);
                None
            }
            (None, None) => {
                self.required(&fields, "value", node.span);
                None
            }
        };
        let headers = fields.get("headers").map(|node| self.entries(node, "`headers`")).unwrap_or_default();
        let header = |reader: &mut Self, entry: &Entry| {
            Some((entry.key.text.clone(), reader.text(&entry.value, "a header's value")?.text))
        };
        Some(Given {
            span: node.span,
            topic: self.string(&fields, "topic")?,
            key: match fields.get("key") {
                Some(Node { kind: NodeKind::Scalar(text), .. }) if text.is_null() => None,
                _ => self.string(&fields, "key"),
            },
            value,
            headers: headers.iter().filter_map(|entry| header(self, entry)).collect(),
            timestamp_ms: self.number(&fields, "timestamp"),
        })
    }

    fn rows(&mut self, entry: &Entry) -> ExpectedRows {
        let rows = self.list(&entry.value, "the rows of a type");
        ExpectedRows {
            type_name: entry.key.text.clone(),
            span: entry.key.span,
            rows: rows
                .iter()
                .map(|node| ExpectedRow { span: node.span, columns: self.object(node, "a row") })
                .collect(),
        }
    }

    /// The events of a projection: each an object of `type`, `version` and `event`.
    fn events(&mut self, entry: &Entry) -> ExpectedRows {
        for node in self.list(&entry.value, "the events of a projection") {
            let fields = self.map(node, "an event", &["type", "version", "event"]);
            self.required(&fields, "type", node.span);
        }
        self.rows(entry)
    }

    fn query(&mut self, fields: &Fields<'_>) -> Option<Query> {
        let Some(query) = fields.get("query") else {
            for key in ["answer", "variables"] {
                if let Some(node) = fields.get(key) {
                    self.fault("T002", node.span, format!("`{key}` needs a `query`"), "add `query:`");
                }
            }
            return None;
        };
        self.required(fields, "answer", query.span);
        let text = self.text(query, "a GraphQL operation")?;
        let answer = fields.get("answer")?;
        Some(Query {
            text: text.text,
            span: query.span,
            variables: fields.get("variables").map(|n| self.object(n, "`variables`")).unwrap_or_default(),
            answer: self.json(answer),
            answer_span: answer.span,
        })
    }

    fn parked(&mut self, node: &Node) -> ExpectedParked {
        let fields = self.map(node, "a parked key", &["projection", "key", "stage", "reason", "waiting"]);
        ExpectedParked {
            span: node.span,
            projection: self.string(&fields, "projection"),
            key: self.string(&fields, "key"),
            stage: self.string(&fields, "stage"),
            reason: self.string(&fields, "reason"),
            waiting: self.number(&fields, "waiting").and_then(|number| u64::try_from(number).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Case>, Vec<String>) {
        let mut sources = Sources::default();
        let file = sources.add("projections/x.cases.yaml", text);
        let (cases, faults) = load(file, &sources);
        (cases, faults.into_iter().map(|fault| format!("{}: {}", fault.code, fault.message)).collect())
    }

    #[test]
    fn a_case_is_read_with_the_values_of_the_core_schema() {
        let (cases, faults) = read(
            "cases:\n  - name: one\n    given:\n      - { topic: t, key: k, timestamp: 5, value: { a: 1.50, b: \"2\", c: null } }\n      - { topic: t, key: k, value: null }\n      - { topic: t, raw: \"{oops\" }\n    rows: { Cart: [{ id: c1, n: 2 }], Order: [] }\n    query: \"{ cart }\"\n    answer: { cart: null }\n    parked: [{ key: k, reason: not JSON }]\n    events: { carts: [{ type: A, version: 2, event: { a: 1 } }] }\n",
        );
        assert_eq!(cases[0].events[0].rows[0].columns["version"], Json::from(2));
        assert!(faults.is_empty(), "{faults:?}");
        let case = &cases[0];
        assert_eq!(case.given[0].value.as_deref(), Some(&br#"{"a":1.50,"b":"2","c":null}"#[..]));
        assert_eq!((case.given[0].timestamp_ms, case.given[1].value.as_deref()), (Some(5), None));
        assert_eq!(case.given[2].value.as_deref(), Some(&b"{oops"[..]));
        assert_eq!(case.rows[0].rows[0].columns["n"], Json::from(2));
        assert!(case.rows[1].rows.is_empty());
        assert_eq!(case.parked[0].reason.as_deref(), Some("not JSON"));
    }

    #[test]
    fn all_faults_come_at_once() {
        let (cases, faults) = read(
            "cases:\n  - name: one\n    givne: []\n  - given: [{ key: k }]\n    name: two\n    answer: {}\n    events: { a: [{ typ: A }] }\n",
        );
        assert!(cases.is_empty());
        assert_eq!(
            faults,
            [
                "T001: a case has no key `givne`",
                "T002: `given` is missing",
                "T002: `topic` is missing",
                "T002: `value` is missing",
                "T001: an event has no key `typ`",
                "T002: `type` is missing",
                "T002: `answer` needs a `query`",
            ]
        );
    }

    #[test]
    fn every_case_of_the_shop_is_read() {
        for (path, text) in [
            ("carts", include_str!("../../projections/carts.cases.yaml")),
            ("orders", include_str!("../../projections/orders.cases.yaml")),
            ("products", include_str!("../../projections/products.cases.yaml")),
            ("customers", include_str!("../../projections/customers.cases.yaml")),
        ] {
            let (cases, faults) = read(text);
            assert!(faults.is_empty(), "{path}: {faults:?}");
            assert!(cases.len() >= 3, "{path} has cases");
        }
    }
}
