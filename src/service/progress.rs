//! Who is at work and moves, who waits for work, and who stands still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The stages of the daemon that must not stand still. Clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Vec<Arc<State>>>>);

#[derive(Debug)]
struct State {
    name: &'static str,
    beats: AtomicU64,
    /// The beats at the last look.
    seen: AtomicU64,
    busy: AtomicBool,
}

/// One stage: a thread or task that says when it has moved. Dropped at its end it no longer counts; dropped by a panic it
/// counts as standing still for good.
#[derive(Debug)]
pub struct Stage {
    state: Arc<State>,
    list: Progress,
}

impl Progress {
    /// A stage that waits for work.
    pub fn stage(&self, name: &'static str) -> Stage {
        let state = Arc::new(State { name, beats: AtomicU64::new(0), seen: AtomicU64::new(0), busy: AtomicBool::new(false) });
        self.lock().push(state.clone());
        Stage { state, list: self.clone() }
    }

    /// The stages that are at work and have not moved since the last look, by name.
    pub fn stuck(&self) -> Vec<&'static str> {
        let still = |s: &&Arc<State>| {
            let beats = s.beats.load(Ordering::Relaxed);
            s.seen.swap(beats, Ordering::Relaxed) == beats && s.busy.load(Ordering::Relaxed)
        };
        self.lock().iter().filter(still).map(|s| s.name).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<State>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    /// It has taken up work or has finished a piece of it. Costs two relaxed stores.
    pub fn beat(&self) {
        self.state.busy.store(true, Ordering::Relaxed);
        self.state.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// It waits for work: from now until the next [`Stage::beat`] it may rest for as long as it likes.
    pub fn idle(&self) {
        self.state.busy.store(false, Ordering::Relaxed);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.busy.store(true, Ordering::Relaxed);
        } else {
            self.list.lock().retain(|s| !Arc::ptr_eq(s, &self.state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_stuck_only_while_it_is_at_work_and_does_not_move() {
        let all = Progress::default();
        let (engine, journal) = (all.stage("engine"), all.stage("journal"));
        assert_eq!(all.stuck(), [""; 0], "nobody has begun");
        engine.beat();
        assert_eq!(all.stuck(), [""; 0], "it has moved since");
        assert_eq!(all.stuck(), ["engine"], "it has not moved since");
        journal.beat();
        engine.beat();
        assert_eq!(all.stuck(), [""; 0]);
        engine.beat();
        assert_eq!(all.stuck(), ["journal"], "one that moves does not hide one that does not");
        journal.idle();
        engine.idle();
        assert_eq!(all.stuck(), [""; 0], "both wait for work");
        assert_eq!(all.stuck(), [""; 0], "and may wait long");
    }

    #[test]
    fn a_stage_that_ended_does_not_count_and_one_that_died_does() {
        let all = Progress::default();
        let done = all.stage("done");
        done.beat();
        drop(done);
        let dies = all.stage("dies");
        let died = std::thread::spawn(move || {
            let _held = dies;
            panic!("as a test wants it");
        });
        assert!(died.join().is_err());
        assert_eq!(all.stuck(), ["dies"]);
        assert_eq!(all.stuck(), ["dies"]);
    }
}
