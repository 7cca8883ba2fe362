//! Carries a stream to where it is wanted: paced or as fast as it goes, in bounded memory, counted on this end.

mod http;
mod manifest;
mod target;

pub use manifest::Manifest;
pub use target::{Framing, Target};

use super::{Planted, Stream};
use crate::clock;
use http::Poster;
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

/// So much is gathered before it is written, if it is there.
const LARGE: usize = 256 << 10;
/// Pacing goes in steps of this length.
const STEP: Duration = Duration::from_millis(1);
/// A request with fewer records than it may have is sent after this time.
const WAIT: Duration = Duration::from_millis(50);
/// A connection is made, and an answer comes, within this time.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How streams are sent; the same for each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// How records are told apart on a TCP connection.
    pub framing: Framing,
    /// Records a second, each connection; none for as many as go.
    pub rate: Option<f64>,
    /// When it ends, unless the stream does before.
    pub duration: Option<Duration>,
    /// How many records an HTTP request has at most, at least 1.
    pub batch: usize,
    /// The bearer token for HTTP.
    pub token: Option<String>,
    /// How long a request is repeated that was not taken or not answered.
    pub patience: Duration,
    /// What keeps this run's idempotency keys apart from those of others.
    pub run: String,
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// Which it was.
    pub stream: u32,
    /// Records that were handed over whole: to the file, to the kernel, or in an answered request.
    pub records: u64,
    /// Bytes that were handed over, framing included.
    pub bytes: u64,
    /// Records that the other end said it has accepted; HTTP alone says so.
    pub acknowledged: u64,
    /// Requests that were sent again.
    pub repeats: u64,
    /// Datagrams that the other end's machine has refused.
    pub refused: u64,
    /// Why it ended before its time.
    pub error: Option<String>,
    /// Whether that was a matter of files.
    #[serde(skip)]
    pub file: bool,
}

impl Account {
    fn failed(&mut self, what: &str, e: &dyn std::fmt::Display) {
        self.error = Some(format!("{what}: {e}"));
    }
}

/// Records that wait to be sent, framed, with the place behind each.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    planted: Vec<Planted>,
}

/// The open way to a target.
enum Way {
    Out(Box<dyn Write + Send>),
    Tcp(TcpStream),
    Udp(UdpSocket),
    Http(Box<Poster>),
}

impl Way {
    async fn open(plan: &Plan, stream: u32) -> io::Result<Way> {
        let timed = |e: tokio::time::error::Elapsed| io::Error::new(io::ErrorKind::TimedOut, e);
        Ok(match &plan.target {
            Target::Stdout => Way::Out(Box::new(io::stdout())),
            Target::File(path) => Way::Out(Box::new(std::fs::File::create(path)?)),
            Target::Tcp(to) => Way::Tcp(tokio::time::timeout(TIMEOUT, TcpStream::connect(to)).await.map_err(timed)??),
            Target::Udp(to) => {
                let to = tokio::net::lookup_host(to).await?.next().ok_or_else(|| io::Error::other("it has no address"))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Way::Udp(socket)
            }
            Target::Http { authority, path } => Way::Http(Box::new(Poster::open(plan, authority, path, stream).await?)),
        })
    }

    /// Hands over what waits and counts what went.
    async fn put(&mut self, waiting: &Waiting, account: &mut Account) -> io::Result<()> {
        let bytes = &waiting.bytes[..];
        let (mut at, mut end) = (0, Ok(()));
        match self {
            Way::Out(w) => {
                while at < bytes.len() && end.is_ok() {
                    match w.write(&bytes[at..]) {
                        Ok(0) => end = Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => at += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => end = Err(e),
                    }
                }
            }
            Way::Tcp(s) => {
                while at < bytes.len() && end.is_ok() {
                    match s.write(&bytes[at..]).await {
                        Ok(0) => end = Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => at += n,
                        Err(e) => end = Err(e),
                    }
                }
            }
            Way::Udp(s) => {
                for &to in &waiting.ends {
                    match s.send(&bytes[at..to]).await {
                        Ok(_) => {}
                        // A datagram before this one found nobody there.
                        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => account.refused += 1,
                        Err(e) => {
                            end = Err(e);
                            break;
                        }
                    }
                    at = to;
                }
            }
            Way::Http(p) => match p.post(bytes, account).await {
                Ok(()) => at = bytes.len(),
                Err(e) => end = Err(e),
            },
        }
        account.bytes += at as u64;
        account.records += waiting.ends.partition_point(|e| *e <= at) as u64;
        end
    }

    async fn close(self) -> io::Result<()> {
        match self {
            Way::Out(mut w) => w.flush(),
            Way::Tcp(mut s) => s.shutdown().await,
            Way::Udp(_) | Way::Http(_) => Ok(()),
        }
    }
}

/// Sends a stream to its end, to `plan.duration`, or until it cannot go on; attacks that went are written to the manifest.
pub async fn send(plan: &Plan, number: u32, mut stream: Stream, manifest: &Manifest) -> Account {
    let mut account = Account { stream: number, file: plan.target.is_file(), ..Account::default() };
    let mut way = match Way::open(plan, number).await {
        Ok(w) => w,
        Err(e) => {
            account.failed(&format!("cannot {} {}", if account.file { "write to" } else { "reach" }, plan.target), &e);
            return account;
        }
    };
    let (begun, mut waiting, mut scratch) = (clock::monotonic(), Waiting::default(), Vec::new());
    let most = if plan.target.is_http() { plan.batch } else { usize::MAX };
    let mut since = begun.elapsed();
    loop {
        let passed = begun.elapsed();
        let mut over = plan.duration.is_some_and(|d| passed >= d);
        let due = plan.rate.map_or(u64::MAX, |r| (passed.as_secs_f64() * r) as u64 + 1);
        let now = clock::now();
        if waiting.ends.is_empty() {
            since = passed;
        }
        while !over && stream.made() < due && waiting.bytes.len() < LARGE && waiting.ends.len() < most {
            scratch.clear();
            let Some(made) = stream.next(now, &mut scratch) else {
                over = true;
                break;
            };
            plan.framing.frame(&plan.target, &made, &scratch, &mut waiting.bytes);
            waiting.ends.push(waiting.bytes.len());
            waiting.planted.extend(made.planted);
        }
        let full = waiting.bytes.len() >= LARGE || waiting.ends.len() >= most;
        if !waiting.ends.is_empty() && (over || full || !plan.target.is_http() || passed - since >= WAIT) {
            if let Err(e) = way.put(&waiting, &mut account).await {
                if e.kind() == io::ErrorKind::BrokenPipe && matches!(plan.target, Target::Stdout) {
                    // Whoever read has gone; that is no failure.
                    return account;
                }
                let (records, bytes) = (account.records, account.bytes);
                account.failed(&format!("connection {number} to {} broke after {records} records, {bytes} bytes", plan.target), &e);
                return account;
            }
            if let Err(e) = manifest.write(&waiting.planted) {
                account.failed("cannot write the manifest", &e);
                account.file = true;
                return account;
            }
            waiting.bytes.clear();
            waiting.ends.clear();
            waiting.planted.clear();
        }
        if over {
            break;
        }
        if stream.made() >= due {
            tokio::time::sleep(STEP).await;
        }
    }
    if let Err(e) = way.close().await {
        account.failed(&format!("connection {number} to {} did not end well", plan.target), &e);
    }
    account
}
