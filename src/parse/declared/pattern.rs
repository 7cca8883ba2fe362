//! Line patterns: literals, typed captures and optional parts, compiled to a small program. No regex.
//!
//! `{name:kind}` captures, `[…]` is optional, a backslash makes the next character literal. A pattern matches a whole
//! record. Where text that a stranger chose stands in the middle of a line, the kind `last` reaches as far to the right
//! as the rest of the pattern allows, so that what the tool wrote behind it is found and not what the stranger imitates.

use crate::event::{ip as value_ip, time};
use jiff::tz::TimeZone;
use memchr::memmem;

/// How a capture is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One or more bytes that are no blank.
    Word,
    /// Bytes that are no blank, perhaps none.
    Token,
    /// One or more bytes up to a blank or one of `()[]{},;:="`.
    Name,
    /// One or more bytes up to a blank or a slash.
    Part,
    /// Up to the nearest place where the rest fits.
    Text,
    /// Up to the only place where the literal behind it stands; where it stands twice, somebody imitates it.
    Once,
    /// Up to the farthest place where the rest fits.
    Last,
    /// Everything that is left.
    Rest,
    /// As `last`, and it takes the place of the record: for wrappers.
    Inner,
    /// Between double quotes, in which a backslash escapes; a cut line may lack the second.
    Quoted,
    /// An address.
    Ip,
    /// An address, or the name of a host.
    Peer,
    /// A whole number.
    Int,
    /// A number with an optional fraction.
    Float,
    /// A port.
    Port,
    /// A quoted request line of HTTP.
    Request,
    /// A request line of HTTP up to the nearest place where the rest fits.
    Line,
    /// A URL up to a blank, a comma or a quote.
    Url,
    /// One or more blanks.
    Blank,
    /// Nothing, at the end.
    End,
    /// A time.
    Time(Clock),
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// `2026-11-23T05:00:00Z`
    Iso,
    /// `Mon Nov 23 05:00:00 2026`
    Asctime,
    /// `23/Nov/2026:05:00:00 +0000`
    Clf,
    /// `Nov 23 05:00:00`
    Bsd,
    /// Seconds or finer since 1970.
    Epoch,
    /// `2026/11/23 05:00:00`
    Slashes,
    /// ISO or epoch, by its look.
    Any,
}

/// The names of the kinds, as patterns spell them.
pub(super) const KINDS: &[(&str, Kind)] = &[
    ("word", Kind::Word),
    ("token", Kind::Token),
    ("name", Kind::Name),
    ("part", Kind::Part),
    ("text", Kind::Text),
    ("once", Kind::Once),
    ("last", Kind::Last),
    ("rest", Kind::Rest),
    ("inner", Kind::Inner),
    ("quoted", Kind::Quoted),
    ("ip", Kind::Ip),
    ("peer", Kind::Peer),
    ("int", Kind::Int),
    ("float", Kind::Float),
    ("port", Kind::Port),
    ("request", Kind::Request),
    ("line", Kind::Line),
    ("url", Kind::Url),
    ("blank", Kind::Blank),
    ("end", Kind::End),
    ("iso", Kind::Time(Clock::Iso)),
    ("asctime", Kind::Time(Clock::Asctime)),
    ("clf", Kind::Time(Clock::Clf)),
    ("bsd", Kind::Time(Clock::Bsd)),
    ("epoch", Kind::Time(Clock::Epoch)),
    ("slashes", Kind::Time(Clock::Slashes)),
];

/// The names of the ways to write a time.
pub(super) const CLOCKS: &[(&str, Clock)] = &[
    ("iso", Clock::Iso),
    ("asctime", Clock::Asctime),
    ("clf", Clock::Clf),
    ("bsd", Clock::Bsd),
    ("epoch", Clock::Epoch),
    ("slashes", Clock::Slashes),
    ("any", Clock::Any),
];

/// A captured stretch of the record; absent where the start is [`NONE`].
pub(super) type Span = (u32, u32);
/// No capture.
pub(super) const NONE: Span = (u32::MAX, u32::MAX);

