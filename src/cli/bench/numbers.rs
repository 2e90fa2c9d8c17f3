//! The numbers of a run's accounts.
//!
//! Operations name accounts by their place, 0, 1, 2, ...; here stands which account of the bank that is.
//! A bank that nobody else opens accounts at gives numbers in a row, which take no memory and no time:
//! looking one up among millions would cost the load generator as much as the bank's work.

/// Numbers by place, in ascending order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Numbers {
    /// So many numbers in a row.
    Row {
        /// The first.
        first: u64,
        /// How many.
        count: usize,
    },
    /// Any numbers.
    List(Vec<u64>),
}

impl Numbers {
    pub(super) fn new(mut numbers: Vec<u64>) -> Numbers {
        numbers.sort_unstable();
        match numbers.first() {
            Some(&first) if numbers.iter().copied().eq(first..first.saturating_add(numbers.len() as u64)) => {
                Numbers::Row { first, count: numbers.len() }
            }
            Some(_) | None => Numbers::List(numbers),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Numbers::Row { count, .. } => *count,
            Numbers::List(numbers) => numbers.len(),
        }
    }

    /// The number at a place below [`Numbers::count`].
    pub(super) fn at(&self, place: u32) -> u64 {
        match self {
            Numbers::Row { first, .. } => first + u64::from(place),
            Numbers::List(numbers) => numbers[place as usize],
        }
    }

    /// The place of a number of this run.
    pub(super) fn place(&self, number: u64) -> Option<u32> {
        let place = match self {
            Numbers::Row { first, count } => {
                number.checked_sub(*first).filter(|place| *place < *count as u64)?
            }
            Numbers::List(numbers) => numbers.binary_search(&number).ok()? as u64,
        };
        u32::try_from(place).ok()
    }

    /// Every place.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_place_and_places_by_number() {
        let row = Numbers::new(vec![9, 7, 8]);
        assert_eq!(row, Numbers::Row { first: 7, count: 3 });
        let list = Numbers::new(vec![12, 7, 8]);
        assert_eq!(list, Numbers::List(vec![7, 8, 12]));
        for (numbers, wrong) in [(row, 12), (list, 9)] {
            assert_eq!(numbers.count(), 3);
            for place in numbers.places() {
                assert_eq!(numbers.place(numbers.at(place)), Some(place));
            }
            assert_eq!([0, 6, wrong].map(|number| numbers.place(number)), [None; 3]);
        }
    }
}
