//! The messages of the output plugin pgoutput, protocol version 1, as bytes (PostgreSQL manual, "Logical Replication
//! Message Formats"; src/backend/replication/logical/proto.c).
//!
//! A total function without I/O: whatever the bytes, the answer is a message or an error.

use crate::error::{Error, ErrorKind, Result};
use crate::lsn::Lsn;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A transaction begins. Its changes and its [`Message::Commit`] follow before the next one begins.
    Begin {
        /// Where its commit record starts.
        final_lsn: Lsn,
        /// Its top-level identifier, without the epoch.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// The end of its commit record: what a subscriber's origin moves to when it has applied it.
        end_lsn: Lsn,
    },
    /// Describes a relation before its first change, and again after it has changed.
    Relation(Relation),
    /// A row came.
    Insert {
        /// Object identifier of the relation on the publisher.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row changed.
    Update {
        /// Object identifier of the relation on the publisher.
        relation: u32,
        /// What identified the row before, where that changed or is the whole row.
        old: Option<Tuple<'a>>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row went.
    Delete {
        /// Object identifier of the relation on the publisher.
        relation: u32,
        /// What identified the row: in other columns NULL, unless the identity is the whole row.
        old: Tuple<'a>,
    },
    /// Relations were emptied.
    Truncate {
        /// Their object identifiers.
        relations: Vec<u32>,
    },
    /// Says nothing about rows: the origin of a transaction, a type, a message of an application.
    Other,
}

/// A relation as its changes are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Object identifier on the publisher.
    pub oid: u32,
    /// What identifies its rows (`pg_class.relreplident`): `d`efault, `i`ndex, `f`ull, `n`othing.
    pub identity: u8,
    /// The names of the published columns, and whether each is part of the identity.
    pub columns: Vec<(String, bool)>,
}

/// The columns of a row, in the order of its [`Relation`].
pub(crate) type Tuple<'a> = Vec<Column<'a>>;

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column<'a> {
    /// NULL, or not sent because it is not part of the identity.
    Null,
    /// A large value that the change left as it was.
    Unchanged,
    /// What the type's output function writes, in the encoding of the session.
    Text(&'a [u8]),
}

/// Reads a message.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where the bytes are no message of protocol version 1 with texts.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message<'_>> {
    let mut input = Input(bytes);
    let message = match input.byte()? {
        b'B' => {
            let (final_lsn, _time, xid) = (input.lsn()?, input.take(8)?, input.word()?);
            Message::Begin { final_lsn, xid }
        }
        b'C' => {
            let (_flags, _commit_lsn, end_lsn, _time) = (input.byte()?, input.lsn()?, input.lsn()?, input.take(8)?);
            Message::Commit { end_lsn }
        }
        b'R' => Message::Relation(relation(&mut input)?),
        b'I' => {
            let relation = input.word()?;
            input.expect(b'N')?;
            Message::Insert { relation, new: tuple(&mut input)? }
        }
        b'U' => {
            let relation = input.word()?;
            let old = match input.byte()? {
                b'K' | b'O' => {
                    let old = tuple(&mut input)?;
                    input.expect(b'N')?;
                    Some(old)
                }
                b'N' => None,
                _ => return Err(malformed()),
            };
            Message::Update { relation, old, new: tuple(&mut input)? }
        }
        b'D' => {
            let relation = input.word()?;
            match input.byte()? {
                b'K' | b'O' => Message::Delete { relation, old: tuple(&mut input)? },
                _ => return Err(malformed()),
            }
        }
        b'T' => {
            let (count, _options) = (input.word()?, input.byte()?);
            let relations = (0..count).map(|_| input.word()).collect::<Result<_>>()?;
            Message::Truncate { relations }
        }
        b'O' | b'Y' | b'M' => return Ok(Message::Other),
        _ => return Err(malformed()),
    };
    if input.0.is_empty() { Ok(message) } else { Err(malformed()) }
}

fn malformed() -> Error {
    Error::new(ErrorKind::Corrupt, "a decoded change does not follow the format of pgoutput")
}

fn relation(input: &mut Input<'_>) -> Result<Relation> {
    let oid = input.word()?;
    let (_schema, _name) = (input.text()?, input.text()?);
    let identity = input.byte()?;
    let count = input.half()?;
    let columns = (0..count)
        .map(|_| {
            let flags = input.byte()?;
            let name = input.text()?;
            let (_type, _modifier) = (input.word()?, input.word()?);
            Ok((name, flags & 1 != 0))
        })
        .collect::<Result<_>>()?;
    Ok(Relation { oid, identity, columns })
}

