//! How far one partition has been read, stored and committed.
//!
//! What is committed never runs ahead of what is durable, and what is durable never passes records that are on their way.

use crate::pipeline::Stored;
use std::collections::VecDeque;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

/// Offsets of one partition; each is that of the next message.
#[derive(Debug)]
pub struct Offsets {
    /// Behind what has been read.
    next: i64,
    /// Behind what is durable, or need not be.
    durable: i64,
    /// Where reading began.
    from: i64,
    /// Behind what the group knows; `None` where it knows nothing.
    committed: Option<i64>,
    /// Behind what the group is being told.
    asked: Option<i64>,
    /// Chunks on their way into the journal, in their order.
    flying: VecDeque<(i64, Receiver<Stored>)>,
    /// A chunk was given up: nothing behind it can be acknowledged.
    broken: bool,
}

impl Offsets {
    /// Of a partition that begins here, of which the group has been told this.
    pub fn new(next: i64, committed: Option<i64>) -> Offsets {
        Offsets { next, durable: next, from: next, committed, asked: None, flying: VecDeque::new(), broken: false }
    }

    /// The next message.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Behind what is durable.
    pub fn durable(&self) -> i64 {
        self.durable
    }

    /// Takes note of a message; `false` if it has been taken before.
    pub fn take(&mut self, offset: i64) -> bool {
        let new = offset >= self.next;
        if new {
            self.next = offset + 1;
        }
        new
    }

    /// Reading goes on elsewhere.
    pub fn jump(&mut self, to: i64) {
        (self.next, self.from) = (to, to);
        (self.committed, self.asked) = (None, None);
    }

    /// A chunk of all that was taken so far is on its way.
    pub fn sent(&mut self, done: Receiver<Stored>) {
        self.flying.push_back((self.next, done));
    }

    /// Sees what has become durable; `true` while something is on its way.
    pub fn settle(&mut self) -> bool {
        while let Some((next, done)) = self.flying.front_mut() {
            match done.try_recv() {
                Ok(Ok(_)) if !self.broken => self.durable = *next,
                Ok(_) | Err(TryRecvError::Closed) => self.broken = true,
                Err(TryRecvError::Empty) => return true,
            }
            self.flying.pop_front();
        }
        // What came behind the last chunk had no records.
        if !self.broken {
            self.durable = self.next;
        }
        false
    }

    /// What the group is to be told.
    pub fn due(&self) -> Option<i64> {
        (self.asked.or(self.committed) != Some(self.durable)).then_some(self.durable)
    }

    /// The group is being told what is due.
    pub fn ask(&mut self) {
        self.asked = Some(self.durable);
    }

    /// The group has been told, or has not.
    pub fn answered(&mut self, well: bool) {
        if let Some(asked) = self.asked.take()
            && well
        {
            self.committed = Some(asked);
        }
    }

    /// How many messages are durable, or on their way, of which the group does not know: another member may store them again.
    pub fn open(&self) -> u64 {
        let sent = self.flying.back().map_or(self.durable, |f| f.0);
        u64::try_from(sent.saturating_sub(self.committed.unwrap_or(self.from))).unwrap_or(0)
    }

    /// How many messages are on their way.
    pub fn on_their_way(&self) -> u64 {
        self.flying.back().map_or(0, |f| f.0.abs_diff(self.durable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::NotStored;
    use tokio::sync::oneshot;

    #[test]
    fn what_is_due_follows_what_is_durable_in_order() {
        let mut o = Offsets::new(10, Some(10));
        assert_eq!(o.due(), None);
        assert!(o.take(10) && o.take(12) && !o.take(11), "offsets may have gaps, and what came twice is taken once");
        let (first, done) = oneshot::channel();
        o.sent(done);
        assert!(o.take(13));
        let (second, done) = oneshot::channel();
        o.sent(done);
        second.send(Ok((4, 4))).expect("waited for");
        assert!(o.settle());
        assert_eq!((o.due(), o.open()), (None, 4), "the one before it is not durable");
        first.send(Ok((1, 3))).expect("waited for");
        assert!(!o.settle());
        assert_eq!(o.due(), Some(14));
        o.ask();
        assert_eq!(o.due(), None, "it is being told");
        o.answered(false);
        assert_eq!((o.due(), o.open()), (Some(14), 4), "it is told again");
        o.ask();
        o.answered(true);
        assert_eq!((o.due(), o.open()), (None, 0));
    }

    #[test]
    fn messages_without_records_are_due_when_what_is_before_them_is_durable() {
        let mut o = Offsets::new(0, Some(0));
        assert!(o.take(0));
        let (first, done) = oneshot::channel();
        o.sent(done);
        assert!(o.take(1) && o.take(2));
        assert!(o.settle());
        assert_eq!(o.due(), None);
        first.send(Ok((1, 1))).expect("waited for");
        assert!(!o.settle());
        assert_eq!(o.due(), Some(3));
    }

    #[test]
    fn nothing_behind_a_chunk_that_was_given_up_is_due() {
        for given_up in [None, Some(Err(NotStored::Full))] {
            let mut o = Offsets::new(0, Some(0));
            assert!(o.take(0));
            let (first, done) = oneshot::channel();
            o.sent(done);
            assert!(o.take(1));
            let (second, done) = oneshot::channel();
            o.sent(done);
            match given_up {
                None => drop(first),
                Some(answer) => first.send(answer).expect("waited for"),
            }
            second.send(Ok((1, 1))).expect("waited for");
            assert!(!o.settle());
            assert_eq!(o.due(), None);
        }
    }

    #[test]
    fn a_jump_is_told_to_the_group_even_backwards() {
        let mut o = Offsets::new(100, Some(100));
        o.jump(7);
        assert!(!o.settle());
        assert_eq!(o.due(), Some(7));
    }
}
