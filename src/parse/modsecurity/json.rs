//! JSON: audit records of versions 2 and 3, and the log lines of Coraza in Caddy.

use super::{Fired, Gather, behind_proxy, brackets, forwarded, header, peer, request_line, server, status, transaction, url, version, wants_tags};
use crate::event::{Field, Layout, Out, ParseError, Schema, Slot, field, time};
use crate::parse::Context;
use crate::parse::json::{Json, OwnFields, PathId, Paths, Scanner};
use memchr::memmem;

/// The paths of all three shapes: one scan serves them.
struct Ids {
    // Version 3.
    client_ip: PathId,
    client_port: PathId,
    host_ip: PathId,
    host_port: PathId,
    time_stamp: PathId,
    unique_id: PathId,
    method: PathId,
    http_version: PathId,
    hostname: PathId,
    uri: PathId,
    headers3: PathId,
    http_code: PathId,
    engine3: PathId,
    message: PathId,
    rule_id: PathId,
    file: PathId,
    line: PathId,
    data: PathId,
    severity: PathId,
    ver: PathId,
    tags: PathId,
    // Version 2.
    time: PathId,
    transaction_id: PathId,
    remote_address: PathId,
    remote_port: PathId,
    local_address: PathId,
    local_port: PathId,
    request_line: PathId,
    headers2: PathId,
    status: PathId,
    messages: PathId,
    intercepted: PathId,
    engine2: PathId,
    // Coraza.
    ts: PathId,
    msg: PathId,
    level: PathId,
    logger: PathId,
}

/// A scanner of the three shapes; its memory is reused.
pub(super) struct Reader {
    scanner: Scanner,
    ids: Ids,
    own: OwnFields,
    scratch: Vec<u8>,
    places: Vec<u32>,
}

/// Whether a JSON text is of one of the three, by its first keys.
pub(super) fn recognise(b: &[u8]) -> bool {
    let rest = b.get(1..).unwrap_or_default().trim_ascii_start();
    if let Some(rest) = rest.strip_prefix(b"\"transaction\"") {
        return rest.trim_ascii_start().strip_prefix(b":").is_some_and(|r| r.trim_ascii_start().starts_with(b"{"));
    }
    // `{"level":"error","ts":1700758468.384,"logger":"http.handlers.waf","msg":"[client \"192.0.2.1\"] Coraza: …`
    let Some(i) = memmem::find(rest, b"\"msg\":\"[client \\\"") else { return false };
    let (before, msg) = (&rest[..i], &rest[i + 7..]);
    memchr::memchr2(b'{', b'[', before).is_none() && memmem::find(&msg[..msg.len().min(100)], b"] Coraza: ").is_some()
}

impl Reader {
    pub fn new(schema: &Schema, layout: &Layout) -> Reader {
        let mut p = Paths::default();
        let mut add = |s: &str| p.add(s);
        let ids = Ids {
            client_ip: add("transaction.client_ip"),
            client_port: add("transaction.client_port"),
            host_ip: add("transaction.host_ip"),
            host_port: add("transaction.host_port"),
            time_stamp: add("transaction.time_stamp"),
            unique_id: add("transaction.unique_id"),
            method: add("transaction.request.method"),
            http_version: add("transaction.request.http_version"),
            hostname: add("transaction.request.hostname"),
            uri: add("transaction.request.uri"),
            headers3: add("transaction.request.headers"),
            http_code: add("transaction.response.http_code"),
            engine3: add("transaction.producer.secrules_engine"),
            message: add("transaction.messages[].message"),
            rule_id: add("transaction.messages[].details.ruleId"),
            file: add("transaction.messages[].details.file"),
            line: add("transaction.messages[].details.lineNumber"),
            data: add("transaction.messages[].details.data"),
            severity: add("transaction.messages[].details.severity"),
            ver: add("transaction.messages[].details.ver"),
            tags: add("transaction.messages[].details.tags"),
            time: add("transaction.time"),
            transaction_id: add("transaction.transaction_id"),
            remote_address: add("transaction.remote_address"),
            remote_port: add("transaction.remote_port"),
            local_address: add("transaction.local_address"),
            local_port: add("transaction.local_port"),
            request_line: add("request.request_line"),
            headers2: add("request.headers"),
            status: add("response.status"),
            messages: add("audit_data.messages[]"),
            intercepted: add("audit_data.action.intercepted"),
            engine2: add("audit_data.engine_mode"),
            ts: add("ts"),
            msg: add("msg"),
            level: add("level"),
            logger: add("logger"),
        };
        let own = OwnFields::bind(schema, layout, "modsecurity", MAPPED, &mut p);
        Reader { scanner: Scanner::new(p), ids, own, scratch: Vec::new(), places: Vec::new() }
    }

