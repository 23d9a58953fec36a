//! Reads the last values of the columns that sequences feed. Reading gives way like every reading of user tables.

use std::collections::HashMap;
use std::sync::Arc;

use super::monitor::{LOOK_INTERVAL, Monitor, Running, give_way};
use super::sequences::{End, Ends};
use super::servers::Servers;
use crate::catalog::{FedColumn, SequencePair};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::side::{Side, Sides};
use crate::sql::identifier;
use crate::verdict::Reason;

/// How often a column is read again after somebody waited for us.
const ATTEMPTS_MAX: u32 = 5;

/// Reads the columns of all sequences, first on the subscriber and then on the publisher: see [`super::sequence_check`].
///
/// # Errors
/// Where a session is lost. What a role may not read is in the answer.
pub(crate) async fn read(servers: &Servers, pairs: &[SequencePair]) -> Result<Ends> {
    let mut ends = Ends::new();
    for side in [Side::Subscriber, Side::Publisher] {
        let mut session = servers.scan(side, 1).await?;
        for pair in pairs {
            let descending = pair.definitions.publisher.as_ref().is_some_and(|facts| facts.increment < 0);
            for fed in pair.columns.iter().filter(|fed| fed.numeric) {
                let (end, still) = read_one(servers, session, side, fed, descending).await?;
                session = still;
                let of_column: &mut Sides<End> = ends.entry((fed.table.clone(), fed.column.clone())).or_default();
                *of_column.get_mut(side) = end;
            }
        }
        session.close().await;
    }
    Ok(ends)
}

/// The statement. The whole table counts, whatever part of it is replicated; a partitioned table is its partitions.
fn statement(fed: &FedColumn, descending: bool) -> String {
    let last = if descending { "min" } else { "max" };
    format!("SELECT {last}({}) FROM {}", identifier(&fed.column), fed.table.to_sql())
}

async fn read_one(
    servers: &Servers,
    mut session: Session,
    side: Side,
    fed: &FedColumn,
    descending: bool,
) -> Result<(End, Session)> {
    let query = statement(fed, descending);
    let what = format!("column {} of {} on the {side}", identifier(&fed.column), fed.table);
    for _ in 0..ATTEMPTS_MAX {
        match watched(servers, &session, side, &what, &query).await {
            Ok(text) => {
                let end = match End::from_text(text.as_deref()) {
                    End::Unread(reason, why) => End::Unread(reason, format!("{what}: {why}")),
                    end => end,
                };
                return Ok((end, session));
            }
            Err(error) => match error.kind() {
                // The column is there on the other side only: it holds nothing here.
                ErrorKind::Changed => return Ok((End::Value(None), session)),
                // The statement was cancelled because somebody waited, or did not get its lock: with a new session, again.
                ErrorKind::Cancelled | ErrorKind::TimedOut => session = servers.scan(side, 1).await?,
                ErrorKind::Permission => {
                    let message = format!("{what} may not be read: GRANT SELECT ON {} TO the role", fed.table.to_sql());
                    return Ok((End::Unread(Reason::PermissionDenied, message), session));
                }
                ErrorKind::Lost | ErrorKind::Connect => return Err(error),
                _ => return Ok((End::Unread(Reason::ServerError, format!("{what}: {error}")), session)),
            },
        }
    }
    let message = format!("{what} was given up {ATTEMPTS_MAX} times because others waited for it: try again later");
    Ok((End::Unread(Reason::KeptBlocking, message), session))
}

/// Runs the query, and cancels it when somebody waits for it.
async fn watched(servers: &Servers, session: &Session, side: Side, what: &str, query: &str) -> Result<Option<String>> {
    let control: &Arc<Session> = servers.control.get(side);
    let job = Running::new(side, session.backend_pid(), what.to_owned());
    let told = job.give_way.clone();
    let mut running = HashMap::from([((), job)]);
    let mut monitor = Monitor::default();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let mut answer = std::pin::pin!(session.value(query));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            (side, blocking) = monitor.answer() => { give_way(&mut running, side, &blocking?); }
            _ = looks.tick() => monitor.look(control, side, running.values()),
            () = told.cancelled() => {
                // If this fails, the session is dropped all the same, and its locks with it.
                let _ = session.cancel().await;
                return Err(Error::new(ErrorKind::Cancelled, format!("{what}: others waited for it")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::QualifiedName;

    #[test]
    fn names_are_quoted() {
        let fed = FedColumn { table: QualifiedName::new("My S", "t\"x"), column: "Id".into(), numeric: true };
        assert_eq!(statement(&fed, false), r#"SELECT max("Id") FROM "My S"."t""x""#);
        assert_eq!(statement(&fed, true), r#"SELECT min("Id") FROM "My S"."t""x""#);
    }
}
