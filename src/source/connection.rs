//! Connections: who is let in, how many at once and from where, and how much memory they hold together.
//!
//! Each kind of source brings what it does with a connection; the listener, the limits and TLS are the same for all.

use super::tls::Tls;
use super::{Intake, LINGER};
use crate::pipeline::{Source, Stream};
use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{SockRef, TcpKeepalive};
use std::collections::HashMap;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Read at once from a connection.
pub const READ: usize = 16 << 10;
/// A machine that has gone shows after so long: silence, and three questions without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(20), 3);
/// What is sent has to be taken by the other side within this time.
const USER_TIMEOUT: Duration = Duration::from_secs(120);
/// What happens all the time is said so often.
const SAY: Duration = Duration::from_secs(60);

/// Bytes that come in and go out, whatever carries them.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection.
pub type Connection = Box<dyn Bytes>;

/// What a connection is taken from.
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A path; connections have numbers in place of addresses.
    Unix(UnixListener, u64),
}

enum Accepted {
    Tcp(TcpStream),
    Other(Connection),
}

impl Listener {
    /// Gives a connection, the address that it comes from, and its name among those of the source.
    async fn accept(&mut self) -> io::Result<(Accepted, Option<IpAddr>, String)> {
        match self {
            Listener::Tcp(l) => l.accept().await.map(|(s, from)| (Accepted::Tcp(s), Some(from.ip().to_canonical()), from.to_string())),
            Listener::Unix(l, n) => {
                let (s, _) = l.accept().await?;
                *n += 1;
                Ok((Accepted::Other(Box::new(s)), None, format!("unix-{n}")))
            }
        }
    }
}

/// Memory for what connections have begun and not finished, of all of them together.
pub struct Budget {
    max: usize,
    used: AtomicUsize,
    gauge: Gauge,
}

impl Budget {
    /// So many bytes; the gauge shows how many are held.
    pub fn new(max: usize, gauge: Gauge) -> Arc<Budget> {
        Arc::new(Budget { max, used: AtomicUsize::new(0), gauge })
    }

    /// A share of nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// What one connection holds of the budget; given back when dropped.
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Says how much is held now; `false`, and nothing is changed, where more does not fit.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let b = &self.budget;
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            let fits = |used: usize| used.checked_add(more).filter(|n| *n <= b.max);
            if b.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
                return false;
            }
        } else {
            b.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        b.gauge.inc_by(bytes as i64 - self.bytes as i64);
        self.bytes = bytes;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}

/// Whether an address is on the list of a source.
pub fn allowed(allow: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    allow.is_empty() || allow.iter().any(|n| n.contains(&ip))
}

/// Whom an address belongs to: whoever has one address of IPv6 has the /64 around it.
fn sender(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a) & !(u128::MAX >> 64))),
    }
}

/// Says at most once a minute that connections are refused, and why the last one was.
#[derive(Default)]
struct Refusals(Mutex<(Option<Instant>, u64)>);

impl Refusals {
    fn count(&self, source: &Source, peer: &str, why: &dyn Display) {
        source.metrics.refused.inc();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        if said.0.is_none_or(|at| at.elapsed() >= SAY) {
            tracing::warn!(source = %source.name, peer, refused = said.1, "a connection is refused: {why}");
            *said = (Some(Instant::now()), 0);
        }
    }
}

