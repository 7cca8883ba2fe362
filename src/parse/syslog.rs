//! The syslog envelope: RFC 3164, RFC 5424, and what rsyslog and syslog-ng really send.
//!
//! - In: one record, any bytes; the zone and the moment that a missing year is nearest to.
//! - Out: an [`Envelope`] that points into the record. What stands in the message is never taken for a header, but for
//!   one case: a relay that puts its own header in front of a whole record, with no tag between the two.

use super::Context;
use crate::event::{Timestamp, ip, time};

/// What stands around a message in syslog, or in another carrier that names a time and a host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Envelope<'a> {
    /// Facility times 8 plus severity, 0 to 191.
    pub priority: Option<u8>,
    /// When it was written.
    pub time: Option<Timestamp>,
    /// The machine.
    pub host: Option<&'a [u8]>,
    /// The program (`sshd`, `falco`), without its pid.
    pub app: Option<&'a [u8]>,
    /// The process id.
    pub pid: Option<&'a [u8]>,
    /// The message id of RFC 5424.
    pub msgid: Option<&'a [u8]>,
    /// The structured data of RFC 5424, as it stands, brackets included.
    pub structured: Option<&'a [u8]>,
    /// What it carries.
    pub message: &'a [u8],
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Takes off a byte order mark in front, and NULs and line ends behind.
pub fn trim(record: &[u8]) -> &[u8] {
    let r = record.strip_prefix(BOM).unwrap_or(record);
    let n = r.iter().rev().take_while(|c| matches!(c, 0 | b'\n' | b'\r')).count();
    &r[..r.len() - n]
}

/// Reads the envelope of a record; `None` where it has none.
///
/// A priority above 191 is none, and a record that begins with one has no envelope.
pub fn envelope<'a>(record: &'a [u8], ctx: &Context<'_>) -> Option<Envelope<'a>> {
    let record = trim(record);
    let (priority, rest) = match priority(record) {
        Some((p, rest)) => (Some(p), rest),
        None => (None, record),
    };
    if priority.is_some() && rest.starts_with(b"1 ") {
        return rfc5424(&rest[2..], ctx).map(|e| Envelope { priority, ..e });
    }
    let (at, rest) = stamp(rest, ctx)?;
    let mut env = Envelope { priority, time: Some(at), ..addressed(rest, ctx)? };
    env.message = env.message.strip_prefix(BOM).unwrap_or(env.message);
    Some(env)
}

/// Reads `<0>` to `<191>`.
pub fn priority(b: &[u8]) -> Option<(u8, &[u8])> {
    if b.first() != Some(&b'<') {
        return None;
    }
    let n = b[1..].iter().take(4).take_while(|c| c.is_ascii_digit()).count();
    if n == 0 || n > 3 || b.get(n + 1) != Some(&b'>') {
        return None;
    }
    let v = time::digits(&b[1..], n)?;
    (v <= 191).then_some((v as u8, &b[n + 2..]))
}

fn blanks(b: &[u8]) -> &[u8] {
    &b[b.iter().take_while(|c| **c == b' ').count()..]
}

/// The text up to the next blank, and what is behind that blank.
fn word(b: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', b) {
        Some(i) => (&b[..i], &b[i + 1..]),
        None => (b, &[]),
    }
}

/// Reads the time at the front and says what is behind it and its blanks: RFC 3164, with a year or a zone around it as
/// switches write it, or RFC 3339.
fn stamp<'a>(b: &'a [u8], ctx: &Context<'_>) -> Option<(Timestamp, &'a [u8])> {
    match b.first()? {
        b'0'..=b'9' if b.get(4) == Some(&b'-') => {
            let (t, n) = time::iso(b, ctx.zone)?;
            // Without the `T` or a zone it is not syslog's: other logs begin so.
            let zoned = !b[n - 1].is_ascii_digit() || b[19..n].iter().any(|c| matches!(c, b'+' | b'-'));
            (b[10] != b' ' || zoned).then_some(())?;
            (b.get(n) == Some(&b' ')).then(|| (t, blanks(&b[n..])))
        }
        b'0'..=b'9' if b.get(4) == Some(&b' ') => bsd(&b[5..], Some(time::digits(b, 4)?), ctx),
        // Cisco marks a clock that is not set or not in step.
        b'*' | b'.' => bsd(&b[1..], None, ctx),
        _ => bsd(b, None, ctx),
    }
}

