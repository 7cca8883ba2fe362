//! What is wrong is said at once and where it stands; what is right is read.

use super::*;
use crate::event::Span;
use std::time::Duration;

/// The codes of all complaints, each with the text it points at.
fn complaints(text: &str) -> Vec<String> {
    read("vigild.toml", text).1.iter().map(|d| format!("{} {}", d.code, &text[d.span.clone()])).collect()
}

#[test]
fn an_empty_file_is_the_default() {
    let (c, found) = read("vigild.toml", "");
    assert_eq!(found, []);
    assert_eq!((c.http, c.sources.len(), c.limits), (HTTP, 2, Limits::default()));
    assert_eq!(c.sources[0].kind, Kind::Syslog(source::syslog::Syslog::default()));
}

#[test]
fn everything_can_be_set() {
    let (c, found) = read(
        "vigild.toml",
        r#"
        zone = "Europe/Berlin"
        rules = ["builtin", "/etc/vigild/rules.d"]
        [[host]]
        name = "vm-prod"
        aliases = ["vm-prod.example.net"]
        ip = ["192.0.2.10", "2001:db8::10"]
        tags = ["prod"]
        [network]
        trusted_proxies = ["192.0.2.0/24", "198.51.100.7"]
        [http]
        listen = "0.0.0.0:9000"
        insecure = true
        [[source]]
        kind = "syslog"
        listen = "[::1]:514"
        transport = ["udp"]
        allow = ["192.0.2.0/24"]
        [[source]]
        name = "ids"
        kind = "file"
        path = "/var/log/suricata/eve*.json"
        format = "suricata"
        zone = "+02:00"
        lateness = "10s"
        [limits]
        record_bytes = 4096
        queue_bytes = "1MiB"
        idle = "5m"
        [state]
        budget = "64MiB"
        [index]
        enabled = false
        max_bytes = "1GiB"
        [backtest]
        time = "5s"
        candidates = 1000
        alerts = 7
        body_bytes = "1MiB"
        at_once = 3
        [alerts]
        file = "/var/log/vigild/alerts.json"
        "#,
    );
    assert_eq!(found, []);
    assert_eq!(c.hosts[0].ip.len(), 2);
    assert_eq!(c.proxies.len(), 2);
    assert_eq!(c.http.port(), 9000);
    assert_eq!(c.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["syslog", "ids", "http"]);
    assert_eq!(c.sources[1].lateness, Span::seconds(10));
    assert_eq!((c.limits.record_bytes, c.limits.queue_bytes, c.limits.idle), (4096, 1 << 20, Duration::from_secs(300)));
    assert_eq!(c.state.budget, 64 << 20);
    assert_eq!(c.index, Index { enabled: false, max_bytes: 1 << 30, ..Index::default() });
    let backtest = Backtest { time: Duration::from_secs(5), candidates: 1000, alerts: 7, body_bytes: 1 << 20, at_once: 3 };
    assert_eq!(c.backtest, backtest);
}

#[test]
fn every_complaint_comes_at_once_and_points_at_its_cause() {
    let text = r#"
zone = "Europe/Berlm"
rulez = []
[http]
listen = "0.0.0.0:8514"
[[source]]
kind = "sylog"
[[source]]
kind = "file"
[[source]]
kind = "stdin"
listen = "127.0.0.1:1"
[limits]
queue_bytes = true
record_bytes = 3
idle = "soon"
"#;
    assert_eq!(
        complaints(text),
        [
            "V005 \"Europe/Berlm\"",
            "V002 rulez",
            "V006 \"0.0.0.0:8514\"",
            "V005 \"sylog\"",
            "V004 [[source]]",
            "V002 listen",
            "V003 true",
            "V005 3",
            "V005 \"soon\"",
        ]
    );
    let help: Vec<_> = read("vigild.toml", text).1.into_iter().filter_map(|d| d.help).collect();
    assert!(help.contains(&"did you mean `rules`?".to_owned()), "{help:?}");
    assert!(help.contains(&"did you mean `syslog`?".to_owned()), "{help:?}");
}

#[test]
fn a_backtest_has_bounds_that_are_bounded() {
    let text = "[backtest]\ntime = \"0s\"\ncandidates = 999\nalerts = 0\nbody_bytes = 1\nat_once = 0\nrecords = 1\n";
    assert_eq!(complaints(text), ["V005 \"0s\"", "V005 999", "V005 0", "V005 1", "V005 0", "V002 records"]);
}

