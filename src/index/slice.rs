//! A published slice, open for reading: sets of documents by value, word and time, and what each document is.
//!
//! Documents are numbered from 0 in the order of the journal. Whoever holds a slice can read it, also when its folder has gone.

use super::answer::Answer;
use super::build::MAX_WORD;
use super::gather::{self, Gather};
use super::manifest::{Manifest, SliceError};
use super::numbers::{self, Numbers};
use super::schema::Part;
use super::segment::wrong;
use super::sets::{BLOCK, Set, Sets};
use super::signatures::{self, Signatures};
use super::term;
use crate::event::{Timestamp, Value, words};
use crate::journal::Address;
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tantivy::columnar::{BytesColumn, ColumnValues};
use tantivy::directory::MmapDirectory;
use tantivy::postings::TermInfo;
use tantivy::{InvertedIndexReader, SegmentReader};

/// See the module.
pub struct Slice {
    dir: PathBuf,
    manifest: Manifest,
    open: Option<Open>,
}

/// The parts of a slice that has documents.
struct Open {
    terms: Arc<InvertedIndexReader>,
    words: Arc<InvertedIndexReader>,
    time: Arc<dyn ColumnValues<i64>>,
    seq: Arc<dyn ColumnValues<u64>>,
    segment: Arc<dyn ColumnValues<u64>>,
    offset: Arc<dyn ColumnValues<u64>>,
    record: Arc<dyn ColumnValues<u64>>,
    stream: BytesColumn,
    sets: Sets,
    signatures: Signatures,
    numbers: Numbers,
}

/// The documents of one term among others: a few are asked one by one, many are read through.
type Among = Option<Vec<u64>>;

impl Slice {
    /// Opens the slice in a folder, after every file has been compared with what its description says.
    pub(super) fn verified(dir: &Path, m: Manifest) -> Result<Slice, SliceError> {
        m.verify(dir)?;
        Slice::of(dir, m).map_err(|e| SliceError::Damaged(format!("it cannot be opened: {e}")))
    }

    /// One that is known to be as it was written.
    pub(super) fn of(dir: &Path, manifest: Manifest) -> io::Result<Slice> {
        let open = if manifest.docs == 0 { None } else { Some(Open::new(dir, &manifest)?) };
        Ok(Slice { dir: dir.to_owned(), manifest, open })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first entry of the journal that it covers.
    pub fn first(&self) -> u64 {
        self.manifest.first
    }

    /// The last.
    pub fn last(&self) -> u64 {
        self.manifest.last
    }

    /// How many documents it has.
    pub fn docs(&self) -> u32 {
        self.manifest.docs
    }

    /// The least time of a document; [`Timestamp::MAX`] if it has none.
    pub fn oldest(&self) -> Timestamp {
        self.manifest.oldest
    }

    /// The greatest time of a document; [`Timestamp::MIN`] if it has none.
    pub fn newest(&self) -> Timestamp {
        self.manifest.newest
    }

    /// Whether a field's values are terms. Of another field it knows nothing.
    pub fn indexes(&self, field: &str) -> bool {
        self.manifest.fields.contains(field)
    }

    /// The fields whose values are terms.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.manifest.fields
    }

