//! What is asked of either side.

use std::collections::BTreeMap;

use super::model::*;
use super::queries;
use crate::catalog::fields::Fields;
use crate::catalog::server::read_server;
use crate::catalog::versions::Major;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::QualifiedName;

/// RDS's switch for logical decoding, kept among the settings where the server has it.
pub(super) const RDS_LOGICAL_REPLICATION: &str = "rds.logical_replication";

/// Asks what is asked of either side.
pub(super) async fn read(session: &Session, major: Major) -> Result<ServerHealth> {
    Ok(ServerHealth {
        facts: read_server(session).await?,
        role: role(session).await?,
        settings: settings(session).await?,
        aurora: aurora(session).await?,
        transactions: Probe::of(transactions(session).await)?,
        prepared: Probe::of(prepared(session).await)?,
        extensions: Probe::of(extensions(session).await)?,
        available: Probe::of(available(session).await)?,
        database_collation: Probe::of(database_collation(session, major).await)?,
        stale_collations: Probe::of(stale_collations(session).await)?,
    })
}

/// The single number of an answer.
pub(super) async fn number(session: &Session, sql: &str, what: &'static str) -> Result<u64> {
    Fields::new(what, session.row(sql).await?).parse()
}

async fn role(session: &Session) -> Result<RoleFacts> {
    let mut fields = Fields::new("the role", session.row(&queries::role()).await?);
    Ok(RoleFacts {
        name: fields.text()?,
        superuser: fields.flag()?,
        replication: fields.flag()?,
        rds_replication: fields.flag()?,
        rds: fields.flag()?,
        sees_sessions: fields.flag()?,
        origin_progress: fields.flag()?,
    })
}

async fn settings(session: &Session) -> Result<BTreeMap<String, Setting>> {
    let mut settings = BTreeMap::new();
    for row in session.rows_simple(&queries::settings()).await? {
        let mut fields = Fields::new("the settings", row);
        let name = fields.text()?;
        settings.insert(name, Setting { value: fields.text()?, pending_restart: fields.flag()? });
    }
    if let Some(value) = session.value(&queries::rds_logical_replication()).await?.filter(|value| !value.is_empty()) {
        settings.insert(RDS_LOGICAL_REPLICATION.to_owned(), Setting { value, pending_restart: false });
    }
    Ok(settings)
}

/// Whether the functions of Aurora exist: its version, and its restore point.
pub(super) async fn aurora_functions(session: &Session) -> Result<(bool, bool)> {
    let mut fields = Fields::new("the functions of Aurora", session.row(&queries::aurora_functions()).await?);
    Ok((fields.flag()?, fields.flag()?))
}

async fn aurora(session: &Session) -> Result<Option<String>> {
    if !aurora_functions(session).await?.0 {
        return Ok(None);
    }
    // Its version is for people; that it is Aurora is known already.
    match Probe::of(session.value(&queries::aurora_version()).await)? {
        Probe::Told(version) => Ok(Some(version.unwrap_or_default())),
        Probe::Refused(_) => Ok(Some(String::new())),
    }
}

async fn transactions(session: &Session) -> Result<Vec<OpenTransaction>> {
    let rows = session.rows_simple(&queries::transactions()).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the open transactions", row);
            Ok(OpenTransaction {
                pid: fields.parse()?,
                user: fields.text()?,
                database: fields.text()?,
                state: fields.text()?,
                seconds: fields.parse()?,
                writes: fields.flag()?,
            })
        })
        .collect()
}

async fn prepared(session: &Session) -> Result<Vec<PreparedTransaction>> {
    let rows = session.rows_simple(&queries::prepared()).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the prepared transactions", row);
            Ok(PreparedTransaction { gid: fields.text()?, database: fields.text()?, seconds: fields.parse()? })
        })
        .collect()
}

async fn extensions(session: &Session) -> Result<Vec<Extension>> {
    let rows = session.rows_simple(&queries::extensions()).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the extensions", row);
            Ok(Extension { name: fields.text()?, version: fields.text()? })
        })
        .collect()
}

async fn available(session: &Session) -> Result<BTreeMap<String, String>> {
    let rows = session.rows_simple(&queries::available_extensions()).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the available extensions", row);
            Ok((fields.text()?, fields.text()?))
        })
        .collect()
}

async fn database_collation(session: &Session, major: Major) -> Result<DatabaseCollation> {
    let row = session.row(&queries::database_collation(major)).await?;
    let mut fields = Fields::new("the collation of the database", row);
    Ok(DatabaseCollation {
        provider: fields.text()?,
        locale: fields.text()?,
        recorded: fields.optional()?,
        actual: fields.optional()?,
    })
}

async fn stale_collations(session: &Session) -> Result<Vec<StaleCollation>> {
    let rows = session.rows_simple(&queries::stale_collations()).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the collations", row);
            let name = QualifiedName::new(fields.text()?, fields.text()?);
            let (recorded, actual) = (fields.text()?, fields.optional()?);
            let indexes: Option<Vec<(String, String)>> = fields.json_optional()?;
            let indexes =
                indexes.into_iter().flatten().map(|(schema, name)| QualifiedName::new(schema, name)).collect();
            Ok(StaleCollation { name, recorded, actual, indexes })
        })
        .collect()
}

/// A position in the WAL, which is never NULL.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] where it is none.
pub(super) fn position(text: Option<&str>, what: &str) -> Result<crate::lsn::Lsn> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("reading {what}: not a WAL position")))
}
