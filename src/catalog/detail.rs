//! Everything about the tables of one side that are to be paired.

use std::collections::{BTreeSet, HashMap};

use super::collations::Collations;
use super::columns::{self, Column, Columns};
use super::drift::Definitions;
use super::fields::Fields;
use super::keys::{self, Index, Indexes};
use super::queries;
use super::relations::{Entry, Kind, Relations};
use super::storage::Sizes;
use super::types::Types;
use super::versions::Major;
use crate::connect::Session;
use crate::error::Result;

/// One side's details.
#[derive(Debug, Default)]
pub(super) struct Detail {
    columns: Columns,
    indexes: Indexes,
    pub(super) types: Types,
    pub(super) collations: Collations,
    pub(super) sizes: Sizes,
    /// Triggers that fire when replication writes, by table.
    triggers: HashMap<u32, Vec<String>>,
    pub(super) definitions: Definitions,
}

impl Detail {
    /// Reads the details of some tables in a handful of statements.
    pub(super) async fn read(session: &Session, major: Major, relations: &Relations, tables: &[u32]) -> Result<Self> {
        let leaves: Vec<&Entry> = tables.iter().flat_map(|&oid| relations.leaves(oid)).collect();
        let mut all: Vec<u32> = tables.iter().copied().chain(leaves.iter().map(|leaf| leaf.oid)).collect();
        all.sort_unstable();
        all.dedup();
        let stored: Vec<&Entry> = leaves.into_iter().filter(|leaf| leaf.kind == Kind::Table).collect();
        let columns = columns::read(session, major, tables).await?;
        let types: BTreeSet<u32> = columns.values().flatten().map(|column| column.type_oid).collect();
        let collations: BTreeSet<u32> =
            columns.values().flatten().map(|column| column.collation).filter(|&oid| oid != 0).collect();
        let mut triggers: HashMap<u32, Vec<String>> = HashMap::new();
        if !all.is_empty() {
            for row in session.rows_simple(&queries::apply_triggers(all.iter().copied())).await? {
                let mut fields = Fields::new("the triggers", row);
                triggers.entry(fields.parse()?).or_default().push(fields.text()?);
            }
        }
        Ok(Self {
            indexes: keys::read(session, &all).await?,
            types: Types::read(session, major, &types).await?,
            collations: Collations::read(session, major, &collations).await?,
            sizes: Sizes::read(session, &stored).await?,
            definitions: Definitions::read(session, tables).await?,
            columns,
            triggers,
        })
    }

    /// The columns of a table; none for one without columns.
    pub(super) fn columns(&self, table: u32) -> &[Column] {
        self.columns.get(&table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The same, to be changed by a mapping.
    pub(super) fn columns_mut(&mut self, table: u32) -> &mut Vec<Column> {
        self.columns.entry(table).or_default()
    }

    /// The indexes of a table.
    pub(super) fn indexes(&self, table: u32) -> &[Index] {
        self.indexes.get(&table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The triggers of a table that fire when replication writes.
    pub(super) fn triggers(&self, table: u32) -> &[String] {
        self.triggers.get(&table).map(Vec::as_slice).unwrap_or_default()
    }
}
