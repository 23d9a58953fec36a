//! A referee that shares no code with triplecheck: it rebuilds what stood on both sides at the snapshots of a report.
//!
//! Triggers (ENABLE ALWAYS, so that they fire for local writes and for apply alike) write every row version that comes or
//! goes into `audit.log`, with a sign and the 64-bit identifier of its top-level transaction. A transaction is visible in
//! a snapshot as a whole, so what stood in a snapshot is the sum of the signs over the transactions visible in it: a
//! multiset of row images. Addition commutes, so no order of the log is needed, and no key.
//!
//! **The subscriber at S**: the sum over its own transactions visible in the reported subscriber snapshot.
//!
//! **The publisher at R**: R is the position that S corresponds to, so the publisher's transactions up to R are by
//! definition those that S contains. Each of them inserts its own identifier into the replicated table `audit.marks`. The
//! subscriber applies a transaction as a whole, so S contains it if and only if its mark is visible in S; the subscriber
//! notes beside each mark which local transaction wrote it. The publisher at R is the sum of the publisher's log over the
//! marks in S. No position in the WAL takes part in this, and nothing that a damage does to other tables changes it.
//!
//! **R itself**: a logical slot of the referee's own says where each marked transaction ended. Where the report claims an
//! exact cut, the marks in S must be exactly those that ended at or before `applied_lsn`. And whatever the proof, each
//! marked transaction visible in P must be in S: that is what the gate waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use triplecheck_testbed::{Database, Replicated, mixed};

const COMMON: &str = include_str!("audit.sql");
const OF_PUBLISHER: &str = "CREATE SCHEMA audit; CREATE TABLE audit.marks (xid bigint PRIMARY KEY); CREATE FUNCTION audit.mark() RETURNS void LANGUAGE sql AS \
     'INSERT INTO audit.marks VALUES (txid_current()) ON CONFLICT DO NOTHING';";
const OF_SUBSCRIBER: &str = "CREATE SCHEMA audit; CREATE TABLE audit.marks (xid bigint PRIMARY KEY, local bigint NOT NULL DEFAULT txid_current()); \
     CREATE FUNCTION audit.mark() RETURNS void LANGUAGE sql AS '';";

/// Differences of a table as `kind key`, for a table without a key as `kind` once per row.
pub(crate) type Differences = BTreeMap<String, Vec<String>>;
/// Row images of each table with how often they stand there.
type State = BTreeMap<String, BTreeMap<String, i64>>;

/// The audit of a database that was made by [`mixed::schema`].
pub(crate) struct Audit {
    publisher: Database,
    subscriber: Database,
    slot: String,
    publication: String,
    /// Where marked transactions ended, as far as it was decoded.
    ended: BTreeMap<i64, u64>,
}

/// What one report came to.
pub(crate) struct Judged {
    /// Differences that the referee finds between the publisher at R and the subscriber at S.
    pub(crate) differences: usize,
    /// Differences that a direct comparison of P and S would have shown.
    pub(crate) direct: usize,
}

fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "pair_key" => &["b", "a"],
        "bag" => &[],
        "parted_0" | "parted_1" | "parted_rest" => &["id", "part"],
        _ => &["id"],
    }
}

/// What is published: everything but the log.
pub(crate) fn published() -> String {
    format!("FOR TABLE audit.marks, {}", mixed::TABLES.join(", "))
}

impl Audit {
    /// Creates the mixed tables with their triggers on both sides, and the rows of the publisher.
    pub(crate) async fn create(database: &Replicated) {
        database.both(mixed::schema()).await.unwrap();
        for (side, own) in [(&database.publisher, OF_PUBLISHER), (&database.subscriber, OF_SUBSCRIBER)] {
            side.sql(&format!("{own} {COMMON}")).await.unwrap();
            for table in mixed::TABLES {
                let triggers = format!(
                    "CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit.note(); \
                     CREATE TRIGGER audit_emptied BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit.emptied(); \
                     ALTER TABLE {table} ENABLE ALWAYS TRIGGER audit; ALTER TABLE {table} ENABLE ALWAYS TRIGGER audit_emptied;"
                );
                side.sql(&triggers).await.unwrap();
            }
        }
        database.publisher.sql(mixed::load_sql()).await.unwrap();
    }

