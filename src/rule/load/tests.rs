use super::*;
use crate::parse::estate::Host;

fn estate() -> Estate {
    let host = Host { name: "web-1".into(), aliases: vec!["www".into()], ip: "10.0.0.7".parse().into_iter().collect(), tags: vec!["scanner".into()] };
    Estate::new(vec![host], Vec::new())
}

fn try_load(text: &str) -> (RuleSet, Vec<Diagnostic>) {
    let read = |p: &str| if p == "rules/list.txt" { Ok("# names\nroot\n\n10.0.0.0/8\n".to_owned()) } else { Err("no such file".to_owned()) };
    load(&[("rules/a.toml".into(), text.into())], &estate(), Schema::default(), &read)
}

fn good(text: &str) -> RuleSet {
    let (set, said) = try_load(text);
    let errors: Vec<_> = said.iter().filter(|d| d.level == Level::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    set
}

/// A rule of these lines, with what every rule needs before them.
fn rule(lines: &str) -> String {
    format!("[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n{lines}\n")
}

const W: &str = "where = 'event.action == \"x\"'\n";

fn single(cond: &str) -> String {
    rule(&format!("where = '''{cond}'''\nrearm = \"every\""))
}

fn kind(lines: &str) -> String {
    rule(&format!("{W}{lines}"))
}

fn two(second: &str) -> String {
    format!("{}[[rule]]\nid = \"s\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\n{second}\n", single("event.action == \"x\""))
}

/// Every code, a file that has it, and the text that is marked.
#[test]
fn every_complaint_is_made_where_it_belongs() {
    let cases: Vec<(&str, String, &str)> = vec![
        ("R001", "x = [".into(), ""),
        ("R002", rule(&format!("{W}wher = 1")), "wher"),
        ("R002", "[[rulez]]\nid = 1".into(), "rulez"),
        ("R003", "[[rule]]\nid = \"r\"\nseverity = \"low\"\nwhere = 'tags == \"x\"'".into(), "[[rule]]"),
        ("R004", kind("by = \"host.name\""), "\"host.name\""),
        ("R005", single("tags == \"x\"").replace("\"r\"", "\"R 1\""), "\"R 1\""),
        ("R006", format!("{}{}", single("tags == \"x\""), single("tags == \"y\"")), "\"r\""),
        ("R007", single("tags == \"x\"").replace("\"low\"", "\"lo\""), "\"lo\""),
        ("R007", kind("rearm = \"never\""), "\"never\""),
        ("R007", kind("missing = \"no\""), "\"no\""),
        ("R008", kind("count = { at_least = 1, within = \"1w\" }"), "\"1w\""),
        ("R008", kind("count = { at_least = 1, within = \"401d\" }"), "\"401d\""),
        ("R008", kind("count = { at_least = 1, within = \"0s\" }"), "\"0s\""),
        ("R009", kind("count = { at_least = 0, within = \"1s\" }"), "0"),
        ("R010", kind("absent = { for = \"5m\" }"), "absent"),
        ("R010", single("source.ip in feed(\"x\")"), "feed"),
        ("R010", "[schedule.office]\ndays = [\"mon-fri\"]".into(), "office"),
        ("R011", kind("count = { at_least = 1, within = \"1s\" }\nsum = { field = \"source.bytes\", at_least = 1, within = \"1s\" }"), "sum"),
        ("R012", single("user.nam == \"x\""), "user.nam"),
        ("R013", kind("rearm = \"reset\""), "\"reset\""),
        ("R013", kind("by = [\"host.name\"]\nrearm = { cooldown = \"1h\", by = [\"user.name\"] }"), "[\"user.name\"]"),
        ("R013", kind("count = { at_least = 3, within = \"1s\" }\nrearm = { below = 4 }"), "4"),
        ("R014", rule("rule = \"q\""), "\"q\""),
        ("R014", rule("rule = \"tactic:persistance\""), "\"tactic:persistance\""),
        ("R015", rule("rule = \"tag:none\""), "\"tag:none\""),
        ("R016", two("rule = \"s\""), "\"s\""),
        ("R017", rule(""), "[[rule]]"),
        ("R018", kind("per = \"host.name\""), "\"host.name\""),
        ("R018", kind("skew = \"1s\""), "\"1s\""),
        (
            "R018",
            rule("by = [\"source.ip\"]\nsequence.within = \"1m\"\nsequence.step = [{ where = 'tags == \"x\"', by = [\"user.name\"] }]"),
            "[\"user.name\"]",
        ),
        ("R019", two("rule = \"r\"\nby = [\"file.path\"]"), "\"r\""),
        (
            "R020",
            format!("{}[[exception]]\nrules = [\"r\"]\nwhere = 'tags == \"x\"'\nowner = \"o\"\nreason = \"r\"", single("tags == \"y\"")),
            "[[exception]]",
        ),
        (
            "R021",
            format!("{}[[tune]]\nrules = [\"r\"]\nset = {{ \"count.within\" = \"1m\" }}\nowner = \"o\"\nreason = \"r\"", single("tags == \"y\"")),
            "\"count.within\"",
        ),
        ("R022", "[table.t]\nfile = \"gone.txt\"".into(), "\"gone.txt\""),
        ("R023", kind("summary = \"on {host.name\""), "{"),
        ("R024", kind("metric = { name = \"a-b\", kind = \"counter\" }"), "\"a-b\""),
        ("R025", kind("test = [{ name = \"n\" }]"), "{ name = \"n\" }"),
        ("R026", kind("test = [{ name = \"n\", timeline = \"0s source.port=x\" }]"), "x"),
        ("R027", kind("attack = [\"1110\"]"), "\"1110\""),
        ("R028", kind("attack = [\"T9999\"]"), "\"T9999\""),
        ("R030", kind("count = { at_least = 100001, within = \"1s\" }"), "100001"),
        ("R030", rule(&format!("all_of = {{ within = \"1m\", at_least = 2, step = [{{ {} }}] }}", W.trim())), "2"),
        ("R031", two("rule = \"r\"").replacen("rearm", "enabled = false\nrearm", 1), "\"r\""),
        ("R032", "[condition.a]\nwhere = 'is(\"b\")'\n[condition.b]\nwhere = 'not is(\"a\")'".into(), "a"),
        ("R050", kind(""), "\"r\""),
        ("R051", single("tags == \"x\"").replace("\"low\"", "\"high\""), "\"r\""),
        ("R052", kind("alert = false"), "\"r\""),
        ("R053", rule(&format!("all_of = {{ within = \"1m\", step = [{{ {0} }}, {{ {0} }}] }}", W.trim())), "{ where = 'event.action == \"x\"' }"),
        (
            "R053",
            rule(&format!("all_of = {{ within = \"1m\", step = [{{ {} }}, {{ where = 'tags == \"a\" and event.action == \"x\"' }}] }}", W.trim())),
            "{ where = 'tags == \"a\" and event.action == \"x\"' }",
        ),
        ("R054", single("source.port > 5"), "'''source.port > 5'''"),
        ("C001", single("user.name = \"x\""), "="),
        ("C002", single("source.port == \"22\""), "\"22\""),
        ("C002", single("source.ip : \"10.*\""), "source.ip"),
        ("C002", single("user.name > \"a\""), "\"a\""),
        ("C002", single("user.name in cidr(\"10.0.0.0/8\")"), "cidr"),
        ("C002", single("source.ip == source.port"), "source.port"),
        ("C003", single("source.ip == \"10.0.0.0/8\""), "\"10.0.0.0/8\""),
        ("C003", single("source.ip in cidr(\"10.0.0.0/33\")"), "\"10.0.0.0/33\""),
        ("C003", single("event.start > \"yesterday\""), "\"yesterday\""),
        ("C004", single("user.name matches \"a(b\""), "\"a(b\""),
        ("C005", single("user.name matches \"(\\\\w{1000}){1000}\""), "\"(\\\\w{1000}){1000}\""),
        ("C006", single("user.name in table(\"adminz\")"), "\"adminz\""),
        ("C007", single("is(\"nothing\")"), "\"nothing\""),
        ("C008", single("user.name in []"), "user.name in []"),
        ("C009", single("user.name == \"a\" or not user.name == \"a\""), "user.name == \"a\" or not user.name == \"a\""),
        ("C010", single(&format!("{}tags == \"x\"", "not ".repeat(200))), "not"),
        ("C011", single("host.name in hosts(\"scaner\")"), "\"scaner\""),
        ("C012", single("url.path matches \"passwd\""), "\"passwd\""),
        ("C013", single("process.command_line contains \"curl\""), "process.command_line"),
        ("C014", single("tags == \"x\" and \"--\""), "\"--\""),
        ("C015", single("user.name and tags == \"x\""), "user.name"),
        ("C015", single("tags == \"x\" and not @timestamp"), "@timestamp"),
        ("R054", single("\"sql injection\""), "'''\"sql injection\"'''"),
    ];
    for (condition, all) in
        [("source.port > 5", false), ("\"sql injection\"", false), ("source.ip == destination.ip", true), ("not tags == \"x\"", true)]
    {
        let (_, said) = try_load(&single(condition));
        let told = said.iter().find(|d| d.code == "R054").map(|d| d.message.contains("a backtest reads every record"));
        assert_eq!(told, Some(all), "{condition}");
    }
    let mut codes: BTreeSet<&str> = BTreeSet::new();
    for (code, text, marked) in &cases {
        let (_, said) = try_load(text);
        let hits: Vec<&Diagnostic> = said.iter().filter(|d| d.code == *code).collect();
        assert!(!hits.is_empty(), "{code} is not said of\n{text}\n{said:#?}");
        assert!(
            hits.iter().any(|d| text.get(d.span.clone()) == Some(marked) || marked.is_empty()),
            "{code} marks something else in\n{text}\n{hits:#?}"
        );
        let error = hits[0].level == Level::Error;
        let warning = ["R015", "R028", "R031", "C011", "C012", "C013"].contains(code) || code.starts_with("R05");
        assert!(error != warning || *code == "R019", "{code}");
        codes.insert(code);
    }
    // The reference lists what there is, and nothing that there is not. R029 needs 4096 fields.
    codes.insert("R029");
    let listed: BTreeSet<&str> = include_str!("../../../rules/README.md")
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
        .filter(|c| c.len() == 4 && c.bytes().skip(1).all(|b| b.is_ascii_digit()))
        .collect();
    assert_eq!(codes, listed);
}

#[test]
fn all_complaints_come_at_once_and_say_what_was_meant() {
    let (_, said) =
        try_load("[[rule]]\nid = \"a\"\ntitel = \"t\"\nseverity = \"hihg\"\nwhere = 'user.nam == 1 and sorce.ip exists'\n[[rule]]\nid = \"b\"\n");
    let help: Vec<&str> = said.iter().filter_map(|d| d.help.as_deref()).collect();
    assert_eq!(help, ["did you mean `title`?", "did you mean `high`?", "did you mean `user.name`?", "did you mean `source.ip`?"]);
    assert_eq!(said.iter().filter(|d| d.code == "R003").count(), 2, "of the second rule: {said:#?}");
}

#[test]
fn a_place_in_a_string_is_its_place_in_the_file() {
    for quoted in [
        "'tags == \"é\" and user.nam exists'",
        "\"tags == \\\"\\u00e9\\\" and user.nam exists\"",
        "'''\ntags == \"é\"\n  and user.nam exists'''",
        "\"\"\"\r\ntags == \\\"x\\\" \\\r\n\r\n   and \\\n user.nam exists\"\"\"",
        "'''\r\ntags == \"x\"\r\nand user.nam exists'''",
        "\"\"\"tags == \\\"\\U000000e9\\\" and \\t user.nam exists\"\"\"",
    ] {
        let text = rule(&format!("where = {quoted}"));
        let (_, said) = try_load(&text);
        let d = said.iter().find(|d| d.code == "R012");
        assert_eq!(d.and_then(|d| text.get(d.span.clone())), Some("user.nam"), "{text}\n{said:#?}");
    }
}

#[test]
fn defaults_are_those_of_the_language() {
    let set = good(&kind("count = { at_least = 3, within = \"2m\" }"));
    let r = &set.rules[0];
    assert_eq!((&r.rearm, r.max_alerts, r.keys, r.alert, r.signal, r.level), (&Rearm::Reset, 1000, None, true, false, 1));
    assert_eq!(r.carry, [field::HOST_NAME, field::USER_NAME, field::CLIENT_IP]);
    assert_eq!(good(&kind("")).rules[0].rearm, Rearm::Every);
    let all = rule(&format!("all_of = {{ within = \"1m\", step = [{{ {} }}, {{ where = 'tags == \"x\"' }}] }}", W.trim()));
    assert!(matches!(good(&all).rules[0].kind, Kind::AllOf { at_least: 2, .. }));
}

#[test]
fn literals_take_the_type_of_their_field() {
    let op = |cond: &str| match good(&single(cond)).rules.remove(0).when.where_ {
        Some(Expr::Test(t)) => t.op,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        op("source.ip == \"::ffff:192.0.2.1\""),
        Op::In(vec![Literal::Ip("192.0.2.1".parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))])
    );
    let words = |w: &[&str]| Op::Words(w.iter().map(|w| (*w).to_owned()).collect());
    assert_eq!(op("\"SQL-Injection\""), words(&["sql", "injection"]));
    assert_eq!(op("ssh-login"), words(&["ssh", "login"]));
    assert_eq!(op("message"), words(&["message"]), "a name without a dot is a word");
    assert_eq!(op("vulnerability.score.base >= 7"), Op::Order(Order::AtLeast, Literal::Float(7.0)));
    assert_eq!(op("source.port > 2.5"), Op::Order(Order::Greater, Literal::Int(2)));
    assert_eq!(op("source.port >= 2.5"), Op::Order(Order::AtLeast, Literal::Int(3)));
    assert_eq!(op("suricata.new.thing == true"), Op::In(vec![Literal::Bool(true)]));
    assert_eq!(op("event.start < \"1970-01-01T00:00:01Z\""), Op::Order(Order::Less, Literal::Time(Timestamp(1_000_000_000))));
    assert!(matches!(op("source.ip in cidr(\"::ffff:10.0.0.9/104\")"), Op::Cidr(n) if n[0].to_string() == "10.0.0.0/8"));
}

