//! The grammar of JSON over bytes, without recursion: where a string, a number or a whole value ends.
//!
//! It accepts what serde_json accepts as `IgnoredAny` from a slice: escapes are checked for their form, surrogates and
//! UTF-8 are not.

use crate::event::ParseError;

/// Deeper nesting is an error.
pub(super) const MAX_DEPTH: usize = 128;

/// An error in one word, so that a step is returned in registers: what was expected, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad(u64);

/// Where the next byte stands, or what is wrong.
pub(super) type Step = Result<usize, Bad>;

const EXPECTED: [&str; 10] = [
    "a JSON value",
    "the end of a string",
    "an escape",
    "a key in quotes",
    "a colon",
    "a comma or a closing brace",
    "a comma or a closing bracket",
    "a digit",
    "the end of the record",
    "less nesting than 129 levels",
];
pub(super) const VALUE: u64 = 0;
const STRING: u64 = 1;
const ESCAPE: u64 = 2;
pub(super) const KEY: u64 = 3;
pub(super) const COLON: u64 = 4;
pub(super) const BRACE: u64 = 5;
pub(super) const BRACKET: u64 = 6;
const DIGIT: u64 = 7;
pub(super) const END: u64 = 8;
pub(super) const DEPTH: u64 = 9;

/// An error at an offset.
#[cold]
pub(super) fn bad(what: u64, at: usize) -> Bad {
    Bad(what << 56 | at as u64 & ((1 << 56) - 1))
}

impl From<Bad> for ParseError {
    fn from(b: Bad) -> ParseError {
        ParseError { expected: EXPECTED[(b.0 >> 56) as usize % EXPECTED.len()], offset: (b.0 & ((1 << 56) - 1)) as usize }
    }
}

