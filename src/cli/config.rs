//! `vigild config show`: every setting with the value that holds, and where it comes from.

use super::{Failure, load, print, safe};
use crate::config::show::{self, Setting};
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Shows the configuration that holds.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Show(Show),
}

/// Prints every setting with the value that holds; secrets by where they are kept.
#[derive(Clone, Debug, clap::Args)]
struct Show {
    /// The configuration file; its drop-ins stand beside it [default: /etc/vigild/vigild.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say where each value comes from: file and line, or `default`
    #[arg(long)]
    origin: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Output::Toml)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Toml,
    Json,
}

/// Prints the configuration.
///
/// Errors: 3 with every complaint where it is wrong, 4 where a file cannot be read.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Command::Show(args) = &args.command;
    let mut files = Vec::new();
    let file = args.config.clone().or_else(load::installed);
    let (config, said) = load::read_config(file.as_deref(), &mut files)?;
    load::tell(&said, &files)?;
    let all = show::settings(&config);
    print(&match args.output {
        Output::Toml => toml(&all, args.origin),
        Output::Json => format!("{:#}\n", json(&all, args.origin)),
    })
}

fn origin(s: &Setting) -> String {
    s.from.as_ref().map_or_else(|| "default".to_owned(), |(file, line)| format!("{}:{line}", safe(file)))
}

/// As it could be written; what is not set is commented out.
fn toml(all: &[Setting], origins: bool) -> String {
    let (mut out, mut table) = (String::new(), "");
    for s in all {
        let (within, key) = s.path.rsplit_once('.').unwrap_or(("", &s.path));
        if within != table {
            table = within;
            let names: Vec<&str> = within.split('.').filter(|p| !p.starts_with(|c: char| c.is_ascii_digit())).collect();
            let name = names.join(".");
            // The path of an array's table ends with its number.
            let _ = if within.ends_with(|c: char| c.is_ascii_digit()) { writeln!(out, "\n[[{name}]]") } else { writeln!(out, "\n[{name}]") };
        }
        let line = match &s.value {
            Some(v) => format!("{key} = {}", safe(&v.to_string())),
            None => format!("#{key} is not set"),
        };
        let _ = if origins { writeln!(out, "{line:<40} # {}", origin(s)) } else { writeln!(out, "{line}") };
    }
    out
}

/// The same tree in JSON; what is not set is null.
fn json(all: &[Setting], origins: bool) -> Value {
    let mut root = Value::Object(Map::new());
    for s in all {
        let value = s.value.as_ref().map_or(Value::Null, |v| serde_json::to_value(v).unwrap_or_default());
        let leaf = if origins { json!({ "value": value, "origin": origin(s) }) } else { value };
        *place(&mut root, &s.path) = leaf;
    }
    root
}

