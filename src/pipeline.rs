//! From records to alerts: the queue between the sources and the engine, and the thread that has the engine.
//!
//! Sources hand over [`Chunk`]s through a [`Queue`] bounded in bytes; one thread without a runtime takes each through
//! parsing, matching and correlation, writes what comes out and answers whoever waits. What it holds of the core is in
//! [`brain`]; the daemon's own alerts are made in [`own`], lines are written in [`output`].
//!
//! Nothing is durable here: what is in the queue or in the engine is gone when the process is.

pub mod brain;
pub mod output;
pub mod own;

use crate::engine::StreamId;
use crate::event::{Batch, Record, Span, Timestamp};
use crate::journal::Mark;
use crate::metrics::{Metrics, Reason, SourceMetrics};
use crate::parse::Format;
use brain::Brain;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use output::Lines;
use own::Own;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Where records come from, as configured.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Whether `vigild.toml` names a format, and which.
    pub format: Option<Format>,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// How late an event may be.
    pub lateness: Span,
    /// Senders that are taken; none named means all.
    pub allow: Vec<IpNet>,
    /// Its counters.
    pub metrics: SourceMetrics,
}

/// One ordered input of a source: a file, a connection, all senders of a UDP listener together.
#[derive(Debug)]
pub struct Stream {
    /// Its name, by which streams are ordered.
    pub name: String,
    /// Its source.
    pub source: Arc<Source>,
    /// The time of its latest event, published by the engine's thread.
    last: AtomicI64,
    /// Its number in the engine.
    id: OnceLock<StreamId>,
}

impl Stream {
    /// A stream that has had no event yet.
    pub fn new(name: String, source: Arc<Source>) -> Arc<Stream> {
        Arc::new(Stream { name, source, last: AtomicI64::new(i64::MIN), id: OnceLock::new() })
    }

    /// The time of the latest event that has been through the engine.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Relaxed))
    }
}

/// Records on their way.
pub struct Chunk {
    /// Whose they are.
    pub stream: Arc<Stream>,
    /// Their format; `None` recognises each.
    pub format: Option<Format>,
    /// When they arrived.
    pub received: Timestamp,
    /// What a missing year or date is nearest to: arrival, or when a file was last written.
    pub near: Timestamp,
    /// The records.
    pub batch: Batch,
    /// Where their source goes on behind them, durable together with them.
    pub mark: Option<Box<Mark>>,
    /// What becomes of them when they cannot be stored.
    pub when_full: WhenFull,
    /// Told when they are durable, or that they are not and will not be.
    pub done: Option<oneshot::Sender<Stored>>,
    /// Told when they have been through the engine.
    pub seen: Option<oneshot::Sender<()>>,
}

/// What becomes of records for which there is no room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They wait, and their source with them.
    Wait,
    /// Their sender is told that nothing was stored.
    Refuse,
    /// They are dropped, counted.
    Drop,
}

/// The numbers of the first and the last record, or why nothing was stored.
pub type Stored = Result<(u64, u64), NotStored>;

/// Why records were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
}

enum Message {
    Chunk(Chunk, OwnedSemaphorePermit),
    /// A file with a backlog: the watermark waits for it. Or it has caught up.
    Behind(Arc<Stream>, bool),
    Close(Arc<Stream>),
    Tick(Timestamp),
    Stop,
}

/// The sources' end of the queue.
#[derive(Clone)]
pub struct Queue {
    tx: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    bytes: usize,
    metrics: Arc<Metrics>,
}

/// What a chunk weighs beside its bytes: the messages of a full queue are bounded too.
const WEIGHT: usize = 512;
/// Messages without records (ends of streams, ticks) wait here at most.
const MESSAGES: usize = 64 << 10;

