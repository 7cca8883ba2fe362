//! Every query of the shipped dashboard and of the shipped alerting rules, asked of a real Prometheus that scrapes a running
//! daemon: each must have an answer.

use crate::daemon::Daemon;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Metrics of stages that this build does not have: an expression that names one of them is asked only where it is there.
const OTHER_STAGES: [&str; 7] = [
    "vigild_engine_lag_entries",
    "vigild_journal_bytes",
    "vigild_journal_entries_total",
    "vigild_journal_fsync_seconds",
    "vigild_source_lag_seconds",
    "vigild_source_last_event_seconds",
    "vigild_source_skew_seconds",
];

const RULE: &str = r#"
[[rule]]
id = "three-probes"
title = "Three probes"
severity = "high"
where = 'event.action == "probe"'
by = ["source.ip"]
count = { at_least = 3, within = "2m" }
"#;

/// Files give probes; syslog's only sender is not on the list, so what it sends is dropped.
const CONFIG: &str = r#"
[[source]]
name = "probes"
kind = "file"
path = "{dir}/probes.json"
format = "ecs"
[[source]]
kind = "syslog"
listen = "127.0.0.1:0"
allow = ["192.0.2.0/24"]
"#;

fn left_out() -> bool {
    std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == "prometheus"))
}

/// Prometheus, killed when dropped.
struct Prometheus {
    child: Child,
    addr: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// The shipped configuration, with the daemon's address and a quick pace.
    fn start(dir: &std::path::Path, target: SocketAddr) -> Prometheus {
        let shipped = fs::read_to_string(format!("{ROOT}/docker/prometheus/prometheus.yml")).expect("it is shipped");
        let config = shipped.replace("15s", "300ms").replace("vigild:8514", &target.to_string());
        assert!(config.contains(&target.to_string()) && config.contains("300ms"), "{shipped}");
        fs::write(dir.join("prometheus.yml"), config).expect("written");
        fs::copy(format!("{ROOT}/docker/prometheus/rules.yml"), dir.join("rules.yml")).expect("copied");
        let addr = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let mut c = Command::new("prometheus");
        c.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
        c.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
        c.arg(format!("--web.listen-address={addr}")).arg("--log.level=error");
        let child = c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Prometheus {
            child: child.expect("prometheus is not there: apt-get install prometheus, or leave the test out with VIGILD_SKIP=prometheus"),
            addr,
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut s = TcpStream::connect(self.addr).ok()?;
        s.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        s.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut text = String::new();
        s.read_to_string(&mut text).ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }

    /// The values of a query's series; an error of the query fails the test.
    fn ask(&self, query: &str) -> Vec<f64> {
        let encoded: String = query.bytes().map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") }).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).unwrap_or_default();
        assert_eq!(answer["status"], "success", "{query}\n{answer}");
        let series = answer["data"]["result"].as_array().expect("series");
        series.iter().map(|s| s["value"][1].as_str().and_then(|v| v.parse().ok()).expect("a number")).collect()
    }
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The expressions of the dashboard as Grafana sends them, each with its panel's title.
fn panels() -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("{ROOT}/docker/grafana/dashboards/vigild.json")).expect("it is shipped");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut all = Vec::new();
    for p in dashboard["panels"].as_array().expect("panels").iter().filter(|p| p["type"] != "row") {
        let targets = p["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{}", p["title"]);
        for t in targets {
            let expr = t["expr"].as_str().expect("an expression").replace("$__rate_interval", "1m").replace("$source", ".*");
            assert!(!expr.contains('$'), "a variable that is not known here: {expr}");
            all.push((p["title"].as_str().expect("a title").to_owned(), expr));
        }
    }
    all
}

/// Sends three probes of an address, and what is dropped.
fn traffic(d: &Daemon, from: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let at = jiff::Timestamp::from_microsecond(now.as_micros() as i64).expect("in range");
    let line = format!("{{\"@timestamp\":\"{at}\",\"event\":{{\"action\":\"probe\"}},\"source\":{{\"ip\":\"{from}\"}}}}\n");
    let mut f = OpenOptions::new().create(true).append(true).open(d.dir.path().join("probes.json")).expect("a file");
    f.write_all(line.repeat(3).as_bytes()).expect("written");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.send_to(b"<38>Nov 23 05:47:10 vm-prod app[7]: from nobody we know", d.address("udp")).expect("sent");
}

#[test]
fn every_panel_and_every_alerting_rule_has_an_answer() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, RULE).expect("written");
    let mut d = Daemon::start(CONFIG, &["--rules", &rules.display().to_string()]);
    traffic(&d, "203.0.113.9");
    d.wait("the first alert", |d| d.get("/metrics").body.contains("vigild_alerts_total{"));
    let prometheus = Prometheus::start(dir.path(), d.http);
    wait("Prometheus scrapes the daemon", || prometheus.get("/api/v1/query?query=up").is_some_and(|v| v["data"]["result"][0]["value"][1] == "1"));
    traffic(&d, "203.0.113.10");
    d.wait_metric("vigild_alerts_total{rule=\"three-probes\",severity=\"high\"}", 2.0);
    d.wait_metric("vigild_records_dropped_total{source=\"syslog\",reason=\"sender\"}", 2.0);
    wait("it has seen both", || {
        prometheus.ask("sum(increase(vigild_records_dropped_total[1m])) > 0 and sum(increase(vigild_alerts_total[1m])) > 0").len() == 1
    });

    let there = d.get("/metrics").body;
    let other = |expr: &str| OTHER_STAGES.iter().any(|m| expr.contains(m) && !there.contains(m.trim_end_matches("_total")));
    let mut empty = Vec::new();
    let panels = panels();
    assert!(panels.len() > 20, "{panels:?}");
    for (title, expr) in panels.iter().filter(|p| !other(&p.1)) {
        let values = prometheus.ask(expr);
        let moves = ["Records a second", "Dropped in the last hour", "Alerts in the last hour"].contains(&title.as_str());
        if values.is_empty() || (moves && values.iter().all(|v| *v <= 0.0)) {
            empty.push(format!("{title}: {expr} {values:?}"));
        }
    }
    let all = prometheus.get("/api/v1/rules").expect("rules");
    let rules = all["data"]["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 9, "{all}");
    for r in rules {
        let query = r["query"].as_str().expect("a query");
        // What is compared has to be there; whether it is beyond the bound is for the day when it is.
        let at = [" > ", " < "].iter().filter_map(|o| query.rfind(o)).max().unwrap_or_else(|| panic!("no bound in {query}"));
        assert!(r["lastError"].is_null() || r["lastError"] == "", "{r}");
        if !other(query) && prometheus.ask(&query[..at]).is_empty() {
            empty.push(format!("{}: {query}", r["name"]));
        }
    }
    assert!(empty.is_empty(), "without an answer:\n{}", empty.join("\n"));
    drop(prometheus);
    assert_eq!(d.stop().0.code(), Some(0));
}

#[test]
fn promtool_finds_nothing_in_what_is_shipped() {
    if left_out() {
        return;
    }
    let promtool = |args: &[&str]| {
        let o = Command::new("promtool").args(args).current_dir(format!("{ROOT}/docker/prometheus")).output();
        let o = o.expect("promtool is not there: apt-get install prometheus, or leave the test out with VIGILD_SKIP=prometheus");
        assert!(o.status.success(), "{args:?}\n{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
    };
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["check", "rules", "rules.yml"]);
}
