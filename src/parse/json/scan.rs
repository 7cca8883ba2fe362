//! The one pass: keys are told by their first bytes, guessed from what followed last time, and values are noted where
//! a path ends.

use super::Json;
use super::lex::{self, Step, bad};
use super::paths::{NONE, PathId, Paths, Trie, compile};
use crate::event::{Own, ParseError};

/// A key as it is compared in place: its text, the quote and the colon behind it, in four words.
#[derive(Clone, Copy, Debug)]
struct Known {
    word: [u64; 4],
    mask: [u64; 4],
    /// Length of the key, the quote and the colon.
    len: u32,
    /// Where it leads; [`NONE`] for a key that nobody asked for.
    child: u16,
    /// The key that followed last time in a record of the same kind, and one that followed before.
    next: [u16; LANES],
    other: u16,
}

const ROOM: usize = 32;
/// So many kinds of records are told apart in guessing the next key.
const LANES: usize = 16;
/// So many keys that nobody asked for are remembered in one object, to be passed over quickly.
const LEARN: usize = 64;

impl Known {
    /// `None` for a key that is too long to be compared in place.
    fn new(key: &[u8], child: u16) -> Option<Known> {
        let len = key.len() + 2;
        let mut text = [0u8; ROOM];
        let mut mask = [0u8; ROOM];
        text.get_mut(..key.len())?.copy_from_slice(key);
        text.get_mut(key.len()..len)?.copy_from_slice(b"\":");
        mask[..len].fill(0xff);
        let words = |b: &[u8; ROOM]| std::array::from_fn(|i| lex::word(b, i * 8).unwrap_or(0));
        Some(Known { word: words(&text), mask: words(&mask), len: len as u32, child, next: [NONE; LANES], other: NONE })
    }

    #[inline(always)]
    fn matches(&self, b: &[u8; ROOM]) -> bool {
        let w = |i: usize| u64::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4], b[i + 5], b[i + 6], b[i + 7]]);
        let low = ((w(0) ^ self.word[0]) & self.mask[0]) | ((w(8) ^ self.word[1]) & self.mask[1]);
        if self.len <= 16 {
            return low == 0;
        }
        low | ((w(16) ^ self.word[2]) & self.mask[2]) | ((w(24) ^ self.word[3]) & self.mask[3]) == 0
    }
}

/// The keys of one object: those that paths ask for, those too long to be compared in place, and those met lately.
#[derive(Clone, Debug, Default)]
struct Table {
    keys: Vec<Known>,
    long: Vec<(Box<[u8]>, u16)>,
    asked: usize,
    /// By a hash of length and first bytes: places in `keys`.
    index: Vec<u16>,
    first: u16,
}

impl Table {
    fn new(keys: &[(Box<[u8]>, u16)]) -> Table {
        let mut t = Table { first: NONE, ..Table::default() };
        for (k, child) in keys {
            match Known::new(k, *child) {
                Some(k) => t.keys.push(k),
                None => t.long.push((k.clone(), *child)),
            }
        }
        t.asked = t.keys.len();
        t.index = vec![NONE; ((t.asked + LEARN) * 4).next_power_of_two()];
        t.keys.reserve_exact(LEARN);
        t.rehash();
        t
    }

    fn rehash(&mut self) {
        self.index.fill(NONE);
        for i in 0..self.keys.len() {
            self.enter(i);
        }
    }

