//! Streams and the one watermark.
//!
//! A stream's own watermark is the greatest `min(@timestamp, event.ingested)` of its events less its allowed lateness.
//! The one watermark is the least over active streams, and never goes back. An event before its stream's watermark or
//! before the one watermark is late.

use crate::event::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// A stream of this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamId(u32);

/// Where a stream stands in the order of streams at one time.
pub type Rank = (u64, u64);

/// At most so many streams are remembered; the others share one.
pub const MAX_STREAMS: usize = 10_000;
/// An event further ahead of its arrival than this is given its arrival time.
pub const AHEAD: Span = Span::seconds(300);
/// A stream whose watermark has not moved for so long is idle.
pub const IDLE: Span = Span::seconds(30);
/// A stream that trails the furthest by so much is idle, unless it is read in step.
pub const TRAILS: Span = Span::seconds(300);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stream {
    rank: Rank,
    lateness: Span,
    /// Own watermark; none before the first event.
    mark: Option<Timestamp>,
    /// The last tick at which the mark had moved.
    moved: Timestamp,
    /// What moved it since the last tick.
    fresh: bool,
    place: u64,
    open: bool,
    /// It has a backlog and is read in step with the others: it is not idle, however far it trails.
    held: bool,
}

/// What the arrival of an event makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its event time; its arrival if it was too far ahead.
    pub ts: Timestamp,
    /// Whether it was too far ahead.
    pub ahead: bool,
    /// Whether windows do not see it any more.
    pub late: bool,
    /// Its place in its stream.
    pub place: u64,
}

/// All streams of an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Streams {
    all: Vec<Stream>,
    names: BTreeMap<String, StreamId>,
    /// Places of streams that have been forgotten.
    free: Vec<StreamId>,
    watermark: Timestamp,
    greatest: Timestamp,
    /// Whether a stream that trails is idle: live, not where streams are read in step.
    #[serde(skip)]
    live: bool,
    /// Whether a stream has opened since there were none, or since nobody listened.
    heard: bool,
    /// Whether the least of the marks may have changed since the watermark was last taken.
    stale: bool,
    /// The least of the marks of active streams when it was last taken.
    least: Timestamp,
    /// How many streams were asked for beyond [`MAX_STREAMS`].
    pub shared: u64,
}

impl Streams {
    /// None yet. `live` is whether time passes by ticks and a stream can fall silent.
    pub fn new(live: bool) -> Streams {
        Streams {
            all: Vec::new(),
            names: BTreeMap::new(),
            free: Vec::new(),
            watermark: Timestamp::MIN,
            greatest: Timestamp::MIN,
            live,
            heard: false,
            stale: true,
            least: Timestamp::MIN,
            shared: 0,
        }
    }

