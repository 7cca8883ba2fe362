//! How bytes arrive: each kind of source cuts them into records and hands them over in batches.
//!
//! What can be told to wait waits when the queue is full (files, connections, standard input), HTTP answers 429, and
//! datagrams are dropped, counted.

pub mod connection;
pub mod file;
pub mod frame;
pub mod http;
pub mod journald;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod relp;
pub mod stdin;
pub mod syslog;
pub mod tls;

use crate::config::{self, Kind, Limits};
use crate::event::{Batch, Timestamp};
use crate::journal::{self, FilePosition};
use crate::parse::Format;
use crate::pipeline::{Chunk, Queue, Source, Stream, WhenFull};
use crate::service::Inherited;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A batch is handed over when it has so many bytes …
const BATCH: usize = 128 << 10;
/// … or is so old.
const AGE: Duration = Duration::from_millis(1);
/// What has already arrived in sockets is taken for so long after the order to stop.
pub const LINGER: Duration = Duration::from_secs(1);

/// What every source has at hand.
#[derive(Clone)]
pub struct Intake {
    /// Where records go.
    pub queue: Queue,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Becomes `true` when the daemon or the source stops.
    pub stop: watch::Receiver<bool>,
    /// Where the journal says that reading goes on.
    pub known: Arc<Known>,
    /// Memory for what connections have begun.
    pub budget: Arc<connection::Budget>,
}

/// What the journal knows of sources when they begin.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Positions of files, of all sources.
    pub files: Vec<FilePosition>,
    /// Next offsets of Kafka partitions.
    pub offsets: Vec<KnownOffset>,
    /// Cursors of systemd's journal.
    pub cursors: Vec<KnownCursor>,
    /// Idempotency keys, the oldest first.
    pub keys: Vec<KnownKey>,
}

impl Known {
    /// Of the journal's state.
    pub fn of(state: &journal::State) -> Known {
        let key = |(scope, key, a): (&str, &str, &journal::Answer)| KnownKey {
            scope: Arc::from(scope),
            key: Arc::from(key),
            body: a.body,
            first: a.first,
            last: a.last,
            received: a.received,
        };
        let offset = |(group, topic, partition, next): (&str, &str, i32, i64)| KnownOffset {
            group: Arc::from(group),
            topic: Arc::from(topic),
            partition,
            next,
        };
        let cursor = |(source, cursor): (&str, &str)| KnownCursor { source: Arc::from(source), cursor: Arc::from(cursor) };
        Known {
            cursors: state.cursors().map(cursor).collect(),
            files: state.files().cloned().collect(),
            offsets: state.partitions().map(offset).collect(),
            keys: state.keys().map(key).collect(),
        }
    }
}

/// Where a Kafka partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOffset {
    /// Consumer group.
    pub group: Arc<str>,
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// The next offset to read.
    pub next: i64,
}

/// Where a source of systemd's journal goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCursor {
    /// The source's name.
    pub source: Arc<str>,
    /// The cursor of the last entry that was taken.
    pub cursor: Arc<str>,
}

/// A request that has been stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The path and the token it came with.
    pub scope: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// Hash of the body.
    pub body: [u8; 16],
    /// The number of the first record.
    pub first: u64,
    /// The number of the last record.
    pub last: u64,
    /// When it came.
    pub received: Timestamp,
}

/// A source that is open, and has not begun: all that can fail has been done.
pub struct Opened {
    /// The source.
    pub source: Arc<Source>,
    /// Begins it; what runs is among the tasks, and ends when `Intake::stop` says so and what has arrived is handed over.
    pub begin: Begin,
}

/// Begins a source.
pub type Begin = Box<dyn FnOnce(Intake, &mut JoinSet<()>) + Send>;

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot listen.
    #[error("cannot listen on {addr} for {what}")]
    Listen {
        /// What for: the source's name, or HTTP.
        what: String,
        /// Where: an address or a path.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something that it needs cannot be had.
    #[error("source {what}: {why}")]
    Setting {
        /// The source's name.
        what: String,
        /// What is missing, for the operator.
        why: String,
    },
}

/// Opens what a source of this configuration reads from; called inside the runtime. Files and HTTP are begun elsewhere, since
/// all files are followed together and what comes by HTTP shares the listener of the API.
pub fn open(config: &config::Source, source: Arc<Source>, limits: &Limits, sockets: Vec<Inherited>) -> Result<Vec<Opened>, OpenError> {
    match &config.kind {
        Kind::Syslog(c) => syslog::open(c, source, limits, sockets),
        Kind::Relp(c) => relp::open(c, source),
        Kind::Journald(c) => journald::open(c, source),
        Kind::Stdin => Ok(vec![stdin::open(source)]),
        #[cfg(feature = "kafka")]
        Kind::Kafka(c) => kafka::open(c, source).map(|o| vec![o]),
        #[cfg(not(feature = "kafka"))]
        Kind::Kafka(_) => Err(OpenError::Setting {
            what: source.name.clone(),
            why: "this vigild was built without Kafka: build it with the feature `kafka`".into(),
        }),
        Kind::File(_) | Kind::Http | Kind::Hook(_) => Ok(Vec::new()),
    }
}

impl Intake {
    /// Waits until the daemon stops.
    pub async fn stopped(&mut self) {
        // An error means that the daemon is gone altogether.
        let _ = self.stop.wait_for(|s| *s).await;
    }

    /// Whether the daemon stops.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Takes a batch's records, leaving it empty, as a chunk that arrived now; `None` where it has none.
    pub fn chunk(&self, stream: &Arc<Stream>, format: Option<Format>, batch: &mut Batch) -> Option<Chunk> {
        if batch.records.is_empty() {
            return None;
        }
        let received = crate::clock::now();
        let batch = std::mem::take(batch);
        let when_full = WhenFull::Wait;
        Some(Chunk { stream: stream.clone(), format, received, near: received, batch, mark: None, when_full, done: None, seen: None })
    }
}
