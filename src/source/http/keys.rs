//! Idempotency keys: a request that is repeated under its key is stored once.
//!
//! A key belongs to a scope (who sent it where). It is held while its first request runs, and remembered with that
//! request's body and answer once the records are durable; the journal has it in the same write, so it comes back after a
//! restart. A request that stores nothing frees its key.

use crate::event::{Span, Timestamp};
use crate::metrics::Metrics;
use crate::source::KnownKey;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A key is remembered at least so long, while there is room.
const KEPT: Span = Span::seconds(86_400);
/// The longest key.
pub const LONGEST: usize = 255;

/// Whose key, and the key.
pub type Name = (Arc<str>, Arc<str>);

/// What the first request under a key stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Hash of its body.
    pub body: [u8; 16],
    /// The numbers of its first and last record.
    pub stored: (u64, u64),
}

enum State {
    Running,
    Done(First),
}

#[derive(Default)]
struct Held {
    states: HashMap<Name, State>,
    /// Those that are done, the oldest first.
    done: VecDeque<(Timestamp, Name)>,
}

/// All keys.
pub struct Keys {
    held: Mutex<Held>,
    most: usize,
    metrics: Arc<Metrics>,
}

/// What is known of a key.
pub enum Claim {
    /// Nothing: it is this request's now.
    New(Running),
    /// It has been used.
    Used(First),
    /// The first request under it has not been answered yet.
    Busy,
}

/// A key whose request runs; dropped before it is kept, it is free again.
pub struct Running {
    keys: Arc<Keys>,
    name: Name,
    kept: bool,
}

/// Whether a key can be one: 1 to 255 visible letters of ASCII.
pub fn is_key(key: &[u8]) -> bool {
    (1..=LONGEST).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
}

impl Keys {
    /// At most `most` keys that are done, and those that the journal knows.
    pub fn new(most: usize, known: &[KnownKey], metrics: Arc<Metrics>) -> Arc<Keys> {
        let keys = Keys { held: Mutex::default(), most, metrics };
        for k in known {
            keys.done((k.scope.clone(), k.key.clone()), First { body: k.body, stored: (k.first, k.last) }, k.received);
        }
        Arc::new(keys)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a key.
    pub fn claim(self: &Arc<Keys>, name: Name) -> Claim {
        let mut held = self.lock();
        match held.states.get(&name) {
            Some(State::Running) => Claim::Busy,
            Some(State::Done(first)) => Claim::Used(*first),
            None => {
                held.states.insert(name.clone(), State::Running);
                Claim::New(Running { keys: self.clone(), name, kept: false })
            }
        }
    }

    fn done(&self, name: Name, first: First, now: Timestamp) {
        let mut held = self.lock();
        if let Some(State::Done(_)) = held.states.insert(name.clone(), State::Done(first)) {
            return;
        }
        held.done.push_back((now, name));
        while let Some((at, _)) = held.done.front() {
            let old = now > at.plus(KEPT);
            if !old && held.done.len() <= self.most {
                break;
            }
            if !old {
                self.metrics.keys_forgotten.inc();
            }
            if let Some((_, name)) = held.done.pop_front() {
                held.states.remove(&name);
            }
        }
        self.metrics.keys.set(held.done.len() as i64);
    }
}

impl Running {
    /// The key's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its records are durable.
    pub fn keep(mut self, first: First, now: Timestamp) {
        self.kept = true;
        self.keys.done(self.name.clone(), first, now);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.kept {
            self.keys.lock().states.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::time::SECOND;

    fn name(key: &str) -> Name {
        ("admin:/x".into(), key.into())
    }

    fn first(n: u64) -> First {
        First { body: [n as u8; 16], stored: (n, n) }
    }

    /// `new`, `busy`, or the number of the first record.
    fn state(keys: &Arc<Keys>, key: &str) -> String {
        match keys.claim(name(key)) {
            Claim::New(_) => "new".into(),
            Claim::Busy => "busy".into(),
            Claim::Used(f) => f.stored.0.to_string(),
        }
    }

    #[test]
    fn a_key_is_busy_then_used_or_free_again() {
        let keys = Keys::new(10, &[], Arc::default());
        let Claim::New(running) = keys.claim(name("a")) else { panic!("nobody has it") };
        assert_eq!(state(&keys, "a"), "busy");
        drop(running);
        assert_eq!(state(&keys, "a"), "new", "the first stored nothing");
        let Claim::New(running) = keys.claim(name("a")) else { panic!("it is free") };
        running.keep(first(7), Timestamp(0));
        assert_eq!((state(&keys, "a"), state(&keys, "b")), ("7".into(), "new".into()));
    }

    #[test]
    fn the_oldest_is_forgotten_beyond_the_limit_counted_and_after_a_day_uncounted() {
        let metrics = Arc::new(Metrics::default());
        let known = |key: &str, n: u64, second: i64| KnownKey {
            scope: "admin:/x".into(),
            key: key.into(),
            body: [0; 16],
            first: n,
            last: n,
            received: Timestamp(second * SECOND),
        };
        let keys = Keys::new(2, &[known("a", 1, 0), known("b", 2, 1), known("c", 3, 2)], metrics.clone());
        assert_eq!(["a", "b", "c"].map(|k| state(&keys, k)), ["new", "2", "3"]);
        assert_eq!((metrics.keys.get(), metrics.keys_forgotten.get()), (2, 1));
        let Claim::New(running) = keys.claim(name("d")) else { panic!("nobody has it") };
        running.keep(first(4), Timestamp(90_000 * SECOND));
        assert_eq!(["b", "c", "d"].map(|k| state(&keys, k)), ["new", "new", "4"]);
        assert_eq!((metrics.keys.get(), metrics.keys_forgotten.get()), (1, 1));
    }

    #[test]
    fn a_key_is_short_and_visible() {
        for (key, yes) in [(&b"0b5f-1"[..], true), (b"\"quoted\"", true), (b"", false), (b"a b", false), (b"\xc3\xbc", false), (b"a\x7f", false)] {
            assert_eq!(is_key(key), yes, "{}", String::from_utf8_lossy(key));
        }
        assert!(is_key(&[b'x'; 255]) && !is_key(&[b'x'; 256]));
    }
}
