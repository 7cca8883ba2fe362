//! The text of one message: prose and ` [name "value"]` brackets.
//!
//! ModSecurity 2 and Coraza write `\"` for a quote inside a value; version 3 writes what the attacker sent as it is. So
//! the rule's own `file`, `line` and `id` are read from the left, where they stand before any payload but the matched
//! value, and all that follows is read from the right in the order in which it is written: a payload such as
//! `"] [id "999"]` stays a part of the value it came in.

use memchr::memmem::{self, Finder};
use std::sync::LazyLock;

/// Searchers that every message needs; to build one costs more than to use it.
static LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("[line \""));
static VALUE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("(Value: `"));
static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"] [data \""));
static REFERER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"], referer: "));

/// What one message says. Values are as they stand, escapes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The words around the brackets: what matched, and whether access was denied.
    pub prose: &'a [u8],
    /// The rule's file.
    pub file: Option<&'a [u8]>,
    /// The rule's line in it.
    pub line: Option<&'a [u8]>,
    /// The rule's number.
    pub id: Option<&'a [u8]>,
    /// The rule's text.
    pub msg: Option<&'a [u8]>,
    /// What matched, as the rule logs it.
    pub data: Option<&'a [u8]>,
    /// A word or a digit.
    pub severity: Option<&'a [u8]>,
    /// The rule set's version.
    pub ver: Option<&'a [u8]>,
    /// The stretch that holds all tags and nothing else, see [`tags`].
    pub tags: &'a [u8],
    /// The host of the request; with nginx the address of the server.
    pub hostname: Option<&'a [u8]>,
    /// The path of the request.
    pub uri: Option<&'a [u8]>,
    /// The transaction.
    pub unique_id: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Whether it says that the request was stopped.
    pub fn denied(&self) -> bool {
        self.prose.starts_with(b"Access denied")
    }
}

/// Where a rule names itself: `[line "81"] [id "949110"]`.
struct Anchor<'a> {
    start: usize,
    end: usize,
    line: &'a [u8],
    id: Option<&'a [u8]>,
}

/// A value of digits behind `open`, and the offset behind its bracket.
fn number<'a>(text: &'a [u8], at: usize, open: &[u8]) -> Option<(&'a [u8], usize)> {
    let start = at + open.len();
    let rest = text.get(at..)?.strip_prefix(open)?;
    let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
    (n > 0 && rest[n..].starts_with(b"\"]")).then(|| (&rest[..n], start + n + 2))
}

fn anchor(text: &[u8], from: usize) -> Option<Anchor<'_>> {
    let mut bare = None;
    for i in LINE.find_iter(text.get(from..)?) {
        let start = from + i;
        let Some((line, end)) = number(text, start, b"[line \"") else { continue };
        let next = end + (text.get(end) == Some(&b' ')) as usize;
        match number(text, next, b"[id \"") {
            Some((id, end)) => return Some(Anchor { start, end, line, id: Some(id) }),
            None if bare.is_none() => bare = Some(Anchor { start, end, line, id: None }),
            None => {}
        }
    }
    bare
}

/// Where the brackets begin to be the rule's own. Version 3 quotes at most 100 bytes of the matched value before them,
/// as `(Value: `…' )`: what stands inside is not looked at.
fn after_value(text: &[u8]) -> usize {
    const QUOTED: usize = 100 + " (18446744073709551615 characters omitted)".len();
    let Some(open) = VALUE.find(text) else { return 0 };
    if LINE.find(&text[..open]).is_some() {
        return 0;
    }
    let start = open + 9;
    let end = text.len().min(start + QUOTED + 10);
    memmem::rfind(&text[start..end], b"' ) [file \"").map_or(start, |i| start + i)
}

/// Whether the quote at `i` is one that ends a value where quotes inside are escaped.
fn bare_quote(text: &[u8], i: usize) -> bool {
    text[..i].iter().rev().take_while(|&&c| c == b'\\').count() % 2 == 0
}

fn trim_end(text: &[u8]) -> &[u8] {
    text.trim_ascii_end()
}

/// The bracket that ends `text`, of a name without surprises and a value without quotes: name, value, where it begins.
fn last_plain(text: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let body = text.strip_suffix(b"\"]")?;
    let open = memchr::memrchr(b'"', body)?;
    let start = memchr::memrchr(b'[', &body[..open])?;
    let name = body[start + 1..open].strip_suffix(b" ")?;
    let plain = !name.is_empty() && name.iter().all(|c| c.is_ascii_lowercase() || *c == b'_');
    plain.then(|| (name, &body[open + 1..], start))
}

