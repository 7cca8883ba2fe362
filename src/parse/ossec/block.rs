//! `alerts.log`: a block of lines from one `** Alert ` to the next.

use super::{Alert, Names, keep, number, syscheck};
use crate::event::{Out, ParseError, Timestamp, field as f};
use memchr::{memchr, memmem, memrchr};

const MARK: &[u8] = b"** Alert ";

/// `** Alert <digits>.`
pub(super) fn is_header(b: &[u8]) -> bool {
    b.strip_prefix(MARK).is_some_and(|r| {
        let n = r.iter().take(20).take_while(|c| c.is_ascii_digit()).count();
        n > 0 && r.get(n) == Some(&b'.')
    })
}

/// The first line: `** Alert 1795412828.1: mail  - ossec,`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Header<'a> {
    seconds: u32,
    id: &'a [u8],
    groups: &'a [u8],
}

/// Reads the first line. `mail` is followed by two blanks from 2.x on, `mailsl` and a missing list of groups are older.
fn header(line: &[u8]) -> Option<Header<'_>> {
    let rest = line.strip_prefix(MARK)?;
    let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    let m = rest.get(n + 1..)?.iter().take_while(|c| c.is_ascii_digit()).count();
    if n == 0 || n > 10 || m == 0 || rest[n] != b'.' {
        return None;
    }
    let seconds = std::str::from_utf8(&rest[..n]).ok()?.parse().ok()?;
    let (id, rest) = rest.split_at(n + 1 + m);
    // A header that was cut ends anywhere behind the id.
    let rest = match rest {
        [] => rest,
        [b':', r @ ..] => r,
        _ => return None,
    };
    let rest = rest.trim_ascii_start();
    let rest = match rest.strip_prefix(b"mail") {
        Some(r) => r[memchr(b' ', r).unwrap_or(r.len())..].trim_ascii_start(),
        None => rest,
    };
    let groups = match rest {
        [] => rest,
        [b'-', r @ ..] => r.trim_ascii(),
        _ => return None,
    };
    Some(Header { seconds, id, groups })
}

/// The text between the first and the last quote of `-> 'comment'`: straight ones, double ones of old versions, or
/// typographic ones of pasted text. The comment may hold quotes itself; one that was cut has no end.
fn quoted(b: &[u8]) -> &[u8] {
    const OPEN: [&[u8]; 6] = [b"'", b"\"", b"\xe2\x80\x98", b"\xe2\x80\x99", b"\xe2\x80\x9c", b"\xe2\x80\x9d"];
    let Some(inner) = OPEN.iter().find_map(|q| b.strip_prefix(*q)) else { return b };
    let end = OPEN.iter().filter_map(|q| memmem::rfind(inner, q)).max().unwrap_or(inner.len());
    &inner[..end]
}

/// `Rule: 5710 (level 5) -> 'comment'`, in the oldest versions `Rule: 5710 fired (level 5) -> "comment"`.
fn rule(line: &[u8]) -> Option<(&[u8], Option<u32>, &[u8])> {
    let rest = line.strip_prefix(b"Rule: ")?;
    let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    if n == 0 {
        return None;
    }
    let (sid, rest) = rest.split_at(n);
    let rest = rest.strip_prefix(b" fired").unwrap_or(rest);
    let Some(rest) = rest.strip_prefix(b" (level ") else { return Some((sid, None, &[])) };
    let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    let level = number(&rest[..n]);
    let comment = memmem::find(rest, b"-> ").map_or(&rest[rest.len()..], |i| quoted(rest[i + 3..].trim_ascii()));
    Some((sid, level, comment))
}

/// `2026 Nov 23 05:47:08 ` in front of the location.
fn dated(line: &[u8]) -> Option<&[u8]> {
    let shape = line.len() > 20 && line[4] == b' ' && line[8] == b' ' && line[11] == b' ' && line[14] == b':' && line[20] == b' ';
    (shape && line[..4].iter().all(u8::is_ascii_digit)).then(|| &line[21..])
}