#[test]
fn tables_and_hosts_are_put_in() {
    let text = format!(
        "[table.t]\nfile = \"list.txt\"\n[table.u]\nvalues = [22, \"x\"]\n{}",
        single("user.name in table(\"t\") and source.ip in hosts(\"scanner\") and source.port in table(\"u\")")
    );
    let Some(Expr::And(all)) = good(&text).rules.remove(0).when.where_ else { panic!("no condition") };
    let tables: Vec<&Table> = all.iter().filter_map(|e| if let Expr::Test(Test { op: Op::Table(t), .. }) = e { Some(&**t) } else { None }).collect();
    assert!(tables[0].text.contains("root") && tables[0].nets.len() == 1);
    assert!(tables[1].text.contains("web-1") && tables[1].text.contains("www") && tables[1].nets[0].to_string() == "10.0.0.7/32");
    assert!(tables[2].numbers.contains(&22) && tables[2].text.contains("x"));
}

#[test]
fn rules_listen_by_id_tag_and_tactic_and_have_levels() {
    let r = |id: &str, rest: &str| format!("[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\n{rest}\n");
    let text = [
        r("c", &format!("{W}tags = [\"web\"]\nattack = [\"T1505.003\"]")),
        r("a", "rule = \"b\""),
        r("b", "rule = [\"tag:web\", \"tactic:persistence\"]\ntags = [\"web\"]"),
        r("d", &format!("{W}tags = [\"web\"]\nenabled = false")),
    ]
    .concat();
    let set = good(&text);
    let got: Vec<(&str, Option<Vec<usize>>, u16)> = set.rules.iter().map(|r| (&*r.id, r.when.rules.clone(), r.level)).collect();
    assert_eq!(got, [("a", Some(vec![1]), 3), ("b", Some(vec![2]), 2), ("c", None, 1)]);
}

