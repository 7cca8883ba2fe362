//! Files, followed as they grow, through rotations and restarts: every line once, in order.
//!
//! - In: files that globs name. Out: their records, each file a stream named by its path, and with each chunk the position
//!   behind it, which the journal stores in the same write and gives back at the next start.
//! - A position is an offset in the content, decompressed, of a file known by device, inode and the hash of its first 1024
//!   bytes (all, as long as there are fewer).
//! - What rotation renames, copies or compresses stays in the stream of the file that it was, and is read before it goes
//!   on there; found it is among the globs' files and beside the file.
//! - A last line without its newline waits for it while the file can grow; once the file is one that rotation has put
//!   aside, or has no name any more, and has been quiet for 5 s, it is a record. A record of several lines that has been
//!   open for a second is taken as whole.
//! - Files with a backlog are read in step: the one whose latest event is the oldest goes first, and the engine is told to
//!   wait for them.
//!
//! Which file is which, where that is not plain:
//!
//! - The same inode and the same beginning, not shorter than what was read: the same file. With another beginning, or
//!   shorter: it has been emptied, or the inode given away; a new file.
//! - The same beginning under another inode is the same content only where the name is the same but for what rotation adds
//!   to it (`app.log`, `app.log.2.gz`): two logs that begin with the same words are two.
//! - Of several positions that fit, the furthest counts. A rotated file that is shorter than what was read is an older
//!   copy and holds nothing new.
//! - Two files of one name that begin with the same 1024 bytes cannot be told apart across a restart; before our eyes
//!   they are compared further.
//! - A rotated file that no glob names and no position knows is read if it was written after the last one that is known:
//!   it came and went while nobody looked. Where none is found that is known, all are.

mod content;
pub mod glob;
mod head;
mod look;
mod past;
mod rotated;
mod tail;
#[cfg(test)]
mod tests;

use super::frame::Framer;
use super::{BATCH, Intake};
use crate::clock;
use crate::config;
use crate::event::{Batch, Timestamp};
use crate::journal::{FilePosition, Mark};
use crate::pipeline::{Chunk, Source, Stream, WhenFull};
use content::{Got, Packing};
use look::Passed;
use past::{Inode, Past};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tail::Tail;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Read at once while several files have a backlog, so that their events stay near each other.
const STEP: usize = 32 << 10;
/// Streams that are left have so long to be closed.
const LEAVE: Duration = Duration::from_secs(1);
/// So many positions of files that are not open are kept for each file that may be open.
const REMEMBERED: usize = 16;

/// How long things take.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How often files are looked at.
    look: Duration,
    /// A record of several lines is taken as whole after so long.
    idle: Duration,
    /// A file that rotation has put aside is read until it has been quiet for so long: its writer may not have noticed yet.
    quiet: Duration,
    /// A compressed file or a copy that nobody has read is complete when it was last written so long ago.
    settled: Duration,
}

const PACE: Pace =
    Pace { look: Duration::from_millis(200), idle: Duration::from_secs(1), quiet: Duration::from_secs(5), settled: Duration::from_secs(2) };

/// A source and how it is configured.
pub type Watch = (Arc<Source>, config::source::file::File);

/// Follows files until the daemon stops; called on a thread of its own. Called again, it goes on where `intake.known` says.
///
/// `looked` is told when every file that is there has been looked at, and the engine knows which have a backlog.
pub fn follow(watches: Vec<Watch>, intake: &Intake, runtime: &Handle, looked: oneshot::Sender<()>) {
    let mut f = Follow::new(watches, intake, runtime, PACE);
    let (mut last, mut told): (Option<Instant>, _) = (None, Some(looked));
    while !intake.is_stopping() {
        if last.is_none_or(|l| l.elapsed() >= f.pace.look) {
            f.look();
            last = Some(clock::monotonic());
            // Whoever waited may have given up.
            let _ = told.take().map(|t| t.send(()));
        }
        if !f.step() {
            let mut intake = intake.clone();
            let _ = runtime.block_on(async { tokio::time::timeout(f.pace.look, intake.stopped()).await });
        }
    }
    f.leave();
}

struct Follow<'a> {
    watches: Vec<Watch>,
    intake: &'a Intake,
    runtime: &'a Handle,
    pace: Pace,
    /// Those of one stream in the order in which they are read.
    tails: Vec<Tail>,
    /// The stream of each source and path.
    named: HashMap<(String, String), Arc<Stream>>,
    past: Past,
    /// Files that have been looked at and hold nothing to read.
    passed: HashMap<Inode, Passed>,
    /// Paths that could not be followed, complained of once.
    told: BTreeSet<PathBuf>,
    /// Sources that begin for the first time, until they have been looked at.
    fresh: HashSet<String>,
    looked: bool,
    /// The order to stop has come while something was being handed over: nothing is any more.
    over: bool,
    buffer: Vec<u8>,
}

