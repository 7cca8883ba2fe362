//! Stub until the framers are joined: lines only.
use crate::{event::Batch, parse::Format};
pub struct Framer(Vec<u8>, usize);
pub struct TcpFramer(Framer);
impl TcpFramer {
    pub fn new(max: usize) -> TcpFramer {
        TcpFramer(Framer::new(None, max))
    }
    pub fn feed(&mut self, bytes: &[u8], to: &mut Batch) {
        self.0.feed(bytes, to);
    }
    pub fn flush(&mut self, to: &mut Batch) {
        self.0.flush(to);
    }
}
impl Framer {
    pub fn new(_format: Option<Format>, max: usize) -> Framer {
        Framer(Vec::new(), max)
    }
    pub fn feed(&mut self, bytes: &[u8], to: &mut Batch) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            self.0.extend_from_slice(part);
            if self.0.ends_with(b"\n") {
                self.0.pop();
                self.flush(to);
            }
        }
    }
    pub fn idle(&mut self, _to: &mut Batch) {}
    pub fn is_open(&self) -> bool {
        !self.0.is_empty()
    }
    pub fn flush(&mut self, to: &mut Batch) {
        if !self.0.is_empty() {
            to.push(&self.0[..self.0.len().min(self.1)], self.0.len() > self.1);
            self.0.clear();
        }
    }
}
