//! Runs one job in one session.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Snapshot;
use crate::plan::{
    Advance, Chunking, Finding, KeySample, Position, Reading, Sameness, Slice, count_statement, heap_check,
    keys_statement, located_statement, lookup_statement, rows_statement, sample_statement, statement,
};
use crate::row::{CopyReader, Fields, Tally};
use crate::scan::sinks::{DigestSink, KeySink, POSITION_FIELDS, RowSink, SampleSink, TallySink};
use crate::scan::sketches::KEYS_PER_STATEMENT;
use crate::scan::{Digest, Figures, Job, Piece, Sketches, Work, figure_statements};
use crate::side::{Side, Sides};

/// Bytes between two reports of progress: some hundred a second at full speed.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Characters of a value that a report shows; the rest is cut on the server.
pub(crate) const VALUE_CHARACTERS: usize = 1000;
/// How long ending a transaction may take before the session is given up.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What all jobs of a sync point share.
pub(crate) struct Context {
    /// The snapshots to import.
    pub snapshots: Sides<Snapshot>,
    /// Hears of rows and bytes that came in.
    pub progress: Box<dyn Fn(Side, u64, u64) + Send + Sync>,
    /// What there may be of sketches.
    pub sketches: Sketches,
}

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// The session, if it can be used again.
    pub session: Option<Session>,
    /// The job.
    pub job: Job,
    /// What it brought back.
    pub result: Result<Piece>,
}

/// Runs a job. When `give_way` is cancelled, the statement is cancelled, its locks are let go with its session, and the
/// result is an error of kind [`ErrorKind::Cancelled`].
pub(crate) async fn execute(session: Session, job: Job, context: Arc<Context>, give_way: CancellationToken) -> Done {
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
                ErrorKind::Permission
                    | ErrorKind::Changed
                    | ErrorKind::Server
                    | ErrorKind::TimedOut
                    | ErrorKind::Unsupported
            );
            let ended =
                usable && matches!(tokio::time::timeout(END_TIMEOUT, session.batch("ROLLBACK")).await, Ok(Ok(())));
            if !ended {
                abandon(&session).await;
            }
            Done { session: ended.then_some(session), job, result: Err(error) }
        }
        None => {
            abandon(&session).await;
            Done { session: None, job, result: Err(Error::new(ErrorKind::Cancelled, "gave way")) }
        }
    }
}

/// Stops what a session is doing before it is dropped: closing a connection alone does not stop a statement at once.
async fn abandon(session: &Session) {
    if let Err(error) = session.cancel().await {
        tracing::debug!(%error, "a statement could not be cancelled");
    }
}

/// Begins a transaction in a snapshot that was exported.
pub(crate) async fn import(session: &Session, snapshot: &Snapshot) -> Result<()> {
    let imported = session.begin_imported(&snapshot.exported).await?;
    if imported.snapshot == snapshot.text {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("a session of the {} imported another snapshot than was exported", session.side()),
    )
    .with_hint("all sessions of a side must reach the same server: connect directly, not through a load balancer"))
}

