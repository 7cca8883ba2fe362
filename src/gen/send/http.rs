//! Requests over one kept connection, repeated with the same idempotency key until they are answered.

use super::{Account, Plan, TIMEOUT};
use crate::clock;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer's head and body have at most so many bytes.
const ANSWER: usize = 1 << 20;
/// The first and the longest wait before a request is repeated.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Posts bodies to one path.
pub struct Poster {
    authority: String,
    path: String,
    token: Option<String>,
    /// What the keys begin with.
    keys: String,
    posted: u64,
    patience: Duration,
    connection: Option<TcpStream>,
}

/// What was answered.
struct Answer {
    status: u16,
    wait: Option<Duration>,
    close: bool,
    body: Vec<u8>,
}

impl Poster {
    /// Connects; the first connection is not waited for.
    pub async fn open(plan: &Plan, authority: &str, path: &str, stream: u32) -> io::Result<Poster> {
        let mut p = Poster {
            authority: authority.to_owned(),
            path: path.to_owned(),
            token: plan.token.clone(),
            keys: format!("gen-{}-{stream}", plan.run),
            posted: 0,
            patience: plan.patience,
            connection: None,
        };
        p.connection = Some(p.connect().await?);
        Ok(p)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let s = tokio::time::timeout(TIMEOUT, TcpStream::connect(&self.authority)).await;
        let s = s.map_err(|e| io::Error::new(io::ErrorKind::TimedOut, e))??;
        s.set_nodelay(true)?;
        Ok(s)
    }

    /// Posts a body until it is accepted, `patience` has passed, or the answer says that it never will be.
    pub async fn post(&mut self, body: &[u8], account: &mut Account) -> io::Result<()> {
        self.posted += 1;
        let token = self.token.as_deref().map(|t| format!("authorization: Bearer {t}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n{token}idempotency-key: {}-{}\r\n\r\n",
            self.path,
            self.authority,
            body.len(),
            self.keys,
            self.posted
        );
        let (begun, mut pause) = (clock::monotonic(), PAUSES[0]);
        loop {
            let tried = tokio::time::timeout(TIMEOUT, self.exchange(head.as_bytes(), body)).await;
            let (why, wait) = match tried {
                Ok(Ok(a)) if (200..300).contains(&a.status) => {
                    if a.close {
                        self.connection = None;
                    }
                    account.acknowledged += accepted(&a.body).ok_or_else(|| io::Error::other("the answer does not say how many were accepted"))?;
                    return Ok(());
                }
                Ok(Ok(a)) => {
                    let why = format!("answered {}: {}", a.status, crate::cli::safe(String::from_utf8_lossy(&a.body).trim()));
                    if !matches!(a.status, 408 | 409 | 429 | 500 | 502..=504 | 507) {
                        return Err(io::Error::other(why));
                    }
                    (io::Error::other(why), a.wait)
                }
                Ok(Err(e)) => (e, None),
                Err(e) => (io::Error::new(io::ErrorKind::TimedOut, e), None),
            };
            // Whoever refuses a body may not have read it: what follows would be read as the rest of it.
            self.connection = None;
            if begun.elapsed() >= self.patience {
                return Err(why);
            }
            tokio::time::sleep(wait.unwrap_or(pause).min(self.patience)).await;
            pause = (pause * 2).min(PAUSES[1]);
            account.repeats += 1;
        }
    }

    async fn exchange(&mut self, head: &[u8], body: &[u8]) -> io::Result<Answer> {
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let Some(s) = self.connection.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
        s.write_all(head).await?;
        // The other end may answer before it has read everything; what it says counts for more than that it closed.
        let sent = s.write_all(body).await;
        match answer(s).await {
            Ok(a) => Ok(a),
            Err(e) => Err(sent.err().unwrap_or(e)),
        }
    }
}

/// Reads one answer; its body has a length.
async fn answer(s: &mut TcpStream) -> io::Result<Answer> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        if let Some(i) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break i;
        }
        if bytes.len() > ANSWER {
            return Err(wrong("the answer's head is too long"));
        }
        if s.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|l| l.split_once(':').filter(|(n, _)| *n == name).map(|(_, v)| v.trim().to_owned()));
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| wrong("the answer is not HTTP"))?;
    let length = header("content-length").and_then(|l| l.parse::<usize>().ok());
    let length = length.filter(|l| *l <= ANSWER).ok_or_else(|| wrong("the answer has no length, or too large a one"))?;
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        if s.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let wait = header("retry-after").and_then(|w| w.parse().ok()).map(Duration::from_secs);
    Ok(Answer { status, wait, close: header("connection").is_some_and(|c| c == "close"), body })
}

/// How many records an answer says were accepted.
fn accepted(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get("accepted")?.as_u64()
}
