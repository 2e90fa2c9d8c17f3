//! Lookouts: what the pages know about each branch without asking, kept current while somebody watches.
//!
//! One lookout per branch and thread follows the journal and asks for the state of the replicas once a second;
//! all pages of that thread are drawn from it, so a hundred viewers cost the bank as much as one. What it saw
//! last stays when the branch cannot be reached, with the time when it was seen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use maud::{Markup, PreEscaped, html};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::parts::{refused, trouble};
use crate::client::{
    Audit, BranchStatus, Client, Config, Consistency, EntryOrder, JournalPiece, JournalQuery, JournalRecord,
    Options, Page, ReplicaRole, Watch,
};
use crate::model::{BranchName, Failure, Reason};

/// How often the replicas are asked how they are.
const ROUND: Duration = Duration::from_secs(1);
/// How long one question may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(900);
/// How often the books are added up, at most; it costs a look at every account.
const AUDIT_EVERY: Duration = Duration::from_secs(2);
/// Of the time at most one part in this many goes into adding up.
const AUDIT_SHARE: u32 = 20;
/// How long a lookout stays when the last viewer has gone.
const LINGER: Duration = Duration::from_secs(20);
/// Pause before a feed that failed is opened again.
const REST: Duration = Duration::from_millis(500);
/// Latest operations that are remembered.
const RECENT: usize = 200;
/// Operations that are read when a lookout starts.
const BEFORE: i32 = 50;
/// Drawings that are remembered.
const DRAWINGS: usize = 64;
/// Rounds that the chart of the rate shows.
pub(super) const RATES: usize = 60;
/// A feed that is further behind than this is opened again at the end: only the latest operations are shown.
const BEHIND: u64 = 20_000;

/// Something seen, and when.
#[derive(Clone, Debug)]
pub(super) struct Known<T> {
    pub(super) what: T,
    pub(super) at: Instant,
}

impl<T> Known<T> {
    fn now(what: T) -> Option<Known<T>> {
        Some(Known { what, at: Instant::now() })
    }
}

/// What a lookout has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The replicas, as the one that answered sees them.
    pub(super) status: Option<Known<BranchStatus>>,
    /// Which replicas each replica reaches; nothing for one that does not answer itself.
    pub(super) reach: BTreeMap<u64, Option<Vec<(u64, bool)>>>,
    /// The sums of the books.
    pub(super) audit: Option<Known<Audit>>,
    /// How long adding up took.
    audit_took: Duration,
    /// The latest operations, newest first.
    pub(super) recent: VecDeque<JournalRecord>,
    /// Operations in each of the last rounds, the latest last.
    pub(super) rates: VecDeque<u64>,
    /// Why the branch does not answer now.
    pub(super) trouble: Option<Failure>,
    /// The sequence and the time of the last round.
    counted: Option<(u64, Instant)>,
}

impl View {
    /// Operations in the last second.
    pub(super) fn rate(&self) -> u64 {
        self.rates.back().copied().unwrap_or(0)
    }

    /// How old is what the status shows.
    pub(super) fn age(&self) -> Option<Duration> {
        self.status.as_ref().map(|known| known.at.elapsed())
    }

    fn count(&mut self, sequence: u64) {
        let now = Instant::now();
        if let Some((last, at)) = self.counted {
            let micros = u64::try_from(now.duration_since(at).as_micros()).unwrap_or(u64::MAX).max(1);
            let rate = sequence.saturating_sub(last).saturating_mul(1_000_000) / micros;
            self.rates.push_back(rate);
            if self.rates.len() > RATES {
                self.rates.pop_front();
            }
        }
        self.counted = Some((sequence, now));
    }
}

/// The lookouts of all branches.
#[derive(Debug)]
pub(in crate::gateway) struct Lookouts(Vec<Arc<Lookout>>);

impl Lookouts {
    /// A lookout for each branch; they look when somebody watches.
    pub(in crate::gateway) fn new<'a>(
        branches: impl Iterator<Item = (&'a BranchName, &'a Client)>,
    ) -> Lookouts {
        Lookouts(branches.map(|(branch, client)| Lookout::new(branch.clone(), client.clone())).collect())
    }

    /// Lets somebody watch all branches.
    pub(super) fn enter(&self) -> Vec<Viewer> {
        self.0.iter().map(Lookout::enter).collect()
    }

    /// What each of them has seen, the branch served here first.
    pub(super) fn views(&self) -> Vec<(String, View)> {
        self.0.iter().map(|lookout| (lookout.branch.to_string(), lookout.view.lock().clone())).collect()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Lookout>> {
        self.0.iter()
    }

    /// That of a branch, if it is known.
    pub(super) fn of(&self, branch: &BranchName) -> Option<&Arc<Lookout>> {
        self.0.iter().find(|lookout| lookout.branch == *branch)
    }
}

