//! ModSecurity's audit records with the Core Rule Set: JSON of version 3 (about 2.6 KB) and native blocks of version 2.
//!
//! Source: ModSecurity v3 `src/transaction.cc`, v2 `apache2/msc_logging.c`.

use super::pen::Pen;
use super::{Form, Scene};
use std::net::IpAddr;

/// A class of attacks: rule number, line, file, text, tag, fingerprint of what matched, what the log says of it.
struct Class(u64, u64, &'static str, &'static str, &'static str, &'static str, &'static str);

const CLASSES: [Class; 4] = [
    Class(
        942100,
        46,
        "REQUEST-942-APPLICATION-ATTACK-SQLI",
        "SQL Injection Attack Detected via libinjection",
        "attack-sqli",
        "s&sos",
        "detected SQLi using libinjection.",
    ),
    Class(
        941100,
        38,
        "REQUEST-941-APPLICATION-ATTACK-XSS",
        "XSS Attack Detected via libinjection",
        "attack-xss",
        "XSS data",
        "detected XSS using libinjection.",
    ),
    Class(
        930120,
        97,
        "REQUEST-930-APPLICATION-ATTACK-LFI",
        "OS File Access Attempt",
        "attack-lfi",
        "etc/passwd",
        "Matched \"Operator `PmFromFile' with parameter `lfi-os-files.data' against variable `ARGS:q'",
    ),
    Class(
        932160,
        454,
        "REQUEST-932-APPLICATION-ATTACK-RCE",
        "Remote Command Execution: Unix Shell Code Found",
        "attack-rce",
        "bin/sh",
        "Matched \"Operator `PmFromFile' with parameter `unix-shell.data' against variable `ARGS:q'",
    ),
];

const PATHS: [&str; 6] = ["/", "/index.php", "/wp-login.php", "/api/v1/items", "/search", "/cgi-bin/test.cgi"];
const VALUES: [&str; 4] = ["1%27%20OR%20%271%27=%271", "%3Cscript%3Ealert(1)%3C/script%3E", "../../../../etc/passwd", ";/bin/sh%20-c%20id"];
const AGENTS: [&str; 3] =
    ["curl/8.14.1", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "sqlmap/1.8.11#stable (https://sqlmap.org)"];
const FOLDER: &str = "/usr/share/modsecurity-crs/rules/";
const SERVER: &str = "198.51.100.20";

/// A request that the rules found fault with.
pub struct Request {
    /// Who sent it.
    pub client: IpAddr,
    /// The class of attack, by its place among SQL injection, cross-site scripting, file inclusion and command execution.
    pub class: usize,
    /// The anomaly score.
    pub score: u64,
    /// Whether it was stopped; else the server answered 200.
    pub stopped: bool,
}

/// One record of ordinary traffic: an attempt of the internet that was stopped.
pub fn ordinary(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form) {
    let r = Request {
        client: s.random.stranger(),
        class: s.random.below(CLASSES.len() as u64) as usize,
        score: 3 + 5 * (1 + s.random.below(3)),
        stopped: true,
    };
    request(p, s, form, &r);
}

/// A message of a rule: text, what matched, reference, number, file, line, data, severity, tags.
struct Message<'a>(&'a str, &'a str, &'a str, u64, &'a str, u64, &'a str, u64, &'a str);

/// Writes a request's record.
pub fn request(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, r: &Request) {
    let Class(id, line, file, msg, tag, print, says) = &CLASSES[r.class.min(CLASSES.len() - 1)];
    let value = VALUES[r.class.min(VALUES.len() - 1)];
    let data = format!("Matched Data: {print} found within ARGS:q: {value}");
    let exceeded = format!("Inbound Anomaly Score Exceeded (Total Score: {})", r.score);
    let at_least = format!("Matched \"Operator `Ge' with parameter `5' against variable `TX:ANOMALY_SCORE' (Value: `{}' )", r.score);
    let messages = [
        Message(
            "Host header is a numeric IP address",
            "Matched \"Operator `Rx' with parameter `^[\\d.:]+$' against variable `REQUEST_HEADERS:Host' (Value: `198.51.100.20:8080' )",
            "o0,18v49,18",
            920350,
            "REQUEST-920-PROTOCOL-ENFORCEMENT",
            718,
            "198.51.100.20:8080",
            4,
            "application-multi,language-multi,platform-multi,attack-protocol,paranoia-level/1,OWASP_CRS,capec/1000/210/272,PCI/6.5.10",
        ),
        Message(
            msg,
            says,
            "v9,12",
            *id,
            file,
            *line,
            &data,
            2,
            &format!("application-multi,language-multi,platform-multi,{tag},paranoia-level/1,OWASP_CRS,capec/1000/152/248,PCI/6.5.2"),
        ),
        Message(
            &exceeded,
            &at_least,
            "",
            949110,
            "REQUEST-949-BLOCKING-EVALUATION",
            81,
            "",
            2,
            "application-multi,language-multi,platform-multi,attack-generic",
        ),
    ];
    let (path, agent) = (s.random.pick(&PATHS), s.random.pick(&AGENTS));
    let port = s.random.port();
    match form {
        Form::ModsecurityNative => native(p, s, r, (port, path, value, agent), &messages),
        _ => json(p, s, r, (port, path, value, agent), &messages),
    }
}

type Asked = (u64, &'static str, &'static str, &'static str);

fn json(p: &mut Pen<'_>, s: &Scene<'_>, r: &Request, (port, path, value, agent): Asked, messages: &[Message<'_>]) {
    let (status, text, engine) = if r.stopped { (403, "403 Forbidden", "Enabled") } else { (200, "200 OK", "DetectionOnly") };
    p.s(r#"{"transaction":{"client_ip":""#).ip(r.client).s(r#"","time_stamp":""#).s(&s.times.asctime);
    p.s(r#"","server_id":"2ce124b0c5d02b433a9392782ff8b313286c1942","client_port":"#).n(port).s(r#","host_ip":""#).s(SERVER);
    p.s(r#"","host_port":8080,"unique_id":""#).n(s.number).s(".").pad(s.times.micros(), 6);
    p.s(r#"","request":{"method":"GET","http_version":1.1,"uri":""#).s(path).s("?q=").s(value);
    p.s(r#"","body":"","headers":{"Host":"198.51.100.20:8080","User-Agent":""#).s(agent);
    p.s(r#"","Accept":"*/*"}},"response":{"body":"<html>\r\n<head><title>"#).s(text).s(r#"</title></head>\r\n<body>\r\n<center><h1>"#).s(text);
    p.s(r#"</h1></center>\r\n<hr><center>nginx/1.26.3</center>\r\n</body>\r\n</html>\r\n","http_code":"#).n(status);
    p.s(r#","headers":{"Server":"nginx/1.26.3","Date":""#).s(&s.times.asctime);
    p.s(r#"","Content-Length":"153","Content-Type":"text/html","Connection":"keep-alive"}},"producer":{"modsecurity":"ModSecurity v3.0.14 (Linux)","connector":"ModSecurity-nginx v1.0.3","secrules_engine":""#);
    p.s(engine).s(r#"","components":["OWASP_CRS/3.3.7\""]},"messages":["#);
    for (i, Message(msg, says, reference, id, file, line, data, severity, tags)) in messages.iter().enumerate() {
        p.s(if i == 0 { "" } else { "," }).s(r#"{"message":""#).s(msg).s(r#"","details":{"match":""#);
        p.s(&says.replace('\\', "\\\\").replace('"', "\\\"")).s(r#"","reference":""#).s(reference).s(r#"","ruleId":""#).n(*id);
        p.s(r#"","file":""#).s(FOLDER).s(file).s(r#".conf","lineNumber":""#).n(*line).s(r#"","data":""#).s(data).s(r#"","severity":""#).n(*severity);
        p.s(r#"","ver":"OWASP_CRS/3.3.7","rev":"","tags":["#);
        for (i, t) in tags.split(',').enumerate() {
            p.s(if i == 0 { "\"" } else { ",\"" }).s(t).s("\"");
        }
        p.s(r#"],"maturity":"0","accuracy":"0"}}"#);
    }
    p.s("]}}");
}

fn native(p: &mut Pen<'_>, s: &Scene<'_>, r: &Request, (port, path, value, agent): Asked, messages: &[Message<'_>]) {
    let mark = format!("\n--{:08x}-", s.number as u32);
    p.s(&mark[1..]).s("A--\n[").s(&s.times.clf).s(".").pad(s.times.micros(), 6).s(" +0000] ").n(s.number).s(".").pad(s.times.micros(), 6);
    p.s(" ").ip(r.client).s(" ").n(port).s(" ").s(SERVER).s(" 8080").s(&mark).s("B--\nGET ").s(path).s("?q=").s(value);
    p.s(" HTTP/1.1\nHost: 198.51.100.20:8080\nUser-Agent: ").s(agent).s("\nAccept: */*\n").s(&mark).s("F--\nHTTP/1.1 ");
    p.s(if r.stopped { "403 Forbidden" } else { "200 OK" }).s("\nContent-Length: 239\nContent-Type: text/html; charset=iso-8859-1\n");
    p.s(&mark).s("H--");
    for Message(msg, says, _, id, file, line, data, severity, tags) in messages {
        p.s("\nMessage: ").s(if *id == 949110 && r.stopped { "Access denied with code 403 (phase 2). " } else { "Warning. " }).s(says);
        p.s(r#" [file ""#).s(FOLDER).s(file).s(r#".conf"] [line ""#).n(*line).s(r#""] [id ""#).n(*id).s(r#""] [msg ""#).s(msg);
        p.s(r#""] [data ""#).s(data).s(r#""] [severity ""#).s(if *severity == 4 { "WARNING" } else { "CRITICAL" }).s(r#""] [ver "OWASP_CRS/3.3.7"]"#);
        for t in tags.split(',') {
            p.s(r#" [tag ""#).s(t).s(r#""]"#);
        }
    }
    p.s(if r.stopped { "\nAction: Intercepted (phase 2)" } else { "" });
    p.s("\nProducer: ModSecurity for Apache/2.9.11 (http://www.modsecurity.org/); OWASP_CRS/3.3.7.\nServer: Apache/2.4.68 (Debian)\nEngine-Mode: \"");
    p.s(if r.stopped { "ENABLED" } else { "DETECTION_ONLY" }).s("\"\n").s(&mark).s("Z--");
}
