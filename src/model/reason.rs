//! The error catalogue: every refusal has one reason, and every reason one meaning at every face.

/// How a reason is told to callers of gRPC. The numbers are those of `google.rpc.Code`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum Code {
    /// The call is wrong whatever the state of the bank.
    InvalidArgument = 3,
    /// The deadline passed and the outcome is unknown.
    DeadlineExceeded = 4,
    /// What the call names does not exist.
    NotFound = 5,
    /// What the call would create exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit is reached; later it may work.
    ResourceExhausted = 8,
    /// A rule refuses the call in the present state.
    FailedPrecondition = 9,
    /// A value would leave its range.
    OutOfRange = 11,
    /// The server does not know this call.
    Unimplemented = 12,
    /// Our fault.
    Internal = 13,
    /// The system cannot answer now.
    Unavailable = 14,
}

/// The exit codes of `bank-client`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Our bug.
    Bug = 1,
    /// Fix the call.
    FixCall = 2,
    /// Nothing happened, try again.
    TryAgain = 3,
    /// Refused by a rule.
    Refused = 4,
    /// Not found.
    NotFound = 5,
    /// The outcome is unknown; repeating with the same request id is safe.
    Unknown = 6,
    /// Not allowed.
    NotAllowed = 7,
    /// A check said no.
    CheckFailed = 8,
    /// Interrupted.
    Interrupted = 130,
}

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal, $code:ident, $http:literal, $exit:ident, $explanation:literal;)+) => {
        /// Why a call was refused or not answered. Closed: a new reason needs a row here and nowhere else.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the catalogue.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// The stable name, as `ErrorInfo.reason` carries it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text,)+ }
            }

            /// The gRPC code.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Reason::$variant => Code::$code,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn http(self) -> u16 {
                match self { $(Reason::$variant => $http,)+ }
            }

            /// The exit code of `bank-client`.
            #[must_use]
            pub fn exit(self) -> Exit {
                match self { $(Reason::$variant => Exit::$exit,)+ }
            }

            /// What it means and what to do, for `bank-client errors`.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self { $(Reason::$variant => $explanation,)+ }
            }
        }
    };
}

