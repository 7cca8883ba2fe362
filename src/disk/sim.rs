//! A disk in memory that forgets, tears and refuses, from a seed: for tests.
//!
//! It keeps for each file what is durable and what has been written since, and for each folder likewise. A crash makes a
//! new disk in which everything that was not synced is there, not there, or there in part, in any combination.

use super::{Disk, DiskFile, Lock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A seeded source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error of the device, nothing done. A failed sync of a file loses what was not durable in half the cases, though it can
    /// still be read.
    Io,
    /// No space, nothing done.
    NoSpace,
    /// An error after the first half of the bytes; of operations that write none, as [`Fault::Io`].
    Partial,
}

const SECTOR: usize = 512;

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Naming {
    Made(String, usize),
    Gone(String),
    Renamed(String, String, usize),
}

#[derive(Clone, Default)]
struct Folder {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    unsynced: Vec<Naming>,
    /// Whether its own name is durable.
    named: bool,
}

struct State {
    inodes: Vec<Inode>,
    folders: BTreeMap<PathBuf, Folder>,
    locks: BTreeSet<PathBuf>,
    capacity: u64,
    dice: Dice,
    done: u64,
    fault: Option<(u64, Fault)>,
    crash: Option<u64>,
    dead: bool,
}

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<State>>);

fn hold<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => put(content, *at as usize, bytes),
        Change::Cut(len) => content.resize(*len as usize, 0),
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn crashed() -> io::Error {
    io::Error::other("the machine is off")
}

/// What is to be done about an operation.
enum Verdict {
    Do,
    Fail(Fault),
    /// The machine goes off in the middle of it.
    Crash,
}

impl State {
    fn operation(&mut self) -> io::Result<Verdict> {
        if self.dead {
            return Err(crashed());
        }
        self.done += 1;
        if self.crash == Some(self.done) {
            self.dead = true;
            return Ok(Verdict::Crash);
        }
        match self.fault {
            Some((n, fault)) if n == self.done => Ok(Verdict::Fail(fault)),
            _ => Ok(Verdict::Do),
        }
    }

    /// For operations that change nothing.
    fn plain(&mut self) -> io::Result<()> {
        match self.operation()? {
            Verdict::Do => Ok(()),
            Verdict::Fail(f) => Err(error(f)),
            Verdict::Crash => Err(crashed()),
        }
    }

    fn used(&self) -> u64 {
        let named: BTreeSet<usize> = self.folders.values().flat_map(|f| f.now.values().copied()).collect();
        named.into_iter().map(|i| self.inodes[i].now.len() as u64).sum()
    }

    fn folder(&mut self, path: &Path) -> io::Result<(&mut Folder, String)> {
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(missing)?.to_owned();
        let folder = path.parent().and_then(|p| self.folders.get_mut(p)).ok_or_else(missing)?;
        Ok((folder, name))
    }

    /// A change of names: done, or refused, or perhaps done as the machine goes off.
    fn naming(&mut self, path: &Path, change: impl FnOnce(&mut Folder, String) -> io::Result<Naming>) -> io::Result<()> {
        let verdict = self.operation()?;
        if let Verdict::Fail(f) = verdict {
            return Err(error(f));
        }
        let (folder, name) = self.folder(path)?;
        let n = change(folder, name)?;
        rename(&mut folder.now, &n);
        folder.unsynced.push(n);
        if matches!(verdict, Verdict::Crash) { Err(crashed()) } else { Ok(()) }
    }
}

fn rename(names: &mut BTreeMap<String, usize>, n: &Naming) {
    match n {
        Naming::Made(name, i) => {
            names.insert(name.clone(), *i);
        }
        Naming::Gone(name) => {
            names.remove(name);
        }
        Naming::Renamed(from, to, i) => {
            if names.get(from) == Some(i) {
                names.remove(from);
            }
            names.insert(to.clone(), *i);
        }
    }
}

fn error(f: Fault) -> io::Error {
    match f {
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
        Fault::Io | Fault::Partial => io::Error::other("an error of the device"),
    }
}