/// Takes connections until the daemon stops, then what they have already sent. What is done with each is `each`.
pub async fn serve<E, F>(mut listener: Listener, tls: Option<Arc<Tls>>, source: Arc<Source>, mut intake: Intake, each: E)
where
    E: Fn(Connection, Arc<Stream>, Intake) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let mut tasks: JoinSet<Option<IpAddr>> = JoinSet::new();
    let mut senders: HashMap<IpAddr, usize> = HashMap::new();
    let refusals = Arc::new(Refusals::default());
    let mut stopping = None;
    loop {
        let accepted = if let Some(until) = stopping {
            // Those that wait to be accepted have sent already.
            match timeout(Duration::ZERO, listener.accept()).await {
                Ok(a) if Instant::now() < until => a,
                _ => break,
            }
        } else {
            tokio::select! {
                _ = intake.stopped() => {
                    stopping = Some(Instant::now() + LINGER);
                    continue;
                }
                a = listener.accept() => a,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    leave(&mut senders, ended.ok().flatten());
                    continue;
                }
            }
        };
        while let Some(ended) = tasks.try_join_next() {
            leave(&mut senders, ended.ok().flatten());
        }
        let (socket, ip, peer) = match accepted {
            Ok(a) => a,
            Err(e) => {
                tracing::warn!(source = %source.name, error = %e, "a connection cannot be taken");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let from = ip.map(sender);
        let (limits, others) = (&intake.limits, from.and_then(|f| senders.get(&f)).copied().unwrap_or(0));
        if ip.is_some_and(|ip| !allowed(&source.allow, ip)) {
            refusals.count(&source, &peer, &"its address is not in `allow`");
        } else if tasks.len() >= limits.connections {
            refusals.count(&source, &peer, &"the limit `connections` is reached");
        } else if others >= limits.connections_per_sender {
            refusals.count(&source, &peer, &"the limit `connections_per_sender` is reached");
        } else {
            if let Some(f) = from {
                *senders.entry(f).or_default() += 1;
            }
            let stream = Stream::new(format!("{}:{peer}", source.name), source.clone());
            let (tls, intake, refusals, each) = (tls.clone(), intake.clone(), refusals.clone(), each.clone());
            tasks.spawn(async move {
                stream.source.metrics.open.inc();
                if let Some(connection) = establish(socket, tls, &stream, intake.clone(), &refusals, &peer).await {
                    each(connection, stream.clone(), intake).await;
                }
                stream.source.metrics.open.dec();
                from
            });
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

fn leave(senders: &mut HashMap<IpAddr, usize>, from: Option<IpAddr>) {
    if let Some(f) = from
        && let Some(n) = senders.get_mut(&f)
    {
        *n -= 1;
        if *n == 0 {
            senders.remove(&f);
        }
    }
}

/// Sets what the kernel does for a connection, and encrypts it where that is wanted.
async fn establish(
    socket: Accepted,
    tls: Option<Arc<Tls>>,
    stream: &Stream,
    mut intake: Intake,
    refusals: &Refusals,
    peer: &str,
) -> Option<Connection> {
    let socket = match socket {
        Accepted::Other(c) => return Some(c),
        Accepted::Tcp(s) => s,
    };
    let s = SockRef::from(&socket);
    let (after, every, times) = KEEPALIVE;
    // Where the kernel does not know one of these, `idle` still holds.
    let _ = s.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(every).with_retries(times));
    let _ = s.set_tcp_user_timeout(Some(USER_TIMEOUT));
    let _ = socket.set_nodelay(true);
    let Some(tls) = tls else { return Some(Box::new(socket)) };
    let limit = intake.limits.handshake_timeout;
    let too_long = async {
        tokio::select! {
            _ = sleep(limit) => {}
            _ = async { intake.stopped().await; sleep(LINGER).await } => {}
        }
    };
    tokio::select! {
        r = tls.accept(socket) => match r {
            Ok(s) => return Some(Box::new(s)),
            Err(why) => refusals.count(&stream.source, peer, &why),
        },
        _ = too_long => {
            stream.source.metrics.cut_off.inc();
            tracing::info!(stream = %stream.name, "closed: its TLS handshake takes too long");
        }
    }
    None
}

/// Reads what is there already; `None` where nothing is.
pub async fn read_now<R: AsyncRead + Unpin>(from: &mut R, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    poll_fn(|cx| {
        let mut b = ReadBuf::new(buffer);
        Poll::Ready(match Pin::new(&mut *from).poll_read(cx, &mut b) {
            Poll::Ready(r) => Some(r.map(|()| b.filled().len())),
            Poll::Pending => None,
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_allowed_by_network_and_by_its_mapped_form() {
        let net = ["192.0.2.0/24".parse().expect("a network")];
        for (ip, yes) in [("192.0.2.9", true), ("::ffff:192.0.2.9", true), ("198.51.100.1", false), ("2001:db8::1", false)] {
            assert_eq!(allowed(&net, ip.parse().expect("an address")), yes, "{ip}");
        }
        assert!(allowed(&[], "198.51.100.1".parse().expect("an address")));
    }

    #[test]
    fn a_sender_is_an_address_or_a_64_of_ipv6() {
        for (a, b, same) in
            [("2001:db8::1", "2001:db8::ffff:1", true), ("2001:db8:0:1::1", "2001:db8:0:2::1", false), ("192.0.2.1", "192.0.2.2", false)]
        {
            let of = |s: &str| sender(s.parse().expect("an address"));
            assert_eq!(of(a) == of(b), same, "{a} {b}");
        }
    }

    #[test]
    fn shares_never_hold_more_than_the_budget_together() {
        let gauge = Gauge::default();
        let budget = Budget::new(100, gauge.clone());
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.hold(60) && b.hold(40));
        assert!(!b.hold(41), "it does not fit");
        assert!(!b.hold(usize::MAX));
        assert!(a.hold(10) && b.hold(90));
        assert_eq!(gauge.get(), 100);
        drop(b);
        assert!(a.hold(100));
        drop(a);
        assert_eq!(gauge.get(), 0);
    }
}
