//! `vigild connect`: what to put into another tool's configuration so that it reaches this vigild.
//!
//! A tool is one file in `src/cli/connect/`: its first line says what comes from it; `==> PATH <==` begins what belongs into
//! that file; `@name@` stands for an address, a port or a path of this vigild. Secrets are named by their file, never printed.

use super::{Failure, load, print, safe};
use crate::config::{self, Config, Kind};
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

macro_rules! tools {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("connect/", $name, ".txt")))),*] };
}

/// Every tool by name, in order, with its text.
const TOOLS: &[(&str, &str)] = tools![
    "apache" "argocd" "clamav" "fail2ban" "falco" "falcosidekick" "filebeat" "fluent-bit" "github" "haproxy" "harbor" "journald" "kafka"
    "logstash" "modsecurity" "nginx" "ossec" "rsyslog" "suricata" "syslog-ng" "vault" "vector" "wazuh"
];
/// The usual ports of syslog over TLS (RFC 5425) and of RELP's examples, where no source names one.
const TLS_PORT: u16 = 6514;
const RELP_PORT: u16 = 2514;

/// Prints what to put into a tool's own configuration so that it reaches this vigild.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The tool; without one, all of them are listed
    tool: Option<String>,
    /// The configuration file, for addresses and ports
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The name or address under which the tool's machine reaches this one, where it is another
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Where state is kept, the token among it [default: /var/lib/vigild where it exists, else as `vigild run`]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Prints the text of one tool, or the list of all.
///
/// Errors: 2 for a tool that is not known, with the nearest name; 3 where the configuration is wrong.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Some(tool) = &args.tool else { return print(&list()) };
    let text = text(tool)?;
    let mut files = Vec::new();
    let (config, said) = load::read_config(args.config.as_deref(), &mut files)?;
    load::tell(&said, &files)?;
    let service = Path::new("/var/lib/vigild");
    let data = args.data.clone().or_else(|| service.is_dir().then(|| service.to_owned())).or_else(config::data_dir);
    let token = data.unwrap_or_else(|| service.to_owned()).join(crate::api::token::FILE);
    let zone = if args.config.is_some() { config.zone.clone() } else { TimeZone::system() };
    let host = args.host.clone().or_else(host_name).unwrap_or_else(|| "vigild.example.org".into());
    print(&fill(tool, text, &config, &Here { host: &safe(&host), named: args.host.is_some(), token: &token, zone: &zone }))
}

/// What is known of this machine.
struct Here<'a> {
    host: &'a str,
    /// Whether the host's name was asked for: then it stands for every address.
    named: bool,
    token: &'a Path,
    zone: &'a TimeZone,
}

/// The name that the kernel has for this machine.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|n| !n.is_empty())
}

fn text(tool: &str) -> Result<&'static str, Failure> {
    let lower = tool.to_ascii_lowercase();
    TOOLS.iter().find(|t| t.0 == lower).map(|t| t.1).ok_or_else(|| {
        let near = config::near(&lower, TOOLS.iter().map(|t| t.0)).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        Failure::Usage(format!("no tool is called `{}`{near}\n`vigild connect` lists them", safe(tool)))
    })
}

fn list() -> String {
    let width = TOOLS.iter().map(|t| t.0.len()).max().unwrap_or(0);
    TOOLS.iter().map(|(name, text)| format!("{name:width$}  {}\n", text.lines().next().unwrap_or_default())).collect()
}

/// A tool's text with this vigild's addresses, ports and paths in it.
fn fill(tool: &str, text: &str, config: &Config, here: &Here<'_>) -> String {
    let syslog = config.sources.iter().find_map(syslog_address).unwrap_or(config::SYSLOG);
    // An address that stands for all of this machine's is reached by its name.
    let host = |a: SocketAddr| if here.named || a.ip().is_unspecified() { here.host.to_owned() } else { a.ip().to_string() };
    let other = if here.named || syslog.ip().is_unspecified() { here.host.to_owned() } else { syslog.ip().to_string() };
    let tls = config.sources.iter().find_map(|s| if let Kind::Syslog(c) = &s.kind { c.tls.as_ref().map(|_| c.listen) } else { None });
    let relp = config.sources.iter().find_map(|s| if let Kind::Relp(c) = &s.kind { Some(c.listen) } else { None });
    let values = [
        ("@syslog-host@", host(syslog)),
        ("@syslog-port@", syslog.port().to_string()),
        ("@http-host@", host(config.http)),
        ("@http-port@", config.http.port().to_string()),
        ("@tls-host@", tls.map_or_else(|| other.clone(), host)),
        ("@tls-port@", tls.map_or(TLS_PORT, |a| a.port()).to_string()),
        ("@relp-host@", relp.map_or_else(|| other.clone(), host)),
        ("@relp-port@", relp.map_or(RELP_PORT, |a| a.port()).to_string()),
        ("@token-file@", safe(&here.token.display().to_string())),
        ("@zone@", here.zone.iana_name().unwrap_or("UTC").to_owned()),
    ];
    let (about, parts) = text.split_once('\n').unwrap_or((text, ""));
    let filled = values.iter().fold(parts.to_owned(), |t, (name, value)| t.replace(name, value));
    format!("# {tool}: {about}\n{filled}")
}

