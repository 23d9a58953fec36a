//! What the setval script sets: pure.

use super::sequences::{End, Next, State, beyond, direction};
use super::sequences_outcome::SetTo;
use crate::catalog::SequencePair;
use crate::side::Sides;

/// What the user wants of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// How many values to leave free, for what the publisher hands out between the reading and the cutover.
    pub(crate) margin: u64,
    /// Whether to set back what is ahead of the publisher.
    pub(crate) backward: bool,
}

const BEYOND_ALL: &str = "a column that it feeds holds a value on the subscriber that no sequence can go beyond";

const NO_STEP: &str = "its increment is zero, which no server allows";

/// What `setval` is to be called with, or why it is not.
///
/// The next value is the publisher's, further on by as many steps as the margin has and its columns need. It keeps the
/// publisher's rhythm: a sequence that hands out odd values goes on to do so.
pub(crate) fn target(
    pair: &SequencePair,
    states: Sides<&State>,
    ends: &[Sides<End>],
    wish: Wish,
) -> Result<SetTo, &'static str> {
    let (Some(facts), Some(other)) = (&pair.definitions.publisher, &pair.definitions.subscriber) else {
        return Err("it does not exist on the subscriber");
    };
    let (State::Next(publisher), State::Next(subscriber)) = (states.publisher, states.subscriber) else {
        return Err("its state could not be read on both sides");
    };
    if facts.cycle || other.cycle {
        return Err("it cycles: neither value is behind the other, set it by hand");
    }
    let sign = direction(facts);
    if sign != direction(other) {
        return Err("it counts the other way on the subscriber: make its definition the same first");
    }
    let step = Next::from(facts.increment);
    let mut next = *publisher;
    for end in ends.iter().filter(|end| beyond(*publisher, &end.publisher, facts)) {
        if let Some(last) = end.subscriber.value().filter(|_| !beyond(next, &end.subscriber, facts)) {
            next = past(last, next, step).ok_or(BEYOND_ALL)?;
        }
    }
    let bounds = Next::from(other.min)..=Next::from(other.max);
    let mut set = if bounds.contains(&next) {
        let distance = if sign > 0 { bounds.end() - next } else { next - bounds.start() };
        let room = distance.checked_div(step.abs()).ok_or(NO_STEP)?;
        next += room.min(Next::from(wish.margin)) * step;
        SetTo { value: next.to_string(), is_called: false, next: String::new(), backward: false }
    } else {
        // At its end on the publisher: at its end on the subscriber.
        let last = next - step;
        if !bounds.contains(&last) {
            return Err("the value is out of its bounds on the subscriber: make its definition the same first");
        }
        next = last + Next::from(other.increment);
        SetTo { value: last.to_string(), is_called: true, next: String::new(), backward: false }
    };
    set.next = next.to_string();
    match (next * sign).cmp(&(*subscriber * sign)) {
        std::cmp::Ordering::Greater => Ok(set),
        std::cmp::Ordering::Equal => Err("it is there already"),
        std::cmp::Ordering::Less if !wish.backward => Err("it is further on already"),
        std::cmp::Ordering::Less if !ends.iter().all(is_known) => Err(
            "it is further on already, and is not set back: a column that it feeds could not be read, and may hold what \
             it would hand out again",
        ),
        std::cmp::Ordering::Less => {
            set.backward = true;
            Ok(set)
        }
    }
}

/// The first value beyond the last one in a column that the sequence comes to; `None` where that is no number any more.
fn past(last: Next, next: Next, step: Next) -> Option<Next> {
    let steps = last.checked_sub(next)?.checked_div(step)?.checked_add(1)?;
    next.checked_add(steps.checked_mul(step)?)
}

