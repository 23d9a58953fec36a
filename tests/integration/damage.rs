//! Every kind of damage, alone and all together, is found and named, and nothing else is.

use triplecheck_testbed::{ReplicateOptions, Replicated, shared_pair, shop};

use crate::harness::{Ran, Verify};
use crate::lines;

/// What the shop lacks: numbers of any scale, floats, and rows without a key.
const MORE_TABLES: &str = "
    CREATE TABLE readings (id bigint PRIMARY KEY, ratio numeric, level double precision, data jsonb);
    CREATE TABLE pairs (id integer PRIMARY KEY, a text, b text);
    CREATE TABLE log (who text, what text, amount numeric);
    ALTER TABLE log REPLICA IDENTITY FULL;
    CREATE TABLE inserts (who text, amount integer);
    CREATE TABLE vacant (id integer PRIMARY KEY, note text);";

/// Of every third line of the log there are two.
const MORE_ROWS: &str = r#"
    INSERT INTO readings SELECT i, i / 8.0, i / 7.0::float8, jsonb_build_object('x', i) FROM generate_series(1, 900) i;
    UPDATE readings SET ratio = 1.50, level = 0.3, data = '{"x": 1.0}' WHERE id IN (3, 4, 5);
    INSERT INTO pairs SELECT i, 'a' || i, CASE WHEN i % 4 > 0 THEN 'b' || i END FROM generate_series(1, 90) i;
    UPDATE pairs SET a = 'a|b', b = 'c' WHERE id = 1;
    UPDATE pairs SET a = '12', b = '3' WHERE id = 2;
    UPDATE pairs SET a = '', b = 'x' WHERE id = 3;
    INSERT INTO log SELECT 'who' || i, 'what' || i % 10, i * 1.25 FROM generate_series(1, 300) i;
    INSERT INTO log SELECT * FROM log WHERE amount % 3 = 0;
    INSERT INTO inserts SELECT 'who' || i, i FROM generate_series(1, 100) i;
    ANALYZE readings, pairs, log, inserts;"#;

const FINDINGS: [&str; 3] =
    ["error no_replica_identity public.inserts", "warning no_key public.inserts", "warning no_key public.log"];

/// Something done to the subscriber. `{last}` stands for the largest order.
struct Damage {
    name: &'static str,
    sql: &'static str,
    /// The table, and the condition that the rows fulfil that are to be put back.
    undo: (&'static str, &'static str),
    /// Done after the rows were put back.
    undo_sql: &'static str,
    rows: &'static [&'static str],
    figures: &'static [&'static str],
}

const fn damage(
    name: &'static str,
    sql: &'static str,
    undo: (&'static str, &'static str),
    rows: &'static [&'static str],
    figures: &'static [&'static str],
) -> Damage {
    Damage { name, sql, undo, undo_sql: "", rows, figures }
}

