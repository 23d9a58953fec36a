//! What differs between the rows of both sides: a join of two multisets.

use crate::compare::DifferenceKind;
use crate::plan::Position;
use crate::scan::Entry;
use crate::side::Sides;

/// Rows that differ in the same way, with where one of them lies on each side that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Difference {
    /// How they differ.
    pub kind: DifferenceKind,
    /// How many there are, or pairs of them.
    pub count: u64,
    /// Where one lies.
    pub positions: Sides<Option<Position>>,
    /// Whether the same key is on this side more often than on the other, and on both.
    pub duplicated: bool,
}

/// Joins the rows of a unit as multisets, key by key: equal rows cancel each other one for one; of what is left, rows of
/// one key pair up as changed, and the rest is missing or extra. Duplicate keys stay what they are.
pub(crate) fn join(publisher: &mut [Entry], subscriber: &mut [Entry], mut found: impl FnMut(Difference)) {
    publisher.sort_unstable();
    subscriber.sort_unstable();
    let (mut p, mut s) = (&*publisher, &*subscriber);
    while let Some(key) = p.first().into_iter().chain(s.first()).map(|entry| entry.key).min() {
        let of_key = |entries: &[Entry]| entries.iter().take_while(|entry| entry.key == key).count();
        let (p_group, p_rest) = p.split_at(of_key(p));
        let (s_group, s_rest) = s.split_at(of_key(s));
        (p, s) = (p_rest, s_rest);
        join_key(p_group, s_group, &mut found);
    }
}

fn join_key(publisher: &[Entry], subscriber: &[Entry], found: &mut impl FnMut(Difference)) {
    if let ([p], [s]) = (publisher, subscriber)
        && (p.digest, p.copies) == (s.digest, s.copies)
    {
        return;
    }
    let mut left = Sides::<Vec<Entry>>::default();
    let (mut p, mut s) = (publisher.iter().copied(), subscriber.iter().copied());
    let (mut a, mut b) = (p.next(), s.next());
    loop {
        match (&mut a, &mut b) {
            (Some(x), Some(y)) if x.digest == y.digest => {
                take_both(x, y);
                if x.copies == 0 {
                    a = p.next();
                }
                if y.copies == 0 {
                    b = s.next();
                }
            }
            (Some(x), Some(y)) if x.digest > y.digest => {
                left.subscriber.push(*y);
                b = s.next();
            }
            (Some(x), _) => {
                left.publisher.push(*x);
                a = p.next();
            }
            (None, Some(y)) => {
                left.subscriber.push(*y);
                b = s.next();
            }
            (None, None) => break,
        }
    }
    let rows = |entries: &[Entry]| entries.iter().map(|entry| entry.copies).sum::<u64>();
    let (p_rows, s_rows) = (rows(publisher), rows(subscriber));
    let duplicated = p_rows > 0 && s_rows > 0 && p_rows != s_rows;
    let mut others = left.subscriber.into_iter();
    let mut other = others.next();
    for mut row in left.publisher {
        while row.copies > 0 {
            let (kind, count, at) = match &mut other {
                Some(pair) => (DifferenceKind::Changed, take_both(&mut row, pair), Some(pair.position)),
                None => (DifferenceKind::Missing, std::mem::take(&mut row.copies), None),
            };
            found(Difference { kind, count, positions: Sides::new(Some(row.position), at), duplicated });
            if other.is_some_and(|pair| pair.copies == 0) {
                other = others.next();
            }
        }
    }
    for row in other.into_iter().chain(others) {
        let positions = Sides::new(None, Some(row.position));
        found(Difference { kind: DifferenceKind::Extra, count: row.copies, positions, duplicated });
    }
}

