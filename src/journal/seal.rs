//! Sealed segments: the bytes behind the header in compressed blocks of whole frames, each behind a head that says what it
//! holds, then all heads again as an index, then a footer. An offset means the same as before sealing.
//!
//! Head of a block, little-endian: checksum of the head (8 bytes), offset before compression (8), place in the file (8), length
//! before compression (4), compressed length (4), first lsn (8), next seq (8), whether there is a time (8), greatest time before
//! it (8), checksum of the compressed bytes (8).

use super::frame::{HEAD, Home, MAX_BODY, sum};
use super::header::{HEADER, Header, SEALED};
use super::segment::{Broken, Form, Point, Segment};
use super::shared::{Shared, gone};
use super::walk::{Step, Walk};
use super::wire;
use crate::disk::DiskFile;
use crate::event::Timestamp;
use std::io;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a block's head.
const BLOCK: usize = 72;
/// Bytes of the footer.
const FOOTER: usize = 64;
/// The longest block before compression: a frame and what it did not fit behind.
const MAX_BLOCK: usize = MAX_BODY + HEAD + (64 << 20);
/// First bytes of the footer.
const END: [u8; 8] = *b"vigild.f";
const LEVEL: i32 = 3;

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins before compression, and what is expected there.
    pub point: Point,
    len: u32,
    place: u64,
    packed: u32,
    sum: u64,
}

/// Where the segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// The offset behind the last byte, before compression.
    pub end: u64,
    /// The first lsn, and seq, that is not in it.
    pub limit: (u64, u64),
    index: u64,
    count: u64,
}

/// A sealed segment's index, from wherever it could be read.
pub(super) struct Sealed {
    /// The blocks in order.
    pub blocks: Vec<Block>,
    /// Where it ends; `None` if that is damaged, and the blocks are those that could be found.
    pub footer: Option<Footer>,
}

fn word(b: &[u8], at: usize) -> u64 {
    b.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Block {
    fn bytes(&self, home: Home) -> [u8; BLOCK] {
        let mut b = [0; BLOCK];
        let words = [
            self.point.offset,
            self.place,
            u64::from(self.len) | u64::from(self.packed) << 32,
            self.point.lsn,
            self.point.seq,
            u64::from(self.point.before.is_some()),
            self.point.before.map_or(0, |t| t.0) as u64,
            self.sum,
        ];
        for (to, w) in b[8..].chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&w.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&b[8..], home.id ^ home.segment);
        b[..8].copy_from_slice(&sum.to_le_bytes());
        b
    }

    fn read(b: &[u8], home: Home) -> Option<Block> {
        let b = b.get(..BLOCK)?;
        if xxh3_64_with_seed(&b[8..], home.id ^ home.segment) != word(b, 0) {
            return None;
        }
        let before = (word(b, 48) != 0).then_some(Timestamp(word(b, 56) as i64));
        let point = Point { offset: word(b, 8), lsn: word(b, 32), seq: word(b, 40), before };
        let (len, packed) = (word(b, 24) as u32, (word(b, 24) >> 32) as u32);
        (len as usize <= MAX_BLOCK).then_some(Block { point, len, place: word(b, 16), packed, sum: word(b, 64) })
    }

    /// The offset behind it, before compression.
    pub fn end(&self) -> u64 {
        self.point.offset.saturating_add(u64::from(self.len))
    }

    /// The bytes of the block.
    pub fn unpack(&self, file: &dyn DiskFile, id: u64) -> Result<Vec<u8>, Broken> {
        // A damaged length must not ask for more than the file has.
        if self.place.saturating_add(u64::from(self.packed)) > file.len().map_err(Broken::Io)? {
            return Err(Broken::Block);
        }
        let mut packed = vec![0; self.packed as usize];
        let n = file.read_at(&mut packed, self.place).map_err(Broken::Io)?;
        if n < packed.len() || sum(id, &packed) != self.sum {
            return Err(Broken::Block);
        }
        let bytes = zstd::bulk::decompress(&packed, self.len as usize).map_err(|_| Broken::Block)?;
        if bytes.len() == self.len as usize { Ok(bytes) } else { Err(Broken::Block) }
    }
}

