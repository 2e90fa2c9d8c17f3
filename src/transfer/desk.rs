//! What a driver has in hand: which transfers wait, travel or rest, for each branch that they go to.
//!
//! Invariant: a memory only. Losing it costs a look at the ledger; nothing is decided by it but how long somebody has
//! waited.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::STEPS;
use super::step::PATIENCE;
use crate::model::{BranchName, Sequence};
use crate::store::Runtime;

/// Most messages under way to one branch.
const FLIGHTS: usize = 4;
/// How long a branch is left alone after a message that did not arrive, the first time and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a transfer rests that came no further although the branch answered, the first time and at most.
const RESTS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(16));

/// Where a transfer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In the queue of its branch.
    Waiting,
    /// In a message, or in the log.
    Away,
    /// Until its rest is over and the ledger is looked at.
    Resting,
}

struct InHand<I> {
    since: I,
    place: Place,
    /// When its latest rest ends, and how long that is.
    rest: Option<(I, Duration)>,
}

struct Towards<I> {
    queue: VecDeque<Sequence>,
    flights: usize,
    pause: Option<(I, Duration)>,
}

impl<I: Copy + PartialOrd> InHand<I> {
    /// Whether it has rested long enough.
    fn is_rested(&self, now: I) -> bool {
        self.place == Place::Resting && self.rest.is_none_or(|(until, _)| until <= now)
    }
}

impl<I> Default for Towards<I> {
    fn default() -> Towards<I> {
        Towards { queue: VecDeque::new(), flights: 0, pause: None }
    }
}

/// Transfers on their way to one branch, each with how long it has been in hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    pub(super) to: BranchName,
    pub(super) transfers: Vec<(Sequence, Duration)>,
    /// Whether the branch is asked; otherwise only what can be decided without it is.
    pub(super) asking: bool,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Landed {
    pub(super) to: BranchName,
    pub(super) asking: bool,
    /// Whether the branch answered.
    pub(super) reached: bool,
    /// Those that have come further, with more to do.
    pub(super) onward: Vec<Sequence>,
    /// Those that have not come further.
    pub(super) stuck: Vec<Sequence>,
    /// Those that are closed.
    pub(super) closed: Vec<Sequence>,
}

/// The memory of a driver.
pub(super) struct Desk<R: Runtime> {
    in_hand: BTreeMap<Sequence, InHand<R::Instant>>,
    towards: BTreeMap<BranchName, Towards<R::Instant>>,
    newest: Sequence,
}

impl<R: Runtime> Desk<R> {
    pub(super) fn new() -> Desk<R> {
        Desk { in_hand: BTreeMap::new(), towards: BTreeMap::new(), newest: Sequence::ZERO }
    }

    /// The newest transfer that was taken in.
    pub(super) fn newest(&self) -> Sequence {
        self.newest
    }

    /// Takes in an open transfer, or lets one go on that rests.
    pub(super) fn take_in(&mut self, number: Sequence, to: &BranchName) {
        self.newest = self.newest.max(number);
        let queue = match self.in_hand.get_mut(&number) {
            None => {
                let here = InHand { since: R::now(), place: Place::Waiting, rest: None };
                self.in_hand.insert(number, here);
                &mut self.towards.entry(to.clone()).or_default().queue
            }
            Some(here) if here.is_rested(R::now()) => {
                here.place = Place::Waiting;
                &mut self.towards.entry(to.clone()).or_default().queue
            }
            Some(_) => return,
        };
        queue.push_back(number);
    }

    /// The batches that can leave now.
    pub(super) fn departures(&mut self) -> Vec<Batch> {
        let now = R::now();
        let Desk { in_hand, towards, .. } = self;
        let mut batches = Vec::new();
        for (to, towards) in towards {
            // A branch that did not answer gets one message at a time.
            let most = if towards.pause.is_some() { 1 } else { FLIGHTS };
            if towards.pause.is_some_and(|(until, _)| until > now) {
                continue;
            }
            while towards.flights < most && !towards.queue.is_empty() {
                let count = towards.queue.len().min(STEPS);
                let numbers: Vec<Sequence> = towards.queue.drain(..count).collect();
                towards.flights += 1;
                batches.push(Batch {
                    to: to.clone(),
                    transfers: send_away::<R>(in_hand, numbers),
                    asking: true,
                });
            }
        }
        batches
    }

    /// Transfers to branches that do not answer, which have waited for so long that something must be decided.
    pub(super) fn overdue(&mut self) -> Vec<Batch> {
        let now = R::now();
        let Desk { in_hand, towards, .. } = self;
        let mut batches = Vec::new();
        // Those whose branch is to be asked again stay, or nobody would be left who asks.
        let rests = |towards: &Towards<R::Instant>| towards.pause.is_some_and(|(until, _)| until > now);
        for (to, towards) in towards.iter_mut().filter(|(_, towards)| rests(towards)) {
            let is_due = |number: &Sequence| {
                in_hand.get(number).is_some_and(|here| waited::<R>(here.since) >= PATIENCE)
            };
            let (due, rest): (Vec<_>, Vec<_>) = towards.queue.drain(..).partition(is_due);
            towards.queue = rest.into();
            for numbers in due.chunks(STEPS) {
                let transfers = send_away::<R>(in_hand, numbers.to_vec());
                batches.push(Batch { to: to.clone(), transfers, asking: false });
            }
        }
        batches
    }

