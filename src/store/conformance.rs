//! openraft's own tests of a log and a state machine, on ours.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::{Machine, MemoryLog, Progress, State, Tokio, Types};

struct InMemory;

impl StoreBuilder<Types<Tokio>, MemoryLog<Tokio>, Machine<Tokio>> for InMemory {
    async fn build(&self) -> Result<((), MemoryLog<Tokio>, Machine<Tokio>), StorageError<Types<Tokio>>> {
        let machine = Machine::new(Arc::new(State::new()), Arc::new(Progress::new()));
        Ok(((), MemoryLog::default(), machine))
    }
}

#[tokio::test]
async fn the_memory_store_passes_the_suite_of_openraft() {
    Suite::test_all(InMemory).await.unwrap();
}
