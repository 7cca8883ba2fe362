use super::*;
use crate::event::{self, Arena, Batch, Event, Own, Slot};
use crate::parse::Estate;
use jiff::tz::TimeZone;
use proptest::prelude::*;

/// The `parser.toml` files of the repository.
fn files() -> Vec<(String, String)> {
    crate::builtin::parsers()
}

struct World {
    schema: Schema,
    formats: Formats,
    layout: Layout,
    parsers: Parsers,
    estate: Estate,
}

fn world(files: &[(String, String)]) -> World {
    let mut schema = Schema::default();
    let (formats, said) = Formats::load(files, &mut schema);
    assert_eq!(said, []);
    let layout = Layout::full(&schema);
    let parsers = Parsers::new(&schema, &layout, &formats);
    let proxies = ["192.0.2.80/31".parse().expect("a network")];
    World { schema, formats, layout, parsers, estate: Estate::new(Vec::new(), proxies.to_vec()) }
}

impl World {
    /// The event of a record as JSON, or the error.
    fn parse(&mut self, format: &str, record: &str) -> Result<serde_json::Value, ParseError> {
        let i = self.formats.find(format).expect("the format is loaded");
        let mut batch = Batch::default();
        batch.push(record.as_bytes(), false);
        let (mut arena, mut slots, mut own) = (Arena::default(), vec![Slot::Missing; self.layout.len()], Own::default());
        let near = event::time::iso(b"2026-11-23T12:00:00Z", &TimeZone::UTC).expect("a time").0;
        let ctx = Context { zone: &TimeZone::UTC, near, named: true, estate: &self.estate };
        let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &self.layout, Some(&mut own));
        self.parsers.parse(i, &ctx, None, &batch.bytes, &mut out)?;
        let mut json = Vec::new();
        event::json::write(&Event::new(&batch.bytes, &arena, &slots, &self.layout), &self.schema, &own, &mut json);
        Ok(serde_json::from_slice(&json).expect("an event is JSON"))
    }

    fn recognise(&mut self, app: Option<&str>, record: &str) -> Option<String> {
        let env = Envelope { app: app.map(str::as_bytes), ..Envelope::default() };
        let i = self.parsers.recognise(app.map(|_| &env), record.as_bytes())?;
        self.formats.names().nth(i).map(str::to_owned)
    }
}

