//! Slices that lie side by side become one: which, and how. Documents keep their order.

use super::build::publish;
use super::folder::{self, BUILDING, Folder};
use super::list::Index;
use super::manifest::Manifest;
use super::numbers;
use super::schema::schema;
use super::segment::{settings, wrong};
use super::sets::{self, Blocks, Set};
use super::signatures;
use super::slice::Slice;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tantivy::directory::MmapDirectory;
use tantivy::indexer::merge_filtered_segments;

/// So many slices of about a size become one.
pub const FACTOR: usize = 8;
/// A slice gets no larger by merging than so many documents; one that has half of it is left alone.
pub const MATURE: u32 = 4_000_000;
/// Slices of fewer documents count as of one size.
const SMALL: u32 = 12_500;

/// Which neighbours of these, in order, to make one of next: the smallest first. Two that do not touch are no neighbours.
pub fn pick(all: &[Manifest]) -> Option<Range<usize>> {
    let level = |m: &Manifest| m.docs.div_ceil(SMALL).max(1).ilog(FACTOR as u32);
    let top = MATURE.div_ceil(SMALL).ilog(FACTOR as u32);
    (0..=top).find_map(|l| {
        let mut from = 0;
        while let Some(first) = all.get(from) {
            let (mut to, mut docs) = (from, 0);
            let mut last = first.first.saturating_sub(1);
            let mut full = false;
            while let Some(m) = all.get(to).filter(|m| m.first == last + 1 && level(m) <= l && m.docs < MATURE / 2) {
                if docs + m.docs > MATURE {
                    full = true;
                    break;
                }
                docs += m.docs;
                last = m.last;
                to += 1;
                if to - from == 8 * FACTOR {
                    break;
                }
            }
            if to - from >= FACTOR || full && to - from > 1 && docs >= MATURE / 2 {
                return Some(from..to);
            }
            from = to.max(from + 1);
        }
        None
    })
}

/// Makes one slice of neighbours and publishes it; they are still there. Once `stop` is set it fails; and where a file of one is no
/// longer as it was written: that one is put aside, so that damage is not given a checksum of its own.
pub fn merge(index: &Index, slices: &[Arc<Slice>], stop: Arc<AtomicBool>) -> io::Result<Slice> {
    let Some(first) = slices.first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    if slices.iter().filter(|s| index.doubt(s)).count() > 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a slice that was to be merged is damaged"));
    }
    let root = index.root();
    let folder = Folder::new(root.join(format!("{BUILDING}merge-{}", first.first())), stop)?;
    let done = fill(&folder, slices).and_then(|m| publish(root, &folder, m)).and_then(|s| verify(slices, s));
    if done.is_err() {
        // Half a slice only takes room on a disk that may be full.
        let _ = folder::remove(folder.path());
    }
    done
}

/// Documents must stand as they stood: numbers rise, and there are as many.
fn verify(slices: &[Arc<Slice>], merged: Slice) -> io::Result<Slice> {
    let mut doc = 0;
    for s in slices {
        for d in [0, s.docs().saturating_sub(1)].into_iter().take(s.docs() as usize) {
            if merged.seq(doc + d) != s.seq(d) || merged.address(doc + d) != s.address(d) {
                folder::remove(merged.dir())?;
                return Err(io::Error::other("a merge has not kept the order of documents"));
            }
        }
        doc += s.docs();
    }
    if doc != merged.docs() {
        folder::remove(merged.dir())?;
        return Err(io::Error::other("a merge has not kept all documents"));
    }
    Ok(merged)
}

/// Writes all files but the description.
fn fill(folder: &Folder, slices: &[Arc<Slice>]) -> io::Result<Manifest> {
    let mut segments = Vec::new();
    for s in slices.iter().filter(|s| s.docs() > 0) {
        let dir = MmapDirectory::open(s.dir()).map_err(io::Error::other)?;
        segments.extend(tantivy::Index::open(dir).map_err(wrong)?.searchable_segments().map_err(wrong)?);
    }
    if !segments.is_empty() {
        let filter = segments.iter().map(|_| None).collect();
        let merged = merge_filtered_segments(&segments, settings(), filter, folder.clone()).map_err(wrong)?;
        if merged.schema() != schema() {
            return Err(io::Error::other("the slices are of another schema"));
        }
    }
    let m = describe(slices);
    let mut all: BTreeMap<Set, RoaringBitmap> = BTreeMap::new();
    let (mut base, mut blocks, mut rare) = (0, Blocks::default(), signatures::Builder::default());
    for s in slices {
        if let Some(o) = s.signatures() {
            rare.append(o, base);
        }
        if let Some(sets) = s.sets() {
            for name in sets.names().filter(|n| if let Set::Having(f) | Set::Unsure(f) | Set::Rare(f) = n { m.fields.contains(f) } else { true }) {
                shift(&sets.get(name)?, base, all.entry(name.clone()).or_default());
            }
        }
        (0..s.docs()).for_each(|d| blocks.add(s.time(d)));
        base += s.docs();
    }
    for set in all.values_mut() {
        set.optimize();
    }
    sets::write(folder, &all, &blocks.all)?;
    rare.write(folder, base)?;
    numbers::merge(&slices.iter().filter_map(|s| s.numbers()).collect::<Vec<_>>(), folder)?;
    Ok(m)
}

/// Adds a set to another, each number `by` higher.
fn shift(set: &RoaringBitmap, by: u32, to: &mut RoaringBitmap) {
    let mut all = set.iter();
    while let Some(r) = all.next_range() {
        to.insert_range(r.start() + by..=r.end() + by);
    }
}

/// What the one says of itself: fields that are indexed in all, words that are common in any.
fn describe(slices: &[Arc<Slice>]) -> Manifest {
    let mut all = slices.iter().map(|s| s.manifest());
    let Some(mut m) = all.next().map(Manifest::content) else { return Manifest::new(0, 0, 0) };
    for o in all {
        m.fields = m.fields.intersection(&o.fields).cloned().collect::<BTreeSet<_>>();
        m.common.extend(o.common.iter().cloned());
        o.bundles().for_each(|(lsn, b)| m.under(lsn, &b));
        if o.docs > 0 {
            m.seqs = (if m.docs == 0 { o.seqs.0 } else { m.seqs.0 }, o.seqs.1);
        }
        m.docs += o.docs;
        (m.oldest, m.newest) = (m.oldest.min(o.oldest), m.newest.max(o.newest));
        m.last = o.last;
    }
    m
}
