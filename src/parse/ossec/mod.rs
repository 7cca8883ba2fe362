//! OSSEC in all its renderings: `alerts.log` blocks, `alerts.json`, the four formats of `ossec-csyslogd`, the log of
//! active responses, and `ossec.log` where the format is named.
//!
//! Every rendering of an alert is first read into one [`Alert`] and written by one function, so that the same alert
//! becomes the same event whichever way it came, but for what a rendering leaves out. An entity is taken only from where
//! OSSEC itself writes it, never from the log text that it quotes.

mod block;
mod csyslog;
mod internal;
mod json;
mod syscheck;

use super::{Context, syslog::Envelope};
use crate::event::{Field, Layout, Out, ParseError, Schema, Timestamp, field as f};
use memchr::{memchr, memmem};

/// The parser; one for each worker.
pub struct Parser {
    own: Names,
    json: json::Reader,
    scratch: Vec<u8>,
}

/// The fields under `ossec.` that only some records have: bound where a rule asks for one, else kept for output.
#[derive(Clone, Debug, Default)]
struct Names(Vec<(&'static str, Option<Field>)>);

impl Names {
    const ALL: [&'static str; 10] = [
        "ossec.alert_id",
        "ossec.script",
        "ossec.source_location",
        "ossec.destination_location",
        "ossec.syscheck.size_before",
        "ossec.syscheck.mode_before",
        "ossec.syscheck.uid_before",
        "ossec.syscheck.gid_before",
        "ossec.syscheck.diff",
        "ossec.product_version",
    ];

    fn new(schema: &Schema, layout: &Layout) -> Names {
        Names(Self::ALL.iter().map(|&n| (n, schema.get(n).filter(|&x| layout.slot(x).is_some()))).collect())
    }

    fn put(&self, name: &'static str, text: &[u8], out: &mut Out<'_>) {
        if text.is_empty() {
            return;
        }
        if let Some(field) = self.0.iter().find(|(n, _)| *n == name).and_then(|(_, x)| *x) {
            out.str(field, text);
        } else if out.own().is_some() {
            keep(&name.split('.').collect::<Vec<_>>(), text, out);
        }
    }
}

/// Keeps text for output under a path of its own; nothing for empty text.
fn keep(path: &[&str], text: &[u8], out: &mut Out<'_>) {
    if let Some(own) = out.own().filter(|_| !text.is_empty()) {
        let mut json = Vec::new();
        crate::event::json::string(text, &mut json);
        own.entries.push((path.iter().map(|&s| s.to_owned()).collect(), json));
    }
}

/// One alert, whichever way it was rendered; empty where the rendering has no such thing.
#[derive(Clone, Copy, Debug, Default)]
struct Alert<'a> {
    time: Option<Timestamp>,
    id: &'a [u8],
    /// 0 to 15, in CEF only to 10.
    level: Option<u32>,
    /// Whether the level may have been cut to 10.
    capped: bool,
    sid: &'a [u8],
    comment: &'a [u8],
    /// Joined by commas.
    groups: &'a [u8],
    location: &'a [u8],
    manager: &'a [u8],
    src_ip: &'a [u8],
    src_port: &'a [u8],
    dst_ip: &'a [u8],
    dst_port: &'a [u8],
    user: &'a [u8],
    src_user: &'a [u8],
    /// What OSSEC quotes.
    log: &'a [u8],
    file: syscheck::File<'a>,
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        Parser { own: Names::new(schema, layout), json: json::Reader::new(schema, layout), scratch: Vec::new() }
    }

    /// Whether a record is of this format, told cheaply and without doubt.
    pub fn recognise(env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        match record.first() {
            Some(b'*') => block::is_header(record),
            Some(b'{') => (env.and_then(|e| e.app) == Some(b"ossec") && json::is_syslog(record)) || json::is_alert(record),
            Some(b'A' | b'c') if env.and_then(|e| e.app) == Some(b"ossec") => csyslog::is_default(record) || csyslog::is_splunk(record),
            Some(b'C') => csyslog::is_cef(record),
            Some(b'<' | b'A'..=b'Z') => {
                internal::is_response(record) || csyslog::bare(record).is_some_and(|(_, _, rest)| csyslog::is_cef(rest) || csyslog::is_any(rest))
            }
            _ => false,
        }
    }

    /// Parses one record without its envelope (or, where nobody has taken it off, with it).
    ///
    /// - In: an `alerts.log` block from `** Alert ` to the next, a line of JSON, a datagram of `ossec-csyslogd` (which may
    ///   hold newlines), a line of `active-responses.log`; any bytes.
    /// - Out: `ossec.alert` for alerts, `ossec.active-response`, `ossec.internal`.
    /// - Time: the alert's own (UTC) in a block and in `alerts.json`, else the envelope's.
    /// - Errors: the offset of the first byte that does not fit.
    /// - Source: ossec-hids `analysisd/alerts/log.c`, `analysisd/format/to_json.c`, `os_csyslogd/alert.c`.
    pub fn parse(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let Parser { own, json, scratch } = self;
        if record.starts_with(b"** Alert ") {
            return block::parse(record, own, out);
        }
        let (mut time, mut manager, mut rest) = (env.and_then(|e| e.time), env.and_then(|e| e.host).unwrap_or_default(), record);
        if env.is_none()
            && let Some((when, host, message)) = csyslog::bare(record)
        {
            (manager, rest) = (host, message);
            time = when.nearest(ctx.zone, ctx.near);
        }
        if rest.first() == Some(&b'{') {
            return match json::is_syslog(rest) {
                true => json.syslog(rest, time, manager, own, out),
                false => json.alert(rest, own, out),
            };
        }
        if csyslog::is_any(rest) || csyslog::is_cef(rest) {
            return csyslog::parse(rest, time, manager, own, scratch, out);
        }
        if internal::response(ctx, rest, own, out) || (ctx.named && internal::status(ctx, rest, out)) {
            return Ok(());
        }
        Err(ParseError { expected: "an alert of OSSEC", offset: record.len() - rest.len() })
    }
}

