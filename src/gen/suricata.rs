//! EVE: 35 % alert, 35 % flow, 18 % http, 7 % dns, 5 % tls; about 900 bytes a record.
//!
//! Source: Suricata `etc/schema.json`; what is written here is what a sensor of version 7 writes.

use super::Scene;
use super::pen::Pen;
use std::net::{IpAddr, Ipv4Addr};

const HOSTS: [&str; 6] =
    ["shop.example.com", "api.example.org", "cdn7.static.example.net", "login.example.co.uk", "git.example.com", "www.example.org"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/8.5.0",
    "python-requests/2.32.3",
];
const URLS: [&str; 5] =
    ["/", "/index.php?id=1%27%20OR%201=1--&lang=en", "/api/v2/orders/4711?expand=items,customer", "/static/js/app.3f9a1c.js", "/wp-login.php"];

/// What a signature is: its text, class, severity, and whether the sensor stopped the packet.
#[derive(Clone, Copy)]
pub struct Signature(pub &'static str, pub &'static str, pub u64, pub bool);

/// The noise of the internet: what is grave among it was stopped.
const NOISE: [Signature; 5] = [
    Signature("ET SCAN Suspicious inbound to PostgreSQL port 5432", "Potentially Bad Traffic", 2, false),
    Signature("ET WEB_SERVER SQL Injection Attempt (UNION SELECT)", "Web Application Attack", 1, true),
    Signature("ET POLICY curl User-Agent Outbound", "Attempted Information Leak", 2, false),
    Signature("ET DROP Dshield Block Listed Source group 1", "Misc Attack", 2, true),
    Signature("ET INFO Session Traversal Utilities for NAT (STUN Binding Request)", "Misc activity", 3, false),
];

/// Both ends of a connection.
pub struct Ends {
    /// Who opened it.
    pub client: IpAddr,
    /// From which port.
    pub client_port: u64,
    /// Who answered.
    pub server: IpAddr,
    /// On which port.
    pub server_port: u64,
}

/// A server that everybody may talk to.
pub fn server(s: &mut Scene<'_>) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1 + s.random.below(s.hosts.min(200)) as u8))
}

fn ends(s: &mut Scene<'_>) -> Ends {
    let server_port = s.random.pick(&[443, 80, 22, 5432, 8080]);
    Ends { client: s.random.stranger(), client_port: s.random.port(), server: server(s), server_port }
}

