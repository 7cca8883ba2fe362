//! `Content-Encoding`: compressed bodies, decompressed as they come, up to a limit.

use std::io::{self, Write};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// RFC 8878 asks decoders for windows of 8 MiB; larger ones are refused.
const ZSTD_WINDOW_LOG: u32 = 23;
/// So many bytes are inflated at a time: what comes out of them, a thousand times as much at most, is taken before the next.
const PIECE: usize = 1 << 10;
/// So many bytes come out of zstd at a time.
const OUT: usize = 32 << 10;
/// What an inflater needs, its window included.
const INFLATER: usize = 64 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// gzip, one or more members.
    Gzip,
    /// zstd, one or more frames.
    Zstd,
}

impl Coding {
    /// What the values of a `Content-Encoding` header mean; `None` where it is another coding, or several on top of each other.
    pub fn named<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Option<Coding> {
        let mut found = Coding::Identity;
        for word in values.into_iter().flat_map(|v| v.split(|&b| b == b',')).map(<[u8]>::trim_ascii) {
            let coding = match word.to_ascii_lowercase().as_slice() {
                b"identity" | b"" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"zstd" => Coding::Zstd,
                _ => return None,
            };
            if found != Coding::Identity {
                return None;
            }
            found = coding;
        }
        Some(found)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Zstd => "zstd",
        }
    }
}

/// Why a body cannot be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// More bytes than the limit come out of it.
    TooLarge,
    /// It is not what it is said to be.
    Malformed(String),
}

/// Decompresses one body.
pub struct Decoder {
    kind: Kind,
    left: usize,
}

enum Kind {
    Identity,
    Gzip(Box<flate2::write::MultiGzDecoder<Room>>),
    Zstd { context: DCtx<'static>, ended: bool },
}

/// Takes what an inflater writes, while there is room.
struct Room {
    out: Vec<u8>,
    left: usize,
}

impl Write for Room {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        if b.len() > self.left {
            self.left = 0;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= b.len();
        self.out.extend_from_slice(b);
        Ok(b.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(e: &io::Error) -> Broken {
    if e.kind() == io::ErrorKind::StorageFull { Broken::TooLarge } else { Broken::Malformed(e.to_string()) }
}

impl Decoder {
    /// For a body of which no more than `most` bytes may come out.
    pub fn new(coding: Coding, most: usize) -> Decoder {
        let kind = match coding {
            Coding::Identity => Kind::Identity,
            Coding::Gzip => Kind::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Room { out: Vec::new(), left: most }))),
            Coding::Zstd => {
                let mut context = DCtx::create();
                // It is within the bounds of the library, which is all that could be wrong with it.
                let _ = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
                Kind::Zstd { context, ended: true }
            }
        };
        Decoder { kind, left: most }
    }

    /// Bytes that it holds, its window included.
    pub fn held(&self) -> usize {
        match &self.kind {
            Kind::Identity => 0,
            Kind::Gzip(d) => INFLATER + d.get_ref().out.capacity(),
            Kind::Zstd { context, .. } => context.sizeof(),
        }
    }

