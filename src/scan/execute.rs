//! Runs one job in one session.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Snapshot;
use crate::plan::{Bound, Reading, Slice, heap_check, sample_statement, statement};
use crate::row::{Canonicalizer, CopyReader, KeyForm, Row, RowDigest, Tally};
use crate::scan::filer::Filer;
use crate::scan::{DrillUnit, Entry, Figures, Job, Piece, Position, SampledRow, TableContext, Work, figure_statements};
use crate::side::{Side, Sides};
use crate::sql;

/// Bytes between two reports of progress: some hundred a second at full speed.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Characters of a value that a report shows; the rest is cut on the server.
const VALUE_CHARACTERS: usize = 1000;
/// How long ending a transaction may take before the session is given up.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields behind the image that tell where a row lies: `tableoid`, `ctid`.
const POSITION_FIELDS: usize = 2;

/// What all jobs of a sync point share.
pub struct Context {
    /// The snapshots to import.
    pub snapshots: Sides<Snapshot>,
    /// Hears of rows and bytes that came in.
    pub progress: Box<dyn Fn(Side, u64, u64) + Send + Sync>,
}

/// A job that has ended.
#[derive(Debug)]
pub struct Done {
    /// The session, if it can be used again.
    pub session: Option<Session>,
    /// The job.
    pub job: Job,
    /// What it brought back.
    pub result: Result<Piece>,
}

/// Runs a job. When `give_way` is cancelled, the statement is cancelled, its locks are let go with its session, and the
/// result is an error of kind [`ErrorKind::Cancelled`].
pub async fn execute(session: Session, job: Job, context: Arc<Context>, give_way: CancellationToken) -> Done {
    let result = tokio::select! {
        // Looked at first, so that a job that has just ended is still taken as ended.
        biased;
        result = transaction(&session, &job, &context) => Some(result),
        () = give_way.cancelled() => None,
    };
    match result {
        Some(Ok(piece)) => Done { session: Some(session), job, result: Ok(piece) },
        Some(Err(error)) => {
            // A stream that was given up half-way still flows: only a session whose server reported the error is fit for use.
            let usable = matches!(
                error.kind(),
                ErrorKind::Permission | ErrorKind::Changed | ErrorKind::Server | ErrorKind::TimedOut | ErrorKind::Unsupported
            );
            let ended = usable && matches!(tokio::time::timeout(END_TIMEOUT, session.batch("ROLLBACK")).await, Ok(Ok(())));
            if !ended {
                session.cancel().await;
            }
            Done { session: ended.then_some(session), job, result: Err(error) }
        }
        None => {
            session.cancel().await;
            Done { session: None, job, result: Err(Error::new(ErrorKind::Cancelled, "gave way")) }
        }
    }
}

async fn transaction(session: &Session, job: &Job, context: &Context) -> Result<Piece> {
    let snapshot = context.snapshots.get(job.side);
    let seen = session.begin_imported(&snapshot.exported).await?;
    if seen != snapshot.text {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("a session of the {} imported another snapshot than was exported", job.side),
        )
        .with_hint("all sessions of a side must reach the same server: connect directly, not through a load balancer"));
    }
    let (piece, slice) = work(session, job, context).await?;
    if let Some(slice) = slice {
        let unchanged = session.value(&heap_check(job.table.pair.relations.get(job.side), slice)).await?;
        if unchanged.as_deref() != Some("t") {
            return Err(Error::new(
                ErrorKind::Changed,
                format!("table {} was truncated, rewritten or repartitioned on the {}", job.table.pair.name, job.side),
            ));
        }
    }
    session.batch("COMMIT").await?;
    Ok(piece)
}

