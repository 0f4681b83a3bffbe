//! Counts the HTTP/2 frames of a connection that carry no request: PING, SETTINGS, PRIORITY,
//! resets, unknown kinds, window updates that no response needs, and bodies in tiny pieces. Each
//! costs the server some work and the client a few bytes, and no bound of requests or streams
//! applies to them (CVE-2019-9511, CVE-2019-9512, CVE-2019-9513, CVE-2019-9515). Owns the positions
//! of frames in a stream. Does not own parsing, which hyper does, and the end of a connection.

use std::time::Instant;

/// Maximum number of counted frames above those that time and requests allow.
const BURST: u32 = 1_000;
/// Counted frames that are allowed in a second.
const PER_SECOND: u32 = 100;
/// Counted frames that are allowed for each request, because clients ping to estimate the
/// bandwidth-delay product.
const PER_REQUEST: u32 = 10;
/// Bytes of responses for which one window update is not counted. Some clients send two for each
/// frame of a response, which rarely has fewer than 64 bytes.
const BYTES_PER_UPDATE: usize = 32;
/// Bytes of responses for which one PING is not counted. gRPC clients in Go send at most one for
/// each frame of a response, to estimate the bandwidth-delay product.
const BYTES_PER_PING: usize = 64;
/// Minimum bytes of DATA frames, on average. JSON encoders that send each token separately have
/// about eight.
const BYTES_PER_DATA: usize = 4;

/// The preface of HTTP/2, with which a client begins a connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head: three of the length, six of kind, flags and stream.
const FRAME_HEAD: usize = 9;

/// Kinds of frames that carry requests or that responses allow. All other kinds count.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Position in the bytes of a connection.
#[derive(Debug)]
enum Position {
    /// In the preface, after this many bytes.
    Preface(usize),
    /// The connection is not HTTP/2.
    Other,
    /// In a frame's head, with its bytes so far and their number.
    Head([u8; FRAME_HEAD], usize),
    /// In a frame's payload, with this many bytes left.
    Payload(usize),
}

impl Position {
    /// Before a frame.
    const NEXT: Self = Self::Head([0; FRAME_HEAD], 0);

    /// Returns the position in a payload with this many bytes left; before the next frame if none
    /// are left.
    fn payload(left: usize) -> Self {
        if left == 0 { Self::NEXT } else { Self::Payload(left) }
    }
}

/// Detects floods of frames on one connection.
#[derive(Debug)]
pub(crate) struct FrameMeter {
    position: Position,
    /// Counted frames above those allowed.
    excess: u32,
    /// The time up to which `excess` was reduced by [`PER_SECOND`].
    reckoned: Instant,
    /// Bytes of responses for which no window update and no PING was allowed yet.
    answered_bytes: usize,
    /// Bytes of DATA frames above [`BYTES_PER_DATA`] a frame.
    body_bytes: usize,
    /// Frames of any kind since the last call of [`Self::take_frames`].
    frames: usize,
}

impl FrameMeter {
    pub(crate) fn new(now: Instant) -> Self {
        let position = Position::Preface(0);
        Self { position, excess: 0, reckoned: now, answered_bytes: 0, body_bytes: 0, frames: 0 }
    }

    /// Allows [`PER_REQUEST`] frames for a request.
    pub(crate) fn requested(&mut self) {
        self.excess = self.excess.saturating_sub(PER_REQUEST);
    }

