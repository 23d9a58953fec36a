//! What is asked of a publisher.

use super::model::*;
use super::server::{self, number};
use super::{queries, tables};
use crate::catalog::fields::Fields;
use crate::catalog::queries as catalog_queries;
use crate::catalog::relations::Relations;
use crate::catalog::select::Selection;
use crate::catalog::sequences;
use crate::catalog::versions::Major;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::lsn::Lsn;

pub(super) async fn read(
    session: &Session,
    major: Major,
    relations: &Relations,
    selection: &Selection,
) -> Result<PublisherHealth> {
    let large_objects = if selection.wants_large_objects() {
        Some(Probe::of(number(session, &catalog_queries::large_objects(), "the number of large objects").await)?)
    } else {
        None
    };
    Ok(PublisherHealth {
        server: server::read(session, major).await?,
        slots: Probe::of(slots(session, major).await)?,
        senders: Probe::of(number(session, &queries::senders(), "the number of walsenders").await)?,
        replication_roles: Probe::of(replication_roles(session).await)?,
        tables: tables::read(session, major, relations, selection).await?,
        large_objects,
        sequences: sequence_access(session, |oid| {
            !selection.is_narrowed() && !selection.excludes(relations, oid) || selection.names(oid)
        })
        .await?,
        database_bytes: Probe::of(number(session, &queries::database_bytes(), "the size of the database").await)?,
    })
}

/// The sequences that are asked for, by name.
pub(super) async fn sequence_access(session: &Session, wanted: impl Fn(u32) -> bool) -> Result<Vec<SequenceAccess>> {
    let sequences = sequences::read(session).await?;
    let wanted = sequences.into_iter().filter(|(_, sequence)| wanted(sequence.facts.oid));
    Ok(wanted.map(|(name, sequence)| SequenceAccess { name, readable: sequence.facts.readable }).collect())
}

async fn slots(session: &Session, major: Major) -> Result<Vec<Slot>> {
    let rows = session.rows_simple(&queries::slots(major)).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the replication slots", row);
            Ok(Slot {
                name: fields.text()?,
                logical: fields.flag()?,
                plugin: fields.optional()?,
                own_database: fields.flag()?,
                temporary: fields.flag()?,
                active: fields.flag()?,
                confirmed_flush_lsn: fields.parse_optional()?,
                wal_status: fields.optional()?,
                safe_wal_bytes: fields.parse_optional()?,
                invalidated: fields.optional()?,
                retained_bytes: fields.parse_optional()?,
            })
        })
        .collect()
}

async fn replication_roles(session: &Session) -> Result<Vec<String>> {
    let rows = session.rows_simple(&queries::replication_roles()).await?;
    rows.into_iter().map(|row| Fields::new("the roles", row).text()).collect()
}

/// The publisher's position in its WAL.
///
/// # Errors
///
/// [`ErrorKind::Usage`] where it is a standby; else whatever the session reports.
pub async fn read_position_of_primary(session: &Session) -> Result<Lsn> {
    let mut fields = Fields::new("the position of the publisher", session.row(&queries::position()).await?);
    fields.parse_optional()?.ok_or_else(|| {
        Error::new(ErrorKind::Usage, "the publisher is a standby, whose writes happen elsewhere")
            .with_hint("name the primary that the subscription is fed by as --publisher")
    })
}

/// Tries out whether a temporary slot can be had: as a copy of a slot of this database, which is what `verify` does,
/// else a physical one. Either waits for nobody, and is dropped again at once.
///
/// Any error drops a session's temporary slots, so the session should serve nothing else.
///
/// # Errors
///
/// What the server says, mostly a missing privilege or that no slot is free.
pub async fn try_slot(session: &Session, copy_from: Option<&str>) -> Result<()> {
    let name = format!("triplecheck_preflight_{}", session.backend_pid());
    let created = match copy_from {
        Some(slot) => match session.batch(&queries::copy_slot(slot, &name)).await {
            // The slot itself may be what is wrong: another kind tells whether the role and the server would do.
            Err(error) if !session.is_closed() => session.batch(&queries::create_slot(&name)).await.map_err(|_| error),
            other => other,
        },
        None => session.batch(&queries::create_slot(&name)).await,
    };
    created.map_err(|error: Error| error.context("trying out a temporary slot"))?;
    session.batch(&queries::drop_slot(&name)).await
}
