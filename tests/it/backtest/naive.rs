//! The reference: every record of a journal is parsed, and the stream whose next is the oldest goes first, as `replay` takes files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use vigild::alert::Alert;
use vigild::engine::Options;
use vigild::engine::collect::Collected;
use vigild::event::Timestamp;
use vigild::journal::{Reader, Records, What};
use vigild::parse::{Context, Format, Parsers, declared};
use vigild::pipeline::bundle::Loaded;
use vigild::rule::RuleSet;
use vigild::worker::{FILE_LATENESS, Origin, Row, Worker};

/// How the engine learns how late it is.
#[derive(Clone, Copy, PartialEq)]
pub enum Watermark {
    /// By the events of each stream alone, as in `vigild replay`.
    Events,
    /// It is told of every instant that all streams have come to: what is late is known as early as it can be.
    Told,
}

/// A stream of the journal.
#[derive(Default)]
struct Stream {
    /// Entries that the journal has of it and that have not been met yet.
    left: usize,
    waiting: VecDeque<(u64, u64, Arc<Records>)>,
    /// The record of the first that waits which comes next.
    at: usize,
    /// When that one was, and its row.
    next: Option<Timestamp>,
    row: Row,
}

struct Replay<'a> {
    worker: Worker,
    parsers: BTreeMap<[u8; 32], Parsers>,
    at: &'a dyn Fn(u64) -> Arc<Loaded>,
    holds: &'a dyn Fn(u64, Timestamp) -> bool,
}

impl Replay<'_> {
    /// Parses the next record of a stream, as far as entries of it wait.
    fn advance(&mut self, s: &mut Stream) {
        while let (None, Some((lsn, seq, r))) = (s.next, s.waiting.front()) {
            let Some(&one) = r.batch.records.get(s.at) else {
                s.waiting.pop_front();
                s.at = 0;
                continue;
            };
            let loaded = (self.at)(*lsn);
            let worker = &self.worker;
            let parsers = self.parsers.entry(loaded.hash).or_insert_with(|| {
                let mut schema = worker.rules().schema.clone();
                worker.parsers(&declared::Formats::load(&loaded.format_texts, &mut schema).0)
            });
            let said = worker.parse_by(parsers, &r.batch, one, &origin(&loaded, r), &mut s.row);
            let time = if said.0 > r.received.0 + 300_000_000_000 { r.received } else { said };
            if (self.holds)(seq + s.at as u64, time) {
                s.next = Some(time);
            } else {
                s.at += 1;
            }
        }
    }
}

/// The alerts of these rules over all records that `holds` holds for. `at` says what was in force at an entry.
pub fn replay(
    reader: &Reader,
    today: &Loaded,
    at: &dyn Fn(u64) -> Arc<Loaded>,
    rules: &Arc<RuleSet>,
    holds: &dyn Fn(u64, Timestamp) -> bool,
    watermark: Watermark,
) -> Vec<Alert> {
    let state = &today.state;
    let options = Options { budget: state.budget, keys: state.keys_per_rule, waiting: state.waiting, ..Options::default() };
    let worker = Worker::new(rules.clone(), &today.formats, today.estate.clone(), options);
    let mut replay = Replay { worker, parsers: BTreeMap::new(), at, holds };
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    for e in reader.entries(1).map(|e| e.expect("whole")) {
        if let What::Records(r) = e.what {
            streams.entry(r.stream.to_string()).or_default().left += 1;
        }
    }
    let names: Vec<String> = streams.keys().cloned().collect();
    let mut entries = reader.entries(1);
    let (mut said, mut got, mut now) = (Vec::new(), Collected::default(), Timestamp::MIN);
    loop {
        // Which stream has the oldest is known once each shows its next.
        while streams.values().any(|s| s.next.is_none() && s.left > 0) {
            let e = entries.next().expect("an entry").expect("whole");
            let What::Records(r) = e.what else { continue };
            let s = streams.get_mut(&*r.stream).expect("counted");
            s.left -= 1;
            s.waiting.push_back((e.lsn, e.seq, Arc::new(r)));
            replay.advance(s);
        }
        let Some(s) = streams.values_mut().filter(|s| s.next.is_some()).min_by_key(|s| s.next) else { break };
        let time = s.next.take().expect("it is there");
        if time > now && watermark == Watermark::Told {
            now = time;
            replay.worker.come(names.iter().map(String::as_str), FILE_LATENESS, now, &mut said);
        }
        let (lsn, seq, r) = s.waiting.front().expect("it is there");
        replay.worker.set_seq(seq + s.at as u64 - 1);
        let loaded = at(*lsn);
        replay.worker.feed_at(time, &r.batch, r.batch.records[s.at], &origin(&loaded, r), &mut s.row, &mut said);
        got.take(&mut said);
        s.at += 1;
        replay.advance(s);
    }
    replay.worker.engine().finish(&mut said);
    got.take(&mut said);
    got.finish()
}

fn origin<'a>(loaded: &'a Loaded, r: &'a Records) -> Origin<'a> {
    let setting = loaded.source(&r.source);
    let format = r.format.as_deref().and_then(|f| Format::named(f, &loaded.formats));
    let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
    Origin { ctx, format, stream: &r.stream, lateness: FILE_LATENESS, received: Some(r.received) }
}
