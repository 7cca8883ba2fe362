//! What OSSEC says about a changed file.

use super::{Names, unquote};
use crate::event::{Out, field as f};
use memchr::{memchr, memmem, memrchr};

/// A file before and after; texts as they stand, quotes taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct File<'a> {
    pub path: &'a [u8],
    pub kind: Option<Kind>,
    pub md5: [&'a [u8]; 2],
    pub sha1: [&'a [u8]; 2],
    pub sha256: [&'a [u8]; 2],
    pub size: [&'a [u8]; 2],
    pub mode: [&'a [u8]; 2],
    pub uid: [&'a [u8]; 2],
    pub gid: [&'a [u8]; 2],
    pub diff: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Change,
    Creation,
    Deletion,
}

impl<'a> File<'a> {
    /// Reads the text of a syscheck alert, adding what is not known yet. What stands behind `What changed:` is the
    /// file's own content and is not read.
    pub fn read(&mut self, text: &'a [u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let (line, next) = match memchr(b'\n', rest) {
                Some(i) => (&rest[..i], &rest[i + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            let line = line.trim_ascii_end();
            if line == b"What changed:" {
                self.diff = next.trim_ascii_end();
                return;
            }
            self.line(line);
            rest = next;
        }
    }

    fn line(&mut self, line: &'a [u8]) {
        let head = |p: &[u8]| line.strip_prefix(p);
        match line.first() {
            Some(b'I') => {
                if let Some(r) = head(b"Integrity checksum changed for: '") {
                    self.is(Kind::Change, memrchr(b'\'', r).map_or(r, |i| &r[..i]));
                }
            }
            Some(b'N') => {
                if let Some(r) = head(b"New file '") {
                    let end = memmem::rfind(r, b"' added to the file system").or_else(|| memrchr(b'\'', r)).unwrap_or(r.len());
                    self.is(Kind::Creation, &r[..end]);
                } else if let Some((after, which)) = head(b"New ").and_then(sum) {
                    put(&mut self.hash(which)[1], after);
                }
            }
            Some(b'F') => {
                if let Some(r) = head(b"File '") {
                    if let Some(i) = memmem::rfind(r, b"' was re-added") {
                        self.is(Kind::Creation, &r[..i]);
                    } else {
                        self.is(Kind::Deletion, &r[..memmem::rfind(r, b"' was deleted").unwrap_or(r.len())]);
                    }
                }
            }
            Some(b'O') => {
                if let Some(r) = head(b"Ownership was ") {
                    pair(&mut self.uid, r);
                } else if let Some((before, which)) = head(b"Old ").and_then(sum) {
                    put(&mut self.hash(which)[0], before);
                }
            }
            Some(b'G') => {
                if let Some(r) = head(b"Group ownership was ") {
                    pair(&mut self.gid, r);
                }
            }
            Some(b'S') => {
                if let Some(r) = head(b"Size changed from ") {
                    pair(&mut self.size, r);
                }
            }
            Some(b'P') => {
                if let Some(r) = head(b"Permissions changed from ") {
                    pair(&mut self.mode, r);
                }
            }
            _ => {}
        }
    }

    /// The first statement counts; a path that came with a field of its own stays.
    fn is(&mut self, kind: Kind, path: &'a [u8]) {
        if self.kind.is_none() {
            self.kind = Some(kind);
            put(&mut self.path, path);
        }
    }

    fn hash(&mut self, which: u8) -> &mut [&'a [u8]; 2] {
        match which {
            b'm' => &mut self.md5,
            b's' => &mut self.sha1,
            _ => &mut self.sha256,
        }
    }

    /// Writes the file and what has happened to it.
    pub fn write(&self, sid: &[u8], own: &Names, out: &mut Out<'_>) {
        let kind = match sid {
            b"550" | b"551" | b"552" => Some("change"),
            b"553" => Some("deletion"),
            b"554" => Some("creation"),
            _ => self.kind.map(|k| match k {
                Kind::Change => "change",
                Kind::Creation => "creation",
                Kind::Deletion => "deletion",
            }),
        };
        if let Some(k) = kind {
            out.word(f::EVENT_TYPE, k);
        }
        out.str(f::FILE_PATH, unglued(self.path));
        for (to, was, [before, after]) in [
            (f::FILE_HASH_MD5, f::OSSEC_SYSCHECK_MD5_BEFORE, self.md5),
            (f::FILE_HASH_SHA1, f::OSSEC_SYSCHECK_SHA1_BEFORE, self.sha1),
            (f::FILE_HASH_SHA256, f::OSSEC_SYSCHECK_SHA256_BEFORE, self.sha256),
        ] {
            out.str(to, after);
            out.str(was, before);
        }
        out.int_text(f::FILE_SIZE, self.size[1]);
        if let Some(m) = octal(self.mode[1]) {
            out.str(f::FILE_MODE, &m);
        }
        out.str(f::FILE_UID, self.uid[1]);
        out.str(f::FILE_GID, self.gid[1]);
        own.put("ossec.syscheck.size_before", self.size[0], out);
        if let Some(m) = octal(self.mode[0]) {
            own.put("ossec.syscheck.mode_before", &m, out);
        }
        own.put("ossec.syscheck.uid_before", self.uid[0], out);
        own.put("ossec.syscheck.gid_before", self.gid[0], out);
        own.put("ossec.syscheck.diff", self.diff, out);
    }
}

fn put<'a>(to: &mut &'a [u8], v: &'a [u8]) {
    if to.is_empty() {
        *to = v;
    }
}

/// `'a' to 'b'` or `'a', now it is 'b'`.
pub(super) fn pair<'a>(to: &mut [&'a [u8]; 2], b: &'a [u8]) {
    let cut = memmem::find(b, b"' to '").map(|i| (i, 6)).or_else(|| memmem::find(b, b"', now it is '").map(|i| (i, 14)));
    if let Some((i, n)) = cut
        && to[0].is_empty()
        && to[1].is_empty()
    {
        *to = [unquote(&b[..i]), unquote(&b[i + n..])];
    }
}

/// `md5sum is : 'x'`, `sha256sum was: 'x'` behind `New ` or `Old `: the hash, and which (`m`, `s`, `2`).
fn sum(b: &[u8]) -> Option<(&[u8], u8)> {
    let (rest, which) = match b {
        [b'm', b'd', b'5', r @ ..] => (r, b'm'),
        [b's', b'h', b'a', b'1', r @ ..] => (r, b's'),
        [b's', b'h', b'a', b'2', b'5', b'6', r @ ..] => (r, b'2'),
        _ => return None,
    };
    let rest = rest.strip_prefix(b"sum ")?;
    let rest = rest.strip_prefix(b"is").or_else(|| rest.strip_prefix(b"was"))?.trim_ascii_start();
    let v = unquote(rest.strip_prefix(b":")?);
    (!v.is_empty() && v.iter().all(u8::is_ascii_hexdigit)).then_some((v, which))
}

/// OSSEC 4 glues the first line of a diff to the name of a new file (`ports1a2> tcp`): the name without it.
fn unglued(path: &[u8]) -> &[u8] {
    let Some(mark) = path.windows(2).position(|w| w == b"> " || w == b"< ") else { return path };
    let range = |end: usize| {
        let n = path[..end].iter().rev().take_while(|c| c.is_ascii_digit() || **c == b',').count();
        (n > 0).then(|| end - n)
    };
    let Some(to) = range(mark) else { return path };
    match to.checked_sub(1).map(|i| path[i]) {
        Some(b'a' | b'c' | b'd') => range(to - 1).filter(|&i| i > 0).map_or(path, |i| &path[..i]),
        _ => path,
    }
}

/// A mode as four octal digits, from `rw-r--r--` or from the decimal of `st_mode`.
fn octal(b: &[u8]) -> Option<[u8; 4]> {
    let mode = if b.len() == 9 && !b[0].is_ascii_digit() {
        let mut m = 0u32;
        for (i, &c) in b.iter().enumerate() {
            let bit = 0o400 >> i;
            let special = 0o4000 >> (i / 3);
            m |= match (i % 3, c) {
                (0, b'r') | (1, b'w') | (2, b'x') => bit,
                (2, b's' | b't') => bit | special,
                (2, b'S' | b'T') => special,
                (_, b'-') => 0,
                _ => return None,
            };
        }
        m
    } else {
        super::number(b)?
    };
    Some([9, 6, 3, 0].map(|s| b'0' + (mode >> s & 7) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(s: &str) -> File<'_> {
        let mut x = File::default();
        x.read(s.as_bytes());
        x
    }

    #[test]
    fn each_sentence_of_a_change() {
        let x = file(
            "Integrity checksum changed for: '/etc/app.conf'\nSize changed from '10' to '12'\nPermissions changed from 'rw-r--r--' to 'rw-rw-rw-'\n\
             Ownership was '0', now it is '33'\nGroup ownership was '0', now it is '34'\nOld md5sum was: 'aa'\nNew md5sum is : 'bb'\n\
             Old sha1sum was: 'cc'\nNew sha1sum is : 'dd'\nOld sha256sum was: 'ee'\nNew sha256sum is : 'ff'\n",
        );
        assert_eq!((x.path, x.kind), (&b"/etc/app.conf"[..], Some(Kind::Change)));
        let two = |a: &'static [u8], b: &'static [u8]| [a, b];
        assert_eq!([x.size, x.uid, x.gid, x.md5], [two(b"10", b"12"), two(b"0", b"33"), two(b"0", b"34"), two(b"aa", b"bb")]);
        assert_eq!([x.sha1, x.sha256, x.mode], [two(b"cc", b"dd"), two(b"ee", b"ff"), two(b"rw-r--r--", b"rw-rw-rw-")]);
    }

    #[test]
    fn names_that_hold_quotes_or_a_diff() {
        for (text, path, kind) in [
            ("New file '/srv/it's' added to the file system.", "/srv/it's", Kind::Creation),
            ("File '/srv/a' was deleted. Unable to retrieve checksum.", "/srv/a", Kind::Deletion),
            ("File '/srv/a' was re-added.", "/srv/a", Kind::Creation),
            ("Integrity checksum changed for: '/srv/o'neil'", "/srv/o'neil", Kind::Change),
            ("Integrity checksum changed for: '/srv/cut", "/srv/cut", Kind::Change),
        ] {
            let x = file(text);
            assert_eq!((x.path, x.kind), (path.as_bytes(), Some(kind)), "{text}");
        }
        for (glued, path) in [
            ("/etc/watched/ports1a2> tcp 192.0.2.1:4444", "/etc/watched/ports"),
            ("/etc/hosts12,14d11< x", "/etc/hosts"),
            ("/etc/hosts3c3< x", "/etc/hosts"),
            ("/srv/a> b", "/srv/a> b"),
            ("/srv/plain", "/srv/plain"),
            ("1a2> x", "1a2> x"),
        ] {
            assert_eq!(unglued(glued.as_bytes()), path.as_bytes(), "{glued}");
        }
    }

    #[test]
    fn what_the_file_itself_holds_is_no_statement_about_it() {
        let x = file("Integrity checksum changed for: '/etc/a'\nWhat changed:\n1a2\n> x\n\nNew md5sum is : 'bb'\n");
        assert_eq!((x.md5[1], x.diff), (&b""[..], &b"1a2\n> x\n\nNew md5sum is : 'bb'"[..]));
        assert_eq!(file("New file '/a' added to the file system.\nFile '/b' was deleted.").path, b"/a");
    }

    #[test]
    fn modes_in_both_spellings() {
        for (text, want) in [("rw-r--r--", "0644"), ("rwsr-sr-t", "7755"), ("rwSrw-rwT", "5666"), ("33188", "0644"), ("33206", "0666")] {
            assert_eq!(octal(text.as_bytes()).as_ref().map(|m| &m[..]), Some(want.as_bytes()), "{text}");
        }
        for text in ["", "rw-r--r-", "rw-r--r-?", "x", "0x1ff"] {
            assert_eq!(octal(text.as_bytes()), None, "{text}");
        }
    }
}
