//! What a row of the table of sent packets carried of a stream, with links for lists that the owner of the stream keeps.

/// The handle of no row.
pub const NONE: u16 = u16::MAX;

/// What a [`Chunk`] stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum ChunkKind {
    /// Nothing: the row has no chunk.
    #[default]
    Empty,
    /// Bytes, perhaps with the end of the stream.
    Data,
    /// A MAX_STREAM_DATA frame.
    MaxStreamData,
    /// A RESET_STREAM frame.
    Reset,
    /// A STOP_SENDING frame.
    Stop,
    /// A STREAM_DATA_BLOCKED frame.
    Blocked,
}

/// One frame of one stream inside a sent packet. Plain data: whoever owns the stream reads and links it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Where in the stream the bytes begin.
    pub offset: u64,
    /// The slot of the stream.
    pub slot: u16,
    /// How many bytes.
    pub len: u16,
    /// The row of the chunk before it in the stream's list, or [`NONE`].
    pub prev: u16,
    /// The row of the chunk after it in the stream's list, or [`NONE`].
    pub next: u16,
    /// What it is.
    pub kind: ChunkKind,
    /// Whether the stream ends with its bytes.
    pub fin: bool,
    /// Whether its packet was lost.
    pub lost: bool,
}

impl Chunk {
    /// No chunk.
    pub const EMPTY: Self = Self {
        offset: 0,
        slot: NONE,
        len: 0,
        prev: NONE,
        next: NONE,
        kind: ChunkKind::Empty,
        fin: false,
        lost: false,
    };
}
