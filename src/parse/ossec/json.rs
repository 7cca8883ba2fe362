//! `alerts.json`, and the json of `ossec-csyslogd`.

use super::{Alert, Names, begin, keep, number, syscheck, unquote};
use crate::event::{Layout, Out, ParseError, Schema, Timestamp, field as f};
use crate::parse::json::{Json, OwnFields, PathId, Paths, Scanner};
use memchr::{memchr, memchr2, memmem};

/// `{"crit":`, as csyslogd begins.
pub(super) fn is_syslog(b: &[u8]) -> bool {
    b.starts_with(b"{\"crit\":")
}

/// Whether a text is an object with a `rule` that holds `sidid`. Wazuh's rules have no such key.
pub(super) fn is_alert(b: &[u8]) -> bool {
    if !b.starts_with(b"{\"rule\"") && memmem::find(b, b"\"sidid\"").is_none() {
        return false;
    }
    let rule = Members(b.strip_prefix(b"{").unwrap_or_default()).find(|(k, _)| *k == b"rule");
    rule.and_then(|(_, v)| v.strip_prefix(b"{")).is_some_and(|r| Members(r).any(|(k, _)| k == b"sidid"))
}

/// The members of an object behind its brace, as far as they are whole: key as it stands, and the text from the value on.
struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let b = self.0.trim_ascii_start();
        let b = b.strip_prefix(b",").unwrap_or(b).trim_ascii_start().strip_prefix(b"\"")?;
        let n = string(b)?;
        let key = &b[..n];
        let value = b[n + 1..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        // What is looked for inside a value may be found before the value's end is known.
        self.0 = skip(value).unwrap_or_default();
        Some((key, value))
    }
}

/// How long the string is whose opening quote has been read.
fn string(b: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let i = at + memchr2(b'"', b'\\', b.get(at..)?)?;
        if b[i] == b'"' {
            return Some(i);
        }
        at = i + 2;
    }
}

/// What stands behind a value; `None` where the value is not known to be whole.
fn skip(b: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    let mut depth = 0usize;
    loop {
        match b.get(at)? {
            b'"' => at += string(&b[at + 1..])? + 2,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return Some(&b[at..]),
            _ => at += 1,
        }
        if depth == 0 && matches!(b[at - 1], b'"' | b'}' | b']') {
            return Some(&b[at..]);
        }
    }
}

/// Cuts a text that has no end behind its last whole member, and closes it.
fn mend(b: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let mut rest = b.strip_prefix(b"{")?;
    let mut end = None;
    loop {
        let mut m = Members(rest);
        let Some((_, value)) = m.next() else { break };
        let Some(next) = skip(value) else { break };
        end = Some(b.len() - next.len());
        rest = next;
    }
    to.clear();
    to.extend_from_slice(&b[..end?]);
    to.push(b'}');
    Some(())
}

/// The paths of `alerts.json`, in the order in which [`Reader::alert`] takes their texts.
const FILE: [&str; 30] = [
    "rule.level",
    "rule.comment",
    "rule.sidid",
    "rule.group",
    "id",
    "TimeStamp",
    "decoder",
    "program_name",
    "srcip",
    "srcport",
    "srcuser",
    "dstip",
    "dstport",
    "dstuser",
    "location",
    "hostname",
    "agent_name",
    "full_log",
    "SyscheckFile.path",
    "SyscheckFile.md5_before",
    "SyscheckFile.md5_after",
    "SyscheckFile.sha1_before",
    "SyscheckFile.sha1_after",
    "SyscheckFile.sha256_before",
    "SyscheckFile.sha256_after",
    "SyscheckFile.owner_before",
    "SyscheckFile.owner_after",
    "SyscheckFile.gowner_before",
    "SyscheckFile.gowner_after",
    "SyscheckFile.perm_before",
];

/// The paths of csyslogd's json, in the order in which [`Reader::syslog`] takes their texts.
const SYSLOG: [&str; 16] = [
    "crit",
    "id",
    "component",
    "classification",
    "description",
    "message",
    "acct",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "file",
    "md5_old",
    "md5_new",
    "sha1_old",
    "sha1_new",
];

/// Reads the two; one for each worker.
pub(super) struct Reader {
    file: Form<30>,
    after: PathId,
    groups: PathId,
    syslog: Form<16>,
    mended: Vec<u8>,
    joined: Vec<u8>,
    place: Vec<u8>,
    mode: Vec<u8>,
}

/// A scanner for paths whose values are texts or numbers.
struct Form<const N: usize> {
    scanner: Scanner,
    ids: [PathId; N],
    own: OwnFields,
    scratch: [Vec<u8>; N],
}

