//! The built-in rules: they load, each proves itself, and what is no attack is silent.

use jiff::tz::TimeZone;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};
use vigild::engine::Options;
use vigild::engine::collect::Collected;
use vigild::event::{Batch, Schema, Timestamp, time};
use vigild::parse::estate::Host;
use vigild::parse::{Context, Estate, declared};
use vigild::rule::testing::Body;
use vigild::rule::{Kind, RuleSet, attack, load};
use vigild::worker::{FILE_LATENESS, Origin, Worker};
use vigild::{builtin, diag, ruletest};

/// The folders that are no tactic: deployments, and what only feeds metrics.
const OTHER_FOLDERS: [&str; 1] = ["supply_chain"];

fn none(_: &str) -> Result<String, String> {
    Err("built-in rules read no files".into())
}

/// The built-in rules and formats; complaints, warnings too, fail the test.
fn loaded(estate: &Estate) -> (RuleSet, declared::Formats) {
    let mut schema = Schema::default();
    let (formats, said) = declared::Formats::load(&builtin::parsers(), &mut schema);
    assert!(said.is_empty(), "{}", diag::draw(&said, &builtin::parsers(), false));
    let files = builtin::rules();
    let (set, said) = load::load(&files, estate, schema, &none);
    assert!(said.is_empty(), "{}", diag::draw(&said, &files, false));
    assert!(set.rules.len() >= 40, "{} rules", set.rules.len());
    (set, formats)
}

/// The records of a file: lines, and OSSEC's blocks, which end with an empty line.
fn records(file: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut block = false;
    for line in file.lines() {
        match all.last_mut() {
            Some(last) if block && !line.is_empty() => *last += &format!("\n{line}"),
            _ if line.is_empty() => block = false,
            _ => {
                block = line.starts_with("** ");
                all.push(line.to_owned());
            }
        }
    }
    all
}

/// The ids of the alerts that these files give together, sorted; formats are recognised.
fn alerts(estate: Estate, files: &[&str]) -> Vec<String> {
    let (set, formats) = loaded(&estate);
    let (set, estate, zone) = (Arc::new(set), Arc::new(estate), TimeZone::UTC);
    let near = time::iso(b"2026-11-23T06:00:00Z", &zone).map_or(Timestamp::MIN, |(t, _)| t);
    let mut worker = Worker::new(set.clone(), &formats, estate.clone(), Options::default());
    let (mut said, mut got) = (Vec::new(), Collected::default());
    // File after file: all lie within the lateness, so that is no other than merged by time.
    for (i, file) in files.iter().enumerate() {
        let stream = format!("file {i}");
        let ctx = Context { zone: &zone, near, named: false, estate: &estate };
        let origin = Origin { ctx, format: None, stream: &stream, lateness: FILE_LATENESS, received: None };
        for record in records(file) {
            let mut batch = Batch::default();
            batch.push(record.as_bytes(), false);
            let seen = worker.record(&batch, batch.records[0], &origin, &mut said);
            assert!(!seen.error, "{record}");
            got.take(&mut said);
        }
    }
    worker.engine().finish(&mut said);
    got.take(&mut said);
    assert_eq!(worker.engine().counters().late, 0, "the files of a test lie within the lateness");
    let mut ids: Vec<String> = got.finish().iter().map(|a| set.rules[a.rule].id.to_string()).collect();
    ids.sort();
    ids
}

fn prod() -> Estate {
    let host =
        |name: &str, ip: &str, tag: &str| Host { name: name.into(), ip: ip.parse().into_iter().collect(), tags: vec![tag.into()], ..Host::default() };
    Estate::new(vec![host("vm-prod", "10.0.1.10", "prod"), host("vm-security", "203.0.113.200", "scanner")], Vec::new())
}

#[test]
fn each_rule_shows_when_it_fires_and_when_it_does_not() {
    let estate = Arc::new(Estate::default());
    let (set, formats) = loaded(&estate);
    for (i, rule) in set.rules.iter().enumerate() {
        let fires = |b: &Body| match b {
            Body::Timeline(rows) => rows.iter().any(|r| r.due),
            Body::Lines { alerts, .. } => !alerts.is_empty(),
        };
        if rule.alert {
            assert!(rule.tests.iter().any(|t| fires(&t.body)), "{} has no test that fires", rule.id);
        }
        assert!(rule.tests.iter().any(|t| !fires(&t.body)), "{} has no near miss", rule.id);
        for t in &rule.tests {
            let v = ruletest::run(&set, i, t, &formats, &estate);
            assert!(v.passed(), "{} ({}): {}: {v:?}", rule.id, rule.file, t.name);
        }
    }
}

