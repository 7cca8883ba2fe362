//! Files copied into a new place, hashed on the way and durable at the end.

use crate::store::GoOn;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Length, and checksum in hexadecimal.
pub(super) type Sum = (u64, String);

/// So many bytes are copied between two looks.
const PIECE: usize = 1 << 20;

/// A new folder, open to its owner alone; it is no error if it is there.
pub(super) fn folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes what `from` gives to a new file, readable by its owner alone.
pub(super) fn write_new(to: &Path, from: &mut dyn Read, go_on: GoOn<'_>) -> io::Result<Sum> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let sum = through(from, &mut file, go_on)?;
    file.sync_all()?;
    Ok(sum)
}

/// The sum of what a file holds.
pub(super) fn sum(path: &Path, go_on: GoOn<'_>) -> io::Result<Sum> {
    through(&mut File::open(path)?, &mut io::sink(), go_on)
}

/// Gives a file that nobody changes any more a second name, where that can be done; what it holds.
pub(super) fn link(from: &Path, to: &Path, go_on: GoOn<'_>) -> io::Result<Sum> {
    fs::hard_link(from, to)?;
    sum(to, go_on)
}

fn through(from: &mut dyn Read, to: &mut dyn Write, go_on: GoOn<'_>) -> io::Result<Sum> {
    let (mut piece, mut len, mut hash) = (vec![0; PIECE], 0, blake3::Hasher::new());
    loop {
        go_on()?;
        match from.read(&mut piece) {
            Ok(0) => return Ok((len, hash.finalize().to_hex().to_string())),
            Ok(n) => {
                to.write_all(&piece[..n])?;
                hash.update(&piece[..n]);
                len += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
