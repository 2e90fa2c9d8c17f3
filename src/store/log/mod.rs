//! The log and the vote of a memory replica.
//!
//! Invariant: an entry is readable before `append` returns, and stays until openraft purges it, which
//! it does as soon as a snapshot marker covers it. Entries are kept decoded; nothing is encoded.
//! openraft calls it; `replication` watches how long it grows.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Runtime, Types};

/// With more entries than this the log asks to be compacted.
pub(crate) const LOG_ENTRIES: usize = 1_024;
/// With more commands than this the log asks to be compacted.
pub(crate) const LOG_COMMANDS: usize = 65_536;

/// The log of one replica in memory. Cheap to clone; clones are the same log.
pub(crate) struct MemoryLog<R: Runtime> {
    kept: Arc<Mutex<Kept<R>>>,
    long: Arc<Notify>,
}

struct Kept<R: Runtime> {
    vote: Option<VoteOf<Types<R>>>,
    committed: Option<LogIdOf<Types<R>>>,
    purged: Option<LogIdOf<Types<R>>>,
    entries: BTreeMap<u64, EntryOf<Types<R>>>,
    commands: usize,
}

impl<R: Runtime> Clone for MemoryLog<R> {
    fn clone(&self) -> MemoryLog<R> {
        MemoryLog { kept: Arc::clone(&self.kept), long: Arc::clone(&self.long) }
    }
}

impl<R: Runtime> Default for MemoryLog<R> {
    fn default() -> MemoryLog<R> {
        let kept = Kept { vote: None, committed: None, purged: None, entries: BTreeMap::new(), commands: 0 };
        MemoryLog { kept: Arc::new(Mutex::new(kept)), long: Arc::default() }
    }
}

impl<R: Runtime> MemoryLog<R> {
    /// Returns when the log has become longer than it should be.
    pub(crate) async fn is_long(&self) {
        self.long.notified().await;
    }

    /// How many entries and commands it holds now.
    #[cfg(test)]
    pub(crate) fn length(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.entries.len(), kept.commands)
    }
}

impl<R: Runtime> Kept<R> {
    fn insert(&mut self, entry: EntryOf<Types<R>>) {
        self.commands += commands::<R>(&entry);
        if let Some(replaced) = self.entries.insert(entry.index(), entry) {
            self.commands -= commands::<R>(&replaced);
        }
    }

    /// Keeps the entries before `from` and returns the others.
    fn split_off(&mut self, from: u64) -> BTreeMap<u64, EntryOf<Types<R>>> {
        let others = self.entries.split_off(&from);
        self.commands -= others.values().map(commands::<R>).sum::<usize>();
        others
    }
}

fn commands<R: Runtime>(entry: &EntryOf<Types<R>>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.commands(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl<R: Runtime> RaftLogReader<Types<R>> for MemoryLog<R> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Types<R>>>, io::Error> {
        Ok(self.kept.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types<R>>>, io::Error> {
        Ok(self.kept.lock().vote)
    }
}

impl<R: Runtime> RaftLogStorage<Types<R>> for MemoryLog<R> {
    type LogReader = MemoryLog<R>;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let kept = self.kept.lock();
        let last = kept.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> MemoryLog<R> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types<R>>) -> Result<(), io::Error> {
        self.kept.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types<R>>>) -> Result<(), io::Error> {
        self.kept.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Types<R>>>, io::Error> {
        Ok(self.kept.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types<R>>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let long = {
            let mut kept = self.kept.lock();
            entries.into_iter().for_each(|entry| kept.insert(entry));
            kept.entries.len() > LOG_ENTRIES || kept.commands > LOG_COMMANDS
        };
        if long {
            self.long.notify_one();
        }
        // Memory is as durable as this log gets.
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types<R>>>) -> Result<(), io::Error> {
        let truncated = self.kept.lock().split_off(last.map_or(0, |last| last.index + 1));
        drop(truncated);
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types<R>>) -> Result<(), io::Error> {
        let purged = {
            let mut kept = self.kept.lock();
            let before = kept.commands;
            let others = kept.split_off(upto.index + 1);
            kept.commands = before - kept.commands;
            kept.purged = Some(upto);
            std::mem::replace(&mut kept.entries, others)
        };
        drop(purged);
        Ok(())
    }
}