    /// Takes back what became of a batch.
    pub(super) fn land(&mut self, landed: Landed) {
        let Landed { to, asking, reached, onward, stuck, closed } = landed;
        let towards = self.towards.entry(to).or_default();
        if asking {
            towards.flights = towards.flights.saturating_sub(1);
            towards.pause = match (reached, towards.pause) {
                (true, _) => None,
                (false, None) => Some((R::now() + PAUSES.0, PAUSES.0)),
                (false, Some((_, last))) => {
                    let pause = (last * 2).min(PAUSES.1);
                    Some((R::now() + pause, pause))
                }
            };
        }
        for number in closed {
            self.in_hand.remove(&number);
        }
        // Those whose branch did not hear of them go on when it is asked again, the others when the ledger is
        // looked at again.
        let (waiting, resting) = if asking && !reached {
            (onward.into_iter().chain(stuck).collect(), Vec::new())
        } else {
            (onward, stuck)
        };
        for number in waiting {
            if let Some(here) = self.in_hand.get_mut(&number) {
                here.place = Place::Waiting;
                here.rest = None;
                towards.queue.push_back(number);
            }
        }
        for number in resting {
            if let Some(here) = self.in_hand.get_mut(&number) {
                here.place = Place::Resting;
                let rest = here.rest.map_or(RESTS.0, |(_, last)| (last * 2).min(RESTS.1));
                here.rest = Some((R::now() + rest, rest));
            }
        }
    }

    /// Forgets those that rest and are not open any more, which `is_open` says.
    pub(super) fn keep(&mut self, is_open: impl Fn(Sequence) -> bool) {
        self.in_hand.retain(|number, here| here.place != Place::Resting || is_open(*number));
    }

    /// How long until a branch that did not answer is asked again; none when none is left alone.
    pub(super) fn next_departure(&self) -> Option<R::Instant> {
        let waiting =
            self.towards.values().filter(|towards| !towards.queue.is_empty() && towards.flights == 0);
        waiting.filter_map(|towards| towards.pause.map(|(until, _)| until)).min()
    }
}

fn waited<R: Runtime>(since: R::Instant) -> Duration {
    // The runtime tells how long it is until a moment: here, from now to the moment that patience ends.
    PATIENCE.saturating_sub(R::left(since + PATIENCE))
}

fn send_away<R: Runtime>(
    in_hand: &mut BTreeMap<Sequence, InHand<R::Instant>>,
    numbers: Vec<Sequence>,
) -> Vec<(Sequence, Duration)> {
    let mut transfers = Vec::with_capacity(numbers.len());
    for number in numbers {
        if let Some(here) = in_hand.get_mut(&number) {
            here.place = Place::Away;
            transfers.push((number, waited::<R>(here.since)));
        }
    }
    transfers
}

#[cfg(test)]
mod tests {
    use openraft::AsyncRuntime;
    use openraft_rt_sim::SimRuntime;

    use super::*;
    use crate::replication::tests::simulated::Simulated;

    #[test]
    fn a_transfer_that_comes_no_further_is_asked_about_with_growing_pauses() {
        let asked = SimRuntime::with_seed(1).block_on(async {
            let (mut desk, mut asked) = (Desk::<Simulated>::new(), 0);
            let to: BranchName = "delhi".parse().unwrap();
            for _ in 0..1_200 {
                desk.take_in(Sequence(1), &to);
                for Batch { to, transfers, asking } in desk.departures() {
                    asked += 1;
                    let stuck = transfers.into_iter().map(|(number, _)| number).collect();
                    let (onward, closed) = (Vec::new(), Vec::new());
                    desk.land(Landed { to, asking, reached: true, onward, stuck, closed });
                }
                Simulated::sleep(Duration::from_millis(500)).await;
            }
            asked
        });
        assert!((38..=50).contains(&asked), "asked {asked} times in ten minutes");
    }

    #[test]
    fn a_branch_that_does_not_answer_is_asked_again_however_long_its_transfers_have_waited() {
        let asked = SimRuntime::with_seed(1).block_on(async {
            let (mut desk, mut asked) = (Desk::<Simulated>::new(), 0);
            let to: BranchName = "delhi".parse().unwrap();
            for _ in 0..120 {
                desk.take_in(Sequence(1), &to);
                let batches: Vec<Batch> = desk.overdue();
                for batch in batches.into_iter().chain(desk.departures()) {
                    asked += usize::from(batch.asking);
                    desk.land(Landed {
                        to: batch.to,
                        asking: batch.asking,
                        reached: !batch.asking,
                        onward: Vec::new(),
                        stuck: batch.transfers.into_iter().map(|(number, _)| number).collect(),
                        closed: Vec::new(),
                    });
                }
                Simulated::sleep(Duration::from_millis(500)).await;
            }
            asked
        });
        assert!(asked > 30, "asked {asked} times in a minute");
    }
}
