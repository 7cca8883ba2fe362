//! From what was found in a record to the fields of its event: the same for all readers.

use super::pattern::{Clock, NONE, Span, slashes};
use crate::event::{Field, Out, Slot, Type, field, int_slot, ip, time};
use crate::parse::Context;
use crate::parse::json::{Json, PathId, Scanner};
use std::net::IpAddr;

/// A value that a format's file gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Const {
    Str(Box<[u8]>),
    Int(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Box<[u8]>>),
}

/// What is asked of a value by `if`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Present,
    Absent,
    /// Any of these texts; `true` for one of which only the beginning is given.
    Any(Vec<(Box<[u8]>, bool)>),
}

impl Test {
    pub fn text(&self, t: Option<&[u8]>) -> bool {
        match self {
            Test::Present => t.is_some(),
            Test::Absent => t.is_none(),
            Test::Any(all) => t.is_some_and(|t| all.iter().any(|(w, open)| if *open { t.starts_with(w) } else { t == &w[..] })),
        }
    }
}

/// How a value becomes a field, or several.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Conv {
    /// As the field's type says.
    Plain,
    Time(Clock),
    /// Times the first, through the second, to the nearest whole number.
    Scale(i64, i64),
    /// Lower case, with `-` for blanks, `_` and `.`.
    Kebab,
    Lower,
    /// An address with or without a port, or a name.
    Peer {
        ip: Field,
        port: Field,
        address: Field,
    },
    /// `METHOD URL HTTP/1.1`.
    Request,
    Url,
    /// `registry/name:tag@digest`.
    Image,
    /// A port.
    Port,
    /// The last part behind a mark (`after`), or what stands before the first (`before`).
    After(u8),
    Before(u8),
}

/// A sum of counts with weights, in millionths, and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compute {
    pub base: i64,
    pub weights: Vec<(u16, i64)>,
    pub least: i64,
    pub most: i64,
}

/// A field and where its value comes from.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The first of these that is there.
    pub from: Vec<u16>,
    pub field: Field,
    pub ty: Type,
    pub many: bool,
    pub conv: Conv,
    pub map: Vec<(Box<[u8]>, Const)>,
    /// For a value that the map does not name.
    pub otherwise: Option<Const>,
    /// Header text that names the client where the address itself is a trusted proxy's.
    pub forwarded: Option<u16>,
    pub compute: Option<Compute>,
}

/// Constants and mappings.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub set: Vec<(Field, bool, Const)>,
    pub fields: Vec<Mapping>,
}

/// A body that holds only for some records.
#[derive(Clone, Debug)]
pub(super) struct When {
    pub tests: Vec<(u16, Test)>,
    pub body: Body,
}

/// What a reader found, by variable.
pub(super) enum Values<'a> {
    Json { scanner: &'a Scanner, ids: &'a [Option<(PathId, bool)>], record: &'a [u8] },
    Text { caps: &'a [Span], record: &'a [u8], empty: &'a [Box<[u8]>] },
}

impl<'a> Values<'a> {
    /// Calls `f` with each value of a variable until it says that it has enough.
    fn each(&self, var: u16, f: &mut dyn FnMut(Json<'a>) -> bool) {
        match *self {
            Values::Text { caps, record, empty } => {
                if let Some(&c) = caps.get(var as usize)
                    && c != NONE
                    && c.0 < c.1
                {
                    let s = &record[c.0 as usize..c.1 as usize];
                    if !empty.iter().any(|e| s == &e[..]) {
                        f(Json::Str(s));
                    }
                }
            }
            Values::Json { scanner, ids, record } => match ids.get(var as usize).copied().flatten() {
                Some((id, true)) => {
                    for (_, v) in scanner.list(id, record) {
                        if there(&v) && f(v) {
                            return;
                        }
                    }
                }
                Some((id, false)) => {
                    let v = scanner.get(id, record);
                    if there(&v) {
                        f(v);
                    }
                }
                None => {}
            },
        }
    }

    fn first(&self, var: u16) -> Json<'a> {
        let mut got = Json::Missing;
        self.each(var, &mut |v| {
            got = v;
            true
        });
        got
    }
}

fn there(v: &Json<'_>) -> bool {
    !matches!(v, Json::Missing | Json::Null | Json::Str(b""))
}

/// The text of a scalar.
fn text<'s, 'r: 's>(v: &Json<'r>, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
    match v {
        Json::Str(s) | Json::Number(s) => Some(s),
        Json::Bool(true) => Some(b"true"),
        Json::Bool(false) => Some(b"false"),
        Json::Escaped(_) => v.text(scratch),
        // An object or an array that is there, for `"?"`.
        Json::Object(s) | Json::Array(s) => Some(s),
        Json::Missing | Json::Null => None,
    }
}