    #[inline]
    fn hash(&self, word: u64, len: u32) -> usize {
        let h = (word ^ (len as u64) << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (h >> 32) as usize & (self.index.len() - 1)
    }

    fn enter(&mut self, i: usize) {
        let mut at = self.hash(self.keys[i].word[0], self.keys[i].len);
        while self.index[at] != NONE {
            at = (at + 1) & (self.index.len() - 1);
        }
        self.index[at] = i as u16;
    }

    /// The place of a key, which is learned where it is not known yet; [`NONE`] for one that is too long.
    fn find(&mut self, key: &[u8]) -> (u16, u16) {
        let Some(k) = Known::new(key, NONE) else {
            return (NONE, self.long.iter().find(|(l, _)| **l == *key).map_or(NONE, |l| l.1));
        };
        let mut at = self.hash(k.word[0], k.len);
        while let Some(&i) = self.index.get(at).filter(|&&i| i != NONE) {
            let have = &self.keys[i as usize];
            if have.len == k.len && have.word == k.word {
                return (i, have.child);
            }
            at = (at + 1) & (self.index.len() - 1);
        }
        if self.keys.len() >= self.asked + LEARN {
            self.keys.truncate(self.asked);
            for k in &mut self.keys {
                (k.next, k.other) = ([NONE; LANES], NONE);
            }
            self.first = NONE;
            self.rehash();
        }
        self.keys.push(k);
        self.enter(self.keys.len() - 1);
        (self.keys.len() as u16 - 1, NONE)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Missing,
    Str,
    Escaped,
    Object,
    Array,
    /// A number, a truth value or `null`, told apart by its first byte.
    Scalar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Token {
    at: u32,
    end: u32,
    kind: Kind,
}

impl Token {
    #[inline(always)]
    fn json<'r>(&self, record: &'r [u8]) -> Json<'r> {
        if self.kind == Kind::Missing {
            return Json::Missing;
        }
        let Some(s) = record.get(self.at as usize..self.end as usize) else { return Json::Missing };
        if self.kind == Kind::Str {
            return Json::Str(s);
        }
        match self.kind {
            Kind::Missing | Kind::Str => Json::Missing,
            Kind::Escaped => Json::Escaped(s),
            Kind::Object => Json::Object(s),
            Kind::Array => Json::Array(s),
            Kind::Scalar => match s.first() {
                Some(b't') => Json::Bool(true),
                Some(b'f') => Json::Bool(false),
                Some(b'n') => Json::Null,
                _ => Json::Number(s),
            },
        }
    }
}

/// The value at `at` and where it ends.
pub(super) fn token(record: &[u8], at: usize) -> Option<(Json<'_>, usize)> {
    let (t, end) = read(record, at, 1).ok()?;
    Some((t.json(record), end))
}

#[inline(always)]
fn read(b: &[u8], at: usize, depth: usize) -> Result<(Token, usize), lex::Bad> {
    let (kind, start, stop, end) = match b.get(at) {
        Some(b'"') => {
            let (end, escaped) = lex::string(b, at + 1)?;
            (if escaped { Kind::Escaped } else { Kind::Str }, at + 1, end, end + 1)
        }
        Some(b'{') => {
            let end = lex::skip(b, at, depth)?;
            (Kind::Object, at, end, end)
        }
        Some(b'[') => {
            let end = lex::skip(b, at, depth)?;
            (Kind::Array, at, end, end)
        }
        _ => {
            let end = lex::scalar(b, at)?;
            (Kind::Scalar, at, end, end)
        }
    };
    Ok((Token { at: start as u32, end: stop as u32, kind }, end))
}

fn lane(kind: &[u8]) -> usize {
    let h = kind.iter().take(8).fold(kind.len() as u64, |h, c| h << 8 ^ h >> 56 ^ *c as u64);
    (h.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize
}

#[derive(Clone, Copy, Debug)]
struct Item {
    id: PathId,
    place: u32,
    token: Token,
}

/// A scanner for one set of paths; its memory is reused from record to record.
#[derive(Clone, Debug)]
pub struct Scanner {
    trie: Trie,
    lists: Vec<bool>,
    tables: Vec<Table>,
    found: Vec<Token>,
    items: Vec<Item>,
    counts: Vec<u8>,
    /// For each node the object in which it was met last, and how many items there were before: equal keys in one
    /// object are told by it.
    met: Vec<(u64, u32)>,
    objects: u64,
    left_out: u64,
    scratch: Vec<u8>,
    /// The path whose value tells the kind of a record, and the lane of the record's kind.
    guide: PathId,
    lane: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new(Paths::default())
    }
}

impl Scanner {
    /// At most so many elements are kept of a path through arrays; the rest is counted.
    pub const MAX_ELEMENTS: usize = 64;
    /// Deeper nesting is an error.
    pub const MAX_DEPTH: usize = lex::MAX_DEPTH;

    /// A scanner for these paths.
    pub fn new(paths: Paths) -> Scanner {
        let trie = compile(&paths);
        Scanner {
            tables: trie.keys.iter().map(|k| Table::new(k)).collect(),
            found: vec![Token::default(); paths.lists.len()],
            counts: vec![0; paths.lists.len()],
            met: vec![(0, 0); trie.nodes.len()],
            lists: paths.lists,
            trie,
            items: Vec::new(),
            objects: 0,
            left_out: 0,
            scratch: Vec::new(),
            guide: NONE,
            lane: 0,
        }
    }

