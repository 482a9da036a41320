//! Times as text: ISO 8601 in, ISO 8601 out. No clock and no zones but those the text names.

use jiff::civil;

use crate::value::{Decimal, decimal::Rounding};

/// Milliseconds since 1970 of `2026-01-01T00:00:00.000Z`, or with an offset such as `+01:00`. Digits below a
/// millisecond are cut, toward the past.
pub fn read_timestamp(text: &str) -> Option<i64> {
    if let Some(ms) = read_plain_utc(text.as_bytes()) {
        return Some(ms);
    }
    // Only plain ISO 8601: what `jiff` reads besides (zone names in brackets, spaces) is not meant here.
    if text.len() > 40 || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) || text.contains('[') {
        return None;
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    in_calendar(i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).ok()?)
}

/// The usual form, which nearly every event has: `2026-01-01T00:00:00Z`, or with milliseconds. `None` for any other
/// form, valid or not.
fn read_plain_utc(text: &[u8]) -> Option<i64> {
    /// What stands where: `0` for a digit.
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let mut whole = *FORM;
    match text.len() {
        24 => whole.copy_from_slice(text),
        20 if text[19] == b'Z' => whole[..19].copy_from_slice(&text[..19]),
        _ => return None,
    }
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !whole.iter().zip(FORM).fold(true, |all, pair| all & fits(pair)) {
        return None;
    }
    let digits = |from: usize, to: usize| {
        whole[from..to].iter().fold(0, |number, digit| number * 10 + i64::from(digit & 0x0f))
    };
    let (year, hour, minute, second) = (digits(0, 4), digits(11, 13), digits(14, 16), digits(17, 19));
    if year == 0 || year == 9999 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before(year, digits(5, 7), digits(8, 10))?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + digits(20, 23))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, from the year 1 on; `None` if there is no such day.
fn days_before(year: i64, month: i64, day: i64) -> Option<i64> {
    /// Days of a year that is no leap year before each month.
    const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let at = usize::try_from(month - 1).ok().filter(|at| *at < 12)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = BEFORE[at + 1] - BEFORE[at] + i64::from(leap && month == 2);
    if !(1..=days_of_month).contains(&day) {
        return None;
    }
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 + i64::from(leap && month > 2);
    // 719,162 days lie between the first day of the year 1 and that of 1970.
    Some(past * 365 + leaps + BEFORE[at] + day - 1 - 719_162)
}

/// Days since 1970 of `2026-01-31`.
pub(super) fn read_date(text: &str) -> Option<i32> {
    if text.len() != 10 {
        return None;
    }
    let date: civil::Date = text.parse().ok()?;
    let days = date.to_datetime(civil::Time::midnight()).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    i32::try_from(days.timestamp().as_second().div_euclid(86_400)).ok()
}

/// Nanoseconds since midnight of `13:45`, `13:45:30` or `13:45:30.123456789`.
pub(super) fn read_time(text: &str) -> Option<i64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.') || !text.contains(':')
    {
        return None;
    }
    let time: civil::Time = text.parse().ok()?;
    let seconds = (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
    Some(seconds * 1_000_000_000 + i64::from(time.subsec_nanosecond()))
}

/// Milliseconds that a duration may have, to either side: about 10,000 years.
const DURATION_MAX_MS: i64 = 315_576_000_000_000;

/// Milliseconds of `1h30m`, `1.5s`, `-250ms`. `None` also of what has no whole milliseconds, such as `1ns`.
pub(super) fn read_duration(text: &str) -> Option<i64> {
    /// Units, and how many of them make an hour.
    const UNITS: [(&str, i64); 7] = [
        ("ms", 3_600_000),
        ("us", 3_600_000_000),
        ("µs", 3_600_000_000),
        ("ns", 3_600_000_000_000),
        ("h", 1),
        ("m", 60),
        ("s", 3_600),
    ];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut sum = Decimal::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number = Decimal::parse(&rest[..number_end]).ok()?;
        let tail = &rest[number_end..];
        let (unit, per_hour) = UNITS.into_iter().find(|(unit, _)| tail.starts_with(unit))?;
        // In nanoseconds, of which an hour has a whole number for each unit.
        let nanos = number.checked_mul((3_600_000_000_000 / per_hour).into()).ok()?;
        sum = sum.checked_add(nanos).ok()?;
        rest = &tail[unit.len()..];
    }
    let nanos = sum.is_integer().then(|| sum.div(Decimal::from(1), 0, Rounding::Down))?.ok()?.mantissa;
    let ms = i64::try_from(nanos / 1_000_000).ok().filter(|_| nanos % 1_000_000 == 0)?;
    in_duration(if negative { -ms } else { ms })
}

/// The milliseconds of a duration, unless they are too many.
pub(super) fn in_duration(ms: i64) -> Option<i64> {
    (-DURATION_MAX_MS..=DURATION_MAX_MS).contains(&ms).then_some(ms)
}

