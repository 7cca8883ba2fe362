//! RELP: syslog with answers. Each record is answered when it is durable, and not before.
//!
//! What comes at once is one chunk; while it is made durable more is read, up to the window. Answers leave in the order of
//! the frames. A sender that loses an answer sends again, and that record is stored twice: RELP has no way to tell.
//!
//! Source: <https://www.rsyslog.com/doc/relp.html>.

mod answer;
mod frame;

use super::connection::{Connection, Listener, READ, read_now, serve};
use super::syslog::bind_tcp;
use super::tls::Tls;
use super::{BATCH, Begin, Intake, LINGER, OpenError, Opened};
use crate::config::source::relp::Relp;
use crate::event::Batch;
use crate::pipeline::{Source, Stream};
use answer::Answer;
use frame::{Command, Framer, Malformed};
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Whoever has left, or is asked to leave, is waited for so long with the answers that are due.
const FAREWELL: Duration = Duration::from_secs(10);

/// Opens the listener of a source.
pub fn open(c: &Relp, source: Arc<Source>) -> Result<Vec<Opened>, OpenError> {
    let failed = |e: io::Error| OpenError::Listen { what: source.name.clone(), addr: c.listen.to_string(), source: e };
    let tls = c.tls.as_ref().map(|t| Tls::open(t, &source.name)).transpose()?;
    let socket = bind_tcp(c.listen).map_err(failed)?;
    tracing::info!(source = %source.name, relp = %socket.local_addr().map_err(failed)?, tls = tls.is_some(), "listening");
    let (s, window) = (source.clone(), (c.window, c.window_bytes));
    let each = move |connection, stream, intake| session(connection, stream, intake, window);
    let begin: Begin = Box::new(move |intake, tasks| drop(tasks.spawn(serve(Listener::Tcp(socket), tls, s, intake, each))));
    Ok(vec![Opened { source, begin }])
}

/// A session: reading and answering go on side by side.
async fn session(connection: Connection, stream: Arc<Stream>, intake: Intake, window: (usize, usize)) {
    let (from, to) = tokio::io::split(connection);
    // Each answer in it holds a place of the window, but for the last ones.
    let (answers, due) = mpsc::channel(window.0 + 2);
    let mut answering = pin!(answer::write(to, due));
    let reader = Reader::new(stream.clone(), intake.clone(), answers, window);
    let mut stop = intake.clone();
    tokio::select! {
        // Where the daemon stops and the journal takes nothing, nobody waits for it.
        _ = async { stop.stopped().await; sleep(3 * LINGER).await } => {}
        // Nobody takes the answers any more, so that what is read now would be sent again.
        _ = &mut answering => {}
        () = reader.read(from) => {
            let wait = if intake.is_stopping() { 2 * LINGER } else { FAREWELL };
            // What is not answered in time is sent again.
            let _ = timeout(wait, answering).await;
        }
    }
    intake.queue.close(&stream).await;
}

/// How a session ends.
enum End {
    /// The other side says so.
    Closed(u32),
    /// What it sends is not RELP, or not in its order.
    Wrong(Malformed),
    /// It has gone, or has been too slow.
    Gone,
}

/// The reading half of a session.
struct Reader {
    stream: Arc<Stream>,
    intake: Intake,
    framer: Framer,
    batch: Batch,
    /// The numbers of the frames in the batch.
    numbers: Vec<u32>,
    /// How many frames have been whole so far.
    completed: u64,
    is_open: bool,
    answers: mpsc::Sender<Answer>,
    frames: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    window: (usize, usize),
}

impl Reader {
    fn new(stream: Arc<Stream>, intake: Intake, answers: mpsc::Sender<Answer>, window: (usize, usize)) -> Reader {
        let framer = Framer::new(intake.limits.record_bytes);
        let (frames, bytes) = (Arc::new(Semaphore::new(window.0)), Arc::new(Semaphore::new(window.1)));
        Reader { stream, intake, framer, batch: Batch::default(), numbers: Vec::new(), completed: 0, is_open: false, answers, frames, bytes, window }
    }

    /// Reads until the session ends, or until the daemon stops and there is nothing more now.
    async fn read(mut self, mut from: impl AsyncRead + Unpin) {
        let end = self.frames(&mut from).await;
        self.hand_over().await;
        let last = match end {
            // The daemon stops.
            None => answer::server_close(),
            Some(End::Closed(n)) => answer::closed(n),
            Some(End::Wrong(m)) => {
                self.stream.source.metrics.cut_off.inc();
                tracing::info!(stream = %self.stream.name, why = m.why, "closed: what comes is not RELP");
                answer::refused(m)
            }
            Some(End::Gone) => return,
        };
        // The writing half may be gone.
        let _ = self.answers.send(Answer::Say(last)).await;
    }

