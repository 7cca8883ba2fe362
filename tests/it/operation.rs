//! What an operator runs beside the daemon: health, init, connect, completions and man, as the shipped binary does them.

use crate::daemon::Daemon;
use std::fs;
use std::process::{Command, Output, Stdio};

fn vigild(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigild")).args(args).stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn health_is_0_while_the_daemon_takes_records_and_5_after() {
    let mut d = Daemon::start("[[source]]\nkind = \"http\"\n", &[]);
    let addr = d.http.to_string();
    let o = vigild(&["health", "--http", &addr]);
    assert_eq!((o.status.code(), text(&o.stdout).as_str()), (Some(0), "ready\n"));
    let file = d.dir.path().join("health.toml").display().to_string();
    fs::write(&file, format!("[http]\nlisten = \"0.0.0.0:{}\"\ninsecure = true\n", d.http.port())).expect("written");
    assert_eq!(vigild(&["health", "--config", &file]).status.code(), Some(0), "the address of the configuration, reached on loopback");
    fs::write(&file, "http = 1\n").expect("written");
    assert_eq!(vigild(&["health", "--config", &file]).status.code(), Some(3));
    d.stop();
    let o = vigild(&["health", "--http", &addr]);
    assert_eq!(o.status.code(), Some(5));
    assert!(text(&o.stderr).contains(&addr), "{}", text(&o.stderr));
}

#[test]
fn what_init_writes_and_what_the_image_holds_is_a_configuration() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().display().to_string();
    let o = vigild(&["init", "--dir", &at]);
    assert_eq!(o.status.code(), Some(0), "{}", text(&o.stderr));
    let file = format!("{at}/vigild.toml");
    let written = fs::read_to_string(&file).expect("written");
    assert_eq!(text(&vigild(&["init", "--stdout"]).stdout), written);
    for config in [file.as_str(), concat!(env!("CARGO_MANIFEST_DIR"), "/docker/vigild.toml")] {
        let o = vigild(&["parse", "--config", config]);
        assert_eq!((o.status.code(), text(&o.stderr).as_str()), (Some(0), ""), "{config}");
    }
    assert_eq!(vigild(&["init", "--dir", &at]).status.code(), Some(4), "a second time it is there already");
    assert_eq!(fs::read_to_string(&file).expect("there"), written);
}

#[test]
fn connect_lists_its_tools_and_takes_the_configured_addresses() {
    let list = text(&vigild(&["connect"]).stdout);
    for tool in ["suricata", "falco", "ossec", "fail2ban", "modsecurity", "rsyslog", "github"] {
        assert!(list.lines().any(|l| l.starts_with(&format!("{tool} "))), "{list}");
    }
    let o = vigild(&["connect", "sycilog-ng"]);
    assert_eq!((o.status.code(), text(&o.stdout).as_str()), (Some(2), ""));
    assert!(text(&o.stderr).contains("did you mean `syslog-ng`?"), "{}", text(&o.stderr));
    // A token that is there is named by its file and never shown.
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().display().to_string();
    let secret = "5ec2e7".repeat(10);
    fs::write(dir.path().join("admin.token"), &secret).expect("written");
    let file = format!("{at}/vigild.toml");
    fs::write(&file, "[http]\nlisten = \"127.0.0.1:9999\"\n").expect("written");
    for tool in list.lines().filter_map(|l| l.split(' ').next()) {
        let o = vigild(&["connect", tool, "--config", &file, "--data", &at]);
        let said = text(&o.stdout);
        assert_eq!((o.status.code(), text(&o.stderr).as_str()), (Some(0), ""), "{tool}");
        assert!(!said.contains(&secret) && !said.contains(":8514"), "{said}");
    }
    let said = text(&vigild(&["connect", "filebeat", "--config", &file, "--data", &at]).stdout);
    assert!(said.contains("127.0.0.1:9999") && said.contains(&format!("{at}/admin.token")), "{said}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let help = text(&vigild(&["--help"]).stdout);
    let listed = help.split_once("Commands:\n").and_then(|h| h.1.split_once("\n\n")).expect("a list").0;
    let commands: Vec<&str> = listed.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next()).filter(|w| !w.is_empty()).collect();
    assert!(commands.len() >= 11 && commands.contains(&"connect"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let said = text(&vigild(&["completions", shell]).stdout);
        assert!(commands.iter().all(|c| said.contains(c)), "{shell} {commands:?}");
    }
    assert_eq!(vigild(&["completions", "csh"]).status.code(), Some(2));
    assert!(text(&vigild(&["man"]).stdout).contains(".TH vigild 1"));
    let dir = tempfile::tempdir().expect("a folder");
    assert_eq!(vigild(&["man", "--dir", &dir.path().display().to_string()]).status.code(), Some(0));
    for page in commands.iter().filter(|c| **c != "help").map(|c| format!("vigild-{c}.1")) {
        assert!(dir.path().join(&page).exists(), "{page}");
    }
    assert_eq!(vigild(&["man", "--dir", "/no/such/folder"]).status.code(), Some(4));
}
