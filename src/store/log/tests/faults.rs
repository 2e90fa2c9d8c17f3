//! Power cuts, failing calls, and disks that lie.

use super::*;
use crate::model::planted::{Fault, with_fault};
use crate::store::faulty_disk::Faults;

/// How a life ended.
struct Ended {
    /// What was acknowledged.
    view: View,
    /// What a later start may show: the same, or more of the step that was interrupted.
    possible: Vec<View>,
    failed: bool,
}

impl Ended {
    fn check(&self, log: &Log, what: &str) -> View {
        let found = View::of(log);
        assert!(self.possible.contains(&found), "{what}: acknowledged {:?}, found {found:?}", self.view);
        found
    }
}

/// Goes through a life until something fails, and makes sure that nothing is acknowledged after that.
fn live(disk: &FaultyDisk, log: &Log, steps: &[Step], so_far: View) -> Ended {
    let mut view = so_far;
    // What does not wait for the disk may be on it or not until something does.
    let mut possible = vec![view.clone()];
    let mut steps = steps.iter();
    while let Some(step) = steps.next() {
        let result = perform(log, step);
        let lazy = matches!(step, Step::Purge(_) | Step::Commit(_));
        let after: Vec<_> = possible.iter().flat_map(|view| view.after(step)).collect();
        if result.is_err() {
            possible.extend(after);
            for step in steps.filter(|step| !matches!(step, Step::Purge(_) | Step::Commit(_))) {
                assert!(perform(log, step).is_err(), "a log that failed once fails for good");
            }
            return Ended { view, possible, failed: true };
        }
        view = view.after(step).pop().unwrap();
        possible = if lazy { [possible, after].concat() } else { vec![view.clone()] };
    }
    let failed = disk.calls() > 0 && now(log.close()).is_err();
    Ended { view, possible, failed }
}

/// What may happen next to a log that shows this: enough for another segment.
fn more(view: &View) -> Vec<Step> {
    let next = view.ids.last().or(view.purged.as_ref()).map_or(0, |last| last.index + 1);
    let entries = |range: std::ops::Range<u64>| range.map(|index| batch(9, index, 30)).collect();
    vec![Step::Append(entries(next..next + 3)), Step::Vote(9), Step::Append(entries(next + 3..next + 9))]
}

#[test]
fn whatever_call_fails_what_was_acknowledged_survives() {
    let steps = life();
    let calls = {
        let disk = FaultyDisk::new(0);
        let log = open(&disk).unwrap();
        disk.set_faults(Faults::default());
        assert!(!live(&disk, &log, &steps, View::default()).failed);
        disk.calls()
    };
    assert!(calls > 30, "{calls}");
    // The last call is the mark after the close, for which nobody waits.
    for fail_call in 1..calls {
        let started = FaultyDisk::new(fail_call);
        let log = open(&started).unwrap();
        started.set_faults(Faults { fail_call: Some(fail_call), ..Faults::default() });
        let ended = live(&started, &log, &steps, View::default());
        assert!(ended.failed, "call {fail_call} is on nobody's way");
        for (how, after) in [
            ("kill", started.copy().kill()),
            ("power lost", started.copy().crash_hard()),
            ("power lost, torn", started.copy().crash()),
        ] {
            let log = open(&after).unwrap_or_else(|error| panic!("call {fail_call}, {how}: {error}"));
            let found = ended.check(&log, &format!("call {fail_call}, {how}"));
            drop(log);
            // What it shows it promises, so it must show it again.
            let after = after.crash_hard();
            let again = open(&after).unwrap();
            assert_eq!(View::of(&again), found, "call {fail_call}, {how}");
            // And use it.
            drop(again);
            let after = after.kill();
            let log = open(&after).unwrap();
            let ended = live(&after, &log, &more(&found), found);
            ended.check(&open(&after.crash_hard()).unwrap(), &format!("call {fail_call}, {how}, used"));
        }
    }
}

#[test]
fn a_start_that_fails_changes_nothing() {
    let (disk, view) = lived(&life());
    let calls = {
        let disk = disk.copy();
        disk.set_faults(Faults::default());
        drop(open(&disk).unwrap());
        disk.calls()
    };
    for fail_call in 1..=calls {
        let disk = disk.copy();
        disk.set_faults(Faults { fail_call: Some(fail_call), ..Faults::default() });
        let _ = open(&disk);
        for after in [disk.copy().kill(), disk.copy().crash_hard(), disk.copy().crash()] {
            assert_eq!(View::of(&open(&after).unwrap()), view, "call {fail_call}");
        }
    }
}

#[test]
fn a_start_may_fail_wherever_the_life_before_it_failed() {
    let steps = life();
    for fail_call in 1.. {
        let started = FaultyDisk::new(fail_call);
        let log = open(&started).unwrap();
        started.set_faults(Faults { fail_call: Some(fail_call), ..Faults::default() });
        let ended = live(&started, &log, &steps, View::default());
        if !ended.failed {
            break;
        }
        for fail_start in 1.. {
            let disk = started.copy().crash();
            disk.set_faults(Faults { fail_call: Some(fail_start), ..Faults::default() });
            let failed = open(&disk).is_err();
            for after in [disk.copy().kill(), disk.copy().crash_hard()] {
                let what = format!("call {fail_call}, then {fail_start}");
                let log = open(&after).unwrap_or_else(|error| panic!("{what}: {error}"));
                ended.check(&log, &what);
            }
            if !failed && disk.calls() < fail_start {
                break;
            }
        }
    }
}

