//! `vigild init`: a commented configuration with what can be seen of this machine. It asks nothing and overwrites nothing.

mod machine;
mod sources;

use super::{Failure, print, safe};
use crate::config;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Every setting with its default, commented out as `#key = value`.
const SETTINGS: &str = include_str!("init/settings.toml");
/// The file that is written.
const FILE: &str = "vigild.toml";

/// Writes a commented configuration with what it can see of this machine; asks nothing, overwrites nothing.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where vigild.toml goes; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "/etc/vigild")]
    dir: PathBuf,
    /// Print it in place of writing it
    #[arg(long, conflicts_with = "dir")]
    stdout: bool,
}

/// Writes `vigild.toml`, or prints it.
///
/// Errors: 4 where the file is there already or cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (text, seen) = compose(Path::new("/"));
    if args.stdout {
        return print(&text);
    }
    let path = args.dir.join(FILE);
    let shown = safe(&path.display().to_string());
    write(&args.dir, &path, &text).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::File(format!("{shown} is there already, and stays as it is; `vigild init --stdout` shows a new one"))
        }
        _ => Failure::File(format!("cannot write {shown}: {e}")),
    })?;
    print(&format!("wrote {shown}\nfound {seen}\nnext: vigild run --config {shown}, and `vigild connect` for the tools\n"))
}

fn write(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let mut f = OpenOptions::new().write(true).create_new(true).open(path)?;
    f.write_all(text.as_bytes())?;
    f.sync_all()
}

/// The configuration for the machine whose files stand under `root`, and in one line what was found.
fn compose(root: &Path) -> (String, String) {
    let machine = machine::look(root);
    let found = sources::look(root);
    let (about, settings) = SETTINGS.split_once("\n\n").unwrap_or((SETTINGS, ""));
    let zone = machine.zone.as_deref().unwrap_or("UTC");
    let mut text = format!("{about}\n\n# The zone of times that name none.\nzone = {}\n\n{settings}", quoted(zone));

    text.push_str("\n# The inventory: one machine of its name, aliases and addresses. `tags` are yours: rules can ask for them.\n");
    for h in &machine.hosts {
        let _ = write!(text, "[[host]]\nname = {}\naliases = {}\nip = {}\ntags = []\n\n", quoted(&h.name), list(&h.aliases), list(&h.ip));
    }

    text.push_str("# Where records come from. Naming one takes the place of the default ones, so syslog is named too.\n");
    let _ = write!(text, "[[source]]\nkind = \"syslog\"\nlisten = {}\n\n", quoted(&config::SYSLOG.to_string()));
    for s in &found {
        let mut entry = format!("[[source]]\nname = {}\nkind = {}\n", quoted(s.name), quoted(s.kind));
        if !s.paths.is_empty() {
            let _ = writeln!(entry, "path = {}", list(&s.paths));
        }
        if let Some(f) = s.format {
            let _ = writeln!(entry, "format = {}", quoted(f));
        }
        // A kind that this build does not have stays a suggestion.
        let taken = config::read(FILE, &entry).1.is_empty();
        for line in entry.lines() {
            text.extend([if taken { "" } else { "#" }, line, "\n"]);
        }
        text.push('\n');
    }
    let names: Vec<&str> = found.iter().map(|s| s.name).collect();
    let hosts = machine.hosts.len();
    let seen = format!("{hosts} host{}, {}", if hosts == 1 { "" } else { "s" }, if names.is_empty() { "no logs".into() } else { names.join(", ") });
    (text, seen)
}

/// A TOML string: what stands in files of the machine is text, whatever it holds.
fn quoted(s: &str) -> String {
    toml::Value::String(s.to_owned()).to_string()
}