/// Reads a number of at most nine digits.
fn number(b: &[u8]) -> Option<u32> {
    (!b.is_empty() && b.len() <= 9).then(|| crate::event::time::digits(b, b.len())).flatten()
}

/// Text without the spellings of nothing.
fn some(b: &[u8]) -> &[u8] {
    let b = b.trim_ascii();
    match b {
        b"(none)" | b"-" | b"(null)" | b"N/A" => &[],
        b => b,
    }
}

/// Takes blanks and the single quotes around a value off.
fn unquote(b: &[u8]) -> &[u8] {
    let b = b.trim_ascii();
    let b = b.strip_prefix(b"'").unwrap_or(b);
    b.strip_suffix(b"'").unwrap_or(b)
}

/// Begins an event of a dataset.
fn begin(dataset: &'static str, kind: &'static str, out: &mut Out<'_>) {
    out.word(f::EVENT_MODULE, "ossec");
    out.word(f::EVENT_DATASET, dataset);
    out.word(f::EVENT_KIND, kind);
}

/// Where an alert comes from: `host->path`, `(agent) ip->path`, `(agent) any->path`, or a bare path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Location<'a> {
    host: &'a [u8],
    ip: &'a [u8],
    path: &'a [u8],
}

impl<'a> Location<'a> {
    fn read(b: &'a [u8]) -> Location<'a> {
        if let Some(rest) = b.strip_prefix(b"(") {
            // A name may hold parentheses of its own; the one that counts is followed by the address and the arrow.
            let mut from = 0;
            while let Some(i) = memmem::find(&rest[from..], b") ").map(|i| i + from) {
                let tail = &rest[i + 2..];
                if let Some(j) = memmem::find(tail, b"->").filter(|&j| j > 0 && i > 0 && !tail[..j].contains(&b' ')) {
                    return Location { host: &rest[..i], ip: &tail[..j], path: &tail[j + 2..] };
                }
                from = i + 2;
            }
        }
        match memmem::find(b, b"->") {
            Some(i) => Location { host: &b[..i], ip: &[], path: &b[i + 2..] },
            None => Location { path: b, ..Location::default() },
        }
    }
}

/// Writes an alert.
fn write(a: &Alert<'_>, own: &Names, out: &mut Out<'_>) {
    begin("ossec.alert", "alert", out);
    if let Some(t) = a.time {
        out.time(f::TIMESTAMP, t);
    }
    out.str(f::EVENT_ID, a.id);
    if let Some(n) = a.level {
        out.int(f::EVENT_SEVERITY, ((n as i64 * 200 + 15) / 30).min(100));
        if !a.capped || n < 10 {
            out.int(f::OSSEC_LEVEL, n as i64);
        }
    }
    out.str(f::RULE_ID, a.sid);
    out.str(f::RULE_NAME, a.comment.trim_ascii());
    out.str(f::OBSERVER_NAME, a.manager);

    let location = a.location.trim_ascii();
    let place = Location::read(location);
    out.str(f::OSSEC_LOCATION, location);
    out.str(f::HOST_NAME, place.host);
    out.ip_text(f::HOST_IP, place.ip);
    if place.path.starts_with(b"/") {
        out.str(f::LOG_FILE_PATH, place.path.trim_ascii_end());
    }

    let (mut failed, mut succeeded, mut syscheck) = (false, false, false);
    for g in a.groups.split(|&c| c == b',') {
        match g.trim_ascii() {
            [] => continue,
            b"authentication_failed" | b"authentication_failures" | b"invalid_login" => failed = true,
            b"authentication_success" => succeeded = true,
            b"syscheck" => syscheck = true,
            _ => {}
        }
        group(g.trim_ascii(), out);
    }
    // Before 2.9 csyslogd does not say the groups.
    syscheck |= a.groups.is_empty() && place.path == b"syscheck";
    if failed || succeeded {
        out.word(f::EVENT_CATEGORY, "authentication");
        if failed != succeeded {
            out.word(f::EVENT_OUTCOME, if failed { "failure" } else { "success" });
        }
    }
    if syscheck {
        out.word(f::EVENT_CATEGORY, "file");
        a.file.write(a.sid, own, out);
    }

    end(a.src_ip, [f::SOURCE_IP, f::SOURCE_ADDRESS], out);
    end(a.src_ip, [f::CLIENT_IP, f::CLIENT_ADDRESS], out);
    end(a.dst_ip, [f::DESTINATION_IP, f::DESTINATION_ADDRESS], out);
    out.port_text(f::SOURCE_PORT, some(a.src_port));
    out.port_text(f::DESTINATION_PORT, some(a.dst_port));
    out.str(f::USER_NAME, some(a.user));
    out.str(f::SOURCE_USER_NAME, some(a.src_user));

    let log = a.log.trim_ascii_end();
    out.str(f::OSSEC_FULL_LOG, log);
    let line = memchr(b'\n', log).map_or(log, |i| &log[..i]);
    out.str(f::MESSAGE, line.trim_ascii_end());
}

/// Appends a group: it is the rule's category and a tag.
fn group(g: &[u8], out: &mut Out<'_>) {
    if out.wants(f::RULE_CATEGORY) || out.wants(f::TAGS) {
        let s = out.text(g);
        out.push(f::RULE_CATEGORY, s);
        out.push(f::TAGS, s);
    }
}

/// Writes one end of a connection: an address, or the name that OSSEC has in its place.
fn end(text: &[u8], [ip, address]: [Field; 2], out: &mut Out<'_>) {
    // Some decoders leave the comma behind an address on it.
    let text = some(text);
    let text = text.strip_suffix(b",").unwrap_or(text);
    if text.is_empty() || !(out.wants(ip) || out.wants(address)) {
        return;
    }
    match crate::event::ip(text) {
        Some(v) => out.ip(ip, v),
        None => out.str(address, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, Event, Own, Value};
    use crate::parse::Estate;
    use jiff::tz::TimeZone;

    /// Parses a record with a full layout and gives `show` the event, or the error.
    fn with<T>(env: Option<&Envelope<'_>>, record: &[u8], named: bool, show: impl FnOnce(Result<Event<'_>, ParseError>) -> T) -> T {
        let schema = Schema::default();
        let layout = Layout::full(&schema);
        let (mut arena, mut slots, mut own) = (Arena::default(), vec![crate::event::Slot::Missing; layout.len()], Own::default());
        let (zone, estate) = (TimeZone::UTC, Estate::default());
        let ctx = Context { zone: &zone, near: Timestamp(1_795_435_200_000_000_000), named, estate: &estate };
        let mut out = Out::new(record, &mut arena, &mut slots, &layout, Some(&mut own));
        let r = Parser::new(&schema, &layout).parse(&ctx, env, record, &mut out);
        show(r.map(|()| Event::new(record, &arena, &slots, &layout)))
    }

    fn text(v: Value<'_>) -> String {
        match v {
            Value::Missing => String::new(),
            Value::Str(s) => String::from_utf8_lossy(s).into_owned(),
            Value::Time(t) => t.to_string(),
            Value::Ip(ip) => ip.to_string(),
            v => format!("{v:?}"),
        }
    }

    fn fields(env: Option<&Envelope<'_>>, record: &str, of: &[Field]) -> Vec<String> {
        with(env, record.as_bytes(), true, |e| {
            let e = e.expect(record);
            of.iter().map(|&x| e.get(x).each().map(text).collect::<Vec<_>>().join("+")).collect()
        })
    }

    fn manager() -> Envelope<'static> {
        Envelope { time: Some(Timestamp(1_795_428_000_000_000_000)), host: Some(b"siem"), app: Some(b"ossec"), ..Envelope::default() }
    }

