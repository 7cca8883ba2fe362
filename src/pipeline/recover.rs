//! What happens before anything is taken in: the engine is brought to where the journal ends.
//!
//! The newest state that can be read is taken, under the bundle that was in force, and what the journal holds behind it is
//! replayed. What follows from entries up to the store's mark has been told; the rest is told now.

use super::brain::Brain;
use super::bundle::Loaded;
use super::record::Out;
use super::snapshot::Snapshots;
use crate::journal::{Reader, What};
use crate::metrics::Metrics;
use crossbeam_channel::Sender;
use std::sync::Arc;

/// The engine where the journal ends.
pub struct Recovered {
    /// Parsers and engine.
    pub brain: Brain,
    /// The last entry in it.
    pub lsn: u64,
    /// How many records were replayed.
    pub replayed: u64,
}

/// Brings an engine to where the journal ends. `current` is what the configuration says now: it is used where nothing else
/// has been in force yet, or what was cannot be read any more. `mark` is the store's.
pub fn recover(
    reader: &Reader,
    snapshots: &Snapshots,
    current: &Arc<Loaded>,
    seed: u64,
    mark: u64,
    out: &Sender<Out>,
    metrics: &Arc<Metrics>,
) -> Recovered {
    let last = reader.last();
    let (mut brain, mut lsn) = begin(snapshots, current, seed, last, metrics);
    let mut replayed = 0;
    for entry in reader.entries(lsn + 1) {
        let entry = match entry {
            Ok(e) => e,
            Err(damage) => {
                tracing::error!(%damage, "a part of the journal cannot be read, and is not evaluated again");
                continue;
            }
        };
        let mut tales = Vec::new();
        if let What::Records(r) = &entry.what {
            replayed += r.batch.records.len() as u64;
        }
        brain.mute(entry.lsn <= mark);
        brain.take(&entry, &mut tales);
        if let What::Load { hash, rebuild } = &entry.what {
            brain.load(in_force(snapshots, hash, current), *rebuild, entry.lsn, reader, &mut tales);
        }
        lsn = entry.lsn;
        if lsn > mark && !tales.is_empty() && out.send(Out::Tales { lsn, tales }).is_err() {
            break;
        }
    }
    brain.mute(false);
    Recovered { brain, lsn, replayed }
}

/// The engine as of the newest state that can be used, and its entry; a fresh one where there is none.
fn begin(snapshots: &Snapshots, current: &Arc<Loaded>, seed: u64, last: u64, metrics: &Arc<Metrics>) -> (Brain, u64) {
    let states = snapshots.list().unwrap_or_else(|e| {
        tracing::error!(error = %e, "the saved states cannot be listed");
        Vec::new()
    });
    for lsn in states {
        if lsn > last {
            tracing::error!(lsn, last, "a saved state is ahead of the journal, of which an end is missing; it is not used");
            continue;
        }
        let state = match snapshots.read(lsn) {
            Ok(s) => s,
            Err(why) => {
                tracing::error!(lsn, why, "a saved state cannot be used");
                continue;
            }
        };
        let mut brain = Brain::new(in_force(snapshots, &state.load, current), seed, metrics.clone());
        match brain.restore(&state.state) {
            Ok(()) => return (brain, lsn),
            Err(why) => tracing::error!(lsn, why, "a saved state cannot be used"),
        }
    }
    (Brain::new(current.clone(), seed, metrics.clone()), 0)
}

/// The bundle of that hash, else the current one.
fn in_force(snapshots: &Snapshots, hash: &[u8; 32], current: &Arc<Loaded>) -> Arc<Loaded> {
    if *hash == current.hash {
        return current.clone();
    }
    match snapshots.bundle(hash).and_then(|b| b.load()) {
        Ok(l) => Arc::new(l),
        Err(why) => {
            tracing::warn!(why, "the rules and settings of then cannot be had any more; those of now are used");
            current.clone()
        }
    }
}
