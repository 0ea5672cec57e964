//! How two nodes greet each other and prove that they know the cluster's key.

use super::{Kind, append, limits, text};
use crate::{Decoder, Encoder, Flaw, limits::NAME_BYTES_MAX};

const MAGIC: [u8; 8] = *b"tollgate";
/// What the proof's key is derived for, so that the cluster key serves nothing else by accident.
const PROOF_CONTEXT: &str = "tollgate trunk proof 1";

/// Who speaks, and what it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Name of the node in the topology.
    pub node: &'a str,
    /// Random per process: tells a restarted node from the one before.
    pub boot: u64,
    /// Random per connection: what the other side must answer.
    pub challenge: [u8; 32],
    pub limits: HelloLimits,
}

/// What the speaker takes on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloLimits {
    pub in_flight: u32,
    pub frame_bytes: u32,
    pub message_bytes: u32,
    /// Window of each stream at its start, in bytes.
    pub stream_window: u32,
}

impl HelloLimits {
    /// What this version takes.
    pub const OURS: HelloLimits = HelloLimits {
        in_flight: limits::IN_FLIGHT_MAX,
        frame_bytes: 64 * 1024,
        message_bytes: 8 * 1024 * 1024,
        stream_window: limits::STREAM_WINDOW_BYTES,
    };
}

const _: () = {
    assert!(HelloLimits::OURS.frame_bytes as usize == limits::FRAME_BYTES_MAX);
    assert!(HelloLimits::OURS.message_bytes as usize == limits::MESSAGE_BYTES_MAX);
};

impl<'a> Hello<'a> {
    pub(super) fn read(decoder: &mut Decoder<'a>) -> Result<Hello<'a>, Flaw> {
        if decoder.array()? != MAGIC {
            return Err(Flaw("not a tollgate node"));
        }
        if decoder.u16()? != limits::VERSION {
            return Err(Flaw("another version of the trunk"));
        }
        let hello = Hello {
            node: text(decoder, NAME_BYTES_MAX)?,
            boot: decoder.u64()?,
            challenge: decoder.array()?,
            limits: HelloLimits {
                in_flight: decoder.u32()?,
                frame_bytes: decoder.u32()?,
                message_bytes: decoder.u32()?,
                stream_window: decoder.u32()?,
            },
        };
        if hello.node.is_empty() || hello.limits.in_flight == 0 {
            return Err(Flaw("a hello without a name or without room for a request"));
        }
        if hello.limits.frame_bytes < HelloLimits::OURS.frame_bytes
            || hello.limits.message_bytes < HelloLimits::OURS.message_bytes
        {
            return Err(Flaw("a peer that takes less than this version sends"));
        }
        let window = usize::try_from(hello.limits.stream_window).unwrap_or(usize::MAX);
        if window == 0 || limits::WINDOW_BYTES_MAX < window {
            return Err(Flaw("a window of no bytes, or too wide"));
        }
        Ok(hello)
    }

    /// Appends the hello as a frame.
    ///
    /// # Panics
    /// When the node's name is longer than a name may be.
    pub fn append(&self, out: &mut Vec<u8>) {
        assert!(self.node.len() <= NAME_BYTES_MAX);
        append(out, Kind::Hello, |encoder| self.write(encoder));
    }

    fn write(&self, encoder: &mut Encoder<'_>) {
        encoder.raw(&MAGIC);
        encoder.u16(limits::VERSION);
        encoder.short(self.node.as_bytes());
        encoder.u64(self.boot);
        encoder.raw(&self.challenge);
        encoder.u32(self.limits.in_flight);
        encoder.u32(self.limits.frame_bytes);
        encoder.u32(self.limits.message_bytes);
        encoder.u32(self.limits.stream_window);
    }
}

/// Which end of the connection proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Client,
    /// The one that accepted.
    Server,
}

/// A keyed hash over both hellos (and so both challenges and names) and the side that proves, so
/// that a proof can neither be replayed nor sent back to where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Proof(pub [u8; 32]);

impl Proof {
    /// What `side` has to say to the other.
    pub fn new(cluster_key: &[u8], side: Side, client: &Hello<'_>, server: &Hello<'_>) -> Proof {
        let key = blake3::derive_key(PROOF_CONTEXT, cluster_key);
        let mut told = Vec::with_capacity(256);
        let mut encoder = Encoder(&mut told);
        encoder.bool(side == Side::Server);
        client.write(&mut encoder);
        server.write(&mut encoder);
        Proof(*blake3::keyed_hash(&key, &told).as_bytes())
    }

    /// Whether both are the same, in constant time.
    pub fn matches(&self, other: &Proof) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }

    /// Appends the proof as a frame.
    pub fn append(&self, out: &mut Vec<u8>) {
        append(out, Kind::Proof, |encoder| encoder.raw(&self.0));
    }
}