fn list(all: &[String]) -> String {
    format!("[{}]", all.iter().map(|s| quoted(s)).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::collections::BTreeSet;

    /// A machine made of these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        root
    }

    fn read(text: &str) -> Config {
        let (config, said) = config::read(FILE, text);
        assert_eq!(said, [], "{text}");
        config
    }

    const HOSTS: &str = "127.0.0.1 localhost vm-prod\n127.0.1.1\tvm-prod.example.org vm-prod  # ours\n::1 ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
                         192.0.2.10 prod.example.org\n192.0.2.20 vm-db db\n2001:db8::20 vm-db\nnonsense x\n192.0.2.30 bad\"name\n";
    const FIB: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.0\n        /24 link UNICAST\n     \
                       |-- 192.0.2.10\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.10\n        /32 host LOCAL\n";
    const INET6: &str = "20010db8000000000000000000000010 02 40 00 80     eth0\nfe80000000000000000000fffe000001 02 40 20 80     eth0\n\
                         00000000000000000000000000000001 01 80 10 80       lo\nnonsense\n";

    #[test]
    fn an_empty_machine_gets_a_configuration_that_is_taken() {
        let root = machine(&[]);
        let (text, seen) = compose(root.path());
        let c = read(&text);
        assert_eq!((c.sources.len(), c.hosts.len(), seen.as_str()), (2, 0, "0 hosts, no logs"));
    }

    #[test]
    fn this_host_and_those_it_knows_are_the_inventory() {
        let files = [("proc/sys/kernel/hostname", "vm-prod\n"), ("etc/hosts", HOSTS), ("proc/net/fib_trie", FIB), ("proc/net/if_inet6", INET6)];
        let root = machine(&files);
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Berlin", root.path().join("etc/localtime")).expect("linked");
        let c = read(&compose(root.path()).0);
        let hosts: Vec<String> = c.hosts.iter().map(|h| format!("{} {:?} {:?}", h.name, h.aliases, h.ip)).collect();
        assert_eq!(
            hosts,
            ["vm-prod [\"vm-prod.example.org\", \"prod.example.org\"] [192.0.2.10, 2001:db8::10]", "vm-db [\"db\"] [192.0.2.20, 2001:db8::20]",]
        );
        assert_eq!(c.zone.iana_name(), Some("Europe/Berlin"));
    }

    #[test]
    fn logs_that_are_there_become_sources() {
        let files = [
            "var/log/suricata/eve.json",
            "var/log/fail2ban.log",
            "var/ossec/logs/alerts/alerts.json",
            "var/log/nginx/shop_access.log",
            "var/log/modsec_audit.log",
            "var/log/auth.log",
            "var/log/clamav/freshclam.log",
            "var/log/apache2/readme",
        ];
        let root = machine(&files.map(|f| (f, "")));
        let (text, seen) = compose(root.path());
        let c = read(&text);
        let paths =
            |name: &str| c.sources.iter().find(|s| s.name == name).map(|s| format!("{:?} {:?}", s.kind, s.format.as_ref().map(|f| f.value.as_str())));
        for (name, path, format) in [
            ("suricata", "/var/log/suricata/eve.json", "suricata"),
            ("ossec", "/var/ossec/logs/alerts/alerts.json", "ossec"),
            ("nginx", "/var/log/nginx/*access.log", "nginx"),
            ("modsecurity", "/var/log/modsec_audit.log", "modsecurity"),
            ("auth", "/var/log/auth.log", "syslog"),
            ("clamav", "/var/log/clamav/freshclam.log", "clamav"),
        ] {
            let p = paths(name).unwrap_or_else(|| panic!("no {name} in\n{text}"));
            assert!(p.contains(&format!("[\"{path}\"]")) && p.contains(&format!("Some(\"{format}\")")), "{name}: {p}");
        }
        assert_eq!(paths("apache"), None, "a folder without logs is no source");
        assert!(c.sources.iter().any(|s| s.kind.name() == "syslog"), "the default listener stays");
        assert!(seen.contains("suricata") && seen.contains("auth"), "{seen}");
        std::fs::create_dir_all(root.path().join("var/ossec/bin")).expect("made");
        std::fs::write(root.path().join("var/ossec/bin/wazuh-control"), "").expect("written");
        assert!(read(&compose(root.path()).0).sources.iter().any(|s| s.name == "wazuh"), "told by its program");
    }

    #[test]
    fn formats_that_are_named_are_known() {
        let formats = crate::cli::load::formats(&mut Vec::new()).1;
        for f in sources::formats() {
            assert!(crate::parse::Format::named(f, &formats).is_some(), "{f}");
        }
    }

    #[test]
    fn what_stands_there_is_never_overwritten() {
        let dir = tempfile::tempdir().expect("a folder");
        let args = |dir: &Path| Args { dir: dir.join("etc"), stdout: false };
        assert!(run(&args(dir.path())).is_ok());
        let path = dir.path().join("etc/vigild.toml");
        read(&std::fs::read_to_string(&path).expect("written"));
        std::fs::write(&path, "mine").expect("written");
        assert!(matches!(run(&args(dir.path())), Err(Failure::File(why)) if why.contains("there already")));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "mine");
    }

    /// The settings as they are without the marks that comment them out.
    fn uncommented() -> String {
        let on =
            |l: &str| l.strip_prefix('#').filter(|r| r.starts_with(|c: char| c.is_ascii_lowercase() || c == '[')).map_or(l.to_owned(), str::to_owned);
        SETTINGS.lines().map(|l| on(l) + "\n").collect()
    }

    #[test]
    fn every_setting_stands_there_with_its_default() {
        let (c, d) = (read(&uncommented()), Config::default());
        assert_eq!((c.limits, c.state, c.http, c.provisional, c.store), (d.limits, d.state, d.http, d.provisional, d.store));
        // What is not set by default is shown with an example.
        assert_eq!(config::Journal { max_age: None, min_free: None, ..c.journal }, d.journal);
        assert_eq!(format!("{:?} {:?}", c.proxies, c.rules[0].value), format!("{:?} {:?}", d.proxies, d.rules[0].value));
        for s in &c.sources {
            let default = config::Source::of(&s.name, s.kind.clone()).lateness;
            assert_eq!(s.lateness, default, "{}", s.name);
        }
    }

    #[test]
    fn no_setting_is_left_out() {
        // What is known in a table is told by the complaint about a key that is not.
        let known = |before: &str| -> BTreeSet<String> {
            let said = config::read(FILE, &format!("{before}\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n")).1;
            let help = said.into_iter().filter(|d| d.code == "V002").find_map(|d| d.help).expect("a complaint");
            help.trim_start_matches("known here: ").split(", ").map(str::to_owned).collect()
        };
        let wrong = config::read(FILE, "[[source]]\nkind = \"qqqqqqqqqqqqqqqqqqqq\"\n").1;
        let kinds = wrong.into_iter().filter_map(|d| d.help).find_map(|h| h.strip_prefix("known: ").map(str::to_owned)).expect("a list of kinds");
        assert!(kinds.split(", ").count() >= 4, "{kinds}");
        let text = uncommented() + "zone =\n[[host]]\nname =\naliases =\nip =\ntags =\n";
        let shows = |key: &str| {
            let lines = [format!("[{key}]"), format!("[[{key}]]"), format!("[source.{key}]")];
            // What holds only together with something else stands in words.
            let words = [format!("`{key}`"), format!("`{key} = ")].iter().any(|w| SETTINGS.contains(w.as_str()));
            words || text.lines().any(|l| l.starts_with(&format!("{key} =")) || lines.iter().any(|t| t == l))
        };
        let mut missing: Vec<String> = Vec::new();
        for key in known("") {
            let table = format!("[{key}]");
            let keys = match key.as_str() {
                "source" => kinds.split(", ").flat_map(|k| known(&format!("[[source]]\nkind = \"{k}\""))).collect(),
                "host" => known("[[host]]"),
                _ if text.lines().any(|l| l == table) => known(&table),
                _ => BTreeSet::new(),
            };
            missing.extend(keys.into_iter().chain([key]).filter(|k| !shows(k)));
        }
        assert!(missing.is_empty(), "src/cli/init/settings.toml does not show {missing:?}");
    }
}
