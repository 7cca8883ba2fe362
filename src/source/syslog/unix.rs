//! Syslog over sockets in the file system.
//!
//! Who sends to a full one waits: the kernel drops nothing. So what comes here waits for the queue too, and nothing is lost.

use super::whole;
use crate::config::source::syslog::Unix;
use crate::event::Batch;
use crate::pipeline::{Source, Stream};
use crate::source::{AGE, BATCH, Intake, LINGER};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{UnixDatagram, UnixListener};
use tokio::time::{Instant, sleep, timeout_at};

/// The name of a socket in the file system; removed when dropped, if it is still ours.
pub struct Place {
    path: PathBuf,
    file: (u64, u64),
}

impl Drop for Place {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.file) {
            // It may have been removed in between.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a socket of datagrams; called inside the runtime.
pub fn bind_datagram(c: &Unix) -> io::Result<(UnixDatagram, Place)> {
    let (socket, place) = bind(c, |p| net::UnixDatagram::bind(p))?;
    socket.set_nonblocking(true)?;
    Ok((UnixDatagram::from_std(socket)?, place))
}

/// Opens a socket of connections; called inside the runtime.
pub fn bind_stream(c: &Unix) -> io::Result<(UnixListener, Place)> {
    let (socket, place) = bind(c, |p| net::UnixListener::bind(p))?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from_std(socket)?, place))
}

/// Makes a socket in the place of one that nobody listens on any more.
fn bind<S>(c: &Unix, make: impl Fn(&Path) -> io::Result<S>) -> io::Result<(S, Place)> {
    match fs::symlink_metadata(&c.path) {
        Ok(m) if !m.file_type().is_socket() => return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Ok(_) if is_heard(&c.path)? => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens on it already")),
        _ => {}
    }
    // It takes its name when its mode is right, so that nobody finds it with another one.
    let mut new = c.path.clone().into_os_string();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    let socket = make(&new)?;
    let placed = fs::set_permissions(&new, fs::Permissions::from_mode(c.mode)).and_then(|()| fs::rename(&new, &c.path));
    if let Err(e) = placed {
        let _ = fs::remove_file(&new);
        return Err(e);
    }
    let m = fs::symlink_metadata(&c.path)?;
    Ok((socket, Place { path: c.path.clone(), file: (m.dev(), m.ino()) }))
}

/// Whether somebody listens on a socket, of either type.
fn is_heard(path: &Path) -> io::Result<bool> {
    match net::UnixDatagram::unbound()?.connect(path) {
        // Nobody has it open.
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(false),
        // It is of the other type, and somebody has it, or it cannot be asked: in doubt it stays.
        _ => Ok(true),
    }
}

/// Takes datagrams until the daemon stops; its stream is that of all who send to the socket.
pub async fn read(socket: UnixDatagram, place: Place, source: Arc<Source>, mut intake: Intake) {
    let stream = Stream::new(format!("{}:unix", source.name), source.clone());
    // One byte above the limit is enough to know that a record is above.
    let (mut buffer, mut batch) = (vec![0; intake.limits.record_bytes + 1], Batch::default());
    let mut until: Option<Instant> = None;
    loop {
        if until.is_none() {
            tokio::select! {
                _ = intake.stopped() => until = Some(Instant::now() + LINGER),
                r = socket.readable() => if let Err(e) = r { tracing::warn!(source = %source.name, error = %e, "unix socket") },
            }
        }
        let mut empty = datagrams(&socket, &mut buffer, &mut batch);
        if empty && !batch.records.is_empty() && until.is_none() {
            sleep(AGE).await;
            empty = datagrams(&socket, &mut buffer, &mut batch);
        }
        if let Some(chunk) = intake.chunk(&stream, source.format, &mut batch) {
            match until {
                None => intake.queue.send(chunk).await,
                Some(u) => drop(timeout_at(u + LINGER, intake.queue.send(chunk)).await),
            }
        }
        if until.is_some_and(|u| empty || Instant::now() >= u) {
            break;
        }
    }
    drop(place);
    intake.queue.close(&stream).await;
}

/// Takes what the socket has, up to a batch; `true` if it has no more.
fn datagrams(socket: &UnixDatagram, buffer: &mut [u8], batch: &mut Batch) -> bool {
    let max = buffer.len() - 1;
    while batch.bytes.len() < BATCH {
        match socket.try_recv(buffer) {
            Ok(n) => {
                let d = whole(&buffer[..n]);
                batch.push(&d[..d.len().min(max)], d.len() > max);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::syslog::UnixKind;

    fn mode(p: &Path) -> u32 {
        fs::symlink_metadata(p).expect("it is there").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| Unix { path: dir.path().join(name), kind: UnixKind::Datagram, mode: 0o620 };
        // Left behind by a process that was killed.
        let stale = at("stale");
        drop(net::UnixListener::bind(&stale.path).expect("bound"));
        let (_socket, place) = bind_datagram(&stale).expect("nobody listens");
        assert_eq!(mode(&stale.path), 0o620);
        for bind in [|c: &Unix| bind_datagram(c).map(|s| s.1), |c: &Unix| bind_stream(c).map(|s| s.1)] {
            assert_eq!(bind(&stale).err().map(|e| e.kind()), Some(ErrorKind::AddrInUse));
        }
        drop(place);
        assert!(!stale.path.exists(), "removed at the end");
        let stream = at("stream");
        let _kept = bind_stream(&stream).expect("free");
        assert_eq!(bind_datagram(&stream).err().map(|e| e.kind()), Some(ErrorKind::AddrInUse));
        fs::write(dir.path().join("file"), b"text").expect("written");
        assert_eq!(bind_datagram(&at("file")).err().map(|e| e.kind()), Some(ErrorKind::AlreadyExists));
        assert_eq!(fs::read(dir.path().join("file")).expect("there"), b"text");
        assert!(bind_datagram(&at("none/socket")).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2, "nothing is left beside them");
    }

    #[tokio::test]
    async fn a_socket_that_took_the_place_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let c = Unix { path: dir.path().join("s"), kind: UnixKind::Stream, mode: 0o600 };
        let (socket, place) = bind_stream(&c).expect("free");
        drop(socket);
        let (_socket, _other) = bind_stream(&c).expect("nobody listens");
        drop(place);
        assert!(c.path.exists());
    }
}
