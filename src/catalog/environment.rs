//! Settings and extensions that differ between the two sides.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::findings::Code;
use super::model::{Finding, Severity};
use super::queries;
use crate::connect::Session;
use crate::error::Result;
use crate::side::Sides;

/// Names and values.
type Named = BTreeMap<String, String>;

async fn read(session: &Session, what: &'static str, statement: &str) -> Result<Named> {
    let mut named = Named::new();
    for row in session.rows_simple(statement).await? {
        let mut fields = Fields::new(what, row);
        let name = fields.text()?;
        named.insert(name, fields.optional()?.unwrap_or_default());
    }
    Ok(named)
}

/// Reads the settings and the extensions of both sides and says where they differ.
pub(super) async fn compare(publisher: &Session, subscriber: &Session) -> Result<Vec<Finding>> {
    let statement = queries::settings();
    let (one, other) =
        tokio::try_join!(read(publisher, "the settings", &statement), read(subscriber, "the settings", &statement))?;
    let mut findings = settings(&Sides::new(one, other));
    let statement = queries::extensions();
    let (one, other) = tokio::try_join!(
        read(publisher, "the extensions", &statement),
        read(subscriber, "the extensions", &statement)
    )?;
    findings.extend(extensions(&Sides::new(one, other)));
    Ok(findings)
}

fn settings(sides: &Sides<Named>) -> Vec<Finding> {
    let differing = sides.publisher.iter().filter_map(|(name, ours)| {
        let theirs = sides.subscriber.get(name).filter(|theirs| *theirs != ours)?;
        let hint = match name.as_str() {
            "TimeZone" => "texts of timestamptz, and timestamps taken from them, change their meaning with it",
            "lc_monetary" => "texts of money change their meaning with it",
            "max_identifier_length" => "longer names are cut otherwise",
            _ => "texts may not fit, or may not be valid on the other side",
        };
        let message = format!("{name} is {ours} on the publisher, {theirs} on the subscriber");
        Some(Code::SettingDiffers.finding(Severity::Warning, name, message, hint))
    });
    differing.collect()
}

fn extensions(sides: &Sides<Named>) -> Vec<Finding> {
    let differing = sides.publisher.iter().filter_map(|(name, ours)| {
        let message = match sides.subscriber.get(name) {
            Some(theirs) if theirs == ours => return None,
            Some(theirs) => format!("extension {name} is {ours} on the publisher, {theirs} on the subscriber"),
            None => format!("extension {name} ({ours}) does not exist on the subscriber"),
        };
        let hint = "nothing to do where it is not used, or the newer version does the same";
        Some(Code::ExtensionDiffers.finding(Severity::Info, name, message, hint))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, &str)]) -> Named {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_differs_is_said() {
        let ours = named(&[("TimeZone", "UTC"), ("lc_monetary", "C")]);
        let theirs = named(&[("TimeZone", "Europe/Berlin"), ("lc_monetary", "C")]);
        let found = settings(&Sides::new(ours.clone(), theirs));
        assert_eq!(found.iter().map(|finding| finding.object.as_str()).collect::<Vec<_>>(), ["TimeZone"]);
        assert!(settings(&Sides::new(ours.clone(), ours)).is_empty());
        // A server that was built with longer names.
        let built = |length| named(&[("max_identifier_length", length), ("server_encoding", "UTF8")]);
        let found = settings(&Sides::new(built("127"), built("63")));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].object.as_str(), found[0].severity), ("max_identifier_length", Severity::Warning));
        let ours = named(&[("citext", "1.6"), ("hstore", "1.8"), ("plpgsql", "1.0")]);
        let theirs = named(&[("hstore", "1.9"), ("plpgsql", "1.0"), ("extra", "1")]);
        let found = extensions(&Sides::new(ours, theirs));
        assert_eq!(found.iter().map(|finding| finding.object.as_str()).collect::<Vec<_>>(), ["citext", "hstore"]);
    }
}
