//! The runbook's shop: users, orders, line items, transactions; two sequences and four kinds of key.

use crate::error::Result;
use crate::replicated::Replicated;

/// Rows of each table among ten rows of the shop.
const USERS: u64 = 1;
/// See [`USERS`].
const ORDERS: u64 = 3;
/// See [`USERS`].
const LINE_ITEMS: u64 = 4;
/// See [`USERS`].
const TRANSACTIONS: u64 = 2;

/// The tables, for both sides.
pub fn schema() -> &'static str {
    include_str!("shop.sql")
}

/// SQL that fills an empty shop on the publisher with about this many rows. The same rows every time.
pub fn load_sql(rows: u64) -> String {
    let count = |tenths: u64| (rows * tenths / 10).max(1);
    let (users, orders, line_items, transactions) =
        (count(USERS), count(ORDERS), count(LINE_ITEMS), count(TRANSACTIONS));
    format!(
        "INSERT INTO users (email, name, profile, is_active, balance, created_at, updated_at)
         SELECT 'user' || i || '@example.com', CASE WHEN i % 9 > 0 THEN 'Jörg ' || chr(65 + i % 26) || '. ' || i END,
                CASE WHEN i % 11 > 0 THEN jsonb_build_object('tier', i % 4, 'tags', jsonb_build_array('a' || i % 7, null), 'rate', i % 100 / 8.0) END,
                i % 13 > 0, (i % 100000) * 0.37, '2023-01-01 UTC'::timestamptz + i * interval '37.000001 s', '2024-01-01 UTC'::timestamptz + i * interval '11 s'
         FROM generate_series(1, {users}) AS i;
         INSERT INTO orders (user_id, order_number, status, order_total, currency, note, created_at, updated_at)
         SELECT 1 + i::bigint * 7919 % {users}, md5('order' || i)::uuid, (enum_range(NULL::order_status))[1 + i % 5], (i % 50000) * 1.01 + 0.5,
                (ARRAY['EUR', 'USD', 'GBP'])[1 + i % 3], CASE WHEN i % 7 > 0 THEN 'note ' || i || ' ' || md5('note' || i) END,
                '2024-01-01 UTC'::timestamptz + i * interval '13.000007 s', '2024-02-01 UTC'::timestamptz + i * interval '13 s'
         FROM generate_series(1, {orders}) AS i;
         INSERT INTO line_items (order_id, line_no, sku, quantity, unit_price, discount)
         SELECT 1 + i % {orders}, 1 + i / {orders}, 'SKU-' || upper(left(md5('sku' || i % 5000), 8)), 1 + i % 9, (i % 9999) * 0.99,
                CASE WHEN i % 5 > 0 THEN (i % 100) / 300.0::float8 END
         FROM generate_series(0, {line_items} - 1) AS i;
         INSERT INTO transactions (id, order_id, amount, method, processed_at, payload)
         SELECT md5('transaction' || i)::uuid, 1 + i % {orders}, CASE WHEN i % 20 = 0 THEN -1 ELSE 1 END * (i % 70000) * 1.03,
                (ARRAY['card', 'transfer', 'cash', 'voucher'])[1 + i % 4], '2024-01-02 UTC'::timestamptz + i * interval '17.000003 s',
                CASE WHEN i % 3 > 0 THEN decode(md5('payload' || i), 'hex') END
         FROM generate_series(1, {transactions}) AS i;
         ANALYZE users, orders, line_items, transactions;"
    )
}

/// Scripts for a write load on a loaded shop: new orders, changed ones, deleted lines, a payment.
pub fn write_load() -> Vec<String> {
    [
        "WITH o AS (INSERT INTO orders (user_id, order_number, order_total, note) \
             SELECT id, md5(random()::text || clock_timestamp()::text)::uuid, random() * 100, 'new' FROM users WHERE id = 1 + floor(random() * 100)::int RETURNING id) \
         INSERT INTO line_items SELECT o.id, n, 'SKU-NEW', 1, 9.99, random() FROM o, generate_series(1, 3) AS n",
        "UPDATE orders SET status = 'shipped', order_total = order_total + 0.01, updated_at = clock_timestamp() \
         WHERE id = (SELECT 1 + floor(random() * max(id))::bigint FROM orders)",
        "UPDATE users SET balance = balance + 1.50, updated_at = clock_timestamp() WHERE id = (SELECT 1 + floor(random() * max(id))::bigint FROM users)",
        "DELETE FROM line_items WHERE order_id = (SELECT 1 + floor(random() * max(id))::bigint FROM orders) AND line_no = 2",
        "INSERT INTO transactions SELECT md5(random()::text || clock_timestamp()::text)::uuid, 1, 12.34, 'card', clock_timestamp(), '\\x00ff'",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Creates the tables on both sides and about this many rows on the publisher.
pub async fn create(database: &Replicated, rows: u64) -> Result<()> {
    database.both(schema()).await?;
    database.publisher.sql(&load_sql(rows)).await
}
