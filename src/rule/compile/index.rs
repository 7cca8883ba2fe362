//! Which predicates can be true of a value: looked up, not tried one by one.
//!
//! Each indexed predicate hangs under the values that it equals, the networks that it names, or a literal that must be in
//! the text for it to hold; the literals of one field are found in one pass by an Aho-Corasick automaton. Literals and
//! text are folded by [`fold_char`], which is coarser than every notion of case in the language, so what the look-up
//! brings is a candidate and is asked itself. Answers for texts are remembered, bounded.

use super::predicate::{Like, Map, Predicate, Token, Values, lower};
use crate::event::{Field, Value, field};
use crate::rule::{Compare, Literal, Op, Place, Test};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use foldhash::fast::FixedState;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::hash::BuildHasher;

/// The longest literal that is searched for; of a longer one the front is.
const LONGEST: usize = 32;
/// The shortest literal that is searched for; automata full of shorter ones stop at every byte.
const SHORTEST: usize = 2;
/// The shortest literal taken from a regular expression.
const REGEX_SHORTEST: usize = 3;
/// The most alternatives taken from a regular expression.
const ALTERNATIVES: usize = 64;
/// Above this many bytes of literals a field gets the slower, smaller automaton.
const DFA_BYTES: usize = 64 * 1024;

/// Folds a character for the index: a function of its lower case, that brings together what any case folding does.
pub(super) fn fold_char(c: char) -> char {
    let l = lower(c);
    if l.is_ascii() { l } else { lower(l.to_uppercase().next().unwrap_or(l)) }
}

/// Folds text into `out`, which is cleared first; bytes that are no character stay as they are.
fn fold(b: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if b.is_ascii() {
        out.extend(b.iter().map(u8::to_ascii_lowercase));
        return;
    }
    for chunk in b.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.extend_from_slice(fold_char(c).encode_utf8(&mut [0; 4]).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
}

fn folded(s: &str) -> String {
    s.chars().map(fold_char).collect()
}

/// The front of a literal, within [`LONGEST`] bytes.
fn front(mut s: String) -> String {
    if s.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&i| s.is_char_boundary(i)).unwrap_or(0);
        s.truncate(end);
    }
    s
}

/// How a predicate is found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// Under the values that it equals; they hold it without being asked.
    Equal,
    /// Under these folded literals, one of which is in every text for which it holds, and these folded whole texts.
    Literals { parts: Vec<String>, whole: Vec<String> },
    /// Asked of every value of its field.
    Scan,
    /// Its rules are woken whenever the field is there; it is asked of the event.
    Present,
    /// Only asking the event tells.
    Asked,
}

/// How a test is found, and the share of events for which it may hold, estimated.
pub(super) fn way(test: &Test) -> (Way, f32) {
    let seen = commonness(test.field);
    match &test.op {
        Op::In(list) => (Way::Equal, (list.iter().map(|l| equal(test.field, l)).sum::<f32>()).min(1.0)),
        Op::Table(t) => {
            let n = (t.text.len() + t.numbers.len()) as f32;
            (Way::Equal, (n * 0.001 + t.nets.iter().map(network).sum::<f32>()).min(0.4))
        }
        Op::Cidr(nets) => (Way::Equal, nets.iter().map(network).sum::<f32>().min(1.0)),
        Op::Text(place, s) => {
            let lit = front(folded(s));
            if lit.len() < SHORTEST {
                return (Way::Scan, 0.5);
            }
            let mut est = part(&lit, test.field);
            if *place != Place::Contains {
                // The start of a path or an URL is shared by many.
                est = if matches!(s.as_bytes().first(), Some(b'/' | b'C' | b'h')) && s.len() < 10 { est.max(0.05) } else { est * 0.5 };
            }
            (Way::Literals { parts: vec![lit], whole: Vec::new() }, est)
        }
        Op::Like(list) => like(list, test.field),
        Op::Matches(p) => match required(p.0.as_str()) {
            Some(parts) => {
                let est = parts.iter().map(|l| part(l, test.field)).sum::<f32>().min(1.0);
                (Way::Literals { parts, whole: Vec::new() }, est)
            }
            None => (Way::Scan, 0.6),
        },
        // Its text stands in one field of some events and in another of others.
        Op::Words(_) => (Way::Asked, 1.0),
        Op::Exists => (Way::Scan, 0.5 * seen.max(0.2)),
        Op::NotEqual(_) => (Way::Scan, 0.9),
        Op::Order(..) => (Way::Scan, 0.6),
        Op::Field(Compare::Equal, _) => (Way::Present, 0.7),
        Op::Field(..) => (Way::Present, 0.8),
    }
}

