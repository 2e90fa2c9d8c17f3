//! One branch of the model: what its ledger may become, and what each event makes of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ledger::{Ledger, SnapshotReader};
use crate::model::{
    AbortReason, AccountNumber, AccountState, Amount, Batch, BranchName, Command, Credit, CreditState,
    LedgerId, NewAccount, NewTransfer, Origin, Outcome, Outcomes, OutgoingState, OutgoingTransfer, Proposal,
    RemoteAccount, Seen, Sequence, StateAction, Timestamp, Work,
};
use crate::transfer::step::{Answer, Ask, Verdict, after_inquiry, answer, command_of};

/// Transfers of a scene.
pub(super) const TRANSFERS: usize = 2;
/// What they move, so that every sum tells which of them took place.
pub(super) const AMOUNTS: [i64; TRANSFERS] = [3, 5];
/// Where the receiver's numbers of the transfers are, and what each watermark stands for.
pub(super) const NUMBERS: [u64; TRANSFERS] = [100, 200];
pub(super) const WATERMARKS: [u64; TRANSFERS + 1] = [100, 200, 300];

/// What is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scene {
    /// Which branch pays each transfer; the other one receives.
    pub(super) payers: [usize; TRANSFERS],
    /// What each account holds at the beginning.
    pub(super) first: i64,
}

/// What changes a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Event {
    Begin(usize),
    Commit(usize),
    Abort(usize),
    Close(usize),
    /// What the payer told, with its watermark.
    Told(usize, Ask, usize),
    /// What the receiver does after an inquiry.
    Obey(usize, Verdict),
    /// The bank freezes the account or opens it again.
    Freeze(bool),
}

