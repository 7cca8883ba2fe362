//! Positions in files that are not open: what the journal knew at the start, and what has been read since.

use super::head::fits;
use super::rotated;
use crate::journal::FilePosition;
use std::path::Path;

/// Device and inode.
pub type Inode = (u64, u64);

/// In a compressed file that has been read to its end: all of it.
pub const ALL: u64 = u64::MAX;

/// A position, and what is known about it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The position.
    pub position: FilePosition,
    /// Whether the file was read to its end since this process began: compressed or copied, it holds nothing else.
    pub ended: bool,
}

/// Positions, a limited number of them: the oldest go first.
pub struct Past {
    all: Vec<Place>,
    max: usize,
}

impl Past {
    /// What the journal knew.
    pub fn new(known: &[FilePosition], max: usize) -> Past {
        let mut past = Past { all: Vec::new(), max };
        for p in known {
            past.push(p.clone(), false);
        }
        past
    }

    /// Adds a position, in place of one of the same file.
    pub fn push(&mut self, position: FilePosition, ended: bool) {
        self.all.retain(|o| (&o.position.source, o.position.inode, o.position.head) != (&position.source, position.inode, position.head));
        if self.all.len() >= self.max {
            self.all.remove(0);
        }
        self.all.push(Place { position, ended });
    }

    /// Whether a source has any.
    pub fn has(&self, source: &str) -> bool {
        self.all.iter().any(|p| &*p.position.source == source)
    }

    /// Whether a source has one of a file that was read under a path.
    pub fn has_path(&self, source: &str, path: &str) -> bool {
        self.all.iter().any(|p| &*p.position.source == source && &*p.position.path == path)
    }

    /// The paths under which a source has read files.
    pub fn paths<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a str> {
        self.all.iter().filter(move |p| &*p.position.source == source).map(|p| &*p.position.path)
    }

    /// The position of the very file: the same inode and beginning, and not shorter than what was read (`len` is `None` of
    /// a compressed one). A position in an empty file says nothing: the inode may have been given away.
    pub fn same_file(&self, source: &str, inode: Inode, head: &[u8], len: Option<u64>) -> Option<Place> {
        self.best(source, |p| p.inode == inode && p.head_len > 0 && fits(head, p) && len.is_none_or(|l| l >= p.offset))
    }

    /// The position of a file that had the same beginning and, but for what rotation adds to it, the same name.
    ///
    /// Under a name that rotation gave, a file that is shorter than what was read is an older copy. One that bears the
    /// original name is a new file in that case, and always where the other has been read to its end before our eyes.
    pub fn same_content(&self, source: &str, path: &Path, head: &[u8], len: Option<u64>) -> Option<Place> {
        let base = rotated::base(path);
        let is_rotated = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n != base);
        let mut all: Vec<&Place> = self.of(source).filter(|p| p.position.head_len > 0 && fits(head, &p.position)).collect();
        all.retain(|p| rotated::base(Path::new(&*p.position.path)) == base);
        all.retain(|p| is_rotated || !p.ended && len.is_none_or(|l| l >= p.position.offset));
        all.into_iter().max_by_key(|p| (p.position.offset, p.position.skip)).cloned()
    }

    fn of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Place> {
        self.all.iter().filter(move |p| &*p.position.source == source)
    }

    fn best(&self, source: &str, fit: impl Fn(&FilePosition) -> bool) -> Option<Place> {
        self.of(source).filter(|p| fit(&p.position)).max_by_key(|p| (p.position.offset, p.position.skip)).cloned()
    }

    /// Forgets what a position in a file of this beginning makes out of date: those of the same name and beginning that are
    /// not further.
    pub fn supersede(&mut self, path: &Path, head: &[u8], by: &FilePosition) {
        let base = rotated::base(path);
        self.all.retain(|Place { position: p, .. }| {
            let same = p.source == by.source && p.head_len > 0 && rotated::base(Path::new(&*p.path)) == base && fits(head, p);
            !same || (p.offset, p.skip) > (by.offset, by.skip)
        });
    }

    /// Forgets a position, since its file is open.
    pub fn remove(&mut self, position: &FilePosition) {
        self.all.retain(|p| p.position != *position);
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::hash;
    use super::*;

    fn position(path: &str, inode: u64, head: &[u8], offset: u64) -> FilePosition {
        FilePosition { source: "s".into(), path: path.into(), inode: (1, inode), head_len: head.len() as u32, head: hash(head), offset, skip: 0 }
    }

    #[test]
    fn a_file_is_known_by_its_inode_and_beginning_or_by_name_and_beginning() {
        let past = Past::new(&[position("/l/a.log", 7, b"first", 100), position("/l/b.log", 8, b"first", 50)], 9);
        let same = |inode, head: &[u8], len| past.same_file("s", (1, inode), head, len).map(|p| p.position.offset);
        assert_eq!(same(7, b"first line", Some(100)), Some(100));
        assert_eq!(same(7, b"first line", Some(99)), None, "it has been emptied");
        assert_eq!(same(7, b"other line", Some(100)), None, "the inode has been given to another file");
        assert_eq!(same(7, b"fir", Some(100)), None);
        assert_eq!(same(9, b"first line", Some(100)), None);
        let empty = Past::new(&[position("/l/a.log", 7, b"", 0)], 9);
        assert!(empty.same_file("s", (1, 7), b"first line", Some(100)).is_none() && empty.has("s"));
        assert_eq!(past.same_file("t", (1, 7), b"first line", None).map(|p| p.position.offset), None, "another source's");
        let content = |path: &str, len| past.same_content("s", Path::new(path), b"first line", len).map(|p| p.position.offset);
        for (path, len, want) in [
            ("/l/a.log.1", Some(100), Some(100)),
            ("/old/a.log-20261124.gz", None, Some(100)),
            ("/l/a.log.1", Some(60), Some(100)),
            ("/l/a.log", Some(100), Some(100)),
            ("/l/a.log", Some(60), None),
            ("/l/b.log.2", Some(60), Some(50)),
            ("/l/c.log", Some(100), None),
        ] {
            assert_eq!(content(path, len), want, "{path} of {len:?}");
        }
    }

    #[test]
    fn a_file_that_comes_again_under_its_name_is_a_new_one() {
        let mut past = Past::new(&[], 9);
        past.push(position("/l/a.log", 7, b"first", 100), true);
        assert!(past.same_content("s", Path::new("/l/a.log"), b"first line", Some(100)).is_none());
        assert!(past.same_content("s", Path::new("/l/a.log.1"), b"first line", Some(100)).is_some());
    }

    #[test]
    fn the_oldest_positions_go_first() {
        let mut past = Past::new(&[], 2);
        for n in 0..3 {
            past.push(position(&format!("/l/{n}"), n, b"x", 1), false);
        }
        past.push(position("/l/2", 2, b"x", 5), false);
        assert_eq!(past.paths("s").collect::<Vec<_>>(), ["/l/1", "/l/2"]);
    }
}
