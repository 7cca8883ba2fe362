//! ModSecurity 2 and 3 and Coraza: audit logs, concurrent indexes, error logs.
//!
//! In: one record, framed: a native audit block from its `A` line to its `Z` line, or one line. Out: one event of
//! `modsecurity.audit`, `modsecurity.error` or `modsecurity.status`. The messages of one request are joined by rules
//! through `http.request.id`.
//!
//! Source: ModSecurity v2 `apache2/msc_logging.c`, v3 `src/transaction.cc` and `src/rule_message.cc`, the connectors'
//! error lines, the OWASP Core Rule Set; see `parsers/modsecurity/parser.toml`.

mod audit;
mod brackets;
mod error_log;
mod index;
mod json;

pub use index::index_file;

use super::{Context, Estate, syslog::Envelope};
use crate::event::{Layout, Out, ParseError, Schema, Slot, field};
use brackets::Message;
use memchr::memmem;

/// The parser; one for each worker.
pub struct Parser {
    json: json::Reader,
    gather: Gather,
    scratch: Vec<u8>,
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        Parser { json: json::Reader::new(schema, layout), gather: Gather::default(), scratch: Vec::new() }
    }

    /// Whether a record is of this format, told cheaply and without doubt; for JSON by a look at its first keys, the
    /// parser has the last word.
    pub fn recognise(env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        let b = record.trim_ascii_start();
        match b.first() {
            Some(b'{') => json::recognise(b),
            Some(b'-') => audit::boundary(b).is_some(),
            _ => error_log::recognise(env.is_some(), b) || index::recognise(b),
        }
    }

    /// Parses one record without its envelope.
    ///
    /// - Time: of the record; `ctx.zone` where it names none, the envelope's where it has none.
    /// - Errors: the offset of what does not fit. Lines of a web server that are not ModSecurity's are errors.
    pub fn parse(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        self.gather.clear();
        out.word(field::EVENT_MODULE, "modsecurity");
        if let Some(host) = env.and_then(|e| e.host) {
            out.str(field::HOST_HOSTNAME, host);
        }
        let b = record.trim_ascii_start();
        match b.first() {
            Some(b'{') => self.json.parse(ctx, b, &mut self.gather, out),
            Some(b'-') => audit::parse(ctx, b, &mut self.gather, out),
            _ if index::recognise(b) => index::parse(ctx, b, &mut self.scratch, out),
            _ => error_log::parse(ctx, env, b, &mut self.gather, out),
        }
        .map_err(|e| ParseError { offset: e.offset + record.len() - b.len(), ..e })
    }
}

/// A rule that fired.
#[derive(Clone, Copy)]
struct Fired {
    id: Slot,
    name: Slot,
}

/// What the messages of one record come to; its memory is reused.
#[derive(Default)]
struct Gather {
    fired: Vec<Fired>,
    data: Vec<Slot>,
    files: Vec<Slot>,
    lines: Vec<Slot>,
    /// Each tag once, with a sketch of it; see [`sketch`].
    tags: Vec<Slot>,
    sketches: Vec<u64>,
    /// Those of attacks.
    attacks: Vec<Slot>,
    worst: Option<(u8, Slot)>,
    score: Option<(u8, i64)>,
    version: Slot,
    /// The words of the first message that is no rule's.
    words: Slot,
    denied: bool,
    /// Whether a rule that blocks by score is among them.
    blocking: bool,
}

impl Gather {
    fn clear(&mut self) {
        for v in [&mut self.data, &mut self.files, &mut self.lines, &mut self.tags, &mut self.attacks] {
            v.clear();
        }
        self.fired.clear();
        self.sketches.clear();
        (self.worst, self.score, self.version, self.words) = (None, None, Slot::Missing, Slot::Missing);
        (self.denied, self.blocking) = (false, false);
    }

