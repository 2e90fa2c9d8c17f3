//! Frozen ledgers: a view of the ledger at one sequence that stays as it is while later batches are applied.
//!
//! Invariant: freezing costs a table of chunks and copies nothing. While somebody holds a [`Frozen`], the
//! writer keeps a copy of each account it is about to change for the first time, and of each request it forgets,
//! until the view has passed the place. The view takes what was kept before what stands. When nothing is
//! frozen, the writer finds an empty list and readers find nothing at all.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use parking_lot::Mutex;

use super::accounts::{CHUNK, Entry, SHARDS};
use super::requests::{Remembered, Slice};
use super::snapshot::{AccountRecord, Frame, Head, encode, table_frames};
use super::tables::Tables;
use super::{Ledger, Position};
use crate::model::{AccountNumber, RequestId, Timestamp, Total};

/// Accounts in a frame.
const ACCOUNTS_PER_FRAME: usize = 4_096;
/// Outcomes in a frame of requests, at least; the last request may bring up to a batch more.
const OUTCOMES_PER_FRAME: usize = 4_096;
/// Most requests that are looked at while the writer waits.
const REQUESTS_PER_LOOK: usize = 2_048;

/// What the writer keeps for one frozen view.
pub(super) struct Preimages {
    /// By the number of the chunk; chunks that came later are not part of the view.
    chunks: Box<[Mutex<Chunk>]>,
    sparse: Box<[Mutex<Sparse>]>,
    requests: Mutex<Forgotten>,
    /// The time of the last batch in the view.
    time: Option<Timestamp>,
}

/// What was kept of a chunk.
enum Chunk {
    /// The view has not come to it.
    Ahead(Option<Box<Slots>>),
    /// The view has passed it.
    Passed,
}

struct Slots {
    /// A bit for each slot that is kept.
    seen: [u64; CHUNK / 64],
    entries: Vec<(usize, Option<Entry>)>,
}

/// What was kept of the sparse accounts of a shard.
#[derive(Default)]
struct Sparse {
    /// The view has passed the numbers up to this one.
    passed: Option<AccountNumber>,
    entries: BTreeMap<AccountNumber, Option<Entry>>,
}

/// Requests of the view that were forgotten before it came to them, and how far it has come.
pub(super) struct Forgotten {
    pub(super) timed_passed: Option<RequestId>,
    pub(super) timed: VecDeque<(RequestId, Remembered)>,
    /// The place of the next named request, counted from the first one ever.
    pub(super) named_next: u64,
    /// The place after the last one of the view.
    pub(super) named_end: u64,
    pub(super) named: VecDeque<(RequestId, Remembered)>,
}

impl Preimages {
    /// Keeps what stands in a slot of a chunk before it changes.
    pub(super) fn keep_slot(&self, chunk: usize, slot: usize, now: impl FnOnce() -> Option<Entry>) {
        let Some(chunk) = self.chunks.get(chunk) else { return };
        if let Chunk::Ahead(kept) = &mut *chunk.lock() {
            let kept =
                kept.get_or_insert_with(|| Box::new(Slots { seen: [0; CHUNK / 64], entries: Vec::new() }));
            let (word, bit) = (slot / 64, 1 << (slot % 64));
            if kept.seen[word] & bit == 0 {
                kept.seen[word] |= bit;
                kept.entries.push((slot, now()));
            }
        }
    }

    /// Keeps a sparse account before it changes.
    pub(super) fn keep_sparse(
        &self,
        shard: usize,
        number: AccountNumber,
        now: impl FnOnce() -> Option<Entry>,
    ) {
        let mut kept = self.sparse[shard].lock();
        if kept.passed.is_none_or(|passed| number > passed) {
            kept.entries.entry(number).or_insert_with(now);
        }
    }

    /// Keeps a timed request that is being forgotten.
    pub(super) fn keep_timed(&self, request: &RequestId, remembered: &Remembered) {
        let mut kept = self.requests.lock();
        if self.shows(remembered) && kept.timed_passed.as_ref().is_none_or(|passed| request > passed) {
            kept.timed.push_back((request.clone(), remembered.clone()));
        }
    }

    /// Keeps a named request that is being forgotten; it came as the one at `place`.
    pub(super) fn keep_named(&self, place: u64, request: &RequestId, remembered: &Remembered) {
        let mut kept = self.requests.lock();
        if place >= kept.named_next && place < kept.named_end {
            kept.named.push_back((request.clone(), remembered.clone()));
        }
    }