fn tuple<'a>(input: &mut Input<'a>) -> Result<Tuple<'a>> {
    let count = input.half()?;
    (0..count)
        .map(|_| {
            Ok(match input.byte()? {
                b'n' => Column::Null,
                b'u' => Column::Unchanged,
                b't' => {
                    let length = usize::try_from(input.word()?).map_err(|_| malformed())?;
                    Column::Text(input.take(length)?)
                }
                // Binary is not asked for.
                _ => return Err(malformed()),
            })
        })
        .collect()
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.byte()? == wanted { Ok(()) } else { Err(malformed()) }
    }

    fn half(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn lsn(&mut self) -> Result<Lsn> {
        Ok(Lsn(u64::from_be_bytes(self.array()?)))
    }

    /// A text that ends with a NUL byte. Names are in the encoding of the session: UTF-8, or as they are stored where either
    /// server is SQL_ASCII. There, a name of a published table or column that is not UTF-8 keeps the gate from being reached.
    fn text(&mut self) -> Result<String> {
        let length = self.0.iter().position(|&byte| byte == 0).ok_or_else(malformed)?;
        let text = String::from_utf8(self.take(length)?.to_vec()).map_err(|_| malformed())?;
        self.expect(0)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn transactions_and_relations() {
        let begin = bytes(&[b"B", &7u64.to_be_bytes(), &[0; 8], &9u32.to_be_bytes()]);
        assert_eq!(parse(&begin).unwrap(), Message::Begin { final_lsn: Lsn(7), xid: 9 });
        let commit = bytes(&[b"C", &[0], &7u64.to_be_bytes(), &8u64.to_be_bytes(), &[0; 8]]);
        assert_eq!(parse(&commit).unwrap(), Message::Commit { end_lsn: Lsn(8) });
        let relation = bytes(&[
            b"R",
            &5u32.to_be_bytes(),
            b"public\0orders\0d",
            &2u16.to_be_bytes(),
            b"\x01id\0",
            &[0; 8],
            b"\x00note\0",
            &[0; 8],
        ]);
        let columns = vec![("id".to_owned(), true), ("note".to_owned(), false)];
        assert_eq!(parse(&relation).unwrap(), Message::Relation(Relation { oid: 5, identity: b'd', columns }));
        assert_eq!(parse(b"M anything").unwrap(), Message::Other);
    }

    #[test]
    fn changes_of_rows() {
        let text = bytes(&[b"t", &3u32.to_be_bytes(), b"abc"]);
        let insert = bytes(&[b"I", &5u32.to_be_bytes(), b"N", &3u16.to_be_bytes(), b"n", b"u", &text]);
        let row = vec![Column::Null, Column::Unchanged, Column::Text(b"abc")];
        assert_eq!(parse(&insert).unwrap(), Message::Insert { relation: 5, new: row.clone() });
        let one = bytes(&[&1u16.to_be_bytes(), &text]);
        let update = bytes(&[b"U", &5u32.to_be_bytes(), b"K", &one, b"N", &1u16.to_be_bytes(), b"n"]);
        let old = vec![Column::Text(b"abc")];
        assert_eq!(
            parse(&update).unwrap(),
            Message::Update { relation: 5, old: Some(old.clone()), new: vec![Column::Null] }
        );
        let update = bytes(&[b"U", &5u32.to_be_bytes(), b"N", &one]);
        assert_eq!(parse(&update).unwrap(), Message::Update { relation: 5, old: None, new: old.clone() });
        let delete = bytes(&[b"D", &5u32.to_be_bytes(), b"O", &one]);
        assert_eq!(parse(&delete).unwrap(), Message::Delete { relation: 5, old });
        let truncate = bytes(&[b"T", &2u32.to_be_bytes(), &[0], &5u32.to_be_bytes(), &6u32.to_be_bytes()]);
        assert_eq!(parse(&truncate).unwrap(), Message::Truncate { relations: vec![5, 6] });
        // What is cut off, or goes on, is no message.
        for message in [&insert, &update, &delete, &truncate] {
            assert!((0..message.len()).all(|end| parse(&message[..end]).is_err()));
            assert!(parse(&[message.as_slice(), b"x"].concat()).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in prop::sample::select(b"BCRIUDTOYMS".to_vec()), rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&[vec![kind], rest.clone()].concat());
            let _ = parse(&rest);
        }
    }
}
