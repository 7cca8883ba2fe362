//! The daemon's states, told by `sd_notify(3)`, and the watchdog that is fed by progress.

use super::Progress;
use sd_notify::NotifyState;
use std::time::Duration;

/// Recovery is complete and the sources are open. `status` is one line for `systemctl status`.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Configuration and rules are read again; [`ready`] has to follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(e) => tracing::warn!(error = %e, "the service manager cannot be told of the reload"),
    }
}

/// Nothing more is taken in; what has arrived is made durable.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Recovery goes on and wants this much more time, counted from now, beyond the unit's `TimeoutStartSec`.
pub fn recovering(status: &str, more: Duration) {
    let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(more), NotifyState::Status(status)]);
}

/// Feeds the watchdog for as long as every stage of `progress` moves or waits for work; never returns.
///
/// Without a watchdog in the environment it only waits. A stage that stands still is named in the log once, and the service
/// manager restarts the daemon between two thirds and the whole of `WatchdogSec` later.
pub async fn feed_watchdog(progress: Progress) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|l| !l.is_zero()) else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(limit / 3);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        tick.tick().await;
        let stuck = progress.stuck();
        if stuck.is_empty() {
            send(&[NotifyState::Watchdog]);
        } else if stuck != told {
            tracing::error!(stages = stuck.join(", "), "no progress: the watchdog is not fed");
        }
        told = stuck;
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    #[test]
    #[ignore = "run by the test below in a process of its own"]
    fn child_that_tells() {
        recovering("replaying", Duration::from_secs(7));
        ready("taking records");
        reloading();
        let progress = Progress::default();
        let stage = progress.stage("engine");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let feed = tokio::spawn(feed_watchdog(progress));
            for _ in 0..5 {
                stage.beat();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // At work, and not moving: fed no more.
            tokio::time::sleep(Duration::from_millis(100)).await;
            sd_notify::notify(&[NotifyState::Status("stuck")]).expect("sent");
            tokio::time::sleep(Duration::from_millis(500)).await;
            feed.abort();
        });
        stopping();
    }

    #[test]
    fn states_are_told_and_the_watchdog_is_fed_while_there_is_progress() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut c = Command::new(std::env::current_exe().expect("a test binary"));
        c.args(["--exact", "service::notify::tests::child_that_tells", "--ignored"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = c.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").env_remove("WATCHDOG_PID").spawn().expect("it starts");
        let mut said = Vec::new();
        while said.last().is_none_or(|s| s != "STOPPING=1") {
            let mut bytes = [0; 1000];
            let n = socket.recv(&mut bytes).unwrap_or_else(|e| panic!("{e} after {said:?}"));
            said.extend(String::from_utf8_lossy(&bytes[..n]).lines().map(str::to_owned));
        }
        assert!(child.wait().expect("a child").success());
        let begin = ["EXTEND_TIMEOUT_USEC=7000000", "STATUS=replaying", "READY=1", "STATUS=taking records", "RELOADING=1"];
        assert_eq!(said[..5], begin, "{said:?}");
        assert!(said[5].starts_with("MONOTONIC_USEC="), "{said:?}");
        let fed = said.iter().filter(|s| *s == "WATCHDOG=1").count();
        assert!(fed >= 3, "fed {fed} times: {said:?}");
        let stuck = said.iter().position(|s| s == "STATUS=stuck").expect("told");
        assert!(said[stuck..].iter().filter(|s| *s == "WATCHDOG=1").count() <= 1, "fed although nothing moves: {said:?}");
    }
}
