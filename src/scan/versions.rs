//! Row versions by their identity, as they stand now.

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::recheck::Version;
use crate::gate::window::{Identity, Values};
use crate::plan::{Slice, heap_check, versions_statement};
use crate::row::Fields;
use crate::scan::execute::{VALUE_CHARACTERS, copy, number_from};
use crate::scan::sinks::{POSITION_FIELDS, split_position};
use crate::scan::{SampledRow, TableContext};

/// A row version that was found.
#[derive(Debug, Clone)]
pub(crate) struct SeenRow {
    /// Which of the identities it has.
    pub(crate) number: usize,
    /// The version.
    pub(crate) version: Version,
    /// The row, where it was asked for.
    pub(crate) row: Option<SampledRow>,
}

/// Reads the versions of rows with these identities in a new snapshot, in a transaction of its own.
///
/// # Errors
/// Whatever the server says; [`ErrorKind::Changed`] where the table was truncated or rewritten under the snapshot;
/// [`ErrorKind::TimedOut`] where it takes longer than allowed.
pub(crate) async fn versions(
    session: &Session,
    table: &TableContext,
    identity: &Identity,
    keys: &[&Values],
    with_rows: bool,
    timeout_ms: u32,
) -> Result<Vec<SeenRow>> {
    let (pair, side, fields) = (&table.pair, session.side(), table.shape.columns().len());
    let query = versions_statement(pair, &table.shape, side, identity, keys, VALUE_CHARACTERS);
    let corrupt = || Error::new(ErrorKind::Corrupt, "a lookup has an unexpected answer");
    let mut canonical = table.shape.canonicalizer();
    let mut found = Vec::new();
    let mut image = Vec::new();
    let fallible = async {
        session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        session.batch(&format!("SET LOCAL statement_timeout = {timeout_ms}")).await?;
        let take = |tuple: &[u8]| {
            let behind = split_position(tuple, fields, POSITION_FIELDS + 1, &mut image)?;
            let mut rest = Fields::new(tuple).skip(fields + POSITION_FIELDS + 1);
            let number = rest.next().transpose()?.flatten().and_then(number_from).ok_or_else(corrupt)?;
            let maker = rest.next().transpose()?.flatten().ok_or_else(corrupt)?;
            let row = SampledRow::new(&canonical.row(&image)?, behind.at, behind.texts)?;
            let version = Version {
                xmin: u32::from_be_bytes(maker.try_into().map_err(|_| corrupt())?),
                heap: behind.at.heap,
                place: (behind.at.block, behind.at.offset),
                digest: *row.digest.as_bytes(),
            };
            found.push(SeenRow { number, version, row: with_rows.then_some(row) });
            Ok(())
        };
        copy(session, &query, fields + POSITION_FIELDS + 3, |_, _| {}, take).await?;
        let unchanged = session.value(&heap_check(pair.relations.get(side), &Slice::Whole)).await?;
        if unchanged.as_deref() == Some("t") {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Changed,
            format!("table {} was truncated, rewritten or repartitioned on the {side}", pair.name),
        ))
    };
    let result = fallible.await;
    // Whatever came of it: nothing is locked any longer.
    let ended = session.batch("ROLLBACK").await;
    result.and(ended)?;
    Ok(found)
}
