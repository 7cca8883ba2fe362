//! One test of one field, ready to be asked: its literals sorted into sets, its patterns compiled.

use super::phrase::Phrase;
pub(super) use crate::event::words::lower;
use crate::event::{Event, Field, Layout, Value, field};
use crate::rule::{Compare, Literal, Op, Order, Place, Test};
use foldhash::fast::FixedState;
use ipnet::IpNet;
use memchr::memmem::Finder;
use std::cmp::Ordering;
use std::net::IpAddr;

/// A hash map whose seed is fixed: its order is never read, only whether a key is there.
pub(super) type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// A number as equality sees it: `1`, `1.0` and the same value above `i64::MAX` are one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Num {
    /// A whole number.
    Whole(i128),
    /// The bits of a float that is no whole number, or too large to be one that can be written.
    Part(u64),
}

impl Num {
    fn float(v: f64) -> Option<Num> {
        if v.is_nan() {
            None
        } else if v.fract() == 0.0 && v.abs() < 2f64.powi(100) {
            Some(Num::Whole(v as i128))
        } else {
            Some(Num::Part(v.to_bits()))
        }
    }

    /// The number that a value is.
    pub(super) fn of(v: &Value<'_>) -> Option<Num> {
        match *v {
            Value::Int(v) => Some(Num::Whole(v as i128)),
            Value::Big(v) => Some(Num::Whole(v as i128)),
            Value::Float(v) => Num::float(v),
            _ => None,
        }
    }
}

/// Networks, and what hangs on each: one look-up for each prefix length that occurs.
#[derive(Clone, Debug)]
pub(super) struct Nets<T> {
    lens4: Vec<u8>,
    lens6: Vec<u8>,
    map: Map<(bool, u8, u128), T>,
}

impl<T> Default for Nets<T> {
    fn default() -> Self {
        Nets { lens4: Vec::new(), lens6: Vec::new(), map: Map::default() }
    }
}

fn mask(bits: u128, width: u32, len: u8) -> u128 {
    let low = width - u32::from(len).min(width);
    if low >= 128 { 0 } else { bits >> low << low }
}

impl<T: Default> Nets<T> {
    /// What hangs on a network; a v4-mapped one is the v4 network that it stands for, as addresses are.
    pub(super) fn entry(&mut self, net: IpNet) -> &mut T {
        let (v6, len, bits) = match net {
            IpNet::V4(n) => (false, n.prefix_len(), mask(u32::from(n.addr()).into(), 32, n.prefix_len())),
            IpNet::V6(n) => match n.addr().to_ipv4_mapped() {
                Some(v4) if n.prefix_len() >= 96 => (false, n.prefix_len() - 96, mask(u32::from(v4).into(), 32, n.prefix_len() - 96)),
                _ => (true, n.prefix_len(), mask(n.addr().into(), 128, n.prefix_len())),
            },
        };
        let lens = if v6 { &mut self.lens6 } else { &mut self.lens4 };
        if !lens.contains(&len) {
            lens.push(len);
        }
        self.map.entry((v6, len, bits)).or_default()
    }

    /// What hangs on each network that holds the address.
    pub(super) fn find(&self, ip: IpAddr) -> impl Iterator<Item = &T> {
        let (v6, width, bits, lens) = match ip {
            IpAddr::V4(v4) => (false, 32, u128::from(u32::from(v4)), &self.lens4),
            IpAddr::V6(v) => (true, 128, u128::from(v), &self.lens6),
        };
        lens.iter().filter_map(move |&len| self.map.get(&(v6, len, mask(bits, width, len))))
    }
}

/// A network of one address.
fn single(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// Values that equality is asked for, each with what hangs on it: every kind in a map of its own, since kinds never
/// equal each other.
#[derive(Clone, Debug)]
pub(super) struct Values<T> {
    pub(super) text: Map<Box<[u8]>, T>,
    pub(super) numbers: Map<Num, T>,
    pub(super) bools: [Option<T>; 2],
    pub(super) times: Map<i64, T>,
    pub(super) nets: Nets<T>,
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Values { text: Map::default(), numbers: Map::default(), bools: [None, None], times: Map::default(), nets: Nets::default() }
    }
}

impl<T: Default> Values<T> {
    /// Adds what `op` is equal to, if it asks for equality (`in`, `==`, networks, tables), calling `hang` for each value;
    /// else does nothing.
    pub(super) fn add(&mut self, op: &Op, hang: impl Fn(&mut T)) {
        match op {
            Op::In(list) => {
                for l in list {
                    match l {
                        Literal::Str(s) => hang(self.text.entry(s.as_bytes().into()).or_default()),
                        Literal::Int(v) => hang(self.numbers.entry(Num::Whole(*v)).or_default()),
                        Literal::Float(v) => {
                            if let Some(n) = Num::float(*v) {
                                hang(self.numbers.entry(n).or_default());
                            }
                        }
                        Literal::Bool(b) => hang(self.bools[usize::from(*b)].get_or_insert_default()),
                        Literal::Ip(ip) => hang(self.nets.entry(single(crate::event::fold(*ip)))),
                        Literal::Time(t) => hang(self.times.entry(t.0).or_default()),
                    }
                }
            }
            Op::Table(t) => {
                t.text.iter().for_each(|s| hang(self.text.entry(s.as_bytes().into()).or_default()));
                t.numbers.iter().for_each(|&n| hang(self.numbers.entry(Num::Whole(n)).or_default()));
                t.nets.iter().for_each(|&n| hang(self.nets.entry(n)));
            }
            Op::Cidr(nets) => nets.iter().for_each(|&n| hang(self.nets.entry(n))),
            _ => {}
        }
    }

