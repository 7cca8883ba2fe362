use super::*;
use crate::event::{Arena, Batch, Event, Own, ParseError, Timestamp, json};
use crate::parse::{Context, Estate};
use proptest::prelude::*;
use serde_json::Value as V;

/// Calls with a context in UTC, at the time that the samples name.
pub(in crate::parse) fn context<T>(call: impl FnOnce(&Context<'_>) -> T) -> T {
    let near = Timestamp::new(1_795_435_200, 0).unwrap();
    call(&Context { zone: &TimeZone::UTC, near, named: true, estate: &Estate::default() })
}

/// Parses one record with a full layout and writes the event.
pub(in crate::parse) fn event(
    schema: &Schema,
    record: &str,
    parse: impl FnOnce(&Context<'_>, &[u8], &mut Out<'_>) -> Result<(), ParseError>,
) -> Result<String, ParseError> {
    let layout = Layout::full(schema);
    let mut batch = Batch::default();
    batch.push(record.as_bytes(), false);
    let (mut arena, mut slots, mut own) = (Arena::default(), vec![Slot::Missing; layout.len()], Own::default());
    context(|ctx| parse(ctx, &batch.bytes, &mut Out::new(&batch.bytes, &mut arena, &mut slots, &layout, Some(&mut own))))?;
    let mut line = Vec::new();
    json::write(&Event::new(&batch.bytes, &arena, &slots, &layout), schema, &own, &mut line);
    Ok(String::from_utf8(line).unwrap())
}

fn scan(paths: &[&str], record: &str) -> Result<Vec<String>, ParseError> {
    let mut p = Paths::default();
    let ids: Vec<PathId> = paths.iter().map(|s| p.add(s)).collect();
    let lists: Vec<bool> = paths.iter().map(|s| s.contains("[]")).collect();
    let mut s = Scanner::new(p);
    let mut scratch = Vec::new();
    let mut answer = Err(ParseError { expected: "", offset: 0 });
    // The second time the order of keys is known.
    for _ in 0..2 {
        answer = s.scan(record.as_bytes()).map(|_| {
            let mut show = |j: Json<'_>| match j {
                Json::Object(t) | Json::Array(t) => String::from_utf8_lossy(t).into_owned(),
                Json::Escaped(_) | Json::Str(_) | Json::Number(_) => String::from_utf8_lossy(j.text(&mut scratch).unwrap_or(b"?")).into_owned(),
                j => format!("{j:?}"),
            };
            ids.iter()
                .zip(&lists)
                .map(|(&id, &list)| match list {
                    true => s.list(id, record.as_bytes()).map(|(n, j)| format!("{n}:{}", show(j))).collect::<Vec<_>>().join(" "),
                    false => show(s.get(id, record.as_bytes())),
                })
                .collect()
        });
    }
    answer
}