impl<'a> Follow<'a> {
    fn new(watches: Vec<Watch>, intake: &'a Intake, runtime: &'a Handle, pace: Pace) -> Follow<'a> {
        let past = Past::new(&intake.known.files, intake.limits.files.saturating_mul(REMEMBERED));
        let fresh = watches.iter().map(|w| w.0.name.clone()).filter(|n| !past.has(n)).collect();
        Follow {
            watches,
            intake,
            runtime,
            pace,
            tails: Vec::new(),
            named: HashMap::new(),
            past,
            passed: HashMap::new(),
            told: BTreeSet::new(),
            fresh,
            looked: false,
            over: false,
            buffer: vec![0; BATCH],
        }
    }

    /// The daemon stops, or the files are followed anew.
    fn leave(&mut self) {
        let mut streams: Vec<Arc<Stream>> = Vec::new();
        for tail in self.tails.drain(..) {
            tail.stream.source.metrics.open.dec();
            if !streams.iter().any(|s| Arc::ptr_eq(s, &tail.stream)) {
                streams.push(tail.stream);
            }
        }
        // Nothing waits for their backlog any more. At a stop with a full queue nobody would take it, or need it.
        let queue = &self.intake.queue;
        let close = async {
            for s in &streams {
                queue.close(s).await;
            }
        };
        let _ = self.runtime.block_on(async { tokio::time::timeout(LEAVE, close).await });
        for (source, _) in &self.watches {
            source.metrics.lag_bytes.set(0);
        }
    }

    /// Reads one stretch of the file whose turn it is; `false` if there is nothing to read now.
    fn step(&mut self) -> bool {
        // Of one stream, what is older must be read before, a record that waits for its last lines included.
        let mut streams = HashSet::new();
        let waits = |t: &Tail| t.has_more() || t.fed.is_some() && t.framer.is_record_open();
        let first = |t: &Tail, streams: &mut HashSet<_>| waits(t) && streams.insert(Arc::as_ptr(&t.stream)) && t.has_more();
        let ready: Vec<usize> = (0..self.tails.len()).filter(|&i| first(&self.tails[i], &mut streams)).collect();
        let Some(&i) = ready.iter().min_by_key(|&&i| self.tails[i].stream.last()) else { return false };
        let alone = ready.len() == 1;
        // Alone, a file is read while the engine works on what came before; else its latest event must be known first.
        let flying = alone as usize;
        while self.tails[i].flying.len() > flying {
            let first = self.tails[i].flying.remove(0);
            let mut intake = self.intake.clone();
            self.over |= self.runtime.block_on(async {
                tokio::select! {
                    // An error means that the engine is gone, and so that the daemon stops.
                    _ = first => false,
                    _ = intake.stopped() => true,
                }
            });
            if self.over {
                return false;
            }
        }
        if !alone && ready.iter().any(|&j| self.tails[j].stream.last() < self.tails[i].stream.last()) {
            return true;
        }
        self.read(i, if alone { BATCH } else { STEP });
        true
    }

    /// Reads up to so many bytes of a file and hands over the records in them.
    fn read(&mut self, i: usize, most: usize) {
        let t = &mut self.tails[i];
        let packed = t.content.packing != Packing::Plain;
        let want = if packed { most } else { most.min((t.size - t.offset).min(BATCH as u64) as usize) };
        let limit = self.intake.limits.unpacked_bytes as u64;
        let got = if packed && t.offset >= limit {
            Err(std::io::Error::other(format!("its content has more than {limit} bytes, `[limits] unpacked_bytes`")))
        } else {
            t.content.read(t.offset, &mut self.buffer[..want])
        };
        let n = match got {
            Ok(Got::Later) => return,
            Ok(Got::Bytes(0)) if packed => return self.finish(i),
            Ok(Got::Bytes(n)) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return,
            Err(e) if packed => {
                // It may be incomplete still: it is tried again when it has changed.
                tracing::debug!(stream = %t.stream.name, error = %e, "cannot be decompressed any further for now");
                t.broken = Some(clock::monotonic());
                t.content.reset();
                return self.catch_up(i);
            }
            Err(e) => {
                if !std::mem::replace(&mut t.complained, true) {
                    tracing::warn!(file = %t.stream.name, error = %e, "cannot be read");
                }
                0
            }
        };
        // Looked at after reading: what was read is what belongs there.
        if n == 0 || !t.is_same(t.offset + n as u64) {
            // It has become shorter, is another one, or cannot be read: the next look sees to it.
            t.failed = true;
            return self.catch_up(i);
        }
        t.read(&self.buffer[..n]);
        let mut batch = Batch::default();
        t.framer.feed(&self.buffer[..n], &mut batch);
        self.send(i, batch);
        let t = &self.tails[i];
        if !packed && t.offset >= t.size {
            self.catch_up(i);
        }
    }

    /// The end of a compressed file has been reached.
    fn finish(&mut self, i: usize) {
        self.tails[i].whole = true;
        self.end_records(i, Framer::flush);
        let position = self.tails[i].position();
        self.mark(i, position);
        self.catch_up(i);
    }

    /// The end of a file has been reached: the engine need not wait for it.
    fn catch_up(&mut self, i: usize) {
        if std::mem::take(&mut self.tails[i].behind) {
            let stream = self.tails[i].stream.clone();
            if !self.tails.iter().any(|t| t.behind && Arc::ptr_eq(&t.stream, &stream)) {
                self.runtime.block_on(self.intake.queue.behind(&stream, false));
            }
        }
    }

    /// The engine has to wait for a file.
    fn fall_behind(&mut self, i: usize) {
        if !std::mem::replace(&mut self.tails[i].behind, true) {
            self.runtime.block_on(self.intake.queue.behind(&self.tails[i].stream, true));
        }
    }

    /// Hands over records with the position behind them, but for those that have been taken before.
    fn send(&mut self, i: usize, mut batch: Batch) {
        let t = &mut self.tails[i];
        let n = t.left.min(batch.records.len() as u64);
        t.left -= n;
        batch.records.drain(..n as usize);
        if t.framer.resume().0 > 0 {
            // Behind the place that they were counted from, none of them can come any more.
            t.left = 0;
        }
        let Some(mut chunk) = self.intake.chunk(&t.stream, t.stream.source.format, &mut batch) else { return };
        let (seen, answer) = oneshot::channel();
        chunk.near = t.written;
        chunk.mark = Some(Box::new(Mark::File(t.position())));
        chunk.seen = Some(seen);
        t.flying.push(answer);
        self.hand_over(chunk);
    }

    /// Has the journal keep a position that no record comes with.
    fn mark(&mut self, i: usize, position: FilePosition) {
        let stream = self.tails[i].stream.clone();
        self.mark_in(&stream, position);
    }

    fn mark_in(&mut self, stream: &Arc<Stream>, position: FilePosition) {
        let received = clock::now();
        self.hand_over(Chunk {
            stream: stream.clone(),
            format: stream.source.format,
            received,
            near: received,
            batch: Batch::default(),
            mark: Some(Box::new(Mark::File(position))),
            when_full: WhenFull::Wait,
            done: None,
            seen: None,
        });
    }

    /// Waits for room in the queue, but not when the daemon stops: the position then still says where to go on.
    fn hand_over(&mut self, chunk: Chunk) {
        if self.over {
            return;
        }
        let mut intake = self.intake.clone();
        self.over = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.intake.queue.send(chunk) => false,
                _ = intake.stopped() => true,
            }
        });
    }

    /// Ends records that are open: those of several lines, or all that there is.
    fn end_records(&mut self, i: usize, end: fn(&mut Framer, &mut Batch)) {
        let t = &mut self.tails[i];
        t.fed = None;
        let mut batch = Batch::default();
        end(&mut t.framer, &mut batch);
        self.send(i, batch);
    }

    /// Lets go of a file that is read to its end.
    fn end(&mut self, i: usize) {
        if self.tails[i].broken.is_none() {
            self.end_records(i, Framer::flush);
        }
        self.catch_up(i);
        let t = self.tails.remove(i);
        self.past.push(t.position(), t.broken.is_none());
        // What was taken for its copy is looked at again.
        self.passed.retain(|_, p| p.of != Some(t.inode));
        if t.broken.is_some() {
            // It is tried again when it has changed.
            self.passed.insert(t.inode, Passed::read(t.size, t.written));
        }
        t.stream.source.metrics.open.dec();
        if !self.tails.iter().any(|o| Arc::ptr_eq(&o.stream, &t.stream)) {
            self.named.remove(&(t.stream.source.name.clone(), t.stream.name.clone()));
            self.runtime.block_on(self.intake.queue.close(&t.stream));
        }
    }

    /// The stream of a source and a path.
    fn stream(&mut self, source: &Arc<Source>, path: &str) -> Arc<Stream> {
        let key = (source.name.clone(), path.to_owned());
        self.named.entry(key).or_insert_with(|| Stream::new(path.to_owned(), source.clone())).clone()
    }
}

/// So long ago.
fn age(t: Timestamp) -> Duration {
    Duration::from_nanos(clock::now().0.saturating_sub(t.0).max(0) as u64)
}
