//! From events to a published slice.

use super::common::Common;
use super::folder::{self, BUILDING, Folder};
use super::gather;
use super::list::Index;
use super::manifest::{self, Manifest};
use super::numbers;
use super::postings::{self, Postings};
use super::rare::Rare;
use super::schema::{Column, Plan};
use super::segment::Segment;
use super::sets::{self, Blocks, Set};
use super::signatures;
use super::slice::Slice;
use super::term;
use crate::event::{Event, Timestamp, Value, field, words};
use crate::journal::Address;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Terms and posting lists that are being built take so many bytes at most, but for one document's.
pub const MEMORY: usize = 128 << 20;
/// So many values of a field of one event are terms; of more, the rest is looked for in the journal.
pub const MAX_VALUES: usize = 64;
/// So many words of one record are looked at; of more, the rest is looked for in the journal.
pub const MAX_WORDS: usize = 8192;
/// Words over so many bytes are no terms.
pub const MAX_WORD: usize = 32;
/// Text of so many bytes can be opaque, see [`opaque`].
const OPAQUE: usize = 16;

/// What is known of a record beside its event.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number.
    pub seq: u64,
    /// Where it stands in the journal.
    pub at: Address,
    /// Its time: what the engine takes it for.
    pub time: Timestamp,
    /// The stream that it came in, unless its event names another.
    pub stream: &'a str,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// Where a slice begins.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// The first entry that it covers.
    pub lsn: u64,
    /// The bundle under which its records are read.
    pub bundle: &'a [u8; 32],
}

/// The values of one field.
#[derive(Default)]
struct Seen {
    having: Vec<u64>,
    unsure: RoaringBitmap,
    rare: RoaringBitmap,
}

/// Builds one slice.
pub struct Builder {
    folder: Folder,
    root: PathBuf,
    segment: Segment,
    plan: Arc<Plan>,
    manifest: Manifest,
    seen: Vec<Seen>,
    wordy: RoaringBitmap,
    blocks: Blocks,
    numbers: numbers::Builder,
    rare: signatures::Builder,
    scratch: Scratch,
}

/// Memory that is used again and again.
#[derive(Default)]
struct Scratch {
    term: Vec<u8>,
    lower: Vec<u8>,
}

impl Builder {
    /// Begins a slice of an index that covers the journal from an entry on. Once `stop` is set it fails.
    pub fn new(index: &Index, from: From<'_>, plan: Arc<Plan>, common: &mut Common, stop: Arc<AtomicBool>) -> io::Result<Builder> {
        let (root, first) = (index.root(), from.lsn);
        let folder = Folder::new(root.join(format!("{BUILDING}{first}")), stop)?;
        common.begin();
        let seen = plan.columns.iter().map(|_| Seen::default()).collect();
        let mut manifest = Manifest::new(index.journal(), first, first);
        manifest.fields = plan.names().clone();
        manifest.under(first, from.bundle);
        Ok(Builder {
            folder,
            root: root.to_owned(),
            segment: Segment::default(),
            plan,
            manifest,
            seen,
            wordy: RoaringBitmap::new(),
            blocks: Blocks::default(),
            numbers: numbers::Builder::default(),
            rare: signatures::Builder::default(),
            scratch: Scratch::default(),
        })
    }

    /// Documents so far.
    pub fn docs(&self) -> u32 {
        self.manifest.docs
    }

    /// Bytes that it takes in memory, roughly.
    pub fn memory(&self) -> usize {
        let seen = self.seen.iter().map(|s| s.having.len() * 8).sum::<usize>();
        self.segment.memory() + self.numbers.memory() + self.rare.memory() + seen
    }

    /// The first entry that it covers.
    pub fn first(&self) -> u64 {
        self.manifest.first
    }

