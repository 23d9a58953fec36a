//! Proofs about servers that no name and no identifier can give.

use super::nonce::nonce;
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};

/// Whether both sessions are in the same database of the same running server.
///
/// A lock with a random key, taken through one, shows to the other: system identifiers and object identifiers are equal
/// on physical clones, which are exactly what gets compared. Another database of the same server is another database.
///
/// Neither session may be in a transaction. The lock ends with the transaction that takes it, whatever happens.
///
/// # Errors
///
/// Those of [`Session::statements`].
pub async fn same_database(publisher: &Session, subscriber: &Session) -> Result<bool> {
    let key = nonce();
    let seen = look(publisher, subscriber, key).await;
    let released = publisher.batch("ROLLBACK").await;
    let seen = seen.map_err(|error| error.context("finding out whether both sides are the same database"))?;
    released?;
    Ok(seen)
}

async fn look(publisher: &Session, subscriber: &Session, key: i64) -> Result<bool> {
    let taken = publisher.statements(&lock_sql(key)).await?;
    let taken = taken.last().and_then(|rows| rows.first()).and_then(|row| row.first()).and_then(Option::as_deref);
    if taken != Some("t") {
        return Err(Error::new(ErrorKind::Server, "an advisory lock with a random key is taken already"));
    }
    match subscriber.value(&seen_sql(key)).await?.as_deref() {
        Some("t") => Ok(true),
        Some("f") => Ok(false),
        _ => Err(Error::new(ErrorKind::Corrupt, "the server does not tell about its locks")),
    }
}

fn lock_sql(key: i64) -> String {
    format!("BEGIN READ ONLY; SELECT pg_catalog.pg_try_advisory_xact_lock({key}::pg_catalog.int8)")
}

/// How a lock with a key of 64 bits shows: PostgreSQL manual, "pg_locks".
fn seen_sql(key: i64) -> String {
    let (class, object) = (key >> 32, key & 0xffff_ffff);
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted \
         AND l.classid = '{class}'::pg_catalog.oid AND l.objid = '{object}'::pg_catalog.oid AND l.objsubid = 1 AND l.database = \
         (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_split_as_pg_locks_shows_it() {
        let sql = seen_sql(0x7fff_fffe_8000_0001);
        assert!(
            sql.contains("l.classid = '2147483646'::pg_catalog.oid AND l.objid = '2147483649'::pg_catalog.oid"),
            "{sql}"
        );
        assert!(lock_sql(i64::MAX).ends_with("(9223372036854775807::pg_catalog.int8)"));
    }
}