    #[test]
    fn locations_of_every_kind() {
        for (s, host, ip, path) in [
            ("gate->/var/log/auth.log", "gate", "", "/var/log/auth.log"),
            ("(web-1) 192.0.2.10->/var/log/a b", "web-1", "192.0.2.10", "/var/log/a b"),
            ("(web-1) any->syscheck", "web-1", "any", "syscheck"),
            ("(web (old) 1) 192.0.2.10->/x", "web (old) 1", "192.0.2.10", "/x"),
            ("(web-1) 192.0.2.0/24->df -h", "web-1", "192.0.2.0/24", "df -h"),
            ("gate->a->b", "gate", "", "a->b"),
            ("/var/log/nmap-out.log", "", "", "/var/log/nmap-out.log"),
            ("(cut", "", "", "(cut"),
            ("", "", "", ""),
        ] {
            assert_eq!(Location::read(s.as_bytes()), Location { host: host.as_bytes(), ip: ip.as_bytes(), path: path.as_bytes() }, "{s}");
        }
    }

    #[test]
    fn recognised_are_the_renderings_of_ossec_and_nothing_near() {
        let env = manager();
        let other = Envelope { app: Some(b"falco"), ..env };
        for (env, s, want) in [
            (None, "** Alert 1795412828.1: mail  - ossec,", true),
            (None, "** Alert soon", false),
            (None, "** Alert 179541282", false),
            (None, r#"{"rule":{"level":3,"sidid":502}}"#, true),
            (None, r#"{"timestamp":"x","rule":{"level":3,"description":"x","id":"502"},"agent":{"id":"000"}}"#, false),
            (Some(&env), r#"{"crit":5,"id":554,"component":"a->b"}"#, true),
            (Some(&other), r#"{"crit":5,"id":554,"component":"a->b"}"#, false),
            (Some(&env), "Alert Level: 5; Rule: 554 - x; Location: a->b; y", true),
            (Some(&other), "Alert Level: 5; Rule: 554 - x; Location: a->b; y", false),
            (Some(&env), "crit=5 id=554 description=", true),
            (Some(&env), "started", false),
            (Some(&other), "CEF:0|Trend Micro Inc.|OSSEC HIDS|v2.8|1|x|3|", true),
            (Some(&other), "CEF:0|Acme|OSSEC HIDSX|v2.8|1|x|3|", false),
            (Some(&other), "CEF:0|Acme|Firewall|OSSEC HIDS|1|x|3|", false),
            (None, "<132>Nov 23 10:00:01 CEF:0|OSSEC Foundation|OSSEC HIDS|v4|1|x|3|", true),
            (None, "Nov 23 10:00:01 siem ossec: Alert Level: 3; Rule: 1 - x; Location: y; z", true),
            (None, "Nov 23 10:00:01 siem app: Alert Level: 3; Rule: 1 - x; Location: y; z", false),
            (None, "Sat May  7 03:17:27 CDT 2011 /x/host-deny.sh add - 192.0.2.1 1304756247.60385 31151", true),
            (None, "Sat May  7 03:17:27 CDT 2011 /x/host-deny.sh purge - 192.0.2.1 1304756247.60385 31151", false),
            (None, "2026/11/23 05:47:01 ossec-analysisd: INFO: Reading", false),
            (None, "", false),
        ] {
            assert_eq!(Parser::recognise(env, s.as_bytes()), want, "{s}");
        }
    }

    #[test]
    fn what_is_quoted_never_names_an_entity() {
        let env = manager();
        let of = [f::SOURCE_IP, f::USER_NAME, f::RULE_CATEGORY, f::FILE_PATH, f::MESSAGE];
        for (s, want) in [
            ("** Alert 1.1: - a,\n2026 Nov 23 10:00:00 h->/l\nRule: 1 (level 3) -> 'c'\nx\nUser: root\nSrc IP: 192.0.2.66\n", ["", "", "a", "", "x"]),
            (
                "** Alert 1.1: - a,\n2026 Nov 23 10:00:00 h->/l\nRule: 1 (level 3) -> 'c'\nNew file '/x' added to the file system.\n",
                ["", "", "a", "", "New file '/x' added to the file system."],
            ),
            (
                "Alert Level: 3; Rule: 1 - c; Location: h->/l; classification:  a,; user: eve; srcip: 192.0.2.66; x",
                ["", "eve", "a", "", "srcip: 192.0.2.66; x"],
            ),
            (
                "crit=3 id=1 description=\"c\" component=\"h->/l\", classification=\" a,\", acct=\"eve\", src_ip=\"192.0.2.66\", message=\"x\"",
                ["", "eve", "a", "", ""],
            ),
            (
                "CEF:0|O|OSSEC HIDS|v|1|c|3|dvc=m cs1Label=Location cs1=h->/l classification= a, src=192.0.2.1 suser=eve msg=x src=192.0.2.66 suser=root",
                ["192.0.2.1", "eve", "a", "", "x src=192.0.2.66 suser=root"],
            ),
            (
                r#"{"crit":3,"id":1,"component":"h->/l","classification":" a,","description":"c","message":"\",\"src_ip\":\"192.0.2.66"}"#,
                ["", "", "a", "", "\",\"src_ip\":\"192.0.2.66"],
            ),
        ] {
            assert_eq!(fields(Some(&env), s, &of), want, "{s}");
        }
    }

    #[test]
    fn outcomes_by_groups() {
        let of = [f::EVENT_CATEGORY, f::EVENT_OUTCOME, f::EVENT_TYPE];
        for (groups, sid, want) in [
            ("syslog,authentication_failed,", 1, ["authentication", "failure", ""]),
            ("authentication_failures", 1, ["authentication", "failure", ""]),
            ("pam,invalid_login,", 1, ["authentication", "failure", ""]),
            ("authentication_success,", 1, ["authentication", "success", ""]),
            ("authentication_success,authentication_failed,", 1, ["authentication", "", ""]),
            ("ossec,syscheck,", 553, ["file", "", "deletion"]),
            ("ossec,syscheck,", 100001, ["file", "", ""]),
            ("web,", 1, ["", "", ""]),
        ] {
            let s = format!("** Alert 1.1: - {groups}\n2026 Nov 23 10:00:00 h->/l\nRule: {sid} (level 3) -> 'c'\nx\n");
            assert_eq!(fields(None, &s, &of), want, "{s}");
        }
    }

    #[test]
    fn severity_is_the_level_of_fifteen_rounded() {
        for (level, want) in [(0, 0), (1, 7), (3, 20), (5, 33), (7, 47), (10, 67), (12, 80), (14, 93), (15, 100), (16, 100)] {
            let s = format!("** Alert 1.1: - a,\n2026 Nov 23 10:00:00 h->/l\nRule: 1 (level {level}) -> 'c'\nx\n");
            assert_eq!(fields(None, &s, &[f::EVENT_SEVERITY, f::OSSEC_LEVEL]), [format!("Int({want})"), format!("Int({level})")], "{s}");
        }
        let cef = |n| format!("CEF:0|O|OSSEC HIDS|v|1|c|{n}|dvc=m msg=x");
        assert_eq!(fields(None, &cef(9), &[f::EVENT_SEVERITY, f::OSSEC_LEVEL]), ["Int(60)", "Int(9)"]);
        assert_eq!(fields(None, &cef(10), &[f::EVENT_SEVERITY, f::OSSEC_LEVEL]), ["Int(67)", ""], "csyslogd writes 10 for all above");
    }

    #[test]
    fn the_envelope_is_read_here_where_nobody_has_taken_it_off() {
        let of = [f::TIMESTAMP, f::OBSERVER_NAME, f::RULE_ID];
        let want = ["2026-11-23T10:00:01.000000Z", "siem", "1"];
        assert_eq!(fields(None, "<132>Nov 23 10:00:01 siem ossec: Alert Level: 3; Rule: 1 - x; Location: y; z", &of), want);
        assert_eq!(fields(None, "<132>Nov 23 10:00:01 CEF:0|O|OSSEC HIDS|v|1|x|3|dvc=siem msg=z", &of), want);
    }

    #[test]
    fn a_cut_datagram_keeps_time_and_module() {
        let env = manager();
        let of = [f::TIMESTAMP, f::EVENT_MODULE, f::EVENT_TRUNCATED, f::RULE_ID, f::SOURCE_IP];
        for (s, rule, ip) in [
            (r#"{"crit":5,"id":5710,"component":"a->b","message":"cut he"#, "5710", ""),
            (r#"{"crit":5,"id":5710,"message":"x","src_ip":"192.0.2.1","dst_ip":"192.0"#, "5710", "192.0.2.1"),
            (r#"{"crit":5,"id":57"#, "", ""),
            (r#"{"crit":"#, "", ""),
        ] {
            assert_eq!(fields(Some(&env), s, &of), ["2026-11-23T10:00:00.000000Z", "ossec", "Bool(true)", rule, ip], "{s}");
        }
    }

    #[test]
    fn lines_of_the_daemons_are_read_where_the_format_is_named() {
        let line = "2015/01/29 21:09:49 ossec-logcollector(1950): INFO: Analyzing file: '/l'.";
        let of = [f::EVENT_DATASET, f::TIMESTAMP, f::PROCESS_NAME, f::EVENT_CODE, f::LOG_LEVEL, f::MESSAGE];
        let want = ["ossec.internal", "2015-01-29T21:09:49.000000Z", "ossec-logcollector", "1950", "info", "Analyzing file: '/l'."];
        assert_eq!(fields(None, line, &of), want);
        assert!(with(None, line.as_bytes(), false, |e| e.is_err()));
    }

    #[test]
    fn any_cut_of_any_rendering_is_an_event_or_an_error() {
        let env = manager();
        for s in [
            "** Alert 1795412828.1: mail  - ossec,syscheck,\n2026 Nov 23 05:47:08 (a) 192.0.2.1->syscheck\nRule: 550 (level 3) -> 'c'\nSrc IP: 192.0.2.1\n\
             Integrity checksum changed for: '/a1a2> x'\nSize changed from '1' to '2'\nNew md5sum is : 'ab'\n",
            "Alert Level: 5; Rule: 554 - x; Location: a->b; classification:  syscheck,; Current MD5: 'ab'; Size changed: from '1' to '2'; y",
            "crit=5 id=554 description=\"x\" component=\"a\", classification=\" g,\", src_port=1, acct=\"e\", message=\"m\"",
            "<132>Nov 23 10:00:01 CEF:0|O|OSSEC HIDS|v|1|x\\||3|dvc=siem cs1Label=Location cs1=a->b suser=e\\= msg=z\\n\\",
            "Sat May  7 03:17:27 CDT 2011 /x/host-deny.sh add - 192.0.2.1 1304756247.60385 31151",
            "2015/01/29 21:09:49 ossec-logcollector(1950): INFO: Analyzing",
            r#"{"rule":{"level":3,"comment":"c\u00e9","sidid":502,"groups":["a"]},"id":"1.1","TimeStamp":1795412828000,"full_log":"x","SyscheckFile":{"path":"/a"}}"#,
        ] {
            for n in 0..=s.len() {
                for env in [None, Some(&env)] {
                    with(env, &s.as_bytes()[..n], true, |_| ());
                    Parser::recognise(env, &s.as_bytes()[..n]);
                }
            }
        }
    }
}
