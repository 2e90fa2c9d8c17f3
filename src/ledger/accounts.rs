//! The sharded map of locked accounts.
//!
//! Numbers are mostly dense, so accounts live in chunks that are indexed by number; a requested number far
//! beyond the others lives in an ordered map beside them. Every account has its own lock: a reader locks
//! one account, and the one writer (the caller of `Ledger::apply`) locks the account it changes. Shards keep
//! readers of the chunk tables off each other's cache lines.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::frozen::Preimages;
use super::rules::Funds;
use super::tables::Reservation;
use crate::model::{
    Account, AccountName, AccountNumber, AccountState, Balance, Money, Overdraft, Sequence, Timestamp,
};

/// Accounts in a chunk.
pub(super) const CHUNK: usize = 1_024;
/// Shards of the map; chunk `c` belongs to shard `c % SHARDS`.
pub(super) const SHARDS: usize = 64;

/// What the map keeps of one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) balance: Money,
    /// The newest line of the account's statement.
    pub(super) newest: Sequence,
    pub(super) opened: Timestamp,
    /// What few accounts have.
    pub(super) details: Option<Box<Details>>,
}

/// What few accounts have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Details {
    pub(super) name: Option<AccountName>,
    pub(super) overdraft: Overdraft,
    pub(super) state: AccountState,
    /// What open holds and pending transfers reserve.
    pub(super) held: Money,
    /// What prepared credits may still add.
    pub(super) incoming: Money,
}

impl Details {
    /// What an account has that has nothing in particular.
    const NONE: Details = Details {
        name: None,
        overdraft: Overdraft::NONE,
        state: AccountState::Open,
        held: Money::ZERO,
        incoming: Money::ZERO,
    };

    /// The details of an account, if there are any.
    pub(super) fn of(
        name: Option<AccountName>,
        overdraft: Overdraft,
        state: AccountState,
    ) -> Option<Box<Details>> {
        let details = Details { name, overdraft, state, ..Details::NONE };
        (details != Details::NONE).then(|| Box::new(details))
    }
}

/// A number's place: its account, if it has one.
pub(super) type Slot = Mutex<Option<Entry>>;

// The memory goal of the product: an account costs 48 bytes, lock included.
const _: () = assert!(size_of::<Slot>() == 48);

#[derive(Default)]
struct Shard {
    /// Chunks of this shard, in the order of their numbers. Who looks at many of their accounts takes the
    /// chunk out, so that nobody holds this lock while waiting for another.
    dense: RwLock<Vec<Arc<[Slot]>>>,
    /// Numbers beyond the chunks when they were opened, by `number % SHARDS`.
    sparse: RwLock<BTreeMap<AccountNumber, Slot>>,
}

/// The accounts of a ledger.
pub(super) struct Accounts {
    shards: Box<[Shard]>,
}

/// Where a number lives when it lives in a chunk.
struct Place {
    shard: usize,
    chunk: usize,
    slot: usize,
}

fn place(number: AccountNumber) -> Place {
    let index = usize::try_from(number.get() - 1).expect("account numbers have 40 bits and addresses 64");
    let chunk = index / CHUNK;
    Place { shard: chunk % SHARDS, chunk: chunk / SHARDS, slot: index % CHUNK }
}

impl Place {
    /// The number of the chunk among those of all shards.
    fn chunk_number(&self) -> usize {
        self.chunk * SHARDS + self.shard
    }
}

/// The shard of a number that lives outside of chunks.
pub(super) fn sparse_shard(number: AccountNumber) -> usize {
    usize::try_from(number.get() % SHARDS as u64).expect("smaller than the number of shards")
}

impl Entry {
    /// What the account has, all from one moment.
    pub(super) fn funds(&self) -> Funds {
        let (overdraft, held, incoming, state) = match &self.details {
            Some(details) => (details.overdraft, details.held, details.incoming, details.state),
            None => (Overdraft::NONE, Money::ZERO, Money::ZERO, AccountState::Open),
        };
        Funds { balance: Balance { balance: self.balance, held, overdraft }, incoming, state }
    }

