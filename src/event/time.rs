//! Instants and spans of time, and the ways in which the formats write them.
//!
//! Everything here is arithmetic on bytes; the zone and the moment of arrival are arguments.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// An instant: nanoseconds since 1970-01-01T00:00:00Z, from the year 1677 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A span of time in nanoseconds, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(pub i64);

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

impl Timestamp {
    /// The least instant that can be written.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The greatest instant that can be written.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From whole seconds and nanoseconds; `None` outside the range.
    pub fn new(seconds: i64, nanos: i64) -> Option<Timestamp> {
        seconds.checked_mul(SECOND)?.checked_add(nanos).map(Timestamp)
    }

    /// From a date and a time of day in UTC; `None` where there is no such date, or outside the range.
    pub fn civil(c: Civil) -> Option<Timestamp> {
        Timestamp::new(c.seconds()?, c.nanos as i64)
    }

    /// This instant moved later, staying within the range.
    pub fn plus(self, s: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(s.0))
    }

    /// This instant moved earlier, staying within the range.
    pub fn minus(self, s: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(s.0))
    }

    /// `2026-11-23T05:00:00.123456Z`: microseconds, or nanoseconds where there are any.
    pub fn write(self, out: &mut Vec<u8>) {
        let (days, rest) = (self.0.div_euclid(86_400 * SECOND), self.0.rem_euclid(86_400 * SECOND));
        let (y, m, d) = date(days);
        let (s, n) = (rest / SECOND, rest % SECOND);
        pad(y, 4, out);
        for (sep, v) in [(b'-', m), (b'-', d), (b'T', s / 3600), (b':', s / 60 % 60), (b':', s % 60)] {
            out.push(sep);
            pad(v, 2, out);
        }
        out.push(b'.');
        if n % 1000 == 0 {
            pad(n / 1000, 6, out)
        } else {
            pad(n, 9, out)
        }
        out.push(b'Z');
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut b = Vec::with_capacity(30);
        self.write(&mut b);
        f.write_str(&String::from_utf8_lossy(&b))
    }
}

impl Span {
    /// Whole seconds.
    pub const fn seconds(s: i64) -> Span {
        Span(s * SECOND)
    }

    /// Reads `500ms`, `30s`, `5m`, `4h` or `7d`: a whole number and a unit, above zero or zero.
    pub fn parse(s: &str) -> Option<Span> {
        let n = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = match &s[n..] {
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            "d" => 86_400 * SECOND,
            _ => return None,
        };
        s[..n].parse::<i64>().ok()?.checked_mul(unit).map(Span)
    }
}

impl std::fmt::Display for Span {
    /// The way rules write it, in the largest unit that fits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (unit, name) in [(86_400 * SECOND, "d"), (3600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s")] {
            if self.0 != 0 && self.0 % unit == 0 {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        if self.0 == 0 { f.write_str("0s") } else { write!(f, "{}ms", self.0 / 1_000_000) }
    }
}

/// A date and a time of day without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Civil {
    /// Year, 0 to 9999.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 60; 60 is the second after 59.
    pub second: u8,
    /// Nanoseconds, below 10⁹.
    pub nanos: u32,
}

