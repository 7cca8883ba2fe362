//! The slices that are there, in order, and what becomes of those that cannot be used.

use super::folder::{self, BUILDING};
use super::manifest::{Manifest, SliceError};
use super::said::{Fate, Said};
use super::slice::Slice;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Where slices go that cannot be used.
const DAMAGED: &str = "damaged";
/// The file that says before which entry nothing is built.
const FLOOR: &str = "floor";
/// So many of them are kept.
const KEPT: usize = 16;
/// So many messages wait to be fetched; of more, the oldest go.
const MESSAGES: usize = 64;

/// What can be found where, see [`Index::view`].
pub struct View {
    /// Slices, in order.
    pub slices: Vec<Arc<Slice>>,
    /// Entries that have to be read in the journal, in order.
    pub uncovered: Vec<RangeInclusive<u64>>,
}

/// A slice that is there; it is opened when it is needed first.
struct Held {
    dir: PathBuf,
    manifest: Manifest,
    slice: OnceLock<Option<Arc<Slice>>>,
}

#[derive(Default)]
struct State {
    /// In order, none overlapping another.
    held: Vec<Arc<Held>>,
    /// What slices of a later version cover.
    later: Vec<RangeInclusive<u64>>,
    said: Vec<Said>,
    damaged: u64,
    floor: u64,
}

/// What a comparison of all slices has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Slices that are whole.
    pub slices: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Slices that were put aside.
    pub damaged: Vec<String>,
}

/// The index of a journal.
pub struct Index {
    root: PathBuf,
    journal: u64,
    /// Whether nothing may be changed in the folder.
    only_read: bool,
    state: Mutex<State>,
}

impl Index {
    /// Opens or makes the index in this folder; `journal` is the journal's identity. What a crash has left unfinished is removed,
    /// what cannot be used is put aside and said.
    pub fn open(root: &Path, journal: u64) -> io::Result<Index> {
        folder::create(root)?;
        if let Some(parent) = root.parent() {
            folder::sync(parent)?;
        }
        for name in names(root)?.iter().filter(|n| n.starts_with(BUILDING)) {
            folder::remove(&root.join(name))?;
        }
        Index::of(root, journal, false)
    }

    /// Opens the index in this folder without changing anything there; one that is not there is empty.
    pub fn look(root: &Path, journal: u64) -> io::Result<Index> {
        Index::of(root, journal, true)
    }