#[test]
fn a_hook_has_a_secret_that_stands_elsewhere() {
    let kinds = |text: &str| {
        let (c, found) = read("vigild.toml", text);
        assert_eq!(found, [], "{text}");
        c.sources.into_iter().filter_map(|s| if let Kind::Hook(h) = s.kind { Some((s.name, h)) } else { None }).collect::<Vec<_>>()
    };
    use secret::Secret;
    use source::hook::{Hook, Signature};
    let github = Hook { signature: Signature::Github, secret: Some(Secret::File("/etc/vigild/github".into())) };
    assert_eq!(kinds("[[source]]\nkind=\"hook\"\nformat=\"github\"\nsecret={file=\"/etc/vigild/github\"}\n"), [("github".into(), github)]);
    let sonar = Hook { signature: Signature::Hmac { header: "x-sonar".into() }, secret: Some(Secret::Env("SONAR".into())) };
    let text = "[[source]]\nkind=\"hook\"\nname=\"sonar\"\nsecret={env=\"SONAR\"}\nsignature=\"hmac-sha256\"\nheader=\"X-Sonar\"\n";
    assert_eq!(kinds(text), [("sonar".into(), sonar)]);
    let harbor = Hook { signature: Signature::Token { header: "authorization".into() }, secret: Some(Secret::Credential("harbor".into())) };
    assert_eq!(kinds("[[source]]\nkind=\"hook\"\nname=\"h\"\nsecret={credential=\"harbor\"}\n"), [("h".into(), harbor)]);
    let open = Hook { signature: Signature::None, secret: None };
    assert_eq!(kinds("[[source]]\nkind=\"hook\"\nname=\"falco\"\nsignature=\"none\"\n"), [("falco".into(), open)]);

    let wrong = |rest: &str| complaints(&format!("[[source]]\nkind=\"hook\"\nname=\"x\"\n{rest}\n"));
    assert_eq!(wrong("secret=\"s3cret\""), ["V010 \"s3cret\""]);
    assert_eq!(wrong("secret={env=\"A\",file=\"b\"}"), ["V004 {env=\"A\",file=\"b\"}"]);
    assert_eq!(wrong("secret={flie=\"b\"}"), ["V002 flie"]);
    assert_eq!(wrong("secret={credential=\"../x\"}"), ["V005 \"../x\""]);
    assert_eq!(wrong("secret=3"), ["V003 3"]);
    assert_eq!(wrong(""), ["V004 [[source]]"]);
    assert_eq!(wrong("signature=\"none\"\nsecret={env=\"A\"}"), ["V011 [[source]]"]);
    assert_eq!(wrong("signature=\"hmac-sha256\"\nsecret={env=\"A\"}"), ["V004 [[source]]"]);
    assert_eq!(wrong("signature=\"sha1\"\nsecret={env=\"A\"}"), ["V005 \"sha1\""]);
    assert_eq!(wrong("header=\"not a header\"\nsecret={env=\"A\"}"), ["V005 \"not a header\""]);
    let help = read("x", "[[source]]\nkind=\"hook\"\nsecret=\"s3cret\"\n").1.into_iter().find_map(|d| d.help).expect("a way out");
    assert!(help.contains("file =") && !help.contains("s3cret"), "{help}");
}

#[test]
fn broken_toml_is_a_complaint_and_the_rest_is_still_checked() {
    let found = complaints("zone = \nrulez = 1\n");
    assert!(found.iter().any(|c| c.starts_with("V001")), "{found:?}");
    assert!(found.contains(&"V002 rulez".to_owned()), "{found:?}");
}

#[test]
fn one_name_is_one_source() {
    let text = "[[source]]\nkind=\"file\"\npath=\"a\"\n[[source]]\nkind=\"file\"\npath=\"b\"\n";
    assert_eq!(complaints(text).len(), 1);
    assert_eq!(complaints("[[host]]\nname=\"a\"\n[[host]]\nname=\"A\"\n"), ["V007 \"A\""]);
}

#[test]
fn the_example_of_the_readme_is_read_without_a_complaint() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```toml\n").nth(1).and_then(|r| r.split("```").next()).expect("the README shows a configuration");
    let (config, said) = read("README.md", example);
    assert_eq!(said, []);
    // HTTP is there whether it is named or not.
    assert_eq!((config.sources.len(), config.hosts.len(), config.proxies.len()), (2, 1, 1));
}