    /// Adds the next record of the journal; its event has a row of the plan's layout.
    pub fn add(&mut self, r: &Record<'_>, event: &Event<'_>, common: &mut Common) -> io::Result<()> {
        let doc = self.manifest.docs;
        let stream = event.get(field::EVENT_STREAM).str().unwrap_or(r.stream.as_bytes());
        self.segment.add(doc, r, stream);
        let counts = common.next();
        for (c, seen) in self.plan.columns.iter().zip(&mut self.seen) {
            let v = event.at(c.slot);
            if v.is_missing() {
                continue;
            }
            let i = doc as usize / 64;
            if seen.having.len() <= i {
                seen.having.resize(i + 1, 0);
            }
            gather::set(&mut seen.having, doc);
            let mut put = |v: &Value<'_>, before: &[i64]| {
                match value(&mut self.segment.terms, doc, c, v, &mut self.scratch, &mut common.rare) {
                    Put::Term => {}
                    Put::Number(n) => {
                        if !before.contains(&n) {
                            self.numbers.add(doc, &c.name, n);
                        }
                        return Some(n);
                    }
                    Put::Key(key) => {
                        self.rare.add(key);
                        seen.rare.insert(doc);
                    }
                    Put::Not => {
                        seen.unsure.insert(doc);
                    }
                }
                None
            };
            let Value::List(list) = v else {
                put(&v, &[]);
                continue;
            };
            let mut numbers = Vec::new();
            for v in list.iter().take(MAX_VALUES) {
                numbers.extend(put(&v, &numbers));
            }
            if list.iter().nth(MAX_VALUES).is_some() {
                seen.unsure.insert(doc);
            }
        }
        let text = event.get(field::MESSAGE).str().or(event.get(field::EVENT_ORIGINAL).str()).unwrap_or(r.raw);
        if !look(&mut self.segment.words, doc, text, counts, common, &mut self.rare, &mut self.scratch.lower) {
            self.wordy.insert(doc);
        }
        self.rare.end(doc + 1);
        self.blocks.add(r.time);
        let m = &mut self.manifest;
        if m.docs == 0 {
            m.seqs.0 = r.seq;
        }
        m.seqs.1 = r.seq + 1;
        m.docs += 1;
        (m.oldest, m.newest) = (m.oldest.min(r.time), m.newest.max(r.time));
        Ok(())
    }

    /// Writes it, makes it durable, and gives it its name: it covers the journal up to the entry `last`.
    pub fn publish(mut self, last: u64, common: &Common) -> io::Result<Slice> {
        self.manifest.last = last;
        self.manifest.common = common.list().into_iter().collect();
        self.segment.write(&self.folder, self.manifest.docs)?;
        let mut all: BTreeMap<Set, RoaringBitmap> = BTreeMap::new();
        for (name, s) in self.plan.columns.iter().zip(self.seen) {
            let name = name.name.clone();
            let mut having = gather::roaring(&s.having);
            having.optimize();
            all.insert(Set::Having(name.clone()), having);
            for (set, mut docs) in [(Set::Unsure(name.clone()), s.unsure), (Set::Rare(name), s.rare)] {
                docs.optimize();
                all.insert(set, docs);
            }
        }
        all.insert(Set::Wordy, self.wordy);
        sets::write(&self.folder, &all, &self.blocks.all)?;
        self.rare.write(&self.folder, self.manifest.docs)?;
        self.numbers.write(&self.folder, self.manifest.docs)?;
        publish(&self.root, &self.folder, self.manifest)
    }

    /// Removes what there is of it.
    pub fn drop_it(self) -> io::Result<()> {
        folder::remove(self.folder.path())
    }
}

/// Gives a folder, whose files are all written, its description and its name.
pub(super) fn publish(root: &Path, folder: &Folder, mut m: Manifest) -> io::Result<Slice> {
    let bytes = m.seal(folder.sums())?;
    folder.put(manifest::FILE, &bytes)?;
    folder.settle()?;
    let path = folder::publish(folder.path(), root, &(m.first..=m.last))?;
    folder::sync(root)?;
    Slice::of(&path, m)
}

/// What becomes of a value.
enum Put {
    /// Its terms have been added.
    Term,
    /// It belongs in a column.
    Number(i64),
    /// It belongs among the signatures, under this key.
    Key(u64),
    /// It is not indexed.
    Not,
}

/// Adds the terms of a value, or says where else it belongs.
fn value(to: &mut Postings, doc: u32, c: &Column, v: &Value<'_>, scratch: &mut Scratch, rare: &mut Rare) -> Put {
    if let Value::Int(n) = *v
        && numbers::holds(n)
    {
        return Put::Number(n);
    }
    let Scratch { term, lower } = scratch;
    let text = v.str();
    term.clear();
    term.extend_from_slice(&c.prefix);
    if term::put(v, term) {
        let hash = postings::hash(term);
        if let Some(known) = to.find(hash, term) {
            to.add(known, doc);
            return Put::Term;
        }
        if let Some(s) = text.filter(|s| opaque(s)) {
            lower.clear();
            words::fold(s, lower);
            let key = signatures::value(&c.prefix, lower);
            if !rare.often(key) {
                return Put::Key(key);
            }
        }
        let number = to.meet(hash, term);
        term.truncate(c.prefix.len());
        if text.is_some_and(|s| term::put_folded(s, term)) {
            let also = to.meet(postings::hash(term), term);
            to.also(number, also);
        }
        to.add(number, doc);
        return Put::Term;
    }
    let Some(s) = text else { return Put::Not };
    lower.clear();
    words::fold(s, lower);
    Put::Key(signatures::value(&c.prefix, lower))
}

/// Whether a text looks like a number or an identifier that a machine made: of such a text nobody looks for parts, and it seldom
/// comes again. Where it does, it is a term all the same.
fn opaque(s: &[u8]) -> bool {
    let digits = s.iter().filter(|b| b.is_ascii_digit()).count();
    let known = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'=' | b':' | b'-' | b'_');
    if s.len() < OPAQUE { s.len() >= 4 && digits == s.len() } else { digits > 0 && s.iter().all(known) }
}

/// Adds the words of a text that are not common; `false` if there are too many.
fn look(to: &mut Postings, doc: u32, text: &[u8], counts: bool, common: &mut Common, rare: &mut signatures::Builder, lower: &mut Vec<u8>) -> bool {
    lower.clear();
    // The words of ASCII in lower case are the words in lower case; other letters change what they are.
    let ascii = text.is_ascii();
    if ascii {
        words::fold(text, lower);
    }
    let mut one = Vec::new();
    let mut all = words::words(if ascii { lower } else { text });
    for _ in 0..MAX_WORDS {
        let Some(mut word) = all.next() else { return true };
        if !ascii {
            one.clear();
            words::fold(word, &mut one);
            word = &one;
        }
        let key = signatures::word(word);
        if word.len() > MAX_WORD {
            rare.add(key);
            continue;
        }
        if counts {
            common.count(word);
        }
        if common.has(key, word) {
            continue;
        }
        let known = to.find(key, word).or_else(|| common.rare.often(key).then(|| to.meet(key, word)));
        match known {
            Some(number) => to.add(number, doc),
            None => rare.add(key),
        }
    }
    all.next().is_none()
}
