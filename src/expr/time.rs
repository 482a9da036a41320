//! Times as text: ISO 8601 in, ISO 8601 out. No clock and no zones but those the text names.

use jiff::civil;

/// Milliseconds since 1970 of `2026-01-01T00:00:00.000Z`, or with an offset such as `+01:00`. Digits below a
/// millisecond are cut, toward the past.
pub(super) fn read_timestamp(text: &str) -> Option<i64> {
    // Only plain ISO 8601: what `jiff` reads besides (zone names in brackets, spaces) is not meant here.
    if text.len() > 40 || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) || text.contains('[') {
        return None;
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).ok()
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

/// Milliseconds of `1h30m`, `1.5s`, `-250ms`.
pub(super) fn read_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut sum = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number = crate::value::Decimal::parse(&rest[..number_end]).ok()?;
        let tail = &rest[number_end..];
        let (unit, width) = [("ms", 1_i64), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(unit, _)| tail.starts_with(unit))
            .map(|(unit, ms)| (ms, unit.len()))?;
        sum = sum.checked_add(number.checked_mul(unit.into()).ok()?.to_i64()?)?;
        rest = &tail[width..];
    }
    Some(if negative { -sum } else { sum })
}

/// The day, in UTC, that holds a time.
pub(super) fn date_of(timestamp_ms: i64) -> Option<i32> {
    i32::try_from(timestamp_ms.div_euclid(86_400_000)).ok()
}

pub(super) fn show_timestamp(ms: i64) -> String {
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
