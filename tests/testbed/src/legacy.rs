//! A schema in the style of an application that has grown for ten years: 400 tables in 12 schemas.

use std::fmt::Write as _;

use crate::error::Result;
use crate::replicated::Replicated;

/// The schemas; one of them needs quotes.
const SCHEMAS: [&str; 12] = [
    "core",
    "billing",
    "crm",
    "inventory",
    "hr",
    "audit",
    "archive",
    "staging",
    "reports",
    "web",
    "tenants",
    "\"Legacy App\"",
];
/// Times that each schema gets every kind of table (9 of them).
const REPEATED: usize = 3;
/// All tables, partitions and their roots included; what the schemas lack becomes tables of tenants.
pub const TABLES: usize = 400;

/// Types, functions and whatever else tables need.
const SHARED: &str = "
    CREATE TYPE core.status AS ENUM ('new', 'open', 'On Hold', 'closed', 'été');
    CREATE TYPE core.address AS (street text, zip varchar(10), place point, lines text[]);
    CREATE DOMAIN core.email AS varchar(120) CHECK (VALUE LIKE '%@%' OR VALUE IS NULL);
    CREATE DOMAIN core.amount AS numeric(14,4) DEFAULT 0 CHECK (VALUE > -1e9);
    CREATE DOMAIN core.codes AS integer[] CHECK (array_ndims(VALUE) IS NULL OR array_ndims(VALUE) = 1);
    CREATE SEQUENCE core.global_id START 1000;
    CREATE SEQUENCE core.backwards INCREMENT -3 MINVALUE -100000 MAXVALUE -1 START -1;
    CREATE FUNCTION core.touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.changed := '2020-01-01'::timestamp + coalesce(NEW.changes, 0) * interval '1 h'; NEW.changes := coalesce(NEW.changes, 0) + 1; RETURN NEW; END $$;";