/// Does the work inside of the transaction; also tells which part of the table was read.
async fn work<'a>(session: &Session, job: &'a Job, context: &Context) -> Result<(Piece, Option<&'a Slice>)> {
    let table = &job.table;
    let image = |chunking, slice, reading| statement(&table.pair, &table.shape, job.side, chunking, slice, &reading);
    Ok(match &job.work {
        Work::Evaluate(expressions) => (Piece::Evaluated(evaluate(session, expressions).await?), None),
        Work::Figures => (Piece::Figures(figures(session, table, job.side).await?), Some(&Slice::Whole)),
        Work::Sample(spec) => {
            let query = sample_statement(&table.pair, &table.shape, spec);
            let mut sink = SampleSink { key: table.shape.key_form(), key_len: table.shape.key_len(), bounds: Vec::new() };
            let fields = 2 * table.shape.key_len();
            copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            (Piece::Samples(sink.bounds), Some(&Slice::Whole))
        }
        Work::Tally(chunking, slice) => {
            let query = image(chunking, slice, Reading::Image);
            let mut sink = TallySink {
                filer: Filer::new(table.shape.key_form(), chunking),
                canonical: table.shape.canonicalizer(),
                tallies: vec![Tally::default(); chunking.count() as usize],
                slice,
            };
            let report = |rows, bytes| (context.progress)(job.side, rows, bytes);
            copy(session, &query, table.shape.field_count(), report, |tuple| sink.take(tuple)).await?;
            let tallies = (0..).zip(sink.tallies).filter(|(_, tally)| tally.rows > 0).collect();
            (Piece::Tallies(tallies), Some(slice))
        }
        Work::Digests(unit, slice) => {
            let query = image(&unit.chunking, slice, Reading::ImageAndPosition);
            let mut sink = DigestSink {
                filer: Filer::new(table.shape.key_form(), &unit.chunking),
                canonical: table.shape.canonicalizer(),
                fields: table.shape.field_count(),
                tallies: vec![Tally::default(); unit.chunks.len()],
                entries: Vec::new(),
                unit,
            };
            let fields = table.shape.field_count() + POSITION_FIELDS;
            copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            let tallies = unit.chunks.iter().copied().zip(sink.tallies).collect();
            (Piece::Digests(sink.entries, tallies), Some(slice))
        }
        Work::Rows(positions) => {
            let query = rows_statement(table, job.side, positions);
            let mut sink = RowSink {
                canonical: table.shape.canonicalizer(),
                fields: table.shape.field_count(),
                rows: Vec::new(),
                wanted: positions,
            };
            let fields = table.shape.field_count() + POSITION_FIELDS + 1;
            copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            (Piece::Rows(sink.rows), Some(&Slice::Whole))
        }
    })
}

/// Streams a COPY through a function, tuple by tuple. Rows never leave the task; the socket is the back-pressure.
async fn copy(
    session: &Session,
    query: &str,
    fields: usize,
    report: impl Fn(u64, u64),
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let stream = session.copy_out(query).await?;
    futures::pin_mut!(stream);
    let mut reader = CopyReader::new(fields);
    let (mut rows, mut bytes) = (0, 0);
    while let Some(piece) = stream.try_next().await.map_err(|error| session.error(error, "reading a table"))? {
        bytes += piece.len() as u64;
        reader.feed(&piece, |tuple| {
            rows += 1;
            take(tuple)
        })?;
        if bytes >= PROGRESS_BYTES {
            report(rows, bytes);
            (rows, bytes) = (0, 0);
        }
    }
    reader.finish()?;
    report(rows, bytes);
    Ok(())
}

async fn evaluate(session: &Session, expressions: &[String]) -> Result<Vec<Option<String>>> {
    let mut values = Vec::with_capacity(expressions.len());
    for expression in expressions {
        values.push(session.value(&format!("SELECT ({expression})::pg_catalog.text")).await?);
    }
    Ok(values)
}

async fn figures(session: &Session, table: &TableContext, side: Side) -> Result<Figures> {
    let (_, statements) = figure_statements(table, side);
    let corrupt = || Error::new(ErrorKind::Corrupt, format!("the {side} gave no count of {}", table.pair.name));
    let mut values = Vec::new();
    for statement in &statements {
        let mut rows = session.rows_simple(statement).await?;
        values.append(rows.first_mut().ok_or_else(corrupt)?);
    }
    let mut values = values.into_iter();
    let count = values.next().flatten().and_then(|text| text.parse().ok()).ok_or_else(corrupt)?;
    Ok(Figures { count, values: values.collect() })
}

/// The rows at some positions: read by position, so whatever the key, its index or the number of duplicates.
fn rows_statement(table: &TableContext, side: Side, positions: &[Position]) -> String {
    let relation = table.pair.relations.get(side);
    let tids: Vec<_> = positions.iter().map(|at| format!("\"({},{})\"", at.block, at.offset)).collect();
    let only = if relation.partitioned { "" } else { "ONLY " };
    let list = crate::plan::select_list(&table.shape, side, &Reading::ImagePositionAndTexts(VALUE_CHARACTERS));
    format!(
        "COPY (SELECT {list} FROM {only}{} WHERE ctid = ANY ({}::pg_catalog.tid[])) TO STDOUT (FORMAT binary)",
        relation.name.to_sql(),
        sql::literal(&format!("{{{}}}", tids.join(",")))
    )
}

struct SampleSink<'a> {
    key: Option<&'a KeyForm>,
    key_len: usize,
    bounds: Vec<Bound>,
}

