//! Playing a plan without servers: one balance, real Lamport clocks, and messages that arrive in any order.

use std::collections::BTreeMap;

use bank::model::Money;
use bank::scenario::report::{self, Spelling};
use bank::scenario::{
    Answer, Interface, Plan, Played, Process, RequestIndex, Step, TraceFiles, TraceKind, TraceRow, input,
};

/// The plan of a file.
pub(crate) fn plan(text: &str) -> Plan {
    input::read(text.as_bytes(), input::Options::default()).unwrap_or_else(|why| panic!("{text}\n{why}")).0
}

/// The outputs of a run by name.
pub(crate) fn outputs(plan: &Plan, played: &Played) -> BTreeMap<&'static str, String> {
    report::outputs(plan, played, Spelling::default())
        .iter()
        .map(|output| (output.name, output.to_string()))
        .collect()
}

/// The three files of a trace.
pub(crate) fn trace_files<'a>(outputs: &'a BTreeMap<&'static str, String>) -> TraceFiles<'a> {
    TraceFiles {
        customers: outputs[report::CUSTOMER_OUTPUTS].as_bytes(),
        branches: outputs[report::BRANCH_OUTPUTS].as_bytes(),
        events: outputs[report::EVENT_OUTPUTS].as_bytes(),
    }
}

/// Plays one customer after another; each event begins when the one before is everywhere.
pub(crate) fn in_order(plan: &Plan) -> Played {
    let mut bank = Bank::of(plan);
    let mut clocks: BTreeMap<u64, u64> = BTreeMap::new();
    for (request, entry, event) in plan.requests() {
        let Ok(step) = event.step() else { continue };
        let clock = clocks.entry(entry.customer).or_default();
        let mut customer = Waiting { left: vec![(request, step)], clock: *clock, ..Waiting::default() };
        let asked = bank.send(&mut customer);
        *clock = customer.clock;
        for message in bank.receive(&asked) {
            bank.receive(&message);
        }
    }
    bank.played
}

/// Plays all customers at once with clocks; the seed decides what happens next each time.
pub(crate) fn with_clocks(plan: &Plan, seed: u64) -> Played {
    interleaved(plan, seed, false)
}

/// The same, but a customer goes on only when all branches have its request.
pub(crate) fn with_patience(plan: &Plan, seed: u64) -> Played {
    interleaved(plan, seed, true)
}

fn interleaved(plan: &Plan, seed: u64, patient: bool) -> Played {
    let mut bank = Bank::of(plan);
    let mut dice = Dice(seed);
    let mut customers: BTreeMap<u64, Waiting> = BTreeMap::new();
    for (request, entry, event) in plan.requests().filter(|(.., event)| event.step().is_ok()) {
        let customer = customers.entry(entry.customer).or_default();
        customer.left.push((request, event.step().unwrap()));
    }
    let mut customers: Vec<Waiting> = customers.into_values().collect();
    let mut flying: Vec<Flying> = Vec::new();
    loop {
        let free = |customer: &&mut Waiting| !customer.waits && customer.next < customer.left.len();
        let mut ready: Vec<_> = customers.iter_mut().filter(free).collect();
        let choices = ready.len() + flying.len();
        if choices == 0 {
            return bank.played;
        }
        let choice = dice.below(choices);
        if choice < ready.len() {
            flying.push(bank.send(ready.swap_remove(choice)));
            continue;
        }
        let message = flying.swap_remove(choice - ready.len());
        flying.extend(bank.receive(&message));
        if !flying.iter().any(|other| patient && other.request == message.request)
            && (patient || matches!(message.from, Process::Customer(_)))
        {
            let asker = |customer: &&mut Waiting| {
                customer.left.iter().any(|(request, _)| *request == message.request)
            };
            customers.iter_mut().find(asker).unwrap().waits = false;
        }
    }
}

#[derive(Default)]
struct Waiting {
    left: Vec<(RequestIndex, Step)>,
    next: usize,
    clock: u64,
    waits: bool,
}

