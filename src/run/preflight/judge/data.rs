//! What replication carries, and what it leaves behind.

use super::{Seen, listed};
use crate::catalog::health::{Probe, Publication, SubscriberHealth, WeakIdentity};
use crate::run::figures::{bytes, counted, len};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql;

/// What CREATE PUBLICATION publishes where nothing else is said.
const ALL_ACTIONS: &str = "insert, update, delete, truncate";

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    publications(seen, checks);
    not_published(seen, checks);
    identities(seen, checks);
    unlogged(seen, checks);
    large_objects(seen, checks);
    sequences(seen, checks);
}

fn identities(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let tables = &seen.health.publisher.tables;
    if tables.weak_identities.is_empty() {
        let evidence = format!("{}, each with a usable identity", counted(tables.count, "table", "tables"));
        checks.push(Check::ok(Code::ReplicaIdentity, Side::Publisher, evidence));
    }
    checks.extend(tables.weak_identities.iter().map(|weak| identity(weak, tables.publications.is_empty())));
}

fn identity(weak: &WeakIdentity, nothing_published: bool) -> Check {
    let table = weak.table.name.to_sql();
    let add = format!("give it a primary key: ALTER TABLE {table} ADD PRIMARY KEY (...)");
    let full = || {
        let better = "or better give it a primary key: without, the subscriber looks for every changed row";
        sql::noted(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL"), better)
    };
    let back = format!("ALTER TABLE {table} REPLICA IDENTITY DEFAULT");
    let (what, remedy) = match (weak.identity, weak.primary_key) {
        ('f', _) => ("no primary key, REPLICA IDENTITY FULL: the subscriber looks for every changed row", add),
        ('n', true) => ("REPLICA IDENTITY NOTHING", back),
        ('i', true) => ("the index of its REPLICA IDENTITY is gone or invalid", back),
        ('n', false) => ("no primary key, REPLICA IDENTITY NOTHING", full()),
        ('i', false) => ("no primary key, and the index of its REPLICA IDENTITY is gone or invalid", full()),
        _ => ("no primary key and no other REPLICA IDENTITY", full()),
    };
    let stopped = weak.identity != 'f' && (weak.published || nothing_published);
    let status = if stopped { Status::Fix } else { Status::Warn };
    let evidence = format!("{what}; {}", bytes(weak.table.bytes));
    Check::new(Code::ReplicaIdentity, status, Side::Publisher, evidence)
        .about(&weak.table.name)
        .threshold("a primary key, or a replica identity by which updates and deletes find their row")
        .remedy(remedy)
}

fn unlogged(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::UnloggedTable;
    let tables = &seen.health.publisher.tables.unlogged;
    if tables.is_empty() {
        checks.push(Check::ok(code, Side::Publisher, "none"));
    }
    for table in tables {
        checks.push(
            Check::new(code, seen.left_behind(), Side::Publisher, format!("not replicated; {}", bytes(table.bytes)))
                .about(&table.name)
                .threshold("logged, or left out by name")
                .remedy(sql::noted(
                    &format!("ALTER TABLE {} SET LOGGED", table.name.to_sql()),
                    "it is rewritten meanwhile; or leave it out with --exclude-table",
                )),
        );
    }
}

fn large_objects(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::LargeObjects;
    checks.push(match &seen.health.publisher.large_objects {
        None => Check::ok(code, Side::Publisher, "left out by name"),
        Some(Probe::Refused(why)) => Check::refused(code, Side::Publisher, why),
        Some(Probe::Told(0)) => Check::ok(code, Side::Publisher, "none"),
        Some(Probe::Told(count)) => {
            let evidence = format!("{}, not replicated", counted(*count, "large object", "large objects"));
            Check::new(code, seen.left_behind(), Side::Publisher, evidence)
                .threshold("none, or left out by name")
                .remedy("copy them at cutover (pg_dump -b), and leave them out with --exclude-table pg_largeobject")
        }
    });
}

fn sequences(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::Sequences;
    let count = len(&seen.health.publisher.sequences);
    checks.push(if count == 0 {
        Check::ok(code, Side::Publisher, "none")
    } else {
        let evidence = format!("{}, not replicated", counted(count, "sequence", "sequences"));
        Check::new(code, Status::Warn, Side::Publisher, evidence)
            .threshold("set on the subscriber at cutover")
            .remedy("after writes have stopped: triplecheck sequences --emit-sql FILE, and run FILE on the subscriber")
    });
}

fn publications(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::Publication;
    let publications = &seen.health.publisher.tables.publications;
    if publications.is_empty() {
        checks.push(
            Check::new(code, Status::Warn, Side::Publisher, "there is none yet")
                .threshold("one that covers every table")
                .remedy("CREATE PUBLICATION upgrade_pub FOR ALL TABLES"),
        );
    }
    for publication in publications {
        let Publication { name, all_tables, lacking, tables } = publication;
        let scope = if *all_tables { "for all tables, now " } else { "" };
        let count = counted(len(tables), "table", "tables");
        let mut evidence = format!("covers {scope}{count}");
        if !tables.is_empty() {
            evidence.push_str(&format!(": {}", listed(tables.iter())));
        }
        checks.push(if lacking.is_empty() {
            Check::ok(code, Side::Publisher, evidence).about(name)
        } else {
            let evidence = format!("{evidence}; it does not publish {}", lacking.join(", "));
            Check::new(code, Status::Warn, Side::Publisher, evidence)
                .about(name)
                .threshold(ALL_ACTIONS)
                .remedy(format!("ALTER PUBLICATION {} SET (publish = '{ALL_ACTIONS}')", sql::identifier(name)))
        });
    }
}

fn not_published(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::TableNotPublished;
    let tables = &seen.health.publisher.tables;
    if tables.publications.is_empty() {
        return;
    }
    if tables.uncovered.is_empty() {
        checks.push(Check::ok(code, Side::Publisher, "every table is covered by a publication"));
        return;
    }
    // One that a subscription uses, if it takes tables one by one.
    let used: Vec<&str> = seen.fed().flat_map(|fed| &fed.publications).map(String::as_str).collect();
    let takes = |publication: &&Publication| !publication.all_tables;
    let of = |publication: &&Publication| used.contains(&publication.name.as_str());
    let candidates = || tables.publications.iter().filter(takes);
    let publication = candidates().find(of).or_else(|| candidates().next());
    for table in &tables.uncovered {
        let name = table.name.to_sql();
        let remedy = match publication {
            Some(publication) => sql::noted(
                &format!("ALTER PUBLICATION {} ADD TABLE {name}", sql::identifier(&publication.name)),
                &format!("then on the subscriber {}; or leave it out with --exclude-table", refresh(seen, publication)),
            ),
            None => {
                format!("publish it: CREATE PUBLICATION ... FOR TABLE {name}; or leave it out with --exclude-table")
            }
        };
        checks.push(
            Check::new(code, seen.left_behind(), Side::Publisher, format!("in no publication; {}", bytes(table.bytes)))
                .about(&table.name)
                .threshold("published, or left out by name")
                .remedy(remedy),
        );
    }
}

/// What makes the subscriptions of a publication copy what was added to it.
fn refresh(seen: &Seen<'_>, publication: &Publication) -> String {
    let uses = seen.fed().filter(|fed| fed.publications.contains(&publication.name));
    let refresh: Vec<_> =
        uses.map(|fed| format!("ALTER SUBSCRIPTION {} REFRESH PUBLICATION", sql::identifier(&fed.name))).collect();
    if refresh.is_empty() { "ALTER SUBSCRIPTION ... REFRESH PUBLICATION".to_owned() } else { refresh.join("; ") }
}

/// The subscriber's statistics: pg_upgrade before 18 leaves none, and the first queries after cutover are slow.
pub(super) fn subscriber(health: &SubscriberHealth, checks: &mut Vec<Check>) {
    let code = Code::Statistics;
    match &health.without_statistics {
        Probe::Refused(why) => checks.push(Check::refused(code, Side::Subscriber, why)),
        Probe::Told(tables) if tables.is_empty() => {
            checks.push(Check::ok(code, Side::Subscriber, "every table that holds something has been analyzed"));
        }
        Probe::Told(tables) => checks.extend(tables.iter().map(|table| {
            Check::new(code, Status::Fix, Side::Subscriber, format!("never analyzed; {}", bytes(table.bytes)))
                .about(&table.name)
                .threshold("statistics of every table before it is queried")
                .remedy(sql::noted(
                    &format!("ANALYZE {}", table.name.to_sql()),
                    "or all at once: vacuumdb --analyze-in-stages",
                ))
        })),
    }
}
