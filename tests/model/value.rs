//! Values as the oracle knows them: a JSON reader that keeps the text of numbers, and exact decimals over big
//! integers. Shares nothing with the engine's values; slow and plain on purpose.

use std::collections::BTreeMap;

use num_bigint::BigInt;

/// Anything an expression can yield or a column can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum V {
    Null,
    Bool(bool),
    Int(i128),
    /// A number of an event, as it was written.
    Number(String),
    Float(f64),
    Decimal(Dec),
    Text(String),
    /// Milliseconds since 1970.
    Time(i64),
    List(Vec<V>),
    /// A JSON object, a row, a value type, or a collection stored by key.
    Map(BTreeMap<String, V>),
    /// CEL's optional.
    Optional(Option<Box<V>>),
}

/// An exact decimal: `digits × 10^-scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dec {
    pub digits: BigInt,
    pub scale: u32,
}

impl Dec {
    /// Reads `-12.50`; nothing else than digits with at most one point and a sign in front.
    pub fn parse(text: &str) -> Result<Dec, String> {
        let bad = || format!("\"{text}\" is not a decimal");
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits_only = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) || unsigned.ends_with('.') {
            return Err(bad());
        }
        let digits: BigInt = format!("{whole}{fraction}").parse().map_err(|_| bad())?;
        let scale = fraction.len() as u32;
        Dec { digits: if text.starts_with('-') { -digits } else { digits }, scale }.bounded()
    }

    pub fn zero() -> Dec {
        Dec { digits: BigInt::from(0), scale: 0 }
    }

    pub fn from_int(int: i128) -> Dec {
        Dec { digits: BigInt::from(int), scale: 0 }
    }

    fn bounded(self) -> Result<Dec, String> {
        let digits = self.digits.magnitude().to_string().len();
        if digits > 38 || self.scale > 38 {
            Err(format!("{digits} digits are more than 38"))
        } else {
            Ok(self)
        }
    }

    fn digits_at(&self, scale: u32) -> BigInt {
        &self.digits * BigInt::from(10).pow(scale - self.scale)
    }

    pub fn plus(&self, other: &Dec) -> Result<Dec, String> {
        let scale = self.scale.max(other.scale);
        Dec { digits: self.digits_at(scale) + other.digits_at(scale), scale }.bounded()
    }

    pub fn minus(&self, other: &Dec) -> Result<Dec, String> {
        self.plus(&Dec { digits: -&other.digits, scale: other.scale })
    }

    pub fn times(&self, other: &Dec) -> Result<Dec, String> {
        Dec { digits: &self.digits * &other.digits, scale: self.scale + other.scale }.bounded()
    }

    pub fn compare(&self, other: &Dec) -> std::cmp::Ordering {
        let scale = self.scale.max(other.scale);
        self.digits_at(scale).cmp(&other.digits_at(scale))
    }
}

impl std::fmt::Display for Dec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.digits.magnitude().to_string();
        let scale = self.scale as usize;
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let sign = if self.digits < BigInt::from(0) { "-" } else { "" };
        if scale == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

impl V {
    pub fn text(text: impl Into<String>) -> V {
        V::Text(text.into())
    }

