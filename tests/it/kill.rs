//! The contract through `kill -9`: the daemon is killed at random moments under load, and in the end the journal, the
//! alerts and what was sent are compared. What was acknowledged is there once, alerted on once; files are read once; of a
//! connection there is a gapless prefix.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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

/// A record of Fail2ban that carries a jail and a number of its own.
pub fn record(jail: &str, n: u64) -> String {
    let at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S,%3f");
    format!("{at} fail2ban.filter [1]: INFO [{jail}] Found 10.{}.{}.{} - 2026-11-24 00:00:00", n >> 16 & 255, n >> 8 & 255, n & 255)
}

/// Jail and number of a record.
pub fn number(record: &str) -> Option<(String, u64)> {
    let (_, rest) = record.split_once("INFO [")?;
    let (jail, rest) = rest.split_once("] Found 10.")?;
    let mut n = 0;
    for part in rest.split_whitespace().next()?.split('.') {
        n = n << 8 | part.parse::<u64>().ok()?;
    }
    Some((jail.to_owned(), n))
}

/// A small generator, so that a seed is a campaign.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
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
    fn new(dir: &Path) -> Estate {
        Estate::with(dir, &dir.join("data"), "[journal]\nsegment_bytes = \"1MiB\"\n", 1)
    }

    /// With a data directory elsewhere, and more in the configuration.
    pub fn with(dir: &Path, data: &Path, more: &str, slow: u32) -> Estate {
        let (http, syslog) = (free_port(), free_port());
        let log = dir.join("fail2ban.log");
        OpenOptions::new().create(true).append(true).open(&log).expect("a file");
        fs::write(dir.join("rules.toml"), RULES).expect("written");
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

    fn rest(&self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds) * self.slow);
    }

    /// Starts it with a moment of `VIGILD_CRASH`.
    fn start(&self, crash: Option<&str>) -> Child {
        self.start_with("VIGILD_CRASH", crash)
    }

    /// Starts it with a variable in its environment.
    pub fn start_with(&self, name: &str, value: Option<&str>) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("daemon.log")).expect("a file");
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        c.arg("run").arg("--config").arg(self.dir.join("vigild.toml")).arg("--data").arg(&self.data);
        c.arg("--alerts").arg(self.dir.join("alerts.jsonl")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        c.env_remove("VIGILD_LOG");
        match value {
            Some(v) => c.env(name, v),
            None => c.env_remove(name),
        };
        c.spawn().expect("it starts")
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

    /// Waits until something holds, a minute at most.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let begin = Instant::now();
        while !holds() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what}\n{}", self.said().lines().rev().take(30).collect::<Vec<_>>().join("\n"));
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

/// A request that was answered with 200: its jail's numbers, and the sequence numbers it was told.
pub struct Accepted {
    pub numbers: std::ops::Range<u64>,
    pub first: u64,
    pub last: u64,
}

/// Sends batches, each under a key, again and again until it is acknowledged.
pub fn http_sender(e: &Estate, jail: &str) -> Vec<Accepted> {
    let (mut n, mut all) = (0, Vec::new());
    while e.on() {
        let numbers = n..n + 1 + n % 7;
        let body: String = numbers.clone().map(|i| record(jail, i) + "\n").collect();
        let key = format!("idempotency-key: {jail}-{n}\r\n");
        loop {
            match e.ask("POST", "/api/v1/ingest/fail2ban", &key, body.as_bytes()) {
                Ok((200, answer)) => {
                    let v: Value = serde_json::from_str(&answer).expect("JSON");
                    let of = |k: &str| v[k].as_u64().unwrap_or_else(|| panic!("no {k} in {answer}"));
                    assert_eq!(of("accepted"), numbers.end - numbers.start, "{answer}");
                    all.push(Accepted { numbers: numbers.clone(), first: of("first"), last: of("last") });
                    e.acknowledged.fetch_add(numbers.end - numbers.start, Ordering::Relaxed);
                    break;
                }
                // 409: the first attempt has not been answered yet.
                Ok((409 | 429 | 503 | 507, _)) | Err(_) if e.on() => std::thread::sleep(Duration::from_millis(10)),
                Ok((409 | 429 | 503 | 507, _)) | Err(_) => return all,
                Ok((status, body)) => panic!("{status}: {body}"),
            }
        }
        n = numbers.end;
        e.rest(2);
    }
    all
}

/// Appends numbered lines to a file that is rotated by renaming; how many it wrote.
pub fn file_writer(e: &Estate, seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let (mut n, mut rotations) = (0, 0);
    let mut f = OpenOptions::new().append(true).open(&e.log).expect("the file");
    while e.on() {
        for _ in 0..1 + dice.below(8) {
            let line = record("file", n) + "\n";
            // A line comes in two writes now and then.
            let cut = if dice.below(4) == 0 { dice.below(line.len() as u64) as usize } else { 0 };
            f.write_all(&line.as_bytes()[..cut]).expect("written");
            f.write_all(&line.as_bytes()[cut..]).expect("written");
            n += 1;
        }
        if dice.below(400) == 0 {
            rotations += 1;
            fs::rename(&e.log, e.dir.join(format!("fail2ban.log.{rotations}"))).expect("renamed");
            f = OpenOptions::new().create(true).append(true).open(&e.log).expect("the file");
        }
        e.rest(5);
    }
    n
}

