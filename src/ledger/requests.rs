//! The memory for request ids: the check and the effect of a proposal are one step of the ledger.
//!
//! The memory is bounded. UUIDv7 ids are forgotten oldest first by the time they carry, and the latest time
//! so forgotten is the *horizon*: an unknown id from before it is refused, because nobody can tell any more
//! whether it was executed. An id without a time cannot be refused like that; the latest
//! [`NAMED_OUTCOMES`] of them are remembered.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frozen::{Forgotten, Preimages};
use crate::model::limits::REQUEST_AHEAD;
use crate::model::planted::{Fault, limit, planted};
use crate::model::{Operation, Outcomes, Rejection, Reply, RequestId, Sequence, Timestamp};

/// Outcomes of UUIDv7 requests that are remembered.
pub(super) const TIMED_OUTCOMES: usize = 1 << 20;
/// Outcomes of all other requests that are remembered.
pub(super) const NAMED_OUTCOMES: usize = 1 << 18;

/// A hash of the work, to tell a repetition from other work under the same id.
pub(super) type Fingerprint = [u8; 16];

/// What is remembered of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) fingerprint: Fingerprint,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) time: Timestamp,
    pub(super) outcomes: Outcomes,
}

impl Remembered {
    pub(super) fn reply(&self) -> Reply {
        Reply {
            first: self.first,
            last: self.last,
            time: self.time,
            replayed: true,
            outcomes: self.outcomes.clone(),
        }
    }

    /// What it counts in the limits: also work without any command takes room.
    fn weight(&self) -> usize {
        self.outcomes.as_slice().len().max(1)
    }
}

/// What a request id means to the ledger.
pub(super) enum Recognised {
    /// Not seen before.
    New,
    /// The same work again: the first answer.
    Again(Reply),
    /// Not to be executed.
    Refused(Rejection),
}

/// The requests a ledger remembers.
#[derive(Default)]
pub(super) struct Requests {
    /// UUIDv7 ids; their bytes order them by time.
    timed: BTreeMap<RequestId, Remembered>,
    timed_weight: usize,
    /// The latest time among forgotten ids.
    horizon: Option<Timestamp>,
    named: BTreeMap<RequestId, Remembered>,
    named_weight: usize,
    /// The named ids in the order in which they came.
    named_order: VecDeque<RequestId>,
    /// How many named ids came before the first one in `named_order`.
    named_gone: u64,
    /// Whether a named id was ever forgotten.
    named_forgotten: bool,
}

/// Some remembered requests.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) requests: Vec<(RequestId, Remembered)>,
    /// How many outcomes they have.
    pub(super) weight: usize,
}

impl Slice {
    fn push(&mut self, request: RequestId, remembered: Remembered) {
        self.weight += remembered.weight();
        self.requests.push((request, remembered));
    }
}

impl Requests {
    /// What to do with a request at ledger time `now`.
    pub(super) fn recognise(
        &self,
        request: &RequestId,
        fingerprint: Fingerprint,
        now: Timestamp,
    ) -> Recognised {
        if let Some(known) = self.find(request) {
            return if known.fingerprint == fingerprint {
                Recognised::Again(known.reply())
            } else {
                Recognised::Refused(Rejection::RequestReused)
            };
        }
        let Some(made) = request.made_at() else {
            return Recognised::New;
        };
        if let Some(forgotten) = self.horizon.filter(|horizon| made <= *horizon) {
            return Recognised::Refused(Rejection::RequestExpired { forgotten });
        }
        let ahead = u64::try_from(REQUEST_AHEAD.as_micros()).expect("a limit of minutes");
        if made.micros() > now.micros().saturating_add(ahead) {
            return Recognised::Refused(Rejection::RequestFromFuture { made, now });
        }
        Recognised::New
    }