/// Takes the last ` [name "` … `"]` off the end of `text`.
fn take_last<'a>(text: &mut &'a [u8], open: &[u8], from: usize) -> Option<&'a [u8]> {
    let body = text.strip_suffix(b"\"]")?;
    let start = memchr::memrchr_iter(b'[', body).take_while(|&i| i >= from).find(|&i| body[i..].starts_with(open))?;
    let value = &body[start + open.len()..];
    *text = trim_end(&body[..start]);
    Some(value)
}

/// Reads one message, without what the web server writes around it.
pub(super) fn read(text: &[u8]) -> Message<'_> {
    let mut m = Message::default();
    let text = text.trim_ascii();
    let Some(a) = anchor(text, after_value(text)) else {
        // No rule: a word of ModSecurity about itself, perhaps with the request it was busy with.
        let mut rest = cut_end(text);
        request(&mut rest, 0, &mut m);
        m.prose = memmem::find(rest, b" [hostname \"").map_or(rest, |i| &rest[..i]);
        return m;
    };
    (m.line, m.id) = (Some(a.line), a.id);
    let before = trim_end(&text[..a.start]);
    let mut head = before;
    m.file = take_last(&mut head, b"[file \"", 0);
    m.prose = head;

    // From the right: the request, then the plain values in the reverse of the order in which they are written.
    let mut rest = cut_end(text);
    request(&mut rest, a.end, &mut m);
    if !rest.ends_with(b"\"]") {
        // Old rule sets have the words behind the brackets; a line that was cut has half a bracket.
        let tail = rest.get(a.end..).unwrap_or_default();
        let words = [&b"\"] Access denied"[..], b"\"] Warning."].iter().filter_map(|w| memmem::find(tail, w)).min();
        if let Some(i) = words {
            if m.prose.is_empty() {
                m.prose = trim_end(&tail[i + 3..]);
            }
            rest = &rest[..a.end + i + 2];
        } else if let Some(i) = memmem::rfind(tail, b"\"]") {
            rest = &rest[..a.end + i + 2];
        } else {
            return m;
        }
    }
    let order = |name: &[u8]| match name {
        b"tag" => 1,
        b"accuracy" => 2,
        b"maturity" => 3,
        b"ver" => 4,
        b"severity" => 5,
        b"file" | b"line" | b"id" | b"rev" | b"msg" | b"data" | b"hostname" | b"uri" | b"unique_id" | b"ref" => 9,
        _ => 0,
    };
    let (cut, mut reached, mut tags) = (m.unique_id.is_none(), 0, None);
    while rest.len() > a.end {
        let Some((name, value, start)) = last_plain(rest) else { break };
        let place = order(name);
        // A line that was cut may have lost the transaction behind its host.
        if cut && reached == 0 && matches!(name, b"hostname" | b"uri") && start >= a.end {
            rest = trim_end(&rest[..start]);
            continue;
        }
        if start < a.end || place == 9 || (place != 0 && place < reached) || (place > 1 && place == reached) {
            break;
        }
        if place != 0 {
            reached = place;
        }
        match place {
            1 => tags = Some((start, tags.map_or(rest.len(), |(_, end)| end))),
            4 => m.ver = Some(value),
            5 => m.severity = Some(value),
            _ => {}
        }
        rest = trim_end(&rest[..start]);
    }
    if let Some((start, end)) = tags {
        m.tags = &text[start..end];
    }

    // What is left is `[rev "…"] [msg "…"] [data "…"]`, the last two with anything inside.
    let mut left = rest.get(a.end..).unwrap_or_default().trim_ascii_start();
    if left.starts_with(b"[rev \"") {
        let Some(i) = memmem::find(left, b"\"]") else { return m };
        left = left[i + 2..].trim_ascii_start();
    }
    if let Some(v) = left.strip_prefix(b"[data \"") {
        m.data = v.strip_suffix(b"\"]");
    } else if let Some(v) = left.strip_prefix(b"[msg \"") {
        match DATA.find_iter(v).find(|&i| bare_quote(v, i)) {
            Some(i) => (m.msg, m.data) = (Some(&v[..i]), v[i + 10..].strip_suffix(b"\"]")),
            None => m.msg = v.strip_suffix(b"\"]"),
        }
    }
    m
}

/// Takes what Apache writes behind the brackets (`, referer: …`, in which quotes are escaped) off.
fn cut_end(text: &[u8]) -> &[u8] {
    match REFERER.find_iter(text).find(|&i| bare_quote(text, i)) {
        Some(i) => &text[..i + 2],
        None => text,
    }
}