/// What can be done at the same time. Each leaves every figure alone that it does not list.
const DAMAGES: &[Damage] = &[
    damage(
        "a row deleted",
        "DELETE FROM orders WHERE id = 700",
        ("orders", "id = 700"),
        &["orders missing id=700"],
        &["orders count", "orders sum(id)", "orders sum(user_id)", "orders sum(order_total)"],
    ),
    damage(
        "a row inserted",
        "INSERT INTO line_items VALUES (100, 99, 'SKU', 2, 3.5, NULL)",
        ("line_items", "order_id = 100 AND line_no = 99"),
        &["line_items extra order_id=100,line_no=99"],
        &[
            "line_items count",
            "line_items sum(order_id)",
            "line_items sum(line_no)",
            "line_items sum(quantity)",
            "line_items sum(unit_price)",
        ],
    ),
    damage(
        "a column of the first row",
        "UPDATE orders SET note = 'damaged' WHERE id = 1",
        ("orders", "id = 1"),
        &["orders changed id=1 [note]"],
        &[],
    ),
    damage(
        "a column of a middle row",
        "UPDATE orders SET status = 'cancelled' WHERE id = 751",
        ("orders", "id = 751"),
        &["orders changed id=751 [status]"],
        &[],
    ),
    damage(
        "a column of the last row",
        "UPDATE orders SET currency = 'XXX' WHERE id = {last}",
        ("orders", "id = {last}"),
        &["orders changed id={last} [currency]"],
        &[],
    ),
    damage(
        "NULL and an empty string",
        "UPDATE orders SET note = '' WHERE id = 70",
        ("orders", "id = 70"),
        &["orders changed id=70 [note]"],
        &[],
    ),
    damage(
        "an empty string and NULL",
        "UPDATE pairs SET a = NULL WHERE id = 3",
        ("pairs", "id = 3"),
        &["pairs changed id=3 [a]"],
        &[],
    ),
    damage(
        "a trailing space",
        "UPDATE users SET name = name || ' ' WHERE id = 10",
        ("users", "id = 10"),
        &["users changed id=10 [name]"],
        &[],
    ),
    damage(
        "1.50 and 1.5",
        "UPDATE readings SET ratio = 1.5 WHERE id = 3",
        ("readings", "id = 3"),
        &["readings changed id=3 [ratio] ~"],
        &[],
    ),
    damage(
        "a number in jsonb of another scale",
        r#"UPDATE readings SET data = '{"x": 1.00}' WHERE id = 4"#,
        ("readings", "id = 4"),
        &["readings changed id=4 [data] ~"],
        &[],
    ),
    damage(
        "a value in jsonb",
        "UPDATE users SET profile = jsonb_set(profile, '{tier}', '99') WHERE id = 12",
        ("users", "id = 12"),
        &["users changed id=12 [profile]"],
        &[],
    ),
    damage(
        "a microsecond",
        "UPDATE transactions SET processed_at = processed_at + interval '1 us' WHERE id = md5('transaction77')::uuid",
        ("transactions", "id = md5('transaction77')::uuid"),
        // SELECT md5('transaction77')::uuid
        &["transactions changed id={transaction77} [processed_at]"],
        &[],
    ),
    damage(
        "a microsecond of the latest",
        "UPDATE users SET updated_at = updated_at + interval '1 us' WHERE updated_at = (SELECT max(updated_at) FROM users)",
        ("users", "id >= 500"),
        &["users changed id={last_user} [updated_at]"],
        &["users max(updated_at)"],
    ),
    damage(
        "the last bit of a float",
        "UPDATE readings SET level = 0.30000000000000004 WHERE id = 5",
        ("readings", "id = 5"),
        &["readings changed id=5 [level]"],
        &["readings sum(level)"],
    ),
    damage(
        "a value of two rows swapped",
        "UPDATE orders o SET order_total = p.order_total FROM orders p WHERE (o.id, p.id) IN ((101, 202), (202, 101))",
        ("orders", "id IN (101, 202)"),
        &["orders changed id=101 [order_total]", "orders changed id=202 [order_total]"],
        &[],
    ),
    damage(
        "a byte of a bytea",
        "UPDATE transactions SET payload = set_byte(payload, 15, 255 - get_byte(payload, 15)) WHERE id = md5('transaction76')::uuid",
        ("transactions", "id = md5('transaction76')::uuid"),
        &["transactions changed id={transaction76} [payload]"],
        &[],
    ),
    damage(
        "two columns that look alike put together with a separator",
        "UPDATE pairs SET a = 'a', b = 'b|c' WHERE id = 1",
        ("pairs", "id = 1"),
        &["pairs changed id=1 [a,b]"],
        &[],
    ),
    damage(
        "two columns that look alike put together without one",
        "UPDATE pairs SET a = '1', b = '23' WHERE id = 2",
        ("pairs", "id = 2"),
        &["pairs changed id=2 [a,b]"],
        &[],
    ),
    damage(
        "NULL and the word",
        "UPDATE pairs SET b = 'NULL' WHERE id = 4",
        ("pairs", "id = 4"),
        &["pairs changed id=4 [b]"],
        &[],
    ),
    damage(
        "a row without a key changed",
        "UPDATE log SET what = 'else' WHERE who = 'who7'",
        ("log", "who = 'who7'"),
        &["log extra keyless", "log missing keyless"],
        &[],
    ),
    damage(
        "one of two equal rows deleted",
        "DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE who = 'who12')",
        ("log", "who = 'who12'"),
        &["log missing keyless"],
        &["log count", "log sum(amount)"],
    ),
    damage(
        "a row without a key that came twice",
        "INSERT INTO inserts VALUES ('who5', 5)",
        ("inserts", "who = 'who5'"),
        &["inserts extra keyless"],
        &["inserts count", "inserts sum(amount)"],
    ),
    damage(
        "a row beyond the largest key",
        "INSERT INTO users SELECT 9000000, 'beyond', name, profile, is_active, 0, created_at, created_at FROM users WHERE id = 5",
        ("users", "id = 9000000"),
        &["users extra id=9000000"],
        &["users count", "users sum(id)"],
    ),
    damage(
        "a row before the smallest key",
        "INSERT INTO line_items VALUES (-9, 0, 'SKU', 0, 0, NULL)",
        ("line_items", "order_id = -9"),
        &["line_items extra order_id=-9,line_no=0"],
        &["line_items count", "line_items sum(order_id)"],
    ),
    damage(
        "a row in an empty table",
        "INSERT INTO vacant VALUES (0, NULL)",
        ("vacant", "true"),
        &["vacant extra id=0"],
        &["vacant count", "vacant sum(id)"],
    ),
    Damage {
        undo_sql: "ALTER TABLE transactions ADD PRIMARY KEY (id)",
        ..damage(
            "a key twice: an equal copy, a differing copy, and two differing ones",
            "ALTER TABLE transactions DROP CONSTRAINT transactions_pkey;
             INSERT INTO transactions SELECT * FROM transactions WHERE id = md5('transaction80')::uuid;
             INSERT INTO transactions SELECT id, order_id, amount, 'copy', processed_at, payload FROM transactions WHERE id = md5('transaction81')::uuid;
             UPDATE transactions SET method = 'neither' WHERE id = md5('transaction82')::uuid;
             INSERT INTO transactions SELECT id, order_id, amount, 'neither', processed_at, payload FROM transactions WHERE id = md5('transaction82')::uuid",
            ("transactions", "id IN (md5('transaction80')::uuid, md5('transaction81')::uuid, md5('transaction82')::uuid)"),
            &[
                "transactions extra id={transaction80}",
                "transactions extra id={transaction81}",
                "transactions changed id={transaction82} [method]",
                "transactions extra id={transaction82}",
            ],
            &["transactions count", "transactions sum(order_id)", "transactions sum(amount)"],
        )
    },
];

