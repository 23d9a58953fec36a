//! Rows as bytes that mean the same on both servers, without any I/O: this is the specification of encoding version 1
//! ([`ENCODING_VERSION`]).
//!
//! # Row image
//!
//! A row is asked for with `COPY (SELECT ...) TO STDOUT (FORMAT binary)`: the key columns in key order, then the other
//! compared columns in the publisher's order ([`Shape`]). Its *image* is the tuple of that COPY (PostgreSQL manual, COPY,
//! "Binary Format"): the number of fields as a 16-bit integer; then per field its length in bytes as a 32-bit integer and so
//! many bytes, or the length -1 for NULL; all integers big-endian. Lengths make that injective. Images are equal exactly
//! where logical replication would have kept the row; what it does not keep is normalised, in place, recursively:
//!
//! | type | form |
//! |---|---|
//! | float4, float8 | NaN of any bits is `7fc00000`, `7ff8000000000000`; -0 stays |
//! | point, lseg, box, line, circle, path, polygon | the same for every float8 in them |
//! | array | flags and element type are 0; dimensions and lower bounds stay |
//! | composite | the types of the attributes are 0 |
//! | range, multirange | their bounds |
//! | no send function, reg*, tsquery; types of extensions but citext, hstore, ltree; any type with one of these within | text of the output function |
//! | xml | text of the output function without the newlines that it begins with |
//! | numeric of another scale on the subscriber ([`written_otherwise`]) | the scale is 0 |
//! | character of another length on the subscriber | text without blanks at its end |
//! | another type on the other side | texts of one type ([`Expression`]) where that loses nothing, else none |
//! | domain | its base type |
//! | any other | as sent |
//!
//! The session decides how texts are encoded (UTF-8, or as stored where a server is SQL_ASCII) and written.
//!
//! # Digests
//!
//! The digest of a row is the blake3 hash of its image ([`RowDigest`]), with bytes 0 behind it up to the next multiple of 64
//! bytes, the block of blake3; an image of whole blocks is hashed as it is. Vector units hash many messages of whole blocks
//! at once ([`DigestBatch`]). That stays injective: an image says itself where it ends, so that no image is another one with
//! zeros behind.
//!
//! The [`Tally`] of rows is their number and the sum of their digests, read as little-endian integers, modulo 2^256. It is
//! written most significant digit first.
//!
//! # Keys
//!
//! The *normal form* of a key ([`KeyForm`]) is, per column, `01` for NULL, or `00` and:
//!
//! | type | form | equal as the type's `=` | sorts as the type |
//! |---|---|---|---|
//! | bool, "char", oid, uuid, macaddr, macaddr8, pg_lsn, xid8 | as sent | yes | yes |
//! | int2, int4, int8, date, time, timestamp, timestamptz, money | first bit inverted | yes | yes |
//! | float4, float8 | -0 as 0, one NaN; first bit inverted, all bits if negative | yes | yes |
//! | numeric | see below | yes | yes |
//! | interval | microseconds with months of 30 days as a 128-bit integer, first bit inverted | yes | yes |
//! | timetz | UTC microseconds, then zone, each with its first bit inverted | yes | yes |
//! | bytea | bytes, `00` as `00 ff`; `00 00` | yes | yes |
//! | text, varchar, name | likewise | yes | if both collations are bytewise |
//! | bpchar | likewise, without trailing spaces | if the collation is deterministic | if both collations are bytewise |
//! | enum, the same labels in the same order | position as a 32-bit integer | yes | yes |
//! | enum otherwise; any type compared as text | as bytea | yes | no |
//! | citext; text, varchar of a nondeterministic collation | as text, in lower case | as far as case decides | no |
//! | jsonb | as text, its numbers without zeros behind their last decimal | yes | no |
//! | array | dimensions, their lengths and lower bounds, elements as columns | yes | no |
//! | composite | attributes as columns | yes | no |
//! | range | flags, bounds | yes | no |
//! | multirange | number of ranges as a 32-bit integer, ranges | yes | no |
//! | any other | length as a 32-bit integer, canonical bytes | where its bytes are | no |
//!
//! numeric: a byte for its class (-Infinity 0, negative 1, zero 2, positive 3, Infinity 4, NaN 5). For numbers other than
//! zero then the weight of the first digit to base 10000 that is not 0 as a 16-bit integer with its first bit inverted, the
//! digits up to the last one that is not 0 as 16-bit integers, each plus one, and `00 00`; all bits behind the class inverted
//! for negative numbers.
//!
//! Of the blake3 hash of the normal form, the first 8 bytes as a little-endian integer modulo the number of buckets are the
//! [bucket] of the key; the last 16 bytes are its [`key_hash`].

mod array;
mod batch;
mod canonical;
mod codec;
mod conversion;
mod copy;
mod fields;
#[cfg(test)]
mod golden;
mod key;
mod key_texts;
mod modifier;
mod nested;
mod shape;
mod sketch;
mod tally;
#[cfg(test)]
pub(crate) mod testing;

pub use array::{shown_text_array, text_array};
pub use batch::DigestBatch;
pub use canonical::{Canonical, Canonicalizer};
pub use conversion::Expression;
pub use copy::{CopyReader, MAX_TUPLE_BYTES};
pub use fields::{Fields, Row};
pub use key::{KeyForm, bucket, key_hash};
pub use key_texts::{KeyTexts, WrittenKey};
pub use modifier::written_otherwise;
pub use shape::{Form, KeyOrder, Shape};
pub use sketch::{Sketch, SketchKey};
pub use tally::{ENCODING_VERSION, RowDigest, Tally};

use crate::error::{Error, ErrorKind};

/// What a reused buffer may keep after a large row, in bytes: room for most rows, and little for hundreds of streams.
const KEPT_BUFFER_BYTES: usize = 64 * 1024;

/// An error about bytes that a server sent. Says nothing of their content.
fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}
