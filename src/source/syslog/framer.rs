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

impl TcpFramer {
    /// A framer for one connection. Records longer than `max_record` bytes (at least [`MIN_RECORD`]) are cut.
    pub fn new(max_record: usize) -> TcpFramer {
        TcpFramer { max: max_record.max(MIN_RECORD), bytes: Vec::new(), state: Frame::Start, over: false, count: Count::default() }
    }

    /// How many records it has cut.
    pub fn count(&self) -> Count {
        self.count
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
                Frame::Octets(left) => {
                    let n = left.min(b.len());
                    self.extend(&b[..n]);
                    b = &b[n..];
                    self.state = Frame::Octets(left - n);
                    if left == n {
                        self.end(batch);
                    }
                }
                Frame::Line => match memchr::memchr(b'\n', b) {
                    Some(n) => {
                        self.extend(&b[..n]);
                        b = &b[n + 1..];
                        self.end(batch);
                    }
                    None => {
                        self.extend(b);
                        b = &[];
                    }
                },
            }
        }
    }

    /// Ends the open frame: the connection has been closed.
    pub fn flush(&mut self, batch: &mut Batch) {
        self.end(batch);
    }

    fn extend(&mut self, b: &[u8]) {
        let room = (self.max + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&b[..b.len().min(room)]);
        self.over |= b.len() > room || self.bytes.len() > self.max;
    }

    fn end(&mut self, batch: &mut Batch) {
        let n = if self.over { whole(&self.bytes, self.max) } else { self.bytes.len() };
        let l = &self.bytes[..n];
        let z = l.iter().rev().take_while(|c| matches!(c, 0 | b'\r' | b'\n')).count();
        let l = &l[..l.len() - z];
        if !is_all_blank(l) {
            self.count.push(l, self.over, batch);
        }
        self.bytes.clear();
        self.over = false;
        self.state = Frame::Start;
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