async fn transaction(session: &Session, job: &Job, context: &Context) -> Result<Piece> {
    if matches!(job.work, Work::Evaluate(_)) {
        return work(session, job, context).await.map(|(piece, _)| piece);
    }
    import(session, context.snapshots.get(job.side)).await?;
    if by_heap(&job.work) {
        session.batch(HEAP_ONLY).await?;
    }
    if by_itself(job) {
        session.batch(NO_WORKERS).await?;
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

/// Rows are what is read and counted, and not what an index says of them, whatever the planner takes to be cheaper: a row that an
/// index has lost would not exist. Where rows are read through the index of their key, their count is what it shows by.
const HEAP_ONLY: &str =
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";

fn by_heap(work: &Work) -> bool {
    let slice = match work {
        Work::Tally(_, slice) | Work::Digests(_, slice) => slice,
        Work::Figures | Work::FiguresAndDigest => &Slice::Whole,
        _ => return false,
    };
    matches!(slice, Slice::Blocks { .. } | Slice::Whole)
}

/// Bytes of a table up to which its figures are asked for without the server's parallel workers, where its rows are read besides:
/// the figures of as much are there in seconds, before the rows are, and workers took a fourth more processor time for them.
const BY_ITSELF_BYTES_MAX: u64 = 4 << 30;
const NO_WORKERS: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

fn by_itself(job: &Job) -> bool {
    matches!(job.work, Work::Figures)
        && job.table.checks.rows
        && job.table.pair.relations.get(job.side).bytes <= BY_ITSELF_BYTES_MAX
}

/// Does the work; also tells which part of the table was read, if any was.
async fn work<'a>(session: &Session, job: &'a Job, context: &Context) -> Result<(Piece, Option<&'a Slice>)> {
    let table = &job.table;
    let image = |chunking: &Chunking, slice: &Slice, reading: Reading| {
        statement(job.source(), &table.shape, chunking, slice, &reading)
    };
    Ok(match &job.work {
        Work::Evaluate(expressions) => (Piece::Evaluated(evaluate(session, expressions).await?), None),
        Work::Figures => (Piece::Figures(figures(session, job, None).await?), Some(&Slice::Whole)),
        Work::FiguresAndDigest => {
            let digest = job.table.digest.as_ref().and_then(|digest| digest.as_ref().ok());
            (Piece::Figures(figures(session, job, digest).await?), Some(&Slice::Whole))
        }
        Work::LookUp(touched) => {
            let keys: Vec<_> = touched.lookups.iter().map(|lookup| &lookup.key).collect();
            let finding = Finding::Places(Sameness::wanted(touched));
            let query = lookup_statement(&table.pair, job.side, &touched.identity, &keys, finding);
            let mut places = Vec::new();
            copy(
                session,
                &query,
                3,
                |_, _| {},
                |tuple| {
                    let fields = Fields::new(tuple).collect::<Result<Vec<_>>>()?;
                    let place = match fields.as_slice() {
                        [Some(number), heap, place] => number_from(number).zip(Position::from_fields(*heap, *place)),
                        _ => None,
                    };
                    places.push(place.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a lookup has no place"))?);
                    Ok(())
                },
            )
            .await?;
            (Piece::Places(places), Some(&Slice::Whole))
        }
        Work::Keys(identity, of) => {
            let query = keys_statement(&table.pair, job.side, identity, of);
            let mut sink = KeySink::new(of);
            copy(session, &query, 1 + POSITION_FIELDS, |_, _| {}, |tuple| sink.take(tuple)).await?;
            (Piece::Keys(sink.finish()?), Some(&Slice::Whole))
        }
        Work::Sample(spec) => {
            let query = sample_statement(&table.pair, &table.shape, spec);
            let (form, key_len) = (table.shape.key_form(), table.shape.key_len());
            let mut sink = SampleSink { form, key_len, sample: KeySample::new(spec) };
            copy(session, &query, 2 * key_len, |_, _| {}, |tuple| sink.take(tuple)).await?;
            (Piece::Cut(sink.sample.cut(spec.chunks)), Some(&Slice::Whole))
        }
        Work::Tally(chunking, slice) => {
            let query = image(chunking, slice, Reading::Image);
            let sketch = context.sketches.for_slice(job, chunking, slice);
            let mut sink = TallySink::new(&table.shape, chunking, slice, sketch);
            let report = |rows, bytes| (context.progress)(job.side, rows, bytes);
            copy(session, &query, table.shape.columns().len(), report, |tuple| sink.take(tuple)).await?;
            let (tallies, sketch) = sink.finish()?;
            if let Some(count) = count_statement(job.source(), &table.shape, chunking, slice) {
                check_count(session, &count, &tallies).await?;
            }
            (Piece::Tallies(tallies, sketch), Some(slice))
        }
        Work::Digests(unit, slice) => {
            let query = image(&unit.chunking, slice, Reading::ImageAndPosition);
            let mut sink = DigestSink::new(&table.shape, unit, unit.held.get(job.side));
            let fields = table.shape.columns().len() + POSITION_FIELDS;
            copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            (sink.finish()?, Some(slice))
        }
        Work::Locate(wanted) => {
            let advance = job.advance.as_deref();
            let held = wanted.unit.held.get(job.side);
            let mut sink = DigestSink::new(&table.shape, &wanted.unit, held).only(wanted, advance);
            let fields = table.shape.columns().len() + POSITION_FIELDS;
            for keys in wanted.keys.chunks(KEYS_PER_STATEMENT) {
                let keys: Vec<_> = keys.iter().collect();
                let query = located_statement(&table.pair, &table.shape, job.side, &keys);
                copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            }
            if advance.is_some_and(Advance::has_images) {
                let query = image(&wanted.unit.chunking, &Slice::Images, Reading::ImageAndPosition);
                copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            }
            (sink.finish()?, Some(&Slice::Whole))
        }
        Work::Rows(positions) => {
            let mut sink = RowSink {
                canonical: table.shape.canonicalizer(),
                fields: table.shape.columns().len(),
                image: Vec::new(),
                rows: Vec::new(),
                wanted: positions,
            };
            let fields = table.shape.columns().len() + POSITION_FIELDS + 1;
            for query in rows_statement(job.source(), &table.shape, positions, VALUE_CHARACTERS) {
                copy(session, &query, fields, |_, _| {}, |tuple| sink.take(tuple)).await?;
            }
            (Piece::Rows(sink.rows), Some(&Slice::Whole))
        }
    })
}

/// Streams a COPY through a function, tuple by tuple. Rows never leave the task; the socket is the back-pressure.
pub(crate) async fn copy(
    session: &Session,
    query: &str,
    fields: usize,
    report: impl Fn(u64, u64),
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut stream = session.copy_out(query).await?;
    let mut reader = CopyReader::new(fields);
    let (mut rows, mut bytes) = (0, 0);
    let mut feed = |piece: &[u8], rows: &mut u64| {
        reader.feed(piece, |tuple| {
            *rows += 1;
            take(tuple)
        })
    };
    while let Some(read) = stream.next(|piece| feed(piece, &mut rows)).await? {
        bytes += read;
        if bytes >= PROGRESS_BYTES {
            report(rows, bytes);
            (rows, bytes) = (0, 0);
        }
    }
    reader.finish()?;
    report(rows, bytes);
    Ok(())
}

/// Computes expressions, one statement each and outside of any transaction: one that the server cannot compute (a value
/// that its version does not know, say) has no answer, and the others have theirs.
pub(crate) async fn evaluate(session: &Session, expressions: &[String]) -> Result<Vec<Option<String>>> {
    let mut values = Vec::with_capacity(expressions.len());
    for expression in expressions {
        values.push(match session.value(&format!("SELECT ({expression})::pg_catalog.text")).await {
            Ok(value) => value,
            Err(error) if matches!(error.kind(), ErrorKind::Lost | ErrorKind::Cancelled) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "an expression could not be computed");
                None
            }
        });
    }
    Ok(values)
}