    /// Calls `found` with what hangs on each entry that one value equals or lies in.
    #[inline]
    pub(super) fn find(&self, v: &Value<'_>, mut found: impl FnMut(&T)) {
        match *v {
            Value::Str(s) => self.text.get(s).into_iter().for_each(found),
            Value::Int(_) | Value::Big(_) | Value::Float(_) => {
                if !self.numbers.is_empty() {
                    Num::of(v).and_then(|n| self.numbers.get(&n)).into_iter().for_each(found);
                }
            }
            Value::Bool(b) => self.bools[usize::from(b)].iter().for_each(found),
            Value::Time(t) => self.times.get(&t.0).into_iter().for_each(found),
            Value::Ip(ip) => self.nets.find(ip).for_each(&mut found),
            Value::Missing | Value::List(_) => {}
        }
    }

    fn len(&self) -> usize {
        self.text.len() + self.numbers.len() + self.times.len() + self.nets.map.len()
    }
}

/// What a value is asked.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Text(Box<[u8]>),
    Values(Box<Values<()>>),
    NotEqual(Literal),
    Order(Order, Literal),
    Contains(Box<Finder<'static>>),
    Starts(Box<[u8]>),
    Ends(Box<[u8]>),
    Matches(regex::bytes::Regex),
    Like(Box<[Like]>),
    /// Of the text of the event, which is in the slot of the test or, where that has none, in this one.
    Words(Box<Phrase>, Option<u16>),
    Exists,
    Field(Compare, Option<u16>),
}

/// A test, ready to be asked of rows of one layout.
#[derive(Clone, Debug)]
pub(super) struct Predicate {
    /// None where the layout has no slot for the field: then it is always missing.
    slot: Option<u16>,
    check: Check,
}

impl Predicate {
    pub(super) fn new(test: &Test, layout: &Layout) -> Predicate {
        let slot = |f: Field| layout.slot(f).map(|s| s as u16);
        let check = match &test.op {
            Op::In(list) => match list.as_slice() {
                [Literal::Str(s)] => Check::Text(s.as_bytes().into()),
                _ => values(&test.op),
            },
            Op::Cidr(_) | Op::Table(_) => values(&test.op),
            Op::NotEqual(l) => Check::NotEqual(l.clone()),
            Op::Order(o, l) => Check::Order(*o, l.clone()),
            Op::Text(Place::Contains, s) => Check::Contains(Box::new(Finder::new(s.as_bytes()).into_owned())),
            Op::Text(Place::Starts, s) => Check::Starts(s.as_bytes().into()),
            Op::Text(Place::Ends, s) => Check::Ends(s.as_bytes().into()),
            Op::Matches(p) => Check::Matches(p.0.clone()),
            Op::Like(list) => Check::Like(list.iter().map(|s| Like::new(s)).collect()),
            Op::Words(words) => Check::Words(Box::new(Phrase::new(words)), slot(field::EVENT_ORIGINAL)),
            Op::Exists => Check::Exists,
            Op::Field(c, f) => Check::Field(*c, slot(*f)),
        };
        Predicate { slot: slot(test.field), check }
    }

    /// What asking costs, by rough count of nanoseconds: the order in which conditions are asked.
    pub(super) fn cost(&self) -> u32 {
        match &self.check {
            Check::Exists => 1,
            Check::Text(_) | Check::NotEqual(_) | Check::Order(..) | Check::Starts(_) | Check::Ends(_) => 2,
            Check::Values(v) => 4 + v.len().min(8) as u32,
            Check::Field(..) => 6,
            Check::Contains(_) => 20,
            Check::Like(l) => 60 * l.len() as u32,
            Check::Words(..) => 400,
            Check::Matches(_) => 10_000,
        }
    }

    /// Whether it reads text byte by byte, so that remembering the answer pays.
    pub(super) fn is_search(&self) -> bool {
        matches!(self.check, Check::Contains(_) | Check::Like(_) | Check::Matches(_) | Check::Words(..))
    }

    /// Whether the event passes: any value of the field does.
    pub(super) fn holds(&self, ev: &Event<'_>) -> bool {
        let at = |slot: Option<u16>| slot.map_or(Value::Missing, |s| ev.at(usize::from(s)));
        let mut v = at(self.slot);
        if let Check::Words(_, other) = &self.check
            && v.is_missing()
        {
            v = at(*other);
        }
        match (&self.check, v) {
            (_, Value::Missing) => false,
            (Check::Field(c, other), v) => {
                let Some(other) = *other else { return false };
                v.each().any(|a| ev.at(usize::from(other)).each().any(|b| pair(*c, &a, &b)))
            }
            (_, Value::List(l)) => l.iter().any(|v| self.passes(&v)),
            (_, v) => self.passes(&v),
        }
    }

