//! One pass over a JSON text into the paths that somebody asked for, never into a tree.
//!
//! A parser adds its [`Paths`] once, scans each record with a [`Scanner`], and reads what was found as [`Json`] values
//! that point into the record. Nothing is allocated for a record. For output, [`Scanner::unmapped`] goes over the record
//! a second time and copies what no path covers.

mod lex;
mod paths;
mod scan;
#[cfg(test)]
pub(super) mod tests;

pub use paths::{PathId, Paths};
pub use scan::Scanner;

use crate::event::{Field, Layout, Out, Schema, Slot, Type, int_slot, time};
use jiff::tz::TimeZone;

/// Declares the paths of a format, each with the fields that want it.
macro_rules! path_ids {
    ($($id:ident $path:literal $($field:ident)*;)*) => {
        /// The numbers of the paths; one that nobody wants is never found.
        struct Ids { $($id: PathId),* }
        impl Ids {
            fn new(paths: &mut Paths, wants: &dyn Fn($crate::event::Field) -> bool) -> Ids {
                Ids { $($id: if false $(|| wants($crate::event::field::$field))* { paths.add($path) } else { PathId::MAX }),* }
            }
        }
    };
}
pub(super) use path_ids;

/// A value as it stands in the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Json<'r> {
    /// Not there.
    Missing,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The text of a number.
    Number(&'r [u8]),
    /// A string without escapes, quotes taken off.
    Str(&'r [u8]),
    /// A string with escapes, as it stands between the quotes.
    Escaped(&'r [u8]),
    /// An object, braces included.
    Object(&'r [u8]),
    /// An array, brackets included.
    Array(&'r [u8]),
}

/// The number that 1 to 18 digits stand for: most of them.
#[inline]
fn short(s: &[u8]) -> Option<i64> {
    if s.is_empty() || s.len() > 18 {
        return None;
    }
    let mut v = 0i64;
    for c in s {
        let d = c.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + d as i64;
    }
    Some(v)
}

impl<'r> Json<'r> {
    /// The text of a string, unescaped into `scratch` where needed (a lone surrogate becomes U+FFFD), or of a number.
    pub fn text<'s>(&self, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'r: 's,
    {
        match *self {
            Json::Str(s) | Json::Number(s) => Some(s),
            Json::Escaped(s) => {
                scratch.clear();
                lex::unescape(s, scratch);
                Some(scratch)
            }
            _ => None,
        }
    }

    /// Whether it is a string.
    pub fn is_str(&self) -> bool {
        matches!(self, Json::Str(_) | Json::Escaped(_))
    }

    /// Whether it is a string of exactly this text, written without escapes.
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Json::Str(s) if *s == text.as_bytes())
    }

    /// The number, where it is a whole one that fits, or a string that reads as one.
    pub fn int(&self) -> Option<i64> {
        match *self {
            Json::Number(s) | Json::Str(s) => short(s).or_else(|| match int_slot(s) {
                Some(Slot::Int(v)) => Some(v),
                _ => None,
            }),
            _ => None,
        }
    }

    /// The elements of an array; none of anything else. They are read again from the text, which costs time and memory:
    /// for what is rare.
    pub fn elements(&self) -> Vec<Json<'r>> {
        match *self {
            Json::Array(s) => scan::elements(s, 0).into_iter().filter_map(|(at, _)| Some(scan::token(s, at)?.0)).collect(),
            _ => Vec::new(),
        }
    }

    /// A slot for a string, a number's text or a truth value's word.
    #[inline(never)]
    pub fn str_slot(&self, out: &mut Out<'_>) -> Slot {
        match *self {
            Json::Str(s) | Json::Number(s) => out.text(s),
            Json::Escaped(s) => out.build(|t| lex::unescape(s, t)),
            Json::Bool(b) => out.text(if b { b"true" } else { b"false" }),
            _ => Slot::Missing,
        }
    }

    fn slot(&self, ty: Type, out: &mut Out<'_>) -> Slot {
        // Numbers, addresses and times are short; an escaped one is unescaped on the stack.
        let mut room = [0u8; 128];
        let text: &[u8] = match *self {
            Json::Str(s) | Json::Number(s) => s,
            Json::Escaped(s) if ty != Type::Str && ty != Type::Any => {
                let mut v = Vec::new();
                lex::unescape(s, &mut v);
                match room.get_mut(..v.len()) {
                    Some(r) => {
                        r.copy_from_slice(&v);
                        r
                    }
                    None => return Slot::Missing,
                }
            }
            _ => b"",
        };
        let float =
            |s: &[u8]| std::str::from_utf8(s).ok().and_then(|s| s.parse::<f64>().ok()).filter(|f| f.is_finite()).map_or(Slot::Missing, Slot::Float);
        match (ty, *self) {
            (_, Json::Missing | Json::Null | Json::Object(_) | Json::Array(_)) => Slot::Missing,
            (Type::Str, _) => self.str_slot(out),
            (Type::Bool | Type::Any, Json::Bool(b)) => Slot::Bool(b),
            (Type::Any, Json::Number(s)) => int_slot(s).unwrap_or_else(|| float(s)),
            (Type::Any, _) => self.str_slot(out),
            (Type::Int, _) => int_slot(text).unwrap_or_default(),
            (Type::Float, _) => float(text),
            (Type::Bool, _) => match text {
                b"true" => Slot::Bool(true),
                b"false" => Slot::Bool(false),
                _ => Slot::Missing,
            },
            (Type::Ip, _) => crate::event::ip(text).map_or(Slot::Missing, |ip| out.address(ip)),
            (Type::Time, Json::Number(s)) => time::epoch(s).map_or(Slot::Missing, Slot::Time),
            (Type::Time, _) => match time::iso(text, &TimeZone::UTC) {
                Some((t, n)) if n == text.len() => Slot::Time(t),
                _ => Slot::Missing,
            },
        }
    }

    /// Writes a string, a number's text or a truth value's word to a text field.
    #[inline(always)]
    pub fn put_str(&self, f: Field, out: &mut Out<'_>) {
        match *self {
            Json::Missing => {}
            Json::Str(s) => out.str(f, s),
            _ => self.put_other(f, out),
        }
    }

    #[inline(never)]
    fn put_other(&self, f: Field, out: &mut Out<'_>) {
        if out.wants(f) {
            let s = self.str_slot(out);
            if s != Slot::Missing {
                out.put(f, s);
            }
        }
    }

    /// Writes a whole number, or a string that reads as one.
    #[inline]
    pub fn put_int(&self, f: Field, out: &mut Out<'_>) {
        if let Json::Number(s) | Json::Str(s) = *self {
            match short(s) {
                Some(v) => out.int(f, v),
                None => out.int_text(f, s),
            }
        }
    }

    /// Writes a port, 1 to 65535.
    #[inline]
    pub fn put_port(&self, f: Field, out: &mut Out<'_>) {
        if let Some(v @ 1..=65535) = self.int() {
            out.int(f, v);
        }
    }

    /// Writes an address; `false` where it is none.
    #[inline]
    pub fn put_ip(&self, f: Field, out: &mut Out<'_>) -> bool {
        match *self {
            Json::Str(s) => out.ip_text(f, s),
            Json::Escaped(_) => {
                let s = self.slot(Type::Ip, out);
                if s != Slot::Missing {
                    out.put(f, s);
                }
                s != Slot::Missing
            }
            _ => false,
        }
    }

    /// Writes a value in its field's type as [`Schema::ty`] says; an array becomes a list.
    pub fn put(&self, f: Field, schema_ty: Type, out: &mut Out<'_>) {
        if !out.wants(f) {
            return;
        }
        if let Json::Array(s) = *self {
            let mut at = lex::blanks(s, 1);
            while let Some((v, end)) = scan::token(s, at) {
                let slot = v.slot(schema_ty, out);
                out.push(f, slot);
                at = lex::blanks(s, lex::blanks(s, end) + 1);
            }
            return;
        }
        let s = self.slot(schema_ty, out);
        if s != Slot::Missing {
            out.put(f, s);
        }
    }
}

/// The own-prefix fields that rules ask of a JSON format beyond those it maps itself.
#[derive(Clone, Debug, Default)]
pub struct OwnFields {
    fields: Vec<(PathId, Field, Type)>,
}

impl OwnFields {
    /// Binds every field of the schema that has a slot and begins with `prefix.` and is not in the format's own hands
    /// (`mapped`), to the path of that name, nested or dotted. A full layout binds none: output copies them as they stand.
    pub fn bind(schema: &Schema, layout: &Layout, prefix: &str, mapped: &[Field], paths: &mut Paths) -> OwnFields {
        if layout.len() >= schema.len() {
            return OwnFields::default();
        }
        let wanted = layout.fields().iter().filter(|f| !mapped.contains(f));
        let fields = wanted.filter_map(|&f| {
            let rest = schema.name(f).strip_prefix(prefix)?.strip_prefix('.')?;
            Some((paths.add_dotted(rest), f, schema.ty(f)))
        });
        OwnFields { fields: fields.collect() }
    }

    /// Writes them after a scan.
    pub fn write(&self, scanner: &Scanner, record: &[u8], out: &mut Out<'_>) {
        for &(id, f, ty) in &self.fields {
            scanner.get(id, record).put(f, ty, out);
        }
    }
}
