//! The bulk format of Elasticsearch, as shippers of logs speak it: a line that says what to do, and the line of its document.
//!
//! - `create` and `index` store a record; `update` and `delete` are answered with an error of their own, and the rest goes on.
//! - The record is `event.original`, else `message`, else the whole document; the keys nested or dotted. What is not a JSON
//!   object is a record as it stands. A record may span lines, and is one record whatever stands in it.
//! - A line that cannot be an action ends the request: nothing of it is stored.

use super::{Take, weight};
use crate::event::Batch;
use crate::source::frame::whole;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest name of an index.
const INDEX: usize = 255;
/// The longest id.
const ID: usize = 512;
/// The index of actions that name none where the path does not either.
const ANY: &str = "vigild";

/// What an action asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Store, unless the id is there.
    Create,
    /// Store.
    Index,
    /// Change: not done.
    Update,
    /// Remove: not done.
    Delete,
}

impl Verb {
    fn named(s: &str) -> Option<Verb> {
        [Verb::Create, Verb::Index, Verb::Update, Verb::Delete].into_iter().find(|v| v.name() == s)
    }

    /// The word in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Index => "index",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// One action, as it is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What it asks for.
    pub verb: Verb,
    /// The index that it names, or the path.
    pub index: Arc<str>,
    /// The id that it names.
    pub id: Option<Box<str>>,
    /// Why nothing is stored for it; `None` where a record is.
    pub refused: Option<&'static str>,
}

/// A request, as far as it has been read.
pub struct Bulk {
    max_record: usize,
    index: Arc<str>,
    line: Vec<u8>,
    lines: u64,
    /// The action whose document comes next.
    open: Option<Item>,
    /// The action line before, and what it meant: shippers send the same for every document.
    before: (Vec<u8>, Option<Item>),
    items: Vec<Item>,
    /// Bytes of their ids and names of indices.
    names: usize,
    batch: Batch,
    wrong: Option<String>,
}

impl Bulk {
    /// Records longer than `max_record` are cut; `index` is that of the path.
    pub fn new(index: Option<&str>, max_record: usize) -> Bulk {
        Bulk {
            max_record,
            index: index.unwrap_or(ANY).into(),
            line: Vec::new(),
            lines: 0,
            open: None,
            before: (Vec::new(), None),
            items: Vec::new(),
            names: 0,
            batch: Batch::default(),
            wrong: None,
        }
    }

    /// The items in their order and the records of those that are stored, or why nothing is; the last newline may be missing.
    pub fn end(mut self) -> Result<(Vec<Item>, Batch), String> {
        let last = std::mem::take(&mut self.line);
        if !last.is_empty() {
            self.cut(&last);
        }
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        match (self.open, self.items.is_empty()) {
            (Some(_), _) => Err(format!("the action on line [{}] has no document behind it", self.lines)),
            (None, true) => Err("request body is required".into()),
            (None, false) => Ok((self.items, self.batch)),
        }
    }

    fn cut(&mut self, line: &[u8]) {
        self.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.wrong.is_some() {
            return;
        }
        match self.open.take() {
            None if line.trim_ascii().is_empty() => {}
            None => match self.action(line) {
                Ok(item) if item.verb == Verb::Delete => self.items.push(refuse(item)),
                Ok(item) => self.open = Some(item),
                Err(why) => self.wrong = Some(why),
            },
            Some(item) if item.verb == Verb::Update => self.items.push(refuse(item)),
            Some(item) => {
                let item =
                    if line.trim_ascii().is_empty() { Item { refused: Some("the document is empty"), ..item } } else { self.document(item, line) };
                self.items.push(item);
            }
        }
    }