fn bsd<'a>(b: &'a [u8], mut year: Option<u32>, ctx: &Context<'_>) -> Option<(Timestamp, &'a [u8])> {
    let (mut c, mut at) = match time::bsd(b) {
        Some(v) => v,
        None => {
            // `Nov 23 2026 05:47:10`
            let (month, day, n) = time::month_day(b)?;
            year = Some(time::digits(&b[n..], 4)?);
            let rest = b.get(n + 5..)?;
            let (hour, minute, second) = time::clock(rest)?;
            let (nanos, m) = time::fraction(&rest[8..]);
            (time::Civil { year: 0, month, day, hour, minute, second, nanos }, n + 5 + 8 + m)
        }
    };
    let ends = |b: &[u8], n: usize| matches!(b.get(n..), None | Some([] | [b' ', ..] | [b':'] | [b':', b' ', ..]));
    if let Some(rest) = b.get(at + 1..).filter(|_| b[at] == b' ')
        && year.is_none()
        && ends(rest, 4)
        && rest.len() > 4
        && let Some(y @ 1970..=2200) = time::digits(rest, 4)
    {
        (year, at) = (Some(y), at + 5);
    }
    let mut east = None;
    if let Some(rest) = b.get(at + 1..).filter(|_| b[at] == b' ') {
        if (rest.starts_with(b"UTC") || rest.starts_with(b"GMT")) && ends(rest, 3) {
            (east, at) = (Some(0), at + 4);
        } else if matches!(rest.first(), Some(b'+' | b'-'))
            && let Some((e, n)) = time::offset(rest).filter(|&(_, n)| ends(rest, n))
        {
            (east, at) = (Some(e), at + 1 + n);
        }
    } else if let Some((e, n)) = b.get(at..).and_then(time::offset).filter(|&(_, n)| ends(b, at + n)) {
        (east, at) = (Some(e), at + n);
    }
    if b.get(at) == Some(&b':') {
        at += 1;
    }
    (b.get(at) == Some(&b' ')).then_some(())?;
    let rest = blanks(&b[at..]);
    let utc = jiff::tz::TimeZone::UTC;
    let zone = if east.is_some() { &utc } else { ctx.zone };
    let t = match year {
        Some(y) => {
            c.year = y as i64;
            c.in_zone(zone)?
        }
        None => c.nearest(zone, ctx.near)?,
    };
    Some((t.minus(time::Span::seconds(east.unwrap_or(0))), rest))
}

/// Reads host, tag and message behind the time.
fn addressed<'a>(b: &'a [u8], ctx: &Context<'_>) -> Option<Envelope<'a>> {
    if b.is_empty() {
        return None;
    }
    if let Some(inner) = relayed(b, ctx) {
        return Some(inner);
    }
    if is_payload(b) {
        return Some(Envelope { message: b, ..Envelope::default() });
    }
    let (first, rest) = word(b);
    // A host never ends with a colon, so this is a tag, and there is no host; neither does one hold a pid.
    if (first.ends_with(b":")
        || (first.ends_with(b"]") && ip(first).is_none())
        || memchr::memmem::find(first, b"]:").is_some() && ip(first).is_none())
        && let Some((app, pid, message)) = tag(b)
    {
        return Some(Envelope { app: Some(app), pid, message, ..Envelope::default() });
    }
    if !is_host(first) {
        return Some(Envelope { message: b, ..Envelope::default() });
    }
    let host = Some(first);
    let rest = blanks(rest);
    if let Some(inner) = relayed(rest, ctx) {
        return Some(Envelope { host, ..inner });
    }
    if !is_payload(rest)
        && let Some((app, pid, message)) = tag(rest)
    {
        return Some(Envelope { host, app: Some(app), pid, message, ..Envelope::default() });
    }
    Some(Envelope { host, message: rest, ..Envelope::default() })
}

