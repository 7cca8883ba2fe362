//! What container runtimes and log shippers put around a line: the CRI prefix, docker's JSON, the `@cee:` cookie.

use super::Context;
use crate::event::{Timestamp, time};

/// A payload and what its carrier says about it.
pub(super) struct Carried<'a> {
    /// When the runtime read the line.
    pub time: Timestamp,
    /// The line.
    pub payload: &'a [u8],
}

/// Reads `2026-11-23T05:00:00.123456789Z stdout F …` as the CRI writes it.
///
/// A partial line (`P`) is taken too: one whose rest never came.
pub(super) fn cri<'a>(record: &'a [u8], ctx: &Context<'_>) -> Option<Carried<'a>> {
    let (_, n) = cri_head(record)?;
    let (time, _) = time::iso(record, ctx.zone)?;
    Some(Carried { time, payload: &record[n..] })
}

/// Whether a line has a CRI prefix: whether it is partial, and how long the prefix is.
pub(crate) fn cri_head(b: &[u8]) -> Option<(bool, usize)> {
    if b.len() < 30 || b[4] != b'-' || b[10] != b'T' || !b[0].is_ascii_digit() {
        return None;
    }
    let at = 20 + memchr::memchr(b' ', &b[20..b.len().min(48)])?;
    let rest = &b[at..];
    if !rest.starts_with(b" stdout ") && !rest.starts_with(b" stderr ") {
        return None;
    }
    let partial = match rest.get(8)? {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    // Further flags may follow behind colons.
    let mut n = 9;
    while rest.get(n) == Some(&b':') {
        n += 1 + rest[n + 1..].iter().take_while(|c| c.is_ascii_alphanumeric()).count();
    }
    match rest.get(n) {
        Some(b' ') => Some((partial, at + n + 1)),
        None => Some((partial, at + n)),
        _ => None,
    }
}

/// Reads `{"log":"…\n","stream":"stdout","time":"…"}` as docker's json-file driver writes it: the line goes to `scratch`.
pub(super) fn docker(record: &[u8], scratch: &mut Vec<u8>, ctx: &Context<'_>) -> Option<Timestamp> {
    let text = record.strip_prefix(b"{\"log\":\"")?;
    let n = string_end(text)?;
    let rest = text[n + 1..].strip_prefix(b",\"stream\":\"std")?;
    let at = memchr::memmem::rfind(rest, b"\"time\":\"")? + 8;
    let (t, m) = time::iso(&rest[at..], ctx.zone)?;
    if !rest[at + m..].starts_with(b"\"}") {
        return None;
    }
    scratch.clear();
    unescape(&text[..n], scratch)?;
    while matches!(scratch.last(), Some(b'\n' | b'\r')) {
        scratch.pop();
    }
    Some(t)
}

/// Takes off the cookie that marks a JSON message.
pub(super) fn cee(message: &[u8]) -> &[u8] {
    match message.strip_prefix(b"@cee:") {
        Some(rest) => rest.trim_ascii_start(),
        None => message,
    }
}

/// Where the quote stands that ends a JSON string.
fn string_end(b: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', b.get(at..)?)?;
        if b[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn unescape(b: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    while let Some(n) = memchr::memchr(b'\\', &b[at..]) {
        out.extend_from_slice(&b[at..at + n]);
        at += n;
        let c = *b.get(at + 1)?;
        at += 2;
        out.push(match c {
            b'"' | b'\\' | b'/' => c,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut v = hex(b.get(at..at + 4)?)?;
                at += 4;
                if (0xd800..0xdc00).contains(&v)
                    && b.get(at..at + 2) == Some(b"\\u")
                    && let Some(low @ 0xdc00..0xe000) = b.get(at + 2..at + 6).and_then(hex)
                {
                    v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
                let c = char::from_u32(v).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
    out.extend_from_slice(&b[at..]);
    Some(())
}

fn hex(b: &[u8]) -> Option<u32> {
    b.iter().try_fold(0, |v, c| Some(v << 4 | (*c as char).to_digit(16)?))
}
