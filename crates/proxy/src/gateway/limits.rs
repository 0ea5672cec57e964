//! Limits of a gateway beyond those of the edge and the trunk.

use balance::LimitSettings;
use std::time::Duration;
use wire::frame::limits::{HEAD_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Requests that one worker has in flight. The floor is what the batches of the account nodes
/// still turn into throughput and not into waiting.
pub(super) const GATEWAY_LIMIT: LimitSettings =
    LimitSettings { min: 1_024, initial: 2_048, max: 16_384 };
/// Requests of one worker for one partition. A partition that answers nothing fills this and no
/// more: the others keep their room.
pub(super) const PARTITION_IN_FLIGHT_MAX: u32 = 512;
/// Entries on one statement.
pub(super) const STATEMENT_ENTRIES_MAX: usize = 10_000;
/// Bytes of one statement: with its head it fits a message of the trunk.
pub(super) const STATEMENT_BYTES_MAX: usize = 7 * 1024 * 1024;
/// Events of one partition that one question asks for.
pub(super) const EVENTS_ROWS_MAX: u32 = 500;
/// Clients that listen to events at one worker.
pub(super) const LISTENERS_MAX: usize = 64;
/// Transfers of one service that a gateway resumes at a time.
pub(super) const RESUMED_AT_ONCE_MAX: usize = 32;
/// How long a gateway goes on with a transfer that it resumes, before it looks again.
pub(super) const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// Repeats that a worker may make of the requests for a service: this share of those of the last
/// ten seconds, …
pub(super) const RETRY_SHARE_PERMILLE: u32 = 200;
/// … and so many in any second, so that what was in flight to a killed node is repeated also on a
/// quiet day.
pub(super) const RETRY_FLOOR_PER_SECOND: u32 = 32;

const _: () = assert!(STATEMENT_BYTES_MAX + HEAD_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(PARTITION_IN_FLIGHT_MAX * 2 <= GATEWAY_LIMIT.min);
