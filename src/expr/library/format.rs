//! `text.format([…])`: texts with places that values are written into: `%s %d %f %e %b %o %x %X`.
//!
//! Comes in: the text and a list of values. Goes out: the text with the values in it, or a fault that names the place.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::value::{Decimal, decimal::Rounding};

use super::super::Fault;
use super::super::arith::plain;
use super::super::reach::{items, text_of};
use super::super::val::{Val, show_float};
use super::super::{json, time};
use super::strings::TEXT_MAX;
use super::unfit;

/// Most digits behind the point.
const DIGITS_MAX: usize = 100;
/// Lists and maps inside each other that are written out.
const DEPTH_MAX: usize = 16;

pub(super) fn format<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    let Some(pattern) = text_of(&args[0]) else { return unfit(text, &args[0], "a string") };
    let Some(mut values) = items(&args[1]) else {
        return unfit("what is formatted", &args[1], "a list");
    };
    let mut out = String::with_capacity(pattern.len());
    let mut rest = &*pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let (digits, letter);
        (digits, letter, rest) = place(rest)?;
        let Some(value) = values.next() else {
            return Err(Fault(format!("{text} has more places than there are values")));
        };
        write(&mut out, letter, digits, &bare(value))?;
        if out.len() > TEXT_MAX {
            return Err(Fault(format!("{text} would become a text of more than {TEXT_MAX} bytes")));
        }
    }
    out.push_str(rest);
    Ok(Val::Text(Cow::Owned(out)))
}

/// What stands behind a `%`: digits behind the point, the letter, and the rest.
fn place(rest: &str) -> Result<(Option<usize>, char, &str), Fault> {
    let unknown =
        || Fault(format!("`%{}` is no place for a value", rest.chars().take(4).collect::<String>()));
    let (digits, rest) = match rest.strip_prefix('.') {
        Some(behind) => {
            let end = behind.find(|char: char| !char.is_ascii_digit()).unwrap_or(behind.len());
            let digits = behind[..end].parse().ok().filter(|digits| *digits <= DIGITS_MAX);
            (Some(digits.ok_or_else(unknown)?), &behind[end..])
        }
        None => (None, rest),
    };
    match rest.chars().next() {
        Some(letter) if "sdfebox".contains(letter) || letter == 'X' => {
            Ok((digits, letter, &rest[letter.len_utf8()..]))
        }
        _ => Err(unknown()),
    }
}

