//! Error logs with ModSecurity's messages in their true shape and size, for benchmarks: the same seed gives the same bytes.

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
const FOLDER: &str = "/usr/share/modsecurity-crs/rules/";

/// What the records of one request share.
struct Request {
    client: [u8; 4],
    port: u64,
    second: u64,
    id: String,
    path: &'static str,
    value: &'static str,
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
        rule: &RULES[r.below(RULES.len() as u64) as usize],
    }
}

fn clock(second: u64) -> String {
    let s = 5 * 3600 + second % 43_200;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
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