fn like(list: &[String], f: Field) -> (Way, f32) {
    let (mut parts, mut whole, mut est) = (Vec::new(), Vec::new(), 0f32);
    for s in list {
        let tokens = Like::new(s).tokens;
        let runs: Vec<String> = tokens
            .split(|t| !matches!(t, Token::Char(_)))
            .map(|run| run.iter().filter_map(|t| if let Token::Char(c) = t { Some(fold_char(*c)) } else { None }).collect())
            .collect();
        if runs.len() == 1 {
            est += 0.002f32.max(commonness(f));
            whole.extend(runs);
            continue;
        }
        let best = runs.into_iter().map(front).max_by_key(String::len).unwrap_or_default();
        if best.len() < SHORTEST {
            return (Way::Scan, 0.5);
        }
        est += part(&best, f);
        parts.push(best);
    }
    (Way::Literals { parts, whole }, est.min(1.0))
}

/// The share of events that have one given value of this field, of those that people name in rules.
fn commonness(f: Field) -> f32 {
    match f {
        field::EVENT_KIND => 0.6,
        field::EVENT_CATEGORY | field::EVENT_TYPE | field::EVENT_OUTCOME => 0.4,
        field::EVENT_MODULE | field::NETWORK_TRANSPORT | field::HTTP_REQUEST_METHOD | field::NETWORK_DIRECTION => 0.25,
        field::EVENT_DATASET | field::NETWORK_PROTOCOL | field::LOG_LEVEL | field::TAGS | field::EVENT_SEVERITY => 0.15,
        field::HTTP_RESPONSE_STATUS_CODE | field::DESTINATION_PORT | field::SERVER_PORT | field::URL_SCHEME => 0.1,
        field::EVENT_ACTION | field::HOST_NAME | field::HOST_HOSTNAME | field::SURICATA_FLOW_STATE | field::FALCO_PRIORITY => 0.05,
        field::OSSEC_LEVEL | field::RULE_CATEGORY | field::OSSEC_DECODER | field::URL_DOMAIN => 0.03,
        field::USER_NAME | field::PROCESS_NAME | field::EVENT_CODE | field::DESTINATION_DOMAIN => 0.01,
        _ => 0.002,
    }
}

fn equal(f: Field, l: &Literal) -> f32 {
    match l {
        Literal::Bool(_) => 0.5,
        Literal::Int(_) | Literal::Float(_) => commonness(f).max(0.02),
        Literal::Ip(_) | Literal::Time(_) => 0.001,
        Literal::Str(_) => commonness(f),
    }
}

fn network(n: &ipnet::IpNet) -> f32 {
    match n.max_prefix_len() - n.prefix_len() {
        0 => 0.001,
        1..=8 => 0.01,
        9..=16 => 0.1,
        _ => 0.3,
    }
}

/// The share of texts that hold a literal: longer is rarer, and free text holds more.
fn part(s: &str, f: Field) -> f32 {
    let by_length: f32 = match s.len() {
        0..=1 => 0.5,
        2 => 0.3,
        3 => 0.1,
        4 => 0.03,
        5 => 0.015,
        6..=7 => 0.006,
        8..=11 => 0.003,
        _ => 0.0015,
    };
    // A category holds its few words in many events.
    let by_field = if commonness(f) > 0.1 { commonness(f) } else { 0.0 };
    let free = if matches!(f, field::EVENT_ORIGINAL | field::MESSAGE | field::OSSEC_FULL_LOG) { 2.0 } else { 1.0 };
    (by_length * free).max(by_field)
}