/// Takes as many rows off both as both have, and tells how many.
fn take_both(a: &mut Entry, b: &mut Entry) -> u64 {
    let both = a.copies.min(b.copies);
    a.copies -= both;
    b.copies -= both;
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::side::Side;

    fn entry(key: u8, digest: u8, at: u16) -> Entry {
        Entry { key: [key; 16], digest: [digest; 16], position: Position { heap: 1, block: 0, offset: at }, copies: 1 }
    }

    fn kinds(publisher: &[Entry], subscriber: &[Entry]) -> Vec<(DifferenceKind, bool)> {
        let mut found = Vec::new();
        join(&mut publisher.to_vec(), &mut subscriber.to_vec(), |difference| {
            assert_eq!(difference.count, 1);
            found.push((difference.kind, difference.duplicated));
        });
        found
    }

    #[test]
    fn equal_rows_cancel_one_for_one() {
        use DifferenceKind::{Changed, Extra, Missing};
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 1, 9)]), []);
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 2, 9)]), [(Changed, false)]);
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(2, 1, 9)]), [(Missing, false), (Extra, false)]);
        // A duplicated key on the subscriber, with an equal and with a differing copy.
        assert_eq!(kinds(&[entry(1, 1, 1)], &[entry(1, 1, 1), entry(1, 1, 2)]), [(Extra, true)]);
        assert_eq!(kinds(&[entry(1, 2, 1)], &[entry(1, 1, 1), entry(1, 2, 2)]), [(Extra, true)]);
        // Rows without a key: the digest is the key, and multiplicity counts.
        assert_eq!(kinds(&[entry(5, 5, 1), entry(5, 5, 2)], &[entry(5, 5, 1)]), [(Missing, true)]);
    }

    #[test]
    fn copies_cancel_and_pair_up_by_their_number() {
        use DifferenceKind::{Changed, Extra, Missing};
        let of = |key, digest, at, copies| Entry { copies, ..entry(key, digest, at) };
        let found = |publisher: &[Entry], subscriber: &[Entry]| {
            let mut found = Vec::new();
            join(&mut publisher.to_vec(), &mut subscriber.to_vec(), |difference| {
                let at = |side| difference.positions.get(side).map_or(0, |position: Position| position.offset);
                let (p, s) = (at(Side::Publisher), at(Side::Subscriber));
                found.push((difference.kind, difference.count, p, s, difference.duplicated));
            });
            found
        };
        let million = 1_000_000;
        assert_eq!(found(&[of(1, 1, 1, million)], &[of(1, 1, 9, million)]), []);
        assert_eq!(found(&[of(1, 1, 1, million)], &[of(1, 1, 9, million - 1)]), [(Missing, 1, 1, 0, true)]);
        assert_eq!(found(&[of(1, 1, 1, 2)], &[of(1, 1, 9, million)]), [(Extra, million - 2, 0, 9, true)]);
        assert_eq!(found(&[of(1, 1, 1, million)], &[]), [(Missing, million, 1, 0, false)]);
        // What is left of equal rows pairs up with rows of other digests, in their number.
        assert_eq!(
            found(&[of(1, 1, 1, 5), of(1, 3, 2, 4)], &[of(1, 1, 9, 2), of(1, 2, 8, 4), of(1, 4, 7, 1)]),
            [
                (Changed, 3, 1, 8, false),
                (Changed, 1, 2, 8, false),
                (Changed, 1, 2, 7, false),
                (Missing, 2, 2, 0, false)
            ]
            .map(|(kind, count, p, s, _)| (kind, count, p, s, true))
        );
        assert_eq!(
            found(&[of(1, 3, 1, 2)], &[of(1, 2, 8, 1), of(1, 4, 7, 3)]),
            [(Changed, 1, 1, 8, true), (Changed, 1, 1, 7, true), (Extra, 2, 0, 7, true)]
        );
        // As often on both sides.
        assert_eq!(found(&[of(1, 3, 1, 2)], &[of(1, 4, 7, 2)]), [(Changed, 2, 1, 7, false)]);
        // Lists that were not collapsed join alike.
        assert_eq!(found(&[of(1, 1, 1, 3)], &[of(1, 1, 5, 1), of(1, 1, 6, 1)]), [(Missing, 1, 1, 0, true)]);
    }
}