    fn action(&mut self, line: &[u8]) -> Result<Item, String> {
        if let (before, Some(item)) = &self.before
            && before == line
        {
            self.names += item.id.as_ref().map_or(0, |i| i.len());
            return Ok(item.clone());
        }
        let malformed = |what: String| format!("Malformed action/metadata line [{}], {what}", self.lines);
        let action: Action<'_> = serde_json::from_slice(line).map_err(|e| malformed(format!("it is no action: {e}")))?;
        let Some(verb) = Verb::named(&action.verb) else {
            let shown: String = action.verb.chars().take(64).collect();
            return Err(malformed(format!("expected field [create], [delete], [index] or [update] but found [{shown}]")));
        };
        if action.index.as_ref().is_some_and(|i| i.is_empty() || i.len() > INDEX) {
            return Err(malformed(format!("the name of an index has 1 to {INDEX} bytes")));
        }
        if action.id.as_ref().is_some_and(|i| i.is_empty() || i.len() > ID) {
            return Err(malformed(format!("an id has 1 to {ID} bytes")));
        }
        let known = [Some(&self.index), self.before.1.as_ref().map(|i| &i.index)];
        let index: Arc<str> = match action.index {
            None => self.index.clone(),
            Some(i) => match known.into_iter().flatten().find(|k| ***k == *i) {
                Some(k) => k.clone(),
                None => {
                    self.names += i.len();
                    i.as_ref().into()
                }
            },
        };
        let id: Option<Box<str>> = action.id.map(|i| i.as_ref().into());
        self.names += id.as_ref().map_or(0, |i| i.len());
        let item = Item { verb, index, id, refused: None };
        self.before.0.clear();
        self.before.0.extend_from_slice(line);
        self.before.1 = Some(item.clone());
        Ok(item)
    }

    fn document(&mut self, item: Item, line: &[u8]) -> Item {
        let text = serde_json::from_slice::<Document<'_>>(line).ok().and_then(|d| d.original.or(d.message));
        let record = text.as_ref().map_or(line, |t| t.as_bytes());
        let end = record.iter().rev().take_while(|c| matches!(c, b'\n' | b'\r' | 0)).count();
        let record = &record[..record.len() - end];
        let n = if record.len() > self.max_record { whole(record, self.max_record) } else { record.len() };
        self.batch.push(&record[..n], n < record.len());
        item
    }
}

fn refuse(item: Item) -> Item {
    Item { refused: Some("records are only added: use [create] or [index]"), ..item }
}

impl Take for Bulk {
    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(n) = memchr::memchr(b'\n', rest) {
            if self.line.is_empty() {
                self.cut(&rest[..n]);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..n]);
                self.cut(&line);
                line.clear();
                self.line = line;
            }
            rest = &rest[n + 1..];
        }
        if self.wrong.is_none() {
            self.line.extend_from_slice(rest);
        }
    }

    fn held(&self) -> usize {
        // An item is answered by about so much again.
        self.line.capacity() + weight(&self.batch) + self.items.capacity() * 2 * size_of::<Item>() + 2 * self.names
    }
}

/// `{"create":{"_index":"x","_id":"1"}}`: one member, whose own members beside these mean nothing here.
struct Action<'l> {
    verb: Cow<'l, str>,
    index: Option<Cow<'l, str>>,
    id: Option<Cow<'l, str>>,
}

impl<'de> Deserialize<'de> for Action<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Action<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one member")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let wrong = |what| serde::de::Error::custom(what);
                let Some(Key(verb)) = map.next_key()? else { return Err(wrong("an object without a member")) };
                let meta: Meta<'de> = map.next_value()?;
                if map.next_key::<Key<'de>>()?.is_some() {
                    return Err(wrong("an object with a second member"));
                }
                Ok(Action { verb, index: meta.0[0].clone(), id: meta.0[1].clone() })
            }
        }
        d.deserialize_map(V)
    }
}