/// Folded literals, one of which is in every text that the expression matches; `None` where there are none of at least
/// [`REGEX_SHORTEST`] bytes. Flags stand in the expression itself.
fn required(pattern: &str) -> Option<Vec<String>> {
    let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).ok()?;
    let mut list: Vec<String> = literals(&hir).best()?.into_iter().map(front).collect();
    list.sort();
    list.dedup();
    Some(list)
}

/// What is known of the texts that an expression matches, folded.
#[derive(Default)]
struct Known {
    /// All of them, where they are few.
    exact: Option<Vec<String>>,
    /// One of these is in each of them.
    inner: Option<Vec<String>>,
}

fn usable(list: Option<Vec<String>>) -> Option<Vec<String>> {
    list.filter(|l| !l.is_empty() && l.len() <= ALTERNATIVES && l.iter().all(|s| s.len() >= REGEX_SHORTEST))
}

/// The rarer of two sets of literals: that with the longer shortest one, then the smaller.
fn rarer(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<Vec<String>> {
    let score = |l: &Vec<String>| (l.iter().map(|s| s.len().min(12)).min().unwrap_or(0), std::cmp::Reverse(l.len()));
    match (a, b) {
        (Some(a), Some(b)) => Some(if score(&b) > score(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

impl Known {
    fn exact(list: Vec<String>) -> Known {
        Known { exact: Some(list), inner: None }
    }

    fn best(self) -> Option<Vec<String>> {
        rarer(usable(self.exact), usable(self.inner))
    }
}

fn literals(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::exact(vec![String::new()]),
        HirKind::Literal(l) => match std::str::from_utf8(&l.0) {
            Ok(s) => Known::exact(vec![folded(s)]),
            Err(_) => Known::default(),
        },
        HirKind::Class(c) => class(c).map_or_else(Known::default, Known::exact),
        HirKind::Capture(c) => literals(&c.sub),
        HirKind::Repetition(r) => {
            let sub = literals(&r.sub);
            match (r.min, r.max) {
                (1, Some(1)) => sub,
                (0, Some(1)) => match sub.exact {
                    Some(mut l) if l.len() <= 4 => {
                        l.push(String::new());
                        Known::exact(l)
                    }
                    _ => Known::default(),
                },
                (0, _) => Known::default(),
                _ => Known { exact: None, inner: sub.best() },
            }
        }
        HirKind::Concat(list) => {
            let (mut run, mut inner, mut whole) = (vec![String::new()], None, true);
            for h in list {
                let k = literals(h);
                match k.exact {
                    Some(e) if e.len() * run.len() <= ALTERNATIVES && run.iter().all(|r| r.len() < LONGEST) => run = cross(&run, &e),
                    e => {
                        whole = false;
                        let next = e.unwrap_or_else(|| vec![String::new()]);
                        inner = rarer(inner, rarer(usable(Some(std::mem::replace(&mut run, next))), usable(k.inner)));
                    }
                }
            }
            if whole { Known::exact(run) } else { Known { exact: None, inner: rarer(inner, usable(Some(run))) } }
        }
        HirKind::Alternation(list) => {
            let mut all: Vec<Known> = list.iter().map(literals).collect();
            if all.iter().all(|k| k.exact.is_some()) {
                let exact: Vec<String> = all.iter_mut().flat_map(|k| k.exact.take().unwrap_or_default()).collect();
                if exact.len() <= ALTERNATIVES {
                    return Known::exact(exact);
                }
                return Known { exact: None, inner: usable(Some(exact)) };
            }
            let inner: Option<Vec<Vec<String>>> = all.into_iter().map(Known::best).collect();
            Known { exact: None, inner: inner.map(|l| l.concat()) }
        }
    }
}

fn cross(a: &[String], b: &[String]) -> Vec<String> {
    a.iter().flat_map(|x| b.iter().map(move |y| format!("{x}{y}"))).collect()
}

/// The members of a small class, folded: `[Kk\u{212a}]` is one.
fn class(c: &Class) -> Option<Vec<String>> {
    let mut out: Vec<String> = match c {
        Class::Unicode(u) => {
            if u.iter().map(|r| r.len()).sum::<usize>() > 16 {
                return None;
            }
            u.iter().flat_map(|r| r.start()..=r.end()).map(|c| fold_char(c).to_string()).collect()
        }
        Class::Bytes(b) => {
            if !b.is_ascii() || b.iter().map(|r| r.len()).sum::<usize>() > 16 {
                return None;
            }
            b.iter().flat_map(|r| r.start()..=r.end()).map(|c| fold_char(char::from(c)).to_string()).collect()
        }
    };
    out.sort();
    out.dedup();
    (!out.is_empty()).then_some(out)
}

/// What is gathered for a field before its automaton is built.
#[derive(Default)]
pub(super) struct Gather {
    values: Values<Vec<u32>>,
    whole: Map<Box<[u8]>, Vec<u32>>,
    parts: std::collections::BTreeMap<String, Vec<u32>>,
    scan: Vec<u32>,
    present: Vec<u32>,
}

impl Gather {
    /// Hangs a predicate under what it is found by.
    pub(super) fn add(&mut self, p: u32, test: &Test, way: &Way) {
        match way {
            Way::Equal => self.values.add(&test.op, |l| {
                if l.last() != Some(&p) {
                    l.push(p);
                }
            }),
            Way::Literals { parts, whole } => {
                for s in parts {
                    self.parts.entry(s.clone()).or_default().push(p);
                }
                for s in whole {
                    self.whole.entry(s.as_bytes().into()).or_default().push(p);
                }
            }
            Way::Scan => self.scan.push(p),
            Way::Present => self.present.push(p),
            Way::Asked => {}
        }
    }

    /// Builds the look-up of one field, in slot `slot`.
    pub(super) fn build(self, slot: usize, predicates: &[Predicate]) -> FieldIndex {
        let (needles, under): (Vec<String>, Vec<Vec<u32>>) = self.parts.into_iter().unzip();
        let bytes: usize = needles.iter().map(String::len).sum();
        let build = |kind| AhoCorasick::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).kind(kind).build(&needles);
        let automaton = if needles.is_empty() {
            None
        } else {
            let first = if bytes <= DFA_BYTES { build(Some(AhoCorasickKind::DFA)) } else { build(None) };
            first.or_else(|_| build(None)).ok()
        };
        let mut scan = self.scan;
        if automaton.is_none() {
            // An automaton too large to be built is no reason to miss a match.
            scan.extend(under.iter().flatten());
            scan.sort_unstable();
            scan.dedup();
        }
        let remember = automaton.is_some() || !self.whole.is_empty() || scan.iter().any(|&p| predicates[p as usize].is_search());
        FieldIndex { slot, values: self.values, whole: self.whole, automaton, under, scan, present: self.present, remember }
    }
}

/// The look-up of one field.
#[derive(Debug)]
pub(super) struct FieldIndex {
    /// Where the field stands in a row.
    pub(super) slot: usize,
    values: Values<Vec<u32>>,
    whole: Map<Box<[u8]>, Vec<u32>>,
    automaton: Option<AhoCorasick>,
    under: Vec<Vec<u32>>,
    scan: Vec<u32>,
    /// Predicates whose rules are woken by any value.
    pub(super) present: Vec<u32>,
    remember: bool,
}

/// What a look-up needs beside the index, reused.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    fold: Vec<u8>,
    seen: Vec<u32>,
    turn: u32,
    list: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(predicates: usize) -> Scratch {
        Scratch { seen: vec![0; predicates], ..Scratch::default() }
    }
}

impl FieldIndex {
    /// Calls `hold` for each indexed predicate that one value passes; some more than once.
    #[inline]
    pub(super) fn find(&self, v: Value<'_>, predicates: &[Predicate], s: &mut Scratch, memo: &mut Memo, mut hold: impl FnMut(u32)) {
        if let (true, Value::Str(text)) = (self.remember, &v) {
            let hash = FixedState::default().hash_one(*text);
            if let Some(list) = memo.get(hash, text) {
                list.iter().for_each(|&p| hold(p));
                return;
            }
            self.search(text, predicates, s);
            s.list.iter().for_each(|&p| hold(p));
            memo.put(hash, text, &s.list);
            return;
        }
        self.values.find(&v, |l| l.iter().for_each(|&p| hold(p)));
        for &p in &self.scan {
            if predicates[p as usize].passes(&v) {
                hold(p);
            }
        }
    }

    /// Fills `s.list` with the indexed predicates that a text passes, each once.
    fn search(&self, text: &[u8], predicates: &[Predicate], s: &mut Scratch) {
        let Scratch { fold: buffer, seen, turn, list } = s;
        *turn = turn.wrapping_add(1);
        if *turn == 0 {
            seen.fill(0);
            *turn = 1;
        }
        list.clear();
        let v = Value::Str(text);
        let mut ask = |p: u32, list: &mut Vec<u32>| {
            let mark = &mut seen[p as usize];
            if std::mem::replace(mark, *turn) != *turn && predicates[p as usize].passes(&v) {
                list.push(p);
            }
        };
        self.values.find(&v, |l| l.iter().for_each(|&p| ask(p, list)));
        let plain = text.is_ascii();
        if !plain || !self.whole.is_empty() {
            fold(text, buffer);
        }
        if let Some(l) = self.whole.get(buffer.as_slice()).filter(|_| !self.whole.is_empty()) {
            l.iter().for_each(|&p| ask(p, list));
        }
        if let Some(ac) = &self.automaton {
            for m in ac.find_overlapping_iter(if plain { text } else { buffer.as_slice() }) {
                self.under[m.pattern().as_usize()].iter().for_each(|&p| ask(p, list));
            }
        }
        self.scan.iter().for_each(|&p| ask(p, list));
    }
}

/// How many answers a field remembers.
const ENTRIES: usize = 8192;
/// How many bytes of texts, and how many numbers of predicates, a field remembers.
const BYTES: usize = 1 << 20;
/// A longer text is not remembered.
const TEXT: usize = 1024;
/// So many look-ups are judged together.
const TRIAL: u32 = 2048;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: u64,
    text: (u32, u32),
    list: (u32, u32),
}

/// The predicates that the texts of one field passed. A text has one place, which a newer one takes; when the room for
/// texts is full all is forgotten. A field whose values do not come again is left alone for a while.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    entries: Vec<Entry>,
    text: Vec<u8>,
    lists: Vec<u32>,
    hits: u32,
    asked: u32,
    rest: u32,
    /// How many answers were remembered, over all.
    pub(super) remembered: u64,
    /// How many texts were searched, over all.
    pub(super) searched: u64,
}