    /// Begins to follow the publisher's WAL, before the writes that are to be judged and once the database is replicated.
    pub(crate) async fn follow(database: &Replicated) -> Self {
        let slot = format!("referee_{}", database.publisher.name());
        let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        database.publisher.value(&create).await.unwrap();
        Self {
            publisher: database.publisher.clone(),
            subscriber: database.subscriber.clone(),
            slot,
            publication: database.publication_name(),
            ended: BTreeMap::new(),
        }
    }

    /// Drops the referee's slot.
    pub(crate) async fn end(self) {
        self.publisher.value(&format!("SELECT pg_drop_replication_slot('{}')", self.slot)).await.unwrap();
    }

    /// Asserts that a report found exactly the differences that the referee finds.
    pub(crate) async fn judge(&mut self, report: &Value) -> Judged {
        self.decode().await;
        let mut judged = Judged { differences: 0, direct: 0 };
        for point in report["sync_points"].as_array().unwrap() {
            let tables: Vec<_> =
                report["tables"].as_array().unwrap().iter().filter(|table| last(table) == point["id"]).collect();
            if !tables.is_empty() {
                self.judge_point(point, &tables, &mut judged).await;
            }
        }
        judged
    }

    async fn judge_point(&self, point: &Value, tables: &[&Value], judged: &mut Judged) {
        let snapshot = |field: &str| point[field].as_str().unwrap_or_else(|| panic!("no {field}: {point}")).to_owned();
        let (at_p, at_s) = (snapshot("publisher_snapshot"), snapshot("subscriber_snapshot"));
        let marks =
            format!("SELECT xid::text FROM audit.marks WHERE pg_visible_in_snapshot(local::text::xid8, '{at_s}')");
        let in_s = numbers(&self.subscriber, &marks).await;
        let marks =
            format!("SELECT xid::text FROM audit.marks WHERE pg_visible_in_snapshot(xid::text::xid8, '{at_p}')");
        let in_p = numbers(&self.publisher, &marks).await;
        let late: Vec<_> = in_p.difference(&in_s).collect();
        assert!(late.is_empty(), "S was taken before it contained P: {late:?} of {point}");
        if point["proof"].as_str().is_some_and(|proof| proof.starts_with("exact")) {
            self.assert_cut(point, &in_s);
        }

        let subscriber = state(&self.subscriber, &format!("pg_visible_in_snapshot(xid::text::xid8, '{at_s}')")).await;
        let list: Vec<_> = in_s.iter().map(i64::to_string).collect();
        let publisher = state(&self.publisher, &format!("xid = ANY ('{{{}}}'::bigint[])", list.join(","))).await;
        let direct = state(&self.publisher, &format!("pg_visible_in_snapshot(xid::text::xid8, '{at_p}')")).await;
        let referee = differences(&publisher, &subscriber);
        judged.direct += differences(&direct, &subscriber).values().map(Vec::len).sum::<usize>();
        for table in tables {
            let name = table["name"].as_str().unwrap();
            let expected = referee.get(name).cloned().unwrap_or_default();
            judged.differences += expected.len();
            let verdict = if expected.is_empty() { "match" } else { "different" };
            let ours = reported(table);
            assert!(
                table["verdict"] == verdict && ours == expected,
                "{name}: the referee says {verdict}: {expected:#?}\nwe say: {ours:#?}\n{table:#}\n{point:#}\npublisher at R: {:#?}\nsubscriber at S: {:#?}",
                concerned(&publisher, name, &expected, &ours),
                concerned(&subscriber, name, &expected, &ours),
            );
        }
    }

    /// The marks in S are exactly those of transactions that ended at or before R.
    fn assert_cut(&self, point: &Value, in_s: &BTreeSet<i64>) {
        let applied = position(point["applied_lsn"].as_str().unwrap());
        let wrong: Vec<_> = self.ended.iter().filter(|(xid, end)| (**end <= applied) != in_s.contains(*xid)).collect();
        assert!(wrong.is_empty(), "R {applied} is not where S stands: {wrong:?} of {point}");
    }

    /// Reads the ends of the transactions since the last time.
    async fn decode(&mut self) {
        let ends = format!(
            "SELECT xid::text::bigint::text, lsn::text FROM pg_logical_slot_get_binary_changes('{}', NULL, NULL, 'proto_version', '1', 'publication_names', '{}') \
             WHERE get_byte(data, 0) = ascii('C')",
            self.slot, self.publication
        );
        let marked = numbers(&self.publisher, "SELECT xid::text FROM audit.marks").await;
        for row in self.publisher.rows(&ends).await.unwrap() {
            let [Some(xid), Some(end)] = &row[..] else { panic!("{row:?}") };
            let xid = xid.parse().unwrap();
            // The first epoch of a new server; what is not marked changed nothing that is published.
            if marked.contains(&xid) {
                self.ended.insert(xid, position(end));
            }
        }
    }
}