    /// Takes the next bytes of the body; what comes out of them goes to `to`.
    pub fn feed(&mut self, bytes: &[u8], to: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Identity => {
                self.left = self.left.checked_sub(bytes.len()).ok_or(Broken::TooLarge)?;
                to(bytes);
            }
            Kind::Gzip(d) => {
                for piece in bytes.chunks(PIECE) {
                    d.write_all(piece).map_err(|e| broken(&e))?;
                    to(&d.get_ref().out);
                    d.get_mut().out.clear();
                }
            }
            Kind::Zstd { context, ended } => {
                let mut input = InBuffer::around(bytes);
                let mut out = [0u8; OUT];
                loop {
                    let mut output = OutBuffer::around(&mut out[..]);
                    let hint = context.decompress_stream(&mut output, &mut input);
                    let hint = hint.map_err(|code| Broken::Malformed(zstd::zstd_safe::get_error_name(code).to_owned()))?;
                    let n = output.pos();
                    self.left = self.left.checked_sub(n).ok_or(Broken::TooLarge)?;
                    to(&out[..n]);
                    *ended = hint == 0;
                    // A full buffer may have more behind it.
                    if input.pos() == bytes.len() && n < out.len() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The body has ended.
    pub fn end(&mut self, to: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
        match &mut self.kind {
            Kind::Identity => Ok(()),
            Kind::Gzip(d) => {
                d.try_finish().map_err(|e| broken(&e))?;
                to(&d.get_ref().out);
                d.get_mut().out = Vec::new();
                Ok(())
            }
            Kind::Zstd { ended: true, .. } => Ok(()),
            Kind::Zstd { .. } => Err(Broken::Malformed("it ends within a frame".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(b: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(b).expect("memory");
        e.finish().expect("memory")
    }

    fn zstd(b: &[u8]) -> Vec<u8> {
        zstd::encode_all(b, 3).expect("memory")
    }

    /// What comes out, and the most that was held.
    fn decode(coding: Coding, body: &[u8], most: usize, piece: usize) -> Result<(Vec<u8>, usize), Broken> {
        let (mut d, mut out, mut held) = (Decoder::new(coding, most), Vec::new(), 0);
        for b in body.chunks(piece) {
            d.feed(b, &mut |b| out.extend_from_slice(b))?;
            held = held.max(d.held());
        }
        d.end(&mut |b| out.extend_from_slice(b))?;
        Ok((out, held))
    }

    #[test]
    fn a_body_comes_out_whole_however_it_arrives_and_no_larger_than_the_limit() {
        let text: Vec<u8> = (0..20_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let n = text.len();
        for (coding, body) in [(Coding::Identity, text.clone()), (Coding::Gzip, gzip(&text)), (Coding::Zstd, zstd(&text))] {
            for piece in [1, 1000, usize::MAX] {
                assert_eq!(decode(coding, &body, n, piece).map(|d| d.0).as_ref(), Ok(&text), "{coding:?} in pieces of {piece}");
                assert_eq!(decode(coding, &body, n - 1, piece), Err(Broken::TooLarge), "{coding:?} in pieces of {piece}");
            }
        }
        assert_eq!(decode(Coding::Gzip, &[gzip(b"a\n"), gzip(b"b\n")].concat(), 4, 3).map(|d| d.0), Ok(b"a\nb\n".to_vec()), "members");
        assert_eq!(decode(Coding::Zstd, &[zstd(b"a\n"), zstd(b"b\n")].concat(), 4, 3).map(|d| d.0), Ok(b"a\nb\n".to_vec()), "frames");
    }

    #[test]
    fn a_bomb_ends_at_the_limit_and_what_it_holds_is_known() {
        let zeros = vec![0; 64 << 20];
        assert_eq!(decode(Coding::Gzip, &gzip(&zeros), 1 << 20, usize::MAX), Err(Broken::TooLarge));
        assert_eq!(decode(Coding::Zstd, &zstd(&zeros), 1 << 20, usize::MAX), Err(Broken::TooLarge));
        let text: Vec<u8> = (0..1u32 << 20).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        let (out, held) = decode(Coding::Zstd, &zstd(&text), 8 << 20, 1000).expect("whole");
        assert!(out == text && (2 << 20..16 << 20).contains(&held), "{held}");
        let mut e = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("memory");
        e.window_log(24).expect("allowed");
        e.write_all(&text).expect("memory");
        let wide = e.finish().expect("memory");
        assert!(matches!(decode(Coding::Zstd, &wide, 8 << 20, 1000), Err(Broken::Malformed(_))), "a window of 16 MiB");
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            assert!(matches!(decode(coding, b"plain text", 100, 3), Err(Broken::Malformed(_))), "{coding:?}");
        }
        for cut in 1..12 {
            assert!(matches!(decode(Coding::Gzip, &gzip(b"cut short")[..cut], 100, 3), Err(Broken::Malformed(_))), "gzip after {cut}");
            assert!(matches!(decode(Coding::Zstd, &zstd(b"cut short")[..cut], 100, 3), Err(Broken::Malformed(_))), "zstd after {cut}");
        }
    }

    #[test]
    fn one_coding_is_read_and_two_are_not() {
        let check = |values: &[&str], want| assert_eq!(Coding::named(values.iter().map(|v| v.as_bytes())), want, "{values:?}");
        check(&[], Some(Coding::Identity));
        check(&["identity"], Some(Coding::Identity));
        check(&["GZip"], Some(Coding::Gzip));
        check(&["x-gzip, identity"], Some(Coding::Gzip));
        check(&["zstd"], Some(Coding::Zstd));
        check(&["gzip, zstd"], None);
        check(&["gzip", "gzip"], None);
        check(&["br"], None);
    }
}
