//! What a server says about itself.

use super::fields::Fields;
use super::model::ServerFacts;
use super::queries;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};

/// Reads what a server says about itself.
///
/// # Errors
///
/// Whatever the session reports. That the role may not ask for the system identifier is none: it is `None` then.
pub async fn read_server(session: &Session) -> Result<ServerFacts> {
    let rows = session.rows_simple(&queries::server()).await?;
    let row = rows.into_iter().next();
    let row = row.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the server did not describe itself"))?;
    let mut fields = Fields::new("the server", row);
    let system_identifier = match session.rows_simple(&queries::system_identifier()).await {
        Ok(rows) => rows.into_iter().flatten().next().flatten(),
        Err(error) if matches!(error.kind(), ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Server) => {
            None
        }
        Err(error) => return Err(error),
    };
    Ok(ServerFacts {
        version_num: fields.parse()?,
        version: fields.text()?,
        database: fields.text()?,
        user: fields.text()?,
        wal_segment_bytes: fields.parse()?,
        encoding: fields.text()?,
        in_recovery: fields.flag()?,
        system_identifier,
    })
}
