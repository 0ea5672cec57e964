//! Every limit of the public API and of the ledger's vocabulary, and how they hang together.

/// Body of one public request (413 `body_too_large` above it).
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Body of one `batch` request.
pub const BATCH_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 32;
/// `Idempotency-Key`: printable ASCII.
pub const KEY_BYTES_MAX: usize = 255;
/// Account id: `A–Z a–z 0–9 . _ : -`.
pub const ACCOUNT_ID_BYTES_MAX: usize = 128;
/// Name of a service or a node: `a–z 0–9 -`.
pub const NAME_BYTES_MAX: usize = 32;
/// `reference` of a transaction.
pub const REFERENCE_BYTES_MAX: usize = 256;
/// `metadata` of an account or transaction, as compact JSON text.
pub const METADATA_BYTES_MAX: usize = 4 * 1024;
/// `X-Request-Id`, ours or a client's.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Rows of one page.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows of a page when the client names no limit.
pub const PAGE_ROWS_DEFAULT: u32 = 50;
/// Partitions of one service: their number fits the 12 bits that an id has for it.
pub const PARTITIONS_MAX: u16 = 4_096;
/// Commands in one journal record, and transactions of one `batch` request: the place within
/// either fits 16 bits.
pub const BATCH_COMMANDS_MAX: usize = 8_192;
/// Longest an idempotency key waits for its first answer, and so the longest a minted key must be
/// remembered, in seconds.
pub const DEADLINE_SECONDS_MAX: u32 = 30;
/// Longest that a hold may last, in seconds: a leap year.
pub const HOLD_SECONDS_MAX: u32 = 366 * 86_400;
/// How long a hold lasts when the client does not say, in seconds: seven days.
pub const HOLD_SECONDS_DEFAULT: u32 = 7 * 86_400;
/// Transfers on their way that one question is answered with.
pub const PENDING_ROWS_MAX: usize = 256;
/// Client keys are remembered for at least this many hours of journal time.
pub const KEY_HOURS_MIN: u32 = 24;

const _: () = {
    // A full page of the longest rows still fits the longest message of the trunk (8 MiB).
    assert!((PAGE_ROWS_MAX as usize) * (METADATA_BYTES_MAX + 2 * 1024) < 8 * 1024 * 1024);
    assert!(BATCH_COMMANDS_MAX <= u16::MAX as usize);
    // The outcomes of a full batch fit it too: each repeats what its item said and adds to that.
    assert!(BATCH_BODY_BYTES_MAX + BATCH_COMMANDS_MAX * 512 <= 8 * 1024 * 1024);
};
