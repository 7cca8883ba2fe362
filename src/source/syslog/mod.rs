//! Syslog over UDP and TCP.
//!
//! A datagram is a record, and all senders of a UDP socket are one stream. A TCP connection is a stream of its own,
//! framed as RFC 6587 has it. Neither is encrypted: the configuration says who may send.

pub mod framer;

use super::{AGE, BATCH, Begin, Intake, LINGER, OpenError, Opened};
use crate::config::Limits;
use crate::config::source::syslog::Syslog;
use crate::event::Batch;
use crate::metrics::{Reason, SourceMetrics};
use crate::pipeline::{Source, Stream, WhenFull};
use framer::TcpFramer;
use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The largest datagram.
const DATAGRAM: usize = 64 << 10;
/// Read at once from a connection.
const READ: usize = 16 << 10;
/// How often the kernel is asked what it dropped.
const ASK: Duration = Duration::from_secs(1);

/// Opens a UDP socket with a receive buffer as near to the wanted size as the kernel gives.
fn bind_udp(listen: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let s = Socket::new(Domain::for_address(listen), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    s.set_recv_buffer_size(buffer)?;
    // The kernel doubles what it is asked for, for its own bookkeeping.
    let got = s.recv_buffer_size()? / 2;
    if got < buffer {
        tracing::info!(wanted = buffer, got, "the kernel gives UDP a smaller buffer; raise net.core.rmem_max for bursts");
    }
    s.bind(&listen.into())?;
    UdpSocket::from_std(s.into())
}

/// Opens a TCP listener; called inside the runtime.
pub fn bind_tcp(listen: SocketAddr) -> io::Result<TcpListener> {
    let s = Socket::new(Domain::for_address(listen), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    s.set_reuse_address(true)?;
    s.bind(&listen.into())?;
    s.listen(1024)?;
    TcpListener::from_std(s.into())
}

fn allowed(allow: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    allow.is_empty() || allow.iter().any(|n| n.contains(&ip))
}

/// Opens the sockets of a source.
pub fn open(c: &Syslog, source: Arc<Source>, limits: &Limits) -> Result<Vec<Opened>, OpenError> {
    let failed = |e: io::Error| OpenError::Listen { what: source.name.clone(), addr: c.listen.to_string(), source: e };
    let mut all = Vec::new();
    if c.udp {
        let socket = bind_udp(c.listen, limits.udp_buffer_bytes).map_err(failed)?;
        tracing::info!(source = %source.name, udp = %socket.local_addr().map_err(failed)?, "listening");
        let s = source.clone();
        let begin: Begin = Box::new(move |intake, tasks| drop(tasks.spawn(udp(socket, s, intake))));
        all.push(Opened { source: source.clone(), begin });
    }
    if c.tcp {
        let socket = bind_tcp(c.listen).map_err(failed)?;
        tracing::info!(source = %source.name, tcp = %socket.local_addr().map_err(failed)?, "listening");
        let s = source.clone();
        let begin: Begin = Box::new(move |intake, tasks| drop(tasks.spawn(tcp(socket, s, intake))));
        all.push(Opened { source: source.clone(), begin });
    }
    Ok(all)
}

/// Takes datagrams until the daemon stops.
async fn udp(socket: UdpSocket, source: Arc<Source>, mut intake: Intake) {
    let stream = Stream::new(source.name.clone(), source.clone());
    let mut kernel = KernelDrops::new(socket.as_raw_fd());
    let (mut buffer, mut batch) = (vec![0; DATAGRAM], Batch::default());
    let mut ask = tokio::time::interval(ASK);
    let (mut stopping, mut until) = (false, None);
    loop {
        if !stopping {
            tokio::select! {
                _ = intake.stopped() => stopping = true,
                r = socket.readable() => if let Err(e) = r { tracing::warn!(source = %source.name, error = %e, "UDP") },
                _ = ask.tick() => {
                    kernel.count(&source.metrics);
                    continue;
                }
            }
        }
        let mut empty = datagrams(&socket, &mut buffer, &mut batch, &source, intake.limits.record_bytes);
        if empty && !batch.records.is_empty() && !stopping {
            sleep(AGE).await;
            empty = datagrams(&socket, &mut buffer, &mut batch, &source, intake.limits.record_bytes);
        }
        if let Some(mut chunk) = intake.chunk(&stream, source.format, &mut batch) {
            chunk.when_full = WhenFull::Drop;
            // Nobody has to be quick any more once the socket is about to close: then there may be room in a moment.
            if stopping {
                intake.queue.send(chunk).await;
            } else {
                intake.queue.offer_or_drop(chunk);
                tokio::task::yield_now().await;
            }
        }
        if stopping && (empty || Instant::now() >= *until.get_or_insert(Instant::now() + LINGER)) {
            break;
        }
    }
    kernel.count(&source.metrics);
    intake.queue.close(&stream).await;
}

/// Takes what the socket has, up to a batch; `true` if it has no more.
fn datagrams(socket: &UdpSocket, buffer: &mut [u8], batch: &mut Batch, source: &Source, max: usize) -> bool {
    while batch.bytes.len() < BATCH {
        match socket.try_recv_from(buffer) {
            Ok((_, from)) if !allowed(&source.allow, from.ip()) => source.metrics.drop_records(Reason::Sender, 1),
            Ok((n, _)) => {
                let mut d = &buffer[..n];
                while let [rest @ .., b'\n' | b'\r' | 0] = d {
                    d = rest;
                }
                batch.push(&d[..d.len().min(max)], d.len() > max);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            // Answers to what nobody sent from here; the socket goes on.
            Err(_) => {}
        }
    }
    false
}

/// What the kernel dropped of a UDP socket, from the last column of `/proc/net/udp`.
struct KernelDrops {
    inode: Option<String>,
    before: u32,
}

impl KernelDrops {
    fn new(fd: RawFd) -> KernelDrops {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
        let inode = link.and_then(|l| Some(l.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()));
        if inode.is_none() {
            tracing::warn!("/proc does not say which socket is which: what the kernel drops of UDP is not counted");
        }
        KernelDrops { inode, before: 0 }
    }

    fn count(&mut self, metrics: &SourceMetrics) {
        let Some(inode) = &self.inode else { return };
        for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
            let Ok(text) = std::fs::read_to_string(table) else { continue };
            if let Some(now) = drops(&text, inode) {
                metrics.drop_records(Reason::Kernel, now.wrapping_sub(self.before) as u64);
                self.before = now;
                return;
            }
        }
    }
}

/// The drops of the socket with an inode, from the text of `/proc/net/udp`.
fn drops(table: &str, inode: &str) -> Option<u32> {
    table.lines().skip(1).find_map(|l| {
        let mut columns = l.split_ascii_whitespace();
        (columns.nth(9) == Some(inode)).then(|| columns.nth(2)?.parse().ok()).flatten()
    })
}

/// Takes connections until the daemon stops, then what they have already sent.
async fn tcp(listener: TcpListener, source: Arc<Source>, mut intake: Intake) {
    let room = Arc::new(Semaphore::new(intake.limits.connections));
    let mut tasks = tokio::task::JoinSet::new();
    let mut stopping = false;
    loop {
        let accepted = if stopping {
            // Those that wait to be accepted have sent already.
            match timeout(Duration::ZERO, listener.accept()).await {
                Ok(a) => a,
                Err(_) => break,
            }
        } else {
            tokio::select! {
                _ = intake.stopped() => {
                    stopping = true;
                    continue;
                }
                a = listener.accept() => a,
                _ = tasks.join_next(), if !tasks.is_empty() => continue,
            }
        };
        match accepted {
            Ok((socket, from)) => match room.clone().try_acquire_owned() {
                Ok(permit) if allowed(&source.allow, from.ip()) => {
                    let stream = Stream::new(format!("{}:{from}", source.name), source.clone());
                    let intake = intake.clone();
                    tasks.spawn(async move {
                        stream.source.metrics.open.inc();
                        connection(socket, &stream, intake).await;
                        stream.source.metrics.open.dec();
                        drop(permit);
                    });
                }
                _ => drop(source.metrics.refused.inc()),
            },
            Err(e) => {
                tracing::warn!(source = %source.name, error = %e, "a connection cannot be taken");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Reads one connection to its end. It is read no faster than the queue takes it.
async fn connection(socket: TcpStream, stream: &Arc<Stream>, mut intake: Intake) {
    let source = &stream.source;
    drop(SockRef::from(&socket).set_keepalive(true));
    let mut framer = TcpFramer::new(intake.limits.record_bytes);
    let (mut buffer, mut batch) = (vec![0; READ], Batch::default());
    let mut until: Option<Instant> = None;
    let idle = intake.limits.idle;
    loop {
        if until.is_none() {
            tokio::select! {
                _ = intake.stopped() => until = Some(Instant::now() + LINGER),
                r = timeout(idle, socket.readable()) => if r.is_err() {
                    source.metrics.cut_off.inc();
                    tracing::info!(stream = %stream.name, "closed: it has been silent for too long");
                    break;
                }
            }
        }
        let mut state = read(&socket, &mut buffer, &mut framer, &mut batch);
        if state == State::Empty && !batch.records.is_empty() && until.is_none() {
            sleep(AGE).await;
            state = read(&socket, &mut buffer, &mut framer, &mut batch);
        }
        if let Some(chunk) = intake.chunk(stream, source.format, &mut batch) {
            match until {
                None => intake.queue.send(chunk).await,
                // The rest of the connection is not acknowledged by anything, and may be lost with it.
                Some(u) => drop(timeout_at(u + LINGER, intake.queue.send(chunk)).await),
            }
        }
        if state == State::Ended || until.is_some_and(|u| state == State::Empty || Instant::now() >= u) {
            break;
        }
    }
    framer.flush(&mut batch);
    if let Some(chunk) = intake.chunk(stream, source.format, &mut batch) {
        intake.queue.send(chunk).await;
    }
    intake.queue.close(stream).await;
}

#[derive(PartialEq)]
enum State {
    /// Nothing to read now.
    Empty,
    /// There may be more.
    More,
    /// The other side has closed, or the connection broke.
    Ended,
}

fn read(socket: &TcpStream, buffer: &mut [u8], framer: &mut TcpFramer, batch: &mut Batch) -> State {
    while batch.bytes.len() < BATCH {
        match socket.try_read(buffer) {
            Ok(0) => return State::Ended,
            Ok(n) => framer.feed(&buffer[..n], batch),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return State::Empty,
            Err(_) => return State::Ended,
        }
    }
    State::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_stand_in_the_last_column_of_the_socket_s_row() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             42: 0100007F:158A 00000000:0000 07 00000000:00034D00 00:00000000 00000000     0        0 31337 2 0000000000000000 17\n\
            143: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0\n";
        assert_eq!(drops(table, "31337"), Some(17));
        assert_eq!(drops(table, "4711"), Some(0));
        assert_eq!(drops(table, "1"), None);
    }

    #[test]
    fn a_sender_is_allowed_by_network_and_by_its_mapped_form() {
        let net = ["192.0.2.0/24".parse().expect("a network")];
        for (ip, yes) in [("192.0.2.9", true), ("::ffff:192.0.2.9", true), ("198.51.100.1", false), ("2001:db8::1", false)] {
            assert_eq!(allowed(&net, ip.parse().expect("an address")), yes, "{ip}");
        }
        assert!(allowed(&[], "198.51.100.1".parse().expect("an address")));
    }
}