#[test]
fn a_circle_is_named() {
    let r = |id: &str, of: &str| format!("[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nseverity = \"low\"\nrule = \"{of}\"\n");
    let (_, said) = try_load(&[r("a", "b"), r("b", "c"), r("c", "b")].concat());
    let all: Vec<&str> = said.iter().filter(|d| d.code == "R016").map(|d| d.label.as_str()).collect();
    assert_eq!(all, ["`b` → `c` → `b`"]);
}

#[test]
fn tunes_come_before_and_are_checked_in_their_own_place() {
    let base = kind("count = { at_least = 9, within = \"1s\" }\nenabled = false");
    let tune = |set: &str| format!("{base}[[tune]]\nrules = [\"r\"]\nset = {{ {set} }}\nowner = \"o\"\nreason = \"r\"\n");
    for set in [
        "enabled = true, \"count.at_least\" = 2, severity = \"high\", respond = [\"x\"], \"rearm.cooldown\" = \"1h\"",
        "enabled = true, count.at_least = 2, severity = \"high\", respond = [\"x\"], rearm = { cooldown = \"1h\" }",
    ] {
        let r = good(&tune(set)).rules.remove(0);
        assert_eq!(r.kind, Kind::Count { at_least: 2, within: Span::seconds(1) });
        assert_eq!(
            (r.severity, &r.respond[..], &r.rearm),
            (Severity::High, &["x".to_owned()][..], &Rearm::Cooldown { time: Span::seconds(3600), by: None })
        );
    }
    let text = tune("\"count.at_least\" = 0");
    let (_, said) = try_load(&text);
    assert_eq!(said.iter().map(|d| (d.code, d.span.start > base.len())).collect::<Vec<_>>(), [("R009", true)]);
}

