//! What is known of the clients of days once they are removed, for the setting `retention_days`.
//!
//! Of each log, the numbers of a day stay. What several logs had together cannot be counted any more, so it
//! is noted in all of them before the first loses its clients: the union has a number of its own, and is
//! believed only if all logs of the day, and no others, bear that.

use std::collections::BTreeMap;

use crate::tally::Distinct;

/// A day of a log whose clients are removed, or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// They are not in the rows any more.
    pub done: bool,
    /// More requests came when they were not: there may be more clients than the numbers say.
    pub late: bool,
    /// What they were united with before, if the day had more than this.
    pub union: Option<DayUnion>,
}

/// The clients that a day had in all logs together when they were about to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUnion {
    /// Tells it from every other union.
    pub id: u64,
    /// How many parts it was made of.
    pub parts: u64,
    /// How many there were.
    pub distinct: Distinct,
}

/// How many clients a day has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// So many.
    Exactly(Distinct),
    /// So many or more.
    AtLeast(Distinct),
}

impl Remembered {
    /// How many there are at least.
    pub fn distinct(self) -> Distinct {
        match self {
            Remembered::Exactly(distinct) | Remembered::AtLeast(distinct) => distinct,
        }
    }
}

/// How many clients a day has, from what is known of its parts. `None` if none of them are removed: then they
/// can be counted.
pub fn remembered(parts: &[(Distinct, Option<Removal>)]) -> Option<Remembered> {
    if !parts.iter().any(|(_, removal)| removal.is_some_and(|removal| removal.done)) {
        return None;
    }
    if let [(distinct, Some(Removal { late: false, .. }))] = parts {
        return Some(Remembered::Exactly(*distinct));
    }
    let mut unions: BTreeMap<u64, (DayUnion, u64)> = BTreeMap::new();
    for union in parts.iter().filter_map(|(_, removal)| (*removal)?.union) {
        unions.entry(union.id).or_insert((union, 0)).1 += 1;
    }
    unions.retain(|_, (union, parts)| union.parts == *parts);
    let late = parts.iter().any(|(_, removal)| removal.is_some_and(|removal| removal.late));
    let whole = unions.values().find(|(union, _)| !late && union.parts == parts.len() as u64);
    let least = || {
        parts
            .iter()
            .map(|(distinct, _)| *distinct)
            .chain(unions.values().map(|(union, _)| union.distinct))
            .fold(Distinct::default(), Distinct::max)
    };
    Some(whole.map_or_else(|| Remembered::AtLeast(least()), |(union, _)| Remembered::Exactly(union.distinct)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ipv4: u64) -> Distinct {
        Distinct { ipv4, ..Distinct::default() }
    }

    fn united(id: u64, parts: u64, ipv4: u64, done: bool) -> Option<Removal> {
        Some(Removal { done, late: false, union: Some(DayUnion { id, parts, distinct: of(ipv4) }) })
    }

    #[test]
    fn a_union_is_believed_if_all_its_parts_are_there_and_no_others() {
        let alone = Some(Removal { done: true, ..Removal::default() });
        let late = Some(Removal { done: true, late: true, union: None });
        for (parts, want) in [
            (vec![(of(5), None), (of(7), None)], None),
            // About to be removed: they can still be counted.
            (vec![(of(5), united(1, 2, 9, false)), (of(7), united(1, 2, 9, false))], None),
            (vec![(of(5), alone)], Some(Remembered::Exactly(of(5)))),
            (vec![(of(5), late)], Some(Remembered::AtLeast(of(5)))),
            (
                vec![(of(5), united(1, 2, 9, true)), (of(7), united(1, 2, 9, true))],
                Some(Remembered::Exactly(of(9))),
            ),
            // The daemon ended between the two.
            (
                vec![(of(5), united(1, 2, 9, true)), (of(7), united(1, 2, 9, false))],
                Some(Remembered::Exactly(of(9))),
            ),
            (
                vec![(of(5), united(1, 2, 9, true)), (of(7), united(2, 2, 8, true))],
                Some(Remembered::AtLeast(of(7))),
            ),
            (
                vec![(of(5), united(1, 3, 9, true)), (of(7), united(1, 3, 9, true))],
                Some(Remembered::AtLeast(of(7))),
            ),
            (
                vec![(of(5), united(1, 2, 9, true)), (of(7), united(1, 2, 9, true)), (of(3), None)],
                Some(Remembered::AtLeast(of(9))),
            ),
            (vec![(of(5), united(1, 2, 9, true)), (of(7), late)], Some(Remembered::AtLeast(of(7)))),
            (
                vec![
                    (of(5), united(1, 2, 9, true)),
                    (of(7), united(1, 2, 9, true).map(|removal| Removal { late: true, ..removal })),
                ],
                Some(Remembered::AtLeast(of(9))),
            ),
            (vec![(of(5), alone), (of(7), alone)], Some(Remembered::AtLeast(of(7)))),
        ] {
            assert_eq!(remembered(&parts), want, "{parts:?}");
        }
    }
}
