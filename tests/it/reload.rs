//! Reloading the shipped binary: what changes, what stays, and that nothing in flight is lost.

use crate::daemon::Daemon;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CONFIG: &str = "rules = [\"{dir}/rules\"]\n[[source]]\nkind = \"http\"\nlateness = \"500ms\"\n";

/// A rule that counts an action by address.
fn rule(id: &str, title: &str, action: &str, at_least: u32) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\ntitle = \"{title}\"\nseverity = \"high\"\nwhere = 'event.action == \"{action}\"'\nby = [\"source.ip\"]\n\
         count = {{ at_least = {at_least}, within = \"10m\" }}\n"
    )
}

/// An event of now.
fn event(action: &str, ip: &str) -> String {
    format!("{{\"@timestamp\":\"{}\",\"event\":{{\"action\":\"{action}\"}},\"source\":{{\"ip\":\"{ip}\"}}}}\n", jiff::Timestamp::now())
}

fn write(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(path, text).expect("written");
}

/// A daemon that starts with these rules in `rules/a.toml` of its folder.
fn start(config: &str, rules: &str) -> Daemon {
    // The rules have to be there before the daemon is, in a folder that its configuration names.
    let dir = tempfile::tempdir().expect("a folder").keep();
    write(&dir.join("a.toml"), rules);
    Daemon::start(&config.replace("{dir}/rules", &dir.display().to_string()), &[])
}

impl Daemon {
    /// The folder of its rules.
    fn rules(&self) -> std::path::PathBuf {
        let text = fs::read_to_string(self.dir.path().join("vigild.toml")).expect("there");
        text.lines().next().and_then(|l| l.split('"').nth(1)).expect("it names a folder").into()
    }

    fn send(&self, action: &str, ip: &str, n: usize) {
        for _ in 0..n {
            let a = self.post("/api/v1/ingest/ecs", "", event(action, ip).as_bytes());
            assert_eq!(a.status, 200, "{}", a.body);
        }
    }

    fn asked(&self, path: &str) -> Value {
        let head = format!("GET {path} HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", self.token());
        let a = self.ask(&head, b"");
        assert_eq!(a.status, 200, "{}", a.body);
        serde_json::from_str(&a.body).expect("JSON")
    }

    /// `rule status` of every alert, withdrawn ones too.
    fn alerts(&self) -> Vec<String> {
        let v = self.asked("/api/v1/alerts?status=open&status=recorded&status=withdrawn&order=asc&limit=10000");
        let text = |a: &Value, p: &str| a.pointer(p).and_then(Value::as_str).unwrap_or("?").to_owned();
        let mut all: Vec<String> =
            v["alerts"].as_array().expect("alerts").iter().map(|a| format!("{} {}", text(a, "/rule/id"), text(a, "/alert/status"))).collect();
        all.sort();
        all
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        c.args(args).arg("--url").arg(format!("http://{}", self.http)).arg("--data").arg(self.dir.path().join("data"));
        c.stdin(Stdio::null()).output().expect("it runs")
    }

    /// Reloads by the command, and gives what it says.
    fn reload(&self) -> String {
        let o = self.command(&["reload"]);
        assert_eq!(o.status.code(), Some(0), "{}{}", text(&o.stderr), self.log());
        text(&o.stdout)
    }

