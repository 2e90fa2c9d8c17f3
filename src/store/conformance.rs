//! openraft's own tests of a log and a state machine, on ours.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::{LogStore, Machine, Progress, State, Tokio, Types};

struct InMemory;

impl StoreBuilder<Types<Tokio>, LogStore<Tokio>, Machine<Tokio>> for InMemory {
    async fn build(&self) -> Result<((), LogStore<Tokio>, Machine<Tokio>), StorageError<Types<Tokio>>> {
        let machine = Machine::new(Arc::new(State::new()), Arc::new(Progress::new()));
        Ok(((), LogStore::memory(), machine))
    }
}

#[tokio::test]
async fn the_memory_store_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}