impl Footer {
    fn bytes(&self, index: u64, home: Home) -> [u8; FOOTER] {
        let mut b = [0; FOOTER];
        b[..8].copy_from_slice(&END);
        for (to, w) in b[8..56].chunks_exact_mut(8).zip([self.index, self.count, self.end, self.limit.0, self.limit.1, index]) {
            to.copy_from_slice(&w.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&b[..56], home.id ^ home.segment);
        b[56..].copy_from_slice(&sum.to_le_bytes());
        b
    }

    fn read(b: &[u8], home: Home) -> Option<(Footer, u64)> {
        let b = b.get(..FOOTER)?;
        if b[..8] != END || xxh3_64_with_seed(&b[..56], home.id ^ home.segment) != word(b, 56) {
            return None;
        }
        Some((Footer { index: word(b, 8), count: word(b, 16), end: word(b, 24), limit: (word(b, 32), word(b, 40)) }, word(b, 48)))
    }
}

/// Reads the index of a sealed segment; from the heads before the blocks, if the one at the end is damaged.
pub(super) fn index(file: &dyn DiskFile, home: Home) -> io::Result<Sealed> {
    let len = file.len()?;
    let mut b = [0; FOOTER];
    if len >= (HEADER + FOOTER) as u64 {
        file.read_at(&mut b, len - FOOTER as u64)?;
    }
    if let Some((footer, sum_of_index)) = Footer::read(&b, home) {
        let bytes = footer.count.checked_mul(BLOCK as u64).filter(|n| footer.index.checked_add(*n).is_some_and(|end| end <= len));
        if let Some(n) = bytes {
            let mut all = vec![0; n as usize];
            file.read_at(&mut all, footer.index)?;
            if sum(home.id, &all) == sum_of_index {
                let blocks: Option<Vec<Block>> = all.chunks_exact(BLOCK).map(|b| Block::read(b, home)).collect();
                if let Some(blocks) = blocks {
                    return Ok(Sealed { blocks, footer: Some(footer) });
                }
            }
        }
        return Ok(Sealed { blocks: find(file, len, home)?, footer: Some(footer) });
    }
    Ok(Sealed { blocks: find(file, len, home)?, footer: None })
}

/// Finds the blocks by the heads before them.
fn find(file: &dyn DiskFile, len: u64, home: Home) -> io::Result<Vec<Block>> {
    const READ: usize = 1 << 20;
    let mut blocks: Vec<Block> = Vec::new();
    let mut bytes = Vec::new();
    let (mut start, mut at) = (0, HEADER as u64);
    while at + BLOCK as u64 <= len {
        if at < start || at + BLOCK as u64 > start + bytes.len() as u64 {
            start = at;
            bytes.resize(READ, 0);
            let n = file.read_at(&mut bytes, start)?;
            bytes.truncate(n);
            if n < BLOCK {
                break;
            }
        }
        let head = bytes.get((at - start) as usize..).and_then(|b| Block::read(b, home));
        let behind = |b: &Block| blocks.last().is_none_or(|l| l.point.offset < b.point.offset && l.point.lsn <= b.point.lsn);
        // A head in the index says another place.
        match head.filter(|b| b.place == at + BLOCK as u64).filter(behind) {
            Some(b) => {
                at = b.place + u64::from(b.packed);
                blocks.push(b);
            }
            None => at += 1,
        }
    }
    Ok(blocks)
}

/// What is being written.
struct Writer<'f> {
    file: &'f dyn DiskFile,
    home: Home,
    at: u64,
    blocks: Vec<Block>,
    packer: zstd::bulk::Compressor<'static>,
}

impl Writer<'_> {
    fn block(&mut self, point: Point, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let packed = self.packer.compress(bytes)?;
        let place = self.at + BLOCK as u64;
        let b = Block { point, len: bytes.len() as u32, place, packed: packed.len() as u32, sum: sum(self.home.id, &packed) };
        let mut out = Vec::with_capacity(BLOCK + packed.len());
        out.extend_from_slice(&b.bytes(self.home));
        out.extend_from_slice(&packed);
        self.file.write_all_at(&out, self.at)?;
        self.at += out.len() as u64;
        self.blocks.push(b);
        Ok(())
    }
}

