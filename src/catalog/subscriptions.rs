//! Which subscriptions join the two sides.

use std::collections::{BTreeSet, HashMap};

use super::fields::Fields;
use super::findings::Code;
use super::model::{Finding, ServerFacts, Severity, Subscription};
use super::queries;
use super::versions::{Fact, Major};
use crate::config::GateMode;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};

/// A subscription as `pg_subscription` has it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) oid: u32,
    pub(super) name: String,
    /// `None` for `slot_name = NONE`.
    pub(super) slot: Option<String>,
    pub(super) publications: Vec<String>,
    pub(super) enabled: bool,
    pub(super) two_phase: bool,
    /// `None` for `any`.
    pub(super) origin: Option<String>,
}

/// Reads the subscriptions of the subscriber's database.
pub(super) async fn read(session: &Session, major: Major) -> Result<Vec<Described>> {
    let mut subscriptions = Vec::new();
    for row in session.rows_simple(&queries::subscriptions(major)).await? {
        let mut fields = Fields::new("the subscriptions", row);
        subscriptions.push(Described {
            oid: fields.parse()?,
            name: fields.text()?,
            slot: fields.optional()?,
            publications: fields.texts_optional()?.unwrap_or_default(),
            enabled: fields.flag()?,
            two_phase: fields.flag()?,
            origin: fields.optional()?,
        });
    }
    Ok(subscriptions)
}

/// Reads the names of the logical slots of the publisher's database.
pub(super) async fn read_slots(session: &Session) -> Result<BTreeSet<String>> {
    let rows = session.rows_simple(&queries::slots()).await?;
    rows.into_iter().map(|row| Fields::new("the replication slots", row).text()).collect()
}

/// A table of a subscription, as `pg_subscription_rel` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableState {
    pub(super) letter: char,
    /// Its copy left a position behind (`srsublsn`). A table of a subscription with `copy_data = false` has none
    /// (`CreateSubscription`, subscriptioncmds.c).
    pub(super) copied: bool,
}

/// The state of each table (by object identifier on the subscriber) in each subscription (by object identifier).
pub(super) type TableStates = HashMap<u32, HashMap<u32, TableState>>;

/// Reads the states of the tables of all subscriptions of the subscriber's database.
pub(super) async fn read_states(session: &Session) -> Result<TableStates> {
    let mut states = TableStates::new();
    for row in session.rows_simple(&queries::subscription_tables()).await? {
        let mut fields = Fields::new("the tables of the subscriptions", row);
        let (subscription, table): (u32, u32) = (fields.parse()?, fields.parse()?);
        states
            .entry(table)
            .or_default()
            .insert(subscription, TableState { letter: fields.letter()?, copied: fields.flag()? });
    }
    Ok(states)
}

/// Chooses the subscriptions that join the two sides.
///
/// Without a request these are all whose slot is on the publisher. None at all is fine for the gate `none` only.
pub(super) fn choose(
    described: &[Described],
    slots: &BTreeSet<String>,
    requested: &[String],
    gate: GateMode,
    publisher: &ServerFacts,
) -> Result<(Vec<Subscription>, Vec<Finding>)> {
    let usage = |message: String| Error::new(ErrorKind::Usage, message);
    for name in requested {
        let Some(known) = described.iter().find(|subscription| &subscription.name == name) else {
            let hint = if described.is_empty() {
                "this database of the subscriber has no subscription".to_owned()
            } else {
                format!("subscriptions of this database of the subscriber: {}", listed(described))
            };
            return Err(usage(format!("subscription {name} does not exist on the subscriber")).with_hint(hint));
        };
        if !feeds(known, slots) {
            return Err(not_fed(known, publisher));
        }
    }
    let publisher_major = Major::of(publisher.version_num);
    let mut chosen = Vec::new();
    let mut findings = Vec::new();
    for known in described {
        let Some(slot) = known.slot.as_ref().filter(|slot| slots.contains(*slot)) else {
            let slot = known.slot.as_deref().unwrap_or("NONE");
            findings.push(Code::SubscriptionOfAnotherPublisher.finding(
                Severity::Info,
                &known.name,
                format!("subscription {} (slot {slot}) is not fed by this publisher", known.name),
                "compare what it feeds with its own publisher",
            ));
            continue;
        };
        if requested.is_empty() || requested.contains(&known.name) {
            chosen.push(Subscription {
                oid: known.oid,
                name: known.name.clone(),
                slot: slot.clone(),
                publications: known.publications.clone(),
                enabled: known.enabled,
                two_phase: known.two_phase,
                origin: known.origin.clone().filter(|_| publisher_major.has(Fact::Origin)),
            });
        }
    }
    if chosen.is_empty() && gate != GateMode::None {
        let with_slot = described.iter().find(|subscription| subscription.slot.is_some());
        return Err(match with_slot {
            Some(known) => not_fed(known, publisher),
            None => {
                let why = if described.is_empty() {
                    "has no subscription".to_owned()
                } else {
                    format!("has no subscription with a slot (found: {})", listed(described))
                };
                usage(format!("this database of the subscriber {why}, so nothing joins the two sides")).with_hint(
                    "if nothing replicates between the two any more, compare with --gate none; else check the database \
                     name, and that --publisher and --subscriber are not swapped",
                )
            }
        });
    }
    Ok((chosen, findings))
}

