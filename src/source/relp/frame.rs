//! Frames of RELP: `number SP command SP length [SP data] LF`.
//!
//! - In: bytes in pieces of any size. Out: the same frames however the bytes were cut into pieces.
//! - Bounds: a number and a length have at most nine digits, a command 32 letters. Of the data of `syslog` no more than a
//!   record may have is kept, the rest of the frame is read over; any other command has at most [`OFFERS`] bytes, and no
//!   frame more than [`FRAME`].
//! - Source: <https://www.rsyslog.com/doc/relp.html>, and what librelp 1.10 sends.

/// The data of a command that is not `syslog` is no longer.
pub const OFFERS: usize = 32 << 10;
/// No frame has more data.
pub const FRAME: usize = 64 << 20;
/// Nine digits, 32 letters, nine digits and three separators.
const HEAD: usize = 9 + 1 + 32 + 1 + 9 + 1;
/// Memory of longer data is given back behind the frame.
const KEEP: usize = 64 << 10;

/// A frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number, which the answer bears.
    pub number: u32,
    /// What it wants.
    pub command: Command,
    /// Its data, as much of it as is kept.
    pub data: &'a [u8],
    /// Whether there was more data than is kept.
    pub over: bool,
}

/// What a frame wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A session begins.
    Open,
    /// A record.
    Syslog,
    /// The session ends.
    Close,
    /// Something else.
    Unknown,
}

/// The bytes are no frame. What is known of the number goes into the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The number of the frame, as far as it was read.
    pub number: Option<u32>,
    /// What is wrong, for the other side.
    pub why: &'static str,
}

/// Cuts the bytes of one connection into frames.
pub struct Framer {
    max: usize,
    head: Vec<u8>,
    data: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// Number, command, and how much data is still to come.
    Data(u32, Command, usize),
    /// The newline behind the data.
    End(u32, Command),
    /// The frame has been handed out, and its data is there until the next one is asked for.
    Done,
}

impl Framer {
    /// Of the data of `syslog`, `max` bytes are kept.
    pub fn new(max: usize) -> Framer {
        Framer { max, head: Vec::new(), data: Vec::new(), state: State::Head }
    }

    /// The memory that it holds for a frame that is not whole yet.
    pub fn held(&self) -> usize {
        self.data.capacity()
    }

    /// Gives the next frame, and takes its bytes from the front of the input; `None` where the input ends before it does.
    /// After an error there is nothing more to be read.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'s>>, Malformed> {
        loop {
            match self.state {
                State::Done => {
                    if self.data.capacity() > KEEP {
                        self.data = Vec::new();
                    } else {
                        self.data.clear();
                    }
                    self.state = State::Head;
                }
                State::Head => {
                    let Some((&c, rest)) = input.split_first() else { return Ok(None) };
                    // The newline of an empty frame is read as the end of any other.
                    let spaces = self.head.iter().filter(|c| **c == b' ').count();
                    let ends = spaces == 2 && matches!(c, b' ' | b'\n');
                    if !ends {
                        self.put(c)?;
                        *input = rest;
                        continue;
                    }
                    if c == b' ' {
                        *input = rest;
                    }
                    let (number, command, length) = head(&self.head)?;
                    self.head.clear();
                    if c == b'\n' && length > 0 {
                        return Err(Malformed { number: Some(number), why: "the frame ends before its data" });
                    }
                    // The whole frame is there: its data is not copied.
                    if let Some(data) = input.get(..length)
                        && input.get(length) == Some(&b'\n')
                    {
                        *input = &input[length + 1..];
                        return Ok(Some(Frame { number, command, data: &data[..length.min(self.max)], over: length > self.max }));
                    }
                    self.state = State::Data(number, command, length);
                }
                State::Data(number, command, left) => {
                    if input.is_empty() && left > 0 {
                        return Ok(None);
                    }
                    let (now, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    // One byte above the limit is enough to know that it is above.
                    let room = (self.max + 1).saturating_sub(self.data.len());
                    self.data.extend_from_slice(&now[..now.len().min(room)]);
                    let left = left - now.len();
                    self.state = if left == 0 { State::End(number, command) } else { State::Data(number, command, left) };
                }
                State::End(number, command) => {
                    let Some((&c, rest)) = input.split_first() else { return Ok(None) };
                    if c != b'\n' {
                        return Err(Malformed { number: Some(number), why: "no newline behind the data" });
                    }
                    *input = rest;
                    self.state = State::Done;
                    let n = self.data.len().min(self.max);
                    return Ok(Some(Frame { number, command, data: &self.data[..n], over: self.data.len() > self.max }));
                }
            }
        }
    }