catalogue! {
    /// The amount field is empty.
    AmountMissing = "AMOUNT_MISSING", InvalidArgument, 400, FixCall,
        "The call needs an amount and got none. Give one, like 12.34.";
    /// The amount is not a plain decimal.
    AmountSyntax = "AMOUNT_SYNTAX", InvalidArgument, 400, FixCall,
        "An amount is ASCII digits with at most one point between digits: no sign, exponent, blank or separator. Write it like 12.34.";
    /// More than two decimals.
    AmountPrecision = "AMOUNT_PRECISION", InvalidArgument, 400, FixCall,
        "An amount has at most two decimals. The bank never rounds what you send; round it yourself and send it again.";
    /// Zero or less.
    AmountNotPositive = "AMOUNT_NOT_POSITIVE", InvalidArgument, 400, FixCall,
        "An amount must be more than zero. To take money out, use a withdrawal or a transfer.";
    /// Not a rate of more than 0 and at most 100 percent.
    RateOutOfRange = "RATE_OUT_OF_RANGE", InvalidArgument, 400, FixCall,
        "An interest rate is a percentage of more than 0 and at most 100 with up to four decimals, like 2.5.";
    /// Not an account reference.
    AccountSyntax = "ACCOUNT_SYNTAX", InvalidArgument, 400, FixCall,
        "An account is a number from 1 to 999999999999, or BRANCH/NUMBER for an account of a named branch.";
    /// An account name with more than 64 characters.
    NameTooLong = "NAME_TOO_LONG", InvalidArgument, 400, FixCall,
        "An account name has at most 64 characters. Shorten it.";
    /// An account name with characters that could deceive a screen.
    NameSyntax = "NAME_SYNTAX", InvalidArgument, 400, FixCall,
        "An account name has visible characters only, of any script, and no blank at either end. Joiners stand between two characters that they join; controls, bidirectional marks, tags and unassigned characters are refused.";
    /// More than 8,192 commands in a batch.
    BatchTooLarge = "BATCH_TOO_LARGE", InvalidArgument, 400, FixCall,
        "A batch has at most 8192 commands. Split it; nothing of it was executed.";
    /// The page token is damaged or belongs to another query.
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, 400, FixCall,
        "A page token goes with the exact query that returned it. Repeat that query, or start again without a token.";
    /// The request id is not 1 to 64 printable characters, or claims to be made in the future.
    RequestIdInvalid = "REQUEST_ID_INVALID", InvalidArgument, 400, FixCall,
        "A request id is 1 to 64 printable ASCII characters without blanks; a UUIDv7 must not be made more than five minutes ahead of the bank's clock. Correct the id, or the clock of the machine that made it.";
    /// Another field of the call is wrong; the message names it.
    ArgumentInvalid = "ARGUMENT_INVALID", InvalidArgument, 400, FixCall,
        "A field of the call has a value that it cannot have. The message names the field and says what it takes.";
    /// A scenario file that cannot be read or played.
    ScenarioInvalid = "SCENARIO_INVALID", InvalidArgument, 400, FixCall,
        "A scenario file, or a trace to draw, cannot be understood. The message names the line and the JSON path, and says what is expected there.";
    /// The same request id came with other content.
    RequestReused = "REQUEST_REUSED", InvalidArgument, 422, FixCall,
        "This request id already belongs to other work. Use a new id for new work; `operation ID` shows what the id did.";
    /// The request id is older than what the bank remembers.
    RequestExpired = "REQUEST_EXPIRED", InvalidArgument, 422, FixCall,
        "The request id is from a time whose ids are forgotten, so the bank cannot tell whether it was executed and will not execute it. Look at the account's statement before using a new id.";
    /// No account has this number.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound, 404, NotFound,
        "No account of this branch has this number. `accounts` lists those that exist, `open` makes one.";
    /// No open or remembered transfer has this name.
    TransferNotFound = "TRANSFER_NOT_FOUND", NotFound, 404, NotFound,
        "The branch knows no transfer with this name. `transfers` lists those it knows.";
    /// No open or remembered hold has this name.
    HoldNotFound = "HOLD_NOT_FOUND", NotFound, 404, NotFound,
        "No open hold has this number; one that ended long ago is forgotten. `holds` lists the open ones of an account.";
    /// The branch is not known here.
    BranchUnknown = "BRANCH_UNKNOWN", NotFound, 404, NotFound,
        "This server does not serve the named branch and knows no way to it. Check the name before the slash.";
    /// The caller may not use this server so.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, 403, NotAllowed,
        "The server does not take this call from where it comes: it was made for a host that is not this server's, or by a page of another site. The message says which.";
    /// The requested account number is in use.
    AccountExists = "ACCOUNT_EXISTS", AlreadyExists, 409, Refused,
        "The requested account number is in use. Ask for another one, or for none to get the next free number.";
    /// Less is available than the command takes.
    InsufficientFunds = "INSUFFICIENT_FUNDS", FailedPrecondition, 409, Refused,
        "The account has less available than the operation takes. Available is balance less held money plus the overdraft limit.";
    /// The account is frozen.
    AccountFrozen = "ACCOUNT_FROZEN", FailedPrecondition, 409, Refused,
        "The account is frozen and takes no operations. What was promised before still takes place; `unfreeze` lets it take operations again.";
    /// The account is closed.
    AccountClosed = "ACCOUNT_CLOSED", FailedPrecondition, 409, Refused,
        "The account is closed and takes no operations. `reopen` opens it again.";
    /// Only an account without money can be closed.
    BalanceNotZero = "BALANCE_NOT_ZERO", FailedPrecondition, 409, Refused,
        "Only an account whose balance is zero can be closed. Withdraw or transfer what it has, or pay what it owes.";
    /// Only an account without holds and open transfers can be closed.
    AccountInUse = "ACCOUNT_IN_USE", FailedPrecondition, 409, Refused,
        "An account with open holds or transfers cannot be closed. Let them end first.";
    /// The hold has ended.
    HoldFinal = "HOLD_FINAL", FailedPrecondition, 409, Refused,
        "The hold has ended: it was captured, released, or its time is over. That never changes; place a new one.";
    /// The transfer has its decision.
    TransferFinal = "TRANSFER_FINAL", FailedPrecondition, 409, Refused,
        "The transfer is committed or aborted, and a final state never changes. `transfer-show` tells which.";
    /// Two messages about one transfer differ.
    TransferMismatch = "TRANSFER_MISMATCH", FailedPrecondition, 409, Refused,
        "Two messages about one transfer say different things, so the later one was refused and nothing changed. Check what the other branch runs.";
    /// An operator aborted the transfer.
    TransferAborted = "TRANSFER_ABORTED", FailedPrecondition, 409, Refused,
        "An operator aborted the transfer before it was decided. No money moved; ask why before you try again.";
    /// A transfer from an account to itself.
    SameAccount = "SAME_ACCOUNT", FailedPrecondition, 409, Refused,
        "A transfer needs two different accounts.";
    /// Another command of the same atomic batch was refused.
    BatchAborted = "BATCH_ABORTED", FailedPrecondition, 409, Refused,
        "The batch was sent as atomic and another of its commands was refused, so nothing of it was executed. Correct the refused command, whose position the message names.";
    /// The session is of another life of the ledger, or ahead of it.
    SessionUnknown = "SESSION_UNKNOWN", FailedPrecondition, 409, Refused,
        "The session token is not from the present life of this ledger: the data was lost or restored since. Start a new session, and check what you relied on.";
    /// The change of replicas cannot be made.
    ChangeRefused = "CHANGE_REFUSED", FailedPrecondition, 409, Refused,
        "The replicas of the branch cannot be changed so. The message says why; `status` shows how they are.";
    /// A balance would leave the range of money.
    AmountOverflow = "AMOUNT_OVERFLOW", OutOfRange, 422, Refused,
        "An amount or a resulting balance would be more than 999999999999.99 in size. Nothing was changed.";
    /// The journal no longer holds what was asked for.
    JournalTrimmed = "JOURNAL_TRIMMED", OutOfRange, 410, Refused,
        "The journal no longer holds records that old. The message names the first sequence it holds; start from there.";
    /// No leader is known.
    NoLeader = "NO_LEADER", Unavailable, 503, TryAgain,
        "The branch has no leader at the moment. Nothing happened; try again with the same request id.";
    /// No majority answers.
    NoQuorum = "NO_QUORUM", Unavailable, 503, TryAgain,
        "A majority of the branch's replicas does not answer. Nothing happened; try again with the same request id.";
    /// The replica has not reached what the session has seen.
    ReplicaBehind = "REPLICA_BEHIND", Unavailable, 503, TryAgain,
        "This replica has not yet applied what the session has seen. Try again, or ask another replica.";
    /// The server is starting.
    Starting = "STARTING", Unavailable, 503, TryAgain,
        "The server is not ready yet. Nothing happened; try again.";
    /// The server is stopping.
    Stopping = "STOPPING", Unavailable, 503, TryAgain,
        "The server is stopping. Nothing happened; try again with the same request id.";
    /// The server could not be reached.
    Unreachable = "UNREACHABLE", Unavailable, 503, TryAgain,
        "No server answered at the address. Nothing was sent. Check that bank-server runs and that --server names it.";
    /// The server has more to do than it can take.
    Overloaded = "OVERLOADED", ResourceExhausted, 429, TryAgain,
        "The server has more work than it can take. Nothing happened; wait as long as the answer says and try again with the same request id.";
    /// The branch has as many open holds or transfers as it can take.
    TooManyOpen = "TOO_MANY_OPEN", ResourceExhausted, 429, TryAgain,
        "The branch has as many open holds or transfers as it can take. Nothing happened; try again when some have ended.";
    /// The leader's disk is full.
    StorageFull = "STORAGE_FULL", ResourceExhausted, 507, TryAgain,
        "The disk of the branch's leader is full. Nothing happened and reads still work; try again with the same request id when there is space.";
    /// The message is larger than the call takes.
    MessageTooLarge = "MESSAGE_TOO_LARGE", OutOfRange, 413, FixCall,
        "The message is larger than this call takes: 256 KiB, or 4 MiB for a batch. Nothing of it was executed; split it.";
    /// The deadline passed before the answer was known.
    OutcomeUnknown = "OUTCOME_UNKNOWN", DeadlineExceeded, 504, Unknown,
        "The deadline passed after the operation was handed to the log: it may or may not take effect. Repeat it with the same request id, which is safe, or look with `operation ID`.";
    /// The server does not offer this call.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, 501, FixCall,
        "The server does not know this call. It may be older than the client.";
    /// A fault of the program.
    Internal = "INTERNAL", Internal, 500, Bug,
        "The program made a mistake. Please report it with the message.";
}

impl Reason {
    /// The reason with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_and_every_reason_says_what_to_do() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.as_str()), Some(*reason));
            assert!(reason.explanation().ends_with('.'), "{reason:?}");
        }
        assert_eq!(Reason::named("NO_SUCH_REASON"), None);
    }
}
