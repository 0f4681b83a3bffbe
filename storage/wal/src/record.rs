//! Encoding of a log segment, as `docs/formats/wal.md` defines it.

use bytes::Bytes;
use tidings_proto::{Signal, UnixNanos};

/// The newest format this program reads, and the one it writes.
pub(crate) const FORMAT: u32 = 1;
/// Offset of the first record, after two copies of the segment's header, one page each.
pub const RECORDS_START: u64 = 2 * HEADER_PAGE as u64;
/// Bytes before a record's payload.
pub(crate) const RECORD_HEADER: usize = 36;
/// Maximum length of a payload, far above any accepted request. A longer length is damage.
pub const PAYLOAD_MAX: u32 = 256 << 20;
/// First bytes of every record, by which a reader finds the next one after damage.
pub(crate) const MARKER: [u8; 4] = *b"\xf5TR\x01";

const HEADER_PAGE: usize = 4096;
const HEADER: usize = 44;
/// Bytes of the header, including the committed positions at its end.
const HEADER_WITH_POSITIONS: usize = HEADER + 20;
const MAGIC: [u8; 8] = *b"TIDINGSW";

/// Returns the code of a record's signal.
fn code(signal: Signal) -> u8 {
    match signal {
        Signal::Spans => 1,
        Signal::Logs => 2,
    }
}

fn signal_of(code: u8) -> Option<Signal> {
    match code {
        1 => Some(Signal::Spans),
        2 => Some(Signal::Logs),
        _ => None,
    }
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Sequence of the first record, which is also in the file's name.
    pub first: u64,
    /// Last valid sequence of the log before this segment. Records of earlier segments above it
    /// were never acknowledged and are ignored.
    pub prior_end: u64,
    /// Random number that seeds the records' checksums. Old bytes of a file, or a payload that
    /// imitates a record, therefore cannot pass as a record of this segment.
    pub salt: u64,
    /// Committed positions of the tables of spans and of logs when the segment was created. Zero if
    /// the header does not have them.
    pub covered: [u64; 2],
}

/// Interpretation of a header page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderPage {
    /// A header that this program understands.
    Valid(SegmentHeader),
    /// A sound header of a newer format.
    Newer(u32),
    /// Remains of an interrupted creation. No record can follow it.
    Unfinished,
    /// Not a header.
    Damaged,
}

impl SegmentHeader {
    /// Encodes both copies of the header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEADER_PAGE);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT.to_le_bytes());
        page.extend_from_slice(&0u32.to_le_bytes());
        page.extend_from_slice(&self.first.to_le_bytes());
        page.extend_from_slice(&self.prior_end.to_le_bytes());
        page.extend_from_slice(&self.salt.to_le_bytes());
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        self.covered.iter().for_each(|position| page.extend_from_slice(&position.to_le_bytes()));
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        page.resize(HEADER_PAGE, 0);
        page.extend_from_within(..);
        page
    }

    /// Decodes the header from the first bytes of a segment. Takes the first sound copy, with the
    /// positions of the first copy whose positions are sound.
    pub(crate) fn decode(start: &[u8]) -> HeaderPage {
        let pages = [start, start.get(HEADER_PAGE..).unwrap_or_default()];
        match pages.map(Self::decode_page) {
            [HeaderPage::Damaged, other] => other,
            [HeaderPage::Valid(first), HeaderPage::Valid(other)] if first.covered == [0; 2] => {
                HeaderPage::Valid(Self { covered: other.covered, ..first })
            }
            [first, _] => first,
        }
    }

    /// Returns true if these bytes of a segment may come from an interrupted creation. The header's
    /// bytes may then be anything, and all others must be zero.
    pub(crate) fn is_unfinished(segment: &[u8]) -> bool {
        let is_of_magic = |(byte, expected): (&u8, u8)| *byte == 0 || *byte == expected;
        let is_of_page = |page: &[u8]| {
            page.iter().zip(MAGIC).all(is_of_magic)
                && page.iter().skip(HEADER_WITH_POSITIONS).all(|byte| *byte == 0)
        };
        segment.len() <= 2 * HEADER_PAGE && segment.chunks(HEADER_PAGE).all(is_of_page)
    }

    fn decode_page(page: &[u8]) -> HeaderPage {
        let mut fields = RecordFields(page.get(..HEADER).unwrap_or_default());
        let (Some(magic), Some(format), Some(_), Some(first), Some(prior_end), Some(salt)) = (
            fields.take::<8>(),
            fields.u32(),
            fields.u32(),
            fields.u64(),
            fields.u64(),
            fields.u64(),
        ) else {
            return HeaderPage::Damaged;
        };
        let sound = page.get(..HEADER - 4).map(crc32c::crc32c) == fields.u32();
        if magic != MAGIC || !sound {
            return HeaderPage::Damaged;
        }
        if format > FORMAT {
            return HeaderPage::Newer(format);
        }
        HeaderPage::Valid(Self { first, prior_end, salt, covered: positions(page) })
    }
}

