//! `options` of `@table`: what Cassandra is told of a table beside its columns and key, as CQL writes it.
//!
//! Comes in: the text of the argument. Goes out: the options one by one, or what is wrong with the text. What is said
//! elsewhere (order, time to live) is refused here; what the options mean is the store's.

use super::columns::Text;
use crate::diagnostic::{Diagnostic, nearest};

/// One option of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOption {
    pub name: String,
    /// As CQL writes it: `0.01`, `'text'`, `{'class': 'TimeWindowCompactionStrategy'}`.
    pub value: String,
}

/// The options that `CREATE TABLE` of Cassandra 5 knows.
const KNOWN: &[&str] = &[
    "additional_write_policy",
    "allow_auto_snapshot",
    "bloom_filter_fp_chance",
    "caching",
    "cdc",
    "comment",
    "compaction",
    "compression",
    "crc_check_chance",
    "extensions",
    "gc_grace_seconds",
    "incremental_backups",
    "max_index_interval",
    "memtable",
    "memtable_flush_period_in_ms",
    "min_index_interval",
    "read_repair",
    "speculative_retry",
];

/// Reads all options: `gc_grace_seconds = 3600 AND compaction = {'class': '…'}`.
///
/// # Errors
/// The first fault of the text, at its place.
pub(super) fn options(text: &Text) -> Result<Vec<TableOption>, Box<Diagnostic>> {
    let mut scanner = Scanner { text, at: 0 };
    let mut options: Vec<TableOption> = Vec::new();
    loop {
        let name = scanner.expect("the name of an option")?;
        let found = check_name(text, &name)?;
        if options.iter().any(|before| before.name == found) {
            let fault = name.fault(text, format!("`{found}` is said twice")).label("a second time");
            return Err(fault.help("Keep one of the two.").into());
        }
        scanner.sign("=")?;
        let value = scanner.value()?;
        options.push(TableOption { name: found, value });
        match scanner.next()? {
            None => return Ok(options),
            Some(token) if token.word.eq_ignore_ascii_case("and") => {}
            Some(token) => {
                let fault = token.fault(text, format!("`{}` does not belong here", token.word));
                return Err(fault.help("Options are joined by `AND`.").into());
            }
        }
    }
}

impl TableOption {
    /// The class of a compaction, without its package.
    pub fn compaction_class(&self) -> Option<&str> {
        let (_, rest) = self.value.split_once("'class': '").filter(|_| self.name == "compaction")?;
        let class = rest.split('\'').next()?;
        class.rsplit('.').next()
    }
}

fn check_name(text: &Text, token: &Token<'_>) -> Result<String, Box<Diagnostic>> {
    let name = token.word.to_ascii_lowercase();
    if KNOWN.contains(&name.as_str()) {
        return Ok(name);
    }
    let fault = |message: String| token.fault(text, message);
    Err(Box::new(match name.as_str() {
        "default_time_to_live" => fault("rows would end by the store's clock".to_owned())
            .label("not by the events' time")
            .help("Say `ttl` and `ttlFrom`: rows end by the time of their events, in a replay too."),
        "clustering" => fault("the order of rows is not an option here".to_owned())
            .label("said elsewhere")
            .help("`clustering` of `@table` says by which columns rows are sorted, and how."),
        _ => {
            let unknown = fault(format!("Cassandra has no table option `{}`", token.word)).label("not known");
            match nearest(&name, KNOWN.iter().copied()) {
                Some(near) => unknown.help(format!("Did you mean `{near}`?")),
                None => unknown.help(format!("There are: {}.", KNOWN.join(", "))),
            }
        }
    }))
}

struct Token<'t> {
    word: &'t str,
    start: usize,
}

impl Token<'_> {
    fn fault(&self, text: &Text, message: String) -> Diagnostic {
        let at = text.at(self.start, self.start + self.word.len());
        Diagnostic::error("S039", at, message).label("cannot be read")
    }

    fn is_value(&self) -> bool {
        self.word.starts_with(|letter: char| letter.is_ascii_alphanumeric() || "'-".contains(letter))
    }
}

struct Scanner<'t> {
    text: &'t Text,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn next(&mut self) -> Result<Option<Token<'t>>, Box<Diagnostic>> {
        let rest = &self.text.value[self.at..];
        let start = self.at + rest.len() - rest.trim_start().len();
        let rest = &self.text.value[start..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let in_word = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
        let token = |length: usize| Token { word: &rest[..length], start };
        let length = match first {
            '\'' => match string_len(rest) {
                Some(length) => length,
                None => {
                    let fault = token(rest.len()).fault(self.text, "this text has no end".to_owned());
                    return Err(fault.help("A text stands between two `'`; inside it `''` is one.").into());
                }
            },
            '=' | '{' | '}' | ':' | ',' => 1,
            letter if in_word(letter) => rest.find(|letter| !in_word(letter)).unwrap_or(rest.len()),
            other => {
                let fault =
                    token(other.len_utf8()).fault(self.text, format!("`{other}` does not belong here"));
                let help = "Write options as CQL does: `gc_grace_seconds = 3600 AND comment = 'carts'`.";
                return Err(fault.help(help).into());
            }
        };
        self.at = start + length;
        Ok(Some(token(length)))
    }

    fn expect(&mut self, wanted: &str) -> Result<Token<'t>, Box<Diagnostic>> {
        self.next()?.ok_or_else(|| {
            let message = format!("the text ends where {wanted} should be");
            let fault = Diagnostic::error("S039", self.text.span, message).label("incomplete");
            Box::new(fault.help("Write options as CQL does: `gc_grace_seconds = 3600`."))
        })
    }

    fn sign(&mut self, sign: &str) -> Result<(), Box<Diagnostic>> {
        let found = self.expect(&format!("`{sign}`"))?;
        if found.word == sign {
            return Ok(());
        }
        let fault = found.fault(self.text, format!("`{sign}` is missing before `{}`", found.word));
        Err(fault.help("Write options as CQL does: `gc_grace_seconds = 3600`.").into())
    }

    /// A number, a word, a text, or a map of such.
    fn value(&mut self) -> Result<String, Box<Diagnostic>> {
        let first = self.expect("a value")?;
        if first.word != "{" {
            return self.single(&first);
        }
        let mut entries = Vec::new();
        loop {
            let key = self.expect("an entry of the map")?;
            if key.word == "}" && entries.is_empty() {
                break;
            }
            let key = self.single(&key)?;
            self.sign(":")?;
            let value = self.expect("a value")?;
            entries.push(format!("{key}: {}", self.single(&value)?));
            let after = self.expect("`}`")?;
            match after.word {
                "}" => break,
                "," => {}
                other => {
                    let fault = after.fault(self.text, format!("`{other}` does not belong here"));
                    return Err(fault.help("Entries of a map are separated by commas.").into());
                }
            }
        }
        Ok(format!("{{{}}}", entries.join(", ")))
    }

    fn single(&self, token: &Token<'_>) -> Result<String, Box<Diagnostic>> {
        if token.is_value() {
            return Ok(token.word.to_string());
        }
        let fault = token.fault(self.text, format!("`{}` is no value", token.word));
        Err(fault.help("A value is a number, `true`, `false`, a text between `'`, or a map of such.").into())
    }
}

/// Length of the text that begins here, its quotes included; `None` where it has no end.
fn string_len(text: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find('\'')? + 1;
        if !text[at..].starts_with('\'') {
            return Some(at);
        }
        at += 1;
    }
}