    /// Parses one object.
    pub fn parse(&mut self, ctx: &Context<'_>, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) -> Result<(), ParseError> {
        self.scanner.scan(b)?;
        let get = |id| self.scanner.get(id, b);
        if filled(get(self.ids.client_ip)) {
            self.version3(ctx, b, gather, out);
        } else if filled(get(self.ids.transaction_id)) || filled(get(self.ids.remote_address)) {
            self.version2(ctx, b, gather, out);
        } else if filled(get(self.ids.msg)) {
            self.coraza(b, gather, out)?;
        } else {
            return Err(ParseError { expected: "a transaction of ModSecurity", offset: 0 });
        }
        self.own.write(&self.scanner, b, out);
        if let Some(own) = out.own() {
            self.scanner.unmapped(b, &["modsecurity"], own);
        }
        Ok(())
    }

    fn version3(&mut self, ctx: &Context<'_>, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) {
        let Reader { scanner, ids, scratch, places, .. } = self;
        let get = |id| scanner.get(id, b);
        out.word(field::EVENT_DATASET, "modsecurity.audit");
        with(get(ids.time_stamp), scratch, |s| {
            if let Some(t) = time::asctime(s.trim_ascii(), ctx.zone) {
                out.time(field::TIMESTAMP, t);
            }
        });
        with(get(ids.unique_id), scratch, |s| transaction(s, out));
        let (client, port) = (plain(get(ids.client_ip)), plain(get(ids.client_port)));
        peer(client, port, out);
        server(plain(get(ids.host_ip)), plain(get(ids.host_port)), out);
        get(ids.method).put_str(field::HTTP_REQUEST_METHOD, out);
        with_url(get(ids.uri), scratch, out);
        version(plain(get(ids.http_version)), out);
        headers(ctx, client, get(ids.headers3), scratch, out);
        if !out.has(field::URL_DOMAIN) {
            with(get(ids.hostname), scratch, |s| header(b"host", s, out));
        }
        let code = plain(get(ids.http_code));
        status(code, out);
        let engine = plain(get(ids.engine3));
        get(ids.engine3).put_str(field::MODSECURITY_ENGINE_MODE, out);

        places.clear();
        for (place, j) in scanner.list(ids.rule_id, b) {
            let mut id = Slot::Missing;
            with(j, scratch, |s| id = gather.id(s, out));
            if id != Slot::Missing {
                places.push(place);
                gather.fired.push(Fired { id, name: Slot::Missing });
            }
        }
        for (place, j) in scanner.list(ids.message, b) {
            with(j, scratch, |s| gather.score(s));
            let name = slot(j, scratch, out);
            match places.iter().position(|&p| p == place) {
                Some(i) => gather.fired[i].name = name,
                None if gather.words == Slot::Missing => gather.words = name,
                None => {}
            }
        }
        for (_, j) in scanner.list(ids.severity, b) {
            with(j, scratch, |s| gather.severity(s, out));
        }
        for (f, id, to) in [
            (field::MODSECURITY_MATCHED_DATA, ids.data, &mut gather.data),
            (field::MODSECURITY_RULE_FILE, ids.file, &mut gather.files),
            (field::MODSECURITY_RULE_LINE, ids.line, &mut gather.lines),
        ] {
            if out.wants(f) {
                to.extend(scanner.list(id, b).map(|(_, j)| slot(j, scratch, out)));
            }
        }
        if let Some((_, j)) = scanner.list(ids.ver, b).find(|(_, j)| filled(*j)) {
            gather.version = slot(j, scratch, out);
        }
        if wants_tags(out) {
            let mut tag = |j: Json<'_>| match j {
                Json::Str(t) => gather.tag(t, out),
                j => with(j, scratch, |t| gather.tag(t, out)),
            };
            for (_, j) in scanner.list(ids.tags, b) {
                match j {
                    Json::Array(a) => {
                        let mut walk = Walk::new(a);
                        while let Some(j) = walk.element() {
                            tag(j);
                        }
                    }
                    j => tag(j),
                }
            }
        }
        // The record does not say what was done: a rule that blocks by score, or any rule and a 403, and the engine on.
        let stopped = code == b"403" || (gather.blocking && code >= &b"400"[..]);
        gather.write(engine.eq_ignore_ascii_case(b"enabled") && !gather.fired.is_empty() && stopped, out);
    }

    fn version2(&mut self, ctx: &Context<'_>, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) {
        let Reader { scanner, ids, scratch, .. } = self;
        let get = |id| scanner.get(id, b);
        out.word(field::EVENT_DATASET, "modsecurity.audit");
        with(get(ids.time), scratch, |s| {
            if let Some(t) = time::clf(s.trim_ascii(), ctx.zone) {
                out.time(field::TIMESTAMP, t);
            }
        });
        with(get(ids.transaction_id), scratch, |s| transaction(s, out));
        let client = plain(get(ids.remote_address));
        peer(client, plain(get(ids.remote_port)), out);
        server(plain(get(ids.local_address)), plain(get(ids.local_port)), out);
        match get(ids.request_line) {
            Json::Str(s) => request_line(s, out),
            j => with(j, scratch, |s| request_line(s, out)),
        }
        headers(ctx, client, get(ids.headers2), scratch, out);
        status(plain(get(ids.status)), out);
        get(ids.engine2).put_str(field::MODSECURITY_ENGINE_MODE, out);
        for (_, j) in scanner.list(ids.messages, b) {
            match j {
                Json::Str(s) => gather.message(&brackets::read(s), false, out),
                j => with(j, scratch, |s| gather.message(&brackets::read(s), false, out)),
            }
        }
        let intercepted = get(ids.intercepted) == Json::Bool(true);
        gather.write(intercepted || gather.denied, out);
    }

    fn coraza(&mut self, b: &[u8], gather: &mut Gather, out: &mut Out<'_>) -> Result<(), ParseError> {
        let Reader { scanner, ids, scratch, .. } = self;
        let get = |id| scanner.get(id, b);
        let text = get(ids.msg).text(scratch).unwrap_or_default();
        let (client, rest) = match text.strip_prefix(b"[client \"").and_then(|t| memchr::memchr(b'"', t).map(|i| (&t[..i], &t[i + 1..]))) {
            Some((client, rest)) => (client, rest.strip_prefix(b"] ").unwrap_or_default()),
            None => (&b""[..], text),
        };
        let message = rest.strip_prefix(b"Coraza: ").ok_or(ParseError { expected: "a message of Coraza", offset: 0 })?;
        out.word(field::EVENT_DATASET, "modsecurity.error");
        if let Some(t) = time::epoch(plain(get(ids.ts))) {
            out.time(field::TIMESTAMP, t);
        }
        get(ids.level).put_str(field::LOG_LEVEL, out);
        get(ids.logger).put_str(field::LOG_LOGGER, out);
        peer(client, b"", out);
        let m = brackets::read(message);
        gather.message(&m, false, out);
        if let Some(h) = m.hostname {
            header(b"host", h, out);
        }
        if let Some(u) = m.uri {
            url(u, out);
        }
        if let Some(id) = m.unique_id {
            transaction(id, out);
        }
        gather.write(gather.denied, out);
        Ok(())
    }
}