/// The place of a path, made where it is not there: numbers are those of arrays.
fn place<'v>(mut at: &'v mut Value, path: &str) -> &'v mut Value {
    for part in path.split('.') {
        at = match part.parse::<usize>() {
            Ok(n) => {
                if !at.is_array() {
                    *at = json!([]);
                }
                if let Some(all) = at.as_array_mut()
                    && all.len() <= n
                {
                    all.resize(n + 1, Value::Null);
                }
                &mut at[n]
            }
            Err(_) => &mut at[part],
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config};
    use std::collections::BTreeSet;

    const EVERYTHING: &str = r#"
zone = "+05:30"
rules = ["builtin", "/etc/vigild/rules"]
[network]
trusted_proxies = ["192.0.2.0/24"]
[http]
listen = "0.0.0.0:9000"
insecure = true
[alerts]
file = "/var/log/alerts.json"
provisional = false
[run]
user = "vigild"
[journal]
max_age = "7d"
min_free = "1GiB"
[limits]
idle = "90s"
record_bytes = 5000
[[host]]
name = "vm-prod"
aliases = ["p"]
ip = ["192.0.2.10"]
tags = ["prod"]
[[source]]
kind = "file"
name = "app"
path = ["a", "b"]
from = "end"
ignore_older = "7d"
format = "nginx"
silent_after = "5m"
trusted_proxies = []
[[source]]
kind = "syslog"
listen = "0.0.0.0:6514"
transport = ["tls"]
allow = ["198.51.100.0/24"]
[source.tls]
certificate = "c"
key = "k"
client_ca = "ca"
client_names = ["*.example.org", "192.0.2.1"]
[[source]]
kind = "syslog"
name = "socket"
unix = "/run/s"
unix_mode = "0600"
[[source]]
kind = "relp"
listen = "127.0.0.1:2514"
window_bytes = "64KiB"
[[source]]
kind = "hook"
name = "sonar"
secret = { file = "/etc/vigild/sonar.secret" }
signature = "hmac-sha256"
header = "X-Sonar"
[[source]]
kind = "hook"
format = "github"
secret = { env = "GITHUB" }
[[source]]
kind = "hook"
name = "open"
signature = "none"
[[source]]
kind = "journald"
units = ["ssh.service"]
priority = "info"
[[source]]
kind = "kafka"
brokers = ["192.0.2.30:9092"]
topics = ["a", "^b"]
start = "latest"
framing = "lines"
[[source]]
kind = "http"
zone = "Europe/Berlin"
[[source]]
kind = "stdin"
"#;

    fn read(text: &str) -> Config {
        let (config, said) = config::read("vigild.toml", text);
        assert_eq!(said, [], "{text}");
        config
    }

    #[test]
    fn what_is_shown_is_the_configuration() {
        for text in ["", EVERYTHING] {
            let c = read(text);
            let shown = toml(&show::settings(&c), true);
            let again = read(&shown);
            assert_eq!(toml(&show::settings(&again), false), toml(&show::settings(&c), false));
            assert_eq!(again.sources, c.sources);
            assert_eq!((again.limits, again.state, again.journal, again.index, again.store), (c.limits, c.state, c.journal, c.index, c.store));
            assert_eq!((again.http, again.hosts, again.proxies, again.alerts, again.user), (c.http, c.hosts, c.proxies, c.alerts, c.user));
        }
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let c = read(EVERYTHING);
        let shown = toml(&show::settings(&c), true);
        let line = |start: &str| shown.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{shown}"));
        let number = |text: &str| 1 + EVERYTHING.lines().position(|l| l == text).expect("it is there");
        let at = |text: &str| format!("# vigild.toml:{}", number(text));
        assert!(line("idle = \"90s\" ").ends_with(&at("idle = \"90s\"")));
        assert!(line("secret = { file = \"/etc/vigild/sonar.secret\" }").ends_with(&at("secret = { file = \"/etc/vigild/sonar.secret\" }")));
        assert!(line("queue_bytes = \"64MiB\"").ends_with("# default"));
        let v = json(&show::settings(&c), true);
        assert_eq!(v["source"][1]["tls"]["key"], json!({ "value": "k", "origin": format!("vigild.toml:{}", number("key = \"k\"")) }));
        let v = json(&show::settings(&c), false);
        assert_eq!((&v["limits"]["idle"], &v["source"][0]["zone"], &v["source"][0]["path"]), (&json!("90s"), &Value::Null, &json!(["a", "b"])));
    }

    #[test]
    fn no_setting_is_left_out() {
        // What is known in a table is told by the complaint about a key that is not.
        let known = |before: &str| -> BTreeSet<String> {
            let said = config::read("x", &format!("{before}\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n")).1;
            let help = said.into_iter().filter(|d| d.code == "V002").find_map(|d| d.help).expect("a complaint");
            help.trim_start_matches("known here: ").split(", ").map(str::to_owned).collect()
        };
        let shown = |text: &str| show::settings(&config::read("x", text).0).into_iter().map(|s| s.path).collect::<BTreeSet<_>>();
        let all = shown("[[host]]\nname = \"a\"\n");
        let mut missing = Vec::new();
        for key in known("") {
            match key.as_str() {
                "source" | "zone" | "rules" => {}
                "host" => missing.extend(known("[[host]]").into_iter().map(|k| format!("host.0.{k}")).filter(|k| !all.contains(k))),
                _ => missing.extend(known(&format!("[{key}]")).into_iter().map(|k| format!("{key}.{k}")).filter(|k| !all.contains(k))),
            }
        }
        missing.extend(["zone", "rules"].into_iter().filter(|k| !all.contains(*k)).map(str::to_owned));
        let wrong = config::read("x", "[[source]]\nkind = \"qqqqqqqqqqqqqqqqqqqq\"\n").1;
        let kinds = wrong.into_iter().filter_map(|d| d.help).find_map(|h| h.strip_prefix("known: ").map(str::to_owned)).expect("a list of kinds");
        for kind in kinds.split(", ") {
            // As the examples above have it.
            let text = EVERYTHING.split("[[source]]").find(|s| s.contains(&format!("kind = \"{kind}\""))).expect("an example");
            let all = shown(&format!("[[source]]{text}"));
            let has = |k: &String| all.contains(&format!("source.0.{k}")) || all.iter().any(|a| a.starts_with(&format!("source.0.{k}.")));
            missing.extend(known(&format!("[[source]]\nkind = \"{kind}\"")).into_iter().filter(|k| !has(k)).map(|k| format!("{kind} {k}")));
        }
        let tls = shown("[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:1\"\n[source.tls]\ncertificate = \"c\"\nkey = \"k\"\n");
        let keys = known("[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:1\"\n[source.tls]\ncertificate = \"c\"\nkey = \"k\"");
        missing.extend(keys.into_iter().map(|k| format!("source.0.tls.{k}")).filter(|k| !tls.contains(k)));
        assert!(missing.is_empty(), "src/config/show.rs does not show {missing:?}");
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let shown = toml(&show::settings(&read("[alerts]\nfile = \"a\\u001b[2J\"\n")), true);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
