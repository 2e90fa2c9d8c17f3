//! Two-phase commit as a model: the real ledgers, the real steps, and every order of everything that may happen
//! between two branches, searched without gap.
//!
//! A message that was ever sent may arrive at any time and as often as it likes: that is loss, delay, doubling and
//! reordering in one. A driver has no memory, so a crash at any point is a step that is not taken, or is
//! taken again. What a ledger may become is few, so its states are numbered and its real answers remembered.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::model::planted::{Fault, planted, with_fault};
use crate::model::{
    AbortReason, AccountNumber, AccountState, Amount, Batch, BranchName, Command, Credit, CreditState,
    LedgerId, NewAccount, NewTransfer, Origin, Outcomes, OutgoingState, OutgoingTransfer, Proposal,
    RemoteAccount, Seen, Sequence, Timestamp, Work,
};
use crate::transfer::step::{
    Answer, Ask, PATIENCE, Step, Verdict, after_answer, after_inquiry, answer, command_of, next_step, verdict,
};

/// Transfers of a scene.
const TRANSFERS: usize = 2;
/// What they move, so that every sum tells which of them took place.
const AMOUNTS: [i64; TRANSFERS] = [3, 5];
/// What each account holds at the beginning.
const FIRST: i64 = 7;
/// Where the receiver's numbers of the transfers are, and what each watermark stands for.
const NUMBERS: [u64; TRANSFERS] = [100, 200];
const WATERMARKS: [u64; TRANSFERS + 1] = [100, 200, 300];
/// Rounds in which two branches that hear each other bring everything to its end.
const ROUNDS: usize = 8;

/// Which branch pays each transfer; the other one receives.
type Scene = [usize; TRANSFERS];

/// What changes a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Event {
    Begin(usize),
    Commit(usize),
    Abort(usize),
    Close(usize),
    /// What the payer told, with its watermark.
    Told(usize, Ask, usize),
    /// What the receiver does after an inquiry.
    Obey(usize, Verdict),
    /// An operator freezes the account that receives.
    Freeze,
}

