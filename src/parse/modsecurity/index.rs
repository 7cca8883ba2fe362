//! Lines of the index of a concurrent audit log.

use super::brackets::unescape;
use super::{category, header, peer, request_line, status, transaction};
use crate::event::{Out, ParseError, field, time};
use crate::parse::Context;

/// A line, its quotes taken off and its escapes left in.
struct Line<'a> {
    host: &'a [u8],
    client: &'a [u8],
    user: &'a [u8],
    time: &'a [u8],
    request: &'a [u8],
    status: &'a [u8],
    bytes: &'a [u8],
    referer: &'a [u8],
    agent: &'a [u8],
    id: &'a [u8],
    path: &'a [u8],
    offset: u64,
    size: u64,
    md5: &'a [u8],
}

/// Whether a record ends as index lines do: ` md5:` and 32 hexadecimal digits.
pub(super) fn recognise(b: &[u8]) -> bool {
    ends(b).is_some() && read(b).is_some()
}

fn ends(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let b = b.trim_ascii_end();
    let (front, hash) = b.split_at_checked(b.len().checked_sub(32)?)?;
    let front = front.strip_suffix(b" md5:")?;
    hash.iter().all(u8::is_ascii_hexdigit).then_some((front, hash))
}

/// Takes a word off the front.
fn word<'a>(b: &mut &'a [u8]) -> Option<&'a [u8]> {
    let i = memchr::memchr(b' ', b)?;
    let w = &b[..i];
    *b = &b[i + 1..];
    (i > 0).then_some(w)
}

/// Takes a word off the end.
fn last<'a>(b: &mut &'a [u8]) -> Option<&'a [u8]> {
    let i = memchr::memrchr(b' ', b)?;
    let w = &b[i + 1..];
    *b = &b[..i];
    Some(w)
}

/// Takes a quoted text and the blank behind it off the front; quotes inside are escaped.
fn quoted<'a>(b: &mut &'a [u8]) -> Option<&'a [u8]> {
    let text = b.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            break;
        }
        at += 2;
    }
    *b = text[at + 1..].strip_prefix(b" ")?;
    Some(&text[..at])
}

fn whole(b: &[u8]) -> Option<u64> {
    std::str::from_utf8(b).ok()?.parse().ok()
}

fn read(b: &[u8]) -> Option<Line<'_>> {
    let (mut rest, md5) = ends(b)?;
    let r = &mut rest;
    let (host, client, user, _) = (word(r)?, word(r)?, word(r)?, word(r)?);
    let i = memchr::memchr(b']', r)?;
    let time = r[..i].strip_prefix(b"[")?;
    *r = r[i + 1..].strip_prefix(b" ")?;
    let (request, status, bytes) = (quoted(r)?, word(r)?, word(r)?);
    let (referer, agent, id) = (quoted(r)?, quoted(r)?, word(r)?);
    quoted(r)?;
    let size = whole(last(r)?)?;
    let offset = whole(last(r)?)?;
    let path = *r;
    (!path.is_empty()).then_some(Line { host, client, user, time, request, status, bytes, referer, agent, id, path, offset, size, md5 })
}

/// The file that an index line names below the store's folder: its path, where the record begins in it, how many bytes
/// it has, and their MD5 in hexadecimal. `None` for a record that is no index line.
///
/// The line may come before the file is complete: the reader checks size and hash, and tries again.
pub fn index_file(record: &[u8]) -> Option<(&[u8], u64, u64, &[u8])> {
    read(record.trim_ascii_start()).map(|l| (l.path, l.offset, l.size, l.md5))
}

/// Takes the escapes off.
fn bare<'a>(v: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(b'\\', v).is_none() {
        return v;
    }
    scratch.clear();
    unescape(v, scratch);
    scratch
}

/// Parses one line: an event without a rule.
pub(super) fn parse(ctx: &Context<'_>, b: &[u8], scratch: &mut Vec<u8>, out: &mut Out<'_>) -> Result<(), ParseError> {
    let l = read(b).ok_or(ParseError { expected: "a line of a concurrent index", offset: 0 })?;
    out.word(field::EVENT_DATASET, "modsecurity.audit");
    out.word(field::EVENT_KIND, "event");
    category(out);
    out.word(field::EVENT_TYPE, "info");
    if let Some(t) = time::clf(l.time, ctx.zone) {
        out.time(field::TIMESTAMP, t);
    }
    transaction(l.id, out);
    peer(l.client, b"", out);
    header(b"host", l.host, out);
    if l.user != b"-" {
        out.str(field::USER_NAME, l.user);
    }
    request_line(bare(l.request, scratch), out);
    status(l.status, out);
    out.int_text(field::HTTP_RESPONSE_BODY_BYTES, l.bytes);
    for (name, v) in [(&b"referer"[..], l.referer), (b"user-agent", l.agent)] {
        if v != b"-" {
            header(name, bare(v, scratch), out);
        }
    }
    out.str(field::MODSECURITY_AUDIT_FILE, l.path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"www.example.org 203.0.113.9 - - [23/Nov/2026:05:41:30.339956 +0000] "GET /?a=\"x HTTP/1.1" 403 239 "-" "curl \"8\"" awPS "-" /store/20261123/x y 0 4808 md5:7a86e6b37f104156fb0cc0c65d8a4322 "#;

    #[test]
    fn a_line_names_its_file() {
        assert_eq!(index_file(LINE.as_bytes()), Some((&b"/store/20261123/x y"[..], 0, 4808, &b"7a86e6b37f104156fb0cc0c65d8a4322"[..])));
    }

    #[test]
    fn what_is_no_index_line_is_refused() {
        let access = r#"203.0.113.9 - - [23/Nov/2026:05:41:30 +0000] "GET / HTTP/1.1" 200 12 "-" "curl""#;
        for l in [access, "", "md5:7a86e6b37f104156fb0cc0c65d8a4322", &LINE[..LINE.len() - 2], &LINE.replace(" 4808", "")] {
            assert!(!recognise(l.as_bytes()), "{l}");
        }
        assert!(recognise(LINE.as_bytes()));
    }
}
