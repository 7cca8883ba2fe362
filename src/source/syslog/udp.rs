//! Syslog over UDP: a datagram is a record, and all senders of a socket are one stream.

use super::whole;
use crate::event::Batch;
use crate::metrics::{Reason, SourceMetrics};
use crate::pipeline::{Source, Stream, WhenFull};
use crate::source::connection::allowed;
use crate::source::{AGE, BATCH, Intake, LINGER};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

/// The largest datagram.
const DATAGRAM: usize = 64 << 10;
/// How often the kernel is asked what it dropped.
const ASK: Duration = Duration::from_secs(1);

/// Opens a UDP socket with a receive buffer as near to the wanted size as the kernel gives.
pub fn bind(listen: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
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

/// Takes datagrams until the daemon stops.
pub async fn read(socket: UdpSocket, source: Arc<Source>, mut intake: Intake) {
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
                let d = whole(&buffer[..n]);
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
}
