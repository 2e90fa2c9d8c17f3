//! Two-phase commit as a model: the real ledgers, the real steps, and every order of everything that may happen
//! between two branches, searched without gap.
//!
//! A message that was ever sent may arrive at any time and as often as it likes: that is loss, delay, doubling and
//! reordering in one. A driver has no memory, so a crash at any point is a step that is not taken, or is
//! taken again. What a ledger may become is few, so its states are numbered and its real answers remembered.

mod side;

use std::collections::HashSet;
use std::time::Duration;

use self::side::{
    AMOUNTS, Branch, Event, Face, Paying, Receiving, Scene, TRANSFERS, account, amount, name, seen,
};
use crate::model::planted::{Fault, planted, with_fault};
use crate::model::{
    AbortReason, Command, OutgoingState, OutgoingTransfer, Rejection, RemoteAccount, Timestamp,
};
use crate::transfer::step::{Answer, Ask, PATIENCE, Step, Verdict, after_answer, next_step, verdict};

/// Rounds in which two branches that hear each other bring everything to its end.
const ROUNDS: usize = 8;

/// What is on its way between the branches, or has ever been.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Message {
    /// What the payer told, with its watermark.
    Told(usize, Ask, usize),
    /// What the receiver answered to it.
    Answer(usize, Ask, Answer),
    /// The receiver asks for the decision.
    Question(usize),
    /// What the payer says to that.
    Verdict(usize, Verdict),
}

const ASKS: [Ask; 3] = [Ask::Prepare, Ask::Commit, Ask::Abort];
const VERDICTS: [Verdict; 4] = [Verdict::Pending, Verdict::Commit, Verdict::Abort, Verdict::Unknown];

fn answers() -> [Answer; 6] {
    let refused = Answer::Refused(Box::new(Rejection::AccountFrozen { account: account() }));
    [Answer::Prepared, refused, Answer::Committed, Answer::Aborted, Answer::Settled, Answer::Unknown]
}

/// All messages there are, so that a set of them is a number.
fn messages() -> Vec<Message> {
    let mut all = Vec::new();
    for transfer in 0..TRANSFERS {
        for ask in ASKS {
            all.extend((0..=TRANSFERS).map(|watermark| Message::Told(transfer, ask, watermark)));
            all.extend(answers().map(|answer| Message::Answer(transfer, ask, answer)));
        }
        all.push(Message::Question(transfer));
        all.extend(VERDICTS.map(|verdict| Message::Verdict(transfer, verdict)));
    }
    all
}

/// Both branches and everything between them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct World {
    states: [u32; 2],
    /// The messages that were ever sent.
    sent: u64,
}

/// A search through everything that may happen in a scene.
struct Search {
    scene: Scene,
    branches: [Branch; 2],
    messages: Vec<Message>,
    /// Pairs of states from which two branches that hear each other come to an end.
    ends: HashSet<[u32; 2]>,
}

impl Search {
    fn new(scene: Scene) -> Search {
        let branches = [Branch::new(0, scene), Branch::new(1, scene)];
        Search { scene, branches, messages: messages(), ends: HashSet::new() }
    }

    fn bit(&self, message: &Message) -> u64 {
        // A refusal is a refusal.
        let is_it = |other: &Message| match (message, other) {
            (Message::Answer(t, ask, Answer::Refused(_)), Message::Answer(u, other, Answer::Refused(_))) => {
                (t, ask) == (u, other)
            }
            (message, other) => message == other,
        };
        1 << self.messages.iter().position(is_it).unwrap()
    }

    fn state(&self, world: World, place: usize) -> usize {
        usize::try_from(world.states[place]).unwrap_or_else(|_| unreachable!("{}", world.states[place]))
    }

    /// Lets something happen to the ledger of one branch.
    fn happen(&mut self, world: World, place: usize, event: Event) -> (World, Answer) {
        let (to, answer) = self.branches[place].after(self.state(world, place), event);
        let mut next = world;
        next.states[place] = u32::try_from(to).unwrap();
        (next, answer)
    }

    fn send(&self, world: World, message: &Message) -> World {
        World { sent: world.sent | self.bit(message), ..world }
    }