/// Writes a segment's sealed form to a new file, and makes it durable. The segment has got its last entry.
fn write(from: &Arc<Segment>, file: &dyn DiskFile, seed: u64, block_bytes: usize) -> io::Result<Sealed> {
    let home = from.home;
    let header = Header { seed, lsn: from.first.lsn, seq: from.first.seq, before: from.first.before };
    file.write_all_at(&header.bytes(SEALED), 0)?;
    let packer = zstd::bulk::Compressor::new(LEVEL)?;
    let mut w = Writer { file, home, at: HEADER as u64, blocks: Vec::new(), packer };
    let mut walk = Walk::new(from.clone(), from.first);
    let mut block = Vec::with_capacity(block_bytes);
    let (mut point, mut time) = (from.first, from.first.before);
    loop {
        let (begin, lsn, seq) = (walk.offset, walk.lsn, walk.seq);
        let step = walk.step();
        let end = match step {
            Step::End => break,
            // What cannot be read now may be readable later.
            Step::Lost(super::walk::Lost { error: Some(e), .. }) => return Err(e),
            Step::Lost(ref l) => l.to,
            Step::State { .. } | Step::Entry { .. } => walk.offset,
        };
        if block.is_empty() {
            point = Point { offset: begin, lsn, seq, before: time };
        } else if block.len() as u64 + (end - begin) > block_bytes as u64 {
            w.block(point, &block)?;
            block.clear();
            point = Point { offset: begin, lsn, seq, before: time };
        }
        let whole = !matches!(step, Step::Lost(_));
        // The bytes as they are, damaged ones too: offsets stay, and there is nothing that was not there before.
        let mut at = begin;
        while at < end {
            let n = if whole { end - at } else { (end - at).min(block_bytes.max(HEAD) as u64) };
            let old = block.len();
            block.resize(old + n as usize, 0);
            let read = from.file.read_at(&mut block[old..], at)?;
            block[old + read..].fill(0);
            at += n;
            if !whole && block.len() >= block_bytes {
                w.block(point, &block)?;
                block.clear();
                point = Point { offset: at, lsn: if at < end { lsn } else { walk.lsn }, seq: if at < end { seq } else { walk.seq }, before: time };
            }
        }
        if let Step::Entry { .. } = step {
            time = time.max(wire::told(walk.body()).and_then(|t| t.0));
        }
    }
    w.block(point, &block)?;
    let index: Vec<u8> = w.blocks.iter().flat_map(|b| b.bytes(home)).collect();
    let footer = Footer { end: walk.offset, limit: from.limit(), index: w.at, count: w.blocks.len() as u64 };
    let mut tail = index;
    let index_sum = sum(home.id, &tail);
    tail.extend_from_slice(&footer.bytes(index_sum, home));
    file.write_all_at(&tail, w.at)?;
    file.sync_data()?;
    Ok(Sealed { blocks: w.blocks, footer: Some(footer) })
}

/// Seals a segment that gets no more entries: under a temporary name, then under its own, then the raw file goes. The sealed one
/// is durable before; a crash leaves one whole form at least, or both.
pub(super) fn seal(shared: &Shared, from: &Arc<Segment>) -> io::Result<()> {
    let _one = shared.sealing();
    let path = shared.path(from.first.lsn, ".seal");
    let temporary = shared.path(from.first.lsn, ".tmp");
    let sealed = write_new(shared, from, &temporary);
    let (sealed, file) = match sealed {
        Ok(done) => done,
        Err(e) => {
            let _ = shared.disk.remove(&temporary);
            return Err(e);
        }
    };
    let _keeping = shared.keep();
    if !shared.has(from) {
        // It has been deleted in the meantime, for room.
        return shared.disk.remove(&temporary);
    }
    shared.disk.rename(&temporary, &path)?;
    shared.disk.sync_dir(&shared.dir)?;
    let stored = file.len()?;
    let end = sealed.footer.map_or(0, |f| f.end);
    let new = Segment::new(from.home, path, file, Form::Sealed(sealed.blocks), from.first, end, shared.cache.clone());
    let (lsn, seq) = from.limit();
    new.set_limit(lsn, seq);
    new.set_stored(stored);
    if let Some(t) = from.oldest.get() {
        let _ = new.oldest.set(*t);
    }
    shared.replace(from, Arc::new(new));
    shared.disk.remove(&from.path)
}

fn write_new(shared: &Shared, from: &Arc<Segment>, temporary: &Path) -> io::Result<(Sealed, Arc<dyn DiskFile>)> {
    gone(shared.disk.remove(temporary))?;
    let file = shared.disk.create(temporary)?;
    let sealed = write(from, &*file, shared.seed, shared.options.block_bytes)?;
    Ok((sealed, file))
}
