//! A daemon of one's own: the same binary as a child process, on loopback, with a directory that goes when it goes.

use crate::clock;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// It has so long to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many bytes of its log are kept to tell why it ended.
const TAIL: usize = 4 << 10;
/// An answer is no longer than this.
const ANSWER: usize = 16 << 20;

/// Why there is no daemon, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file or a process.
    #[error("cannot {what}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It ended, or said nothing in time.
    #[error("the daemon did not start\n{0}")]
    Start(String),
    /// It does not answer.
    #[error("the daemon does not answer\n{log}")]
    Silent {
        /// Why.
        source: io::Error,
        /// The end of its log.
        log: String,
    },
    /// It answered otherwise than with 200.
    #[error("the daemon answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
}

fn file(what: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::File { what, source }
}

/// The process and its directory. Clones are the same; the first to end it does.
#[derive(Clone)]
pub struct Instance(Arc<Mutex<Option<(Child, PathBuf)>>>);

impl Instance {
    fn lock(&self) -> MutexGuard<'_, Option<(Child, PathBuf)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process and removes its directory.
    pub fn end(&self) {
        if let Some((mut child, dir)) = self.lock().take() {
            // It holds nothing that has to last.
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// A running daemon.
pub struct Daemon {
    /// The process.
    pub instance: Instance,
    /// Where it listens.
    pub http: SocketAddr,
    /// Its data directory.
    pub data: PathBuf,
    token: String,
    connection: BufReader<TcpStream>,
    log: Arc<Mutex<String>>,
    alerts: File,
    /// What has been read of an alert line that was not complete.
    partial: Vec<u8>,
}

impl Daemon {
    /// Starts `vigild run` with a configuration and rules beside the built-in ones, and waits until it is ready.
    pub fn start(config: &str, rules: &str) -> Result<Daemon, DaemonError> {
        let dir = directory().map_err(file("make a temporary directory"))?;
        let (data, alerts) = (dir.join("data"), dir.join("alerts.jsonl"));
        let write = |name: &str, text: &str| fs::write(dir.join(name), text);
        let prepared = write("vigild.toml", config).and_then(|()| write("rules.toml", rules)).and_then(|()| File::create(&alerts));
        let spawned = prepared.and_then(|_| spawn(&dir, &data, &alerts));
        let mut child = match spawned {
            Ok(c) => c,
            Err(e) => {
                let _ = fs::remove_dir_all(&dir);
                return Err(file("start the daemon")(e));
            }
        };
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, answer) = mpsc::channel();
        if let Some(err) = child.stderr.take() {
            let log = log.clone();
            std::thread::spawn(move || listen(err, &log, &ready));
        }
        let instance = Instance(Arc::new(Mutex::new(Some((child, dir)))));
        let said = |log: &Mutex<String>| log.lock().unwrap_or_else(PoisonError::into_inner).trim_end().to_owned();
        let begin = || -> Result<Daemon, DaemonError> {
            let http: SocketAddr = answer.recv_timeout(PATIENCE).map_err(|_| DaemonError::Start(said(&log)))?;
            let token = fs::read_to_string(data.join("admin.token")).map_err(file("read admin.token"))?.trim().to_owned();
            let connection = connect(http).map_err(|source| DaemonError::Silent { source, log: said(&log) })?;
            let alerts = File::open(&alerts).map_err(file("read the alerts"))?;
            Ok(Daemon { instance: instance.clone(), http, data: data.clone(), token, connection, log: log.clone(), alerts, partial: Vec::new() })
        };
        begin().inspect_err(|_| instance.end())
    }

    /// Hands over records of a format; what they set off is written when this returns.
    pub fn ingest(&mut self, format: &str, records: &str) -> Result<(), DaemonError> {
        self.request("POST", &format!("/api/v1/ingest/{format}"), records)?;
        let begin = clock::monotonic();
        while begin.elapsed() < PATIENCE {
            let text = self.metrics()?;
            let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse::<i64>().ok()).unwrap_or(0);
            if value("vigild_engine_entry") >= value("vigild_journal_entry") && value("vigild_alerts_waiting_bytes") == 0 {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// What `/metrics` says.
    pub fn metrics(&mut self) -> Result<String, DaemonError> {
        self.request("GET", "/metrics", "")
    }

    /// The alert lines written since the last time.
    pub fn alerts(&mut self) -> Result<Vec<String>, DaemonError> {
        self.alerts.read_to_end(&mut self.partial).map_err(file("read the alerts"))?;
        let end = self.partial.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let whole: Vec<u8> = self.partial.drain(..end).collect();
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }

    fn request(&mut self, method: &str, path: &str, body: &str) -> Result<String, DaemonError> {
        let answer = self.exchange(method, path, body).map_err(|source| {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).trim_end().to_owned();
            DaemonError::Silent { source, log }
        })?;
        match answer {
            (200, body) => Ok(body),
            (status, body) => Err(DaemonError::Refused { status, body }),
        }
    }

    fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            self.http,
            self.token,
            body.len()
        );
        self.connection.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status line"))?;
        let mut length = None;
        loop {
            line.clear();
            if self.connection.read_line(&mut line)? == 0 {
                return Err(bad("the answer ends in its head"));
            }
            match line.trim_end().split_once(':') {
                None => break,
                Some((k, v)) if k.eq_ignore_ascii_case("content-length") => length = v.trim().parse::<usize>().ok(),
                Some(_) => {}
            }
        }
        let length = length.filter(|l| *l <= ANSWER).ok_or_else(|| bad("an answer without a length"))?;
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.instance.end();
    }
}

fn spawn(dir: &Path, data: &Path, alerts: &Path) -> io::Result<Child> {
    let mut c = Command::new(std::env::current_exe()?);
    c.arg("run").arg("--config").arg(dir.join("vigild.toml")).arg("--data").arg(data).arg("--alerts").arg(alerts);
    c.args(["--http", "127.0.0.1:0", "--syslog", "127.0.0.1:0", "--rules", "builtin"]).arg(dir.join("rules.toml"));
    // The address is read from its log.
    c.env("VIGILD_LOG", "info").env("NO_COLOR", "1");
    c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// A directory that nobody else had and nobody else may read.
fn directory() -> io::Result<PathBuf> {
    let mut n = 0;
    loop {
        let dir = std::env::temp_dir().join(format!("vigild-demo-{}-{n}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 100 => n += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Follows the daemon's log; tells the HTTP address once it is ready.
fn listen(err: impl Read, log: &Mutex<String>, ready: &mpsc::Sender<SocketAddr>) {
    let mut http = None;
    for line in BufReader::new(err).lines().map_while(Result::ok) {
        let address = |l: &str| l.split_once(" http=").and_then(|(_, a)| a.split_whitespace().next()?.parse().ok());
        http = http.or_else(|| address(&line));
        if let Some(a) = http
            && line.contains(": ready")
        {
            // Whoever waited may have given up.
            let _ = ready.send(a);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
        let over = log.len().saturating_sub(TAIL);
        let cut = (over..=log.len()).find(|&i| log.is_char_boundary(i)).unwrap_or(0);
        log.drain(..cut);
    }
}

fn connect(http: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let s = TcpStream::connect_timeout(&http, PATIENCE)?;
    s.set_nodelay(true)?;
    s.set_read_timeout(Some(PATIENCE))?;
    s.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(s))
}
