//! Looking up rows by their identity, outside of the course of a table.

use crate::catalog::TablePair;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Snapshot;
use crate::gate::window::{Identity, Values};
use crate::plan::{Finding, lookup_statement};
use crate::row::{Fields, text_array};
use crate::scan::execute::{copy, import, number_from};

/// What a side has of an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The texts of the compared columns of each row, in the order of the pair, sorted; for [`Finding::Texts`].
    pub rows: Vec<Vec<Option<String>>>,
    /// How many rows there are; for [`Finding::Counts`].
    pub count: u64,
}

/// Looks up identities in a snapshot, in a transaction of its own. One answer for each key.
///
/// # Errors
/// Whatever the server says; [`ErrorKind::TimedOut`] where it takes longer than allowed; [`ErrorKind::Unsupported`] where a text
/// is not UTF-8, so that it tells nothing.
pub(crate) async fn look_up(
    session: &Session,
    snapshot: &Snapshot,
    pair: &TablePair,
    identity: &Identity,
    keys: &[&Values],
    finding: Finding,
    timeout_ms: u32,
) -> Result<Vec<Found>> {
    let mut found = vec![Found::default(); keys.len()];
    let query = lookup_statement(pair, session.side(), identity, keys, finding);
    let corrupt = || Error::new(ErrorKind::Corrupt, "a lookup has an unexpected answer");
    let mut unreadable = None;
    let fallible = async {
        import(session, snapshot).await?;
        session.batch(&format!("SET LOCAL statement_timeout = {timeout_ms}")).await?;
        copy(
            session,
            &query,
            2,
            |_, _| {},
            |tuple| {
                let fields = Fields::new(tuple).collect::<Result<Vec<_>>>()?;
                let [Some(number), Some(answer)] = fields.as_slice() else { return Err(corrupt()) };
                let place = number_from(number).and_then(|number| found.get_mut(number)).ok_or_else(corrupt)?;
                match finding {
                    Finding::Texts => match text_array(answer) {
                        Ok(texts) => place.rows.push(texts),
                        // A stream that is given up takes its session along.
                        Err(error) if error.kind() == ErrorKind::Unsupported => unreadable = Some(error),
                        Err(error) => return Err(error),
                    },
                    Finding::Counts => place.count = number_from(answer).ok_or_else(corrupt)? as u64,
                    Finding::Places(_) => return Err(corrupt()),
                }
                Ok(())
            },
        )
        .await
    };
    let result = fallible.await;
    // Whatever came of it: nothing is locked any longer.
    let ended = session.batch("ROLLBACK").await;
    result.and(ended)?;
    if let Some(error) = unreadable {
        return Err(error.context(session.side()));
    }
    found.iter_mut().for_each(|found| found.rows.sort_unstable());
    Ok(found)
}
