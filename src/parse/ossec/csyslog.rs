//! `ossec-csyslogd`: the formats default, splunk and cef (its json is read in [`super::json`]).
//!
//! Default and splunk escape nothing, so what an attacker chooses can look like a field. Fields are read in the order in
//! which csyslogd writes them and each once: addresses stand before the user, and the message is all that is left.

use super::{Alert, Names, number, syscheck, unquote};
use crate::event::time::{Civil, bsd};
use crate::event::{Out, ParseError, Timestamp};
use memchr::{memchr, memmem};

pub(super) fn is_default(b: &[u8]) -> bool {
    b.strip_prefix(b"Alert Level: ").is_some_and(|r| r.first().is_some_and(u8::is_ascii_digit))
}

pub(super) fn is_splunk(b: &[u8]) -> bool {
    b.strip_prefix(b"crit=").is_some_and(|r| r.first().is_some_and(u8::is_ascii_digit))
}

/// `CEF:0|<vendor>|OSSEC HIDS|`.
pub(super) fn is_cef(b: &[u8]) -> bool {
    b.strip_prefix(b"CEF:0|").and_then(|r| memchr(b'|', r).map(|i| &r[i + 1..])).is_some_and(|r| r.starts_with(b"OSSEC HIDS|"))
}

pub(super) fn is_any(b: &[u8]) -> bool {
    is_default(b) || is_splunk(b) || super::json::is_syslog(b)
}

/// The envelope, where nobody has taken it off: `<132>Nov 23 05:47:10 mgr ossec: `, in CEF without the host.
pub(super) fn bare(b: &[u8]) -> Option<(Civil, &[u8], &[u8])> {
    let b = match b.strip_prefix(b"<") {
        Some(r) => &r[memchr(b'>', &r[..r.len().min(4)])? + 1..],
        None => b,
    };
    let (when, n) = bsd(b)?;
    let rest = b.get(n..)?.strip_prefix(b" ")?;
    if rest.starts_with(b"CEF:") {
        return Some((when, &[], rest));
    }
    let i = memchr(b' ', rest)?;
    let message = &rest[i + 1..];
    if message.starts_with(b"CEF:") {
        return Some((when, &rest[..i], message));
    }
    Some((when, &rest[..i], message.strip_prefix(b"ossec: ")?))
}

/// Parses one datagram without its envelope.
pub(super) fn parse<'a>(
    b: &'a [u8],
    time: Option<Timestamp>,
    manager: &'a [u8],
    own: &Names,
    scratch: &mut Vec<u8>,
    out: &mut Out<'_>,
) -> Result<(), ParseError> {
    let mut a = Alert { time, manager, ..Alert::default() };
    if is_cef(b) {
        return cef(b, a, own, scratch, out);
    }
    match is_default(b) {
        true => plain(b, &mut a),
        false => splunk(b, &mut a),
    }
    .ok_or(ParseError { expected: "the fields of ossec-csyslogd", offset: 0 })?;
    a.file.read(a.log);
    super::write(&a, own, out);
    Ok(())
}

/// Splits `text<mark>rest` at the first mark.
fn cut<'a>(b: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    memmem::find(b, mark).map(|i| (&b[..i], &b[i + mark.len()..]))
}

