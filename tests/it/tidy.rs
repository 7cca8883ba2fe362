//! The house rules that a compiler does not know: what the core may name, and which licences come in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sources(path: &Path, to: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut all: Vec<PathBuf> = fs::read_dir(path).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        all.sort();
        all.iter().for_each(|p| sources(p, to));
    } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
        to.push(path.to_owned());
    }
}

/// What is code of a file: no comments, and nothing of its tests, which stand last.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().enumerate().map(|(i, l)| (i + 1, l.split("//").next().unwrap_or(""))).filter(|(_, l)| !l.trim().is_empty())
}

/// The banned words in a file of the core, each with its line.
fn offences(text: &str) -> Vec<(usize, &'static str)> {
    const BANNED: [&str; 12] = [
        "tokio",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "SystemTime",
        "Instant::now",
        "tracing",
        "rand::",
    ];
    const SHELL: [&str; 8] = ["clock", "config", "source", "metrics", "pipeline", "api", "cli", "builtin"];
    let mut found = Vec::new();
    for (n, line) in code(text) {
        found.extend(BANNED.iter().filter(|b| line.contains(**b)).map(|b| (n, *b)));
        for part in line.split("crate::").skip(1) {
            // `crate::config::…`, or a list: `crate::{config, event}`.
            let inside = part.strip_prefix('{').map_or(part, |p| p.split('}').next().unwrap_or(""));
            let names = if part.starts_with('{') { inside.split(',').collect() } else { vec![inside] };
            let first = |n: &str| n.trim().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
            let names: Vec<String> = names.into_iter().map(first).collect();
            found.extend(SHELL.iter().filter(|s| names.iter().any(|n| n == *s)).map(|s| (n, *s)));
        }
    }
    found
}

#[test]
fn the_core_names_no_runtime_file_socket_clock_or_log() {
    let mut files = Vec::new();
    for part in ["event", "parse", "rule", "engine", "engine.rs", "alert", "alert.rs", "diag", "diag.rs", "worker.rs", "ruletest.rs"] {
        let path = Path::new(ROOT).join("src").join(part);
        if path.exists() {
            sources(&path, &mut files);
        }
    }
    assert!(files.len() > 10, "the core is somewhere else: {files:?}");
    let mut wrong = Vec::new();
    for f in files {
        let text = fs::read_to_string(&f).expect("text");
        wrong.extend(offences(&text).into_iter().map(|(n, what)| format!("{}:{n}: {what}", f.display())));
    }
    assert!(wrong.is_empty(), "the core is pure:\n{}", wrong.join("\n"));
}

#[test]
fn an_offence_would_be_found() {
    for (text, what) in [
        ("use tokio::sync;\n", Some("tokio")),
        ("fn f() { let t = std::time::SystemTime::now(); }\n", Some("SystemTime")),
        ("use crate::config::Config;\n", Some("config")),
        ("use crate::{event::Event, metrics};\n", Some("metrics")),
        ("let x = crate::clock::now();\n", Some("clock")),
        ("// tokio owns the sockets\nuse crate::event::Event;\n", None),
        ("use crate::rule::{Rule, config};\n", None),
        ("use crate::sourced::X;\n", None),
        ("fn f() {}\n#[cfg(test)]\nmod tests {\n use std::fs;\n}\n", None),
    ] {
        assert_eq!(offences(text).first().map(|o| o.1), what, "{text}");
    }
}

/// Sentences of a section that name no test, and names of tests that are not there.
fn unproved(section: &str, tests: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for sentence in section.split("\n- ").skip(1) {
        let names: Vec<&str> = sentence.split('`').skip(1).step_by(2).filter(|n| n.contains('_')).collect();
        if names.is_empty() || !sentence.trim_end().ends_with(").") {
            wrong.push(sentence.lines().next().unwrap_or_default().to_owned());
        }
        wrong.extend(names.into_iter().filter(|n| !tests.contains(&format!("#[test]\nfn {n}() {{"))).map(str::to_owned));
    }
    wrong
}

