//! Cuts a TCP connection of syslog into records, as RFC 6587 has it: counted octets or lines, decided frame by frame.

use crate::event::Batch;
use crate::source::frame::{Count, MIN_RECORD, is_all_blank, whole};

/// Cuts a TCP connection of syslog: RFC 6587, octet counting or lines, decided frame by frame.
pub struct TcpFramer {
    max: usize,
    bytes: Vec<u8>,
    state: Frame,
    over: bool,
    count: Count,
}

#[derive(Clone, Copy, PartialEq)]
enum Frame {
    /// Between frames, or within a count.
    Start,
    /// So many bytes are still to come.
    Octets(usize),
    /// Up to the newline.
    Line,
}

/// So many digits a count has at most.
const COUNT_DIGITS: usize = 7;
/// Memory of a longer record is given back when it ends.
const KEEP: usize = 64 << 10;

impl TcpFramer {
    /// A framer for one connection. Records longer than `max_record` bytes (at least [`MIN_RECORD`]) are cut.
    pub fn new(max_record: usize) -> TcpFramer {
        TcpFramer { max: max_record.max(MIN_RECORD), bytes: Vec::new(), state: Frame::Start, over: false, count: Count::default() }
    }

    /// How many records it has cut.
    pub fn count(&self) -> Count {
        self.count
    }

    /// The memory that it holds for a record that is not whole yet.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Says that the open frame will not be read to its end: what there is of it is a record that was cut.
    pub fn give_up(&mut self) {
        self.over |= !self.bytes.is_empty();
    }

    /// Takes the next bytes of the connection.
    pub fn feed(&mut self, mut b: &[u8], batch: &mut Batch) {
        while !b.is_empty() {
            match self.state {
                Frame::Start => {
                    let c = b[0];
                    if self.bytes.is_empty() && matches!(c, b'\n' | b'\r' | 0) {
                        b = &b[1..];
                        continue;
                    }
                    // A count is digits, a blank and the `<` of the priority; a line may begin with a number too.
                    match (self.bytes.last(), c) {
                        (None, b'1'..=b'9') => {}
                        (Some(b'0'..=b'9'), b'0'..=b'9') if self.bytes.len() < COUNT_DIGITS => {}
                        (Some(b'0'..=b'9'), b' ') => {}
                        (Some(b' '), b'<') => {
                            let n = self.bytes.iter().take_while(|c| c.is_ascii_digit()).fold(0, |n, c| n * 10 + (c - b'0') as usize);
                            self.bytes.clear();
                            self.state = Frame::Octets(n);
                            continue;
                        }
                        _ => {
                            self.state = Frame::Line;
                            continue;
                        }
                    }
                    self.bytes.push(c);
                    b = &b[1..];
                }
                Frame::Octets(left) if left <= b.len() => {
                    self.end_with(&b[..left], batch);
                    b = &b[left..];
                }
                Frame::Octets(left) => {
                    self.extend(b);
                    self.state = Frame::Octets(left - b.len());
                    b = &[];
                }
                Frame::Line => match memchr::memchr(b'\n', b) {
                    Some(n) => {
                        self.end_with(&b[..n], batch);
                        b = &b[n + 1..];
                    }
                    None => {
                        self.extend(b);
                        b = &[];
                    }
                },
            }
        }
    }

    /// Ends the open frame: the connection has been closed. A counted one that is not whole is a record that was cut.
    pub fn flush(&mut self, batch: &mut Batch) {
        if matches!(self.state, Frame::Octets(_)) {
            self.give_up();
        }
        self.end(batch);
    }

    fn extend(&mut self, b: &[u8]) {
        let room = (self.max + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&b[..b.len().min(room)]);
        self.over |= b.len() > room || self.bytes.len() > self.max;
    }

    /// Ends the open frame with these bytes, which are not copied first where they are all of it.
    fn end_with(&mut self, b: &[u8], batch: &mut Batch) {
        if self.bytes.is_empty() && b.len() <= self.max {
            Self::push(b, false, &mut self.count, batch);
            self.state = Frame::Start;
        } else {
            self.extend(b);
            self.end(batch);
        }
    }

    fn end(&mut self, batch: &mut Batch) {
        let n = if self.bytes.len() > self.max { whole(&self.bytes, self.max) } else { self.bytes.len() };
        Self::push(&self.bytes[..n], self.over, &mut self.count, batch);
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
        self.over = false;
        self.state = Frame::Start;
    }

    fn push(l: &[u8], over: bool, count: &mut Count, batch: &mut Batch) {
        let z = l.iter().rev().take_while(|c| matches!(c, 0 | b'\r' | b'\n')).count();
        let l = &l[..l.len() - z];
        if !is_all_blank(l) {
            count.push(l, over, batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::frame::MAX_RECORD;
    use proptest::prelude::*;

    fn records(batch: &Batch) -> Vec<(String, bool)> {
        batch.records.iter().map(|r| (String::from_utf8_lossy(batch.record(*r)).into_owned(), r.truncated)).collect()
    }

    #[test]
    fn tcp_frames_are_counted_or_lines() {
        let input = b"5 <1>abx\n12 <13>long\nline\0<14>line\r\n2026 x\n9 <13>a\nb c9 <13>open";
        for piece in [1, 3, usize::MAX] {
            let (mut f, mut batch) = (TcpFramer::new(MAX_RECORD), Batch::default());
            for b in input.chunks(piece) {
                f.feed(b, &mut batch);
            }
            f.flush(&mut batch);
            let got = records(&batch);
            let got: Vec<&str> = got.iter().map(|r| r.0.as_str()).collect();
            assert_eq!(got, ["<1>ab", "x", "<13>long\nlin", "e\0<14>line", "2026 x", "<13>a\nb c", "<13>open"]);
        }
    }

    #[test]
    fn a_counted_frame_above_the_limit_is_cut() {
        let (mut f, mut batch) = (TcpFramer::new(1024), Batch::default());
        f.feed(format!("3000 <13>{}8 <13>next", "x".repeat(2996)).as_bytes(), &mut batch);
        assert_eq!(records(&batch).iter().map(|r| (r.0.len(), r.1)).collect::<Vec<_>>(), [(1024, true), (8, false)]);
    }

    #[test]
    fn a_counted_frame_that_is_not_whole_is_marked_and_a_last_line_is_not() {
        for (input, cut) in [(&b"20 <13>short"[..], true), (b"<13>short", false), (b"9 <13>short", false)] {
            let (mut f, mut batch) = (TcpFramer::new(1024), Batch::default());
            f.feed(input, &mut batch);
            f.flush(&mut batch);
            assert_eq!(records(&batch), [("<13>short".into(), cut)]);
        }
    }

    #[test]
    fn memory_of_a_long_record_is_given_back() {
        let (mut f, mut batch) = (TcpFramer::new(1 << 20), Batch::default());
        f.feed(&vec![b'x'; 3 << 20], &mut batch);
        assert!(f.held() > 1 << 20 && f.held() < 3 << 20, "{}", f.held());
        f.feed(b"\nnext\n", &mut batch);
        assert!(f.held() <= KEEP, "{}", f.held());
        assert_eq!(batch.records.len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_make_records_and_pieces_do_not_show(input in prop::collection::vec(any::<u8>(), 0..3000), piece in 1usize..40) {
            let cut = |piece: usize| {
                let (mut f, mut batch) = (TcpFramer::new(0), Batch::default());
                for b in input.chunks(piece) {
                    f.feed(b, &mut batch);
                }
                f.flush(&mut batch);
                records(&batch)
            };
            prop_assert_eq!(cut(piece), cut(usize::MAX));
        }
    }
}