#[test]
fn a_first_start_that_fails_can_be_repeated() {
    let calls = {
        let disk = FaultyDisk::new(0);
        drop(open(&disk).unwrap());
        disk.calls()
    };
    for fail_call in 1..=calls {
        let disk = FaultyDisk::new(fail_call);
        disk.set_faults(Faults { fail_call: Some(fail_call), ..Faults::default() });
        let _ = open(&disk);
        for after in [disk.copy().kill(), disk.copy().crash_hard(), disk.copy().crash()] {
            let log = open(&after).unwrap_or_else(|error| panic!("call {fail_call}: {error}"));
            assert_eq!(View::of(&log), View::default());
            perform(&log, &Step::Vote(1)).unwrap();
        }
    }
}

#[test]
fn after_a_power_cut_at_any_moment_the_acknowledged_state_is_there() {
    for seed in 0..300 {
        let disk = FaultyDisk::new(seed);
        let mut view = View::default();
        let log = open(&disk).unwrap();
        let steps = life();
        let cut = usize::try_from(seed).unwrap() % steps.len();
        let ended = live(&disk, &log, &steps[..cut], view.clone());
        let disk = disk.crash();
        view = ended.check(&open(&disk).unwrap(), &format!("seed {seed}"));
        // And it goes on from there.
        let disk = disk.kill();
        let log = open(&disk).unwrap();
        let ended = live(&disk, &log, &more(&view), view);
        ended.check(&open(&disk.crash()).unwrap(), &format!("seed {seed}, second life"));
    }
}

#[test]
fn a_flush_that_fails_once_and_then_lies_costs_nothing_that_was_acknowledged() {
    let steps = life();
    for fail_flush in 1.. {
        let disk = FaultyDisk::new(fail_flush);
        let log = open(&disk).unwrap();
        disk.set_faults(Faults { fail_flush: Some(fail_flush), ..Faults::default() });
        let ended = live(&disk, &log, &steps, View::default());
        if !ended.failed {
            assert!(fail_flush > 10, "{fail_flush}");
            break;
        }
        // The process ends and comes back on the same machine: the files show what the disk does not have.
        let disk = disk.kill();
        let found = ended.check(&open(&disk).unwrap(), &format!("flush {fail_flush}"));
        let after = open(&disk.crash_hard()).unwrap();
        assert_eq!(
            View::of(&after),
            found,
            "flush {fail_flush}: the start promised what the disk did not have"
        );
    }
}

#[test]
fn a_disk_whose_flushes_all_lie_is_found_out_or_shows_an_earlier_state() {
    let steps = life();
    let mut refused = 0;
    for seed in 0..100 {
        let disk = FaultyDisk::new(seed);
        let log = open(&disk).unwrap();
        disk.set_faults(Faults { flush_lies: true, ..Faults::default() });
        let mut earlier = vec![View::default()];
        for step in &steps {
            perform(&log, step).unwrap();
            let next: Vec<_> = earlier.last().unwrap().after(step);
            earlier.extend(next);
        }
        match open(&disk.crash()) {
            Ok(log) => assert!(earlier.contains(&View::of(&log)), "seed {seed}"),
            Err(DirectoryError::Damaged { .. } | DirectoryError::Missing { .. }) => refused += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_full_disk_is_noticed_while_there_is_room_for_what_is_in_flight() {
    let disk = FaultyDisk::new(1);
    let log = open(&disk).unwrap();
    let used: usize = disk.list(recovery::FOLDER).unwrap().len() * usize::try_from(SMALL).unwrap();
    disk.set_faults(Faults { capacity: Some(used as u64 + 1_500), ..Faults::default() });
    let mut index = 1;
    while log.has_room() {
        perform(&log, &Step::Append(vec![batch(1, index, 4)])).unwrap();
        index += 1;
        assert!(index < 1_000, "it never fills up");
    }
    perform(&log, &Step::Append(vec![batch(1, index, 4)])).unwrap();
    perform(&log, &Step::Vote(9)).unwrap();
    assert_eq!(View::of(&log).ids.len() as u64, index);
    disk.set_faults(Faults::default());
    // Asking tries again, for the next who asks.
    let _ = log.has_room();
    assert!(log.has_room());
    perform(&log, &Step::Append((index + 1..index + 100).map(|index| batch(1, index, 4)).collect())).unwrap();
}

/// Bugs of this room that the tests above see.
#[test]
fn planted_faults_are_seen() {
    let seen_by: [(Fault, fn()); 2] = [
        (Fault::NameNotFlushed, after_a_power_cut_at_any_moment_the_acknowledged_state_is_there),
        (Fault::FlushErrorIgnored, a_flush_that_fails_once_and_then_lies_costs_nothing_that_was_acknowledged),
    ];
    for (fault, test) in seen_by {
        let seen = std::panic::catch_unwind(|| with_fault(Some(fault), test)).is_err();
        assert!(seen, "{fault:?} is not seen");
    }
}
