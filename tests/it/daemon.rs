//! The shipped binary as a daemon: does it start, take records by every way, bound them, drain and exit with the right code?

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running daemon with a directory of its own, killed when dropped.
pub struct Daemon {
    child: Child,
    pub dir: TempDir,
    log: Arc<Mutex<String>>,
    pub http: SocketAddr,
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A command in a directory of its own; `{dir}` in the configuration is that directory.
fn command(config: &str, args: &[&str]) -> (Command, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let text = config.replace("{dir}", &dir.path().display().to_string());
    fs::write(dir.path().join("vigild.toml"), text).expect("written");
    (command_in(dir.path(), args), dir)
}

fn command_in(dir: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.arg("run").arg("--config").arg(dir.join("vigild.toml")).arg("--data").arg(dir.join("data")).args(["--http", "127.0.0.1:0"]).args(args);
    c.env_remove("VIGILD_LOG");
    c
}

/// Starts a command and keeps what it says.
fn spawn(mut c: Command) -> (Child, Arc<Mutex<String>>) {
    spawn_with(c.stdin(Stdio::piped()).stdout(Stdio::piped()))
}

fn spawn_with(c: &mut Command) -> (Child, Arc<Mutex<String>>) {
    let mut child = c.stderr(Stdio::piped()).spawn().expect("it starts");
    let log = Arc::new(Mutex::new(String::new()));
    let (err, to) = (child.stderr.take().expect("piped"), log.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(err).lines().map_while(Result::ok) {
            let mut log = to.lock().expect("no panic");
            log.push_str(&line);
            log.push('\n');
        }
    });
    (child, log)
}

/// Runs a daemon that is expected to refuse to start.
pub fn refused(config: &str, args: &[&str]) -> Output {
    let (mut c, _dir) = command(config, args);
    c.stdin(Stdio::null()).output().expect("it runs")
}

impl Daemon {
    pub fn start(config: &str, args: &[&str]) -> Daemon {
        let (c, dir) = command(config, args);
        Daemon::of(spawn(c), dir)
    }

    /// Starts it as a service manager does that has bound these, both under one name.
    pub fn activated(config: &str, name: &str, sockets: [OwnedFd; 2]) -> Daemon {
        let (c, dir) = command(config, &[]);
        let mut sh = Command::new("sh");
        sh.args(["-c", "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\""]);
        sh.arg(c.get_program()).args(c.get_args()).env("LISTEN_FDNAMES", format!("{name}:{name}")).env_remove("VIGILD_LOG");
        let [third, fourth] = sockets.map(Stdio::from);
        Daemon::of(spawn_with(sh.stdin(third).stdout(fourth)), dir)
    }

    fn of((child, log): (Child, Arc<Mutex<String>>), dir: TempDir) -> Daemon {
        let mut d = Daemon { child, dir, log, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        d.is_ready();
        d
    }

    /// Stops it, and starts it again in the same directory.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Starts it again in the same directory, once it has ended.
    pub fn start_again(&mut self) {
        (self.child, self.log) = spawn(command_in(self.dir.path(), &[]));
        self.http.set_port(0);
        self.is_ready();
    }

    fn is_ready(&mut self) {
        self.wait("it is ready", |d| d.log().contains(": ready"));
        self.http = self.address("http");
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// The address that the log names for `http`, `udp` or `tcp`.
    pub fn address(&self, what: &str) -> SocketAddr {
        let log = self.log();
        let at = log.find(&format!(" {what}=")).unwrap_or_else(|| panic!("no {what} in\n{log}"));
        log[at + what.len() + 2..].split_whitespace().next().and_then(|a| a.parse().ok()).expect("an address")
    }

    /// Waits until something holds, ten seconds at most.
    pub fn wait(&mut self, what: &str, holds: impl Fn(&Daemon) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            if let Some(s) = self.child.try_wait().expect("a child") {
                panic!("{what}: it ended with {s}\n{}", self.log());
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{what}\n{}\n{}", self.log(), self.scrape());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a metric has a value.
    pub fn wait_metric(&mut self, name: &str, value: f64) {
        self.wait(&format!("{name} is {value}"), |d| d.metric(name) == value);
    }

    fn scrape(&self) -> String {
        if self.http.port() == 0 { String::new() } else { self.get("/metrics").body }
    }

    /// The value of a series, `name{labels}` as it stands in `/metrics`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.scrape();
        let line = text.lines().find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a number")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"), b"")
    }

    pub fn token(&self) -> String {
        fs::read_to_string(self.dir.path().join("data/admin.token")).expect("a token").trim().to_owned()
    }

    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let (token, n) = (self.token(), body.len());
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {n}\r\n{headers}\r\n");
        self.ask(&head, body)
    }