/// The searchers stand in the program itself: there are few, and a match reads them in order.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
enum Op {
    Lit {
        text: Box<[u8]>,
        find: memmem::Finder<'static>,
        rfind: memmem::FinderRev<'static>,
    },
    Cap {
        kind: Kind,
        var: Option<u16>,
    },
    /// Tries what follows up to `skip`, and else goes on at `skip`.
    Maybe {
        skip: usize,
    },
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    ops: Vec<Op>,
    /// Which first bytes can begin a match; `None` where an empty record can match too.
    first: Option<Box<[bool; 256]>>,
}

/// What a pattern captures: the name as it is spelled (empty for none) and the kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Capture {
    pub name: String,
    pub kind: Option<Kind>,
    /// Byte range of the capture in the pattern's text.
    pub at: std::ops::Range<usize>,
}

/// Why a pattern does not compile: the message and the byte range in its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    pub message: String,
    pub at: std::ops::Range<usize>,
    pub help: Option<String>,
}

/// Gives a capture the number of its variable (`None` for one that is only read over) and its kind.
pub(super) type Number<'n> = dyn FnMut(&Capture) -> Result<(Option<u16>, Kind), Mistake> + 'n;

/// How many steps a match may take; an attacker's line that needs more is no match.
const BUDGET: u32 = 20_000;

impl Pattern {
    /// Compiles the text of a pattern.
    pub fn compile(text: &str, var: &mut Number<'_>) -> Result<Pattern, Mistake> {
        let mut ops = Vec::new();
        let mut lit = Vec::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        let b = text.as_bytes();
        let mut i = 0;
        fn flush(lit: &mut Vec<u8>, ops: &mut Vec<Op>) {
            if !lit.is_empty() {
                let find = memmem::Finder::new(&lit[..]).into_owned();
                let rfind = memmem::FinderRev::new(&lit[..]).into_owned();
                ops.push(Op::Lit { text: std::mem::take(lit).into(), find, rfind });
            }
        }
        while i < b.len() {
            match b[i] {
                b'\\' => {
                    let Some(&c) = b.get(i + 1) else {
                        return Err(Mistake { message: "a backslash with nothing behind it".into(), at: i..i + 1, help: None });
                    };
                    lit.push(c);
                    i += 2;
                }
                b'[' => {
                    flush(&mut lit, &mut ops);
                    open.push((ops.len(), i));
                    ops.push(Op::Maybe { skip: 0 });
                    i += 1;
                }
                b']' => {
                    flush(&mut lit, &mut ops);
                    let Some((at, _)) = open.pop() else {
                        let help = Some("a bracket that stands in the line itself is written `\\]`".into());
                        return Err(Mistake { message: "`]` without `[`".into(), at: i..i + 1, help });
                    };
                    ops[at] = Op::Maybe { skip: ops.len() };
                    i += 1;
                }
                b'{' => {
                    flush(&mut lit, &mut ops);
                    let Some(n) = memchr::memchr(b'}', &b[i..]) else {
                        return Err(Mistake { message: "`{` without `}`".into(), at: i..i + 1, help: None });
                    };
                    let inner = &text[i + 1..i + n];
                    let at = i..i + n + 1;
                    let (name, kind) = match inner.rsplit_once(':') {
                        None => (inner, None),
                        Some((name, k)) => match KINDS.iter().find(|x| x.0 == k) {
                            Some(x) => (name, Some(x.1)),
                            None => {
                                let help = super::load::nearest(k, KINDS.iter().map(|x| x.0));
                                return Err(Mistake { message: format!("`{k}` is no kind of capture"), at, help });
                            }
                        },
                    };
                    let (var, kind) = var(&Capture { name: name.into(), kind, at })?;
                    ops.push(Op::Cap { kind, var });
                    i += n + 1;
                }
                b'}' => {
                    let help = Some("a brace that stands in the line itself is written `\\}`".into());
                    return Err(Mistake { message: "`}` without `{`".into(), at: i..i + 1, help });
                }
                c => {
                    lit.push(c);
                    i += 1;
                }
            }
        }
        flush(&mut lit, &mut ops);
        if let Some((_, at)) = open.pop() {
            return Err(Mistake {
                message: "`[` without `]`".into(),
                at: at..at + 1,
                help: Some("a bracket that stands in the line itself is written `\\[`".into()),
            });
        }
        let mut p = Pattern { ops, first: None };
        let mut set = Box::new([false; 256]);
        if p.first_bytes(0, &mut set) {
            p.first = Some(set);
        }
        Ok(p)
    }

