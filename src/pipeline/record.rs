//! The store's thread: commits what is to be told, once what it follows from is durable, and hands the engine's state on to be
//! saved behind it.

use super::Queue;
use super::durable::Durable;
use super::lines::Lines;
use super::states::{Save, States};
use super::tell::Tale;
use crate::disk::crash;
use crate::journal::Reader;
use crate::service::Stage;
use crate::store::{Commit, MAX_COPIED_BYTES, MAX_COPIES, Store, Told};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So many lines are committed at once at most.
const LINES: usize = 1000;
/// How often a commit that failed is tried again, and a used reserve is made good.
const AGAIN: Duration = Duration::from_millis(500);

/// What the thread is given, in the order of the journal.
pub enum Out {
    /// What follows from an entry.
    Tales {
        /// The entry.
        lsn: u64,
        /// What is to be told.
        tales: Vec<Tale>,
    },
    /// The engine's state, to be saved once all before it has been committed.
    State(Save),
    /// The end.
    Stop,
}

/// What the thread works with.
pub struct Record {
    /// What comes.
    pub out: Receiver<Out>,
    /// Where it is committed.
    pub store: Arc<Store>,
    /// Where evidence is copied from.
    pub reader: Reader,
    /// Whether entries are durable.
    pub durable: Arc<Durable>,
    /// Who makes them so.
    pub queue: Queue,
    /// Where states are saved.
    pub states: States,
    /// Told that there are lines to write.
    pub lines: Lines,
    /// Set while the store has used its reserve.
    pub store_full: Arc<AtomicBool>,
    /// Says that it moves.
    pub stage: Stage,
}

/// Runs until it is told to stop, or until the engine's thread is gone.
pub fn run(r: Record) {
    let mut pending: Option<Out> = None;
    loop {
        r.stage.idle();
        let next = match pending.take() {
            Some(o) => o,
            None => match r.out.recv_timeout(AGAIN) {
                Ok(o) => o,
                Err(RecvTimeoutError::Timeout) => {
                    refill(&r);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            },
        };
        r.stage.beat();
        match next {
            Out::Tales { lsn, tales } => {
                let (mut mark, mut all) = (lsn, tales);
                while all.len() < LINES {
                    match r.out.try_recv() {
                        Ok(Out::Tales { lsn, tales }) => {
                            mark = lsn;
                            all.extend(tales);
                        }
                        Ok(other) => {
                            pending = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                if !commit(&r, mark, all) {
                    break;
                }
            }
            Out::State(save) => {
                let lsn = save.lsn;
                if r.durable.get() < lsn {
                    r.queue.sync();
                }
                r.stage.idle();
                if !r.durable.wait(lsn) {
                    break;
                }
                let goes_on = match crash::around("commit", || r.store.commit(&Commit { mark: lsn, ..Commit::default() })) {
                    Ok(_) => r.states.save(save),
                    Err(e) => {
                        tracing::error!(error = %e, "the engine's state is not saved while the store cannot be written");
                        r.states.pass(&save)
                    }
                };
                if !goes_on {
                    break;
                }
            }
            Out::Stop => break,
        }
    }
    r.stage.idle();
    r.lines.end();
    r.states.end();
}

/// Commits lines once the entries they follow from are durable, however long that takes; `false` if these never will be.
fn commit(r: &Record, mark: u64, tales: Vec<Tale>) -> bool {
    if r.durable.get() < mark {
        r.queue.sync();
        r.stage.idle();
        if !r.durable.wait(mark) {
            return false;
        }
        r.stage.beat();
    }
    let told = tales.into_iter().map(|t| told(r, t)).collect();
    let commit = Commit { mark, told, written: Vec::new() };
    let mut said = false;
    while let Err(e) = crash::around("commit", || r.store.commit(&commit)) {
        if !std::mem::replace(&mut said, true) {
            tracing::error!(error = %e, "alerts cannot be stored; they wait");
        }
        r.store_full.store(true, Ordering::Relaxed);
        std::thread::park_timeout(AGAIN);
        // It is the disk that stands still, and a restart would not move it.
        r.stage.beat();
    }
    if said {
        tracing::info!("alerts are stored again");
    }
    refill(r);
    r.lines.more();
    true
}

/// While the store's reserve is used up, nothing more is taken in.
fn refill(r: &Record) {
    let missing = r.store.reserve_missing() && r.store.refill().is_err();
    if r.store_full.swap(missing, Ordering::Relaxed) != missing {
        tracing::warn!(missing, "the store's reserve of disk space");
    }
}

fn told(r: &Record, t: Tale) -> Told {
    let (mut evidence, mut bytes) = (Vec::new(), 0);
    for &seq in t.evidence.iter().rev().take(MAX_COPIES) {
        match r.reader.record(seq) {
            Ok(Some(record)) if bytes + record.len() <= MAX_COPIED_BYTES => {
                bytes += record.len();
                evidence.push((seq, record));
            }
            Ok(_) => {}
            Err(e) => tracing::warn!(seq, error = %e, "a record of evidence cannot be read"),
        }
    }
    let Tale { id, step, line, ts, rule, severity, signal, is_final, .. } = t;
    Told { id, step, line, ts, rule, severity, signal, is_final, evidence }
}