    pub fn connect(&self) -> TcpStream {
        let s = TcpStream::connect(self.http).expect("it listens");
        s.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        s
    }

    /// Sends a request as it stands and reads the answer to its end.
    pub fn ask(&self, head: &str, body: &[u8]) -> Answer {
        let mut s = self.connect();
        s.write_all(head.as_bytes()).expect("sent");
        // It may answer before it has read everything.
        let _ = s.write_all(body);
        answer(&mut s)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there").success());
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }

    /// Sends SIGTERM and gives the exit status and how long it took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        self.signal("TERM");
        let begin = Instant::now();
        loop {
            if let Some(s) = self.child.try_wait().expect("a child") {
                // The thread that reads the log has a moment to finish.
                std::thread::sleep(Duration::from_millis(50));
                return (s, begin.elapsed());
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not stop\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn answer(s: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = s.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// What the last line for a source in the log says of `records` or `dropped`.
fn in_all(d: &Daemon, source: &str, what: &str) -> u64 {
    let log = d.log();
    let line = log.lines().find(|l| l.contains("taken in all") && l.contains(&format!("source={source} "))).unwrap_or_else(|| panic!("{log}"));
    line.split_whitespace().find_map(|w| w.strip_prefix(what)?.strip_prefix('=')).and_then(|n| n.parse().ok()).expect("a number")
}

pub fn lines(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| format!("<38>Nov 23 05:47:10 vm-prod app[7]: line {i}\n").into_bytes()).collect()
}

const ALL: &str = r#"
[[source]]
kind = "syslog"
listen = "127.0.0.1:0"
[[source]]
name = "app"
kind = "file"
path = "{dir}/logs/*.log"
[[source]]
kind = "stdin"
"#;

#[test]
fn records_come_in_by_every_way_and_are_counted_by_source() {
    let mut d = Daemon::start(ALL, &[]);
    assert_eq!(d.get("/livez").status, 200);
    assert_eq!(d.get("/readyz").status, 200);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for l in lines(30).split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
        udp.send_to(l, d.address("udp")).expect("sent");
    }
    TcpStream::connect(d.address("tcp")).expect("it listens").write_all(&lines(20)).expect("sent");
    let a = d.post("/api/v1/ingest/syslog", "", &lines(10));
    assert!(a.status == 200 && a.body.starts_with("{\"accepted\":10,\"first\":"), "{} {}", a.status, a.body);
    assert_eq!(d.metric("vigild_records_total{source=\"http\"}"), 10.0, "answered when the journal has them");
    fs::create_dir(d.dir.path().join("logs")).expect("a folder");
    fs::write(d.dir.path().join("logs/a.log"), lines(7)).expect("written");
    d.child.stdin.take().expect("piped").write_all(&lines(5)).expect("sent");
    d.wait_metric("vigild_records_total{source=\"syslog\"}", 50.0);
    d.wait_metric("vigild_records_total{source=\"app\"}", 7.0);
    d.wait_metric("vigild_records_total{source=\"stdin\"}", 5.0);
    assert_eq!(d.metric("vigild_open{source=\"app\"}"), 1.0);
    d.wait_metric("vigild_queue_bytes", 0.0);
}

#[test]
fn wrong_configuration_is_refused_with_every_complaint() {
    let config = "zone = \"Europe/Berlm\"\nrulez = []\nrules = [\"/no/such/rules\"]\n[[source]]\nkind = \"file\"\npath = \"x\"\nformat = \"suricat\"\n[limits]\nidle = 3\n";
    let o = refused(config, &[]);
    let err = String::from_utf8_lossy(&o.stderr);
    assert_eq!(o.status.code(), Some(3), "{err}");
    for word in
        ["V002", "V003", "V005", "V008", "V009", "did you mean `rules`?", "did you mean `suricata`?", "/no/such/rules", "vigild.toml:2:1", "5 errors"]
    {
        assert!(err.contains(word), "{word} is not in\n{err}");
    }
    assert!(o.stdout.is_empty());
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let code = |config: &str, args: &[&str]| refused(config, args).status.code();
    assert_eq!(code("", &["--no-such-flag"]), Some(2));
    assert_eq!(code("", &["--http", "nowhere"]), Some(2));
    assert_eq!(code("zone = 1", &[]), Some(3));
    assert_eq!(code("", &["--syslog", "0.0.0.0:0"]), Some(3), "reachable from elsewhere without `insecure`");
    assert_eq!(code("[[source]]\nkind = \"http\"\n", &["--alerts", "/no/such/folder/alerts"]), Some(4));
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = busy.local_addr().expect("it has one").to_string();
    let o = refused("[[source]]\nkind = \"http\"\n", &["--syslog", &addr]);
    assert_eq!(o.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&o.stderr).contains(&addr), "it says what it cannot listen on");
    let o = Command::new(env!("CARGO_BIN_EXE_vigild")).args(["run", "--config", "/no/such/file"]).output().expect("it runs");
    assert_eq!(o.status.code(), Some(3));
}

const HTTP_ONLY: &str = "[[source]]\nkind = \"http\"\n";

#[test]
fn http_says_why_it_does_not_take_something() {
    let limits = "[limits]\nbody_bytes = 2000\nbodies_bytes = 3000\nqueue_bytes = 3000\n";
    let mut d = Daemon::start(&format!("{HTTP_ONLY}{limits}"), &[]);
    let check = |a: Answer, status: u16, word: &str| {
        assert_eq!(a.status, status, "{}\n{}", a.head, a.body);
        assert!(a.head.contains("content-type: application/problem+json"), "{}", a.head);
        assert!(a.body.contains(word), "{word} is not in {}", a.body);
    };
    check(d.get("/api/v1/ingest/syslog"), 401, "admin.token");
    check(d.get("/nothing"), 401, "admin.token");
    let wrong = format!("GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n", "0".repeat(64));
    check(d.ask(&wrong, b""), 401, "admin.token");
    check(d.post("/metrics", "", b""), 405, "method");
    check(d.post("/nothing", "", b""), 404, "nothing under this path");
    check(d.post("/api/v1/ingest/falko", "", b"{}\n"), 404, "did you mean `falco`");
    check(d.post("/api/v1/ingest/syslog", "", &[b'x'; 2001]), 413, "2000 bytes");
    check(d.post("/api/v1/ingest/syslog", "content-encoding: br\r\n", b"x"), 415, "gzip");
    check(d.post("/api/v1/ingest/syslog", "content-encoding: gzip\r\n", b"x"), 400, "not gzip");
    let unsized_body = format!(
        "POST /api/v1/ingest/auto HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        d.token()
    );
    let chunked = [&b"fa0\r\n"[..], &[b'x'; 4000], b"\r\n0\r\n\r\n"].concat();
    check(d.ask(&unsized_body, &chunked), 413, "2000 bytes");
    // One body in flight holds the memory that the second would need.
    let mut slow = d.connect();
    let head = format!(
        "POST /api/v1/ingest/auto HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: bearer {}\r\ncontent-length: 1500\r\n\r\n",
        d.token()
    );
    slow.write_all(head.as_bytes()).expect("sent");
    d.wait_metric("vigild_http_bodies_bytes", 1500.0);
    let busy = d.post("/api/v1/ingest/auto", "", &[b'x'; 1600]);
    assert!(busy.head.contains("retry-after: 1"), "{}", busy.head);
    check(busy, 429, "nothing was taken");
    slow.write_all(&[b'x'; 1500]).expect("sent");
    let a = answer(&mut slow);
    assert_eq!((a.status, a.body.as_str()), (200, "{\"accepted\":1,\"first\":1,\"last\":1}"));
    assert_eq!(d.metric("vigild_http_bodies_bytes"), 0.0);
}

#[test]
fn a_gzip_body_is_taken() {
    let d = Daemon::start(HTTP_ONLY, &[]);
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(&lines(1000)).expect("memory");
    let a = d.post("/api/v1/ingest/auto", "content-encoding: gzip\r\n", &e.finish().expect("memory"));
    assert_eq!((a.status, a.body.as_str()), (200, "{\"accepted\":1000,\"first\":1,\"last\":1000}"));
}

#[test]
fn slow_and_silent_clients_are_cut_off() {
    let limits = "[limits]\nheader_timeout = \"400ms\"\nbody_timeout = \"400ms\"\nidle = \"400ms\"\nconnections = 2\nhttp_connections = 3\n";
    let mut d = Daemon::start(&format!("[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n{limits}"), &[]);
    let ends = |mut s: TcpStream, what: &str| {
        let begin = Instant::now();
        let mut rest = Vec::new();
        let _ = s.read_to_end(&mut rest);
        assert!(begin.elapsed() < Duration::from_secs(5), "{what} is not cut off");
        String::from_utf8_lossy(&rest).into_owned()
    };
    ends(d.connect(), "a client that says nothing");
    let mut s = d.connect();
    s.write_all(b"GET /livez HTTP/1.1\r\nhost:").expect("sent");
    ends(s, "half a head");
    let mut s = d.connect();
    s.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert!(ends(s, "a client that asks no more").contains("200 OK"));
    let mut s = d.connect();
    let head = format!("POST /api/v1/ingest/auto HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\nhalf a", d.token());
    s.write_all(head.as_bytes()).expect("sent");
    assert!(ends(s, "half a body").contains("408"));

    let tcp = d.address("tcp");
    let connect = || {
        let s = TcpStream::connect(tcp).expect("it listens");
        s.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        s
    };
    let (a, b, third) = (connect(), connect(), connect());
    ends(third, "a connection over the limit");
    assert_eq!(d.metric("vigild_refused_total{source=\"syslog\"}"), 1.0);
    ends(a, "a silent syslog connection");
    ends(b, "a silent syslog connection");
    d.wait_metric("vigild_cut_off_total{source=\"syslog\"}", 2.0);
    d.wait_metric("vigild_open{source=\"syslog\"}", 0.0);

    // With all connections taken, the next is refused, and there is room again when they have been cut off.
    let held: Vec<TcpStream> = (0..3).map(|_| d.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    ends(d.connect(), "an HTTP connection over the limit");
    held.into_iter().for_each(|s| drop(ends(s, "a silent client")));
    assert!(d.metric("vigild_refused_total{source=\"http\"}") >= 1.0);
}

#[test]
fn sigterm_takes_what_has_arrived_and_ends_with_0() {
    for round in 0..3 {
        let mut d = Daemon::start("[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n", &[]);
        let (udp, mut tcp) = (UdpSocket::bind("127.0.0.1:0").expect("a socket"), TcpStream::connect(d.address("tcp")).expect("it listens"));
        tcp.write_all(&lines(3000)).expect("sent");
        for l in lines(100).split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
            udp.send_to(l, d.address("udp")).expect("sent");
        }
        let (status, took) = d.stop();
        assert_eq!(status.code(), Some(0), "{}", d.log());
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(in_all(&d, "syslog", "records"), 3100, "round {round}\n{}", d.log());
    }
}

#[test]
fn an_ordinary_user_s_second_interrupt_is_not_needed() {
    let mut d = Daemon::start(HTTP_ONLY, &[]);
    d.signal("INT");
    let begin = Instant::now();
    while d.child.try_wait().expect("a child").is_none() {
        assert!(begin.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(d.child.wait().expect("a child").code(), Some(0));
}

#[test]
fn the_token_is_for_its_owner_alone() {
    let d = Daemon::start(HTTP_ONLY, &[]);
    let file = d.dir.path().join("data/admin.token");
    assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(d.token().len(), 64);
    assert!(!d.log().contains(&d.token()));
}

#[test]
fn datagrams_that_find_no_room_are_counted_by_reason() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n[limits]\nqueue_bytes = 1024\nudp_buffer_bytes = 1024\n";
    let alerts = tempfile::tempdir().expect("a folder");
    let file = alerts.path().join("alerts.json");
    let mut d = Daemon::start(config, &["--alerts", &file.display().to_string()]);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = d.address("udp");
    for _ in 0..20_000 {
        udp.send_to(&[b'x'; 800], to).expect("sent");
    }
    d.wait("in = stored + dropped", |d| {
        let dropped = |r: &str| d.metric(&format!("vigild_records_dropped_total{{source=\"syslog\",reason=\"{r}\"}}"));
        d.metric("vigild_records_total{source=\"syslog\"}") + dropped("queue") + dropped("kernel") == 20_000.0
    });
    assert!(d.metric("vigild_records_dropped_total{source=\"syslog\",reason=\"kernel\"}") > 0.0, "so small a buffer must overflow");
    d.wait("the daemon says so itself", |_| fs::read_to_string(&file).is_ok_and(|t| t.contains("vigild-source-drops")));
    let text = fs::read_to_string(&file).expect("there");
    let line: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&line["alert"]["key"]["source"], &line["event"]["module"]), (&"syslog".into(), &"vigild".into()));
}

