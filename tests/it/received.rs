//! A daemon that tells each message that it has: what went in can be compared with what came out.

use crate::daemon::Daemon;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Each message with `n=` in it is an alert of its own, whose message is that message.
const RULE: &str = r#"
[[rule]]
id = "each-message"
title = "Each message"
severity = "informational"
where = 'message contains "n="'
by = ["message"]
rearm = "every"
summary = "{message}"
max_alerts = 1000000
"#;

/// A daemon, and what it tells.
pub struct Received {
    pub daemon: Daemon,
    dir: TempDir,
}

impl Received {
    /// Starts it.
    pub fn start(config: &str) -> Received {
        let dir = tempfile::tempdir().expect("a folder");
        let (rules, alerts) = (dir.path().join("rules.toml"), dir.path().join("alerts.json"));
        fs::write(&rules, RULE).expect("written");
        let daemon = Daemon::start(config, &["--rules", &rules.display().to_string(), "--alerts", &alerts.display().to_string()]);
        Received { daemon, dir }
    }

    /// Where a source listens: the log names it as `udp`, `tcp`, `tls` or `relp`.
    pub fn address(&self, source: &str, what: &str) -> SocketAddr {
        let log = self.daemon.log();
        let line =
            log.lines().find(|l| l.contains(&format!("source={source} ")) && l.contains(&format!(" {what}=1"))).unwrap_or_else(|| panic!("{log}"));
        line.split_once(&format!(" {what}=")).and_then(|(_, a)| a.split(' ').next()?.parse().ok()).expect("an address")
    }

    /// The messages, in the order in which they were stored.
    pub fn messages(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("alerts.json")).unwrap_or_default();
        // The last line may be in the middle of being written.
        let whole = text.rfind('\n').map_or("", |n| &text[..n]);
        // An alert may be amended or withdrawn while records come out of order: what was told last of it holds.
        let mut told = BTreeMap::new();
        for line in whole.lines() {
            let a: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let id = a["event"]["id"].as_str().unwrap_or_default().to_owned();
            if a["rule"]["id"] != "each-message" {
                continue;
            } else if a["alert"]["step"] == "withdrawn" {
                told.remove(&id);
            } else {
                told.insert(id, (a["alert"]["evidence"][0]["seq"].as_u64(), a["message"].as_str().unwrap_or_default().to_owned()));
            }
        }
        let mut all: Vec<_> = told.into_values().collect();
        all.sort();
        all.into_iter().map(|m| m.1).collect()
    }

    /// How many records of a source are stored.
    pub fn stored(&self, source: &str) -> u64 {
        self.daemon.metric(&format!("vigild_records_total{{source=\"{source}\"}}")) as u64
    }

    /// Waits until so many records of a source are stored, a minute at most, and gives how many are.
    pub fn wait_stored(&self, source: &str, n: u64) -> u64 {
        let begin = Instant::now();
        loop {
            let now = self.stored(source);
            if now >= n {
                return now;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{source}: {now} of {n}\n{}", self.daemon.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until something holds of what is stored, a minute at most.
    pub fn wait(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let all = self.messages();
            if holds(&all) {
                return all;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}: {} messages\n{}", all.len(), self.daemon.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The number behind `n=` in a message, up to its semicolon.
pub fn number(message: &str) -> Option<usize> {
    message.split_once("n=")?.1.split_once(';')?.0.parse().ok()
}
