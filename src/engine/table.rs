//! A bounded table of keys in the order of their last touch.
//!
//! Matches of a rule come in the order of time, so the least recently touched key is also the first to expire: one list
//! serves eviction and expiry. Slots are reused; nothing moves when a key is touched.

use crate::event::Timestamp;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Slot<T> {
    key: Arc<[u8]>,
    hash: u64,
    value: T,
    touched: Timestamp,
    before: u32,
    after: u32,
}

/// The room that a vector takes for so many, pushed one by one. Bytes are reckoned by lengths alone: they are the same after
/// state has been saved and restored, when the real room is another.
pub fn grown(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_power_of_two().max(4) }
}

/// Values by key.
#[derive(Clone, Debug)]
pub struct Table<T> {
    index: HashTable<u32>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    seed: FixedState,
}

impl<T: Default> Table<T> {
    /// An empty table. The seed is the log's: the same log gives the same table.
    pub fn new(seed: u64) -> Table<T> {
        Table { index: HashTable::new(), slots: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE, seed: FixedState::with_seed(seed) }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut h = self.seed.build_hasher();
        h.write(key);
        h.finish()
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        let is = |&i: &u32| self.slots[i as usize].as_ref().is_some_and(|s| s.hash == hash && *s.key == *key);
        self.index.find(hash, is).copied()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let i = self.find(key, self.hash(key))?;
        self.slots[i as usize].as_ref().map(|s| &s.value)
    }

    /// The value of a key, made if it is new, touched at `now`; and whether it is new.
    pub fn touch(&mut self, key: &Arc<[u8]>, now: Timestamp) -> (&mut T, bool) {
        let hash = self.hash(key);
        let found = self.find(key, hash);
        let i = match found {
            Some(i) if i == self.newest => i,
            Some(i) => {
                self.unlink(i);
                self.link_newest(i);
                i
            }
            None => {
                let slot = Slot { key: key.clone(), hash, value: T::default(), touched: now, before: NONE, after: NONE };
                let i = match self.free.pop() {
                    Some(i) => {
                        self.slots[i as usize] = Some(slot);
                        i
                    }
                    None => {
                        self.slots.push(Some(slot));
                        self.slots.len() as u32 - 1
                    }
                };
                let slots = &self.slots;
                self.index.insert_unique(hash, i, |&j| slots[j as usize].as_ref().map_or(0, |s| s.hash));
                self.link_newest(i);
                i
            }
        };
        let slot = self.slots[i as usize].as_mut().expect("a linked slot is filled");
        slot.touched = slot.touched.max(now);
        (&mut slot.value, found.is_none())
    }

    fn unlink(&mut self, i: u32) {
        let (before, after) = match &self.slots[i as usize] {
            Some(s) => (s.before, s.after),
            None => return,
        };
        match before {
            NONE => self.oldest = after,
            b => self.with(b, |s| s.after = after),
        }
        match after {
            NONE => self.newest = before,
            a => self.with(a, |s| s.before = before),
        }
    }

    fn link_newest(&mut self, i: u32) {
        let last = self.newest;
        self.with(i, |s| (s.before, s.after) = (last, NONE));
        match last {
            NONE => self.oldest = i,
            l => self.with(l, |s| s.after = i),
        }
        self.newest = i;
    }

    fn with(&mut self, i: u32, f: impl FnOnce(&mut Slot<T>)) {
        if let Some(s) = &mut self.slots[i as usize] {
            f(s);
        }
    }

    /// Keys with the time of their last touch and their values, the least recently touched first.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, Timestamp, &T)> {
        let slot = |i: u32| self.slots.get(i as usize).and_then(Option::as_ref);
        std::iter::successors(slot(self.oldest), move |s| slot(s.after)).map(|s| (&s.key, s.touched, &s.value))
    }

    /// Puts a value behind all others as it stood in another table.
    pub fn put(&mut self, key: &Arc<[u8]>, touched: Timestamp, value: T) {
        *self.touch(key, touched).0 = value;
    }

    /// When the least recently touched key was touched.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.slots.get(self.oldest as usize)?.as_ref().map(|s| s.touched)
    }

    /// Takes the least recently touched key out.
    pub fn pop_oldest(&mut self) -> Option<(Arc<[u8]>, T)> {
        let i = self.oldest;
        if i == NONE {
            return None;
        }
        self.unlink(i);
        let slot = self.slots[i as usize].take()?;
        if let Ok(e) = self.index.find_entry(slot.hash, |&j| j == i) {
            e.remove();
        }
        self.free.push(i);
        Some((slot.key, slot.value))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn k(n: u32) -> Arc<[u8]> {
        Arc::from(n.to_be_bytes())
    }

    #[test]
    fn the_least_recently_touched_goes_first() {
        let mut t: Table<u32> = Table::new(1);
        for n in 0..5 {
            *t.touch(&k(n), Timestamp(n as i64)).0 = n;
        }
        t.touch(&k(0), Timestamp(9));
        assert_eq!(t.get(&k(3)), Some(&3));
        let mut pop = || t.pop_oldest().map(|(_, v)| v);
        assert_eq!((pop(), pop(), t.len()), (Some(1), Some(2), 3));
        assert_eq!(t.oldest(), Some(Timestamp(3)));
        assert!(t.touch(&k(1), Timestamp(10)).1, "it was forgotten");
        let rest: Vec<_> = std::iter::from_fn(|| t.pop_oldest().map(|(_, v)| v)).collect();
        assert_eq!(rest, [3, 4, 0, 0]);
        assert_eq!((t.oldest(), t.is_empty()), (None, true));
    }

    #[test]
    fn it_agrees_with_a_plain_map_over_many_keys() {
        let mut t: Table<u32> = Table::new(7);
        let mut plain: Vec<(u32, u32)> = Vec::new();
        let mut x = 12345u32;
        for step in 0..20_000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = x >> 22;
            if x.is_multiple_of(7) {
                let want = (!plain.is_empty()).then(|| plain.remove(0).1);
                assert_eq!(t.pop_oldest().map(|(_, v)| v), want);
            } else {
                let n = plain.iter().position(|(p, _)| *p == key).map(|i| plain.remove(i).1).unwrap_or(0) + 1;
                plain.push((key, n));
                let (v, _) = t.touch(&k(key), Timestamp(step));
                *v += 1;
                assert_eq!(*v, n);
            }
            assert_eq!(t.len(), plain.len());
        }
    }
}
