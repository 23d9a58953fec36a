//! What is asked of a subscriber.

use std::collections::BTreeMap;

use super::model::*;
use super::publisher::sequence_access;
use super::queries;
use super::server::{self, aurora_functions, number, position};
use crate::catalog::fields::Fields;
use crate::catalog::relations::{Entry, Kind, Relations};
use crate::catalog::select::Selection;
use crate::catalog::versions::Major;
use crate::connect::Session;
use crate::error::Result;
use crate::lsn::Lsn;
use crate::sql::QualifiedName;

pub(super) async fn read(
    session: &Session,
    major: Major,
    publisher: &Relations,
    selection: &Selection,
) -> Result<SubscriberHealth> {
    let server = server::read(session, major).await?;
    let relations = Relations::read(session, major).await?;
    let mut namesakes = Namesakes::default();
    let mut stored = Vec::new();
    for leaf in relations.tops().flat_map(|top| relations.leaves(top.oid)).filter(|leaf| leaf.kind == Kind::Table) {
        let Some(other) = publisher.find(&leaf.name).filter(|other| selection.wants(publisher, other.oid)) else {
            continue;
        };
        namesakes.count += 1;
        namesakes.same_oid += u64::from(other.oid == leaf.oid);
        stored.push(leaf);
    }
    let own_wal = Probe::of(own_wal(session, server.facts.wal_segment_bytes).await)?;
    Ok(SubscriberHealth {
        subscriptions: subscriptions(session, major).await?,
        workers: Probe::of(number(session, &queries::workers(), "the number of workers").await)?,
        origins: Probe::of(number(session, &queries::origins(), "the number of origins").await)?,
        sequences: sequence_access(session, |_| true).await?,
        without_statistics: Probe::of(without_statistics(session, &stored).await)?,
        namesakes,
        own_wal,
        server,
    })
}

async fn subscriptions(session: &Session, major: Major) -> Result<Vec<SubscriptionHealth>> {
    let mut subscriptions = Vec::new();
    for row in session.rows_simple(&queries::subscriptions(major)).await? {
        let mut fields = Fields::new("the subscriptions", row);
        let oid = fields.parse()?;
        let mut subscription = SubscriptionHealth {
            oid,
            name: fields.text()?,
            slot: fields.optional()?,
            publications: fields.texts_optional()?.unwrap_or_default(),
            enabled: fields.flag()?,
            two_phase: fields.flag()?,
            disable_on_error: fields.flag()?,
            skip_lsn: fields.parse_optional()?,
            worker: fields.parse_optional()?,
            silent_seconds: fields.parse_optional()?,
            errors: fields.parse_optional()?.zip(fields.parse_optional()?),
            conflicts: conflicts(&mut fields)?,
            origin: Probe::Told(None),
        };
        subscription.origin = Probe::of(origin(session, oid).await)?;
        subscriptions.push(subscription);
    }
    Ok(subscriptions)
}

/// The counters above zero, in the order of their names.
fn conflicts(fields: &mut Fields) -> Result<Option<Vec<(String, u64)>>> {
    let counters: Option<BTreeMap<String, u64>> = fields.json_optional()?;
    Ok(counters.map(|counters| counters.into_iter().filter(|&(_, count)| count > 0).collect()))
}

async fn origin(session: &Session, subscription: u32) -> Result<Option<Lsn>> {
    match session.value(&queries::origin_progress(subscription)).await? {
        Some(text) => position(Some(&text), "the position of an origin").map(|lsn| Some(lsn).filter(|lsn| lsn.0 > 0)),
        None => Ok(None),
    }
}

async fn without_statistics(session: &Session, tables: &[&Entry]) -> Result<Vec<SizedTable>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.rows_simple(&queries::without_statistics(tables.iter().map(|table| table.oid))).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::new("the statistics of tables", row);
            let name = QualifiedName::new(fields.text()?, fields.text()?);
            Ok(SizedTable { name, bytes: fields.parse()? })
        })
        .collect()
}

async fn own_wal(session: &Session, wal_segment_bytes: u64) -> Result<OwnWal> {
    let mut fields = Fields::new("the WAL of the subscriber", session.row(&queries::own_wal()).await?);
    let (current, redo) = (fields.parse()?, fields.parse()?);
    let oldest_segment = match Probe::of(session.value(&queries::oldest_segment()).await)? {
        Probe::Told(name) => name.and_then(|name| segment_start(&name, wal_segment_bytes)),
        Probe::Refused(_) => None,
    };
    let aurora_start = if aurora_functions(session).await?.1 {
        // Aurora's own: what it says where there is no restore point is not documented.
        Some(match Probe::of(session.value(&queries::aurora_start()).await)? {
            Probe::Told(text) => match text.as_deref().and_then(|text| text.parse().ok()) {
                Some(lsn) => Probe::Told(lsn),
                None => Probe::Refused("aurora_volume_logical_start_lsn() gave no position".to_owned()),
            },
            Probe::Refused(why) => Probe::Refused(why),
        })
    } else {
        None
    };
    Ok(OwnWal { current, redo, oldest_segment, aurora_start })
}

/// The position at which a WAL segment starts: eight hexadecimal digits each for the upper half of the position and the
/// number of the segment in it (`XLogFileName`, access/xlog_internal.h). `None` for anything else.
fn segment_start(name: &str, wal_segment_bytes: u64) -> Option<Lsn> {
    if name.len() != 16 || wal_segment_bytes == 0 {
        return None;
    }
    let half = |digits: Option<&str>| digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let (high, segment) = (half(name.get(..8))?, half(name.get(8..))?);
    segment.checked_mul(wal_segment_bytes).filter(|&low| low <= u64::from(u32::MAX)).map(|low| Lsn(high << 32 | low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_are_positions() {
        let megabytes = |count: u64| count << 20;
        assert_eq!(segment_start("0000000000000007", megabytes(16)), Some(Lsn(megabytes(112))));
        assert_eq!(segment_start("0000C4A10000001F", megabytes(64)).unwrap().to_string(), "C4A1/7C000000");
        for odd in ["", "0000000000000", "000000000000000G", "00000000FFFFFFFF"] {
            assert_eq!(segment_start(odd, megabytes(16)), None, "{odd}");
        }
        assert_eq!(segment_start("0000000000000007", 0), None);
    }
}
