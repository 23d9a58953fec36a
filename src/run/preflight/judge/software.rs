//! Extensions, collations, encodings.

use super::{Seen, listed};
use crate::catalog::health::{DatabaseCollation, Extension, Probe, ServerHealth, SubscriberHealth};
use crate::run::figures::{counted, len};
use crate::run::preflight::code::Code;
use crate::run::preflight::outcome::{Check, Status};
use crate::side::Side;
use crate::sql::{self, QualifiedName};

pub(super) fn judge(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    extensions(seen, checks);
    for (side, server) in seen.servers() {
        collations(side, server, checks);
    }
    if let Some(subscriber) = &seen.health.subscriber {
        let encodings = [&seen.health.publisher.server.facts.encoding, &subscriber.server.facts.encoding];
        encoding(encodings, checks);
    }
}

fn extensions(seen: &Seen<'_>, checks: &mut Vec<Check>) {
    let code = Code::Extension;
    let publisher = match &seen.health.publisher.server.extensions {
        Probe::Refused(why) => return checks.push(Check::refused(code, Side::Publisher, why)),
        Probe::Told(extensions) => extensions,
    };
    let name = |extension: &Extension| format!("{} {}", extension.name, extension.version);
    let Some(subscriber) = &seen.health.subscriber else {
        let names = listed(publisher.iter().map(name));
        return checks.push(Check::ok(code, Side::Publisher, format!("to be had on the subscriber as well: {names}")));
    };
    let installed = match &subscriber.server.extensions {
        Probe::Refused(why) => return checks.push(Check::refused(code, Side::Subscriber, why)),
        Probe::Told(extensions) => extensions,
    };
    let before = checks.len();
    for extension in publisher {
        let other = installed.iter().find(|other| other.name == extension.name);
        checks.extend(one_extension(extension, other, subscriber));
    }
    if checks.len() == before {
        let count = counted(len(publisher), "extension", "extensions");
        let names = listed(publisher.iter().map(name));
        checks.push(Check::ok(code, None, format!("{count} of the publisher, all on the subscriber: {names}")));
    }
}

fn one_extension(extension: &Extension, other: Option<&Extension>, subscriber: &SubscriberHealth) -> Option<Check> {
    let code = Code::Extension;
    let quoted = sql::identifier(&extension.name);
    let available =
        subscriber.server.available.told().map(|available| available.get(&extension.name).map(String::as_str));
    let Some(other) = other else {
        let create = format!("CREATE EXTENSION {quoted}");
        let (evidence, remedy) = match available {
            Some(None) => (
                "not on the subscriber, and its files are not there",
                format!("install its files on the subscriber's server, then {create}"),
            ),
            _ => ("not on the subscriber", create),
        };
        let evidence = format!("version {} on the publisher, {evidence}", extension.version);
        let check = Check::new(code, Status::Fix, Side::Subscriber, evidence).about(&extension.name);
        return Some(check.threshold("on both sides").remedy(remedy));
    };
    let newest = available.flatten().filter(|newest| *newest != other.version);
    // An upgrade leaves extensions as they were. Other versions on two majors are as it should be.
    let newest = newest?;
    let evidence = format!(
        "version {} on the publisher, {} on the subscriber, where {newest} is installed",
        extension.version, other.version
    );
    let check = Check::new(code, Status::Warn, Side::Subscriber, evidence).about(&extension.name);
    Some(check.threshold("the version that the server has").remedy(format!("ALTER EXTENSION {quoted} UPDATE")))
}

fn collations(side: Side, server: &ServerHealth, checks: &mut Vec<Check>) {
    let code = Code::CollationVersion;
    let before = checks.len();
    let same = "the version that the indexes were built with";
    let mut evidence = String::new();
    match &server.database_collation {
        Probe::Refused(why) => checks.push(Check::refused(code, side, why)),
        Probe::Told(collation) => {
            let DatabaseCollation { provider, locale, recorded, actual } = collation;
            evidence = format!("the database has {locale} of {provider}");
            let database = sql::identifier(&server.facts.database);
            if let Some(recorded) = recorded
                && actual.as_ref() != Some(recorded)
            {
                let now = actual.as_deref().unwrap_or("unknown");
                checks.push(
                    Check::new(code, Status::Fix, side, format!("{evidence}: built with {recorded}, now {now}"))
                        .about(&server.facts.database)
                        .threshold(same)
                        .remedy(format!(
                            "REINDEX DATABASE {database}; ALTER DATABASE {database} REFRESH COLLATION VERSION"
                        )),
                );
            } else if let Some(version) = actual {
                evidence.push_str(&format!(", version {version}"));
            }
        }
    }
    match &server.stale_collations {
        Probe::Refused(why) => checks.push(Check::refused(code, side, why)),
        Probe::Told(stale) => {
            for collation in stale {
                let now = collation.actual.as_deref().unwrap_or("unknown");
                let name = collation.name.to_sql();
                let evidence = format!("built with {}, now {now}", collation.recorded);
                checks.push(
                    Check::new(code, Status::Fix, side, evidence)
                        .about(&collation.name)
                        .threshold(same)
                        .remedy(rebuild(&collation.indexes, &name)),
                );
            }
        }
    }
    if checks.len() == before {
        checks.push(Check::ok(code, side, evidence));
    }
}

/// The statements that build indexes anew and then record the version that they were built with.
fn rebuild(indexes: &[QualifiedName], collation: &str) -> String {
    let mut statements: Vec<_> = indexes.iter().map(|index| format!("REINDEX INDEX {}", index.to_sql())).collect();
    statements.push(format!("ALTER COLLATION {collation} REFRESH VERSION"));
    statements.join("; ")
}

fn encoding([publisher, subscriber]: [&String; 2], checks: &mut Vec<Check>) {
    let code = Code::DatabaseEncoding;
    checks.push(if publisher == subscriber {
        Check::ok(code, None, format!("{publisher} on both sides"))
    } else {
        let evidence = format!("{publisher} on the publisher, {subscriber} on the subscriber");
        Check::new(code, Status::Warn, None, evidence)
            .threshold("the same")
            .remedy("make the subscriber's database with the same encoding, or see that it has every character")
    });
}
