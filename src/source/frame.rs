//! Cuts byte streams into records.
//!
//! - In: bytes in pieces of any size. Out: records in a [`Batch`], the same ones however the stream was cut into pieces and
//!   whatever the user calls its format.
//! - A record is a line, but for what spans several: OSSEC blocks, ModSecurity audit blocks, Fail2ban's continuation
//!   lines, datagrams with newlines that were written to a file, pretty-printed JSON, and the partial lines of the CRI.
//! - A record above the limit is cut there and marked; the rest of its line or block is read over.

use crate::event::Batch;
use crate::parse::{Format, cri_head};

/// The least limit for a record.
pub const MIN_RECORD: usize = 1 << 10;
/// The limit for a record where none is configured.
pub const MAX_RECORD: usize = 1 << 20;
/// So many ModSecurity blocks may be open at once; of more the oldest ends.
const BLOCKS: usize = 16;

/// Cuts a stream of one source.
pub struct Framer {
    max: usize,
    line: Line,
    open: Open,
    record: Growing,
    blocks: Vec<Block>,
    /// Whether the line before ended one of several open blocks: the blank line behind it belongs to none.
    block_ended: bool,
    spare: Vec<Vec<u8>>,
    partial: [Growing; 2],
    count: Count,
    /// Bytes fed so far.
    fed: u64,
    /// Where the line being taken, or the unfinished one, begins.
    line_at: u64,
    /// Where the oldest of what is open began, and how many records had been cut then; meaningless where nothing is open.
    opened: (u64, u64),
}

/// What a framer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Records cut.
    pub records: u64,
    /// Those of them that were longer than the limit.
    pub truncated: u64,
}

impl Count {
    pub(super) fn push(&mut self, record: &[u8], truncated: bool, batch: &mut Batch) {
        self.records += 1;
        self.truncated += truncated as u64;
        batch.push(record, truncated);
    }
}

/// The line that has begun and not ended yet.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    over: bool,
}

impl Line {
    fn extend(&mut self, b: &[u8], max: usize) {
        // One byte above the limit is enough to know that it is above.
        let room = (max + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&b[..b.len().min(room)]);
        self.over |= b.len() > room;
    }
}

