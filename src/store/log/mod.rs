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

use super::Types;

/// With more entries than this the log asks to be compacted.
pub(crate) const LOG_ENTRIES: usize = 1_024;
/// With more commands than this the log asks to be compacted.
pub(crate) const LOG_COMMANDS: usize = 65_536;

/// The log of one replica in memory. Cheap to clone; clones are the same log.
#[derive(Clone, Default)]
pub(crate) struct MemoryLog {
    kept: Arc<Mutex<Kept>>,
    long: Arc<Notify>,
}

#[derive(Default)]
struct Kept {
    vote: Option<VoteOf<Types>>,
    committed: Option<LogIdOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    entries: BTreeMap<u64, EntryOf<Types>>,
    commands: usize,
}

impl MemoryLog {
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

impl Kept {
    fn insert(&mut self, entry: EntryOf<Types>) {
        self.commands += commands(&entry);
        if let Some(replaced) = self.entries.insert(entry.index(), entry) {
            self.commands -= commands(&replaced);
        }
    }

    /// Keeps the entries before `from` and returns the others.
    fn split_off(&mut self, from: u64) -> BTreeMap<u64, EntryOf<Types>> {
        let others = self.entries.split_off(&from);
        self.commands -= others.values().map(commands).sum::<usize>();
        others
    }
}

fn commands(entry: &EntryOf<Types>) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.commands(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftLogReader<Types> for MemoryLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        Ok(self.kept.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(self.kept.lock().vote)
    }
}

impl RaftLogStorage<Types> for MemoryLog {
    type LogReader = MemoryLog;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let kept = self.kept.lock();
        let last = kept.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> MemoryLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        self.kept.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        self.kept.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Types>>, io::Error> {
        Ok(self.kept.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
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

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        let truncated = self.kept.lock().split_off(last.map_or(0, |last| last.index + 1));
        drop(truncated);
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> Result<(), io::Error> {
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
