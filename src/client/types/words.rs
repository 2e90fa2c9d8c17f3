//! The words of the bank that have a fixed set of values, each with one upper-case name.

/// Declares an enum whose values have one upper-case name each, as text, JSON and proto show them.
macro_rules! named_enum {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant,)+ }

        impl $name {
            /// Every value, in the order of the proto.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The name shown to people and programs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

named_enum! {
    /// How fresh a read must be, or was.
    Consistency {
        /// Everything acknowledged before the call.
        Linearizable = "LINEARIZABLE",
        /// At least what the session has seen.
        Session = "SESSION",
        /// What the replica has at once.
        Stale = "STALE",
    }
}

named_enum! {
    /// Whether an account takes operations.
    AccountState {
        /// It takes operations.
        Open = "OPEN",
        /// Nothing may be taken, added or reserved.
        Frozen = "FROZEN",
        /// As frozen, and its balance is zero.
        Closed = "CLOSED",
        /// A state that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// What became of a hold.
    HoldState {
        /// It reserves money.
        Active = "ACTIVE",
        /// Its money was taken, all or part.
        Captured = "CAPTURED",
        /// Its money was let go.
        Released = "RELEASED",
        /// Its time was over.
        Expired = "EXPIRED",
        /// A state that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// What became of a transfer.
    TransferState {
        /// It is decided that the money moves.
        Committed = "COMMITTED",
        /// Not decided; the payer's money is reserved.
        Pending = "PENDING",
        /// No money moved, and none will.
        Aborted = "ABORTED",
        /// A state that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// What happens to a transfer between branches, in this order.
    TransferStep {
        /// The paying branch reserved the money, or moved it when both accounts are its own.
        Begin = "BEGIN",
        /// The receiving branch voted.
        Prepare = "PREPARE",
        /// The money moved.
        Commit = "COMMIT",
        /// No money moves.
        Abort = "ABORT",
        /// The paying branch knows that the receiving branch has it.
        Close = "CLOSE",
        /// A step that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// Which side of a transfer a branch is.
    TransferSide {
        /// Both accounts are there.
        Both = "BOTH",
        /// It pays.
        Paying = "PAYING",
        /// It receives.
        Receiving = "RECEIVING",
        /// A side that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// The kind of a command.
    Kind {
        /// An account is opened.
        Open = "OPEN",
        /// Money is added.
        Deposit = "DEPOSIT",
        /// Money is taken.
        Withdraw = "WITHDRAW",
        /// Interest is added.
        Interest = "INTEREST",
        /// Money moves between two accounts.
        Transfer = "TRANSFER",
        /// An account is frozen, closed or opened again.
        SetState = "SET_STATE",
        /// Money is reserved.
        Hold = "HOLD",
        /// Reserved money is taken.
        Capture = "CAPTURE",
        /// Reserved money is let go.
        Release = "RELEASE",
        /// Reserved money is let go because the time of its hold is over.
        Expire = "EXPIRE",
        /// A transfer to another branch begins.
        TransferBegin = "TRANSFER_BEGIN",
        /// A transfer to another branch is decided: the money leaves the account.
        TransferCommit = "TRANSFER_COMMIT",
        /// A transfer to another branch is given up.
        TransferAbort = "TRANSFER_ABORT",
        /// The other branch has the outcome of a transfer.
        TransferClose = "TRANSFER_CLOSE",
        /// Another branch asks whether an account can receive.
        CreditPrepare = "CREDIT_PREPARE",
        /// Money of another branch reaches the account.
        CreditCommit = "CREDIT_COMMIT",
        /// Money of another branch does not come.
        CreditAbort = "CREDIT_ABORT",
        /// A kind that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// What happened to a request id.
    OperationState {
        /// It was executed.
        Executed = "EXECUTED",
        /// It was refused, every command of it.
        Refused = "REFUSED",
        /// It has not been applied so far.
        NeverSeen = "NEVER_SEEN",
        /// It is older than the ids the bank remembers.
        Forgotten = "FORGOTTEN",
        /// A state that this client does not know; the server is newer.
        Unknown = "UNKNOWN",
    }
}

named_enum! {
    /// The order of a statement.
    EntryOrder {
        /// Newest first.
        NewestFirst = "NEWEST_FIRST",
        /// Oldest first.
        OldestFirst = "OLDEST_FIRST",
    }
}

named_enum! {
    /// What the server says of its health.
    Health {
        /// It takes calls.
        Serving = "SERVING",
        /// It is starting or stopping.
        NotServing = "NOT_SERVING",
    }
}

named_enum! {
    /// What a replica is in its branch.
    ReplicaRole {
        /// It orders the writes.
        Leader = "LEADER",
        /// It follows and votes.
        Follower = "FOLLOWER",
        /// It looks for votes because it hears no leader.
        Candidate = "CANDIDATE",
        /// It follows without a vote.
        Learner = "LEARNER",
        /// It has stopped.
        Stopped = "STOPPED",
        /// It was taken out of the branch; only it says so itself.
        Removed = "REMOVED",
        /// It does not answer; its figures are zero.
        Unreachable = "UNREACHABLE",
        /// A role of a newer server.
        Unknown = "UNKNOWN",
    }
}