impl Sim {
    /// An empty disk of this many bytes, with the folder `/`.
    pub fn new(seed: u64, capacity: u64) -> Sim {
        let root = Folder { named: true, ..Folder::default() };
        Sim(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            folders: BTreeMap::from([(PathBuf::from("/"), root)]),
            locks: BTreeSet::new(),
            capacity,
            dice: Dice(seed),
            done: 0,
            fault: None,
            crash: None,
            dead: false,
        })))
    }

    /// How many operations there have been.
    pub fn done(&self) -> u64 {
        hold(&self.0).done
    }

    /// The `n`th operation from now, counted from 1, fails so.
    pub fn fail(&self, n: u64, fault: Fault) {
        let mut s = hold(&self.0);
        s.fault = Some((s.done + n, fault));
    }

    /// The machine goes off in the `n`th operation from now, counted from 1: it and all later ones fail until [`Sim::crash`].
    pub fn crash_at(&self, n: u64) {
        let mut s = hold(&self.0);
        s.crash = Some(s.done + n);
    }

    /// Whether the machine has gone off.
    pub fn is_off(&self) -> bool {
        hold(&self.0).dead
    }

    /// How many bytes it can hold from now on.
    pub fn set_capacity(&self, bytes: u64) {
        hold(&self.0).capacity = bytes;
    }

    /// The disk as it is found after a crash.
    pub fn crash(&self, dice: &mut Dice) -> Sim {
        let s = hold(&self.0);
        // Each crash has its own temper, so that all kept and all lost are as likely as something between.
        let keep = dice.below(5);
        let kept = |d: &mut Dice| d.below(4) < keep;
        let mut inodes = s.inodes.clone();
        for i in &mut inodes {
            let mut content = std::mem::take(&mut i.durable);
            for c in std::mem::take(&mut i.unsynced) {
                if kept(dice) {
                    apply(&mut content, &c);
                } else if let Change::Write(at, bytes) = &c {
                    torn(&mut content, *at as usize, bytes, dice);
                }
            }
            i.now.clone_from(&content);
            i.durable = content;
        }
        let mut folders = s.folders.clone();
        let lost: Vec<PathBuf> = folders.iter().filter(|(_, f)| !f.named && !kept(dice)).map(|(p, _)| p.clone()).collect();
        folders.retain(|p, _| !lost.iter().any(|l| p.starts_with(l)));
        for f in folders.values_mut() {
            for n in std::mem::take(&mut f.unsynced) {
                if kept(dice) {
                    rename(&mut f.durable, &n);
                }
            }
            f.now.clone_from(&f.durable);
            f.named = true;
        }
        let (capacity, seed) = (s.capacity, dice.draw());
        drop(s);
        let sim = Sim::new(seed, capacity);
        {
            let mut n = hold(&sim.0);
            n.inodes = inodes;
            n.folders = folders;
        }
        sim
    }

    /// The content of a file, as it can be read now.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let mut s = hold(&self.0);
        let (f, name) = s.folder(path).ok()?;
        let i = *f.now.get(&name)?;
        Some(s.inodes[i].now.clone())
    }

    /// Changes the content of a file behind everybody's back, durably: damage.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut s = hold(&self.0);
        let found = s.folder(path).ok().and_then(|(f, name)| f.now.get(&name).copied());
        if let Some(i) = found {
            let inode = &mut s.inodes[i];
            change(&mut inode.now);
            inode.durable.clone_from(&inode.now);
            inode.unsynced.clear();
        }
    }
}

/// What a write that did not come through whole leaves: nothing, its beginning, some sectors, or only its length.
fn torn(content: &mut Vec<u8>, at: usize, bytes: &[u8], dice: &mut Dice) {
    match dice.below(6) {
        0 | 1 => {}
        2 | 3 => put(content, at, &bytes[..dice.below(bytes.len() as u64 + 1) as usize]),
        4 => {
            let mut from = 0;
            while from < bytes.len() {
                let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
                if dice.one_in(2) {
                    put(content, at + from, &bytes[from..to]);
                }
                from = to;
            }
        }
        _ => {
            let len = content.len().max(at + bytes.len());
            content.resize(len, 0);
        }
    }
}

