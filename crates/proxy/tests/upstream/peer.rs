//! An HTTP server that does exactly what a test tells it, down to the byte.

use crate::harness::{Message, PATIENCE, read_chunk};
use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// A server on threads of its own, one for each connection.
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// One connection, from its first byte on: a check that only connects is none.
pub(crate) struct Conn {
    /// How many there were before.
    pub(crate) number: usize,
    stream: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) fn start(serve: impl Fn(Conn) + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (connections, ended) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let serve = Arc::new(serve);
        let (counted, over) = (Arc::clone(&connections), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if over.load(SeqCst) {
                    return;
                }
                let (serve, counted) = (Arc::clone(&serve), Arc::clone(&counted));
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    if matches!(stream.peek(&mut [0]), Ok(1)) {
                        let number = counted.fetch_add(1, SeqCst);
                        serve(Conn { number, stream: BufReader::new(stream) });
                    }
                });
            }
        });
        Peer { addr, connections, ended, thread: Some(thread) }
    }

    /// Answers each request with what `answer` makes of it; for ever, on every connection.
    pub(crate) fn answering(
        answer: impl Fn(usize, &Message) -> String + Send + Sync + 'static,
    ) -> Peer {
        Peer::start(move |mut conn| {
            while let Some(request) = conn.request() {
                let answer = answer(conn.number, &request);
                conn.say(answer.as_bytes());
            }
        })
    }

    /// Connections that carried something.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        drop(TcpStream::connect(self.addr)); // Wakes the accept.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Conn {
    /// The next request with its body; `None` at the end.
    pub(crate) fn request(&mut self) -> Option<Message> {
        let head = self.head()?;
        head.with_body(&mut self.stream, false)
    }

    /// The head of the next request; its body is left where it is.
    pub(crate) fn head(&mut self) -> Option<Message> {
        Message::head(&mut self.stream)
    }

    /// The body that follows a head.
    pub(crate) fn rest_of(&mut self, head: Message) -> Option<Message> {
        head.with_body(&mut self.stream, false)
    }

    /// The next chunk of a body; `None` when the connection ends before or within it.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        read_chunk(&mut self.stream)
    }

    /// A client that is gone is no failure of a test.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.is_heard(bytes);
    }

    /// As [`Conn::say`]; false once the client is known to be gone.
    pub(crate) fn is_heard(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Whatever comes next.
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        self.stream.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        let count = self.stream.read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    /// Everything up to the end.
    pub(crate) fn read_rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop(self.stream.read_to_end(&mut bytes));
        bytes
    }

    pub(crate) fn end_writing(&mut self) {
        drop(self.stream.get_mut().shutdown(Shutdown::Write));
    }
}

/// A plain answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