#[test]
fn senders_that_are_not_allowed_are_not_heard() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\nallow = [\"192.0.2.0/24\"]\n";
    let mut d = Daemon::start(config, &[]);
    UdpSocket::bind("127.0.0.1:0").expect("a socket").send_to(b"x", d.address("udp")).expect("sent");
    let _ = TcpStream::connect(d.address("tcp")).expect("it listens").write_all(b"x\n");
    d.wait_metric("vigild_records_dropped_total{source=\"syslog\",reason=\"sender\"}", 1.0);
    d.wait_metric("vigild_refused_total{source=\"syslog\"}", 1.0);
    assert_eq!(d.metric("vigild_records_total{source=\"syslog\"}"), 0.0);
}

#[test]
fn records_over_the_limit_are_cut_and_counted() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n[limits]\nrecord_bytes = 1024\n";
    let mut d = Daemon::start(config, &[]);
    let long = [vec![b'x'; 5000], b"\nshort\n".to_vec()].concat();
    UdpSocket::bind("127.0.0.1:0").expect("a socket").send_to(&long[..5000], d.address("udp")).expect("sent");
    TcpStream::connect(d.address("tcp")).expect("it listens").write_all(&long).expect("sent");
    assert_eq!(d.post("/api/v1/ingest/auto", "", &long).status, 200);
    d.wait_metric("vigild_records_truncated_total{source=\"syslog\"}", 2.0);
    d.wait_metric("vigild_records_total{source=\"syslog\"}", 3.0);
    assert_eq!(d.metric("vigild_records_truncated_total{source=\"http\"}"), 1.0);
}

