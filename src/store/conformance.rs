//! openraft's own tests of a log and a state machine, on ours.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::{LogStore, Machine, Tokio, Types};

struct InMemory;

impl StoreBuilder<Types<Tokio>, LogStore<Tokio>, Machine<Tokio>> for InMemory {
    async fn build(&self) -> Result<((), LogStore<Tokio>, Machine<Tokio>), StorageError<Types<Tokio>>> {
        Ok(((), LogStore::memory(), Machine::in_memory()))
    }
}

#[tokio::test]
async fn the_memory_store_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}