    /// Documents with a value of the field that equals one of these, as `==` sees it: whole numbers and floats are one kind.
    pub fn equal(&self, field: &str, values: &[Value<'_>]) -> io::Result<Answer> {
        let (mut keys, mut numbers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for v in values.iter().flat_map(|v| [Some(*v), term::twin(v)]).flatten() {
            let mut key = term::prefix(field);
            match v {
                Value::Int(n) if numbers::holds(n) => numbers.push(n),
                Value::Str(s) => texts.push(folded(s)),
                _ => {}
            }
            if term::put(&v, &mut key) {
                keys.push(key);
            }
        }
        self.union(field, &keys, numbers, &texts)
    }

    /// Documents with text in the field that, in lower case as [`crate::event::words::fold`] writes it, is one of these.
    pub fn folded(&self, field: &str, lower: &[Vec<u8>]) -> io::Result<Answer> {
        let mut keys = Vec::new();
        for l in lower {
            let mut key = term::prefix(field);
            if term::put(&Value::Str(l), &mut key) {
                keys.push(key);
                let mut key = term::prefix(field);
                term::put_lower(l, &mut key);
                keys.push(key);
            }
        }
        self.union(field, &keys, Vec::new(), lower)
    }

    fn union(&self, field: &str, keys: &[Vec<u8>], mut numbers: Vec<i64>, texts: &[Vec<u8>]) -> io::Result<Answer> {
        let Some(o) = &self.open else { return Ok(Answer::default()) };
        let mut all = Gather::new(self.docs());
        for key in keys {
            if let Some(t) = o.terms.terms().get(key)? {
                all.add(&o.terms, &t)?;
            }
        }
        numbers.sort_unstable();
        match numbers.as_slice() {
            [] => {}
            [n] => o.numbers.within(field, *n..=*n, &mut all)?,
            many => o.numbers.having(field, many, &mut all)?,
        }
        let mut unsure = self.set(&Set::Unsure(field.to_owned()))?;
        if !texts.is_empty() {
            let (rare, prefix) = (self.set(&Set::Rare(field.to_owned()))?, term::prefix(field));
            if !rare.is_empty() {
                let mut may = RoaringBitmap::new();
                texts.iter().for_each(|t| may |= o.signatures.may(signatures::value(&prefix, t)));
                unsure |= rare & may;
            }
        }
        Ok(Answer::with(all.done(), unsure))
    }

    /// Documents with a value of the field that `accepts` accepts, which is asked once for each distinct value, in their order kind
    /// by kind, and told how many documents have it. An error of it ends the walk and is the answer.
    pub fn values(&self, field: &str, accepts: &mut dyn FnMut(Value<'_>, u64) -> io::Result<bool>) -> io::Result<Answer> {
        let Some(o) = &self.open else { return Ok(Answer::default()) };
        let mut all = Gather::new(self.docs());
        self.walk(field, |terms, v, t| {
            if accepts(v, t.doc_freq.into())? {
                all.add(terms, t)?;
            }
            Ok(())
        })?;
        // Most tests take all numbers of a range, which is faster than to look for each.
        let (mut taken, mut gaps, mut gap) = (Vec::new(), false, false);
        o.numbers.values(field, None, &mut |n, docs| {
            if accepts(Value::Int(n), docs)? {
                gaps |= gap && !taken.is_empty();
                gap = false;
                taken.push(n);
            } else {
                gap = true;
            }
            Ok(())
        })?;
        match (taken.first(), taken.last()) {
            (Some(first), Some(last)) if !gaps => o.numbers.within(field, *first..=*last, &mut all)?,
            _ => o.numbers.having(field, &taken, &mut all)?,
        }
        Ok(Answer::with(all.done(), self.unsure(field)?))
    }

    /// How many documents have each distinct value of the field, in their order kind by kind; of these documents alone, if some are
    /// given, and then only values that one of them has. An error of `each` ends the walk and is the answer. Those of [`Slice::unsure`]
    /// may have others.
    pub fn tally(&self, field: &str, among: Option<&RoaringBitmap>, each: &mut dyn FnMut(Value<'_>, u64) -> io::Result<()>) -> io::Result<()> {
        let bits: Among = among.map(|a| {
            let mut bits = gather::bits(self.docs());
            a.iter().for_each(|d| gather::set(&mut bits, d));
            bits
        });
        self.walk(field, |terms, v, t| {
            let n = match &bits {
                None => u64::from(t.doc_freq),
                Some(bits) => {
                    let mut n = 0;
                    gather::each(terms, t, |docs| n += docs.iter().filter(|d| gather::has(bits, **d)).count() as u64)?;
                    n
                }
            };
            if n > 0 { each(v, n) } else { Ok(()) }
        })?;
        let Some(o) = &self.open else { return Ok(()) };
        o.numbers.values(field, bits.as_deref(), &mut |v, n| each(Value::Int(v), n))
    }

    /// Calls `f` with each distinct value of a field that is a term.
    fn walk(&self, field: &str, mut f: impl FnMut(&InvertedIndexReader, Value<'_>, &TermInfo) -> io::Result<()>) -> io::Result<()> {
        let Some(o) = &self.open else { return Ok(()) };
        let from = term::prefix(field);
        let to = term::behind(&from);
        let mut all = o.terms.terms().range().ge(&from).lt(&to).into_stream()?;
        while all.advance() {
            if let Some(v) = all.key().get(from.len()..).and_then(term::read) {
                f(&o.terms, v, all.value())?;
            }
        }
        Ok(())
    }

    /// Documents with a value of the field.
    pub fn having(&self, field: &str) -> io::Result<RoaringBitmap> {
        self.set(&Set::Having(field.to_owned()))
    }

    /// Documents with a value of the field that no walk over values comes to: text that is long or comes seldom, or one of too many
    /// values.
    pub fn unsure(&self, field: &str) -> io::Result<RoaringBitmap> {
        Ok(self.set(&Set::Unsure(field.to_owned()))? | self.set(&Set::Rare(field.to_owned()))?)
    }

    fn set(&self, s: &Set) -> io::Result<RoaringBitmap> {
        self.open.as_ref().map_or_else(|| Ok(RoaringBitmap::new()), |o| o.sets.get(s))
    }

    /// Documents with this word, in any case. Words are those of `message`, or of the record where it has none.
    pub fn word(&self, w: &str) -> io::Result<Answer> {
        let Some(o) = &self.open else { return Ok(Answer::default()) };
        let lower = folded(w.as_bytes());
        if std::str::from_utf8(&lower).is_ok_and(|l| self.manifest.common.contains(l)) {
            let mut any = RoaringBitmap::new();
            any.insert_range(0..self.docs());
            return Ok(Answer::perhaps(any));
        }
        let mut all = Gather::new(self.docs());
        if lower.len() <= MAX_WORD
            && let Some(t) = o.words.terms().get(&lower)?
        {
            all.add(&o.words, &t)?;
        }
        let rare = o.signatures.may(signatures::word(&lower));
        Ok(Answer::with(all.done(), rare | self.set(&Set::Wordy)?))
    }

    /// A document's time.
    pub fn time(&self, doc: u32) -> Timestamp {
        self.open.as_ref().map_or(Timestamp::MIN, |o| Timestamp(o.time.get_val(doc)))
    }

    /// Documents from `since` on and before `until`.
    pub fn within(&self, since: Timestamp, until: Timestamp) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        let Some(o) = &self.open else { return all };
        let mut times = [0; BLOCK as usize];
        for (i, &(least, greatest)) in o.sets.blocks().iter().enumerate() {
            let from = i as u32 * BLOCK;
            let to = from.saturating_add(BLOCK).min(self.docs());
            if greatest < since.0 || least >= until.0 {
                continue;
            }
            if least >= since.0 && greatest < until.0 {
                all.insert_range(from..to);
                continue;
            }
            let Some(times) = times.get_mut(..(to - from) as usize) else { continue };
            o.time.get_range(from.into(), times);
            all.extend((from..to).zip(times.iter()).filter(|(_, t)| (since.0..until.0).contains(t)).map(|d| d.0));
        }
        all
    }

    /// A document's record number.
    pub fn seq(&self, doc: u32) -> u64 {
        self.open.as_ref().map_or(0, |o| o.seq.get_val(doc))
    }

    /// Where a document's record stands in the journal.
    pub fn address(&self, doc: u32) -> Address {
        let Some(o) = &self.open else { return Address { segment: 0, offset: 0, record: 0 } };
        Address { segment: o.segment.get_val(doc), offset: o.offset.get_val(doc), record: o.record.get_val(doc) as u32 }
    }

    /// The stream of a document's event, as a number that is the same for all documents of this slice with the same stream.
    pub fn stream(&self, doc: u32) -> u64 {
        self.open.as_ref().and_then(|o| o.stream.ords().first(doc)).unwrap_or(0)
    }

    /// The name of a stream.
    pub fn stream_name(&self, stream: u64) -> io::Result<String> {
        let mut name = Vec::new();
        if let Some(o) = &self.open {
            o.stream.ord_to_bytes(stream, &mut name)?;
        }
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    pub(super) fn sets(&self) -> Option<&Sets> {
        self.open.as_ref().map(|o| &o.sets)
    }

    pub(super) fn signatures(&self) -> Option<&Signatures> {
        self.open.as_ref().map(|o| &o.signatures)
    }

    pub(super) fn numbers(&self) -> Option<&Numbers> {
        self.open.as_ref().map(|o| &o.numbers)
    }
}

fn folded(text: &[u8]) -> Vec<u8> {
    let mut lower = Vec::new();
    words::fold(text, &mut lower);
    lower
}

impl Open {
    fn new(dir: &Path, m: &Manifest) -> io::Result<Open> {
        let index = tantivy::Index::open(MmapDirectory::open(dir).map_err(io::Error::other)?).map_err(wrong)?;
        let segments = index.searchable_segments().map_err(wrong)?;
        let [segment] = segments.as_slice() else { return Err(io::Error::other("it has not one segment")) };
        let r = SegmentReader::open(segment).map_err(wrong)?;
        if r.max_doc() != m.docs {
            return Err(io::Error::other("it has not as many documents as it says"));
        }
        let column = |p: Part| r.fast_fields().u64(p.name()).map(|c| c.values.clone()).map_err(wrong);
        Ok(Open {
            terms: r.inverted_index(Part::Terms.field()).map_err(wrong)?,
            words: r.inverted_index(Part::Words.field()).map_err(wrong)?,
            time: r.fast_fields().i64(Part::Time.name()).map_err(wrong)?.values.clone(),
            seq: column(Part::Seq)?,
            segment: column(Part::Segment)?,
            offset: column(Part::Offset)?,
            record: column(Part::Record)?,
            stream: r.fast_fields().bytes(Part::Stream.name()).map_err(wrong)?.ok_or_else(|| io::Error::other("it has no streams"))?,
            sets: Sets::open(dir)?,
            signatures: Signatures::open(dir)?,
            numbers: Numbers::open(dir)?,
        })
    }
}
