//! Names for types, columns and tables that GraphQL and the store take, made of whatever events and topics are called.

use crate::schema::snake;

/// Longest name that is made; the store takes 48 bytes in snake case.
const LETTERS_MAX: usize = 24;

/// Types that every schema has, or that are declared beside.
const TAKEN: [&str; 14] = [
    "Query",
    "Mutation",
    "Subscription",
    "ID",
    "String",
    "Int",
    "Float",
    "Boolean",
    "DateTime",
    "Decimal",
    "Long",
    "PageInfo",
    "Date",
    "Time",
];

/// Words that an expression cannot have as a name.
const RESERVED: [&str; 20] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "while",
];

/// Names that are given out once each; two that are equal in snake case are one.
#[derive(Debug, Default)]
pub struct Names(Vec<String>);

impl Names {
    /// `customer_id`, `Customer ID` → `customerId`.
    pub fn column(&mut self, words: &str) -> String {
        let pascal = pascal(words);
        let upper = pascal.chars().take_while(char::is_ascii_uppercase).count();
        // `SKU` → `sku`, `URLPath` → `urlPath`, `Name` → `name`.
        let lower = if upper == pascal.len() { upper } else { upper.saturating_sub(1).max(1) };
        let name =
            pascal.chars().enumerate().map(|(at, c)| if at < lower { c.to_ascii_lowercase() } else { c });
        self.once(name.collect())
    }

    /// `shop.orders` → `Order`, where its last word is taken.
    pub fn of_type(&mut self, words: &str) -> String {
        let name = pascal(words);
        let is_taken =
            TAKEN.contains(&name.as_str()) || name.ends_with("Connection") || name.ends_with("Edge");
        self.once(if is_taken { format!("{name}Row") } else { name })
    }

    fn once(&mut self, name: String) -> String {
        let taken = |name: &str| self.0.iter().any(|known| snake(known) == snake(name));
        let mut names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}N{number}")));
        let name = names.find(|name| !taken(name)).expect("numbers do not end");
        self.0.push(name.clone());
        name
    }
}

/// Words joined, each with a capital; only letters and digits are left.
fn pascal(words: &str) -> String {
    let mut name = String::new();
    let mut begins = true;
    for letter in words.chars() {
        match letter {
            letter if !letter.is_ascii_alphanumeric() => begins = true,
            letter if name.is_empty() && letter.is_ascii_digit() => name.push_str(&format!("N{letter}")),
            letter if begins => {
                name.push(letter.to_ascii_uppercase());
                begins = false;
            }
            letter => name.push(letter),
        }
        if name.len() >= LETTERS_MAX {
            break;
        }
    }
    if name.is_empty() { "Field".to_owned() } else { name }
}

/// The last word of a topic in the singular, as well as letters tell: `shop.orders` → `order`.
pub fn subject(topic: &str) -> &str {
    let last = topic.rsplit(['.', '/', ':']).find(|word| !word.is_empty()).unwrap_or(topic);
    match last.strip_suffix('s') {
        Some(one) if one.len() > 2 && !one.ends_with('s') && !one.ends_with('u') && !one.ends_with('i') => {
            one
        }
        _ => last,
    }
}

/// An expression for a path below a name.
pub fn path(root: &str, path: &[String]) -> String {
    path.iter().fold(root.to_owned(), |text, part| {
        let is_plain = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().next().is_some_and(|c| !c.is_ascii_digit())
            && !RESERVED.contains(&part.as_str());
        if is_plain { format!("{text}.{part}") } else { format!("{text}[{}]", Quoted(part)) }
    })
}

struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::Value::from(self.0).to_string())
    }
}