struct Flying {
    request: RequestIndex,
    step: Step,
    from: Process,
    to: u32,
    clock: u64,
}

struct Bank {
    played: Played,
    balance: Money,
    clocks: Vec<u64>,
}

impl Bank {
    fn of(plan: &Plan) -> Bank {
        Bank { played: Played::new(plan), balance: plan.balance, clocks: vec![0; plan.branches.len()] }
    }

    /// The answer, and whether anything has changed.
    fn answer(&mut self, step: Step) -> (Answer, bool) {
        let (after, amount) = match step {
            Step::Query { .. } => return (Answer::Balance(self.balance), false),
            Step::Deposit { amount, .. } => (self.balance.checked_add(amount), amount),
            Step::Withdraw { amount, .. } => (self.balance.checked_sub(amount), amount),
        };
        match after.filter(|after| !after.is_negative()) {
            Some(balance) => {
                self.balance = balance;
                (Answer::Success { balance }, amount > Money::ZERO)
            }
            None => (Answer::Fail { balance: Some(self.balance) }, false),
        }
    }

    fn send(&mut self, customer: &mut Waiting) -> Flying {
        let (request, step) = customer.left[customer.next];
        customer.next += 1;
        customer.clock += 1;
        customer.waits = true;
        let (from, to) = (Process::Customer(request.entry), branch(step));
        self.row(from, customer.clock, request, TraceKind::Sent(Process::Branch(to)));
        Flying { request, step, from, to, clock: customer.clock }
    }

    fn receive(&mut self, message: &Flying) -> Vec<Flying> {
        let Flying { request, step, from, to, .. } = *message;
        let received = self.tick(to, message.clock);
        self.row(Process::Branch(to), received, request, TraceKind::Received(from));
        if matches!(from, Process::Branch(_)) {
            return Vec::new();
        }
        let (answer, changed) = self.answer(step);
        self.played.set(request, answer);
        // A replica keeps clocks for the sends of a write before it knows whether there will be any.
        let others =
            (0..u32::try_from(self.clocks.len()).unwrap()).filter(|other| moves(step) && *other != to);
        let sends: Vec<(u32, u64)> = others.map(|other| (other, self.tick(to, 0))).collect();
        let send = |(other, clock): (u32, u64)| {
            self.row(Process::Branch(to), clock, request, TraceKind::Sent(Process::Branch(other)));
            Flying { request, step, from: Process::Branch(to), to: other, clock }
        };
        sends.into_iter().filter(|_| changed).map(send).collect()
    }

    fn tick(&mut self, branch: u32, cause: u64) -> u64 {
        let clock = &mut self.clocks[branch as usize];
        *clock = cause.max(*clock) + 1;
        *clock
    }

    fn row(&mut self, process: Process, clock: u64, request: RequestIndex, kind: TraceKind) {
        self.played.trace.push(TraceRow { process, clock, request, kind });
    }
}

fn branch(step: Step) -> u32 {
    let (Step::Query { branch } | Step::Deposit { branch, .. } | Step::Withdraw { branch, .. }) = step;
    u32::try_from(branch).unwrap()
}

/// Whether a step is a write of more than nothing.
fn moves(step: Step) -> bool {
    match step {
        Step::Query { .. } => false,
        Step::Deposit { amount, .. } | Step::Withdraw { amount, .. } => amount > Money::ZERO,
    }
}

/// How many requests of a run changed something, and how many did not.
pub(crate) fn changes(plan: &Plan, played: &Played) -> (usize, usize) {
    let mut counts = (0, 0);
    for (request, _, event) in plan.requests().filter(|(.., event)| event.step().is_ok()) {
        let moves = match event.interface {
            Interface::Deposit(amount) | Interface::Withdraw(amount) => amount > Money::ZERO,
            Interface::Query | Interface::Unknown(_) => false,
        };
        if moves && matches!(played.answer(request), Answer::Success { .. }) {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
    }
    counts
}

/// A small generator of choices that a seed replays.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