/// What of a document can be the record.
struct Document<'l> {
    original: Option<Cow<'l, str>>,
    message: Option<Cow<'l, str>>,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Document<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut doc = Document { original: None, message: None };
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        "event" => doc.original = map.next_value::<Original<'de>>()?.0.or(doc.original),
                        "event.original" => doc.original = map.next_value::<Text<'de>>()?.filled().or(doc.original),
                        "message" => doc.message = map.next_value::<Text<'de>>()?.filled(),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(doc)
            }
        }
        d.deserialize_map(V)
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'l>(Cow<'l, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Text::deserialize(d)? {
            Text(Some(key)) => Ok(Key(key)),
            Text(None) => Err(serde::de::Error::custom("a key that is not a string")),
        }
    }
}

/// Any value; what it holds if it is a string.
struct Text<'l>(Option<Cow<'l, str>>);

impl<'l> Text<'l> {
    /// The string, unless there is nothing in it.
    fn filled(self) -> Option<Cow<'l, str>> {
        self.0.filter(|t| !t.trim_ascii().is_empty())
    }
}

/// The members of an object that are strings: `_index` and `_id`.
struct Meta<'l>([Option<Cow<'l, str>>; 2]);

/// The member `original` of an object, if there is something in it.
struct Original<'l>(Option<Cow<'l, str>>);

/// A visitor of any value, of which only strings and the named members of objects are kept.
struct Pick<'n, const N: usize>(&'n [&'static str; N]);

/// What was picked.
struct Picked<'l, const N: usize> {
    text: Option<Cow<'l, str>>,
    members: [Option<Cow<'l, str>>; N],
}

impl<'l, const N: usize> Picked<'l, N> {
    fn none() -> Self {
        Picked { text: None, members: [const { None }; N] }
    }

    fn text(t: Cow<'l, str>) -> Self {
        Picked { text: Some(t), ..Self::none() }
    }
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = Picked<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Picked::text(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Picked::text(Cow::Owned(v.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Picked::none())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Picked::none())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Picked::none())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Picked::none())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Picked::none())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Picked::none())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = Picked::none();
        while let Some(Key(key)) = map.next_key()? {
            match self.0.iter().position(|n| *n == key) {
                Some(i) => picked.members[i] = map.next_value::<Text<'de>>()?.0,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(picked)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Pick(&[])).map(|p| Text(p.text))
    }
}

impl<'de> Deserialize<'de> for Meta<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Pick(&["_index", "_id"])).map(|p| Meta(p.members))
    }
}

