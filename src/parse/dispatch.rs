//! One record to one event: its carrier and envelope, the parser that takes it, and what is the same for all.

use super::syslog::{self, Envelope};
use super::{Context, Format, Native, carrier, declared, ecs, enrich, fail2ban, falco, modsecurity, ossec, suricata};
use crate::event::{Layout, Out, ParseError, Schema, Slot, field};
use memchr::memmem::Finder;
use std::io::Write;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The format that took it; of a record that did not parse, the one that was named or came nearest.
    pub format: Option<Format>,
    /// Whether it did not parse, and is a `pipeline_error`.
    pub error: bool,
}

/// All parsers for one schema and layout; one for each worker.
pub struct Parsers {
    ossec: ossec::Parser,
    falco: falco::Parser,
    suricata: suricata::Parser,
    fail2ban: fail2ban::Parser,
    modsecurity: modsecurity::Parser,
    ecs: ecs::Parser,
    declared: declared::Parsers,
    names: Vec<Box<str>>,
    scratch: Vec<u8>,
    json: Json,
}

/// What tells early that a line of JSON is not of a format, with searches that are prepared once.
struct Json {
    sidid: Finder<'static>,
    output: Finder<'static>,
    priority: Finder<'static>,
}

impl Json {
    /// Whether recognition by this format could succeed; it is sure only of a no.
    fn possible(&self, n: Native, record: &[u8]) -> bool {
        match n {
            Native::Ossec => record.starts_with(b"{\"rule\"") || self.sidid.find(record).is_some(),
            // `"output"` and `"output_fields"`, or `"priority"`, in the part that is looked at.
            Native::Falco => {
                let first = &record[..record.len().min(512)];
                self.output.find(first).is_some() || self.priority.find(first).is_some()
            }
            _ => true,
        }
    }
}

/// The attempt that came nearest: by which format, and what it missed.
type Miss = Option<(Format, ParseError)>;

impl Parsers {
    /// Parsers for events of this schema and layout, the declared formats among them.
    pub fn new(schema: &Schema, layout: &Layout, declared: &declared::Formats) -> Parsers {
        Parsers {
            ossec: ossec::Parser::new(schema, layout),
            falco: falco::Parser::new(schema, layout),
            suricata: suricata::Parser::new(schema, layout),
            fail2ban: fail2ban::Parser::new(schema, layout),
            modsecurity: modsecurity::Parser::new(schema, layout),
            ecs: ecs::Parser::new(schema, layout),
            declared: declared::Parsers::new(schema, layout, declared),
            names: declared.names().map(Into::into).collect(),
            scratch: Vec::new(),
            json: Json { sidid: Finder::new("\"sidid\""), output: Finder::new("\"output"), priority: Finder::new("\"priority\"") },
        }
    }

    /// Writes the event of one record, whatever the record is.
    ///
    /// - In: the record as the framer cut it; the format that the user named, if any; whether the record has been cut.
    /// - Out: `event.original` and `event.truncated`, the envelope's fields, the format's, and the enrichment. A record that
    ///   no parser takes has `event.kind` `pipeline_error` and says in `error.message` what was expected.
    /// - Time: `@timestamp` is missing where neither record nor envelope has a time.
    pub fn event(&mut self, ctx: &Context<'_>, format: Option<Format>, record: &[u8], truncated: bool, out: &mut Out<'_>) -> Seen {
        let mut scratch = std::mem::take(&mut self.scratch);
        let whole = syslog::trim(record);
        let (payload, carried) = if let Some(c) = carrier::cri(whole, ctx) {
            (c.payload, Some(c.time))
        } else if let Some(t) = carrier::docker(whole, &mut scratch, ctx) {
            (&scratch[..], Some(t))
        } else {
            (whole, None)
        };
        let payload = carrier::cee(payload);
        // No header begins with a brace.
        let json = payload.first() == Some(&b'{');
        let mut env = if json { None } else { syslog::envelope(payload, ctx) };
        if let Some(e) = &mut env {
            e.message = carrier::cee(e.message);
            e.time = e.time.or(carried);
        }
        let inside = env.or(carried.map(|time| Envelope { time: Some(time), message: payload, ..Envelope::default() }));
        let named = matches!(format, Some(Format::Native(_) | Format::Declared(_) | Format::Ecs));
        let ctx = &Context { named, ..*ctx };
        let mut miss = None;
        let seen = match format {
            Some(Format::Syslog) => self.within(ctx, env.as_ref(), payload, out, &mut miss),
            Some(f) => self.as_named(f, ctx, inside.as_ref(), payload, out, &mut miss),
            None => self.recognised(ctx, env.as_ref(), inside.as_ref(), payload, out, &mut miss),
        };
        let seen = match seen {
            Some(f) => Seen { format: Some(f), error: false },
            None => {
                out.reset();
                if let Some(e) = &inside {
                    envelope(e, false, out);
                }
                let base = match &inside {
                    Some(e) => offset(record, e.message),
                    None => offset(record, payload),
                };
                self.failed(format, miss, base.unwrap_or(0), out);
                Seen { format: format.or(miss.map(|m| m.0)), error: true }
            }
        };
        // An event that is read back keeps the record that it was made of.
        let original = seen.format == Some(Format::Ecs) && out.has(field::EVENT_ORIGINAL);
        if !original && out.wants(field::EVENT_ORIGINAL) {
            out.str(field::EVENT_ORIGINAL, record);
        }
        if truncated {
            out.bool(field::EVENT_TRUNCATED, true);
        }
        enrich::enrich(ctx.estate, out);
        self.scratch = scratch;
        seen
    }

