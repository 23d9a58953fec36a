CREATE TABLE audit.log (xid bigint NOT NULL, tbl text NOT NULL, sign int NOT NULL, image text NOT NULL);
CREATE FUNCTION audit.image(r jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT (CASE WHEN r ? 'big' THEN r || jsonb_build_object('big', md5(r ->> 'big')) ELSE r END)::text $$;
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog SET TimeZone = 'UTC' SET extra_float_digits = 1 SET IntervalStyle = 'postgres' AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO audit.log VALUES (txid_current(), TG_TABLE_NAME, -1, audit.image(to_jsonb(OLD)));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO audit.log VALUES (txid_current(), TG_TABLE_NAME, 1, audit.image(to_jsonb(NEW)));
    END IF;
    PERFORM audit.mark();
    RETURN NULL;
END $$;
CREATE FUNCTION audit.emptied() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog SET TimeZone = 'UTC' SET extra_float_digits = 1 SET IntervalStyle = 'postgres' AS $$
BEGIN
    EXECUTE format('INSERT INTO audit.log SELECT txid_current(), %L, -1, audit.image(to_jsonb(t)) FROM public.%I t', TG_TABLE_NAME, TG_TABLE_NAME);
    PERFORM audit.mark();
    RETURN NULL;
END $$;