/// The value at a dotted path, as text.
fn at(v: &serde_json::Value, path: &str) -> String {
    let v = path.split('.').fold(v, |v, k| &v[k]);
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

#[test]
fn every_declared_format_is_recognised_by_its_own_records_and_by_no_others() {
    let mut w = world(&files());
    for (app, record, want) in [
        (Some("sshd"), "Failed password for root from 203.0.113.9 port 22 ssh2", Some("sshd")),
        (Some("sshd-session"), "Server listening on 0.0.0.0 port 22.", Some("sshd")),
        (Some("sshd"), "pam_unix(sshd:auth): check pass; user unknown", Some("pam")),
        (Some("su(pam_unix)"), "session opened for user cyrus by (uid=0)", Some("pam")),
        (Some("sshd(pam_unix)"), "session opened for user cyrus by (uid=0)", Some("sshd")),
        (Some("sudo"), "mike : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", Some("sudo")),
        (Some("cron"), "(root) CMD (true)", None),
        (None, "Failed password for root from 203.0.113.9 port 22 ssh2", None),
        (None, r#"203.0.113.9 - - [23/Nov/2026:05:45:45 +0000] "GET / HTTP/1.1" 200 12 "-" "-""#, Some("apache")),
        (Some("nginx"), r#"203.0.113.9 - - [23/Nov/2026:05:45:45 +0000] "GET / HTTP/1.1" 200 12 "-" "-""#, Some("nginx")),
        (None, r#"203.0.113.9 - - [23/Nov/2026:05:45:45 +0000] "GET / HTTP/1.1" 200 12 "-" "-" "-""#, Some("nginx")),
        (None, "2026/11/23 05:45:43 [notice] 1#1: start worker processes", Some("nginx")),
        (None, "[Mon Nov 23 05:44:52.986725 2026] [core:notice] [pid 1] x", Some("apache")),
        (None, "203.0.113.9:4711 [23/Nov/2026:05:51:08.376] fe be/s1 x", Some("haproxy")),
        (None, "/srv/a: b: Eicar FOUND", Some("clamav")),
        (None, "nothing was FOUND", None),
        (None, r#"{"type":"PUSH_ARTIFACT","occur_at":1,"event_data":{}}"#, Some("harbor")),
        (None, r#"{"specversion":"1.0","type":"harbor.artifact.pushed","data":{}}"#, Some("harbor")),
        (None, r#"{"specversion":"1.0","type":"com.example.other","data":{}}"#, None),
        (None, r#"{"time":"t","type":"response","request":{}}"#, Some("vault")),
        (None, r#"{"time":"t","type":"other","request":{}}"#, None),
        (None, r#"{"argocd":{}}"#, Some("argocd")),
        (None, r#"{"zen":"z","hook_id":1,"hook":{}}"#, Some("github")),
        (None, r#"{"timestamp":"t","rule":{},"agent":{},"manager":{},"id":"1"}"#, Some("wazuh")),
        (None, "{", None),
        (None, "{}", None),
        (None, "", None),
    ] {
        assert_eq!(w.recognise(app, record).as_deref(), want, "{record}");
    }
}

#[test]
fn only_a_verdict_is_authentication() {
    let mut w = world(&files());
    for (line, action, outcome, client, user) in [
        ("Accepted password for ops from 2001:db8::10 port 22 ssh2", "ssh-login", "success", "2001:db8::10", "ops"),
        (
            "Failed password for invalid user x from 198.51.100.4 from 203.0.113.9 port 22 ssh2",
            "ssh-login",
            "failure",
            "203.0.113.9",
            "x from 198.51.100.4",
        ),
        ("Failed password for invalid user  from 203.0.113.9 port 22 ssh2", "ssh-login", "failure", "203.0.113.9", "null"),
        ("Failed keyboard-interactive/pam for <unknown> from 203.0.113.9 port 22 ssh2", "ssh-login", "failure", "203.0.113.9", "null"),
        ("message repeated 2 times: [ Failed password for root from 203.0.113.9 port 22 ssh2]", "ssh-login", "failure", "203.0.113.9", "root"),
        ("[ID 800047 auth.info] Failed password for root from 203.0.113.9 port 22 ssh2", "ssh-login", "failure", "203.0.113.9", "root"),
        ("Failed none for root from 203.0.113.9 port 22 ssh2", "ssh-methods", "null", "203.0.113.9", "root"),
        ("Invalid user a b from 203.0.113.9 port 22", "invalid-user", "null", "203.0.113.9", "a b"),
        ("Disconnected from invalid user x 203.0.113.9 port 22 [preauth]", "ssh-disconnect", "null", "203.0.113.9", "x"),
        (
            "Connection closed by authenticating user x 198.51.100.4 port 5 203.0.113.9 port 22 [preauth]",
            "ssh-closed",
            "null",
            "203.0.113.9",
            "x 198.51.100.4 port 5",
        ),
    ] {
        let e = w.parse("sshd", line).expect(line);
        let category = if outcome == "null" { "null" } else { r#"["authentication"]"# };
        let got = ["event.action", "event.outcome", "client.ip", "user.name", "event.category"].map(|p| at(&e, p));
        assert_eq!(got, [action, outcome, client, user, category], "{line}");
    }
}

#[test]
fn behind_a_trusted_proxy_the_client_is_the_last_hop_that_is_none() {
    let mut w = world(&files());
    for (from, headers, want) in [
        ("192.0.2.80", "{198.51.100.7, 192.0.2.81|x}", "198.51.100.7"),
        ("192.0.2.80", "{198.51.100.6, 198.51.100.7|10.0.0.1}", "198.51.100.7"),
        ("192.0.2.80", "{curl/8.5.0}", "192.0.2.80"),
        ("203.0.113.9", "{198.51.100.7}", "203.0.113.9"),
    ] {
        let line = format!("{from}:1 [23/Nov/2026:05:51:08.376] f b/s 0/0/0/4/4 200 192 - - ---- 1/1/0/0/0 0/0 {headers} \"GET / HTTP/1.1\"");
        let e = w.parse("haproxy", &line).expect("a line of HAProxy");
        assert_eq!([at(&e, "client.ip"), at(&e, "source.ip")], [want, from], "{line}");
    }
}

#[test]
fn the_score_of_an_image_is_what_a_reader_works_out() {
    let mut w = world(&files());
    for (counts, want) in
        [("{}", "1.0"), (r#"{"High":2,"Medium":3,"Low":7}"#, "0.64"), (r#"{"Critical":1,"High":3}"#, "0.3"), (r#"{"Critical":3}"#, "0.0")]
    {
        let report = format!(r#"{{"severity":"High","summary":{{"total":1,"summary":{counts}}}}}"#);
        let record = format!(
            r#"{{"type":"SCANNING_COMPLETED","occur_at":1795413800,"event_data":{{"resources":[{{"tag":"v1","scan_overview":{{"application/vnd.security.vulnerability.report; version=1.1":{report}}}}}],"repository":{{"name":"a"}}}}}}"#
        );
        let e = w.parse("harbor", &record).expect("a webhook of Harbor");
        assert_eq!([at(&e, "vulnerability.score.base"), at(&e, "event.dataset")], [want, "harbor.scan"], "{counts}");
    }
}

const HEAD: &str = "format = \"x\"\nabout = \"a\"\nsource = \"s\"\nreceived = 2026-11-23T12:00:00Z\n";

#[test]
fn complaints_name_the_place_and_the_way_out() {
    for (code, body, place, help) in [
        ("P001", "decode = \"json\"\nset = {", "", None),
        ("P002", "decode = \"json\"\nfeilds = {}", "feilds", Some("did you mean `fields`?")),
        ("P002", "decode = \"native\"\nset = {}", "set", None),
        ("P003", "", "", None),
        ("P003", "decode = \"pattern\"", "\"x\"", None),
        ("P004", "decode = \"json\"\nset = 1", "1", None),
        ("P005", "decode = \"json\"\nset = { \"user.nam\" = \"a\" }", "\"user.nam\"", Some("did you mean `user.name`?")),
        ("P005", "decode = \"json\"\nset = { \"x.y\" = \"a\" }", "\"x.y\"", Some("declare it: `[own]` `\"x.y\" = \"str\"`")),
        ("P006", "decode = \"pattern\"\npattern = [{ line = 'a {user.name:wrod}' }]", "{user.name:wrod}", Some("did you mean `word`?")),
        ("P006", "decode = \"pattern\"\npattern = [{ line = '{@timestamp} x' }]", "{@timestamp}", Some("say how it is written: `{@timestamp:iso}`")),
        ("P007", "decode = \"jsno\"", "\"jsno\"", Some("did you mean `json`?")),
        ("P008", "decode = \"json\"\nset = { \"event.severity\" = \"high\" }", "\"high\"", None),
        ("P011", "decode = \"pattern\"\npattern = [{ line = '{_a}' }]\nfields = { \"user.name\" = \"_b\" }", "\"_b\"", Some("did you mean `_a`?")),
    ] {
        let text = format!("{HEAD}{body}\n");
        let (formats, said) = Formats::load(&[("parsers/x/parser.toml".into(), text.clone())], &mut Schema::default());
        let first = said.first().unwrap_or_else(|| panic!("no complaint about {body}"));
        assert_eq!((first.code, first.help.as_deref()), (code, help), "{body}: {}", first.message);
        assert!(place.is_empty() || &text[first.span.clone()] == place, "{body}: {:?}", &text[first.span.clone()]);
        assert_eq!(formats.names().count(), 0, "{body}");
    }
}

#[test]
fn two_formats_cannot_claim_one_program_or_one_name() {
    let text = |name: &str| {
        format!(
            "format = \"{name}\"\n{}decode = \"pattern\"\nrecognise = {{ program = [\"p\"] }}\npattern = [{{ line = '{{message:rest}}' }}]\n",
            &HEAD[13..]
        )
    };
    let load = |a: &str, b: &str| {
        let files = [(format!("parsers/{a}/parser.toml"), text(a)), (format!("parsers/{b}/parser.toml"), text(b))];
        Formats::load(&files, &mut Schema::default()).1.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    assert_eq!(load("a", "b"), ["P009"]);
    assert!(load("a", "a").contains(&"P009"));
}

#[test]
fn native_formats_are_checked_and_left_to_their_functions() {
    let text = format!("{HEAD}decode = \"native\"\n");
    let (formats, said) = Formats::load(&[("parsers/x/parser.toml".into(), text)], &mut Schema::default());
    assert_eq!((formats.names().count(), said), (0, Vec::new()));
}

#[test]
fn a_document_and_pairs() {
    let doc = "decode = \"json\"\n[own]\n\"x.count\" = \"int\"\n[document]\neach = \"Results[].V[]\"\ninherit = [\"Name\", \"Results[].Target\"]\nby = \"Sev\"\n[fields]\n\"vulnerability.id\" = \"finding.ID\"\n\"file.path\" = \"of.Target\"\n\"x.count\" = \"summary.by.HIGH\"\n";
    let mut w = world(&[("x".into(), format!("{HEAD}{doc}"))]);
    assert!(w.parsers.events(0) && !w.parsers.events(1));
    let mut cut = Vec::new();
    let report = br#"{"Name":"i","Results":[{"Target":"t","V":[{"ID":"CVE-1","Sev":"HIGH"}]}]}"#;
    assert_eq!(w.parsers.split(0, report, &mut cut), Ok(()));
    let events: Vec<_> = cut.iter().map(|r| w.parse("x", &String::from_utf8_lossy(r)).expect("a record")).collect();
    assert_eq!([at(&events[0], "vulnerability.id"), at(&events[0], "file.path")], [r#"["CVE-1"]"#, "t"]);
    assert_eq!(at(&events[1], "x.count"), "1");

    let pairs = "decode = \"keyvalue\"\n[fields]\n\"user.name\" = \"user\"\nsource = { from = \"src\", as = \"peer\" }\n";
    let mut w = world(&[("x".into(), format!("{HEAD}{pairs}"))]);
    let e = w.parse("x", "src=203.0.113.9:5 user=\"a b\"").expect("pairs");
    assert_eq!(["user.name", "source.ip", "source.port"].map(|p| at(&e, p)), ["a b", "203.0.113.9", "5"]);
    assert!(w.parse("x", "nothing").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_do_no_harm(noise in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..200) {
        thread_local!(static WORLD: std::cell::RefCell<World> = std::cell::RefCell::new(world(&files())));
        WORLD.with_borrow_mut(|w| {
            let lossy = String::from_utf8_lossy(&bytes).into_owned();
            let near: String = "Failed password for invalid user x from 1.2.3.4 from 203.0.113.9 port 22 ssh2: RSA {\"a\":[1".chars().take(cut).collect();
            let near = near + &noise;
            let names: Vec<String> = w.formats.names().map(str::to_owned).collect();
            for record in [&noise, &lossy, &near] {
                w.recognise(None, record);
                w.recognise(Some("sshd"), record);
                let _ = w.parsers.split(0, record.as_bytes(), &mut Vec::new());
                for n in &names {
                    let _ = w.parse(n, record);
                }
            }
        });
    }
}
