//! The real logrotate of the distribution, in both of its ways, under load: every line is counted once.

use crate::daemon::Daemon;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ROUNDS: usize = 6;
const LINES: usize = 4000;

/// Rotates once; `mode` is `create` or `copytruncate`.
fn rotate(program: &Path, dir: &Path, mode: &str) {
    let config = dir.join(format!("logrotate-{mode}.conf"));
    let text = format!("su root root\n{}/{mode}.log {{\n rotate 20\n compress\n delaycompress\n {mode}\n missingok\n}}\n", dir.display());
    let text = if rustix::process::geteuid().is_root() { text } else { text.replace("su root root\n", "") };
    fs::write(&config, text).expect("written");
    let state = dir.join(format!("{mode}.state"));
    let o = Command::new(program).arg("--force").arg("--state").arg(state).arg(&config).output().expect("logrotate runs");
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
}

#[test]
fn logrotate_in_both_ways_loses_and_repeats_nothing() {
    if std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == "logrotate")) {
        return;
    }
    let program = ["/usr/sbin/logrotate", "/usr/bin/logrotate", "/sbin/logrotate"].map(Path::new).into_iter().find(|p| p.exists());
    let program = program.expect("logrotate is not there: apt-get install logrotate, or leave the test out with VIGILD_SKIP=logrotate");
    let config = "[[source]]\nname = \"create\"\nkind = \"file\"\npath = \"{dir}/create.log\"\n\
                  [[source]]\nname = \"copytruncate\"\nkind = \"file\"\npath = \"{dir}/copytruncate.log*\"\n";
    let mut d = Daemon::start(config, &[]);
    let dir = d.dir.path().to_owned();
    let records = |mode: &str| format!("vigild_records_total{{source=\"{mode}\"}}");
    for mode in ["create", "copytruncate"] {
        let path = dir.join(format!("{mode}.log"));
        let open = || fs::OpenOptions::new().create(true).append(true).open(&path).expect("opened");
        let mut log = open();
        // A file that comes and goes before it was ever seen is nobody's: the first line is waited for.
        writeln!(log, "<38>Nov 23 05:47:10 vm-prod app[7]: the beginning").expect("written");
        d.wait_metric(&records(mode), 1.0);
        for round in 0..ROUNDS {
            for i in 0..LINES {
                writeln!(log, "<38>Nov 23 05:47:10 vm-prod app[7]: line {}", round * LINES + i).expect("written");
            }
            // Between the copy and the truncation logrotate itself loses what is written, so the writer pauses for that.
            rotate(program, &dir, mode);
            // Some rounds fall between two looks, some do not.
            std::thread::sleep(Duration::from_millis(60));
            if mode == "create" {
                // The writer notices later, as one that is sent a signal does.
                writeln!(log, "<38>Nov 23 05:47:10 vm-prod app[7]: late {round}").expect("written");
                log = open();
            }
        }
        writeln!(log, "<38>Nov 23 05:47:10 vm-prod app[7]: the end").expect("written");
    }
    let want = |mode: &str| (ROUNDS * LINES + 2 + if mode == "create" { ROUNDS } else { 0 }) as f64;
    for mode in ["create", "copytruncate"] {
        d.wait(mode, |d| d.metric(&records(mode)) >= want(mode));
    }
    // A file that is read again would be so within a few looks.
    std::thread::sleep(Duration::from_millis(900));
    for mode in ["create", "copytruncate"] {
        assert_eq!(d.metric(&records(mode)), want(mode), "{mode}");
        assert_eq!(d.metric(&format!("vigild_source_lag_bytes{{source=\"{mode}\"}}")), 0.0);
    }
}