    /// Collects the bytes that can stand first from `pc` on; `false` where a match may be empty.
    fn first_bytes(&self, pc: usize, set: &mut [bool; 256]) -> bool {
        let mut add = |f: &dyn Fn(u8) -> bool| (0..=255u8).filter(|&c| f(c)).for_each(|c| set[c as usize] = true);
        match self.ops.get(pc) {
            None => false,
            Some(Op::Lit { text, .. }) => {
                set[text[0] as usize] = true;
                true
            }
            Some(Op::Maybe { skip }) => self.first_bytes(pc + 1, set) & self.first_bytes(*skip, set),
            Some(Op::Cap { kind, .. }) => {
                match kind {
                    Kind::Word | Kind::Name | Kind::Part | Kind::Peer | Kind::Url => add(&|c| c != b' ' && c != b'\t'),
                    Kind::Quoted | Kind::Request => add(&|c| c == b'"'),
                    Kind::Ip => add(&|c| c.is_ascii_hexdigit() || c == b':' || c == b'['),
                    Kind::Int | Kind::Float => add(&|c| c.is_ascii_digit() || c == b'-' || c == b'+'),
                    Kind::Port | Kind::Time(Clock::Iso | Clock::Epoch | Clock::Slashes | Clock::Any | Clock::Clf) => add(&|c| c.is_ascii_digit()),
                    Kind::Time(_) => add(&|c| c.is_ascii_alphabetic()),
                    Kind::Blank => add(&|c| c == b' ' || c == b'\t'),
                    Kind::Token | Kind::Text | Kind::Once | Kind::Last | Kind::Rest | Kind::Inner | Kind::Line | Kind::End => return false,
                }
                true
            }
        }
    }

