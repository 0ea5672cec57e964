//! Threads that carry requests: each has its own runtime and connections and shares nothing.
//!
//! One thread accepts on the node's listening sockets and deals each connection to the worker that
//! has the fewest. Not SO_REUSEPORT: with it a second tree silently takes half of the traffic, and
//! the closing of one listener resets what waits in its queue.

use crate::{
    pulse,
    shutdown::{self, Shutdown, ShutdownTrigger},
};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::mpsc,
};

/// Connections of one node, over all its listening sockets. Above it a client of the public API
/// gets 503 and is hung up on, a trunk peer is only hung up on.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// Accepted connections that wait for their worker: as many as the kernel lets in at once.
const DEALT_MAX: usize = 4_096;
/// How long the dealer rests when the process has no file descriptor left.
const EXHAUSTED_REST: Duration = Duration::from_millis(100);

const FULL_ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// What comes in at a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The public API.
    Http,
    /// The trunk of the tier above.
    Trunk,
}

/// A bound listening socket.
#[derive(Debug)]
pub struct Listening {
    pub door: Door,
    listener: TcpListener,
}

impl Listening {
    /// Binds `addr` and listens.
    pub fn bind(door: Door, addr: SocketAddr) -> io::Result<Listening> {
        Ok(Listening { door, listener: listen(addr)? })
    }

    /// Binds those of a node's addresses that it has.
    pub fn bind_doors(
        http: Option<SocketAddr>,
        trunk: Option<SocketAddr>,
    ) -> io::Result<Vec<Listening>> {
        let doors = [(Door::Http, http), (Door::Trunk, trunk)].into_iter();
        doors.filter_map(|(door, addr)| Some(Listening::bind(door, addr?))).collect()
    }

    /// Where it listens: of use when port 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let named =
        |err: io::Error| io::Error::new(err.kind(), format!("cannot listen on {addr}: {err}"));
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(named)?;
    socket.set_reuse_address(true).map_err(named)?;
    socket.set_nonblocking(true).map_err(named)?;
    socket.bind(&addr.into()).map_err(named)?;
    socket.listen(BACKLOG).map_err(named)?;
    Ok(socket.into())
}

/// A connection that was dealt to this worker.
#[derive(Debug)]
pub struct Accepted {
    pub door: Door,
    pub stream: tokio::net::TcpStream,
    pub peer: SocketAddr,
    /// To be dropped with the connection.
    pub permit: Permit,
}

/// One connection's share of [`CONNECTIONS_MAX`] and of its worker's load.
#[derive(Debug)]
pub struct Permit {
    load: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Relaxed);
    }
}

struct Dealt {
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
    permit: Permit,
}

/// What the body of a worker thread is given.
#[derive(Debug)]
pub struct Worker {
    /// 0 to one less than the number of workers.
    pub index: usize,
    pub shutdown: Shutdown,
    dealt: mpsc::Receiver<Dealt>,
}

impl Worker {
    /// The next connection; `None` once the node drains and no further one can come.
    pub async fn accept(&mut self) -> Option<Accepted> {
        loop {
            let Dealt { door, stream, peer, permit } = self.dealt.recv().await?;
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => return Some(Accepted { door, stream, peer, permit }),
                Err(err) => tracing::warn!(%peer, %err, "connection dropped"),
            }
        }
    }
}

impl std::fmt::Debug for Dealt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dealt").field("peer", &self.peer).finish()
    }
}

/// Runs `body` once on each of `workers` threads and returns when all of them have ended.
///
/// Inside, `tokio::task::spawn_local` works. The listening sockets close when `shutdown` is
/// requested, after what waits in their queues has been dealt. A body that ends before is the end
/// of the node: the others are asked to drain as if the shutdown had been requested.
pub fn run<B>(
    listening: Vec<Listening>,
    workers: usize,
    shutdown: &Shutdown,
    body: B,
) -> io::Result<()>
where
    B: AsyncFn(Worker) -> io::Result<()> + Send + Sync,
{
    assert!(0 < workers);
    thread::scope(|scope| {
        let (drain, draining) = shutdown::shutdown();
        let mut hands = Vec::with_capacity(workers);
        let mut threads = Vec::with_capacity(workers);
        for index in 0..workers {
            let (sender, dealt) = mpsc::channel(DEALT_MAX);
            hands.push(Hand { load: Arc::default(), sender });
            let worker = Worker { index, shutdown: draining.clone(), dealt };
            let body = &body;
            let thread = thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn_scoped(scope, move || {
                runtime()?.block_on(async {
                    pulse::start();
                    body(worker).await
                })
            })?);
        }
        let dealer = Dealer { hands, drain };
        let mut shutdown = shutdown.clone();
        let thread = thread::Builder::new().name("dealer".to_owned());
        threads.push(thread.spawn_scoped(scope, move || {
            runtime()?.block_on(dealer.run(listening, &mut shutdown))
        })?);
        let mut result = Ok(());
        for thread in threads {
            let ended =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            result = result.and(ended);
        }
        result
    })
}

