//! A schema and a write load with everything that replication has a special case for: inserts, key updates, upserts,
//! savepoints, roll-backs, values stored out of line, deletes, duplicates without a key, a replica identity that is not
//! the primary key, rows that move between partitions, large transactions, a row in nearly every transaction, TRUNCATE.

use crate::error::Result;
use crate::replicated::Replicated;

/// Tables that hold rows of their own: a partitioned table stands for its partitions.
pub const TABLES: [&str; 10] =
    ["account", "pair_key", "bag", "indexed", "parted_0", "parted_1", "parted_rest", "bulk", "hot", "side"];

/// Empties the side table and fills it anew: [`write_load`] never truncates, callers do it now and then.
pub const TRUNCATE: &str =
    "BEGIN; TRUNCATE side; INSERT INTO side SELECT i, md5(random()::text) FROM generate_series(1, 200) i; COMMIT";

/// The tables, for both sides.
pub fn schema() -> &'static str {
    include_str!("mixed.sql")
}

/// Fills the empty tables of the publisher. Keys from 1001 on are never written again.
pub fn load_sql() -> &'static str {
    "INSERT INTO account SELECT i, i, CASE WHEN i % 3 = 0 THEN repeat(md5(i::text), 120) END, i / 7.0, '2024-01-01 UTC'::timestamptz + i * interval '1 h', '{\"k\": [1, null]}'
     FROM generate_series(1, 400) i;
     INSERT INTO account SELECT i, NULLIF(i % 5, 0), CASE WHEN i % 4 > 0 THEN 'cold ' || i END, i / 3.0, now(), NULL FROM generate_series(1001, 1600) i;
     INSERT INTO pair_key SELECT i % 10, 'k' || i, i FROM generate_series(1, 300) i;
     INSERT INTO pair_key SELECT 1, 'cold' || i, i FROM generate_series(1001, 1300) i;
     INSERT INTO bag SELECT i % 7, 't' || i % 5 FROM generate_series(1, 100) i;
     INSERT INTO indexed SELECT i, 'c' || i, 'v' || i FROM generate_series(1, 300) i;
     INSERT INTO indexed SELECT i, 'c' || i, NULLIF('v' || i % 3, 'v0') FROM generate_series(1001, 1300) i;
     INSERT INTO parted SELECT i, i % 4, i * 1.10 FROM generate_series(1, 300) i;
     INSERT INTO parted SELECT i, i % 4, i * 1.10 FROM generate_series(1001, 1300) i;
     INSERT INTO bulk SELECT i, i, repeat('p', 60) FROM generate_series(1, 3000) i;
     INSERT INTO hot SELECT i, 0, 'hot' FROM generate_series(1, 3) i;
     INSERT INTO side SELECT i, 'side ' || i FROM generate_series(1, 200) i;"
}

