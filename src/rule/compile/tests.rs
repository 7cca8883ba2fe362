//! The matcher against the meaning of the language, written out naively; and the edges of each test.

use super::*;
use crate::event::{Arena, Out, Slot, field};
use crate::rule::{Compare, Exception, Literal, Order, Pattern, Place, Rule, Severity, Step, Table, Test};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::net::IpAddr;

/// A value as the tests write it.
#[derive(Clone, Debug)]
enum Given {
    Str(&'static str),
    Int(i64),
    Big(u64),
    Float(f64),
    Bool(bool),
    Ip(&'static str),
    Time(i64),
}
use Given as G;

type Row = Vec<(Field, Vec<Given>)>;

fn address(s: &str) -> IpAddr {
    s.parse().expect("an address in a test")
}

fn with_event<R>(layout: &Layout, row: &Row, then: impl FnOnce(&Event<'_>) -> R) -> R {
    let (bytes, mut arena, mut slots) = (Vec::new(), Arena::default(), vec![Slot::Missing; layout.len()]);
    let mut out = Out::new(&bytes, &mut arena, &mut slots, layout, None);
    for (f, values) in row {
        for v in values {
            let s = match *v {
                G::Str(s) => out.text(s.as_bytes()),
                G::Int(v) => Slot::Int(v),
                G::Big(v) => Slot::Big(v),
                G::Float(v) => Slot::Float(v),
                G::Bool(v) => Slot::Bool(v),
                G::Ip(s) => out.address(address(s)),
                G::Time(t) => Slot::Time(Timestamp(t)),
            };
            if values.len() == 1 { out.put(*f, s) } else { out.push(*f, s) }
        }
    }
    then(&Event::new(&bytes, &arena, &slots, layout))
}

fn rule(id: &str, when: When, kind: Kind, exceptions: Vec<usize>) -> Rule {
    Rule {
        id: id.into(),
        title: String::new(),
        summary: None,
        severity: Severity::Low,
        attack: Vec::new(),
        tactics: Vec::new(),
        tags: Vec::new(),
        signal: false,
        alert: true,
        when,
        by: Vec::new(),
        per: None,
        missing_null: false,
        kind,
        rearm: Rearm::Every,
        carry: Vec::new(),
        max_alerts: 1000,
        keys: Some(1000),
        skew: crate::event::Span(0),
        metric: None,
        respond: Vec::new(),
        exceptions,
        meaning: [0; 16],
        level: 1,
        file: String::new(),
        tests: Vec::new(),
    }
}

fn where_(e: Expr) -> When {
    When { where_: Some(e), rules: None }
}

fn test(field: Field, op: Op) -> Expr {
    Expr::Test(Test { field, op })
}

fn single(e: Expr) -> RuleSet {
    RuleSet { rules: vec![rule("a", where_(e), Kind::Single, Vec::new())], ..RuleSet::default() }
}

/// Whether the one rule with this condition matches, asked twice so that what is remembered is asked too.
fn matches(e: Expr, row: &Row) -> bool {
    let set = single(e.clone());
    let layout = Layout::of(&set.schema, fields(&set));
    let mut m = Matcher::new(&set, &layout);
    with_event(&layout, row, |ev| {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        m.event(ev, Timestamp(0), &mut a);
        m.event(ev, Timestamp(0), &mut b);
        assert_eq!(a, b, "a remembered answer differs: {e:?}");
        assert_eq!(!a.is_empty(), holds(&e, ev), "asked alone it differs: {e:?}");
        !a.is_empty()
    })
}

// The meaning, by the letter.

fn naive(e: &Expr, ev: &Event<'_>) -> bool {
    match e {
        Expr::And(l) => l.iter().all(|e| naive(e, ev)),
        Expr::Or(l) => l.iter().any(|e| naive(e, ev)),
        Expr::Not(e) => !naive(e, ev),
        Expr::Test(t) => {
            if let Op::Words(words) = &t.op {
                let text = [ev.get(MESSAGE), ev.get(ORIGINAL)].into_iter().find(|v| !v.is_missing());
                return text
                    .into_iter()
                    .flat_map(Value::each)
                    .filter_map(|v| v.str())
                    .any(|s| naive_words(s).windows(words.len()).any(|w| w == words));
            }
            let values: Vec<Value<'_>> = ev.get(t.field).each().collect();
            values.iter().any(|v| naive_one(&t.op, v, ev))
        }
    }
}

fn naive_words(s: &[u8]) -> Vec<String> {
    let s = String::from_utf8_lossy(s);
    s.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).map(|w| lowered(w).into_iter().collect()).collect()
}

fn naive_equal(l: &Literal, v: &Value<'_>) -> bool {
    match (l, v) {
        (Literal::Str(l), Value::Str(v)) => l.as_bytes() == *v,
        (Literal::Int(l), Value::Int(v)) => *l == i128::from(*v),
        (Literal::Int(l), Value::Big(v)) => *l == i128::from(*v),
        (Literal::Int(l), Value::Float(v)) => v.fract() == 0.0 && *l == *v as i128,
        (Literal::Float(l), Value::Float(v)) => l == v,
        (Literal::Float(l), Value::Int(v)) => l.fract() == 0.0 && *l as i128 == i128::from(*v),
        (Literal::Float(l), Value::Big(v)) => l.fract() == 0.0 && *l as i128 == i128::from(*v),
        (Literal::Bool(l), Value::Bool(v)) => l == v,
        (Literal::Ip(l), Value::Ip(v)) => l == v,
        (Literal::Time(l), Value::Time(v)) => l == v,
        _ => false,
    }
}

fn naive_order(o: Order, c: Option<Ordering>) -> bool {
    match o {
        Order::Less => c == Some(Ordering::Less),
        Order::AtMost => matches!(c, Some(Ordering::Less | Ordering::Equal)),
        Order::Greater => c == Some(Ordering::Greater),
        Order::AtLeast => matches!(c, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn ordered(v: &Value<'_>) -> bool {
    matches!(v, Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Time(_))
}

fn naive_like(p: &[char], s: &[char]) -> bool {
    match p.split_first() {
        None => s.is_empty(),
        Some(('*', rest)) => (0..=s.len()).any(|i| naive_like(rest, &s[i..])),
        Some(('?', rest)) => !s.is_empty() && naive_like(rest, &s[1..]),
        Some((c, rest)) => s.first() == Some(c) && naive_like(rest, &s[1..]),
    }
}

fn lowered(s: &str) -> Vec<char> {
    s.chars().filter_map(|c| c.to_lowercase().next()).collect()
}

fn naive_one(op: &Op, v: &Value<'_>, ev: &Event<'_>) -> bool {
    let text = |f: &dyn Fn(&str) -> bool| v.str().and_then(|s| std::str::from_utf8(s).ok()).is_some_and(f);
    let inside = |nets: &[ipnet::IpNet]| matches!(v, Value::Ip(ip) if nets.iter().any(|n| n.contains(ip)));
    match op {
        Op::In(list) => list.iter().any(|l| naive_equal(l, v)),
        Op::NotEqual(l) => !naive_equal(l, v),
        Op::Order(o, l) => {
            let l = match l {
                Literal::Int(l) => Value::Int(*l as i64),
                Literal::Float(l) => Value::Float(*l),
                Literal::Time(t) => Value::Time(*t),
                _ => return false,
            };
            ordered(v) && naive_order(*o, v.compare(&l))
        }
        Op::Text(Place::Contains, t) => text(&|s| s.contains(t.as_str())),
        Op::Text(Place::Starts, t) => text(&|s| s.starts_with(t.as_str())),
        Op::Text(Place::Ends, t) => text(&|s| s.ends_with(t.as_str())),
        Op::Matches(p) => text(&|s| p.0.is_match(s.as_bytes())),
        Op::Like(list) => text(&|s| list.iter().any(|p| naive_like(&lowered(p), &lowered(s)))),
        Op::Words(_) => unreachable!("it is asked of the event"),
        Op::Exists => true,
        Op::Cidr(nets) => inside(nets),
        Op::Table(t) => match v {
            Value::Str(_) => text(&|s| t.text.contains(s)),
            Value::Int(n) => t.numbers.contains(&i128::from(*n)),
            Value::Big(n) => t.numbers.contains(&i128::from(*n)),
            Value::Float(n) => n.fract() == 0.0 && t.numbers.contains(&(*n as i128)),
            _ => inside(&t.nets),
        },
        Op::Field(c, f) => ev.get(*f).each().any(|w| match c {
            Compare::Equal => v.compare(&w) == Some(Ordering::Equal),
            Compare::NotEqual => v.compare(&w) != Some(Ordering::Equal),
            Compare::Order(o) => ordered(v) && naive_order(*o, v.compare(&w)),
        }),
    }
}

/// The hits, and what each exception hid, by the letter.
fn naive_hits(set: &RuleSet, ev: &Event<'_>, of: Option<usize>, ts: Timestamp) -> (Vec<Hit>, Vec<u64>) {
    let (mut hits, mut hid) = (Vec::new(), vec![0; set.exceptions.len()]);
    for (i, r) in set.rules.iter().enumerate() {
        let whens: Vec<&When> = if r.kind.steps().is_empty() { vec![&r.when] } else { r.kind.steps().iter().map(|s| &s.when).collect() };
        let mut found = Vec::new();
        for (step, w) in whens.into_iter().enumerate() {
            let woken = match (of, &w.rules) {
                (None, None) => w.where_.is_some() || r.when.where_.is_some(),
                (Some(of), Some(rules)) => rules.contains(&of),
                _ => false,
            };
            // The condition of a rule with steps holds for each of them.
            let own = r.when.where_.as_ref().is_none_or(|e| naive(e, ev));
            if woken && own && w.where_.as_ref().is_none_or(|e| naive(e, ev)) {
                found.push(Hit { rule: i as u32, step: step as u16 });
            }
        }
        let mut hide = false;
        for &e in r.exceptions.iter().filter(|_| !found.is_empty()) {
            let x = &set.exceptions[e];
            if x.until.is_none_or(|u| ts < u) && naive(&x.where_, ev) {
                hid[e] += 1;
                hide = true;
            }
        }
        if !hide {
            hits.extend(found);
        }
    }
    (hits, hid)
}

// Random conditions over few fields and few values, so that they meet.

const TEXT: Field = field::PROCESS_COMMAND_LINE;
const WORD: Field = field::EVENT_ACTION;
const MANY: Field = field::TAGS;
const NUMBER: Field = field::PROCESS_PID;
const PART: Field = field::VULNERABILITY_SCORE_BASE;
const FLAG: Field = field::TLS_RESUMED;
const IP: Field = field::CLIENT_IP;
const TIME: Field = field::EVENT_START;
/// The text of an event, and where it stands when there is none.
const MESSAGE: Field = field::MESSAGE;
const ORIGINAL: Field = field::EVENT_ORIGINAL;
/// Stands for a field of any type.
const ANY: Field = field::EVENT_REASON;
const FIELDS: [Field; 11] = [TEXT, WORD, MANY, NUMBER, PART, FLAG, IP, TIME, ANY, MESSAGE, ORIGINAL];

const TEXTS: &[&str] = &[
    "a",
    "ab",
    "abc",
    "ABC",
    "abcabc",
    "xabcx",
    "É",
    "éab",
    "Kab",
    "\u{212a}ab",
    "ſab",
    "SAB",
    "straße",
    "STRASSE",
    "İab",
    "iab",
    "b*c",
    "bc",
    "cabc and abd",
    "ΣΑΣ",
    "σας",
    "x y",
    "日本ab",
    "a-a a,b",
];
const PATTERNS: &[&str] =
    &["*", "?", "a", "AB*", "*bc", "*b?", "?ab", "k*", "*É*", "é??", "*a*b*c*", "b*c", "sab", "*σ", "i?b", "", "??", "*ab", "日*", "straß?"];
const PHRASES: &[&str] = &["a", "AB", "x y", "x", "cabc and", "and abd", "kab", "éab", "straße", "σασ", "b c", "日本ab", "a a", "a a b"];
const NEEDLES: &[&str] = &["a", "ab", "bc", "abc", "É", "é", "K", "\u{212a}", "x", "ß", "", "ab\u{fe0f}", "日本"];
const REGEXES: &[&str] = &[
    "abc",
    "^abc$",
    "(?i)abc",
    "(?i)kab",
    "(?i)sab",
    "abc|bc",
    "(abc|abd)x?",
    "a.c",
    "^$",
    "[ab]bc",
    "(?-u)\\xA9ab",
    "(abc)+",
    "abc?",
    "(?i)straße",
    "x(abc)?",
    "(?:ab[cd]|SAB)",
    "(?i)ΣΑΣ",
    "a{2,}",
    "and (?:abc|abd)$",
];
const IPS: &[&str] = &["192.0.2.1", "192.0.2.200", "203.0.113.9", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8:1::1"];
const NETS: &[&str] = &["192.0.2.0/24", "192.0.2.0/25", "192.0.2.1/32", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48", "::/0"];

fn value() -> BoxedStrategy<Given> {
    prop_oneof![
        6 => prop::sample::select(TEXTS).prop_map(G::Str),
        3 => (-2i64..4).prop_map(G::Int),
        1 => prop::sample::select(vec![u64::MAX, 1 << 63]).prop_map(G::Big),
        2 => prop::sample::select(vec![0.0, -0.0, 1.0, 1.5, 2.0, -0.5, 1e30]).prop_map(G::Float),
        1 => any::<bool>().prop_map(G::Bool),
        2 => prop::sample::select(IPS).prop_map(G::Ip),
        1 => (0i64..3).prop_map(G::Time),
    ]
    .boxed()
}

fn of_field(f: Field) -> BoxedStrategy<Given> {
    match f {
        NUMBER => prop_oneof![3 => (-2i64..4).prop_map(G::Int), 1 => Just(G::Big(u64::MAX))].boxed(),
        PART => prop::sample::select(vec![0.0, -0.0, 1.0, 1.5, 2.0, -0.5, 1e30]).prop_map(G::Float).boxed(),
        FLAG => any::<bool>().prop_map(G::Bool).boxed(),
        IP => prop::sample::select(IPS).prop_map(G::Ip).boxed(),
        TIME => (0i64..3).prop_map(G::Time).boxed(),
        ANY => value(),
        _ => prop::sample::select(TEXTS).prop_map(G::Str).boxed(),
    }
}

fn row() -> impl Strategy<Value = Row> {
    let one: Vec<_> = FIELDS
        .iter()
        .map(|&f| {
            let values = prop_oneof![
                2 => Just(0usize),
                5 => Just(1),
                2 => 2usize..4,
            ];
            values.prop_flat_map(move |n| prop::collection::vec(of_field(f), n)).prop_map(move |v| (f, v))
        })
        .collect();
    one.prop_map(|r| r.into_iter().filter(|(_, v)| !v.is_empty()).collect())
}

fn lit(g: Given) -> Literal {
    match g {
        G::Str(s) => Literal::Str(s.into()),
        G::Int(v) => Literal::Int(v.into()),
        G::Big(v) => Literal::Int(v.into()),
        G::Float(v) => Literal::Float(v),
        G::Bool(v) => Literal::Bool(v),
        G::Ip(s) => Literal::Ip(crate::event::fold(address(s))),
        G::Time(t) => Literal::Time(Timestamp(t)),
    }
}

fn order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::Less, Order::AtMost, Order::Greater, Order::AtLeast])
}

fn op(f: Field) -> BoxedStrategy<Op> {
    let some = |l: &'static [&'static str]| prop::sample::select(l).prop_map(String::from);
    let nets = prop::collection::vec(prop::sample::select(NETS).prop_map(|s| s.parse::<ipnet::IpNet>().expect("a network")), 1..3);
    let table = (prop::collection::btree_set(some(TEXTS), 0..3), prop::collection::btree_set((-2i128..4).boxed(), 0..3), nets.clone())
        .prop_map(|(text, numbers, nets)| Op::Table(Arc::new(Table { name: "t".into(), text, numbers, nets })));
    prop_oneof![
        4 => prop::collection::vec(of_field(f).prop_map(lit), 1..4).prop_map(Op::In),
        2 => of_field(f).prop_map(lit).prop_map(Op::NotEqual),
        2 => (order(), prop_oneof![(-2i128..4).prop_map(Literal::Int), Just(Literal::Float(1.5)), (0i64..3).prop_map(|t| Literal::Time(Timestamp(t)))])
            .prop_map(|(o, l)| Op::Order(o, l)),
        3 => (prop::sample::select(vec![Place::Contains, Place::Starts, Place::Ends]), some(NEEDLES)).prop_map(|(p, s)| Op::Text(p, s)),
        3 => prop::sample::select(REGEXES).prop_map(|s| Op::Matches(Pattern(regex::bytes::Regex::new(s).expect("an expression")))),
        3 => prop::collection::vec(some(PATTERNS), 1..3).prop_map(Op::Like),
        1 => Just(Op::Exists),
        1 => nets.prop_map(Op::Cidr),
        1 => table,
        1 => (prop_oneof![Just(Compare::Equal), Just(Compare::NotEqual), order().prop_map(Compare::Order)], prop::sample::select(FIELDS.to_vec()))
            .prop_map(|(c, f)| Op::Field(c, f)),
    ]
    .boxed()
}

fn condition() -> impl Strategy<Value = Expr> {
    let words = prop::sample::select(PHRASES).prop_map(|p| test(MESSAGE, Op::Words(crate::rule::check::words(p))));
    let leaf = prop_oneof![
        9 => prop::sample::select(FIELDS.to_vec()).prop_flat_map(|f| op(f).prop_map(move |o| test(f, o))),
        1 => words,
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::And),
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::Or),
            1 => inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        4 => condition().prop_map(where_),
        1 => (prop::option::of(condition()), prop::collection::vec(0usize..6, 1..3)).prop_map(|(e, r)| When { where_: e, rules: Some(r) }),
    ]
}

fn sets() -> impl Strategy<Value = RuleSet> {
    let exception = (condition(), prop::option::of(0i64..4)).prop_map(|(where_, until)| Exception {
        where_,
        until: until.map(Timestamp),
        review: None,
        owner: String::new(),
        reason: String::new(),
    });
    let kind = prop_oneof![
        3 => Just(Kind::Single),
        1 => prop::collection::vec(whens(), 1..4).prop_map(|w| Kind::AllOf {
            within: crate::event::Span(1),
            at_least: 1,
            steps: w.into_iter().map(|when| Step { when, by: None, required: false }).collect(),
        }),
    ];
    let one = (whens(), kind, prop::collection::btree_set(0usize..3, 0..2));
    (prop::collection::vec(one, 1..8), prop::collection::vec(exception, 3)).prop_map(|(rules, exceptions)| RuleSet {
        rules: rules.into_iter().map(|(when, kind, x)| rule("r", when, kind, x.into_iter().collect())).collect(),
        exceptions,
        ..RuleSet::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_woken_and_asked_is_what_holds(set in sets(), rows in prop::collection::vec((row(), 0i64..4), 1..8)) {
        let layout = Layout::of(&set.schema, fields(&set));
        let mut m = Matcher::new(&set, &layout);
        let mut hid = vec![0; set.exceptions.len()];
        let mut hits = Vec::new();
        // Each row twice: the second time from memory.
        for (row, ts) in rows.iter().chain(&rows) {
            with_event(&layout, row, |ev| {
                for of in std::iter::once(None).chain((0..set.rules.len()).map(Some)) {
                    hits.clear();
                    match of {
                        None => m.event(ev, Timestamp(*ts), &mut hits),
                        Some(r) => m.alert(ev, r, Timestamp(*ts), &mut hits),
                    }
                    let (want, more) = naive_hits(&set, ev, of, Timestamp(*ts));
                    hid.iter_mut().zip(more).for_each(|(h, n)| *h += n);
                    prop_assert_eq!(&hits, &want, "alert of {:?}", of);
                }
                Ok(())
            })?;
        }
        prop_assert_eq!(&m.excepted, &hid);
    }
}

#[test]
fn like_sees_the_whole_value_without_regard_to_case() {
    for (pattern, value, want) in [
        ("ssh*", "SSHD", true),
        ("ssh", "sshd", false),
        ("*", "x", true),
        ("?", "é", true),
        ("??", "é", false),
        ("ÄPFEL*", "äpfelmus", true),
        ("straße", "STRASSE", false),
        ("kelvin", "\u{212a}elvin", true),
        ("*İx*", "aixb", true),
        ("*a*b", "aXbXb", true),
        ("a*b*c", "abbc d", false),
        ("*.exe", "C:\\A.EXE", true),
        ("c:\\*", "C:\\A.EXE", true),
        ("a**b", "ab", true),
        ("*abc", "ababc", true),
    ] {
        assert_eq!(matches(test(TEXT, Op::Like(vec![pattern.into()])), &vec![(TEXT, vec![G::Str(value)])]), want, "{pattern} on {value}");
    }
}

#[test]
fn a_pattern_of_many_runs_takes_time_in_proportion() {
    let (pattern, value) = ("*a".repeat(60) + "b", "a".repeat(50_000));
    let like = predicate::Like::new(&pattern);
    // Trying every split would not come to an end.
    assert!(!like.matches(value.as_bytes()));
}

#[test]
fn the_edges_of_each_test() {
    let str = |s: &str| Literal::Str(s.into());
    let net = |s: &str| s.parse::<ipnet::IpNet>().expect("a network");
    let re = |s: &str| Op::Matches(Pattern(regex::bytes::Regex::new(s).expect("an expression")));
    let table = Op::Table(Arc::new(Table {
        name: "t".into(),
        text: ["203.0.113.9".to_string(), "7".into()].into(),
        numbers: [7].into(),
        nets: vec![net("192.0.2.0/24")],
    }));
    let cases: Vec<(Field, Op, Vec<Given>, bool)> = vec![
        (WORD, Op::In(vec![str("a"), str("B")]), vec![G::Str("B")], true),
        (WORD, Op::In(vec![str("a")]), vec![G::Str("A")], false),
        (WORD, Op::In(vec![str("a")]), vec![], false),
        (WORD, Op::NotEqual(str("a")), vec![], false),
        (MANY, Op::NotEqual(str("a")), vec![G::Str("a"), G::Str("b")], true),
        (MANY, Op::NotEqual(str("a")), vec![G::Str("a"), G::Str("a")], false),
        (ANY, Op::NotEqual(str("1")), vec![G::Int(1)], true),
        (ANY, Op::In(vec![str("1")]), vec![G::Int(1)], false),
        (NUMBER, Op::In(vec![Literal::Int(u64::MAX.into())]), vec![G::Big(u64::MAX)], true),
        (NUMBER, Op::In(vec![Literal::Int(-1)]), vec![G::Big(u64::MAX)], false),
        (NUMBER, Op::In(vec![Literal::Int(9_007_199_254_740_993)]), vec![G::Float(9_007_199_254_740_992.0)], false),
        (NUMBER, Op::In(vec![Literal::Int(0)]), vec![G::Float(-0.0)], true),
        (PART, Op::In(vec![Literal::Float(1e30)]), vec![G::Float(1e30)], true),
        (NUMBER, Op::Order(Order::Greater, Literal::Int(i64::MAX.into())), vec![G::Big(1 << 63)], true),
        (NUMBER, Op::Order(Order::AtLeast, Literal::Float(1.5)), vec![G::Int(1), G::Int(2)], true),
        (ANY, Op::Order(Order::Less, Literal::Int(5)), vec![G::Str("1")], false),
        (TIME, Op::Order(Order::Less, Literal::Time(Timestamp(5))), vec![G::Time(4)], true),
        (TEXT, Op::Text(Place::Contains, String::new()), vec![G::Str("a")], true),
        (TEXT, Op::Text(Place::Contains, "bC".into()), vec![G::Str("abcd")], false),
        (TEXT, Op::Text(Place::Ends, "cd".into()), vec![G::Str("abcd")], true),
        (TEXT, Op::Text(Place::Starts, "cd".into()), vec![G::Str("abcd")], false),
        (TEXT, re("^bcd$"), vec![G::Str("abcd")], false),
        (TEXT, re("bcd$"), vec![G::Str("abcd")], true),
        (TEXT, re("(?i)SAB"), vec![G::Str("ſab")], true),
        (IP, Op::Cidr(vec![net("192.0.2.0/24")]), vec![G::Ip("::ffff:192.0.2.7")], true),
        (IP, Op::Cidr(vec![net("::ffff:192.0.2.0/120")]), vec![G::Ip("192.0.2.7")], true),
        (IP, Op::Cidr(vec![net("::/0")]), vec![G::Ip("192.0.2.7")], false),
        (IP, Op::Cidr(vec![net("0.0.0.0/0")]), vec![G::Ip("203.0.113.255")], true),
        (IP, Op::In(vec![Literal::Ip(address("192.0.2.7"))]), vec![G::Ip("::ffff:192.0.2.7")], true),
        (IP, table.clone(), vec![G::Ip("192.0.2.200")], true),
        (IP, table.clone(), vec![G::Ip("203.0.113.9")], false),
        (WORD, table.clone(), vec![G::Str("203.0.113.9")], true),
        (ANY, table, vec![G::Float(7.0)], true),
        (FLAG, Op::In(vec![Literal::Bool(false)]), vec![G::Bool(false)], true),
        (FLAG, Op::Exists, vec![], false),
    ];
    for (f, op, values, want) in cases {
        assert_eq!(matches(test(f, op.clone()), &vec![(f, values.clone())]), want, "{op:?} on {values:?}");
    }
}

#[test]
fn not_turns_the_truth_value_and_fields_compare_with_fields() {
    let eq = |s: &str| test(WORD, Op::In(vec![Literal::Str(s.into())]));
    assert!(matches(Expr::Not(Box::new(eq("a"))), &Vec::new()), "a missing field is not equal, so `not` holds");
    let same = |c| test(WORD, Op::Field(c, MANY));
    let row = vec![(WORD, vec![G::Str("a")]), (MANY, vec![G::Str("b"), G::Str("a")])];
    assert!(matches(same(Compare::Equal), &row) && matches(same(Compare::NotEqual), &row));
    assert!(!matches(same(Compare::NotEqual), &vec![(WORD, vec![G::Str("a")])]));
}

#[test]
fn words_are_found_one_behind_the_other_in_the_text_of_the_event() {
    let words = |s: &str| test(MESSAGE, Op::Words(crate::rule::check::words(s)));
    for (phrase, message, original, want) in [
        ("sql injection", "GET ?x=SQL-Injection!", "", true),
        ("sql injection", "sql, then injection", "", false),
        ("injection sql", "sql injection", "", false),
        ("inject", "injection", "", false),
        ("login", "user logged in", "login", false),
        ("login", "", "{\"action\":\"Login\"}", true),
        ("a a b", "a a a b", "", true),
        ("a b a c", "a b a b a c", "", true),
        ("a b a c", "a b a b a", "", false),
        ("kelvin", "\u{212a}ELVIN", "", true),
        ("über", "ÜBER", "", true),
        ("über", "uber", "", false),
        ("x", "", "", false),
    ] {
        let row: Row =
            [(MESSAGE, message), (ORIGINAL, original)].into_iter().filter(|(_, s)| !s.is_empty()).map(|(f, s)| (f, vec![G::Str(s)])).collect();
        assert_eq!(matches(words(phrase), &row), want, "{phrase} in {row:?}");
        assert_eq!(matches(Expr::Not(Box::new(words(phrase))), &row), !want, "not {phrase} in {row:?}");
    }
}

#[test]
fn a_rule_is_asked_only_when_its_rarest_literal_is_there() {
    let eq = |f, s: &str| test(f, Op::In(vec![Literal::Str(s.into())]));
    let set = single(Expr::And(vec![eq(field::EVENT_OUTCOME, "failure"), eq(field::EVENT_MODULE, "sshd")]));
    let layout = Layout::of(&set.schema, fields(&set));
    let mut m = Matcher::new(&set, &layout);
    let mut hits = Vec::new();
    for (module, woken) in [("falco", 0), ("sshd", 1)] {
        let row = vec![(field::EVENT_OUTCOME, vec![G::Str("failure")]), (field::EVENT_MODULE, vec![G::Str(module)])];
        with_event(&layout, &row, |ev| m.event(ev, Timestamp(0), &mut hits));
        assert_eq!((m.stats().woken, hits.len()), (woken, woken as usize), "{module}");
    }
}

#[test]
fn texts_of_no_use_again_are_not_remembered_and_matches_stay_the_same() {
    let set = single(test(TEXT, Op::Text(Place::Contains, "needle".into())));
    let layout = Layout::of(&set.schema, fields(&set));
    let mut m = Matcher::new(&set, &layout);
    let (mut arena, mut slots, mut hits) = (Arena::default(), vec![Slot::Missing; layout.len()], Vec::new());
    for i in 0..40_000u32 {
        // After the flood the same few texts come again, and are remembered again.
        let n = if i < 20_000 { i } else { i % 4 };
        let text = format!("{n} {}", if n % 4 == 0 { "needle" } else { "straw" }).repeat(20);
        arena.clear();
        let mut out = Out::new(text.as_bytes(), &mut arena, &mut slots, &layout, None);
        out.str(TEXT, text.as_bytes());
        hits.clear();
        m.event(&Event::new(text.as_bytes(), &arena, &slots, &layout), Timestamp(0), &mut hits);
        assert_eq!(!hits.is_empty(), n % 4 == 0, "{text}");
    }
    let s = m.stats();
    assert!(s.remembered > 1_000 && s.remembered + s.searched == 40_000, "{s:?}");
}

#[test]
fn every_field_that_a_rule_names_gets_a_slot() {
    let e = test(WORD, Op::Field(Compare::Equal, MANY));
    let mut r = rule("a", where_(e), Kind::Distinct { fields: vec![TEXT], at_least: 1, within: crate::event::Span(1) }, Vec::new());
    r.by = vec![IP];
    r.per = Some(NUMBER);
    r.carry = vec![field::HOST_NAME];
    r.summary = Some(Template(vec![Part::Text("x".into()), Part::Field(PART)]));
    r.rearm = Rearm::Cooldown { time: crate::event::Span(1), by: Some(vec![FLAG]) };
    let x = Exception { where_: test(TIME, Op::Exists), until: None, review: None, owner: String::new(), reason: String::new() };
    let set = RuleSet { rules: vec![r], exceptions: vec![x], ..RuleSet::default() };
    let mut want = vec![WORD, MANY, TEXT, IP, NUMBER, field::HOST_NAME, PART, FLAG, TIME];
    want.sort();
    assert_eq!(fields(&set), want);
}