/// A whole record where a tag was due: that of the machine behind a relay.
fn relayed<'a>(b: &'a [u8], ctx: &Context<'_>) -> Option<Envelope<'a>> {
    match b.first()? {
        b'<' | b'0'..=b'9' | b'J' | b'F' | b'M' | b'A' | b'S' | b'O' | b'N' | b'D' => {}
        _ => return None,
    }
    let b = priority(b).map_or(b, |(_, rest)| rest);
    let rest = if let Some(rest) = b.strip_prefix(b"1 ") {
        return rfc5424(rest, ctx);
    } else {
        stamp(b, ctx)?.1
    };
    if is_payload(rest) {
        return Some(Envelope { message: rest, ..Envelope::default() });
    }
    // One relay is looked through, not a chain of them: the depth must not be the sender's choice.
    let (first, more) = word(rest);
    if let Some((app, pid, message)) = first.ends_with(b":").then(|| tag(rest)).flatten() {
        return Some(Envelope { app: Some(app), pid, message, ..Envelope::default() });
    }
    let (app, pid, message) = tag(blanks(more))?;
    is_host(first).then_some(Envelope { host: Some(first), app: Some(app), pid, message, ..Envelope::default() })
}

/// What is a message by itself although it looks like a tag.
fn is_payload(b: &[u8]) -> bool {
    matches!(b.first(), Some(b'{' | b'%')) || b.starts_with(b"CEF:") || b.starts_with(b"LEEF:") || b.starts_with(b"@cee:")
}

fn is_host(b: &[u8]) -> bool {
    !b.is_empty()
        && b.len() <= 255
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'-' | b'_' | b'[' | b']' | b'%' | b'/' | b'@'))
        && b.last() != Some(&b':')
}

/// Program, pid, message.
type Tag<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// Reads `prog[pid]: `, `prog: `, `prog[pid] ` or `[prog] `.
fn tag(b: &[u8]) -> Option<Tag<'_>> {
    if let Some(rest) = b.strip_prefix(b"[") {
        let n = memchr::memchr(b']', &rest[..rest.len().min(64)])?;
        let app = &rest[..n];
        let rest = &rest[n + 1..];
        let rest = rest.strip_prefix(b":").unwrap_or(rest);
        // Levels stand in brackets too, in capitals.
        return (is_tag(app) && app[0].is_ascii_lowercase() && matches!(rest.first(), None | Some(b' '))).then(|| (app, None, blanks(rest)));
    }
    let n = b.iter().take(129).take_while(|c| is_tag_byte(**c)).count();
    if n == 0 || n > 128 {
        return None;
    }
    let (app, rest) = b.split_at(n);
    match rest.first()? {
        b':' => Some((app, None, blanks(&rest[1..]))),
        b'[' => {
            let n = memchr::memchr(b']', &rest[..rest.len().min(66)])?;
            let pid = &rest[1..n];
            if !pid.iter().all(|c| is_tag_byte(*c)) {
                return None;
            }
            let rest = &rest[n + 1..];
            let rest = match rest.first() {
                Some(b':') => &rest[1..],
                None | Some(b' ') => rest,
                _ => return None,
            };
            Some((app, Some(pid).filter(|p| !p.is_empty()), blanks(rest)))
        }
        _ => None,
    }
}

fn is_tag(b: &[u8]) -> bool {
    !b.is_empty() && b.iter().all(|c| is_tag_byte(*c))
}

#[inline]
fn is_tag_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/' | b'-' | b'_' | b'(' | b')' | b'@' | b'+' | b'#')
}

/// Reads RFC 5424 behind its version.
fn rfc5424<'a>(b: &'a [u8], ctx: &Context<'_>) -> Option<Envelope<'a>> {
    let nil = |b: &'a [u8]| (b != b"-" && !b.is_empty()).then_some(b);
    let (stamp, rest) = word(b);
    let time = match nil(stamp) {
        None => None,
        Some(s) => Some(time::iso(s, ctx.zone).filter(|(_, n)| *n == s.len())?.0),
    };
    let (host, rest) = word(rest);
    let (app, rest) = word(rest);
    let (pid, rest) = word(rest);
    let (msgid, rest) = word(rest);
    let (structured, rest) = match rest.first()? {
        b'-' => (None, &rest[1..]),
        b'[' => {
            let n = structured(rest)?;
            (Some(&rest[..n]), &rest[n..])
        }
        _ => return None,
    };
    let message = match rest.first() {
        None => rest,
        Some(b' ') => blanks(rest),
        Some(_) => return None,
    };
    let message = message.strip_prefix(BOM).unwrap_or(message);
    Some(Envelope { priority: None, time, host: nil(host), app: nil(app), pid: nil(pid), msgid: nil(msgid), structured, message })
}