/// Writes what a body says.
pub(super) fn body(b: &Body, v: &Values<'_>, ctx: &Context<'_>, out: &mut Out<'_>, scratch: &mut Vec<u8>) {
    for (f, many, c) in &b.set {
        constant(*f, *many, c, out);
    }
    for m in &b.fields {
        mapping(m, v, ctx, out, scratch);
    }
}

/// Writes those bodies whose tests hold.
pub(super) fn whens(w: &[When], v: &Values<'_>, ctx: &Context<'_>, out: &mut Out<'_>, scratch: &mut Vec<u8>) {
    for w in w {
        let holds = w.tests.iter().all(|(var, test)| {
            let mut any = false;
            v.each(*var, &mut |x| {
                any = *test == Test::Absent || test.text(text(&x, scratch));
                any
            });
            any != (*test == Test::Absent)
        });
        if holds {
            body(&w.body, v, ctx, out, scratch);
        }
    }
}

fn constant(f: Field, many: bool, c: &Const, out: &mut Out<'_>) {
    if !out.wants(f) {
        return;
    }
    match c {
        Const::Str(s) if many => {
            out.clear(f);
            out.add(f, s);
        }
        Const::Str(s) => out.str(f, s),
        Const::Int(v) => out.int(f, *v),
        Const::Float(v) => out.float(f, *v),
        Const::Bool(v) => out.bool(f, *v),
        Const::List(l) => {
            out.clear(f);
            for s in l {
                out.add(f, s);
            }
        }
    }
}

fn mapping(m: &Mapping, v: &Values<'_>, ctx: &Context<'_>, out: &mut Out<'_>, scratch: &mut Vec<u8>) {
    // The groups write several fields; each of those asks for itself whether it is wanted.
    let group = matches!(m.conv, Conv::Peer { .. } | Conv::Request | Conv::Url | Conv::Image);
    if !group && !out.wants(m.field) {
        return;
    }
    if let Some(c) = &m.compute {
        return compute(m.field, c, v, out);
    }
    for &var in &m.from {
        let mut any = false;
        v.each(var, &mut |x| {
            if m.many && !any && matches!(m.conv, Conv::Plain) {
                out.clear(m.field);
            }
            any |= one(m, x, v, ctx, out, scratch);
            any && !m.many && !group
        });
        if any {
            return;
        }
    }
}

/// Writes one value; whether there was something to write.
fn one(m: &Mapping, x: Json<'_>, v: &Values<'_>, ctx: &Context<'_>, out: &mut Out<'_>, scratch: &mut Vec<u8>) -> bool {
    if !m.map.is_empty() {
        let Some(t) = text(&x, scratch) else { return false };
        if let Some(c) = m.map.iter().find(|c| t == &c.0[..]).map(|c| &c.1).or(m.otherwise.as_ref()) {
            constant(m.field, m.many, c, out);
            return true;
        }
        if m.conv == Conv::Plain {
            return false;
        }
    }
    if m.conv == Conv::Plain && m.forwarded.is_none() {
        return put(m.field, m.ty, m.many, x, out, scratch);
    }
    let Some(t) = text(&x, scratch) else { return false };
    match &m.conv {
        Conv::Plain => {
            let Some(addr) = ip(t) else { return false };
            out.ip(m.field, m.forwarded.and_then(|f| client(addr, f, v, ctx)).unwrap_or(addr));
        }
        Conv::Time(c) => {
            let Some(t) = instant(*c, t, ctx) else { return false };
            out.time(m.field, t);
        }
        Conv::Scale(by, through) => {
            let Some(Slot::Int(n)) = int_slot(t) else { return false };
            let (n, d) = (n as i128 * *by as i128, (*through).max(1) as i128);
            out.int(m.field, i64::try_from((2 * n + d).div_euclid(2 * d)).unwrap_or(i64::MAX));
        }
        Conv::Kebab | Conv::Lower => {
            let kebab = m.conv == Conv::Kebab;
            let s = out.build(|b| {
                b.extend(t.iter().map(|c| if kebab && matches!(c, b'_' | b'.' | b' ') { b'-' } else { c.to_ascii_lowercase() }));
            });
            write(m, s, out);
        }
        Conv::After(mark) => {
            let t = memchr::memrchr(*mark, t).map_or(t, |n| &t[n + 1..]);
            let s = out.text(t);
            write(m, s, out);
        }
        Conv::Before(mark) => {
            let t = memchr::memchr(*mark, t).map_or(t, |n| &t[..n]);
            let s = out.text(t);
            write(m, s, out);
        }
        Conv::Port => out.port_text(m.field, t),
        Conv::Peer { ip, port, address } => peer(*ip, *port, *address, t, out),
        Conv::Request => request(t, out),
        Conv::Url => url(t, out),
        Conv::Image => image(t, out),
    }
    true
}