impl<'de> Deserialize<'de> for Original<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let [original] = d.deserialize_any(Pick(&["original"]))?.members;
        Ok(Original(Text(original).filled()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `verb index id!` of each item (`!` where it is refused), and the records.
    fn read(body: &str, piece: usize) -> Result<(Vec<String>, Vec<String>), String> {
        let mut b = Bulk::new(None, 1024);
        for part in body.as_bytes().chunks(piece) {
            b.take(part);
        }
        let (items, batch) = b.end()?;
        let item =
            |i: &Item| format!("{} {} {}{}", i.verb.name(), i.index, i.id.as_deref().unwrap_or("-"), if i.refused.is_some() { "!" } else { "" });
        let records = batch.records.iter().map(|r| String::from_utf8_lossy(batch.record(*r)).into_owned());
        Ok((items.iter().map(item).collect(), records.collect()))
    }

    #[track_caller]
    fn check(body: &str, items: &[&str], records: &[&str]) {
        for piece in [1, 7, usize::MAX] {
            let (i, r) = read(body, piece).expect("well formed");
            assert_eq!(
                (i.iter().map(String::as_str).collect::<Vec<_>>(), r.iter().map(String::as_str).collect::<Vec<_>>()),
                (items.to_vec(), records.to_vec())
            );
        }
    }

    #[track_caller]
    fn check_record(document: &str, record: &str) {
        check(&format!("{{\"index\":{{}}}}\n{document}\n"), &["index vigild -"], &[record]);
    }

    #[test]
    fn the_record_is_the_original_else_the_message_else_the_document() {
        check_record(r#"{"event":{"original":"a"},"message":"b"}"#, "a");
        check_record(r#"{"message":"b","event.original":"a"}"#, "a");
        check_record(r#"{"message":"b\n","event":{"dataset":"x"}}"#, "b");
        check_record(r#"{"message":"b","event":{"original":""}}"#, "b");
        check_record(r#"{"message":"b","event":"x","tags":["message",{"message":"c"}]}"#, "b");
        check_record(r#"{"message":"first\nsecond \"x\" \u00fc"}"#, "first\nsecond \"x\" ü");
        check_record(r#"{"log":"c"}"#, r#"{"log":"c"}"#);
        check_record(r#"{"message":7,"event":{"original":{"a":1}}}"#, r#"{"message":7,"event":{"original":{"a":1}}}"#);
        check_record(r#"{"message":" "}"#, r#"{"message":" "}"#);
        check_record("{}", "{}");
        check_record("not JSON", "not JSON");
        check_record(r#"{"message":"cut"#, r#"{"message":"cut"#);
    }

    #[test]
    fn actions_are_answered_one_by_one() {
        check(
            "{\"create\":{\"_index\":\"logs\",\"_id\":\"1\",\"pipeline\":\"p\"}}\n{\"message\":\"a\"}\n\
             {\"delete\":{\"_index\":\"logs\",\"_id\":\"2\"}}\n\
             {\"update\":{\"_id\":\"3\"}}\r\n{\"doc\":{\"message\":\"x\"}}\r\n\n\
             {\"index\":{\"_index\":\"logs\"}}\n\n{\"index\":{\"_index\":\"logs\",\"_type\":null}}\r\n{\"message\":\"b\"}",
            &["create logs 1", "delete logs 2!", "update vigild 3!", "index logs -!", "index logs -"],
            &["a", "b"],
        );
        let same = "{\"create\":{}}\n{\"message\":\"a\"}\n".repeat(3);
        check(&same, &["create vigild -"; 3], &["a"; 3]);
    }

    #[test]
    fn a_line_that_is_no_action_ends_the_request() {
        for (body, word) in [
            ("", "required"),
            ("\n\n", "required"),
            ("{\"create\":{}}\n", "no document"),
            ("{\"create\":{}}\n{}\n{\"message\":\"x\"}\n{}\n", "line [3], expected field [create]"),
            ("{\"message\":\"x\"}\n", "found [message]"),
            ("create\n{}\n", "line [1], it is no action"),
            ("{}\n{}\n", "without a member"),
            ("{\"create\":{},\"index\":{}}\n{}\n", "second member"),
            ("{\"index\":{\"_index\":\"\"}}\n{}\n", "name of an index"),
        ] {
            for piece in [1, usize::MAX] {
                let wrong = read(body, piece).expect_err(body);
                assert!(wrong.contains(word), "{body}: {wrong}");
            }
        }
        let long = format!("{{\"index\":{{\"_id\":\"{}\"}}}}\n{{}}\n", "x".repeat(ID + 1));
        assert!(read(&long, 100).is_err());
    }

    #[test]
    fn a_long_record_is_cut_and_what_is_held_is_known() {
        let mut b = Bulk::new(Some("logs"), 1024);
        b.take(format!("{{\"create\":{{}}}}\n{{\"message\":\"{}\"}}\n", "ü".repeat(1000)).as_bytes());
        b.take(&[b'x'; 5000]);
        assert!(b.held() > 6000, "{}", b.held());
        let mut b = Bulk::new(Some("logs"), 1024);
        b.take(format!("{{\"create\":{{}}}}\n{{\"message\":\"{}\"}}\n", "ü".repeat(1000)).as_bytes());
        let (items, batch) = b.end().expect("well formed");
        assert_eq!((&*items[0].index, batch.records[0].truncated, batch.records[0].span.len), ("logs", true, 1024));
    }
}