/// A runtime for this thread alone.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

struct Hand {
    load: Arc<AtomicUsize>,
    sender: mpsc::Sender<Dealt>,
}

struct Dealer {
    hands: Vec<Hand>,
    /// Tells the workers to drain, also when it is dropped.
    drain: ShutdownTrigger,
}

impl Dealer {
    async fn run(self, listening: Vec<Listening>, shutdown: &mut Shutdown) -> io::Result<()> {
        let mut doors = Vec::with_capacity(listening.len());
        for Listening { door, listener } in listening {
            doors.push((door, tokio::net::TcpListener::from_std(listener)?));
        }
        tokio::select! {
            () = shutdown.requested() => (),
            () = self.accept_on(&doors) => (),
            () = self.worker_ended() => (),
        }
        self.drain.trigger();
        for (door, listener) in doors {
            let listener = listener.into_std()?;
            // What the kernel has already accepted for us would be reset by the closing.
            while let Ok((stream, peer)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    self.deal(door, stream, peer);
                }
            }
        }
        Ok(())
    }

    /// Returns when a worker has ended, and nobody takes what is dealt to it.
    async fn worker_ended(&self) {
        let closed = |hand: &Hand| {
            let sender = hand.sender.clone();
            Box::pin(async move { sender.closed().await })
        };
        let mut closed: Vec<_> = self.hands.iter().map(closed).collect();
        std::future::poll_fn(|cx| {
            match closed.iter_mut().any(|it| it.as_mut().poll(cx).is_ready()) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }

    async fn accept_on(&self, doors: &[(Door, tokio::net::TcpListener)]) {
        loop {
            let (door, accepted) = std::future::poll_fn(|cx| {
                for (door, listener) in doors {
                    if let std::task::Poll::Ready(accepted) = listener.poll_accept(cx) {
                        return std::task::Poll::Ready((*door, accepted));
                    }
                }
                std::task::Poll::Pending
            })
            .await;
            match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => self.deal(door, stream, peer),
                Err(err) => {
                    tracing::warn!(%err, "cannot accept a connection");
                    tokio::time::sleep(EXHAUSTED_REST).await;
                }
            }
        }
    }

    fn deal(&self, door: Door, stream: TcpStream, peer: SocketAddr) {
        let total: usize = self.hands.iter().map(|hand| hand.load.load(Relaxed)).sum();
        if CONNECTIONS_MAX <= total {
            tracing::warn!(%peer, connections = total, "connection refused: too many");
            return refuse(door, &stream);
        }
        let fewest = self.hands.iter().min_by_key(|hand| hand.load.load(Relaxed));
        let hand = fewest.expect("there is a worker");
        if let Err(err) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %err, "connection dropped");
            return;
        }
        hand.load.fetch_add(1, Relaxed);
        let permit = Permit { load: Arc::clone(&hand.load) };
        if let Err(err) = hand.sender.try_send(Dealt { door, stream, peer, permit }) {
            // The worker hangs or has ended: to wait for it would stall the others.
            tracing::warn!(%peer, %err, "connection refused: too many at once");
            let Dealt { door, stream, .. } = err.into_inner();
            refuse(door, &stream);
        }
    }
}

/// Says why a connection is closed at once, to a client that may not know the trunk.
fn refuse(door: Door, mut stream: &TcpStream) {
    if door == Door::Http {
        // Best effort: an empty socket buffer takes it, and nobody is waited for.
        drop(stream.write(FULL_ANSWER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_fails_ends_the_node_and_the_others_drain() {
        let listening = Listening::bind(Door::Trunk, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (_nobody_triggers, shutdown) = shutdown::shutdown();
        let ended = run(vec![listening], 3, &shutdown, async |mut worker| {
            if worker.index == 1 {
                return Err(io::Error::other("the disk failed"));
            }
            worker.shutdown.requested().await;
            Ok(())
        });
        assert_eq!(ended.unwrap_err().to_string(), "the disk failed");
    }
}
