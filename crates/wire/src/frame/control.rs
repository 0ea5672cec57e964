//! The small frames that are no part of a request.

use super::{Kind, append, clip, limits::REASON_BYTES_MAX};
use crate::{Decoder, Epoch, Flaw, PartitionId, limits::PARTITIONS_MAX};
use std::time::Duration;

/// The partitions that an account node owns, each with the epoch of its tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerMap<'a> {
    /// Invariant: a whole number of entries.
    entries: &'a [u8],
}

const ENTRY_BYTES: usize = 10;

impl<'a> OwnerMap<'a> {
    pub(super) fn read(decoder: &mut Decoder<'a>) -> Result<OwnerMap<'a>, Flaw> {
        let count = decoder.u16()?;
        if PARTITIONS_MAX < count {
            return Err(Flaw("more partitions than a service has"));
        }
        Ok(OwnerMap { entries: decoder.raw(usize::from(count) * ENTRY_BYTES)? })
    }

    /// Partitions and epochs, in the order the node gave them.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Epoch)> + use<'a> {
        let mut decoder = Decoder::new(self.entries);
        std::iter::from_fn(move || {
            Some((PartitionId(decoder.u16().ok()?), Epoch(decoder.u64().ok()?)))
        })
    }
}

/// Appends an owner map.
///
/// # Panics
/// When it lists more partitions than a service may have.
pub fn append_owner_map(out: &mut Vec<u8>, owners: &[(PartitionId, Epoch)]) {
    assert!(owners.len() <= usize::from(PARTITIONS_MAX));
    append(out, Kind::OwnerMap, |encoder| {
        encoder.u16(u16::try_from(owners.len()).expect("asserted above"));
        for (partition, epoch) in owners {
            encoder.u16(partition.0);
            encoder.u64(epoch.0);
        }
    });
}

/// Appends a ping.
pub fn append_ping(out: &mut Vec<u8>, number: u64) {
    append(out, Kind::Ping, |encoder| encoder.u64(number));
}

/// Appends the answer to a ping.
pub fn append_pong(out: &mut Vec<u8>, number: u64) {
    append(out, Kind::Pong, |encoder| encoder.u64(number));
}

/// Why somebody wants to be rid of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Farewell {
    /// It ends, or was told to drain: nothing new is to be asked on any connection.
    Draining = 1,
    /// The connection is old: another one is to take its place, and then it is to be left.
    Aged = 2,
    /// The peer was silent for too long. The connection ends with this frame.
    Silent = 3,
    /// The peer broke the protocol or a limit. The connection ends with this frame.
    Breach = 4,
}

impl Farewell {
    pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<Farewell, Flaw> {
        match decoder.u8()? {
            1 => Ok(Farewell::Draining),
            2 => Ok(Farewell::Aged),
            3 => Ok(Farewell::Silent),
            4 => Ok(Farewell::Breach),
            _ => Err(Flaw("a farewell for an unknown cause")),
        }
    }
}

/// Appends a farewell; longer words are cut.
pub fn append_going_away(out: &mut Vec<u8>, why: Farewell, reason: &str) {
    append(out, Kind::GoingAway, |encoder| {
        encoder.u8(why as u8);
        encoder.short(clip(reason, REASON_BYTES_MAX).as_bytes());
    });
}

/// Why a request is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// Whoever asked is gone. As an answer: it was given up, as asked.
    Cancelled = 1,
    /// Its deadline has passed.
    Late = 2,
    /// The sender could not bring its own part to an end.
    Aborted = 3,
}

impl ResetReason {
    pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<ResetReason, Flaw> {
        match decoder.u8()? {
            1 => Ok(ResetReason::Cancelled),
            2 => Ok(ResetReason::Late),
            3 => Ok(ResetReason::Aborted),
            _ => Err(Flaw("a reset for an unknown cause")),
        }
    }
}

/// Appends that a request is given up.
pub fn append_reset(out: &mut Vec<u8>, id: u32, reason: ResetReason) {
    append(out, Kind::Reset, |encoder| {
        encoder.u32(id);
        encoder.u8(reason as u8);
    });
}

/// Appends that so many bytes more of a message may be sent.
pub fn append_window(out: &mut Vec<u8>, id: u32, credit: u32) {
    append(out, Kind::Window, |encoder| {
        encoder.u32(id);
        encoder.u32(credit);
    });
}

/// What a node says of its load and of everything behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests in flight, in the whole subtree.
    pub in_flight: u32,
    /// Microseconds that an answer takes with that many in flight; zero when it does not know.
    pub latency_us: u32,
    /// Thousandths of its limit in use; 1,000 and more: what comes now is shed.
    pub limit_permille: u16,
    /// It finishes what it has and wants nothing new.
    pub draining: bool,
}

impl LoadReport {
    /// How long an answer takes; zero when that is not known.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.into())
    }

    /// Sets how long an answer takes: over an hour is an hour.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> LoadReport {
        LoadReport { latency_us: u32::try_from(latency.as_micros()).unwrap_or(u32::MAX), ..self }
    }

    pub(super) fn read(decoder: &mut Decoder<'_>) -> Result<LoadReport, Flaw> {
        Ok(LoadReport {
            in_flight: decoder.u32()?,
            latency_us: decoder.u32()?,
            limit_permille: decoder.u16()?,
            draining: decoder.bool()?,
        })
    }
}

/// Appends a load report.
pub fn append_load_report(out: &mut Vec<u8>, report: LoadReport) {
    append(out, Kind::LoadReport, |encoder| {
        encoder.u32(report.in_flight);
        encoder.u32(report.latency_us);
        encoder.u16(report.limit_permille);
        encoder.bool(report.draining);
    });
}