    /// Remembers a new request, and forgets others beyond the limits; those who look at an earlier ledger
    /// keep them.
    pub(super) fn remember(&mut self, request: RequestId, remembered: Remembered, frozen: &[Arc<Preimages>]) {
        if request.made_at().is_some() {
            self.timed_weight += remembered.weight();
            self.timed.insert(request, remembered);
            while self.timed_weight > limit(TIMED_OUTCOMES, 48)
                && let Some((oldest, forgotten)) = self.timed.pop_first()
            {
                frozen.iter().for_each(|preimages| preimages.keep_timed(&oldest, &forgotten));
                self.timed_weight -= forgotten.weight();
                self.horizon = self.horizon.max(oldest.made_at());
            }
        } else {
            self.named_weight += remembered.weight();
            self.named_order.push_back(request.clone());
            self.named.insert(request, remembered);
            while self.named_weight > NAMED_OUTCOMES
                && let Some(oldest) = self.named_order.pop_front()
            {
                if let Some(forgotten) = self.named.remove(&oldest) {
                    let place = self.named_gone;
                    frozen.iter().for_each(|preimages| preimages.keep_named(place, &oldest, &forgotten));
                    self.named_weight -= forgotten.weight();
                }
                self.named_gone += 1;
                self.named_forgotten = true;
            }
        }
    }

    pub(super) fn operation(&self, request: &RequestId) -> Operation {
        let forgotten = match request.made_at() {
            Some(made) => self.horizon.is_some_and(|horizon| made <= horizon),
            None => self.named_forgotten,
        };
        match self.find(request) {
            Some(known) => Operation::Known(known.reply()),
            None if forgotten => Operation::Forgotten,
            None => Operation::NeverSeen,
        }
    }

    fn find(&self, request: &RequestId) -> Option<&Remembered> {
        if request.made_at().is_some() { self.timed.get(request) } else { self.named.get(request) }
    }

    /// What a snapshot keeps besides the requests themselves.
    pub(super) fn marks(&self) -> Marks {
        let horizon = self.horizon.filter(|_| !planted(Fault::HorizonNotInSnapshot));
        Marks { horizon, named_forgotten: self.named_forgotten }
    }

    /// Takes what a snapshot kept.
    pub(super) fn set_marks(&mut self, marks: Marks) {
        self.horizon = marks.horizon;
        self.named_forgotten = marks.named_forgotten;
    }

    /// The beginning of a look at all requests as they are now. Requests are seen in an order in which
    /// remembering them gives the same memory.
    pub(super) fn begin_view(&self) -> Forgotten {
        Forgotten {
            timed_passed: None,
            timed: VecDeque::new(),
            named_next: self.named_gone,
            named_end: self.named_gone + self.named_order.len() as u64,
            named: VecDeque::new(),
        }
    }

    /// Looks at no more than `most` timed requests of a view until the slice has `weight` more outcomes.
    /// Returns whether there may be more.
    pub(super) fn look_at_timed(
        &self,
        view: &mut Forgotten,
        most: usize,
        weight: usize,
        shows: impl Fn(&Remembered) -> bool,
        slice: &mut Slice,
    ) -> bool {
        let full = slice.weight + weight;
        let mut looks = most;
        // The oldest are forgotten first, so what was forgotten comes before what is still known.
        while let Some((request, remembered)) = view.timed.pop_front() {
            view.timed_passed = Some(request.clone());
            slice.push(request, remembered);
            looks = looks.saturating_sub(1);
            if looks == 0 || slice.weight >= full {
                return true;
            }
        }
        let from = view.timed_passed.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let mut ended = true;
        for (request, remembered) in self.timed.range((from, Bound::Unbounded)) {
            if looks == 0 || slice.weight >= full {
                ended = false;
                break;
            }
            looks -= 1;
            last = Some(request);
            if shows(remembered) {
                slice.push(request.clone(), remembered.clone());
            }
        }
        if let Some(last) = last {
            view.timed_passed = Some(last.clone());
        }
        !ended
    }