impl SampleSink<'_> {
    fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let fields: Vec<_> = Row::new(tuple, 0).fields().collect();
        let (Some(form), Some((key, texts))) = (self.key, fields.split_at_checked(self.key_len)) else {
            return Ok(());
        };
        let text: Option<Vec<_>> =
            texts.iter().map(|text| text.and_then(|text| String::from_utf8(text.to_vec()).ok())).collect();
        // A NULL in a key is damage; it is no bound, and its row files under the last chunk.
        if let Some(text) = text {
            let mut encoded = Vec::new();
            form.encode_fields(key, &mut encoded)?;
            self.bounds.push(Bound { encoded, text });
        }
        Ok(())
    }
}

struct TallySink<'a> {
    filer: Filer<'a>,
    canonical: Canonicalizer<'a>,
    tallies: Vec<Tally>,
    slice: &'a Slice,
}

impl TallySink<'_> {
    fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let row = self.canonical.row(tuple)?;
        let digest = RowDigest::of(row.image);
        let chunk = self.filer.chunk(&row, &digest)?;
        check_inside(self.slice, chunk)?;
        if let Some(tally) = self.tallies.get_mut(chunk as usize) {
            tally.add(&digest);
        }
        Ok(())
    }
}

/// A row must file under the chunks that it was read for.
fn check_inside(slice: &Slice, chunk: u32) -> Result<()> {
    match slice {
        Slice::Chunks { first, last } if !(*first..=*last).contains(&chunk) => Err(Error::new(
            ErrorKind::OutsideChunk,
            "a row came back outside of the key range that it was read for",
        )
        .with_hint("check the index of the key with amcheck, or REINDEX it: its order is not the order of its keys")),
        _ => Ok(()),
    }
}

struct DigestSink<'a> {
    filer: Filer<'a>,
    canonical: Canonicalizer<'a>,
    fields: usize,
    tallies: Vec<Tally>,
    entries: Vec<Entry>,
    unit: &'a DrillUnit,
}

impl DigestSink<'_> {
    fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let (image, position) = split_position(tuple, self.fields, POSITION_FIELDS)?;
        let row = self.canonical.row(&image)?;
        let digest = RowDigest::of(row.image);
        let chunk = self.filer.chunk(&row, &digest)?;
        let Ok(at) = self.unit.chunks.binary_search(&chunk) else { return Ok(()) };
        if let Some(tally) = self.tallies.get_mut(at) {
            tally.add(&digest);
        }
        let key = self.filer.key_hash(&row, &digest)?;
        let [.., a, b, c, d, e, f, g, h] = key;
        if u64::from_le_bytes([a, b, c, d, e, f, g, h]) % self.unit.parts == self.unit.part {
            let mut short = [0; 16];
            short.copy_from_slice(&digest.0[..16]);
            self.entries.push(Entry { key, digest: short, position: position.at });
        }
        Ok(())
    }
}

struct RowSink<'a> {
    canonical: Canonicalizer<'a>,
    fields: usize,
    rows: Vec<SampledRow>,
    wanted: &'a [Position],
}

impl RowSink<'_> {
    fn take(&mut self, tuple: &[u8]) -> Result<()> {
        let (image, position) = split_position(tuple, self.fields, POSITION_FIELDS + 1)?;
        if self.wanted.contains(&position.at) {
            let row = self.canonical.row(&image)?;
            self.rows.push(SampledRow::new(&row, position.at, position.texts)?);
        }
        Ok(())
    }
}

struct Behind<'a> {
    at: Position,
    texts: Option<&'a [u8]>,
}

/// Takes the fields behind the image off a tuple: the image is what a plain reading would have brought.
fn split_position(tuple: &[u8], fields: usize, behind: usize) -> Result<(Vec<u8>, Behind<'_>)> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "a server sent a row without its position");
    let all = Row::new(tuple, 0);
    let mut iter = all.fields();
    let mut end = 2;
    for _ in 0..fields {
        end += 4 + iter.next().ok_or_else(corrupt)?.map_or(0, <[u8]>::len);
    }
    let at = Position::from_fields(iter.next().flatten(), iter.next().flatten()).ok_or_else(corrupt)?;
    let texts = if behind > POSITION_FIELDS { iter.next().flatten() } else { None };
    let count = i16::try_from(fields).map_err(|_| corrupt())?;
    let mut image = count.to_be_bytes().to_vec();
    image.extend_from_slice(tuple.get(2..end).ok_or_else(corrupt)?);
    Ok((image, Behind { at, texts }))
}
