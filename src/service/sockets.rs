//! Sockets that the service manager has opened (`sd_listen_fds(3)`), by the name that `FileDescriptorName=` gives them.

use listenfd::ListenFd;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};

/// A socket that is bound already; it does not block.
#[derive(Debug)]
pub enum Inherited {
    /// Takes TCP connections.
    Tcp(TcpListener),
    /// Takes datagrams.
    Udp(UdpSocket),
    /// Takes connections on a path.
    UnixStream(UnixListener),
    /// Takes datagrams on a path.
    UnixDatagram(UnixDatagram),
}

impl Inherited {
    /// The same socket once more: what arrives waits in it while at least one is there.
    pub fn try_clone(&self) -> io::Result<Inherited> {
        Ok(match self {
            Inherited::Tcp(s) => Inherited::Tcp(s.try_clone()?),
            Inherited::Udp(s) => Inherited::Udp(s.try_clone()?),
            Inherited::UnixStream(s) => Inherited::UnixStream(s.try_clone()?),
            Inherited::UnixDatagram(s) => Inherited::UnixDatagram(s.try_clone()?),
        })
    }

    /// The address of a socket that has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Inherited::Tcp(s) => s.local_addr().ok(),
            Inherited::Udp(s) => s.local_addr().ok(),
            Inherited::UnixStream(_) | Inherited::UnixDatagram(_) => None,
        }
    }
}

/// Why inherited sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// Their number and that of their names differ.
    #[error("LISTEN_FDS says {fds}, and LISTEN_FDNAMES has {names} names")]
    Names {
        /// Sockets.
        fds: usize,
        /// Names.
        names: usize,
    },
    /// One is of a kind that takes no records.
    #[error("the inherited socket `{name}` is neither TCP, UDP nor a Unix socket of streams or datagrams")]
    Kind {
        /// Its name.
        name: String,
    },
    /// One cannot be set up.
    #[error("the inherited socket `{name}` cannot be set up")]
    Io {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Takes over the sockets that the service manager passes to this process, each under its name (`unknown` without one).
///
/// Call it once, before any thread is started: it takes `LISTEN_FDS` out of the environment. Without socket activation the
/// map is empty. Errors: names and sockets that do not match, or a socket of another kind.
#[allow(clippy::disallowed_methods)] // The names belong to the protocol, and are no setting.
pub fn inherited() -> Result<BTreeMap<String, Vec<Inherited>>, InheritError> {
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let mut fds = ListenFd::from_env();
    let names: Vec<String> = match names {
        Some(n) if fds.len() > 0 => n.split(':').map(str::to_owned).collect(),
        _ => vec!["unknown".to_owned(); fds.len()],
    };
    if names.len() != fds.len() {
        return Err(InheritError::Names { fds: fds.len(), names: names.len() });
    }
    let mut all: BTreeMap<String, Vec<Inherited>> = BTreeMap::new();
    for (i, name) in names.into_iter().enumerate() {
        let socket = take(&mut fds, i).ok_or_else(|| InheritError::Kind { name: name.clone() })?;
        let quiet = match &socket {
            Inherited::Tcp(s) => s.set_nonblocking(true),
            Inherited::Udp(s) => s.set_nonblocking(true),
            Inherited::UnixStream(s) => s.set_nonblocking(true),
            Inherited::UnixDatagram(s) => s.set_nonblocking(true),
        };
        quiet.map_err(|source| InheritError::Io { name: name.clone(), source })?;
        all.entry(name).or_default().push(socket);
    }
    Ok(all)
}

/// Takes the descriptor at a place as what it turns out to be; each attempt leaves it where it is when it is something else.
fn take(fds: &mut ListenFd, i: usize) -> Option<Inherited> {
    let tcp = fds.take_tcp_listener(i).ok().flatten().map(Inherited::Tcp);
    let udp = |fds: &mut ListenFd| fds.take_udp_socket(i).ok().flatten().map(Inherited::Udp);
    let stream = |fds: &mut ListenFd| fds.take_unix_listener(i).ok().flatten().map(Inherited::UnixStream);
    let datagram = |fds: &mut ListenFd| fds.take_unix_datagram(i).ok().flatten().map(Inherited::UnixDatagram);
    tcp.or_else(|| udp(fds)).or_else(|| stream(fds)).or_else(|| datagram(fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    #[test]
    #[ignore = "run by the test below in a process of its own"]
    fn child_that_inherits() {
        match inherited() {
            Ok(all) => all.iter().for_each(|(name, s)| s.iter().for_each(|s| println!("\n<{name} {s:?} {:?}>", s.local_addr()))),
            Err(e) => println!("\n<error {e}>"),
        }
    }

    /// What a process says of the sockets that it gets as 3 and 4, under these names.
    fn child(names: Option<&str>, fds: [OwnedFd; 2]) -> Vec<String> {
        let [third, fourth] = fds.map(Stdio::from);
        let mut c = Command::new("sh");
        c.args(["-c", "exec 3<&0 4<&2 0</dev/null 2>&1; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\""]);
        c.arg(std::env::current_exe().expect("a test binary"));
        c.args(["--exact", "service::sockets::tests::child_that_inherits", "--ignored", "--nocapture"]);
        c.stdin(third).stderr(fourth).env_remove("LISTEN_FDNAMES");
        if let Some(n) = names {
            c.env("LISTEN_FDNAMES", n);
        }
        let out = c.output().expect("it runs");
        String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| Some(l.strip_prefix('<')?.strip_suffix('>')?.to_owned())).collect()
    }

    #[test]
    fn sockets_are_taken_over_by_name_and_as_what_they_are() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (t, u) = (tcp.local_addr().expect("bound"), udp.local_addr().expect("bound"));
        let fds = || [tcp.try_clone().expect("a copy").into(), udp.try_clone().expect("a copy").into()];
        let said = child(Some("syslog-tcp:syslog-udp"), fds());
        assert!(said.len() == 2 && said[0].starts_with("syslog-tcp Tcp") && said[1].starts_with("syslog-udp Udp"), "{said:?}");
        assert!(said[0].ends_with(&format!("Some({t})")) && said[1].ends_with(&format!("Some({u})")), "{said:?}");
        let said = child(None, fds());
        assert!(said.len() == 2 && said.iter().all(|s| s.starts_with("unknown ")), "{said:?}");
        assert_eq!(child(Some("only-one"), fds()), ["error LISTEN_FDS says 2, and LISTEN_FDNAMES has 1 names"]);
        let dir = tempfile::tempdir().expect("a folder");
        let path = UnixDatagram::bind(dir.path().join("log")).expect("bound");
        let said = child(Some("a:b"), [path.into(), std::fs::File::open("/dev/null").expect("there").into()]);
        assert_eq!(said, ["error the inherited socket `b` is neither TCP, UDP nor a Unix socket of streams or datagrams"]);
    }

    #[test]
    fn without_activation_nothing_is_inherited() {
        assert!(inherited().expect("nothing wrong").is_empty());
    }
}
