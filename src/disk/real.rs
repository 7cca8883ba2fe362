//! The operating system's files.

use super::{Disk, DiskFile, Lock};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The file system of this machine. Files are made with mode 0600, folders with 0700.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl DiskFile for File {
    fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
        let mut n = 0;
        while n < to.len() {
            match FileExt::read_at(self, &mut to[n..], at + n as u64) {
                Ok(0) => break,
                Ok(k) => n += k,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// The lock goes with the file's last handle.
struct Held(#[allow(dead_code, reason = "held, not read")] File);

impl Lock for Held {}

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(dir)?.map(|e| Ok(e?.file_name().into_string().ok())).filter_map(io::Result::transpose).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            done => done,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let s = statvfs(dir)?;
        Ok(s.f_bavail.saturating_mul(s.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(Held(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_and_folders_are_their_owners_alone_and_a_name_is_taken_once() {
        let t = tempfile::tempdir().unwrap();
        let (dir, file) = (t.path().join("d"), t.path().join("d/f"));
        Real.create_dir(&dir).unwrap();
        Real.create_dir(&dir).unwrap();
        let f = Real.create(&file).unwrap();
        assert_eq!(Real.create(&file).err().map(|e| e.kind()), Some(io::ErrorKind::AlreadyExists));
        for (path, mode) in [(&dir, 0o700), (&file, 0o600)] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        f.write_all_at(b"abc", 2).unwrap();
        Real.remove(&file).unwrap();
        Real.sync_dir(&dir).unwrap();
        let mut b = [9; 8];
        assert_eq!((f.read_at(&mut b, 1).unwrap(), f.len().unwrap()), (4, 5));
        assert_eq!(&b[..4], b"\0abc");
        assert!(Real.free(&dir).unwrap() > 0);
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let t = tempfile::tempdir().unwrap();
        let path = t.path().join("lock");
        let held = Real.lock(&path).unwrap();
        assert_eq!(Real.lock(&path).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
        drop(held);
        assert!(Real.lock(&path).is_ok());
    }
}
