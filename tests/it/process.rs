//! Programs that tests run beside the daemon: where they are, and that they end.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process of ours, killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts a program that says nothing.
    pub fn start(c: &mut Command) -> Process {
        Process(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
    }
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        Process(child)
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a test is left out by name.
pub fn is_left_out(name: &str) -> bool {
    std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == name))
}

/// The folder where `tests/run` puts programs that no package installs.
pub fn cache() -> PathBuf {
    let var = |n: &str| std::env::var_os(n).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|h| h.join(".cache"))).expect("HOME is set");
    var("VIGILD_TOOLS").unwrap_or_else(|| base.join("vigild-tests"))
}

/// The first of these files that is there, or how to get it.
pub fn program(files: &[PathBuf], how: &str) -> PathBuf {
    files.iter().find(|p| fs::exists(p).unwrap_or(false)).cloned().unwrap_or_else(|| panic!("{files:?} is not there: {how}"))
}

/// An address on loopback that nobody listens on.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port")
}

/// Waits until somebody listens.
pub fn wait_for(addr: SocketAddr) {
    let begin = Instant::now();
    while TcpStream::connect(addr).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "nobody listens on {addr}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