#[test]
fn exceptions_end_with_their_day_or_at_their_instant() {
    let ex = |line: &str| {
        let text = format!(
            "{}[[exception]]\nrules = [\"r\"]\nwhere = 'user.name == \"a\"'\nowner = \"o\"\nreason = \"r\"\n{line}\n",
            single("tags == \"x\"")
        );
        let set = good(&text);
        assert_eq!(set.rules[0].exceptions, [0]);
        (set.exceptions[0].until.map(|t| t.to_string()), set.exceptions[0].review.map(|t| t.to_string()))
    };
    assert_eq!(ex("expires = 2026-01-31"), (Some("2026-02-01T00:00:00.000000Z".into()), None));
    assert_eq!(ex("expires = 2026-02-02T12:00:00+01:00"), (Some("2026-02-02T11:00:00.000000Z".into()), None));
    assert_eq!(ex("review = \"2020-01-01\""), (None, Some("2020-01-01T00:00:00.000000Z".into())));
}

#[test]
fn meaning_is_what_decides_when_it_fires() {
    let base = kind("by = [\"host.name\"]\ncount = { at_least = 3, within = \"2m\" }\ntags = [\"x\"]\nsummary = \"s\"");
    let meaning = |text: &str| good(text).rules.last().map(|r| r.meaning);
    let same = meaning(&base);
    for (from, to) in [
        ("\"t\"", "\"another title\""),
        ("\"low\"", "\"medium\""),
        ("[\"x\"]", "[]"),
        ("\"s\"", "\"z\""),
        ("'event.action == \"x\"'", "'(event.action  ==  \"x\")'"),
    ] {
        assert_eq!(meaning(&base.replace(from, to)), same, "{to}");
    }
    for (from, to) in
        [("at_least = 3", "at_least = 4"), ("2m", "3m"), ("host.name", "user.name"), ("\"x\"'", "\"y\"'"), ("summary", "rearm = \"every\"\nsummary")]
    {
        assert_ne!(meaning(&base.replace(from, to)), same, "{to}");
    }
    let table = |v: &str| meaning(&format!("[table.t]\nvalues = [\"{v}\"]\n{}", single("user.name in table(\"t\")")));
    assert_eq!(table("a"), table("b"), "what a table holds is no part of it");
    let own = |first: &str| {
        meaning(&format!("[[rule]]\nid = \"a\"\ntitle = \"t\"\nseverity = \"low\"\nwhere = '{first} == 1'\n{}", single("falco.two == 1")))
    };
    assert_eq!(own("falco.one"), own("falco.two"), "the order in which fields come up is none either");
    let below = |w: &str| meaning(&two("rule = \"r\"").replace("\"x\"", w));
    assert_ne!(below("\"x\""), below("\"y\""), "the rules that it listens to are");
}

