//! The configuration as the shipped binary reads it: drop-ins, `config show` and `check`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Exit code, stdout and stderr.
fn vigild(args: &[&str]) -> (Option<i32>, String, String) {
    let o = Command::new(env!("CARGO_BIN_EXE_vigild")).args(args).stdin(Stdio::null()).output().expect("it runs");
    (o.status.code(), String::from_utf8_lossy(&o.stdout).into_owned(), String::from_utf8_lossy(&o.stderr).into_owned())
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

#[test]
fn what_is_shown_names_the_file_and_the_line_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), "hook.secret", "5ec2e7");
    let secret = dir.path().join("hook.secret");
    let hook = format!("zone = \"Europe/Berlin\"\n[[source]]\nkind = \"hook\"\nname = \"h\"\nsecret = {{ file = {secret:?} }}\n");
    write(dir.path(), "vigild.toml", &hook);
    write(dir.path(), "vigild.d/10-site.toml", "[limits]\n\nidle = \"7m\"\n");
    let main = dir.path().join("vigild.toml").display().to_string();
    let (code, out, err) = vigild(&["config", "show", "--config", &main, "--origin"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let ends = |start: &str, end: &str| out.lines().any(|l| l.starts_with(start) && l.ends_with(end));
    assert!(ends("zone = \"Europe/Berlin\" ", "/vigild.toml:1"), "{out}");
    assert!(ends("idle = \"7m\" ", "/vigild.d/10-site.toml:3"), "{out}");
    assert!(ends("files = 1000 ", "# default"), "{out}");
    assert!(out.contains("hook.secret") && !out.contains("5ec2e7"), "{out}");
    let (_, json, _) = vigild(&["config", "show", "--config", &main, "--output", "json"]);
    let v: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&v["limits"]["idle"], &v["source"][0]["name"]), (&"7m".into(), &"h".into()));
}

#[test]
fn check_says_all_that_is_wrong_with_a_configuration_and_what_it_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let main = dir.path().join("vigild.toml").display().to_string();
    write(dir.path(), "vigild.toml", "rules = [\"builtin\"]\n");
    assert_eq!(vigild(&["check", "--config", &main]).0, Some(0));
    write(
        dir.path(),
        "vigild.toml",
        "zone = \"Europe/Berlm\"\nrules = [\"builtin\", \"/no/such/rules\"]\n[alerts]\nfile = \"/no/such/folder/alerts\"\n\
         [[source]]\nkind = \"file\"\npath = \"x\"\nformat = \"suricat\"\n\
         [[source]]\nkind = \"hook\"\nname = \"h\"\nsecret = { file = \"/no/such/secret\" }\n",
    );
    write(
        dir.path(),
        "vigild.d/tls.toml",
        "rulez = 1\n[[source]]\nkind = \"relp\"\nlisten = \"0.0.0.0:2514\"\n[source.tls]\n\
         certificate = \"/no/such/certificate\"\nkey = \"/no/such/key\"\n",
    );
    let (code, out, err) = vigild(&["check", "--config", &main]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    for word in [
        "vigild.toml:1:8",
        "vigild.toml:2:21",
        "/no/such/folder",
        "did you mean `suricata`?",
        "/no/such/secret",
        "vigild.d/tls.toml:1:1",
        "vigild.d/tls.toml:6:15",
        "vigild.d/tls.toml:7:7",
        "8 errors",
    ] {
        assert!(err.contains(word), "{word} is not in\n{err}");
    }
    assert_eq!(vigild(&["check", "--config", "/no/such/file"]).0, Some(4));
    assert_eq!(vigild(&["run", "--config", &main]).0, Some(3), "the drop-ins are read by `run`, too");
}