impl Queue {
    /// A queue of so many bytes, and the engine's end of it.
    pub fn new(bytes: usize, metrics: Arc<Metrics>) -> (Queue, Inbox) {
        let bytes = bytes.clamp(1 << 10, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let (tx, rx) = mpsc::channel(MESSAGES);
        let room = Arc::new(Semaphore::new(bytes));
        (Queue { tx, room: room.clone(), bytes, metrics }, Inbox { rx, room, bytes })
    }

    fn weight(&self, batch: &Batch) -> u32 {
        let records = batch.records.len() * size_of::<Record>();
        (WEIGHT + batch.bytes.len() + records).min(self.bytes) as u32
    }

    /// Hands over records, waiting for room. Without an engine they are dropped: then the daemon is coming down.
    pub async fn send(&self, chunk: Chunk) {
        if let Ok(room) = self.room.clone().acquire_many_owned(self.weight(&chunk.batch)).await {
            drop(self.tx.send(Message::Chunk(chunk, room)).await);
        }
        self.gauge();
    }

    /// Hands over records if there is room now, else gives them back.
    pub fn offer(&self, chunk: Chunk) -> Result<(), Chunk> {
        let Ok(room) = self.room.clone().try_acquire_many_owned(self.weight(&chunk.batch)) else { return Err(chunk) };
        let sent = self.tx.try_send(Message::Chunk(chunk, room));
        self.gauge();
        sent.map_err(|e| match e.into_inner() {
            Message::Chunk(chunk, _) => chunk,
            _ => unreachable!("a chunk was sent"),
        })
    }

    /// Hands over records of a sender that cannot be told to wait: where there is no room they are dropped, counted.
    pub fn offer_or_drop(&self, chunk: Chunk) {
        if let Err(c) = self.offer(chunk) {
            c.stream.source.metrics.drop_records(Reason::Queue, c.batch.records.len() as u64);
        }
    }

    /// Says that a stream has a backlog that must be read before the watermark passes it, or no longer has.
    pub async fn behind(&self, stream: &Arc<Stream>, yes: bool) {
        drop(self.tx.send(Message::Behind(stream.clone(), yes)).await);
    }

    /// Says that a stream has ended.
    pub async fn close(&self, stream: &Arc<Stream>) {
        drop(self.tx.send(Message::Close(stream.clone())).await);
    }

    /// Says what time it is.
    pub async fn tick(&self, now: Timestamp) {
        drop(self.tx.send(Message::Tick(now)).await);
    }

    /// Ends the engine's thread once it has taken all that was sent before.
    pub async fn stop(&self) {
        drop(self.tx.send(Message::Stop).await);
    }

    fn gauge(&self) {
        self.metrics.queue_bytes.set((self.bytes - self.room.available_permits().min(self.bytes)) as i64);
    }
}

/// The engine's end of the queue.
pub struct Inbox {
    rx: mpsc::Receiver<Message>,
    room: Arc<Semaphore>,
    bytes: usize,
}

#[cfg(test)]
impl Inbox {
    /// The next chunk that waits.
    pub(crate) fn chunk(&mut self) -> Option<Chunk> {
        loop {
            if let Message::Chunk(c, _) = self.rx.try_recv().ok()? {
                return Some(c);
            }
        }
    }
}

/// The loop of the engine's thread: takes what comes until it is told to stop, then writes what is left to write.
///
/// Open windows stay open: the end of the process is not the end of the input.
pub fn work(mut inbox: Inbox, mut brain: Brain, mut lines: Lines, metrics: Arc<Metrics>, sources: Vec<Arc<Source>>) {
    let mut own = Own::new(sources);
    let mut seq = 0;
    loop {
        let message = match inbox.rx.try_recv() {
            Ok(m) => m,
            Err(_) => {
                lines.flush();
                match inbox.rx.blocking_recv() {
                    Some(m) => m,
                    None => break,
                }
            }
        };
        match message {
            Message::Chunk(mut chunk, room) => {
                take(&mut chunk, &mut brain, &mut lines, &metrics);
                let first = seq + 1;
                seq += chunk.batch.records.len() as u64;
                lines.flush();
                // Whoever asked may have gone.
                if let Some(done) = chunk.done.take() {
                    let _ = done.send(Ok((first, seq)));
                }
                if let Some(seen) = chunk.seen.take() {
                    let _ = seen.send(());
                }
                drop(room);
                metrics.queue_bytes.set((inbox.bytes - inbox.room.available_permits().min(inbox.bytes)) as i64);
            }
            Message::Behind(stream, yes) => {
                let id = *stream.id.get_or_init(|| brain.open(&stream));
                brain.behind(id, yes, &mut lines, &metrics);
            }
            Message::Close(stream) => {
                brain.close(&stream, &mut lines, &metrics);
            }
            Message::Tick(now) => {
                brain.tick(now, &mut lines, &metrics);
                own.tick(now, &brain.evicted(), &brain.stormed(), &metrics, &mut lines);
            }
            Message::Stop => break,
        }
        lines.flush_if_full();
    }
    // What was dropped since the last tick is still told.
    own.tick(crate::clock::now(), &brain.evicted(), &brain.stormed(), &metrics, &mut lines);
    lines.flush();
}

/// Takes the records of one chunk through the engine and counts them.
fn take(chunk: &mut Chunk, brain: &mut Brain, lines: &mut Lines, metrics: &Metrics) {
    let stream = chunk.stream.clone();
    let taken = brain.take(chunk, lines, metrics);
    let m = &stream.source.metrics;
    m.records.inc_by(chunk.batch.records.len() as u64);
    m.bytes.inc_by(chunk.batch.records.iter().map(|r| r.span.len as u64).sum());
    m.truncated.inc_by(chunk.batch.records.iter().filter(|r| r.truncated).count() as u64);
    m.parse_errors.inc_by(taken.errors);
    m.ahead.inc_by(taken.ahead);
    m.late.inc_by(taken.late);
    stream.last.fetch_max(taken.last.0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(stream: &Arc<Stream>, len: usize) -> Chunk {
        let mut batch = Batch::default();
        batch.push(&vec![b'x'; len], false);
        Chunk {
            stream: stream.clone(),
            format: None,
            received: Timestamp(0),
            near: Timestamp(0),
            batch,
            mark: None,
            when_full: WhenFull::Wait,
            done: None,
            seen: None,
        }
    }

    fn stream(metrics: &Metrics) -> Arc<Stream> {
        let source = Source {
            name: "s".into(),
            format: None,
            zone: TimeZone::UTC,
            lateness: Span::seconds(5),
            allow: Vec::new(),
            metrics: metrics.source("s"),
        };
        Stream::new("s".into(), Arc::new(source))
    }

    #[test]
    fn a_full_queue_gives_records_back_or_drops_them_counted() {
        let metrics = Arc::new(Metrics::default());
        let s = stream(&metrics);
        let (queue, mut inbox) = Queue::new(4096, metrics.clone());
        assert!(queue.offer(chunk(&s, 2000)).is_ok());
        assert!(queue.offer(chunk(&s, 2000)).is_err());
        queue.offer_or_drop(chunk(&s, 2000));
        assert_eq!(s.source.metrics.dropped(), 1);
        assert!(metrics.queue_bytes.get() > 2000);
        drop(inbox.rx.try_recv().expect("the first is there"));
        assert!(queue.offer(chunk(&s, 2000)).is_ok(), "there is room again");
    }

    #[test]
    fn a_chunk_larger_than_the_queue_goes_alone() {
        let metrics = Arc::new(Metrics::default());
        let s = stream(&metrics);
        let (queue, _inbox) = Queue::new(1024, metrics);
        assert!(queue.offer(chunk(&s, 1 << 20)).is_ok());
        assert!(queue.offer(chunk(&s, 1)).is_err());
    }
}