    /// Everything that may happen next.
    fn next(&mut self, world: World, out: &mut Vec<World>) {
        for transfer in 0..TRANSFERS {
            let (payer, receiver) = (self.scene.payers[transfer], 1 - self.scene.payers[transfer]);
            let paying = self.state(world, payer);
            if self.branches[payer].states[paying].numbers[transfer].is_none() {
                out.push(self.happen(world, payer, Event::Begin(transfer)).0);
            }
            if let Some(open) = self.branches[payer].open(paying, transfer) {
                for waited in [Duration::ZERO, PATIENCE] {
                    out.push(self.step(world, transfer, &open, waited));
                }
            }
            let face = &self.branches[receiver].states[self.state(world, receiver)].face;
            let (frozen, received) = (face.frozen, face.received[transfer]);
            if received == Some(Receiving::Prepared) {
                out.push(self.send(world, &Message::Question(transfer)));
                if planted(Fault::ParticipantGivesUp) {
                    out.push(self.happen(world, receiver, Event::Obey(transfer, Verdict::Abort)).0);
                }
            }
            out.push(self.happen(world, receiver, Event::Freeze(!frozen)).0);
        }
        for place in 0..self.messages.len() {
            if world.sent & (1 << place) != 0 {
                self.arrive(world, self.messages[place].clone(), out);
            }
        }
        out.retain(|next| *next != world);
    }

    /// The payer takes its next step.
    fn step(&mut self, world: World, transfer: usize, open: &OutgoingTransfer, waited: Duration) -> World {
        let payer = self.scene.payers[transfer];
        match next_step(open, waited, true) {
            Step::Tell(ask) => {
                let watermark = self.branches[payer].watermark(self.state(world, payer));
                self.send(world, &Message::Told(transfer, ask, watermark))
            }
            Step::Decide(command) => self.decide(world, transfer, &command),
        }
    }

    /// A command of a driver comes into the log of the payer.
    fn decide(&mut self, world: World, transfer: usize, command: &Command) -> World {
        let event = if let Command::CommitTransfer { .. } = command {
            Event::Commit(transfer)
        } else if let Command::AbortTransfer { .. } = command {
            Event::Abort(transfer)
        } else {
            assert!(matches!(command, Command::CloseTransfer { .. }), "{command:?}");
            Event::Close(transfer)
        };
        self.happen(world, self.scene.payers[transfer], event).0
    }

    fn arrive(&mut self, world: World, message: Message, out: &mut Vec<World>) {
        match message {
            Message::Told(transfer, ask, watermark) => {
                let event = Event::Told(transfer, ask, watermark);
                let (next, answer) = self.happen(world, 1 - self.scene.payers[transfer], event);
                // The answer may be lost.
                out.push(next);
                out.push(self.send(next, &Message::Answer(transfer, ask, answer)));
            }
            Message::Answer(transfer, ask, answer) => {
                let told = self.told(world, transfer, ask);
                let Some(command) = after_answer(&told, &answer, seen()) else { return };
                out.push(self.decide(world, transfer, &command));
                if planted(Fault::DecisionInMemory) && matches!(command, Command::CommitTransfer { .. }) {
                    out.push(self.send(world, &Message::Told(transfer, Ask::Commit, 0)));
                }
            }
            Message::Question(transfer) => {
                let payer = self.scene.payers[transfer];
                let open = self.branches[payer].open(self.state(world, payer), transfer);
                out.push(self.send(world, &Message::Verdict(transfer, verdict(open.as_ref()))));
            }
            Message::Verdict(_, Verdict::Pending) => {}
            Message::Verdict(transfer, verdict) => {
                let event = Event::Obey(transfer, verdict);
                out.push(self.happen(world, 1 - self.scene.payers[transfer], event).0);
            }
        }
    }

    /// The transfer as it was when this was told.
    fn told(&self, world: World, transfer: usize, ask: Ask) -> OutgoingTransfer {
        let payer = self.scene.payers[transfer];
        let number = self.branches[payer].states[self.state(world, payer)].numbers[transfer];
        let state = match ask {
            Ask::Prepare => OutgoingState::Pending,
            Ask::Commit => OutgoingState::Committed { at: Timestamp::MIN },
            Ask::Abort => OutgoingState::Aborted { at: Timestamp::MIN, reason: AbortReason::TimedOut },
        };
        let destination = RemoteAccount { branch: name(1 - payer), account: account() };
        OutgoingTransfer {
            number: number.unwrap(),
            source: account(),
            destination,
            amount: amount(transfer),
            begun: Timestamp::MIN,
            state,
        }
    }