async fn figures(session: &Session, job: &Job, digest: Option<&Digest>) -> Result<Figures> {
    let (_, statements) = figure_statements(&job.table, job.source(), digest);
    let (side, name) = (job.side, &job.table.pair.name);
    let corrupt = || Error::new(ErrorKind::Corrupt, format!("the {side} gave no count of {name}"));
    let mut values = Vec::new();
    for statement in &statements {
        let mut rows = session.rows_simple(statement).await?;
        values.append(rows.first_mut().ok_or_else(corrupt)?);
    }
    let mut values = values.into_iter();
    let count = values.next().flatten().and_then(|text| text.parse().ok()).ok_or_else(corrupt)?;
    let digest = digest.map(|digest| values.by_ref().take(digest.sums(job.source()).len()).collect());
    Ok(Figures { count, digest, values: values.collect() })
}

/// Chunks that are read one by one are counted one by one: the table may be written to before the next sync point.
async fn check_count(session: &Session, query: &str, tallies: &[(u32, Tally)]) -> Result<()> {
    let read: u64 = tallies.iter().map(|(_, tally)| tally.rows()).sum();
    let counted = session.value(query).await?;
    if counted.as_deref() == Some(read.to_string().as_str()) {
        return Ok(());
    }
    let counted = counted.unwrap_or_default();
    let message = format!("{read} rows of a key range were read where the server counts {counted}");
    Err(Error::new(ErrorKind::Miscounted, message).with_hint("check the index of the key with amcheck"))
}

/// An `int8` in binary that counts something.
pub(crate) fn number_from(bytes: &[u8]) -> Option<usize> {
    usize::try_from(i64::from_be_bytes(bytes.try_into().ok()?)).ok()
}