    /// Takes in one message; `raw` where quotes inside values are not escaped.
    fn message(&mut self, m: &Message<'_>, raw: bool, out: &mut Out<'_>) {
        self.denied |= m.denied();
        if let Some(msg) = m.msg {
            self.score(msg);
        }
        if let Some(s) = m.severity {
            self.severity(s, out);
        }
        if m.id.is_none() && m.msg.is_none() {
            if self.words == Slot::Missing && out.wants(field::MESSAGE) {
                self.words = text(m.prose, raw, out);
            }
        } else {
            let id = m.id.map_or(Slot::Missing, |v| self.id(v, out));
            let name = m.msg.map_or(Slot::Missing, |v| text(v, raw, out));
            self.fired.push(Fired { id, name });
        }
        for (f, to, v) in [
            (field::MODSECURITY_MATCHED_DATA, &mut self.data, m.data),
            (field::MODSECURITY_RULE_FILE, &mut self.files, m.file),
            (field::MODSECURITY_RULE_LINE, &mut self.lines, m.line),
        ] {
            if let (true, Some(v)) = (out.wants(f), v) {
                to.push(text(v, raw, out));
            }
        }
        if let (Slot::Missing, Some(v)) = (self.version, m.ver) {
            self.version = text(v, raw, out);
        }
        if wants_tags(out) {
            brackets::tags(m.tags).for_each(|t| self.tag(t, out));
        }
    }

    /// Takes in a tag; the messages of one request repeat most of them.
    fn tag(&mut self, t: &[u8], out: &mut Out<'_>) {
        let key = sketch(t);
        let known = |(i, _): (usize, &u64)| self.tags.get(i).is_some_and(|&s| out.value(s).str() == Some(t));
        if t.is_empty() || self.sketches.iter().enumerate().filter(|(_, k)| **k == key).any(known) {
            return;
        }
        let s = out.text(t);
        self.tags.push(s);
        self.sketches.push(key);
        if t.starts_with(b"attack-") {
            self.attacks.push(s);
        }
    }

    fn id(&mut self, id: &[u8], out: &mut Out<'_>) -> Slot {
        self.blocking |= matches!(id, b"949110" | b"949111" | b"959100" | b"959101" | b"981176");
        out.text(id)
    }

    fn score(&mut self, msg: &[u8]) {
        if let Some((rank, v)) = brackets::score(msg) {
            self.score = match self.score {
                Some((r, old)) if r < rank || (r == rank && old >= v) => Some((r, old)),
                _ => Some((rank, v)),
            };
        }
    }

    fn severity(&mut self, s: &[u8], out: &mut Out<'_>) {
        if let Some(level) = level(s).filter(|level| self.worst.is_none_or(|(w, _)| *level < w)) {
            self.worst = Some((level, out.text(s)));
        }
    }

    /// Writes what the messages say. With `denied` the request was stopped.
    fn write(&self, denied: bool, out: &mut Out<'_>) {
        const SEVERITY: [i64; 8] = [100, 95, 90, 70, 50, 30, 10, 0];
        out.word(field::EVENT_KIND, if self.fired.is_empty() { "event" } else { "alert" });
        category(out);
        out.word(field::EVENT_TYPE, if denied { "denied" } else { "info" });
        if denied {
            out.word(field::EVENT_OUTCOME, "failure");
        }
        match self.fired.as_slice() {
            [] => {}
            [one] => {
                out.put(field::RULE_ID, one.id);
                out.put(field::RULE_NAME, one.name);
            }
            many => {
                // A rule without a text stands with its number, so that the two arrays stay in parallel.
                many.iter().for_each(|f| out.push(field::RULE_ID, if f.id == Slot::Missing { f.name } else { f.id }));
                if many.iter().any(|f| f.name != Slot::Missing) {
                    many.iter().for_each(|f| out.push(field::RULE_NAME, if f.name == Slot::Missing { f.id } else { f.name }));
                }
            }
        }
        let message = self.fired.iter().map(|f| f.name).find(|n| *n != Slot::Missing).unwrap_or(self.words);
        out.put(field::MESSAGE, message);
        out.put(field::RULE_VERSION, self.version);
        if let Some((level, word)) = self.worst {
            out.int(field::EVENT_SEVERITY, SEVERITY[level as usize & 7]);
            out.put(field::MODSECURITY_SEVERITY, word);
        }
        if let Some((_, n)) = self.score {
            out.int(field::MODSECURITY_ANOMALY_SCORE, n);
        }
        for (f, v) in
            [(field::MODSECURITY_MATCHED_DATA, &self.data), (field::MODSECURITY_RULE_FILE, &self.files), (field::MODSECURITY_RULE_LINE, &self.lines)]
        {
            v.iter().for_each(|&s| out.push(f, s));
        }
        self.tags.iter().for_each(|&t| out.push(field::TAGS, t));
        self.attacks.iter().for_each(|&t| out.push(field::THREAT_INDICATOR_TYPE, t));
    }
}