    /// Names the path whose value tells the kind of a record, where kinds have keys in an order of their own. It changes
    /// the speed and nothing else.
    pub fn kinds_by(&mut self, id: PathId) {
        self.guide = id;
    }

    /// Reads a whole JSON text. It accepts what serde_json accepts as `IgnoredAny` up to [`Scanner::MAX_DEPTH`]; of
    /// equal keys the last wins.
    pub fn scan(&mut self, record: &[u8]) -> Result<(), ParseError> {
        self.found.fill(Token::default());
        self.lane = 0;
        if !self.items.is_empty() {
            self.items.clear();
            self.counts.fill(0);
        }
        let at = self.value(record, lex::blanks(record, 0), 0, None, 1)?;
        let at = lex::blanks(record, at);
        if at == record.len() { Ok(()) } else { Err(bad(lex::END, at).into()) }
    }

    /// Reads the value at `at` for a node; `place` is that of the outermost array element it lies in.
    fn value(&mut self, b: &[u8], at: usize, node: u16, place: Option<u32>, depth: usize) -> Step {
        let n = &self.trie.nodes[node as usize];
        let (token, end) = match (b.get(at), n.table, n.elem) {
            (Some(b'{'), Some(table), _) => {
                let end = self.object(b, at + 1, table, place, depth)?;
                (Token { at: at as u32, end: end as u32, kind: Kind::Object }, end)
            }
            (Some(b'['), _, Some(elem)) => {
                let end = self.array(b, at + 1, elem, place, depth)?;
                (Token { at: at as u32, end: end as u32, kind: Kind::Array }, end)
            }
            _ => read(b, at, depth)?,
        };
        let n = &self.trie.nodes[node as usize];
        let single = if token.kind == Kind::Array { &[][..] } else { &n.single };
        for &id in n.hits.iter().chain(single) {
            let i = id as usize;
            if !self.lists[i] {
                self.found[i] = token;
            } else if (self.counts[i] as usize) < Self::MAX_ELEMENTS {
                self.counts[i] += 1;
                self.items.push(Item { id, place: place.unwrap_or(0), token });
            } else {
                self.left_out += 1;
            }
        }
        Ok(end)
    }

    fn array(&mut self, b: &[u8], at: usize, elem: u16, place: Option<u32>, depth: usize) -> Step {
        if depth > Self::MAX_DEPTH {
            return Err(bad(lex::DEPTH, at));
        }
        let mut at = lex::blanks(b, at);
        if b.get(at) == Some(&b']') {
            return Ok(at + 1);
        }
        let mut i = 0;
        loop {
            at = self.value(b, at, elem, place.or(Some(i)), depth + 1)?;
            at = lex::blanks(b, at);
            match b.get(at) {
                Some(b',') => at = lex::blanks(b, at + 1),
                Some(b']') => return Ok(at + 1),
                _ => return Err(bad(lex::BRACKET, at)),
            }
            i += 1;
        }
    }

