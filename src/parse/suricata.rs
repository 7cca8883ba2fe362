//! Suricata: EVE of all versions and event types, and the alert lines of fast.log and syslog.

use super::json::{Json, OwnFields, PathId, Paths, Scanner, path_ids};
use super::{Context, syslog::Envelope};
use crate::event::field::{self as f, Field};
use crate::event::{Layout, Out, ParseError, Schema, Slot, Stretch, Timestamp, Value, ip, time};
use std::io::Write;
use std::net::IpAddr;

path_ids! {
    flow_id "flow_id" SURICATA_FLOW_ID;
    interface "in_iface" OBSERVER_INGRESS_INTERFACE_NAME;
    vlan "vlan[]" NETWORK_VLAN_ID;
    src_ip "src_ip" SOURCE_IP CLIENT_IP SERVER_IP SOURCE_ADDRESS SOURCE_BYTES DESTINATION_BYTES SOURCE_PACKETS DESTINATION_PACKETS;
    dest_ip "dest_ip" DESTINATION_IP CLIENT_IP SERVER_IP DESTINATION_ADDRESS;
    src_port "src_port" SOURCE_PORT CLIENT_PORT SERVER_PORT CLIENT_IP SERVER_IP;
    dest_port "dest_port" DESTINATION_PORT CLIENT_PORT SERVER_PORT CLIENT_IP SERVER_IP;
    proto "proto" NETWORK_TRANSPORT;
    app_proto "app_proto" NETWORK_PROTOCOL;
    community_id "community_id" NETWORK_COMMUNITY_ID;
    host "host" OBSERVER_NAME;
    src_mac "ether.src_mac" SOURCE_MAC;
    dest_mac "ether.dest_mac" DESTINATION_MAC;
    action "alert.action" SURICATA_ALERT_ACTION EVENT_TYPE;
    gid "alert.gid" RULE_RULESET;
    sid "alert.signature_id" RULE_ID;
    rev "alert.rev" RULE_VERSION;
    signature "alert.signature" RULE_NAME;
    category "alert.category" RULE_CATEGORY;
    severity "alert.severity" SURICATA_ALERT_SEVERITY EVENT_SEVERITY;
    alert_source "alert.source.ip" SURICATA_ALERT_SOURCE_IP;
    alert_target "alert.target.ip" SURICATA_ALERT_TARGET_IP;
    references "alert.references" RULE_REFERENCE;
    signature_severity "alert.metadata.signature_severity[]" SURICATA_ALERT_SIGNATURE_SEVERITY;
    technique_id "alert.metadata.mitre_technique_id[]" THREAT_TECHNIQUE_ID;
    technique_name "alert.metadata.mitre_technique_name[]" THREAT_TECHNIQUE_NAME;
    tactic_id "alert.metadata.mitre_tactic_id[]" THREAT_TACTIC_ID;
    tactic_name "alert.metadata.mitre_tactic_name[]" THREAT_TACTIC_NAME;
    cve "alert.metadata.cve[]" VULNERABILITY_ID;
    flow_src_ip "flow.src_ip" CLIENT_IP SERVER_IP SOURCE_BYTES DESTINATION_BYTES SOURCE_PACKETS DESTINATION_PACKETS;
    flow_dest_ip "flow.dest_ip" SERVER_IP;
    flow_src_port "flow.src_port" CLIENT_PORT;
    flow_dest_port "flow.dest_port" SERVER_PORT;
    flow_state "flow.state" SURICATA_FLOW_STATE;
    flow_start "flow.start" EVENT_START EVENT_DURATION;
    flow_end "flow.end" EVENT_END EVENT_DURATION;
    pkts_toserver "flow.pkts_toserver" NETWORK_PACKETS SOURCE_PACKETS DESTINATION_PACKETS;
    pkts_toclient "flow.pkts_toclient" NETWORK_PACKETS SOURCE_PACKETS DESTINATION_PACKETS;
    bytes_toserver "flow.bytes_toserver" NETWORK_BYTES SOURCE_BYTES DESTINATION_BYTES;
    bytes_toclient "flow.bytes_toclient" NETWORK_BYTES SOURCE_BYTES DESTINATION_BYTES;
    net_start "netflow.start" EVENT_START EVENT_DURATION;
    net_end "netflow.end" EVENT_END EVENT_DURATION;
    net_pkts "netflow.pkts" NETWORK_PACKETS SOURCE_PACKETS;
    net_bytes "netflow.bytes" NETWORK_BYTES SOURCE_BYTES;
    hostname "http.hostname" URL_DOMAIN;
    http_port "http.http_port" URL_PORT;
    url "http.url" URL_ORIGINAL URL_PATH URL_QUERY;
    user_agent "http.http_user_agent" USER_AGENT_ORIGINAL;
    content_type "http.http_content_type" HTTP_RESPONSE_MIME_TYPE;
    refer "http.http_refer" HTTP_REQUEST_REFERRER;
    method "http.http_method" HTTP_REQUEST_METHOD;
    protocol "http.protocol" HTTP_VERSION;
    http_version "http.version" HTTP_VERSION;
    status "http.status" HTTP_RESPONSE_STATUS_CODE;
    length "http.length" HTTP_RESPONSE_BODY_BYTES;
    dns_type "dns.type" DNS_TYPE DNS_QUESTION_NAME DNS_QUESTION_TYPE DNS_QUESTION_REGISTERED_DOMAIN DNS_ANSWERS_NAME DNS_ANSWERS_TYPE DNS_ANSWERS_DATA DNS_RESOLVED_IP;
    dns_id "dns.id" DNS_ID;
    rrname "dns.rrname" DNS_QUESTION_NAME DNS_QUESTION_REGISTERED_DOMAIN DNS_ANSWERS_NAME;
    rrtype "dns.rrtype" DNS_QUESTION_TYPE DNS_ANSWERS_TYPE DNS_RESOLVED_IP;
    rdata "dns.rdata" DNS_ANSWERS_DATA DNS_RESOLVED_IP DNS_QUESTION_NAME DNS_QUESTION_TYPE DNS_QUESTION_REGISTERED_DOMAIN;
    rcode "dns.rcode" DNS_RESPONSE_CODE;
    queries_name "dns.queries[].rrname" DNS_QUESTION_NAME DNS_QUESTION_REGISTERED_DOMAIN;
    queries_type "dns.queries[].rrtype" DNS_QUESTION_TYPE;
    query_name "dns.query[].rrname" DNS_QUESTION_NAME DNS_QUESTION_REGISTERED_DOMAIN;
    query_type "dns.query[].rrtype" DNS_QUESTION_TYPE;
    query_id "dns.query[].id" DNS_ID;
    answer_name "dns.answer.rrname" DNS_QUESTION_NAME DNS_QUESTION_REGISTERED_DOMAIN;
    answer_type "dns.answer.rrtype" DNS_QUESTION_TYPE;
    answer_id "dns.answer.id" DNS_ID;
    answer_rcode "dns.answer.rcode" DNS_RESPONSE_CODE;
    answers_name "dns.answers[].rrname" DNS_ANSWERS_NAME;
    answers_type "dns.answers[].rrtype" DNS_ANSWERS_TYPE;
    answers_data "dns.answers[].rdata" DNS_ANSWERS_DATA DNS_RESOLVED_IP;
    in_answer_name "dns.answer.answers[].rrname" DNS_ANSWERS_NAME;
    in_answer_type "dns.answer.answers[].rrtype" DNS_ANSWERS_TYPE;
    in_answer_data "dns.answer.answers[].rdata" DNS_ANSWERS_DATA DNS_RESOLVED_IP;
    sni "tls.sni" TLS_CLIENT_SERVER_NAME DESTINATION_DOMAIN;
    tls_version "tls.version" TLS_VERSION TLS_VERSION_PROTOCOL;
    resumed "tls.session_resumed" TLS_RESUMED;
    subject "tls.subject" TLS_SERVER_SUBJECT;
    issuer "tls.issuerdn" TLS_SERVER_ISSUER;
    fingerprint "tls.fingerprint" TLS_SERVER_HASH_SHA1;
    not_before "tls.notbefore" TLS_SERVER_NOT_BEFORE;
    not_after "tls.notafter" TLS_SERVER_NOT_AFTER;
    ja3 "tls.ja3.hash" TLS_CLIENT_JA3;
    ja3s "tls.ja3s.hash" TLS_SERVER_JA3S;
    ja4 "tls.ja4" TLS_CLIENT_JA4;
    filename "fileinfo.filename" FILE_PATH FILE_NAME;
    size "fileinfo.size" FILE_SIZE;
    md5 "fileinfo.md5" FILE_HASH_MD5;
    sha1 "fileinfo.sha1" FILE_HASH_SHA1;
    sha256 "fileinfo.sha256" FILE_HASH_SHA256;
    // What is looked at and stays where it is in the output as well.
    in_alert "alert" EVENT_KIND;
    in_flow "flow" EVENT_KIND;
    in_netflow "netflow" EVENT_KIND;
    in_http "http" EVENT_KIND;
    in_dns "dns" EVENT_KIND;
    in_tls "tls" EVENT_KIND;
    in_file "fileinfo" EVENT_KIND;
    direction "direction" CLIENT_IP SERVER_IP CLIENT_PORT SERVER_PORT SOURCE_BYTES DESTINATION_BYTES SOURCE_PACKETS DESTINATION_PACKETS;
    xff "xff" CLIENT_IP;
    alert_xff "alert.xff" CLIENT_IP;
    http_xff "http.xff" CLIENT_IP;
}