fn head(p: &mut Pen<'_>, s: &mut Scene<'_>, kind: &str, proto: &str, e: &Ends) {
    p.s(r#"{"timestamp":""#).s(&s.times.iso).s(".").pad(s.times.micros(), 6).s(r#"+0000","flow_id":"#).n(s.number);
    p.s(r#","in_iface":"eth0","event_type":""#).s(kind).s(r#"","src_ip":""#).ip(e.client).s(r#"","src_port":"#).n(e.client_port);
    p.s(r#","dest_ip":""#).ip(e.server).s(r#"","dest_port":"#).n(e.server_port).s(r#","proto":""#).s(proto).s("\"");
}

fn community(p: &mut Pen<'_>, s: &mut Scene<'_>) {
    p.s(r#","pkt_src":"wire/pcap","community_id":"1:"#).base64(s.random, 27).s("=\"");
}

fn sensor(p: &mut Pen<'_>, s: &mut Scene<'_>) {
    p.s(r#","host":"sensor-"#).n(1 + s.random.below(s.hosts)).s("\"}");
}

/// Writes the `http` object up to its end, without the closing brace.
fn request(p: &mut Pen<'_>, s: &mut Scene<'_>, url: &str, status: u64) {
    p.s(r#","http":{"hostname":""#).s(s.random.pick(&HOSTS)).s(r#"","url":""#).s(url).s(r#"","http_user_agent":""#).s(s.random.pick(&AGENTS));
    p.s(r#"","http_content_type":"text/html","http_method":""#).s(s.random.pick(&["GET", "GET", "POST"]));
    p.s(r#"","protocol":"HTTP/1.1","status":"#).n(status).s(r#","length":"#).n(s.random.below(90_000));
}

/// One record of ordinary traffic.
pub fn ordinary(p: &mut Pen<'_>, s: &mut Scene<'_>) {
    let mut e = ends(s);
    match s.random.below(100) {
        0..35 => {
            let signature = s.random.pick(&NOISE);
            alert(p, s, &e, &signature);
        }
        35..70 => {
            let bytes = s.random.below(90_000) + 60;
            flow(p, s, &e, bytes);
        }
        70..88 => {
            let (url, status) = (s.random.pick(&URLS), s.random.pick(&[200, 302, 403, 404]));
            http(p, s, &e, url, status);
        }
        88..95 => {
            // A server of ours asks our resolver.
            e.client = server(s);
            dns(p, s, &e, HOSTS[2]);
        }
        _ => tls(p, s, &e),
    }
}

/// A signature that fired on a web request.
pub fn alert(p: &mut Pen<'_>, s: &mut Scene<'_>, e: &Ends, Signature(name, class, severity, stopped): &Signature) {
    head(p, s, "alert", "TCP", e);
    community(p, s);
    p.s(r#","tx_id":0,"alert":{"action":""#).s(if *stopped { "blocked" } else { "allowed" });
    p.s(r#"","gid":1,"signature_id":"#).n(2_000_000 + s.random.below(60_000)).s(r#","rev":"#).n(s.random.below(20) + 1);
    p.s(r#","signature":""#).s(name).s(r#"","category":""#).s(class).s(r#"","severity":"#).n(*severity);
    p.s(r#","metadata":{"attack_target":["Server"],"created_at":["2019_07_26"],"signature_severity":["Major"],"updated_at":["2024_03_08"],"mitre_technique_id":["T1190"],"mitre_tactic_id":["TA0001"]}}"#);
    let (url, status) = (s.random.pick(&URLS), s.random.pick(&[302, 403, 404]));
    request(p, s, url, status);
    p.s(r#"},"app_proto":"http","direction":"to_server","flow":{"pkts_toserver":"#).n(s.random.below(40) + 1);
    p.s(r#","pkts_toclient":"#).n(s.random.below(60)).s(r#","bytes_toserver":"#).n(s.random.below(90_000) + 60);
    p.s(r#","bytes_toclient":"#).n(s.random.below(900_000)).s(r#","start":""#).s(&s.times.iso).s(".").pad(s.times.micros(), 6);
    p.s(r#"+0000","src_ip":""#).ip(e.client).s(r#"","dest_ip":""#).ip(e.server).s(r#"","src_port":"#).n(e.client_port);
    p.s(r#","dest_port":"#).n(e.server_port).s(r#"},"payload":""#).base64(s.random, 60);
    p.s(r#"","payload_printable":"GET / HTTP/1.1\r\nHost: shop.example.com\r\n","stream":0,"packet":""#).base64(s.random, 40);
    p.s(r#"","packet_info":{"linktype":1}}"#);
}

/// A connection that has ended; `sent` is what the client sent, in bytes.
pub fn flow(p: &mut Pen<'_>, s: &mut Scene<'_>, e: &Ends, sent: u64) {
    head(p, s, "flow", "TCP", e);
    p.s(r#","ip_v":"#).n(if e.client.is_ipv4() { 4 } else { 6 }).s(r#","app_proto":""#).s(s.random.pick(&["http", "tls", "failed"]));
    p.s(r#"","flow":{"pkts_toserver":"#).n(1 + sent / 1400).s(r#","pkts_toclient":"#).n(s.random.below(60)).s(r#","bytes_toserver":"#).n(sent);
    p.s(r#","bytes_toclient":"#).n(s.random.below(900_000)).s(r#","start":""#).s(&s.times.iso).s(".").pad(s.times.micros(), 6);
    p.s(r#"+0000","end":""#).s(&s.times.iso).s(".").pad(s.times.micros(), 6).s(r#"+0000","age":"#).n(s.random.below(300));
    p.s(r#","state":"closed","reason":"timeout","alerted":false,"tx_cnt":2},"ether":{"dest_macs":["02:00:00:00:00:01"],"src_macs":["02:00:00:00:00:02"]},"community_id":"1:"#);
    p.base64(s.random, 27).s(r#"=","metadata":{"flowbits":["http.seen","tcp.established"]},"tcp":{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}"#);
    sensor(p, s);
}

/// A web request with its headers.
pub fn http(p: &mut Pen<'_>, s: &mut Scene<'_>, e: &Ends, url: &str, status: u64) {
    head(p, s, "http", "TCP", e);
    community(p, s);
    p.s(r#","tx_id":"#).n(s.random.below(9));
    request(p, s, url, status);
    p.s(r#","request_headers":[{"name":"Host","value":"api.example.org"},{"name":"Accept","value":"*/*"},{"name":"Accept-Encoding","value":"gzip, deflate, br"},{"name":"Cookie","value":"session="#);
    p.hex(s.random, 32).s(r#""}],"response_headers":[{"name":"Server","value":"nginx"},{"name":"Content-Type","value":"text/html; charset=utf-8"},{"name":"Cache-Control","value":"no-store"}]}"#);
    sensor(p, s);
}

/// An answer to a question for a name.
pub fn dns(p: &mut Pen<'_>, s: &mut Scene<'_>, from: &Ends, name: &str) {
    let resolver = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 253));
    let e = Ends { client: from.client, client_port: from.client_port, server: resolver, server_port: 53 };
    head(p, s, "dns", "UDP", &e);
    community(p, s);
    p.s(r#","dns":{"version":2,"type":"answer","id":"#).n(s.random.below(65_536));
    p.s(r#","flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":""#).s(name).s(r#"","rrtype":"A","rcode":"NOERROR","answers":["#);
    for i in 0..2 {
        p.s(if i == 0 { "" } else { "," }).s(r#"{"rrname":""#).s(name).s(r#"","rrtype":"A","ttl":300,"rdata":"198.51.100."#);
        p.n(s.random.below(254)).s(r#""}"#);
    }
    p.s(r#"],"grouped":{"A":["198.51.100.7","198.51.100.8"]}}"#);
    sensor(p, s);
}

fn tls(p: &mut Pen<'_>, s: &mut Scene<'_>, e: &Ends) {
    head(p, s, "tls", "TCP", e);
    community(p, s);
    p.s(r#","tls":{"subject":"CN=login.example.co.uk","issuerdn":"C=US, O=Example Trust, CN=Example R11","serial":"0"#).hex(s.random, 31);
    p.s(r#"","fingerprint":""#)
        .hex(s.random, 40)
        .s(r#"","sni":"login.example.co.uk","version":"TLS 1.2","notbefore":"2026-09-01T00:00:00","notafter":"2026-12-01T00:00:00","ja3":{"hash":""#);
    p.hex(s.random, 32).s(r#"","string":"771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,0-23-65281-10-11-35-16-5-13-18-51-45-43-27,29-23-24,0"},"ja3s":{"hash":""#);
    p.hex(s.random, 32).s(r#"","string":"771,49199,65281-0-11-16"}}"#);
    sensor(p, s);
}
