//! ECS JSON as this program writes it, and as others do: keys nested, dotted, or both.
//!
//! What is written out and read again is the same event, byte for byte: known fields are read by their type, everything
//! else is copied as it stands.

use super::json::{Json, PathId, Paths, Scanner};
use super::{Context, syslog::Envelope};
use crate::event::field::{Field, TABLE};
use crate::event::{Layout, Out, ParseError, Schema, Type};

/// The parser; one for each worker.
pub struct Parser {
    scanner: Scanner,
    event: PathId,
    /// Each field's path in its nested spelling and in all others: where a record has both, the nested one is the field
    /// and the other stays as it is.
    fields: Vec<(PathId, PathId, Field, Type)>,
}

impl Parser {
    /// A parser for events of this schema and layout.
    ///
    /// With a full layout only the fields of [`TABLE`] are read, and own-prefix fields are copied as they stand: so a
    /// number keeps its spelling.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        let full = layout.len() >= schema.len();
        let mut paths = Paths::default();
        let event = paths.add("event");
        let wanted = layout.fields().iter().filter(|f| !full || (f.0 as usize) < TABLE.len());
        let fields = wanted.map(|&f| {
            let name = schema.name(f);
            (paths.add(name), paths.add_mixed(name), f, schema.ty(f))
        });
        let fields = fields.collect();
        Parser { scanner: Scanner::new(paths), event, fields }
    }

    /// Whether a record is of this format, told cheaply and without doubt: an object with `@timestamp` and `event` or a
    /// dotted `event.` key among its first bytes.
    pub fn recognise(_env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        let b = record.trim_ascii();
        let first = &b[..b.len().min(1024)];
        let has = |k: &[u8]| memchr::memmem::find(first, k).is_some();
        b.first() == Some(&b'{') && has(b"\"@timestamp\"") && (has(b"\"event\"") || has(b"\"event."))
    }

    /// Parses one record without its envelope.
    ///
    /// - Out: every field of the layout that can be read as its type; an array becomes a list. `null`, what cannot be
    ///   read, and an empty array are missing.
    /// - Errors: what is no JSON object.
    pub fn parse(&mut self, _ctx: &Context<'_>, _env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let b = record;
        if b.trim_ascii_start().first() != Some(&b'{') {
            return Err(ParseError { expected: "a JSON object", offset: 0 });
        }
        self.scanner.scan(b)?;
        let s = &self.scanner;
        for &(nested, mixed, field, ty) in &self.fields {
            let v = s.get(nested, b);
            match v {
                Json::Missing => s.get(mixed, b).put(field, ty, out),
                v => v.put(field, ty, out),
            }
        }
        if let Some(own) = out.own() {
            let fields = &self.fields;
            s.unmapped_but(
                b,
                &[],
                &|id| id != self.event && fields.iter().any(|(n, m, _, _)| *n == id || *m == id && s.get(*n, b) == Json::Missing),
                own,
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::{context, event};
    use super::*;
    use crate::event::field as f;
    use crate::event::{Arena, Batch, Event, Own, Slot, Timestamp, json};
    use proptest::prelude::*;

    /// Reads a line with a full layout and writes it.
    fn again(schema: &Schema, line: &str) -> String {
        let mut p = Parser::new(schema, &Layout::full(schema));
        event(schema, line, |ctx, b, out| p.parse(ctx, None, b, out)).expect(line)
    }

    #[test]
    fn every_spelling_of_a_key_is_read() {
        let schema = Schema::default();
        let want =
            r#"{"@timestamp":"2026-11-23T05:00:00.000000Z","event":{"kind":"alert"},"source":{"ip":"203.0.113.9","port":4711},"rule":{"id":"7"}}"#;
        for line in [
            want,
            r#"{"@timestamp":"2026-11-23T06:00:00+01:00","event":{"kind":"alert"},"source":{"ip":"::ffff:203.0.113.9","port":"4711"},"rule":{"id":7}}"#,
            r#"{"rule.id":"7","source.ip":"203.0.113.9","source":{"port":4711},"event.kind":"alert","@timestamp":"2026-11-23T05:00:00Z"}"#,
            r#"{"@timestamp":"2026-11-23T05:00:00Z","event.kind":"alert","source":{"ip":"203.0.113.9","port":4711,"bytes":null,"packets":"many"},"tags":[],"rule.id":"7"}"#,
        ] {
            assert_eq!(again(&schema, line), want, "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_byte_for_byte() {
        let mut schema = Schema::default();
        schema.intern("suricata.tcp.syn", Type::Any, false);
        schema.intern("falco.output_fields.proc.aname[2]", Type::Str, false);
        for line in [
            r#"{"@timestamp":"2026-11-23T05:00:00.123456789Z","event":{"kind":"event","category":["a"],"severity":0},"tags":["x","y"]}"#,
            r#"{"event":{"kind":"pipeline_error","original":"{\"a\":"},"error":{"message":"expected a JSON value at byte 5"}}"#,
            r#"{"suricata":{"flow_id":18446744073709551615,"tcp":{"syn":1.10,"x":[1],"y":[]},"big":18446744073709551616,"n":null,"e":{}}}"#,
            r#"{"source":{"ip":["192.0.2.1","2001:db8::1"]},"rule":{"id":["1","2"],"name":["a"]}}"#,
            r#"{"suricata":{"flow":{"state":"new"},"flow.state":5,"a.b":1,"a":{"b":2}}}"#,
            r#"{"falco":{"output_fields":{"proc.aname[2]":"init","proc":{"aname[2]":"x"}}}}"#,
            r#"{"message":"\u0000 \" \\ é 😀 �","vulnerability":{"score":{"base":0.1}},"my":{"text":"\ufffd","esc":"\u00e9\/"}}"#,
        ] {
            assert_eq!(again(&schema, line), line);
        }
    }

    #[test]
    fn a_hot_layout_reads_own_fields_by_their_dotted_name() {
        let mut schema = Schema::default();
        let syn = schema.intern("suricata.tcp.syn", Type::Any, false).unwrap();
        let layout = Layout::of(&schema, [syn, f::RULE_ID]);
        let mut p = Parser::new(&schema, &layout);
        for line in [r#"{"suricata":{"tcp":{"syn":true}},"rule.id":"x"}"#, r#"{"suricata.tcp.syn":true,"rule":{"id":"x"}}"#] {
            let mut batch = Batch::default();
            batch.push(line.as_bytes(), false);
            let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
            context(|ctx| p.parse(ctx, None, &batch.bytes, &mut Out::new(&batch.bytes, &mut arena, &mut slots, &layout, None))).unwrap();
            let e = Event::new(&batch.bytes, &arena, &slots, &layout);
            assert_eq!((e.get(syn), e.get(f::RULE_ID)), (crate::event::Value::Bool(true), crate::event::Value::Str(b"x")), "{line}");
        }
    }

    /// One value for a field: which of a few, and whether once, in a list of one, or in a list of two.
    fn fill(schema: &Schema, picks: &[(u16, u8, u8)], out: &mut Out<'_>) {
        for &(field, which, how) in picks {
            let field = Field(field % TABLE.len() as u16);
            let one = |n: u8, out: &mut Out<'_>| match schema.ty(field) {
                Type::Int => [Slot::Int(-5), Slot::Int(0), Slot::Big(u64::MAX), Slot::Int(i64::MAX)][n as usize % 4],
                Type::Float => [Slot::Float(0.1), Slot::Float(1e300), Slot::Float(3.0), Slot::Float(-0.0)][n as usize % 4],
                Type::Bool => Slot::Bool(n.is_multiple_of(2)),
                Type::Time => Slot::Time(Timestamp([0, 1, 1_795_412_490_339_956_001, 1_795_412_490_000_000_000][n as usize % 4])),
                Type::Ip => out.address(["192.0.2.1", "2001:db8::1", "::", "::ffff:1.2.3.4"][n as usize % 4].parse().unwrap()),
                Type::Str | Type::Any => out.text(["a", "null", "é\"\\\n\u{1}", "5"][n as usize % 4].as_bytes()),
            };
            let s = one(which, out);
            match how % 3 {
                0 => out.put(field, s),
                1 => out.push(field, s),
                _ => {
                    out.push(field, s);
                    let s = one(which + 1, out);
                    out.push(field, s);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_event_survives(
            picks in prop::collection::vec((any::<u16>(), 0u8..4, 0u8..3), 0..12),
            own in prop::collection::vec((prop::collection::vec(prop::sample::select(vec!["flow", "a", "a.b", "x.y.z", "é"]), 1..4),
                prop::sample::select(vec!["1", "1.50", "null", "[]", "{}", "\"s\"", "[{\"a\":[1]}]", "{\"a.b\":{\"c\":1}}", "18446744073709551616", "\"\\ud83d\\ude00\""])), 0..5),
        ) {
            let schema = Schema::default();
            let layout = Layout::full(&schema);
            let (mut arena, mut slots, mut o) = (Arena::default(), vec![Slot::Missing; layout.len()], Own::default());
            fill(&schema, &picks, &mut Out::new(b"", &mut arena, &mut slots, &layout, None));
            for (i, (path, text)) in own.into_iter().enumerate() {
                let mut full = vec![["own", "suricata"][i % 2].to_string()];
                full.extend(path.iter().map(|s| s.to_string()));
                o.entries.push((full, text.into()));
            }
            let mut line = Vec::new();
            json::write(&Event::new(b"", &arena, &slots, &layout), &schema, &o, &mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(again(&schema, &line), line);
        }
    }
}