/// A JSON scalar as the value it is.
fn bare(value: Val<'_>) -> Val<'_> {
    match plain(value.clone()) {
        Ok(value) => value,
        Err(_) => value,
    }
}

fn write(out: &mut String, letter: char, digits: Option<usize>, value: &Val<'_>) -> Result<(), Fault> {
    let unfit = |expected: &str| unfit(&format!("the value of `%{letter}`"), value, expected);
    if let (Val::Float(number), true) = (value, "dfe".contains(letter))
        && !number.is_finite()
    {
        out.push_str(&show_float(*number));
        return Ok(());
    }
    match letter {
        's' => return show(out, value, 0),
        'd' => match value {
            Val::Int(_) | Val::Uint(_) => out.push_str(&value.text().unwrap_or_default()),
            Val::Decimal(number) if number.is_integer() => out.push_str(&fixed(*number, 0)?),
            _ => return unfit("an integer"),
        },
        'f' => match value {
            Val::Decimal(number) => out.push_str(&fixed(*number, digits.unwrap_or(6))?),
            _ => match float(value) {
                Some(number) => {
                    let _ = write!(out, "{number:.*}", digits.unwrap_or(6));
                }
                None => return unfit("a number"),
            },
        },
        'e' => match float(value) {
            Some(number) => {
                let written = format!("{number:.*e}", digits.unwrap_or(6));
                let (mantissa, power) = written.split_once('e').unwrap_or((&written, "0"));
                let power: i32 = power.parse().unwrap_or_default();
                let sign = if power < 0 { '-' } else { '+' };
                let _ = write!(out, "{mantissa}e{sign}{:02}", power.abs());
            }
            None => return unfit("a number"),
        },
        _ => return bits(out, letter, value),
    }
    Ok(())
}

fn fixed(number: Decimal, digits: usize) -> Result<String, Fault> {
    let digits = u32::try_from(digits).unwrap_or(u32::MAX).min(38);
    match number.div(Decimal::from(1), digits, Rounding::HalfEven) {
        Ok(number) => Ok(number.to_string()),
        Err(error) => Err(Fault(error.to_string())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a floating number is asked for")]
fn float(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Float(number) => Some(*number),
        Val::Int(number) => Some(*number as f64),
        Val::Uint(number) => Some(*number as f64),
        Val::Decimal(number) => Some(number.to_f64()),
        _ => None,
    }
}

/// `%b`, `%o`, `%x` and `%X`.
fn bits(out: &mut String, letter: char, value: &Val<'_>) -> Result<(), Fault> {
    let (negative, size) = match value {
        Val::Int(number) => (*number < 0, number.unsigned_abs()),
        Val::Uint(number) => (false, *number),
        Val::Bool(truth) if letter == 'b' => (false, u64::from(*truth)),
        Val::Text(text) if letter.eq_ignore_ascii_case(&'x') => return hex(out, letter, text.as_bytes()),
        Val::Bytes(bytes) if letter.eq_ignore_ascii_case(&'x') => return hex(out, letter, bytes),
        _ => return unfit(&format!("the value of `%{letter}`"), value, "an integer"),
    };
    if negative {
        out.push('-');
    }
    let _ = match letter {
        'b' => write!(out, "{size:b}"),
        'o' => write!(out, "{size:o}"),
        'x' => write!(out, "{size:x}"),
        _ => write!(out, "{size:X}"),
    };
    Ok(())
}

fn hex(out: &mut String, letter: char, bytes: &[u8]) -> Result<(), Fault> {
    for byte in bytes {
        let _ = if letter == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") };
    }
    Ok(())
}

/// `%s`: a value written out, with what is in it.
fn show(out: &mut String, value: &Val<'_>, depth: usize) -> Result<(), Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault(format!("more than {DEPTH_MAX} lists and maps stand inside each other")));
    }
    match value {
        Val::Null | Val::Nothing => out.push_str("null"),
        Val::Json(found) if json::is_null(found) => out.push_str("null"),
        Val::Json(found) if json::bool(found).is_some() => {
            out.push_str(if json::bool(found) == Some(true) { "true" } else { "false" });
        }
        Val::Timestamp(ms) => out.push_str(&time::show_shortest(*ms)),
        Val::Type(name) => out.push_str(name),
        Val::Money(money) => {
            let _ = write!(out, "{} {}", money.0, money.1);
        }
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => out.push_str(text),
            Err(_) => return unfit("the value of `%s`", value, "bytes that are text"),
        },
        Val::Map(_) | Val::Pairs(_) => return show_map(out, value, depth),
        Val::Json(found) if json::is_object(found) => return show_map(out, value, depth),
        other => match (other.text(), items(other)) {
            (Some(text), _) => out.push_str(&text),
            (None, Some(items)) => {
                out.push('[');
                for (index, item) in items.enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    show(out, &bare(item), depth + 1)?;
                }
                out.push(']');
            }
            (None, None) => return unfit("the value of `%s`", value, "a value that has a text form"),
        },
    }
    Ok(())
}

/// A map in the order of its keys' texts.
fn show_map(out: &mut String, map: &Val<'_>, depth: usize) -> Result<(), Fault> {
    let mut entries = Vec::new();
    let each: Vec<(Val<'_>, Val<'_>)> = match map {
        Val::Map(entries) => entries.clone(),
        Val::Pairs(pairs) => pairs.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        Val::Json(found) => json::fields(found)
            .into_iter()
            .flatten()
            .map(|(name, value)| (Val::Text(Cow::Borrowed(name)), Val::Json(value)))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in each {
        let (mut name, mut shown) = (String::new(), String::new());
        show(&mut name, &bare(key), depth + 1)?;
        show(&mut shown, &bare(value), depth + 1)?;
        entries.push((name, shown));
    }
    entries.sort();
    let entries: Vec<_> = entries.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let _ = write!(out, "{{{}}}", entries.join(", "));
    Ok(())
}
