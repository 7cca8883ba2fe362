//! What every segment file begins with, and the file that holds the journal's identity beside them.

use crate::event::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a header.
pub(super) const HEADER: usize = 64;
/// The version that this program writes. A later one is refused.
pub(super) const VERSION: u32 = 1;
/// First bytes of a segment that is written to.
pub(super) const RAW: [u8; 8] = *b"vigild.j";
/// First bytes of a sealed segment.
pub(super) const SEALED: [u8; 8] = *b"vigild.z";
/// First bytes of the identity.
pub(super) const IDENTITY: [u8; 8] = *b"vigild.i";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The journal's seed.
    pub seed: u64,
    /// Its first entry.
    pub lsn: u64,
    /// Its first record.
    pub seq: u64,
    /// The greatest time of all entries before it.
    pub before: Option<Timestamp>,
}

/// The journal's id: what its frames are bound to.
pub(super) fn id(seed: u64) -> u64 {
    xxh3_64(&[&seed.to_le_bytes()[..], b"journal"].concat())
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not there, or not whole.
    Bad,
    /// It is of a later version.
    Version(u32),
}

impl Header {
    /// Magic (8 bytes), version (4), whether there is a time (4), time (8), seed (8), lsn (8), seq (8), zeros (8), checksum (8).
    pub fn bytes(&self, magic: [u8; 8]) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        b[..8].copy_from_slice(&magic);
        b[8..12].copy_from_slice(&VERSION.to_le_bytes());
        b[12..16].copy_from_slice(&u32::from(self.before.is_some()).to_le_bytes());
        b[16..24].copy_from_slice(&self.before.map_or(0, |t| t.0).to_le_bytes());
        b[24..32].copy_from_slice(&self.seed.to_le_bytes());
        b[32..40].copy_from_slice(&self.lsn.to_le_bytes());
        b[40..48].copy_from_slice(&self.seq.to_le_bytes());
        let sum = xxh3_64(&b[..56]);
        b[56..].copy_from_slice(&sum.to_le_bytes());
        b
    }

    /// Reads the header that bytes begin with. Its checksum stands in the same place in all versions.
    pub fn read(b: &[u8], magic: [u8; 8]) -> Result<Header, Unread> {
        let b: &[u8; HEADER] = b.get(..HEADER).and_then(|b| b.try_into().ok()).ok_or(Unread::Bad)?;
        let word = |at: usize| -> u64 { b[at..at + 8].iter().rev().fold(0, |n, c| n << 8 | u64::from(*c)) };
        if b[..8] != magic || word(56) != xxh3_64(&b[..56]) {
            return Err(Unread::Bad);
        }
        let version = word(8) as u32;
        if version > VERSION {
            return Err(Unread::Version(version));
        }
        let before = (word(8) >> 32 != 0).then_some(Timestamp(word(16) as i64));
        Ok(Header { seed: word(24), lsn: word(32), seq: word(40), before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_a_changed_one_is_not() {
        for before in [None, Some(Timestamp(-5)), Some(Timestamp(0))] {
            let h = Header { seed: 1, lsn: 2, seq: 3, before };
            let b = h.bytes(RAW);
            assert_eq!(Header::read(&b, RAW), Ok(h));
            assert_eq!(Header::read(&b, SEALED), Err(Unread::Bad));
            for bit in 0..HEADER * 8 {
                let mut c = b;
                c[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Header::read(&c, RAW), Err(Unread::Bad), "bit {bit}");
            }
            assert_eq!(Header::read(&b[..63], RAW), Err(Unread::Bad));
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut b = Header { seed: 1, lsn: 2, seq: 3, before: None }.bytes(RAW);
        b[8] = 9;
        let sum = xxh3_64(&b[..56]);
        b[56..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::read(&b, RAW), Err(Unread::Version(9)));
    }
}