fn feeds(subscription: &Described, slots: &BTreeSet<String>) -> bool {
    subscription.slot.as_ref().is_some_and(|slot| slots.contains(slot))
}

fn listed(described: &[Described]) -> String {
    described.iter().map(|subscription| subscription.name.as_str()).collect::<Vec<_>>().join(", ")
}

pub(super) fn not_fed(subscription: &Described, publisher: &ServerFacts) -> Error {
    let (name, database, version) = (&subscription.name, &publisher.database, &publisher.version);
    let error = |message| Error::new(ErrorKind::Usage, message);
    match &subscription.slot {
        Some(slot) => error(format!(
            "subscription {name} is fed by slot {slot}, which the publisher's database {database} (PostgreSQL {version}) \
             does not have"
        ))
        .with_hint("are --publisher and --subscriber swapped, or is this another cluster or database?"),
        None => error(format!(
            "subscription {name} has no slot, so the publisher's database {database} (PostgreSQL {version}) does not feed it"
        ))
        .with_hint("if nothing replicates between the two any more, compare with --gate none and without --subscription"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher() -> ServerFacts {
        ServerFacts {
            version_num: 140_023,
            version: "14.23".to_owned(),
            database: "shop".to_owned(),
            user: "checker".to_owned(),
            system_identifier: None,
            wal_segment_bytes: 16 << 20,
            encoding: "UTF8".to_owned(),
            in_recovery: false,
        }
    }

    fn described(name: &str, slot: Option<&str>) -> Described {
        Described {
            oid: 1,
            name: name.to_owned(),
            slot: slot.map(str::to_owned),
            publications: vec!["p".to_owned()],
            enabled: true,
            two_phase: false,
            origin: None,
        }
    }

    fn pick(
        known: &[Described],
        slots: &[&str],
        requested: &[&str],
        gate: GateMode,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let slots = slots.iter().map(|&slot| slot.to_owned()).collect();
        let requested: Vec<_> = requested.iter().map(|&name| name.to_owned()).collect();
        let (chosen, findings) = choose(known, &slots, &requested, gate, &publisher())?;
        Ok((chosen.into_iter().map(|s| s.name).collect(), findings.into_iter().map(|f| f.object).collect()))
    }

    #[test]
    fn all_that_the_publisher_feeds_are_chosen_and_others_are_named() {
        let known = [described("a", Some("a")), described("b", Some("other")), described("c", None)];
        let (chosen, others) = pick(&known, &["a", "z"], &[], GateMode::Quiesced).unwrap();
        assert_eq!((chosen, others), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_request_that_cannot_be_met_says_what_there_is() {
        let known = [described("a", Some("a")), described("b", Some("other")), described("c", None)];
        let error = pick(&known, &["a"], &["x"], GateMode::Quiesced).unwrap_err();
        assert!(error.message().contains('x') && error.hint().unwrap().contains("a, b, c"));
        let error = pick(&known, &["a"], &["b"], GateMode::None).unwrap_err();
        assert!(["b", "other", "shop", "14.23"].iter().all(|word| error.message().contains(word)), "{error}");
        assert!(error.hint().unwrap().contains("swapped"));
        assert!(pick(&known, &["a"], &["c"], GateMode::Quiesced).unwrap_err().hint().unwrap().contains("--gate none"));
    }

    #[test]
    fn nothing_that_joins_the_two_is_an_error_unless_the_gate_is_none() {
        let error = pick(&[], &["a"], &[], GateMode::Quiesced).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint().unwrap().contains("--gate none"));
        assert!(pick(&[], &[], &[], GateMode::None).unwrap().0.is_empty());
        let known = [described("b", Some("other"))];
        assert!(pick(&known, &["a"], &[], GateMode::Quiesced).unwrap_err().message().contains("other"));
        assert!(pick(&known, &["a"], &[], GateMode::None).unwrap().0.is_empty());
        let known = [described("c", None)];
        assert!(pick(&known, &["a"], &[], GateMode::Quiesced).unwrap_err().hint().unwrap().contains("--gate none"));
    }
}
