//! Random tables, the rows that are put into them, and what is done to the subscriber's.

use std::fmt::Write as _;
use std::rc::Rc;

use super::dice::Dice;
use super::types::{Type, Types, identifier, odd_name};

/// What identifies the rows of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Identity {
    Primary,
    /// A unique index of columns that are not null, named by REPLICA IDENTITY.
    Index,
    /// Nothing, with REPLICA IDENTITY FULL.
    Full,
    /// Nothing at all: updates and deletes are not possible.
    Nothing,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Rc<Type>,
}

pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Positions in `columns`, in key order.
    pub(super) key: Vec<usize>,
    pub(super) identity: Identity,
}

impl Table {
    pub(super) fn new(dice: &mut Dice, types: &Types, number: usize, major: u16) -> Self {
        let columns: Vec<_> = (0..dice.between(1, 7))
            .map(|at| Column { name: odd_name(dice, at), kind: types.any(dice, 0, major) })
            .collect();
        let mut key: Vec<_> = (0..columns.len()).filter(|&at| columns[at].kind.keyed()).collect();
        dice.shuffle(&mut key);
        key.truncate(dice.between(1, 3));
        let identity = match dice.below(8) {
            _ if key.is_empty() => Identity::Nothing,
            0 => Identity::Index,
            1 => Identity::Full,
            2 => Identity::Nothing,
            _ => Identity::Primary,
        };
        if matches!(identity, Identity::Full | Identity::Nothing) {
            key.clear();
        }
        Self { name: odd_name(dice, 100 + number), columns, key, identity }
    }

    pub(super) fn sql(&self) -> String {
        format!("public.{}", identifier(&self.name))
    }

    pub(super) fn column(&self, at: usize) -> String {
        identifier(&self.columns[at].name)
    }

    /// What creates it with its columns in this order.
    pub(super) fn create(&self, order: &[usize]) -> String {
        let columns: Vec<_> = order
            .iter()
            .map(|&at| {
                let not_null =
                    if self.identity == Identity::Index && self.key.contains(&at) { " NOT NULL" } else { "" };
                format!("{} {}{not_null}", self.column(at), self.columns[at].kind.sql())
            })
            .collect();
        let table = self.sql();
        let mut sql = format!("CREATE TABLE {table} ({});", columns.join(", "));
        let key: Vec<_> = self.key.iter().map(|&at| self.column(at)).collect();
        let key = key.join(", ");
        match self.identity {
            Identity::Primary => write!(sql, "ALTER TABLE {table} ADD CONSTRAINT {} PRIMARY KEY ({key});", self.index()),
            Identity::Index => write!(
                sql,
                "CREATE UNIQUE INDEX {index} ON {table} ({key}); ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index};",
                index = self.index()
            ),
            Identity::Full => write!(sql, "ALTER TABLE {table} REPLICA IDENTITY FULL;"),
            Identity::Nothing => Ok(()),
        }
        .expect("a String");
        sql
    }

    fn index(&self) -> String {
        identifier(&format!("{} key", self.name))
    }

    /// Takes the key away, so that there can be duplicates.
    pub(super) fn drop_key(&self) -> String {
        match self.identity {
            Identity::Primary => format!("ALTER TABLE {} DROP CONSTRAINT {};", self.sql(), self.index()),
            Identity::Index => format!("DROP INDEX public.{};", self.index()),
            Identity::Full | Identity::Nothing => String::new(),
        }
    }

    fn insert(&self, dice: &mut Dice) -> String {
        let names: Vec<_> = (0..self.columns.len()).map(|at| self.column(at)).collect();
        let values: Vec<_> = (0..self.columns.len())
            .map(|at| {
                if !self.key.contains(&at) && dice.one_in(6) {
                    "NULL".to_owned()
                } else {
                    self.columns[at].kind.value(dice)
                }
            })
            .collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.sql(), names.join(", "), values.join(", "))
    }

    fn row(&self, dice: &mut Dice) -> String {
        // One of the first rows, or none of a table with fewer.
        format!("ctid = (SELECT ctid FROM {} ORDER BY ctid OFFSET {} LIMIT 1)", self.sql(), dice.below(40))
    }

    fn update(&self, dice: &mut Dice) -> String {
        let at = dice.below(self.columns.len());
        let null = !self.key.contains(&at) && dice.one_in(6);
        let value = if null { "NULL".to_owned() } else { self.columns[at].kind.value(dice) };
        format!("UPDATE {} SET {} = {value} WHERE {}", self.sql(), self.column(at), self.row(dice))
    }

    /// Writes for the publisher that may be refused, each for itself.
    pub(super) fn writes(&self, dice: &mut Dice, count: usize) -> Vec<String> {
        // The apply worker finds rows without a key by the equality of all types, and takes the first one: of rows that are
        // equal and have other texts it may be another one than the publisher's, which is a difference that is there.
        let found = match self.identity {
            Identity::Primary | Identity::Index => true,
            Identity::Full => self.columns.iter().all(|column| column.kind.exact()),
            Identity::Nothing => false,
        };
        let write = |dice: &mut Dice| match dice.below(6) {
            0 if found => self.update(dice),
            1 if found && dice.one_in(2) => format!("DELETE FROM {} WHERE {}", self.sql(), self.row(dice)),
            _ => self.insert(dice),
        };
        (0..count).map(|_| write(dice)).collect()
    }

    /// Rows that are there twice: only where nothing forbids it.
    pub(super) fn duplicates(&self) -> String {
        let table = self.sql();
        format!("INSERT INTO {table} SELECT * FROM (SELECT * FROM {table} LIMIT 5) AS some_rows")
    }

    /// Damage for the subscriber that may be refused, each for itself.
    pub(super) fn damage(&self, dice: &mut Dice, count: usize) -> Vec<String> {
        let one = |dice: &mut Dice| match dice.below(8) {
            0 => format!("DELETE FROM {} WHERE {}", self.sql(), self.row(dice)),
            1 => self.insert(dice),
            2 => format!("INSERT INTO {table} SELECT * FROM {table} WHERE {}", self.row(dice), table = self.sql()),
            _ => self.update(dice),
        };
        (0..count).map(|_| one(dice)).collect()
    }
}

/// Runs statements one by one; those that break a constraint or that values do not allow do nothing.
pub(super) fn tolerant(statements: &[String]) -> String {
    let one = |statement: &String| {
        format!(
            "BEGIN {statement}; EXCEPTION WHEN unique_violation OR not_null_violation OR check_violation OR program_limit_exceeded THEN NULL; END;"
        )
    };
    let all: Vec<_> = statements.iter().map(one).collect();
    format!("DO $differential$ BEGIN {} END $differential$", all.join("\n"))
}