#[test]
fn each_rule_stands_in_a_file_of_its_own_name_in_the_folder_of_a_tactic() {
    let (set, _) = loaded(&Estate::default());
    for rule in &set.rules {
        let parts: Vec<&str> = rule.file.split('/').collect();
        let ["rules", folder, file] = parts[..] else { panic!("{}", rule.file) };
        assert_eq!(file, format!("{}.toml", rule.id));
        assert!(attack::TACTICS.contains(&folder) || OTHER_FOLDERS.contains(&folder), "{}", rule.file);
        if !OTHER_FOLDERS.contains(&folder) {
            assert!(rule.tactics.iter().any(|t| t == folder), "{}: its techniques are of {:?}", rule.file, rule.tactics);
        }
    }
}

#[test]
fn each_rule_says_why_what_may_err_and_what_to_do() {
    for (path, text) in builtin::rules() {
        let Ok(root) = DeTable::parse(&text) else { panic!("{path} is not TOML") };
        let Some(rules) = root.get_ref().get("rule").and_then(|r| r.get_ref().as_array()) else { continue };
        for rule in rules.iter().filter_map(|r| r.get_ref().as_table()) {
            let get = |k: &str| rule.get(k).map(|v| v.get_ref());
            let text = |k: &str| get(k).and_then(DeValue::as_str).unwrap_or_default().trim();
            assert!(text("reason").len() > 30, "{path}: `reason`");
            assert!(get("false_positives").and_then(DeValue::as_array).is_some_and(|a| !a.is_empty()), "{path}: `false_positives`");
            let lines = text("runbook").lines().count();
            if get("alert").is_some_and(|a| matches!(a, DeValue::Boolean(false))) {
                assert_eq!(lines, 1, "{path}: `runbook`");
                continue;
            }
            assert!((2..=5).contains(&lines), "{path}: `runbook` has {lines} lines");
            assert!(text("summary").contains('{'), "{path}: `summary` has no values");
        }
    }
}

#[test]
fn each_alert_names_host_user_and_client_and_no_single_event_fires_twice_in_a_row() {
    let (set, _) = loaded(&Estate::default());
    for rule in set.rules.iter().filter(|r| r.alert) {
        for name in ["host.name", "user.name", "client.ip", "related.hosts"] {
            assert!(set.schema.get(name).is_some_and(|f| rule.carry.contains(&f)), "{} does not carry {name}", rule.id);
        }
        // The alert has these of its own.
        for name in ["rule.name", "rule.id", "message", "event.severity", "event.kind"] {
            assert!(set.schema.get(name).is_some_and(|f| !rule.carry.contains(&f) && !rule.by.contains(&f)), "{} carries {name}", rule.id);
        }
        if rule.kind == Kind::Single {
            assert!(!matches!(rule.rearm, vigild::rule::Rearm::Every), "{} fires on every match", rule.id);
        }
    }
}

const SSHD: &str = "\
Nov 23 05:00:01 vm-prod sshd[811]: Invalid user ann from 203.0.113.9 port 40001
Nov 23 05:00:01 vm-prod sshd[811]: pam_unix(sshd:auth): check pass; user unknown
Nov 23 05:00:01 vm-prod sshd[811]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9
Nov 23 05:00:01 vm-prod sshd[811]: Failed password for invalid user ann from 203.0.113.9 port 40001 ssh2
Nov 23 05:00:02 vm-prod sshd[811]: Connection closed by invalid user ann 203.0.113.9 port 40001 [preauth]
Nov 23 05:00:04 vm-prod sshd[815]: Accepted password for anna from 203.0.113.9 port 40002 ssh2
Nov 23 05:00:04 vm-prod sshd[815]: pam_unix(sshd:session): session opened for user anna(uid=1000) by (uid=0)
";

const OSSEC: &str = "\
** Alert 1795410001.101: - syslog,sshd,invalid_login,authentication_failed,
2026 Nov 23 05:00:01 vm-prod->/var/log/auth.log
Rule: 5710 (level 5) -> 'Attempt to login using a non-existent user'
Src IP: 203.0.113.9
User: ann
Nov 23 05:00:01 vm-prod sshd[811]: Invalid user ann from 203.0.113.9 port 40001

** Alert 1795410001.102: - pam,syslog,authentication_failed,
2026 Nov 23 05:00:01 vm-prod->/var/log/auth.log
Rule: 5503 (level 5) -> 'User login failed.'
Src IP: 203.0.113.9
Nov 23 05:00:01 vm-prod sshd[811]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.9

** Alert 1795410001.103: - syslog,sshd,invalid_login,authentication_failed,
2026 Nov 23 05:00:01 vm-prod->/var/log/auth.log
Rule: 5710 (level 5) -> 'Attempt to login using a non-existent user'
Src IP: 203.0.113.9
User: ann
Nov 23 05:00:01 vm-prod sshd[811]: Failed password for invalid user ann from 203.0.113.9 port 40001 ssh2

