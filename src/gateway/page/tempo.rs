//! The tempo of this server: how long its calls took in the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::gateway::Figures;

/// How far back calls count.
const WINDOW: Duration = Duration::from_secs(60);
/// Time between two counts that are kept.
const STEP: Duration = Duration::from_secs(1);

/// The calls so far, by how long they took: bound and count.
type Classes = Vec<(Duration, u64)>;

/// Remembers how many calls there were, so that those of the last minute can be told from those before.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Tempo(Mutex<VecDeque<(Instant, Classes)>>);

impl Tempo {
    /// The bound below which 99 of 100 calls of the last minute took; nothing when there was none.
    pub(in crate::gateway) fn p99(&self, figures: &Figures) -> Option<Duration> {
        let now = Instant::now();
        let classes = classes(figures);
        let mut kept = self.0.lock();
        while kept.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) && kept.len() > 1 {
            kept.pop_front();
        }
        let recent = kept.front().map_or_else(|| classes.clone(), |(_, before)| since(before, &classes));
        if kept.back().is_none_or(|(at, _)| now.duration_since(*at) >= STEP) {
            kept.push_back((now, classes));
        }
        ninety_ninth(&recent)
    }
}

/// All kinds of calls together.
fn classes(figures: &Figures) -> Classes {
    let mut sum: Classes = Vec::new();
    for (bound, count) in figures.operations.iter().flat_map(|operation| &operation.classes) {
        match sum.iter_mut().find(|(known, _)| known == bound) {
            Some((_, total)) => *total += count,
            None => sum.push((*bound, *count)),
        }
    }
    sum.sort_unstable();
    sum
}

fn since(before: &Classes, now: &Classes) -> Classes {
    let earlier = |bound| before.iter().find(|(known, _)| *known == bound).map_or(0, |(_, count)| *count);
    now.iter().map(|(bound, count)| (*bound, count.saturating_sub(earlier(*bound)))).collect()
}

fn ninety_ninth(classes: &Classes) -> Option<Duration> {
    let all: u64 = classes.iter().map(|(_, count)| count).sum();
    let wanted = all.checked_mul(99)?.div_ceil(100).max(1);
    let mut so_far = 0;
    classes
        .iter()
        .find(|(_, count)| {
            so_far += count;
            so_far >= wanted
        })
        .map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninety_nine_of_a_hundred_are_within_the_bound() {
        let ms = Duration::from_millis;
        assert_eq!(ninety_ninth(&vec![(ms(1), 99), (ms(10), 1)]), Some(ms(1)));
        assert_eq!(ninety_ninth(&vec![(ms(1), 98), (ms(10), 2)]), Some(ms(10)));
        assert_eq!(ninety_ninth(&vec![(ms(1), 0)]), None);
        let (before, now) = (vec![(ms(1), 5)], vec![(ms(1), 7), (ms(2), 3)]);
        assert_eq!(since(&before, &now), [(ms(1), 2), (ms(2), 3)]);
    }
}