#[test]
fn each_promise_names_tests_that_are_there() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("text");
    let (_, section) = readme.split_once("\n## What is promised\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut tests = String::new();
    let folders = [Path::new(ROOT).join("tests/it"), Path::new(ROOT).join("src/source")];
    let mut folders = folders.to_vec();
    while let Some(f) = folders.pop() {
        for e in fs::read_dir(f).expect("a folder") {
            let path = e.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                tests += &fs::read_to_string(path).expect("text");
            }
        }
    }
    assert!(section.matches("\n- ").count() >= 8, "{section}");
    assert_eq!(unproved(section, &tests), Vec::<String>::new());
}

#[test]
fn a_promise_without_a_test_would_be_found() {
    let tests = "#[test]\nfn it_holds() {\n}\n#[test]\n#[ignore]\nfn it_might() {\n}\nfn it_helps() {\n}\n";
    for (section, wrong) in [
        ("\n- It holds (`it_holds`).", vec![]),
        ("\n- It holds.", vec!["It holds."]),
        ("\n- It holds (`it_held`).", vec!["it_held"]),
        ("\n- It holds (`it_might`).\n- So (`it_helps`,\n  `it_holds`).", vec!["it_might", "it_helps"]),
    ] {
        assert_eq!(unproved(section, tests), wrong, "{section}");
    }
}

/// Licences that ask for nothing but their text.
const LICENCES: [&str; 14] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "0BSD",
];
/// Packages under the Mozilla licence, by name: none.
const MOZILLA: [&str; 0] = [];

/// Whether an SPDX expression can be met with [`LICENCES`]: one of what `OR` joins, all of what `AND` joins.
fn permissive(expression: &str, allowed: &[&str]) -> bool {
    fn split<'a>(e: &'a str, word: &str) -> Vec<&'a str> {
        let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
        for (i, c) in e.char_indices() {
            depth += (c == '(') as i32 - (c == ')') as i32;
            if depth == 0 && i >= from && e[i..].starts_with(word) {
                parts.push(&e[from..i]);
                from = i + word.len();
            }
        }
        parts.push(&e[from..]);
        parts
    }
    let e = expression.trim();
    let inner = e.strip_prefix('(').and_then(|e| e.strip_suffix(')'));
    let either = split(e, " OR ");
    if either.len() > 1 {
        return either.into_iter().any(|p| permissive(p, allowed));
    }
    let all = split(e, " AND ");
    if all.len() > 1 {
        return all.into_iter().all(|p| permissive(p, allowed));
    }
    match inner {
        Some(i) => permissive(i, allowed),
        None => allowed.contains(&e),
    }
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    for (e, yes) in [
        ("MIT OR Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR GPL-2.0) AND (GPL-3.0 OR LGPL-2.1)", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("", false),
    ] {
        assert_eq!(permissive(e, &LICENCES), yes, "{e}");
    }
}

#[test]
fn every_package_has_a_permissive_licence() {
    let host = Command::new("rustc").arg("-vV").output().expect("rustc is there");
    let host = String::from_utf8_lossy(&host.stdout).lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned)).expect("it names its host");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut c = Command::new(cargo);
    c.args(["metadata", "--offline", "--locked", "--format-version", "1", "--all-features", "--filter-platform", &host]).current_dir(ROOT);
    let o = c.output().expect("cargo is there");
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&o.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let mut wrong = Vec::new();
    for p in packages {
        let (name, licence) = (p["name"].as_str().unwrap_or("?"), p["license"].as_str().unwrap_or(""));
        // The slash is how older manifests write OR.
        let licence = licence.replace('/', " OR ");
        let mozilla = MOZILLA.contains(&name) && permissive(&licence, &["MPL-2.0"]);
        if !mozilla && !permissive(&licence, &LICENCES) {
            wrong.push(format!("{name}: {licence}"));
        }
    }
    assert!(packages.len() > 50, "what is resolved is not all: {}", packages.len());
    assert!(wrong.is_empty(), "licences that ask for more than their text:\n{}", wrong.join("\n"));
}