** Alert 1795410004.104: - syslog,sshd,authentication_success,
2026 Nov 23 05:00:04 vm-prod->/var/log/auth.log
Rule: 5715 (level 3) -> 'SSHD authentication success.'
Src IP: 203.0.113.9
User: anna
Nov 23 05:00:04 vm-prod sshd[815]: Accepted password for anna from 203.0.113.9 port 40002 ssh2

";

const FAIL2BAN: &str = "\
2026-11-23 05:00:01,101 fail2ban.filter         [801]: INFO    [sshd] Found 203.0.113.9 - 2026-11-23 05:00:01
2026-11-23 05:00:01,901 fail2ban.filter         [801]: INFO    [sshd] Found 203.0.113.9 - 2026-11-23 05:00:01
";

#[test]
fn a_mistyped_password_that_four_tools_see_is_silent() {
    for files in [&[SSHD][..], &[OSSEC], &[FAIL2BAN], &[SSHD, OSSEC, FAIL2BAN]] {
        assert_eq!(alerts(prod(), files), Vec::<String>::new());
    }
}

/// One IDS alert as a line of EVE and of fast.log.
fn ids(second: u32, sid: u32, name: &str, priority: u32, from: &str, to: &str) -> (String, String) {
    (
        format!(
            r#"{{"timestamp":"2026-11-23T05:00:0{second}.000000+0000","flow_id":{sid},"event_type":"alert","src_ip":"{from}","src_port":4711,"dest_ip":"{to}","dest_port":80,"proto":"TCP","alert":{{"action":"allowed","gid":1,"signature_id":{sid},"rev":1,"signature":"{name}","category":"c","severity":{priority}}},"flow":{{"src_ip":"{from}","dest_ip":"{to}","src_port":4711,"dest_port":80}}}}"#
        ),
        format!(
            "11/23/2026-05:00:0{second}.000000  [**] [1:{sid}:1] {name} [**] [Classification: c] [Priority: {priority}] {{TCP}} {from}:4711 -> {to}:80"
        ),
    )
}

#[test]
fn an_attack_in_eve_and_in_fast_log_is_told_once() {
    let (stranger, own) = ("203.0.113.9", "10.0.1.10");
    for (sid, name, priority, from, to, want) in [
        (2024364, "ET SCAN Possible Nmap User-Agent Observed", 1, stranger, own, "ids-scan"),
        (2034647, "ET EXPLOIT Apache log4j RCE Attempt", 1, stranger, own, "ids-exploit-attempt"),
        (2027865, "ET MALWARE Beacon", 1, own, stranger, "c2-or-malware-traffic"),
        (2013504, "ET INFO GNU/Linux APT User-Agent Outbound", 3, own, stranger, ""),
        (2013505, "ET POLICY Package Management", 1, own, stranger, ""),
        (2210054, "SURICATA STREAM excessive retransmissions", 3, own, stranger, ""),
    ] {
        let (eve, fast) = ids(1, sid, name, priority, from, to);
        let want: Vec<&str> = if want.is_empty() { vec![] } else { vec![want] };
        for files in [vec![&eve[..]], vec![&fast], vec![&eve, &fast]] {
            assert_eq!(alerts(prod(), &files), want, "{name}");
        }
    }
}

#[test]
fn a_login_after_a_brute_force_is_told_once_by_whatever_tools() {
    let (mut raw, mut file, mut syslog) = (String::new(), String::new(), String::new());
    for i in 0..=8 {
        let ok = i == 8;
        let (rule, level, groups) = if ok { (5715, 3, "authentication_success") } else { (5716, 5, "authentication_failed") };
        let line = format!(
            "Nov 23 05:00:00 vm-prod sshd[90{i}]: {} password for deploy from 203.0.113.9 port 4000{i} ssh2",
            if ok { "Accepted" } else { "Failed" }
        );
        raw += &format!("{line}\n");
        file += &format!(
            "** Alert 1795410000.10{i}: - syslog,sshd,{groups},\n2026 Nov 23 05:00:00 vm-prod->/var/log/auth.log\nRule: {rule} (level {level}) -> 'x'\nSrc IP: 203.0.113.9\nUser: deploy\n{line}\n\n"
        );
        syslog += &format!(
            r#"<132>Nov 23 05:00:00 siem ossec: {{"crit":{level},"id":{rule},"component":"vm-prod->/var/log/auth.log","classification":" syslog,sshd,{groups},","description":"x","message":"{line}","acct":"deploy","src_ip":"203.0.113.9"}}"#
        );
        syslog.push('\n');
    }
    for files in [vec![&raw[..]], vec![&file], vec![&syslog], vec![&raw, &file, &syslog]] {
        assert_eq!(alerts(prod(), &files), ["login-after-bruteforce", "ssh-bruteforce"], "{}", files[0]);
    }
}