/// The lookout of one branch.
#[derive(Debug)]
pub(super) struct Lookout {
    pub(super) branch: BranchName,
    client: Client,
    view: Mutex<View>,
    changed: watch::Sender<u64>,
    viewers: AtomicUsize,
    running: Mutex<bool>,
    /// Clients of single replicas, by address.
    replicas: Mutex<BTreeMap<String, Client>>,
    /// The latest drawings of what was read from the branch, by what they show.
    drawings: Mutex<BTreeMap<String, Known<String>>>,
}

/// A viewer: as long as there is one, the lookout looks.
#[derive(Debug)]
pub(super) struct Viewer {
    lookout: Arc<Lookout>,
    changed: watch::Receiver<u64>,
}

impl Viewer {
    /// Waits until something has changed since the last call.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the lookout that this viewer holds.
        let _ = self.changed.changed().await;
    }

    /// Whether the lookout has looked once.
    pub(super) fn has_seen(&self) -> bool {
        let view = self.lookout.view.lock();
        view.status.is_some() && view.audit.is_some() || view.trouble.is_some()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.lookout.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lookout {
    pub(super) fn new(branch: BranchName, client: Client) -> Arc<Lookout> {
        Arc::new(Lookout {
            branch,
            client,
            view: Mutex::default(),
            changed: watch::Sender::new(0),
            viewers: AtomicUsize::new(0),
            running: Mutex::new(false),
            replicas: Mutex::default(),
            drawings: Mutex::default(),
        })
    }

    /// What was read, drawn; or, when it could not be read, why, and the latest drawing with its age. What the
    /// branch itself refuses is told without an old drawing.
    pub(super) fn drawn(&self, what: &str, read: Result<Markup, Failure>) -> Markup {
        let mut drawings = self.drawings.lock();
        match read {
            Ok(markup) => {
                if drawings.len() >= DRAWINGS && !drawings.contains_key(what) {
                    let oldest =
                        drawings.iter().min_by_key(|(_, known)| known.at).map(|(key, _)| key.clone());
                    oldest.and_then(|key| drawings.remove(&key));
                }
                let known = Known { what: markup.clone().into_string(), at: Instant::now() };
                drawings.insert(what.to_owned(), known);
                markup
            }
            Err(failure) if !may_pass(failure.reason) => {
                drawings.remove(what);
                refused(&failure)
            }
            Err(failure) => {
                let old = drawings.get(what);
                let message = format!("Branch {} does not answer.", self.branch);
                html! {
                    (trouble(&message, &failure, old.map(|known| known.at.elapsed())))
                    @if let Some(known) = old { div.old { (PreEscaped(&known.what)) } }
                }
            }
        }
    }

    /// What it has seen.
    pub(super) fn view(&self) -> View {
        self.view.lock().clone()
    }

    /// The client of the branch.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Lets somebody watch; the first one starts the lookout.
    pub(super) fn enter(self: &Arc<Lookout>) -> Viewer {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        let changed = self.changed.subscribe();
        let mut running = self.running.lock();
        if !*running {
            *running = true;
            tokio::spawn(Arc::clone(self).look());
        }
        Viewer { lookout: Arc::clone(self), changed }
    }

    /// The client of one replica.
    pub(super) fn replica(&self, address: &str) -> Option<Client> {
        let mut replicas = self.replicas.lock();
        if let Some(client) = replicas.get(address) {
            return Some(client.clone());
        }
        let config = Config { timeout: PATIENCE, patience: PATIENCE / 2, ..Config::new([address]) };
        let client = Client::new(&config).ok()?;
        replicas.insert(address.to_owned(), client.clone());
        Some(client)
    }

    async fn look(self: Arc<Lookout>) {
        tokio::select! {
            () = self.follow() => {}
            () = self.ask() => {}
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Follows the journal, for ever.
    async fn follow(&self) {
        let mut feed = self.begin().await;
        let mut reached = 0;
        loop {
            match feed.next().await {
                Ok(piece) => {
                    reached = piece.seen.sequence;
                    self.remember(piece);
                }
                Err(failure) => {
                    tracing::debug!(branch = %self.branch, %failure, "a lookout's feed broke");
                    sleep(REST).await;
                }
            }
            let newest = self.view.lock().counted.map_or(0, |(sequence, _)| sequence);
            if newest > reached.saturating_add(BEHIND) {
                feed = self.client.watch(0, "", &quick());
                reached = newest;
            }
        }
    }

    /// Reads the latest operations and opens the feed of those that follow.
    async fn begin(&self) -> Watch {
        let query = JournalQuery {
            from: 0,
            account: "",
            order: EntryOrder::NewestFirst,
            page: Page { size: BEFORE, token: "" },
        };
        let Ok(page) = self.client.journal(query, &quick()).await else {
            return self.client.watch(0, "", &quick());
        };
        let next = page.records.first().map_or(0, |record| record.sequence + 1);
        self.view.lock().recent = page.records.into();
        self.tell();
        self.client.watch(next, "", &quick())
    }

    fn remember(&self, piece: JournalPiece) {
        if piece.records.is_empty() {
            return;
        }
        let mut view = self.view.lock();
        for record in piece.records {
            view.recent.push_front(record);
        }
        view.recent.truncate(RECENT);
        drop(view);
        self.tell();
    }

    /// Asks how the branch is, round after round, until nobody has watched for a while.
    async fn ask(&self) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alone_since = Instant::now();
        loop {
            rounds.tick().await;
            if self.viewers.load(Ordering::Relaxed) > 0 {
                alone_since = Instant::now();
            } else {
                let mut running = self.running.lock();
                // Under the lock, so that a viewer who comes now either is counted or starts the lookout anew.
                if alone_since.elapsed() > LINGER && self.viewers.load(Ordering::Relaxed) == 0 {
                    *running = false;
                    self.view.lock().counted = None;
                    return;
                }
            }
            self.round().await;
            self.tell();
        }
    }

    async fn round(&self) {
        match timeout(PATIENCE, self.client.branch_status(&quick())).await {
            Ok(Ok(status)) => self.saw(status).await,
            Ok(Err(failure)) => self.view.lock().trouble = Some(failure),
            Err(_) => self.view.lock().trouble = Some(silent()),
        }
        self.add_up().await;
    }

    async fn saw(&self, status: BranchStatus) {
        let reach = self.reach(&status).await;
        let sequence = status.replicas.iter().map(|replica| replica.sequence).max().unwrap_or(0);
        let mut view = self.view.lock();
        view.count(sequence);
        view.reach = reach;
        view.trouble = None;
        view.status = Known::now(status);
    }

    /// Asks every replica by itself whom it reaches.
    async fn reach(&self, status: &BranchStatus) -> BTreeMap<u64, Option<Vec<(u64, bool)>>> {
        let reached = |status: &BranchStatus| {
            let replicas = status.replicas.iter();
            replicas.map(|other| (other.id, other.role != ReplicaRole::Unreachable)).collect::<Vec<_>>()
        };
        let asked = status.replicas.iter().map(|replica| async move {
            if replica.id == status.replica {
                return (replica.id, Some(reached(status)));
            }
            let Some(client) = self.replica(&replica.address) else { return (replica.id, None) };
            let answer = timeout(PATIENCE, client.branch_status(&quick())).await;
            // Another server that listens there now does not speak for the replica.
            let own = answer.ok().and_then(Result::ok).filter(|own| own.replica == replica.id);
            (replica.id, own.map(|own| reached(&own)))
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn add_up(&self) {
        {
            let view = self.view.lock();
            let sequence = view.counted.map(|(sequence, _)| sequence);
            let current = view.audit.as_ref().is_some_and(|known| {
                Some(known.what.sequence) == sequence
                    || known.at.elapsed() < AUDIT_EVERY.max(view.audit_took * AUDIT_SHARE)
            });
            if current || view.trouble.is_some() {
                return;
            }
        }
        let began = Instant::now();
        let audit = timeout(PATIENCE, self.client.audit(&quick())).await;
        let mut view = self.view.lock();
        view.audit_took = began.elapsed();
        if let Ok(Ok(audit)) = audit {
            view.audit = Known::now(audit);
        }
    }
}

/// Whether a failure says nothing about what was asked for, only that it could not be read now.
pub(super) fn may_pass(reason: Reason) -> bool {
    matches!(reason.http(), 429 | 500.. | 408)
}

/// How lookouts and pages ask: at once, whatever the replica has.
pub(super) fn quick() -> Options {
    Options {
        consistency: Some(Consistency::Stale),
        timeout: Some(PATIENCE),
        session_token: Some(String::new()),
        ..Options::default()
    }
}

/// Why a question had no answer.
pub(super) fn silent() -> Failure {
    Failure::new(
        Reason::Unreachable,
        format!("no server of the branch answered within {} ms", PATIENCE.as_millis()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_what_came_between_rounds() {
        let mut view = View::default();
        view.count(100);
        assert_eq!(view.rate(), 0);
        view.counted = Some((100, Instant::now().checked_sub(Duration::from_secs(2)).unwrap()));
        view.count(300);
        assert!((90..=100).contains(&view.rate()), "{}", view.rate());
        for _ in 0..2 * RATES {
            view.count(300);
        }
        assert_eq!((view.rate(), view.rates.len()), (0, RATES));
    }
}
