//! Records of ModSecurity in their true shape and size, for benchmarks: the same seed gives the same bytes.
#![allow(dead_code)]

use std::io::Write;

/// SplitMix64: enough for addresses, numbers and picks.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A rule: number, line, file, text, tag, fingerprint of what matched, what it says in the log.
struct Rule(u32, u32, &'static str, &'static str, &'static str, &'static str, &'static str);

const RULES: &[Rule] = &[
    Rule(
        942100,
        46,
        "REQUEST-942-APPLICATION-ATTACK-SQLI",
        "SQL Injection Attack Detected via libinjection",
        "attack-sqli",
        "s&sos",
        "detected SQLi using libinjection.",
    ),
    Rule(
        941100,
        38,
        "REQUEST-941-APPLICATION-ATTACK-XSS",
        "XSS Attack Detected via libinjection",
        "attack-xss",
        "XSS data",
        "detected XSS using libinjection.",
    ),
    Rule(
        930120,
        97,
        "REQUEST-930-APPLICATION-ATTACK-LFI",
        "OS File Access Attempt",
        "attack-lfi",
        "etc/passwd",
        "Matched \"Operator `PmFromFile' with parameter `lfi-os-files.data' against variable `ARGS:q'",
    ),
    Rule(
        932160,
        454,
        "REQUEST-932-APPLICATION-ATTACK-RCE",
        "Remote Command Execution: Unix Shell Code Found",
        "attack-rce",
        "bin/sh",
        "Matched \"Operator `PmFromFile' with parameter `unix-shell.data' against variable `ARGS:q'",
    ),
];

const PATHS: &[&str] = &["/", "/index.php", "/wp-login.php", "/api/v1/items", "/search", "/cgi-bin/test.cgi"];
const VALUES: &[&str] = &["1%27%20OR%20%271%27=%271", "%3Cscript%3Ealert(1)%3C/script%3E", "../../../../etc/passwd", ";/bin/sh%20-c%20id"];
const AGENTS: &[&str] =
    &["curl/8.14.1", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "sqlmap/1.8.11#stable (https://sqlmap.org)"];
const FOLDER: &str = "/usr/share/modsecurity-crs/rules/";

/// What the records of one request share.
struct Request {
    client: [u8; 4],
    port: u64,
    second: u64,
    id: String,
    path: &'static str,
    value: &'static str,
    agent: &'static str,
    rule: &'static Rule,
}

fn request(i: usize, r: &mut Random) -> Request {
    let second = i as u64 / 50;
    Request {
        client: [203, 0, 113, r.below(250) as u8 + 1],
        port: 1024 + r.below(60_000),
        second,
        id: format!("{}{:02}.{:06}", 1_795_412_529 + second, r.below(100), r.below(1_000_000)),
        path: PATHS[r.below(PATHS.len() as u64) as usize],
        value: VALUES[r.below(VALUES.len() as u64) as usize],
        agent: AGENTS[r.below(AGENTS.len() as u64) as usize],
        rule: &RULES[r.below(RULES.len() as u64) as usize],
    }
}

fn clock(second: u64) -> String {
    let s = 5 * 3600 + second % 43_200;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// `n` JSON audit records of version 3, one a line, of about 2.6 KB: three rules each, a request that was stopped.
pub fn v3_json(n: usize, seed: u64) -> Vec<u8> {
    let (mut out, mut random) = (Vec::with_capacity(n * 2700), Random(seed));
    for i in 0..n {
        let q = request(i, &mut random);
        let [a, b, c, d] = q.client;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            r#"{{"transaction":{{"client_ip":"{a}.{b}.{c}.{d}","time_stamp":"Mon Nov 23 {} 2026","server_id":"2ce124b0c5d02b433a9392782ff8b313286c1942","client_port":{},"host_ip":"198.51.100.20","host_port":8080,"unique_id":"{}","request":{{"method":"GET","http_version":1.1,"uri":"{}?q={}","body":"","headers":{{"Host":"198.51.100.20:8080","User-Agent":"{}","Accept":"*/*"}}}},"response":{{"body":"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx/1.26.3</center>\r\n</body>\r\n</html>\r\n","http_code":403,"headers":{{"Server":"nginx/1.26.3","Date":"Mon, 23 Nov 2026 {} GMT","Content-Length":"153","Content-Type":"text/html","Connection":"keep-alive"}}}},"producer":{{"modsecurity":"ModSecurity v3.0.14 (Linux)","connector":"ModSecurity-nginx v1.0.3","secrules_engine":"Enabled","components":["OWASP_CRS/3.3.7\""]}},"messages":["#,
            clock(q.second),
            q.port,
            q.id,
            q.path,
            q.value,
            q.agent,
            clock(q.second)
        );
        let Rule(id, line, file, msg, tag, print, says) = q.rule;
        let score = 3 + 5 * (1 + random.below(3));
        let says = says.replace('"', "\\\"");
        let detail = |m: &str, says: &str, reference: &str, id: u32, file: &str, line: u32, data: &str, severity: u8, tags: &str| {
            format!(
                r#"{{"message":"{m}","details":{{"match":"{says}","reference":"{reference}","ruleId":"{id}","file":"{FOLDER}{file}.conf","lineNumber":"{line}","data":"{data}","severity":"{severity}","ver":"OWASP_CRS/3.3.7","rev":"","tags":["application-multi","language-multi","platform-multi",{tags}],"maturity":"0","accuracy":"0"}}}}"#
            )
        };
        let messages = [
            detail(
                "Host header is a numeric IP address",
                "Matched \\\"Operator `Rx' with parameter `^[\\\\d.:]+$' against variable `REQUEST_HEADERS:Host' (Value: `198.51.100.20:8080' )",
                "o0,18v49,18",
                920350,
                "REQUEST-920-PROTOCOL-ENFORCEMENT",
                718,
                "198.51.100.20:8080",
                4,
                r#""attack-protocol","paranoia-level/1","OWASP_CRS","capec/1000/210/272","PCI/6.5.10""#,
            ),
            detail(
                msg,
                &says,
                "v9,12",
                *id,
                file,
                *line,
                &format!("Matched Data: {print} found within ARGS:q: {}", q.value),
                2,
                &format!(r#""{tag}","paranoia-level/1","OWASP_CRS","capec/1000/152/248","PCI/6.5.2""#),
            ),
            detail(
                &format!("Inbound Anomaly Score Exceeded (Total Score: {score})"),
                &format!("Matched \\\"Operator `Ge' with parameter `5' against variable `TX:ANOMALY_SCORE' (Value: `{score}' )"),
                "",
                949110,
                "REQUEST-949-BLOCKING-EVALUATION",
                81,
                "",
                2,
                r#""attack-generic""#,
            ),
        ];
        let _ = writeln!(out, "{}]}}}}", messages.join(","));
    }
    out
}

/// `n` lines of an error log of Apache 2.4 and, every other one, of nginx; a request has one to three of them.
pub fn error_log(n: usize, seed: u64) -> Vec<u8> {
    let (mut out, mut random) = (Vec::with_capacity(n * 850), Random(seed));
    let mut q = request(0, &mut random);
    for i in 0..n {
        if random.below(2) == 0 {
            q = request(i, &mut random);
        }
        let [a, b, c, d] = q.client;
        let Rule(id, line, file, msg, tag, print, says) = q.rule;
        let tags = format!(
            r#"[tag "application-multi"] [tag "language-multi"] [tag "platform-multi"] [tag "{tag}"] [tag "paranoia-level/1"] [tag "OWASP_CRS"] [tag "capec/1000/152/248"] [tag "PCI/6.5.2"]"#
        );
        let data = format!("Matched Data: {print} found within ARGS:q: {}", q.value);
        let _ = if i % 2 == 0 {
            writeln!(
                out,
                r#"[Mon Nov 23 {}.{:06} 2026] [security2:error] [pid 31526:tid 31526] [client {a}.{b}.{c}.{d}:{}] ModSecurity: Warning. {} [file "{FOLDER}{file}.conf"] [line "{line}"] [id "{id}"] [msg "{msg}"] [data "{data}"] [severity "CRITICAL"] [ver "OWASP_CRS/3.3.7"] {tags} [hostname "shop.example.org"] [uri "{}"] [unique_id "{}"]"#,
                clock(q.second),
                random.below(1_000_000),
                q.port,
                says.replace('"', "\\\""),
                q.path,
                q.id
            )
        } else {
            writeln!(
                out,
                r#"2026/11/23 {} [info] 1312#1312: *{i} ModSecurity: Warning. {says} [file "{FOLDER}{file}.conf"] [line "{line}"] [id "{id}"] [rev ""] [msg "{msg}"] [data "{data}"] [severity "2"] [ver "OWASP_CRS/3.3.7"] [maturity "0"] [accuracy "0"] {tags} [hostname "198.51.100.20"] [uri "{}"] [unique_id "{}"] [ref "v9,12"], client: {a}.{b}.{c}.{d}, server: shop.example.org, request: "GET {}?q={} HTTP/1.1", host: "shop.example.org""#,
                clock(q.second),
                q.path,
                q.id,
                q.path,
                q.value
            )
        };
    }
    out
}