struct SimFile {
    disk: Sim,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        let mut s = hold(&self.disk.0);
        s.plain()?;
        let now = &s.inodes[self.inode].now;
        let from = now.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        let n = from.len().min(to.len());
        to[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut s = hold(&self.disk.0);
        let verdict = s.operation()?;
        let len = s.inodes[self.inode].now.len() as u64;
        let free = s.capacity.saturating_sub(s.used());
        let room = (len + free).saturating_sub(at).min(bytes.len() as u64) as usize;
        let (n, done) = match verdict {
            Verdict::Fail(Fault::Partial) => (room / 2, Err(error(Fault::Io))),
            Verdict::Fail(f) => return Err(error(f)),
            Verdict::Crash => (room, Err(crashed())),
            Verdict::Do if room < bytes.len() => (room, Err(error(Fault::NoSpace))),
            Verdict::Do => (room, Ok(())),
        };
        if n > 0 {
            let inode = &mut s.inodes[self.inode];
            put(&mut inode.now, at as usize, &bytes[..n]);
            inode.unsynced.push(Change::Write(at, bytes[..n].to_vec()));
        }
        done
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut s = hold(&self.disk.0);
        match s.operation()? {
            Verdict::Do => {
                let inode = &mut s.inodes[self.inode];
                for c in std::mem::take(&mut inode.unsynced) {
                    apply(&mut inode.durable, &c);
                }
                Ok(())
            }
            Verdict::Fail(f) => {
                if s.dice.one_in(2) {
                    s.inodes[self.inode].unsynced.clear();
                }
                Err(error(f))
            }
            Verdict::Crash => Err(crashed()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut s = hold(&self.disk.0);
        let verdict = s.operation()?;
        if let Verdict::Fail(f) = verdict {
            return Err(error(f));
        }
        let inode = &mut s.inodes[self.inode];
        inode.now.resize(len as usize, 0);
        inode.unsynced.push(Change::Cut(len));
        if matches!(verdict, Verdict::Crash) { Err(crashed()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let mut s = hold(&self.disk.0);
        s.plain()?;
        Ok(s.inodes[self.inode].now.len() as u64)
    }
}

struct Held(Sim, PathBuf);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        hold(&self.0.0).locks.remove(&self.1);
    }
}

impl Disk for Sim {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut s = hold(&self.0);
        let inode = s.inodes.len();
        s.inodes.push(Inode::default());
        s.naming(path, |f, name| if f.now.contains_key(&name) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(Naming::Made(name, inode)) })?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut s = hold(&self.0);
        s.plain()?;
        let (f, name) = s.folder(path)?;
        let inode = *f.now.get(&name).ok_or_else(missing)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut s = hold(&self.0);
        s.plain()?;
        Ok(s.folders.get(dir).ok_or_else(missing)?.now.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let other = to.file_name().and_then(|n| n.to_str()).ok_or_else(missing)?.to_owned();
        hold(&self.0).naming(from, |f, name| {
            let i = *f.now.get(&name).ok_or_else(missing)?;
            Ok(Naming::Renamed(name, other, i))
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        hold(&self.0).naming(path, |f, name| if f.now.contains_key(&name) { Ok(Naming::Gone(name)) } else { Err(missing()) })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut s = hold(&self.0);
        let verdict = s.operation()?;
        if let Verdict::Fail(f) = verdict {
            return Err(error(f));
        }
        if !path.parent().is_some_and(|p| s.folders.contains_key(p)) {
            return Err(missing());
        }
        s.folders.entry(path.to_owned()).or_default();
        if matches!(verdict, Verdict::Crash) { Err(crashed()) } else { Ok(()) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut s = hold(&self.0);
        s.plain()?;
        let f = s.folders.get_mut(path).ok_or_else(missing)?;
        f.durable.clone_from(&f.now);
        f.unsynced.clear();
        for (p, f) in &mut s.folders {
            f.named |= p.parent() == Some(path);
        }
        Ok(())
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        let mut s = hold(&self.0);
        s.plain()?;
        Ok(s.capacity.saturating_sub(s.used()))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut s = hold(&self.0);
        s.plain()?;
        if !s.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held(self.clone(), path.to_owned())))
    }
}
