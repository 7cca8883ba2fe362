//! An event as nested ECS JSON, one line.

use super::{Event, Own, Schema, Value};

/// A JSON value under construction: an object, or the text of a finished value.
enum Node {
    Object(Vec<(String, Node)>),
    Text(Vec<u8>),
}

impl Node {
    /// Puts a value at a path, the last of equal paths wins, but not over fields below it. Where a plain value stands in the way of an object, the
    /// rest of the path is a dotted key beside it.
    fn insert(&mut self, path: &[String], text: Vec<u8>) {
        let Node::Object(members) = self else { return };
        let [first, rest @ ..] = path else { return };
        if rest.is_empty() {
            match members.iter_mut().find(|(k, _)| k == first) {
                // Fields that stand below have been read out of the record: they are not lost to a plain value.
                Some((_, Node::Object(_))) => {}
                Some((_, old)) => *old = Node::Text(text),
                None => members.push((first.clone(), Node::Text(text))),
            }
            return;
        }
        match members.iter_mut().find(|(k, _)| k == first) {
            Some((_, child @ Node::Object(_))) => child.insert(rest, text),
            Some(_) => members.push((path.join("."), Node::Text(text))),
            None => {
                let mut child = Node::Object(Vec::new());
                child.insert(rest, text);
                members.push((first.clone(), child));
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Node::Text(t) => out.extend_from_slice(t),
            Node::Object(members) => {
                out.push(b'{');
                for (i, (k, v)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    string(k.as_bytes(), out);
                    out.push(b':');
                    v.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// An object put together from values at dotted paths, written as nested JSON in the order of insertion.
pub struct Tree(Node);

impl Default for Tree {
    fn default() -> Self {
        Tree(Node::Object(Vec::new()))
    }
}

impl Tree {
    /// Puts the JSON text of a value at a dotted name.
    pub fn put(&mut self, name: &str, text: Vec<u8>) {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        self.0.insert(&path, text);
    }

    /// Puts a value of an event at a dotted name; a missing one is not written.
    pub fn value(&mut self, name: &str, v: Value<'_>, many: bool) {
        if v.is_missing() {
            return;
        }
        let mut t = Vec::new();
        value(v, many, &mut t);
        self.put(name, t);
    }

    /// Puts text at a dotted name.
    pub fn str(&mut self, name: &str, s: &str) {
        let mut t = Vec::new();
        string(s.as_bytes(), &mut t);
        self.put(name, t);
    }

    /// Writes the object, without a newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

/// Writes an event as one JSON object: its fields in the order of the schema, then what [`Own`] collected.
///
/// The event must have been parsed with a full layout.
pub fn write(event: &Event<'_>, schema: &Schema, own: &Own, out: &mut Vec<u8>) {
    let mut tree = Tree::default();
    for (i, &f) in event.layout().fields().iter().enumerate() {
        tree.value(schema.name(f), event.at(i), schema.many(f));
    }
    for (path, text) in &own.entries {
        tree.0.insert(path, text.clone());
    }
    tree.write(out);
}

/// Writes one value as JSON; `many` writes a single value as an array.
pub fn value(v: Value<'_>, many: bool, out: &mut Vec<u8>) {
    use std::io::Write;
    match v {
        Value::List(l) => {
            out.push(b'[');
            for (i, e) in l.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                value(e, false, out);
            }
            out.push(b']');
        }
        _ if many => {
            out.push(b'[');
            value(v, false, out);
            out.push(b']');
        }
        Value::Str(s) => string(s, out),
        Value::Time(t) => {
            out.push(b'"');
            t.write(out);
            out.push(b'"');
        }
        // Writing to a Vec cannot fail.
        Value::Missing => out.extend_from_slice(b"null"),
        Value::Int(n) => drop(write!(out, "{n}")),
        Value::Big(n) => drop(write!(out, "{n}")),
        Value::Float(x) => drop(serde_json::to_writer(&mut *out, &x)),
        Value::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
        Value::Ip(ip) => drop(write!(out, "\"{ip}\"")),
    }
}

/// Writes text as a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn string(s: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(s);
    // Serializing a string into a Vec cannot fail.
    drop(serde_json::to_writer(out, text.as_ref()));
}