const MAPPED: &[Field] = &[
    f::SURICATA_FLOW_ID,
    f::SURICATA_ALERT_ACTION,
    f::SURICATA_ALERT_SEVERITY,
    f::SURICATA_ALERT_SOURCE_IP,
    f::SURICATA_ALERT_TARGET_IP,
    f::SURICATA_ALERT_SIGNATURE_SEVERITY,
    f::SURICATA_FLOW_STATE,
];

/// The parser; one for each worker.
pub struct Parser {
    scanner: Scanner,
    /// Finds the record inside an export of a search engine, `{"_source":{…}}`.
    wrapper: Scanner,
    source: PathId,
    timestamp: PathId,
    event_type: PathId,
    ids: Ids,
    own: OwnFields,
    /// The minute that was read last, as it was written, and its start: a stream stays in one for a while.
    minute: ([u8; 16], i64),
    scratch: Vec<u8>,
}

/// Takes off what stands around a record: NUL bytes after a crash, blanks, and the mark of a syslog template.
fn body(record: &[u8]) -> &[u8] {
    let pad = |c: &u8| *c == 0 || c.is_ascii_whitespace();
    let start = record.iter().position(|c| !pad(c)).unwrap_or(record.len());
    let end = record.iter().rposition(|c| !pad(c)).map_or(start, |e| e + 1);
    let body = &record[start..end];
    body.strip_prefix(b"@cee:").map_or(body, |b| b.trim_ascii_start())
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        let mut paths = Paths::default();
        let (timestamp, event_type) = (paths.add("timestamp"), paths.add("event_type"));
        let ids = Ids::new(&mut paths, &|f| f == f::EVENT_KIND || layout.slot(f).is_some());
        let own = OwnFields::bind(schema, layout, "suricata", MAPPED, &mut paths);
        let mut outer = Paths::default();
        let source = outer.add("_source");
        let mut scanner = Scanner::new(paths);
        scanner.kinds_by(event_type);
        Parser { scanner, wrapper: Scanner::new(outer), source, timestamp, event_type, ids, own, minute: ([0; 16], 0), scratch: Vec::new() }
    }

    /// Whether a record is of this format, told cheaply and without doubt; for JSON by a look at its first keys, the
    /// parser has the last word.
    pub fn recognise(env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        let b = body(record);
        match b.first() {
            Some(b'{') => b.starts_with(b"{\"timestamp\":\"") || memchr::memmem::find(&b[..b.len().min(512)], b"\"event_type\"").is_some(),
            Some(b'0'..=b'9') => fast_time(b).is_some(),
            Some(b'[') => env.is_some() && alert_line(b).is_some(),
            _ => false,
        }
    }

    /// Parses one record without its envelope: an EVE object, or a line of fast.log with or without its time.
    ///
    /// - Out: `event.dataset` is `suricata.` and the event type, or `suricata.fast`.
    /// - Time: EVE's own with its offset; that of fast.log is local time in `ctx.zone`; the envelope's where a line has none.
    /// - Errors: JSON that is cut or has no `event_type` and `timestamp` of its own; a line that is no alert.
    /// - Source: Suricata `etc/schema.json` and `src/alert-fastlog.c`; see `parsers/suricata/parser.toml`.
    pub fn parse(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let b = body(record);
        if b.first() == Some(&b'{') {
            self.eve(ctx, b, out)?;
        } else {
            fast(ctx, env, b, out)?;
        }
        out.word(f::EVENT_MODULE, "suricata");
        if let Some(host) = env.and_then(|e| e.host) {
            out.str(f::HOST_HOSTNAME, host);
            out.str(f::HOST_NAME, host);
        }
        Ok(())
    }

    fn eve(&mut self, ctx: &Context<'_>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let mut b = record;
        self.scanner.scan(b)?;
        if self.scanner.get(self.event_type, b) == Json::Missing
            && self.wrapper.scan(b).is_ok()
            && let Json::Object(inner) = self.wrapper.get(self.source, b)
        {
            b = inner;
            self.scanner.scan(b)?;
        }
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        let Json::Str(kind) = get(self.event_type) else {
            return Err(ParseError { expected: "an event_type", offset: 0 });
        };
        let time = match get(self.timestamp) {
            Json::Str(t) => instant(t, &mut self.minute),
            _ => None,
        };
        let Some(time) = time.filter(|_| !kind.is_empty()) else {
            return Err(ParseError { expected: "a timestamp", offset: 0 });
        };
        out.time(f::TIMESTAMP, time);
        if out.wants(f::EVENT_DATASET) {
            let dataset = out.build(|t| {
                t.extend_from_slice(b"suricata.");
                t.extend_from_slice(kind);
            });
            out.put(f::EVENT_DATASET, dataset);
        }
        let (word, categories, types): (_, &[&str], &[&str]) = match kind {
            b"alert" => ("alert", &["network", "intrusion_detection"], &[]),
            b"stats" => ("metric", &[], &["info"]),
            b"engine" => ("event", &[], &["info"]),
            b"flow" | b"netflow" => ("event", &["network"], &["connection", "end"]),
            b"http" => ("event", &["network", "web"], &["access", "protocol"]),
            b"fileinfo" => ("event", &["network", "file"], &["info"]),
            b"drop" => ("event", &["network"], &["denied"]),
            k if layer(k) => ("event", &["network"], &["protocol"]),
            _ => ("event", &["network"], &["info"]),
        };
        out.word(f::EVENT_KIND, word);
        for c in categories {
            out.add(f::EVENT_CATEGORY, c.as_bytes());
        }
        for t in types {
            out.add(f::EVENT_TYPE, t.as_bytes());
        }
        get(ids.flow_id).put_int(f::SURICATA_FLOW_ID, out);
        get(ids.interface).put_str(f::OBSERVER_INGRESS_INTERFACE_NAME, out);
        get(ids.host).put_str(f::OBSERVER_NAME, out);
        get(ids.community_id).put_str(f::NETWORK_COMMUNITY_ID, out);
        if out.wants(f::NETWORK_VLAN_ID) {
            let mut vlans = s.list(ids.vlan, b).map(|v| v.1);
            if let Some(first) = vlans.next() {
                first.put_str(f::NETWORK_VLAN_ID, out);
                for v in vlans {
                    let v = v.str_slot(out);
                    out.push(f::NETWORK_VLAN_ID, v);
                }
            }
        }
        get(ids.src_mac).put_str(f::SOURCE_MAC, out);
        get(ids.dest_mac).put_str(f::DESTINATION_MAC, out);
        transport(get(ids.proto), out);
        if out.wants(f::NETWORK_PROTOCOL) {
            match get(ids.app_proto) {
                Json::Str(b"failed" | b"unknown" | b"") => {}
                Json::Missing if layer(kind) => out.str(f::NETWORK_PROTOCOL, kind),
                p => p.put_str(f::NETWORK_PROTOCOL, out),
            }
        }
        self.peers(ctx, kind, b, out);
        // Most records have one or two of these.
        let has = |p: &Parser, id: PathId| p.scanner.has(id);
        if has(self, self.ids.in_alert) {
            self.alert(kind, b, out);
        }
        if has(self, self.ids.in_flow) || has(self, self.ids.in_netflow) {
            self.flow(b, out);
        }
        if has(self, self.ids.in_http) {
            self.http(b, out);
        }
        if has(self, self.ids.in_dns) {
            self.dns(b, out);
        }
        if has(self, self.ids.in_tls) {
            self.tls(b, out);
        }
        if has(self, self.ids.in_file) {
            self.file(b, out);
        }
        self.own.write(&self.scanner, b, out);
        if let Some(own) = out.own() {
            let ids = &self.ids;
            let looked_at = [
                ids.in_alert,
                ids.in_flow,
                ids.in_netflow,
                ids.in_http,
                ids.in_dns,
                ids.in_tls,
                ids.in_file,
                ids.direction,
                ids.xff,
                ids.alert_xff,
                ids.http_xff,
            ];
            self.scanner.unmapped_but(b, &["suricata"], &|id| !looked_at.contains(&id), own);
            if b.len() < record.len() {
                self.wrapper.unmapped(record, &["suricata"], own);
            }
        }
        Ok(())
    }

    fn file(&self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        if out.wants(f::FILE_PATH) || out.wants(f::FILE_NAME) {
            let name = get(ids.filename).str_slot(out);
            let (slash, end) = match out.value(name) {
                Value::Str(n) => (memchr::memrchr(b'/', n), n.len()),
                _ => (None, 0),
            };
            if slash.is_some() {
                out.put(f::FILE_PATH, name);
            }
            out.put(f::FILE_NAME, sub(name, slash.map_or(0, |s| s + 1), end));
        }
        get(ids.size).put_int(f::FILE_SIZE, out);
        get(ids.md5).put_str(f::FILE_HASH_MD5, out);
        get(ids.sha1).put_str(f::FILE_HASH_SHA1, out);
        get(ids.sha256).put_str(f::FILE_HASH_SHA256, out);
    }

    /// The two ends, and which of them opened the connection.
    fn peers(&mut self, ctx: &Context<'_>, kind: &[u8], b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        let (src, dest) = (get(ids.src_ip), get(ids.dest_ip));
        let slot = |j: Json<'_>, out: &mut Out<'_>| match j {
            Json::Str(t) => ip(t).map_or(Slot::Missing, |ip| out.address(ip)),
            _ => Slot::Missing,
        };
        let (a, z) = (slot(src, out), slot(dest, out));
        out.put(f::SOURCE_IP, a);
        out.put(f::DESTINATION_IP, z);
        if a == Slot::Missing {
            src.put_str(f::SOURCE_ADDRESS, out);
        }
        if z == Slot::Missing {
            dest.put_str(f::DESTINATION_ADDRESS, out);
        }
        // As the record gives them: where the sensor writes 0, it saw 0.
        get(ids.src_port).put_int(f::SOURCE_PORT, out);
        get(ids.dest_port).put_int(f::DESTINATION_PORT, out);
        if !out.wants(f::CLIENT_IP) && !out.wants(f::SERVER_IP) && !out.wants(f::CLIENT_PORT) && !out.wants(f::SERVER_PORT) {
            return;
        }
        let Some(forward) = self.forward(kind, b) else { return };
        let flow = get(ids.flow_src_ip);
        let (c, v, cp, vp) = match forward {
            Some(true) => (a, z, get(ids.src_port), get(ids.dest_port)),
            Some(false) => (z, a, get(ids.dest_port), get(ids.src_port)),
            // A flow between other addresses, as behind a header that the sensor took for the source.
            None => (slot(flow, out), slot(get(ids.flow_dest_ip), out), get(ids.flow_src_port), get(ids.flow_dest_port)),
        };
        out.put(f::CLIENT_IP, c);
        out.put(f::SERVER_IP, v);
        cp.put_port(f::CLIENT_PORT, out);
        vp.put_port(f::SERVER_PORT, out);
        if ctx.estate.has_proxies()
            && let Value::Ip(client) = out.value(c)
            && ctx.estate.is_proxy(client)
        {
            let header = [ids.xff, ids.alert_xff, ids.http_xff].into_iter().map(get).find(Json::is_str);
            if let Some(ip) = header.and_then(|h| behind(ctx, h.text(&mut self.scratch)?)) {
                out.ip(f::CLIENT_IP, ip);
                out.clear(f::CLIENT_PORT);
            }
        }
    }

    /// Whether the record's source opened the connection; `Some(None)` where the flow names other ends, `None` where
    /// nothing tells.
    fn forward(&self, kind: &[u8], b: &[u8]) -> Option<Option<bool>> {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        let flow = get(ids.flow_src_ip);
        if let Json::Str(opened) = flow {
            if flow == get(ids.src_ip) {
                return Some(Some(true));
            }
            if flow == get(ids.dest_ip) {
                return Some(Some(false));
            }
            if ip(opened).is_some() {
                return Some(None);
            }
        }
        match get(ids.direction) {
            Json::Str(b"to_server") => return Some(Some(true)),
            Json::Str(b"to_client") => return Some(Some(false)),
            _ => {}
        }
        match kind {
            // These are logged in the direction of the flow, whichever packet completed them.
            b"flow" | b"http" | b"tls" | b"ssh" => Some(Some(true)),
            b"dns" => match (get(ids.src_port), get(ids.dest_port)) {
                (_, Json::Number(b"53")) => Some(Some(true)),
                (Json::Number(b"53"), _) => Some(Some(false)),
                _ => None,
            },
            _ => None,
        }
    }

    fn alert(&mut self, kind: &[u8], b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        let action = get(ids.action);
        action.put_str(f::SURICATA_ALERT_ACTION, out);
        if kind == b"alert" {
            match action {
                Json::Str(b"blocked") => out.add(f::EVENT_TYPE, b"denied"),
                Json::Str(b"allowed") => out.add(f::EVENT_TYPE, b"allowed"),
                _ => {}
            }
            if let (Some(n), true) = (get(ids.severity).int(), out.wants(f::EVENT_SEVERITY)) {
                out.int(f::EVENT_SEVERITY, severity(n));
            }
        }
        get(ids.severity).put_int(f::SURICATA_ALERT_SEVERITY, out);
        get(ids.sid).put_str(f::RULE_ID, out);
        get(ids.signature).put_str(f::RULE_NAME, out);
        get(ids.category).put_str(f::RULE_CATEGORY, out);
        get(ids.rev).put_str(f::RULE_VERSION, out);
        get(ids.gid).put_str(f::RULE_RULESET, out);
        get(ids.references).put(f::RULE_REFERENCE, crate::event::Type::Str, out);
        get(ids.alert_source).put_ip(f::SURICATA_ALERT_SOURCE_IP, out);
        get(ids.alert_target).put_ip(f::SURICATA_ALERT_TARGET_IP, out);
        for (_, v) in s.list(ids.signature_severity, b) {
            let v = v.str_slot(out);
            out.push(f::SURICATA_ALERT_SIGNATURE_SEVERITY, v);
        }
        for (_, v) in s.list(ids.technique_id, b) {
            if let Json::Str(t) = v
                && super::falco::is_technique(t)
            {
                out.add(f::THREAT_TECHNIQUE_ID, t);
            }
        }
        for (id, field) in [(ids.technique_name, f::THREAT_TECHNIQUE_NAME), (ids.tactic_id, f::THREAT_TACTIC_ID)] {
            for (_, v) in s.list(id, b) {
                let v = v.str_slot(out);
                out.push(field, v);
            }
        }
        for (_, v) in s.list(ids.tactic_name, b) {
            if let Json::Str(t) = v {
                let t = super::falco::tactic(t, out);
                out.push(f::THREAT_TACTIC_NAME, t);
            }
        }
        for (_, v) in s.list(ids.cve, b) {
            if let Json::Str(t) = v {
                // Rule sets write `CVE_2021_44228`, `CVE-2021-44228` and `2021_44228`.
                let slot = out.build(|o| {
                    if t.first().is_some_and(u8::is_ascii_digit) {
                        o.extend_from_slice(b"CVE-");
                    }
                    o.extend(t.iter().map(|c| if *c == b'_' { b'-' } else { c.to_ascii_uppercase() }));
                });
                out.push(f::VULNERABILITY_ID, slot);
            }
        }
    }

    fn flow(&mut self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        get(ids.flow_state).put_str(f::SURICATA_FLOW_STATE, out);
        // Without a word about the direction the record's source counts as the client here.
        let back = match get(ids.flow_src_ip) {
            Json::Str(c) => get(ids.src_ip) != Json::Str(c) && get(ids.dest_ip) == Json::Str(c),
            _ => get(ids.direction).is("to_client"),
        };
        for (there, here, sum, source, destination) in [
            (ids.bytes_toserver, ids.bytes_toclient, f::NETWORK_BYTES, f::SOURCE_BYTES, f::DESTINATION_BYTES),
            (ids.pkts_toserver, ids.pkts_toclient, f::NETWORK_PACKETS, f::SOURCE_PACKETS, f::DESTINATION_PACKETS),
        ] {
            let (there, here) = (get(there), get(here));
            if let (Some(a), Some(z)) = (there.int(), here.int()) {
                if let Some(n) = a.checked_add(z) {
                    out.int(sum, n);
                }
                let (a, z) = if back { (z, a) } else { (a, z) };
                out.int(source, a);
                out.int(destination, z);
            }
        }
        for (from, sum, source) in [(ids.net_bytes, f::NETWORK_BYTES, f::SOURCE_BYTES), (ids.net_pkts, f::NETWORK_PACKETS, f::SOURCE_PACKETS)] {
            get(from).put_int(sum, out);
            get(from).put_int(source, out);
        }
        if out.wants(f::EVENT_START) || out.wants(f::EVENT_END) || out.wants(f::EVENT_DURATION) {
            let mut at = |flow: PathId, net: PathId| match [get(flow), get(net)] {
                [Json::Str(t), _] | [_, Json::Str(t)] => instant(t, &mut self.minute),
                _ => None,
            };
            let (start, end) = (at(ids.flow_start, ids.net_start), at(ids.flow_end, ids.net_end));
            if let Some(t) = start {
                out.time(f::EVENT_START, t);
            }
            if let Some(t) = end {
                out.time(f::EVENT_END, t);
            }
            if let (Some(a), Some(z)) = (start, end)
                && let Some(d) = z.0.checked_sub(a.0).filter(|d| *d >= 0)
            {
                out.int(f::EVENT_DURATION, d);
            }
        }
    }

    fn http(&mut self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        get(ids.method).put_str(f::HTTP_REQUEST_METHOD, out);
        get(ids.user_agent).put_str(f::USER_AGENT_ORIGINAL, out);
        get(ids.refer).put_str(f::HTTP_REQUEST_REFERRER, out);
        get(ids.content_type).put_str(f::HTTP_RESPONSE_MIME_TYPE, out);
        get(ids.status).put_int(f::HTTP_RESPONSE_STATUS_CODE, out);
        get(ids.length).put_int(f::HTTP_RESPONSE_BODY_BYTES, out);
        get(ids.http_port).put_port(f::URL_PORT, out);
        if out.wants(f::URL_DOMAIN) {
            let name = get(ids.hostname).str_slot(out);
            let end = match out.value(name) {
                Value::Str(h) => host_end(h),
                _ => 0,
            };
            out.put(f::URL_DOMAIN, sub(name, 0, end));
        }
        if let Json::Str(v) = get(ids.protocol) {
            out.str(f::HTTP_VERSION, v.strip_prefix(b"HTTP/").unwrap_or(v));
        } else {
            get(ids.http_version).put_str(f::HTTP_VERSION, out);
        }
        let url = get(ids.url);
        if url != Json::Missing {
            let url = url.str_slot(out);
            write_url(url, out);
        }
    }

    fn dns(&mut self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        let first = |id: PathId| s.list(id, b).next().map_or(Json::Missing, |v| v.1);
        let or = |a: Json<'_>, b: Json<'_>| a == Json::Missing && b != Json::Missing;
        let kind = get(ids.dns_type);
        match kind {
            Json::Str(b"request" | b"query") => out.word(f::DNS_TYPE, "query"),
            Json::Str(b"response" | b"answer") => out.word(f::DNS_TYPE, "answer"),
            k => k.put_str(f::DNS_TYPE, out),
        }
        for id in [get(ids.dns_id), first(ids.query_id), get(ids.answer_id)] {
            if id != Json::Missing && !out.has(f::DNS_ID) {
                id.put_str(f::DNS_ID, out);
            }
        }
        get(if or(get(ids.rcode), get(ids.answer_rcode)) { ids.answer_rcode } else { ids.rcode }).put_str(f::DNS_RESPONSE_CODE, out);
        // The first version writes one record for each answer: there, the name is the answer's.
        let lone = kind.is("answer") && get(ids.rdata) != Json::Missing;
        let pick = |all: PathId, old: PathId, plain: PathId, answer: PathId| {
            [first(all), first(old), if lone { Json::Missing } else { get(plain) }, get(answer)].into_iter().find(|j| *j != Json::Missing)
        };
        if let Some(name) = pick(ids.queries_name, ids.query_name, ids.rrname, ids.answer_name) {
            let name = name.str_slot(out);
            out.put(f::DNS_QUESTION_NAME, name);
            registered(name, out);
        }
        if let Some(t) = pick(ids.queries_type, ids.query_type, ids.rrtype, ids.answer_type) {
            t.put_str(f::DNS_QUESTION_TYPE, out);
        }
        if lone {
            let (name, kind) = (get(ids.rrname).str_slot(out), get(ids.rrtype).str_slot(out));
            out.push(f::DNS_ANSWERS_NAME, name);
            out.push(f::DNS_ANSWERS_TYPE, kind);
            answer(get(ids.rdata), out);
        }
        for (id, field) in [
            (ids.answers_name, f::DNS_ANSWERS_NAME),
            (ids.in_answer_name, f::DNS_ANSWERS_NAME),
            (ids.answers_type, f::DNS_ANSWERS_TYPE),
            (ids.in_answer_type, f::DNS_ANSWERS_TYPE),
        ] {
            for (_, v) in s.list(id, b) {
                let v = v.str_slot(out);
                out.push(field, v);
            }
        }
        for id in [ids.answers_data, ids.in_answer_data] {
            for (_, v) in s.list(id, b) {
                answer(v, out);
            }
        }
    }

    fn tls(&mut self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| s.get(id, b);
        get(ids.sni).put_str(f::TLS_CLIENT_SERVER_NAME, out);
        get(ids.sni).put_str(f::DESTINATION_DOMAIN, out);
        if let Json::Str(v) = get(ids.tls_version) {
            let (protocol, version) = match v {
                b"TLSv1" => ("tls", &b"1.0"[..]),
                b"SSLv2" => ("ssl", &b"2.0"[..]),
                b"SSLv3" => ("ssl", &b"3.0"[..]),
                v => match v.strip_prefix(b"TLS ").or_else(|| v.strip_prefix(b"TLSv")) {
                    Some(v) => ("tls", v),
                    None => ("", &b""[..]),
                },
            };
            out.word(f::TLS_VERSION_PROTOCOL, protocol);
            out.str(f::TLS_VERSION, version);
        }
        if let Json::Bool(r) = get(ids.resumed) {
            out.bool(f::TLS_RESUMED, r);
        }
        get(ids.subject).put_str(f::TLS_SERVER_SUBJECT, out);
        get(ids.issuer).put_str(f::TLS_SERVER_ISSUER, out);
        if let (Json::Str(h), true) = (get(ids.fingerprint), out.wants(f::TLS_SERVER_HASH_SHA1)) {
            let h = out.build(|o| o.extend(h.iter().filter(|c| **c != b':')));
            out.put(f::TLS_SERVER_HASH_SHA1, h);
        }
        get(ids.ja3).put_str(f::TLS_CLIENT_JA3, out);
        get(ids.ja3s).put_str(f::TLS_SERVER_JA3S, out);
        get(ids.ja4).put_str(f::TLS_CLIENT_JA4, out);
        get(ids.not_before).put(f::TLS_SERVER_NOT_BEFORE, crate::event::Type::Time, out);
        get(ids.not_after).put(f::TLS_SERVER_NOT_AFTER, crate::event::Type::Time, out);
    }
}

