//! How texts sort on each side, and whether they still do as when indexes were built.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fields::Fields;
use super::findings::Code;
use super::model::{CollationFacts, CollationVersions, Finding, ServerFacts, Severity, TablePair};
use super::queries;
use super::versions::Major;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::side::{Side, Sides};
use crate::sql::{self, QualifiedName};

/// Columns that a finding names at most.
const NAMED_COLUMNS: usize = 5;

/// Who implements a collation, and with which locale.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Provider {
    /// `d` default, `c` libc, `i` ICU, `b` builtin.
    letter: char,
    /// `lc_collate` of libc.
    collate: Option<String>,
    /// The locale of the builtin provider.
    locale: Option<String>,
    /// Its versions, if they are not the same.
    stale: Option<CollationVersions>,
}

/// Reads two versions: the one that was noted, if any was, and that of the library.
fn stale(fields: &mut Fields) -> Result<Option<CollationVersions>> {
    let (recorded, actual): (Option<String>, Option<String>) = (fields.optional()?, fields.optional()?);
    let versions = recorded.map(|recorded| CollationVersions { recorded, actual });
    Ok(versions.filter(|versions| versions.actual.as_ref() != Some(&versions.recorded)))
}

impl Provider {
    /// Whether it orders by the bytes of the server's encoding.
    ///
    /// libc's `C.UTF-8` is not taken for it: its order was not code points everywhere (glibc before 2.35). The builtin
    /// provider compares with memcmp whatever its locale (utils/adt/varlena.c); only the known ones are believed.
    fn bytewise(&self) -> bool {
        match self.letter {
            'c' => matches!(self.collate.as_deref(), Some("C" | "POSIX")),
            'b' => matches!(self.locale.as_deref(), Some("C" | "C.UTF-8" | "C.UTF8" | "PG_UNICODE_FAST")),
            _ => false,
        }
    }

    fn locale(&self) -> &str {
        self.locale.as_deref().filter(|_| self.letter != 'c').or(self.collate.as_deref()).unwrap_or("?")
    }
}

/// How the name begins that people see of the database's own collation. No other one's does: they have a schema.
const DEFAULT: &str = "default (";

/// Encodings whose bytes sort like the UTF-8 that the server sends for them: UTF-8 itself, the first 256 code points, and
/// bytes that are sent as they are.
const ENCODINGS_IN_ORDER: [&str; 3] = ["UTF8", "LATIN1", "SQL_ASCII"];

/// The collations of one side.
#[derive(Debug, Default)]
pub(super) struct Collations(HashMap<u32, CollationFacts>);

impl Collations {
    /// Reads some collations.
    pub(super) async fn read(session: &Session, major: Major, seeds: &BTreeSet<u32>) -> Result<Self> {
        let mut collations = HashMap::new();
        if seeds.is_empty() {
            return Ok(Self(collations));
        }
        let rows = session.rows_simple(&queries::database_collation(major)).await?;
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the database has no collation"))?;
        let mut fields = Fields::new("the database's collation", row);
        let own = Provider {
            letter: fields.letter()?,
            collate: fields.optional()?,
            locale: fields.optional()?,
            stale: stale(&mut fields)?,
        };
        let encoding = session.value("SHOW server_encoding").await?.unwrap_or_default();
        let in_order = ENCODINGS_IN_ORDER.contains(&encoding.as_str());
        for row in session.rows_simple(&queries::collations(major, seeds.iter().copied())).await? {
            let mut fields = Fields::new("the collations", row);
            let oid = fields.parse()?;
            let name = QualifiedName::new(fields.text()?, fields.text()?);
            let (letter, collate, locale) = (fields.letter()?, fields.optional()?, fields.optional()?);
            let deterministic = fields.flag()?;
            let provider = Provider { letter, collate, locale, stale: stale(&mut fields)? };
            let mut facts = facts(&name, &provider, deterministic, &own);
            facts.bytewise &= in_order;
            collations.insert(oid, facts);
        }
        Ok(Self(collations))
    }