    /// Follows a receipt; `None` when the sums leave the range of money, which the rules never allow.
    pub(super) fn reserve(&mut self, reservation: &Reservation) -> Option<()> {
        let details = self.details.get_or_insert_with(|| Box::new(Details::NONE));
        details.held = details.held.checked_add(reservation.held)?;
        details.incoming = details.incoming.checked_add(reservation.incoming)?;
        details.state = reservation.state.unwrap_or(details.state);
        if **details == Details::NONE {
            self.details = None;
        }
        Some(())
    }

    pub(super) fn account(&self, number: AccountNumber) -> Account {
        let Funds { balance, state, .. } = self.funds();
        Account {
            number,
            name: self.details.as_ref().and_then(|details| details.name.clone()),
            state,
            opened: self.opened,
            balance,
            newest_entry: self.newest,
        }
    }
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

impl Accounts {
    /// Calls `with` on the locked account.
    pub(super) fn with<T>(&self, number: AccountNumber, with: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let place = place(number);
        if let Some(chunk) = self.shards[place.shard].dense.read().get(place.chunk)
            && let Some(entry) = chunk[place.slot].lock().as_mut()
        {
            return Some(with(entry));
        }
        let sparse = self.shards[sparse_shard(number)].sparse.read();
        sparse.get(&number)?.lock().as_mut().map(with)
    }

    pub(super) fn exists(&self, number: AccountNumber) -> bool {
        self.with(number, |_| ()).is_some()
    }

    /// Calls `change` on the locked account, after keeping it for those who look at an earlier ledger.
    /// Only the writer calls it.
    pub(super) fn change<T>(
        &self,
        number: AccountNumber,
        frozen: &[Arc<Preimages>],
        change: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        if !frozen.is_empty() {
            self.keep(number, frozen);
        }
        self.with(number, change)
    }

    /// Keeps what stands at a number, be it nothing, for those who look at an earlier ledger.
    fn keep(&self, number: AccountNumber, frozen: &[Arc<Preimages>]) {
        let place = place(number);
        let (chunk, shard) = (self.chunk(place.chunk_number()), sparse_shard(number));
        for preimages in frozen {
            if let Some(chunk) = &chunk {
                preimages.keep_slot(place.chunk_number(), place.slot, || chunk[place.slot].lock().clone());
            }
            // A number may have become sparse before its chunk was made.
            if chunk.as_ref().is_none_or(|chunk| chunk[place.slot].lock().is_none()) {
                preimages.keep_sparse(shard, number, || self.sparse_entry(number));
            }
        }
    }

    /// Puts an account at an unused number. Only the writer calls it.
    pub(super) fn insert(&self, number: AccountNumber, entry: Entry, frozen: &[Arc<Preimages>]) {
        if !frozen.is_empty() {
            self.keep(number, frozen);
        }
        let place = place(number);
        let shard = &self.shards[place.shard];
        if let Some(chunk) = shard.dense.read().get(place.chunk) {
            *chunk[place.slot].lock() = Some(entry);
            return;
        }
        if self.is_next_chunk(&place) {
            let chunk: Arc<[Slot]> = (0..CHUNK).map(|_| Slot::default()).collect();
            *chunk[place.slot].lock() = Some(entry);
            shard.dense.write().push(chunk);
        } else {
            self.shards[sparse_shard(number)].sparse.write().insert(number, Slot::new(Some(entry)));
        }
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        self.shards.iter().map(|shard| shard.dense.read().len()).sum()
    }

    /// The chunk with this number.
    pub(super) fn chunk(&self, number: usize) -> Option<Arc<[Slot]>> {
        self.shards[number % SHARDS].dense.read().get(number / SHARDS).cloned()
    }

    /// An account outside of chunks.
    pub(super) fn sparse_entry(&self, number: AccountNumber) -> Option<Entry> {
        self.shards[sparse_shard(number)].sparse.read().get(&number).and_then(|slot| slot.lock().clone())
    }

    /// Chunks are made in the order of their numbers, so that requesting a large number costs one account
    /// and not all the numbers below it.
    fn is_next_chunk(&self, place: &Place) -> bool {
        let before = match (place.chunk, place.shard) {
            (0, 0) => return true,
            (chunk, 0) => (chunk - 1, SHARDS - 1),
            (chunk, shard) => (chunk, shard - 1),
        };
        self.shards[before.1].dense.read().len() > before.0
    }

    pub(super) fn account(&self, number: AccountNumber) -> Option<Account> {
        self.with(number, |entry| entry.account(number))
    }