/// `Alert Level: 5; Rule: 554 - comment; Location: l; classification:  g,; srcip: i; …; message`.
fn plain<'a>(b: &'a [u8], a: &mut Alert<'a>) -> Option<()> {
    let (level, rest) = cut(b.strip_prefix(b"Alert Level: ")?, b"; Rule: ")?;
    let (sid, rest) = cut(rest, b" - ")?;
    a.level = number(level);
    a.sid = number(sid).map(|_| sid)?;
    let (comment, rest) = cut(rest, b"; Location: ")?;
    a.comment = comment;
    let i = memchr(b';', rest).unwrap_or(rest.len());
    a.location = &rest[..i];
    let mut rest = rest.get(i + 1..).unwrap_or_default();
    rest = rest.strip_prefix(b" ").unwrap_or(rest);

    const KEYS: [&[u8]; 14] = [
        b"classification: ",
        b"srcip: ",
        b"srccity: ",
        b"dstip: ",
        b"dstcity: ",
        b"user: ",
        b"Previous MD5: ",
        b"Current MD5: ",
        b"Previous SHA1: ",
        b"Current SHA1: ",
        b"Size changed: from ",
        b"User ownership: was ",
        b"Group ownership: was ",
        b"Permissions changed: from ",
    ];
    let mut from = 0;
    while let Some(i) = (from..KEYS.len()).find(|&i| rest.starts_with(KEYS[i])) {
        let text = &rest[KEYS[i].len()..];
        // A field ends with `;` and a blank; the last of a datagram without a message with `;`.
        let (v, next) = match cut(text, b"; ") {
            Some(x) => x,
            None => match text.trim_ascii_end().strip_suffix(b";") {
                Some(v) => (v, &text[text.len()..]),
                None => break,
            },
        };
        match i {
            0 => a.groups = v.trim_ascii(),
            1 => a.src_ip = v,
            3 => a.dst_ip = v,
            5 => a.user = v,
            6 => a.file.md5[0] = unquote(v),
            7 => a.file.md5[1] = unquote(v),
            8 => a.file.sha1[0] = unquote(v),
            9 => a.file.sha1[1] = unquote(v),
            10 => syscheck::pair(&mut a.file.size, v),
            11 => syscheck::pair(&mut a.file.uid, v),
            12 => syscheck::pair(&mut a.file.gid, v),
            13 => syscheck::pair(&mut a.file.mode, v),
            _ => {}
        }
        from = i + 1;
        rest = next;
    }
    a.log = rest;
    Some(())
}

/// `crit=5 id=554 description="…" component="…", classification="…", src_ip="…", …, message="…"`.
fn splunk<'a>(b: &'a [u8], a: &mut Alert<'a>) -> Option<()> {
    let (level, rest) = cut(b.strip_prefix(b"crit=")?, b" id=")?;
    let (sid, rest) = cut(rest, b" description=\"")?;
    a.level = number(level);
    a.sid = number(sid).map(|_| sid)?;
    let (comment, rest) = cut(rest, b"\" component=\"")?;
    a.comment = comment;
    let (location, mut rest) = cut(rest, b"\",").unwrap_or((rest, &[]));
    a.location = location;

    const KEYS: [&[u8]; 15] = [
        b"classification=",
        b"file=",
        b"src_ip=",
        b"src_city=",
        b"src_port=",
        b"dst_ip=",
        b"dst_city=",
        b"dst_port=",
        b"file=",
        b"acct=",
        b"user=",
        b"md5_old=",
        b"md5_new=",
        b"sha1_old=",
        b"sha1_new=",
    ];
    let mut from = 0;
    loop {
        rest = rest.trim_ascii_start();
        let Some(i) = (from..KEYS.len()).find(|&i| rest.starts_with(KEYS[i])) else { break };
        let text = &rest[KEYS[i].len()..];
        let (v, next) = match text.strip_prefix(b"\"") {
            Some(t) => match cut(t, b"\", ") {
                Some(x) => x,
                None => break,
            },
            None => match cut(text, b",") {
                Some(x) => x,
                None => break,
            },
        };
        match i {
            0 => a.groups = v.trim_ascii(),
            1 | 8 => a.file.path = v,
            2 => a.src_ip = v,
            4 => a.src_port = v,
            5 => a.dst_ip = v,
            7 => a.dst_port = v,
            9 | 10 => a.user = v,
            11 => a.file.md5[0] = unquote(v),
            12 => a.file.md5[1] = unquote(v),
            13 => a.file.sha1[0] = unquote(v),
            14 => a.file.sha1[1] = unquote(v),
            _ => {}
        }
        from = i + 1;
        rest = next;
    }
    if let Some(m) = rest.strip_prefix(b"message=\"") {
        let m = m.trim_ascii_end();
        a.log = m.strip_suffix(b"\"").unwrap_or(m);
    }
    Some(())
}

/// Splits at the first `|` that is not escaped.
fn bar(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while let Some(i) = memchr::memchr2(b'|', b'\\', &b[at..]) {
        let i = at + i;
        if b[i] == b'|' {
            return Some((&b[..i], &b[i + 1..]));
        }
        at = (i + 2).min(b.len());
    }
    None
}

/// Appends text with `\|`, `\=`, `\\`, `\n` and `\r` undone.
fn unescape(b: &[u8], to: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(i) = memchr(b'\\', &b[at..]) {
        to.extend_from_slice(&b[at..at + i]);
        let c = b.get(at + i + 1);
        match c {
            Some(b'n') => to.push(b'\n'),
            Some(b'r') => to.push(b'\r'),
            Some(c @ (b'|' | b'=' | b'\\')) => to.push(*c),
            Some(c) => to.extend_from_slice(&[b'\\', *c]),
            None => to.push(b'\\'),
        }
        at = (at + i + 2).min(b.len());
    }
    to.extend_from_slice(&b[at..]);
}

