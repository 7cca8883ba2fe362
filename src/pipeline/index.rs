//! The threads that keep the index: some build slices behind what is durable in the journal, one merges them and lets go of old ones.
//!
//! None holds up anybody. What is not indexed yet is found by reading the journal; a slice that is being built when the program
//! ends is begun anew at the next start. When a slice cannot be written, building waits and tries again. Where cores are short, the
//! threads give way to all others.

mod follow;
mod shares;
mod tend;
#[cfg(test)]
mod tests;

use super::durable::Durable;
use super::past::Past;
use crate::config;
use crate::index::Index;
use crate::journal::Reader;
use crate::metrics::Metrics;
use follow::Follow;
use shares::Shares;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tend::Tend;

/// How long a thread waits that has nothing to do.
const IDLE: Duration = Duration::from_millis(50);
/// The threads are waited for so long when they are to end.
const END: Duration = Duration::from_secs(1);
/// The threads' niceness: about a tenth of a core's time is theirs for sure.
const NICE: i32 = 10;
/// What cannot be done is tried again after so long at first, and at last.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The bounds of the index.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of all slices. Beyond it the oldest go.
    pub max_bytes: u64,
    /// What stays free on the file system: below it the oldest slices go, and none is built.
    pub min_free: u64,
    /// A slice is published with so many documents.
    pub slice_docs: u32,
    /// So many threads build slices, where there are as many cores.
    pub builders: usize,
}

impl Options {
    /// As the configuration says.
    pub fn of(c: &config::Index, min_free: u64) -> Options {
        Options { max_bytes: c.max_bytes as u64, min_free, slice_docs: u32::try_from(c.slice_records).unwrap_or(u32::MAX), builders: c.builders }
    }
}

/// What the threads work with.
#[derive(Clone)]
pub struct With {
    /// The slices.
    pub index: Arc<Index>,
    /// What was in force when.
    pub past: Arc<Past>,
    /// The journal.
    pub reader: Reader,
    /// How far it is durable.
    pub durable: Arc<Durable>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The bounds.
    pub options: Options,
}

/// The threads. They end within a second when this is dropped.
pub struct Indexing {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Indexing {
    /// Starts the threads.
    pub fn start(with: With) -> io::Result<Indexing> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut all = Indexing { stop: stop.clone(), threads: Vec::new() };
        let thread = |name: &str, f: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(|| {
                give_way();
                f()
            })
        };
        for follow in builders(&with, &stop) {
            all.threads.push(thread("vigild-index", Box::new(move || follow.run()))?);
        }
        let tend = Tend::new(with, stop);
        all.threads.push(thread("vigild-merge", Box::new(move || tend.run()))?);
        Ok(all)
    }

    /// Tells the threads to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.iter().for_each(|t| t.thread().unpark());
    }
}

impl Drop for Indexing {
    fn drop(&mut self) {
        self.stop();
        let begin = crate::clock::monotonic();
        for t in self.threads.drain(..) {
            // A large merge may be between two writes; it changes nothing that is there.
            while !t.is_finished() && begin.elapsed() < END {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            if t.is_finished() {
                let _ = t.join();
            }
        }
    }
}

/// What builds slices, each of them for a thread of its own.
fn builders(with: &With, stop: &Arc<AtomicBool>) -> Vec<Follow> {
    let (shares, trouble) = (Arc::new(Shares::default()), Arc::new(Trouble::default()));
    let n = std::thread::available_parallelism().map_or(1, usize::from).min(with.options.builders);
    (0..n).map(|who| Follow::new(who, shares.clone(), trouble.clone(), with.clone(), stop.clone())).collect()
}

/// Builds what is missing of the index of a journal that nobody writes, and merges it; `tell` is told now and then how many entries
/// are left.
pub fn catch_up(with: With, tell: &mut dyn FnMut(u64)) -> io::Result<()> {
    with.durable.set(with.reader.last());
    with.durable.end();
    let stop = Arc::new(AtomicBool::new(false));
    let mut all = builders(&with, &stop).into_iter();
    let first = all.next();
    std::thread::scope(|s| {
        let others: Vec<_> = all.map(|mut f| s.spawn(move || f.catch_up(&mut |_| {}))).collect();
        let mut done = first.map_or(Ok(()), |mut f| f.catch_up(tell));
        if done.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        for o in others {
            let other = o.join().unwrap_or_else(|_| Err(io::Error::other("a thread that builds the index has failed")));
            done = done.and(other);
        }
        done
    })?;
    Tend::new(with, Arc::default()).catch_up()
}

/// Waits longer each time that the same thing fails, and says it once. Threads that do the same share it: what one cannot do another
/// may, and then it is over.
#[derive(Debug, Default)]
struct Trouble(Mutex<Duration>);

impl Trouble {
    fn wait_for(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) {
        if std::mem::take(&mut *self.wait_for()) > Duration::ZERO {
            tracing::info!("the index is written again");
        }
    }

    fn met(&self, what: &str, e: &io::Error) {
        let mut wait = self.wait_for();
        if *wait == Duration::ZERO {
            tracing::error!(error = %e, "{what}; it is tried again until it can");
        }
        *wait = (*wait * 2).clamp(AGAIN.0, AGAIN.1);
    }

    /// Waits until it is to be tried again, or the thread is told to end.
    fn wait(&self, stop: &AtomicBool) {
        let (begin, wait) = (crate::clock::monotonic(), *self.wait_for());
        while !stop.load(Ordering::Relaxed) && begin.elapsed() < wait {
            std::thread::park_timeout(wait.saturating_sub(begin.elapsed()).min(Duration::from_secs(1)));
        }
    }
}

/// Makes this thread give way to others.
fn give_way() {
    // On Linux a thread has a niceness of its own, and nobody in particular means the thread that asks.
    if let Err(e) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(error = %e, "the index's threads run with the priority of all others");
    }
}

/// Bytes that may still be written where the index lies.
fn free(index: &Index) -> io::Result<u64> {
    let s = rustix::fs::statvfs(index.root())?;
    Ok(s.f_bavail.saturating_mul(s.f_frsize))
}
