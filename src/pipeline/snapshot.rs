//! States of the engine and the bundles they belong to, in the data directory.
//!
//! `snapshots/<entry>.state` is the state as of an entry of the journal; the newest two are kept, so that one that cannot be
//! read costs a longer replay and no more. `bundles/<hash>.json` is what was in force; it is kept while a saved state, a load in
//! the journal or one on its way there names it. Files are written beside their place, made durable and renamed.

use super::bundle::Bundle;
use crate::disk::{Disk, DiskFile};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MAGIC: &[u8; 8] = b"VIGILDS3";
/// Magic, entry, hash of the bundle, length of the state, checksum.
const HEAD: usize = 8 + 8 + 32 + 8 + 8;
/// Where the hash stands.
const LOAD_AT: usize = 8 + 8;
/// So many states are kept.
const KEPT: usize = 2;
/// A state is never longer.
const MAX_STATE: u64 = 4 << 30;
/// How hard zstd tries: a state is written again and again.
const LEVEL: i32 = 1;

/// The engine's state as of an entry.
pub struct Snapshot {
    /// The last entry in it.
    pub lsn: u64,
    /// The bundle that was in force.
    pub load: [u8; 32],
    /// The state.
    pub state: Vec<u8>,
}

/// See the module.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    states: PathBuf,
    bundles: PathBuf,
    /// The journal's, to which the states belong.
    seed: u64,
    /// The bundles of loads that are on their way into the journal and through the engine, in their order.
    coming: Arc<Mutex<VecDeque<[u8; 32]>>>,
}

impl Snapshots {
    /// Opens or makes the folders in a data directory; `seed` is the journal's.
    pub fn open(disk: Arc<dyn Disk>, data: &Path, seed: u64) -> io::Result<Snapshots> {
        let s = Snapshots { disk, states: data.join("snapshots"), bundles: data.join("bundles"), seed, coming: Arc::default() };
        for dir in [&s.states, &s.bundles] {
            s.disk.create_dir(dir)?;
            for name in s.disk.list(dir)?.into_iter().filter(|n| n.ends_with(".new")) {
                s.disk.remove(&dir.join(name))?;
            }
        }
        // Neither folder is there without the other after a crash.
        s.disk.sync_dir(data)?;
        Ok(s)
    }