#[test]
fn paths_find_their_values() {
    for (path, record, want) in [
        ("a", r#"{"a":1}"#, "1"),
        ("a", r#" { "b" : [ {} ] , "a" : "x" } "#, "x"),
        ("a", r#"{"a":null}"#, "Null"),
        ("a", r#"{"b":1}"#, "Missing"),
        ("a.b", r#"{"a":{"c":{"b":0},"b":true}}"#, "Bool(true)"),
        ("a.b", r#"{"a.b":1}"#, "Missing"),
        (r#"f."proc.name""#, r#"{"f":{"proc.name":"sh","proc":{"name":"no"}}}"#, "sh"),
        ("a", r#"{"a":"\u0041\ud83d\ude00\n\ud800x"}"#, "A😀\n\u{fffd}x"),
        ("a", r#"{"\u0061":5}"#, "5"),
        ("a", r#"{"a":1,"a":2}"#, "2"),
        ("a.b", r#"{"a":{"b":1},"a":{"c":1}}"#, "Missing"),
        ("a.b", r#"{"a":{"b":1},"a":7}"#, "Missing"),
        ("a", "[1]", "Missing"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", r#"{"abcdefghijklmnopqrstuvwxyz0123456780":1,"abcdefghijklmnopqrstuvwxyz0123456789":2}"#, "2"),
        ("proc.aname[2]", r#"{"proc":{"aname[2]":"init"}}"#, "init"),
        ("t[]", r#"{"t":["x",1,null]}"#, "0:x 1:1 2:Null"),
        ("t[]", r#"{"t":"x"}"#, "0:x"),
        ("t[]", r#"{"t":[],"u":[1]}"#, ""),
        ("m[].d.r", r#"{"m":[{"d":{"r":1}},{"d":{}},{"d":{"r":3,"r":4}}]}"#, "0:1 2:4"),
        ("m[].d[]", r#"{"m":[{"d":[1,2]},{"d":3}]}"#, "0:1 0:2 1:3"),
        ("m[].d", r#"{"m":{"d":3}}"#, "0:3"),
        ("m[].d", r#"{"m":[{"d":3}],"m":[{"e":1},{"d":4}]}"#, "1:4"),
        ("m[][]", r#"{"m":[[1],[2,3]]}"#, "0:1 1:2 1:3"),
    ] {
        assert_eq!(scan(&[path], record).as_deref(), Ok(&[want.to_string()][..]), "{path} in {record}");
    }
}

#[test]
fn one_value_can_serve_several_paths() {
    let got = scan(&["a", "a.b", "a[]", "a[].b", "a[].c"], r#"{"a":{"b":1,"c":2}}"#);
    assert_eq!(got.unwrap(), [r#"{"b":1,"c":2}"#, "1", r#"0:{"b":1,"c":2}"#, "0:1", "0:2"]);
    let got = scan(&["a", "a.b", "a[].b"], r#"{"a":[{"b":1}]}"#);
    assert_eq!(got.unwrap(), [r#"[{"b":1}]"#, "Missing", "0:1"]);
}

#[test]
fn dotted_paths_are_found_in_every_mix() {
    let mut p = Paths::default();
    let (abc, ab, strict, mixed) = (p.add_dotted("a.b.c"), p.add_dotted("a.x"), p.add("a.b.d"), p.add_mixed("a.b.c"));
    assert_eq!(p.add_dotted("a.b.c"), abc, "an equal path has the same number");
    let mut s = Scanner::new(p);
    for r in [r#"{"a":{"b":{"c":1}}}"#, r#"{"a.b":{"c":1}}"#, r#"{"a":{"b.c":1}}"#, r#"{"a.b.c":1}"#, r#"{"a":{"x":2},"a.b":{"c":1}}"#] {
        s.scan(r.as_bytes()).unwrap();
        assert_eq!(s.get(abc, r.as_bytes()), Json::Number(b"1"), "{r}");
        let nested = r.contains(r#""b":{"c"#);
        assert_eq!(s.get(mixed, r.as_bytes()) == Json::Missing, nested, "{r}");
    }
    let r = br#"{"a.x":2,"a.b":{"d":1}}"#;
    s.scan(r).unwrap();
    assert_eq!((s.get(ab, r), s.get(strict, r)), (Json::Number(b"2"), Json::Missing));
}

#[test]
fn elements_past_the_64th_are_counted() {
    let mut p = Paths::default();
    let id = p.add("a[]");
    let mut s = Scanner::new(p);
    let r = format!(r#"{{"a":[{}]}}"#, vec!["1"; 70].join(","));
    s.scan(r.as_bytes()).unwrap();
    assert_eq!((s.list(id, r.as_bytes()).count(), s.left_out()), (64, 6));
    s.scan(b"{}").unwrap();
    assert_eq!(s.list(id, b"{}").count(), 0);
}

#[test]
fn nesting_has_a_limit() {
    for (n, ok) in [(127, true), (128, true), (129, false), (100_000, false)] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"x":"#, "}")] {
            let r = open.repeat(n) + "1" + &close.repeat(n);
            assert_eq!(scan(&["a.a.a"], &r).is_ok(), ok, "{n} of {open}");
            assert_eq!(scan(&["a[][]", "b"], &r).is_ok(), ok, "{n} of {open}");
        }
    }
}

#[test]
fn many_unknown_keys_do_not_disturb_the_known_ones() {
    let mut p = Paths::default();
    let (a, b) = (p.add("a"), p.add("zz"));
    let mut s = Scanner::new(p);
    for round in 0..50 {
        let junk: String = (0..20).map(|i| format!(r#""k{}":{i},"#, round * 13 + i)).collect();
        let r = format!(r#"{{{junk}"a":1,"q{round}":[],"zz":"x"}}"#);
        s.scan(r.as_bytes()).unwrap();
        assert_eq!((s.get(a, r.as_bytes()), s.get(b, r.as_bytes())), (Json::Number(b"1"), Json::Str(b"x")), "{r}");
    }
}

fn rest(paths: &[&str], record: &str) -> String {
    let mut p = Paths::default();
    for s in paths {
        p.add(s);
    }
    let mut s = Scanner::new(p);
    s.scan(record.as_bytes()).unwrap();
    let mut own = Own::default();
    s.unmapped(record.as_bytes(), &["x"], &mut own);
    own.entries.iter().map(|(p, t)| format!("{}={}", p.join("/"), String::from_utf8_lossy(t))).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_no_path_covers_is_copied_as_it_stands() {
    for (paths, record, want) in [
        (&["a"][..], r#"{"a":1,"b":2,"c.d":{"e": [ 1 ] }}"#, r#"x/b=2 x/c.d={"e":[1]}"#),
        (&["a.b"], r#"{"a":{"b":1,"c":2},"d":null}"#, "x/a/c=2 x/d=null"),
        (&["a.b"], r#"{"a":{"c":2}}"#, r#"x/a={"c":2}"#),
        (&["a.b"], r#"{"a":{"b":1}}"#, ""),
        (&["a.b"], r#"{"a":7}"#, "x/a=7"),
        (&["a.b"], r#"{"a":{}}"#, "x/a={}"),
        (&["t[]"], r#"{"t":["x"],"u":"\ud800\u00e9 \ud83d\ude00"}"#, r#"x/u="\ufffd\u00e9 \ud83d\ude00""#),
        (&["t[].a"], r#"{"t":[{"a":1},{"a":2,"b":3}]}"#, r#"x/t=[{"a":1},{"a":2,"b":3}]"#),
        (&["t[].a"], r#"{"t":[{"a":1},{"a":2}]}"#, ""),
        (&["t[].a"], r#"{"t":{"a":1,"b":2}}"#, "x/t/b=2"),
        (&["a"], r#"{"b":1,"b":2,"n":1e999,"m":18446744073709551615,"f":1.10}"#, r#"x/b=2 x/n="1e999" x/m=18446744073709551615 x/f=1.10"#),
        (&["a"], "{\"b\":\n[1,\r\n2]}", "x/b=[1,2]"),
    ] {
        assert_eq!(rest(paths, record), want, "{paths:?} in {record}");
    }
}

/// Text near JSON: from the grammar, then changed in a few places.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        Just("\"a\""),
        Just("\"b\""),
        Just("\"\\u0061\""),
        Just("\"\""),
        Just("\"x\\n\\\"\""),
        Just("\"\\ud800\""),
        Just("\"long text that fills words\""),
        Just("\"é\""),
    ];
    let leaf = prop_oneof![
        text.clone().prop_map(str::to_owned),
        prop_oneof![
            Just("0"),
            Just("-1"),
            Just("12.5e-3"),
            Just("01"),
            Just("1."),
            Just("-"),
            Just("1E+2"),
            Just("18446744073709551616"),
            Just("null"),
            Just("true"),
            Just("false"),
            Just("nul")
        ]
        .prop_map(str::to_owned),
    ];
    let tree = leaf.prop_recursive(5, 40, 5, move |inner| {
        let sep = prop_oneof![6 => Just(","), 1 => Just(" , "), 1 => Just("\n,\t")];
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), sep.clone()).prop_map(|(v, s)| format!("[{}]", v.join(s))),
            (prop::collection::vec((text.clone(), prop_oneof![3 => Just(":"), 1 => Just(" : ")], inner), 0..6), sep)
                .prop_map(|(v, s)| format!("{{{}}}", v.iter().map(|(k, c, v)| format!("{k}{c}{v}")).collect::<Vec<_>>().join(s))),
        ]
    });
    let change = (
        any::<prop::sample::Index>(),
        prop_oneof![Just(0u8), Just(1), Just(2), Just(3)],
        any::<u8>(),
        prop::sample::select(br#"{}[]",:\0 e.-"#.to_vec()),
    );
    (tree, prop::collection::vec(change, 0..3)).prop_map(|(t, changes)| {
        let mut b = t.into_bytes();
        for (at, how, any, likely) in changes {
            let i = at.index(b.len() + 1);
            match how {
                0 if i < b.len() => drop(b.remove(i)),
                1 => b.insert(i, likely),
                2 if i < b.len() => b[i] = any,
                _ => b.truncate(i),
            }
            if b.is_empty() {
                b.push(b' ');
            }
        }
        b
    })
}

fn find<'v>(v: &'v V, path: &str) -> Option<&'v V> {
    path.split('.').try_fold(v, |v, k| v.as_object()?.get(k))
}

fn same(j: Json<'_>, v: Option<&V>) -> bool {
    let mut scratch = Vec::new();
    match (j, v) {
        (Json::Missing, None) | (Json::Null, Some(V::Null)) => true,
        (Json::Bool(a), Some(V::Bool(b))) => a == *b,
        (Json::Str(_) | Json::Escaped(_), Some(V::String(s))) => j.text(&mut scratch) == Some(s.as_bytes()),
        (Json::Number(t) | Json::Object(t) | Json::Array(t), Some(v)) => serde_json::from_slice::<V>(t).is_ok_and(|w| w == *v),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn it_accepts_exactly_what_serde_json_accepts_and_finds_the_same(b in near_json()) {
        let paths = ["a", "b", "a.a", "a.b", "b.a.b"];
        let mut p = Paths::default();
        let ids: Vec<PathId> = paths.iter().map(|s| p.add(s)).collect();
        let list = p.add("a[]");
        p.add("b[].a[].b");
        let mut s = Scanner::new(p);
        let want = serde_json::from_slice::<serde::de::IgnoredAny>(&b).is_ok();
        for _ in 0..2 {
            prop_assert_eq!(s.scan(&b).is_ok(), want, "{}", String::from_utf8_lossy(&b));
        }
        prop_assert_eq!(Scanner::default().scan(&b).is_ok(), want);
        if let (true, Ok(v)) = (want, serde_json::from_slice::<V>(&b)) {
            for (id, path) in ids.iter().zip(paths) {
                prop_assert!(same(s.get(*id, &b), find(&v, path)), "{} in {}", path, String::from_utf8_lossy(&b));
            }
            let n = match find(&v, "a") { Some(V::Array(a)) => a.len(), Some(_) => 1, None => 0 };
            prop_assert_eq!(s.list(list, &b).count(), n);
            let mut own = Own::default();
            s.unmapped(&b, &[], &mut own);
            for (_, t) in &own.entries {
                prop_assert!(serde_json::from_slice::<V>(t).is_ok(), "{}", String::from_utf8_lossy(t));
            }
        }
    }
}