/// The tool's 1 (worst) to 4, and what lies beyond, on the common scale.
fn severity(n: i64) -> i64 {
    match n {
        1 => 90,
        2 => 60,
        3 => 30,
        _ => 10,
    }
}

/// Whether an event type is the name of a protocol.
fn layer(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"http"
            | b"dns"
            | b"tls"
            | b"ssh"
            | b"smtp"
            | b"smb"
            | b"ftp"
            | b"rdp"
            | b"krb5"
            | b"dhcp"
            | b"nfs"
            | b"sip"
            | b"mqtt"
            | b"snmp"
            | b"tftp"
            | b"quic"
            | b"ldap"
            | b"modbus"
            | b"dnp3"
            | b"dcerpc"
            | b"pop3"
            | b"ike"
            | b"rfb"
            | b"telnet"
            | b"pgsql"
            | b"mdns"
            | b"websocket"
            | b"enip"
    )
}

/// Reads a time with its offset; the minute is looked up where it is the one of the last record.
fn instant(t: &[u8], minute: &mut ([u8; 16], i64)) -> Option<Timestamp> {
    if let Some(head) = t.first_chunk::<16>() {
        if *head == minute.0 && t.get(16) == Some(&b':') {
            let second = time::digits(&t[17..], 2).filter(|s| *s <= 60)? as i64;
            let (nanos, n) = time::fraction(&t[19..]);
            let east = match &t[19 + n..] {
                b"+0000" | b"Z" | b"" => 0,
                z => match time::offset(z) {
                    Some((east, n)) if n == z.len() => east,
                    _ => return None,
                },
            };
            return Timestamp::new(minute.1 + second - east, nanos as i64);
        }
        let mut whole = *b"0000-00-00T00:00:00Z";
        whole[..16].copy_from_slice(head);
        if let Some((start, _)) = time::iso(&whole, &jiff::tz::TimeZone::UTC) {
            *minute = (*head, start.0 / time::SECOND);
        }
    }
    let (at, n) = time::iso(t, &jiff::tz::TimeZone::UTC)?;
    (n == t.len()).then_some(at)
}