#[test]
fn only_what_is_certain_never_holds() {
    let codes = |c: &str| try_load(&single(c)).1.iter().filter(|d| ["C008", "C009"].contains(&d.code)).map(|d| d.code).collect::<Vec<_>>();
    for c in [
        "user.name == \"a\" and user.name == \"b\"",
        "source.port > 5 and source.port < 5",
        "source.port == 5 and source.port >= 6",
        "user.name == \"a\" and not (user.name exists)",
        "user.name in [\"a\"] and (source.port == 1 and user.name != \"a\")",
        "not (user.name in []) and user.name in []",
    ] {
        assert_eq!(codes(c), ["C008"], "{c}");
    }
    for c in [
        "tags == \"a\" and tags == \"b\"",
        "falco.x == \"a\" and falco.x == \"b\"",
        "source.port >= 5 and source.port <= 5",
        "user.name != \"a\" and user.name != \"b\"",
        "user.name == \"a\" or user.name == \"b\"",
        "user.name in [\"a\", \"b\"] and user.name in [\"b\", \"c\"]",
    ] {
        assert!(codes(c).is_empty(), "{c}");
    }
}

#[test]
fn a_test_becomes_events_and_what_is_due() {
    let text = kind(
        "[[rule.test]]\nname = \"n\"\neach = { \"user.name\" = \"a\", host = { name = \"h\" } }\ntimeline = '''\n0s\n1m30s user.name=\"b c\" ! now\n2m - # later\n'''\n[[rule.test]]\nname = \"m\"\nlines = [\"x\"]\nalerts = [{ at = \"2026-01-05T00:00:02Z\", key = { \"destination.port\" = 22 } }]",
    );
    let r = good(&text).rules.remove(0);
    let Body::Timeline(rows) = &r.tests[0].body else { panic!("no timeline") };
    let s = |v: &str| v.to_owned();
    assert_eq!(rows[0].event, Some(vec![(field::USER_NAME, s("a")), (field::HOST_NAME, s("h"))]));
    assert_eq!(
        (rows[1].at, rows[1].due, &rows[1].event),
        (Span::seconds(90), true, &Some(vec![(field::HOST_NAME, s("h")), (field::USER_NAME, s("b c"))]))
    );
    assert_eq!(rows[2].event, None);
    assert!(matches!(&r.tests[1].body, Body::Lines { alerts, .. } if alerts[0].key == Some(vec![(field::DESTINATION_PORT, s("22"))])));
    assert!(text[r.tests[1].offset..].starts_with("[[rule.test]]"));
}

