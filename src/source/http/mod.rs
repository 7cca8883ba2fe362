//! Records in the bodies of HTTP requests: all of a body or nothing of it.
//!
//! - In: pieces of a body as they arrive. Out: the numbers of its records once they are durable, or why nothing was stored.
//! - A body is decompressed and cut as it comes, so that it stands in memory once; all bodies in flight share a budget.
//! - A request that is cut off after its last byte has been read is stored nevertheless, and its key known.

pub mod bulk;
pub mod coding;
pub mod credentials;
pub mod hook;
pub mod keys;

use super::Intake;
use super::frame::Framer;
use crate::event::{Batch, Record};
use crate::journal::Mark;
use crate::metrics::Metrics;
use crate::parse::Format;
use crate::pipeline::{NotStored, Source, Stream, WhenFull};
use coding::{Broken, Coding, Decoder};
use ipnet::IpNet;
use keys::{First, Keys, Running};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Memory is set aside in steps of so many bytes.
const STEP: usize = 64 << 10;

/// Why a body was not taken; nothing of it was.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Larger than the limit, before or after decompression.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// More records, or more around them, than all bodies together may take.
    #[error("the body's records take more than {0} bytes of memory")]
    TooMany(usize),
    /// More records than one body may be made of.
    #[error("the body has more than {0} records")]
    Records(usize),
    /// Compressed in a way that is not known.
    #[error("`Content-Encoding` may be gzip or zstd, once")]
    Coding,
    /// Not compressed as it says.
    #[error("the body is not {0}: {1}")]
    Malformed(&'static str, String),
    /// The queue or the memory for bodies is full.
    #[error("too much is waiting already")]
    Busy,
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
    /// The daemon is on its way down.
    #[error("the daemon stops")]
    Stopping,
}

/// Memory set aside for a body, until it is dropped.
pub struct Aside<'d> {
    door: &'d Door,
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Aside<'_> {
    /// Sees to it that so many bytes are set aside, and those of a decoder: with these a body may have all there are.
    pub fn cover(&mut self, bytes: usize, decoder: usize) -> Result<(), Refused> {
        let most = self.door.intake.limits.bodies_bytes;
        if bytes > most {
            return Err(Refused::TooMany(most));
        }
        let want = (bytes + decoder).min(most);
        let Some(more) = want.checked_sub(self.bytes).filter(|m| *m > 0) else { return Ok(()) };
        // In steps, or every piece of a body would ask again.
        let more = more.max(STEP.min(most - self.bytes));
        let permits = self.door.bodies.clone().try_acquire_many_owned(more as u32).map_err(|_| Refused::Busy)?;
        match &mut self.permits {
            Some(p) => p.merge(permits),
            none => *none = Some(permits),
        }
        self.bytes += more;
        self.door.metrics.bodies_bytes.inc_by(more as i64);
        Ok(())
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.door.metrics.bodies_bytes.dec_by(self.bytes as i64);
    }
}

/// What all ways in by HTTP share: the queue, the memory for bodies, the idempotency keys.
pub struct Door {
    intake: Intake,
    bodies: Arc<Semaphore>,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
}

impl Door {
    /// For one listener.
    pub fn new(intake: Intake, metrics: Arc<Metrics>) -> Door {
        let bodies = Arc::new(Semaphore::new(intake.limits.bodies_bytes.min(Semaphore::MAX_PERMITS)));
        let keys = Keys::new(intake.limits.idempotency_keys, &intake.known.keys, metrics.clone());
        Door { intake, bodies, keys, metrics }
    }

    /// The idempotency keys.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Sets memory aside for a body whose length is known, or a first step.
    pub fn reserve(&self, length: Option<u64>) -> Result<Aside<'_>, Refused> {
        let limits = &self.intake.limits;
        if length.is_some_and(|l| l > limits.body_bytes as u64) {
            return Err(Refused::TooLarge(limits.body_bytes));
        }
        let first = length.map_or(STEP.min(limits.body_bytes), |l| l as usize).min(limits.bodies_bytes);
        let permits = self.bodies.clone().try_acquire_many_owned(first as u32).map_err(|_| Refused::Busy)?;
        self.metrics.bodies_bytes.inc_by(first as i64);
        Ok(Aside { door: self, permits: Some(permits), bytes: first })
    }

    /// Reads a body of a coding; what comes out of it goes to a taker.
    pub fn body<T: Take>(&self, coding: Coding, to: T) -> Incoming<T> {
        let most = self.intake.limits.body_bytes;
        Incoming { decoder: Decoder::new(coding, most), coding, read: 0, most, to }
    }

    /// Stores records and waits until they are durable: the numbers of the first and the last, `None` where there are none.
    ///
    /// It goes on to its end when nobody waits for it any more, so that a key is known whose records are stored.
    pub async fn store(
        &self,
        stream: &Arc<Stream>,
        format: Option<Format>,
        mut batch: Batch,
        key: Option<(Running, [u8; 16])>,
    ) -> Result<Option<(u64, u64)>, Refused> {
        let Some(mut chunk) = self.intake.chunk(stream, format, &mut batch) else { return Ok(None) };
        let (done, answer) = oneshot::channel();
        let received = chunk.received;
        chunk.done = Some(done);
        chunk.when_full = WhenFull::Refuse;
        chunk.mark = key.as_ref().map(|(running, body)| {
            let (scope, key) = running.name().clone();
            Box::new(Mark::Key { scope, key, body: *body })
        });
        let queue = &self.intake.queue;
        let why = |_| match (self.intake.is_stopping(), queue.is_full()) {
            (true, _) => Refused::Stopping,
            (_, true) => Refused::Full,
            _ => Refused::Busy,
        };
        queue.offer(chunk).map_err(why)?;
        let stored = tokio::spawn(async move {
            let stored = answer.await.map_err(|_| Refused::Stopping)?.map_err(|NotStored::Full| Refused::Full)?;
            if let Some((running, body)) = key {
                running.keep(First { body, stored }, received);
            }
            Ok(stored)
        });
        stored.await.map_err(|_| Refused::Stopping)?.map(Some)
    }
}