    /// Opens a stream, or finds the one of that name. Streams are ordered by name.
    pub fn open(&mut self, name: &str, lateness: Span) -> StreamId {
        if let Some(&id) = self.names.get(name) {
            let s = &mut self.all[id.0 as usize];
            if !s.open {
                (s.open, s.lateness) = (true, lateness);
                self.stale = true;
            }
            self.heard = true;
            return id;
        }
        self.heard = true;
        let name = if self.names.len() < MAX_STREAMS || self.forget() {
            name
        } else {
            self.shared += 1;
            "\u{10ffff}shared"
        };
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let rank = |id: &StreamId| self.all[id.0 as usize].rank;
        let before = self.names.range::<str, _>((Unbounded, Excluded(name))).next_back().map(|(_, id)| rank(id));
        let after = self.names.range::<str, _>((Included(name), Unbounded)).next().map(|(_, id)| rank(id));
        let stream =
            Stream { rank: between(before, after), lateness, mark: None, moved: Timestamp::MIN, fresh: false, place: 0, open: true, held: false };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id.0 as usize] = stream;
                id
            }
            None => {
                self.all.push(stream);
                StreamId(self.all.len() as u32 - 1)
            }
        };
        self.names.insert(name.to_owned(), id);
        id
    }

    /// Makes room for a name: of the streams that have ended, and whose events all lie behind the watermark, the one that
    /// ended furthest back is forgotten; its name would begin anew.
    fn forget(&mut self) -> bool {
        let ended = |s: &Stream| !s.open && s.mark.is_none_or(|m| m <= self.watermark);
        let oldest = self.names.iter().filter(|(_, id)| ended(&self.all[id.0 as usize])).min_by_key(|(_, id)| self.all[id.0 as usize].mark);
        let Some((name, id)) = oldest.map(|(n, id)| (n.clone(), *id)) else { return false };
        self.names.remove(&name);
        self.free.push(id);
        true
    }

    /// The rank of a stream among all.
    pub fn rank(&self, id: StreamId) -> Rank {
        self.all[id.0 as usize].rank
    }

    /// Takes an event's time in: judges it, then moves the stream's watermark. The one watermark moves by [`Streams::advance`].
    pub fn arrive(&mut self, id: StreamId, ts: Timestamp, received: Option<Timestamp>) -> Arrival {
        let s = &mut self.all[id.0 as usize];
        let ahead = received.is_some_and(|r| ts > r.plus(AHEAD));
        let ts = if ahead { received.unwrap_or(ts) } else { ts };
        let late = s.mark.is_some_and(|m| ts < m) || ts < self.watermark;
        let mark = received.map_or(ts, |r| r.min(ts)).minus(s.lateness);
        if s.mark.is_none_or(|m| mark > m) {
            // Only the stream that held the watermark back can let it go: with many streams most arrivals cost nothing.
            // Or one that goes so far ahead that another trails.
            self.stale |= s.mark.is_none_or(|m| m <= self.least) || s.moved == Timestamp::MAX || self.live && mark > self.least.plus(TRAILS);
            s.mark = Some(mark);
            s.fresh = true;
        }
        s.place += 1;
        self.greatest = self.greatest.max(ts);
        Arrival { ts, ahead, late, place: s.place }
    }

    /// The one watermark after what has arrived. It moves only if every active stream has moved.
    pub fn advance(&mut self) -> Timestamp {
        if !std::mem::take(&mut self.stale) {
            return self.watermark;
        }
        if self.all.iter().any(|s| s.open && s.held && s.mark.is_none()) {
            // What it holds is not known yet.
            return self.watermark;
        }
        let furthest = self.all.iter().filter(|s| s.open).filter_map(|s| s.mark).max();
        let least = self.all.iter().filter(|s| self.is_active(s, furthest)).filter_map(|s| s.mark).min();
        if let Some(m) = least {
            self.least = m;
            self.watermark = self.watermark.max(m);
        }
        self.watermark
    }

    fn is_active(&self, s: &Stream, furthest: Option<Timestamp>) -> bool {
        let idle = self.live && s.moved == Timestamp::MAX;
        let trails = self.live && matches!((s.mark, furthest), (Some(m), Some(f)) if m < f.minus(TRAILS));
        s.open && (s.held || !idle && !trails)
    }

    /// A tick of time at `now`: streams that have not moved for [`IDLE`] become idle; when all are, the watermark follows
    /// the clock at the largest lateness.
    pub fn tick(&mut self, now: Timestamp) {
        self.stale = true;
        for s in &mut self.all {
            if s.fresh || s.moved == Timestamp::MIN {
                (s.fresh, s.moved) = (false, now);
            } else if s.moved != Timestamp::MAX && now >= s.moved.plus(IDLE) {
                s.moved = Timestamp::MAX;
            }
        }
        // Before the first stream there is no lateness to go by, and after a time in which nobody listened there is a backlog:
        // what it brings, however old, is in time.
        if self.heard && !self.all.iter().any(|s| s.open && (s.held || s.moved != Timestamp::MAX)) {
            let lateness = self.all.iter().map(|s| s.lateness).max().unwrap_or_default();
            self.watermark = self.watermark.max(now.minus(lateness));
        }
    }

    /// A stream has a backlog, and the watermark waits for it however far it trails; or it has caught up.
    pub fn hold(&mut self, id: StreamId, yes: bool) {
        self.all[id.0 as usize].held = yes;
        self.stale = true;
    }

    /// A stream has ended: nothing waits for it any more.
    pub fn close(&mut self, id: StreamId) {
        self.all[id.0 as usize].open = false;
        self.all[id.0 as usize].held = false;
        self.stale = true;
    }

    /// Nobody listened: all streams have ended, and the watermark stays until one of them goes on.
    pub fn gap(&mut self) {
        self.all.iter_mut().for_each(|s| (s.open, s.held) = (false, false));
        self.heard = false;
        self.stale = true;
    }

    /// The same names in the same order, and nothing known of any.
    pub fn ranks(self, live: bool) -> Streams {
        let blank = |s: Stream| Stream { mark: None, moved: Timestamp::MIN, fresh: false, place: 0, open: false, held: false, ..s };
        Streams { all: self.all.into_iter().map(blank).collect(), names: self.names, free: self.free, ..Streams::new(live) }
    }

    /// These, read back for an engine that is live or not; none if they do not fit together.
    pub fn sound(self, live: bool) -> Option<Streams> {
        let known = |id: &StreamId| (id.0 as usize) < self.all.len();
        let whole = self.names.len() + self.free.len() == self.all.len() && self.all.len() <= MAX_STREAMS + 1;
        (whole && self.names.values().chain(&self.free).all(known)).then_some(Streams { live, ..self })
    }

    /// Whether there is such a stream.
    pub fn has(&self, id: StreamId) -> bool {
        (id.0 as usize) < self.all.len()
    }

    /// The one watermark.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// The greatest event time that has arrived.
    pub fn greatest(&self) -> Timestamp {
        self.greatest
    }
}