/// What leaves nothing else to be seen in its table.
const WHOLESALE: &[Damage] = &[
    damage(
        "all rows deleted",
        "DELETE FROM pairs",
        ("pairs", "true"),
        &["pairs 90 missing, 0 extra, 0 changed"],
        &["pairs count", "pairs sum(id)"],
    ),
    damage(
        "all rows of a large table deleted",
        "TRUNCATE line_items",
        ("line_items", "true"),
        &["line_items {line_items} missing, 0 extra, 0 changed"],
        &[
            "line_items count",
            "line_items sum(order_id)",
            "line_items sum(line_no)",
            "line_items sum(quantity)",
            "line_items sum(unit_price)",
            "line_items sum(discount)",
        ],
    ),
    damage(
        "a copy of the whole table in a table without a key",
        "INSERT INTO log SELECT * FROM log",
        ("log", "true"),
        &["log 0 missing, {log} extra, 0 changed"],
        &["log count", "log sum(amount)"],
    ),
];

/// A replicated shop with every table that is damaged here.
struct Site {
    database: Replicated,
    words: Vec<(String, String)>,
}

impl Site {
    async fn new(database: Replicated, rows: u64) -> Self {
        database.both(shop::schema()).await.unwrap();
        database.both(MORE_TABLES).await.unwrap();
        database.publisher.sql(&shop::load_sql(rows)).await.unwrap();
        database.publisher.sql(MORE_ROWS).await.unwrap();
        database.replicate(ReplicateOptions::default()).await.unwrap();
        let words = "SELECT 'last', max(id)::text FROM orders UNION ALL SELECT 'last_user', max(id)::text FROM users \
                     UNION ALL SELECT 'line_items', count(*)::text FROM line_items UNION ALL SELECT 'log', count(*)::text FROM log \
                     UNION ALL SELECT 'transaction' || i, (md5('transaction' || i)::uuid)::text FROM generate_series(76, 82) i";
        let words = database.publisher.rows(words).await.unwrap();
        let words = words.into_iter().map(|row| {
            let [word, meaning] = row.try_into().expect("two columns");
            (format!("{{{}}}", word.expect("a word")), meaning.expect("its meaning"))
        });
        Self { words: words.collect(), database }
    }

    fn fill(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
    }

    async fn inject(&self, damage: &Damage) {
        self.database.subscriber.sql(&self.fill(damage.sql)).await.unwrap();
    }

    /// Puts the publisher's rows back, exactly: the text of a row loses nothing.
    async fn undo(&self, damage: &Damage) {
        let (table, condition) = (damage.undo.0, self.fill(damage.undo.1));
        let rows = format!("SELECT coalesce(array_agg(t::text), '{{}}')::text FROM {table} t WHERE {condition}");
        let rows = self.database.publisher.value(&rows).await.unwrap().replace('\'', "''");
        let put_back = format!(
            "DELETE FROM {table} WHERE {condition}; INSERT INTO {table} SELECT (r::{table}).* FROM unnest('{rows}'::text[]) r; {}",
            damage.undo_sql
        );
        self.database.subscriber.sql(&put_back).await.unwrap();
    }

