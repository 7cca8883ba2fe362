//! How far the journal is ahead of the engine.
//!
//! Entries go to the engine's thread from memory while they take no more than their share of it. What comes beyond that is in
//! the journal alone, and the engine reads it there: so intake keeps its pace, up to a limit, and memory is bounded.

use super::bundle::Loaded;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What both threads see.
pub struct Lead {
    /// The last entry that the engine has taken.
    taken: AtomicU64,
    /// All entries up to here have been written, and whatever goes to the engine beside them has been sent.
    given: AtomicU64,
    /// Whether the engine has been told that there is something to read.
    told: AtomicBool,
    stopping: AtomicBool,
    loads: Mutex<VecDeque<Arc<Loaded>>>,
}

impl Lead {
    /// Both stand at this entry.
    pub fn new(lsn: u64) -> Lead {
        Lead {
            taken: AtomicU64::new(lsn),
            given: AtomicU64::new(lsn),
            told: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            loads: Mutex::default(),
        }
    }

    /// The engine has taken this entry.
    pub fn took(&self, lsn: u64) {
        self.taken.store(lsn, Ordering::Release);
    }

    /// The last entry that may be read in the journal once no message is waiting: the engine must have what was sent first.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// The engine looks now.
    pub fn looks(&self) {
        // What was given before it was told again is seen from here on.
        self.told.swap(false, Ordering::AcqRel);
    }

    /// Whether nothing more comes, and what is in the journal may be left for the next start.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Nothing more comes.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What the load of this hash loads.
    pub fn loaded(&self, hash: &[u8; 32]) -> Option<Arc<Loaded>> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let i = loads.iter().position(|l| l.hash == *hash)?;
        loads.remove(i)
    }
}

/// The journal's side of it.
pub struct Ahead {
    lead: Arc<Lead>,
    /// Entries that were handed over in memory and are not taken yet.
    memory: Held,
    /// All that are not taken yet, in stretches.
    journal: Held,
    /// Nothing is handed over in memory before most of it has been taken.
    spills: bool,
}

/// Stretches of entries and their bytes.
struct Held {
    all: VecDeque<(u64, usize)>,
    bytes: usize,
    limit: usize,
}

/// Entries are held in stretches of so many bytes.
const STRETCH: usize = 1 << 16;

impl Held {
    fn new(limit: usize) -> Held {
        Held { all: VecDeque::new(), bytes: 0, limit }
    }

    fn add(&mut self, lsn: u64, bytes: usize) {
        self.bytes += bytes;
        match self.all.back_mut() {
            Some(last) if last.1 < STRETCH => *last = (lsn, last.1 + bytes),
            _ => self.all.push_back((lsn, bytes)),
        }
    }

    fn settle(&mut self, taken: u64) {
        while let Some((_, bytes)) = self.all.pop_front_if(|(lsn, _)| *lsn <= taken) {
            self.bytes -= bytes;
        }
    }
}

impl Ahead {
    /// At most so many bytes in memory, and so many in all.
    pub fn new(lead: Arc<Lead>, memory: usize, backlog: usize) -> Ahead {
        Ahead { lead, memory: Held::new(memory), journal: Held::new(backlog), spills: false }
    }

    /// Whether the journal is as far ahead as it may be.
    pub fn is_far(&mut self) -> bool {
        self.settle();
        self.journal.bytes >= self.journal.limit
    }

    /// Bytes that the engine has not taken.
    pub fn bytes(&mut self) -> usize {
        self.settle();
        self.journal.bytes
    }

    /// An entry has been written; whether it goes to the engine in memory.
    pub fn wrote(&mut self, lsn: u64, bytes: usize) -> bool {
        self.settle();
        self.journal.add(lsn, bytes);
        // One that is larger than all of it goes alone.
        self.spills = if self.spills {
            self.memory.bytes > self.memory.limit / 4
        } else {
            self.memory.bytes + bytes > self.memory.limit && self.memory.bytes > 0
        };
        if !self.spills {
            self.memory.add(lsn, bytes);
        }
        !self.spills
    }

    /// A load is about to be written.
    pub fn loads(&self, l: Arc<Loaded>) {
        self.lead.loads.lock().unwrap_or_else(PoisonError::into_inner).push_back(l);
    }

    /// All has been sent that goes with entries up to here: whether the engine is to be told of it.
    pub fn gave(&self, lsn: u64) -> bool {
        self.lead.given.store(lsn, Ordering::Release);
        !self.lead.told.swap(true, Ordering::AcqRel)
    }

    /// See [`Lead::stop`].
    pub fn stop(&self) {
        self.lead.stop();
    }

    fn settle(&mut self) {
        let taken = self.lead.taken.load(Ordering::Acquire);
        self.memory.settle(taken);
        self.journal.settle(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_its_share_of_memory_is_left_to_the_journal_until_most_of_it_is_taken() {
        let lead = Arc::new(Lead::new(0));
        let mut a = Ahead::new(lead.clone(), 1 << 20, 4 << 20);
        let part = 100 << 10;
        let memory: Vec<bool> = (1..=20).map(|lsn| a.wrote(lsn, part)).collect();
        assert!(memory[..10].iter().all(|m| *m) && !memory[10..].iter().any(|m| *m), "{memory:?}");
        lead.took(5);
        assert!(!a.wrote(21, part), "half of it is still there");
        lead.took(10);
        assert!(a.wrote(22, part));
        assert_eq!(a.bytes(), 12 * part);
        assert!(!a.is_far());
        for lsn in 23..=60 {
            let _: bool = a.wrote(lsn, part);
        }
        assert!(a.is_far());
        lead.took(60);
        assert!(!a.is_far());
        assert_eq!((a.bytes(), a.memory.bytes), (0, 0));
    }

    #[test]
    fn an_entry_larger_than_the_share_goes_alone() {
        let lead = Arc::new(Lead::new(0));
        let mut a = Ahead::new(lead.clone(), 1000, 1 << 20);
        assert!(a.wrote(1, 5000));
        assert!(!a.wrote(2, 1));
        lead.took(2);
        assert!(a.wrote(3, 5000));
    }

    #[test]
    fn the_engine_is_told_once_until_it_looks() {
        let lead = Arc::new(Lead::new(7));
        let a = Ahead::new(lead.clone(), 1, 1);
        assert!(a.gave(8));
        assert!(!a.gave(9));
        lead.looks();
        assert_eq!(lead.given(), 9);
        assert!(a.gave(10));
    }
}