    /// A column's collation; `None` for columns whose type has none (`attcollation` 0).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Changed`] where the collation is gone.
    pub(super) fn facts(&self, oid: u32) -> Result<Option<CollationFacts>> {
        if oid == 0 {
            return Ok(None);
        }
        let gone = || Error::new(ErrorKind::Changed, "a column's collation is not there any longer");
        self.0.get(&oid).cloned().map(Some).ok_or_else(gone)
    }
}

fn facts(name: &QualifiedName, provider: &Provider, deterministic: bool, own: &Provider) -> CollationFacts {
    let (name, provider) = if provider.letter == 'd' {
        (format!("{DEFAULT}{})", own.locale()), own)
    } else {
        (name.to_string(), provider)
    };
    let bytewise = provider.bytewise() && deterministic;
    CollationFacts { name, bytewise, deterministic, stale: provider.stale.clone() }
}

/// Says which collations of compared columns are stale.
pub(super) fn findings(tables: &[TablePair], servers: &Sides<ServerFacts>) -> Vec<Finding> {
    let mut users: BTreeMap<(Side, &str), (&CollationVersions, Vec<String>)> = BTreeMap::new();
    for table in tables {
        for (side, column) in Side::BOTH.into_iter().flat_map(|side| table.columns.iter().map(move |one| (side, one))) {
            if let Some(facts) = column.collations.get(side)
                && let Some(versions) = &facts.stale
            {
                let name = format!("{}.{}", table.relations.get(side).name, column.name_on(side));
                users.entry((side, &facts.name)).or_insert((versions, Vec::new())).1.push(name);
            }
        }
    }
    let finding = |((side, name), (versions, columns)): ((Side, &str), (&CollationVersions, Vec<String>))| {
        let CollationVersions { recorded, actual } = versions;
        let rest = columns.len().saturating_sub(NAMED_COLUMNS);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let first: Vec<_> = columns.iter().take(NAMED_COLUMNS).map(String::as_str).collect();
        let message = format!(
            "indexes on texts of the {side} may be corrupt: its collation {name} was of version {recorded} when they were built, \
             and is of {} now; compared columns: {}{more}",
            actual.as_deref().unwrap_or("one unknown"),
            first.join(", "),
        );
        let database = &servers.get(side).database;
        let (object, refresh) = if name.starts_with(DEFAULT) {
            (database.clone(), format!("ALTER DATABASE {} REFRESH COLLATION VERSION", sql::identifier(database)))
        } else {
            (name.to_owned(), format!("ALTER COLLATION {name} REFRESH VERSION"))
        };
        let hint = format!(
            "bt_index_check of the extension amcheck tells which are; REINDEX those that use it, and then {refresh}"
        );
        Code::CollationChanged.finding(Severity::Warning, &object, message, hint)
    };
    users.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(letter: char, collate: Option<&str>, locale: Option<&str>) -> Provider {
        Provider { letter, collate: collate.map(str::to_owned), locale: locale.map(str::to_owned), stale: None }
    }

    #[test]
    fn only_what_orders_by_bytes_everywhere_is_bytewise() {
        assert!(provider('c', Some("C"), None).bytewise());
        assert!(provider('c', Some("POSIX"), None).bytewise());
        assert!(provider('b', None, Some("C.UTF-8")).bytewise());
        assert!(provider('b', None, Some("PG_UNICODE_FAST")).bytewise());
        assert!(!provider('c', Some("C.UTF-8"), None).bytewise());
        assert!(!provider('c', Some("en_US.UTF-8"), None).bytewise());
        assert!(!provider('i', Some("C"), Some("en")).bytewise());
        assert!(!provider('b', Some("C"), Some("NEW")).bytewise());
        assert!(!provider('?', Some("C"), Some("C")).bytewise());
    }

    #[test]
    fn the_default_is_the_databases_own() {
        let own = provider('i', Some("C"), Some("de"));
        let name = QualifiedName::new("pg_catalog", "default");
        let default = facts(&name, &provider('d', None, None), true, &own);
        assert_eq!(default.name, "default (de)");
        assert!(!default.bytewise && default.deterministic);
        assert!(facts(&name, &provider('d', None, None), true, &provider('c', Some("C"), None)).bytewise);
    }
}
