//! The inner steps of a call, to see where the time goes: `cargo bench --bench inner`.

#![allow(missing_docs, reason = "criterion's macros make public items without docs")]

use std::hint::black_box;
use std::sync::Arc;

use bank::ledger::Ledger;
use bank::model::{
    AccountNumber, Amount, Batch, Command, Money, Proposal, RequestId, Timestamp, Work, decode_batch,
    encode_batch,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const COMMANDS: u64 = 1_024;

fn account(number: u64) -> AccountNumber {
    AccountNumber::new(number).expect("bench accounts are numbered from 1")
}

fn ledger(accounts: u64) -> Ledger {
    let ledger = Ledger::new();
    let opening = || Command::OpenAccount(Box::default());
    for _ in 0..accounts.div_ceil(COMMANDS) {
        let work = Work::Independent((0..COMMANDS).map(|_| opening()).collect());
        ledger.apply(&batch(vec![Proposal { request: None, work }]));
    }
    ledger
}

fn batch(proposals: Vec<Proposal>) -> Batch {
    Batch { time: Timestamp::MIN, founding: None, proposals }
}

/// Deposits spread over `accounts` accounts.
fn deposits(accounts: u64) -> Vec<Command> {
    let amount = Amount::from_minor(1).expect("a cent");
    let scattered = |n: u64| account(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % accounts + 1);
    (0..COMMANDS).map(|n| Command::Deposit { account: scattered(n), amount }).collect()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    group.bench_function("amount", |b| b.iter(|| Amount::parse(black_box("1234.56"))));
    group.bench_function("account", |b| b.iter(|| black_box("123456").parse::<AccountNumber>()));
    group.bench_function("request id", |b| {
        b.iter(|| black_box("019a9d3c-7b00-7abc-8def-0123456789ab").parse::<RequestId>())
    });
    group.bench_function("show money", |b| {
        let money = Money::from_minor(123_456).expect("in range");
        b.iter(|| black_box(money).to_string())
    });
    group.finish();
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(COMMANDS));
    for (name, accounts) in [("1 account", 1), ("1,000 accounts", 1_000), ("1,000,000 accounts", 1_000_000)] {
        let ledger = ledger(accounts);
        let bulk = batch(vec![Proposal { request: None, work: Work::Independent(deposits(accounts)) }]);
        group.bench_function(format!("one proposal, {name}"), |b| b.iter(|| ledger.apply(black_box(&bulk))));
    }
    let ledger = ledger(1_000);
    let singles = |request: &dyn Fn(u64) -> Option<RequestId>| {
        let proposal = |(n, command)| Proposal { request: request(n), work: Work::One(command) };
        batch((0..).zip(deposits(1_000)).map(proposal).collect())
    };
    let anonymous = singles(&|_| None);
    group.bench_function("proposals of one", |b| b.iter(|| ledger.apply(black_box(&anonymous))));
    let mut made = 0;
    group.bench_function("proposals of one with request ids", |b| {
        b.iter_batched(
            || {
                made += 1;
                singles(&|n| {
                    let id = format!("{:08x}-{:04x}-7000-8000-{n:012x}", made >> 16, made & 0xffff);
                    Some(id.parse().expect("a UUIDv7"))
                })
            },
            |batch| ledger.apply(&batch),
            BatchSize::SmallInput,
        )
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(COMMANDS));
    let batch = batch(vec![Proposal { request: None, work: Work::Independent(deposits(1_000)) }]);
    let bytes = encode_batch(&batch);
    group.bench_function("batch to bytes", |b| b.iter(|| encode_batch(black_box(&batch))));
    group.bench_function("bytes to batch", |b| b.iter(|| decode_batch(black_box(&bytes))));
    let ledger = Arc::new(ledger(100_000));
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("snapshot of 100,000 accounts", |b| {
        b.iter(|| ledger.freeze().for_each(|frame| drop(black_box(frame))))
    });
    group.finish();
}

/// What a snapshot costs the writer: the freezing itself, and batches while a view is at its beginning.
fn freeze(criterion: &mut Criterion) {
    let accounts = 1_000_000;
    let ledger = Arc::new(ledger(accounts));
    let bulk = batch(vec![Proposal { request: None, work: Work::Independent(deposits(accounts)) }]);
    let mut group = criterion.benchmark_group("freeze");
    group.bench_function("1,000,000 accounts", |b| {
        b.iter_batched(|| (), |()| ledger.freeze(), BatchSize::PerIteration)
    });
    group.throughput(Throughput::Elements(COMMANDS));
    group.bench_function("first batch after", |b| {
        b.iter_batched(
            || {
                let frozen = ledger.freeze();
                ledger.apply(&batch(Vec::new()));
                frozen
            },
            |frozen| (ledger.apply(&bulk), frozen),
            BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group!(benches, parse, apply, encode, freeze);
criterion_main!(benches);
