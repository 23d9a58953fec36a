//! Transactions that stand in the way: slots are created, and gates pass, only after those that write have ended.

use std::time::Duration;

use super::Seen;
use crate::catalog::health::{OpenTransaction, PreparedTransaction, Probe, ServerHealth};
use crate::run::figures::{counted, duration, len};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    for (side, server) in seen.servers() {
        open(seen, side, server, checks);
        prepared(seen, side, server, checks);
    }
}

fn open(seen: &Seen<'_>, side: Side, server: &ServerHealth, checks: &mut Vec<Check>) {
    let code = Code::LongTransaction;
    let transactions = match &server.transactions {
        Probe::Refused(why) => return checks.push(Check::refused(code, side, why)),
        Probe::Told(transactions) => transactions,
    };
    if !server.role.sees_sessions {
        let role = sql::identifier(&server.role.name);
        checks.push(
            Check::refused(code, side, "the states of other roles' sessions are hidden")
                .remedy(format!("GRANT pg_monitor TO {role}")),
        );
    }
    let is_long = |open: &&OpenTransaction| Duration::from_secs(open.seconds) >= seen.long_transaction;
    let long: Vec<_> = transactions.iter().filter(is_long).collect();
    if long.is_empty() && server.role.sees_sessions {
        let evidence = format!("{} open, none for long", counted(len(transactions), "transaction", "transactions"));
        checks.push(Check::ok(code, side, evidence));
    }
    for transaction in long {
        let OpenTransaction { pid, user, database, state, seconds, writes } = transaction;
        let (status, wrote) = if *writes {
            (Status::Fix, "has written")
        } else {
            (Status::Warn, "has not written, but holds back vacuum")
        };
        let age = duration(Duration::from_secs(*seconds));
        let evidence = format!("open for {age} by role {user} in database {database}, {state}; it {wrote}");
        checks.push(
            Check::new(code, status, side, evidence)
                .about(&format!("pid {pid}"))
                .threshold(format!("shorter than {}", duration(seen.long_transaction)))
                .remedy(sql::noted(&format!("SELECT pg_terminate_backend({pid})"), "unless it ends by itself")),
        );
    }
}

fn prepared(seen: &Seen<'_>, side: Side, server: &ServerHealth, checks: &mut Vec<Check>) {
    let code = Code::PreparedTransaction;
    let transactions = match &server.prepared {
        Probe::Refused(why) => return checks.push(Check::refused(code, side, why)),
        Probe::Told(transactions) => transactions,
    };
    let is_long = |one: &&PreparedTransaction| Duration::from_secs(one.seconds) >= seen.long_transaction;
    let long: Vec<_> = transactions.iter().filter(is_long).collect();
    if long.is_empty() {
        let count = counted(len(transactions), "prepared transaction", "prepared transactions");
        checks.push(Check::ok(code, side, format!("{count}, none for long")));
    }
    for PreparedTransaction { gid, database, seconds } in long {
        let age = duration(Duration::from_secs(*seconds));
        let (gid_sql, place) = (sql::literal(gid), sql::identifier(database));
        checks.push(
            Check::new(code, Status::Fix, side, format!("prepared for {age} in database {database}"))
                .about(gid)
                .threshold(format!("shorter than {}", duration(seen.long_transaction)))
                .remedy(format!(
                    "as its coordinator has decided, in database {place}: COMMIT PREPARED {gid_sql} or ROLLBACK PREPARED {gid_sql}"
                )),
        );
    }
}
