//! Syslog over UDP, TCP, TLS and sockets in the file system.
//!
//! A datagram is a record, and all senders of a socket of datagrams are one stream. A connection is a stream of its own,
//! framed as RFC 6587 has it. Nothing is acknowledged: a connection is read no faster than the queue takes it. Only TLS
//! is encrypted and proved: elsewhere the configuration says who may send.

pub mod framer;
mod stream;
mod udp;
mod unix;

use super::connection::{Listener, serve};
use super::tls::Tls;
use super::{Begin, OpenError, Opened};
use crate::config::Limits;
use crate::config::source::syslog::{Syslog, UnixKind};
use crate::pipeline::Source;
use crate::service::Inherited;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};

/// Opens a TCP listener; called inside the runtime.
pub fn bind_tcp(listen: SocketAddr) -> io::Result<TcpListener> {
    let s = Socket::new(Domain::for_address(listen), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    s.set_reuse_address(true)?;
    s.bind(&listen.into())?;
    s.listen(1024)?;
    TcpListener::from_std(s.into())
}

/// A datagram without the line ends and NULs behind it.
fn whole(mut d: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r' | 0] = d {
        d = rest;
    }
    d
}

/// Opens the sockets of a source.
pub fn open(c: &Syslog, source: Arc<Source>, limits: &Limits, sockets: Vec<Inherited>) -> Result<Vec<Opened>, OpenError> {
    let (mut tcp, mut udp) = (None, None);
    for s in sockets {
        match s {
            Inherited::Tcp(s) => tcp = Some(s),
            Inherited::Udp(s) => udp = Some(s),
            Inherited::UnixStream(_) | Inherited::UnixDatagram(_) => tracing::warn!(source = %source.name, "an inherited Unix socket is not used"),
        }
    }
    let mut listener = || tcp.take().map_or_else(|| bind_tcp(c.listen), TcpListener::from_std);
    let failed = |e: io::Error| OpenError::Listen { what: source.name.clone(), addr: c.listen.to_string(), source: e };
    let mut all: Vec<Begin> = Vec::new();
    let name = &source.name;
    if c.udp {
        let socket = udp.take().map_or_else(|| udp::bind(c.listen, limits.udp_buffer_bytes), UdpSocket::from_std).map_err(failed)?;
        let s = source.clone();
        tracing::info!(source = %name, udp = %socket.local_addr().map_err(failed)?, "listening");
        all.push(Box::new(move |intake, tasks| drop(tasks.spawn(udp::read(socket, s, intake)))));
    }
    if c.tcp {
        let (socket, s) = (listener().map_err(failed)?, source.clone());
        tracing::info!(source = %name, tcp = %socket.local_addr().map_err(failed)?, "listening");
        all.push(Box::new(move |intake, tasks| drop(tasks.spawn(serve(Listener::Tcp(socket), None, s, intake, stream::read)))));
    }
    if let Some(tls) = &c.tls {
        let tls = Tls::open(tls, name)?;
        let (socket, s) = (listener().map_err(failed)?, source.clone());
        tracing::info!(source = %name, tls = %socket.local_addr().map_err(failed)?, "listening");
        all.push(Box::new(move |intake, tasks| drop(tasks.spawn(serve(Listener::Tcp(socket), Some(tls), s, intake, stream::read)))));
    }
    if let Some(u) = &c.unix {
        let failed = |e: io::Error| OpenError::Listen { what: name.clone(), addr: u.path.display().to_string(), source: e };
        let s = source.clone();
        match u.kind {
            UnixKind::Datagram => {
                let (socket, place) = unix::bind_datagram(u).map_err(failed)?;
                all.push(Box::new(move |intake, tasks| drop(tasks.spawn(unix::read(socket, place, s, intake)))));
            }
            UnixKind::Stream => {
                let (socket, place) = unix::bind_stream(u).map_err(failed)?;
                all.push(Box::new(move |intake, tasks| {
                    tasks.spawn(async move {
                        serve(Listener::Unix(socket, 0), None, s, intake, stream::read).await;
                        drop(place);
                    });
                }));
            }
        }
        tracing::info!(source = %name, unix = %u.path.display(), "listening");
    }
    Ok(all.into_iter().map(|begin| Opened { source: source.clone(), begin }).collect())
}