    /// The same for named requests.
    pub(super) fn look_at_named(
        &self,
        view: &mut Forgotten,
        most: usize,
        weight: usize,
        slice: &mut Slice,
    ) -> bool {
        let full = slice.weight + weight;
        for _ in 0..most {
            if slice.weight >= full {
                return true;
            }
            if let Some((request, remembered)) = view.named.pop_front() {
                slice.push(request, remembered);
            } else if view.named_next < view.named_end {
                // Never less: what is gone was kept.
                let place = view.named_next.saturating_sub(self.named_gone);
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                let known = self.named_order.get(place).and_then(|request| self.named.get_key_value(request));
                if let Some((request, remembered)) = known {
                    slice.push(request.clone(), remembered.clone());
                }
            } else {
                return false;
            }
            view.named_next += 1;
        }
        true
    }
}

/// What has been forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    horizon: Option<Timestamp>,
    named_forgotten: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountNumber, Money, Receipt};

    const NOW: u64 = 1_800_000_000_000;

    /// A UUIDv7 made at this millisecond.
    fn timed(millis: u64, tail: u16) -> RequestId {
        format!("{:08x}-{:04x}-7000-8000-00000000{tail:04x}", millis >> 16, millis & 0xffff).parse().unwrap()
    }

    fn remembered(weight: usize) -> Remembered {
        let receipt =
            Ok(Receipt::Deposited { account: AccountNumber::FIRST, balance: Money::from_minor(1).unwrap() });
        Remembered {
            fingerprint: [1; 16],
            first: Sequence(1),
            last: Sequence(weight as u64),
            time: Timestamp::from_micros(NOW * 1_000),
            outcomes: Outcomes::Many(vec![receipt; weight].into()),
        }
    }

    fn recognised(requests: &Requests, request: &RequestId) -> &'static str {
        match requests.recognise(request, [1; 16], Timestamp::from_micros(NOW * 1_000)) {
            Recognised::New => "new",
            Recognised::Again(_) => "again",
            Recognised::Refused(Rejection::RequestExpired { .. }) => "expired",
            Recognised::Refused(Rejection::RequestFromFuture { .. }) => "future",
            Recognised::Refused(_) => "refused",
        }
    }

    #[test]
    fn a_forgotten_timed_id_is_refused_for_ever() {
        let mut requests = Requests::default();
        requests.remember(timed(NOW - 10, 0), remembered(TIMED_OUTCOMES - 1), &[]);
        requests.remember(timed(NOW - 5, 0), remembered(1), &[]);
        assert_eq!(recognised(&requests, &timed(NOW - 10, 0)), "again");
        // One outcome too many: the id with the oldest time goes, whenever it came.
        requests.remember(timed(NOW - 7, 0), remembered(1), &[]);
        assert_eq!(recognised(&requests, &timed(NOW - 10, 0)), "expired");
        assert_eq!(requests.operation(&timed(NOW - 10, 0)), Operation::Forgotten);
        // An id never seen but as old could have been it, too.
        assert_eq!(recognised(&requests, &timed(NOW - 11, 3)), "expired");
        assert_eq!(recognised(&requests, &timed(NOW - 7, 0)), "again");
        assert_eq!(recognised(&requests, &timed(NOW - 6, 0)), "new");
        assert_eq!(requests.operation(&timed(NOW - 6, 0)), Operation::NeverSeen);
    }

    #[test]
    fn an_id_from_the_future_is_refused_so_that_it_cannot_push_the_horizon_past_others() {
        let requests = Requests::default();
        let ahead = u64::try_from(REQUEST_AHEAD.as_millis()).unwrap();
        assert_eq!(recognised(&requests, &timed(NOW + ahead, 0)), "new");
        assert_eq!(recognised(&requests, &timed(NOW + ahead + 1, 0)), "future");
    }

    #[test]
    fn named_ids_are_forgotten_first_in_first_out() {
        let mut requests = Requests::default();
        let (a, b): (RequestId, RequestId) = ("z-first".parse().unwrap(), "a-second".parse().unwrap());
        requests.remember(a.clone(), remembered(1), &[]);
        assert_eq!(requests.operation(&b), Operation::NeverSeen);
        requests.remember(b.clone(), remembered(NAMED_OUTCOMES), &[]);
        assert_eq!(recognised(&requests, &a), "new");
        assert_eq!(recognised(&requests, &b), "again");
        assert_eq!(requests.operation(&a), Operation::Forgotten);
    }
}