fn transport(proto: Json<'_>, out: &mut Out<'_>) {
    if let (Json::Str(p), true) = (proto, out.wants(f::NETWORK_TRANSPORT)) {
        let slot = match p {
            b"TCP" => out.text(b"tcp"),
            b"UDP" => out.text(b"udp"),
            p => out.build(|o| o.extend(p.iter().map(u8::to_ascii_lowercase))),
        };
        out.put(f::NETWORK_TRANSPORT, slot);
    }
}

/// The last address of a forwarding header that is no trusted proxy's. Nothing left of what is no address is believed.
fn behind(ctx: &Context<'_>, header: &[u8]) -> Option<IpAddr> {
    for token in header.rsplit(|c| *c == b',' || *c == b' ').filter(|t| !t.is_empty()) {
        let addr = ip(token).or_else(|| ip(&token[..memchr::memrchr(b':', token)?]))?;
        if !ctx.estate.is_proxy(addr) {
            return Some(addr);
        }
    }
    None
}

/// A part of a text slot.
pub(super) fn sub(s: Slot, from: usize, to: usize) -> Slot {
    let part = |r: Stretch| Stretch { off: r.off + from as u32, len: to.saturating_sub(from) as u32 };
    match s {
        _ if to <= from => Slot::Missing,
        Slot::Bytes(r) => Slot::Bytes(part(r)),
        Slot::Text(r) => Slot::Text(part(r)),
        _ => Slot::Missing,
    }
}

