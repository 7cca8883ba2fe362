//! Frames: what a segment file is made of. A frame says its place, so that one that stands elsewhere is none.
//!
//! Head, little-endian: checksum of the head (8 bytes), checksum of the body (8), length of the body (4), generation (4), lsn (8),
//! seq (8), durable (8), number of records (4), kind (1), zeros (3). The body follows, and zeros up to the next multiple of 8.
//! The head's checksum is seeded by the journal, the segment and the offset, the body's by the journal.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a head.
pub(super) const HEAD: usize = 56;
/// The longest body: more than any batch or state has.
pub(super) const MAX_BODY: usize = 128 << 20;

/// Kind of the frame that opens a segment: the folded state.
pub(super) const STATE: u8 = 1;
/// Kind of the frames that hold an entry.
pub(super) const ENTRY: u8 = 2;

/// Which segment of which journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// The journal's id.
    pub id: u64,
    /// The segment: its first lsn.
    pub segment: u64,
}

impl Home {
    fn seed(self, offset: u64) -> u64 {
        self.id ^ self.segment.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ offset.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(31)
    }
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Checksum of the body.
    pub body: u64,
    /// Length of the body.
    pub len: u32,
    /// Rises whenever what had been given to a file is given up, so that its remains are not taken for what came later.
    pub generation: u32,
    /// The entry's number; of a state, that of the entry before it.
    pub lsn: u64,
    /// The number of the first record, or of the next to come.
    pub seq: u64,
    /// All entries up to this one were durable when this was written.
    pub durable: u64,
    /// How many records it holds.
    pub count: u32,
    /// [`STATE`] or [`ENTRY`].
    pub kind: u8,
}

/// The checksum of a body.
pub(super) fn sum(id: u64, body: &[u8]) -> u64 {
    xxh3_64_with_seed(body, id)
}

/// What a frame with such a body takes, filling included.
pub(super) fn size(len: usize) -> usize {
    (HEAD + len).next_multiple_of(8)
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    b.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Head {
    /// The bytes of the head in this place.
    pub fn bytes(&self, home: Home, offset: u64) -> [u8; HEAD] {
        let mut b = [0; HEAD];
        b[8..16].copy_from_slice(&self.body.to_le_bytes());
        b[16..20].copy_from_slice(&self.len.to_le_bytes());
        b[20..24].copy_from_slice(&self.generation.to_le_bytes());
        b[24..32].copy_from_slice(&self.lsn.to_le_bytes());
        b[32..40].copy_from_slice(&self.seq.to_le_bytes());
        b[40..48].copy_from_slice(&self.durable.to_le_bytes());
        b[48..52].copy_from_slice(&self.count.to_le_bytes());
        b[52] = self.kind;
        let sum = xxh3_64_with_seed(&b[8..], home.seed(offset));
        b[..8].copy_from_slice(&sum.to_le_bytes());
        b
    }

    /// Reads a head without looking at its checksum; `None` where there are not enough bytes or they can be none.
    pub fn plausible(b: &[u8]) -> Option<Head> {
        let b = b.get(..HEAD)?;
        let h = Head {
            body: u64_at(b, 8),
            len: u32_at(b, 16),
            generation: u32_at(b, 20),
            lsn: u64_at(b, 24),
            seq: u64_at(b, 32),
            durable: u64_at(b, 40),
            count: u32_at(b, 48),
            kind: b[52],
        };
        ((h.kind == STATE || h.kind == ENTRY) && b[53..] == [0, 0, 0] && h.len as usize <= MAX_BODY).then_some(h)
    }

    /// Reads the head that stands in this place, if one does.
    pub fn read(b: &[u8], home: Home, offset: u64) -> Option<Head> {
        let h = Head::plausible(b)?;
        (xxh3_64_with_seed(b.get(8..HEAD)?, home.seed(offset)) == u64_at(b, 0)).then_some(h)
    }

    /// What the frame takes.
    pub fn size(&self) -> usize {
        size(self.len as usize)
    }

    /// The frame's body in bytes that begin with its head, if it is whole.
    pub fn body<'b>(&self, b: &'b [u8], id: u64) -> Option<&'b [u8]> {
        let body = b.get(HEAD..HEAD + self.len as usize)?;
        (sum(id, body) == self.body).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_one_only_in_its_place_and_unchanged() {
        let home = Home { id: 7, segment: 3 };
        let h = Head { body: sum(7, b"abc"), len: 3, generation: 1, lsn: 5, seq: 9, durable: 4, count: 2, kind: ENTRY };
        let mut b = h.bytes(home, 64).to_vec();
        b.extend_from_slice(b"abc\0\0\0\0\0");
        assert_eq!(Head::read(&b, home, 64), Some(h));
        assert_eq!((h.body(&b, 7), h.size()), (Some(&b"abc"[..]), 64));
        for (id, segment, offset) in [(7, 3, 72), (7, 4, 64), (8, 3, 64)] {
            assert_eq!(Head::read(&b, Home { id, segment }, offset), None);
        }
        for bit in 0..(HEAD + 3) * 8 {
            let mut c = b.clone();
            c[bit / 8] ^= 1 << (bit % 8);
            let read = Head::read(&c, home, 64).and_then(|h| h.body(&c, 7).map(|_| h));
            assert_eq!(read, None, "bit {bit}");
        }
        for n in 0..HEAD + 3 {
            assert!(Head::read(&b[..n], home, 64).and_then(|h| h.body(&b[..n], 7)).is_none());
        }
    }

    #[test]
    fn a_body_over_the_limit_is_refused_before_it_is_read() {
        let home = Home { id: 7, segment: 3 };
        let h = Head { body: 0, len: MAX_BODY as u32 + 1, generation: 1, lsn: 5, seq: 9, durable: 4, count: 2, kind: ENTRY };
        assert_eq!(Head::read(&h.bytes(home, 64), home, 64), None);
    }
}
