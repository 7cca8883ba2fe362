//! vigild as a member of a consumer group: the real binary, its metrics, and what its journal holds after a stop.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Member {
    dir: PathBuf,
    http: u16,
    child: Option<Child>,
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// Waits until something holds; what it says of itself is shown if it never does.
pub fn until(what: &str, seconds: u64, said: &dyn Fn() -> String, holds: &mut dyn FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(seconds), "{what}\n{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Member {
    /// With the source `k`, whose settings beside name, kind and format these are.
    pub fn new(parent: &Path, name: &str, settings: &str) -> Member {
        let dir = parent.join(name);
        fs::create_dir_all(&dir).expect("a folder");
        let http = free_port();
        fs::write(
            dir.join("vigild.toml"),
            format!(
                "rules = []\n[http]\nlisten = \"127.0.0.1:{http}\"\n[alerts]\nfile = {:?}\n\
                 [[source]]\nname = \"k\"\nkind = \"kafka\"\nformat = \"fail2ban\"\n{settings}\n",
                dir.join("alerts.jsonl")
            ),
        )
        .expect("written");
        Member { dir, http, child: None }
    }

    pub fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("daemon.log")).expect("a file");
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        c.arg("run").arg("--config").arg(self.dir.join("vigild.toml")).arg("--data").arg(self.dir.join("data"));
        c.env("VIGILD_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(c.spawn().expect("it starts"));
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is a child");
        child.wait().expect("it is a child");
    }

    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().expect("kill is there").success());
        let status = child.wait().expect("it is a child");
        assert!(status.success() && self.log().contains("stopped; all that had arrived"), "{status}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("daemon.log")).unwrap_or_default();
        text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// A series of the source; `None` where it does not answer.
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let mut s = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        s.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        s.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        s.read_to_string(&mut text).ok()?;
        let series = format!("{name}{{source=\"k\"{labels}}} ");
        text.lines().find_map(|l| l.strip_prefix(&series))?.parse().ok()
    }

    pub fn wait(&self, what: &str, seconds: u64, mut holds: impl FnMut(&Member) -> bool) {
        until(what, seconds, &|| self.log(), &mut || holds(self));
    }

    /// Waits until a series has at least a value.
    pub fn wait_metric(&self, name: &str, labels: &str, least: f64) {
        let begin = Instant::now();
        loop {
            let now = self.metric(name, labels);
            if now.is_some_and(|v| v >= least) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{name}{labels} is {now:?}, not {least}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The records of each stream, in the order of the journal, of a member that does not run.
    pub fn stored(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::<String, Vec<String>>::new();
        let mut next = BTreeMap::<String, i64>::new();
        for e in self.entries().iter().filter(|e| e["kind"] == "records") {
            let stream = e["stream"].as_str().expect("a name").to_owned();
            let mark = &e["mark"]["Kafka"];
            assert_eq!(stream, format!("k:{}/{}", mark["topic"].as_str().expect("a topic"), mark["partition"]), "{e}");
            let offset = mark["next"].as_i64().expect("an offset");
            assert!(next.insert(stream.clone(), offset).is_none_or(|before| before < offset), "offsets only grow: {e}");
            let records = e["records"].as_array().expect("records").iter().map(|r| r.as_str().expect("text").to_owned());
            all.entry(stream).or_default().extend(records);
        }
        all
    }

    /// All entries of the journal.
    pub fn entries(&self) -> Vec<Value> {
        assert!(self.child.is_none(), "a running daemon has its journal open");
        let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
        let to = self.dir.join("dump.jsonl");
        c.args(["journal", "dump", "--data"]).arg(self.dir.join("data")).stdout(File::create(&to).expect("a file"));
        assert!(c.status().expect("it runs").success());
        let text = fs::read_to_string(&to).expect("text");
        text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut c) = self.child.take() {
            let _ = c.kill();
            let _ = c.wait();
        }
    }
}
