//! openraft's own tests of a log and a state machine, on ours.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{LogState, OptionalSend, RaftLogReader, StorageError};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::faulty_disk::FaultyDisk;
use super::log::{DIRECTORY_LIMITS, Limits, create_with};
use super::types::{Entry, LogId, Vote};
use super::{Directory, Disk, Identity, Incarnation, LogStore, Machine, RealDisk, Tokio, Types};
use crate::model::ReplicaId;

type Log = LogStore<Tokio>;
type Built<G, L> = Result<(G, L, Machine<Tokio>), StorageError<Types<Tokio>>>;

fn machine() -> Machine<Tokio> {
    Machine::in_memory()
}

/// Opens a log whose segments hold a few entries and whose entries are read back from the disk.
fn open(disk: Arc<dyn Disk>) -> Log {
    const SEGMENT: u64 = 1_024;
    let identity = Identity { branch: "main".parse().unwrap(), replica: ReplicaId(1) };
    let begin = |disk: &dyn Disk| create_with(disk, SEGMENT);
    let directory = Directory::open(disk, identity, Incarnation::default(), begin).unwrap();
    let limits = Limits { cached: 0, ..DIRECTORY_LIMITS };
    Log::open_with(Arc::new(directory), limits, SEGMENT).unwrap()
}

struct InMemory;

impl StoreBuilder<Types<Tokio>, Log, Machine<Tokio>> for InMemory {
    async fn build(&self) -> Built<(), Log> {
        Ok(((), Log::memory(false), machine()))
    }
}

struct OnDisk;

impl StoreBuilder<Types<Tokio>, Log, Machine<Tokio>, TempDir> for OnDisk {
    async fn build(&self) -> Built<TempDir, Log> {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
        let log = open(Arc::clone(&disk));
        Ok((folder, log, Machine::open(&disk).unwrap()))
    }
}

struct OnDiskWithPowerCuts;

impl StoreBuilder<Types<Tokio>, Reopened, Machine<Tokio>> for OnDiskWithPowerCuts {
    async fn build(&self) -> Built<(), Reopened> {
        let disk = FaultyDisk::new(1);
        let log = open(Arc::new(disk.clone()));
        Ok(((), Reopened(Arc::new(Mutex::new((disk, log)))), machine()))
    }
}

/// A log that loses its power after everything that it has done.
#[derive(Clone)]
struct Reopened(Arc<Mutex<(FaultyDisk, Log)>>);

impl Reopened {
    fn log(&self) -> Log {
        self.0.lock().1.clone()
    }

    fn lose_power(&self) {
        let mut both = self.0.lock();
        let disk = both.0.crash();
        let log = open(Arc::new(disk.clone()));
        *both = (disk, log);
    }
}

impl RaftLogReader<Types<Tokio>> for Reopened {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.log().try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.log().read_vote().await
    }
}

impl RaftLogStorage<Types<Tokio>> for Reopened {
    type LogReader = Reopened;

    async fn get_log_state(&mut self) -> Result<LogState<Types<Tokio>>, io::Error> {
        self.log().get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Reopened {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log().save_vote(vote).await?;
        self.lose_power();
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log().save_committed(committed).await?;
        // What is committed may be forgotten by a power cut, but not by a close.
        self.log().close().await?;
        self.lose_power();
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.log().read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<Tokio>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (tell, told) = Types::<Tokio>::oneshot();
        self.log().append(entries, IOFlushed::signal(tell)).await?;
        let flushed = told.await.unwrap();
        self.lose_power();
        callback.io_completed(flushed);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.log().truncate_after(last).await?;
        self.lose_power();
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.log().purge(upto).await?;
        self.lose_power();
        Ok(())
    }
}

#[tokio::test]
async fn the_store_in_memory_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn the_store_in_a_directory_passes_the_suite_of_openraft() {
    Suite::test_all(OnDisk).await.unwrap();
}

#[tokio::test]
async fn the_store_passes_the_suite_of_openraft_though_it_loses_its_power_all_the_time() {
    Suite::test_all(OnDiskWithPowerCuts).await.unwrap();
}
