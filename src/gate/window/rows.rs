//! What changes do to the rows of a table.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use super::{Identity, Image, Lookup, Problem, QUIET, Touched, VALUE_BYTES, Value, Values, Wanted};
use crate::gate::pgoutput::Column;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Insert(Values),
    Update(Option<Values>, Values),
    Delete(Values),
}

/// How a relation's changes become rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// For each compared column its position in what is sent; `None` where it is not.
    pub(super) columns: Vec<Option<usize>>,
    pub(super) identity: Identity,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Whether the publisher's snapshot holds a row with this identity.
    in_snapshot: bool,
    /// The row now; `None` if it is gone.
    pub(super) now: Option<Version>,
}

#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) row: Values,
    /// The identity in the publisher's snapshot of the row that holds the unchanged values, if there are any.
    origin: Option<Values>,
}

#[derive(Debug, Clone)]
pub(super) enum Rows {
    Keyed(Vec<usize>, BTreeMap<Values, Row>),
    Whole(BTreeMap<Values, i64>),
}

impl Mapping {
    pub(super) fn row(&self, sent: &[Column<'_>]) -> Result<Values, Problem> {
        self.columns
            .iter()
            .map(|at| match at.map(|at| sent.get(at)) {
                None => Ok(Value::Computed),
                Some(sent) => value(sent),
            })
            .collect()
    }

    pub(super) fn identities(&self, change: &Change) -> Vec<Values> {
        let Identity::Columns(columns) = &self.identity else {
            return match change {
                Change::Insert(row) | Change::Delete(row) => vec![row.clone()],
                Change::Update(old, new) => {
                    let filled = old.as_ref().map_or_else(|| new.clone(), |old| fill(new, old));
                    old.iter().cloned().chain([filled]).collect()
                }
            };
        };
        match change {
            Change::Insert(row) | Change::Delete(row) => vec![select(columns, row)],
            Change::Update(None, new) => vec![select(columns, new)],
            Change::Update(Some(old), new) => {
                let before = select(columns, old);
                vec![fill(&select(columns, new), &before), before]
            }
        }
    }
}

impl Change {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Insert(row) | Self::Delete(row) => bytes(row),
            Self::Update(old, new) => old.as_ref().map_or(0, bytes) + bytes(new),
        }
    }
}

/// A value that was sent.
fn value(sent: Option<&Column<'_>>) -> Result<Value, Problem> {
    match sent {
        Some(Column::Null) => Ok(Value::Null),
        Some(Column::Unchanged) => Ok(Value::Unchanged),
        Some(Column::Text(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(_) => {
                Err(Problem::Unsupported(format!("has changed rows with texts that are not valid UTF-8: {QUIET}")))
            }
        },
        None => Err(Problem::Changed("has other columns than were described".to_owned())),
    }
}

fn bytes(row: &Values) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => VALUE_BYTES + text.len(),
        Value::Null | Value::Unchanged | Value::Computed => VALUE_BYTES,
    };
    row.iter().map(value).sum()
}

fn select(columns: &[usize], row: &Values) -> Values {
    columns.iter().map(|&at| row.get(at).cloned().unwrap_or(Value::Null)).collect()
}

/// The row with what is unchanged in it taken from another one.
fn fill(row: &Values, from: &Values) -> Values {
    let value = |(value, from): (&Value, &Value)| if *value == Value::Unchanged { from.clone() } else { value.clone() };
    row.iter().zip(from).map(value).collect()
}

/// Lets a change happen. Returns by how many bytes the table has grown.
pub(super) fn apply(
    tables: &mut BTreeMap<u32, Rows>,
    relation: u32,
    mapping: &Mapping,
    change: Change,
) -> Result<isize, Problem> {
    let rows = tables.entry(relation).or_insert_with(|| match &mapping.identity {
        Identity::Columns(columns) => Rows::Keyed(columns.clone(), BTreeMap::new()),
        Identity::WholeRow => Rows::Whole(BTreeMap::new()),
    });
    match rows {
        Rows::Keyed(columns, rows) => apply_keyed(columns, rows, change),
        Rows::Whole(rows) => apply_whole(rows, change),
    }
}

fn contradiction() -> Problem {
    Problem::Unsupported("has changes that contradict each other: a defect of triplecheck".to_owned())
}