    /// Adds bytes of responses, which allow window updates and PINGs.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.answered_bytes = self.answered_bytes.saturating_add(bytes);
    }

    /// Returns the number of frames of any kind since the last call.
    pub(crate) fn take_frames(&mut self) -> usize {
        std::mem::take(&mut self.frames)
    }

    /// Counts the frames in these bytes. Returns whether the connection is flooded.
    pub(crate) fn is_flood(&mut self, bytes: &[u8], now: Instant) -> bool {
        let frames = self.advance(bytes);
        let seconds = now.saturating_duration_since(self.reckoned).as_secs();
        if seconds > 0 {
            let allowed = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(PER_SECOND);
            self.excess = self.excess.saturating_sub(allowed);
            self.reckoned = now;
        }
        self.excess = self.excess.saturating_add(frames);
        self.excess > BURST
    }

    /// Returns whether a frame does not count.
    fn is_free(&mut self, kind: u8, length: usize) -> bool {
        let (credit, price) = match kind {
            HEADERS | CONTINUATION => return true,
            DATA => {
                self.body_bytes = self.body_bytes.saturating_add(length);
                (&mut self.body_bytes, BYTES_PER_DATA)
            }
            PING => (&mut self.answered_bytes, BYTES_PER_PING),
            WINDOW_UPDATE => (&mut self.answered_bytes, BYTES_PER_UPDATE),
            _ => return false,
        };
        let left = credit.checked_sub(price);
        *credit = left.unwrap_or(*credit);
        left.is_some()
    }

    /// Advances over these bytes. Returns the number of counted frames whose head ends in them.
    fn advance(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0;
        while !bytes.is_empty() {
            let taken = match &mut self.position {
                Position::Other => return 0,
                Position::Preface(had) => {
                    let expected = PREFACE.get(*had..).unwrap_or_default();
                    let taken = expected.len().min(bytes.len());
                    let is_preface = bytes.get(..taken) == expected.get(..taken);
                    self.position = match *had + taken {
                        _ if !is_preface => Position::Other,
                        all if all == PREFACE.len() => Position::NEXT,
                        part => Position::Preface(part),
                    };
                    taken
                }
                Position::Head(head, had) => {
                    let taken = (FRAME_HEAD - *had).min(bytes.len());
                    let (to, from) = (head.iter_mut().skip(*had), bytes.iter());
                    to.zip(from).for_each(|(to, from)| *to = *from);
                    *had += taken;
                    if *had == FRAME_HEAD {
                        let [high, middle, low, kind, ..] = *head;
                        let length = u32::from_be_bytes([0, high, middle, low]);
                        let length = usize::try_from(length).unwrap_or(0);
                        self.frames += 1;
                        frames += u32::from(!self.is_free(kind, length));
                        self.position = Position::payload(length);
                    }
                    taken
                }
                Position::Payload(left) => {
                    let taken = (*left).min(bytes.len());
                    self.position = Position::payload(*left - taken);
                    taken
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidings_storage::{Clock, SystemClock};

    use super::{
        BURST, BYTES_PER_PING, BYTES_PER_UPDATE, DATA, FrameMeter, PER_REQUEST, PER_SECOND, PING,
        PREFACE, WINDOW_UPDATE,
    };

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let head = [0, 0, length, kind, 0, 0, 0, 0, 1];
        [head.as_slice(), &vec![PING; usize::from(length)]].concat()
    }

    #[test]
    fn frames_are_found_in_parts_of_any_size() {
        let kinds = [4_u8, 1, 0, 9, 0, 6, 2, 3, 200, 8, 0];
        let lengths = [0_u8, 40, 255, 3, 0, 8, 5, 4, 17, 4, 1];
        let frames = kinds.into_iter().zip(lengths).map(|(kind, length)| frame(kind, length));
        let sent = [PREFACE.to_vec(), frames.collect::<Vec<_>>().concat()].concat();
        for size in 1..sent.len() {
            for (answered_bytes, expected) in [(BYTES_PER_UPDATE, 5), (BYTES_PER_UPDATE - 1, 6)] {
                let mut meter = FrameMeter::new(SystemClock.instant());
                meter.answered(answered_bytes);
                let found: u32 = sent.chunks(size).map(|part| meter.advance(part)).sum();
                assert_eq!(found, expected, "in parts of {size} bytes");
                assert_eq!((meter.take_frames(), meter.take_frames()), (kinds.len(), 0));
            }
        }
    }

    #[test]
    fn other_protocols_have_no_frames() {
        let get = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
        let mut meter = FrameMeter::new(SystemClock.instant());
        assert_eq!(meter.advance(&get), 0);
        let mut meter = FrameMeter::new(SystemClock.instant());
        assert_eq!(meter.advance(&[b"PRI * HTTP/1", frame(PING, 8).as_slice()].concat()), 0);
    }

    #[test]
    fn requests_and_time_allow_frames() {
        let start = SystemClock.instant();
        let mut meter = FrameMeter::new(start);
        let pings = |count: u32| frame(PING, 8).repeat(usize::try_from(count).unwrap());
        assert!(!meter.is_flood(PREFACE, start));
        assert!(!meter.is_flood(&pings(BURST), start));
        for _ in 0..100 {
            meter.requested();
            assert!(!meter.is_flood(&pings(PER_REQUEST), start));
        }
        let later = start + Duration::from_secs(2);
        assert!(!meter.is_flood(&pings(2 * PER_SECOND), later));
        assert!(meter.is_flood(&pings(1), later));
        let mut idle = FrameMeter::new(start);
        assert!(!idle.is_flood(PREFACE, start + Duration::from_secs(1 << 40)));
        assert!(idle.is_flood(&pings(BURST + 1), start + Duration::from_secs(1 << 40)));
    }

    #[test]
    fn bodies_may_come_in_small_frames_and_not_in_tiny_ones() {
        let start = SystemClock.instant();
        let is_flood = |lengths: &[u8]| {
            let mut meter = FrameMeter::new(start);
            let frames: Vec<u8> = lengths.iter().flat_map(|length| frame(DATA, *length)).collect();
            meter.is_flood(&[PREFACE, &frames.repeat(10_000)].concat(), start)
        };
        for small in [&[100][..], &[4], &[1, 7], &[200, 0, 5, 1]] {
            assert!(!is_flood(small), "{small:?}");
        }
        for tiny in [&[0][..], &[1], &[3], &[5, 1]] {
            assert!(is_flood(tiny), "{tiny:?}");
        }
    }

    #[test]
    fn only_responses_allow_window_updates_and_pings() {
        let start = SystemClock.instant();
        for (kind, length, price) in
            [(WINDOW_UPDATE, 4, BYTES_PER_UPDATE), (PING, 8, BYTES_PER_PING)]
        {
            let mut meter = FrameMeter::new(start);
            let frames = |count: usize| frame(kind, length).repeat(count);
            let burst = usize::try_from(BURST).unwrap();
            assert!(!meter.is_flood(PREFACE, start));
            for _ in 0..100 {
                meter.answered(16 << 10);
                assert!(!meter.is_flood(&frames((16 << 10) / price), start));
            }
            assert!(!meter.is_flood(&frames(burst), start));
            assert!(meter.is_flood(&frames(1), start));
        }
    }
}