/// The line at the front, without its end; and where the next begins.
fn line(b: &[u8]) -> (&[u8], usize) {
    match memchr(b'\n', b) {
        Some(i) => (b[..i].strip_suffix(b"\r").unwrap_or(&b[..i]), i + 1),
        None => (b.strip_suffix(b"\r").unwrap_or(b), b.len()),
    }
}

const LABELS: [&[u8]; 7] = [b"Src IP:", b"Src Location:", b"Src Port:", b"Dst IP:", b"Dst Location:", b"Dst Port:", b"User:"];

/// Reads the lines that name the ends, in the order in which OSSEC writes them and each once, so that log text in the
/// same words is log text. A log is never empty: the last line that is left is the log, whatever it looks like.
fn entities<'a>(body: &'a [u8], values: &mut [&'a [u8]; 7]) -> &'a [u8] {
    let (mut at, mut from, mut last) = (0, 0, None);
    loop {
        let (l, n) = line(&body[at..]);
        let first = l.first();
        if !matches!(first, Some(b'S' | b'D' | b'U')) {
            break;
        }
        let Some(i) = (from..LABELS.len()).find(|&i| l.starts_with(LABELS[i])) else { break };
        values[i] = l[LABELS[i].len()..].trim_ascii();
        last = Some((i, at));
        from = i + 1;
        at += n;
    }
    if body[at..].trim_ascii().is_empty()
        && let Some((i, start)) = last
    {
        values[i] = &[];
        return &body[start..];
    }
    &body[at..]
}

/// Parses one block.
///
/// A block that was cut before its rule (the last of a rotated file) is an alert with `event.truncated`.
pub(super) fn parse(record: &[u8], own: &Names, out: &mut Out<'_>) -> Result<(), ParseError> {
    let (first, mut at) = line(record);
    let head = header(first).ok_or(ParseError { expected: "`** Alert <seconds>.<id>:`", offset: MARK.len() })?;
    let mut a = Alert { time: Timestamp::new(head.seconds as i64, 0), id: head.id, groups: head.groups, ..Alert::default() };
    let (second, n) = line(&record[at..]);
    if let Some(location) = dated(second) {
        a.location = location;
        at += n;
    }
    // Wazuh puts lines of labels here.
    let labels = at;
    let mut found = None;
    while at < record.len() {
        let (l, n) = line(&record[at..]);
        if let Some(r) = rule(l) {
            found = Some((r, at));
            at += n;
            break;
        }
        at += n;
    }
    let Some(((sid, level, comment), rule_at)) = found else {
        super::write(&a, own, out);
        out.bool(f::EVENT_TRUNCATED, true);
        return Ok(());
    };
    (a.sid, a.level, a.comment) = (sid, level, comment);

    let mut values: [&[u8]; 7] = [&[]; 7];
    a.log = entities(&record[at..], &mut values);
    let [src_ip, src_geo, src_port, dst_ip, dst_geo, dst_port, user] = values;
    (a.src_ip, a.src_port, a.dst_ip, a.dst_port, a.user) = (src_ip, src_port, dst_ip, dst_port, user);
    if a.groups.split(|&c| c == b',').any(|g| g == b"syscheck") {
        let mut file = syscheck::File::default();
        file.read(a.log);
        a.file = file;
    }
    super::write(&a, own, out);
    own.put("ossec.source_location", super::some(src_geo), out);
    own.put("ossec.destination_location", super::some(dst_geo), out);
    if out.own().is_some() {
        for l in record[labels..rule_at].split(|&c| c == b'\n') {
            if let Some(i) = memmem::find(l, b": ") {
                keep(&["ossec", "label", &String::from_utf8_lossy(&l[..i])], l[i + 2..].trim_ascii_end(), out);
            }
        }
    }
    // A rule line without the end of its comment is the last line of a file that was cut.
    if at == record.len() && a.log.is_empty() && memrchr(b'\n', record).is_none_or(|i| i < rule_at) {
        out.bool(f::EVENT_TRUNCATED, true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_version() {
        let h = |seconds, id: &'static str, groups: &'static str| Some(Header { seconds, id: id.as_bytes(), groups: groups.as_bytes() });
        for (line, want) in [
            ("** Alert 1795412828.1: mail  - ossec,", h(1795412828, "1795412828.1", "ossec,")),
            ("** Alert 1795412828.2: - ossec,syscheck,", h(1795412828, "1795412828.2", "ossec,syscheck,")),
            ("** Alert 1510376428.465: - syslog,sudo", h(1510376428, "1510376428.465", "syslog,sudo")),
            ("** Alert 1185590911.25661: mailsl  - syslog,errors,", h(1185590911, "1185590911.25661", "syslog,errors,")),
            ("** Alert 1152058913.238: mail", h(1152058913, "1152058913.238", "")),
            ("** Alert 1152058913.238:", h(1152058913, "1152058913.238", "")),
            ("** Alert 1152058913.238: - ", h(1152058913, "1152058913.238", "")),
            ("** Alert 1152058913", None),
            ("** Alert x.1: - a", None),
            ("** Alert 1152058913.238; - a", None),
            ("** Alert 1152058913.238: hello", None),
            ("** Alert 99999999999999.1: - a", None),
        ] {
            assert_eq!(header(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn comments_hold_quotes_of_their_own() {
        for (line, want) in [
            ("Rule: 1 (level 3) -> 'plain'", ("1", Some(3), "plain")),
            ("Rule: 1 (level 3) -> 'it's -> 'so''", ("1", Some(3), "it's -> 'so'")),
            ("Rule: 1 (level 15) -> \"old\"", ("1", Some(15), "old")),
            ("Rule: 1 fired (level 3) -> \"oldest\"", ("1", Some(3), "oldest")),
            ("Rule: 1 (level 3) -> \u{2018}pasted\u{2019}", ("1", Some(3), "pasted")),
            ("Rule: 1 (level 3) -> 'cut", ("1", Some(3), "cut")),
            ("Rule: 1 (level", ("1", None, "")),
        ] {
            let got = rule(line.as_bytes());
            assert_eq!(got, Some((want.0.as_bytes(), want.1, want.2.as_bytes())), "{line}");
        }
        assert_eq!(rule(b"Rule: x"), None);
    }

    #[test]
    fn only_the_lines_in_their_place_name_an_end() {
        let check = |body: &str, want: [&str; 7], log: &str| {
            let mut v = [&b""[..]; 7];
            assert_eq!(entities(body.as_bytes(), &mut v), log.as_bytes(), "{body}");
            assert_eq!(v, want.map(str::as_bytes), "{body}");
        };
        check("Src IP: 192.0.2.1\nUser: root\nlog\n", ["192.0.2.1", "", "", "", "", "", "root"], "log\n");
        check("Src IP: (none)\nUser: (none)\nUser: eve\n", ["(none)", "", "", "", "", "", "(none)"], "User: eve\n");
        check("User: root\nSrc IP: 192.0.2.66\n", ["", "", "", "", "", "", "root"], "Src IP: 192.0.2.66\n");
        check("User: eve\n", [""; 7], "User: eve\n");
        check("User: eve", [""; 7], "User: eve");
        check(
            "Src IP: 2001:db8::1\nSrc Location: DE\nSrc Port: 1\nDst IP: 192.0.2.2\nDst Location: FR\nDst Port: 2\nUser: a b\nx",
            ["2001:db8::1", "DE", "1", "192.0.2.2", "FR", "2", "a b"],
            "x",
        );
        check("Users: 5\n", [""; 7], "Users: 5\n");
        check("", [""; 7], "");
    }
}