    /// A field of an object; `None` where this is no object or lacks it.
    pub fn get(&self, field: &str) -> Option<&V> {
        match self {
            V::Map(fields) => fields.get(field),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            V::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, where it is one: written without point and exponent, or computed.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            V::Int(int) => Some(*int),
            V::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// What it is, for a reason.
    pub fn kind(&self) -> &'static str {
        match self {
            V::Null => "null",
            V::Bool(_) => "a boolean",
            V::Int(_) | V::Number(_) | V::Float(_) | V::Decimal(_) => "a number",
            V::Text(_) => "text",
            V::Time(_) => "a time",
            V::List(_) => "a list",
            V::Map(_) => "an object",
            V::Optional(_) => "an optional",
        }
    }

    /// The canonical JSON by which rows and answers are compared.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as J;
        match self {
            V::Null | V::Optional(None) => J::Null,
            V::Optional(Some(inner)) => inner.to_json(),
            V::Bool(b) => J::Bool(*b),
            V::Int(int) => J::from(i64::try_from(*int).expect("a stored integer has at most 64 bits")),
            V::Number(text) => serde_json::from_str(text).expect("the reader kept a JSON number"),
            V::Float(float) => J::from(*float),
            V::Decimal(dec) => J::from(dec.to_string()),
            V::Text(text) => J::from(text.as_str()),
            V::Time(ms) => J::from(time_text(*ms)),
            V::List(items) => J::Array(items.iter().map(V::to_json).collect()),
            V::Map(fields) => J::Object(fields.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }
}

/// Reads `2026-01-01T00:00:00.000Z` and other ISO 8601 instants.
pub fn parse_time(text: &str) -> Result<i64, String> {
    text.parse::<jiff::Timestamp>()
        .map(|time| time.as_millisecond())
        .map_err(|_| format!("\"{text}\" is not a date and time"))
}

/// Writes an instant as answers show it: milliseconds and `Z`.
pub fn time_text(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).expect("the oracle made it from text");
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Reads one JSON text, strictly; numbers keep their text.
pub fn parse_json(bytes: &[u8]) -> Result<V, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    if reader.at == text.len() {
        Ok(value)
    } else {
        Err(format!("text after the value at byte {}", reader.at))
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("expected `{token}` at byte {}", self.at)) }
    }

    fn value(&mut self, depth: usize) -> Result<V, String> {
        if depth > 200 {
            return Err("nested too deep".into());
        }
        self.space();
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"') => self.string().map(V::Text),
            Some('-' | '0'..='9') => self.number(),
            _ if self.take("true") => Ok(V::Bool(true)),
            _ if self.take("false") => Ok(V::Bool(false)),
            _ if self.take("null") => Ok(V::Null),
            _ => Err(format!("no value at byte {}", self.at)),
        }
    }

    fn object(&mut self, depth: usize) -> Result<V, String> {
        self.expect("{")?;
        let mut fields = BTreeMap::new();
        self.space();
        while !self.take("}") {
            if !fields.is_empty() {
                self.expect(",")?;
                self.space();
            }
            let name = self.string()?;
            self.space();
            self.expect(":")?;
            fields.insert(name, self.value(depth + 1)?);
            self.space();
        }
        Ok(V::Map(fields))
    }

    fn list(&mut self, depth: usize) -> Result<V, String> {
        self.expect("[")?;
        let mut items = Vec::new();
        self.space();
        while !self.take("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.value(depth + 1)?);
            self.space();
        }
        Ok(V::List(items))
    }

    fn string(&mut self) -> Result<String, String> {
        let start = self.at;
        self.expect("\"")?;
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.at += self.peek().map_or(0, char::len_utf8),
                '"' => {
                    let literal = &self.text[start..self.at];
                    return serde_json::from_str(literal).map_err(|fault| format!("bad text: {fault}"));
                }
                _ => {}
            }
        }
        Err("text without an end".into())
    }

    fn number(&mut self) -> Result<V, String> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let number = &rest[..end];
        serde_json::from_str::<serde_json::Number>(number).map_err(|fault| format!("bad number: {fault}"))?;
        self.at += end;
        Ok(V::Number(number.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_scale() {
        let dec = |text| Dec::parse(text).expect("a decimal");
        assert_eq!(dec("12.50").times(&Dec::from_int(2)).expect("fits").to_string(), "25.00");
        assert_eq!(dec("1.5").plus(&dec("0.25")).expect("fits").to_string(), "1.75");
        assert_eq!(dec("-0.05").plus(&dec("0.1")).expect("fits").to_string(), "0.05");
        assert_eq!(dec("-0.05").to_string(), "-0.05");
        assert_eq!(Dec::zero().to_string(), "0");
        assert!(dec("99999999999999999999999999999999999999").plus(&Dec::from_int(1)).is_err());
        assert!(["", ".", "1.", "x", "1e2", "--1"].iter().all(|text| Dec::parse(text).is_err()));
    }

    #[test]
    fn json_numbers_keep_their_text() {
        let value = parse_json(br#" {"a": 1.50, "b": [1, -2], "c": "\u00e9\"", "d": null} "#).expect("JSON");
        assert_eq!(value.get("a"), Some(&V::Number("1.50".into())));
        assert_eq!(value.get("b"), Some(&V::List(vec![V::Number("1".into()), V::Number("-2".into())])));
        assert_eq!(value.get("c"), Some(&V::text("é\"")));
        for bad in ["", "{", "[1,]", "{\"a\"}", "01", "1 2", "nul", "\"\n\""] {
            assert!(parse_json(bad.as_bytes()).is_err(), "{bad} was read");
        }
    }

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(
            time_text(parse_time("2026-01-31T23:59:59Z").expect("a time")),
            "2026-01-31T23:59:59.000Z"
        );
    }
}
