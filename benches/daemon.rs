//! The whole daemon as a process: intake to the journal over TCP beside plain writes in the same run, latency and memory at a
//! steady rate with 500 rules, and what it costs when idle.
//!
//! `VIGILD_BENCH_DIR` names the folder for the journal; without it a temporary one is used. `VIGILD_BENCH_MB` is how much is
//! sent (512), `VIGILD_BENCH_RATE` the steady rate (20000). Arguments name the parts to run: `intake`, `steady`, `idle`.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vigild::disk::{Disk, Real};
use vigild::r#gen::{Form, sample};

const MIB: f64 = (1 << 20) as f64;

struct Daemon {
    child: Child,
    http: String,
    tcp: String,
    _log: std::thread::JoinHandle<()>,
}

impl Daemon {
    fn start(dir: &Path, rules: Option<&Path>) -> Daemon {
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        c.arg("run").arg("--data").arg(dir.join("data")).args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0"]);
        c.arg("--alerts").arg(dir.join("alerts.jsonl"));
        if let Some(r) = rules {
            c.args(["--rules", "builtin"]).arg(r);
        }
        let mut child = c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut http, mut tcp) = (String::new(), String::new());
        for l in log.by_ref().map_while(Result::ok) {
            let of = |k: &str| l.split_once(k).map(|(_, a)| a.split_whitespace().next().unwrap_or_default().to_owned());
            http = of(" http=").unwrap_or(http);
            tcp = of(" tcp=").unwrap_or(tcp);
            if l.contains(": ready") {
                break;
            }
        }
        Daemon { child, http, tcp, _log: std::thread::spawn(move || log.for_each(drop)) }
    }

    fn metric(&self, series: &str) -> f64 {
        let mut s = TcpStream::connect(&self.http).expect("it listens");
        s.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        s.read_to_string(&mut text).expect("read");
        text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
    }

    /// Seconds of CPU so far.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        (fields[11].parse::<f64>().expect("ticks") + fields[12].parse::<f64>().expect("ticks")) / 100.0
    }

    fn memory(&self, what: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = status.lines().find_map(|l| l.strip_prefix(what)?.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    }

    fn stop(mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn plain(dir: &Path, mib: u64) -> f64 {
    let block = vec![0x5a; 1 << 20];
    let path = dir.join("plain");
    let file = Real.create(&path).expect("a file");
    let begun = Instant::now();
    for i in 0..mib {
        file.write_all_at(&block, i << 20).expect("room");
        file.sync_data().expect("a disk");
    }
    let rate = mib as f64 / begun.elapsed().as_secs_f64();
    Real.remove(&path).expect("it is there");
    rate
}

fn intake(dir: &Path, mib: usize) {
    // Each connection has traffic of its own, whose times rise to the end.
    let sent: Vec<Vec<u8>> = (1..=2).map(|seed| sample(Form::Suricata, (mib << 20) / 2 / 1040, seed)).collect();
    let bytes: usize = sent.iter().map(Vec::len).sum();
    let want = sent.iter().flatten().filter(|b| **b == b'\n').count() as f64;
    let floor = plain(dir, (mib / 2) as u64);
    let d = Daemon::start(dir, None);
    let begun = Instant::now();
    let senders: Vec<_> = sent
        .into_iter()
        .map(|lines| {
            let to = d.tcp.clone();
            std::thread::spawn(move || TcpStream::connect(to).expect("it listens").write_all(&lines).expect("sent"))
        })
        .collect();
    while d.metric("vigild_records_total{source=\"syslog\"}") < want {
        std::thread::sleep(Duration::from_millis(20));
    }
    let seconds = begun.elapsed().as_secs_f64();
    senders.into_iter().for_each(|s| s.join().expect("a sender"));
    let rate = bytes as f64 / MIB / seconds;
    let last = d.metric("vigild_journal_entry");
    while d.metric("vigild_engine_entry") < last {
        std::thread::sleep(Duration::from_millis(20));
    }
    let evaluated = begun.elapsed().as_secs_f64();
    println!("{:<44} {floor:>8.0} MiB/s", "1 MiB write + fdatasync");
    println!("{:<44} {rate:>8.0} MiB/s  {:>8.0} records/s  {:.2} of plain", "TCP to the journal, EVE, 57 rules", want / seconds, rate / floor);
    println!("{:<44} {:>8.0} MiB/s  {:>8.0} records/s", "evaluated, two streams of one listener", bytes as f64 / MIB / evaluated, want / evaluated);
    println!("{:<44} {:>8.0} MiB peak", "its memory", d.memory("VmHWM:"));
    d.stop();
}

/// 500 rules, one of which fires on some records at once.
fn rules(path: &Path) {
    let mut text = String::from(
        "[[rule]]\nid = \"bench-now\"\ntitle = \"Now\"\nseverity = \"low\"\nwhere = 'event.module == \"fail2ban\" and event.action == \"found\"'\n\
         by = [\"client.ip\"]\nrearm = \"every\"\nmax_alerts = 1000000\n",
    );
    for i in 0..442 {
        text += &format!(
            "[[rule]]\nid = \"bench-{i}\"\ntitle = \"Bench\"\nseverity = \"low\"\nsignal = true\nwhere = 'url.path contains \"/probe{i}/\" or \
             rule.id == \"90{i:05}\"'\nby = [\"client.ip\"]\ncount = {{ at_least = 5, within = \"5m\" }}\nrearm = {{ cooldown = \"1h\" }}\n"
        );
    }
    fs::write(path, text).expect("written");
}

fn steady(dir: &Path, rate: usize) {
    let file = dir.join("rules.toml");
    rules(&file);
    let d = Daemon::start(dir, Some(&file));
    let (cpu, begun) = (d.cpu(), Instant::now());
    let seconds = 20;
    let mut sender = Command::new(env!("CARGO_BIN_EXE_vigild"));
    sender.args(["gen", "--format", "mixed", "--rate", &rate.to_string(), "--count", &(rate * seconds).to_string(), "--attacks", "0.01"]);
    let mut sender = sender.arg("--to").arg(format!("tcp://{}", d.tcp)).stderr(Stdio::null()).spawn().expect("it starts");
    // From the time that the event bears, which is when it was sent, to when its line can be read.
    let (mut at, mut late) = (0, Vec::new());
    let mut done = None;
    while done.is_none_or(|d: Instant| d.elapsed() < Duration::from_secs(2)) {
        if done.is_none() && sender.try_wait().expect("a child").is_some() {
            done = Some(Instant::now());
        }
        let Ok(mut f) = File::open(dir.join("alerts.jsonl")) else { continue };
        f.seek(SeekFrom::Start(at)).expect("a file");
        let mut text = String::new();
        f.read_to_string(&mut text).expect("read");
        let now = jiff::Timestamp::now();
        let whole = text.rfind('\n').map_or(0, |i| i + 1);
        for l in text[..whole].lines().filter(|l| l.contains("\"step\":\"opened\"") && l.contains("bench-now")) {
            let when = l.split("\"@timestamp\":\"").nth(1).and_then(|t| t.split('"').next()?.parse::<jiff::Timestamp>().ok());
            late.extend(when.map(|w| now.duration_since(w).as_millis_f64()));
        }
        at += whole as u64;
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = sender.wait();
    late.sort_by(f64::total_cmp);
    let p = |q: f64| late.get(((late.len() as f64 * q) as usize).min(late.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
    let share = (d.cpu() - cpu) / begun.elapsed().as_secs_f64();
    println!(
        "{:<44} p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms over {} alerts",
        format!("{rate} mixed records/s, 500 rules, to an alert"),
        p(0.5),
        p(0.99),
        p(1.0),
        late.len()
    );
    println!(
        "{:<44} {share:>8.2} cores, {:.0} MiB peak, {} records",
        "its cost",
        d.memory("VmHWM:"),
        d.metric("vigild_records_total{source=\"syslog\"}")
    );
    d.stop();
}

fn idle(dir: &Path) {
    let d = Daemon::start(dir, None);
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, begun) = (d.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let share = (d.cpu() - cpu) / begun.elapsed().as_secs_f64() * 100.0;
    println!("{:<44} {share:>8.2} % of a core, {:.0} MiB", "idle", d.memory("VmRSS:"));
    d.stop();
}

fn main() {
    let temporary = tempfile::tempdir().expect("a folder");
    let number = |name: &str, or: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let base = std::env::var("VIGILD_BENCH_DIR").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
    let folder = || tempfile::tempdir_in(&base).expect("a folder there");
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|n| n == part);
    if wanted("intake") {
        intake(folder().path(), number("VIGILD_BENCH_MB", 512));
    }
    if wanted("steady") {
        steady(folder().path(), number("VIGILD_BENCH_RATE", 20_000));
    }
    if wanted("idle") {
        idle(folder().path());
    }
}