/// Where the name in a Host header ends: before its port.
pub(super) fn host_end(h: &[u8]) -> usize {
    if h.first() == Some(&b'[') {
        return memchr::memchr(b']', h).map_or(h.len(), |i| i + 1);
    }
    match memchr::memchr(b':', h) {
        Some(i) if h[i + 1..].iter().all(u8::is_ascii_digit) => i,
        _ => h.len(),
    }
}

/// Writes a URL as it was sent, and its path and query.
pub(super) fn write_url(url: Slot, out: &mut Out<'_>) {
    out.put(f::URL_ORIGINAL, url);
    if !out.wants(f::URL_PATH) && !out.wants(f::URL_QUERY) {
        return;
    }
    let Value::Str(u) = out.value(url) else { return };
    let start = match memchr::memmem::find(u, b"://") {
        Some(i) if i > 0 && u[..i].iter().all(|c| c.is_ascii_alphanumeric() || b"+.-".contains(c)) => {
            match u[i + 3..].iter().position(|c| b"/?#".contains(c)) {
                Some(n) => i + 3 + n,
                None => return,
            }
        }
        _ => 0,
    };
    if u.get(start) != Some(&b'/') && u.get(start) != Some(&b'?') {
        return;
    }
    let end = memchr::memchr(b'#', &u[start..]).map_or(u.len(), |i| start + i);
    let mark = memchr::memchr(b'?', &u[start..end]).map_or(end, |i| start + i);
    out.put(f::URL_PATH, sub(url, start, mark));
    out.put(f::URL_QUERY, sub(url, mark + 1, end));
}

