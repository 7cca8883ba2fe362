//! What `vigild parse` writes is read back as what it was: the same bytes, and the same alerts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn vigild(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vigild"))
        .args(args)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output().expect("the binary ends");
    feeder.join().expect("the input is taken");
    assert!(out.status.success(), "{args:?}: {}", out.status);
    out.stdout
}

fn samples() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for format in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("parsers")).expect("parsers/").flatten() {
        let Ok(files) = std::fs::read_dir(format.path().join("samples")) else { continue };
        all.extend(files.flatten().map(|f| f.path()).filter(|p| p.extension().is_some_and(|e| e == "log")));
    }
    all.sort();
    assert!(all.len() > 30);
    all
}

#[test]
fn events_written_and_read_back_are_the_same_bytes_and_give_the_same_alerts() {
    let mut alerts = 0;
    for path in samples() {
        let name = path.display().to_string();
        let events = vigild(&["parse", &name], b"");
        assert!(vigild(&["parse", "--format", "ecs", "-"], &events) == events, "{name}: events change when read back");
        let direct = vigild(&["replay", &name], b"");
        alerts += direct.iter().filter(|b| **b == b'\n').count();
        let back = vigild(&["replay", "--format", "ecs", "-"], &events);
        assert_eq!(String::from_utf8_lossy(&direct), String::from_utf8_lossy(&back), "{name}");
    }
    assert!(alerts > 5, "samples that make no alerts show little");
}