    /// Visits all accounts after `after` by number until `visit` says stop. Each account is consistent in
    /// itself; the whole is so only while nothing is applied.
    pub(super) fn visit(
        &self,
        after: Option<AccountNumber>,
        mut visit: impl FnMut(AccountNumber, &Entry) -> bool,
    ) {
        let mut from = match after {
            Some(after) => after.next(),
            None => Some(AccountNumber::FIRST),
        };
        let mut sparse = SparseNumbers { accounts: self, after, piece: Vec::new().into_iter() }.peekable();
        while let Some(number) = from {
            let place = place(number);
            let Some(chunk) = self.chunk(place.chunk_number()) else {
                break;
            };
            for slot in place.slot..CHUNK {
                let Some(number) = AccountNumber::new(number.get() + (slot - place.slot) as u64) else {
                    break;
                };
                while let Some(earlier) = sparse.next_if(|other| *other < number) {
                    if self.with(earlier, |entry| visit(earlier, entry)) == Some(false) {
                        return;
                    }
                }
                if let Some(entry) = chunk[slot].lock().as_ref()
                    && !visit(number, entry)
                {
                    return;
                }
            }
            from = AccountNumber::new(number.get() + (CHUNK - place.slot) as u64);
        }
        for number in sparse {
            if self.with(number, |entry| visit(number, entry)) == Some(false) {
                return;
            }
        }
    }

    /// The first numbers after `after` that live outside of chunks, at most `limit`.
    pub(super) fn sparse_after(&self, after: Option<AccountNumber>, limit: usize) -> Vec<AccountNumber> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut numbers: Vec<AccountNumber> = Vec::new();
        for shard in &self.shards {
            let sparse = shard.sparse.read();
            numbers.extend(sparse.range((from, Bound::Unbounded)).take(limit).map(|(number, _)| *number));
        }
        numbers.sort_unstable();
        numbers.truncate(limit);
        numbers
    }
}

/// The numbers that live outside of chunks, looked up a piece at a time, so that a page costs a page.
struct SparseNumbers<'a> {
    accounts: &'a Accounts,
    after: Option<AccountNumber>,
    piece: std::vec::IntoIter<AccountNumber>,
}

impl Iterator for SparseNumbers<'_> {
    type Item = AccountNumber;

    fn next(&mut self) -> Option<AccountNumber> {
        const PIECE: usize = 256;
        if self.piece.as_slice().is_empty() {
            self.piece = self.accounts.sparse_after(self.after, PIECE).into_iter();
        }
        let number = self.piece.next()?;
        self.after = Some(number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> AccountNumber {
        AccountNumber::new(number).unwrap()
    }

    fn entry(minor: i64) -> Entry {
        Entry {
            balance: Money::from_minor(minor).unwrap(),
            newest: Sequence(1),
            opened: Timestamp::MIN,
            details: None,
        }
    }

    #[test]
    fn dense_and_sparse_numbers_are_found_and_visited_in_order() {
        let accounts = Accounts::default();
        // The chunk of 70,000 does not exist when it is requested; later the chunks grow past it.
        let requested = [70_000, 999_999_999_999, 5];
        for n in requested {
            accounts.insert(number(n), entry(1), &[]);
        }
        for n in (1..=80_000).filter(|n| !requested.contains(n)) {
            accounts.insert(number(n), entry(1), &[]);
        }
        let mut seen = Vec::new();
        accounts.visit(None, |number, _| {
            seen.push(number.get());
            true
        });
        let expected: Vec<u64> = (1..=80_000).chain([999_999_999_999]).collect();
        assert_eq!(seen, expected);
        let mut page = Vec::new();
        accounts.visit(Some(number(69_998)), |number, _| {
            page.push(number.get());
            page.len() < 3
        });
        assert_eq!(page, [69_999, 70_000, 70_001]);
        assert!(accounts.exists(number(70_000)) && !accounts.exists(number(80_001)));
    }

    #[test]
    fn a_large_requested_number_costs_one_account() {
        let accounts = Accounts::default();
        accounts.insert(number(500_000_000_000), entry(7), &[]);
        let chunks: usize = accounts.shards.iter().map(|shard| shard.dense.read().len()).sum();
        assert_eq!(chunks, 0);
    }
}