    async fn verify(&self, args: &[&str]) -> Ran {
        let verify = Verify::new(&self.database).arg("--checks").arg("count,max,sum,rows").arg("--jobs").arg("2");
        let ran = args.iter().fold(verify, |verify, arg| verify.arg(arg)).run().await;
        self.database.assert_nothing_left().await;
        ran
    }

    /// Exactly these damages show.
    fn assert_found(&self, ran: &Ran, damages: &[&Damage]) {
        let what: Vec<_> = damages.iter().map(|damage| damage.name).collect();
        let filled = |lines: &dyn Fn(&Damage) -> &'static [&'static str]| -> Vec<String> {
            damages.iter().flat_map(|damage| lines(damage)).map(|line| self.fill(line)).collect()
        };
        let rows = filled(&|damage| damage.rows);
        let mut figures = filled(&|damage| damage.figures);
        figures.sort();
        figures.dedup();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let figures: Vec<&str> = figures.iter().map(String::as_str).collect();
        lines::assert_different_for(&what.join("; "), ran, &rows, &figures);
        let keyless = damages.iter().any(|damage| damage.sql.contains("DROP CONSTRAINT transactions_pkey"));
        let lost = keyless.then_some("warning constraint_missing public.transactions.transactions_pkey");
        let mut findings: Vec<_> = FINDINGS.into_iter().chain(lost).collect();
        findings.sort_unstable();
        assert_eq!(lines::findings(ran), findings, "{what:?}");
    }
}

/// One damage after the other; `args` is how they are looked for.
pub(crate) async fn alone(publisher: u16, subscriber: u16, label: &str, rows: u64, args: &[&str]) {
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let site = Site::new(lease.database(label).await.unwrap(), rows).await;
    lines::set_sequences(&site.database).await;
    let ran = Verify::new(&site.database).run().await;
    lines::assert_match(&ran);
    assert_eq!(lines::findings(&ran), FINDINGS);
    assert_eq!(
        lines::table_names(&ran),
        ["inserts", "line_items", "log", "orders", "pairs", "readings", "transactions", "users", "vacant"]
    );
    let orders = rows * 3 / 10;
    assert_eq!(lines::table(&ran, "orders")["rows"], serde_json::json!({"publisher": orders, "subscriber": orders}));
    // Only 50 are listed, so that what is wholesale shows by its numbers.
    let args = [&["--chunk-rows", "3000", "--samples", "50"], args].concat();
    for damage in DAMAGES.iter().chain(WHOLESALE) {
        site.inject(damage).await;
        let ran = site.verify(&args).await;
        site.assert_found(&ran, &[damage]);
        site.undo(damage).await;
    }
    lines::assert_match(&site.verify(&args).await);
}

#[tokio::test]
async fn every_damage_alone_on_14_to_16() {
    alone(14, 16, "damage_alone", 50_000, &[]).await;
}

async fn all_together(publisher: u16, subscriber: u16, rows: u64) {
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let site = Site::new(lease.database("damage_together").await.unwrap(), rows).await;
    lines::assert_match(&site.verify(&[]).await);
    let all: Vec<&Damage> = DAMAGES.iter().collect();
    for damage in &all {
        site.inject(damage).await;
    }
    for args in [&[][..], &["--chunk-rows", "100"], &["--scan", "digest"]] {
        let ran = site.verify(args).await;
        site.assert_found(&ran, &all);
        let causes = |table: &str| -> Vec<String> {
            let causes = lines::array(&lines::table(&ran, table)["causes"]).iter();
            causes.map(|cause| cause["code"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(causes("transactions"), ["duplicate_keys", "rows_changed"]);
        assert_eq!(causes("orders"), ["rows_changed", "rows_missing"]);
        assert_eq!(causes("vacant"), ["rows_extra"]);
    }
}

#[tokio::test]
async fn every_damage_together_on_14_to_16() {
    all_together(14, 16, 50_000).await;
}

#[tokio::test]
async fn every_damage_together_on_15_to_17() {
    all_together(15, 17, 6_000).await;
}

#[tokio::test]
async fn every_damage_together_on_16_to_18() {
    all_together(16, 18, 6_000).await;
}