    /// Takes a byte of the head, if it can stand there.
    fn put(&mut self, c: u8) -> Result<(), Malformed> {
        let mut words = self.head.split(|c| *c == b' ');
        let (first, last) = (words.next().unwrap_or_default(), self.head.rsplit(|c| *c == b' ').next().unwrap_or_default());
        let word = self.head.iter().filter(|c| **c == b' ').count();
        let fits = match (word, c) {
            (_, b' ') => !last.is_empty(),
            (1, c) => c.is_ascii_alphanumeric() && last.len() < 32,
            (_, c) => c.is_ascii_digit() && last.len() < 9,
        };
        if !fits || self.head.len() >= HEAD {
            let number = if word > 0 { number(first) } else { None };
            return Err(Malformed { number, why: "no frame begins here" });
        }
        self.head.push(c);
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads a head without what ends it.
fn head(h: &[u8]) -> Result<(u32, Command, usize), Malformed> {
    let wrong = |number, why| Malformed { number, why };
    let mut words = h.split(|c| *c == b' ');
    let n = number(words.next().unwrap_or_default()).ok_or(wrong(None, "no number"))?;
    let command = match words.next() {
        Some(b"syslog") => Command::Syslog,
        Some(b"open") => Command::Open,
        Some(b"close") => Command::Close,
        _ => Command::Unknown,
    };
    let length = words.next().and_then(number).ok_or(wrong(Some(n), "no length"))? as usize;
    let most = if command == Command::Syslog { FRAME } else { OFFERS };
    if length > most { Err(wrong(Some(n), "the data is too long")) } else { Ok((n, command, length)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = Vec<(u32, Command, Vec<u8>, bool)>;

    /// All frames of an input that comes in pieces, and what is wrong behind them.
    fn read(input: &[u8], max: usize, pieces: impl IntoIterator<Item = usize>) -> (Read, Option<Malformed>) {
        let (mut f, mut got, mut at) = (Framer::new(max), Read::new(), 0usize);
        for n in pieces.into_iter().chain([usize::MAX]) {
            let mut piece = &input[at..input.len().min(at.saturating_add(n))];
            at += piece.len();
            loop {
                match f.next(&mut piece) {
                    Ok(Some(f)) => got.push((f.number, f.command, f.data.to_vec(), f.over)),
                    Ok(None) => break,
                    Err(e) => return (got, Some(e)),
                }
            }
            assert!(piece.is_empty(), "what is not taken would be lost");
            assert!(f.held() <= 2 * (max + 1).max(KEEP), "{}", f.held());
        }
        (got, None)
    }

    #[test]
    fn frames_are_read_as_librelp_writes_them() {
        let input = b"1 open 47 relp_version=0\nrelp_software=x\ncommands=syslog\n\n2 syslog 5 a\nb c\n3 syslog 0\n4 syslog 0 \n999999999 close 0\n7 other 1 x\n";
        let (got, wrong) = read(input, 100, []);
        assert_eq!(wrong, None);
        let got: Vec<(u32, Command, &[u8])> = got.iter().map(|f| (f.0, f.1, f.2.as_slice())).collect();
        assert_eq!(
            got,
            [
                (1, Command::Open, &b"relp_version=0\nrelp_software=x\ncommands=syslog\n"[..]),
                (2, Command::Syslog, b"a\nb c"),
                (3, Command::Syslog, b""),
                (4, Command::Syslog, b""),
                (999_999_999, Command::Close, b""),
                (7, Command::Unknown, b"x"),
            ]
        );
    }

    #[test]
    fn what_is_no_frame_is_told_with_its_number_where_there_is_one() {
        for (input, number) in [
            ("GET / HTTP/1.1\r\n", None),
            ("\n", None),
            (" 1 syslog 1 x\n", None),
            ("1\n", None),
            ("1234567890 syslog 1 x\n", None),
            ("1  1 x\n", Some(1)),
            ("1 sys-log 1 x\n", Some(1)),
            ("1 syslog\n", Some(1)),
            ("1 syslog  x\n", Some(1)),
            ("1 syslog -1 x\n", Some(1)),
            ("1 syslog 5\n", Some(1)),
            ("1 syslog 1 xx\n", Some(1)),
            ("1 syslog 999999999 x", Some(1)),
            ("1 open 32769 x", Some(1)),
            ("1 abcdefghijklmnopqrstuvwxyzabcdefghijk 1 x", Some(1)),
        ] {
            for piece in [1, usize::MAX] {
                let (got, wrong) = read(input.as_bytes(), 100, vec![piece; input.len()]);
                assert_eq!((got.len(), wrong.map(|w| w.number)), (0, Some(number)), "{input}");
            }
        }
    }

    #[test]
    fn data_above_the_limit_is_cut_and_the_next_frame_is_whole() {
        let input = [format!("1 syslog 5000 {}\n", "x".repeat(5000)), "2 syslog 100 ".into(), "y".repeat(100), "\n".into()].concat();
        for piece in [1, 7, 5020, usize::MAX] {
            let (got, wrong) = read(input.as_bytes(), 100, vec![piece; input.len()]);
            assert_eq!(wrong, None);
            assert_eq!(got.iter().map(|f| (f.2.len(), f.3)).collect::<Vec<_>>(), [(100, true), (100, false)]);
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_show(
            frames in prop::collection::vec((0u32..1_000_000_000, prop::sample::select(vec!["syslog", "open", "close", "x"]), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            pieces in prop::collection::vec(1usize..30, 0..100),
        ) {
            let mut input = Vec::new();
            for (n, command, data) in &frames {
                input.extend(format!("{n} {command} {} ", data.len()).bytes());
                input.extend(data);
                input.push(b'\n');
            }
            let (got, wrong) = read(&input, 20, pieces);
            prop_assert_eq!(wrong, None);
            prop_assert_eq!(got.len(), frames.len());
            for (g, f) in got.iter().zip(&frames) {
                prop_assert_eq!((g.0, &g.2[..], g.3), (f.0, &f.2[..f.2.len().min(20)], f.2.len() > 20));
            }
        }

        #[test]
        fn any_bytes_are_frames_or_an_error_wherever_they_are_cut(
            input in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"0129 \nsyslog".to_vec())], 0..400),
            pieces in prop::collection::vec(1usize..30, 0..50),
        ) {
            prop_assert_eq!(read(&input, 20, pieces), read(&input, 20, []));
        }
    }
}
