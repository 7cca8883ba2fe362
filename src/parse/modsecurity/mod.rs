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
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        Parser { json: json::Reader::new(schema, layout), gather: Gather::default() }
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
            _ if index::recognise(b) => index::parse(ctx, b, out),
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
    tags: Vec<Slot>,
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
        for v in [&mut self.data, &mut self.files, &mut self.lines, &mut self.tags] {
            v.clear();
        }
        self.fired.clear();
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
            for t in brackets::tags(m.tags) {
                let t = out.text(t);
                self.tags.push(t);
            }
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
        if let Some(level) = level(s) {
            if self.worst.is_none_or(|(w, _)| level < w) {
                self.worst = Some((level, out.text(s)));
            }
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
        self.tags.iter().for_each(|&t| out.add_once(field::TAGS, t));
        if out.wants(field::THREAT_INDICATOR_TYPE) {
            for &t in &self.tags {
                if out.value(t).str().is_some_and(|t| t.starts_with(b"attack-")) {
                    out.add_once(field::THREAT_INDICATOR_TYPE, t);
                }
            }
        }
    }
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