    fn of(root: &Path, journal: u64, only_read: bool) -> io::Result<Index> {
        let index = Index { root: root.to_owned(), journal, only_read, state: Mutex::default() };
        // One that cannot be read costs no more than building what will have to go again.
        index.state().floor = fs::read_to_string(root.join(FLOOR)).ok().and_then(|s| s.trim().parse().ok()).unwrap_or(0);
        let mut found = Vec::new();
        for name in names(root)? {
            let Some(lsns) = folder::lsns(&name) else { continue };
            let dir = root.join(&name);
            match Manifest::read(&dir, journal) {
                Ok(manifest) => found.push(Arc::new(Held { dir, manifest, slice: OnceLock::new() })),
                Err(SliceError::Later(v)) => {
                    index.state().later.push(lsns);
                    index.say(&name, SliceError::Later(v).to_string(), Fate::Later);
                }
                Err(e) => index.put_aside(&dir, &e),
            }
        }
        // A merge that was not tidied up: the wider one holds what the others do.
        found.sort_by_key(|h| (h.manifest.first, std::cmp::Reverse(h.manifest.last)));
        let mut end = 0;
        for h in found {
            if h.manifest.first > end {
                end = h.manifest.last;
                index.state().held.push(h);
            } else if !only_read {
                folder::remove(&h.dir)?;
            }
        }
        Ok(index)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The journal's identity.
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// All slices that can be read, in order. Those that have not been compared with their checksums yet are so first, which takes
    /// as long as reading them does.
    pub fn slices(&self) -> Arc<Vec<Arc<Slice>>> {
        self.some(|_| true)
    }

    /// Those of them that `wanted` wants by what they say of themselves: the others are not waited for.
    pub fn some(&self, wanted: impl Fn(&Manifest) -> bool) -> Arc<Vec<Arc<Slice>>> {
        let held: Vec<Arc<Held>> = self.state().held.iter().filter(|h| wanted(&h.manifest)).cloned().collect();
        Arc::new(held.iter().filter_map(|h| self.fetch(h)).collect())
    }

    /// The slices that `wanted` wants, and what of these entries is in no slice that can be read, as of one moment: what is in neither
    /// is in slices that are not wanted.
    pub fn view(&self, lsns: RangeInclusive<u64>, wanted: impl Fn(&Manifest) -> bool) -> View {
        let held = self.state().held.clone();
        let (mut slices, mut covered) = (Vec::new(), Vec::new());
        for h in &held {
            let slice = if wanted(&h.manifest) { self.fetch(h) } else { None };
            if slice.is_some() || !wanted(&h.manifest) {
                covered.push(h.manifest.first..=h.manifest.last);
            }
            slices.extend(slice);
        }
        View { slices, uncovered: outside(lsns, covered.into_iter()) }
    }

    /// What the slices say of themselves, in order.
    pub fn manifests(&self) -> Vec<Manifest> {
        self.state().held.iter().map(|h| h.manifest.clone()).collect()
    }

    fn fetch(&self, h: &Arc<Held>) -> Option<Arc<Slice>> {
        let slice = h.slice.get_or_init(|| match Slice::verified(&h.dir, h.manifest.clone()) {
            Ok(s) => Some(Arc::new(s)),
            Err(e) => {
                self.give_up(h, &e);
                None
            }
        });
        slice.clone()
    }

    /// The entries of these that no slice covers, in order.
    pub fn uncovered(&self, lsns: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let state = self.state();
        outside(lsns, state.held.iter().map(|h| h.manifest.first..=h.manifest.last))
    }

    /// The entries of these that are to be built: not before the floor, and where neither is a slice of this version nor of a later
    /// one.
    pub fn missing(&self, lsns: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
        let state = self.state();
        let lsns = state.floor.max(*lsns.start())..=*lsns.end();
        let mut all: Vec<_> = state.held.iter().map(|h| h.manifest.first..=h.manifest.last).chain(state.later.iter().cloned()).collect();
        all.sort_by_key(|r| *r.start());
        outside(lsns, all.into_iter())
    }

    /// Takes in a slice that was published. Slices that lie in what it covers are removed: it holds what they do. One that overlaps
    /// another otherwise is removed itself.
    pub fn add(&self, slice: Slice) -> io::Result<()> {
        let (first, last) = (slice.first(), slice.last());
        let inside = |m: &Manifest| m.first >= first && m.last <= last;
        let apart = |m: &Manifest| m.first > last || m.last < first;
        let new = Held { dir: slice.dir().to_owned(), manifest: slice.manifest().clone(), slice: OnceLock::from(Some(Arc::new(slice))) };
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            if state.held.iter().all(|h| inside(&h.manifest) || apart(&h.manifest)) {
                let (old, mut kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.held).into_iter().partition(|h| inside(&h.manifest));
                gone.extend(old.iter().map(|h| h.dir.clone()).filter(|d| *d != new.dir));
                kept.insert(kept.partition_point(|h| h.manifest.first < first), Arc::new(new));
                state.held = kept;
            } else {
                gone.push(new.dir);
            }
        }
        gone.iter().try_for_each(|dir| folder::remove(dir))
    }