/// Takes `[hostname "…"] [uri "…"] [unique_id "…"] [ref "…"]` off the end.
fn request<'a>(rest: &mut &'a [u8], from: usize, m: &mut Message<'a>) {
    let plain = |rest: &mut &'a [u8], want: &[u8]| match last_plain(rest) {
        Some((name, value, start)) if name == want && start >= from => {
            *rest = trim_end(&rest[..start]);
            Some(value)
        }
        _ => None,
    };
    plain(rest, b"ref");
    m.unique_id = plain(rest, b"unique_id");
    if m.unique_id.is_none() {
        return;
    }
    let end = *rest;
    m.uri = take_last(rest, b"[uri \"", from);
    if m.uri.is_none() {
        return;
    }
    m.hostname = take_last(rest, b"[hostname \"", from);
    // A path may hold `"] [hostname "…"] [uri "…`: the first pair of an unbroken run is the true one.
    while let Some((b"uri", _, _)) = last_plain(rest) {
        let mut more = *rest;
        let uri = take_last(&mut more, b"[uri \"", from);
        let Some(host) = take_last(&mut more, b"[hostname \"", from) else { break };
        let Some(uri) = uri else { break };
        let start = rest.len() - uri.len() - 2;
        (m.uri, m.hostname) = (end.get(start..end.len() - 2), Some(host));
        *rest = more;
    }
}

/// The values of a stretch of tags, from the left.
pub(super) fn tags(stretch: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'[', stretch).filter_map(move |i| {
        let v = stretch[i..].strip_prefix(b"[tag \"")?;
        memchr::memchr(b'"', v).map(|n| &v[..n])
    })
}

/// Takes the escapes of version 2 off: `\"` and `\\`. Bytes written as `\x0d` stay so.
pub(super) fn unescape(v: &[u8], to: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(i) = memchr::memchr(b'\\', &v[at..]) {
        let i = at + i;
        match v.get(i + 1) {
            Some(c @ (b'"' | b'\\')) => {
                to.extend_from_slice(&v[at..i]);
                to.push(*c);
                at = i + 2;
            }
            Some(_) => {
                to.extend_from_slice(&v[at..i + 2]);
                at = i + 2;
            }
            None => break,
        }
    }
    to.extend_from_slice(&v[at..]);
}