/// What a body is made into as it comes.
pub trait Take {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
    /// How many bytes of memory it holds.
    fn held(&self) -> usize;
}

/// A body that is being read.
pub struct Incoming<T> {
    decoder: Decoder,
    coding: Coding,
    read: usize,
    most: usize,
    to: T,
}

impl<T: Take> Incoming<T> {
    /// Takes the next piece of the body as it arrived.
    pub fn feed(&mut self, bytes: &[u8], aside: &mut Aside<'_>) -> Result<(), Refused> {
        self.read += bytes.len();
        if self.read > self.most {
            return Err(Refused::TooLarge(self.most));
        }
        let to = &mut self.to;
        let fed = if self.coding == Coding::Identity {
            self.decoder.feed(bytes, &mut |b| to.take(b))
        } else {
            // A little of it may become much: the thread's other connections go on elsewhere meanwhile.
            tokio::task::block_in_place(|| self.decoder.feed(bytes, &mut |b| to.take(b)))
        };
        fed.map_err(|e| self.refused(e))?;
        aside.cover(self.to.held(), self.decoder.held())
    }

    /// The body has ended: what was made of it.
    pub fn end(mut self, aside: &mut Aside<'_>) -> Result<T, Refused> {
        let to = &mut self.to;
        let ended = self.decoder.end(&mut |b| to.take(b));
        ended.map_err(|e| self.refused(e))?;
        aside.cover(self.to.held(), 0)?;
        Ok(self.to)
    }

    fn refused(&self, e: Broken) -> Refused {
        match e {
            Broken::TooLarge => Refused::TooLarge(self.most),
            Broken::Malformed(why) => Refused::Malformed(self.coding.name(), why),
        }
    }
}

/// Cuts a body into records as a file would be, and hashes it where it is asked for.
pub struct Lines {
    framer: Framer,
    batch: Batch,
    hasher: Option<blake3::Hasher>,
    taken: usize,
}

impl Lines {
    /// Records longer than `max_record` are cut. With a salt the bytes are hashed behind it.
    pub fn new(format: Option<Format>, max_record: usize, salt: Option<&str>) -> Lines {
        let hasher = salt.map(|salt| {
            let mut h = blake3::Hasher::new();
            h.update(salt.as_bytes()).update(b"\0");
            h
        });
        Lines { framer: Framer::new(format, max_record), batch: Batch::default(), hasher, taken: 0 }
    }

    /// The records, and the hash of what they were cut from.
    pub fn end(mut self) -> (Batch, [u8; 16]) {
        self.framer.flush(&mut self.batch);
        (self.batch, self.hasher.map_or([0; 16], |h| short(&h)))
    }
}

impl Take for Lines {
    fn take(&mut self, bytes: &[u8]) {
        self.taken += bytes.len();
        if let Some(h) = &mut self.hasher {
            h.update(bytes);
        }
        self.framer.feed(bytes, &mut self.batch);
    }

    fn held(&self) -> usize {
        // What is not in a record yet, the framer holds.
        self.taken.saturating_sub(self.batch.bytes.len()) + weight(&self.batch)
    }
}

/// What a batch takes in memory.
fn weight(batch: &Batch) -> usize {
    batch.bytes.capacity() + batch.records.capacity() * size_of::<Record>()
}

/// The first half of a hash: as many bits as a key's body is known by.
fn short(h: &blake3::Hasher) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&h.finalize().as_bytes()[..16]);
    out
}

/// The hash of a body that stands in memory, behind a salt.
pub fn hash(salt: &str, body: &[u8]) -> [u8; 16] {
    let mut h = blake3::Hasher::new();
    h.update(salt.as_bytes()).update(b"\0").update(body);
    short(&h)
}

/// A source that takes bodies, and its streams.
pub struct Way {
    source: Arc<Source>,
    streams: Mutex<BTreeMap<String, Arc<Stream>>>,
}

impl Way {
    /// Of a source.
    pub fn new(source: Arc<Source>) -> Way {
        Way { source, streams: Mutex::default() }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The stream of this name, which is one of few.
    pub fn stream(&self, name: &str) -> Arc<Stream> {
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Stream::new(format!("{}:{name}", self.source.name), self.source.clone());
        all.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Whether the source takes bodies from this address.
    pub fn allows(&self, peer: IpAddr) -> bool {
        is_among(&self.source.allow, peer)
    }
}

/// Whether an address is in one of the networks; no network named means all.
fn is_among(nets: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    nets.is_empty() || nets.iter().any(|n| n.contains(&peer))
}
