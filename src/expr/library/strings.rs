//! Functions on text. Places and lengths count characters, never bytes.
//!
//! Comes in: texts and numbers. Goes out: texts, numbers, lists of texts, or a fault where a place lies outside. Regular
//! expressions are `call`'s: they are made when definitions are checked.

use std::borrow::Cow;

use super::super::Fault;
use super::super::reach::{items, text_of};
use super::super::val::Val;
use super::format::format;
use super::{Gives, Signature, Takes, unfit};

/// Most bytes of a text that a function makes.
pub(in crate::expr) const TEXT_MAX: usize = 16 << 20;

pub(super) const ALL: &[Signature] = &[
    signature!(."startsWith", [Text, Text], Bool, "text.startsWith(prefix)", |args, text| {
        Ok(Val::Bool(of(&args[0], text)?.starts_with(&*of(&args[1], "the prefix")?)))
    }),
    signature!(."endsWith", [Text, Text], Bool, "text.endsWith(suffix)", |args, text| {
        Ok(Val::Bool(of(&args[0], text)?.ends_with(&*of(&args[1], "the suffix")?)))
    }),
    signature!(."contains", [Text, Text], Bool, "text.contains(part)", |args, text| {
        Ok(Val::Bool(of(&args[0], text)?.contains(&*of(&args[1], "the part")?)))
    }),
    signature!(."charAt", [Text, Int], Text, "text.charAt(place)", char_at),
    signature!(."indexOf", [Text, Text], Int, "text.indexOf(part)", index_of),
    signature!(."indexOf", [Text, Text, Int], Int, "text.indexOf(part, from)", index_of),
    signature!(."lastIndexOf", [Text, Text], Int, "text.lastIndexOf(part)", last_index_of),
    signature!(."lastIndexOf", [Text, Text, Int], Int, "text.lastIndexOf(part, upTo)", last_index_of),
    signature!(."lowerAscii", [Text], Text, "text.lowerAscii()", |args, text| {
        Ok(owned(of(&args[0], text)?.to_ascii_lowercase()))
    }),
    signature!(."upperAscii", [Text], Text, "text.upperAscii()", |args, text| {
        Ok(owned(of(&args[0], text)?.to_ascii_uppercase()))
    }),
    signature!(."trim", [Text], Text, "text.trim()", |args, text| Ok(owned(
        of(&args[0], text)?.trim().to_owned()
    ))),
    signature!(."reverse", [Text], Text, "text.reverse()", |args, text| {
        Ok(owned(of(&args[0], text)?.chars().rev().collect()))
    }),
    signature!(."replace", [Text, Text, Text], Text, "text.replace(part, by)", replace),
    signature!(."replace", [Text, Text, Text, Int], Text, "text.replace(part, by, times)", replace),
    signature!(."split", [Text, Text], Texts, "text.split(separator)", split),
    signature!(."split", [Text, Text, Int], Texts, "text.split(separator, parts)", split),
    signature!(."substring", [Text, Int], Text, "text.substring(from)", substring),
    signature!(."substring", [Text, Int, Int], Text, "text.substring(from, to)", substring),
    signature!(."join", [Texts], Text, "list.join()", join),
    signature!(."join", [Texts, Text], Text, "list.join(separator)", join),
    signature!(."format", [Text, Any], Text, "text.format([value])", format),
    Signature {
        name: "strings.quote",
        method: false,
        takes: &[Takes::Text],
        gives: Gives::Text,
        form: "strings.quote(text)",
        run: |args, text| Ok(owned(quoted(&of(&args[0], text)?))),
    },
];

fn of<'v>(value: &Val<'v>, text: &str) -> Result<Cow<'v, str>, Fault> {
    match text_of(value) {
        Some(found) => Ok(found),
        None => unfit(text, value, "a string"),
    }
}

fn owned<'v>(text: String) -> Val<'v> {
    Val::Text(Cow::Owned(text))
}

/// A place in a text: how many characters stand before it.
fn place(value: &Val<'_>, text: &str, of: &str) -> Result<usize, Fault> {
    let Val::Int(number) = value else { return unfit("a place in a text", value, "an integer") };
    let count = of.chars().count();
    match usize::try_from(*number) {
        Ok(place) if place <= count => Ok(place),
        _ => Err(Fault(format!("{text} has {count} characters: there is no place {number} in it"))),
    }
}

/// How many bytes stand before a place.
fn bytes_before(of: &str, place: usize) -> usize {
    of.char_indices().nth(place).map_or(of.len(), |(at, _)| at)
}

fn char_at<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let of = of(&args[0], text)?;
    let place = place(&args[1], text, &of)?;
    Ok(owned(of.chars().nth(place).map(String::from).unwrap_or_default()))
}

