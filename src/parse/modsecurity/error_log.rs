//! ModSecurity's lines in the error logs of Apache 2.2 and 2.4 and of nginx, from files or through syslog.

use super::{Gather, brackets, header, host_name, path_and_query, peer, request_line, server, status, transaction};
use crate::event::time::{Civil, clock, digits};
use crate::event::{Out, ParseError, Timestamp, field, time};
use crate::parse::Context;
use crate::parse::syslog::Envelope;
use jiff::tz::TimeZone;
use memchr::memmem;

/// What stands before the message.
#[derive(Default)]
struct Front<'a> {
    time: &'a [u8],
    nginx: bool,
    level: &'a [u8],
    pid: &'a [u8],
    client: &'a [u8],
    second: &'a [u8],
    /// The message, from `ModSecurity` on.
    text: &'a [u8],
}

/// A bracket at the front and what is behind it and its blank. The address of a v6 client has brackets of its own.
fn group(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let b = b.strip_prefix(b"[")?;
    memchr::memchr_iter(b']', b).find(|&i| b.get(i + 1) == Some(&b' ')).map(|i| (&b[..i], &b[i + 2..]))
}

fn front(carried: bool, b: &[u8]) -> Option<Front<'_>> {
    let mut f = Front::default();
    let mut rest = b;
    if b.first() == Some(&b'[') {
        let (time, more) = group(b)?;
        // `[Mon Nov 23 05:41:34.296526 2026]`; through syslog Apache leaves the time to the envelope.
        if time.len() >= 24 && time[3] == b' ' && time[time.len() - 5] == b' ' {
            (f.time, rest) = (time, more);
        } else if !carried {
            return None;
        }
        while let Some((g, more)) = group(rest) {
            if let Some(c) = g.strip_prefix(b"client ").or_else(|| g.strip_prefix(b"remote ")) {
                if f.client.is_empty() {
                    f.client = c;
                } else {
                    f.second = c;
                }
            } else if let Some(p) = g.strip_prefix(b"pid ") {
                f.pid = &p[..p.iter().take_while(|c| c.is_ascii_digit()).count()];
            } else if f.level.is_empty() && g.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b':')) {
                f.level = memchr::memchr(b':', g).map_or(g, |i| &g[i + 1..]);
            } else {
                break;
            }
            rest = more;
        }
    } else {
        // `2026/11/23 05:42:09 [info] 1312#1312: *1 `
        if b.get(4) != Some(&b'/') || b.get(7) != Some(&b'/') {
            return None;
        }
        (f.time, rest) = b.split_at_checked(19)?;
        f.nginx = true;
        (f.level, rest) = group(rest.strip_prefix(b" ")?)?;
        f.pid = &rest[..rest.iter().take_while(|c| c.is_ascii_digit()).count()];
        rest = &rest[memmem::find(&rest[..rest.len().min(40)], b": ")? + 2..];
        if let Some(r) = rest.strip_prefix(b"*") {
            let n = r.iter().take_while(|c| c.is_ascii_digit()).count();
            rest = r[n..].strip_prefix(b" ")?;
        }
        if let Some((g, more)) = group(rest) {
            f.client = g.strip_prefix(b"client ")?;
            rest = more;
        }
    }
    f.text = rest;
    rest.starts_with(b"ModSecurity").then_some(f)
}

fn when(f: &Front<'_>, zone: &TimeZone) -> Option<Timestamp> {
    if !f.nginx {
        return time::asctime(f.time, zone);
    }
    let (hour, minute, second) = clock(f.time.get(11..)?)?;
    let d = |at, n| f.time.get(at..).and_then(|b| digits(b, n));
    let c = Civil { year: d(0, 4)?.into(), month: d(5, 2)? as u8, day: d(8, 2)? as u8, hour, minute, second, nanos: 0 };
    c.in_zone(zone)
}

/// Whether a record is a line of ModSecurity in an error log; what it says at the start of the server is not looked for.
pub(super) fn recognise(carried: bool, b: &[u8]) -> bool {
    front(carried, b).is_some_and(|f| f.text.starts_with(b"ModSecurity: ") && !f.level.eq_ignore_ascii_case(b"notice"))
}

/// Splits an address and a port: `192.0.2.1:55`, `[2001:db8::1]:55`, or an address alone.
fn address(s: &[u8]) -> (&[u8], &[u8]) {
    if crate::event::ip(s).is_some() {
        return (s, b"");
    }
    match memchr::memrchr(b':', s) {
        Some(i) => (host_name(s), &s[i + 1..]),
        None => (s, b""),
    }
}

/// Splits nginx' own words, from `client: ` on, off a message.
///
/// The message quotes what the client sent as it is, and so do nginx' words (`request`, `host`, `referrer`): they begin
/// behind a bracket that no client fills, and have a request before the next such place.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    const MARK: &[u8] = b"\"], client: ";
    let mut found: Option<usize> = None;
    for i in memmem::find_iter(text, MARK) {
        let Some(open) = memchr::memrchr(b'"', &text[..i]) else { continue };
        if !(text[..open].ends_with(b"[ref ") || text[..open].ends_with(b"[unique_id ")) {
            continue;
        }
        match found {
            Some(first) if memmem::find(&text[first..i], b", request: \"").is_some() => break,
            _ => found = Some(i),
        }
    }
    if found.is_none() {
        // A line without brackets: a word of ModSecurity about itself.
        if let Some(i) = memmem::find(text, b", client: ").filter(|_| memmem::find(text, b"[line \"").is_none()) {
            return (&text[..i], &text[i + 10..]);
        }
    }
    found.map_or((text, b""), |i| (&text[..i + 2], &text[i + MARK.len()..]))
}