    /// What must be true at every moment.
    fn check(&self, world: World) -> Result<(), String> {
        let faces: [&Face; 2] =
            [0, 1].map(|place| &self.branches[place].states[self.state(world, place)].face);
        let (debited, credited) = self.sums(faces)?;
        for transfer in 0..TRANSFERS {
            let (payer, receiver) =
                (faces[self.scene.payers[transfer]], faces[1 - self.scene.payers[transfer]]);
            let (paid, received) = (payer.paid[transfer], receiver.received[transfer]);
            if credited[transfer] && !debited[transfer] {
                return Err(format!("transfer {transfer} was credited and not paid"));
            }
            if debited[transfer] && (received == Some(Receiving::Aborted) || paid == Some(Paying::Aborted)) {
                return Err(format!("transfer {transfer} was paid and aborted"));
            }
            if paid == Some(Paying::Closed) && debited[transfer] != credited[transfer] {
                return Err(format!("transfer {transfer} was forgotten half way"));
            }
            if paid == Some(Paying::Closed) && received == Some(Receiving::Prepared) {
                return Err(format!("transfer {transfer} is closed and holds room at the receiver"));
            }
        }
        for (place, face) in faces.iter().enumerate() {
            let held = |transfer: &usize| face.paid[*transfer] == Some(Paying::Pending);
            let held: i64 = (0..TRANSFERS).filter(held).map(|transfer| AMOUNTS[transfer]).sum();
            if held != face.held {
                return Err(format!("branch {place} holds {} and not {held}", face.held));
            }
            if !face.balanced {
                return Err(format!("the books of branch {place} do not balance"));
            }
        }
        Ok(())
    }

    /// Which transfers were paid and which credited, as balances alone tell.
    fn sums(&self, faces: [&Face; 2]) -> Result<([bool; TRANSFERS], [bool; TRANSFERS]), String> {
        let all = |place: usize, pays: bool| {
            (0..TRANSFERS).filter(move |transfer| (self.scene.payers[*transfer] == place) == pays)
        };
        let mut found = Vec::new();
        for sets in 0_u8..16 {
            let [debited, credited] =
                [sets & 3, sets >> 2].map(|set| [0, 1].map(|bit| set & (1 << bit) != 0));
            let fits = [0, 1].iter().all(|place| {
                let out: i64 = all(*place, true).filter(|t| debited[*t]).map(|t| AMOUNTS[t]).sum();
                let into: i64 = all(*place, false).filter(|t| credited[*t]).map(|t| AMOUNTS[t]).sum();
                self.scene.first - out + into == faces[*place].balance
            });
            if fits {
                found.push((debited, credited));
            }
        }
        match found.as_slice() {
            [one] => Ok(*one),
            _ => Err(format!("balances {} and {} are no sum", faces[0].balance, faces[1].balance)),
        }
    }

    /// Whether both branches come to an end from here if they hear each other from now on.
    fn ends(&mut self, world: World) -> Result<(), String> {
        let mut passed = Vec::new();
        let mut now = World { sent: 0, ..world };
        for _ in 0..ROUNDS {
            if !self.ends.insert(now.states) {
                return Ok(());
            }
            passed.push(now.states);
            let before = now.states;
            for transfer in 0..TRANSFERS {
                now = self.round(now, transfer);
            }
            let face = |place: usize| &self.branches[place].states[self.state(now, place)].face;
            let open = |transfer: usize| {
                let payer = face(self.scene.payers[transfer]).paid[transfer];
                payer.is_some_and(|paid| paid != Paying::Closed)
                    || face(1 - self.scene.payers[transfer]).received[transfer] == Some(Receiving::Prepared)
            };
            if !(0..TRANSFERS).any(open) {
                return self.check(World { sent: 0, ..now });
            }
            if now.states == before {
                break;
            }
        }
        for states in &passed {
            self.ends.remove(states);
        }
        Err("something stays open although everybody hears everybody".to_owned())
    }

