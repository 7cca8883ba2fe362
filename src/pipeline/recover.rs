//! What happens before anything is taken in: the engine is brought to where the journal ends.
//!
//! The newest state that can be read is taken, under the bundle that was in force, and what the journal holds behind it is
//! replayed. What follows from entries up to the store's mark has been told; the rest is told now. States are saved behind
//! the mark: one that is ahead of it says that the store was lost, whose alerts are made again if the journal still has all.
//!
//! A long replay saves states on its way: being killed in it does not make the next one longer.

use super::brain::Brain;
use super::bundle::Loaded;
use super::evaluate::{SHARE, waiting};
use super::record::Out;
use super::snapshot::Snapshots;
use super::states::{Save, Saving};
use crate::clock;
use crate::journal::{Reader, What};
use crate::metrics::Metrics;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Duration;

/// The engine where the journal ends.
pub struct Recovered {
    /// Parsers and engine.
    pub brain: Brain,
    /// The last entry in it.
    pub lsn: u64,
    /// The first entry that the next start may need.
    pub needed: u64,
    /// How many records were replayed.
    pub replayed: u64,
    /// The last entry of the state that was saved last.
    pub saved: u64,
    /// How long what is not in it took to evaluate.
    pub busy: Duration,
    /// Held by the state that is on its way to the disk.
    pub saving: Arc<Saving>,
}

/// What an engine is brought to the journal's end with.
pub struct Recover<'a> {
    /// The journal.
    pub reader: &'a Reader,
    /// Saved states.
    pub snapshots: &'a Snapshots,
    /// What the configuration says now: it is used where nothing else has been in force yet, or what was cannot be read any more.
    pub current: &'a Arc<Loaded>,
    /// The journal's seed.
    pub seed: u64,
    /// The store's mark.
    pub mark: u64,
    /// How much evaluation the next start may repeat.
    pub replay: Duration,
    /// All metrics.
    pub metrics: &'a Arc<Metrics>,
}

/// Brings an engine to where the journal ends; what is to be told goes to `out`.
pub fn recover(with: &Recover<'_>, out: &Sender<Out>) -> Recovered {
    let Recover { reader, snapshots, current, mark, replay, metrics, .. } = *with;
    let (mut brain, mut lsn) = begin(with);
    let needed = snapshots.list().ok().and_then(|l| l.last().copied()).map_or(0, |oldest| oldest.min(lsn)) + 1;
    let mut replayed = 0;
    let (mut saved, mut since, mut cost) = (lsn, clock::monotonic(), Duration::ZERO);
    let saving = Arc::<Saving>::default();
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
            brain.load(in_force(snapshots, hash, current), *rebuild, entry.lsn, reader, &mut tales, &|| ());
        }
        lsn = entry.lsn;
        if lsn > mark {
            metrics.alerts_waiting.inc_by(waiting(&tales));
        }
        if lsn > mark && !tales.is_empty() && out.send(Out::Tales { lsn, tales }).is_err() {
            break;
        }
        if since.elapsed() >= replay.max(cost * SHARE) && Arc::strong_count(&saving) == 1 {
            let begin = clock::monotonic();
            if out.send(Out::State(Save::of(&mut brain, lsn, reader.size().first_lsn, &saving))).is_err() {
                break;
            }
            (saved, since, cost) = (lsn, clock::monotonic(), begin.elapsed());
        }
    }
    brain.mute(false);
    Recovered { brain, lsn, needed, replayed, saved, busy: since.elapsed(), saving }
}

/// The engine as of the newest state that can be used, and its entry; a fresh one where there is none. States that never can be
/// used are let go of.
fn begin(with: &Recover<'_>) -> (Brain, u64) {
    let Recover { reader, snapshots, mark, .. } = *with;
    let (last, whole) = (reader.last(), reader.size().first_lsn <= 1);
    let states = snapshots.list().unwrap_or_else(|e| {
        tracing::error!(error = %e, "the saved states cannot be listed");
        Vec::new()
    });
    for lsn in states {
        let why = if lsn > last {
            format!("it is ahead of the journal, which ends at {last}: the end of the journal is missing")
        } else if lsn > mark && whole {
            tracing::error!(lsn, mark, "the store lacks what it had when this state was saved: alerts are made again from the journal");
            continue;
        } else {
            match restore(with, lsn) {
                Ok(brain) => {
                    if lsn > mark {
                        tracing::error!(lsn, mark, "the store lacks what it had when this state was saved, and the journal no longer has it all");
                    }
                    return (brain, lsn);
                }
                Err(why) => why,
            }
        };
        tracing::error!(lsn, why, "a saved state cannot be used, and is removed");
        if let Err(e) = snapshots.remove(lsn) {
            tracing::error!(error = %e, "it cannot be removed");
        }
    }
    if !whole {
        tracing::error!("without a saved state windows begin where the journal does");
    }
    (Brain::new(with.current.clone(), with.seed, with.metrics.clone()), 0)
}

/// The engine as of one state.
fn restore(with: &Recover<'_>, lsn: u64) -> Result<Brain, String> {
    let state = with.snapshots.read(lsn)?;
    let mut brain = Brain::new(in_force(with.snapshots, &state.load, with.current), with.seed, with.metrics.clone());
    brain.restore(&state.state)?;
    Ok(brain)
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