/// Writes the part of a name that somebody registered, in lower case.
fn registered(name: Slot, out: &mut Out<'_>) {
    if !out.wants(f::DNS_QUESTION_REGISTERED_DOMAIN) {
        return;
    }
    let mut room = [0u8; 256];
    let Value::Str(n) = out.value(name) else { return };
    let n = n.strip_suffix(b".").unwrap_or(n);
    let Some(low) = room.get_mut(..n.len()) else { return };
    low.copy_from_slice(n);
    low.make_ascii_lowercase();
    if let Some(d) = psl::domain(low) {
        let d = out.text(d.as_bytes());
        out.put(f::DNS_QUESTION_REGISTERED_DOMAIN, d);
    }
}

fn answer(data: Json<'_>, out: &mut Out<'_>) {
    match data {
        Json::Str(t) => match ip(t) {
            Some(a) => {
                if out.wants(f::DNS_ANSWERS_DATA) {
                    let text = out.build(|o| drop(write!(o, "{a}")));
                    out.push(f::DNS_ANSWERS_DATA, text);
                }
                if out.wants(f::DNS_RESOLVED_IP) {
                    let a = out.address(a);
                    out.push(f::DNS_RESOLVED_IP, a);
                }
            }
            None => out.add(f::DNS_ANSWERS_DATA, t),
        },
        v => {
            let v = v.str_slot(out);
            out.push(f::DNS_ANSWERS_DATA, v);
        }
    }
}