/// Sends numbered lines over connections, each with a jail of its own; how many it wrote of each at most.
pub fn tcp_sender(e: &Estate) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    let mut connection = 0;
    while e.on() {
        let Ok(mut s) = TcpStream::connect(e.syslog) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        connection += 1;
        let jail = format!("tcp{connection}");
        let mut n = 0;
        while e.on() && n < 200_000 {
            let lines: String = (n..n + 5).map(|i| record(&jail, i) + "\n").collect();
            if s.write_all(lines.as_bytes()).is_err() {
                break;
            }
            n += 5;
            e.rest(8);
        }
        // The last write may have been taken in part.
        sent.insert(jail, n + 5);
    }
    sent
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

/// Named moments: before or after the Nth file operation of a kind the daemon ends as if it had been killed.
const POINTS: [&str; 10] = [
    "sync:before",
    "sync:after",
    "write:before",
    "write:after",
    "rename:before",
    "rename:after",
    "remove:before",
    "remove:after",
    "create:after",
    "sync_dir:after",
];

/// One campaign of so many kills.
fn campaign(seed: u64, kills: u64) {
    let dir = tempfile::Builder::new().prefix("vigild-kill").disable_cleanup(std::env::var("VIGILD_KEEP").is_ok()).tempdir().expect("a folder");
    let e = Arc::new(Estate::new(dir.path()));
    let mut dice = Dice(seed);
    let fail = |what: &str| format!("{what}; repeat with tests/run --long kill --seeds {seed}..{}", seed + 1);
    let begin = Instant::now();
    let mut daemon = e.start(None);
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !holds() {
            let log = || fs::read_to_string(e.dir.join("daemon.log")).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_secs(60), "{}\n{}", fail(what), log().lines().rev().take(30).collect::<Vec<_>>().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("it is ready", &|| e.is_ready());
    let accepted = Arc::new(Mutex::new(BTreeMap::new()));
    let mut senders = Vec::new();
    for jail in ["http1", "http2"] {
        let (e, accepted) = (e.clone(), accepted.clone());
        senders.push(std::thread::spawn(move || {
            let all = http_sender(&e, jail);
            accepted.lock().expect("no panic").insert(jail.to_owned(), all);
        }));
    }
    let file = {
        let e = e.clone();
        std::thread::spawn(move || file_writer(&e, seed))
    };
    let tcp = {
        let e = e.clone();
        std::thread::spawn(move || tcp_sender(&e))
    };

    for k in 0..kills {
        if dice.below(2) == 0 {
            std::thread::sleep(Duration::from_millis(20 + dice.below(400)));
            kill(&mut daemon);
        } else {
            // It ends by itself at a named moment; where it does not, it is killed after a while.
            let begin = Instant::now();
            while daemon.try_wait().expect("a child").is_none() && begin.elapsed() < Duration::from_millis(800) {
                std::thread::sleep(Duration::from_millis(5));
            }
            kill(&mut daemon);
        }
        let point = format!("{}:{}", POINTS[dice.below(POINTS.len() as u64) as usize], 1 + dice.below(60));
        daemon = e.start((dice.below(2) == 0 && k + 1 < kills).then_some(&point));
    }
    let before = e.acknowledged.load(Ordering::Relaxed);
    until("requests are acknowledged again", &|| e.acknowledged.load(Ordering::Relaxed) > before);
    e.stop.store(true, Ordering::Relaxed);
    for s in senders {
        s.join().expect("a sender");
    }
    let (written, sent) = (file.join().expect("the writer"), tcp.join().expect("the sender"));
    let (stored, told, counted) = judge(&e, &mut daemon, &accepted.lock().expect("no panic"), written, &sent, &fail);
    eprintln!(
        "kill: seed {seed}: {kills} kills in {:.0} s, {stored} records stored, {told} alerts, {counted} counted",
        begin.elapsed().as_secs_f64()
    );
}

/// When nobody sends any more: waits until all is final, stops the daemon, and compares what was sent, stored and told: how many
/// records are stored, how many are alerted on, and how many alerts of the rule that counts there are.
pub fn judge(
    e: &Estate,
    daemon: &mut Child,
    accepted: &BTreeMap<String, Vec<Accepted>>,
    written: u64,
    sent: &BTreeMap<String, u64>,
    fail: &dyn Fn(&str) -> String,
) -> (usize, usize, usize) {
    // The file is read to its end when its last number has been alerted on, and all is final a while later.
    std::thread::sleep(Duration::from_millis(1500));
    e.wait(&fail("the file is read and its alerts are final"), || {
        written == 0 || alerts(e, "&rule=each").iter().any(|a| a.0 == "file" && a.1 + 1 == written)
    });
    e.wait(&fail("all is final"), || alerts(e, "&rule=each").iter().all(|a| a.2));
    let told = alerts(e, "&rule=each");
    let counted = alerts_of(e, "&rule=many");
    stop(daemon);

    let stored = dump(e);
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for r in stored.values() {
        let (jail, n) = number(r).unwrap_or_else(|| panic!("{}: {r}", fail("a record is as it was sent")));
        numbers.entry(jail).or_default().push(n);
    }
    for (jail, all) in accepted {
        for a in all {
            let there: Vec<u64> = (a.first..=a.last).filter_map(|s| number(stored.get(&s)?)).filter(|(j, _)| j == jail).map(|(_, n)| n).collect();
            assert_eq!(there, a.numbers.clone().collect::<Vec<_>>(), "{}", fail("what was acknowledged is where the answer says"));
        }
    }
    for (jail, all) in &numbers {
        let wrong = (0..all.len()).find(|&i| all[i] != i as u64);
        // Of datagrams some are lost.
        if let Some(i) = wrong.filter(|_| jail != "udp") {
            let near = &all[i.saturating_sub(3)..(i + 6).min(all.len())];
            panic!("{}: at {i} of {}: {near:?}", fail(&format!("{jail} is there once, in order, without a gap")), all.len());
        }
        if let Some(most) = sent.get(jail) {
            assert!(all.len() as u64 <= *most, "{}", fail("no more than was sent"));
        }
    }
    assert_eq!(numbers.get("file").map_or(0, |f| f.len() as u64), written, "{}", fail("every line of the file"));
    // Every record one alert, no alert without a record.
    let want: BTreeSet<(String, u64)> = numbers.iter().flat_map(|(j, all)| all.iter().map(|n| (j.clone(), *n))).collect();
    let got: BTreeSet<(String, u64)> = told.iter().map(|a| (a.0.clone(), a.1)).collect();
    assert_eq!(told.len(), got.len(), "{}", fail("no alert twice"));
    let lost: Vec<_> = want.difference(&got).take(5).collect();
    let more: Vec<_> = got.difference(&want).take(5).collect();
    assert!(lost.is_empty() && more.is_empty(), "{}: lost {lost:?}, invented {more:?}", fail("every record is alerted on"));
    // A line that was written twice has the same id, and every alert's last line says that it is final.
    let ids = lines(e);
    let missing = told.iter().filter(|a| !ids.contains(&a.3)).count();
    assert_eq!(missing, 0, "{}", fail("every alert was written as a line"));
    (stored.len(), told.len(), counted.len())
}

/// Alerts of a rule: jail, number, whether final, id.
pub fn alerts(e: &Estate, filter: &str) -> Vec<(String, u64, bool, String)> {
    let one = |a: &Value| {
        let text = |p: &str| a.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        let ip = a.pointer("/alert/key/client.ip").and_then(Value::as_str).unwrap_or_default();
        let n = ip.split('.').skip(1).fold(0, |n, p| n << 8 | p.parse::<u64>().unwrap_or(0));
        let jail = a.pointer("/alert/key/rule.name").and_then(Value::as_str).unwrap_or_default().to_owned();
        (jail, n, a.pointer("/alert/final").and_then(Value::as_bool).unwrap_or(false), text("/event/id"))
    };
    alerts_of(e, filter).iter().map(one).collect()
}

pub fn alerts_of(e: &Estate, filter: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let Ok((200, body)) = e.ask("GET", &format!("/api/v1/alerts?limit=10000&order=asc{filter}{cursor}"), "", b"") else { return Vec::new() };
        let v: Value = serde_json::from_str(&body).expect("JSON");
        all.extend(v["alerts"].as_array().cloned().unwrap_or_default());
        match v["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The ids of the lines in the alerts file; a line that a kill has cut is none.
pub fn lines(e: &Estate) -> BTreeSet<String> {
    let f = BufReader::new(File::open(e.dir.join("alerts.jsonl")).expect("a file"));
    let id = |l: String| serde_json::from_str::<Value>(&l).ok()?.pointer("/event/id").and_then(Value::as_str).map(str::to_owned);
    f.lines().map_while(Result::ok).filter_map(id).collect()
}

/// All records of the journal by their number, which must have no gap.
pub fn dump(e: &Estate) -> BTreeMap<u64, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_vigild")).args(["journal", "dump", "--data"]).arg(&e.data).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut all = BTreeMap::new();
    for l in out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let v: Value = serde_json::from_slice(l).expect("JSON");
        let seq = v["seq"].as_u64().expect("a number");
        for (i, r) in v["records"].as_array().into_iter().flatten().enumerate() {
            assert!(all.insert(seq + i as u64, r.as_str().unwrap_or_default().to_owned()).is_none(), "a number is given once");
        }
    }
    if let (Some((first, _)), Some((last, _))) = (all.first_key_value(), all.last_key_value()) {
        assert_eq!(last - first + 1, all.len() as u64, "numbers have no gap");
    }
    all
}

#[test]
fn nothing_acknowledged_is_lost_or_repeated_through_kills() {
    campaign(1, 100);
}

#[test]
#[ignore = "a campaign, run by tests/run --long kill --seeds A..B"]
fn long_kill() {
    for seed in super::streams::seeds(1..11) {
        campaign(seed, 100);
    }
}
