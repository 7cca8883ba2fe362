//! Room on the disk that is kept for what must be written when there is none left.

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// Room that can be given back to the disk and taken again.
pub trait Reserve: Send + Sync {
    /// Takes the room. Errors: what the disk says; then nothing is held.
    fn fill(&self) -> io::Result<()>;
    /// Gives the room back.
    fn free(&self) -> io::Result<()>;
}

/// A file whose blocks are really allocated.
#[derive(Debug)]
pub struct ReserveFile {
    /// Where.
    pub path: PathBuf,
    /// How large.
    pub bytes: u64,
}

impl Reserve for ReserveFile {
    fn fill(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut f = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        let there = f.metadata()?;
        if there.len() == self.bytes && there.blocks() * 512 >= self.bytes {
            return Ok(());
        }
        let made = f.set_len(self.bytes).and_then(|()| allocate(&mut f, self.bytes)).and_then(|()| f.sync_all());
        if made.is_err() {
            drop(f);
            // Half a reserve holds room that nobody counts on.
            let _ = std::fs::remove_file(&self.path);
        }
        made
    }

    fn free(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Has the blocks of a file allocated; where the file system cannot, zeros are written.
fn allocate(f: &mut File, bytes: u64) -> io::Result<()> {
    match fallocate(&*f, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            let mut left = bytes;
            while left > 0 {
                let n = left.min(zeros.len() as u64);
                f.write_all(&zeros[..n as usize])?;
                left -= n;
            }
            Ok(())
        }
        r => Ok(r?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_really_taken_and_given_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let reserve = ReserveFile { path: dir.path().join("reserve"), bytes: 1 << 20 };
        for _ in 0..2 {
            reserve.fill().expect("room");
            let m = std::fs::metadata(&reserve.path).expect("there");
            assert_eq!((m.len(), m.mode() & 0o777), (1 << 20, 0o600));
            assert!(m.blocks() * 512 >= 1 << 20, "{} blocks", m.blocks());
        }
        // A file of the right length with nothing behind it is no reserve.
        File::create(&reserve.path).and_then(|f| f.set_len(1 << 20)).expect("sparse");
        reserve.fill().expect("room");
        assert!(std::fs::metadata(&reserve.path).expect("there").blocks() * 512 >= 1 << 20);
        reserve.free().expect("gone");
        reserve.free().expect("nothing to do");
        assert!(!reserve.path.exists());
    }
}