#[test]
fn named_conditions_do_not_grow_without_end() {
    let mut text = String::from("[condition.c0]\nwhere = 'tags == \"x\"'\n");
    for i in 1..40 {
        text += &format!("[condition.c{i}]\nwhere = 'is(\"c{0}\") or is(\"c{0}\")'\n", i - 1);
    }
    assert!(try_load(&text).1.iter().any(|d| d.code == "C010"));
}

#[test]
fn depth_and_odd_shapes_are_refused_quietly() {
    for text in [
        format!("x = {}", "[".repeat(100_000)),
        format!("[table.a]\nvalues = {}1{}", "[".repeat(60), "]".repeat(60)),
        format!("{} = 1", vec!["rule"; 50_000].join(".")),
        "rule = [1, [2], {}]\nexception = [{}]\ntune = [{}, 1]\ntable = []\ncondition = { a = 1, b = {} }".to_owned(),
        "[[rule]]\nid = 1\ntitle = []\nseverity = {}\nwhere = 1\nby = [1]\ncount = 1\nrearm = 1\ntest = 1\nmetric = 1\nattack = 1\ntags = 1"
            .to_owned(),
        "\u{feff}[[rule]]\r\nid = \"r\"".to_owned(),
    ] {
        let (_, said) = try_load(&text);
        assert!(said.iter().any(|d| d.level == Level::Error), "{}", &text[..40]);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]
    #[test]
    fn any_text_is_loaded_or_refused(lines in proptest::collection::vec("(\\[\\[rule\\]\\]|\\[\\[rule.test\\]\\]|\\[\\[tune\\]\\]|\\[table.a\\]|id|where|by|count|sequence|rearm|test|rule|set|timeline|within|at_least|values|rules) ?=? ?(|'tags == \"é\"'|\"r\"|\\[\"r\"\\]|1|\\{at_least=1\\}|\\{step=\\[\\{\\}\\]\\}|2026-01-01|[\"'{}\\[\\]a-z=\\\\. é0-9]{0,12})", 0..14)) {
        let text = lines.join("\n");
        let (_, said) = try_load(&text);
        for d in &said {
            assert!(text.get(d.span.clone()).is_some(), "{d:?} in {text:?}");
        }
        crate::diag::draw(&said, &[("rules/a.toml".into(), text)], false);
    }
}

