//! What of the publisher is not compared: tables that are missing on the subscriber, and data that replication does not
//! carry.

use super::findings::Code;
use super::model::{Missing, ServerFacts, Severity, Unpaired};
use super::pairs::Notes;
use super::published::Carried;
use super::queries;
use super::relations::{Entry, Kind};
use super::storage::Sizes;
use crate::config::Scope;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::{self, QualifiedName};
use crate::verdict::Reason;

/// Whether a table holds rows that matter, as far as can be told.
enum Holds {
    Rows,
    Nothing,
    Unknown(Reason, String),
}

/// Looks for one row in a table of the publisher.
async fn holds(session: &Session, server: &ServerFacts, entry: &Entry, filter: Option<&str>) -> Result<Holds> {
    let statement = queries::holds_rows(&entry.name, entry.kind == Kind::Partitioned, filter);
    match session.rows_simple(&statement).await {
        Ok(rows) => match rows.into_iter().flatten().next().flatten().as_deref() {
            Some("t") => Ok(Holds::Rows),
            Some("f") => Ok(Holds::Nothing),
            _ => Err(Error::new(ErrorKind::Corrupt, format!("looking for a row in {}: no answer", entry.name))),
        },
        Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Lost | ErrorKind::Interrupted) => {
            Err(error)
        }
        Err(error) if error.kind() == ErrorKind::Permission => {
            let role = sql::identifier(&server.user);
            let grant = if entry.row_security {
                format!("ALTER ROLE {role} BYPASSRLS")
            } else if entry.usage {
                format!("GRANT SELECT ON {} TO {role}", entry.name.to_sql())
            } else {
                format!("GRANT USAGE ON SCHEMA {} TO {role}", sql::identifier(&entry.name.schema))
            };
            let message = format!("role {role} may not look whether {} holds rows: {grant}", entry.name);
            Ok(Holds::Unknown(Reason::PermissionDenied, message))
        }
        Err(error) => {
            let reason = match error.kind() {
                ErrorKind::Changed => Reason::ChangedMeanwhile,
                _ => Reason::ServerError,
            };
            Ok(Holds::Unknown(reason, format!("could not look whether {} holds rows: {error}", entry.name)))
        }
    }
}

/// A published table that the subscriber does not have; `other` is what has its name there.
pub(super) async fn missing(
    session: &Session,
    server: &ServerFacts,
    entry: &Entry,
    carried: &Carried,
    other: Option<&Entry>,
    notes: &mut Notes,
) -> Result<Unpaired> {
    let name = entry.name.clone();
    if other.is_some() {
        let message = format!("{name} is not a table on the subscriber");
        let hint = "replication writes tables only; put a table in its place";
        notes.findings.push(Code::NotATable.finding(Severity::Error, &name, message.clone(), hint));
        let message = format!("{message}: {hint}");
        return Ok(Unpaired { name, why: Missing::Because(Reason::Unsupported), message });
    }
    let message = format!("{name} does not exist on the subscriber");
    let hint = "create it there and refresh the subscription, or exclude it";
    notes.findings.push(Code::TableMissing.finding(Severity::Error, &name, message.clone(), hint));
    let (why, message) = match holds(session, server, entry, carried.filter.as_deref()).await? {
        Holds::Rows => (Missing::OnSubscriber { publisher_has_rows: true }, format!("{message}: {hint}")),
        Holds::Nothing => (
            Missing::OnSubscriber { publisher_has_rows: false },
            format!("{message}, and is empty on the publisher: {hint}"),
        ),
        Holds::Unknown(reason, why) => (Missing::Because(reason), format!("{message}; {why}")),
    };
    Ok(Unpaired { name, why, message })
}

/// A relation of the publisher that nothing carries. `None` where that loses nothing.
pub(super) async fn not_carried(
    session: &Session,
    server: &ServerFacts,
    entry: &Entry,
    sizes: &Sizes,
    scope: Scope,
    notes: &mut Notes,
) -> Result<Option<Unpaired>> {
    let name = entry.name.clone();
    match entry.kind {
        Kind::Foreign => {
            let message = format!("{name} is a foreign table; its rows are on another server");
            let hint = "compare them where they are";
            notes.findings.push(Code::ForeignTable.finding(Severity::Info, &name, message, hint));
            return Ok(None);
        }
        Kind::MaterializedView => {
            let message = format!("{name} is a materialized view; it is derived from other tables and is not compared");
            let hint =
                sql::noted(&format!("REFRESH MATERIALIZED VIEW {}", name.to_sql()), "on the subscriber at cutover");
            notes.findings.push(Code::MaterializedView.finding(Severity::Warning, &name, message, hint));
            return Ok(None);
        }
        Kind::Table | Kind::Partitioned if entry.extension => {
            let message = format!("{name} belongs to an extension and is not carried by replication");
            let hint = "create the extension on the subscriber; copy what users added to the table";
            notes.findings.push(Code::ExtensionTable.finding(Severity::Info, &name, message, hint));
            return Ok(None);
        }
        Kind::Table | Kind::Partitioned => {}
    }
    let (code, message) = if entry.unlogged {
        (Code::UnloggedTable, format!("{name} is unlogged, so replication cannot carry it"))
    } else {
        (Code::TableNotReplicated, format!("{name} is not carried by the subscriptions that are compared"))
    };
    let hint = if entry.unlogged {
        "copy it by hand or ALTER TABLE ... SET LOGGED; or exclude it with --exclude-table"
    } else {
        "add it to a publication and refresh the subscription, or exclude it with --exclude-table"
    };
    if scope == Scope::Published {
        notes.excluded.push(format!("{name} (not published)"));
        notes.findings.push(code.finding(Severity::Info, &name, message, hint));
        return Ok(None);
    }
    let held = if sizes.is_bare(entry) { Holds::Nothing } else { holds(session, server, entry, None).await? };
    let (why, message) = match held {
        Holds::Nothing => return Ok(None),
        Holds::Rows => (Missing::Replication, message),
        Holds::Unknown(reason, why) => (Missing::Because(reason), format!("{message}; {why}")),
    };
    notes.findings.push(code.finding(Severity::Warning, &name, message.clone(), hint));
    Ok(Some(Unpaired { name, why, message: format!("{message}: {hint}") }))
}

/// The large objects of the publisher. `None` if there are none, or only what is published was asked for.
pub(super) async fn large_objects(session: &Session, scope: Scope, notes: &mut Notes) -> Result<Option<Unpaired>> {
    let rows = session.rows_simple(&queries::large_objects()).await?;
    let count = rows.into_iter().flatten().next().flatten().and_then(|count| count.parse::<u64>().ok());
    let count = count.ok_or_else(|| Error::new(ErrorKind::Corrupt, "counting large objects: no answer"))?;
    if count == 0 {
        return Ok(None);
    }
    let name = QualifiedName::new("pg_catalog", "pg_largeobject");
    let message = format!("{count} large objects are not carried by replication");
    let hint = "copy them by hand, or exclude them with --exclude-table pg_largeobject";
    let severity = if scope == Scope::Published { Severity::Info } else { Severity::Warning };
    notes.findings.push(Code::LargeObjects.finding(severity, &name, message.clone(), hint));
    if scope == Scope::Published {
        notes.excluded.push(format!("{name} ({count} large objects, not published)"));
        return Ok(None);
    }
    Ok(Some(Unpaired { name, why: Missing::Replication, message: format!("{message}: {hint}") }))
}