    /// Removes all slices that `goes` names by what they say of themselves; how many.
    pub fn remove(&self, goes: impl Fn(&Manifest) -> bool) -> io::Result<usize> {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            let (old, kept) = std::mem::take(&mut state.held).into_iter().partition(|h| goes(&h.manifest));
            state.held = kept;
            gone.extend(Vec::into_iter(old).map(|h| h.dir.clone()));
        }
        gone.iter().try_for_each(|dir| folder::remove(dir))?;
        Ok(gone.len())
    }

    /// Removes all slices, so that everything is built again.
    /// An error of kind [`io::ErrorKind::ReadOnlyFilesystem`] says that nothing may be changed.
    pub fn clear(&self) -> io::Result<usize> {
        if self.only_read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.set_floor(0)?;
        self.remove(|_| true)
    }

    /// The entry before which nothing is built: what was there went for want of room.
    pub fn floor(&self) -> u64 {
        self.state().floor
    }

    /// Removes the oldest slice for want of room, for good; `false` if there is none.
    pub fn remove_oldest(&self) -> io::Result<bool> {
        let Some((first, last)) = self.state().held.first().map(|h| (h.manifest.first, h.manifest.last)) else { return Ok(false) };
        self.set_floor(last + 1)?;
        self.remove(|m| m.first == first).map(|n| n > 0)
    }

    fn set_floor(&self, lsn: u64) -> io::Result<()> {
        folder::put(&self.root, FLOOR, lsn.to_string().as_bytes())?;
        self.state().floor = lsn;
        Ok(())
    }

    /// Compares every file of every slice with what was written, the newest first, whether that was done before or not, until `stop`
    /// says so. Those that differ are put aside.
    pub fn verify(&self, stop: &dyn Fn() -> bool) -> Verified {
        let mut v = Verified::default();
        let held = self.state().held.clone();
        for h in held.iter().rev() {
            if stop() {
                break;
            }
            match h.manifest.verify(&h.dir) {
                Ok(()) => (v.slices, v.bytes) = (v.slices + 1, v.bytes + h.manifest.bytes()),
                Err(e) => v.damaged.extend(self.give_up(h, &e)),
            }
        }
        v
    }

    /// Opens all slices that are not open yet, the newest first, until `stop` says so.
    pub fn warm(&self, stop: &dyn Fn() -> bool) {
        let held = self.state().held.clone();
        for h in held.iter().rev().take_while(|_| !stop()) {
            let _ = self.fetch(h);
        }
    }

    /// Compares the files of a slice that is open; `true` if they differ, and it was let go of.
    pub(super) fn doubt(&self, slice: &Slice) -> bool {
        let held = self.state().held.iter().find(|h| h.dir == slice.dir()).cloned();
        let why = held.and_then(|h| h.manifest.verify(&h.dir).err().map(|e| (h, e)));
        why.is_some_and(|(h, e)| self.give_up(&h, &e).is_some())
    }

    /// Lets go of a slice that cannot be used; its name, unless it has gone meanwhile.
    fn give_up(&self, h: &Arc<Held>, why: &SliceError) -> Option<String> {
        {
            let mut state = self.state();
            let there = state.held.len();
            state.held.retain(|o| !Arc::ptr_eq(o, h));
            // A merge has taken its place.
            if state.held.len() == there {
                return None;
            }
        }
        self.put_aside(&h.dir, why);
        h.dir.file_name().and_then(|n| n.to_str()).map(str::to_owned)
    }

    /// What has been said of slices since the last call.
    pub fn said(&self) -> Vec<Said> {
        std::mem::take(&mut self.state().said)
    }

    /// How many slices could not be used, so far.
    pub fn damaged(&self) -> u64 {
        self.state().damaged
    }

    fn say(&self, name: &str, why: String, fate: Fate) {
        let mut state = self.state();
        state.damaged += u64::from(fate != Fate::Later);
        if state.said.len() == MESSAGES {
            state.said.remove(0);
        }
        state.said.push(Said { name: name.to_owned(), why, fate });
    }

    /// Moves a slice that cannot be used out of the way, if anything may be changed. What cannot be moved stays, and is not used.
    fn put_aside(&self, dir: &Path, why: &SliceError) {
        let Some(name) = dir.file_name().and_then(|n| n.to_str()) else { return };
        if self.only_read {
            return self.say(name, why.to_string(), Fate::Untouched);
        }
        let moved = match why {
            // There is nothing wrong with it that anybody would look for.
            SliceError::Earlier(_) => folder::remove(dir),
            _ => self.keep_damaged(dir, name),
        };
        match moved {
            Ok(()) => self.say(name, why.to_string(), Fate::Aside),
            Err(e) => self.say(name, format!("{why}, and it cannot be moved away ({e})"), Fate::Stays),
        }
    }

    fn keep_damaged(&self, dir: &Path, name: &str) -> io::Result<()> {
        let aside = self.root.join(DAMAGED);
        folder::create(&aside)?;
        let mut kept = names(&aside)?;
        kept.sort_by_key(|n| fs::metadata(aside.join(n)).and_then(|m| m.modified()).ok());
        let room = KEPT - 1;
        for old in kept.iter().take(kept.len().saturating_sub(room)) {
            folder::remove(&aside.join(old))?;
        }
        let mut to = aside.join(name);
        for n in 1.. {
            // A link that leads nowhere has the name, too.
            if to.symlink_metadata().is_err() {
                break;
            }
            to = aside.join(format!("{name}.{n}"));
        }
        folder::rename(dir, &to)?;
        folder::sync(&aside)?;
        folder::sync(&self.root)
    }
}

/// The names in a folder, in order; none if it is not there.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let all = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        all => all?,
    };
    let mut all: Vec<String> = all.map(|e| Ok(e?.file_name().into_string().ok())).filter_map(io::Result::transpose).collect::<io::Result<_>>()?;
    all.sort_unstable();
    Ok(all)
}

/// What of a range lies in none of these, which are in order.
fn outside(lsns: RangeInclusive<u64>, all: impl Iterator<Item = RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    let (mut at, end) = lsns.into_inner();
    let mut left = Vec::new();
    for r in all {
        if *r.start() > end {
            break;
        }
        if *r.start() > at {
            left.push(at..=r.start() - 1);
        }
        at = at.max(r.end().saturating_add(1));
    }
    if at <= end {
        left.push(at..=end);
    }
    left
}
