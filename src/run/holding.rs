//! What a sync point costs both servers while it is open, and when that is too much.
//!
//! Its snapshots keep vacuum from removing what they show. The temporary slot is gone before anything is read, so that no
//! WAL is kept for us; but reading takes from what replication needs, and the subscription's slot shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::catalog::Subscription;
use crate::connect::Session;
use crate::error::{ErrorKind, Result};
use crate::gate::Keepers;
use crate::run::figures::count;
use crate::run::outcome::Held;
use crate::side::{Side, Sides};
use crate::sql;

/// Time between two looks.
pub(crate) const HOLDING_INTERVAL: Duration = Duration::from_secs(5);
/// Transactions that a snapshot may fall behind while it is held before its sync point ends: dead rows of all of them stay. What
/// it is behind from the beginning is held back by somebody else, and stays so without it. A twentieth of what
/// makes autovacuum freeze at any cost (`autovacuum_freeze_max_age`), an hour at 2,800 transactions a second.
const XIDS_MAX: u64 = 10_000_000;
/// First version with `pg_replication_slots.wal_status` (release notes of 13).
const WAL_STATUS_SINCE: u32 = 130_000;

type Rows = Vec<Vec<Option<String>>>;

/// Looks at both servers, one question under way per side.
pub(crate) struct Holding {
    statements: Sides<String>,
    answers: JoinSet<(Side, Result<Rows>)>,
    asked: Vec<Side>,
    /// Whether a slot was in danger from the beginning.
    endangered: Option<bool>,
    /// What the snapshots were behind at the first look.
    from: Sides<Option<u64>>,
    pub(crate) held: Held,
}

fn xids_sql(keeper: i32) -> String {
    format!("(SELECT pg_catalog.age(backend_xmin) FROM pg_catalog.pg_stat_activity WHERE pid = {keeper})")
}

fn publisher_sql(keeper: i32, subscriptions: &[Subscription], version_num: u32) -> String {
    let xids = xids_sql(keeper);
    if subscriptions.is_empty() {
        return format!("SELECT {xids}, NULL, NULL");
    }
    let wal_status = if version_num >= WAL_STATUS_SINCE { "s.wal_status" } else { "NULL" };
    format!(
        "SELECT {xids}, {wal_status}, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), s.restart_lsn)::bigint \
         FROM (SELECT) one LEFT JOIN pg_catalog.pg_replication_slots s \
         ON s.slot_name = ANY ({}) AND s.database = current_database()",
        sql::text_array(subscriptions.iter().map(|subscription| &subscription.slot))
    )
}

impl Holding {
    pub(crate) fn new(keepers: &Keepers, subscriptions: &[Subscription], version_num: u32) -> Self {
        let pids = keepers.sessions.as_ref().map(Session::backend_pid);
        let statements = Sides {
            publisher: publisher_sql(pids.publisher, subscriptions, version_num),
            subscriber: format!("SELECT {}, NULL, NULL", xids_sql(pids.subscriber)),
        };
        Self {
            statements,
            answers: JoinSet::new(),
            asked: Vec::new(),
            endangered: None,
            from: Sides::default(),
            held: Held::default(),
        }
    }

    /// Asks a side, unless the last question is still open.
    pub(crate) fn look(&mut self, session: &Arc<Session>, side: Side) {
        if self.asked.contains(&side) {
            return;
        }
        self.asked.push(side);
        let (session, statement) = (Arc::clone(session), self.statements.get(side).clone());
        self.answers.spawn(async move { (side, session.rows_simple(&statement).await) });
    }

