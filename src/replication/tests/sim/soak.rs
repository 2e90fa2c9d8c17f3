//! Many lives with new seeds: every one that fails is told with the line that replays it, and the others go on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What a life leaves behind for the sums.
pub(crate) struct Lived {
    pub(crate) simulated: Duration,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) wrong: Option<String>,
}

fn number(name: &str) -> u64 {
    std::env::var(name).map_or(0, |value| value.parse().unwrap())
}

/// Goes through lives from seed `BANK_SIM_FROM` on until `BANK_SIM_MINUTES` are simulated; through none without it.
///
/// # Panics
/// In the end, when a life failed.
pub(crate) fn soak(suite: &str, life: impl Fn(u64) -> Lived) {
    let (from, wanted) = (number("BANK_SIM_FROM"), Duration::from_secs(60 * number("BANK_SIM_MINUTES")));
    let (began, mut simulated, mut seed, mut failed) = (Instant::now(), Duration::ZERO, from, 0);
    let mut counts = BTreeMap::<&str, u64>::new();
    while simulated < wanted {
        let wrong = match catch_unwind(AssertUnwindSafe(|| life(seed))) {
            Ok(lived) => {
                simulated += lived.simulated;
                lived.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
                lived.wrong
            }
            Err(_) => {
                simulated += Duration::from_secs(1);
                Some("it panicked".to_owned())
            }
        };
        if let Some(wrong) = wrong {
            failed += 1;
            let wrong: String = wrong.chars().take(600).collect();
            println!(
                "FAILED BANK_SIM_SEED={seed} cargo test --lib {suite}::one_seed -- --nocapture  # {wrong}"
            );
        }
        seed += 1;
    }
    let (hours, tenths) = (simulated.as_secs() / 3_600, simulated.as_secs() % 3_600 / 360);
    println!(
        "{suite}: {} lives from seed {from} on, {hours}.{tenths} hours simulated in {:?}, {failed} failed: {counts:?}",
        seed - from,
        began.elapsed()
    );
    assert_eq!(failed, 0, "lives failed; their seeds are above");
}