/// The fields of this format's own that it maps itself.
const MAPPED: &[Field] = &[
    field::MODSECURITY_SEVERITY,
    field::MODSECURITY_ANOMALY_SCORE,
    field::MODSECURITY_ENGINE_MODE,
    field::MODSECURITY_MATCHED_DATA,
    field::MODSECURITY_RULE_FILE,
    field::MODSECURITY_RULE_LINE,
    field::MODSECURITY_AUDIT_FILE,
];

fn filled(j: Json<'_>) -> bool {
    matches!(j, Json::Str(s) | Json::Escaped(s) | Json::Number(s) if !s.is_empty())
}

/// The text of a number or of a string without escapes.
fn plain(j: Json<'_>) -> &[u8] {
    if let Json::Str(s) | Json::Number(s) = j { s } else { b"" }
}

/// Calls `f` with the text of a string or number that is not empty.
fn with(j: Json<'_>, scratch: &mut Vec<u8>, f: impl FnOnce(&[u8])) {
    match j.text(scratch) {
        Some(s) if !s.is_empty() => f(s),
        _ => {}
    }
}

/// Writes a target; one without escapes is pointed to where it stands.
fn with_url(j: Json<'_>, scratch: &mut Vec<u8>, out: &mut Out<'_>) {
    match j {
        Json::Str(s) => url(s, out),
        j => with(j, scratch, |s| url(s, out)),
    }
}

/// A slot for the text of a string or number.
fn slot(j: Json<'_>, scratch: &mut Vec<u8>, out: &mut Out<'_>) -> Slot {
    match j {
        Json::Str(s) | Json::Number(s) => out.text(s),
        Json::Escaped(_) => j.text(scratch).map_or(Slot::Missing, |s| out.text(s)),
        _ => Slot::Missing,
    }
}

