//! Bugs that systems of this kind really had, planted one at a time to see a test fail.
//!
//! Invariant: outside tests [`planted`] is the constant `false`, and what it guards is not compiled. It is asked at the
//! exact place of each bug. A fault is planted for the thread that plants it, so tests beside it are not touched.

/// A bug to plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// An append is called durable when it is handed over.
    AckBeforeFlush,
    /// A vote is given before it is on the disk.
    VoteNotFlushed,
    /// A new segment counts before its name is on the disk.
    NameNotFlushed,
    /// A flush that failed is taken for one that did not.
    FlushErrorIgnored,
    /// A snapshot gets its name before it is on the disk.
    SnapshotNotFlushed,
    /// A snapshot leaves out which requests were executed.
    RequestsNotInSnapshot,
    /// A snapshot leaves out up to which time requests were forgotten.
    HorizonNotInSnapshot,
    /// A session token says one operation less than its reply shows.
    TokenTooLow,
    /// A payer tells that its oldest open transfer is closed.
    WatermarkTooHigh,
    /// A receiver forgets the credit at the watermark, which the payer may still ask about.
    CreditForgottenEarly,
    /// A snapshot is saved with an applied position that is not its own.
    AppliedSavedApart,
    /// A snapshot from a peer moves the position and not the accounts.
    InstalledHalfWay,
    /// Who was elected answers reads before it has applied what was acknowledged before.
    ReadsBeforeReplay,
    /// A leader answers reads without asking whether it still leads.
    DeposedLeaderReads,
    /// A leader that restarts goes on leading.
    LeaderRestored,
    /// A session is compared with what was received, not with what was applied.
    SessionSeesReceived,
    /// Proposals that another replica passes on are taken in twice.
    ForwardedTwice,
    /// The ledger does not look up requests.
    RequestsNotRecognised,
    /// An outcome that is not known is called a refusal.
    UnknownIsRefusal,
    /// Replicas do not compare their digests.
    DigestsNotCompared,
    /// The time of a batch is the leader's clock, wherever that has jumped to.
    TimeGoesBack,
    /// A transfer begins and the payer can still spend the money.
    PrepareReservesNothing,
    /// A snapshot leaves out what was decided.
    DecisionNotInSnapshot,
    /// A transfer is forgotten when it is decided, though the other branch does not know.
    DecisionForgotten,
    /// An abort that comes before its prepare leaves no trace.
    LatePrepareAfterAbort,
    /// The second message that a transfer takes place posts it again.
    CommitPostedTwice,
    /// The other branch is told that a transfer takes place before the payer's log has it.
    DecisionInMemory,
    /// What arrives in the name of the payer is obeyed without asking the payer.
    MessageNotConfirmed,
    /// A branch that prepared a credit forgets it when the payer does not answer.
    ParticipantGivesUp,
    /// Money is held on when its hold or transfer has ended.
    HoldNotReleased,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
    static SMALL_LIMITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A limit: the usual one, or the small one in a test that wants a short life to reach it.
#[cfg(test)]
pub(crate) fn limit(usual: usize, small: usize) -> usize {
    if SMALL_LIMITS.get() { small } else { usual }
}

/// A limit: the usual one outside tests.
#[cfg(not(test))]
pub(crate) const fn limit(usual: usize, _small: usize) -> usize {
    usual
}

/// Makes limits small for this thread while `work` runs.
#[cfg(test)]
pub(crate) fn with_small_limits<T>(work: impl FnOnce() -> T) -> T {
    struct Restored;

    impl Drop for Restored {
        fn drop(&mut self) {
            SMALL_LIMITS.set(false);
        }
    }

    SMALL_LIMITS.set(true);
    let _restored = Restored;
    work()
}

/// Whether this fault is planted.
#[cfg(test)]
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this fault is planted: never outside tests.
#[cfg(not(test))]
pub(crate) const fn planted(_fault: Fault) -> bool {
    false
}

/// Plants a fault, or none, for this thread while `work` runs.
#[cfg(test)]
pub(crate) fn with_fault<T>(fault: Option<Fault>, work: impl FnOnce() -> T) -> T {
    struct Removed;

    impl Drop for Removed {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    PLANTED.set(fault);
    let _removed = Removed;
    work()
}