impl Civil {
    fn seconds(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let last = match self.month {
            2 => 28 + leap as u8,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if self.day == 0 || self.day > last || self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        Some(days(self.year, self.month as i64, self.day as i64) * 86_400 + self.hour as i64 * 3600 + self.minute as i64 * 60 + self.second as i64)
    }

    /// The instant in a zone. A time that a change of clocks skips is read as if the clocks had not changed yet;
    /// one that comes twice is the first.
    pub fn in_zone(self, zone: &TimeZone) -> Option<Timestamp> {
        let utc = self.seconds()?;
        if let Ok(o) = zone.to_fixed_offset() {
            return Timestamp::new(utc - o.seconds() as i64, self.nanos as i64);
        }
        let dt = jiff::civil::DateTime::new(
            self.year as i16,
            self.month as i8,
            self.day as i8,
            self.hour as i8,
            self.minute as i8,
            self.second.min(59) as i8,
            0,
        )
        .ok()?;
        let offset = match zone.to_ambiguous_timestamp(dt).offset() {
            jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset,
            jiff::tz::AmbiguousOffset::Gap { before, .. } | jiff::tz::AmbiguousOffset::Fold { before, .. } => before,
        };
        Timestamp::new(utc - offset.seconds() as i64, self.nanos as i64)
    }

    /// The instant of a date whose year is missing: in the year that puts it nearest to `near`, never more than a day
    /// after it.
    pub fn nearest(self, zone: &TimeZone, near: Timestamp) -> Option<Timestamp> {
        let y0 = date(near.0.div_euclid(86_400 * SECOND)).0;
        (y0 - 4..=y0 + 1)
            .filter_map(|year| Civil { year, ..self }.in_zone(zone))
            .filter(|t| t.0 <= near.0.saturating_add(86_400 * SECOND))
            .min_by_key(|t| near.0.abs_diff(t.0))
    }

    /// The instant of a time of day whose date is missing: on the day that puts it nearest to `near`, never more than
    /// an hour after it.
    pub fn nearest_day(self, zone: &TimeZone, near: Timestamp) -> Option<Timestamp> {
        let day = near.0.div_euclid(86_400 * SECOND);
        (day - 2..=day + 1)
            .filter_map(|d| {
                let (year, month, day) = date(d);
                Civil { year, month: month as u8, day: day as u8, ..self }.in_zone(zone)
            })
            .filter(|t| t.0 <= near.0.saturating_add(3600 * SECOND))
            .min_by_key(|t| near.0.abs_diff(t.0))
    }
}

/// Writes a number with leading zeros, `width` digits.
fn pad(mut v: i64, width: usize, out: &mut Vec<u8>) {
    let mut b = [b'0'; 9];
    for d in b[..width].iter_mut().rev() {
        *d = b'0' + (v % 10) as u8;
        v /= 10;
    }
    out.extend_from_slice(&b[..width]);
}

/// Days since 1970-01-01 of a date (proleptic Gregorian).
fn days(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// The date of a count of days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + (m <= 2) as i64, m, doy - (153 * mp + 2) / 5 + 1)
}

/// Reads digits from the front of a slice: `n` of them exactly.
#[inline]
pub fn digits(b: &[u8], n: usize) -> Option<u32> {
    let mut v = 0u32;
    for c in b.get(..n)? {
        let d = c.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + d as u32;
    }
    Some(v)
}

/// The month of a three-letter English name, in any case.
pub fn month(b: &[u8]) -> Option<u8> {
    const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let b = b.get(..3)?;
    NAMES.chunks(3).position(|m| m.eq_ignore_ascii_case(b)).map(|i| i as u8 + 1)
}

/// Reads a fraction of a second behind a `.` or `,`: its nanoseconds and how many bytes it took, the mark included.
///
/// Digits past the ninth are read over. `(0, 0)` where there is no fraction.
pub fn fraction(b: &[u8]) -> (u32, usize) {
    if !matches!(b.first(), Some(b'.' | b',')) {
        return (0, 0);
    }
    let (mut v, mut n) = (0u32, 0usize);
    for c in &b[1..] {
        if !c.is_ascii_digit() {
            break;
        }
        if n < 9 {
            v = v * 10 + (c - b'0') as u32;
        }
        n += 1;
    }
    if n == 0 {
        return (0, 0);
    }
    (v * 10u32.pow(9 - n.min(9) as u32), n + 1)
}

/// Reads `hh:mm:ss` at the front.
pub fn clock(b: &[u8]) -> Option<(u8, u8, u8)> {
    if b.len() < 8 || b[2] != b':' || b[5] != b':' {
        return None;
    }
    Some((digits(b, 2)? as u8, digits(&b[3..], 2)? as u8, digits(&b[6..], 2)? as u8))
}

/// Reads `Z`, `+hh:mm`, `+hhmm`, `+hh` or the double sign of ModSecurity 2.9.3 (`--0400`): seconds east of UTC, and bytes.
pub fn offset(b: &[u8]) -> Option<(i64, usize)> {
    let sign = match b.first()? {
        b'Z' | b'z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let start = if b.get(1) == b.first() { 2 } else { 1 };
    let h = digits(&b[start..], 2)? as i64;
    let rest = &b[start + 2..];
    let (m, n) = match rest.first() {
        Some(b':') if rest.len() >= 3 => (digits(&rest[1..], 2)? as i64, 3),
        Some(c) if c.is_ascii_digit() => (digits(rest, 2)? as i64, 2),
        _ => (0, 0),
    };
    (h < 24 && m < 60).then_some((sign * (h * 3600 + m * 60), start + 2 + n))
}

/// Reads `YYYY-MM-DD`, `T` or a blank, `hh:mm:ss`, an optional fraction and an optional zone at the front, and says how
/// many bytes that was. Without a zone it is in `zone`.
pub fn iso(b: &[u8], zone: &TimeZone) -> Option<(Timestamp, usize)> {
    if b.len() < 19 || b[4] != b'-' || b[7] != b'-' || !matches!(b[10], b'T' | b't' | b' ') {
        return None;
    }
    let (hour, minute, second) = clock(&b[11..])?;
    let (nanos, n) = fraction(&b[19..]);
    let c = Civil { year: digits(b, 4)? as i64, month: digits(&b[5..], 2)? as u8, day: digits(&b[8..], 2)? as u8, hour, minute, second, nanos };
    let at = 19 + n;
    let blank = (b.get(at) == Some(&b' ') && matches!(b.get(at + 1), Some(b'+' | b'-'))) as usize;
    match offset(&b[at + blank..]) {
        Some((east, n)) => Some((Timestamp::new(c.seconds()? - east, nanos as i64)?, at + blank + n)),
        None => Some((c.in_zone(zone)?, at)),
    }
}

/// Reads `Mon Nov 23 05:42:09[.123456] 2026` (or with the day space-padded), the whole slice.
pub fn asctime(b: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    let (month, day, at) = month_day(b.get(4..)?)?;
    let rest = b.get(4 + at..)?;
    let (hour, minute, second) = clock(rest)?;
    let (nanos, n) = fraction(&rest[8..]);
    let year = rest.get(8 + n + 1..)?;
    if year.len() != 4 {
        return None;
    }
    Civil { year: digits(year, 4)? as i64, month, day, hour, minute, second, nanos }.in_zone(zone)
}

/// Reads `23/Nov/2026:05:41:30[.339956] +0000`, the whole slice, as web servers write it; without an offset it is in `zone`.
pub fn clf(b: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    if b.len() < 20 || b[2] != b'/' || b[6] != b'/' || b[11] != b':' {
        return None;
    }
    let (hour, minute, second) = clock(&b[12..])?;
    let (nanos, n) = fraction(&b[20..]);
    let c = Civil { year: digits(&b[7..], 4)? as i64, month: month(&b[3..])?, day: digits(b, 2)? as u8, hour, minute, second, nanos };
    match b.get(20 + n..)? {
        [] => c.in_zone(zone),
        [b' ', z @ ..] => Timestamp::new(c.seconds()? - offset(z)?.0, nanos as i64),
        _ => None,
    }
}

/// Reads `Nov 23`, `Nov  3` or `Nov 3` and the blank behind it: month, day, bytes.
pub fn month_day(b: &[u8]) -> Option<(u8, u8, usize)> {
    let m = month(b)?;
    let mut at = 3;
    while b.get(at) == Some(&b' ') && at < 6 {
        at += 1;
    }
    let two = b.get(at + 1).is_some_and(|c| c.is_ascii_digit());
    let n = 1 + two as usize;
    let d = digits(&b[at..], n)? as u8;
    (at > 3 && b.get(at + n) == Some(&b' ')).then_some((m, d, at + n + 1))
}

/// Reads the time of RFC 3164, `Nov 23 05:47:10`, at the front, a date without a year: the date, and how many bytes.
pub fn bsd(b: &[u8]) -> Option<(Civil, usize)> {
    let (month, day, at) = month_day(b)?;
    let (hour, minute, second) = clock(b.get(at..)?)?;
    let (nanos, n) = fraction(&b[at + 8..]);
    Some((Civil { year: 0, month, day, hour, minute, second, nanos }, at + 8 + n))
}

/// Reads a count of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by its size, with an
/// optional fraction of a second where it is in seconds.
pub fn epoch(b: &[u8]) -> Option<Timestamp> {
    let n = b.iter().take_while(|c| c.is_ascii_digit()).count();
    let v: i64 = std::str::from_utf8(b.get(..n)?).ok()?.parse().ok()?;
    let unit = match v {
        0..=99_999_999_999 => SECOND,
        100_000_000_000..=99_999_999_999_999 => 1_000_000,
        100_000_000_000_000..=99_999_999_999_999_999 => 1_000,
        _ => 1,
    };
    let (nanos, m) = fraction(&b[n..]);
    (n + m == b.len()).then_some(())?;
    let part = if unit == SECOND { nanos as i64 } else { 0 };
    v.checked_mul(unit)?.checked_add(part).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: &str) -> Timestamp {
        iso(s.as_bytes(), &TimeZone::UTC).expect(s).0
    }

    #[test]
    fn every_way_to_write_an_instant() {
        let want = at("2026-11-23T05:41:30.339956Z");
        let zone = TimeZone::UTC;
        for s in [
            "2026-11-23T05:41:30.339956Z",
            "2026-11-23 05:41:30,339956",
            "2026-11-23T06:41:30.339956+0100",
            "2026-11-22T23:41:30.339956-06:00",
            "2026-11-23 05:41:30.339956 +0000",
        ] {
            assert_eq!(iso(s.as_bytes(), &zone), Some((want, s.len())), "{s}");
        }
        assert_eq!(asctime(b"Mon Nov 23 05:41:30.339956 2026", &zone), Some(want));
        assert_eq!(clf(b"23/Nov/2026:05:41:30.339956 +0000", &zone), Some(want));
        assert_eq!(clf(b"23/Nov/2026:01:41:30.339956 --0400", &zone), Some(want));
        assert_eq!(epoch(b"1795412490.339956"), Some(want));
        assert_eq!(epoch(b"1795412490339"), Timestamp::new(1795412490, 339_000_000));
        assert_eq!(epoch(b"1795412490339956000"), Some(want));
        assert_eq!(want.to_string(), "2026-11-23T05:41:30.339956Z");
        assert_eq!(at("2026-11-23T05:41:30.123456789Z").to_string(), "2026-11-23T05:41:30.123456789Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for s in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:61:00Z",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(iso(s.as_bytes(), &TimeZone::UTC), None, "{s}");
        }
        for s in ["Nov 32", "Foo 12 05:00:00", "Nov  05:00:00", ""] {
            assert_eq!(bsd(s.as_bytes()).and_then(|(c, _)| c.nearest(&TimeZone::UTC, at("2026-01-01T00:00:00Z"))), None, "{s}");
        }
    }

    #[test]
    fn a_missing_year_is_the_one_nearest_to_arrival_and_never_more_than_a_day_ahead() {
        let year = |s: &str, near: &str| bsd(s.as_bytes()).expect(s).0.nearest(&TimeZone::UTC, at(near)).map(|t| t.to_string()[..10].to_string());
        assert_eq!(year("Dec 31 23:59:59", "2027-01-01T00:00:05Z").as_deref(), Some("2026-12-31"));
        assert_eq!(year("Jan  1 00:00:05", "2026-12-31T23:59:58Z").as_deref(), Some("2027-01-01"));
        assert_eq!(year("Jan 2 12:00:00", "2026-12-31T23:59:58Z").as_deref(), Some("2026-01-02"));
        assert_eq!(year("Feb 29 00:00:00", "2026-11-23T00:00:00Z").as_deref(), Some("2024-02-29"));
    }

    #[test]
    fn a_missing_date_wraps_at_midnight() {
        let c = Civil { hour: 23, minute: 59, second: 59, ..Civil::default() };
        assert_eq!(c.nearest_day(&TimeZone::UTC, at("2026-11-23T00:00:03Z")), Some(at("2026-11-22T23:59:59Z")));
        assert_eq!(c.nearest_day(&TimeZone::UTC, at("2026-11-23T23:59:00Z")), Some(at("2026-11-23T23:59:59Z")));
    }

    #[test]
    fn spans_read_back_as_they_are_written() {
        for s in ["500ms", "30s", "5m", "4h", "7d", "0s", "90s"] {
            let v = Span::parse(s).expect(s);
            assert_eq!(Span::parse(&v.to_string()), Some(v));
        }
        for s in ["", "5", "m", "-5m", "5 m", "5M", "1.5h", "99999999999d"] {
            assert_eq!(Span::parse(s), None, "{s}");
        }
    }
}