/// The sync point that a table was judged at in the end.
fn last(table: &Value) -> Value {
    table["sync_points"].as_array().and_then(|points| points.last()).cloned().unwrap_or_default()
}

/// What a report says about a table.
fn reported(table: &Value) -> Vec<String> {
    let rows = &table["checks"]["rows"];
    let name = table["name"].as_str().unwrap();
    let columns = if name == "marks" { &["xid"] } else { key_columns(name) };
    let of = |sample: &Value| {
        let key: Vec<_> = columns.iter().map(|column| sample["key"][column].as_str().unwrap_or("?")).collect();
        format!("{} {}", sample["kind"].as_str().unwrap(), key.join(" ")).trim().to_owned()
    };
    let mut found: Vec<_> = rows["samples"].as_array().into_iter().flatten().map(of).collect();
    found.sort();
    let counted: u64 = ["missing", "extra", "changed"].iter().filter_map(|kind| rows[kind].as_u64()).sum();
    assert_eq!(counted, found.len() as u64, "not all are listed: {table:#}");
    found
}

/// What stands in one state and not in the other.
fn differences(publisher: &State, subscriber: &State) -> Differences {
    let mut found = Differences::new();
    let nothing = BTreeMap::new();
    for table in publisher.keys().chain(subscriber.keys()).collect::<BTreeSet<_>>() {
        let [ours, theirs] = [publisher, subscriber].map(|state| state.get(table).unwrap_or(&nothing));
        let columns = key_columns(table);
        // Copies that one side has more of, by key.
        let mut more: BTreeMap<String, [i64; 2]> = BTreeMap::new();
        for image in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
            let surplus = ours.get(image).unwrap_or(&0) - theirs.get(image).unwrap_or(&0);
            if surplus != 0 {
                let counts = more.entry(key(image, columns)).or_default();
                counts[usize::from(surplus < 0)] += surplus.abs();
            }
        }
        let mut lines = Vec::new();
        for (key, [missing, extra]) in more {
            if columns.is_empty() {
                lines.extend((0..missing).map(|_| "missing".to_owned()));
                lines.extend((0..extra).map(|_| "extra".to_owned()));
                continue;
            }
            let kind = match (missing, extra) {
                (1, 1) => "changed",
                (1, 0) => "missing",
                (0, 1) => "extra",
                _ => panic!("{table} {key} stands more than once: {missing} {extra}"),
            };
            lines.push(format!("{kind} {key}"));
        }
        if !lines.is_empty() {
            lines.sort();
            found.insert(table.clone(), lines);
        }
    }
    found
}

fn key(image: &str, columns: &[&str]) -> String {
    let row: Value = serde_json::from_str(image).unwrap();
    let text = |column: &&str| row[*column].as_str().map_or_else(|| row[*column].to_string(), str::to_owned);
    columns.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The images of rows that the referee or a report calls different, for a message.
fn concerned<'a>(state: &'a State, table: &str, expected: &[String], ours: &[String]) -> Vec<&'a String> {
    let columns = key_columns(table);
    let named = |image: &&String| {
        let key = key(image, columns);
        expected.iter().chain(ours).any(|line| line.split_once(' ').is_some_and(|(_, named)| named == key))
    };
    state.get(table).into_iter().flat_map(BTreeMap::keys).filter(named).collect()
}

/// What stands after the transactions that a condition selects.
async fn state(side: &Database, selected: &str) -> State {
    let sql = format!(
        "SELECT tbl, image, sum(sign)::text FROM audit.log WHERE {selected} GROUP BY tbl, image HAVING sum(sign) <> 0"
    );
    let mut state = State::new();
    for row in side.rows(&sql).await.unwrap() {
        let [Some(table), Some(image), Some(times)] = &row[..] else { panic!("{row:?}") };
        let times: i64 = times.parse().unwrap();
        assert!(times > 0, "{table}: {image} stands {times} times: the audit has a hole");
        state.entry(table.clone()).or_default().insert(image.clone(), times);
    }
    state
}

async fn numbers(side: &Database, sql: &str) -> BTreeSet<i64> {
    side.rows(sql).await.unwrap().iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
}

fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    let half = |text| u64::from_str_radix(text, 16).unwrap();
    half(high) << 32 | half(low)
}