    /// Whether a request is older than the view.
    pub(super) fn shows(&self, remembered: &Remembered) -> bool {
        self.time.is_some_and(|time| remembered.time <= time)
    }

    /// Passes a chunk: calls `each` for the slots as they were.
    fn pass_chunk(
        &self,
        chunk: usize,
        mut now: impl FnMut(usize) -> Option<Entry>,
        mut each: impl FnMut(usize, Entry),
    ) {
        // Held until the slots are read, so that the writer changes none of them before.
        let mut kept = self.chunks[chunk].lock();
        let mut before: Vec<Option<Option<Entry>>> = Vec::new();
        if let Chunk::Ahead(Some(slots)) = std::mem::replace(&mut *kept, Chunk::Passed) {
            before.resize_with(CHUNK, || None);
            for (slot, entry) in slots.entries {
                before[slot] = Some(entry);
            }
        }
        for slot in 0..CHUNK {
            let entry = match before.get_mut(slot).and_then(Option::take) {
                Some(entry) => entry,
                None => now(slot),
            };
            if let Some(entry) = entry {
                each(slot, entry);
            }
        }
    }

    /// Passes a sparse account and returns it as it was.
    fn pass_sparse(
        &self,
        shard: usize,
        number: AccountNumber,
        now: impl FnOnce() -> Option<Entry>,
    ) -> Option<Entry> {
        let mut kept = self.sparse[shard].lock();
        kept.passed = Some(number);
        match kept.entries.remove(&number) {
            Some(entry) => entry,
            None => now(),
        }
    }
}

/// A ledger as it was when it was frozen: an iterator over the frames of its snapshot.
///
/// It may be read on any thread, while the ledger goes on. The ledger pays for it as long as it lives:
/// read it to the end or drop it.
pub struct Frozen {
    ledger: Arc<Ledger>,
    preimages: Arc<Preimages>,
    position: Position,
    cash: Total,
    interest: Total,
    stage: Stage,
    /// Shared with the ledger until it changes them.
    tables: Tables,
    accounts: u64,
    requests: u64,
    /// Entries of tables.
    entries: u64,
    /// Accounts that wait for their frame to be full.
    records: Vec<AccountRecord>,
}

/// What comes next.
enum Stage {
    Head(Box<Head>),
    Accounts {
        chunk: usize,
        sparse: Peekable<vec::IntoIter<AccountNumber>>,
    },
    Requests {
        named: bool,
    },
    /// Those of the tables, then the tail.
    Tables(vec::IntoIter<Frame>),
    End,
}

impl Ledger {
    /// The ledger as it stands now, to be read while it goes on. Costs about a tenth of a millisecond
    /// at ten million accounts.
    #[must_use]
    pub fn freeze(self: &Arc<Ledger>) -> Frozen {
        let mut writer = self.writer.lock();
        let chunks = (0..self.accounts.chunks()).map(|_| Mutex::new(Chunk::Ahead(None))).collect();
        let preimages = Arc::new(Preimages {
            chunks,
            sparse: (0..SHARDS).map(|_| Mutex::default()).collect(),
            requests: Mutex::new(writer.requests.begin_view()),
            time: writer.time,
        });
        writer.frozen.push(Arc::clone(&preimages));
        Frozen {
            ledger: Arc::clone(self),
            preimages,
            position: writer.position(self.id()),
            cash: writer.cash,
            interest: writer.interest,
            stage: Stage::Head(Box::new(Head::of(&writer, self.id()))),
            tables: writer.tables.clone(),
            accounts: 0,
            requests: 0,
            entries: 0,
            records: Vec::new(),
        }
    }
}

impl Frozen {
    /// Where the ledger stood.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The bank's cash and its interest account.
    pub(super) fn bank_books(&self) -> (Total, Total) {
        (self.cash, self.interest)
    }

    /// What the ledger kept besides accounts and requests.
    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Calls `each` for every account, in no order. Before any frame was taken.
    pub(super) fn visit_accounts(self, mut each: impl FnMut(&Entry)) {
        let accounts = &self.ledger.accounts;
        // Accounts that were opened since are among them; for those it was kept that there was none.
        let sparse = accounts.sparse_after(None, usize::MAX);
        for chunk in 0..self.preimages.chunks.len() {
            let slots = accounts.chunk(chunk);
            let now = |slot: usize| slots.as_ref().and_then(|slots| slots[slot].lock().clone());
            self.preimages.pass_chunk(chunk, now, |_, entry| each(&entry));
        }
        for number in sparse {
            let shard = super::accounts::sparse_shard(number);
            let now = || accounts.sparse_entry(number);
            if let Some(entry) = self.preimages.pass_sparse(shard, number, now) {
                each(&entry);
            }
        }
    }