    fn object(&mut self, b: &[u8], at: usize, table: u16, place: Option<u32>, depth: usize) -> Step {
        if depth > Self::MAX_DEPTH {
            return Err(bad(lex::DEPTH, at));
        }
        self.objects += 1;
        let this = self.objects;
        let t = table as usize;
        let mut at = lex::blanks(b, at);
        if b.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        let mut guess = self.tables[t].first;
        let mut last = NONE;
        loop {
            if b.get(at) != Some(&b'"') {
                return Err(bad(lex::KEY, at));
            }
            let child;
            let keys = &self.tables[t].keys;
            let text = b.get(at + 1..).and_then(|b| b.first_chunk::<ROOM>());
            let hit = |i: u16| keys.get(i as usize).filter(|k| text.is_some_and(|t| k.matches(t)));
            let mut found = hit(guess);
            if found.is_none() && last != NONE {
                guess = keys[last as usize].other;
                found = hit(guess);
            }
            if let Some(k) = found {
                at += 1 + k.len as usize;
                child = k.child;
                (last, guess) = (guess, k.next[self.lane & (LANES - 1)]);
            } else {
                (at, child, guess) = self.key(b, at + 1, t, &mut last)?;
            }
            at = lex::blanks(b, at);
            match self.trie.nodes.get(child as usize) {
                None => at = lex::value(b, at, depth + 1)?,
                Some(n) if n.slot != NONE => {
                    let slot = n.slot as usize;
                    let (token, end) = read(b, at, depth + 1)?;
                    self.found[slot] = token;
                    at = end;
                    if slot == self.guide as usize {
                        self.lane = lane(&b[token.at as usize..token.end as usize]);
                    }
                }
                Some(_) => {
                    let met = &mut self.met[child as usize];
                    if met.0 == this {
                        let from = met.1 as usize;
                        self.forget(child, from);
                    } else {
                        *met = (this, self.items.len() as u32);
                    }
                    at = self.value(b, at, child, place, depth + 1)?;
                }
            }
            at = lex::blanks(b, at);
            match b.get(at) {
                Some(b',') => at = lex::blanks(b, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(bad(lex::BRACE, at)),
            }
        }
    }

    /// A key that was not the one guessed, its text at `at`: where its value stands, its node, and the next guess.
    #[inline(never)]
    fn key(&mut self, b: &[u8], at: usize, t: usize, last: &mut u16) -> Result<(usize, u16, u16), lex::Bad> {
        let (end, escaped) = lex::string(b, at)?;
        let colon = lex::blanks(b, end + 1);
        if b.get(colon) != Some(&b':') {
            return Err(bad(lex::COLON, colon));
        }
        let lane = self.lane & (LANES - 1);
        let table = &mut self.tables[t];
        let (place, child) = if escaped {
            self.scratch.clear();
            lex::unescape(&b[at..end], &mut self.scratch);
            table.find(&self.scratch)
        } else {
            table.find(&b[at..end])
        };
        let mut next = NONE;
        if place != NONE {
            match table.keys.get_mut(*last as usize) {
                Some(k) => {
                    k.other = std::mem::replace(&mut k.next[lane], place);
                }
                None if *last == NONE => table.first = place,
                None => {}
            }
            next = table.keys[place as usize].next[lane];
            *last = place;
        }
        Ok((colon + 1, child, next))
    }

    /// Takes back what an earlier one of equal keys left behind.
    #[cold]
    fn forget(&mut self, node: u16, from: usize) {
        for &id in &self.trie.nodes[node as usize].below {
            self.found[id as usize] = Token::default();
        }
        let below = &self.trie.nodes[node as usize].below;
        let (counts, mut i) = (&mut self.counts, 0);
        self.items.retain(|item| {
            i += 1;
            let gone = i > from && below.binary_search(&item.id).is_ok();
            if gone {
                counts[item.id as usize] -= 1;
            }
            !gone
        });
        self.met[node as usize].1 = self.items.len() as u32;
    }

    /// What the last scan found at a path without `[]`.
    #[inline(always)]
    pub fn get<'r>(&self, id: PathId, record: &'r [u8]) -> Json<'r> {
        self.found.get(id as usize).map_or(Json::Missing, |t| t.json(record))
    }

    /// Whether the last scan found anything at a path without `[]`.
    #[inline]
    pub fn has(&self, id: PathId) -> bool {
        self.found.get(id as usize).is_some_and(|t| t.kind != Kind::Missing)
    }