/// A rank between two neighbours. New names at either end take a step of 2⁶⁴, so only names put between the same two
/// again and again, 64 times, come to share a rank; their order at one instant is then that of arrival.
fn between(before: Option<Rank>, after: Option<Rank>) -> Rank {
    let join = |r: Rank| ((r.0 as u128) << 64) | r.1 as u128;
    let v = match (before.map(join), after.map(join)) {
        (None, None) => 1 << 127,
        (Some(a), None) => a.saturating_add(1 << 64),
        (None, Some(b)) => b.saturating_sub(1 << 64),
        (Some(a), Some(b)) => a + (b.saturating_sub(a)) / 2,
    };
    ((v >> 64) as u64, v as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: i64) -> Timestamp {
        Timestamp(s * crate::event::time::SECOND)
    }

    #[test]
    fn a_stream_is_late_only_against_itself_and_a_new_one_against_the_watermark() {
        let mut s = Streams::new(false);
        let (a, b) = (s.open("a", Span::seconds(5)), s.open("b", Span::seconds(5)));
        let late = |s: &mut Streams, id, t| {
            let l = s.arrive(id, at(t), None).late;
            s.advance();
            l
        };
        assert!(!late(&mut s, a, 0));
        assert!(!late(&mut s, b, 0));
        assert!(!late(&mut s, a, 60));
        assert!(!late(&mut s, b, 30), "b is behind a, but in its own order");
        assert!(late(&mut s, a, 54));
        assert!(!late(&mut s, a, 55), "exactly the lateness is in time");
        let c = s.open("c", Span::seconds(5));
        assert_eq!(s.watermark(), at(25));
        assert!(late(&mut s, c, 24));
        assert!(!late(&mut s, c, 25));
    }

    #[test]
    fn a_clock_that_runs_ahead_makes_nobody_late() {
        let mut s = Streams::new(false);
        let a = s.open("a", Span::seconds(5));
        let x = s.arrive(a, at(250), Some(at(12)));
        assert_eq!((x.ts, x.ahead, s.advance()), (at(250), false, at(7)));
        let x = s.arrive(a, at(1000), Some(at(13)));
        assert_eq!((x.ts, x.ahead), (at(13), true));
        assert!(!s.arrive(a, at(313), Some(at(13))).ahead, "exactly five minutes are believed");
    }

    #[test]
    fn idle_streams_hold_nobody_up_and_time_goes_on_by_itself() {
        let mut s = Streams::new(true);
        let (a, b) = (s.open("a", Span::seconds(5)), s.open("b", Span::seconds(60)));
        s.arrive(a, at(100), None);
        s.arrive(b, at(100), None);
        s.tick(at(100));
        assert_eq!(s.advance(), at(40));
        for t in 101..=129 {
            s.arrive(a, at(t), None);
            s.tick(at(t));
            assert_eq!(s.advance(), at(40), "b is not idle yet at {t}");
        }
        s.arrive(a, at(130), None);
        s.tick(at(130));
        assert_eq!(s.advance(), at(125), "b has not moved for 30 s");
        for t in 131..=170 {
            s.tick(at(t));
        }
        s.advance();
        assert_eq!(s.watermark(), at(110).max(at(125)));
        s.tick(at(400));
        assert_eq!(s.watermark(), at(340), "all are idle: the clock less the largest lateness");
    }

    #[test]
    fn a_stream_five_minutes_behind_holds_nobody_up_live_but_does_where_streams_are_read_in_step() {
        for (live, want) in [(true, 1000 - 5), (false, 600 - 5)] {
            let mut s = Streams::new(live);
            let (a, b) = (s.open("a", Span::seconds(5)), s.open("b", Span::seconds(5)));
            s.arrive(b, at(600), None);
            s.arrive(a, at(1000), None);
            assert_eq!(s.advance(), at(want));
        }
    }

    #[test]
    fn ranks_follow_names_whatever_the_order_of_opening() {
        let mut s = Streams::new(false);
        let mut ids: Vec<(String, StreamId)> =
            ["m", "z", "a", "b", "y", "aa", "mm", ""].iter().map(|n| (n.to_string(), s.open(n, Span(0)))).collect();
        ids.sort();
        for w in ids.windows(2) {
            assert!(s.rank(w[0].1) < s.rank(w[1].1), "{} before {}", w[0].0, w[1].0);
        }
    }

    #[test]
    fn past_the_limit_streams_share_one() {
        let mut s = Streams::new(false);
        for i in 0..MAX_STREAMS {
            s.open(&i.to_string(), Span(0));
        }
        assert_eq!(s.open("x", Span(0)), s.open("y", Span(0)));
        assert_eq!(s.shared, 2);
    }

    #[test]
    fn at_the_limit_streams_that_have_ended_make_room_and_open_ones_stay() {
        let mut s = Streams::new(false);
        let keep = s.open("keep", Span(0));
        for i in 0..3 * MAX_STREAMS as i64 {
            let id = s.open(&format!("connection {i}"), Span(0));
            s.arrive(id, at(i), None);
            s.arrive(keep, at(i), None);
            s.close(id);
            s.advance();
        }
        assert_eq!((s.shared, s.names.len(), s.open("keep", Span(0))), (0, MAX_STREAMS, keep));
    }

    #[test]
    fn ticks_before_the_first_stream_make_nobody_late() {
        let mut s = Streams::new(true);
        s.tick(Timestamp(1000 * crate::event::time::SECOND));
        assert_eq!(s.watermark(), Timestamp::MIN);
        let id = s.open("first", Span::seconds(5));
        assert!(!s.arrive(id, Timestamp(900 * crate::event::time::SECOND), None).late);
    }

    #[test]
    fn a_stream_with_a_backlog_holds_the_watermark_however_far_it_trails() {
        let mut s = Streams::new(true);
        let (file, live) = (s.open("file", Span::seconds(5)), s.open("live", Span::seconds(5)));
        let at = |n: i64| Timestamp(n * crate::event::time::SECOND);
        s.hold(file, true);
        s.arrive(live, at(100_000), None);
        assert_eq!(s.advance(), Timestamp::MIN, "nothing is known of the backlog yet");
        s.arrive(file, at(1000), None);
        assert_eq!(s.advance(), at(995));
        s.tick(at(100_000));
        s.tick(at(100_100));
        assert_eq!(s.advance(), at(995), "it is not idle");
        s.hold(file, false);
        s.arrive(live, at(100_101), None);
        s.tick(at(100_101));
        assert_eq!(s.advance(), at(100_096), "now it trails");
    }
}