    /// Whether a record that begins with this byte (`None`: an empty one) can match at all.
    #[inline]
    pub fn may_begin(&self, c: Option<u8>) -> bool {
        match (&self.first, c) {
            (Some(set), Some(c)) => set[c as usize],
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Matches a whole record; `caps` gets the captures, by number.
    pub fn matches(&self, s: &[u8], caps: &mut [Span]) -> bool {
        self.run(0, 0, s, caps, &mut { BUDGET }, true)
    }

    /// Matches the beginning of a record.
    pub fn begins(&self, s: &[u8]) -> bool {
        self.may_begin(s.first().copied()) && self.run(0, 0, s, &mut [], &mut { BUDGET }, false)
    }

    fn run(&self, mut pc: usize, mut at: usize, s: &[u8], caps: &mut [Span], budget: &mut u32, whole: bool) -> bool {
        loop {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let Some(op) = self.ops.get(pc) else { return !whole || at == s.len() };
            match op {
                Op::Lit { text, .. } => {
                    if !s[at..].starts_with(text) {
                        return false;
                    }
                    at += text.len();
                    pc += 1;
                }
                Op::Maybe { skip } => {
                    if self.run(pc + 1, at, s, caps, budget, whole) {
                        return true;
                    }
                    for op in &self.ops[pc + 1..*skip] {
                        if let Op::Cap { var: Some(v), .. } = op {
                            set(caps, *v, NONE);
                        }
                    }
                    pc = *skip;
                }
                Op::Cap { kind: Kind::Once, .. } if self.twice(pc, &s[at..]) => return false,
                Op::Cap { kind: Kind::Text | Kind::Once | Kind::Line, var } => return self.near(pc, at, *var, s, caps, budget, whole),
                Op::Cap { kind: Kind::Last | Kind::Inner, var } => return self.far(pc, at, *var, s, caps, budget, whole),
                Op::Cap { kind, var } => {
                    let next = match self.ops.get(pc + 1) {
                        Some(Op::Lit { text, .. }) => &text[..],
                        _ => b"",
                    };
                    let Some((from, to, end)) = fixed(*kind, s, at, next) else { return false };
                    if let Some(v) = var {
                        set(caps, *v, (from as u32, to as u32));
                    }
                    at = end;
                    pc += 1;
                }
            }
        }
    }

    /// How much it asks of a record.
    pub fn exactness(&self) -> usize {
        self.ops.len()
    }

    /// Whether the literal behind a capture stands more than once.
    fn twice(&self, pc: usize, s: &[u8]) -> bool {
        match self.ops.get(pc + 1) {
            Some(Op::Lit { find, .. }) => find.find_iter(s).nth(1).is_some(),
            _ => false,
        }
    }

    /// Tries the places where the rest may begin, from left to right.
    #[allow(clippy::too_many_arguments)]
    fn near(&self, pc: usize, at: usize, var: Option<u16>, s: &[u8], caps: &mut [Span], budget: &mut u32, whole: bool) -> bool {
        let mut end = at;
        loop {
            match self.ops.get(pc + 1) {
                Some(Op::Lit { find, .. }) => match find.find(&s[end..]) {
                    Some(n) => end += n,
                    None => return false,
                },
                None => end = s.len(),
                _ => {}
            }
            if let Some(v) = var {
                set(caps, v, (at as u32, end as u32));
            }
            if self.run(pc + 1, end, s, caps, budget, whole) {
                return true;
            }
            end += 1;
            if end > s.len() || *budget == 0 {
                return false;
            }
        }
    }

    /// Tries the places where the rest may begin, from right to left.
    #[allow(clippy::too_many_arguments)]
    fn far(&self, pc: usize, at: usize, var: Option<u16>, s: &[u8], caps: &mut [Span], budget: &mut u32, whole: bool) -> bool {
        let mut limit = s.len();
        loop {
            let end = match self.ops.get(pc + 1) {
                Some(Op::Lit { text, rfind, .. }) => match rfind.rfind(&s[at..(limit + text.len()).min(s.len())]) {
                    Some(n) => at + n,
                    None => return false,
                },
                _ => limit,
            };
            if let Some(v) = var {
                set(caps, v, (at as u32, end as u32));
            }
            if self.run(pc + 1, end, s, caps, budget, whole) {
                return true;
            }
            if end == at || *budget == 0 {
                return false;
            }
            limit = end - 1;
        }
    }
}

#[inline]
fn set(caps: &mut [Span], v: u16, s: Span) {
    if let Some(c) = caps.get_mut(v as usize) {
        *c = s;
    }
}

fn run_of(s: &[u8], f: impl Fn(u8) -> bool) -> usize {
    s.iter().position(|&c| !f(c)).unwrap_or(s.len())
}

fn blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

/// Reads a capture whose end its own bytes tell: begin and end of the value, and where to go on.
fn fixed(kind: Kind, s: &[u8], at: usize, next: &[u8]) -> Option<(usize, usize, usize)> {
    let b = &s[at..];
    let some = |n: usize| (n > 0).then_some((at, at + n, at + n));
    match kind {
        Kind::Word => some(run_of(b, |c| !blank(c))),
        Kind::Token => {
            let n = run_of(b, |c| !blank(c));
            Some((at, at + n, at + n))
        }
        Kind::Name => some(run_of(b, |c| !blank(c) && !b"()[]{},;:=\"".contains(&c))),
        Kind::Part => some(run_of(b, |c| !blank(c) && c != b'/')),
        Kind::Url => some(run_of(b, |c| !blank(c) && c != b',' && c != b'"')),
        Kind::Blank => some(run_of(b, blank)),
        Kind::End => b.is_empty().then_some((at, at, at)),
        Kind::Rest => Some((at, s.len(), s.len())),
        Kind::Quoted | Kind::Request => {
            if b.first() != Some(&b'"') {
                return None;
            }
            let mut i = 1;
            loop {
                i += memchr::memchr2(b'"', b'\\', b.get(i..)?).unwrap_or(b.len() - i);
                match b.get(i) {
                    Some(b'"') => return Some((at + 1, at + i, at + i + 1)),
                    Some(_) => i = (i + 2).min(b.len()),
                    None => return Some((at + 1, s.len(), s.len())),
                }
            }
        }
        Kind::Int => {
            let sign = matches!(b.first(), Some(b'-' | b'+')) as usize;
            let n = run_of(b.get(sign..)?, |c| c.is_ascii_digit());
            if n > 0 { some(sign + n) } else { None }
        }
        Kind::Float => {
            let sign = matches!(b.first(), Some(b'-' | b'+')) as usize;
            let n = run_of(b.get(sign..)?, |c| c.is_ascii_digit() || c == b'.');
            if n > 0 { some(sign + n) } else { None }
        }
        Kind::Port => {
            let n = run_of(b, |c| c.is_ascii_digit());
            if n <= 5 { some(n) } else { None }
        }
        Kind::Ip => some(address(b, next)?),
        Kind::Peer => match address(b, next) {
            Some(n) => some(n),
            None => {
                let n = run_of(b, |c| c.is_ascii_alphanumeric() || c >= 0x80 || b".-_".contains(&c));
                some(n)
            }
        },
        Kind::Time(c) => some(clock(c, b)?),
        Kind::Text | Kind::Once | Kind::Last | Kind::Inner | Kind::Line => None,
    }
}

/// The length of an address at the front, so that what stands next in the pattern can follow it.
fn address(b: &[u8], next: &[u8]) -> Option<usize> {
    let fits = |n: usize| value_ip(&b[..n]).is_some() && b[n..].starts_with(next);
    if b.first() == Some(&b'[') {
        let n = memchr::memchr(b']', &b[..b.len().min(64)])? + 1;
        return fits(n).then_some(n);
    }
    let n = run_of(b, |c| c.is_ascii_hexdigit() || c == b'.' || c == b':');
    if b.get(n) == Some(&b'%') {
        let z = n + 1 + run_of(&b[n + 1..], |c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
        if fits(z) {
            return Some(z);
        }
    }
    if n > 64 {
        return None;
    }
    if fits(n) {
        return Some(n);
    }
    let n = memchr::memrchr(b':', &b[..n])?;
    fits(n).then_some(n)
}

/// The length of a time at the front.
fn clock(c: Clock, b: &[u8]) -> Option<usize> {
    match c {
        Clock::Iso | Clock::Any => time::iso(b, &TimeZone::UTC).map(|x| x.1),
        Clock::Slashes => {
            slashes(b)?;
            Some(19)
        }
        Clock::Bsd => time::bsd(b).map(|x| x.1),
        Clock::Epoch => {
            let n = run_of(b, |c| c.is_ascii_digit());
            let n = n + time::fraction(b.get(n..)?).1;
            time::epoch(&b[..n]).map(|_| n)
        }
        Clock::Clf => {
            let n = 20 + time::fraction(b.get(20..)?).1;
            let zone = match b.get(n..) {
                Some([b' ', z @ ..]) => time::offset(z).map_or(0, |x| 1 + x.1),
                _ => 0,
            };
            time::clf(&b[..n + zone], &TimeZone::UTC).map(|_| n + zone)
        }
        Clock::Asctime => {
            let at = 4 + time::month_day(b.get(4..)?)?.2;
            let n = at + 8;
            let n = n + time::fraction(b.get(n..)?).1 + 5;
            time::asctime(b.get(..n)?, &TimeZone::UTC).map(|_| n)
        }
    }
}

/// Reads `2026/11/23 05:00:00` at the front.
pub(super) fn slashes(b: &[u8]) -> Option<time::Civil> {
    if b.len() < 19 || b[4] != b'/' || b[7] != b'/' || b[10] != b' ' {
        return None;
    }
    let (hour, minute, second) = time::clock(&b[11..])?;
    let (year, month, day) = (time::digits(b, 4)? as i64, time::digits(&b[5..], 2)? as u8, time::digits(&b[8..], 2)? as u8);
    Some(time::Civil { year, month, day, hour, minute, second, nanos: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(p: &str) -> (Pattern, Vec<String>) {
        let mut names = Vec::new();
        let pattern = Pattern::compile(p, &mut |c| {
            if c.name.is_empty() {
                return Ok((None, c.kind.unwrap_or(Kind::Word)));
            }
            names.push(c.name.clone());
            Ok((Some(names.len() as u16 - 1), c.kind.unwrap_or(Kind::Word)))
        })
        .expect(p);
        (pattern, names)
    }

    /// What the captures hold, `name=value` joined by `|`; `None` where the line does not match.
    fn read(p: &str, line: &str) -> Option<String> {
        let (pattern, names) = compile(p);
        let mut caps = vec![NONE; names.len()];
        (pattern.may_begin(line.bytes().next()) && pattern.matches(line.as_bytes(), &mut caps)).then(|| {
            let got = names.iter().zip(&caps).filter(|(_, c)| **c != NONE);
            got.map(|(n, c)| format!("{n}={}", &line[c.0 as usize..c.1 as usize])).collect::<Vec<_>>().join("|")
        })
    }

    const FAILED: &str = "Failed {m} for [invalid user ]{u:last} from {ip:ip} port {p:port}[ ssh2]";

    #[test]
    fn a_user_name_that_imitates_the_line_does_not_move_the_address() {
        for (line, want) in [
            ("Failed password for root from 203.0.113.9 port 22 ssh2", "m=password|u=root|ip=203.0.113.9|p=22"),
            ("Failed password for invalid user x from 1.2.3.4 from 203.0.113.9 port 22 ssh2", "m=password|u=x from 1.2.3.4|ip=203.0.113.9|p=22"),
            (
                "Failed password for invalid user x from 1.2.3.4 port 5 ssh2 from 2001:db8::9 port 22 ssh2",
                "m=password|u=x from 1.2.3.4 port 5 ssh2|ip=2001:db8::9|p=22",
            ),
            ("Failed none for invalid user  from 203.0.113.9 port 22", "m=none|u=|ip=203.0.113.9|p=22"),
        ] {
            assert_eq!(read(FAILED, line).as_deref(), Some(want), "{line}");
        }
        for line in ["", "Failed", "Failed password for x from 999.1.1.1 port 22 ssh2", "Failed password for x from 203.0.113.9 port 22 ssh2 "] {
            assert_eq!(read(FAILED, line), None, "{line}");
        }
    }

    #[test]
    fn every_kind_finds_its_end() {
        for (p, line, want) in [
            ("{ip:ip}:{p:port} \\[{t:clf}\\]", "203.0.113.9:4711 [23/Nov/2026:05:51:08.376]", "ip=203.0.113.9|p=4711|t=23/Nov/2026:05:51:08.376"),
            ("{ip:ip}:{p:port} x", "2001:db8::1:4711 x", "ip=2001:db8::1|p=4711"),
            ("{ip:ip}:{p:port} x", "[2001:db8::1]:4711 x", "ip=[2001:db8::1]|p=4711"),
            ("{t:asctime} -> {f:last}: {s} FOUND", "Mon Nov  3 05:00:00 2026 -> /a: b: Eicar FOUND", "t=Mon Nov  3 05:00:00 2026|f=/a: b|s=Eicar"),
            ("{t:slashes} \\[{l:name}\\] {r:rest}", "2026/11/23 05:42:09 [error] 1#1: x", "t=2026/11/23 05:42:09|l=error|r=1#1: x"),
            ("{a:quoted} {b:quoted}", r#""a \" b" "c"#, r#"a=a \" b|b=c"#),
            ("{h:peer}: x", "gw.example.net: x", "h=gw.example.net"),
            ("{h:peer}: x", "203.0.113.9: x", "h=203.0.113.9"),
            ("{n:int}[.{f:int}]{:blank}{x:token}", "5   ", "n=5|x="),
            ("a[b{x:int}[c{y:int}]]{:end}", "ab1c2", "x=1|y=2"),
            ("a[b{x:int}[c{y:int}]]", "a", ""),
            ("{a:text} by {b:text}", "x by y by z", "a=x|b=y by z"),
            ("{a:once}, client: {ip:ip}", "x, client: 203.0.113.9", "a=x|ip=203.0.113.9"),
        ] {
            assert_eq!(read(p, line).as_deref(), Some(want), "{p}");
        }
    }

    #[test]
    fn a_line_made_to_be_slow_is_given_up() {
        let line = "a from ".repeat(20_000);
        assert_eq!(read("{a:last} from {b:last} from {c:last} from {d:ip}", &line), None);
    }

    #[test]
    fn mistakes_say_where() {
        for (p, at) in [("a[b", 1..2), ("ab]", 2..3), ("a{b", 1..2), ("a}", 1..2), ("x {a:wrod}", 2..10), ("a\\", 1..2)] {
            let e = Pattern::compile(p, &mut |c| Ok((None, c.kind.unwrap_or(Kind::Word)))).expect_err(p);
            assert_eq!(e.at, at, "{p}: {}", e.message);
        }
    }
}
