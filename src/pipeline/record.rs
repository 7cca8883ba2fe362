//! The store's thread: commits what is to be told, once what it follows from is durable, and saves the engine's state.

use super::Queue;
use super::durable::Durable;
use super::lines::Lines;
use super::snapshot::{Snapshot, Snapshots};
use super::tell::Tale;
use crate::disk::crash;
use crate::journal::{Keeper, Reader};
use crate::service::Stage;
use crate::store::{Commit, MAX_COPIED_BYTES, MAX_COPIES, Store, Told};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::BTreeSet;
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
    Snapshot {
        /// The state.
        state: Box<Snapshot>,
        /// The bundles that the journal names.
        named: BTreeSet<[u8; 32]>,
        /// Let go of when it has been saved.
        saving: Arc<()>,
    },
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
    /// What the journal may forget.
    pub keeper: Keeper,
    /// Whether entries are durable.
    pub durable: Arc<Durable>,
    /// Who makes them so.
    pub queue: Queue,
    /// Where states are saved.
    pub snapshots: Snapshots,
    /// Told that there are lines to write.
    pub lines: Lines,
    /// Set while the store has used its reserve.
    pub store_full: Arc<AtomicBool>,
    /// Says that it moves.
    pub stage: Stage,
}

/// Runs until it is told to stop, or until the engine's thread is gone.
pub fn run(mut r: Record) {
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
            Out::Snapshot { state, named, saving: _saving } => {
                if r.durable.get() < state.lsn {
                    r.queue.sync();
                }
                r.stage.idle();
                if !r.durable.wait(state.lsn) {
                    break;
                }
                save(&mut r, &state, named);
            }
            Out::Stop => break,
        }
    }
    r.lines.end();
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

/// Saves the state, behind the store's mark; what lies before the older one of the two that are kept may go from the journal, and
/// bundles that nobody names any more may go too.
fn save(r: &mut Record, s: &Snapshot, named: BTreeSet<[u8; 32]>) {
    r.snapshots.has_come(&s.load);
    if let Err(e) = crash::around("commit", || r.store.commit(&Commit { mark: s.lsn, ..Commit::default() })) {
        tracing::error!(error = %e, "the engine's state is not saved while the store cannot be written");
        return;
    }
    match r.snapshots.write(s) {
        // While there is one state alone, the journal must do for it.
        Ok(oldest) => r.keeper.hold(oldest.map_or(1, |o| o + 1)),
        Err(e) => {
            tracing::error!(error = %e, "the engine's state cannot be saved; the next start replays more of the journal");
            return;
        }
    }
    if let Err(e) = r.snapshots.tidy(named) {
        tracing::warn!(error = %e, "rules and settings that nobody needs any more cannot be deleted; they stay until the next state is saved");
    }
}