    /// Cuts a document that holds several findings (a scan report) into records, each with an event of its own, and says of
    /// which format they are. `None` for any other record, which is one event.
    pub fn split(&mut self, format: Option<Format>, record: &[u8], out: &mut Vec<Vec<u8>>) -> Option<Format> {
        let record = syslog::trim(record);
        if !matches!(record.first(), Some(b'{' | b'[')) {
            return None;
        }
        let i = match format {
            Some(Format::Declared(i)) => i,
            Some(_) => return None,
            None if Native::ALL.into_iter().any(|n| recognise(n, None, record)) => return None,
            None => self.declared.recognise(None, record)?,
        };
        out.clear();
        (self.declared.events(i) && self.declared.split(i, record, out).is_ok() && !out.is_empty()).then_some(Format::Declared(i))
    }

    /// Only by the format that the user named, in its envelope or without.
    fn as_named(
        &mut self,
        f: Format,
        ctx: &Context<'_>,
        env: Option<&Envelope<'_>>,
        payload: &[u8],
        out: &mut Out<'_>,
        miss: &mut Miss,
    ) -> Option<Format> {
        // In the order of recognition, so that naming the format changes nothing about a record that is recognised.
        if let Some(e) = env
            && self.attempt(f, ctx, Some(e), e.message, out, miss)
        {
            return Some(f);
        }
        self.attempt(f, ctx, None, payload, out, miss).then_some(f)
    }

    /// By the first format that recognises the record and takes it.
    fn recognised(
        &mut self,
        ctx: &Context<'_>,
        env: Option<&Envelope<'_>>,
        inside: Option<&Envelope<'_>>,
        payload: &[u8],
        out: &mut Out<'_>,
        miss: &mut Miss,
    ) -> Option<Format> {
        if env.is_some() {
            // A header and a program's name are taken at their word before the bytes behind them are looked at.
            return self.within(ctx, env, payload, out, miss);
        }
        let json = payload.first() == Some(&b'{');
        for n in Native::ALL {
            let f = Format::Native(n);
            // A carrier's time is for lines that have none; whether they are recognised is a matter of the line alone.
            if (!json || self.json.possible(n, payload)) && recognise(n, None, payload) && self.attempt(f, ctx, inside, payload, out, miss) {
                return Some(f);
            }
        }
        if ecs::Parser::recognise(None, payload) && self.attempt(Format::Ecs, ctx, inside, payload, out, miss) {
            return Some(Format::Ecs);
        }
        let f = Format::Declared(self.declared.recognise(inside, payload)?);
        self.attempt(f, ctx, inside, payload, out, miss).then_some(f)
    }

