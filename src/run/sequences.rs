//! Sequences: not replicated before 19 and not transactional, so that what counts is whether the subscriber's next value
//! is safe to hand out after cutover.

use std::collections::HashMap;

use crate::catalog::{FedColumn, SequenceFacts, SequencePair};
use crate::compare::agree;
use crate::connect::Session;
use crate::error::ErrorKind;
use crate::run::outcome::SequenceOutcome;
use crate::side::{Side, Sides};
use crate::sql::QualifiedName;
use crate::verdict::{Reason, Verdict};

/// The next value of a sequence. Wider than a sequence, so that the value behind the last one fits.
pub(crate) type Next = i128;

/// What was read of a sequence on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Its next value.
    Next(Next),
    /// It is not there.
    Absent,
    /// It could not be read: reason and message.
    Unread(Reason, String),
}

/// Reads the next value of every sequence of a side. A sequence is not part of any snapshot: this is what holds now.
pub(crate) async fn read(session: &Session, side: Side, pairs: &[SequencePair]) -> Vec<State> {
    let mut states = Vec::with_capacity(pairs.len());
    for pair in pairs {
        states.push(match pair.definitions.get(side) {
            None => State::Absent,
            Some(facts) => read_one(session, side, &pair.name, facts).await,
        });
    }
    states
}

async fn read_one(session: &Session, side: Side, name: &QualifiedName, facts: &SequenceFacts) -> State {
    if !facts.readable {
        let grant = format!("GRANT SELECT ON SEQUENCE {} TO the role", name.to_sql());
        return State::Unread(
            Reason::PermissionDenied,
            format!("sequence {name} may not be read on the {side}: {grant}"),
        );
    }
    // The relation tells last_value and is_called apart; pg_sequences.last_value is NULL for more than one reason.
    let query = format!("SELECT last_value, is_called FROM {}", name.to_sql());
    match session.rows_simple(&query).await {
        Ok(rows) => match rows.first().map(Vec::as_slice) {
            Some([Some(last), Some(called)]) if last.parse::<Next>().is_ok() => {
                let last: Next = last.parse().unwrap_or_default();
                State::Next(if called == "t" { last + Next::from(facts.increment) } else { last })
            }
            _ => State::Unread(Reason::ServerError, format!("sequence {name} gave an unexpected answer on the {side}")),
        },
        Err(error) => {
            let reason = match error.kind() {
                ErrorKind::Permission => Reason::PermissionDenied,
                ErrorKind::Changed => Reason::ChangedMeanwhile,
                ErrorKind::Lost => Reason::ConnectionLost,
                _ => Reason::ServerError,
            };
            State::Unread(reason, format!("sequence {name} on the {side}: {error}"))
        }
    }
}

/// The last value in a column that a sequence feeds: the largest, or the smallest for a sequence that counts down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// Nobody looked: the column is no part of the comparison, or holds no numbers.
    #[default]
    NotRead,
    /// It was read; `None` where there are no values.
    Value(Option<Next>),
    /// It was asked for and could not be had: reason and message.
    Unread(Reason, String),
}

impl End {
    /// From what the server gave. A fraction is cut off: the next whole number is still free.
    pub(crate) fn from_text(text: Option<&str>) -> Self {
        match text.map(|text| text.split_once('.').map_or(text, |(whole, _)| whole).parse()) {
            None => Self::Value(None),
            Some(Ok(value)) => Self::Value(Some(value)),
            Some(Err(_)) => Self::Unread(Reason::Unsupported, "its last value is not a finite number".to_owned()),
        }
    }

    /// The value, where there is one.
    pub(crate) fn value(&self) -> Option<Next> {
        match self {
            Self::Value(value) => *value,
            Self::NotRead | Self::Unread(..) => None,
        }
    }
}

/// The last value in each column that a sequence feeds, by table and column.
pub(crate) type Ends = HashMap<(QualifiedName, String), Sides<End>>;

/// Judges all sequences.
pub(crate) fn judge_all(pairs: &[SequencePair], states: &Sides<Vec<State>>, ends: &Ends) -> Vec<SequenceOutcome> {
    let both = states.publisher.iter().zip(&states.subscriber);
    pairs
        .iter()
        .zip(both)
        .map(|(pair, (publisher, subscriber))| judge(pair, Sides { publisher, subscriber }, &ends_of(pair, ends)))
        .collect()
}

/// The ends of the columns of a sequence, in their order.
pub(crate) fn ends_of(pair: &SequencePair, ends: &Ends) -> Vec<Sides<End>> {
    let of = |fed: &FedColumn| ends.get(&(fed.table.clone(), fed.column.clone())).cloned().unwrap_or_default();
    pair.columns.iter().map(of).collect()
}

