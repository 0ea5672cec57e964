//! Opens sockets and says what of them is watched.

use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io,
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

fn data(number: usize) -> EventData {
    EventData::new_u64(u64::try_from(number).expect("a number of connections"))
}
