//! The thread that saves the engine's states: packing and writing one takes longer than an alert may wait for.

use super::snapshot::{Snapshot, Snapshots};
use crate::journal::Keeper;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// So many states wait at most; the engine has one on its way, and one more for each load of rules.
const WAITING: usize = 1;

/// Held by the engine's thread, and by each state that is on its way to the disk: there is one at a time, and its room is used
/// again.
#[derive(Clone, Default)]
pub struct Saving(Arc<Mutex<Vec<u8>>>);

impl Saving {
    /// Whether a state is on its way.
    pub fn is_on(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// The room of the state before, if it has come back.
    pub fn room(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(self, mut room: Vec<u8>) {
        room.clear();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }
}

/// A state behind the store's mark, to be saved.
pub struct Save {
    /// The state.
    pub state: Box<Snapshot>,
    /// The bundles that the journal names.
    pub named: BTreeSet<[u8; 32]>,
    /// Let go of when it has been saved.
    pub saving: Saving,
}

/// The thread.
pub struct States {
    to: Sender<Save>,
    thread: JoinHandle<()>,
}

impl States {
    /// Starts the thread; `keeper` is told what the journal may forget.
    pub fn start(snapshots: Snapshots, keeper: Keeper) -> io::Result<States> {
        let (to, saves) = bounded(WAITING);
        let thread = std::thread::Builder::new().name("vigild-states".into()).spawn(move || run(&saves, &snapshots, &keeper))?;
        Ok(States { to, thread })
    }

    /// Hands a state on; waits while others do. Once the thread is gone nothing is saved any more, and it has said why.
    pub fn save(&self, s: Save) {
        let _ = self.to.send(s);
    }

    /// Waits until all that was handed on is saved.
    pub fn end(self) {
        drop(self.to);
        let _ = self.thread.join();
    }
}

fn run(saves: &Receiver<Save>, snapshots: &Snapshots, keeper: &Keeper) {
    for Save { state, named, saving } in saves {
        save(snapshots, keeper, &state, named);
        saving.give_back(state.state);
    }
}

/// Saves a state; what lies before the older one of the two that are kept may go from the journal, and bundles that nobody names
/// any more may go too.
fn save(snapshots: &Snapshots, keeper: &Keeper, s: &Snapshot, named: BTreeSet<[u8; 32]>) {
    snapshots.has_come(&s.load);
    match snapshots.write(s) {
        // While there is one state alone, the journal must do for it.
        Ok(oldest) => keeper.hold(oldest.map_or(1, |o| o + 1)),
        Err(e) => {
            tracing::error!(error = %e, "the engine's state cannot be saved; the next start replays more of the journal");
            return;
        }
    }
    if let Err(e) = snapshots.tidy(named) {
        tracing::warn!(error = %e, "rules and settings that nobody needs any more cannot be deleted; they stay until the next state is saved");
    }
}
