//! The first exchange on a connection: who is there, and does it know the cluster's key.

use super::{
    ages::Ages,
    limits::{FAREWELL_MAX, GREETING_MAX},
    tls::{Carrier, TrunkTls},
};
use crate::{
    ids,
    node::{ClusterKey, NodeConfig},
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wire::{
    Flaw,
    frame::{Farewell, Frame, FrameBuffer, Hello, HelloLimits, Proof, Side, append_going_away},
};

/// Who this node is, to its peers.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node: Arc<str>,
    /// From [`ids::boot_id`], one per process.
    pub boot: u64,
    pub cluster_key: ClusterKey,
    /// Set, the trunk is spoken within TLS and not otherwise.
    pub tls: Option<TrunkTls>,
    /// How old its connections become.
    pub ages: Ages,
}

impl Identity {
    /// The identity of a node that starts now and speaks the trunk in the clear.
    pub fn new(node: Arc<str>, cluster_key: ClusterKey) -> Identity {
        Identity { node, boot: ids::boot_id(), cluster_key, tls: None, ages: Ages::default() }
    }

    /// The identity of a configured node that starts now.
    pub fn of(config: &NodeConfig) -> Identity {
        let identity = Identity::new(Arc::clone(&config.name), config.cluster_key.clone());
        Identity { tls: config.trunk_tls.clone(), ages: config.trunk_ages, ..identity }
    }

    fn hello(&self) -> Hello<'_> {
        let challenge = ids::challenge();
        Hello { node: &self.node, boot: self.boot, challenge, limits: HelloLimits::OURS }
    }
}

/// The other side, once it has proved itself.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: String,
    /// What it takes without answering.
    pub(super) in_flight_max: u32,
    /// Window of each stream to it at its start, in bytes.
    pub(super) stream_window: u32,
    /// May hold the first frames that followed the greeting.
    pub(super) buffer: FrameBuffer,
}

impl Peer {
    fn new(node: String, limits: HelloLimits, buffer: FrameBuffer) -> Peer {
        let HelloLimits { in_flight, stream_window, .. } = limits;
        Peer { node, in_flight_max: in_flight, stream_window, buffer }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetingError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("it broke the protocol: {0}")]
    Flaw(#[from] Flaw),
    #[error("it does not know the cluster key")]
    Key,
    #[error("it is node {0}")]
    Name(String),
    #[error("it refused: {0}")]
    Refused(String),
    #[error("it did not greet in time")]
    Late,
}

/// Either end of any stream.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Connects to a node and greets it; `expected` is its name in the topology.
pub(super) async fn as_client(
    addr: SocketAddr,
    identity: &Identity,
    expected: &str,
) -> Result<(Carrier, Peer), GreetingError> {
    let greeted = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &identity.tls else {
            let peer = greet_server(&mut stream, identity, expected).await?;
            return Ok((Carrier::Plain(stream), peer));
        };
        let mut stream = Box::new(tls.connect(stream).await.map_err(GreetingError::Tls)?);
        let peer = greet_server(&mut stream, identity, expected).await?;
        Ok((Carrier::Tls(stream), peer))
    };
    timeout(GREETING_MAX, greeted).await.unwrap_or(Err(GreetingError::Late))
}

async fn greet_server(
    stream: &mut impl Duplex,
    identity: &Identity,
    expected: &str,
) -> Result<Peer, GreetingError> {
    let ours = identity.hello();
    let mut out = Vec::new();
    ours.append(&mut out);
    send(stream, &out).await?;

    let mut buffer = FrameBuffer::new();
    let key = &identity.cluster_key.0;
    let (node, limits, proof, proof_wanted) = {
        let frame = next(stream, &mut buffer).await?;
        if let Frame::GoingAway { reason, .. } = frame {
            return Err(GreetingError::Refused(reason.to_owned()));
        }
        let Frame::Hello(theirs) = frame else { return Err(Flaw("no hello").into()) };
        let proof = Proof::new(key, Side::Client, &ours, &theirs);
        let wanted = Proof::new(key, Side::Server, &ours, &theirs);
        (theirs.node.to_owned(), theirs.limits, proof, wanted)
    };
    // Sent before theirs is looked at, so that a peer of another cluster can say so in its log.
    out.clear();
    proof.append(&mut out);
    send(stream, &out).await?;
    check_proof(stream, &mut buffer, &proof_wanted).await?;
    if node != expected {
        return Err(GreetingError::Name(node));
    }
    Ok(Peer::new(node, limits, buffer))
}

/// Answers the greeting of a node that connected.
pub(super) async fn as_server(
    mut stream: TcpStream,
    identity: &Identity,
) -> Result<(Carrier, Peer), GreetingError> {
    let greeted = async {
        let Some(tls) = &identity.tls else {
            let peer = greet_or_refuse(&mut stream, identity).await?;
            return Ok((Carrier::Plain(stream), peer));
        };
        let mut stream = Box::new(tls.accept(stream).await.map_err(GreetingError::Tls)?);
        let peer = greet_or_refuse(&mut stream, identity).await?;
        Ok((Carrier::Tls(stream), peer))
    };
    timeout(GREETING_MAX, greeted).await.unwrap_or(Err(GreetingError::Late))
}

async fn greet_or_refuse(
    stream: &mut impl Duplex,
    identity: &Identity,
) -> Result<Peer, GreetingError> {
    let greeted = greet_client(stream, identity).await;
    if let Err(GreetingError::Flaw(flaw)) = &greeted {
        let mut out = Vec::new();
        append_going_away(&mut out, Farewell::Breach, flaw.0);
        // Best effort: the peer may be no node at all.
        drop(timeout(FAREWELL_MAX, stream.write_all(&out)).await);
    }
    greeted
}

async fn greet_client(
    stream: &mut impl Duplex,
    identity: &Identity,
) -> Result<Peer, GreetingError> {
    let ours = identity.hello();
    let mut buffer = FrameBuffer::new();
    let key = &identity.cluster_key.0;
    let mut out = Vec::new();
    let (node, limits, proof_wanted) = {
        let Frame::Hello(theirs) = next(stream, &mut buffer).await? else {
            return Err(Flaw("no hello").into());
        };
        ours.append(&mut out);
        Proof::new(key, Side::Server, &theirs, &ours).append(&mut out);
        let wanted = Proof::new(key, Side::Client, &theirs, &ours);
        (theirs.node.to_owned(), theirs.limits, wanted)
    };
    send(stream, &out).await?;
    check_proof(stream, &mut buffer, &proof_wanted).await?;
    Ok(Peer::new(node, limits, buffer))
}

async fn send(stream: &mut impl Duplex, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn check_proof(
    stream: &mut impl Duplex,
    buffer: &mut FrameBuffer,
    wanted: &Proof,
) -> Result<(), GreetingError> {
    let Frame::Proof(theirs) = next(stream, buffer).await? else {
        return Err(Flaw("no proof").into());
    };
    if theirs.matches(wanted) { Ok(()) } else { Err(GreetingError::Key) }
}

/// Reads until a whole frame is there.
async fn next<'a>(
    stream: &mut impl Duplex,
    buffer: &'a mut FrameBuffer,
) -> Result<Frame<'a>, GreetingError> {
    while !buffer.holds_frame()? {
        let count = stream.read(buffer.space()).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        buffer.filled(count);
    }
    Ok(buffer.next_frame()?.ok_or(Flaw("cut short"))?)
}