    /// Takes the accounts of the next chunk, and the sparse ones among them.
    fn look_at_chunk(&mut self, chunk: usize, sparse: &mut Peekable<vec::IntoIter<AccountNumber>>) {
        let accounts = &self.ledger.accounts;
        let slots = accounts.chunk(chunk);
        let mut entries = Vec::with_capacity(CHUNK);
        let now = |slot: usize| slots.as_ref().and_then(|slots| slots[slot].lock().clone());
        self.preimages.pass_chunk(chunk, now, |slot, entry| entries.push((slot, entry)));
        for (slot, entry) in entries {
            let Some(number) = AccountNumber::new((chunk * CHUNK + slot) as u64 + 1) else { continue };
            while let Some(earlier) = sparse.next_if(|other| *other < number) {
                self.look_at_sparse(earlier);
            }
            self.records.push(AccountRecord::of(number, &entry));
        }
    }

    fn look_at_sparse(&mut self, number: AccountNumber) {
        let accounts = &self.ledger.accounts;
        let shard = super::accounts::sparse_shard(number);
        let entry = self.preimages.pass_sparse(shard, number, || accounts.sparse_entry(number));
        self.records.extend(entry.map(|entry| AccountRecord::of(number, &entry)));
    }

    fn account_frame(
        &mut self,
        mut chunk: usize,
        mut sparse: Peekable<vec::IntoIter<AccountNumber>>,
    ) -> Frame {
        while self.records.len() < ACCOUNTS_PER_FRAME {
            if chunk < self.preimages.chunks.len() {
                self.look_at_chunk(chunk, &mut sparse);
                chunk += 1;
            } else if let Some(number) = sparse.next() {
                self.look_at_sparse(number);
            } else {
                break;
            }
        }
        let rest = self.records.split_off(self.records.len().min(ACCOUNTS_PER_FRAME));
        let records = std::mem::replace(&mut self.records, rest);
        self.accounts += records.len() as u64;
        self.stage = if records.len() == ACCOUNTS_PER_FRAME {
            Stage::Accounts { chunk, sparse }
        } else {
            Stage::Requests { named: false }
        };
        Frame::Accounts(records)
    }

    fn request_frame(&mut self, mut named: bool) -> Frame {
        let mut slice = Slice::default();
        self.stage = loop {
            if slice.weight >= OUTCOMES_PER_FRAME {
                break Stage::Requests { named };
            }
            // Locked for a short look at a time, so that the writer waits a moment only.
            let writer = self.ledger.writer.lock();
            let mut forgotten = self.preimages.requests.lock();
            let shows = |remembered: &Remembered| self.preimages.shows(remembered);
            let most = OUTCOMES_PER_FRAME - slice.weight;
            let more = if named {
                writer.requests.look_at_named(&mut forgotten, REQUESTS_PER_LOOK, most, &mut slice)
            } else {
                writer.requests.look_at_timed(&mut forgotten, REQUESTS_PER_LOOK, most, shows, &mut slice)
            };
            match (more, named) {
                (true, _) => {}
                (false, false) => named = true,
                (false, true) => break Stage::Tables(table_frames(&self.tables).into_iter()),
            }
        };
        self.requests += slice.requests.len() as u64;
        Frame::Requests(slice.requests)
    }
}

impl Iterator for Frozen {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let frame = match std::mem::replace(&mut self.stage, Stage::End) {
            Stage::Head(head) => {
                // Accounts that were opened since are among them; for those it was kept that there was none.
                let sparse = self.ledger.accounts.sparse_after(None, usize::MAX).into_iter().peekable();
                self.stage = Stage::Accounts { chunk: 0, sparse };
                Frame::Head(*head)
            }
            Stage::Accounts { chunk, sparse } => self.account_frame(chunk, sparse),
            Stage::Requests { named } => self.request_frame(named),
            Stage::Tables(mut frames) => match frames.next() {
                Some(frame) => {
                    self.entries += frame.entries();
                    self.stage = Stage::Tables(frames);
                    frame
                }
                None => {
                    Frame::Tail { accounts: self.accounts, requests: self.requests, entries: self.entries }
                }
            },
            Stage::End => return None,
        };
        Some(encode(&frame))
    }
}