impl<const N: usize> Form<N> {
    fn new(mut paths: Paths, names: [&str; N], schema: &Schema, layout: &Layout) -> Form<N> {
        let ids = names.map(|n| paths.add(n));
        let mapped = [f::OSSEC_LEVEL, f::OSSEC_LOCATION, f::OSSEC_DECODER, f::OSSEC_PROGRAM_NAME, f::OSSEC_FULL_LOG];
        let before = [f::OSSEC_SYSCHECK_MD5_BEFORE, f::OSSEC_SYSCHECK_SHA1_BEFORE, f::OSSEC_SYSCHECK_SHA256_BEFORE];
        let own = OwnFields::bind(schema, layout, "ossec", &[&mapped[..], &before[..]].concat(), &mut paths);
        Form { scanner: Scanner::new(paths), ids, own, scratch: std::array::from_fn(|_| Vec::new()) }
    }

    /// Scans a record, mended in `mended` where it has been cut. `None`: not even one member is whole.
    fn scan<'r>(&mut self, record: &'r [u8], mended: &'r mut Vec<u8>) -> Option<(&'r [u8], bool)> {
        if self.scanner.scan(record).is_ok() {
            return Some((record, false));
        }
        mend(record, mended)?;
        self.scanner.scan(mended).is_ok().then_some((mended, true))
    }
}

/// The texts at the paths of a form, empty where there is none.
fn texts<'s, 'r: 's, const N: usize>(scanner: &Scanner, ids: &[PathId; N], scratch: &'s mut [Vec<u8>; N], record: &'r [u8]) -> [&'s [u8]; N] {
    let mut out: [&[u8]; N] = [&[]; N];
    for ((to, &id), scratch) in out.iter_mut().zip(ids).zip(scratch) {
        scratch.clear();
        *to = scanner.get(id, record).text(scratch).unwrap_or_default();
    }
    out
}

impl Reader {
    pub fn new(schema: &Schema, layout: &Layout) -> Reader {
        let mut paths = Paths::default();
        let (after, groups) = (paths.add("SyscheckFile.perm_after"), paths.add("rule.groups[]"));
        Reader {
            file: Form::new(paths, FILE, schema, layout),
            after,
            groups,
            syslog: Form::new(Paths::default(), SYSLOG, schema, layout),
            mended: Vec::new(),
            joined: Vec::new(),
            place: Vec::new(),
            mode: Vec::new(),
        }
    }

    /// Parses a line of `alerts.json`. One that has been cut gives what is whole, and `event.truncated`.
    pub fn alert(&mut self, record: &[u8], own: &Names, out: &mut Out<'_>) -> Result<(), ParseError> {
        let Reader { file, after, groups, mended, joined, place, mode, .. } = self;
        let Some((b, truncated)) = file.scan(record, mended) else {
            return Err(ParseError { expected: "a JSON object", offset: 0 });
        };
        let Form { scanner, ids, own: fields, scratch } = file;
        mode.clear();
        let perm_after = scanner.get(*after, b).text(mode).unwrap_or_default();
        let t = texts(scanner, ids, scratch, b);
        let [level, comment, sid, group, id, time, decoder, program, src_ip, src_port, src_user, ..] = t;
        let [.., path, m0, m1, s0, s1, x0, x1, u0, u1, g0, g1, perm_before] = t;
        let [dst_ip, dst_port, user, location, hostname, agent, log] = [t[11], t[12], t[13], t[14], t[15], t[16], t[17]];
        if sid.is_empty() {
            return Err(ParseError { expected: "`rule.sidid`", offset: 0 });
        }
        let mut a = Alert {
            id,
            level: number(level),
            sid,
            comment,
            groups: group,
            src_ip,
            src_port,
            dst_ip,
            dst_port,
            user,
            src_user,
            log,
            ..Alert::default()
        };
        a.time = std::str::from_utf8(time).ok().and_then(|s| s.parse::<i64>().ok()).and_then(|ms| ms.checked_mul(1_000_000)).map(Timestamp);
        joined.clear();
        if group.is_empty() {
            for (_, g) in scanner.list(*groups, b) {
                if let Json::Str(g) = g {
                    joined.extend_from_slice(g);
                    joined.push(b',');
                }
            }
            a.groups = joined;
        }
        // Agents stand in `location` whole; in old versions it may be `hostname` that holds it all.
        place.clear();
        let arrow = |s| memmem::find(s, b"->").is_some();
        let host = if hostname.is_empty() { agent } else { hostname };
        a.location = if arrow(location) || host.is_empty() {
            location
        } else if arrow(hostname) {
            hostname
        } else {
            place.extend_from_slice(host);
            place.extend_from_slice(b"->");
            place.extend_from_slice(location);
            place
        };
        a.file = syscheck::File {
            path,
            md5: [m0, m1].map(unquote),
            sha1: [s0, s1].map(unquote),
            sha256: [x0, x1].map(unquote),
            uid: [u0, u1],
            gid: [g0, g1],
            mode: [perm_before, perm_after],
            ..Default::default()
        };
        if !path.is_empty() || a.groups.split(|&c| c == b',').any(|g| g == b"syscheck") {
            a.file.read(log);
        }
        super::write(&a, own, out);
        out.str(f::OSSEC_DECODER, decoder);
        out.str(f::OSSEC_PROGRAM_NAME, program);
        keep(&["ossec", "agent_name"], agent, out);
        fields.write(scanner, b, out);
        if let Some(own) = out.own() {
            scanner.unmapped(b, &["ossec"], own);
        }
        if truncated {
            cut(record, b"\"full_log\":\"", out);
        }
        Ok(())
    }