/// Decodes the positions in a sound header page. Earlier programs wrote none.
fn positions(page: &[u8]) -> [u64; 2] {
    let checked = page.get(..HEADER_WITH_POSITIONS - 4).unwrap_or_default();
    let mut fields = RecordFields(page.get(HEADER..).unwrap_or_default());
    match (fields.u64(), fields.u64(), fields.u32()) {
        (Some(spans), Some(logs), Some(check)) if crc32c::crc32c(checked) == check => [spans, logs],
        _ => [0; 2],
    }
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalRecord {
    /// Sequence of the record.
    pub sequence: u64,
    /// Time at which it was received.
    pub received: UnixNanos,
    /// Signal of the payload.
    pub signal: Signal,
    /// OTLP's protobuf bytes.
    pub payload: Bytes,
}

impl WalRecord {
    /// Encodes the bytes before the payload. Returns `None` when the payload is too long.
    #[must_use]
    pub fn header(&self, salt: u64) -> Option<[u8; RECORD_HEADER]> {
        let length = payload_length(&self.payload)?;
        let mut header = Vec::with_capacity(RECORD_HEADER);
        header.extend_from_slice(&MARKER);
        header.extend_from_slice(&length.to_le_bytes());
        header.extend_from_slice(&self.sequence.to_le_bytes());
        header.extend_from_slice(&self.received.0.to_le_bytes());
        header.extend_from_slice(&[code(self.signal), 0, 0, 0]);
        header.extend_from_slice(&crc32c::crc32c(&self.payload).to_le_bytes());
        header.extend_from_slice(&header_check(salt, &header).to_le_bytes());
        header.try_into().ok()
    }
}

/// Returns the length of a payload, or `None` when it is too long.
pub(crate) fn payload_length(payload: &Bytes) -> Option<u32> {
    u32::try_from(payload.len()).ok().filter(|length| *length <= PAYLOAD_MAX)
}

/// The header of a record that passed its own checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Bytes of the payload.
    pub(crate) length: u32,
    /// Sequence of the record.
    pub(crate) sequence: u64,
    received: UnixNanos,
    /// Signal of the payload.
    pub(crate) signal: Signal,
    payload_check: u32,
}

impl RecordHeader {
    /// Decodes a header from these bytes, if they are one.
    pub(crate) fn decode(salt: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER)?;
        let mut fields = RecordFields(bytes);
        let marker = fields.take::<4>()?;
        let length = fields.u32()?;
        let sequence = fields.u64()?;
        let received = UnixNanos(fields.u64()?);
        let [signal, _, _, _] = fields.take::<4>()?;
        let payload_check = fields.u32()?;
        let check = fields.u32()?;
        let sound = marker == MARKER
            && length <= PAYLOAD_MAX
            && header_check(salt, bytes.get(..RECORD_HEADER - 4)?) == check;
        let signal = signal_of(signal)?;
        sound.then_some(Self { length, sequence, received, signal, payload_check })
    }

    /// Returns the record with this payload, if it matches the checksum.
    pub(crate) fn with_payload(self, payload: &[u8]) -> Option<WalRecord> {
        (crc32c::crc32c(payload) == self.payload_check).then(|| WalRecord {
            sequence: self.sequence,
            received: self.received,
            signal: self.signal,
            payload: Bytes::copy_from_slice(payload),
        })
    }
}

fn header_check(salt: u64, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), header)
}

struct RecordFields<'a>(&'a [u8]);

impl RecordFields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
