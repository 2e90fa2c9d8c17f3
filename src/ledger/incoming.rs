//! The credits that other branches ask for.
//!
//! Invariant: a credit at or above its payer's watermark is remembered, whatever became of it, so that a message
//! that comes late or twice finds what was done. One below the watermark is closed at the payer: messages about it are
//! stale and do nothing. Only a final credit is forgotten, and only by its payer's word. `tables` changes
//! them as receipts say.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::planted::{Fault, planted};
use crate::model::{Credit, CreditState, IncomingCredit, Origin, Sequence, Timestamp};

/// Most lives of paying branches' ledgers.
pub(super) const ORIGINS: u32 = 4_096;
/// Most prepared credits.
pub(super) const PREPARED_CREDITS: u32 = 65_536;
/// Most remembered credits, final ones included.
pub(super) const REMEMBERED_CREDITS: u32 = 262_144;

/// The credits by payer.
#[derive(Clone, Default)]
pub(super) struct Incoming {
    payers: BTreeMap<Origin, Payer>,
    /// The prepared ones, the oldest first.
    prepared: BTreeSet<(Timestamp, Sequence, Origin)>,
    remembered: usize,
}

#[derive(Clone, Default)]
struct Payer {
    settled_below: Sequence,
    credits: BTreeMap<Sequence, IncomingCredit>,
}

impl Incoming {
    pub(super) fn get(&self, origin: &Origin, number: Sequence) -> Option<&IncomingCredit> {
        self.payers.get(origin).and_then(|payer| payer.credits.get(&number))
    }

    /// The watermark of a payer; none when nothing has been kept of it.
    pub(super) fn settled_below(&self, origin: &Origin) -> Option<Sequence> {
        self.payers.get(origin).map(|payer| payer.settled_below)
    }

    pub(super) fn payers(&self) -> usize {
        self.payers.len()
    }

    pub(super) fn oldest_prepared(&self) -> Option<Timestamp> {
        self.prepared.first().map(|(at, ..)| *at)
    }

    pub(super) fn prepared_count(&self) -> usize {
        self.prepared.len()
    }

    pub(super) fn remembered_count(&self) -> usize {
        self.remembered
    }

    /// The prepared credits, the oldest first.
    pub(super) fn prepared(&self) -> impl Iterator<Item = (&Origin, Sequence, &IncomingCredit)> {
        self.prepared.iter().filter_map(|(_, number, origin)| {
            self.get(origin, *number).map(|credit| (origin, *number, credit))
        })
    }

    /// Every payer and its watermark.
    pub(super) fn watermarks(&self) -> impl Iterator<Item = (&Origin, Sequence)> {
        self.payers.iter().map(|(origin, payer)| (origin, payer.settled_below))
    }

    /// Every remembered credit.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Origin, Sequence, &IncomingCredit)> {
        self.payers.iter().flat_map(|(origin, payer)| {
            payer.credits.iter().map(move |(number, credit)| (origin, *number, credit))
        })
    }

    /// Remembers how a credit stands. False when nothing was known of it before.
    pub(super) fn set(&mut self, origin: &Origin, number: Sequence, credit: IncomingCredit) -> bool {
        if !self.payers.contains_key(origin) {
            self.payers.insert(origin.clone(), Payer::default());
        }
        let Some(payer) = self.payers.get_mut(origin) else { return false };
        if let CreditState::Prepared { at } = credit.state {
            self.prepared.insert((at, number, origin.clone()));
        }
        let before = payer.credits.insert(number, credit);
        match before.as_ref().map(|before| before.state) {
            Some(CreditState::Prepared { at }) => {
                self.prepared.remove(&(at, number, origin.clone()));
            }
            Some(CreditState::Committed | CreditState::Aborted) => {}
            None => self.remembered += 1,
        }
        before.is_some()
    }

    /// Whether [`Incoming::settle`] would change something.
    pub(super) fn is_news(&self, origin: &Origin, settled_below: Sequence) -> bool {
        self.settled_below(origin).is_some_and(|known| known < settled_below)
    }

    /// Raises the watermark of a known payer and forgets what is final below it.
    pub(super) fn settle(&mut self, origin: &Origin, settled_below: Sequence) {
        let Some(payer) = self.payers.get_mut(origin) else { return };
        if settled_below <= payer.settled_below {
            return;
        }
        payer.settled_below = settled_below;
        let early = planted(Fault::CreditForgottenEarly);
        let rest = payer.credits.split_off(&if early { settled_below.next() } else { settled_below });
        let before = std::mem::replace(&mut payer.credits, rest);
        for (number, credit) in before {
            if credit.state.is_final() {
                self.remembered -= 1;
            } else {
                payer.credits.insert(number, credit);
            }
        }
    }

    /// Takes a payer and its watermark from a snapshot; false when it is known.
    pub(super) fn add_payer(&mut self, origin: Origin, settled_below: Sequence) -> bool {
        self.payers.insert(origin, Payer { settled_below, ..Payer::default() }).is_none()
    }
}

/// What is remembered of a credit in this state.
pub(super) fn remembered(credit: &Credit, state: CreditState) -> IncomingCredit {
    IncomingCredit { source: credit.source, destination: credit.destination, amount: credit.amount, state }
}

/// Whether a message is about the same credit as what is remembered.
pub(super) fn is_same(credit: &Credit, known: &IncomingCredit) -> bool {
    (credit.source, credit.destination, credit.amount) == (known.source, known.destination, known.amount)
}