    /// Parses the json of `ossec-csyslogd`. A datagram that has been cut gives what is whole, and `event.truncated`.
    pub fn syslog(&mut self, record: &[u8], time: Option<Timestamp>, manager: &[u8], own: &Names, out: &mut Out<'_>) -> Result<(), ParseError> {
        let Reader { syslog, mended, .. } = self;
        let mut a = Alert { time, manager, ..Alert::default() };
        let Some((b, truncated)) = syslog.scan(record, mended) else {
            begin("ossec.alert", "alert", out);
            if let Some(t) = time {
                out.time(f::TIMESTAMP, t);
            }
            out.str(f::OBSERVER_NAME, manager);
            cut(record, b"\"message\":\"", out);
            return Ok(());
        };
        let Form { scanner, ids, own: fields, scratch } = syslog;
        let [level, sid, location, groups, comment, log, user, src_ip, src_port, dst_ip, dst_port, path, m0, m1, s0, s1] =
            texts(scanner, ids, scratch, b);
        a = Alert { level: number(level), sid, location, groups, comment, log, user, src_ip, src_port, dst_ip, dst_port, ..a };
        a.file = syscheck::File { path, md5: [m0, m1].map(unquote), sha1: [s0, s1].map(unquote), ..Default::default() };
        a.file.read(log);
        super::write(&a, own, out);
        fields.write(scanner, b, out);
        if let Some(own) = out.own() {
            scanner.unmapped(b, &["ossec"], own);
        }
        if truncated {
            cut(record, b"\"message\":\"", out);
        }
        Ok(())
    }
}

/// Flags a record that has been cut. The log text is mostly where that happens: as much of its first line as is there,
/// else the record itself, is the message.
fn cut(record: &[u8], key: &[u8], out: &mut Out<'_>) {
    out.bool(f::EVENT_TRUNCATED, true);
    if out.has(f::MESSAGE) || !out.wants(f::MESSAGE) {
        return;
    }
    let text = memmem::find(record, key).map_or(record, |i| &record[i + key.len()..]);
    let text = &text[..memchr2(b'\\', b'\n', text).unwrap_or(text.len())];
    out.str(f::MESSAGE, if text.is_empty() { &record[..memchr(b'\n', record).unwrap_or(record.len())] } else { text });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_by_a_rule_with_sidid_and_by_nothing_less() {
        for (s, want) in [
            (r#"{"rule":{"level":3,"comment":"x","sidid":502},"id":"1.1"}"#, true),
            (r#"{"TimeStamp":1,"full_log":"a\"{","rule":{"group":"}","sidid":502}}"#, true),
            (r#"{"a":[1,{"b":"]"}],"rule" : { "sidid" : 5 } }"#, true),
            (r#"{"rule":{"level":3,"comment":"x","sidid":5"#, true),
            (r#"{"rule":{"level":3,"description":"x","id":"502"}}"#, false),
            (r#"{"rule":{"level":3,"description":"sidid"}}"#, false),
            (r#"{"rule":{"x":{"sidid":1}}}"#, false),
            (r#"{"x":{"rule":{"sidid":1}}}"#, false),
            (r#"{"output":"\"rule\":{\"sidid\":1","rule":"sidid"}"#, false),
            (r#"{"rule":"a","sidid":1}"#, false),
            ("{", false),
            ("{\"rule", false),
        ] {
            assert_eq!(is_alert(s.as_bytes()), want, "{s}");
        }
    }

    #[test]
    fn a_cut_object_ends_behind_its_last_whole_member() {
        for (s, want) in [
            (r#"{"crit":5,"id":554,"message":"New fi"#, Some(r#"{"crit":5,"id":554}"#)),
            (r#"{"crit":5,"id":55"#, Some(r#"{"crit":5}"#)),
            (r#"{"crit":5,"a":{"b":1,"#, Some(r#"{"crit":5}"#)),
            (r#"{"crit":5,"m":"a\"#, Some(r#"{"crit":5}"#)),
            (r#"{"crit":5,"m":"a","ke"#, Some(r#"{"crit":5,"m":"a"}"#)),
            (r#"{"crit":"#, None),
            ("{", None),
        ] {
            let mut to = Vec::new();
            let got = mend(s.as_bytes(), &mut to).map(|()| String::from_utf8(to).expect(s));
            assert_eq!(got.as_deref(), want, "{s}");
        }
    }
}