/// How a ledger stands, as far as it matters for what may happen next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Face {
    pub(super) balance: i64,
    pub(super) held: i64,
    pub(super) frozen: bool,
    pub(super) paid: [Option<Paying>; TRANSFERS],
    pub(super) received: [Option<Receiving>; TRANSFERS],
    pub(super) watermark: usize,
    pub(super) balanced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Paying {
    Pending,
    Committed,
    Aborted,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Receiving {
    Prepared,
    Committed,
    Aborted,
}

/// One ledger in one state.
pub(super) struct State {
    pub(super) face: Face,
    pub(super) history: Vec<Command>,
    /// The numbers of the transfers that it pays.
    pub(super) numbers: [Option<Sequence>; TRANSFERS],
}

/// The ledger of one branch: its states as they are found, and what each event makes of them.
pub(super) struct Branch {
    pub(super) place: usize,
    pub(super) scene: Scene,
    pub(super) states: Vec<State>,
    pub(super) known: HashMap<Face, usize>,
    pub(super) edges: HashMap<(usize, Event), (usize, Answer)>,
}

pub(super) fn name(place: usize) -> BranchName {
    ["mumbai", "delhi"][place].parse().unwrap()
}

pub(super) fn ledger_of(place: usize) -> LedgerId {
    LedgerId([u8::try_from(place).unwrap() + 1; 16])
}

pub(super) fn account() -> AccountNumber {
    AccountNumber::FIRST
}

pub(super) fn amount(transfer: usize) -> Amount {
    Amount::from_minor(AMOUNTS[transfer]).unwrap()
}

pub(super) fn seen() -> Seen {
    Seen { ledger: LedgerId([9; 16]), sequence: Sequence(1) }
}

impl Branch {
    pub(super) fn new(place: usize, scene: Scene) -> Branch {
        let opened = NewAccount { deposit: Amount::from_minor(scene.first).ok(), ..NewAccount::default() };
        let history = vec![Command::OpenAccount(Box::new(opened))];
        let mut branch =
            Branch { place, scene, states: Vec::new(), known: HashMap::new(), edges: HashMap::new() };
        branch.intern(history, [None; TRANSFERS]);
        branch
    }

    /// The ledger after a history. Half way it goes through a snapshot, as after a restart.
    pub(super) fn ledger(&self, history: &[Command]) -> Arc<Ledger> {
        let mut ledger = Arc::new(Ledger::new());
        for (place, command) in history.iter().enumerate() {
            if 2 * place == history.len() {
                ledger = through_snapshot(ledger);
            }
            // What was refused when it came is refused again.
            let _ = apply(&ledger, command, place, ledger_of(self.place));
        }
        ledger
    }

    pub(super) fn intern(&mut self, history: Vec<Command>, numbers: [Option<Sequence>; TRANSFERS]) -> usize {
        let ledger = self.ledger(&history);
        let face = self.face(&ledger, &numbers);
        if let Some(known) = self.known.get(&face) {
            return *known;
        }
        self.states.push(State { face: face.clone(), history, numbers });
        self.known.insert(face, self.states.len() - 1);
        self.states.len() - 1
    }

    pub(super) fn face(&self, ledger: &Ledger, numbers: &[Option<Sequence>; TRANSFERS]) -> Face {
        let money = ledger.account(account()).unwrap();
        let origin = Origin { branch: name(1 - self.place), ledger: ledger_of(1 - self.place) };
        let paid = numbers.map(|number| number.map(|number| paying(ledger.outgoing(number).as_ref())));
        let received = [0, 1].map(|transfer| {
            let state = ledger.incoming(&origin, Sequence(NUMBERS[transfer]))?.state;
            Some(match state {
                CreditState::Prepared { .. } => Receiving::Prepared,
                CreditState::Committed => Receiving::Committed,
                CreditState::Aborted => Receiving::Aborted,
            })
        });
        let settled = ledger.incoming_settled_below(&origin).unwrap_or(Sequence::ZERO);
        Face {
            balance: money.balance.balance.minor(),
            held: money.balance.held.minor(),
            frozen: money.state == AccountState::Frozen,
            paid,
            received,
            watermark: NUMBERS.iter().filter(|number| **number < settled.0).count(),
            balanced: ledger.audit().balanced(),
        }
    }

    /// What an event makes of a state, and what the ledger answers.
    pub(super) fn after(&mut self, from: usize, event: Event) -> (usize, Answer) {
        if let Some(known) = self.edges.get(&(from, event)) {
            return known.clone();
        }
        let State { history, numbers, .. } = &self.states[from];
        let (mut history, mut numbers) = (history.clone(), *numbers);
        let Some(command) = self.command(event, &numbers) else {
            return (from, Answer::Unknown);
        };
        let ledger = through_snapshot(self.ledger(&history));
        let outcome = apply(&ledger, &command, history.len(), ledger_of(self.place));
        if let (Event::Begin(transfer), Ok(_)) = (event, &outcome) {
            numbers[transfer] = Some(ledger.sequence());
        }
        history.push(command);
        let to = self.intern(history, numbers);
        let result = (to, answer(&outcome));
        self.edges.insert((from, event), result.clone());
        result
    }

    pub(super) fn command(&self, event: Event, numbers: &[Option<Sequence>; TRANSFERS]) -> Option<Command> {
        let credit = |transfer: usize, settled_below| Credit {
            origin: Origin { branch: name(1 - self.place), ledger: ledger_of(1 - self.place) },
            number: Sequence(NUMBERS[transfer]),
            settled_below,
            source: account(),
            destination: account(),
            amount: amount(transfer),
        };
        match event {
            Event::Begin(transfer) => Some(Command::BeginTransfer(Box::new(NewTransfer {
                source: account(),
                destination: RemoteAccount {
                    branch: name(1 - self.scene.payers[transfer]),
                    account: account(),
                },
                amount: amount(transfer),
            }))),
            Event::Commit(transfer) => numbers[transfer].map(|number| Command::CommitTransfer { number }),
            Event::Abort(transfer) => numbers[transfer]
                .map(|number| Command::AbortTransfer { number, reason: AbortReason::TimedOut }),
            Event::Close(transfer) => numbers[transfer]
                .map(|number| Command::CloseTransfer { number, seen: Some(Box::new(seen())) }),
            Event::Told(transfer, ask, watermark) => {
                Some(command_of(ask, credit(transfer, Sequence(WATERMARKS[watermark]))))
            }
            Event::Obey(transfer, verdict) => after_inquiry(verdict, credit(transfer, Sequence::ZERO)),
            Event::Freeze(freeze) => {
                let action = if freeze { StateAction::Freeze } else { StateAction::Open };
                Some(Command::SetAccountState { account: account(), action })
            }
        }
    }

    /// An open transfer that it pays.
    pub(super) fn open(&self, state: usize, transfer: usize) -> Option<OutgoingTransfer> {
        let State { face, numbers, .. } = &self.states[state];
        let state = match face.paid[transfer]? {
            Paying::Pending => OutgoingState::Pending,
            Paying::Committed => OutgoingState::Committed { at: Timestamp::MIN },
            Paying::Aborted => OutgoingState::Aborted { at: Timestamp::MIN, reason: AbortReason::TimedOut },
            Paying::Closed => return None,
        };
        Some(OutgoingTransfer {
            number: numbers[transfer]?,
            source: account(),
            destination: RemoteAccount { branch: name(1 - self.place), account: account() },
            amount: amount(transfer),
            begun: Timestamp::MIN,
            state,
        })
    }

    /// How many of its transfers are below its watermark.
    pub(super) fn watermark(&self, state: usize) -> usize {
        let face = &self.states[state].face;
        let closed = |transfer: usize| {
            self.scene.payers[transfer] != self.place || face.paid[transfer] == Some(Paying::Closed)
        };
        (0..TRANSFERS).take_while(|transfer| closed(*transfer)).count()
    }
}

pub(super) fn paying(open: Option<&OutgoingTransfer>) -> Paying {
    match open.map(|transfer| &transfer.state) {
        None => Paying::Closed,
        Some(OutgoingState::Pending) => Paying::Pending,
        Some(OutgoingState::Committed { .. }) => Paying::Committed,
        Some(OutgoingState::Aborted { .. }) => Paying::Aborted,
    }
}

pub(super) fn apply(ledger: &Ledger, command: &Command, place: usize, id: LedgerId) -> Outcome {
    let proposal = Proposal { request: None, work: Work::One(command.clone()) };
    let time = Timestamp::from_micros(1 + place as u64);
    let batch = Batch { time, founding: Some(id), proposals: vec![proposal] };
    match &ledger.apply(&batch).replies[0].outcomes {
        Outcomes::One(outcome) => outcome.clone(),
        Outcomes::Many(_) => unreachable!("one command has one outcome"),
    }
}

pub(super) fn through_snapshot(ledger: Arc<Ledger>) -> Arc<Ledger> {
    let mut reader = SnapshotReader::default();
    ledger.freeze().for_each(|frame| reader.frame(&frame).unwrap());
    Arc::new(reader.finish().unwrap())
}
