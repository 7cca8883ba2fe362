//! What `vigild check` says of broken files, as a newcomer reads it.

use vigild::diag;
use vigild::event::Schema;
use vigild::parse::Estate;
use vigild::rule::load::load;

fn report(file: &str, text: &str) -> String {
    let files = [(file.to_owned(), text.to_owned())];
    let (_, said) = load(&files, &Estate::default(), Schema::default(), &|_| Err("no such file".to_owned()));
    diag::draw(&said, &files, false)
}

#[test]
fn a_first_rule_with_the_usual_slips() {
    insta::assert_snapshot!(report(
        "rules/credential_access/ssh-spray.toml",
        r#"[[rule]]
id       = "ssh-spray"
titel    = "One address tries several users"
severity = "hihg"
where    = '''event.category == "authentication"
           and event.outcom == "failure" and source.port == "22"
           and client.ip : "10.*"'''
by       = ["client.ip"]
distinct = { field = "user.nam", at_least = 3, within = "10min" }
rearm    = { cooldown = "1h", by = ["host.name"] }

[[rule.test]]
name     = "three users"
each     = { "client.ip" = "203.0.113.300" }
timeline = """
0s   user.name=a
5    user.name=b
9m   user.name=c  !
"""
"#
    ));
}

#[test]
fn rules_that_listen_to_each_other() {
    insta::assert_snapshot!(report(
        "rules/site/chain.toml",
        r#"[[rule]]
id       = "probe"
title    = "A probe"
severity = "low"
rule     = "callback"
by       = ["client.ip"]

[[rule]]
id       = "callback"
title    = "A callback"
severity = "critical"
by       = ["container.id"]
[rule.sequence]
within   = "10m"
[[rule.sequence.step]]
rule     = "probe"
[[rule.sequence.step]]
absent   = true
where    = 'event.action == "fixed"'
[[rule.sequence.step]]
rule     = ["prob", "tactic:persistance", "tag:web"]

[[exception]]
rules  = ["callbak"]
where  = 'client.ip in table("scanners") or is("maintenance")'
owner  = "ops"
reason = "tests"
"#
    ));
}

#[test]
fn conditions_that_do_not_do_what_they_seem_to() {
    insta::assert_snapshot!(report(
        "rules/site/web.toml",
        r#"[[rule]]
id       = "web-shell"
title    = "A web shell"
severity = "high"
where    = "url.path matches \"cmd=\\\\d+\" and user_agent.original contains \"curl\""

[[rule]]
id       = "web-odd"
title    = "Odd ports"
severity = "low"
rearm    = "every"
where    = 'server.port > 1024 && url.path == "/x"'

[[rule]]
id       = "web-never"
title    = "Never"
severity = "low"
rearm    = "every"
where    = 'event.outcome == "success" and event.outcome == "failure"'

[[rule]]
id       = "web-pattern"
title    = "A pattern"
severity = "low"
rearm    = "every"
where    = 'url.query matches "(union|select" or server.port > 1024'
"#
    ));
}