    /// What is inside a syslog envelope; a program that nobody knows is a plain message.
    fn within(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, payload: &[u8], out: &mut Out<'_>, miss: &mut Miss) -> Option<Format> {
        let env = env?;
        for n in Native::ALL {
            let f = Format::Native(n);
            if recognise(n, Some(env), env.message) && self.attempt(f, ctx, Some(env), env.message, out, miss) {
                return Some(f);
            }
        }
        if let Some(i) = self.declared.recognise(Some(env), env.message) {
            let f = Format::Declared(i);
            if self.attempt(f, ctx, Some(env), env.message, out, miss) {
                return Some(f);
            }
        }
        if ecs::Parser::recognise(Some(env), env.message) && self.attempt(Format::Ecs, ctx, Some(env), env.message, out, miss) {
            return Some(Format::Ecs);
        }
        // A format may begin its own lines with a time that reads as a header.
        for n in Native::ALL {
            let f = Format::Native(n);
            if recognise(n, None, payload) && self.attempt(f, ctx, None, payload, out, miss) {
                return Some(f);
            }
        }
        if let Some(i) = self.declared.recognise(None, payload) {
            let f = Format::Declared(i);
            if self.attempt(f, ctx, None, payload, out, miss) {
                return Some(f);
            }
        }
        out.reset();
        envelope(env, true, out);
        out.word(field::EVENT_MODULE, "syslog");
        out.word(field::EVENT_DATASET, "syslog.message");
        out.word(field::EVENT_KIND, "event");
        out.str(field::MESSAGE, env.message);
        Some(Format::Syslog)
    }

    /// One parser on one reading of the record.
    fn attempt(&mut self, f: Format, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>, miss: &mut Miss) -> bool {
        out.reset();
        if let Some(e) = env {
            // The program of the envelope is the tool itself where a tool reports about others.
            envelope(e, matches!(f, Format::Declared(_)), out);
        }
        let r = match f {
            Format::Native(Native::Ossec) => self.ossec.parse(ctx, env, record, out),
            Format::Native(Native::Falco) => self.falco.parse(ctx, env, record, out),
            Format::Native(Native::Suricata) => self.suricata.parse(ctx, env, record, out),
            Format::Native(Native::Fail2ban) => self.fail2ban.parse(ctx, env, record, out),
            Format::Native(Native::Modsecurity) => self.modsecurity.parse(ctx, env, record, out),
            Format::Declared(i) => self.declared.parse(i, ctx, env, record, out),
            Format::Ecs => self.ecs.parse(ctx, env, record, out),
            Format::Syslog => Err(ParseError { expected: "a syslog header", offset: 0 }),
        };
        match r {
            Ok(()) => {
                // The text of a message is searched as `message`; JSON is searched as it stands.
                if let Some(e) = env.filter(|e| e.app.is_some() && !matches!(e.message.first(), Some(b'{' | b'[')))
                    && !out.has(field::MESSAGE)
                {
                    out.str(field::MESSAGE, e.message);
                }
                true
            }
            Err(e) => {
                *miss = miss.filter(|m| m.1.offset > e.offset).or(Some((f, e)));
                false
            }
        }
    }

    /// The event of a record that no parser took.
    fn failed(&self, format: Option<Format>, miss: Miss, base: usize, out: &mut Out<'_>) {
        out.word(field::EVENT_KIND, "pipeline_error");
        if !out.wants(field::ERROR_MESSAGE) {
            return;
        }
        let name = |f: Format| match f {
            Format::Native(n) => n.name(),
            Format::Declared(i) => self.names.get(i).map_or("", |n| n),
            Format::Syslog => "syslog",
            Format::Ecs => "ecs",
        };
        let s = out.build(|b| {
            // Writing to a Vec cannot fail.
            drop(match (format, miss) {
                (_, Some((f, e))) => write!(b, "{}: expected {} at byte {}", name(f), e.expected, base + e.offset),
                (Some(f), None) => write!(b, "{}: expected a syslog header at byte {base}", name(f)),
                (None, None) => write!(b, "no known format"),
            })
        });
        out.put(field::ERROR_MESSAGE, s);
    }
}

fn recognise(n: Native, env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
    match n {
        Native::Ossec => ossec::Parser::recognise(env, record),
        Native::Falco => falco::Parser::recognise(env, record),
        Native::Suricata => suricata::Parser::recognise(env, record),
        Native::Fail2ban => fail2ban::Parser::recognise(env, record),
        Native::Modsecurity => modsecurity::Parser::recognise(env, record),
    }
}

