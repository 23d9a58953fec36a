//! The CSV files: the listed differing rows, and the ledger of chunks.
//!
//! Both are written for machines: names and values are exact, quoted as RFC 4180 says, and not changed in any way for
//! spreadsheets (keys and values are JSON objects, which no spreadsheet takes for a formula).

use std::io::Write;

use crate::error::{Error, ErrorKind, Result};
use crate::run::{ChunkRange, ChunkRecord, KeyText, Outcome};

/// Writes every listed differing row (`--report-csv`).
///
/// `key`, `publisher` and `subscriber` are JSON objects of column to text or null; the last two are empty without
/// `--show-values`. `columns` is separated by semicolons; a semicolon or backslash in a name stands behind a backslash.
///
/// # Errors
///
/// [`ErrorKind::Io`] where `out` cannot be written.
pub fn differences(outcome: &Outcome, out: impl Write) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let header =
        ["schema", "table", "kind", "key", "columns", "representation_only", "row_digest", "publisher", "subscriber"];
    csv.write_record(header).map_err(failed)?;
    for table in &outcome.tables {
        for sample in table.checks.rows.iter().flat_map(|rows| &rows.samples) {
            let columns: Vec<_> =
                sample.columns.iter().map(|column| column.replace('\\', "\\\\").replace(';', "\\;")).collect();
            csv.write_record([
                table.schema.as_str(),
                &table.name,
                sample.kind.name(),
                &object(Some(&sample.key))?,
                &columns.join(";"),
                if sample.representation_only { "true" } else { "false" },
                sample.row_digest.as_deref().unwrap_or_default(),
                &object(sample.publisher.as_ref())?,
                &object(sample.subscriber.as_ref())?,
            ])
            .map_err(failed)?;
        }
    }
    csv.flush().map_err(|error| failed(error.into()))
}

/// Writes the ledger of chunks (`--report-chunks`), one line for each.
///
/// `from` (inclusive) and `to` (exclusive) are JSON objects, empty where open; `bucket` and `of` are filled instead for
/// chunks that are buckets of a hash.
///
/// # Errors
///
/// [`ErrorKind::Io`] where `out` cannot be written.
pub fn chunks(ledger: &[ChunkRecord], out: impl Write) -> Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record([
        "schema",
        "table",
        "chunk",
        "from",
        "to",
        "bucket",
        "of",
        "sync_point",
        "verdict",
        "publisher_rows",
        "subscriber_rows",
        "publisher_digest",
        "subscriber_digest",
    ])
    .map_err(failed)?;
    for record in ledger {
        let (from, to, bucket, of) = match &record.range {
            ChunkRange::Keys { from, to } => {
                (object(from.as_ref())?, object(to.as_ref())?, String::new(), String::new())
            }
            ChunkRange::Bucket { bucket, of } => (String::new(), String::new(), bucket.to_string(), of.to_string()),
        };
        csv.write_record([
            record.schema.as_str(),
            &record.table,
            &record.chunk.to_string(),
            &from,
            &to,
            &bucket,
            &of,
            &record.sync_point.to_string(),
            record.verdict.name(),
            &record.publisher_rows.to_string(),
            &record.subscriber_rows.to_string(),
            &record.publisher_digest,
            &record.subscriber_digest,
        ])
        .map_err(failed)?;
    }
    csv.flush().map_err(|error| failed(error.into()))
}

fn object(map: Option<&KeyText>) -> Result<String> {
    map.map_or(Ok(String::new()), |map| {
        serde_json::to_string(map).map_err(|error| failed(std::io::Error::from(error).into()))
    })
}

fn failed(error: csv::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot write the CSV document").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    /// Asserts that docs/reports.md shows the names of these columns.
    #[track_caller]
    fn assert_documented(document: &[u8]) {
        let names = std::str::from_utf8(document).unwrap().lines().next().unwrap();
        let shown = include_str!("../../docs/reports.md").contains(&format!("```csv\n{names}\n```\n"));
        assert!(shown, "docs/reports.md does not show {names}");
    }

    #[test]
    fn listed_rows() {
        let mut out = Vec::new();
        differences(&fixtures::different(), &mut out).unwrap();
        assert_documented(&out);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        schema,table,kind,key,columns,representation_only,row_digest,publisher,subscriber
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000000,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000001,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000002,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000003,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000004,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000005,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000006,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000007,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000008,,
        public,Event log,extra,{},,false,0000000000000000000000000000000000000000000000000000000000000009,,
        public,Event log,extra,{},,false,000000000000000000000000000000000000000000000000000000000000000a,,
        public,Event log,extra,{},,false,000000000000000000000000000000000000000000000000000000000000000b,,
        public,orders,missing,"{""id"":""70001""}",,false,,,
        public,orders,changed,"{""id"":""70002""}",note;a\;b,false,,"{""a;b"":null,""note"":""first\nsecond \u001b[31m""}","{""a;b"":"""",""note"":""it's""}"
        public,orders,changed,"{""id"":""999001""}",price,true,,,
        "#);
    }

    #[test]
    fn ledger() {
        let mut out = Vec::new();
        chunks(&fixtures::ledger(), &mut out).unwrap();
        assert_documented(&out);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        schema,table,chunk,from,to,bucket,of,sync_point,verdict,publisher_rows,subscriber_rows,publisher_digest,subscriber_digest
        public,orders,0,,"{""code"":""a,\""b\"""",""id"":""5""}",,,1,match,65536,65535,abababababababababababababababababababababababababababababababab,cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        public,orders,1,"{""code"":""a,\""b\"""",""id"":""5""}",,,,1,different,65536,65535,abababababababababababababababababababababababababababababababab,cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        public,orders,2,,,17,64,1,match,65536,65535,abababababababababababababababababababababababababababababababab,cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
        "#);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(differences(&fixtures::different(), Full).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(chunks(&[], Full).unwrap_err().kind(), ErrorKind::Io);
    }
}