fn write(m: &Mapping, s: Slot, out: &mut Out<'_>) {
    if m.many { out.push(m.field, s) } else { out.put(m.field, s) }
}

/// Writes a value in its field's type.
fn put(f: Field, ty: Type, many: bool, x: Json<'_>, out: &mut Out<'_>, scratch: &mut Vec<u8>) -> bool {
    if let Json::Array(_) | Json::Object(_) = x {
        x.put(f, ty, out);
        return true;
    }
    let (word, number) = (matches!(x, Json::Str(_) | Json::Escaped(_)), matches!(x, Json::Number(_)));
    let Some(t) = text(&x, scratch) else { return false };
    let slot = match ty {
        Type::Str => out.text(t),
        Type::Any if word => out.text(t),
        Type::Ip => match ip(t) {
            Some(v) => out.address(v),
            None => Slot::Missing,
        },
        Type::Int => int_slot(t).unwrap_or_default(),
        Type::Any if number => int_slot(t).unwrap_or_else(|| float(t)),
        Type::Float => float(t),
        Type::Bool | Type::Any => match t {
            b"true" => Slot::Bool(true),
            b"false" => Slot::Bool(false),
            _ => Slot::Missing,
        },
        Type::Time => time::iso(t, &jiff::tz::TimeZone::UTC).filter(|x| x.1 == t.len()).map_or(Slot::Missing, |x| Slot::Time(x.0)),
    };
    if slot == Slot::Missing {
        return false;
    }
    if many {
        out.push(f, slot)
    } else {
        out.put(f, slot)
    }
    true
}

fn float(t: &[u8]) -> Slot {
    std::str::from_utf8(t).ok().and_then(|t| t.parse::<f64>().ok()).filter(|v| v.is_finite()).map_or(Slot::Missing, Slot::Float)
}

/// Reads a time, the whole text.
fn instant(c: Clock, t: &[u8], ctx: &Context<'_>) -> Option<crate::event::Timestamp> {
    match c {
        Clock::Iso => time::iso(t, ctx.zone).filter(|x| x.1 == t.len()).map(|x| x.0),
        Clock::Asctime => time::asctime(t, ctx.zone),
        Clock::Clf => time::clf(t, ctx.zone),
        Clock::Bsd => time::bsd(t).filter(|x| x.1 == t.len()).and_then(|x| x.0.nearest(ctx.zone, ctx.near)),
        Clock::Epoch => time::epoch(t),
        Clock::Slashes => slashes(t).filter(|_| t.len() == 19).and_then(|c| c.in_zone(ctx.zone)),
        Clock::Any => instant(Clock::Iso, t, ctx).or_else(|| time::epoch(t)),
    }
}

/// The client that a forwarding header names, where the address that connected is a trusted proxy's: the last that is
/// none. Header texts that HAProxy captured stand between bars; the first that holds nothing but addresses is meant.
fn client(addr: IpAddr, var: u16, v: &Values<'_>, ctx: &Context<'_>) -> Option<IpAddr> {
    if !ctx.estate.is_proxy(addr) {
        return None;
    }
    let Json::Str(t) = v.first(var) else { return None };
    let mut parts = t.split(|c| matches!(c, b'|' | b'{' | b'}' | b'"'));
    let list = parts.find(|p| p.iter().any(|c| *c != b' ') && hops(p).all(|h| ip(h).is_some()))?;
    hops(list).filter_map(ip).filter(|h| !ctx.estate.is_proxy(*h)).last()
}