/// Eight bytes that tell most texts apart: their length, their ends and their middle.
fn sketch(t: &[u8]) -> u64 {
    let at = |i: usize| t.get(i).copied().unwrap_or_default();
    let n = t.len();
    u64::from_le_bytes([n as u8, at(0), at(7), at(n / 2), at(n.wrapping_sub(4)), at(n.wrapping_sub(3)), at(n.wrapping_sub(2)), at(n.wrapping_sub(1))])
}

fn wants_tags(out: &Out<'_>) -> bool {
    out.wants(field::TAGS) || out.wants(field::THREAT_INDICATOR_TYPE)
}

fn category(out: &mut Out<'_>) {
    for c in ["web", "intrusion_detection"] {
        out.add(field::EVENT_CATEGORY, c.as_bytes());
    }
}

/// A slot for a bracket's value.
fn text(v: &[u8], raw: bool, out: &mut Out<'_>) -> Slot {
    if raw || memchr::memchr(b'\\', v).is_none() { out.text(v) } else { out.build(|to| brackets::unescape(v, to)) }
}

/// The syslog level of a severity, a word in any case or a digit.
fn level(s: &[u8]) -> Option<u8> {
    const WORDS: [&[u8]; 8] = [b"EMERGENCY", b"ALERT", b"CRITICAL", b"ERROR", b"WARNING", b"NOTICE", b"INFO", b"DEBUG"];
    match s {
        [d @ b'0'..=b'7'] => Some(d - b'0'),
        _ => WORDS.iter().position(|w| w.eq_ignore_ascii_case(s)).map(|i| i as u8),
    }
}

/// Writes the peer: source and client.
fn peer(ip: &[u8], port: &[u8], out: &mut Out<'_>) {
    if out.ip_text(field::SOURCE_IP, ip) {
        out.ip_text(field::CLIENT_IP, ip);
    } else if ip != b"-" {
        out.str(field::SOURCE_ADDRESS, ip);
    }
    out.port_text(field::SOURCE_PORT, port);
    out.port_text(field::CLIENT_PORT, port);
}

/// Writes who answered: destination and server.
fn server(ip: &[u8], port: &[u8], out: &mut Out<'_>) {
    out.ip_text(field::DESTINATION_IP, ip);
    out.ip_text(field::SERVER_IP, ip);
    out.port_text(field::DESTINATION_PORT, port);
    out.port_text(field::SERVER_PORT, port);
}

/// Writes the number of the transaction.
fn transaction(id: &[u8], out: &mut Out<'_>) {
    out.str(field::EVENT_ID, id);
    out.str(field::HTTP_REQUEST_ID, id);
}

/// Writes a target as it was sent, with its path and query.
fn url(target: &[u8], out: &mut Out<'_>) {
    out.str(field::URL_ORIGINAL, target);
    let (path, query) = path_and_query(target);
    out.str(field::URL_PATH, path);
    out.str(field::URL_QUERY, query);
}

/// The path and the query of a target: `/p?q`, or an absolute one as proxies get it.
fn path_and_query(target: &[u8]) -> (&[u8], &[u8]) {
    let target = memchr::memchr(b'#', target).map_or(target, |i| &target[..i]);
    let (front, query) = memchr::memchr(b'?', target).map_or((target, &b""[..]), |i| (&target[..i], &target[i + 1..]));
    if front.starts_with(b"/") {
        return (front, query);
    }
    let path = memmem::find(front, b"://").and_then(|i| memchr::memchr(b'/', &front[i + 3..]).map(|j| &front[i + 3 + j..]));
    (path.unwrap_or_default(), query)
}

/// Writes a request line, `GET /?q HTTP/1.1`; the target may hold blanks. A broken one gives nothing.
fn request_line(line: &[u8], out: &mut Out<'_>) {
    let Some(i) = memchr::memchr(b' ', line) else { return };
    let (method, rest) = (&line[..i], &line[i + 1..]);
    if method.is_empty() || !method.iter().all(|c| c.is_ascii_alphabetic() || matches!(c, b'-' | b'_')) {
        return;
    }
    let Some(i) = memmem::rfind(rest, b" HTTP/") else { return };
    out.str(field::HTTP_REQUEST_METHOD, method);
    url(&rest[..i], out);
    version(&rest[i + 6..], out);
}