/// Seconds, with what is left over as a fraction: `90s`, `-1.5s`.
pub(super) fn show_duration(ms: i64) -> String {
    let (sign, size) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
    let fraction = format!("{:03}", size % 1000);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{}s", size / 1000),
        fraction => format!("{sign}{}.{fraction}s", size / 1000),
    }
}

/// The first day of the year that holds a day.
pub(super) fn first_of_year(day: i32) -> Option<i32> {
    Some(day - i32::from(calendar(day)?.day_of_year() - 1))
}

pub(super) fn first_of_month(day: i32) -> Option<i32> {
    Some(day - i32::from(calendar(day)?.day() - 1))
}

/// The Monday of the week that holds a day.
pub(super) fn first_of_week(day: i32) -> Option<i32> {
    // The first of January 1970 was a Thursday.
    day.checked_sub((day.checked_add(3)?).rem_euclid(7))
}

fn calendar(day: i32) -> Option<civil::Date> {
    let at = jiff::Timestamp::from_second(i64::from(day) * 86_400).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).date())
}

/// Milliseconds since 1970 that a time may have: from the year 1 to the last that the calendar has.
pub(super) fn in_calendar(ms: i64) -> Option<i64> {
    (FIRST_MS..=LAST_MS).contains(&ms).then_some(ms)
}

const FIRST_MS: i64 = -62_135_596_800_000;
/// 9999-12-30T22:00:00Z: further no zone can be applied.
const LAST_MS: i64 = 253_402_207_200_000;

/// A time with as many digits of its second as it has: `2026-01-01T00:00:00Z`.
pub(super) fn show_shortest(ms: i64) -> String {
    let shown = show_timestamp(ms);
    match shown.strip_suffix('Z').and_then(|shown| shown.split_once('.')) {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{whole}Z"),
            fraction => format!("{whole}.{fraction}Z"),
        },
        None => shown,
    }
}

/// The day, in UTC, that holds a time.
pub(super) fn date_of(timestamp_ms: i64) -> Option<i32> {
    i32::try_from(timestamp_ms.div_euclid(86_400_000)).ok()
}

pub fn show_timestamp(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => format!("{ms} ms since 1970"),
    }
}

pub(super) fn show_date(days: i32) -> String {
    match jiff::Timestamp::from_second(i64::from(days) * 86_400) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d").to_string(),
        Err(_) => format!("{days} days since 1970"),
    }
}

pub(super) fn show_time(nanos: i64) -> String {
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{:02}:{:02}:{:02}.{nanos:09}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_need_an_offset() {
        assert_eq!(read_timestamp("1970-01-01T00:00:01.5Z"), Some(1500));
        assert_eq!(read_timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(read_timestamp("1969-12-31T23:59:59.9999Z"), Some(-1));
        for text in ["1970-01-01T00:00:00", "1970-01-01", "1970-13-01T00:00:00Z", "", "yesterday"] {
            assert_eq!(read_timestamp(text), None, "{text}");
        }
        assert_eq!(show_timestamp(1500), "1970-01-01T00:00:01.500Z");
        assert_eq!(show_timestamp(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn the_usual_form_is_read_as_any_other_is() {
        let seed = std::env::var("KINORA_SEED_BASE").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20_000 {
            let (year, month, day) = (random.i64(0..10_000), random.i64(0..14), random.i64(0..33));
            let (hour, minute, second) = (random.i64(0..25), random.i64(0..61), random.i64(0..61));
            let ms = random.i64(0..1000);
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
            let slow = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
            if let Some(found) = read_plain_utc(text.as_bytes()) {
                assert_eq!(Some(found), slow, "{text}, seed {seed}");
            } else {
                assert!(slow.is_none() || year == 0 || year == 9999 || second == 60, "{text}, seed {seed}");
            }
        }
        assert_eq!(read_plain_utc(b"1970-01-02T00:00:01Z"), Some(86_401_000));
        for text in ["", "Z", "1970-01-01T00:00:00.00Z", "1970-01-01 00:00:00Z", "1970-01-01T00:00:0xZ"] {
            assert_eq!(read_plain_utc(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn dates_times_and_durations_are_read_and_written() {
        assert_eq!(read_date("1970-01-02"), Some(1));
        assert_eq!(read_date("1969-12-31"), Some(-1));
        assert_eq!(read_date("2026-02-30"), None);
        assert_eq!(show_date(-1), "1969-12-31");
        assert_eq!(read_time("00:00:01.000000001"), Some(1_000_000_001));
        assert_eq!(read_time("25:00"), None);
        assert_eq!(show_time(3_723_000_000_004), "01:02:03.000000004");
        assert_eq!(read_duration("1h30m"), Some(5_400_000));
        assert_eq!(read_duration("-1.5s"), Some(-1_500));
        for text in ["", "-", "5", "h", "1x", "0.1ms"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
        assert_eq!(date_of(-1), Some(-1));
    }
}