/// How a ledger stands, as far as it matters for what may happen next.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Face {
    balance: i64,
    held: i64,
    frozen: bool,
    paid: [Option<Paying>; TRANSFERS],
    received: [Option<Receiving>; TRANSFERS],
    watermark: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Paying {
    Pending,
    Committed,
    Aborted,
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Receiving {
    Prepared,
    Committed,
    Aborted,
}

/// One ledger in one state.
struct State {
    face: Face,
    history: Vec<Command>,
    /// The numbers of the transfers that it pays.
    numbers: [Option<Sequence>; TRANSFERS],
}

/// The ledger of one branch: its states as they are found, and what each event makes of them.
struct Branch {
    place: usize,
    scene: Scene,
    states: Vec<State>,
    known: HashMap<Face, usize>,
    edges: HashMap<(usize, Event), (usize, Answer)>,
}

fn name(place: usize) -> BranchName {
    ["mumbai", "delhi"][place].parse().unwrap()
}

fn ledger_of(place: usize) -> LedgerId {
    LedgerId([u8::try_from(place).unwrap() + 1; 16])
}

fn account() -> AccountNumber {
    AccountNumber::FIRST
}

fn amount(transfer: usize) -> Amount {
    Amount::from_minor(AMOUNTS[transfer]).unwrap()
}

fn seen() -> Seen {
    Seen { ledger: LedgerId([9; 16]), sequence: Sequence(1) }
}

impl Branch {
    fn new(place: usize, scene: Scene) -> Branch {
        let opened = NewAccount { deposit: Amount::from_minor(FIRST).ok(), ..NewAccount::default() };
        let history = vec![Command::OpenAccount(Box::new(opened))];
        let mut branch =
            Branch { place, scene, states: Vec::new(), known: HashMap::new(), edges: HashMap::new() };
        branch.intern(history, [None; TRANSFERS]);
        branch
    }

    /// The ledger after a history. Half way it goes through a snapshot, as after a restart.
    fn ledger(&self, history: &[Command]) -> Ledger {
        let mut ledger = Ledger::new();
        for (place, command) in history.iter().enumerate() {
            if 2 * place == history.len() {
                ledger = crate::ledger::through_snapshot(ledger);
            }
            apply(&ledger, command, place, ledger_of(self.place));
        }
        ledger
    }

    fn intern(&mut self, history: Vec<Command>, numbers: [Option<Sequence>; TRANSFERS]) -> usize {
        let ledger = self.ledger(&history);
        let face = self.face(&ledger, &numbers);
        if let Some(known) = self.known.get(&face) {
            return *known;
        }
        self.states.push(State { face: face.clone(), history, numbers });
        self.known.insert(face, self.states.len() - 1);
        self.states.len() - 1
    }

    fn face(&self, ledger: &Ledger, numbers: &[Option<Sequence>; TRANSFERS]) -> Face {
        let money = ledger.account(account()).unwrap();
        let audit = ledger.audit();
        assert!(audit.balanced(), "the books of a branch do not balance: {audit:?}");
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
        }
    }

    /// What an event makes of a state, and what the ledger answers.
    fn after(&mut self, from: usize, event: Event) -> (usize, Answer) {
        if let Some(known) = self.edges.get(&(from, event)) {
            return known.clone();
        }
        let State { history, numbers, .. } = &self.states[from];
        let (mut history, mut numbers) = (history.clone(), *numbers);
        let Some(command) = self.command(event, &numbers) else {
            return (from, Answer::Unknown);
        };
        let ledger = crate::ledger::through_snapshot(self.ledger(&history));
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

    fn command(&self, event: Event, numbers: &[Option<Sequence>; TRANSFERS]) -> Option<Command> {
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
                destination: RemoteAccount { branch: name(1 - self.scene[transfer]), account: account() },
                amount: amount(transfer),
            }))),
            Event::Commit(transfer) => numbers[transfer].map(|number| Command::CommitTransfer { number }),
            Event::Abort(transfer) => numbers[transfer]
                .map(|number| Command::AbortTransfer { number, reason: AbortReason::TimedOut }),
            Event::Close(transfer) => {
                numbers[transfer].map(|number| Command::CloseTransfer { number, seen: Some(seen()) })
            }
            Event::Told(transfer, ask, watermark) => {
                Some(command_of(ask, credit(transfer, Sequence(WATERMARKS[watermark]))))
            }
            Event::Obey(transfer, verdict) => after_inquiry(verdict, credit(transfer, Sequence::ZERO)),
            Event::Freeze => {
                Some(Command::SetAccountState { account: account(), state: AccountState::Frozen })
            }
        }
    }

    /// An open transfer that it pays.
    fn open(&self, state: usize, transfer: usize) -> Option<OutgoingTransfer> {
        let State { face, numbers, .. } = &self.states[state];
        let state = match face.paid[transfer]? {
            Paying::Pending => OutgoingState::Pending,
            Paying::Committed => OutgoingState::Committed { at: Timestamp::MIN },
            Paying::Aborted => {
                OutgoingState::Aborted { at: Timestamp::MIN, reason: AbortReason::TimedOut }
            }
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
    fn watermark(&self, state: usize) -> usize {
        let face = &self.states[state].face;
        let closed = |transfer: usize| {
            self.scene[transfer] != self.place || face.paid[transfer] == Some(Paying::Closed)
        };
        (0..TRANSFERS).take_while(|transfer| closed(*transfer)).count()
    }
}

fn paying(open: Option<&OutgoingTransfer>) -> Paying {
    match open.map(|transfer| &transfer.state) {
        None => Paying::Closed,
        Some(OutgoingState::Pending) => Paying::Pending,
        Some(OutgoingState::Committed { .. }) => Paying::Committed,
        Some(OutgoingState::Aborted { .. }) => Paying::Aborted,
    }
}

fn apply(ledger: &Ledger, command: &Command, place: usize, id: LedgerId) -> crate::model::Outcome {
    let proposal = Proposal { request: None, work: Work::One(command.clone()) };
    let time = Timestamp::from_micros(1 + place as u64);
    let batch = Batch { time, founding: Some(id), proposals: vec![proposal] };
    match &ledger.apply(&batch).replies[0].outcomes {
        Outcomes::One(outcome) => outcome.clone(),
        Outcomes::Many(_) => unreachable!("one command has one outcome"),
    }
}