/// Writes the version of HTTP, `1.1`.
fn version(v: &[u8], out: &mut Out<'_>) {
    let v = if v == b"1" { b"1.0" } else { v };
    if v.len() <= 3 && v.first().is_some_and(u8::is_ascii_digit) {
        out.str(field::HTTP_VERSION, v);
    }
}

/// Writes the status of the response.
fn status(s: &[u8], out: &mut Out<'_>) {
    if s.len() == 3 {
        out.int_text(field::HTTP_RESPONSE_STATUS_CODE, s);
    }
}

/// The name in a `Host` header, without its port and the brackets of an address.
fn host_name(h: &[u8]) -> &[u8] {
    let h = h.trim_ascii();
    if let Some(v6) = h.strip_prefix(b"[") {
        return memchr::memchr(b']', v6).map_or(b"", |i| &v6[..i]);
    }
    match memchr::memchr(b':', h) {
        Some(i) if memchr::memchr(b':', &h[i + 1..]).is_none() => &h[..i],
        _ => h,
    }
}

/// Writes a header of the request that has a field of its own; the first of equal ones wins.
fn header(name: &[u8], value: &[u8], out: &mut Out<'_>) {
    let value = value.trim_ascii();
    let (f, value) = match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => (field::URL_DOMAIN, host_name(value)),
        7 if name.eq_ignore_ascii_case(b"referer") => (field::HTTP_REQUEST_REFERRER, value),
        10 if name.eq_ignore_ascii_case(b"user-agent") => (field::USER_AGENT_ORIGINAL, value),
        _ => return,
    };
    if out.wants(f) && !out.has(f) {
        out.str(f, value);
    }
}

/// Whether the record's peer is a trusted proxy, so that the forwarding header counts.
fn behind_proxy(estate: &Estate, ip: &[u8]) -> bool {
    estate.has_proxies() && crate::event::ip(ip).is_some_and(|ip| estate.is_proxy(ip))
}