/// `CEF:0|vendor|OSSEC HIDS|version|sid|comment|level|dvc=… cs1Label=Location cs1=… classification=… … msg=…`; `=` in
/// values is escaped, so a value ends where the next known key begins.
fn cef<'a>(b: &'a [u8], mut a: Alert<'a>, own: &Names, scratch: &mut Vec<u8>, out: &mut Out<'_>) -> Result<(), ParseError> {
    let short = ParseError { expected: "the seven parts of a CEF header", offset: 0 };
    let mut parts: [&[u8]; 6] = [&[]; 6];
    let mut rest = b.strip_prefix(b"CEF:0|").ok_or(short)?;
    for (i, p) in parts.iter_mut().enumerate() {
        match bar(rest) {
            Some((part, next)) => (*p, rest) = (part, next),
            // A datagram that ends in its header still names the rule and its level.
            None if i == 5 => (*p, rest) = (rest.trim_ascii_end(), &[]),
            None => return Err(short),
        }
    }
    let [_, _, version, sid, comment, level] = parts;
    a.sid = sid;
    a.level = number(level);
    a.capped = true;

    const KEYS: [&[u8]; 18] = [
        b"dvc",
        b"cs1Label",
        b"cs1",
        b"cs2Label",
        b"cs2",
        b"cs3Label",
        b"cs3",
        b"classification",
        b"src",
        b"dpt",
        b"spt",
        b"fname",
        b"dhost",
        b"shost",
        b"suser",
        b"dst",
        b"fhash",
        b"fileHash",
    ];
    let mut labels: [(&[u8], &[u8]); 3] = [(&[], &[]); 3];
    let (mut name, mut user): (&[u8], &[u8]) = (&[], &[]);
    let mut log: &[u8] = &[];
    let mut seen = [false; KEYS.len()];
    let key = |b: &[u8]| KEYS.iter().position(|k| b.strip_prefix(*k).is_some_and(|r| r.first() == Some(&b'=')));
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"msg=") {
            log = &rest[at + 4..];
            break;
        }
        let Some(k) = key(&rest[at..]) else { break };
        let start = at + KEYS[k].len() + 1;
        let mut end = start;
        // Up to a blank with a known key behind it.
        at = loop {
            match memchr(b' ', &rest[end..]) {
                None => {
                    end = rest.len();
                    break end;
                }
                Some(i) => {
                    end += i;
                    if rest[end + 1..].starts_with(b"msg=") || key(&rest[end + 1..]).is_some() {
                        break end + 1;
                    }
                    end += 1;
                }
            }
        };
        let v = &rest[start..end];
        // The first of equal keys counts: it stands before anything that others choose.
        if std::mem::replace(&mut seen[k], true) {
            continue;
        }
        match k {
            0 => a.manager = v,
            1 | 3 | 5 => labels[k / 2].0 = v,
            2 | 4 | 6 => labels[k / 2 - 1].1 = v,
            7 => a.groups = v.trim_ascii(),
            8 => a.src_ip = v,
            9 => a.dst_port = v,
            10 => a.src_port = v,
            11 => name = v,
            14 => user = v,
            15 => a.dst_ip = v,
            16 => a.file.sha1[1] = unquote(v),
            _ => {}
        }
    }
    for (label, v) in labels {
        match label {
            b"Location" => a.location = v,
            b"OldMD5" => a.file.md5[0] = unquote(v),
            b"NewMD5" => a.file.md5[1] = unquote(v),
            _ => {}
        }
    }
    // What needs unescaping is put together in one piece and taken apart again.
    scratch.clear();
    let mut ends = [0; 4];
    for (e, text) in ends.iter_mut().zip([comment, name, user, log]) {
        unescape(text, scratch);
        *e = scratch.len();
    }
    let scratch: &[u8] = scratch;
    let piece = |escaped, from, to| if memchr(b'\\', escaped).is_some() { &scratch[from..to] } else { escaped };
    let mut a: Alert<'_> = a;
    a.comment = piece(comment, 0, ends[0]);
    a.file.path = piece(name, ends[0], ends[1]);
    a.user = piece(user, ends[1], ends[2]);
    a.log = piece(log, ends[2], ends[3]);
    a.file.read(a.log);
    super::write(&a, own, out);
    own.put("ossec.product_version", version, out);
    Ok(())
}