    /// The texts of all records in its journal, once it has ended, with their sources.
    fn dump(&self) -> Vec<(String, String)> {
        let out = Command::new(env!("CARGO_BIN_EXE_vigild"))
            .args(["journal", "dump", "--data"])
            .arg(self.dir.path().join("data"))
            .output()
            .expect("it runs");
        assert!(out.status.success(), "{}", text(&out.stderr));
        let mut all = Vec::new();
        for l in text(&out.stdout).lines() {
            let v: Value = serde_json::from_str(l).expect("JSON");
            let source = v["source"].as_str().unwrap_or_default();
            all.extend(v["records"].as_array().into_iter().flatten().map(|r| (source.to_owned(), r.as_str().unwrap_or_default().to_owned())));
        }
        all
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn state_stays_where_the_meaning_does_and_is_rebuilt_where_it_changes() {
    let rules = [rule("title", "Before", "a", 3), rule("threshold", "T", "b", 5), rule("gone", "G", "c", 3)].concat();
    let mut d = start(CONFIG, &rules);
    let file = d.rules().join("a.toml");
    for action in ["a", "b", "c"] {
        d.send(action, "203.0.113.9", 2);
    }
    write(&file, &[rule("title", "After", "a", 3), rule("threshold", "T", "b", 3), rule("new", "N", "d", 2)].concat());
    let said = d.reload();
    for line in ["reloaded, 3 rules", "rules added: new", "rules changed, windows rebuilt from the journal: threshold", "rules removed: gone"] {
        assert!(said.lines().any(|l| l == line), "{line} is not in\n{said}");
    }
    assert_eq!(d.alerts(), [""; 0], "nothing fires by the reload alone");
    for action in ["a", "b", "c"] {
        d.send(action, "203.0.113.9", 1);
    }
    d.wait("both fire with the third", |d| d.alerts() == ["threshold open", "title open"]);
    let v = d.asked("/api/v1/alerts?rule=title");
    assert_eq!(v["alerts"][0]["rule"]["name"], "After");
    // What is wrong changes nothing, and says all of it.
    write(&file, "[[rule]]\nid = \"x\"\nwherre = 1\n[[rule]]\nid = \"y\"\nseverity = \"hgih\"\n");
    let o = d.command(&["reload"]);
    let why = text(&o.stderr);
    assert_eq!((o.status.code(), text(&o.stdout).as_str()), (Some(3), ""), "{why}");
    for word in ["not reloaded", "wherre", "hgih", "a.toml:3:1", "a.toml:6:"] {
        assert!(why.contains(word), "{word} is not in\n{why}");
    }
    d.send("d", "203.0.113.9", 2);
    d.wait("the rules of before hold", |d| d.alerts().contains(&"new open".to_owned()));
    assert_eq!(d.stop().0.code(), Some(0));
    fs::remove_dir_all(file.parent().expect("a folder")).expect("removed");
}

#[test]
fn what_was_told_of_a_rule_that_goes_is_withdrawn() {
    // An hour of lateness: nothing becomes final.
    let config = CONFIG.replace("500ms", "1h");
    let mut d = start(&config, &[rule("stays", "S", "a", 2), rule("goes", "G", "a", 2)].concat());
    let file = d.rules().join("a.toml");
    d.send("a", "203.0.113.9", 2);
    d.wait("both are told", |d| d.alerts() == ["goes open", "stays open"]);
    write(&file, &rule("stays", "S", "a", 2));
    assert!(d.reload().contains("rules removed: goes"));
    d.wait("one goes", |d| d.alerts() == ["goes withdrawn", "stays open"]);
    fs::remove_dir_all(file.parent().expect("a folder")).expect("removed");
}

#[test]
fn an_inventory_holds_for_what_comes_after() {
    let by_name = "[[rule]]\nid = \"prod\"\ntitle = \"P\"\nseverity = \"low\"\nwhere = 'host.name == \"vm-prod\"'\nrearm = \"every\"\n";
    let mut d = start(CONFIG, by_name);
    let send = |d: &Daemon| {
        let e =
            format!("{{\"@timestamp\":\"{}\",\"event\":{{\"action\":\"a\"}},\"host\":{{\"name\":\"prod.example.org\"}}}}\n", jiff::Timestamp::now());
        assert_eq!(d.post("/api/v1/ingest/ecs", "", e.as_bytes()).status, 200);
    };
    send(&d);
    let drop_in = d.dir.path().join("vigild.d/10-hosts.toml");
    write(&drop_in, "[[host]]\nname = \"vm-prod\"\naliases = [\"prod.example.org\"]\n");
    d.reload();
    assert_eq!(d.alerts(), [""; 0]);
    send(&d);
    d.wait("the second is of vm-prod", |d| d.alerts() == ["prod open"]);
    let folder = d.rules();
    drop(d);
    fs::remove_dir_all(folder).expect("removed");
}

fn append(path: &Path, source: &str, n: std::ops::Range<usize>) {
    let mut f = fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
    for i in n {
        writeln!(f, "{source} line {i}").expect("written");
    }
}

#[test]
fn file_sources_come_change_and_go_without_loss_or_repetition() {
    let source = |name: &str, more: &str| format!("[[source]]\nname = \"{name}\"\nkind = \"file\"\npath = \"{{dir}}/{name}.log\"\n{more}");
    let mut d = Daemon::start(&source("one", ""), &[]);
    let dir = d.dir.path().to_owned();
    let configure = |text: &str| write(&dir.join("vigild.toml"), &text.replace("{dir}", &dir.display().to_string()));
    let count = |source: &str| format!("vigild_records_total{{source=\"{source}\"}}");
    let log = |name: &str| dir.join(format!("{name}.log"));
    append(&log("one"), "one", 0..10);
    append(&log("two"), "two", 0..10);
    d.wait_metric(&count("one"), 10.0);
    // Added beside one that goes on.
    configure(&[source("one", ""), source("two", "")].concat());
    assert!(d.reload().contains("sources begun or ended: two"));
    d.wait_metric(&count("two"), 10.0);
    append(&log("one"), "one", 10..20);
    d.wait_metric(&count("one"), 20.0);
    // Changed.
    configure(&[source("one", "lateness = \"7s\"\n"), source("two", "")].concat());
    append(&log("one"), "one", 20..30);
    assert!(d.reload().contains("sources begun or ended: one"));
    append(&log("one"), "one", 30..40);
    append(&log("two"), "two", 10..20);
    d.wait_metric(&count("one"), 40.0);
    d.wait_metric(&count("two"), 20.0);
    // A comment alone changes nothing.
    configure(&["# a comment\n".to_owned(), source("one", "lateness = \"7s\"\n"), source("two", "")].concat());
    assert!(!d.reload().contains("sources"));
    // Removed, and there again.
    configure(&source("two", ""));
    assert!(d.reload().contains("sources begun or ended: one"));
    append(&log("one"), "one", 40..50);
    append(&log("two"), "two", 20..30);
    d.wait_metric(&count("two"), 30.0);
    assert_eq!(d.metric(&count("one")), 40.0, "it is not followed any more");
    configure(&[source("one", ""), source("two", "")].concat());
    d.reload();
    d.wait_metric(&count("one"), 50.0);
    assert_eq!(d.stop().0.code(), Some(0));
    for (name, n) in [("one", 50), ("two", 30)] {
        let got: Vec<String> = d.dump().into_iter().filter(|r| r.0 == name).map(|r| r.1).collect();
        assert_eq!(got, (0..n).map(|i| format!("{name} line {i}")).collect::<Vec<_>>(), "each line once, in order");
    }
}

#[test]
fn a_source_that_cannot_be_opened_is_tried_again_and_what_needs_a_restart_is_said_each_time() {
    let http = "[[source]]\nkind = \"http\"\n";
    let d = Daemon::start(http, &[]);
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = busy.local_addr().expect("bound").to_string();
    let more = format!("[limits]\nfiles = 9\n{http}[[source]]\nkind = \"syslog\"\nlisten = \"{addr}\"\ntransport = [\"tcp\"]\n");
    write(&d.dir.path().join("vigild.toml"), &more);
    let o = d.command(&["reload"]);
    assert_eq!(o.status.code(), Some(3));
    assert!(text(&o.stderr).contains(&addr), "{}", text(&o.stderr));
    drop(busy);
    for sources in [true, false] {
        let said = d.reload();
        assert_eq!(said.contains("sources begun or ended: syslog"), sources, "{said}");
        assert!(said.contains("only after a restart: [limits]"), "{said}");
    }
    TcpStream::connect(&addr).expect("it listens now");
}

#[test]
fn nothing_in_flight_is_lost_during_reloads_under_load() {
    let config = format!("{CONFIG}[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n");
    let mut d = start(&config, &rule("r", "R", "a", 3));
    let file = d.rules().join("a.toml");
    let (tcp, http, token) = (d.address("tcp"), d.http, d.token());
    let stop = Arc::new(AtomicBool::new(false));
    let on = stop.clone();
    let by_tcp = std::thread::spawn(move || {
        let mut s = TcpStream::connect(tcp).expect("it listens");
        let mut n = 0;
        while !on.load(Ordering::Relaxed) {
            let lines: String = (n..n + 50).map(|i| format!("<38>Nov 23 05:47:10 vm-prod tcp[1]: line {i}\n")).collect();
            s.write_all(lines.as_bytes()).expect("taken");
            n += 50;
            std::thread::sleep(Duration::from_millis(5));
        }
        n
    });
    let on = stop.clone();
    let by_http = std::thread::spawn(move || {
        let mut n = 0;
        while !on.load(Ordering::Relaxed) {
            let body: String = (n..n + 20).map(|i| format!("http line {i}\n")).collect();
            let mut s = TcpStream::connect(http).expect("it listens");
            let head = format!(
                "POST /api/v1/ingest/syslog HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            s.write_all((head + &body).as_bytes()).expect("sent");
            let a = crate::daemon::answer(&mut s);
            assert_eq!(a.status, 200, "{}", a.body);
            n += 20;
        }
        n
    });
    for i in 0..20 {
        write(&file, &[rule("r", &format!("Title {i}"), "a", 3 + i % 2), rule(&format!("r{i}"), "R", "b", 2)].concat());
        if i % 5 == 4 {
            let before = d.log().matches("reloaded: ").count();
            d.signal("HUP");
            d.wait("it is reloaded", |d| d.log().matches("reloaded: ").count() > before);
        } else {
            assert!(d.reload().starts_with("reloaded, 2 rules"));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (tcp, http) = (by_tcp.join().expect("no panic"), by_http.join().expect("no panic"));
    d.wait_metric("vigild_records_total{source=\"syslog\"}", f64::from(tcp));
    assert_eq!(d.stop().0.code(), Some(0));
    let mut got: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (source, record) in d.dump() {
        let n = record.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{record}"));
        got.entry(source).or_default().push(n);
    }
    assert!(tcp > 0 && http > 0);
    assert!(got["syslog"].iter().copied().eq(0..tcp), "each record of the connection once, in order");
    assert!(got["http"].iter().copied().eq(0..http), "each acknowledged record once");
    fs::remove_dir_all(file.parent().expect("a folder")).expect("removed");
}