/// Reads `MM/DD/YYYY-hh:mm:ss.ffffff`, also with a year of two digits or none: the date and time, and how many bytes.
fn fast_time(b: &[u8]) -> Option<(time::Civil, usize)> {
    let (month, day) = (time::digits(b, 2)? as u8, time::digits(b.get(3..)?, 2)? as u8);
    if b[2] != b'/' {
        return None;
    }
    let (year, at) = match b.get(5)? {
        b'-' => (-1, 6),
        b'/' => match (time::digits(&b[6..], 4), time::digits(&b[6..], 2)) {
            (Some(y), _) => (y as i64, 11),
            (None, Some(y)) => (2000 + y as i64, 9),
            _ => return None,
        },
        _ => return None,
    };
    if b.get(at - 1) != Some(&b'-') {
        return None;
    }
    let rest = b.get(at..)?;
    let (hour, minute, second) = time::clock(rest)?;
    let (nanos, n) = time::fraction(&rest[8..]);
    (n > 0).then_some((time::Civil { year, month, day, hour, minute, second, nanos }, at + 8 + n))
}

/// An alert line behind its time.
struct Line<'r> {
    verdict: &'static str,
    gid: &'r [u8],
    sid: &'r [u8],
    rev: &'r [u8],
    msg: &'r [u8],
    class: &'r [u8],
    priority: &'r [u8],
    rest: &'r [u8],
}

fn alert_line(b: &[u8]) -> Option<Line<'_>> {
    let mut b = b.trim_ascii();
    let mut verdict = "";
    for (mark, v) in [(&b"[Drop] "[..], "Drop"), (b"[wDrop] ", "wDrop")] {
        if let Some(r) = b.strip_prefix(mark) {
            (b, verdict) = (r, v);
        }
    }
    b = b.strip_prefix(b"[**] ").unwrap_or(b);
    let end = memchr::memchr(b']', b)?;
    let mut ids = b.get(1..end).filter(|_| b[0] == b'[')?.split(|c| *c == b':');
    let (gid, sid, rev) = (ids.next()?, ids.next()?, ids.next()?);
    let number = |n: &[u8]| !n.is_empty() && n.len() <= 20 && n.iter().all(u8::is_ascii_digit);
    if ids.next().is_some() || !number(gid) || !number(sid) || !number(rev) {
        return None;
    }
    let text = &b[end + 1..];
    // The message is the rule writer's and may hold anything: the marks are looked for from the right.
    let at = memchr::memmem::rfind(text, b"[Priority: ")?;
    let (priority, rest) = text[at + 11..].split_at(memchr::memchr(b']', &text[at + 11..])?);
    let one = |m| <[u8]>::strip_suffix(m, b" ").unwrap_or(m);
    let mut msg = one(&text[..at]);
    let mut class = &b""[..];
    if let (Some(i), true) = (memchr::memmem::rfind(msg, b"[Classification: "), msg.ends_with(b"]")) {
        class = &msg[i + 17..msg.len() - 1];
        msg = one(&msg[..i]);
    }
    msg = msg.strip_suffix(b"[**]").map_or(msg, one);
    msg = msg.strip_prefix(b" ").unwrap_or(msg);
    number(priority).then_some(Line { verdict, gid, sid, rev, msg, class, priority, rest: &rest[1..] })
}

fn fast(ctx: &Context<'_>, env: Option<&Envelope<'_>>, b: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
    let (at, n) = match fast_time(b) {
        Some((c, n)) => {
            let t = if c.year < 0 { time::Civil { year: 0, ..c }.nearest(ctx.zone, ctx.near) } else { c.in_zone(ctx.zone) };
            (Some(t.ok_or(ParseError { expected: "a date", offset: 0 })?), n)
        }
        None => (env.and_then(|e| e.time), 0),
    };
    let line = alert_line(&b[n..]).ok_or(ParseError { expected: "an alert", offset: n })?;
    if let Some(t) = at {
        out.time(f::TIMESTAMP, t);
    }
    out.word(f::EVENT_DATASET, "suricata.fast");
    out.word(f::EVENT_KIND, "alert");
    out.add(f::EVENT_CATEGORY, b"network");
    out.add(f::EVENT_CATEGORY, b"intrusion_detection");
    match line.verdict {
        "Drop" => {
            out.add(f::EVENT_TYPE, b"denied");
            out.word(f::SURICATA_ALERT_ACTION, "blocked");
        }
        // It would have been dropped by a sensor in line.
        "wDrop" => {
            out.add(f::EVENT_TYPE, b"allowed");
            out.word(f::SURICATA_ALERT_ACTION, "wDrop");
        }
        _ => {}
    }
    out.str(f::RULE_RULESET, line.gid);
    out.str(f::RULE_ID, line.sid);
    out.str(f::RULE_VERSION, line.rev);
    for (field, text) in [(f::RULE_NAME, line.msg), (f::RULE_CATEGORY, line.class)] {
        if text != b"(null)" {
            out.str(field, text);
        }
    }
    out.int_text(f::SURICATA_ALERT_SEVERITY, line.priority);
    let n = std::str::from_utf8(line.priority).ok().and_then(|p| p.parse().ok()).unwrap_or(i64::MAX);
    out.int(f::EVENT_SEVERITY, severity(n));
    let rest = line.rest;
    let Some(open) = memchr::memchr(b'{', rest) else { return Ok(()) };
    let Some(close) = memchr::memchr(b'}', rest).filter(|c| *c > open) else { return Ok(()) };
    if let Some(name) = rest[..open].trim_ascii().strip_prefix(b"<").and_then(|r| r.strip_suffix(b">")) {
        out.str(f::OBSERVER_INGRESS_INTERFACE_NAME, name);
    }
    let proto = rest[open + 1..close].strip_prefix(b"PROTO:").unwrap_or(&rest[open + 1..close]);
    transport(Json::Str(proto), out);
    let ends = rest[close + 1..].trim_ascii();
    let Some(arrow) = memchr::memmem::find(ends, b" -> ") else { return Ok(()) };
    let right = ends[arrow + 4..].split(|c| *c == b' ').next().unwrap_or(b"");
    let (a, ap) = end_point(&ends[..arrow]);
    let (z, zp) = end_point(right);
    out.ip_text(f::SOURCE_IP, a);
    out.ip_text(f::DESTINATION_IP, z);
    if matches!(proto, b"TCP" | b"UDP" | b"SCTP") {
        out.port_text(f::SOURCE_PORT, ap);
        out.port_text(f::DESTINATION_PORT, zp);
    } else if matches!(proto, b"ICMP" | b"IPv6-ICMP") {
        // In the places of the ports stand the type and the code.
        if let Some(own) = out.own() {
            for (name, n) in [("icmp_type", ap), ("icmp_code", zp)] {
                if n.len() < 4 && crate::event::int_slot(n).is_some() && (n.len() == 1 || n[0] != b'0') {
                    own.entries.push((vec!["suricata".into(), name.into()], n.to_vec()));
                }
            }
        }
    }
    Ok(())
}