/// Sequences that were not looked at, because no sync point was reached.
pub(crate) fn unread(pairs: &[SequencePair]) -> Vec<SequenceOutcome> {
    let state = State::Unread(Reason::NotRead, "not read: no sync point was reached".to_owned());
    pairs.iter().map(|pair| judge(pair, Sides::new(&state, &state), &[])).collect()
}

/// Judges one sequence. `ends` are the last values in the columns that it feeds.
///
/// Safe is a next value that is not behind the publisher's, and beyond every value in its columns unless the publisher's
/// own is not either.
pub(crate) fn judge(pair: &SequencePair, states: Sides<&State>, ends: &[Sides<End>]) -> SequenceOutcome {
    let name = &pair.name;
    let next = states.map(|state| match state {
        State::Next(next) => Some(*next),
        State::Absent | State::Unread(..) => None,
    });
    let outcome = |verdict, reason, message| SequenceOutcome {
        schema: name.schema.clone(),
        name: name.name.clone(),
        verdict,
        reason,
        message,
        publisher_next: next.publisher.map(|next| next.to_string()),
        subscriber_next: next.subscriber.map(|next| next.to_string()),
    };
    for state in [states.publisher, states.subscriber] {
        if let State::Unread(reason, message) = state {
            return outcome(Verdict::Unproven, Some(*reason), Some(message.clone()));
        }
    }
    let (Some(publisher), Some(facts)) = (next.publisher, &pair.definitions.publisher) else {
        let message = format!("sequence {name} is not there any longer on the publisher");
        return outcome(Verdict::Unproven, Some(Reason::ChangedMeanwhile), Some(message));
    };
    let Some(subscriber) = next.subscriber else {
        return outcome(Verdict::Different, None, Some(format!("sequence {name} does not exist on the subscriber")));
    };
    if let Some(other) = &pair.definitions.subscriber {
        if (facts.increment < 0) != (other.increment < 0) {
            let message = format!(
                "sequence {name} counts the other way on the subscriber: it would hand out values again that are used"
            );
            return outcome(Verdict::Different, None, Some(message));
        }
        // Beyond its end it hands out nothing any more.
        let ended = |next: Next, facts: &SequenceFacts| next > Next::from(facts.max) || next < Next::from(facts.min);
        if !other.cycle && ended(subscriber, other) && !ended(publisher, facts) {
            let message =
                format!("sequence {name} is at its end on the subscriber: it would hand out no further value");
            return outcome(Verdict::Different, None, Some(message));
        }
    }
    if facts.cycle && publisher != subscriber {
        let message = format!("sequence {name} cycles: neither value is behind the other, compare it by hand");
        return outcome(Verdict::Unproven, Some(Reason::Unsupported), Some(message));
    }
    // Descending sequences are judged in a mirror.
    let sign = direction(facts);
    let behind = subscriber * sign < publisher * sign;
    let collides =
        ends.iter().any(|end| !beyond(subscriber, &end.subscriber, facts) && beyond(publisher, &end.publisher, facts));
    let message = if behind {
        let by = (publisher - subscriber).abs();
        Some(format!(
            "sequence {name} is {by} behind on the subscriber: it would hand out values again that the publisher has used"
        ))
    } else if collides {
        Some(format!("sequence {name} would hand out values on the subscriber that its column already holds"))
    } else {
        None
    };
    if message.is_none() {
        let unread = ends.iter().flat_map(|end| [&end.publisher, &end.subscriber]).find_map(|end| match end {
            End::Unread(reason, message) => Some((*reason, message.clone())),
            End::NotRead | End::Value(_) => None,
        });
        if let Some((reason, message)) = unread {
            return outcome(Verdict::Unproven, Some(reason), Some(message));
        }
    }
    outcome(agree(Some(&true), Some(&!(behind || collides))), None, message)
}

/// 1 for a sequence that counts up, -1 for one that counts down.
pub(crate) fn direction(facts: &SequenceFacts) -> Next {
    if facts.increment < 0 { -1 } else { 1 }
}