fn hops(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|c| matches!(c, b',' | b' ')).filter(|h| !h.is_empty())
}

/// Writes an address with an optional port, or a name.
fn peer(f: Field, port: Field, address: Field, t: &[u8], out: &mut Out<'_>) {
    if let Some(a) = ip(t) {
        return out.ip(f, a);
    }
    if let Some(n) = memchr::memrchr(b':', t)
        && let Some(a) = ip(&t[..n])
    {
        out.ip(f, a);
        return out.port_text(port, &t[n + 1..]);
    }
    out.str(address, t);
}

/// Writes `METHOD URL HTTP/1.1`, where it is one.
fn request(t: &[u8], out: &mut Out<'_>) {
    let Some(n) = memchr::memchr(b' ', t) else { return };
    let (method, rest) = (&t[..n], &t[n + 1..]);
    if method.is_empty() || method.len() > 32 || !method.iter().all(|c| c.is_ascii_alphabetic() || matches!(c, b'-' | b'_')) {
        return;
    }
    out.str(field::HTTP_REQUEST_METHOD, method);
    let target = match memchr::memmem::rfind(rest, b" HTTP/") {
        Some(n) => {
            out.str(field::HTTP_VERSION, &rest[n + 6..]);
            &rest[..n]
        }
        None => rest,
    };
    url(target, out);
}

/// Writes a URL as it was sent, and its parts.
fn url(t: &[u8], out: &mut Out<'_>) {
    out.str(field::URL_ORIGINAL, t);
    let t = memchr::memchr(b'#', t).map_or(t, |n| &t[..n]);
    let path = match memchr::memmem::find(t, b"://") {
        Some(n) if n > 0 && t[..n].iter().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c)) => {
            out.str(field::URL_SCHEME, &t[..n]);
            let rest = &t[n + 3..];
            let end = rest.iter().position(|c| matches!(c, b'/' | b'?')).unwrap_or(rest.len());
            let host = memchr::memrchr(b'@', &rest[..end]).map_or(&rest[..end], |n| &rest[n + 1..end]);
            let colon = memchr::memrchr(b':', host).filter(|n| host[*n + 1..].iter().all(u8::is_ascii_digit));
            out.str(field::URL_DOMAIN, colon.map_or(host, |n| &host[..n]));
            if let Some(n) = colon {
                out.port_text(field::URL_PORT, &host[n + 1..]);
            }
            &rest[end..]
        }
        _ if t.first() == Some(&b'/') => t,
        _ => return,
    };
    match memchr::memchr(b'?', path) {
        Some(n) => {
            out.str(field::URL_PATH, &path[..n]);
            out.str(field::URL_QUERY, &path[n + 1..]);
        }
        None => out.str(field::URL_PATH, path),
    }
}

/// Writes the parts of an image's name. A colon is a tag's only behind the last slash.
fn image(t: &[u8], out: &mut Out<'_>) {
    let (name, digest) = match memchr::memchr(b'@', t) {
        Some(n) => (&t[..n], &t[n + 1..]),
        None => (t, &b""[..]),
    };
    let slash = memchr::memrchr(b'/', name).map_or(0, |n| n + 1);
    let (name, tag) = match memchr::memchr(b':', &name[slash..]) {
        Some(n) => (&name[..slash + n], &name[slash + n + 1..]),
        None => (name, &b""[..]),
    };
    if !out.has(field::CONTAINER_IMAGE_NAME) {
        out.str(field::CONTAINER_IMAGE_NAME, name);
    }
    out.add(field::CONTAINER_IMAGE_TAG, tag);
    out.add(field::CONTAINER_IMAGE_HASH_ALL, digest);
}

/// Writes a weighted sum. Counted in millionths, so that the result is the decimal that a reader works out by hand.
fn compute(f: Field, c: &Compute, v: &Values<'_>, out: &mut Out<'_>) {
    let mut sum = c.base as i128;
    let mut scratch = Vec::new();
    for (var, weight) in &c.weights {
        v.each(*var, &mut |x| {
            if let Some(Slot::Int(n)) = text(&x, &mut scratch).and_then(int_slot) {
                sum += n as i128 * *weight as i128;
            }
            false
        });
    }
    let sum = sum.clamp(c.least as i128, c.most as i128);
    out.float(f, sum as f64 / 1e6);
}
