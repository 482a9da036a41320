//! Reads the OpenMetrics text format, strictly: what a scraper may refuse is refused here.
//!
//! Comes in: the body of `/metrics`. Goes out: its families, each with its samples, or a sentence with the line. Written from the
//! format's specification (OpenMetrics 1.0), apart from what writes it.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::{BTreeMap, BTreeSet};

/// A metric family.
#[derive(Debug, Default)]
pub struct Family {
    pub name: String,
    pub kind: String,
    pub unit: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    /// With its suffix.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All families of a scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    pub families: Vec<Family>,
}

impl Scrape {
    /// Reads a whole body.
    pub fn read(text: &str) -> Result<Scrape, String> {
        let body = text.strip_suffix("# EOF\n").ok_or("it does not end with `# EOF` and a line feed")?;
        let mut scrape = Scrape::default();
        for (number, line) in (1..).zip(body.lines()) {
            scrape.line(line).map_err(|reason| format!("line {number}: {reason}: {line}"))?;
        }
        let mut series = BTreeSet::new();
        for family in &scrape.families {
            for sample in &family.samples {
                let name = format!("{}{:?}", sample.name, sample.labels);
                if !series.insert(name.clone()) {
                    return Err(format!("{name} is there twice"));
                }
            }
            family.check().map_err(|reason| format!("{}: {reason}", family.name))?;
        }
        Ok(scrape)
    }

    /// The family of a name.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// The sum of the samples of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let has = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|has| has == value))
        };
        samples.filter(has).map(|sample| sample.value).sum()
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let Some(comment) = line.strip_prefix("# ") else { return self.sample(line) };
        let (what, rest) = comment.split_once(' ').ok_or("a comment says nothing")?;
        let (name, said) = rest.split_once(' ').ok_or("nothing is said of the name")?;
        if !is_name(name, true) {
            return Err(format!("{name:?} is no name"));
        }
        if self.families.last().is_none_or(|family| family.name != name) {
            if self.family(name).is_some() {
                return Err("the family is there already".to_owned());
            }
            self.families.push(Family { name: name.to_owned(), ..Family::default() });
        }
        let family = self.families.last_mut().expect("it was pushed");
        if !family.samples.is_empty() {
            return Err("it comes after samples of its family".to_owned());
        }
        let field = match what {
            "TYPE" => &mut family.kind,
            "UNIT" => &mut family.unit,
            "HELP" => &mut family.help,
            _ => return Err(format!("{what:?} is neither TYPE, UNIT nor HELP")),
        };
        if !field.is_empty() {
            return Err(format!("{what} is said twice"));
        }
        *field = said.to_owned();
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("a sample has no value")?;
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = value.strip_prefix(' ').ok_or("a space must stand before the value")?;
        let value = match value {
            "+Inf" => f64::INFINITY,
            "NaN" => f64::NAN,
            digits if digits.bytes().all(|byte| b"0123456789.eE+-".contains(&byte)) => {
                digits.parse().map_err(|_| format!("{value:?} is no number"))?
            }
            _ => return Err(format!("{value:?} is no number")),
        };
        let family = self.families.last_mut().ok_or("no family was named")?;
        let suffix =
            name.strip_prefix(&family.name).ok_or("it is of another family than the one before it")?;
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => return Err(format!("{other:?} is none of the types in use here")),
        };
        if !suffixes.contains(&suffix) {
            return Err(format!("a {} has no sample with {suffix:?}", family.kind));
        }
        if !suffix.is_empty() && suffix != "_sum" && (value < 0.0 || value.is_nan()) {
            return Err("a count is below nothing".to_owned());
        }
        family.samples.push(Sample { name: name.to_owned(), labels, value });
        Ok(())
    }
}

impl Family {
    fn check(&self) -> Result<(), String> {
        if self.kind.is_empty() || self.help.is_empty() {
            return Err("TYPE or HELP is missing".to_owned());
        }
        if !self.unit.is_empty() && !self.name.ends_with(&format!("_{}", self.unit)) {
            return Err(format!("its name does not end in its unit, {}", self.unit));
        }
        let mut names: Vec<BTreeSet<&String>> = Vec::new();
        for sample in &self.samples {
            let of: BTreeSet<&String> = sample.labels.keys().filter(|label| *label != "le").collect();
            if !names.contains(&of) {
                names.push(of);
            }
        }
        if names.len() > 1 {
            return Err(format!("its samples have different labels: {names:?}"));
        }
        if self.kind == "histogram" { self.check_histogram() } else { Ok(()) }
    }