    /// Reads frames; `None` where the daemon stops.
    async fn frames(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Option<End> {
        let (idle, handshake) = (self.intake.limits.idle, self.intake.limits.handshake_timeout);
        let mut share = self.intake.budget.share();
        let mut buffer = vec![0; READ];
        let mut until: Option<Instant> = None;
        let mut deadline = Instant::now() + handshake.min(idle);
        loop {
            let read = if until.is_none() {
                let mut stop = self.intake.stop.clone();
                tokio::select! {
                    _ = stop.wait_for(|s| *s) => {
                        until = Some(Instant::now() + LINGER);
                        continue;
                    }
                    r = timeout_at(deadline, from.read(&mut buffer)) => match r {
                        Ok(r) => r,
                        // It may be waiting for us.
                        Err(_) if self.is_open && self.frames.available_permits() < self.window.0 => {
                            deadline = Instant::now() + idle;
                            continue;
                        }
                        Err(_) => {
                            self.stream.source.metrics.cut_off.inc();
                            tracing::info!(stream = %self.stream.name, "closed: it has completed no frame for too long");
                            return Some(End::Gone);
                        }
                    }
                }
            } else {
                match read_now(from, &mut buffer).await {
                    Some(r) => r,
                    None => return None,
                }
            };
            let mut read = Some(read);
            // What is there already goes into the same chunk.
            while let Some(r) = read {
                let n = match r {
                    Ok(0) | Err(_) => return Some(End::Gone),
                    Ok(n) => n,
                };
                let before = self.completed;
                if let ControlFlow::Break(end) = self.take(&buffer[..n]).await {
                    return Some(end);
                }
                if !share.hold(self.framer.held()) {
                    self.stream.source.metrics.cut_off.inc();
                    tracing::warn!(stream = %self.stream.name, "closed: what all connections have begun has reached `connection_bytes`");
                    return Some(End::Gone);
                }
                if self.completed == before {
                    break;
                }
                deadline = Instant::now() + idle;
                read = read_now(from, &mut buffer).await;
            }
            self.hand_over().await;
            if until.is_some_and(|u| Instant::now() >= u) {
                return None;
            }
        }
    }

    /// Takes bytes that were read.
    async fn take(&mut self, mut bytes: &[u8]) -> ControlFlow<End> {
        let wrong = |number, why| ControlFlow::Break(End::Wrong(Malformed { number: Some(number), why }));
        loop {
            let f = match self.framer.next(&mut bytes) {
                Ok(Some(f)) => f,
                Ok(None) => return ControlFlow::Continue(()),
                Err(m) => return ControlFlow::Break(End::Wrong(m)),
            };
            self.completed += 1;
            match f.command {
                Command::Open if self.is_open => return wrong(f.number, "the session is open already"),
                Command::Open => match answer::opened(f.number, f.data) {
                    Ok(text) => {
                        self.is_open = true;
                        let _ = self.answers.send(Answer::Say(text)).await;
                    }
                    Err(why) => return wrong(f.number, why),
                },
                _ if !self.is_open => return wrong(f.number, "the session is not open"),
                Command::Syslog => {
                    let mut d = f.data;
                    while let [rest @ .., b'\n' | b'\r' | 0] = d {
                        d = rest;
                    }
                    self.batch.push(d, f.over);
                    self.numbers.push(f.number);
                    if self.numbers.len() >= self.window.0 || self.batch.bytes.len() >= BATCH.min(self.window.1) {
                        self.hand_over().await;
                    }
                }
                Command::Close => return ControlFlow::Break(End::Closed(f.number)),
                Command::Unknown => return wrong(f.number, "no such command"),
            }
        }
    }

    /// Hands over what has been gathered when the window has room for it.
    async fn hand_over(&mut self) {
        if self.numbers.is_empty() {
            return;
        }
        let numbers = std::mem::take(&mut self.numbers);
        let bytes = self.batch.bytes.len().clamp(1, self.window.1) as u32;
        // Neither semaphore is ever closed.
        let Ok(frames) = self.frames.clone().acquire_many_owned(numbers.len() as u32).await else { return };
        let Ok(bytes) = self.bytes.clone().acquire_many_owned(bytes).await else { return };
        let Some(mut chunk) = self.intake.chunk(&self.stream, self.stream.source.format, &mut self.batch) else { return };
        let (done, stored) = oneshot::channel();
        chunk.done = Some(done);
        self.intake.queue.send(chunk).await;
        let _ = self.answers.send(Answer::Stored { numbers, stored, window: (frames, bytes) }).await;
    }
}
