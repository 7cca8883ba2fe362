//! The thread that saves the engine's states: packing and writing one takes longer than an alert may wait for.

use super::brain::Brain;
use super::snapshot::Snapshots;
use crate::journal::Keeper;
use crate::worker::{Parts, Saved};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// So many states wait at most; the engine has one on its way, and one more for each load of rules.
const WAITING: usize = 1;

/// A state behind the store's mark, to be saved.
pub struct Save {
    /// The last entry in it.
    pub lsn: u64,
    /// The bundle that was in force.
    load: [u8; 32],
    /// The state.
    state: Saved,
    /// The bundles that the journal names.
    named: BTreeSet<[u8; 32]>,
    /// Let go of when it has been saved.
    saving: Arc<Saving>,
}

impl Save {
    /// The state as of an entry, in a journal that begins with entry `first`.
    pub fn of(brain: &mut Brain, lsn: u64, first: u64, saving: &Arc<Saving>) -> Save {
        let named = brain.named(first);
        Save { lsn, load: brain.loaded().hash, state: brain.save(saving.take()), named, saving: saving.clone() }
    }
}

/// Shared by the states that are on their way: the room of one that has been saved is for the next.
#[derive(Default)]
pub struct Saving(Mutex<Parts>);

impl Saving {
    fn take(&self) -> Parts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give(&self, room: Parts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }
}

/// What the thread is told, in the order of the journal.
enum Told {
    Save(Save),
    /// The state under this bundle, which is not to be saved.
    Passed([u8; 32]),
}

/// The thread.
pub struct States {
    to: Sender<Told>,
    thread: JoinHandle<()>,
}

impl States {
    /// Starts the thread; `keeper` is told what the journal may forget.
    pub fn start(snapshots: Snapshots, keeper: Keeper) -> io::Result<States> {
        let (to, saves) = bounded(WAITING);
        let thread = std::thread::Builder::new().name("vigild-states".into()).spawn(move || run(&saves, &snapshots, &keeper))?;
        Ok(States { to, thread })
    }

    /// Hands a state on; waits while others do. `false` once the thread is gone.
    pub fn save(&self, s: Save) -> bool {
        self.to.send(Told::Save(s)).is_ok()
    }

    /// Says that a state is not to be saved. `false` once the thread is gone.
    pub fn pass(&self, s: &Save) -> bool {
        self.to.send(Told::Passed(s.load)).is_ok()
    }

    /// Waits until all that was handed on is saved.
    pub fn end(self) {
        drop(self.to);
        let _ = self.thread.join();
    }
}

fn run(told: &Receiver<Told>, snapshots: &Snapshots, keeper: &Keeper) {
    for t in told {
        match t {
            Told::Save(s) => save(snapshots, keeper, s),
            Told::Passed(load) => snapshots.has_come(&load),
        }
    }
}

/// Saves a state; what lies before the older one of the two that are kept may go from the journal, and bundles that nobody names
/// any more may go too.
fn save(snapshots: &Snapshots, keeper: &Keeper, mut s: Save) {
    // Not before the states ahead of it are saved: what they let go of must not be this one's bundle.
    snapshots.has_come(&s.load);
    let written = snapshots.write(s.lsn, &s.load, &s.state.seal());
    s.saving.give(s.state.room());
    match written {
        // While there is one state alone, the journal must do for it.
        Ok(oldest) => keeper.hold(oldest.map_or(1, |o| o + 1)),
        Err(e) => {
            tracing::error!(error = %e, "the engine's state cannot be saved; the next start replays more of the journal");
            return;
        }
    }
    if let Err(e) = snapshots.tidy(s.named) {
        tracing::warn!(error = %e, "rules and settings that nobody needs any more cannot be deleted; they stay until the next state is saved");
    }
}
