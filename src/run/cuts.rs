//! Which position the subscriber's snapshot corresponds to, where the gate could only say: one of these.
//!
//! Transactions that commit between the positions touched some rows. What the subscriber has of those rows tells the
//! positions apart; one position must explain all tables of a subscription.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::catalog::{ColumnPair, TablePair};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::SyncPoint;
use crate::gate::cut::best_cut;
use crate::gate::window::{Expected, Identity, Problem, Question, Value, Values, Window};
use crate::lsn::Lsn;
use crate::plan::Finding;
use crate::row::written_otherwise;
use crate::run::servers::Servers;
use crate::scan::{Found, look_up};
use crate::side::{Side, Sides};

/// Longest time for a question to a server: rows without an index to find them by take a reading of the whole table.
/// Nobody may wait behind us for longer.
const QUESTION_TIMEOUT_MS: u32 = 2000;

/// The cut of each subscription, and the tables that could not be asked although it matters to them.
pub(crate) struct Cuts {
    pub(crate) cuts: Vec<Lsn>,
    pub(crate) problems: BTreeMap<u32, Problem>,
}

/// Chooses the cut of each subscription.
pub(crate) async fn settle(
    servers: &Servers,
    point: &SyncPoint,
    window: &Window,
    tables: &[&TablePair],
) -> Result<Cuts> {
    let mut chosen = Cuts { cuts: Vec::new(), problems: BTreeMap::new() };
    let mut sessions: Option<Sides<Session>> = None;
    for subscription in 0..window.bounds().len() {
        let cuts = window.cuts(subscription);
        let best = if cuts.len() > 1 {
            let sessions = match &mut sessions {
                Some(sessions) => sessions,
                none => {
                    let (publisher, subscriber) =
                        futures::future::try_join(servers.scan(Side::Publisher, 0), servers.scan(Side::Subscriber, 0))
                            .await?;
                    none.insert(Sides::new(publisher, subscriber))
                }
            };
            choose(sessions, point, window, subscription, tables, &mut chosen.problems).await?
        } else {
            0
        };
        chosen.cuts.push(cuts.get(best).copied().unwrap_or_default());
    }
    Ok(chosen)
}

async fn choose(
    sessions: &Sides<Session>,
    point: &SyncPoint,
    window: &Window,
    subscription: usize,
    tables: &[&TablePair],
    problems: &mut BTreeMap<u32, Problem>,
) -> Result<usize> {
    let cuts = window.cuts(subscription).len();
    let mut questions: BTreeMap<u32, Vec<Question>> = BTreeMap::new();
    for question in window.questions(subscription) {
        questions.entry(question.relation).or_default().push(question);
    }
    let mut explained = Vec::new();
    let mut unanswered: Vec<(u32, Vec<Question>)> = Vec::new();
    for (relation, questions) in questions {
        let pair = tables.iter().find(|pair| pair.relations.publisher.oid == relation);
        let Some((pair, identity)) = pair.zip(window.identity(relation)) else { continue };
        let alike = |column: &ColumnPair| {
            column.types.publisher.base().name == column.types.subscriber.base().name && !written_otherwise(column)
        };
        if !pair.columns.iter().all(alike) {
            // A value of another type or scale may have another text, so that what it says of a cut is not to be trusted.
            unanswered.push((relation, questions));
            continue;
        }
        match ask(sessions, point, pair, identity, &questions).await {
            Ok(answers) => {
                explained.extend(questions.iter().zip(&answers).map(|(question, answer)| judge(question, answer)));
            }
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect) => return Err(error),
            Err(error) => {
                tracing::warn!(table = %pair.name, %error, "changed rows could not be looked up");
                unanswered.push((relation, questions));
            }
        }
    }
    let best = best_cut(cuts, &explained);
    let score = |cut: usize| explained.iter().filter(|answers| answers.get(cut) == Some(&true)).count();
    let as_good: Vec<usize> = (0..cuts).filter(|&cut| score(cut) == score(best)).collect();
    for (relation, questions) in unanswered {
        let tells_apart = |question: &Question| {
            as_good
                .iter()
                .map(|&cut| question.expected.get(cut))
                .any(|expected| expected != question.expected.get(best))
        };
        if questions.iter().any(tells_apart) {
            let what = "has changes at the very position of the subscriber's snapshot, and could not be asked which of them it holds";
            problems.insert(relation, Problem::Unsupported(what.to_owned()));
        }
    }
    Ok(best)
}