/// Walks one forwarding header from its end, over trusted proxies. `false`: all were proxies, an earlier header counts.
fn forwarded(estate: &Estate, value: &[u8], out: &mut Out<'_>) -> bool {
    for part in value.rsplit(|&c| c == b',') {
        let part = part.trim_ascii();
        if part.is_empty() {
            continue;
        }
        let ip = crate::event::ip(part).or_else(|| crate::event::ip(host_name(part)));
        match ip {
            Some(ip) if estate.is_proxy(ip) => {}
            Some(ip) => {
                out.ip(field::CLIENT_IP, ip);
                out.clear(field::CLIENT_PORT);
                return true;
            }
            // What is no address (`unknown`) hides the rest: the peer stays the client.
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, Batch, Event, Own, Timestamp};
    use crate::parse::estate::Host;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The event of one record in full, or what was wrong with it.
    fn event(zone: &TimeZone, estate: &Estate, env: Option<&Envelope<'_>>, record: &[u8]) -> Result<Value, ParseError> {
        let schema = Schema::default();
        let layout = Layout::full(&schema);
        let mut parser = Parser::new(&schema, &layout);
        let mut batch = Batch::default();
        batch.push(record, false);
        let record = batch.record(batch.records[0]);
        let (mut arena, mut own, mut row) = (Arena::default(), Own::default(), vec![Slot::Missing; layout.len()]);
        let ctx = Context { zone, near: Timestamp(1_795_435_200_000_000_000), named: true, estate };
        parser.parse(&ctx, env, record, &mut Out::new(&batch.bytes, &mut arena, &mut row, &layout, Some(&mut own)))?;
        let mut text = Vec::new();
        crate::event::json::write(&Event::new(&batch.bytes, &arena, &row, &layout), &schema, &own, &mut text);
        Ok(serde_json::from_slice(&text).expect("what is written is JSON"))
    }

    fn utc(record: &str) -> Value {
        event(&TimeZone::UTC, &Estate::default(), None, record.as_bytes()).expect(record)
    }

    fn block(a: &str, b: &str, h: &str) -> String {
        format!("--225b3f06-A--\n{a}\n--225b3f06-B--\n{b}\n\n--225b3f06-H--\n{h}\n\n--225b3f06-Z--")
    }

    const A: &str = "[23/Nov/2026:05:44:19.707224 +0000] awPS 203.0.113.9 45828 198.51.100.20 8080";

    #[test]
    fn times_of_every_kind() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let v3 = |t: &str| format!(r#"{{"transaction":{{"client_ip":"203.0.113.9","time_stamp":"{t}"}}}}"#);
        let line = "ModSecurity: Warning. x [line \"1\"] [id \"12\"]";
        for (record, want) in [
            (block(A, "", ""), "2026-11-23T05:44:19.707224Z"),
            (block(&A.replace("+0000", "--0400"), "", ""), "2026-11-23T09:44:19.707224Z"),
            (block(&A.replace(".707224 +0000", " -0430"), "", ""), "2026-11-23T10:14:19.000000Z"),
            (v3("Mon Nov 23 05:42:09 2026"), "2026-11-23T03:42:09.000000Z"),
            (v3("Wed Nov  4 05:42:09 2026"), "2026-11-04T03:42:09.000000Z"),
            (format!("2026/11/23 05:42:09 [info] 1#1: *1 {line}"), "2026-11-23T03:42:09.000000Z"),
            (format!("[Mon Nov 23 05:41:34.296526 2026] [:error] [client 203.0.113.9] {line}"), "2026-11-23T03:41:34.296526Z"),
        ] {
            let e = event(&zone, &Estate::default(), None, record.as_bytes()).expect(&record);
            assert_eq!(e["@timestamp"], want, "{record}");
        }
    }

    #[test]
    fn only_its_own_boundary_divides_a_block() {
        let body = "--deadbeef-H--\nMessage: x [line \"1\"] [id \"999\"]\n--225b3f06-H-- \n --225b3f06-Z--\n--225b3f06-z--\n---225b3f06-Z--";
        let record = format!(
            "--225b3f06-A--\r\n{A}\r\n--225b3f06-C--\n{body}\n--225b3f06-H--\r\nMessage: Warning. y [line \"1\"] [id \"12\"]\n--225b3f06-Z--\r"
        );
        let e = utc(&record);
        assert_eq!(e["rule"]["id"], "12");
        assert_eq!(e["destination"]["port"], 8080);
        assert_eq!(e["event"].get("truncated"), None);
        let cut = &record[..record.len() - 15];
        assert_eq!(utc(cut)["event"]["truncated"], true);
        assert_eq!(utc(cut)["rule"]["id"], "12", "a crash loses nothing that was written");
        for n in 0..40 {
            assert!(event(&TimeZone::UTC, &Estate::default(), None, &record.as_bytes()[..n]).is_err(), "an A line cut at {n}");
        }
    }

    #[test]
    fn the_client_behind_trusted_proxies() {
        let proxies = ["203.0.113.0/28", "2001:db8:f::/48"].map(|n| n.parse().expect(n));
        let estate = Estate::new(Vec::<Host>::new(), proxies.to_vec());
        let b = |xff: &str| {
            let headers: String = xff.split('|').map(|v| format!("X-Forwarded-For: {v}\n")).collect();
            block(A, &format!("GET / HTTP/1.1\nHost: h\n{headers}"), "")
        };
        for (xff, want) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.6, 192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 203.0.113.2", "192.0.2.7"),
            ("192.0.2.6|192.0.2.7,203.0.113.2|203.0.113.3", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("2001:db8::7, 2001:db8:f::1", "2001:db8::7"),
            ("192.0.2.7, unknown, 203.0.113.2", "203.0.113.9"),
            ("203.0.113.2", "203.0.113.9"),
            ("", "203.0.113.9"),
        ] {
            let e = event(&TimeZone::UTC, &estate, None, b(xff).as_bytes()).expect(xff);
            assert_eq!((e["client"]["ip"].as_str(), e["source"]["ip"].as_str()), (Some(want), Some("203.0.113.9")), "{xff}");
            assert_eq!(e["client"]["port"].is_null(), want != "203.0.113.9", "{xff}");
        }
        let untrusted = b("192.0.2.7").replace("203.0.113.9", "203.0.113.99");
        assert_eq!(event(&TimeZone::UTC, &estate, None, untrusted.as_bytes()).expect("an event")["client"]["ip"], "203.0.113.99");
        let json =
            r#"{"transaction":{"client_ip":"203.0.113.9","client_port":5,"request":{"headers":{"x-forwarded-for":"192.0.2.7, 203.0.113.2"}}}}"#;
        let e = event(&TimeZone::UTC, &estate, None, json.as_bytes()).expect("an event");
        assert_eq!(e["client"], json!({"ip": "192.0.2.7"}));
    }

    #[test]
    fn one_rule_is_a_scalar_and_several_are_parallel_arrays() {
        let m = |id: u32, msg: &str, sev: &str| format!("Message: Warning. x [line \"1\"] [id \"{id}\"]{msg} [severity \"{sev}\"]\n");
        let (a, b) = (m(1, " [msg \"a\"]", "NOTICE"), m(2, "", "error"));
        assert_eq!(utc(&block(A, "", &a))["rule"], json!({"id": "1", "name": "a"}));
        assert_eq!(utc(&block(A, "", &b))["rule"], json!({"id": "2"}));
        let e = utc(&block(A, "", &format!("{a}{b}{a}")));
        assert_eq!(e["rule"], json!({"id": ["1", "2", "1"], "name": ["a", "2", "a"]}));
        assert_eq!((&e["event"]["severity"], &e["modsecurity"]["severity"]), (&json!(70), &json!("error")));
        assert_eq!(utc(&block(A, "", ""))["event"]["kind"], "event");
    }

    #[test]
    fn version_3_tells_by_status_and_mode_whether_it_stopped_a_request() {
        let r = |id: &str, code: u32, mode: &str| {
            let e = utc(&format!(
                r#"{{"transaction":{{"client_ip":"203.0.113.9","response":{{"http_code":{code}}},"producer":{{"secrules_engine":"{mode}"}},"messages":[{{"message":"m","details":{{"ruleId":"{id}"}}}}]}}}}"#
            ));
            e["event"]["type"][0] == "denied" && e["event"]["outcome"] == "failure"
        };
        assert!(r("942100", 403, "Enabled") && r("949110", 406, "Enabled"));
        assert!(!r("942100", 200, "Enabled") && !r("942100", 404, "Enabled") && !r("949110", 403, "DetectionOnly") && !r("949110", 200, "Enabled"));
    }

    #[test]
    fn lines_through_syslog_take_the_time_of_their_envelope() {
        let env = Envelope { time: Some(Timestamp(1_000_000_000)), host: Some(b"web1"), app: Some(b"httpd"), ..Envelope::default() };
        let line = "[security2:error] [pid 7:tid 8] [client 203.0.113.9:55] ModSecurity: Warning. x [line \"1\"] [id \"12\"]";
        assert!(Parser::recognise(Some(&env), line.as_bytes()) && !Parser::recognise(None, line.as_bytes()));
        let e = event(&TimeZone::UTC, &Estate::default(), Some(&env), line.as_bytes()).expect("an event");
        assert_eq!((&e["@timestamp"], &e["host"]["hostname"]), (&json!("1970-01-01T00:00:01.000000Z"), &json!("web1")));
        assert_eq!(e["source"], json!({"ip": "203.0.113.9", "port": 55}));
    }

    #[test]
    fn only_what_is_of_modsecurity_is_recognised() {
        let apache = "[Mon Nov 23 05:44:52.827153 2026] [security2:notice] [pid 1:tid 1] ModSecurity";
        for (record, want) in [
            (block(A, "", "").as_str(), true),
            ("---Mi2tNCEl---A--\nx", true),
            ("--225b3f06-B--\nx", false),
            ("-- signature --", false),
            (&format!("{apache}: APR compiled version=\"1.7.2\""), false),
            (&format!("{apache} for Apache/2.9.7 (http://www.modsecurity.org/) configured."), false),
            ("[Mon Nov 23 05:44:52 2026] [error] [client 203.0.113.9] File does not exist: /ModSecurity: x", false),
            ("2026/11/23 05:45:45 [error] 1#1: *16 open() \"/ModSecurity: \" failed, client: 203.0.113.9", false),
            ("2026/11/23 05:45:45 [error] 1#1: *16 [client 203.0.113.9] ModSecurity: Access denied with code 403", true),
            ("Nov 23 05:45:45 web1 app: ModSecurity: x", false),
        ] {
            assert_eq!(Parser::recognise(None, record.as_bytes()), want, "{record}");
        }
    }

    #[test]
    fn words_about_itself_are_no_alerts_and_other_lines_are_refused() {
        let front = "[Mon Nov 23 05:44:52.827153 2026] [security2:notice] [pid 1:tid 1]";
        for text in ["ModSecurity: PCRE2 compiled version=\"10.42 \"", "ModSecurity for Apache/2.9.7 (http://www.modsecurity.org/) configured."] {
            let e = utc(&format!("{front} {text}"));
            assert_eq!(e["event"], json!({"module": "modsecurity", "dataset": "modsecurity.status", "kind": "event"}), "{text}");
        }
        for l in [format!("{front} AH00489: Apache configured"), "2026/11/23 05:45:43 [notice] 1#1: start worker".into(), "x".into(), String::new()] {
            assert!(event(&TimeZone::UTC, &Estate::default(), None, l.as_bytes()).is_err(), "{l}");
        }
    }

    #[test]
    fn a_target_gives_its_path_and_query() {
        for (target, path, query) in [
            ("/a?b=c?d#e", "/a", "b=c?d"),
            ("http://h:80/a?x", "/a", "x"),
            ("http://h", "", ""),
            ("*", "", ""),
            ("/", "/", ""),
            ("h:443", "", ""),
            ("/r?u=http://x/", "/r", "u=http://x/"),
        ] {
            assert_eq!(path_and_query(target.as_bytes()), (path.as_bytes(), query.as_bytes()), "{target}");
        }
        for (h, want) in [("a:80", "a"), ("a", "a"), ("[2001:db8::1]:80", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("[x", ""), (" a ", "a")] {
            assert_eq!(host_name(h.as_bytes()), want.as_bytes(), "{h}");
        }
    }

    /// Pieces of the formats in any order: what is nearly right finds more than noise does.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&str] = &[
            "--225b3f06-A--\n",
            "---Mi2tNCEl---A--\n",
            "--225b3f06-H--\n",
            "--225b3f06-Z--",
            A,
            "[",
            "]",
            "\"",
            "\\",
            " ",
            "\n",
            ",",
            "{",
            "}",
            ":",
            "[file \"",
            "[line \"",
            "[line \"1\"] [id \"2\"]",
            "[id \"",
            "[msg \"",
            "\"] [data \"",
            "[data \"",
            "[severity \"2\"]",
            "[tag \"",
            "[hostname \"",
            "[uri \"",
            "[unique_id \"1\"]",
            "[ref \"\"]",
            "\"], client: ",
            "\"], referer: ",
            ", request: \"",
            " HTTP/1.1\"",
            ", host: \"",
            "(Value: `",
            "' ) [file \"",
            "Message: ",
            "ModSecurity: ",
            "Access denied with code 403",
            "2026/11/23 05:42:09 [info] 1#1: *1 ",
            "[Mon Nov 23 05:41:34.296526 2026] ",
            "[client ",
            "[pid ",
            "] ",
            "{\"transaction\":{\"client_ip\":\"x\",",
            "\"messages\":[",
            "\"request\":{\"headers\":{",
            "\"details\":{\"tags\":[\"",
            " md5:7a86e6b37f104156fb0cc0c65d8a4322",
            "a b - - [",
            "] \"GET / HTTP/1.1\" 403 1 \"-\" \"-\" i \"-\" /p 0 1",
            "é",
            "\u{fffd}",
            "",
        ];
        prop::collection::vec(
            prop_oneof![4 => prop::sample::select(PIECES).prop_map(|s| s.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..6)],
            0..24,
        )
        .prop_map(|v| v.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn no_bytes_panic(record in pieces()) {
            let _ = Parser::recognise(None, &record);
            let _ = index_file(&record);
            let _ = event(&TimeZone::UTC, &Estate::default(), Some(&Envelope::default()), &record);
            let _ = event(&TimeZone::UTC, &Estate::default(), None, &record);
            let _ = brackets::read(&record);
        }
    }
}
