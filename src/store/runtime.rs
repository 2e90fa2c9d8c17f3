//! What a replica runs on: the one place where `store` and `replication` meet a runtime.
//!
//! Invariant: code of these two rooms spawns, sleeps, looks at the time and times out through [`Runtime`] only,
//! waits on primitives that wake in a fixed order (`Notify`, `Semaphore`, channels; not tokio's `watch`, not
//! `select!` without `biased`), and never iterates over a randomly seeded map. So a whole replica runs on tokio
//! and, unchanged, on openraft's simulated runtime, where a seed replays bit for bit.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Add;
use std::time::Duration;

use openraft::AsyncRuntime;

/// A runtime, by name: the type is never instantiated for its own sake.
pub trait Runtime: Copy + Ord + Default + Debug + Send + Sync + 'static {
    /// The same runtime as openraft knows it.
    type Async: AsyncRuntime;
    /// A point on the monotonic clock of the runtime.
    type Instant: Copy + Ord + Debug + Add<Duration, Output = Self::Instant> + Send + Sync + 'static;

    /// The present.
    fn now() -> Self::Instant;

    /// How long it is until `deadline`; zero when it has passed.
    fn left(deadline: Self::Instant) -> Duration;

    /// Waits for `future` until `deadline`; `None` when that passes first.
    fn timeout_at<F>(deadline: Self::Instant, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send;

    /// Runs a task to its end, whoever goes away meanwhile.
    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        drop(<Self::Async as AsyncRuntime>::spawn(future));
    }

    /// Waits.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send {
        <Self::Async as AsyncRuntime>::sleep(duration)
    }

    /// Waits for `future` for at most `patience`; `None` when that was not enough.
    fn timeout<F>(patience: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        Self::timeout_at(Self::now() + patience, future)
    }
}

/// The runtime of servers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Tokio;

impl Runtime for Tokio {
    type Async = openraft_rt_tokio::TokioRuntime;
    type Instant = std::time::Instant;

    fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    fn left(deadline: std::time::Instant) -> Duration {
        deadline.saturating_duration_since(std::time::Instant::now())
    }

    async fn timeout_at<F>(deadline: std::time::Instant, future: F) -> Option<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        tokio::time::timeout_at(deadline.into(), future).await.ok()
    }
}