/// Splits an address from its port at the last colon; an address without a port is whole.
fn end_point(b: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', b) {
        Some(i) if ip(&b[..i]).is_some() => (&b[..i], &b[i + 1..]),
        _ => (b, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::event;
    use super::*;

    fn try_one(estate: &crate::parse::Estate, env: Option<&Envelope<'_>>, line: &str) -> Result<serde_json::Value, ParseError> {
        let schema = Schema::default();
        let mut p = Parser::new(&schema, &Layout::full(&schema));
        let text = event(&schema, line, |ctx, b, out| p.parse(&Context { estate, ..*ctx }, env, b, out))?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_is_no_eve_is_refused() {
        let none = crate::parse::Estate::default();
        for line in [
            r#"{"timestamp":"2026-11-23T05:00:00.123456+0000","event_type":"alert","src_ip":"203.0.1"#,
            r#"{"timestamp":"2026-11-23T05:00:00.123+0000","rule":{"id":"86601"},"data":{"event_type":"alert"}}"#,
            r#"{"event_type":"alert"}"#,
            r#"{"event_type":5,"timestamp":"2026-11-23T05:00:00Z"}"#,
            r#"{"event_type":"alert","timestamp":"yesterday"}"#,
            "11/23/2026-05:00:00.292653  [**] [1:2019401] x [**] [Priority: 1] {TCP} 203.0.113.9:4711 -> 192.0.2.10:80",
            "13/23/2026-05:00:00.292653  [**] [1:2019401:1] x [**] [Priority: 1] {TCP} 203.0.113.9:4711 -> 192.0.2.10:80",
            "",
        ] {
            assert!(try_one(&none, None, line).is_err(), "{line}");
        }
    }

    #[test]
    fn behind_a_trusted_proxy_the_client_is_the_last_address_that_is_none() {
        let estate = crate::parse::Estate::new(Vec::new(), vec!["192.0.2.0/24".parse().unwrap()]);
        let none = crate::parse::Estate::default();
        for (header, client) in [
            ("203.0.113.7, 198.51.100.9, 192.0.2.2", "198.51.100.9"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("203.0.113.7, unknown, 192.0.2.2", "192.0.2.1"),
            ("192.0.2.3", "192.0.2.1"),
            ("", "192.0.2.1"),
        ] {
            let line = format!(
                r#"{{"timestamp":"2026-11-23T05:00:00Z","event_type":"http","src_ip":"192.0.2.1","dest_ip":"192.0.2.10","http":{{"xff":"{header}"}}}}"#
            );
            assert_eq!(try_one(&estate, None, &line).unwrap()["client"]["ip"], client, "{header}");
            assert_eq!(try_one(&none, None, &line).unwrap()["client"]["ip"], "192.0.2.1", "no proxy is trusted");
        }
    }

    #[test]
    fn alerts_come_through_syslog_too() {
        let none = crate::parse::Estate::default();
        let env = Envelope { time: Timestamp::new(1_795_410_000, 0), host: Some(b"gate"), app: Some(b"snort"), ..Envelope::default() };
        let line = "[1:2016979:3] a rule [Classification: Misc activity] [Priority: 1] <eth3> {TCP} 203.0.113.9:4711 -> 192.0.2.10:80";
        assert!(Parser::recognise(Some(&env), line.as_bytes()) && !Parser::recognise(None, line.as_bytes()));
        let e = try_one(&none, Some(&env), line).unwrap();
        assert_eq!((&e["rule"]["id"], &e["rule"]["name"], &e["host"]["name"]), (&"2016979".into(), &"a rule".into(), &"gate".into()));
        assert_eq!((&e["observer"]["ingress"]["interface"]["name"], &e["source"]["port"]), (&"eth3".into(), &4711.into()));
        assert_eq!(e["@timestamp"], "2026-11-23T05:00:00.000000Z");
        let padded = format!("\0\0{}\0", r#"{"timestamp":"2026-11-23T05:00:00Z","event_type":"arp"}"#);
        assert!(Parser::recognise(None, padded.as_bytes()));
        assert_eq!(try_one(&none, None, &padded).unwrap()["event"]["dataset"], "suricata.arp");
    }

    #[test]
    fn a_rule_can_ask_for_any_field_of_the_record() {
        let mut schema = Schema::default();
        let names = ["suricata.ssh.client.software_version", "suricata.alert.rev", "suricata.tcp.syn"];
        let fields: Vec<Field> = names.iter().map(|n| schema.intern(n, crate::event::Type::Any, false).unwrap()).collect();
        let layout = Layout::of(&schema, fields.iter().copied());
        let mut p = Parser::new(&schema, &layout);
        let mut batch = crate::event::Batch::default();
        batch.push(
            br#"{"timestamp":"2026-11-23T05:00:00Z","event_type":"x","ssh":{"client":{"software_version":"a"}},"alert":{"rev":3},"tcp.syn":true}"#,
            false,
        );
        let (mut arena, mut slots) = (crate::event::Arena::default(), vec![Slot::Missing; layout.len()]);
        let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &layout, None);
        super::super::json::tests::context(|ctx| p.parse(ctx, None, &batch.bytes, &mut out)).unwrap();
        assert_eq!(fields.iter().map(|f| out.get(*f)).collect::<Vec<_>>(), [Value::Str(b"a"), Value::Int(3), Value::Bool(true)]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(b in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), cut in 0usize..2000, at in 0usize..2000, c in 0u8..) {
            let none = crate::parse::Estate::default();
            let _ = try_one(&none, None, &String::from_utf8_lossy(&b));
            for sample in [include_str!("../../parsers/suricata/samples/eve-alert.log"), include_str!("../../parsers/suricata/samples/fast.log")] {
                let mut t = sample.lines().next().unwrap_or_default().as_bytes().to_vec();
                t.truncate(cut);
                if at < t.len() {
                    t[at] = c;
                }
                let text = String::from_utf8_lossy(&t).into_owned();
                let _ = Parser::recognise(None, text.as_bytes());
                let _ = try_one(&none, None, &text);
            }
        }
    }
}
