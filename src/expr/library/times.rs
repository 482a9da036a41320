//! Parts of times and durations, and the buckets that tables are cut by.
//!
//! Comes in: times, days, durations, names of zones. Goes out: numbers and days. A time zone is an offset from UTC or a
//! name of the IANA database, which is built in: what a machine has installed changes no row.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::super::Fault;
use super::super::reach::text_of;
use super::super::time;
use super::super::val::Val;
use super::{Gives, Signature, Takes, unfit};

macro_rules! part {
    ($name:literal, $form:literal, $zoned:literal, $part:expr) => {
        [
            Signature {
                name: $name,
                method: true,
                takes: &[Takes::Timestamp],
                gives: Gives::Int,
                form: $form,
                run: |args, text| part(args, text, $part),
            },
            Signature {
                name: $name,
                method: true,
                takes: &[Takes::Timestamp, Takes::Zone],
                gives: Gives::Int,
                form: $zoned,
                run: |args, text| part(args, text, $part),
            },
        ]
    };
}

macro_rules! of_duration {
    ($name:literal, $form:literal, $run:expr) => {
        Signature {
            name: $name,
            method: true,
            takes: &[Takes::Duration],
            gives: Gives::Int,
            form: $form,
            run: |args, text| match &args[0] {
                Val::Duration(ms) => Ok(Val::Int($run(*ms))),
                other => unfit(text, other, "a duration"),
            },
        }
    };
}

macro_rules! bucket {
    ($name:literal, $form:literal, $first:expr) => {
        Signature {
            name: $name,
            method: false,
            takes: &[Takes::TimeOrDay],
            gives: Gives::Date,
            form: $form,
            run: |args, text| bucket(&args[0], text, $first),
        }
    };
}

const PARTS: [[Signature; 2]; 10] = [
    part!("getFullYear", "time.getFullYear()", "time.getFullYear('Europe/Paris')", |at| at.year().into()),
    part!("getMonth", "time.getMonth()", "time.getMonth('+01:00')", |at| i64::from(at.month()) - 1),
    part!("getDate", "time.getDate()", "time.getDate('+01:00')", |at| at.day().into()),
    part!("getDayOfMonth", "time.getDayOfMonth()", "time.getDayOfMonth('+01:00')", |at| i64::from(at.day())
        - 1),
    part!("getDayOfWeek", "time.getDayOfWeek()", "time.getDayOfWeek('+01:00')", |at| {
        at.weekday().to_sunday_zero_offset().into()
    }),
    part!("getDayOfYear", "time.getDayOfYear()", "time.getDayOfYear('+01:00')", |at| {
        i64::from(at.day_of_year()) - 1
    }),
    part!("getHours", "time.getHours()", "time.getHours('+01:00')", |at| at.hour().into()),
    part!("getMinutes", "time.getMinutes()", "time.getMinutes('+01:00')", |at| at.minute().into()),
    part!("getSeconds", "time.getSeconds()", "time.getSeconds('+01:00')", |at| at.second().into()),
    part!("getMilliseconds", "time.getMilliseconds()", "time.getMilliseconds('+01:00')", |at| {
        at.millisecond().into()
    }),
];

const OTHERS: [Signature; 9] = [
    of_duration!("getHours", "duration.getHours()", |ms: i64| ms / 3_600_000),
    of_duration!("getMinutes", "duration.getMinutes()", |ms: i64| ms / 60_000),
    of_duration!("getSeconds", "duration.getSeconds()", |ms: i64| ms / 1_000),
    of_duration!("getMilliseconds", "duration.getMilliseconds()", |ms: i64| ms % 1_000),
    bucket!("year", "year(time)", time::first_of_year),
    bucket!("month", "month(time)", time::first_of_month),
    bucket!("week", "week(time)", time::first_of_week),
    bucket!("day", "day(time)", Some),
    Signature {
        name: "hour",
        method: false,
        takes: &[Takes::Timestamp],
        gives: Gives::Timestamp,
        form: "hour(time)",
        run: |args, text| match &args[0] {
            Val::Timestamp(ms) => match ms.checked_sub(ms.rem_euclid(3_600_000)) {
                Some(ms) => Ok(Val::Timestamp(ms)),
                None => Err(Fault(format!("{text} lies outside the calendar"))),
            },
            other => unfit(text, other, "a time"),
        },
    },
];

pub(super) const ALL: &[Signature] = &{
    const NONE: Signature = Signature {
        name: "",
        method: false,
        takes: &[],
        gives: Gives::Int,
        form: "",
        run: |_, _| Ok(Val::Null),
    };
    let mut all = [NONE; PARTS.len() * 2 + OTHERS.len()];
    let mut at = 0;
    while at < PARTS.len() {
        let [plain, zoned] = PARTS[at];
        all[at * 2] = plain;
        all[at * 2 + 1] = zoned;
        at += 1;
    }
    let mut at = 0;
    while at < OTHERS.len() {
        all[PARTS.len() * 2 + at] = OTHERS[at];
        at += 1;
    }
    all
};

fn part<'v>(args: &[Val<'v>], text: &str, part: fn(DateTime) -> i64) -> Result<Val<'v>, Fault> {
    let Val::Timestamp(ms) = &args[0] else { return unfit(text, &args[0], "a time") };
    let Ok(timestamp) = jiff::Timestamp::from_millisecond(*ms) else {
        return Err(Fault(format!("{text} lies outside the calendar")));
    };
    let zone = match args.get(1) {
        None => TimeZone::UTC,
        Some(name) => match text_of(name).and_then(|name| zone(&name)) {
            Some(zone) => zone,
            None => return unfit("the time zone", name, zone_expected()),
        },
    };
    Ok(Val::Int(part(timestamp.to_zoned(zone).datetime())))
}

pub(in crate::expr) fn zone_expected() -> &'static str {
    "an offset such as \"+01:00\" or a name such as \"Europe/Paris\""
}

/// The zone of `UTC`, `+01:00`, `-02:30`, `02:00`, or a name of the built-in database.
pub(in crate::expr) fn zone(name: &str) -> Option<TimeZone> {
    static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    match offset(name) {
        Some(seconds) => Some(Offset::from_seconds(seconds).ok()?.to_time_zone()),
        None if name == "UTC" => Some(TimeZone::UTC),
        None => DATABASE.get(name).ok(),
    }
}

/// Seconds east of UTC of `+01:00`.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    let [a, b, b':', c, d] = rest.as_bytes() else { return None };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let (hours, minutes) = (digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// The first day of the bucket that holds a time or a day, in UTC.
fn bucket<'v>(value: &Val<'v>, text: &str, first: fn(i32) -> Option<i32>) -> Result<Val<'v>, Fault> {
    let day = match value {
        Val::Timestamp(ms) => time::date_of(*ms),
        Val::Date(days) => Some(*days),
        other => return unfit(text, other, "a time or a day"),
    };
    match day.and_then(first) {
        Some(day) => Ok(Val::Date(day)),
        None => Err(Fault(format!("{text} lies outside the calendar"))),
    }
}
