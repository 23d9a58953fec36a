//! 400 tables as an application leaves them behind after ten years, from one major to another.

use triplecheck_testbed::{ReplicateOptions, legacy, shared_pair};

use crate::harness::Verify;
use crate::lines;

async fn everything_matches(publisher: u16, subscriber: u16) {
    let lease = shared_pair(publisher, subscriber).shared().await.unwrap();
    let database = lease.database("legacy").await.unwrap();
    legacy::create(&database).await.unwrap();
    database.replicate(ReplicateOptions::default()).await.unwrap();
    lines::set_sequences(&database).await;
    let ran = Verify::new(&database).args("--lag-timeout 60s").run().await;
    lines::assert_match(&ran);
    // Partitions are published one by one, their roots are not tables of their own.
    let tables = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    let tables: usize = database.publisher.value(tables).await.unwrap().parse().unwrap();
    assert_eq!((lines::table_names(&ran).len(), tables + 36), (tables, legacy::TABLES));

    database
        .subscriber
        .sql(
            r#"UPDATE crm.entity_1 SET doc = 'x' WHERE code = 'E5';
             UPDATE "Legacy App".detail_0 SET home = ROW((home).street, (home).zip, (home).place, ARRAY['x', 'NULL']) WHERE line = 2 AND entity = (SELECT min(entity) FROM "Legacy App".detail_0);
             DELETE FROM ONLY hr.document_2 WHERE title = 'T3';
             INSERT INTO web.letter_0 (id, title) VALUES (-1, 'x');
             UPDATE audit.reading_0 SET level = level + 1e-15 WHERE day = '2020-01-01';
             DELETE FROM billing.log_1 WHERE ctid = (SELECT min(ctid) FROM billing.log_1);
             UPDATE core.setting_0 SET value = '<a>2</a>' WHERE "Key" = 'a'"#,
        )
        .await
        .unwrap();
    let entity = "SELECT min(entity) FROM \"Legacy App\".detail_0";
    let entity = database.publisher.value(entity).await.unwrap();
    let id = |sql: &'static str| database.publisher.value(sql);
    let document = id("SELECT id FROM ONLY hr.document_2 WHERE title = 'T3'").await.unwrap();
    let changed = id("SELECT id FROM crm.entity_1 WHERE code = 'E5'").await.unwrap();
    let sensor = id("SELECT sensor FROM audit.reading_0 WHERE day = '2020-01-01'").await.unwrap();
    let ran = Verify::new(&database).args("--checks count,rows --lag-timeout 60s").run().await;
    let rows = [
        format!("Legacy App.detail_0 changed line=2,entity={entity} [home]"),
        format!("audit.reading_0_rest changed sensor={sensor},day=2020-01-01 [level]"),
        "billing.log_1 missing keyless".to_owned(),
        "core.setting_0 changed Key=a [value]".to_owned(),
        format!("crm.entity_1 changed id={changed} [doc,changes,changed]"),
        format!("hr.document_2 missing id={document}"),
        "web.letter_0 extra id=-1".to_owned(),
    ];
    assert_eq!(lines::differences(&ran), rows);
    database.assert_nothing_left().await;
}

#[tokio::test]
async fn from_14_to_16() {
    everything_matches(14, 16).await;
}

#[tokio::test]
async fn from_15_to_18() {
    everything_matches(15, 18).await;
}
