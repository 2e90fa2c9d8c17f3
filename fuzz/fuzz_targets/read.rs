//! One program for all targets, so that the bank is linked once: `BANK_FUZZ_TARGET` names the one that reads.

#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<String> =
    LazyLock::new(|| std::env::var("BANK_FUZZ_TARGET").expect("BANK_FUZZ_TARGET names a target"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bank::fuzzing::run(&TARGET, bytes));
