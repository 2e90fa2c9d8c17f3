//! The receiver's side: credits that were prepared and whose decision does not come are asked about.
//!
//! Invariant: the receiver never decides. It asks, and obeys what the payer's ledger says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::flight::{Crew, absurd};
use super::message::{Body, Reply, STEPS, Terms};
use super::step::{ASK_AFTER, Verdict, after_inquiry};
use crate::ledger::PreparedCredit;
use crate::model::planted::{Fault, planted};
use crate::model::{Command, Credit, Failure, Origin, Sequence};
use crate::store::Runtime;

/// The longest pause between two questions about the same credit.
const LONGEST: Duration = Duration::from_secs(8);

/// A credit by its payer and number.
pub(super) type Name = (Origin, Sequence);

/// When a credit is asked about.
struct Question<I> {
    due: I,
    pause: Duration,
}

/// Which prepared credits have been seen, and when they are asked about.
pub(super) struct Questions<R: Runtime> {
    open: BTreeMap<Name, Question<R::Instant>>,
    asking: BTreeSet<Origin>,
}

impl<R: Runtime> Questions<R> {
    pub(super) fn new() -> Questions<R> {
        Questions { open: BTreeMap::new(), asking: BTreeSet::new() }
    }

    /// Takes in what is prepared now, and returns the credits to ask about, in one message for each payer.
    pub(super) fn due(&mut self, prepared: Vec<PreparedCredit>) -> Vec<Vec<Credit>> {
        let now = R::now();
        let names: BTreeSet<Name> = prepared
            .iter()
            .map(|prepared| (prepared.credit.origin.clone(), prepared.credit.number))
            .collect();
        self.open.retain(|name, _| names.contains(name));
        let mut messages = BTreeMap::<Origin, Vec<Credit>>::new();
        for PreparedCredit { credit, .. } in prepared {
            let name = (credit.origin.clone(), credit.number);
            let question =
                self.open.entry(name).or_insert(Question { due: now + ASK_AFTER, pause: ASK_AFTER });
            let message = messages.entry(credit.origin.clone()).or_default();
            if question.due <= now && !self.asking.contains(&credit.origin) && message.len() < STEPS {
                question.pause = (question.pause * 2).min(LONGEST);
                question.due = now + question.pause;
                message.push(credit);
            }
        }
        messages.retain(|_, credits| !credits.is_empty());
        self.asking.extend(messages.keys().cloned());
        messages.into_values().collect()
    }

    /// A message about credits of this payer has its answer, or none.
    pub(super) fn answered(&mut self, origin: &Origin) {
        self.asking.remove(origin);
    }
}

impl<R: Runtime> Crew<R> {
    /// Asks a payer about its credits, which are all of one origin, and obeys.
    pub(super) async fn inquire(&self, credits: Vec<Credit>) {
        let Some(origin) = credits.first().map(|credit| credit.origin.clone()) else { return };
        let asked = self.ask(&origin, credits.iter().map(Terms::from).collect()).await;
        let verdicts = match asked {
            Ok(verdicts) if verdicts.len() == credits.len() => verdicts,
            Ok(_) => return self.note(&origin.branch, Some(&absurd(&origin.branch))),
            Err(_) if planted(Fault::ParticipantGivesUp) => vec![Verdict::Abort; credits.len()],
            Err(failure) => return self.note(&origin.branch, Some(&failure)),
        };
        let commands: Vec<Command> = verdicts
            .into_iter()
            .zip(credits)
            .filter_map(|(verdict, credit)| after_inquiry(verdict, credit))
            .collect();
        // What does not get into the log is asked about again.
        let _ = self.propose(commands).await;
    }

    async fn ask(&self, origin: &Origin, transfers: Vec<Terms>) -> Result<Vec<Verdict>, Failure> {
        let receiver = self.lane.branch().clone();
        let body = Body::Inquire { origin: origin.clone(), receiver, transfers };
        match self.exchange(&origin.branch, body).await? {
            Reply::Verdicts { verdicts, .. } => Ok(verdicts),
            Reply::Delivered { .. } => Err(absurd(&origin.branch)),
        }
    }
}
