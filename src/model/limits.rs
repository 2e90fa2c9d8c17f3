//! Limits that all replicas and all faces must agree on. A limit of one room stands in that room.

/// Most commands in one batch message.
pub const BATCH_COMMANDS: usize = 8_192;
/// Longest account name, in characters.
pub const NAME_CHARS: usize = 64;
/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES: usize = 64;
/// Longest branch name, in bytes.
pub const BRANCH_NAME_BYTES: usize = 32;
/// Longest time after which a hold ends by itself: a leap year.
pub const HOLD_LONGEST: std::time::Duration = std::time::Duration::from_secs(366 * 24 * 3_600);
/// Most branches in one session token.
pub const SESSION_BRANCHES: usize = 64;
/// Entries on a page when the caller names no size.
pub const PAGE_DEFAULT: usize = 50;
/// Most entries on a page; more is read as this.
pub const PAGE_MAX: usize = 1_000;
/// Largest message of a unary call that is not a batch, in bytes.
pub const UNARY_MESSAGE_BYTES: usize = 256 * 1024;
/// Largest message of ExecuteBatch and Submit, in bytes.
pub const BATCH_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// How far a UUIDv7 request id may be made ahead of the ledger's time: the clock skew that is taken for an
/// honest one, as in Kerberos (RFC 4120).
pub const REQUEST_AHEAD: std::time::Duration = std::time::Duration::from_secs(300);