/// The total of a rule set's own count, and how sure it is (the less the surer): `Inbound Anomaly Score Exceeded (Total
/// Score: 10)` of CRS 2 to 4, and the lines that sum up after the response.
pub(super) fn score(msg: &[u8]) -> Option<(u8, i64)> {
    const SPELLINGS: &[(u8, &[u8], &[u8])] = &[
        (0, b"Inbound Anomaly Score", b"(Total Score: "),
        (1, b"Inbound Anomaly Score", b"(Total Inbound Score: "),
        (1, b"Inbound Anomaly Score", b"(score "),
        (1, b"Anomaly Scores:", b"(Inbound Scores: blocking="),
    ];
    SPELLINGS.iter().filter(|s| msg.starts_with(s.1)).find_map(|&(rank, _, open)| {
        let v = &msg[memmem::find(msg, open)? + open.len()..];
        let n = v.iter().take_while(|c| c.is_ascii_digit()).count();
        std::str::from_utf8(&v[..n]).ok()?.parse().ok().map(|v| (rank, v))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(v: Option<&[u8]>) -> String {
        String::from_utf8_lossy(v.unwrap_or(b"-")).into_owned()
    }

    const FRONT: &str = r#"Warning. Matched "Operator `Rx' with parameter `x' against variable `ARGS:q' (Value: `y' ) [file "/etc/crs/a.conf"] [line "66"] [id "942100"] [rev ""] [msg "SQLi"]"#;
    const BACK: &str =
        r#"[severity "2"] [ver "OWASP_CRS/3.3.7"] [maturity "0"] [accuracy "0"] [tag "attack-sqli"] [tag "OWASP_CRS"] [hostname "192.0.2.1"]"#;

    /// The data and the path of a request are the attacker's; nothing else of the message may change with them.
    #[test]
    fn a_payload_stays_in_the_value_it_came_in() {
        for payload in [
            r#"1' OR '1'='1"#,
            r#""] [id "999"]"#,
            r#"x"] [id "999"#,
            r#"x"] [file "/f"] [line "1"] [id "999"] [msg "forged"#,
            r#"x"] [severity "7"] [ver "none"] [tag "attack-none"#,
            r#"x"] [tag "attack-none"] [hostname "h"] [uri "/u"] [unique_id "1"] [ref ""#,
            r#"C:\"#,
            r#"""#,
            r#"x"] [data "y"#,
            "",
        ] {
            let text = format!(r#"{FRONT} [data "{payload}"] {BACK} [uri "/p"] [unique_id "17.1"] [ref "v9,12"]"#);
            let m = read(text.as_bytes());
            assert_eq!(
                (s(m.id), s(m.line), s(m.file), s(m.msg)),
                ("942100".into(), "66".into(), "/etc/crs/a.conf".into(), "SQLi".into()),
                "{payload}"
            );
            assert_eq!(s(m.data), payload);
            assert_eq!((s(m.severity), s(m.ver)), ("2".into(), "OWASP_CRS/3.3.7".into()), "{payload}");
            assert_eq!(tags(m.tags).collect::<Vec<_>>(), [&b"attack-sqli"[..], b"OWASP_CRS"], "{payload}");
            assert_eq!((s(m.hostname), s(m.uri), s(m.unique_id)), ("192.0.2.1".into(), "/p".into(), "17.1".into()), "{payload}");
        }
    }

    #[test]
    fn a_path_with_brackets_hides_nothing() {
        for path in [r#"/x"] [id "999"#, r#"/x"] [hostname "h"] [uri "/y"#, r#"/x"] [severity "7"#, r#"/x"] [tag "t"#] {
            let text = format!(r#"{FRONT} [data "d"] {BACK} [uri "{path}"] [unique_id "17.1"]"#);
            let m = read(text.as_bytes());
            assert_eq!((s(m.id), s(m.data), s(m.severity), s(m.uri)), ("942100".into(), "d".into(), "2".into(), path.to_string()));
            assert_eq!(s(m.hostname), "192.0.2.1");
        }
    }

    #[test]
    fn the_matched_value_cannot_name_a_rule() {
        let text = FRONT.replace("`y'", r#"`y' ) [file "/f"] [line "1"] [id "999"] [msg "forged"]'"#);
        let m = read(text.as_bytes());
        assert_eq!((s(m.id), s(m.msg), s(m.line)), ("942100".into(), "SQLi".into(), "66".into()));
    }

    #[test]
    fn escaped_quotes_are_part_of_a_value() {
        let text = r#"Warning. Pattern match "\"] [id \"999\"]" at ARGS:a. [file "f"] [line "1"] [id "12"] [msg "a \"] [data \"b"] [data "c\\"] [severity "ERROR"]"#;
        let m = read(text.as_bytes());
        assert_eq!((s(m.id), s(m.msg), s(m.data), s(m.severity)), ("12".into(), r#"a \"] [data \"b"#.into(), r"c\\".into(), "ERROR".into()));
        let mut out = Vec::new();
        unescape(m.msg.unwrap_or_default(), &mut out);
        assert_eq!(out, br#"a "] [data "b"#);
    }

    #[test]
    fn a_line_that_was_cut_keeps_what_is_whole() {
        let text = format!(r#"{FRONT} [data "d"] {BACK} [uri "/p"] [unique_id "17.1"]"#);
        let (mut ids, mut messages, mut severities) = (0, 0, 0);
        for n in 0..text.len() {
            let m = read(&text.as_bytes()[..n]);
            for (v, want, seen) in [(m.id, "942100", &mut ids), (m.msg, "SQLi", &mut messages), (m.severity, "2", &mut severities)] {
                if let Some(v) = v {
                    assert_eq!(v, want.as_bytes(), "cut at {n}");
                    *seen += 1;
                }
            }
        }
        assert!(ids > messages && messages > severities && severities > 140, "{ids} {messages} {severities}");
    }

    #[test]
    fn older_lines_have_the_words_behind_the_brackets() {
        let text = r#" [file "/etc/a.conf"] [line "47"] [id "960015"] [rev "1"] [msg "No Accept"] [severity "NOTICE"] [tag "WASCTC/WASC-21"][tag "PCI/6.5.10"] Access denied with code 403 (phase 2). Pattern match "(?:a|b)" at REQUEST_URI. [hostname "www.example.org"] [uri "/"] [unique_id "Urf@f1"]"#;
        let m = read(text.as_bytes());
        assert!(m.denied());
        assert_eq!((s(m.id), s(m.msg), s(m.severity)), ("960015".into(), "No Accept".into(), "NOTICE".into()));
        assert_eq!(tags(m.tags).count(), 2);
        assert_eq!(s(m.hostname), "www.example.org");
    }

    #[test]
    fn a_total_is_read_in_every_spelling() {
        for (msg, want) in [
            ("Inbound Anomaly Score Exceeded (Total Score: 10)", Some((0, 10))),
            ("Inbound Anomaly Score Exceeded (Total Score: 13, SQLi=5, XSS=0): Last Matched Message: x", Some((0, 13))),
            ("Inbound Anomaly Score Exceeded (Total Inbound Score: 15 - SQLI=5,XSS=5): individual paranoia level scores: 15, 0, 0, 0", Some((1, 15))),
            ("Anomaly Scores: (Inbound Scores: blocking=5, detection=5, per_pl=5-0-0-0, threshold=5) - (Outbound Scores: blocking=0)", Some((1, 5))),
            ("Outbound Anomaly Score Exceeded (score 4): The application is not available", None),
            ("SQL Injection (Total Score: 4)", None),
            ("Inbound Anomaly Score Exceeded (Total Score: )", None),
        ] {
            assert_eq!(score(msg.as_bytes()), want, "{msg}");
        }
    }
}
