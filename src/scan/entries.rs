//! What is kept of a row while its chunk is drilled into.

/// Where a row lies: a row version keeps its place as long as a snapshot that sees it is held and the table is not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// `tableoid`: the heap.
    pub heap: u32,
    /// The block of `ctid`.
    pub block: u32,
    /// The line pointer of `ctid`.
    pub offset: u16,
}

impl Position {
    /// Reads `tableoid, ctid` as `oidsend` and `tidsend` write them (src/backend/utils/adt/oid.c, tid.c).
    pub(crate) fn from_fields(tableoid: Option<&[u8]>, ctid: Option<&[u8]>) -> Option<Self> {
        let heap = u32::from_be_bytes(tableoid?.try_into().ok()?);
        let ctid: [u8; 6] = ctid?.try_into().ok()?;
        let [b0, b1, b2, b3, o0, o1] = ctid;
        Some(Self { heap, block: u32::from_be_bytes([b0, b1, b2, b3]), offset: u16::from_be_bytes([o0, o1]) })
    }
}

/// A row as it is joined with the other side's: 48 bytes, whatever its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// 128 bits of the hash of its key in normal form; of its digest for a table without a key.
    pub key: [u8; 16],
    /// 128 bits of its digest.
    pub digest: [u8; 16],
    /// Where it lies.
    pub position: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_strictly() {
        let read = Position::from_fields(Some(&[0, 0, 0x40, 1]), Some(&[0, 1, 0, 2, 0, 3]));
        assert_eq!(read, Some(Position { heap: 16385, block: 65538, offset: 3 }));
        assert_eq!(Position::from_fields(None, Some(&[0; 6])), None);
        assert_eq!(Position::from_fields(Some(&[0; 4]), Some(&[0; 5])), None);
    }
}
