//! Lengths of time as CQL keeps them: months, days and nanoseconds, none of which can be made of another.
//!
//! Comes in: ISO 8601 text. Goes out: a [`Period`], and its one text form. Adds nothing to a time: a month is as long as
//! the calendar says.

use std::fmt;

const MINUTE: i64 = 60 * 1_000_000_000;
const HOUR: i64 = 60 * MINUTE;

/// A length of time. All three parts have one sign, as in CQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    pub months: i32,
    pub days: i32,
    pub nanos: i64,
}

impl Period {
    /// Reads `P1Y2M3DT4H5M6.7S`, `P2W`, `-PT1H`: ISO 8601 with a fraction of seconds only, at most nine digits.
    /// `None` for anything else, and for what is above the bounds of the parts.
    pub fn parse(text: &str) -> Option<Period> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let rest = rest.strip_prefix('P')?;
        let (date, time) = rest.split_once('T').map_or((rest, None), |(date, time)| (date, Some(time)));
        if time == Some("") || (date.is_empty() && time.is_none()) {
            return None;
        }
        let sign = if negative { -1 } else { 1 };
        let (mut months, mut days, mut nanos) = (0i64, 0i64, 0i64);
        for (number, unit) in parts(date, "YMWD")? {
            let number = sign * number.parse::<i64>().ok()?;
            match unit {
                'Y' => months = months.checked_add(number.checked_mul(12)?)?,
                'M' => months = months.checked_add(number)?,
                'W' => days = days.checked_add(number.checked_mul(7)?)?,
                _ => days = days.checked_add(number)?,
            }
        }
        for (number, unit) in parts(time.unwrap_or_default(), "HMS")? {
            let part = match unit {
                'H' => (sign * number.parse::<i64>().ok()?).checked_mul(HOUR)?,
                'M' => (sign * number.parse::<i64>().ok()?).checked_mul(MINUTE)?,
                _ => sign * seconds(number)?,
            };
            nanos = nanos.checked_add(part)?;
        }
        let (months, days) = (i32::try_from(months).ok()?, i32::try_from(days).ok()?);
        Some(Period { months, days, nanos })
    }
}

/// Numbers and their units, each unit at most once and in the given order.
fn parts<'t>(text: &'t str, units: &str) -> Option<Vec<(&'t str, char)>> {
    let (mut found, mut rest, mut units) = (Vec::new(), text, units);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let unit = rest[end..].chars().next()?;
        units = &units[units.find(unit)? + 1..];
        if end == 0 || (rest[..end].contains('.') && unit != 'S') {
            return None;
        }
        found.push((&rest[..end], unit));
        rest = &rest[end + 1..];
    }
    Some(found)
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)
}

impl fmt::Display for Period {
    /// The one form of each period: `P1Y2M3DT4H5M6.7S`, without parts that are zero; `PT0S` where all are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (months, days, nanos) =
            (self.months.unsigned_abs(), self.days.unsigned_abs(), self.nanos.unsigned_abs());
        if months == 0 && days == 0 && nanos == 0 {
            return f.write_str("PT0S");
        }
        if self.months < 0 || self.days < 0 || self.nanos < 0 {
            f.write_str("-")?;
        }
        f.write_str("P")?;
        for (number, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        if nanos == 0 {
            return Ok(());
        }
        f.write_str("T")?;
        let (hour, minute) = (HOUR.unsigned_abs(), MINUTE.unsigned_abs());
        for (number, unit) in [(nanos / hour, 'H'), (nanos % hour / minute, 'M')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        let (seconds, fraction) = (nanos % minute / 1_000_000_000, nanos % 1_000_000_000);
        match (seconds, fraction) {
            (0, 0) => Ok(()),
            (seconds, 0) => write!(f, "{seconds}S"),
            (seconds, fraction) => write!(f, "{seconds}.{}S", format!("{fraction:09}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written() {
        for (text, months, days, nanos) in [
            ("P1Y2M3DT4H5M6.7S", 14, 3, 14_706_700_000_000),
            ("-P1Y2M3DT4H5M6.7S", -14, -3, -14_706_700_000_000),
            ("PT0S", 0, 0, 0),
            ("P12Y", 144, 0, 0),
            ("PT0.000000001S", 0, 0, 1),
            ("PT2562047H47M16.854775807S", 0, 0, i64::MAX),
            ("P178956970Y7M2147483647D", i32::MAX, i32::MAX, 0),
        ] {
            let period = Period { months, days, nanos };
            assert_eq!(Period::parse(text), Some(period), "{text}");
            assert_eq!(period.to_string(), text);
        }
        assert_eq!(Period::parse("P2W").map(|period| period.to_string()).as_deref(), Some("P14D"));
        assert_eq!(Period::parse("PT90M").map(|period| period.to_string()).as_deref(), Some("PT1H30M"));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "1D",
            "P1",
            "P1H",
            "PT1D",
            "P1D2M",
            "P1D1D",
            "P1.5D",
            "PT1.S",
            "PT.5S",
            "P1DT",
            "p1d",
            "PT1.0000000001S",
            "P-1D",
            "+P1D",
            "P99999999999Y",
            "P2147483648D",
            "PT9999999999999999999S",
            "P1é",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