#[test]
fn what_is_loaded_over_others_takes_their_place() {
    let old = format!(
        "{}[table.t]\nvalues = [\"old\"]\n[[rule]]\nid = \"on\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\nrule = \"r\"\n",
        single("user.name in table(\"t\")")
    );
    let new = rule("severity = \"high\"\nwhere = 'user.name in table(\"t\")'\nrearm = \"every\"").replacen("severity = \"low\"\n", "", 1)
        + "[table.t]\nvalues = [\"new\"]\n";
    let files = [("old.toml".to_owned(), old), ("new.toml".to_owned(), new)];
    let read = |_: &str| Err("no such file".to_owned());
    let (set, said) = load_over(&files, 1, &estate(), Schema::default(), &read);
    assert!(said.iter().all(|d| d.level != Level::Error), "{said:#?}");
    let of = |id: &str| set.rules.iter().position(|r| *r.id == *id).expect("it is there");
    assert_eq!(set.rules.len(), 2);
    assert_eq!(set.rules[of("r")].severity, Severity::High);
    assert_eq!(set.rules[of("on")].when.rules, Some(vec![of("r")]), "who listens to it listens to the new one");
    let table = |e: &Option<Expr>| match e {
        Some(Expr::Test(Test { op: Op::Table(t), .. })) => t.text.iter().cloned().collect::<Vec<_>>(),
        e => panic!("{e:?}"),
    };
    assert_eq!(table(&set.rules[of("r")].when.where_), ["new"]);
    let (_, said) = load(&files, &estate(), Schema::default(), &read);
    assert!(said.iter().any(|d| d.level == Level::Error), "else two of one name are an error");
}
