//! What a file is known by wherever it goes: how it begins.

use crate::journal::FilePosition;

/// So many of a file's first bytes are looked at.
pub const HEAD: usize = 1024;

/// The fingerprint of a beginning.
pub fn hash(head: &[u8]) -> [u8; 16] {
    let mut h = [0; 16];
    h.copy_from_slice(&blake3::hash(head).as_bytes()[..16]);
    h
}

/// Whether a file that begins with `head` may be the one with this position.
pub fn fits(head: &[u8], p: &FilePosition) -> bool {
    head.get(..p.head_len as usize).is_some_and(|h| hash(h) == p.head)
}