#[test]
fn any_bytes_are_taken_and_nothing_stalls() {
    let mut d = Daemon::start("[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n", &[]);
    // A fixed seed: a failure comes again.
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = |n: usize| -> Vec<u8> {
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        (0..n).map(|_| next()).collect()
    };
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for i in 0..200 {
        udp.send_to(&noise(i * 7), d.address("udp")).expect("sent");
    }
    for _ in 0..5 {
        TcpStream::connect(d.address("tcp")).expect("it listens").write_all(&noise(100_000)).expect("sent");
        let _ = d.ask(&String::from_utf8_lossy(&noise(2000)), b"");
        assert_eq!(d.post("/api/v1/ingest/auto", "", &noise(100_000)).status, 200);
        for format in ["ossec", "falco", "suricata", "fail2ban", "modsecurity", "syslog", "ecs"] {
            assert_eq!(d.post(&format!("/api/v1/ingest/{format}"), "", &noise(20_000)).status, 200, "{format}");
        }
    }
    d.wait_metric("vigild_open{source=\"syslog\"}", 0.0);
    assert!(d.post("/api/v1/ingest/auto", "", b"one more\n").body.starts_with("{\"accepted\":1,"));
    assert_eq!(d.stop().0.code(), Some(0));
}

fn append(path: &Path, text: &[u8]) {
    fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(text)).expect("written");
}

