//! Native audit blocks of versions 2 and 3, serial or from a concurrent store.

use super::{Gather, behind_proxy, brackets, forwarded, header, peer, request_line, server, status, transaction};
use crate::event::{Out, ParseError, field, time};
use crate::parse::Context;
use memchr::memmem;

/// Longest forwarding chain that is looked at, in header lines.
const FORWARDED: usize = 8;

/// The boundary of a block's first line, `--225b3f06-A--` or `---Mi2tNCEl---A--`: what stands before the section's letter.
pub(super) fn boundary(b: &[u8]) -> Option<&[u8]> {
    let dashes = if b.starts_with(b"---") { 3 } else { 2 };
    if !b.starts_with(b"--") || !b.get(dashes..dashes + 8)?.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let at = dashes + 8;
    let at = at + if b[at..].starts_with(b"---") { 3 } else { 1 };
    let (front, rest) = b.split_at_checked(at)?;
    (front.ends_with(b"-") && ends_line(rest.strip_prefix(b"A--")?)).then_some(front)
}

fn ends_line(b: &[u8]) -> bool {
    matches!(b, [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..])
}

/// The sections of a block by their letter, each without its boundary line, and whether `Z` was there.
///
/// Only the block's own boundary, alone on a line, divides; of equal letters the first counts.
fn sections<'a>(b: &'a [u8], boundary: &[u8]) -> ([Option<&'a [u8]>; 26], bool) {
    let mut all = [None; 26];
    let mut open: Option<(u8, usize)> = None;
    for i in memmem::find_iter(b, boundary) {
        let line = &b[i + boundary.len()..];
        let [letter @ b'A'..=b'Z', b'-', b'-', rest @ ..] = line else { continue };
        if (i > 0 && b[i - 1] != b'\n') || !ends_line(rest) {
            continue;
        }
        if let Some((letter, start)) = open {
            all[letter as usize].get_or_insert(&b[start.min(i)..i]);
        }
        let end = b.len() - rest.len();
        let end = end + memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        open = Some((letter - b'A', end));
        if *letter == b'Z' {
            return (all, true);
        }
    }
    if let Some((letter, start)) = open {
        all[letter as usize].get_or_insert(&b[start..]);
    }
    (all, false)
}

fn lines(b: &[u8]) -> impl Iterator<Item = &[u8]> {
    b.split(|&c| c == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l))
}

/// Parses one block.
pub(super) fn parse(ctx: &Context<'_>, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) -> Result<(), ParseError> {
    let err = |expected| ParseError { expected, offset: 0 };
    let boundary = boundary(b).ok_or(err("an audit log boundary"))?;
    let raw = boundary.starts_with(b"---");
    let (all, whole) = sections(b, boundary);
    let section = |letter: u8| all[(letter - b'A') as usize].unwrap_or_default();

    // A: `[23/Nov/2026:05:41:30.339956 +0000] id 192.0.2.1 45828 192.0.2.2 443`
    let a = lines(section(b'A')).find(|l| !l.is_empty()).unwrap_or_default();
    let (time, rest) = a.strip_prefix(b"[").and_then(|a| memchr::memchr(b']', a).map(|i| (&a[..i], &a[i + 1..]))).ok_or(err("the A section"))?;
    let mut words = rest.split(|&c| c == b' ').filter(|w| !w.is_empty());
    let mut word = || words.next().unwrap_or_default();
    let (id, ip, port, to, to_port) = (word(), word(), word(), word(), word());
    if id.is_empty() || ip.is_empty() {
        return Err(err("a transaction and its client"));
    }
    if let Some(t) = time::clf(time, ctx.zone) {
        out.time(field::TIMESTAMP, t);
    }
    out.word(field::EVENT_DATASET, "modsecurity.audit");
    transaction(id, out);
    peer(ip, port, out);
    server(to, to_port, out);
    if !whole {
        out.bool(field::EVENT_TRUNCATED, true);
    }

    let mut request = lines(section(b'B'));
    request_line(request.next().unwrap_or_default(), out);
    let proxied = behind_proxy(ctx.estate, ip);
    let (mut chain, mut links) = ([&b""[..]; FORWARDED], 0);
    for (name, value) in request.take_while(|l| !l.is_empty()).filter_map(|l| memchr::memchr(b':', l).map(|i| (&l[..i], &l[i + 1..]))) {
        if proxied && name.eq_ignore_ascii_case(b"x-forwarded-for") {
            chain[links % FORWARDED] = value;
            links += 1;
        } else {
            header(name, value, out);
        }
    }
    for i in (links.saturating_sub(FORWARDED)..links).rev() {
        if forwarded(ctx.estate, chain[i % FORWARDED], out) {
            break;
        }
    }

    // F: `HTTP/1.1 403 Forbidden`, without a reason in version 3.
    if let Some(f) = lines(section(b'F')).next().filter(|l| l.starts_with(b"HTTP/")) {
        status(f.split(|&c| c == b' ').nth(1).unwrap_or_default(), out);
    }

    let mut intercepted = false;
    for l in lines(section(b'H')) {
        if let Some(m) = l.strip_prefix(b"Message: ").or_else(|| l.strip_prefix(b"ModSecurity: ")) {
            gather.message(&brackets::read(m), raw, out);
        } else if l.starts_with(b"Action: Intercepted") {
            intercepted = true;
        } else if let Some(mode) = l.strip_prefix(b"Engine-Mode: ") {
            out.str(field::MODSECURITY_ENGINE_MODE, unquoted(mode.trim_ascii()));
        }
    }
    // Version 3 has no action, only the words of its messages.
    gather.write(intercepted || gather.denied, out);
    Ok(())
}

/// The text between quotes.
fn unquoted(s: &[u8]) -> &[u8] {
    s.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\"")).unwrap_or(s)
}
