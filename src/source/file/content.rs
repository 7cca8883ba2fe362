//! The bytes of a file, as they stand or decompressed as they are read.

use super::head::HEAD;
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decompressed at once to come to where reading goes on.
const LEAP: u64 = 4 << 20;
/// The window of a zstd frame is 2 to the power of so much at most: 32 MiB of memory.
const WINDOW_LOG: u32 = 25;

/// How a file is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Plain,
    /// gzip, of one or several members.
    Gzip,
    /// zstd, of one or several frames.
    Zstd,
}

/// Opens a regular file to read; never waits, whatever stands under the name.
pub fn open(path: &Path) -> io::Result<(Arc<File>, Metadata)> {
    // A FIFO that has taken the file's place would else be waited for.
    let f = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let m = f.metadata()?;
    if !m.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((Arc::new(f), m))
}

/// Reads what there is at a place, up to the length of the buffer.
pub fn read_full_at(f: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match f.read_at(&mut buffer[n..], at + n as u64) {
            Ok(0) => break,
            Ok(m) => n += m,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// A file that is read from a place on, whoever else reads it; counts how far it is.
struct At {
    file: Arc<File>,
    at: Arc<AtomicU64>,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at.load(Ordering::Relaxed))?;
        self.at.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

type Decoder = Box<dyn Read + Send>;

/// The bytes of one file.
pub struct Content {
    /// The file.
    pub file: Arc<File>,
    /// How it is compressed.
    pub packing: Packing,
    /// What decompresses it, and how far it has come.
    decoder: Option<(Decoder, u64)>,
    /// How much of the compressed bytes has been read.
    packed: Arc<AtomicU64>,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// So many bytes; 0 at the end.
    Bytes(usize),
    /// None yet: what stands before them is being decompressed.
    Later,
}

impl Content {
    /// The bytes of a file.
    pub fn new(file: Arc<File>) -> io::Result<Content> {
        let mut magic = [0; 4];
        let n = read_full_at(&file, &mut magic, 0)?;
        let packing = match &magic[..n] {
            [0x1f, 0x8b, 8, _] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Packing::Zstd,
            _ => Packing::Plain,
        };
        Ok(Content { file, packing, decoder: None, packed: Arc::default() })
    }

    /// How the content begins: its first bytes, up to the length of the buffer. Of a damaged file, what can be had.
    pub fn begin(&self, buffer: &mut [u8]) -> usize {
        if self.packing == Packing::Plain {
            return read_full_at(&self.file, buffer, 0).unwrap_or(0);
        }
        let Ok(mut d) = self.decode(Arc::default()) else { return 0 };
        let mut n = 0;
        while n < buffer.len() {
            match d.read(&mut buffer[n..]) {
                Ok(m) if m > 0 => n += m,
                _ => break,
            }
        }
        n
    }

    /// Its first bytes, [`HEAD`] at most.
    pub fn head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        let n = self.begin(&mut head);
        head.truncate(n);
        head
    }

    /// Reads at an offset of the content.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<Got> {
        if self.packing == Packing::Plain {
            return self.file.read_at(buffer, offset).map(Got::Bytes);
        }
        let (decoder, at) = match &mut self.decoder {
            Some((d, at)) if *at <= offset => (d, at),
            _ => {
                self.packed = Arc::default();
                let d = self.decode(self.packed.clone())?;
                let (d, at) = self.decoder.insert((d, 0));
                (d, at)
            }
        };
        let mut leap = LEAP;
        while *at < offset {
            let n = ((offset - *at).min(buffer.len() as u64)) as usize;
            match decoder.read(&mut buffer[..n])? {
                0 => return Ok(Got::Bytes(0)),
                n => *at += n as u64,
            }
            leap = leap.saturating_sub(n as u64);
            if leap == 0 {
                return Ok(Got::Later);
            }
        }
        let n = decoder.read(buffer)?;
        *at += n as u64;
        Ok(Got::Bytes(n))
    }

    /// Forgets how far it has come: a damaged file has changed, or has ended.
    pub fn reset(&mut self) {
        self.decoder = None;
    }

    /// Compressed bytes that have not been read, of so many.
    pub fn packed_rest(&self, size: u64) -> u64 {
        size.saturating_sub(self.packed.load(Ordering::Relaxed))
    }

    /// Whether a compressed file surely holds no more than so many bytes of content, as far as its last bytes tell.
    pub fn ends_at(&self, offset: u64, size: u64) -> bool {
        // A gzip member ends with its length; that of the last of several is less than the whole.
        let mut n = [0; 4];
        self.packing == Packing::Gzip
            && size > 18
            && read_full_at(&self.file, &mut n, size - 4).is_ok_and(|m| m == 4)
            && u32::from_le_bytes(n) == offset as u32
    }

    fn decode(&self, at: Arc<AtomicU64>) -> io::Result<Decoder> {
        let from = At { file: self.file.clone(), at };
        Ok(match self.packing {
            Packing::Plain => Box::new(from),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
            Packing::Zstd => {
                let mut d = zstd::stream::read::Decoder::new(from)?;
                d.window_log_max(WINDOW_LOG)?;
                Box::new(d)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(bytes).and_then(|()| e.finish()).expect("in memory")
    }

    fn all(c: &mut Content, mut offset: u64) -> io::Result<Vec<u8>> {
        let (mut out, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match c.read(offset, &mut buffer)? {
                Got::Bytes(0) => return Ok(out),
                Got::Bytes(n) => {
                    out.extend_from_slice(&buffer[..n]);
                    offset += n as u64;
                }
                Got::Later => {}
            }
        }
    }

    #[test]
    fn compressed_files_are_read_from_any_offset_of_their_content() {
        let dir = tempfile::tempdir().expect("a folder");
        let text: Vec<u8> = (0..900_000u32).flat_map(|i| (i % 251).to_le_bytes()).collect();
        let (a, b) = text.split_at(1_000_000);
        let file = dir.path().join("x");
        for (bytes, packing) in [
            (text.clone(), Packing::Plain),
            (gzip(&text), Packing::Gzip),
            ([gzip(a), gzip(b)].concat(), Packing::Gzip),
            (zstd::encode_all(&*text, 3).expect("in memory"), Packing::Zstd),
            ([zstd::encode_all(a, 3).expect("in memory"), zstd::encode_all(b, 3).expect("in memory")].concat(), Packing::Zstd),
        ] {
            std::fs::write(&file, &bytes).expect("written");
            let (f, m) = open(&file).expect("opened");
            let mut c = Content::new(f).expect("read");
            assert_eq!((c.packing, c.head()), (packing, text[..HEAD].to_vec()));
            for offset in [0, 1, 1_000_001, 0, text.len() - 1, text.len(), text.len() + 5] {
                assert!(all(&mut c, offset as u64).expect("read") == text[offset.min(text.len())..], "{packing:?} from {offset}");
            }
            let ends = c.ends_at(text.len() as u64, m.len());
            assert!(!c.ends_at(b.len() as u64 + 1, m.len()) && ends == (packing == Packing::Gzip && bytes.len() == gzip(&text).len()));
            if packing != Packing::Plain {
                std::fs::write(&file, &bytes[..bytes.len() - 5]).expect("written");
                let mut c = Content::new(open(&file).expect("opened").0).expect("read");
                assert!(all(&mut c, 0).is_err(), "a part of a file is not taken for the whole");
            }
        }
        assert!(open(dir.path()).is_err());
    }
}
