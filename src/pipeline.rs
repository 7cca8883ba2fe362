//! From records to alerts, stage by stage, each a thread without a runtime:
//!
//! - Sources hand over [`Chunk`]s through a [`Queue`] bounded in bytes.
//! - [`intake`] writes them into the journal in groups, hands them on and makes them durable; then it answers.
//! - [`evaluate`] takes them through parsing, matching and correlation, meanwhile; [`lead`] is how far it may be behind. What it
//!   holds of the core is in [`brain`]; the daemon's own alerts are made in [`own`].
//! - [`record`] commits what is to be told to the store, once the entries it follows from are durable.
//! - [`lines`] writes it out.
//!
//! [`recover`] brings brain and store to where the journal ends; [`snapshot`] and [`bundle`] are what it begins with.

pub mod brain;
pub mod bundle;
pub mod durable;
pub mod evaluate;
pub mod index;
pub mod intake;
mod known;
pub mod lead;
pub mod lines;
mod loads;
pub mod own;
pub mod past;
pub mod record;
pub mod recover;
pub mod sight;
pub mod snapshot;
pub mod spine;
pub mod states;
pub mod tell;
pub mod whole;

use crate::event::{Batch, Record, Span, Timestamp};
use crate::journal::Mark;
use crate::metrics::{Metrics, Reason, SourceMetrics};
use crate::parse::Format;
use crate::source::Known;
use bundle::Loaded;
use crossbeam_channel::{Receiver, Sender, unbounded};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use sight::Sight;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Where records come from, as configured.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The kind of its configuration; empty for one that no configuration names.
    pub kind: &'static str,
    /// Whether `vigild.toml` names a format, and which.
    pub format: Option<Format>,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// How late an event may be.
    pub lateness: Span,
    /// Senders that are taken; none named means all.
    pub allow: Vec<IpNet>,
    /// Silence for so long is told.
    pub silent_after: Option<Duration>,
    /// Its counters.
    pub metrics: SourceMetrics,
    /// What has been seen of it.
    pub sight: Sight,
}

impl Source {
    /// A source that recognises its records, with nothing set but what is given.
    pub fn new(name: &str, lateness: Span, metrics: SourceMetrics) -> Source {
        let (zone, allow) = (TimeZone::UTC, Vec::new());
        Source { name: name.to_owned(), kind: "", format: None, zone, lateness, allow, silent_after: None, metrics, sight: Sight::default() }
    }
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
}