/// The tables of a schema, under names that end in `n`.
const TABLES_OF_A_SCHEMA: &str = "
    CREATE TABLE {s}.entity{n} (id integer DEFAULT nextval('core.global_id') PRIMARY KEY, code varchar(20) NOT NULL UNIQUE,
        name text, tags text[], status core.status DEFAULT 'new', email core.email, created timestamp DEFAULT '2014-05-01',
        price core.amount, codes core.codes, doc tsvector, changes integer, changed timestamp, CHECK (name <> ''));
    CREATE TRIGGER doc BEFORE INSERT OR UPDATE ON {s}.entity{n} FOR EACH ROW
        EXECUTE FUNCTION tsvector_update_trigger(doc, 'pg_catalog.english', name, code);
    CREATE TRIGGER touch BEFORE UPDATE ON {s}.entity{n} FOR EACH ROW EXECUTE FUNCTION core.touch();
    CREATE INDEX ON {s}.entity{n} USING gin (doc);
    CREATE INDEX ON {s}.entity{n} (lower(name)) WHERE status = 'open';
    CREATE TABLE {s}.detail{n} (entity integer REFERENCES {s}.entity{n} ON DELETE CASCADE, line smallint, flag char(3), qty real,
        total money, home core.address, during tsrange, PRIMARY KEY (line, entity));
    CREATE TABLE {s}.log{n} (at timestamptz, who name, what text, payload bytea, host inet);
    ALTER TABLE {s}.log{n} REPLICA IDENTITY FULL;
    CREATE TABLE {s}.setting{n} (\"Key\" text COLLATE \"C\" NOT NULL, value xml, extra json, bits bit varying(16), UNIQUE (\"Key\"));
    ALTER TABLE {s}.setting{n} REPLICA IDENTITY USING INDEX \"setting{n}_Key_key\";
    CREATE TABLE {s}.document{n} (id bigint DEFAULT nextval('core.global_id') PRIMARY KEY, title text, body text, kind integer);
    CREATE TABLE {s}.letter{n} (sent date, PRIMARY KEY (id)) INHERITS ({s}.document{n});
    CREATE TABLE {s}.reading{n} (sensor uuid, day date, level double precision, raw jsonb, PRIMARY KEY (sensor, day)) PARTITION BY RANGE (day);
    CREATE TABLE {s}.reading{n}_old PARTITION OF {s}.reading{n} FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE {s}.reading{n}_rest PARTITION OF {s}.reading{n} DEFAULT;
    CREATE VIEW {s}.open{n} AS SELECT id, code, name FROM {s}.entity{n} WHERE status = 'open';
    CREATE RULE enter AS ON INSERT TO {s}.open{n} DO INSTEAD
        INSERT INTO {s}.entity{n} (code, name, status) VALUES (NEW.code, NEW.name, 'open');";

/// Their rows.
const ROWS_OF_A_SCHEMA: &str = r#"
    INSERT INTO {s}.entity{n} (code, name, tags, status, email, created, price, codes)
        SELECT 'E' || i, CASE WHEN i % 7 > 0 THEN 'Name ' || i END, CASE i % 3 WHEN 0 THEN ARRAY['a', NULL, 'b,c"' || i] WHEN 1 THEN '{}' END,
        (enum_range(NULL::core.status))[1 + i % 5], 'p' || i || '@example.com', '2014-05-01'::timestamp + i * interval '7.000003 h',
        i * 1.25, CASE WHEN i % 2 = 0 THEN ('[0:1]={' || i || ',2}')::integer[] END FROM generate_series(1, 24) i;
    INSERT INTO {s}.open{n} (code, name) VALUES ('V1', 'Through the view'), ('V2', 'ß');
    UPDATE {s}.entity{n} SET price = price + 1 WHERE code IN ('E3', 'E4');
    INSERT INTO {s}.detail{n} SELECT e.id, l, CASE WHEN l = 1 THEN 'a' END, l / 3.0, (l * 10.5)::numeric::money,
        CASE WHEN l = 2 THEN ROW('Road ' || l, NULL, point(l, -l), ARRAY['x', NULL])::core.address END,
        tsrange(e.created, CASE WHEN l = 1 THEN e.created + interval '1 day' END) FROM {s}.entity{n} e, generate_series(1, 2) l WHERE e.code < 'E2';
    INSERT INTO {s}.log{n} SELECT '2014-01-01 UTC'::timestamptz + i % 5 * interval '1 day', 'who', CASE WHEN i % 4 > 0 THEN 'did' END,
        decode(md5((i % 6)::text), 'hex'), '10.0.0.1' FROM generate_series(1, 20) i;
    INSERT INTO {s}.setting{n} VALUES ('a', '<a>1</a>', '{"a": 1,  "b":null}', '101'), ('A', NULL, 'null', ''), ('', '<b/>', NULL, NULL);
    INSERT INTO {s}.document{n} (title, body) SELECT 'T' || i, repeat('long text ', i * 40) FROM generate_series(1, 5) i;
    INSERT INTO {s}.letter{n} (title, sent) SELECT 'L' || i, '2016-02-29'::date + i FROM generate_series(1, 4) i;
    INSERT INTO {s}.reading{n} SELECT md5(i::text)::uuid, '2019-12-20'::date + i, i / 7.0::float8, jsonb_build_object('v', i / 10.0) FROM generate_series(1, 24) i;"#;

/// A table of a tenant.
const TENANT: &str = "
    CREATE TABLE tenants.tenant_{n} (id bigint DEFAULT nextval('core.global_id') PRIMARY KEY, low integer DEFAULT nextval('core.backwards'),
        name varchar(40), since date, data jsonb);";
/// Its rows.
const TENANT_ROWS: &str = "
    INSERT INTO tenants.tenant_{n} (name, since, data) SELECT 'n' || i, '2015-01-01'::date + i, jsonb_build_object('n', {n}) FROM generate_series(1, {n} % 9) i;";

/// The statements for both sides, and those for the publisher's rows.
fn sql() -> [String; 2] {
    let mut create: String =
        SCHEMAS.iter().fold(String::new(), |sql, schema| sql + &format!("CREATE SCHEMA {schema};"));
    create.push_str(SHARED);
    let mut fill = String::new();
    let mut tables = 0;
    for schema in SCHEMAS {
        for number in 0..REPEATED {
            let named = |template: &str| template.replace("{s}", schema).replace("{n}", &format!("_{number}"));
            create.push_str(&named(TABLES_OF_A_SCHEMA));
            fill.push_str(&named(ROWS_OF_A_SCHEMA));
            tables += TABLES_OF_A_SCHEMA.matches("CREATE TABLE").count();
        }
    }
    for tenant in tables..TABLES {
        let named = |template: &str| template.replace("{n}", &tenant.to_string());
        let _ = write!(create, "{}", named(TENANT));
        let _ = write!(fill, "{}", named(TENANT_ROWS));
    }
    [create, fill]
}

/// Creates the schema on both sides, and its rows on the publisher.
pub async fn create(database: &Replicated) -> Result<()> {
    let [create, fill] = sql();
    database.both(&create).await?;
    database.publisher.sql(&fill).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_tables_as_promised() {
        let [create, fill] = sql();
        assert_eq!(create.matches("CREATE TABLE").count(), TABLES);
        assert_eq!(create.matches("CREATE SCHEMA").count(), SCHEMAS.len());
        assert!(!create.contains("{n}") && !create.contains("{s}") && !fill.contains("{n}") && !fill.contains("{s}"));
    }
}