/// Reads the headers of the request.
fn headers(ctx: &Context<'_>, client: &[u8], j: Json<'_>, scratch: &mut Vec<u8>, out: &mut Out<'_>) {
    let Json::Object(object) = j else { return };
    let proxied = behind_proxy(ctx.estate, client);
    let mut walk = Walk::new(object);
    let mut chain = Json::Missing;
    while let Some((name, value)) = walk.member() {
        if proxied && name.eq_ignore_ascii_case(b"x-forwarded-for") {
            chain = value;
            continue;
        }
        match value {
            Json::Str(s) => header(name, s, out),
            j => with(j, scratch, |s| header(name, s, out)),
        }
    }
    with(chain, scratch, |s| {
        forwarded(ctx.estate, s, out);
    });
}

/// A walk over the members or elements of a JSON text that a scanner has found well formed; of any other it ends early.
struct Walk<'a> {
    b: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Over an object or array, from behind its opening bracket.
    fn new(b: &'a [u8]) -> Walk<'a> {
        Walk { b, at: 1 }
    }

    fn skip(&mut self, what: &[u8]) {
        while self.b.get(self.at).is_some_and(|c| c.is_ascii_whitespace() || what.contains(c)) {
            self.at += 1;
        }
    }

    /// A string at this place.
    fn string(&mut self) -> Option<Json<'a>> {
        let start = self.at + 1;
        if self.b.get(self.at) != Some(&b'"') {
            return None;
        }
        let (mut at, mut escaped) = (start, false);
        loop {
            at += memchr::memchr2(b'"', b'\\', self.b.get(at..)?)?;
            if self.b[at] == b'"' {
                break;
            }
            (at, escaped) = (at + 2, true);
        }
        self.at = at + 1;
        let text = &self.b[start..at];
        Some(if escaped { Json::Escaped(text) } else { Json::Str(text) })
    }

    /// A value at this place: of an array the first string, of an object or a word nothing.
    fn value(&mut self) -> Option<Json<'a>> {
        let (mut depth, mut first) = (0usize, None);
        loop {
            match self.b.get(self.at)? {
                b'"' => {
                    let s = self.string()?;
                    if depth == 0 {
                        return Some(s);
                    }
                    first = first.or(Some(s));
                    continue;
                }
                b'[' => depth += 1,
                b'{' => (depth, first) = (depth + 1, first.or(Some(Json::Missing))),
                b']' | b'}' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return Some(first.unwrap_or(Json::Missing));
                    }
                }
                b']' | b'}' | b',' if depth == 0 => return Some(Json::Missing),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The next member of an object. A name with escapes is none of a header.
    fn member(&mut self) -> Option<(&'a [u8], Json<'a>)> {
        self.skip(b",");
        let name = match self.string()? {
            Json::Str(s) => s,
            _ => b"",
        };
        self.skip(b":");
        Some((name, self.value()?))
    }

    /// The next element of an array.
    fn element(&mut self) -> Option<Json<'a>> {
        self.skip(b",");
        (self.b.get(self.at)? != &b']').then(|| self.value())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_tags_are_walked_whatever_they_hold() {
        let mut w = Walk::new(br#"{"Host":"a", "X" : {"Host":"no","y":[1,"}"]},"N":12,"L":["p","q"],"U":"a\"},{\"b" , "Z":null,"e":""}"#);
        let mut seen = Vec::new();
        while let Some((k, v)) = w.member() {
            seen.push((String::from_utf8_lossy(k).into_owned(), v));
        }
        let want = [
            ("Host", Json::Str(b"a")),
            ("X", Json::Missing),
            ("N", Json::Missing),
            ("L", Json::Str(b"p")),
            ("U", Json::Escaped(br#"a\"},{\"b"#)),
            ("Z", Json::Missing),
            ("e", Json::Str(b"")),
        ];
        assert_eq!(seen, want.map(|(k, v)| (k.to_string(), v)));
        let mut w = Walk::new(br#"["a" , "b\\", 3, "c"]"#);
        let mut seen = Vec::new();
        while let Some(v) = w.element() {
            seen.push(v);
        }
        assert_eq!(seen, [Json::Str(b"a"), Json::Escaped(br"b\\"), Json::Missing, Json::Str(b"c")]);
    }

    #[test]
    fn only_the_first_keys_are_looked_at() {
        for (text, want) in [
            (r#"{"transaction":{"client_ip":"192.0.2.1"}}"#, true),
            (r#"{ "transaction" : {"time":"x"}}"#, true),
            (r#"{"transaction":"t-1","message":"paid"}"#, false),
            (r#"{"level":"warn","ts":1.5,"msg":"[client \"192.0.2.1\"] Coraza: Warning. x"}"#, true),
            (r#"{"level":"warn","event":{"msg":"[client \"192.0.2.1\"] Coraza: Warning. x"}}"#, false),
            (r#"{"level":"warn","msg":"see Coraza: x"}"#, false),
            ("{", false),
        ] {
            assert_eq!(recognise(text.as_bytes()), want, "{text}");
        }
    }
}