    /// Takes in the next answer; waits for ever while nothing is asked. Says why the sync point should end, if so.
    ///
    /// # Errors
    /// Where the session is lost. Anything else that a server has against the question leaves the figures open.
    pub(crate) async fn answer(&mut self) -> Result<Option<String>> {
        loop {
            match self.answers.join_next().await {
                Some(Ok((side, answer))) => {
                    self.asked.retain(|&asked| asked != side);
                    match answer {
                        Ok(rows) => return Ok(self.take(side, &rows)),
                        Err(error) if error.kind() == ErrorKind::Lost => return Err(error),
                        Err(error) => tracing::debug!(%error, %side, "what the sync point holds back is not known"),
                    }
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, side: Side, rows: &[Vec<Option<String>>]) -> Option<String> {
        let number = |row: &[Option<String>], at: usize| row.get(at)?.as_deref()?.parse::<u64>().ok();
        let xids = rows.iter().filter_map(|row| number(row, 0)).max();
        let known = match side {
            Side::Publisher => &mut self.held.publisher_xids,
            Side::Subscriber => &mut self.held.subscriber_xids,
        };
        *known = (*known).max(xids);
        let from = self.from.get_mut(side);
        *from = from.or(xids);
        if let (Some(xids), Some(from)) = (xids, *from)
            && xids.saturating_sub(from) > XIDS_MAX
        {
            return Some(format!(
                "its snapshots hold back vacuum by {} transactions more than when they were taken, on the {side}",
                count(xids - from)
            ));
        }
        if side == Side::Subscriber {
            return None;
        }
        self.held.retained_bytes = self.held.retained_bytes.max(rows.iter().filter_map(|row| number(row, 2)).max());
        // The worst of all slots; what is not known is no reason.
        let status = |wanted: &str| rows.iter().any(|row| row.get(1).and_then(Option::as_deref) == Some(wanted));
        let worst = ["lost", "unreserved", "extended", "reserved"].into_iter().find(|wanted| status(wanted));
        self.held.wal_status = worst.map(str::to_owned).or(self.held.wal_status.take());
        let before = *self.endangered.get_or_insert(worst == Some("unreserved"));
        // What was so before is not for us to mend. Of a slot that is lost nothing comes any more: what can be read is read.
        (worst == Some("unreserved") && !before).then(|| {
            "the publisher is about to remove WAL that the subscription's slot needs (wal_status unreserved)".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding() -> Holding {
        let statements = Sides { publisher: String::new(), subscriber: String::new() };
        Holding {
            statements,
            answers: JoinSet::new(),
            asked: Vec::new(),
            endangered: None,
            from: Sides::default(),
            held: Held::default(),
        }
    }

    fn row(xids: &str, status: Option<&str>, bytes: Option<&str>) -> Vec<Option<String>> {
        [Some(xids), status, bytes].map(|field| field.map(str::to_owned)).into()
    }

    #[test]
    fn the_most_that_was_held_back_is_kept() {
        let mut holding = holding();
        assert_eq!(holding.take(Side::Publisher, &[row("7", Some("reserved"), Some("100"))]), None);
        assert_eq!(
            holding.take(Side::Publisher, &[row("5", Some("extended"), Some("90")), row("5", None, None)]),
            None
        );
        assert_eq!(holding.take(Side::Subscriber, &[row("9", None, None)]), None);
        let held = Held {
            publisher_xids: Some(7),
            subscriber_xids: Some(9),
            retained_bytes: Some(100),
            wal_status: Some("extended".to_owned()),
        };
        assert_eq!(holding.held, held);
        // Nothing is known: neither a figure nor a reason.
        assert_eq!(holding.take(Side::Publisher, &[vec![None, None, None], Vec::new()]), None);
        assert_eq!(holding.held, held);
    }

    #[test]
    fn too_many_transactions_end_it() {
        for side in Side::BOTH {
            let mut holding = holding();
            let mut at = |xids: u64| holding.take(side, &[row(&xids.to_string(), None, None)]);
            // Somebody else's snapshot, or a prepared transaction, is older by far.
            assert_eq!(at(50_000_000), None);
            assert_eq!(at(50_000_000 + XIDS_MAX), None);
            let said = format!(
                "its snapshots hold back vacuum by 10,000,001 transactions more than when they were taken, on the {side}"
            );
            assert_eq!(at(50_000_001 + XIDS_MAX), Some(said));
        }
    }

    #[test]
    fn a_slot_that_gets_into_danger_ends_it() {
        let status = |holding: &mut Holding, status| holding.take(Side::Publisher, &[row("1", Some(status), None)]);
        let mut one = holding();
        assert_eq!(status(&mut one, "extended"), None);
        assert!(status(&mut one, "unreserved").unwrap().contains("unreserved"));
        // What was so from the beginning, or is beyond help.
        let mut other = holding();
        assert_eq!(status(&mut other, "unreserved"), None);
        assert_eq!(status(&mut other, "unreserved"), None);
        assert_eq!(status(&mut holding(), "lost"), None);
    }
}