    /// The entries of which there is a state, the newest first.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list(&self.states)?;
        let mut all: Vec<u64> = names.iter().filter_map(|n| n.strip_suffix(".state")?.parse().ok()).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        Ok(all)
    }

    /// Saves the state as of an entry, under the bundle that was in force, from pieces that follow each other, and lets go of older
    /// ones; the entry of the oldest that is kept, if there are as many as are to be kept.
    pub fn write(&self, lsn: u64, load: &[u8; 32], pieces: &[&[u8]]) -> io::Result<Option<u64>> {
        let len = pieces.iter().map(|p| p.len() as u64).sum::<u64>();
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&lsn.to_le_bytes());
        bytes.extend_from_slice(load);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let mut packer = zstd::Encoder::new(bytes, LEVEL)?;
        packer.set_pledged_src_size(Some(len))?;
        pieces.iter().try_for_each(|p| packer.write_all(p))?;
        let mut bytes = packer.finish()?;
        let (head, packed) = bytes.split_at_mut(HEAD);
        let (head, sum) = head.split_at_mut(HEAD - 8);
        sum.copy_from_slice(&checksum(self.seed, head, packed).to_le_bytes());
        self.put(&self.states, &format!("{lsn:020}.state"), &bytes)?;
        let all = self.list()?;
        for lsn in all.iter().skip(KEPT) {
            self.disk.remove(&self.states.join(format!("{lsn:020}.state")))?;
        }
        Ok(all.get(KEPT - 1).copied())
    }

    /// Reads the state as of an entry. An error tells why it cannot be used.
    pub fn read(&self, lsn: u64) -> Result<Snapshot, String> {
        let bytes = self.get(&self.states.join(format!("{lsn:020}.state"))).map_err(|e| e.to_string())?;
        let Some((head, packed)) = bytes.split_at_checked(HEAD) else { return Err("it is too short".into()) };
        if !head.starts_with(MAGIC) {
            return Err("it is no state, or one of another version".into());
        }
        let word = |at: usize| head[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        if word(HEAD - 8) != checksum(self.seed, &head[..HEAD - 8], packed) || word(8) != lsn || word(48) > MAX_STATE {
            return Err("its checksum is wrong, or it belongs to another journal".into());
        }
        let mut load = [0; 32];
        load.copy_from_slice(&head[LOAD_AT..LOAD_AT + 32]);
        let state = zstd::bulk::decompress(packed, word(48) as usize).map_err(|e| e.to_string())?;
        Ok(Snapshot { lsn, load, state })
    }

    /// Lets go of a state that cannot be used: it must not be counted among those that are kept.
    pub fn remove(&self, lsn: u64) -> io::Result<()> {
        self.disk.remove(&self.states.join(format!("{lsn:020}.state")))?;
        self.disk.sync_dir(&self.states)
    }

    /// Keeps a bundle under its hash.
    pub fn put_bundle(&self, b: &Bundle) -> io::Result<()> {
        let name = file(&b.hash());
        if self.disk.list(&self.bundles)?.contains(&name) && self.bundle(&b.hash()).is_ok() {
            return Ok(());
        }
        self.put(&self.bundles, &name, &b.bytes())
    }

    /// Keeps the bundle of a load that is about to be sent on its way.
    pub fn put_coming(&self, b: &Bundle) -> io::Result<()> {
        self.comes(b.hash());
        self.put_bundle(b).inspect_err(|_| {
            self.coming().pop_back();
        })
    }

    /// A load of a bundle that is kept is about to be sent on its way.
    pub fn comes(&self, hash: [u8; 32]) {
        self.coming().push_back(hash);
    }

    /// The engine has come to the load of this bundle, or holds it already: loads follow each other in their order, and each is
    /// of another bundle than the one before.
    pub fn has_come(&self, in_force: &[u8; 32]) {
        self.coming().pop_front_if(|c| c == in_force);
    }

    /// Deletes the bundles that no saved state needs, that are not among these, which the journal names, and that are of no load on
    /// its way.
    pub fn tidy(&self, mut needed: BTreeSet<[u8; 32]>) -> io::Result<()> {
        // Held to the end, so that none is put meanwhile.
        let coming = self.coming();
        needed.extend(coming.iter());
        for lsn in self.list()? {
            needed.extend(self.load_of(lsn)?);
        }
        let needed: BTreeSet<String> = needed.iter().map(file).collect();
        let all = self.disk.list(&self.bundles)?;
        let gone: Vec<&String> = all.iter().filter(|n| n.ends_with(".json") && !needed.contains(*n)).collect();
        if !gone.is_empty() {
            // A state that has been let go of must not come back without its bundle.
            self.disk.sync_dir(&self.states)?;
        }
        gone.into_iter().try_for_each(|n| self.disk.remove(&self.bundles.join(n)))
    }

    /// The bundle that a saved state names, if it is long enough to name one.
    pub(super) fn load_of(&self, lsn: u64) -> io::Result<Option<[u8; 32]>> {
        let f = self.disk.open(&self.states.join(format!("{lsn:020}.state")))?;
        let mut load = [0; 32];
        match fill(&*f, &mut load, LOAD_AT as u64) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            done => done.map(|()| Some(load)),
        }
    }

    fn coming(&self) -> MutexGuard<'_, VecDeque<[u8; 32]>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bundle of that hash.
    pub fn bundle(&self, hash: &[u8; 32]) -> Result<Bundle, String> {
        let bytes = self.get(&self.bundles.join(file(hash))).map_err(|e| e.to_string())?;
        if blake3::hash(&bytes).as_bytes() != hash {
            return Err("its content is not what its name says".into());
        }
        Bundle::of_bytes(&bytes)
    }

    fn put(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
        if self.disk.list(dir)?.contains(&format!("{name}.new")) {
            self.disk.remove(&new)?;
        }
        let f = self.disk.create(&new)?;
        let placed = f.write_all_at(bytes, 0).and_then(|()| f.sync_data()).and_then(|()| self.disk.rename(&new, &path));
        if placed.is_err() {
            // Half a file only takes room on a disk that may be full.
            let _ = self.disk.remove(&new);
        }
        placed?;
        self.disk.sync_dir(dir)
    }

    fn get(&self, path: &Path) -> io::Result<Vec<u8>> {
        let f = self.disk.open(path)?;
        let len = f.len()?.min(MAX_STATE);
        let mut bytes = vec![0; len as usize];
        fill(&*f, &mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Reads as much as there is room for.
fn fill(f: &dyn DiskFile, to: &mut [u8], from: u64) -> io::Result<()> {
    let mut at = 0;
    while at < to.len() {
        match f.read_at(&mut to[at..], from + at as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => at += n,
        }
    }
    Ok(())
}

/// The name of a bundle's file.
fn file(hash: &[u8; 32]) -> String {
    format!("{}.json", blake3::Hash::from(*hash).to_hex())
}

fn checksum(seed: u64, head: &[u8], packed: &[u8]) -> u64 {
    let mut h = xxhash_rust::xxh3::Xxh3::with_seed(seed);
    h.update(head);
    h.update(packed);
    h.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Dice, Sim};

    const DATA: &str = "/data";

    /// A bundle that differs from those of other numbers.
    fn bundle(n: u64) -> Bundle {
        let text = String::from_utf8(Bundle::default().bytes()).expect("text");
        Bundle::of_bytes(text.replacen("\"budget\":0", &format!("\"budget\":{n}"), 1).as_bytes()).expect("a bundle")
    }

    fn open(disk: &Sim) -> Snapshots {
        disk.create_dir(Path::new(DATA)).expect("a folder");
        disk.sync_dir(Path::new("/")).expect("durable");
        Snapshots::open(Arc::new(disk.clone()), Path::new(DATA), 7).expect("open")
    }

    /// Saves a state under a bundle.
    fn save(s: &Snapshots, lsn: u64, n: u64, named: &[u64]) -> io::Result<()> {
        let load = bundle(n).hash();
        s.has_come(&load);
        s.write(lsn, &load, &[&[1], &[2, 3]])?;
        s.tidy(named.iter().map(|n| bundle(*n).hash()).collect())
    }

    /// Which of the bundles of these numbers are there.
    fn there(s: &Snapshots) -> Vec<u64> {
        (0..10).filter(|n| s.bundle(&bundle(*n).hash()).is_ok_and(|b| b == bundle(*n))).collect()
    }

    #[test]
    fn a_bundle_is_there_as_long_as_somebody_names_it() {
        let s = open(&Sim::new(1, 1 << 20));
        s.put_bundle(&bundle(0)).expect("kept");
        save(&s, 1, 0, &[0]).expect("saved");
        for n in 1..5 {
            s.put_coming(&bundle(n)).expect("kept");
            save(&s, 10 * n, n, &[1, n]).expect("saved");
        }
        assert_eq!(there(&s), [1, 3, 4], "that of the journal, and those of the two states");
        // Two are on their way, one of them back to what was in force before.
        s.put_coming(&bundle(5)).expect("kept");
        s.put_coming(&bundle(4)).expect("kept");
        save(&s, 50, 4, &[]).expect("saved");
        save(&s, 51, 4, &[]).expect("saved");
        assert_eq!(there(&s), [4, 5], "what is on its way stays");
        save(&s, 60, 5, &[]).expect("saved");
        save(&s, 61, 5, &[]).expect("saved");
        assert_eq!(there(&s), [4, 5]);
        save(&s, 70, 4, &[]).expect("saved");
        save(&s, 71, 4, &[]).expect("saved");
        assert_eq!(there(&s), [4]);
    }

    #[test]
    fn a_bundle_that_could_not_be_kept_is_not_waited_for() {
        let disk = Sim::new(1, 1 << 20);
        let s = open(&disk);
        s.put_bundle(&bundle(0)).expect("kept");
        disk.set_capacity(0);
        assert!(s.put_coming(&bundle(1)).is_err());
        disk.set_capacity(1 << 20);
        s.put_coming(&bundle(2)).expect("kept");
        save(&s, 1, 2, &[]).expect("saved");
        s.put_coming(&bundle(3)).expect("kept");
        save(&s, 2, 3, &[]).expect("saved");
        save(&s, 3, 3, &[]).expect("saved");
        assert_eq!(there(&s), [3]);
    }

    #[test]
    fn whenever_it_crashes_each_state_and_each_load_has_its_bundle() {
        for seed in 0..2000 {
            let (mut dice, disk) = (Dice(seed), Sim::new(seed, 1 << 20));
            let s = open(&disk);
            s.put_bundle(&bundle(0)).expect("kept");
            disk.crash_at(1 + dice.below(120));
            let (mut lsn, mut in_force, mut last, mut coming, mut named) = (0, 0, 0, VecDeque::new(), BTreeSet::new());
            while !disk.is_off() {
                lsn += 1;
                if dice.one_in(3) {
                    let n = (last + 1 + dice.below(5)) % 6;
                    if s.put_coming(&bundle(n)).is_ok() {
                        last = n;
                        coming.push_back(n);
                    }
                    continue;
                }
                if dice.one_in(2)
                    && let Some(n) = coming.pop_front()
                {
                    // A load is an entry of the journal; what lies before is forgotten now and then.
                    in_force = n;
                    if dice.one_in(3) {
                        named.clear();
                    }
                    named.insert(n);
                }
                let _ = save(&s, lsn, in_force, &named.iter().copied().collect::<Vec<_>>());
            }
            let s = open(&disk.crash(&mut dice));
            for lsn in s.list().expect("a list") {
                let Snapshot { load, state, .. } = s.read(lsn).expect("a state");
                assert_eq!(state, [1, 2, 3]);
                assert!(s.bundle(&load).is_ok(), "seed {seed}: the state of {lsn} has no bundle");
            }
            let there = there(&s);
            for n in coming.iter().chain(&named) {
                assert!(there.contains(n), "seed {seed}: {n} is named and not there: {there:?}");
            }
        }
    }
}
