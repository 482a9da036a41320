//! `math.…`: rounding of floating numbers, signs, and bits.
//!
//! Comes in: numbers. Goes out: numbers and truths. Decimals are rounded by `round(x, scale, rounding)`, which says how; the
//! greatest and least of several numbers are `call`'s, because they take any count.

use super::super::Fault;
use super::super::val::Val;
use super::{Gives, Signature, Takes, unfit};

pub(super) const ALL: &[Signature] = &[
    signature!("math.ceil", [Float], Float, "math.ceil(x)", |args, text| rounded(args, text, f64::ceil)),
    signature!("math.floor", [Float], Float, "math.floor(x)", |args, text| rounded(args, text, f64::floor)),
    // Halves go away from zero.
    signature!("math.round", [Float], Float, "math.round(x)", |args, text| rounded(args, text, f64::round)),
    signature!("math.trunc", [Float], Float, "math.trunc(x)", |args, text| rounded(args, text, f64::trunc)),
    signature!("math.sqrt", [Number], Float, "math.sqrt(x)", sqrt),
    signature!("math.abs", [Number], First, "math.abs(x)", abs),
    signature!("math.sign", [Number], First, "math.sign(x)", sign),
    signature!("math.isNaN", [Float], Bool, "math.isNaN(x)", |args, text| Ok(Val::Bool(
        float(&args[0], text)?.is_nan()
    ))),
    signature!("math.isInf", [Float], Bool, "math.isInf(x)", |args, text| Ok(Val::Bool(
        float(&args[0], text)?.is_infinite()
    ))),
    signature!("math.isFinite", [Float], Bool, "math.isFinite(x)", |args, text| Ok(Val::Bool(
        float(&args[0], text)?.is_finite()
    ))),
    signature!("math.bitAnd", [Whole, Whole], First, "math.bitAnd(a, b)", |args, text| {
        bits(args, text, |a, b| a & b, |a, b| a & b)
    }),
    signature!("math.bitOr", [Whole, Whole], First, "math.bitOr(a, b)", |args, text| {
        bits(args, text, |a, b| a | b, |a, b| a | b)
    }),
    signature!("math.bitXor", [Whole, Whole], First, "math.bitXor(a, b)", |args, text| {
        bits(args, text, |a, b| a ^ b, |a, b| a ^ b)
    }),
    signature!("math.bitNot", [Whole], First, "math.bitNot(a)", |args, text| match &args[0] {
        Val::Int(number) => Ok(Val::Int(!number)),
        Val::Uint(number) => Ok(Val::Uint(!number)),
        other => unfit(text, other, "an integer"),
    }),
    signature!("math.bitShiftLeft", [Whole, Int], First, "math.bitShiftLeft(a, by)", |args, text| {
        shifted(args, text, u64::checked_shl)
    }),
    signature!("math.bitShiftRight", [Whole, Int], First, "math.bitShiftRight(a, by)", |args, text| {
        shifted(args, text, u64::checked_shr)
    }),
];

fn rounded<'v>(args: &[Val<'v>], text: &str, how: fn(f64) -> f64) -> Result<Val<'v>, Fault> {
    Ok(Val::Float(how(float(&args[0], text)?)))
}

/// The floating number; an exact number of the event counts as one where it has a fraction.
fn float(value: &Val<'_>, text: &str) -> Result<f64, Fault> {
    match value {
        Val::Float(number) => Ok(*number),
        Val::Decimal(number) => Ok(number.to_f64()),
        other => unfit(text, other, "a floating number"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a root is a floating number")]
fn sqrt<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    Ok(Val::Float(match &args[0] {
        Val::Int(number) => (*number as f64).sqrt(),
        Val::Uint(number) => (*number as f64).sqrt(),
        other => float(other, text)?.sqrt(),
    }))
}

fn abs<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    match &args[0] {
        Val::Int(number) => match number.checked_abs() {
            Some(number) => Ok(Val::Int(number)),
            None => Err(Fault(format!("the amount of {number} is out of range"))),
        },
        Val::Uint(number) => Ok(Val::Uint(*number)),
        Val::Float(number) => Ok(Val::Float(number.abs())),
        Val::Decimal(number) if number.mantissa < 0 => Ok(Val::Decimal(-*number)),
        Val::Decimal(number) => Ok(Val::Decimal(*number)),
        other => unfit(text, other, "a number"),
    }
}

fn sign<'v>(args: &[Val<'v>], text: &str) -> Result<Val<'v>, Fault> {
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(number.signum())),
        Val::Uint(number) => Ok(Val::Uint(u64::from(*number > 0))),
        Val::Float(number) if *number == 0.0 || number.is_nan() => Ok(Val::Float(*number)),
        Val::Float(number) => Ok(Val::Float(number.signum())),
        Val::Decimal(number) => {
            Ok(Val::Decimal(i64::try_from(number.mantissa.signum()).unwrap_or_default().into()))
        }
        other => unfit(text, other, "a number"),
    }
}

fn bits<'v>(
    args: &[Val<'v>],
    text: &str,
    signed: fn(i64, i64) -> i64,
    unsigned: fn(u64, u64) -> u64,
) -> Result<Val<'v>, Fault> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => Ok(Val::Int(signed(*a, *b))),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(unsigned(*a, *b))),
        // An integer of the event has no sign of its own to tell by.
        (Val::Uint(a), Val::Int(b)) if *b >= 0 => Ok(Val::Uint(unsigned(*a, b.unsigned_abs()))),
        (a, b) => {
            Err(Fault(format!("{text}: {} and {} are not two integers of one type", a.shown(), b.shown())))
        }
    }
}

/// Shifts bits; where all fall out, none is left. To the right no sign is kept.
fn shifted<'v>(args: &[Val<'v>], text: &str, how: fn(u64, u32) -> Option<u64>) -> Result<Val<'v>, Fault> {
    let by = match &args[1] {
        Val::Int(by) if *by >= 0 => u32::try_from(*by).unwrap_or(u32::MAX),
        other => return Err(Fault(format!("{text} cannot be shifted by {}", other.shown()))),
    };
    match &args[0] {
        Val::Int(number) => Ok(Val::Int(how(number.cast_unsigned(), by).unwrap_or(0).cast_signed())),
        Val::Uint(number) => Ok(Val::Uint(how(*number, by).unwrap_or(0))),
        other => unfit(text, other, "an integer"),
    }
}