fn apply_keyed(columns: &[usize], rows: &mut BTreeMap<Values, Row>, change: Change) -> Result<isize, Problem> {
    let known = |key: Values| {
        // Columns of an identity are NOT NULL. A leaf may be identified by other columns than its root.
        let whole = key.iter().all(|value| matches!(value, Value::Text(_)));
        let problem =
            || Problem::Unsupported("has changes that do not name the columns that identify its rows".to_owned());
        if whole { Ok(key) } else { Err(problem()) }
    };
    let mut grown = Grown(0);
    match change {
        Change::Insert(row) => {
            let key = known(select(columns, &row))?;
            if row.contains(&Value::Unchanged) {
                return Err(contradiction());
            }
            grown.put(rows, key, Version { row, origin: None })?;
        }
        Change::Delete(old) => {
            grown.take(rows, known(select(columns, &old))?)?;
        }
        Change::Update(old, new) => {
            let before = match &old {
                Some(old) => known(select(columns, old))?,
                None => known(select(columns, &new))?,
            };
            let after = known(fill(&select(columns, &new), &before))?;
            let from = grown.take(rows, before.clone())?;
            let mut row = match &from {
                Some(version) => fill(&new, &version.row),
                None => new,
            };
            // An identity is never unknown.
            for (&at, value) in columns.iter().zip(&after) {
                if let Some(place) = row.get_mut(at) {
                    place.clone_from(value);
                }
            }
            let origin =
                row.contains(&Value::Unchanged).then(|| from.and_then(|version| version.origin).unwrap_or(before));
            grown.put(rows, after, Version { row, origin })?;
        }
    }
    Ok(grown.0)
}

/// By how many bytes a map of rows grows.
struct Grown(isize);

impl Grown {
    fn add(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add_unsigned(bytes);
    }

    /// A row comes. If the window knew nothing of its identity, neither does the snapshot.
    fn put(&mut self, rows: &mut BTreeMap<Values, Row>, key: Values, version: Version) -> Result<(), Problem> {
        self.add(bytes(&version.row) + version.origin.as_ref().map_or(0, bytes));
        match rows.entry(key) {
            MapEntry::Vacant(vacant) => {
                self.add(bytes(vacant.key()));
                vacant.insert(Row { in_snapshot: false, now: Some(version) });
            }
            MapEntry::Occupied(mut occupied) => {
                let row = occupied.get_mut();
                if row.now.replace(version).is_some() {
                    return Err(contradiction());
                }
            }
        }
        Ok(())
    }

    /// A row goes: that of the window, or, if the window knows nothing of it, that of the snapshot (`None`).
    fn take(&mut self, rows: &mut BTreeMap<Values, Row>, key: Values) -> Result<Option<Version>, Problem> {
        match rows.entry(key) {
            MapEntry::Vacant(vacant) => {
                self.add(bytes(vacant.key()));
                vacant.insert(Row { in_snapshot: true, now: None });
                Ok(None)
            }
            MapEntry::Occupied(mut occupied) => {
                let version = occupied.get_mut().now.take().ok_or_else(contradiction)?;
                let freed = bytes(&version.row) + version.origin.as_ref().map_or(0, bytes);
                self.0 = self.0.saturating_sub_unsigned(freed);
                Ok(Some(version))
            }
        }
    }
}

fn apply_whole(rows: &mut BTreeMap<Values, i64>, change: Change) -> Result<isize, Problem> {
    let mut grown = Grown(0);
    let mut add = |row: Values, copies: i64| {
        if row.contains(&Value::Unchanged) {
            return Err(contradiction());
        }
        match rows.entry(row) {
            MapEntry::Vacant(vacant) => {
                grown.add(bytes(vacant.key()));
                vacant.insert(copies);
            }
            MapEntry::Occupied(mut occupied) => *occupied.get_mut() += copies,
        }
        Ok(())
    };
    match change {
        Change::Insert(row) => add(row, 1)?,
        Change::Delete(row) => add(row, -1)?,
        Change::Update(Some(old), new) => {
            add(fill(&new, &old), 1)?;
            add(old, -1)?;
        }
        Change::Update(None, _) => {
            let message = "has rows that were updated although nothing identifies them".to_owned();
            return Err(Problem::Unsupported(message));
        }
    }
    Ok(grown.0)
}

impl Rows {
    pub(super) fn touched(self) -> Touched {
        match self {
            Self::Whole(rows) => {
                let mut touched = Touched { identity: Identity::WholeRow, lookups: Vec::new(), images: Vec::new() };
                for (row, copies) in rows {
                    let count = copies.unsigned_abs();
                    match copies {
                        0 => {}
                        1.. => touched.images.push(Image { row, copies: count, origin: None }),
                        _ => touched.lookups.push(Lookup { key: row, wanted: Wanted::Of(count) }),
                    }
                }
                touched
            }
            Self::Keyed(columns, rows) => {
                let at: BTreeMap<Values, usize> = rows.keys().cloned().zip(0..).collect();
                let mut touched =
                    Touched { identity: Identity::Columns(columns), lookups: Vec::new(), images: Vec::new() };
                for (key, row) in rows {
                    let wanted = if row.in_snapshot { Wanted::One } else { Wanted::Nothing };
                    touched.lookups.push(Lookup { key, wanted });
                    touched.images.extend(row.now.map(|version| Image {
                        origin: version.origin.and_then(|origin| at.get(&origin).copied()),
                        row: version.row,
                        copies: 1,
                    }));
                }
                touched
            }
        }
    }
}
