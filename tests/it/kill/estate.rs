//! A daemon's folder, configuration and ports, and how it is started, asked and ended.

use crate::process::Process;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Each record is one alert of its own, with a rule that counts beside it.
const RULES: &str = r#"
[[rule]]
id       = "each"
title    = "Each record"
severity = "medium"
where    = 'event.module == "fail2ban" and event.action == "found"'
by       = ["client.ip", "rule.name"]
rearm    = "every"
max_alerts = 1000000

[[rule]]
id       = "many"
title    = "Many of one jail"
severity = "low"
where    = 'event.module == "fail2ban" and event.action == "found"'
by       = ["rule.name"]
count    = { at_least = 50, within = "60s" }
rearm    = { cooldown = "5s" }
"#;

/// Writes the rules, so that a daemon that reads them meanwhile finds them whole.
fn put_rules(dir: &Path, rules: &str) {
    let new = dir.join("rules.new");
    fs::write(&new, rules).expect("written");
    fs::rename(new, dir.join("rules.toml")).expect("renamed");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// A daemon's folder, configuration and ports, and what is sent to it.
pub struct Estate {
    pub dir: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    pub http: SocketAddr,
    pub syslog: SocketAddr,
    /// The file that is followed.
    pub log: PathBuf,
    pub stop: AtomicBool,
    pub acknowledged: AtomicU64,
    /// Senders rest so many times longer.
    pub slow: u32,
}

impl Estate {
    /// With a data directory elsewhere, and more in the configuration.
    pub fn with(dir: &Path, data: &Path, more: &str, slow: u32) -> Estate {
        let (http, syslog) = (free_port(), free_port());
        let log = dir.join("fail2ban.log");
        OpenOptions::new().create(true).append(true).open(&log).expect("a file");
        put_rules(dir, RULES);
        let config = format!(
            "rules = [{:?}]\n[http]\nlisten = \"127.0.0.1:{http}\"\n[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:{syslog}\"\n\
             transport = [\"tcp\"]\nformat = \"fail2ban\"\nlateness = \"1s\"\n[[source]]\nkind = \"http\"\nlateness = \"1s\"\n\
             [[source]]\nkind = \"file\"\npath = {:?}\nformat = \"fail2ban\"\n{more}",
            dir.join("rules.toml"),
            log
        );
        fs::write(dir.join("vigild.toml"), config).expect("written");
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        Estate { dir: dir.to_owned(), data: data.to_owned(), http: at(http), syslog: at(syslog), log, stop, acknowledged, slow }
    }

    /// Lets the rules have other titles, from the next start or reload on.
    pub fn retitle(&self, n: u64) {
        put_rules(&self.dir, &RULES.replace("Each record", &format!("Each record, {n}")));
    }

    /// A sender rests.
    pub fn rest(&self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds) * self.slow);
    }

    /// Starts it with a variable in its environment, if it has a value.
    pub fn start_with(&self, name: &str, value: Option<&str>) -> Process {
        let variable = value.map(|v| (name, v));
        self.start(variable.as_slice())
    }

    /// Starts it with these in its environment.
    pub fn start(&self, variables: &[(&str, &str)]) -> Process {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("daemon.log")).expect("a file");
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        c.arg("run").arg("--config").arg(self.dir.join("vigild.toml")).arg("--data").arg(&self.data);
        c.arg("--alerts").arg(self.dir.join("alerts.jsonl")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for name in ["VIGILD_LOG", "VIGILD_CRASH", "VIGILD_CRASH_FROM", "VIGILD_FAIL"] {
            c.env_remove(name);
        }
        c.envs(variables.iter().copied());
        c.spawn().expect("it starts").into()
    }

    pub fn on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        let token = fs::read_to_string(self.data.join("admin.token"))?;
        let mut s = TcpStream::connect(self.http)?;
        s.set_read_timeout(Some(Duration::from_secs(20)))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n{headers}\r\n",
            token.trim(),
            body.len()
        );
        s.write_all(head.as_bytes())?;
        s.write_all(body)?;
        let mut answer = String::new();
        s.read_to_string(&mut answer)?;
        let status = answer.get(9..12).and_then(|c| c.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |b| b.1).to_owned();
        Ok((status, body))
    }

    /// What the daemon has logged, all runs.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default()
    }

    /// Waits until something holds, three minutes at most: a machine may have more to do than this.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(180), "{what}\n{}", self.said().lines().rev().take(30).collect::<Vec<_>>().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The sum of the series of a metric whose labels hold all of these.
    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let Ok((200, text)) = self.ask("GET", "/metrics", "", b"") else { return 0 };
        let of = |l: &str| labels.iter().all(|p| l.contains(p)).then(|| l.rsplit(' ').next()?.parse::<f64>().ok()).flatten();
        text.lines().filter(|l| l.strip_prefix(name).is_some_and(|r| r.starts_with(['{', ' ']))).filter_map(of).sum::<f64>() as u64
    }

    /// A batch under a key, once: the status.
    pub fn post(&self, key: &str, body: &str) -> u16 {
        let answer = self.ask("POST", "/api/v1/ingest/fail2ban", &format!("idempotency-key: {key}\r\n"), body.as_bytes());
        answer.expect("an answer").0
    }

    pub fn is_ready(&self) -> bool {
        self.ask("GET", "/readyz", "", b"").is_ok_and(|(s, _)| s == 200)
    }
}

/// Kills a daemon.
pub fn kill(child: &mut Child) {
    child.kill().expect("it is a child");
    child.wait().expect("it is a child");
}

/// Stops a daemon, which ends well.
pub fn stop(daemon: &mut Child) {
    Command::new("kill").args(["-s", "TERM", &daemon.id().to_string()]).status().expect("kill is there");
    let status = daemon.wait().expect("a child");
    assert!(status.success(), "it stops cleanly: {status}");
}