#[test]
fn a_file_is_followed_through_rotation_and_truncation() {
    let mut d = Daemon::start("[[source]]\nname = \"app\"\nkind = \"file\"\npath = \"{dir}/*.log*\"\n", &[]);
    let file: PathBuf = d.dir.path().join("app.log");
    const RECORDS: &str = "vigild_records_total{source=\"app\"}";
    append(&file, b"one\ntwo\nthr");
    d.wait_metric(RECORDS, 2.0);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(d.metric(RECORDS), 2.0, "half a line waits for its newline");
    append(&file, b"ee\n");
    d.wait_metric(RECORDS, 3.0);
    // Renamed, written to once more by who has it open, and made anew: nothing twice, nothing lost.
    let old = d.dir.path().join("app.log.1");
    fs::rename(&file, &old).expect("renamed");
    append(&old, b"four\n");
    append(&file, b"five\nsix\n");
    d.wait_metric(RECORDS, 6.0);
    // Emptied and written to again.
    fs::write(&file, b"").expect("emptied");
    d.wait_metric("vigild_cut_off_total{source=\"app\"}", 1.0);
    append(&file, b"seven\n");
    d.wait_metric(RECORDS, 7.0);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(d.metric(RECORDS), 7.0);
    // The renamed one is let go of once it has been quiet.
    assert!(d.metric("vigild_open{source=\"app\"}") >= 1.0);
}