impl Stream {
    /// A stream that has had no event yet.
    pub fn new(name: String, source: Arc<Source>) -> Arc<Stream> {
        Arc::new(Stream { name, source, last: AtomicI64::new(i64::MIN) })
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

/// The numbers of the first and the last record (less than the first where there was none), or why nothing was stored.
pub type Stored = Result<(u64, u64), NotStored>;

/// Why records were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
}

/// What goes into the journal, in this order, and what its thread is asked to do.
pub enum Message {
    /// Records.
    Chunk(Box<Chunk>),
    /// A stream with a backlog: the watermark waits for it. Or it has caught up.
    Behind(Arc<Stream>, bool),
    /// A stream has ended.
    Close(Arc<Stream>),
    /// It is so late.
    Tick(Timestamp),
    /// Other rules and settings hold from here on; with the entry from which windows are rebuilt.
    Load(Arc<Loaded>, u64),
    /// Nobody listened between these.
    Gap(Timestamp, Timestamp),
    /// Somebody waits for what has been written to become durable.
    Sync,
    /// Somebody asks what the journal knows of sources, once all that came before is in it.
    Known(oneshot::Sender<Known>),
    /// The end.
    Stop,
}

/// A message and the room that it takes.
pub type Sent = (Message, Option<OwnedSemaphorePermit>);

/// The sources' end of the queue.
#[derive(Clone)]
pub struct Queue {
    tx: Sender<Sent>,
    room: Arc<Semaphore>,
    bytes: usize,
    full: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

/// What a message weighs beside its bytes: the messages of a full queue are bounded too.
const WEIGHT: usize = 512;

impl Queue {
    /// A queue of so many bytes, and the journal's end of it.
    pub fn new(bytes: usize, metrics: Arc<Metrics>) -> (Queue, Inbox) {
        let bytes = bytes.clamp(1 << 10, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        // Bounded by the room that every message takes.
        let (tx, rx) = unbounded();
        let (room, full) = (Arc::new(Semaphore::new(bytes)), Arc::new(AtomicBool::new(false)));
        (Queue { tx, room, bytes, full: full.clone(), metrics }, Inbox { rx, full })
    }

    fn weight(&self, batch: &Batch) -> u32 {
        let records = batch.records.len() * size_of::<Record>();
        (WEIGHT + batch.bytes.len() + records).min(self.bytes) as u32
    }

    /// Hands over records, waiting for room. Without a journal they are dropped: then the daemon is coming down.
    pub async fn send(&self, chunk: Chunk) {
        let weight = self.weight(&chunk.batch);
        self.put(Message::Chunk(Box::new(chunk)), weight).await;
    }

    /// Hands over records if there is room now, else gives them back.
    pub fn offer(&self, chunk: Chunk) -> Result<(), Box<Chunk>> {
        let chunk = Box::new(chunk);
        let Ok(room) = self.room.clone().try_acquire_many_owned(self.weight(&chunk.batch)) else { return Err(chunk) };
        let sent = self.tx.send((Message::Chunk(chunk), Some(room)));
        self.gauge();
        sent.map_err(|e| match e.into_inner().0 {
            Message::Chunk(chunk) => chunk,
            _ => unreachable!("a chunk was sent"),
        })
    }

    /// Hands over records of a sender that cannot be told to wait: where there is no room they are dropped, counted.
    pub fn offer_or_drop(&self, chunk: Chunk) {
        if let Err(c) = self.offer(chunk) {
            let reason = if self.is_full() { Reason::Disk } else { Reason::Queue };
            c.stream.source.metrics.drop_records(reason, c.batch.records.len() as u64);
        }
    }

    /// Whether the disk is full, and what waits for it may take all of the queue.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Says that a stream has a backlog that must be read before the watermark passes it, or no longer has.
    pub async fn behind(&self, stream: &Arc<Stream>, yes: bool) {
        self.put(Message::Behind(stream.clone(), yes), WEIGHT as u32).await;
    }

    /// Says that a stream has ended.
    pub async fn close(&self, stream: &Arc<Stream>) {
        self.put(Message::Close(stream.clone()), WEIGHT as u32).await;
    }

    /// Says what time it is.
    pub async fn tick(&self, now: Timestamp) {
        self.put(Message::Tick(now), WEIGHT as u32).await;
    }

    async fn put(&self, message: Message, weight: u32) {
        if let Ok(room) = self.room.clone().acquire_many_owned(weight.min(self.bytes as u32)).await {
            drop(self.tx.send((message, Some(room))));
        }
        self.gauge();
    }

    /// Lets other rules and settings hold from here on, windows rebuilt from an entry on.
    pub fn load(&self, loaded: Arc<Loaded>, rebuild: u64) {
        drop(self.tx.send((Message::Load(loaded, rebuild), None)));
    }

    /// Says that nobody listened.
    pub fn gap(&self, from: Timestamp, to: Timestamp) {
        drop(self.tx.send((Message::Gap(from, to), None)));
    }

    /// Asks that what has been written become durable.
    pub fn sync(&self) {
        drop(self.tx.send((Message::Sync, None)));
    }

    /// What the journal knows of sources, once all that has been sent is in it.
    pub async fn known(&self) -> Known {
        let (ask, answer) = oneshot::channel();
        drop(self.tx.send((Message::Known(ask), None)));
        answer.await.unwrap_or_default()
    }

    /// Ends the journal's thread once it has taken all that was sent before, and the others after it.
    pub fn stop(&self) {
        drop(self.tx.send((Message::Stop, None)));
    }

    /// Shows what waits, in the queue and in the engine.
    pub fn gauge(&self) {
        self.metrics.queue_bytes.set((self.bytes - self.room.available_permits().min(self.bytes)) as i64);
    }
}

/// The journal's end of the queue.
pub struct Inbox {
    /// What comes.
    pub rx: Receiver<Sent>,
    full: Arc<AtomicBool>,
}

#[cfg(test)]
impl Inbox {
    /// The next chunk that waits.
    pub(crate) fn chunk(&mut self) -> Option<Chunk> {
        loop {
            if let Message::Chunk(c) = self.rx.try_recv().ok()?.0 {
                return Some(*c);
            }
        }
    }
}

impl Inbox {
    /// Whether the disk is full, as those who send have been told.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Says to those who send whether the disk is full.
    pub fn set_full(&self, yes: bool) {
        self.full.store(yes, Ordering::Relaxed);
    }
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
        let source = Source::new("s", Span::seconds(5), metrics.source("s"));
        Stream::new("s".into(), Arc::new(source))
    }

    #[test]
    fn a_full_queue_gives_records_back_or_drops_them_counted() {
        let metrics = Arc::new(Metrics::default());
        let s = stream(&metrics);
        let (queue, inbox) = Queue::new(4096, metrics.clone());
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
