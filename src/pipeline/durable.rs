//! Up to which entry the journal is durable, for those who wait for it.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub struct Durable {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lsn: u64,
    ended: bool,
}

impl Durable {
    /// Everything up to this entry is durable.
    pub fn set(&self, lsn: u64) {
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        s.lsn = s.lsn.max(lsn);
        drop(s);
        self.moved.notify_all();
    }

    /// Nothing will become durable any more.
    pub fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.moved.notify_all();
    }

    /// Whether nothing will become durable any more.
    pub fn has_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// The entry up to which all is durable.
    pub fn get(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lsn
    }

    /// Waits until this entry is durable; `false` if it never will be.
    pub fn wait(&self, lsn: u64) -> bool {
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while s.lsn < lsn && !s.ended {
            s = self.moved.wait_timeout(s, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
        }
        s.lsn >= lsn
    }
}