#[test]
fn files_with_a_backlog_are_read_to_their_end() {
    let dir = tempfile::tempdir().expect("a folder");
    for i in 0..5 {
        fs::write(dir.path().join(format!("{i}.log")), lines(20_000)).expect("written");
    }
    let config = format!("[[source]]\nname = \"app\"\nkind = \"file\"\npath = \"{}/*.log\"\n[limits]\nfiles = 4\n", dir.path().display());
    let mut d = Daemon::start(&config, &[]);
    d.wait_metric("vigild_records_total{source=\"app\"}", 80_000.0);
    assert_eq!(d.metric("vigild_refused_total{source=\"app\"}"), 1.0, "the fifth is over the limit");
}

const RULE: &str = r#"
[[rule]]
id = "three-probes"
title = "Three probes"
severity = "high"
where = 'event.action == "probe"'
by = ["source.ip"]
count = { at_least = 3, within = "2m" }

[[rule]]
id = "probes-counted"
title = "Probes"
severity = "informational"
alert = false
where = 'event.action == "probe"'
metric = { name = "probes_total", kind = "counter", label_fields = { from = "{source.ip}" } }
"#;

fn probe(action: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let at = jiff::Timestamp::from_microsecond(now.as_micros() as i64).expect("in range");
    format!("{{\"@timestamp\":\"{at}\",\"event\":{{\"action\":\"{action}\"}},\"source\":{{\"ip\":\"203.0.113.9\"}}}}\n")
}

#[test]
fn an_alert_is_told_when_it_fires_and_when_it_is_final_under_one_id() {
    let dir = tempfile::tempdir().expect("a folder");
    let (rules, alerts) = (dir.path().join("rules.toml"), dir.path().join("alerts.json"));
    fs::write(&rules, RULE).expect("written");
    let config = "[[source]]\nkind = \"http\"\nlateness = \"200ms\"\n";
    let mut d = Daemon::start(config, &["--rules", &rules.display().to_string(), "--alerts", &alerts.display().to_string()]);
    let lines = |file: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(file).expect("there");
        text.lines().map(|l| serde_json::from_str(l).expect("a line is JSON")).collect()
    };
    for n in 1..=3 {
        assert_eq!(d.post("/api/v1/ingest/ecs", "", probe("probe").as_bytes()).status, 200);
        d.wait("what it set off is written", |_| lines(&alerts).len() == (n == 3) as usize);
    }
    std::thread::sleep(Duration::from_millis(300));
    // Time goes on: nothing can change it any more.
    assert_eq!(d.post("/api/v1/ingest/ecs", "", probe("other").as_bytes()).status, 200);
    d.wait("it is final", |_| lines(&alerts).len() == 2);
    // One more in its quiet time is told too, with the next tick.
    assert_eq!(d.post("/api/v1/ingest/ecs", "", probe("probe").as_bytes()).status, 200);
    d.wait("it has matched again", |_| lines(&alerts).iter().any(|a| a["alert"]["count"] == 4));
    let all = lines(&alerts);
    assert_eq!(all.iter().filter(|a| a["event"]["id"] == all[0]["event"]["id"]).count(), all.len(), "{all:?}");
    assert_eq!((&all[0]["alert"]["final"], &all[1]["alert"]["final"]), (&false.into(), &true.into()));
    assert_eq!((&all[0]["rule"]["id"], &all[0]["alert"]["key"]["source.ip"]), (&"three-probes".into(), &"203.0.113.9".into()));
    assert_eq!(d.metric("vigild_alerts_total{rule=\"three-probes\",severity=\"high\"}"), 1.0);
    d.wait_metric("probes_total{from=\"203.0.113.9\"}", 3.0);
    assert_eq!(d.stop().0.code(), Some(0));
}

#[test]
fn a_rule_that_is_wrong_keeps_the_daemon_from_starting() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, RULE.replace("at_least = 3", "at_leest = 3")).expect("written");
    let o = refused(HTTP_ONLY, &["--rules", &rules.display().to_string()]);
    let err = String::from_utf8_lossy(&o.stderr);
    assert_eq!(o.status.code(), Some(3), "{err}");
    assert!(err.contains("at_leest") && err.contains("rules.toml:8:"), "{err}");
}