impl Memo {
    #[inline]
    fn get(&mut self, hash: u64, text: &[u8]) -> Option<&[u32]> {
        if self.rest > 0 {
            self.rest -= 1;
            self.searched += 1;
            return None;
        }
        self.asked += 1;
        if self.asked == TRIAL {
            if self.hits < TRIAL / 8 {
                self.rest = TRIAL * 8;
            }
            (self.hits, self.asked) = (0, 0);
        }
        if let Some(e) = self.entries.get(hash as usize % ENTRIES)
            && e.hash == hash
            && e.text.1 as usize == text.len()
            && !text.is_empty()
            && self.text.get(e.text.0 as usize..e.text.0 as usize + text.len()) == Some(text)
        {
            self.hits += 1;
            self.remembered += 1;
            return self.lists.get(e.list.0 as usize..(e.list.0 + e.list.1) as usize);
        }
        self.searched += 1;
        None
    }

    fn put(&mut self, hash: u64, text: &[u8], list: &[u32]) {
        if self.rest > 0 || text.len() > TEXT || text.is_empty() || list.len() > BYTES / 16 {
            return;
        }
        if self.entries.is_empty() {
            self.entries.resize(ENTRIES, Entry::default());
        }
        if self.text.len() + text.len() > BYTES || self.lists.len() + list.len() > BYTES {
            self.entries.fill(Entry::default());
            self.text.clear();
            self.lists.clear();
        }
        let e = Entry { hash, text: (self.text.len() as u32, text.len() as u32), list: (self.lists.len() as u32, list.len() as u32) };
        self.text.extend_from_slice(text);
        self.lists.extend_from_slice(list);
        self.entries[hash as usize % ENTRIES] = e;
    }
}
