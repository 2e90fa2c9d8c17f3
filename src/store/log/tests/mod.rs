//! The log in a directory on a disk that fails in every way that disks do.

mod damage;
mod faults;
mod use_of_it;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{Membership, RaftLogReader};

use super::*;
use crate::model::{AccountNumber, Amount, Batch, Command, Proposal, ReplicaId, Timestamp, Work};
use crate::store::faulty_disk::FaultyDisk;
use crate::store::types::{LeaderId, LogBatch};
use crate::store::{Identity, Incarnation, Member, RealDisk, Tokio};

type Log = LogStore<Tokio>;

/// Small, so that a few entries go through several segments.
const SMALL: u64 = 1_024;
/// Entries are read back from the disk as soon as they are there.
const NOTHING_CACHED: Limits = Limits { cached: 0, ..DIRECTORY_LIMITS };

fn identity() -> Identity {
    Identity { branch: "main".parse().unwrap(), replica: ReplicaId(1) }
}

fn directory(disk: Arc<dyn Disk>) -> Result<Arc<Directory>, DirectoryError> {
    let begin = |disk: &dyn Disk| create_with(disk, SMALL);
    Directory::open(disk, identity(), Incarnation([9; 16]), begin).map(Arc::new)
}

fn open(disk: &FaultyDisk) -> Result<Log, DirectoryError> {
    LogStore::open_with(directory(Arc::new(disk.clone()))?, NOTHING_CACHED, SMALL)
}

/// The result of something that this disk does at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the disk does its jobs at once")
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 1 }, index)
}

/// An entry with a batch of this many deposits.
fn batch(term: u64, index: u64, commands: u64) -> Entry {
    let deposit = |n| Command::Deposit {
        account: AccountNumber::new(n + 1).unwrap(),
        amount: Amount::from_minor(1 + i64::try_from(index).unwrap()).unwrap(),
    };
    let proposal = Proposal { request: None, work: Work::Independent((0..commands).map(deposit).collect()) };
    let time = Timestamp::from_micros(index);
    let batch = LogBatch::new(Batch { time, founding: None, proposals: vec![proposal] });
    Entry { log_id: id(term, index), payload: Payload::Normal(batch) }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: id(term, index), payload: Payload::Blank }
}

fn membership(term: u64, index: u64) -> Entry {
    let members = (1..=3).map(|id| (id, Member { address: format!("host:{id}"), ..Member::default() }));
    let members = Membership::new(vec![[1, 2, 3].into()], members.collect::<BTreeMap<_, _>>()).unwrap();
    Entry { log_id: id(term, index), payload: Payload::Membership(members) }
}

/// What happens to a log.
#[derive(Clone)]
enum Step {
    Append(Vec<Entry>),
    Vote(u64),
    Commit(LogId),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// What a log shows.
#[derive(Clone, PartialEq, Debug, Default)]
struct View {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<String>,
    ids: Vec<LogId>,
}

fn shown(entry: &Entry) -> String {
    match &entry.payload {
        Payload::Blank => format!("{} blank", entry.log_id),
        Payload::Normal(batch) => format!("{} {:?}", entry.log_id, batch.batch()),
        Payload::Membership(members) => format!("{} {members:?}", entry.log_id),
    }
}

impl View {
    fn of(log: &Log) -> View {
        let mut log = log.clone();
        let entries = now(log.try_get_log_entries(..)).unwrap();
        let state = now(log.get_log_state()).unwrap();
        let ids: Vec<_> = entries.iter().map(|entry| entry.log_id).collect();
        assert_eq!(state.last_log_id, ids.last().copied().or(state.last_purged_log_id));
        View {
            vote: now(log.read_vote()).unwrap(),
            purged: state.last_purged_log_id,
            entries: entries.iter().map(shown).collect(),
            ids,
        }
    }

    fn keep(&mut self, keep: impl Fn(LogId) -> bool) {
        let kept: Vec<_> = self.ids.iter().map(|id| keep(*id)).collect();
        let mut flags = kept.iter();
        self.entries.retain(|_| *flags.next().unwrap());
        self.ids.retain(|id| keep(*id));
    }

    /// The views after the step, as far as it may have come: the last one is after all of it.
    fn after(&self, step: &Step) -> Vec<View> {
        let mut next = self.clone();
        match step {
            Step::Append(entries) => {
                return entries
                    .iter()
                    .map(|entry| {
                        next.entries.push(shown(entry));
                        next.ids.push(entry.log_id);
                        next.clone()
                    })
                    .collect();
            }
            Step::Vote(term) => next.vote = Some(Vote::new(*term, 1)),
            Step::Commit(_) => {}
            Step::Truncate(last) => next.keep(|id| last.is_some_and(|last| id.index <= last.index)),
            Step::Purge(upto) => {
                next.keep(|id| id.index > upto.index);
                next.purged = Some(*upto);
            }
        }
        vec![next]
    }
}

/// Does the step; returns when the log says that it is done.
fn perform(log: &Log, step: &Step) -> io::Result<()> {
    let mut log = log.clone();
    match step.clone() {
        Step::Append(entries) => append(&log, entries),
        Step::Vote(term) => now(log.save_vote(&Vote::new(term, 1))),
        Step::Commit(committed) => now(log.save_committed(Some(committed))),
        Step::Truncate(last) => now(log.truncate_after(last)),
        Step::Purge(upto) => now(log.purge(upto)),
    }
}

fn append(log: &Log, entries: Vec<Entry>) -> io::Result<()> {
    let (tell, told) = Types::<Tokio>::oneshot();
    now(log.clone().append(entries, IOFlushed::signal(tell)))?;
    now(told).unwrap()
}

/// A life of a log: every kind of record, several segments, some of them purged away.
fn life() -> Vec<Step> {
    vec![
        Step::Vote(1),
        Step::Append(vec![membership(1, 0), blank(1, 1), batch(1, 2, 3)]),
        Step::Commit(id(1, 1)),
        Step::Append((3..9).map(|index| batch(1, index, 10)).collect()),
        Step::Vote(2),
        Step::Truncate(Some(id(1, 6))),
        Step::Append(vec![blank(2, 7), batch(2, 8, 30)]),
        Step::Append((9..16).map(|index| batch(2, index, 12)).collect()),
        Step::Commit(id(2, 12)),
        Step::Purge(id(2, 9)),
        Step::Append(vec![batch(2, 16, 400)]),
        Step::Vote(3),
        Step::Append(vec![batch(3, 17, 2)]),
    ]
}

/// A disk with a log that has had this life, whose process was then killed, and what it had acknowledged.
fn lived(steps: &[Step]) -> (FaultyDisk, View) {
    let disk = FaultyDisk::new(7);
    let log = open(&disk).unwrap();
    let mut view = View::default();
    for step in steps {
        perform(&log, step).unwrap();
        view = view.after(step).pop().unwrap();
    }
    assert_eq!(View::of(&log), view);
    (disk.kill(), view)
}