    /// One message about a transfer each way, and what follows from the answer.
    fn round(&mut self, world: World, transfer: usize) -> World {
        let (payer, receiver) = (self.scene.payers[transfer], 1 - self.scene.payers[transfer]);
        let open = self.branches[payer].open(self.state(world, payer), transfer);
        let face = &self.branches[receiver].states[self.state(world, receiver)].face;
        let mut now = world;
        if face.received[transfer] == Some(Receiving::Prepared) {
            let said = verdict(open.as_ref());
            if said != Verdict::Pending {
                now = self.happen(now, receiver, Event::Obey(transfer, said)).0;
            }
        }
        let Some(open) = open else { return now };
        let Step::Tell(ask) = next_step(&open, Duration::ZERO, true) else { return now };
        let watermark = self.branches[payer].watermark(self.state(now, payer));
        let (next, answer) = self.happen(now, receiver, Event::Told(transfer, ask, watermark));
        match after_answer(&open, &answer, seen()) {
            Some(command) => self.decide(next, transfer, &command),
            None => next,
        }
    }

    /// Goes through everything; returns how many worlds there are, or the way to one that is wrong.
    fn run(mut self) -> Result<usize, String> {
        let begin = World { states: [0, 0], sent: 0 };
        let (mut worlds, mut parents, mut known) = (vec![begin], vec![0], HashSet::from([begin]));
        let (mut at, mut next) = (0, Vec::new());
        while at < worlds.len() {
            let world = worlds[at];
            let right = self.check(world).and_then(|()| self.ends(world));
            if let Err(what) = right {
                return Err(format!("{what}:\n{}", self.way(&worlds, &parents, at)));
            }
            self.next(world, &mut next);
            for world in next.drain(..) {
                if known.insert(world) {
                    worlds.push(world);
                    parents.push(at);
                }
            }
            at += 1;
        }
        Ok(worlds.len())
    }

    /// How it came to a world.
    fn way(&self, worlds: &[World], parents: &[usize], mut at: usize) -> String {
        let mut lines = Vec::new();
        loop {
            let world = worlds[at];
            let faces = [0, 1].map(|place| &self.branches[place].states[self.state(world, place)].face);
            let before = worlds[parents[at]].sent;
            let sent: Vec<&Message> = (0..self.messages.len())
                .filter(|place| (world.sent & !before) & (1 << place) != 0)
                .map(|place| &self.messages[place])
                .collect();
            lines.push(format!("{:?}\n    {:?}\n    sent {sent:?}", faces[0], faces[1]));
            if at == 0 {
                break;
            }
            at = parents[at];
        }
        lines.reverse();
        lines.join("\n")
    }
}

/// One transfer each way, both one way, and both one way with money for one of them at a time.
const SCENES: [Scene; 3] = [
    Scene { payers: [0, 1], first: 8 },
    Scene { payers: [0, 0], first: 8 },
    Scene { payers: [0, 0], first: 7 },
];

#[test]
fn every_order_of_everything_keeps_the_money_and_comes_to_an_end() {
    let mut all = 0;
    for scene in SCENES {
        let worlds = Search::new(scene).run().unwrap_or_else(|wrong| panic!("{scene:?}: {wrong}"));
        println!("{scene:?}: {worlds} worlds");
        all += worlds;
    }
    assert!(all > 1_000_000, "{all} worlds");
}

#[test]
fn every_planted_fault_is_found() {
    for fault in [
        Fault::PrepareReservesNothing,
        Fault::DecisionInMemory,
        Fault::DecisionForgotten,
        Fault::ParticipantGivesUp,
        Fault::LatePrepareAfterAbort,
        Fault::CommitPostedTwice,
        Fault::HoldNotReleased,
    ] {
        let found = SCENES.iter().find_map(|scene| {
            let search = || Search::new(*scene).run();
            with_fault(Some(fault), search).err()
        });
        println!("{fault:?}: {}", found.as_deref().and_then(|way| way.lines().next()).unwrap_or("not found"));
        assert!(found.is_some(), "{fault:?} is not found");
    }
}
