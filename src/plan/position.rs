//! Where rows lie.

/// Where a row lies: a row version keeps its place as long as a snapshot that sees it is held and the table is not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    /// `tableoid`: the heap; 0 for a row that lies in none ([`Position::of_image`]).
    pub heap: u32,
    /// The block of `ctid`.
    pub block: u32,
    /// The line pointer of `ctid`.
    pub offset: u16,
}

/// Line pointers that stand for one block of images; `ctid` has 16 bits for them.
const IMAGES_PER_BLOCK: usize = 50_000;

impl Position {
    /// Reads `tableoid, ctid` as `oidsend` and `tidsend` write them (src/backend/utils/adt/oid.c, tid.c).
    pub(crate) fn from_fields(tableoid: Option<&[u8]>, ctid: Option<&[u8]>) -> Option<Self> {
        let heap = u32::from_be_bytes(tableoid?.try_into().ok()?);
        let ctid: [u8; 6] = ctid?.try_into().ok()?;
        let [b0, b1, b2, b3, o0, o1] = ctid;
        Some(Self { heap, block: u32::from_be_bytes([b0, b1, b2, b3]), offset: u16::from_be_bytes([o0, o1]) })
    }

    /// The position by which a row is known that stands in no heap of the snapshot: the so many-th image of a window.
    pub(crate) fn of_image(at: usize) -> Self {
        let block = u32::try_from(at / IMAGES_PER_BLOCK).unwrap_or(u32::MAX);
        let offset = u16::try_from(at % IMAGES_PER_BLOCK + 1).unwrap_or(u16::MAX);
        Self { heap: 0, block, offset }
    }

    /// Whether it is that of an image.
    pub(crate) fn is_image(self) -> bool {
        self.heap == 0
    }

    /// `ctid` as text.
    pub(crate) fn ctid(self) -> String {
        format!("({},{})", self.block, self.offset)
    }
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

    #[test]
    fn images_have_positions_of_their_own() {
        assert_eq!(Position::of_image(0), Position { heap: 0, block: 0, offset: 1 });
        assert_eq!(Position::of_image(50_000), Position { heap: 0, block: 1, offset: 1 });
        assert_eq!(Position::of_image(49_999).ctid(), "(0,50000)");
    }
}