/// Whether the last values of a column are known on both sides.
fn is_known(end: &Sides<End>) -> bool {
    [&end.publisher, &end.subscriber].into_iter().all(|end| matches!(end, End::Value(_)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::sequence_pair as pair;
    use super::*;
    use crate::verdict::Reason;

    const PLAIN: Wish = Wish { margin: 0, backward: false };

    fn set(pair: &SequencePair, publisher: Next, subscriber: Next, last: &[(Next, Next)], wish: Wish) -> String {
        let ends: Vec<_> =
            last.iter().map(|&(one, other)| Sides::new(End::Value(Some(one)), End::Value(Some(other)))).collect();
        let states = (State::Next(publisher), State::Next(subscriber));
        match target(pair, Sides::new(&states.0, &states.1), &ends, wish) {
            Ok(SetTo { value, is_called, next, backward: false }) => format!("{value} {is_called} {next}"),
            Ok(SetTo { value, is_called, next, backward: true }) => format!("{value} {is_called} {next} back"),
            Err(why) => why.to_owned(),
        }
    }

    #[test]
    fn forward_to_the_publisher_and_beyond_the_columns() {
        let up = pair(1, false);
        assert_eq!(set(&up, 11, 1, &[], PLAIN), "11 false 11");
        assert_eq!(set(&up, 11, 1, &[(10, 10), (7, 15)], PLAIN), "16 false 16");
        assert_eq!(set(&up, 11, 11, &[], PLAIN), "it is there already");
        assert_eq!(set(&up, 11, 12, &[], PLAIN), "it is further on already");
        // The publisher itself has values beyond its sequence: they come from elsewhere.
        assert_eq!(set(&up, 11, 1, &[(50, 50)], PLAIN), "11 false 11");
    }

    #[test]
    fn a_margin_is_counted_in_values_and_ends_at_the_bound() {
        let wish = Wish { margin: 10, ..PLAIN };
        assert_eq!(set(&pair(1, false), 11, 11, &[], wish), "21 false 21");
        assert_eq!(set(&pair(5, false), 11, 1, &[], wish), "61 false 61");
        assert_eq!(set(&pair(-1, false), -11, 1, &[], wish), "-21 false -21");
        assert_eq!(set(&pair(1, false), 95, 1, &[], wish), "100 false 100");
        assert_eq!(set(&pair(5, false), 91, 1, &[], Wish { margin: u64::MAX, ..PLAIN }), "96 false 96");
    }

    #[test]
    fn the_rhythm_stays() {
        assert_eq!(set(&pair(2, false), 11, 1, &[(10, 20)], PLAIN), "21 false 21");
        assert_eq!(set(&pair(2, false), 11, 1, &[(10, 21)], PLAIN), "23 false 23");
        assert_eq!(set(&pair(-2, false), -11, 1, &[(-10, -21)], PLAIN), "-23 false -23");
    }

    #[test]
    fn back_only_if_asked() {
        let back = Wish { margin: 0, backward: true };
        assert_eq!(set(&pair(1, false), 11, 50, &[], back), "11 false 11 back");
        assert_eq!(set(&pair(1, false), 11, 50, &[(10, 30)], back), "31 false 31 back");
        assert_eq!(set(&pair(-1, false), -11, -50, &[], back), "-11 false -11 back");
        // Only what really goes back is said to.
        assert_eq!(set(&pair(1, false), 11, 5, &[], back), "11 false 11");
    }

    #[test]
    fn not_back_into_what_nobody_has_seen() {
        let back = Wish { margin: 0, backward: true };
        let at = |subscriber| {
            move |end: Sides<End>| {
                let states = (State::Next(11), State::Next(subscriber));
                target(&pair(1, false), Sides::new(&states.0, &states.1), &[end], back)
            }
        };
        let unread = || End::Unread(Reason::PermissionDenied, "m".into());
        let known = || End::Value(Some(3));
        for end in [
            Sides::new(known(), unread()),
            Sides::new(unread(), known()),
            Sides::new(known(), End::NotRead),
            Sides::default(),
        ] {
            let why = at(50)(end.clone()).unwrap_err();
            assert!(why.contains("is not set back"), "{why}");
            // Forward it cannot hand out again what it has handed out.
            assert_eq!(at(5)(end).unwrap().value, "11");
        }
        assert!(at(50)(Sides::new(known(), known())).unwrap().backward);
        assert!(at(50)(Sides::new(End::Value(None), End::Value(None))).unwrap().backward);
    }

    #[test]
    fn what_does_not_fit_is_told_and_not_set() {
        let up = pair(1, false);
        assert_eq!(set(&up, 11, 1, &[(10, Next::MAX)], PLAIN), BEYOND_ALL);
        assert_eq!(set(&up, -11, -20, &[(-12, Next::MAX - 5)], PLAIN), BEYOND_ALL);
        assert_eq!(set(&pair(-1, false), -11, -1, &[(-10, Next::MIN)], PLAIN), BEYOND_ALL);
        let bounds = "the value is out of its bounds on the subscriber: make its definition the same first";
        assert_eq!(set(&up, 11, 1, &[(10, 5000)], PLAIN), bounds);
        assert_eq!(set(&pair(-1, false), -11, -1, &[(-10, -5000)], PLAIN), bounds);
        assert_eq!(set(&up, 11, 1, &[(10, 100)], PLAIN), "100 true 101");
    }

    #[test]
    fn at_its_end() {
        assert_eq!(set(&pair(1, false), 101, 50, &[], PLAIN), "100 true 101");
        assert_eq!(set(&pair(1, false), 101, 101, &[], PLAIN), "it is there already");
        assert_eq!(set(&pair(-1, false), -101, 50, &[], PLAIN), "-100 true -101");
        let mut other = pair(1, false);
        other.definitions.subscriber.as_mut().unwrap().max = 20;
        assert!(set(&other, 50, 1, &[], PLAIN).contains("out of its bounds"));
        assert_eq!(set(&other, 20, 1, &[], Wish { margin: 5, ..PLAIN }), "20 false 20");
    }

    #[test]
    fn what_is_not_set() {
        assert!(set(&pair(1, true), 5, 4, &[], PLAIN).starts_with("it cycles"));
        let mut other = pair(1, false);
        other.definitions.subscriber.as_mut().unwrap().increment = -1;
        assert!(set(&other, 5, 4, &[], PLAIN).contains("the other way"));
        assert_eq!(set(&pair(0, false), 5, 4, &[], PLAIN), NO_STEP);
        other.definitions.subscriber = None;
        assert!(set(&other, 5, 4, &[], PLAIN).contains("does not exist"));
        let unread = State::Unread(Reason::PermissionDenied, "m".into());
        let next = State::Next(5);
        assert!(target(&pair(1, false), Sides::new(&unread, &next), &[], PLAIN).is_err());
        let huge = [Sides::new(End::NotRead, End::Value(Some(Next::MAX)))];
        assert!(target(&pair(1, false), Sides::new(&next, &next), &huge, PLAIN).is_err());
    }
}
