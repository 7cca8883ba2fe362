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
        } else {
            keep(&name.split('.').collect::<Vec<_>>(), text, out);
        }
    }
}

/// Keeps text for output under a path of its own.
fn keep(path: &[&str], text: &[u8], out: &mut Out<'_>) {
    if let Some(own) = out.own() {
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
        if env.is_none() {
            if let Some((when, host, message)) = csyslog::bare(record) {
                (manager, rest) = (host, message);
                time = when.nearest(ctx.zone, ctx.near);
            }
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