/// Where a slice begins within a record; `None` for one that does not lie in it.
fn offset(record: &[u8], part: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(record.as_ptr() as usize)?;
    (at <= record.len()).then_some(at)
}

/// Writes what the envelope says; `process` where the message is the program's own.
fn envelope(e: &Envelope<'_>, process: bool, out: &mut Out<'_>) {
    if let Some(t) = e.time {
        out.time(field::TIMESTAMP, t);
    }
    if let Some(h) = e.host {
        let s = if out.wants(field::HOST_NAME) || out.wants(field::HOST_HOSTNAME) { out.text(h) } else { Slot::Missing };
        out.put(field::HOST_HOSTNAME, s);
        out.put(field::HOST_NAME, s);
    }
    if let Some(p) = e.priority {
        out.int(field::LOG_SYSLOG_PRIORITY, p as i64);
        out.int(field::LOG_SYSLOG_FACILITY_CODE, (p >> 3) as i64);
        out.int(field::LOG_SYSLOG_SEVERITY_CODE, (p & 7) as i64);
    }
    if let Some(a) = e.app {
        out.str(field::LOG_SYSLOG_APPNAME, a);
        if process {
            // `sshd(pam_unix)` is sshd; of a path the last part is the name.
            let a = a.split(|c| *c == b'(').next().filter(|a| !a.is_empty()).unwrap_or(a);
            let name = if a.starts_with(b"/") { a.rsplit(|c| *c == b'/').next().unwrap_or(a) } else { a };
            out.str(field::PROCESS_NAME, name);
        }
    }
    if let Some(p) = e.pid {
        out.str(field::LOG_SYSLOG_PROCID, p);
        if process {
            out.int_text(field::PROCESS_PID, p);
        }
    }
    if let Some(m) = e.msgid {
        out.str(field::LOG_SYSLOG_MSGID, m);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Estate;
    use super::super::estate::Host;
    use super::*;
    use crate::event::{Arena, Batch, Event, Own, Value, json, time};
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    /// The event of a record as JSON.
    fn event(record: &[u8], format: Option<Format>, estate: &Estate) -> (serde_json::Value, Seen) {
        let schema = Schema::default();
        let layout = Layout::full(&schema);
        let mut parsers = Parsers::new(&schema, &layout, &declared::Formats::default());
        let near = time::iso(b"2026-11-23T12:00:00Z", &TimeZone::UTC).map(|t| t.0).unwrap_or_default();
        let ctx = Context { zone: &TimeZone::UTC, near, named: false, estate };
        let mut batch = Batch::default();
        batch.push(record, true);
        let (mut arena, mut slots, mut own) = (Arena::default(), vec![Slot::Missing; layout.len()], Own::default());
        let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &layout, Some(&mut own));
        let seen = parsers.event(&ctx, format, batch.record(batch.records[0]), true, &mut out);
        let e = Event::new(&batch.bytes, &arena, &slots, &layout);
        assert!(record.is_empty() || matches!(e.get(field::EVENT_ORIGINAL), Value::Str(_)), "every record is kept");
        let mut text = Vec::new();
        json::write(&e, &schema, &own, &mut text);
        (serde_json::from_slice(&text).expect("an event is JSON"), seen)
    }

    #[track_caller]
    fn check(record: &str, format: Option<Format>, want: &[(&str, &str)]) {
        let (e, _) = event(record.as_bytes(), format, &Estate::default());
        for (pointer, value) in want {
            let got = e.pointer(pointer).map_or(String::new(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            assert_eq!(got, *value, "{pointer} of {record}");
        }
    }

    #[test]
    fn a_program_that_nobody_knows_is_a_plain_message() {
        let want = [
            ("/event/module", "syslog"),
            ("/event/dataset", "syslog.message"),
            ("/event/kind", "event"),
            ("/@timestamp", "2026-11-23T05:49:55.000000Z"),
            ("/message", "hello"),
            ("/host/name", "vm"),
            ("/host/hostname", "vm"),
            ("/process/name", "prog"),
            ("/process/pid", "7"),
            ("/log/syslog/priority", "86"),
            ("/log/syslog/facility/code", "10"),
            ("/log/syslog/severity/code", "6"),
            ("/event/truncated", "true"),
        ];
        for f in [None, Some(Format::Syslog)] {
            check("<86>Nov 23 05:49:55 vm prog(x)[7]: hello", f, &want);
            check("2026-11-23T06:00:00Z stdout F <86>Nov 23 05:49:55 vm prog[7]: hello", f, &want);
            check(r#"{"log":"<86>Nov 23 05:49:55 vm /bin/prog[7]: he\u006clo\n","stream":"stderr","time":"2026-11-23T06:00:00Z"}"#, f, &want);
        }
    }

    #[test]
    fn what_no_parser_takes_is_an_event_that_says_why() {
        check("nonsense", None, &[("/event/kind", "pipeline_error"), ("/error/message", "no known format"), ("/event/original", "nonsense")]);
        check(
            "nonsense",
            Some(Format::Syslog),
            &[("/event/kind", "pipeline_error"), ("/error/message", "syslog: expected a syslog header at byte 0")],
        );
        let (e, seen) = event(b"Nov 23 05:49:55 vm x: nonsense", Some(Format::Native(Native::Falco)), &Estate::default());
        assert_eq!(e.pointer("/event/kind").and_then(|v| v.as_str()), Some("pipeline_error"));
        assert_eq!(e.pointer("/host/name").and_then(|v| v.as_str()), Some("vm"), "what the envelope says is kept");
        assert_eq!(seen, Seen { format: Some(Format::Native(Native::Falco)), error: true });
    }

    #[test]
    fn the_inventory_names_the_machine() {
        let host = |name: &str, alias: &str, ip: &str| Host {
            name: name.into(),
            aliases: vec![alias.into()],
            ip: vec![ip.parse().expect("an address")],
            tags: Vec::new(),
        };
        let estate = Estate::new(vec![host("vm-prod", "Prod.example.org", "192.0.2.10"), host("vm-db", "db", "192.0.2.11")], Vec::new());
        for name in ["VM-PROD", "prod.EXAMPLE.org", "192.0.2.10", "vm-prod"] {
            let (e, _) = event(format!("Nov 23 05:49:55 {name} x: y").as_bytes(), None, &estate);
            let get = |p: &str| e.pointer(p).map(|v| v.to_string());
            assert_eq!(get("/host/name"), Some("\"vm-prod\"".into()), "{name}");
            assert_eq!(get("/host/hostname"), Some(format!("\"{name}\"")), "the raw name is kept");
            assert_eq!(get("/related/hosts"), Some("[\"vm-prod\"]".into()));
        }
        let (e, _) = event(b"Nov 23 05:49:55 stranger x: y", None, &estate);
        assert_eq!(e.pointer("/host/name").and_then(|v| v.as_str()), Some("stranger"));
        assert_eq!(e.pointer("/related/hosts"), None, "only the inventory's names");
    }

    #[test]
    fn a_name_leads_to_its_format_and_back() {
        let none = declared::Formats::default();
        let names = Format::names(&none);
        assert_eq!(names, ["ecs", "fail2ban", "falco", "modsecurity", "ossec", "suricata", "syslog"]);
        for n in names {
            assert_eq!(Format::named(n, &none).map(|f| f.name(&none).to_owned()), Some(n.to_owned()));
        }
        assert_eq!(Format::named("nginx", &none), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_event(head in prop::sample::select(vec![
            "", "{", "{\"timestamp\":\"", "{\"log\":\"", "** Alert ", "--aaaaaaaa-A--\n", "<13>Nov 23 05:49:55 vm ", "Nov 23 05:49:55 vm ossec: ", "@cee:",
            "2026-11-23T06:00:00.000000000Z stdout F ", "2026-11-23 05:00:00,001 fail2ban.actions [1]: ", "[Mon Nov 23 05:00:00 2026] ",
        ]), tail in prop::collection::vec(any::<u8>(), 0..80), format in 0usize..8) {
            let record = [head.as_bytes(), &tail].concat();
            let format = [None, Some(Format::Syslog), Some(Format::Ecs)].into_iter().chain(Native::ALL.map(|n| Some(Format::Native(n)))).nth(format).flatten();
            let (e, seen) = event(&record, format, &Estate::default());
            let kind = e.pointer("/event/kind").and_then(|v| v.as_str());
            prop_assert!(format == Some(Format::Ecs) || kind.is_some());
            prop_assert_eq!(seen.error, kind == Some("pipeline_error"));
        }
    }
}
