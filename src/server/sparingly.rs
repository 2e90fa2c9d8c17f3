//! Lines of the log that others cause: one in a while, with the number of those that were left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The least time between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug)]
pub(super) struct Sparingly(Mutex<Written>);

#[derive(Debug)]
struct Written {
    last: Option<Instant>,
    left_out: u64,
}

impl Sparingly {
    pub(super) const fn new() -> Sparingly {
        Sparingly(Mutex::new(Written { last: None, left_out: 0 }))
    }

    /// How many lines were left out since the last one, when one is due.
    pub(super) fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut written = self.0.lock();
        if written.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            written.left_out += 1;
            return None;
        }
        written.last = Some(now);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_one_is_written_and_the_next_tells_how_many_were_not() {
        let (line, begin) = (Sparingly::new(), Instant::now());
        assert_eq!(line.due_at(begin), Some(0));
        for _ in 0..1_000 {
            assert_eq!(line.due_at(begin + PAUSE / 2), None);
        }
        assert_eq!(line.due_at(begin + PAUSE), Some(1_000));
        assert_eq!(line.due_at(begin + PAUSE * 2), Some(0));
    }
}
