//! The samples of every format in `parsers/`: each record becomes exactly the event that stands beside it.
//!
//! `samples/NAME.log` is read with the format named and recognised, in UTC, as if it had arrived at `received` of
//! `parser.toml`; `samples/NAME.json` holds the events, one a line, without `event.stream`. With `VIGILD_BLESS=1` in the
//! environment the events are written instead of compared.

use jiff::tz::TimeZone;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::{DeTable, DeValue};
use vigild::event::{Batch, Schema, Timestamp, time};
use vigild::parse::estate::Host;
use vigild::parse::{Context, Estate, Format, Renderer, declared};
use vigild::source::frame::{Framer, MAX_RECORD};

/// What `parser.toml` says about its samples.
struct Setting {
    received: Timestamp,
    recognise: bool,
    estate: Estate,
}

fn strings(v: Option<&DeValue<'_>>) -> Vec<String> {
    v.and_then(DeValue::as_array).map(|a| a.iter().filter_map(|v| v.get_ref().as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

fn setting(text: &str) -> Result<Setting, String> {
    let root = DeTable::parse(text).map_err(|e| e.to_string())?;
    let root = root.get_ref();
    let get = |k: &str| root.get(k).map(|v| v.get_ref());
    let hosts = get("host").and_then(DeValue::as_array).map(|hosts| {
        let host = |t: &DeTable<'_>| {
            let get = |k: &str| t.get(k).map(|v| v.get_ref());
            Host {
                name: get("name").and_then(DeValue::as_str).unwrap_or_default().to_owned(),
                aliases: strings(get("aliases")),
                ip: strings(get("ip")).iter().filter_map(|s| s.parse().ok()).collect(),
                tags: strings(get("tags")),
            }
        };
        hosts.iter().filter_map(|v| v.get_ref().as_table().map(host)).collect::<Vec<_>>()
    });
    let proxies = strings(get("trusted_proxies"));
    let proxies = proxies.iter().map(|s| s.parse().or_else(|_| s.parse::<std::net::IpAddr>().map(Into::into))).collect::<Result<_, _>>();
    let received = match get("received") {
        Some(DeValue::Datetime(d)) => d.to_string(),
        Some(v) => v.as_str().unwrap_or_default().to_owned(),
        None => "2026-11-23T12:00:00Z".to_owned(),
    };
    Ok(Setting {
        received: time::iso(received.as_bytes(), &TimeZone::UTC).ok_or("`received` is no instant")?.0,
        // A folder whose records nobody can tell from another's says so.
        recognise: get("recognise").and_then(DeValue::as_bool).unwrap_or(true),
        estate: Estate::new(hosts.unwrap_or_default(), proxies.map_err(|e| format!("trusted_proxies: {e}"))?),
    })
}

/// The events of a sample, one a line.
fn events(log: &[u8], format: Option<Format>, s: &Setting, renderer: &mut Renderer) -> Vec<String> {
    let (mut framer, mut batch) = (Framer::new(format, MAX_RECORD), Batch::default());
    framer.feed(log, &mut batch);
    framer.flush(&mut batch);
    let ctx = Context { zone: &TimeZone::UTC, near: s.received, named: format.is_some(), estate: &s.estate };
    let mut out = Vec::new();
    renderer.restart();
    for &r in &batch.records {
        renderer.record(&ctx, format, &batch, r, None, &mut out);
    }
    String::from_utf8(out).expect("events are UTF-8").lines().map(str::to_owned).collect()
}

/// The fields of an event by dotted name.
fn flat(v: &Value, name: String, out: &mut Vec<(String, String)>) {
    match v {
        Value::Object(m) if !m.is_empty() => {
            for (k, v) in m {
                flat(v, if name.is_empty() { k.clone() } else { format!("{name}.{k}") }, out);
            }
        }
        v => out.push((name, v.to_string())),
    }
}

/// What differs between two events, field by field; empty where nothing does.
fn difference(want: &str, got: &str) -> String {
    let fields = |s: &str| {
        let mut f = Vec::new();
        match serde_json::from_str::<Value>(s) {
            Ok(v) => flat(&v, String::new(), &mut f),
            Err(e) => f.push(("(no JSON)".to_owned(), e.to_string())),
        }
        f
    };
    let (want, got) = (fields(want), fields(got));
    let mut out = String::new();
    let find = |all: &[(String, String)], k: &str| all.iter().find(|(n, _)| n == k).map(|(_, v)| v.clone());
    for (k, v) in &want {
        match find(&got, k) {
            Some(g) if g == *v => {}
            Some(g) => out += &format!("      - {k}: {v}\n      + {k}: {g}\n"),
            None => out += &format!("      - {k}: {v}\n"),
        }
    }
    for (k, v) in got.iter().filter(|(k, _)| find(&want, k).is_none()) {
        out += &format!("      + {k}: {v}\n");
    }
    out
}

/// Compares two lists of events; what differs, readable.
fn compare(what: &str, want: &[String], got: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    if want.len() != got.len() {
        said.push(format!("  {what}: {} events where {} were expected", got.len(), want.len()));
    }
    for (i, (w, g)) in want.iter().zip(got).enumerate() {
        let d = difference(w, g);
        if !d.is_empty() {
            said.push(format!("  {what}: event {}\n{d}", i + 1));
        }
    }
    said
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("  {}: {e}", path.display()))
}

fn folder(dir: &Path, formats: &declared::Formats, renderer: &mut Renderer, bless: bool) -> Vec<String> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let toml = match read(&dir.join("parser.toml")) {
        Ok(t) => String::from_utf8_lossy(&t).into_owned(),
        Err(e) => return vec![e],
    };
    let setting = match setting(&toml) {
        Ok(s) => s,
        Err(e) => return vec![format!("  {name}/parser.toml: {e}")],
    };
    let Some(format) = Format::named(&name, formats) else {
        return vec![format!("  {name}: no format has this name")];
    };
    let mut logs: Vec<PathBuf> = std::fs::read_dir(dir.join("samples")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    logs.retain(|p| p.extension().is_some_and(|e| e == "log"));
    logs.sort();
    if logs.is_empty() {
        return vec![format!("  {name}: there are no samples")];
    }
    let mut said = Vec::new();
    for log in logs {
        let what = format!("{name}/samples/{}", log.file_name().unwrap_or_default().to_string_lossy());
        let bytes = match read(&log) {
            Ok(b) => b,
            Err(e) => {
                said.push(e);
                continue;
            }
        };
        let named = events(&bytes, Some(format), &setting, renderer);
        let json = log.with_extension("json");
        if bless {
            let mut text = named.join("\n");
            text.push('\n');
            if std::fs::read(&json).ok().as_deref() != Some(text.as_bytes()) {
                std::fs::write(&json, text).expect("the sample's folder can be written to");
            }
        } else {
            match read(&json) {
                Ok(want) => {
                    let want: Vec<String> = String::from_utf8_lossy(&want).lines().map(str::to_owned).collect();
                    said.extend(compare(&format!("{what} (expected, then with --format)"), &want, &named));
                }
                Err(e) => said.push(e),
            }
        }
        // Some words belong to a tool only where it is named: start-up chatter.
        if setting.recognise && !what.ends_with("-named.log") {
            let recognised = events(&bytes, None, &setting, renderer);
            said.extend(compare(&format!("{what} (with --format, then recognised)"), &named, &recognised));
        }
    }
    said
}

#[test]
fn every_sample_becomes_the_events_beside_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("parsers");
    let mut schema = Schema::default();
    let (formats, wrong) = declared::Formats::load(&vigild::builtin::parsers(), &mut schema);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut renderer = Renderer::new(Arc::new(schema), &formats);
    let bless = std::env::var_os("VIGILD_BLESS").is_some_and(|v| v == "1");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    let said: Vec<String> = dirs.iter().flat_map(|d| folder(d, &formats, &mut renderer, bless)).collect();
    assert!(said.is_empty(), "samples:\n{}", said.join("\n"));
}