/// Eight bytes as a word, the first one lowest; `None` where fewer are left.
#[inline(always)]
pub(super) fn word(b: &[u8], at: usize) -> Option<u64> {
    b.get(at..)?.first_chunk::<8>().map(|c| u64::from_le_bytes(*c))
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A bit in the lowest byte of a word that is a quote, a backslash or a control byte. With bit 1 flipped, control bytes and
/// the quote are exactly the bytes below 0x21; a borrow can only reach bytes above the lowest hit.
#[inline(always)]
fn special(x: u64) -> u64 {
    let low = x ^ (ONES * 0x02);
    let slash = x ^ (ONES * b'\\' as u64);
    (low.wrapping_sub(ONES * 0x21) & !low | slash.wrapping_sub(ONES) & !slash) & HIGH
}

/// The place of the first quote, backslash or control byte from `at` on, or the end.
#[inline(always)]
pub(super) fn plain(b: &[u8], at: usize) -> usize {
    // Most strings end within sixteen bytes.
    if let (Some(x), Some(y)) = (word(b, at), word(b, at + 8)) {
        let (x, y) = (special(x), special(y));
        if x != 0 {
            return at + (x.trailing_zeros() / 8) as usize;
        }
        if y != 0 {
            return at + 8 + (y.trailing_zeros() / 8) as usize;
        }
        return plain_on(b, at + 16);
    }
    plain_on(b, at)
}

/// The same for what is longer: 32 bytes at a time, in a form that becomes vector instructions.
#[inline(never)]
fn plain_on(b: &[u8], mut at: usize) -> usize {
    while let Some(block) = b.get(at..).and_then(|b| b.first_chunk::<32>()) {
        let mut hit = 0u8;
        for c in block {
            hit |= ((c ^ 2) <= 0x20) as u8 | (*c == b'\\') as u8;
        }
        if hit != 0 {
            break;
        }
        at += 32;
    }
    while let Some(x) = word(b, at) {
        let hit = special(x);
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < b.len() && b[at] >= 0x20 && b[at] != b'"' && b[at] != b'\\' {
        at += 1;
    }
    at
}

/// Past the blanks at `at`.
#[inline(always)]
pub(super) fn blanks(b: &[u8], at: usize) -> usize {
    match b.get(at) {
        Some(0..=b' ') => blanks_slow(b, at),
        _ => at,
    }
}

#[inline(never)]
fn blanks_slow(b: &[u8], mut at: usize) -> usize {
    while matches!(b.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// The place of the quote that ends a string whose text begins at `at`, and whether it holds escapes.
#[inline(always)]
pub(super) fn string(b: &[u8], at: usize) -> Result<(usize, bool), Bad> {
    let end = plain(b, at);
    if b.get(end) == Some(&b'"') {
        return Ok((end, false));
    }
    escaped(b, end).map(|end| (end, true))
}

/// The same from the first byte that is not plain.
#[inline(never)]
fn escaped(b: &[u8], mut at: usize) -> Step {
    loop {
        match b.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => match b.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') if b.get(at + 2..at + 6).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) => at += 6,
                _ => return Err(bad(ESCAPE, at)),
            },
            _ => return Err(bad(STRING, at)),
        }
        at = plain(b, at);
    }
}

/// Past a number, `true`, `false` or `null`.
#[inline(always)]
pub(super) fn scalar(b: &[u8], at: usize) -> Step {
    match b.get(at) {
        Some(b'0'..=b'9' | b'-') => number(b, at),
        Some(b't') => literal(b, at, b"true"),
        Some(b'f') => literal(b, at, b"false"),
        Some(b'n') => literal(b, at, b"null"),
        _ => Err(bad(VALUE, at)),
    }
}

#[inline(always)]
fn literal(b: &[u8], at: usize, text: &[u8]) -> Step {
    if b.get(at..at + text.len()) == Some(text) { Ok(at + text.len()) } else { Err(bad(VALUE, at)) }
}

#[inline(always)]
fn digits(b: &[u8], mut at: usize) -> usize {
    while b.get(at).is_some_and(|c| c.is_ascii_digit()) {
        at += 1;
    }
    at
}

#[inline(always)]
fn number(b: &[u8], at: usize) -> Step {
    let start = at + (b[at] == b'-') as usize;
    let end = digits(b, start);
    if end == start {
        return Err(bad(DIGIT, end));
    }
    if b[start] == b'0' && end > start + 1 {
        return Err(bad(VALUE, start));
    }
    match b.get(end) {
        Some(b'.' | b'e' | b'E') => fraction(b, end),
        _ => Ok(end),
    }
}

#[inline(never)]
fn fraction(b: &[u8], mut at: usize) -> Step {
    if b[at] == b'.' {
        let end = digits(b, at + 1);
        if end == at + 1 {
            return Err(bad(DIGIT, end));
        }
        at = end;
    }
    if matches!(b.get(at), Some(b'e' | b'E')) {
        let start = at + 1 + matches!(b.get(at + 1), Some(b'+' | b'-')) as usize;
        at = digits(b, start);
        if at == start {
            return Err(bad(DIGIT, at));
        }
    }
    Ok(at)
}

/// Past a key that begins with its quote at `at`, its colon and the blanks behind it.
#[inline(always)]
fn key(b: &[u8], at: usize) -> Step {
    if b.get(at) != Some(&b'"') {
        return Err(bad(KEY, at));
    }
    let at = blanks(b, string(b, at + 1)?.0 + 1);
    if b.get(at) != Some(&b':') {
        return Err(bad(COLON, at));
    }
    Ok(blanks(b, at + 1))
}

/// Past the object or array at `at`, which is `depth` levels deep, itself included.
pub(super) fn skip(b: &[u8], mut at: usize, depth: usize) -> Step {
    // One bit for each open level: set for an object.
    let (mut open, mut level) = (0u128, 0usize);
    loop {
        match b.get(at) {
            Some(b'"') => at = string(b, at + 1)?.0 + 1,
            Some(c @ (b'{' | b'[')) => {
                if depth + level > MAX_DEPTH {
                    return Err(bad(DEPTH, at));
                }
                let object = *c == b'{';
                at = blanks(b, at + 1);
                // `]` and `}` are two behind `[` and `{`.
                if b.get(at) == Some(&(c + 2)) {
                    at += 1;
                } else {
                    open = open << 1 | object as u128;
                    level += 1;
                    if object {
                        at = key(b, at)?;
                    }
                    continue;
                }
            }
            _ => at = scalar(b, at)?,
        }
        loop {
            if level == 0 {
                return Ok(at);
            }
            at = blanks(b, at);
            let object = open & 1 == 1;
            match b.get(at) {
                Some(b',') => {
                    at = blanks(b, at + 1);
                    if object {
                        at = key(b, at)?;
                    }
                    break;
                }
                Some(c) if *c == if object { b'}' } else { b']' } => {
                    at += 1;
                    open >>= 1;
                    level -= 1;
                }
                _ => return Err(bad(if object { BRACE } else { BRACKET }, at)),
            }
        }
    }
}

/// Past the value at `at`; an object or array there is `depth` levels deep.
#[inline(always)]
pub(super) fn value(b: &[u8], at: usize, depth: usize) -> Step {
    match b.get(at) {
        Some(b'"') => Ok(string(b, at + 1)?.0 + 1),
        Some(b'{' | b'[') => skip(b, at, depth),
        _ => scalar(b, at),
    }
}

/// Appends what the text between two quotes stands for. A surrogate without its partner becomes U+FFFD.
pub(super) fn unescape(mut s: &[u8], out: &mut Vec<u8>) {
    while let Some(i) = memchr::memchr(b'\\', s) {
        out.extend_from_slice(&s[..i]);
        s = &s[i + 1..];
        let (c, n) = match s.first() {
            Some(b'u') => {
                let (c, n) = unicode(&s[1..]);
                (c, n + 1)
            }
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(&c) if c < 0x80 => (c as char, 1),
            _ => ('\u{fffd}', 0),
        };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        s = s.get(n..).unwrap_or(&[]);
    }
    out.extend_from_slice(s);
}

/// The character of the digits behind `\u`, a surrogate pair taken together: and how many bytes that was.
fn unicode(s: &[u8]) -> (char, usize) {
    let Some(hi) = hex4(s) else { return ('\u{fffd}', s.len().min(4)) };
    if (0xd800..0xdc00).contains(&hi)
        && let Some(lo @ 0xdc00..=0xdfff) = s.get(4..).and_then(|r| r.strip_prefix(b"\\u")).and_then(hex4)
    {
        return (char::from_u32(0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00)).unwrap_or('\u{fffd}'), 10);
    }
    (char::from_u32(hi).unwrap_or('\u{fffd}'), 4)
}

fn hex4(s: &[u8]) -> Option<u32> {
    s.get(..4)?.iter().try_fold(0u32, |v, &c| Some(v << 4 | (c as char).to_digit(16)?))
}

/// Appends a JSON text as it stands, in a form that every reader takes: blanks between values are left out, a surrogate
/// without its partner becomes U+FFFD, and a number beyond the range of a float becomes a string.
pub(super) fn copy(json: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                let end = string(json, at + 1).map_or(json.len(), |(e, _)| e);
                copy_text(&json[at + 1..end], out);
                at = end + 1;
            }
            b' ' | b'\n' | b'\t' | b'\r' => at += 1,
            b'-' | b'0'..=b'9' => {
                let end = scalar(json, at).unwrap_or(json.len()).max(at + 1);
                let n = &json[at..end];
                let wide = n.len() > 17 && std::str::from_utf8(n).ok().and_then(|n| n.parse::<f64>().ok()).is_none_or(f64::is_infinite);
                let wide = wide
                    || n.iter().any(|c| c | 0x20 == b'e')
                        && std::str::from_utf8(n).ok().and_then(|n| n.parse::<f64>().ok()).is_none_or(f64::is_infinite);
                if wide {
                    out.push(b'"');
                }
                out.extend_from_slice(n);
                if wide {
                    out.push(b'"');
                }
                at = end;
            }
            c => {
                out.push(c);
                at += 1;
            }
        }
    }
}

fn copy_text(mut s: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    while let Some(i) = memchr::memchr(b'\\', s) {
        let n = match s.get(i + 1) {
            Some(b'u') => match unicode(&s[i + 2..]) {
                ('\u{fffd}', n) => {
                    out.extend_from_slice(&s[..i]);
                    out.extend_from_slice(b"\\ufffd");
                    s = s.get(i + 2 + n..).unwrap_or(&[]);
                    continue;
                }
                (_, n) => n + 2,
            },
            _ => 2,
        };
        let end = (i + n).min(s.len());
        out.extend_from_slice(&s[..end]);
        s = &s[end..];
    }
    out.extend_from_slice(s);
    out.push(b'"');
}