    /// What the last scan found at a path with `[]`: each value with the place of its (outermost) array element, from 0.
    /// A value that is no array counts as its only element.
    pub fn list<'s, 'r: 's>(&'s self, id: PathId, record: &'r [u8]) -> impl Iterator<Item = (u32, Json<'r>)> + 's {
        self.items.iter().filter(move |i| i.id == id).map(move |i| (i.place, i.token.json(record)))
    }

    /// How many array elements have been left out since the scanner was made.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Collects what no path covers, as it stands, under `prefix`: for output.
    ///
    /// An object that is covered in part is gone into. An array that is covered in part, or has more elements than are
    /// kept, is copied whole.
    pub fn unmapped(&self, record: &[u8], prefix: &[&str], own: &mut Own) {
        self.unmapped_but(record, prefix, &|_| true, own);
    }

    /// The same, where a path counts as covering only if `covers` says so.
    pub(in crate::parse) fn unmapped_but(&self, record: &[u8], prefix: &[&str], covers: &dyn Fn(PathId) -> bool, own: &mut Own) {
        let mut path: Vec<String> = prefix.iter().map(|s| s.to_string()).collect();
        let at = lex::blanks(record, 0);
        if record.get(at) == Some(&b'{') {
            self.rest(record, at, 0, covers, &mut path, own);
        }
    }

    fn rest(&self, b: &[u8], at: usize, node: u16, covers: &dyn Fn(PathId) -> bool, path: &mut Vec<String>, own: &mut Own) {
        let keys = self.trie.nodes[node as usize].table.map_or(&[][..], |t| &self.trie.keys[t as usize]);
        for (key, at, end) in members(b, at) {
            let child = keys.iter().find(|(k, _)| **k == *key).map(|k| k.1);
            if child.is_some_and(|c| self.covered(b, at, c, covers)) {
                continue;
            }
            path.push(String::from_utf8_lossy(&key).into_owned());
            match child {
                // What is nowhere covered inside is copied in one piece.
                Some(c) if b.get(at) == Some(&b'{') && self.touched(b, at, c, covers) => self.rest(b, at, c, covers, path, own),
                _ => {
                    let mut text = Vec::with_capacity(end - at);
                    lex::copy(&b[at..end], &mut text);
                    own.entries.push((path.clone(), text));
                }
            }
            path.pop();
        }
    }

    fn hit(&self, b: &[u8], at: usize, node: u16, covers: &dyn Fn(PathId) -> bool) -> bool {
        let n = &self.trie.nodes[node as usize];
        n.hits.iter().any(|&id| covers(id)) || b.get(at) != Some(&b'[') && n.single.iter().any(|&id| covers(id))
    }

    /// Whether nothing of the value at `at` would be lost.
    fn covered(&self, b: &[u8], at: usize, node: u16, covers: &dyn Fn(PathId) -> bool) -> bool {
        let n = &self.trie.nodes[node as usize];
        if self.hit(b, at, node, covers) {
            return true;
        }
        match (b.get(at), n.table, n.elem) {
            (Some(b'{'), Some(t), _) => {
                let members = members(b, at);
                let keys = &self.trie.keys[t as usize];
                !members.is_empty() && members.iter().all(|(key, at, _)| keys.iter().any(|(k, c)| **k == **key && self.covered(b, *at, *c, covers)))
            }
            (Some(b'['), _, Some(e)) => {
                let all = elements(b, at);
                !all.is_empty() && all.len() <= Self::MAX_ELEMENTS && all.iter().all(|(at, _)| self.covered(b, *at, e, covers))
            }
            _ => false,
        }
    }

    /// Whether anything inside the object at `at` is covered.
    fn touched(&self, b: &[u8], at: usize, node: u16, covers: &dyn Fn(PathId) -> bool) -> bool {
        let Some(t) = self.trie.nodes[node as usize].table else { return false };
        let keys = &self.trie.keys[t as usize];
        members(b, at).iter().any(|(key, at, _)| {
            keys.iter()
                .any(|(k, c)| **k == **key && (self.hit(b, *at, *c, covers) || self.covered(b, *at, *c, covers) || self.touched(b, *at, *c, covers)))
        })
    }
}

/// The members of the object at `at`: key, place and end of the value; of equal keys the last. Empty for what is no
/// object.
pub(super) fn members(b: &[u8], at: usize) -> Vec<(std::borrow::Cow<'_, [u8]>, usize, usize)> {
    let mut out = Vec::new();
    if b.get(at) != Some(&b'{') {
        return out;
    }
    let mut at = lex::blanks(b, at + 1);
    while b.get(at) == Some(&b'"') {
        let Ok((end, escaped)) = lex::string(b, at + 1) else { break };
        let text = &b[at + 1..end];
        let key = if escaped {
            let mut k = Vec::new();
            lex::unescape(text, &mut k);
            k.into()
        } else {
            text.into()
        };
        let start = lex::blanks(b, lex::blanks(b, end + 1) + 1);
        let Ok(stop) = lex::value(b, start, 1) else { break };
        out.push((key, start, stop));
        at = lex::blanks(b, lex::blanks(b, stop) + 1);
    }
    let mut seen = std::collections::HashSet::new();
    let keep: Vec<bool> = out.iter().rev().map(|(k, _, _)| seen.insert(k.clone())).collect();
    let mut i = keep.len();
    out.retain(|_| {
        i -= 1;
        keep[i]
    });
    out
}

/// The elements of the array at `at`: place and end. Empty for what is no array.
pub(super) fn elements(b: &[u8], at: usize) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut at = match b.get(at) {
        Some(b'[') => lex::blanks(b, at + 1),
        _ => return out,
    };
    while !matches!(b.get(at), None | Some(b']')) {
        let Ok(end) = lex::value(b, at, 1) else { break };
        out.push((at, end));
        at = lex::blanks(b, lex::blanks(b, end) + 1);
    }
    out
}