/// What both sides have of each identity that was asked for.
type Answer = Sides<Found>;

async fn ask(
    sessions: &Sides<Session>,
    point: &SyncPoint,
    pair: &TablePair,
    identity: &Identity,
    questions: &[Question],
) -> Result<Vec<Answer>> {
    let keys: BTreeSet<&Values> = questions.iter().map(|question| &question.key).collect();
    let keys: Vec<&Values> = keys.into_iter().collect();
    let finding = if *identity == Identity::WholeRow { Finding::Counts } else { Finding::Texts };
    let side = |side: Side| {
        let (session, snapshot, keys) = (sessions.get(side), point.snapshots.get(side), &keys);
        async move { look_up(session, snapshot, pair, identity, keys, finding, QUESTION_TIMEOUT_MS).await }
    };
    let (publisher, subscriber) = futures::future::try_join(side(Side::Publisher), side(Side::Subscriber)).await?;
    let numbers: HashMap<&Values, usize> = keys.iter().copied().zip(0..).collect();
    questions
        .iter()
        .map(|question| {
            let number = numbers.get(&question.key).copied();
            let of = |found: &[Found]| number.and_then(|number| found.get(number)).cloned();
            of(&publisher).zip(of(&subscriber)).map(|(publisher, subscriber)| Sides::new(publisher, subscriber))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a lookup has fewer answers than questions"))
}

/// At which cuts the subscriber has what it must have.
fn judge(question: &Question, answer: &Answer) -> Vec<bool> {
    let same = |row: &Values, texts: &Vec<Option<String>>| {
        row.len() == texts.len()
            && row.iter().zip(texts).all(|(value, text)| match value {
                Value::Null => text.is_none(),
                Value::Text(value) => text.as_deref() == Some(&**value),
                // Not in the window: the comparison of rows will tell.
                Value::Unchanged | Value::Computed => true,
            })
    };
    let at = |expected: &Expected| match expected {
        Expected::AsInSnapshot => answer.publisher == answer.subscriber,
        Expected::Nothing => answer.subscriber.rows.is_empty(),
        Expected::Row(row) => matches!(answer.subscriber.rows.as_slice(), [only] if same(row, only)),
        Expected::More(copies) => {
            i128::from(answer.subscriber.count) == i128::from(answer.publisher.count) + i128::from(*copies)
        }
    };
    question.expected.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    fn values(texts: &[&str]) -> Values {
        texts.iter().map(|text| Value::Text((*text).into())).collect()
    }

    #[test]
    fn a_row_tells_the_cuts_at_which_it_stood_like_this() {
        let expected = vec![
            Expected::AsInSnapshot,
            Expected::Row(values(&["1", "b"])),
            Expected::Nothing,
            Expected::Row(vec![Value::Text("1".into()), Value::Unchanged]),
        ];
        let question = Question { relation: 1, key: values(&["1"]), expected };
        let found = |rows: &[Vec<Option<String>>]| Found { rows: rows.to_vec(), count: 0 };
        let with = |subscriber: &[Vec<Option<String>>]| {
            judge(&question, &Sides::new(found(&[row(&["1", "a"])]), found(subscriber)))
        };
        assert_eq!(with(&[row(&["1", "a"])]), [true, false, false, true]);
        assert_eq!(with(&[row(&["1", "b"])]), [false, true, false, true]);
        assert_eq!(with(&[]), [false, false, true, false]);
        assert_eq!(with(&[row(&["1", "b"]), row(&["1", "b"])]), [false; 4]);
        let question =
            Question { relation: 1, key: values(&["1"]), expected: vec![Expected::More(0), Expected::More(2)] };
        let count = |count| Found { rows: Vec::new(), count };
        assert_eq!(judge(&question, &Sides::new(count(3), count(5))), [false, true]);
        assert_eq!(judge(&question, &Sides::new(count(3), count(2))), [false, false]);
    }
}
