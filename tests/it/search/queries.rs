//! Random queries, as they are written.

use vigild::disk::sim::Dice;

const TEXT: [&str; 9] =
    ["user.name", "event.action", "tags", "process.command_line", "message", "event.module", "host.name", "event.original", "suricata.thing"];
const STRINGS: [&str; 18] = [
    "root",
    "ROOT",
    "Root",
    "alice",
    "ünal",
    "login",
    "ssh-login",
    "web",
    "WEB",
    "a",
    "bob smith",
    "sshd",
    "suricata",
    "7",
    "x",
    "Y",
    "vm-one",
    "falco",
];
const PATTERNS: [&str; 10] = ["r*", "?oot", "*LOGIN*", "*", "ÜNAL", "root", "w?b", "*ss*", "t1*", ""];
const REGEXES: [&str; 6] = ["^root$", "(?i)ROOT", "log.n", "^s", "[ab]", "x{3}"];
const PHRASES: [&str; 16] = [
    "\"SQL injection\"",
    "injection",
    "login",
    "\"login sql\"",
    "\"failed password\"",
    "\"über straße\"",
    "\"strasse σασ kelvin\"",
    "\"a a b\"",
    "\"a b\"",
    "\"192.0.2.1\"",
    "root",
    "\"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww\"",
    "\"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwx\"",
    "\"of a text long\"",
    "raw",
    "timestamp",
];
const IPS: [&str; 4] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "203.0.113.9"];
const NETS: [&str; 4] = ["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "10.0.0.0/8"];
const NUMBERS: [(&str, &[&str]); 6] = [
    ("event.severity", &["0", "21", "60", "99", "60.5"]),
    ("source.port", &["0", "1", "2", "22"]),
    ("event.duration", &["1", "18446744073709551615", "9223372036854775808", "5000000000"]),
    ("suricata.thing", &["7", "7.0", "1.5", "18446744073709551615"]),
    ("modsecurity.own", &["0", "1"]),
    ("vulnerability.score.base", &["0", "7.5", "10", "1e300"]),
];
const EXIST: [&str; 14] = [
    "user.name",
    "source.ip",
    "tags",
    "message",
    "event.ahead",
    "event.severity",
    "suricata.thing",
    "falco.thing",
    "modsecurity.own",
    "host.name",
    "error.message",
    "related.ip",
    "@timestamp",
    "event.stream",
];

fn pick<'a>(d: &mut Dice, all: &[&'a str]) -> &'a str {
    all[d.below(all.len() as u64) as usize]
}

fn list(d: &mut Dice, all: &[&str], quoted: bool) -> String {
    let one = |s: &str| if quoted { format!("\"{s}\"") } else { s.to_owned() };
    (0..=d.below(3)).map(|_| one(pick(d, all))).collect::<Vec<_>>().join(", ")
}

fn test(d: &mut Dice) -> String {
    let order = |d: &mut Dice| pick(d, &["<", "<=", ">", ">="]).to_owned();
    match d.below(16) {
        0 | 1 => pick(d, &PHRASES).to_owned(),
        2 => format!("{} {} \"{}\"", pick(d, &TEXT), pick(d, &["==", "!="]), pick(d, &STRINGS)),
        3 => format!("{} in [{}]", pick(d, &TEXT), list(d, &STRINGS, true)),
        4 => format!(
            "{} {} \"{}\"",
            pick(d, &TEXT),
            pick(d, &["contains", "startswith", "endswith"]),
            pick(d, &["oo", "ro", "n", "ssh", "", "ü", "xx", "lo"])
        ),
        5 => format!("{} matches \"{}\"", pick(d, &TEXT), pick(d, &REGEXES)),
        6 => format!("{} : \"{}\"", pick(d, &TEXT), pick(d, &PATTERNS)),
        7 => format!("{} : [{}]", pick(d, &TEXT), list(d, &PATTERNS, true)),
        8 => format!("source.ip {} \"{}\"", pick(d, &["==", "!="]), pick(d, &IPS)),
        9 => format!("source.ip in cidr({})", list(d, &NETS, true)),
        10 => {
            let (f, values) = NUMBERS[d.below(NUMBERS.len() as u64) as usize];
            // A whole number is equal to whole ones alone.
            let values: Vec<&str> = values.iter().copied().filter(|v| *v != "60.5").collect();
            match d.below(3) {
                0 => format!("{f} != {}", pick(d, &values)),
                1 => format!("{f} in [{}]", list(d, &values, false)),
                _ => format!("{f} == {}", pick(d, &values)),
            }
        }
        11 => {
            let (f, values) = NUMBERS[d.below(NUMBERS.len() as u64) as usize];
            format!("{f} {} {}", order(d), pick(d, values))
        }
        12 => format!("{} exists", pick(d, &EXIST)),
        13 => {
            let t = pick(d, &["1970-01-01T00:00:00Z", "2026-11-23T00:01:40Z", "2026-11-23T00:03:00Z", "2100-01-01T00:00:00Z"]);
            match d.below(3) {
                0 => format!("@timestamp {} \"{t}\"", pick(d, &["==", "!="])),
                1 => format!("event.ingested {} \"{t}\"", order(d)),
                _ => format!("@timestamp {} \"{t}\"", order(d)),
            }
        }
        14 => pick(
            d,
            &[
                "user.name == event.action",
                "source.port < event.severity",
                "source.ip != destination.ip",
                "tags == user.name",
                "suricata.thing == modsecurity.own",
                "message == event.original",
                "user.name in table(\"people\")",
                "source.port in table(\"people\")",
                "source.ip in hosts(\"prod\")",
                "host.name in hosts(\"prod\")",
                "is(\"bad\")",
                "tls.resumed == true",
                "tls.resumed != false",
                "tags in []",
                "event.sequence <= 20",
                "event.ahead == true",
            ],
        )
        .to_owned(),
        _ => format!("falco.thing {} \"{}\"", pick(d, &["==", "!=", ":", "contains"]), pick(d, &["x", "y", "Y"])),
    }
}

fn expr(d: &mut Dice, depth: u64) -> String {
    if depth == 0 || d.one_in(3) {
        return test(d);
    }
    match d.below(5) {
        0 => format!("not ({})", expr(d, depth - 1)),
        1 | 2 => (0..2 + d.below(2)).map(|_| format!("({})", expr(d, depth - 1))).collect::<Vec<_>>().join(" and "),
        _ => (0..2 + d.below(2)).map(|_| format!("({})", expr(d, depth - 1))).collect::<Vec<_>>().join(" or "),
    }
}

/// A query; now and then one that asks nothing.
pub fn text(d: &mut Dice) -> String {
    if d.one_in(40) { String::new() } else { expr(d, 3) }
}
