//! Jobs and what they bring back.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::catalog::{TableIndex, TablePair};
use crate::config::CheckSet;
use crate::gate::window::{Identity, Touched, Values};
use crate::plan::{Advance, Chunking, KeysOf, Position, SampleSpec, Slice, Source, column_names};
use crate::row::{Shape, Tally};
use crate::scan::figures::column_figures;
use crate::scan::{ColumnFigure, Digest, Entry, Figures, LocatedKeys, SampledRow, TableSketch};
use crate::side::{Side, Sides};

/// What all jobs of a table share.
#[derive(Debug, Clone)]
pub(crate) struct TableContext {
    /// Its position in the catalog.
    pub index: TableIndex,
    /// The table on both sides.
    pub pair: TablePair,
    /// What is read of it.
    pub shape: Shape,
    /// The witnesses that were selected.
    pub checks: CheckSet,
    /// Server versions, as `server_version_num`.
    pub versions: Sides<u32>,
    /// Columns whose last value is wanted besides, for the sequences that feed them.
    pub sequence_columns: Vec<SequenceColumn>,
    /// How it is digested, or why it cannot be, where that was asked for.
    pub digest: Option<Result<Digest, String>>,
}

impl TableContext {
    /// The names of the compared columns, in the order of the row image: the key first.
    #[must_use]
    pub(crate) fn column_names(&self) -> Vec<&str> {
        column_names(&self.pair, &self.shape)
    }
}

/// A column that a sequence feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SequenceColumn {
    /// The column.
    pub name: String,
    /// Whether the sequence descends: then the last value is the smallest.
    pub descending: bool,
}

/// One piece of reading.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The table.
    pub table: Arc<TableContext>,
    /// The side to read.
    pub side: Side,
    /// What to read.
    pub work: Work,
    /// What makes the cut of the publisher's snapshot, or sets rows aside.
    pub advance: Option<Arc<Advance>>,
    /// The state of the table that asked for it: answers to an older one are thrown away.
    pub generation: u32,
    /// How often it was tried before and failed.
    pub failures: u32,
    /// How often it gave way to somebody.
    pub gave_way: u32,
}

impl Job {
    /// What it reads of.
    #[must_use]
    pub(crate) fn source(&self) -> Source<'_> {
        Source { pair: &self.table.pair, side: self.side, advance: self.advance.as_deref() }
    }

    /// What it asks of the columns, where it asks for figures.
    #[must_use]
    pub(crate) fn asked(&self) -> Vec<ColumnFigure> {
        column_figures(&self.table, self.side)
    }
}

/// Kinds of work, in the order in which they are taken from the queue.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Computes these SQL expressions, which touch no table.
    Evaluate(Vec<String>),
    /// Reads the rows at these positions.
    Rows(Vec<Position>),
    /// Reads a slice once more and lists the digests of the rows of some chunks.
    Digests(Arc<DrillUnit>, Slice),
    /// Reads the rows of some keys and lists their digests.
    Locate(Arc<LocatedKeys>),
    /// Looks up in the snapshot what changed after it, or what is set aside.
    LookUp(Arc<Touched>),
    /// Reads what identifies some rows.
    Keys(Identity, KeysOf),
    /// Samples keys of the publisher, and cuts the table by them.
    Sample(SampleSpec),
    /// Count, maxima and sums, by the server.
    Figures,
    /// The same, and the digest of all rows.
    FiguresAndDigest,
    /// Reads a slice and files every row under its chunk.
    Tally(Arc<Chunking>, Slice),
}

impl Work {
    /// For messages: what is done with the table.
    #[must_use]
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Evaluate(_) => "computing figures",
            Self::Rows(_) => "reading differing rows",
            Self::Digests(..) => "reading divergent chunks",
            Self::Locate(_) => "locating differing rows",
            Self::LookUp(_) => "looking up changed rows",
            Self::Keys(..) => "finding changed rows",
            Self::Sample(_) => "sampling keys",
            Self::Figures => "counting and summing",
            Self::FiguresAndDigest => "digesting",
            Self::Tally(..) => "reading rows",
        }
    }

    /// Lower is taken first; of equal ones, those of the largest table. So the largest table is done first, as a whole, and what
    /// one of its jobs has read is in the server's cache for the others.
    #[must_use]
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Evaluate(_) => 0,
            Self::Rows(_) => 1,
            Self::Digests(..) | Self::Locate(_) => 2,
            Self::LookUp(_) | Self::Keys(..) => 3,
            Self::Sample(_) => 4,
            Self::Figures | Self::FiguresAndDigest | Self::Tally(..) => 5,
        }
    }

    /// Whether it reads a table, and not only what prepares that.
    #[must_use]
    pub(crate) fn reads(&self) -> bool {
        !matches!(self, Self::LookUp(_) | Self::Keys(..) | Self::Sample(_))
    }
}

/// Some divergent chunks that are drilled into together.
#[derive(Debug)]
pub(crate) struct DrillUnit {
    /// How the table is divided.
    pub chunking: Arc<Chunking>,
    /// The chunks, ascending.
    pub chunks: Vec<u32>,
    /// Only keys whose hash falls into this part ...
    pub part: u64,
    /// ... of so many. One unless a chunk has more distinct rows than fit into memory.
    pub parts: u64,
    /// Entries that jobs of a side hold at the moment.
    pub held: Sides<AtomicUsize>,
}

/// What a job brings back.
#[derive(Debug)]
pub(crate) enum Piece {
    /// One text for each expression; NULL is `None`.
    Evaluated(Vec<Option<String>>),
    /// The rows that were asked for, in any order.
    Rows(Vec<SampledRow>),
    /// The distinct rows of the unit in the slice, or of the keys that were asked for, `None` if there are too many; and the tally of each of the unit's chunks.
    Digests(Option<Vec<Entry>>, Vec<(u32, Tally)>),
    /// Which lookup found a row, and where, in any order.
    Places(Vec<(usize, Position)>),
    /// What identifies rows, in any order.
    Keys(Vec<Values>),
    /// Into what the table is to be cut, as a sample of its keys has it.
    Cut(Chunking),
    /// Count, maxima and sums.
    Figures(Figures),
    /// The tally of each chunk that has rows in the slice, and a sketch of all of them where one was made.
    Tallies(Vec<(u32, Tally)>, Option<TableSketch>),
}
