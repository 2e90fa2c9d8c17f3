//! Tables of holds, states and transfers between branches: one line is one event and what becomes of it.

use super::table::check;

#[test]
fn a_hold_reserves_and_is_captured_or_released() {
    check(
        "open - 100 -> 1=100.00
         hold 1 60 -> 1=100.00/60.00
         withdraw 1 40.01 -> INSUFFICIENT_FUNDS
         capture 2 25 -> 1=75.00/0.00
         capture 2 -> HOLD_FINAL",
    );
}