/// A record that further lines may belong to.
#[derive(Default)]
struct Growing {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Growing {
    fn add(&mut self, newline: bool, l: &[u8], max: usize) {
        if self.truncated {
            return;
        }
        if newline {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(l);
        if self.bytes.len() > max {
            self.bytes.truncate(whole(&self.bytes, max));
            self.truncated = true;
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn end(&mut self, count: &mut Count, batch: &mut Batch) {
        let n = self.bytes.iter().rev().take_while(|c| is_blank(**c) || **c == b'\n').count();
        let n = self.bytes.len() - n;
        if n > 0 {
            count.push(&self.bytes[..n], self.truncated, batch);
        }
        self.bytes.clear();
        self.truncated = false;
    }
}

/// Which kind of record the open one is.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    None,
    /// Up to the next `** Alert `.
    Ossec,
    /// Up to the next line that begins a record.
    Fail2ban,
    /// Up to the next `<PRI>`; one of OSSEC may quote lines of other logs, any other ends at a line that begins a record.
    Datagram {
        ossec: bool,
    },
    /// Up to the bracket that closes it.
    Json(Nesting),
}

/// Where the lines of a JSON document stand: the kinds of the open brackets, from the lowest bit up.
#[derive(Clone, Copy, PartialEq)]
struct Nesting {
    kinds: u128,
    depth: u32,
    /// Whether a value is due: the last byte of the line before was a colon.
    value: bool,
}

impl Nesting {
    /// Takes a line; `None` where it cannot be a part of the document.
    fn line(mut self, l: &[u8]) -> Option<Nesting> {
        let l = l.trim_ascii();
        let first = *l.first()?;
        let object = self.depth > 0 && self.kinds >> (self.depth - 1) & 1 == 1;
        if self.depth > 0 {
            let fits = match first {
                b'"' | b'}' | b',' | b':' => true,
                b']' => !object,
                _ => (!object || self.value) && matches!(first, b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'),
            };
            if !fits {
                return None;
            }
        }
        let mut at = 0;
        while at < l.len() {
            match l[at] {
                b'"' => {
                    at += 1;
                    loop {
                        // No string of JSON holds a newline.
                        at += memchr::memchr2(b'"', b'\\', l.get(at..)?)?;
                        if l[at] == b'"' {
                            break;
                        }
                        at += 2;
                    }
                }
                c @ (b'{' | b'[') => {
                    if self.depth == 127 {
                        return None;
                    }
                    let bit = 1u128 << self.depth;
                    self.kinds = if c == b'{' { self.kinds | bit } else { self.kinds & !bit };
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.checked_sub(1)?,
                b' ' | b'\t' | b'\r' | b',' | b':' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'E' => {}
                b't' | b'r' | b'u' | b'e' | b'f' | b'a' | b'l' | b's' | b'n' => {}
                _ => return None,
            }
            at += 1;
        }
        self.value = l.last() == Some(&b':');
        Some(self)
    }
}

/// An audit block of ModSecurity that waits for its `Z`.
struct Block {
    /// What stands around the letter: `--1a2b3c4d-` and `--`, or with three dashes.
    key: Vec<u8>,
    /// The section that it is in.
    section: u8,
    record: Growing,
}

impl Framer {
    /// A framer for one stream. Records longer than `max_record` bytes (at least [`MIN_RECORD`]) are cut.
    ///
    /// The format's name changes nothing about where records begin and end.
    pub fn new(format: Option<Format>, max_record: usize) -> Framer {
        let _ = format;
        Framer {
            max: max_record.max(MIN_RECORD),
            line: Line::default(),
            open: Open::None,
            record: Growing::default(),
            blocks: Vec::new(),
            block_ended: false,
            spare: Vec::new(),
            partial: [Growing::default(), Growing::default()],
            count: Count::default(),
            fed: 0,
            line_at: 0,
            opened: (0, 0),
        }
    }

    /// Where a fresh framer would have to begin to go on with the same records: the offset from where this one began, and
    /// how many records of those it then cuts first have been cut already.
    ///
    /// It is the start of the unfinished line where nothing else is open, else the last place before it at which nothing was.
    pub fn resume(&self) -> (u64, u64) {
        if self.is_record_open() { (self.opened.0, self.count.records - self.opened.1) } else { (self.line_at, 0) }
    }

    /// Whether a record waits for lines that may belong to it.
    pub fn is_record_open(&self) -> bool {
        self.open != Open::None || !self.blocks.is_empty() || self.partial.iter().any(|p| !p.is_empty())
    }

    /// A record begins with this line that later ones may belong to.
    fn opens(&mut self) {
        if !self.is_record_open() {
            self.opened = (self.line_at, self.count.records);
        }
    }

    /// How many records it has cut.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Whether it holds back bytes that are not in a record yet.
    pub fn is_open(&self) -> bool {
        !self.line.bytes.is_empty() || self.is_record_open()
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8], batch: &mut Batch) {
        let mut rest = bytes;
        let mut at = self.fed;
        self.fed += bytes.len() as u64;
        if !self.line.bytes.is_empty() {
            let Some(n) = memchr::memchr(b'\n', rest) else {
                return self.line.extend(rest, self.max);
            };
            self.line.extend(&rest[..n], self.max);
            rest = &rest[n + 1..];
            self.pending(batch);
            at += n as u64 + 1;
            self.line_at = at;
        }
        let mut start = 0;
        for n in memchr::memchr_iter(b'\n', rest) {
            self.cut(&rest[start..n], false, batch);
            start = n + 1;
            self.line_at = at + start as u64;
        }
        self.line.extend(&rest[start..], self.max);
    }

    /// Ends everything that is open, the unfinished line too: the end of the input.
    pub fn flush(&mut self, batch: &mut Batch) {
        if !self.line.bytes.is_empty() {
            self.pending(batch);
        }
        self.line_at = self.fed;
        self.idle(batch);
    }

    /// Ends the open records and keeps the unfinished line: nothing has come for a while.
    pub fn idle(&mut self, batch: &mut Batch) {
        self.close(batch);
        while !self.blocks.is_empty() {
            self.end_block(0, batch);
        }
        for p in &mut self.partial {
            p.end(&mut self.count, batch);
        }
        // What comes next is framed as if it were the beginning.
        self.block_ended = false;
    }

    fn pending(&mut self, batch: &mut Batch) {
        let mut line = std::mem::take(&mut self.line);
        self.cut(&line.bytes, line.over, batch);
        line.bytes.clear();
        line.over = false;
        self.line = line;
    }

    /// Takes a line without its newline, cut at the limit.
    #[inline]
    fn cut(&mut self, l: &[u8], over: bool, batch: &mut Batch) {
        if over || l.len() > self.max {
            let n = whole(l, self.max);
            return self.take(&l[..n], true, batch);
        }
        let l = match l {
            [inner @ .., b'\r'] => inner,
            l => l,
        };
        // The common line: nothing is open, and nothing that opens anything begins with this byte.
        if self.open == Open::None
            && self.blocks.is_empty()
            && let [first, .., b'!'..=0xff] = l
            && !matches!(first, 0..=b' ' | b'*' | b'-' | b'<' | b'0'..=b'9' | 0xef)
        {
            return self.count.push(l, false, batch);
        }
        self.take(l, false, batch);
    }

    fn take(&mut self, l: &[u8], over: bool, batch: &mut Batch) {
        if !self.blocks.is_empty() {
            return self.in_blocks(l, over, batch);
        }
        match self.open {
            Open::Ossec if !(l.starts_with(ALERT) || self.record.bytes.ends_with(b"\n") && is_foreign(l)) => return self.grow(l, over),
            Open::Datagram { ossec: true } if !is_datagram(l) && !is_foreign(l) => return self.grow(l, over),
            Open::Datagram { ossec: false } if is_all_blank(l) || !begins(l) => return self.grow(l, over),
            Open::Fail2ban if is_all_blank(l) => return,
            Open::Fail2ban if !begins(l) => return self.grow(l, over),
            Open::Json(n) if is_all_blank(l) => return self.open = Open::Json(n),
            Open::Json(n) => {
                if let Some(n) = n.line(l).filter(|_| !over) {
                    self.grow(l, over);
                    self.open = Open::Json(n);
                    if n.depth == 0 {
                        self.close(batch);
                    }
                    return;
                }
            }
            _ => {}
        }
        self.close(batch);
        let l = strip(l);
        let Some(&first) = l.first() else { return };
        match first {
            b'*' if l.starts_with(ALERT) => self.start(Open::Ossec, l, over),
            b'<' if is_datagram(l) => {
                self.start(Open::Datagram { ossec: memchr::memmem::find(&l[..l.len().min(300)], b" ossec: ").is_some() }, l, over)
            }
            b'-' => match boundary(l) {
                Some((key, b'A')) => self.start_block(key, l),
                _ => self.count.push(l, over, batch),
            },
            b'{' | b'[' if l.trim_ascii_end().len() == 1 => {
                let kinds = (first == b'{') as u128;
                self.start(Open::Json(Nesting { kinds, depth: 1, value: false }), l, over);
            }
            b'0'..=b'9' if is_fail2ban(l) => self.start(Open::Fail2ban, l, over),
            b'0'..=b'9' => match cri_head(l) {
                Some((partial, n)) => self.cri(l, partial, n, over, batch),
                None => self.count.push(l, over, batch),
            },
            _ => self.count.push(l, over, batch),
        }
    }

    fn start(&mut self, open: Open, l: &[u8], over: bool) {
        self.opens();
        self.open = open;
        self.record.bytes.extend_from_slice(l);
        self.record.truncated = over;
    }

    fn grow(&mut self, l: &[u8], over: bool) {
        self.record.add(true, l, self.max);
        self.record.truncated |= over;
    }

    fn close(&mut self, batch: &mut Batch) {
        if self.open != Open::None {
            self.open = Open::None;
            self.record.end(&mut self.count, batch);
        }
    }

    fn start_block(&mut self, key: [&[u8]; 2], l: &[u8]) {
        self.opens();
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.extend_from_slice(l);
        self.blocks.push(Block { key: key.concat(), section: b'A', record: Growing { bytes, truncated: false } });
    }

    fn end_block(&mut self, i: usize, batch: &mut Batch) {
        let mut b = self.blocks.remove(i);
        b.record.end(&mut self.count, batch);
        self.spare.push(b.record.bytes);
    }

    /// Takes a line while audit blocks are open; the last one in the list is the one that is being written.
    fn in_blocks(&mut self, l: &[u8], over: bool, batch: &mut Batch) {
        if std::mem::take(&mut self.block_ended) && is_all_blank(l) {
            return;
        }
        if let Some((key, letter)) = boundary(l) {
            let of = |b: &Block| b.key.len() == key[0].len() + key[1].len() && b.key.starts_with(key[0]) && b.key.ends_with(key[1]);
            if let Some(i) = self.blocks.iter().position(of) {
                let mut b = self.blocks.remove(i);
                b.section = letter;
                b.record.add(true, l, self.max);
                self.blocks.push(b);
                if letter == b'Z' {
                    self.end_block(self.blocks.len() - 1, batch);
                    self.block_ended = !self.blocks.is_empty();
                }
                return;
            }
            // Within a body anything may stand, so a block that begins there is the client's invention.
            let body = self.blocks.last().is_some_and(|b| matches!(b.section, b'C' | b'E' | b'G' | b'I' | b'J'));
            if letter == b'A' && !body {
                // A block that has reached its limit has nothing to wait for.
                if let Some(i) = self.blocks.iter().position(|b| b.record.truncated) {
                    self.end_block(i, batch);
                } else if self.blocks.len() == BLOCKS {
                    self.end_block(0, batch);
                }
                return self.start_block(key, l);
            }
        }
        if let Some(b) = self.blocks.last_mut() {
            b.record.add(true, l, self.max);
            b.record.truncated |= over;
            if b.record.truncated {
                // Its end may never come, so that whatever looks like the next block is taken for it.
                b.section = b'Z';
            }
        }
    }

    fn cri(&mut self, l: &[u8], partial: bool, n: usize, over: bool, batch: &mut Batch) {
        let stderr = memchr::memmem::find(&l[..n], b" stderr ").is_some();
        if partial {
            self.opens();
        }
        let p = &mut self.partial[stderr as usize];
        if p.is_empty() {
            if !partial {
                return self.count.push(l, over, batch);
            }
            p.bytes.extend_from_slice(l);
            // The whole of it is no partial line any more.
            if let Some(flag) = memchr::memmem::find(&l[..n], b" P").map(|i| i + 1) {
                p.bytes[flag] = b'F';
            }
            p.truncated = over;
            return;
        }
        p.add(false, &l[n..], self.max);
        p.truncated |= over;
        if !partial {
            p.end(&mut self.count, batch);
        }
    }
}

const ALERT: &[u8] = b"** Alert ";

/// The last place at or before `max` where no character is split.
pub(super) fn whole(l: &[u8], max: usize) -> usize {
    let mut n = max.min(l.len());
    while n > max.saturating_sub(3) && n < l.len() && l[n] & 0xc0 == 0x80 {
        n -= 1;
    }
    n
}

fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | 0)
}

pub(super) fn is_all_blank(l: &[u8]) -> bool {
    l.iter().all(|c| is_blank(*c))
}

/// A line without NULs around it (a file that was not closed is padded with them), carriage returns, and the mark that
/// some editors put at the front of a file; nothing where only blanks are left.
fn strip(l: &[u8]) -> &[u8] {
    let l = l.strip_prefix(b"\xef\xbb\xbf").unwrap_or(l);
    if is_all_blank(l) {
        return &[];
    }
    let a = l.iter().take_while(|c| **c == 0).count();
    let z = l.iter().rev().take_while(|c| matches!(c, 0 | b'\r')).count();
    &l[a..l.len() - z]
}

/// Whether a line begins with `<PRI>`, as a datagram of syslog does; the number may be one that syslog does not know.
fn is_datagram(l: &[u8]) -> bool {
    let n = l.iter().skip(1).take(10).take_while(|c| c.is_ascii_digit()).count();
    l.first() == Some(&b'<') && n > 0 && l.get(n + 1) == Some(&b'>')
}

/// Reads a section mark of an audit block, `--1a2b3c4d-A--` or `---AbCdEf12---A--`: what stands around the letter, and it.
fn boundary(l: &[u8]) -> Option<([&[u8]; 2], u8)> {
    let l = match l {
        [inner @ .., b'\r'] => inner,
        l => l,
    };
    let dashes = if l.starts_with(b"---") { 3 } else { 2 };
    if !l.starts_with(b"--") || !matches!(l.len(), 14..=17) || !l.ends_with(b"--") {
        return None;
    }
    let id = l.get(dashes..dashes + 8)?;
    let (head, tail) = l.split_at(l.len() - 3);
    let letter = tail[0];
    let middle = head.get(dashes + 8..)?;
    (id.iter().all(u8::is_ascii_alphanumeric) && letter.is_ascii_uppercase() && matches!(middle, b"-" | b"---"))
        .then_some(([head, &tail[1..]], letter))
}

/// Whether a line is without doubt a record of another tool than OSSEC.
fn is_foreign(l: &[u8]) -> bool {
    l.starts_with(ALERT) || l.starts_with(b"{\"") && l.ends_with(b"}") || is_datagram(l) || is_fail2ban(l) || matches!(boundary(l), Some((_, b'A')))
}

/// Whether a line is the first of a record of fail2ban.log.
fn is_fail2ban(l: &[u8]) -> bool {
    l.len() > 33 && l[4] == b'-' && l[10] == b' ' && l[19] == b',' && l[23] == b' ' && l[24..].starts_with(b"fail2ban")
}

/// Whether a line begins a record of any format, so that it does not go on with the record before it.
fn begins(l: &[u8]) -> bool {
    let digits = |at: usize, n: usize| l.get(at..at + n).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    let Some(&first) = l.first() else { return false };
    match first {
        b'{' | b'<' => true,
        b'[' => l.trim_ascii_end().len() == 1 || memchr::memchr(b']', l).is_some_and(|n| n > 1 && l.get(n + 1) == Some(&b' ')),
        b'*' => l.starts_with(ALERT),
        b'-' => boundary(l).is_some(),
        b'0'..=b'9' => {
            let mark = |at: usize, c: u8| l.get(at) == Some(&c);
            // A date, a time of day, or the date of fast.log.
            digits(0, 4) && (mark(4, b'-') || mark(4, b'/')) && digits(5, 2)
                || digits(0, 2) && mark(2, b':') && digits(3, 2) && mark(5, b':') && digits(6, 2)
                || digits(0, 2) && mark(2, b'/') && digits(3, 2) && mark(5, b'/') && digits(6, 4)
        }
        b'A'..=b'Z' => {
            // A month and a day, or a weekday before them.
            let at = if matches!(l.get(..4), Some(b"Mon " | b"Tue " | b"Wed " | b"Thu " | b"Fri " | b"Sat " | b"Sun ")) { 4 } else { 0 };
            l.get(at..).is_some_and(|l| crate::event::time::month_day(l).is_some()) || l.starts_with(b"CEF:") || l.starts_with(b"LEEF:")
        }
        _ => {
            l.starts_with(b"type=")
                || l.starts_with(b"node=")
                || memchr::memmem::find(&l[..l.len().min(300)], b" fail2ban").is_some_and(|n| {
                    !l[..n].contains(&b' ') && l[n + 9..].iter().take(40).any(|c| *c == b'[') && memchr::memmem::find(&l[n..], b"]: ").is_some()
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(batch: &Batch) -> Vec<(String, bool)> {
        batch.records.iter().map(|r| (String::from_utf8_lossy(batch.record(*r)).into_owned(), r.truncated)).collect()
    }

    fn cut(input: &[u8], max: usize, piece: usize) -> Vec<(String, bool)> {
        let (mut f, mut batch) = (Framer::new(None, max), Batch::default());
        for b in input.chunks(piece) {
            f.feed(b, &mut batch);
        }
        f.flush(&mut batch);
        let all = records(&batch);
        assert_eq!(f.count().records, all.len() as u64);
        assert_eq!(f.count().truncated, all.iter().filter(|r| r.1).count() as u64);
        assert!(!f.is_open());
        all
    }

    #[track_caller]
    fn check(input: &str, want: &[&str]) {
        for piece in [1, 7, usize::MAX] {
            let got = cut(input.as_bytes(), MAX_RECORD, piece);
            assert_eq!(got.iter().map(|r| r.0.as_str()).collect::<Vec<_>>(), want, "in pieces of {piece}");
            assert!(got.iter().all(|r| !r.1));
        }
    }

    #[test]
    fn a_line_is_a_record() {
        check("", &[]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\r\n  \n\0\0\0\nb\r\n", &["a", "b"]);
        check("\0\0\0a b\0\0\n", &["a b"]);
        check("{\"a\":1}\n[1]\n12 x\n- y\n", &["{\"a\":1}", "[1]", "12 x", "- y"]);
        check("\u{feff}x\n", &["x"]);
    }

    #[test]
    fn an_ossec_block_ends_at_the_next_one() {
        let a = "** Alert 1.1: - ossec,\n2026 Nov 23 05:00:00 vm->syscheck\nRule: 554 (level 5) -> 'x'\nWhat changed:\n\n> b";
        let b = "** Alert 2.1: - sshd,\nNov 23 05:00:00 vm sshd[1]: x";
        check(&format!("{a}\n\n\n{b}\n\n"), &[a, b]);
        check(&format!("{a}\n\n{{\"event_type\":\"x\"}}\n"), &[a, "{\"event_type\":\"x\"}"]);
    }

    #[test]
    fn audit_blocks_are_told_apart_by_their_boundary() {
        let a = "--aaaaaaaa-A--\n[23/Nov/2026:05:00:00 +0000] x 192.0.2.1 1 192.0.2.2 80\n--aaaaaaaa-C--\n--bbbbbbbb-A--\nx\n\n--bbbbbbbb-Z--\n--aaaaaaaa-Z--";
        check(&format!("{a}\n\nnext\n"), &[a, "next"]);
        let b = |key: &str| format!("--{key}-A--\n{key}\n--{key}-B--\nGET / HTTP/1.1\n--{key}-Z--");
        check(
            "--aaaaaaaa-A--\naaaaaaaa\n--bbbbbbbb-A--\nbbbbbbbb\n--aaaaaaaa-B--\nGET / HTTP/1.1\n--bbbbbbbb-B--\nGET / HTTP/1.1\n--bbbbbbbb-Z--\n\n--aaaaaaaa-Z--\n",
            &[&b("bbbbbbbb").to_string(), &b("aaaaaaaa")],
        );
        let v3 = "---AbCdEf12---A--\nx\n---AbCdEf12---Z--";
        check(&format!("{v3}\n\n{v3}\n"), &[v3, v3]);
        check("--aaaaaaaa-A--\nno end\n", &["--aaaaaaaa-A--\nno end"]);
        check("--aaaaaaaa-B--\nx\n", &["--aaaaaaaa-B--", "x"]);
    }

    #[test]
    fn a_block_without_an_end_stops_at_its_limit() {
        let long = "x".repeat(600);
        let got = cut(format!("--aaaaaaaa-A--\n--aaaaaaaa-C--\n{long}\n{long}\n{long}\n--bbbbbbbb-A--\ny\n--bbbbbbbb-Z--\nz\n").as_bytes(), 1024, 64);
        assert_eq!(got.iter().map(|r| (r.0.len(), r.1)).collect::<Vec<_>>(), [(1024, true), (31, false), (1, false)]);
    }

    #[test]
    fn lines_without_a_header_go_on_with_the_fail2ban_record() {
        let a = "2026-11-23 05:00:00,001 fail2ban.action         [9]: ERROR   iptables -w -N f2b\niptables -w -A f2b -j RETURN\n  File \"x\"";
        let b = "2026-11-23 05:00:01,001 fail2ban.actions        [9]: NOTICE  [sshd] Ban 192.0.2.1";
        for next in [
            b,
            "Nov 23 05:00:00 vm x: y",
            "vm fail2ban[9]: [sshd] Ban 192.0.2.1",
            "[sshd] Ban 192.0.2.1",
            "{\"a\":1}",
            "<13>x",
            "Mon Nov 23 05:00:00 2026 -> x",
        ] {
            check(&format!("{a}\n{next}\n"), &[a, next]);
        }
    }

    #[test]
    fn datagrams_in_a_file_are_split_at_their_priority() {
        let a = "<132>Nov 23 05:00:00 vm ossec: Alert Level: 5; a\n\nNov 23 04:59:59 vm sshd[1]: b";
        let b = "<132>Nov 23 05:00:01 vm ossec: c";
        check(&format!("{a}\n{b}\n"), &[a, b]);
        check("<13>a\n{\"x\":1}\nNov 23 05:00:00 vm y\n", &["<13>a", "{\"x\":1}", "Nov 23 05:00:00 vm y"]);
        check("<13>a\n\tb\n\n<14>c\n", &["<13>a\n\tb", "<14>c"]);
    }

    #[test]
    fn pretty_json_is_one_record() {
        let a = "{\n  \"a\": [\n    1, \"}\\\"\",\n    { \"b\":\n    {} }\n  ]\n}";
        check(&format!("{a}\n{a}\nx\n"), &[a, a, "x"]);
        check("[\n{\"a\":1},\n{\"a\":2}\n]\n", &["[\n{\"a\":1},\n{\"a\":2}\n]"]);
        check("{\n{\"a\":1}\nx\n", &["{", "{\"a\":1}", "x"]);
        check("[\nnext line\n", &["[", "next line"]);
    }

    #[test]
    fn partial_lines_of_a_container_are_joined() {
        let t = "2026-11-23T05:00:00.123456789Z";
        check(
            &format!("{t} stdout P {{\"a\":\n{t} stderr F other\n{t} stdout P 1\n{t} stdout F }}\n{t} stdout F x\n"),
            &[&format!("{t} stderr F other"), &format!("{t} stdout F {{\"a\":1}}"), &format!("{t} stdout F x")],
        );
    }

    #[test]
    fn a_record_above_the_limit_is_cut_and_the_next_one_is_whole() {
        for piece in [1, 100, usize::MAX] {
            let long = format!("{}ü{}", "x".repeat(1023), "y".repeat(5000));
            assert_eq!(cut(format!("{long}\nnext\n").as_bytes(), 1024, piece), [("x".repeat(1023), true), ("next".into(), false)]);
            let exact = "x".repeat(1024);
            assert_eq!(cut(format!("{exact}\nnext\n").as_bytes(), 0, piece), [(exact, false), ("next".into(), false)]);
        }
    }

    #[test]
    fn a_pause_ends_the_record_and_not_the_line() {
        let (mut f, mut batch) = (Framer::new(None, MAX_RECORD), Batch::default());
        f.feed(b"** Alert 1.1: - x,\na\nb", &mut batch);
        f.idle(&mut batch);
        assert_eq!(records(&batch), [("** Alert 1.1: - x,\na".into(), false)]);
        f.feed(b"c\n", &mut batch);
        assert_eq!(records(&batch)[1], ("bc".into(), false));
    }

    fn lines() -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(
            prop::sample::select(vec![
                "** Alert 1.1: - x,",
                "--aaaaaaaa-A--",
                "--aaaaaaaa-C--",
                "--aaaaaaaa-Z--",
                "--bbbbbbbb-A--",
                "{",
                "}",
                "[",
                "{\"a\":1}",
                "",
                "<13>x",
                "2026-11-23 05:00:00,001 fail2ban.x [1]: y",
                "2026-11-23T05:00:00.123456789Z stdout P x",
                "2026-11-23T05:00:00.123456789Z stdout F x",
                "text",
                "2026-11-23T05:00:00.123456789Z stderr P y",
                "2026-11-23T05:00:00.123456789Z stderr F y",
                "--bbbbbbbb-Z--",
                "<13>a ossec: b",
                "\0\0",
                "\r",
                "ü\u{feff}",
                "a very long line a very long line a very long line a very long line a very long line a very long line a very long line ",
            ]),
            0..60,
        )
    }

    proptest! {
        #[test]
        fn pieces_do_not_show(lines in lines(), piece in 1usize..40) {
            let input = lines.join("\n");
            prop_assert_eq!(cut(input.as_bytes(), 1024, piece), cut(input.as_bytes(), 1024, usize::MAX));
        }

        #[test]
        fn a_fresh_framer_goes_on_where_another_was(lines in lines(), end in prop::sample::select(vec!["\n", ""]),
            pieces in prop::collection::vec((1usize..60, any::<bool>(), any::<bool>()), 1..80))
        {
            let input = lines.join("\n") + end;
            let input = input.as_bytes();
            // One that is never interrupted, and one that is replaced by a fresh one now and then; both are idle at the same places.
            let (mut whole, mut all) = (Framer::new(None, 1024), Batch::default());
            let (mut part, mut kept, mut base, mut skip) = (Framer::new(None, 1024), Batch::default(), 0, 0);
            let mut at = 0;
            let drop_skipped = |b: Batch, kept: &mut Batch, skip: &mut u64| {
                for r in &b.records {
                    match *skip {
                        0 => kept.push(b.record(*r), r.truncated),
                        _ => *skip -= 1,
                    }
                }
            };
            for (n, idle, interrupt) in pieces.into_iter().chain([(input.len(), false, true), (input.len(), false, false)]) {
                let piece = &input[at..(at + n).min(input.len())];
                at += piece.len();
                whole.feed(piece, &mut all);
                let mut b = Batch::default();
                part.feed(piece, &mut b);
                if idle {
                    whole.idle(&mut all);
                    part.idle(&mut b);
                }
                drop_skipped(b, &mut kept, &mut skip);
                if interrupt {
                    let (from, cut) = part.resume();
                    (base, skip, part) = (base + from as usize, cut, Framer::new(None, 1024));
                    prop_assert!(base <= at);
                    let mut b = Batch::default();
                    part.feed(&input[base..at], &mut b);
                    drop_skipped(b, &mut kept, &mut skip);
                    prop_assert_eq!(skip, 0);
                }
                prop_assert_eq!(records(&kept), records(&all));
            }
            whole.flush(&mut all);
            let mut b = Batch::default();
            part.flush(&mut b);
            drop_skipped(b, &mut kept, &mut skip);
            prop_assert_eq!(records(&kept), records(&all));
            prop_assert_eq!(part.resume(), ((input.len() - base) as u64, 0));
        }

        #[test]
        fn any_bytes_make_records(input in prop::collection::vec(any::<u8>(), 0..3000), piece in 1usize..40) {
            let all = cut(&input, 1024, piece);
            prop_assert_eq!(&all, &cut(&input, 1024, usize::MAX));
        }
    }
}