/// Where a source takes plain syslog.
fn syslog_address(s: &config::Source) -> Option<SocketAddr> {
    match &s.kind {
        Kind::Syslog(c) if c.udp || c.tcp => Some(c.listen),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(tool: &str, config: &str, named: bool) -> String {
        let (config, said) = config::read("vigild.toml", config);
        assert_eq!(said, []);
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let here = Here { host: "siem.example.org", named, token: Path::new("/var/lib/vigild/admin.token"), zone: &zone };
        fill(tool, text(tool).expect("a tool"), &config, &here)
    }

    /// The parts of a text: the file that each belongs into, and what belongs there.
    fn parts(text: &str) -> Vec<(&str, &str)> {
        let header = |l: &&str| l.starts_with("==> ");
        let headers: Vec<&str> = text.lines().filter(header).collect();
        let bodies = text.split("\n==> ").skip(1).map(|p| p.split_once('\n').map_or("", |p| p.1));
        headers.into_iter().map(|h| h.trim_start_matches("==> ").trim_end_matches(" <==")).zip(bodies).collect()
    }

    #[test]
    fn every_tool_says_where_its_lines_go_what_they_are_for_and_what_to_do_then() {
        assert!(TOOLS.is_sorted_by_key(|t| t.0));
        for (tool, _) in TOOLS {
            let text = filled(tool, "", false);
            let all = parts(&text);
            assert_eq!(all.last().map(|p| p.0), Some("then"), "{tool}");
            assert!(all.len() >= 2, "{tool}");
            for (file, body) in &all {
                assert!(!body.trim().is_empty(), "{tool}: nothing for {file}");
                let comment = body.contains('#') || body.contains("<!--");
                assert!(comment || ["then", "vigild.toml"].contains(file) || all.len() > 3, "{tool}: {file} has no comment");
            }
            let left: Vec<&str> = text.lines().filter(|l| l.split('@').skip(1).any(|p| p.starts_with("http-") || p.ends_with("-port"))).collect();
            assert_eq!(left, [""; 0], "{tool}: a name without a value");
            assert!(text.lines().all(|l| l.chars().count() <= 170 && !l.ends_with(' ')), "{tool}");
        }
    }

    #[test]
    fn every_vigild_toml_is_taken_as_it_stands() {
        for (tool, _) in TOOLS {
            for (_, body) in parts(&filled(tool, "", false)).iter().filter(|p| p.0 == "vigild.toml") {
                let (_, said) = config::read("vigild.toml", body);
                assert!(said.is_empty(), "{tool}: {said:?}\n{body}");
            }
        }
    }

    #[test]
    fn addresses_and_ports_are_those_of_the_configuration() {
        let config =
            "[http]\nlisten = \"192.0.2.7:9000\"\ninsecure = true\n[[source]]\nkind = \"syslog\"\nlisten = \"0.0.0.0:601\"\ninsecure = true\n";
        let t = filled("rsyslog", config, false);
        assert!(t.contains("target=\"siem.example.org\" port=\"601\""), "all addresses are reached by the name: {t}");
        assert!(filled("vector", config, false).contains("http://192.0.2.7:9000"));
        assert!(filled("vector", config, true).contains("http://siem.example.org:9000"), "as --host says");
        assert!(filled("rsyslog", "", false).contains("target=\"127.0.0.1\" port=\"5514\""), "the defaults");
        let relp = "[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:2020\"\n";
        let t = filled("rsyslog", relp, false);
        assert!(t.contains("2020") && !t.contains(&RELP_PORT.to_string()), "{t}");
        assert!(filled("fail2ban", "", false).contains("\"Europe/Berlin\""));
        assert!(filled("filebeat", "", false).contains("/var/lib/vigild/admin.token"));
    }

    #[test]
    fn a_tool_that_is_not_known_gets_the_near_name() {
        assert!(matches!(text("Suricatta"), Err(Failure::Usage(why)) if why.contains("did you mean `suricata`?")));
        assert!(matches!(text("x\u{1b}[2J"), Err(Failure::Usage(why)) if !why.contains('\u{1b}') && !why.contains("mean")));
        assert!(text("FALCO").is_ok());
        assert_eq!(list().lines().count(), TOOLS.len());
    }
}