    /// Whether one value passes; false for comparisons with another field.
    pub(super) fn passes(&self, v: &Value<'_>) -> bool {
        match (&self.check, v) {
            (_, Value::Missing | Value::List(_)) => false,
            (Check::Text(t), Value::Str(s)) => **t == **s,
            (Check::Text(_), _) => false,
            (Check::Values(set), v) => {
                let mut any = false;
                set.find(v, |()| any = true);
                any
            }
            (Check::NotEqual(l), v) => v.compare(&l.value()) != Some(Ordering::Equal),
            (Check::Order(o, l), v) => orders(*o, v, &l.value()),
            (Check::Contains(f), Value::Str(s)) => f.find(s).is_some(),
            (Check::Starts(t), Value::Str(s)) => s.starts_with(t),
            (Check::Ends(t), Value::Str(s)) => s.ends_with(t),
            (Check::Matches(r), Value::Str(s)) => r.is_match(s),
            (Check::Like(list), Value::Str(s)) => list.iter().any(|l| l.matches(s)),
            (Check::Words(p, _), Value::Str(s)) => p.is_in(s),
            (Check::Exists, _) => true,
            (
                Check::Contains(_) | Check::Starts(_) | Check::Ends(_) | Check::Matches(_) | Check::Like(_) | Check::Words(..) | Check::Field(..),
                _,
            ) => false,
        }
    }
}

fn values(op: &Op) -> Check {
    let mut v = Values::default();
    v.add(op, |()| ());
    Check::Values(Box::new(v))
}

fn pair(c: Compare, a: &Value<'_>, b: &Value<'_>) -> bool {
    match c {
        Compare::Equal => a.compare(b) == Some(Ordering::Equal),
        Compare::NotEqual => a.compare(b) != Some(Ordering::Equal),
        Compare::Order(o) => orders(o, a, b),
    }
}

/// Numbers with numbers and instants with instants; nothing else has an order in a condition.
fn orders(o: Order, a: &Value<'_>, b: &Value<'_>) -> bool {
    if !matches!(a, Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Time(_)) {
        return false;
    }
    let Some(c) = a.compare(b) else { return false };
    match o {
        Order::Less => c.is_lt(),
        Order::AtMost => c.is_le(),
        Order::Greater => c.is_gt(),
        Order::AtLeast => c.is_ge(),
    }
}

/// A character at the front and its length in bytes; a byte that begins none is a character of its own, beyond Unicode.
#[inline]
fn first(b: &[u8]) -> (u32, usize) {
    match b.first() {
        None => (0, 0),
        Some(c) if c.is_ascii() => (c.to_ascii_lowercase().into(), 1),
        Some(&c) => {
            let front = &b[..b.len().min(4)];
            let good = match std::str::from_utf8(front) {
                Ok(s) => s,
                Err(e) => std::str::from_utf8(&front[..e.valid_up_to()]).unwrap_or_default(),
            };
            good.chars().next().map_or((0x0011_0000 + u32::from(c), 1), |c| (lower(c).into(), c.len_utf8()))
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `*`
    Run,
    /// `?`
    One,
    /// A character in lower case.
    Char(char),
}

/// A pattern of `:`: the whole value, without regard to case, `*` for any run, `?` for one character.
#[derive(Clone, Debug)]
pub(super) struct Like {
    pub(super) tokens: Box<[Token]>,
}

impl Like {
    pub(super) fn new(s: &str) -> Like {
        let mut tokens = Vec::with_capacity(s.len());
        for c in s.chars() {
            match c {
                '*' if tokens.last() == Some(&Token::Run) => {}
                '*' => tokens.push(Token::Run),
                '?' => tokens.push(Token::One),
                c => tokens.push(Token::Char(lower(c))),
            }
        }
        Like { tokens: tokens.into() }
    }

    /// Tries the shortest run first and, on a mismatch, goes back to the last `*` only: at most value × pattern steps.
    pub(super) fn matches(&self, s: &[u8]) -> bool {
        let t = &self.tokens;
        let (mut i, mut p) = (0, 0);
        let mut back: Option<(usize, usize)> = None;
        while i < s.len() {
            let (c, n) = first(&s[i..]);
            match t.get(p) {
                Some(Token::Run) => {
                    if p + 1 == t.len() {
                        return true;
                    }
                    back = Some((p + 1, i));
                    p += 1;
                    continue;
                }
                Some(Token::One) => {
                    (i, p) = (i + n, p + 1);
                    continue;
                }
                Some(Token::Char(x)) if u32::from(*x) == c => {
                    (i, p) = (i + n, p + 1);
                    continue;
                }
                _ => {}
            }
            let Some((after, from)) = back else { return false };
            let from = from + first(&s[from..]).1;
            back = Some((after, from));
            (i, p) = (from, after);
        }
        t[p..].iter().all(|t| *t == Token::Run)
    }
}
