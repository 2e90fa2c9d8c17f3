//! Bugs that systems of this kind really had, planted one at a time: some life must see each of them.

use super::{Left, life};
use crate::model::planted::{Fault, with_fault};

/// How many lives may pass before one sees the fault.
const LIVES: u64 = 60;

/// Goes through lives until one of them sees the fault.
fn seen(fault: Fault, as_what: &[&str]) {
    let see = |seed| {
        let Left { wrong, .. } = with_fault(Some(fault), || life(seed));
        wrong.map(|wrong| (seed, wrong))
    };
    let Some((seed, wrong)) = (0..LIVES).find_map(see) else { panic!("no life saw {fault:?}") };
    println!("{fault:?} was seen in life {seed}: {wrong}");
    assert!(as_what.iter().any(|part| wrong.contains(part)), "{fault:?} was seen as {wrong}");
}

macro_rules! faults {
    ($($name:ident: $fault:ident as $($what:literal)|+;)+) => {
        $(
            #[test]
            fn $name() {
                seen(Fault::$fault, &[$($what),+]);
            }
        )+
    };
}

faults! {
    an_acknowledgement_before_the_flush_is_seen: AckBeforeFlush as "was acknowledged";
    a_segment_whose_name_is_not_flushed_is_seen: NameNotFlushed as "missing" | "damaged" | "on";
    a_flush_error_that_is_ignored_is_seen: FlushErrorIgnored as "was acknowledged" | "damaged";
    a_snapshot_that_is_not_flushed_is_seen: SnapshotNotFlushed as "does not start again";
    requests_that_are_not_in_the_snapshot_are_seen: RequestsNotInSnapshot as "another digest" | "took effect twice" | "not known";
    an_applied_position_that_is_saved_apart_is_seen: AppliedSavedApart as "another digest" | "took effect twice";
    a_snapshot_that_is_installed_half_way_is_seen: InstalledHalfWay as "not in its ledger";
    reads_before_the_replay_are_seen: ReadsBeforeReplay as "not known" | "came after" | "saw less" | "no order";
    reads_of_a_deposed_leader_are_seen: DeposedLeaderReads as "not known" | "came after" | "saw less" | "no order";
    // Having lost the end of its log, such a leader gives the same log ids to other entries; followers that have the
    // lost ones cannot tell, and apply them. Only the digests say so, often before any client sees it.
    a_leader_that_goes_on_after_a_restart_is_seen: LeaderRestored as "another digest" | "not known" | "came after" | "saw less" | "no order";
    a_session_compared_with_what_was_received_is_seen: SessionSeesReceived as "saw less" | "another balance";
    proposals_that_are_taken_in_twice_are_seen: ForwardedTwice as "took effect twice";
    requests_that_are_not_looked_up_are_seen: RequestsNotRecognised as "took effect twice";
    an_unknown_outcome_called_a_refusal_is_seen: UnknownIsRefusal as "was refused, and happened";
    a_time_that_goes_back_is_seen: TimeGoesBack as "the time goes back";
}
