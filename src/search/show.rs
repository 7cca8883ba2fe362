//! The events of a page as JSON, and where they have the words that were asked for.

use super::page::{Hit, Place};
use super::query::Query;
use crate::event::json::{self, Tree};
use crate::event::{Event, Own, Schema, Value, field};
use crate::journal::{Entry, Reader, What};
use crate::pipeline::past::Past;
use crate::pipeline::whole::Whole;
use crate::rule::compile::Phrase;
use std::io;

/// So many places of words are told of one event.
const SPANS: usize = 100;
/// So many events are read before it is looked how much room they take.
const CHUNK: usize = 32;

/// An event as it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Its JSON.
    pub json: Vec<u8>,
    /// Where the text of the event has the words: first character and the one behind the last.
    pub words: Vec<(usize, usize)>,
}

/// Shows the events of a page, in its order; no more than the first of them where all take more than about so many bytes.
///
/// `fields` are those that are wanted, or what stands below them; none means all. A record that cannot be read any more is
/// shown by its time and number, with what is wrong as `error.message`.
pub fn show(reader: &Reader, query: &Query, past: &Past, hits: &[Hit], fields: &[String], bytes: usize) -> Vec<Shown> {
    let phrases = query.phrases();
    let mut eyes = Eyes { past, of: None };
    let (mut all, mut taken, mut held) = (Vec::new(), 0, None);
    for chunk in hits.chunks(CHUNK) {
        if taken > bytes {
            break;
        }
        let shown = some(reader, &mut eyes, &phrases, chunk, fields, &mut held);
        taken += shown.iter().map(|s| s.json.len()).sum::<usize>();
        all.extend(shown);
    }
    all
}

/// What reads whole events, of the bundle that was asked for last.
struct Eyes<'p> {
    past: &'p Past,
    of: Option<Whole>,
}

impl Eyes<'_> {
    fn at(&mut self, lsn: u64) -> &mut Whole {
        let (past, loaded) = (self.past, self.past.at(lsn));
        match self.of.take() {
            Some(w) if w.loaded().hash == loaded.hash => self.of.insert(w),
            other => {
                other.into_iter().for_each(|w| past.whole().give(w));
                self.of.insert(past.whole().take(loaded))
            }
        }
    }
}

impl Drop for Eyes<'_> {
    fn drop(&mut self) {
        // One that was stopped in the midst of a record is not for others.
        let whole = self.of.take().filter(|_| !std::thread::panicking());
        whole.into_iter().for_each(|w| self.past.whole().give(w));
    }
}

/// Shows a few; `held` is the entry that was read last.
fn some(reader: &Reader, eyes: &mut Eyes<'_>, phrases: &[Phrase], hits: &[Hit], fields: &[String], held: &mut Option<Entry>) -> Vec<Shown> {
    let mut all = vec![Shown::default(); hits.len()];
    // In the order of the journal, so that each entry is read once.
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_unstable_by_key(|&i| hits[i].key.1);
    for i in order {
        let hit = &hits[i];
        let seq = hit.key.1;
        let holds = |e: &Entry| matches!(&e.what, What::Records(r) if seq.checked_sub(e.seq).is_some_and(|n| n < r.batch.records.len() as u64));
        if !held.as_ref().is_some_and(holds) {
            match fetch(reader, hit.place) {
                Ok(e) => *held = e,
                Err(e) => {
                    all[i].json = lost(hit, &e.to_string(), fields);
                    continue;
                }
            }
        }
        let Some(Entry { lsn, seq: first, what: What::Records(r) }) = held.as_ref().filter(|e| holds(e)) else {
            all[i].json = lost(hit, "the record has been deleted", fields);
            continue;
        };
        let whole = eyes.at(*lsn);
        let loaded = whole.loaded().clone();
        all[i] = match whole.read(r, (seq - first) as usize, seq) {
            Some((event, own)) => Shown { json: written(&event, &loaded.rules.schema, own, fields), words: words(&event, phrases) },
            None => Shown { json: lost(hit, "the record has been deleted", fields), words: Vec::new() },
        };
    }
    all
}

fn fetch(reader: &Reader, place: Place) -> io::Result<Option<Entry>> {
    match place {
        Place::At(at) => reader.entry(at),
        Place::Entry(lsn) => match reader.entries(lsn).next() {
            Some(Ok(e)) => Ok(Some(e).filter(|e| e.lsn == lsn)),
            Some(Err(d)) => Err(io::Error::new(io::ErrorKind::InvalidData, d)),
            None => Ok(None),
        },
    }
}

fn wanted(name: &str, fields: &[String]) -> bool {
    fields.is_empty() || fields.iter().any(|f| name.strip_prefix(f.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn lost(hit: &Hit, why: &str, fields: &[String]) -> Vec<u8> {
    let (mut tree, mut out) = (Tree::default(), Vec::new());
    for (name, v) in [("@timestamp", Value::Time(hit.key.0)), ("event.sequence", Value::Int(hit.key.1 as i64))] {
        if wanted(name, fields) {
            tree.value(name, v, false);
        }
    }
    tree.str("error.message", &format!("the journal does not give this record: {why}"));
    tree.write(&mut out);
    out
}

fn written(event: &Event<'_>, schema: &Schema, own: &Own, fields: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    if fields.is_empty() {
        json::write(event, schema, own, &mut out);
        return out;
    }
    let mut tree = Tree::default();
    for (i, &f) in event.layout().fields().iter().enumerate() {
        let name = schema.name(f);
        if wanted(name, fields) {
            tree.value(name, event.at(i), schema.many(f));
        }
    }
    for (path, text) in &own.entries {
        let name = path.join(".");
        if wanted(&name, fields) {
            tree.put(&name, text.clone());
        }
    }
    tree.write(&mut out);
    out
}

/// Where the text of the event has one of the phrases, in characters.
fn words(event: &Event<'_>, phrases: &[Phrase]) -> Vec<(usize, usize)> {
    let text = [field::MESSAGE, field::EVENT_ORIGINAL].into_iter().find_map(|f| event.get(f).str());
    let Some(text) = text.filter(|_| !phrases.is_empty()) else { return Vec::new() };
    let mut spans: Vec<(usize, usize)> = phrases.iter().flat_map(|p| p.spans(text).take(SPANS)).map(|s| (s.start, s.end)).collect();
    spans.sort_unstable();
    // What overlaps or touches is one stretch.
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (a, z) in spans {
        match joined.last_mut().filter(|l| a <= l.1) {
            Some(l) => l.1 = l.1.max(z),
            None => joined.push((a, z)),
        }
    }
    joined.truncate(SPANS);
    let text = String::from_utf8_lossy(text);
    let (mut at, mut chars) = (0, 0);
    let mut count = |to: usize| {
        chars += text.get(at..to).map_or(0, |s| s.chars().count());
        at = to;
        chars
    };
    joined.into_iter().map(|(a, z)| (count(a), count(z))).collect()
}