/// The length of `[id name="value" …][…]…`; a `]` or `"` within a value is escaped by a backslash.
fn structured(b: &[u8]) -> Option<usize> {
    let mut at = 0;
    while b.get(at) == Some(&b'[') {
        let mut quoted = false;
        loop {
            at += 1 + memchr::memchr3(b'"', b']', b'\\', b.get(at + 1..)?)?;
            match b[at] {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
        }
        at += 1;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Estate;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn ctx(estate: &Estate) -> Context<'_> {
        static UTC: TimeZone = TimeZone::UTC;
        let near = time::iso(b"2026-11-23T12:00:00Z", &TimeZone::UTC).map(|t| t.0).unwrap_or_default();
        Context { zone: &UTC, near, named: false, estate }
    }

    /// Shows an envelope as `priority time host app pid message`, `-` for what is missing.
    fn show(record: &[u8]) -> String {
        let estate = Estate::default();
        let Some(e) = envelope(record, &ctx(&estate)) else { return "none".into() };
        let s = |b: Option<&[u8]>| b.map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
        let time = e.time.map_or("-".into(), |t| t.to_string().replace(".000000Z", "Z"));
        let priority = e.priority.map_or("-".into(), |p| p.to_string());
        format!("{priority} {time} {} {} {} {}", s(e.host), s(e.app), s(e.pid), s(Some(e.message)))
    }

    #[test]
    fn headers_as_they_are_really_written() {
        for (record, want) in [
            ("<86>Nov 23 05:49:55 vm sshd[4001]: Failed x", "86 2026-11-23T05:49:55Z vm sshd 4001 Failed x"),
            ("Nov  3 05:49:55 vm sshd[1]: x", "- 2026-11-03T05:49:55Z vm sshd 1 x"),
            ("Nov 3 05:49:55 vm sshd[1]: x", "- 2026-11-03T05:49:55Z vm sshd 1 x"),
            ("Dec  1 05:49:55 vm a: x", "- 2025-12-01T05:49:55Z vm a - x"),
            ("Nov 23 05:49:55.123 vm a: x", "- 2026-11-23T05:49:55.123000Z vm a - x"),
            ("<4>2026-05-26T12:52:34Z vm Falco[1]: {}", "4 2026-05-26T12:52:34Z vm Falco 1 {}"),
            ("2026-11-14T00:20:42.738197+01:00 vm sshd[2]: x", "- 2026-11-13T23:20:42.738197Z vm sshd 2 x"),
            ("2026-11-14 00:20:42+01:00 vm sshd[2]: x", "- 2026-11-13T23:20:42Z vm sshd 2 x"),
            ("Nov 23 05:49:55 2001:db8::1 a: x", "- 2026-11-23T05:49:55Z 2001:db8::1 a - x"),
            ("Nov 23 05:49:55 vm.example.org a: x", "- 2026-11-23T05:49:55Z vm.example.org a - x"),
            ("Nov 23 05:49:55 sshd[3]: x", "- 2026-11-23T05:49:55Z - sshd 3 x"),
            ("Nov 23 05:49:55 [sshd]: x", "- 2026-11-23T05:49:55Z - sshd - x"),
            ("Nov 23 05:49:55 [sshd] x", "- 2026-11-23T05:49:55Z - sshd - x"),
            ("Nov 23 05:49:55 vm sshd(pam_unix)[5]: x", "- 2026-11-23T05:49:55Z vm sshd(pam_unix) 5 x"),
            ("Nov 23 05:49:55 vm postfix/smtpd[5]: x", "- 2026-11-23T05:49:55Z vm postfix/smtpd 5 x"),
            ("Nov 23 05:49:55 vm fail2ban.actions: x", "- 2026-11-23T05:49:55Z vm fail2ban.actions - x"),
            ("Nov 23 05:49:55 vm myproc[8710] %% x", "- 2026-11-23T05:49:55Z vm myproc 8710 %% x"),
            ("Nov 23 05:49:55 vm sudo:     bob : x", "- 2026-11-23T05:49:55Z vm sudo - bob : x"),
            ("Nov 23 05:49:55 vm last message repeated 2 times", "- 2026-11-23T05:49:55Z vm - - last message repeated 2 times"),
            ("Nov 23 05:49:55 CEF:0|a|b", "- 2026-11-23T05:49:55Z - - - CEF:0|a|b"),
            ("Nov 23 05:49:55 vm CEF:0|a|b", "- 2026-11-23T05:49:55Z vm - - CEF:0|a|b"),
            ("Nov 23 2024 05:49:55 vm a: x", "- 2024-11-23T05:49:55Z vm a - x"),
            ("Nov 23 05:49:55 2024 vm a: x", "- 2024-11-23T05:49:55Z vm a - x"),
            ("2024 Nov 23 05:49:55 vm a: x", "- 2024-11-23T05:49:55Z vm a - x"),
            ("*Nov 23 05:49:55.001 UTC: %SYS-5-X: y", "- 2026-11-23T05:49:55.001000Z - - - %SYS-5-X: y"),
            ("Nov 23 05:49:55 +02:00 vm a: x", "- 2026-11-23T03:49:55Z vm a - x"),
            ("Nov 23 05:49:56 vm ", "- 2026-11-23T05:49:56Z vm - - "),
            ("\u{feff}<13>Nov 23 05:49:56 vm a: x\0\n", "13 2026-11-23T05:49:56Z vm a - x"),
            // A relay's header in front of the record.
            ("<13>Nov 23 05:49:56 relay Nov 23 05:49:55 vm sshd[1]: x", "13 2026-11-23T05:49:56Z relay sshd 1 x"),
            ("<13>Nov 23 05:49:56 relay <86>Nov 23 05:49:55 vm sshd[1]: x", "13 2026-11-23T05:49:56Z relay sshd 1 x"),
            ("<13>Nov 23 05:49:56 relay <86>1 2026-11-23T05:49:55Z vm sshd 1 - - x", "13 2026-11-23T05:49:56Z relay sshd 1 x"),
            // What a client says stays in the message.
            ("Nov 23 05:49:55 vm sshd[1]: Nov 23 05:00:00 evil sshd[2]: x", "- 2026-11-23T05:49:55Z vm sshd 1 Nov 23 05:00:00 evil sshd[2]: x"),
            ("<999>Nov 23 05:49:55 vm a: x", "none"),
            ("<192>Nov 23 05:49:55 vm a: x", "none"),
            ("2026-11-23 05:49:55,001 fail2ban.actions [1]: x", "none"),
            ("2026-11-23T05:49:55.000000000+0000: Warning x", "none"),
            ("Nov 31 05:49:55 vm a: x", "none"),
            ("Nov 23 05:49:55", "none"),
            ("Nov 23 25:49:55 vm a: x", "none"),
            ("{\"a\":1}", "none"),
            ("", "none"),
        ] {
            assert_eq!(show(record.as_bytes()), want, "{record}");
        }
    }

    #[test]
    fn rfc_5424_with_all_its_parts() {
        for (record, want) in [
            ("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% x", "165 2003-08-24T12:14:15.000003Z 192.0.2.1 myproc 8710 %% x"),
            ("<34>1 2003-10-11T22:14:15.003Z vm su - ID47 - \u{feff}x", "34 2003-10-11T22:14:15.003000Z vm su - x"),
            ("<34>1 - - - - - -", "34 - - - - "),
            ("<34>1 2003-10-11T22:14:15Z vm a - - [x k=\"a ] \\\" \\] b\"][y] m", "34 2003-10-11T22:14:15Z vm a - m"),
            ("<34>1 2003-10-11T22:14:15Z vm a - - [x k=\"a m", "none"),
            ("<34>1 yesterday vm a - - - m", "none"),
            ("<34>1 2003-10-11T22:14:15Z vm a", "none"),
        ] {
            assert_eq!(show(record.as_bytes()).trim_end(), want.trim_end(), "{record}");
        }
        let estate = Estate::default();
        let e = envelope(b"<34>1 2003-10-11T22:14:15Z vm a - ID47 [x k=\"v\"][y] m", &ctx(&estate)).expect("an envelope");
        assert_eq!((e.msgid, e.structured), (Some(&b"ID47"[..]), Some(&b"[x k=\"v\"][y]"[..])));
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_envelope_or_none(head in prop::sample::select(vec![
            "", "<13>", "<34>1 ", "<34>1 2003-10-11T22:14:15Z vm a - - [", "Nov 23 05:49:55 ", "Nov 23 05:49:55 vm ", "2026-11-14T00:20:42+01:00 ",
        ]), tail in prop::collection::vec(any::<u8>(), 0..60)) {
            let record = [head.as_bytes(), &tail].concat();
            let estate = Estate::default();
            if let Some(e) = envelope(&record, &ctx(&estate)) {
                prop_assert!(record.windows(e.message.len().max(1)).any(|w| w == e.message) || e.message.is_empty());
            }
        }
    }
}