/// The request of nginx' words, and its host.
fn asked(tail: &[u8]) -> (&[u8], &[u8]) {
    let Some(start) = memmem::find(tail, b", request: \"").map(|i| i + 12) else { return (b"", b"") };
    let t = &tail[start..];
    // The request ends at the first quote behind a version of HTTP: one inside it is not.
    for i in memchr::memchr_iter(b'"', t) {
        let (request, rest) = (&t[..i], &t[i + 1..]);
        let version = memchr::memrchr(b' ', request).map_or(request, |i| &request[i + 1..]);
        if version.starts_with(b"HTTP/") && (rest.is_empty() || rest.starts_with(b", ")) {
            let host = memmem::find(rest, b", host: \"").map(|i| &rest[i + 9..]);
            return (request, host.map_or(b"", |h| &h[..memchr::memchr(b'"', h).unwrap_or(h.len())]));
        }
    }
    (b"", b"")
}

/// Parses one line.
///
/// - Errors: a line that is not ModSecurity's; one of the start of the server unless the format was named.
pub(super) fn parse(ctx: &Context<'_>, env: Option<&Envelope<'_>>, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) -> Result<(), ParseError> {
    let err = |expected| ParseError { expected, offset: 0 };
    let f = front(env.is_some(), b).ok_or(err("a line of ModSecurity in an error log"))?;
    let message = f.text.strip_prefix(b"ModSecurity: ");
    if !ctx.named && (message.is_none() || f.level.eq_ignore_ascii_case(b"notice")) {
        return Err(err("a message of ModSecurity"));
    }
    let (head, tail) = if f.nginx { split(message.unwrap_or(f.text)) } else { (message.unwrap_or(f.text), &b""[..]) };
    match when(&f, ctx.zone).or(env.and_then(|e| e.time)) {
        Some(t) => out.time(field::TIMESTAMP, t),
        None => return Err(err("the time of a line")),
    }
    out.str(field::LOG_LEVEL, f.level);
    out.int_text(field::PROCESS_PID, f.pid);

    let m = brackets::read(head);
    let told = m.id.is_some() || m.msg.is_some() || m.denied() || m.prose.starts_with(b"Warning.");
    gather.message(&m, f.nginx, out);
    if let Some(id) = m.unique_id {
        transaction(id, out);
    }
    if f.nginx {
        let end = memchr::memchr(b',', tail).unwrap_or(tail.len());
        peer(if tail.is_empty() { f.client } else { &tail[..end] }, b"", out);
        if let Some(h) = m.hostname {
            server(h, b"", out);
        }
        let (request, host) = asked(tail);
        request_line(request, out);
        header(b"host", host, out);
    } else {
        let (ip, port) = address(f.client);
        // Builds of 2.9 name the client again: the one that ModSecurity means.
        match crate::event::ip(f.second) {
            Some(second) if crate::event::ip(ip) != Some(second) => peer(f.second, b"", out),
            _ => peer(ip, port, out),
        }
        if let Some(h) = m.hostname {
            header(b"host", h, out);
        }
    }
    if let Some(uri) = m.uri.filter(|_| !out.has(field::URL_PATH)) {
        out.str(field::URL_PATH, path_and_query(uri).0);
    }
    if let Some(code) = m.prose.strip_prefix(b"Access denied with code ") {
        status(&code[..code.len().min(3)], out);
    }
    gather.write(gather.denied, out);
    if told {
        out.word(field::EVENT_DATASET, "modsecurity.error");
        out.word(field::EVENT_KIND, "alert");
    } else {
        out.word(field::EVENT_DATASET, "modsecurity.status");
        out.clear(field::EVENT_CATEGORY);
        out.clear(field::EVENT_TYPE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_words_are_told_from_what_a_client_sent() {
        let head =
            r#"Warning. x [file "f"] [line "1"] [id "12"] [msg "m"] [data "{}"] [hostname "192.0.2.1"] [uri "/"] [unique_id "17.1"] [ref "v9,12"]"#;
        let real = r#"203.0.113.9, server: s, request: "GET /{} HTTP/1.1", host: "h""#;
        let forged = r#""] [unique_id "1"] [ref ""], client: 198.51.100.1, server: s"#;
        for (data, path, referrer) in [("d", "", ""), (forged, "", ""), ("d", "", forged), ("d", r#"", host: "evil"#, ""), ("d", forged, "")] {
            let text = format!("{}, client: {}, referrer: \"{referrer}\"", head.replace("{}", data), real.replace("{}", path));
            let (head, tail) = split(text.as_bytes());
            assert!(tail.starts_with(b"203.0.113.9"), "{text}");
            assert!(head.ends_with(b"[ref \"v9,12\"]"), "{text}");
            let (request, host) = asked(tail);
            assert_eq!((String::from_utf8_lossy(request).into_owned(), host), (format!("GET /{path} HTTP/1.1"), &b"h"[..]), "{text}");
        }
    }

    #[test]
    fn an_address_and_a_port() {
        for (s, ip, port) in [
            ("192.0.2.1", "192.0.2.1", ""),
            ("192.0.2.1:55", "192.0.2.1", "55"),
            ("[2001:db8::1]:55", "2001:db8::1", "55"),
            ("2001:db8::1", "2001:db8::1", ""),
            ("host.example.org", "host.example.org", ""),
        ] {
            assert_eq!(address(s.as_bytes()), (ip.as_bytes(), port.as_bytes()), "{s}");
        }
    }
}
