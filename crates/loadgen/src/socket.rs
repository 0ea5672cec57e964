//! Opens sockets, says what of them is watched, and moves bytes without waiting.

use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::BorrowedFd,
};

pub(crate) const READING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);
pub(crate) const WRITING: EventFlags = READING.union(EventFlags::OUT);

/// Begins to connect; the first event of that number says what came of it.
pub(crate) fn connect(
    addr: SocketAddr,
    poll: BorrowedFd<'_>,
    number: usize,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&SockAddr::from(addr)) {
        Ok(()) => (),
        Err(err) if err.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(err) => return Err(err),
    }
    let stream = TcpStream::from(socket);
    epoll::add(poll, &stream, data(number), WRITING)?;
    Ok(stream)
}

/// Watches for these from now on.
pub(crate) fn watch(
    stream: &TcpStream,
    poll: BorrowedFd<'_>,
    number: usize,
    flags: EventFlags,
) -> io::Result<()> {
    Ok(epoll::modify(poll, stream, data(number), flags)?)
}

/// True when an attempt to connect has succeeded.
pub(crate) fn is_connected(stream: &TcpStream, flags: EventFlags) -> bool {
    matches!(stream.take_error(), Ok(None)) && !flags.contains(EventFlags::HUP)
}

/// Writes what the socket takes; `None` when it takes nothing now.
pub(crate) fn write(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.write(bytes) {
            Ok(count) => return Ok(Some(count)),
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(err) if err.kind() == ErrorKind::Interrupted => (),
            Err(err) => return Err(err),
        }
    }
}

/// Reads what has come; `None` when that is nothing yet. The end of the stream is an error.
pub(crate) fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => Ok(Some(count)),
        Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(err) => Err(err),
    }
}

fn data(number: usize) -> EventData {
    EventData::new_u64(u64::try_from(number).expect("a number of connections"))
}
