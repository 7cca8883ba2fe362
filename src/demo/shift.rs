//! Moves a record in time: every time of the night that stands in it, in whatever way its tool writes times.

use crate::event::Timestamp;
use jiff::tz::TimeZone;
use std::ops::Range;

/// The day of the bundled logs, as the tools write it.
const ISO: &str = "2026-11-20";
const CLF: &str = "20/Nov/2026:";
const BSD: &str = "Nov 20 ";
/// 2026-11-20T00:00:00Z in seconds since 1970.
const DAY: i64 = 1_795_132_800;
/// Numbers are times only within the night: 18:00 to 20:30.
const NIGHT: Range<i64> = DAY + 18 * 3600..DAY + 20 * 3600 + 1800;

/// A time in a record: where it stands, when it is, and how it is written.
struct Found {
    span: Range<usize>,
    at: i64,
    /// What the record says beyond the second; it is not moved.
    nanos: i64,
    /// As `strftime` has it; without one it is a number of seconds.
    format: Option<&'static str>,
}

/// `18:30:04` in seconds of the day.
pub fn clock(s: &str) -> Option<i64> {
    let b = s.as_bytes();
    let two = |i: usize| b.get(i..i + 2).filter(|d| d.iter().all(u8::is_ascii_digit)).map(|d| ((d[0] - b'0') * 10 + (d[1] - b'0')) as i64);
    (b.get(2) == Some(&b':') && b.get(5) == Some(&b':')).then_some(())?;
    Some(two(0)? * 3600 + two(3)? * 60 + two(6)?)
}

/// The instant of a time of day of the night, in seconds since 1970.
pub fn at(s: &str) -> Option<i64> {
    clock(s).map(|c| DAY + c)
}

fn find(text: &str) -> Vec<Found> {
    let mut all = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match found_at(text, i) {
            Some(f) => {
                i = f.span.end;
                all.push(f);
            }
            None => i += 1,
        }
    }
    all
}

fn found_at(text: &str, i: usize) -> Option<Found> {
    let rest = text.get(i..)?;
    let before = &text[..i];
    let made = |from: usize, to: usize, clock: i64, format| {
        let nanos = text[to..].strip_prefix(['.', ',']).map_or(0, fraction);
        Some(Found { span: from..to, at: DAY + clock, nanos, format: Some(format) })
    };
    if let Some(r) = rest.strip_prefix(ISO) {
        let c = clock(r.get(1..)?)?;
        return match r.as_bytes().first()? {
            b'T' => made(i, i + 19, c, "%Y-%m-%dT%H:%M:%S"),
            b' ' => made(i, i + 19, c, "%Y-%m-%d %H:%M:%S"),
            _ => None,
        };
    }
    if let Some(r) = rest.strip_prefix(CLF) {
        return made(i, i + 20, clock(r)?, "%d/%b/%Y:%H:%M:%S");
    }
    if let Some(r) = rest.strip_prefix(BSD) {
        let c = clock(r)?;
        return match (before.ends_with("2026 "), before.ends_with("Fri ") && r.get(8..).is_some_and(|y| y.starts_with(" 2026"))) {
            (true, _) => made(i - 5, i + 15, c, "%Y %b %d %H:%M:%S"),
            (_, true) => made(i - 4, i + 20, c, "%a %b %e %H:%M:%S %Y"),
            _ => made(i, i + 15, c, "%b %e %H:%M:%S"),
        };
    }
    if before.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: i64 = rest.get(..10).filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    NIGHT.contains(&number).then(|| Found { span: i..i + 10, at: number, nanos: fraction(&text[i + 10..]), format: None })
}

/// The digits that a text begins with, as a fraction of a second in nanoseconds.
fn fraction(s: &str) -> i64 {
    let digits = s.bytes().take_while(u8::is_ascii_digit).take(9).map(|b| (b - b'0') as i64);
    digits.zip(0..).map(|(d, i)| d * 10i64.pow(8 - i)).sum()
}

/// The latest time in a record: its event time, for all the bundled formats.
pub fn latest(text: &str) -> Option<Timestamp> {
    find(text).iter().filter_map(|f| Timestamp::new(f.at, f.nanos)).max()
}

/// The record with all its times moved by so many seconds.
pub fn by(text: &str, seconds: i64) -> String {
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for f in find(text) {
        out.push_str(&text[from..f.span.start]);
        match (f.format, jiff::Timestamp::from_second(f.at + seconds)) {
            (Some(format), Ok(t)) => out.push_str(&t.to_zoned(TimeZone::UTC).strftime(format).to_string()),
            _ => out.push_str(&(f.at + seconds).to_string()),
        }
        from = f.span.end;
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_time_is_moved_and_nothing_else() {
        let day = 86_400 * 16;
        for (from, to) in [
            ("2026-11-20T18:30:04.123456+0000", "2026-12-06T18:30:04.123456+0000"),
            ("2026-11-20 18:30:04,118 fail2ban", "2026-12-06 18:30:04,118 fail2ban"),
            ("[20/Nov/2026:18:30:04 +0000]", "[06/Dec/2026:18:30:04 +0000]"),
            ("Fri Nov 20 18:30:04 2026 -> /a: OK", "Sun Dec  6 18:30:04 2026 -> /a: OK"),
            ("2026 Nov 20 18:30:04 (vm-prod) 192.0.2.10->x", "2026 Dec 06 18:30:04 (vm-prod) 192.0.2.10->x"),
            ("<38>Nov 20 18:30:04 vm-prod sshd[1]: x", "<38>Dec  6 18:30:04 vm-prod sshd[1]: x"),
            ("** Alert 1795199404.1617: - a", "** Alert 1796581804.1617: - a"),
            ("{\"evt.time\":1795199404204881733}", "{\"evt.time\":1796581804204881733}"),
            ("port 41022 id 1512000000001331 91795199404", "port 41022 id 1512000000001331 91795199404"),
            ("é Nov 20 und 2026-11-20", "é Nov 20 und 2026-11-20"),
        ] {
            assert_eq!(by(from, day), to);
        }
        assert_eq!(by("Nov 20 23:59:59 a", 2), "Nov 21 00:00:01 a");
    }

    #[test]
    fn a_record_is_as_late_as_its_latest_time() {
        let at = |nanos| Timestamp::new(at("18:30:04").expect("a time"), nanos);
        assert_eq!(latest("2026-11-20T18:30:04Z and Nov 20 18:30:02"), at(0));
        assert_eq!(latest("2026-11-20T18:30:04.25Z and Nov 20 18:30:02"), at(250_000_000));
        assert_eq!(latest("1795199404204881733"), at(204_881_733));
        assert_eq!(latest("no time"), None);
    }
}
