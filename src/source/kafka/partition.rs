//! One partition while it is assigned to this member.

use super::client::{Context, Place};
use super::offsets::Offsets;
use super::order::Lane;
use crate::clock;
use crate::event::{Batch, Timestamp};
use crate::journal::Mark;
use crate::metrics::Reason;
use crate::parse::Format;
use crate::pipeline::{Chunk, Source, Stream, WhenFull};
use crate::source::frame::Framer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// One that is behind and gives nothing for so long is not waited for: its leader may be down.
const STALLED: Duration = Duration::from_secs(30);

/// How messages become records.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The format of the source.
    pub format: Option<Format>,
    /// A longer record is cut.
    pub limit: usize,
    /// Whether a message may have several records.
    pub lines: bool,
}

/// A partition.
pub struct Partition {
    /// Topic and number.
    pub at: Place,
    /// Its stream.
    pub stream: Arc<Stream>,
    /// Where its messages wait.
    pub queue: PartitionQueue<Context>,
    /// How far it has been read.
    pub offsets: Offsets,
    /// The engine waits for it until this offset has been read.
    pub target: Option<i64>,
    /// Its end when that was last known.
    pub high: i64,
    /// The offset at which it last had nothing more.
    pub ended: Option<i64>,
    /// The offset at which it should go on is not there.
    pub lost: bool,
    flying: Vec<oneshot::Receiver<()>>,
    gave: Instant,
}

/// What a turn has brought.
#[derive(Default)]
pub struct Turn {
    /// Records, to be handed over.
    pub chunk: Option<Box<Chunk>>,
    /// There was something.
    pub any: bool,
    /// There is nothing more for now.
    pub ended: bool,
    /// What went wrong beside what the context is told.
    pub fatal: Option<KafkaError>,
}

impl Partition {
    /// A partition that is read from here on.
    pub fn new(at: Place, source: &Arc<Source>, queue: PartitionQueue<Context>, offsets: Offsets, high: i64) -> Partition {
        let stream = Stream::new(format!("{}:{}/{}", source.name, at.0, at.1), source.clone());
        let target = (offsets.next() < high).then_some(high);
        let (flying, gave) = (Vec::new(), clock::monotonic());
        Partition { at, stream, queue, offsets, target, high, ended: None, lost: false, flying, gave }
    }

    /// What decides whether it may be read.
    pub fn lane(&mut self) -> Lane {
        self.flying.retain_mut(|f| matches!(f.try_recv(), Err(TryRecvError::Empty)));
        Lane { behind: self.target.is_some(), flying: self.flying.len(), last: self.stream.last() }
    }

    /// Whether it might be read and has given nothing for long.
    pub fn is_stalled(&self) -> bool {
        self.flying.is_empty() && self.gave.elapsed() >= STALLED
    }

    /// Messages that have not been read.
    pub fn lag(&self) -> i64 {
        if self.ended == Some(self.offsets.next()) { 0 } else { (self.high - self.offsets.next()).max(0) }
    }

    /// It waits for its turn, which is not its fault.
    pub fn waits(&mut self) {
        self.gave = clock::monotonic();
    }

    /// Takes messages that are there, up to a number of bytes.
    pub fn turn(&mut self, cut: Cut, group: &Arc<str>, limit: usize) -> Turn {
        let mut turn = Turn::default();
        let mut batch = Batch::default();
        let mut near = None;
        let metrics = &self.stream.source.metrics;
        while batch.bytes.len() < limit && !self.lost {
            let message = match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(m)) => m,
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.ended = Some(self.offsets.next());
                    turn.ended = true;
                    continue;
                }
                Some(Err(e)) => {
                    self.lost |= e.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
                    turn.fatal = turn.fatal.or(matches!(e, KafkaError::MessageConsumptionFatal(_)).then_some(e));
                    continue;
                }
            };
            turn.any = true;
            turn.ended = false;
            if !self.offsets.take(message.offset()) {
                continue;
            }
            let before = batch.records.len();
            match message.payload() {
                Some(value) if cut.lines => {
                    let mut framer = Framer::new(cut.format, cut.limit);
                    framer.feed(value, &mut batch);
                    framer.flush(&mut batch);
                }
                Some(value) if !value.is_empty() => batch.push(&value[..value.len().min(cut.limit)], value.len() > cut.limit),
                _ => {}
            }
            if batch.records.len() == before {
                metrics.drop_records(Reason::Empty, 1);
            }
            near = message.timestamp().to_millis().and_then(|ms| ms.checked_mul(1_000_000)).filter(|t| *t > 0).or(near);
        }
        if turn.any || turn.ended {
            self.gave = clock::monotonic();
        }
        if !batch.records.is_empty() {
            turn.chunk = Some(self.chunk(batch, near, cut.format, group));
        }
        turn
    }

    fn chunk(&mut self, batch: Batch, near: Option<i64>, format: Option<Format>, group: &Arc<str>) -> Box<Chunk> {
        let received = clock::now();
        let (done, stored) = oneshot::channel();
        self.offsets.sent(stored);
        let seen = self.target.is_some().then(|| {
            let (seen, taken) = oneshot::channel();
            self.flying.push(taken);
            seen
        });
        let mark = Mark::Kafka { group: group.clone(), topic: Arc::from(self.at.0.as_str()), partition: self.at.1, next: self.offsets.next() };
        Box::new(Chunk {
            stream: self.stream.clone(),
            format,
            received,
            near: near.map_or(received, Timestamp),
            batch,
            mark: Some(Box::new(mark)),
            when_full: WhenFull::Wait,
            done: Some(done),
            seen,
        })
    }
}