/// Whether a next value is beyond the last value in a column, as far as that is known.
pub(crate) fn beyond(next: Next, end: &End, facts: &SequenceFacts) -> bool {
    let sign = direction(facts);
    end.value().is_none_or(|end| next * sign > end.saturating_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::super::testing::sequence_pair as pair;
    use super::*;

    fn verdict(pair: &SequencePair, publisher: Next, subscriber: Next, ends: (&str, &str)) -> Verdict {
        let states = (State::Next(publisher), State::Next(subscriber));
        let end = |text: &str| End::from_text((!text.is_empty()).then_some(text));
        judge(pair, Sides::new(&states.0, &states.1), &[Sides::new(end(ends.0), end(ends.1))]).verdict
    }

    #[test]
    fn every_column_counts_and_one_that_was_not_read_is_no_proof() {
        let at = |next| State::Next(next);
        let value = |publisher, subscriber| Sides::new(End::Value(Some(publisher)), End::Value(subscriber));
        let of = |ends: &[Sides<End>]| {
            let outcome = judge(&pair(1, false), Sides::new(&at(11), &at(12)), ends);
            (outcome.verdict, outcome.reason)
        };
        assert_eq!(of(&[value(10, Some(10)), value(5, Some(5))]), (Verdict::Match, None));
        assert_eq!(of(&[value(10, Some(10)), value(5, Some(12))]), (Verdict::Different, None));
        let unread = Sides::new(End::Value(None), End::Unread(Reason::PermissionDenied, "m".into()));
        assert_eq!(of(&[value(10, Some(10)), unread.clone()]), (Verdict::Unproven, Some(Reason::PermissionDenied)));
        assert_eq!(of(&[value(10, Some(12)), unread]), (Verdict::Different, None));
        assert_eq!(of(&[Sides::default()]), (Verdict::Match, None));
    }

    #[test]
    fn ends_are_whole_numbers() {
        assert_eq!(End::from_text(None), End::Value(None));
        assert_eq!(End::from_text(Some("12.75")), End::Value(Some(12)));
        assert_eq!(End::from_text(Some("-9223372036854775808")), End::Value(Some(i64::MIN.into())));
        assert!(matches!(End::from_text(Some("NaN")), End::Unread(Reason::Unsupported, _)));
    }

    #[test]
    fn safe_is_not_behind_and_beyond_the_column() {
        let up = pair(1, false);
        assert_eq!(verdict(&up, 11, 11, ("10", "10")), Verdict::Match);
        assert_eq!(verdict(&up, 11, 12, ("10", "10")), Verdict::Match);
        assert_eq!(verdict(&up, 11, 10, ("", "")), Verdict::Different);
        assert_eq!(verdict(&up, 11, 11, ("10", "11")), Verdict::Different);
        // The publisher itself has values beyond its sequence: it was never the source of them.
        assert_eq!(verdict(&up, 11, 11, ("50", "50")), Verdict::Match);
    }

    #[test]
    fn descending_and_cycling_sequences() {
        let down = pair(-1, false);
        assert_eq!(verdict(&down, -11, -11, ("-10", "-10")), Verdict::Match);
        assert_eq!(verdict(&down, -11, -10, ("", "")), Verdict::Different);
        assert_eq!(verdict(&down, -11, -11, ("-10", "-11")), Verdict::Different);
        assert_eq!(verdict(&pair(1, true), 5, 4, ("", "")), Verdict::Unproven);
        assert_eq!(verdict(&pair(1, true), 5, 5, ("", "")), Verdict::Match);
    }

    #[test]
    fn a_definition_that_makes_the_next_value_unsafe() {
        let with = |change: fn(&mut SequenceFacts)| {
            let mut pair = pair(1, false);
            change(pair.definitions.subscriber.as_mut().unwrap());
            pair
        };
        assert_eq!(verdict(&with(|facts| facts.increment = -1), 11, 50, ("10", "10")), Verdict::Different);
        assert_eq!(verdict(&with(|facts| facts.increment = 5), 11, 50, ("10", "10")), Verdict::Match);
        assert_eq!(verdict(&with(|facts| facts.max = 20), 11, 21, ("10", "10")), Verdict::Different);
        assert_eq!(verdict(&with(|facts| facts.max = 20), 11, 20, ("10", "10")), Verdict::Match);
        // Both are at their end: the same on both sides.
        assert_eq!(verdict(&pair(1, false), 101, 101, ("100", "100")), Verdict::Match);
    }

    #[test]
    fn what_is_absent_or_unread() {
        let pair = pair(1, false);
        let unread = State::Unread(Reason::PermissionDenied, "m".into());
        let judged =
            |publisher: &State, subscriber: &State| judge(&pair, Sides::new(publisher, subscriber), &[]).verdict;
        assert_eq!(judged(&State::Next(1), &State::Absent), Verdict::Different);
        assert_eq!(judged(&State::Next(1), &unread), Verdict::Unproven);
        assert_eq!(judged(&unread, &State::Next(1)), Verdict::Unproven);
    }
}