/// Scripts of the write load, for any number of clients. The size of the tables stays about the same.
pub fn write_load() -> Vec<String> {
    let id = |most: u32| format!("(1 + floor(random() * {most}))::int");
    let (account, small) = (id(400), id(300));
    let hot = format!("UPDATE hot SET n = n + 1 WHERE id = {}", id(3));
    let once = [
        // An update that leaves a value stored out of line as it is, with the hot row.
        format!("UPDATE account SET n = n + 1, at = clock_timestamp() WHERE id = {account}; {hot}"),
        // An upsert with a large value.
        format!(
            "INSERT INTO account VALUES ({account}, 0, repeat(md5(random()::text), 100), random(), now(), '{{\"z\": 1}}') \
             ON CONFLICT (id) DO UPDATE SET f = random()"
        ),
        format!("DELETE FROM account WHERE id = {account}; {hot}"),
        // Savepoints: one rolled back, one released.
        format!(
            "BEGIN; SAVEPOINT a; UPDATE account SET n = n + 100 WHERE id = {account}; ROLLBACK TO a; \
             UPDATE account SET j = jsonb_build_object('q', {small}) WHERE id = {account}; SAVEPOINT b; \
             INSERT INTO pair_key VALUES ({small} % 20, 'k' || {small}, 1) ON CONFLICT DO NOTHING; RELEASE b; {hot}; COMMIT"
        ),
        // A key update, to a key that may have been another row's before.
        format!(
            "WITH k AS (SELECT 'k' || {small} AS b) UPDATE pair_key p SET a = (p.a + 1) % 20, v = p.v + 1 FROM k WHERE p.b = k.b \
             AND NOT EXISTS (SELECT FROM pair_key q WHERE q.b = p.b AND q.a <> p.a)"
        ),
        format!("DELETE FROM pair_key WHERE b = 'k' || {small} AND a > 12"),
        format!("BEGIN; UPDATE account SET n = -1 WHERE id = {account}; {hot}; ROLLBACK"),
        // The same row twice in a transaction; a large value written, then left alone.
        format!(
            "DO $$ DECLARE k int := {account}; BEGIN UPDATE account SET big = repeat(md5(random()::text), 150) WHERE id = k; \
             UPDATE account SET n = n + 1 WHERE id = k; END $$"
        ),
        // Gone and back under the same key.
        format!(
            "DO $$ DECLARE k int := {account}; BEGIN DELETE FROM account WHERE id = k; \
             INSERT INTO account VALUES (k, 5, repeat('q', 4000), 1.5, now(), NULL) ON CONFLICT DO NOTHING; END $$"
        ),
        // Without a key: duplicates come, change and go, one at a time.
        format!("INSERT INTO bag VALUES ({small} % 7, 't' || {small} % 5), ({small} % 7, 't' || {small} % 5); {hot}"),
        "DELETE FROM bag WHERE ctid = ANY (ARRAY(SELECT ctid FROM bag ORDER BY random() LIMIT greatest(2, (SELECT count(*) - 120 FROM bag))))".to_owned(),
        "UPDATE bag SET t = 't' || a WHERE ctid = (SELECT ctid FROM bag ORDER BY random() LIMIT 1)".to_owned(),
        // The replica identity changes, the primary key does not; and the other way round.
        format!("UPDATE indexed SET code = 'c' || id || '.' || {small} WHERE id = {small}"),
        format!("UPDATE indexed SET id = id + 300, v = v || '+' WHERE id = {small} AND NOT EXISTS (SELECT FROM indexed i WHERE i.id = indexed.id + 300)"),
        format!("UPDATE indexed SET id = id - 300, v = left(v, 20) WHERE id = 300 + {small} AND NOT EXISTS (SELECT FROM indexed i WHERE i.id = indexed.id - 300)"),
        format!(
            "DO $$ DECLARE k int := {small}; BEGIN DELETE FROM indexed WHERE id = k; \
             INSERT INTO indexed VALUES (k, 'n' || k || random(), 'new') ON CONFLICT DO NOTHING; END $$"
        ),
        // From one partition to another.
        format!("UPDATE parted SET part = (part + 1) % 4, v = v + 0.01 WHERE id = {small}; {hot}"),
        format!("UPDATE parted SET v = v + 1.00 WHERE id = {small}"),
        // Many rows at once: what is streamed where streaming is on.
        "INSERT INTO bulk SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint * 1000 + i, i, repeat('n', 60) FROM generate_series(0, 299) i \
         ON CONFLICT DO NOTHING".to_owned(),
        "DELETE FROM bulk WHERE id IN (SELECT id FROM bulk ORDER BY id LIMIT greatest(0, (SELECT count(*) - 3000 FROM bulk)) FOR UPDATE SKIP LOCKED)".to_owned(),
    ];
    // The cheap ones more often than those of many rows.
    let (many, few): (Vec<_>, Vec<_>) = once.into_iter().partition(|script| !script.contains("bulk"));
    let mut scripts: Vec<_> = (0..3).flat_map(|_| many.clone()).collect();
    scripts.extend(few);
    scripts
}

/// Creates the tables on both sides and their rows on the publisher.
pub async fn create(database: &Replicated) -> Result<()> {
    database.both(schema()).await?;
    database.publisher.sql(load_sql()).await
}
