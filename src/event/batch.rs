//! A batch of records: the unit that crosses threads.

use super::value::Stretch;

/// One record: where it stands in the batch, and what befell it on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its bytes, without the newline that ended it.
    pub span: Stretch,
    /// Whether it was longer than the limit and has been cut.
    pub truncated: bool,
}

/// Bytes and the records cut from them, all of one stream. Records are UTF-8: one that was not is kept as a copy in
/// which each invalid sequence is U+FFFD.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The bytes that records point into; below 4 GiB.
    pub bytes: Vec<u8>,
    /// The records in order.
    pub records: Vec<Record>,
}

impl Batch {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// Appends a record, copied.
    pub fn push(&mut self, record: &[u8], truncated: bool) {
        let off = self.bytes.len();
        match std::str::from_utf8(record) {
            Ok(_) => self.bytes.extend_from_slice(record),
            Err(_) => self.bytes.extend_from_slice(String::from_utf8_lossy(record).as_bytes()),
        }
        let len = self.bytes.len() - off;
        self.records.push(Record { span: Stretch { off: off as u32, len: len as u32 }, truncated });
    }

    /// The bytes of a record.
    #[inline]
    pub fn record(&self, r: Record) -> &[u8] {
        &self.bytes[r.span.off as usize..(r.span.off + r.span.len) as usize]
    }
}