fn found<'v>(of: &str, at: Option<usize>) -> Val<'v> {
    let place = at.map(|at| of[..at].chars().count());
    Val::Int(place.map_or(-1, |place| i64::try_from(place).expect("what fits memory is counted in 63 bits")))
}

fn index_of<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let (whole, part) = (of(&args[0], text)?, of(&args[1], "the part")?);
    let start = match args.get(2) {
        Some(from) => bytes_before(&whole, place(from, text, &whole)?),
        None => 0,
    };
    Ok(found(&whole, whole[start..].find(&*part).map(|at| start + at)))
}

fn last_index_of<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let (whole, part) = (of(&args[0], text)?, of(&args[1], "the part")?);
    // The part may begin at that place and end behind it.
    let end = match args.get(2) {
        Some(up_to) => bytes_before(&whole, place(up_to, text, &whole)?).saturating_add(part.len()),
        None => whole.len(),
    };
    let mut end = end.min(whole.len());
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    Ok(found(&whole, whole[..end].rfind(&*part)))
}

/// A count that says "all" where it is negative.
fn count(value: Option<&Val<'_>>) -> Result<Option<usize>, Fault> {
    match value {
        None => Ok(None),
        Some(Val::Int(number)) => Ok(usize::try_from(*number).ok()),
        Some(other) => unfit("the count", other, "an integer"),
    }
}

fn replace<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let whole = of(&args[0], text)?;
    let (part, by) = (of(&args[1], "the part")?, of(&args[2], "what it is replaced by")?);
    let count = count(args.get(3))?;
    // An empty part stands before each character and at the end.
    let places = match part.is_empty() {
        true => whole.chars().count() + 1,
        false => whole.matches(&*part).count(),
    };
    bounded(text, whole.len(), places.min(count.unwrap_or(usize::MAX)), by.len())?;
    Ok(owned(match count {
        Some(count) => whole.replacen(&*part, &by, count),
        None => whole.replace(&*part, &by),
    }))
}

/// Refuses to make a text that would be too long.
fn bounded(text: &str, bytes: usize, more: usize, each: usize) -> Result<(), Fault> {
    match more.checked_mul(each).and_then(|more| more.checked_add(bytes)) {
        Some(made) if made <= TEXT_MAX => Ok(()),
        _ => Err(Fault(format!("{text} would become a text of more than {TEXT_MAX} bytes"))),
    }
}

fn split<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let (whole, separator) = (of(&args[0], text)?, of(&args[1], "the separator")?);
    let limit = count(args.get(2))?.unwrap_or(usize::MAX);
    let parts: Vec<&str> = match separator.is_empty() {
        // By nothing: character by character.
        true => characters(&whole, limit),
        false => whole.splitn(limit, &*separator).collect(),
    };
    Ok(Val::List(parts.into_iter().map(|part| owned(part.to_owned())).collect()))
}

/// The characters of a text; the last part is all that is left where there are more than the limit.
fn characters(whole: &str, limit: usize) -> Vec<&str> {
    let starts = whole.char_indices().map(|(at, _)| at).take(limit).collect::<Vec<_>>();
    let ends = starts.iter().skip(1).copied().chain([whole.len()]);
    starts.iter().zip(ends).map(|(start, end)| &whole[*start..end]).collect()
}

fn substring<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let whole = of(&args[0], text)?;
    let from = place(&args[1], text, &whole)?;
    let to = match args.get(2) {
        Some(to) => bytes_before(&whole, place(to, text, &whole)?),
        None => whole.len(),
    };
    let from = bytes_before(&whole, from);
    match whole.get(from..to) {
        Some(part) => Ok(owned(part.to_owned())),
        None => Err(Fault(format!("a part of {text} would end before it begins"))),
    }
}

fn join<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let separator = match args.get(1) {
        Some(separator) => of(separator, "the separator")?,
        None => Cow::Borrowed(""),
    };
    let Some(parts) = items(&args[0]) else { return unfit(text, &args[0], "a list of strings") };
    let parts: Option<Vec<_>> = parts.map(|part| text_of(&part)).collect();
    let Some(parts) = parts else {
        return Err(Fault(format!("{text} holds what is not text, expected a list of strings")));
    };
    bounded(text, parts.iter().map(|part| part.len()).sum(), parts.len(), separator.len())?;
    Ok(owned(parts.join(&*separator)))
}

/// The text in quotes, with what would not be seen written out.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '\u{07}' => quoted.push_str("\\a"),
            '\u{08}' => quoted.push_str("\\b"),
            '\u{0c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{0b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
