//! Rule files for measurements, made like those of SigmaHQ: the kind of event, one main test (for 20 % an exact value,
//! else contains 65 %, prefix 15 %, regular expression 20 %), at most one more condition; one rule in ten counts.

use std::fmt::Write;

/// A small generator of numbers (PCG's multiplier), the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn of(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    fn word(&mut self, syllables: usize) -> String {
        const S: &[&str] = &["ra", "ti", "con", "ser", "ex", "mo", "ver", "dll", "net", "in", "pro", "sys", "le", "dar", "up", "kit"];
        (0..syllables).map(|_| self.of(S)).collect()
    }
}

/// Kinds of events, and the text fields that they have.
const KINDS: [(&str, &[&str]); 8] = [
    (r#"event.dataset == "suricata.alert""#, &["rule.name", "rule.category", "url.original"]),
    (r#"event.dataset == "suricata.http""#, &["url.original", "user_agent.original", "url.domain"]),
    (r#"event.dataset == "suricata.dns""#, &["dns.question.name"]),
    (r#"event.dataset == "suricata.tls""#, &["tls.client.server_name"]),
    (r#"event.module == "ossec""#, &["message", "rule.name", "file.path"]),
    (r#"event.module == "falco""#, &["process.command_line", "process.name", "file.path"]),
    (r#"event.module == "fail2ban""#, &["rule.name"]),
    (r#"event.module == "sshd""#, &["message", "user.name"]),
];

/// One file of `n` rules. They fire hardly ever: what is measured is that they are asked.
pub fn rules(n: usize, seed: u64) -> String {
    let (mut r, mut out) = (Random(seed), String::new());
    for i in 0..n {
        let (kind, fields) = KINDS[r.below(KINDS.len())];
        let (f, k, long, w) = (r.of(fields), r.below(100), r.word(4), r.word(2));
        let main = if k < 20 {
            format!(r#"{f} == "{long}-{i}""#)
        } else {
            match k % 20 {
                0..13 => format!(r#"{f} contains "{long}""#),
                13..16 => format!(r#"{f} startswith "/usr/bin/{long}""#),
                _ => format!(r#"{f} matches "(?i){long}[^ ]*\\.(?:dll|exe|{w})$""#),
            }
        };
        let more = match r.below(8) {
            0 => r#" and source.ip in cidr("203.0.113.0/24")"#,
            1 => " and destination.port == 443",
            2 => r#" and network.transport == "tcp""#,
            _ => "",
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "[[rule]]\nid = \"generated-{i:05}\"\ntitle = \"Generated {i}\"\nseverity = \"low\"\nwhere = '''{kind} and {main}{more}'''\n");
        if i % 10 == 0 {
            let _ = write!(out, "by = [\"client.ip\"]\ncount = {{ at_least = 5, within = \"1m\" }}\n");
        }
        out.push('\n');
    }
    out
}