    /// Buckets grow with their bounds, up to all.
    fn check_histogram(&self) -> Result<(), String> {
        type Seen = (Vec<(f64, f64)>, Option<f64>, Option<f64>);
        let mut all: BTreeMap<BTreeMap<String, String>, Seen> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le");
            let (buckets, sum, count) = all.entry(labels).or_default();
            match (sample.name.rsplit('_').next(), bound) {
                (Some("bucket"), Some(bound)) => {
                    let bound = if bound == "+Inf" { Ok(f64::INFINITY) } else { bound.parse() };
                    buckets.push((bound.map_err(|_| "a bound is no number")?, sample.value));
                }
                (Some("sum"), None) => *sum = Some(sample.value),
                (Some("count"), None) => *count = Some(sample.value),
                _ => return Err("`le` stands where none belongs, or is missing".to_owned()),
            }
        }
        for (labels, (buckets, sum, count)) in all {
            if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
                return Err(format!("{labels:?}: its buckets do not grow"));
            }
            if sum.is_none()
                || buckets.last().map(|last| (last.0, Some(last.1))) != Some((f64::INFINITY, count))
            {
                return Err(format!("{labels:?}: its last bucket is not its count"));
            }
        }
        Ok(())
    }
}

/// Reads labels behind `{`; answers them and what follows `}`.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let (mut labels, mut rest) = (BTreeMap::new(), text);
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label has no value in quotes")?;
        if !is_name(name, false) {
            return Err(format!("{name:?} is no label"));
        }
        let (value, after) = quoted(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name:?} is there twice"));
        }
        match after.as_bytes().first() {
            Some(b',') => rest = &after[1..],
            Some(b'}') => return Ok((labels, &after[1..])),
            _ => return Err("neither `,` nor `}` follows a label".to_owned()),
        }
    }
}

/// Reads text up to its closing quote.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('\\' | '"'))) => value.push(c),
                _ => return Err("a value has an escape that is none".to_owned()),
            },
            c => value.push(c),
        }
    }
    Err("a value has no closing quote".to_owned())
}

fn is_name(text: &str, with_colons: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (with_colons && c == ':');
    text.starts_with(|c: char| fits(c) && !c.is_ascii_digit()) && text.chars().all(fits)
}

#[test]
fn what_a_scraper_refuses_is_refused() {
    let head = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n";
    let good = format!(
        "{head}a_seconds_sum{{b=\"x\\\\\\\"\\n\"}} 1.5\na_seconds_count{{b=\"x\\\\\\\"\\n\"}} 2\n\
         a_seconds_bucket{{le=\"1.0\",b=\"x\\\\\\\"\\n\"}} 1\na_seconds_bucket{{le=\"+Inf\",b=\"x\\\\\\\"\\n\"}} 2\n# EOF\n"
    );
    let read = Scrape::read(&good).expect("it is well-formed");
    assert_eq!(read.sum("a_seconds_count", &[("b", "x\\\"\n")]), 2.0);
    for (from, to, says) in [
        ("# EOF\n", "", "it does not end with"),
        ("} 1.5", "}  1.5", "is no number"),
        ("} 1.5", "} one", "is no number"),
        ("a_seconds_sum{", "b_seconds_sum{", "it is of another family"),
        ("a_seconds_sum{", "a_seconds_total{", "has no sample with"),
        ("histogram", "summary", "is none of the types"),
        ("le=\"1.0\"", "le=\"+Inf\"", "is there twice"),
        ("} 1\n", "} 3\n", "its buckets do not grow"),
        ("_count{b=\"x\\\\\\\"\\n\"} 2", "_count{b=\"x\\\\\\\"\\n\"} 3", "its last bucket is not its count"),
        ("_sum{b=", "_sum{c=", "different labels"),
        ("_sum{b=", "_sum{le=\"1\",b=", "where none belongs"),
        ("# UNIT a_seconds seconds", "# UNIT a_seconds bytes", "does not end in its unit"),
        ("# HELP a_seconds How long.\n", "", "TYPE or HELP is missing"),
        ("# EOF", "# TYPE a_seconds histogram\n# EOF", "it comes after samples"),
        ("# EOF", "# TYPE c counter\n# HELP c C.\nc_total -1\n# EOF", "below nothing"),
        ("# EOF", "# TYPE c counter\n# HELP c C.\n# TYPE a_seconds gauge\n# EOF", "there already"),
        ("\\n\"} 1.5", "\\t\"} 1.5", "an escape that is none"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = Scrape::read(&good.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains(says), "{from} → {to}: {error}");
    }
}