#[test]
fn the_scanners_of_the_estate_are_excepted_by_their_tag() {
    let line = |ip: &str| format!("{ip} - - [23/Nov/2026:05:00:00 +0000] \"GET /.git/config HTTP/1.1\" 200 612 \"-\" \"sqlmap/1.8\"\n");
    assert_eq!(alerts(prod(), &[&line("203.0.113.9")]), ["scanner-tool", "sensitive-path-probe-hit"]);
    assert_eq!(alerts(prod(), &[&line("203.0.113.200")]), Vec::<String>::new());
}

/// A rollout as the tools tell it, blocked attacks of the internet among it.
const ROLLOUT: &str = r#"** Alert 1795413600.101: - local,git,
2026 Nov 23 06:00:00 vm-devops->/var/log/git.log
Rule: 100201 (level 3) -> 'Git commit detected'
User: alice
Nov 23 06:00:00 vm-devops git: push to react-app main

{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","after":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","created":false,"deleted":false,"forced":false,"compare":"https://github.com/example/react-app/compare/6113728f27ae...0d1a26e67d8f","commits":[],"head_commit":null,"repository":{"full_name":"example/react-app","pushed_at":1795413601},"pusher":{"name":"alice"},"sender":{"login":"alice"}}
{"type":"PUSH_ARTIFACT","occur_at":1795413620,"operator":"ci","event_data":{"resources":[{"digest":"sha256:d72f37f783ed6a8d58ac70b4db052707d1ec9d4ea010ef5ccd84652faf9ed844","tag":"v2.1.7","resource_url":"harbor.example.net/prod/react-app:v2.1.7"}],"repository":{"name":"react-app","namespace":"prod","repo_full_name":"prod/react-app","repo_type":"private"}}}
{"type":"SCANNING_COMPLETED","occur_at":1795413640,"operator":"auto","event_data":{"resources":[{"digest":"sha256:d72f37f783ed6a8d58ac70b4db052707d1ec9d4ea010ef5ccd84652faf9ed844","tag":"v2.1.7","resource_url":"harbor.example.net/prod/react-app:v2.1.7","scan_overview":{"application/vnd.security.vulnerability.report; version=1.1":{"scan_status":"Success","severity":"Low","summary":{"total":2,"fixable":0,"summary":{"Low":2}}}}}],"repository":{"name":"react-app","namespace":"prod","repo_full_name":"prod/react-app","repo_type":"private"}}}
{"time":"2026-11-23T06:01:00Z","type":"response","auth":{"display_name":"approle-deploy","policies":["deploy"],"token_type":"service"},"request":{"id":"24ac580b","operation":"update","mount_type":"database","path":"database/rotate-role/deploy","remote_address":"10.0.1.20"},"response":{"mount_type":"database"}}
{"argocd":{"trigger":"on-sync-running","app":"react-app","project":"prod","revision":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","sync":"OutOfSync","health":"Healthy","phase":"Running","startedAt":"2026-11-23T06:02:00Z","initiatedBy":"alice","namespace":"web","images":[]}}
11/23/2026-06:02:10.000000  [**] [1:2013504:6] ET POLICY GNU/Linux APT User-Agent Outbound likely related to package management [**] [Classification: Not Suspicious Traffic] [Priority: 3] {TCP} 10.0.1.10:4711 -> 198.51.100.9:80
2026-11-23 06:02:20,101 fail2ban.filter         [801]: INFO    [sshd] Found 203.0.113.9 - 2026-11-23 06:02:20
203.0.113.9 - - [23/Nov/2026:06:02:30 +0000] "GET /.git/config HTTP/1.1" 404 153 "-" "Mozilla/5.0"
** Alert 1795413780.105: mail  - ossec,syscheck,
2026 Nov 23 06:03:00 vm-prod->syscheck
Rule: 550 (level 7) -> 'Integrity checksum changed.'
Integrity checksum changed for: '/var/www/html/app.js'

/var/www/html/app.js: OK
{"argocd":{"trigger":"on-deployed","app":"react-app","project":"prod","revision":"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c","sync":"Synced","health":"Healthy","phase":"Succeeded","startedAt":"2026-11-23T06:02:00Z","finishedAt":"2026-11-23T06:04:00Z","initiatedBy":"alice","namespace":"web","images":["harbor.example.net/prod/react-app:v2.1.7"]}}
"#;

#[test]
fn a_rollout_is_one_deployment_and_nothing_else() {
    assert_eq!(alerts(prod(), &[ROLLOUT]), ["deployment-started"]);
}
