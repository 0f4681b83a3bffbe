//! Counts the frames of HTTP/2 on a connection that ask for nothing: PING, SETTINGS, PRIORITY, resets,
//! unknown kinds, updates of windows that no answer needs, and bodies in tiny pieces. Each costs the
//! server some work and the client a few bytes, and no bound on requests or streams is met
//! (CVE-2019-9511, CVE-2019-9512, CVE-2019-9513, CVE-2019-9515). Owns finding where frames begin. Does
//! not own reading them, which hyper does, nor the end of a connection.

use std::time::Instant;

/// Frames that a connection may have sent above what its requests and the time allow.
const BURST: u32 = 1_000;
/// Frames allowed in a second.
const PER_SECOND: u32 = 100;
/// Frames allowed for each request: clients ping to measure how much can be under way.
const PER_REQUEST: u32 = 10;
/// Bytes of answers that allow an update of a window. Some clients send two for each frame of an
/// answer, which rarely has fewer than 64 bytes.
const BYTES_PER_UPDATE: usize = 32;
/// Bytes of answers that allow a PING: clients of gRPC in Go send one for each frame of an answer, at
/// most, to measure how much can be under way.
const BYTES_PER_PING: usize = 64;
/// Bytes that frames of bodies have on average at least: encoders of JSON that send each token have
/// about eight.
const BYTES_PER_DATA: usize = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length in three bytes, kind, flags and stream in six.
const FRAME_HEAD: usize = 9;

/// Frames that carry requests, and those that answers allow; all others count.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Position in the bytes of a connection.
#[derive(Debug)]
enum Position {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// Not HTTP/2.
    Other,
    /// In a frame's head, of which these have come.
    Head([u8; FRAME_HEAD], usize),
    /// In a frame, with so many bytes to go.
    Payload(usize),
}

impl Position {
    /// Before a frame.
    const NEXT: Self = Self::Head([0; FRAME_HEAD], 0);

    /// In a frame, or behind it when no bytes are to go.
    fn payload(left: usize) -> Self {
        if left == 0 { Self::NEXT } else { Self::Payload(left) }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct FrameMeter {
    position: Position,
    /// Frames above what was allowed.
    excess: u32,
    /// The time up to which `excess` is reckoned.
    reckoned: Instant,
    /// Bytes of answers for which no window has been updated and no PING was sent.
    answered_bytes: usize,
    /// Bytes of bodies that are more than their frames need.
    body_bytes: usize,
    /// Frames of any kind since they were taken.
    frames: usize,
}

impl FrameMeter {
    pub(crate) fn new(now: Instant) -> Self {
        let position = Position::Preface(0);
        Self { position, excess: 0, reckoned: now, answered_bytes: 0, body_bytes: 0, frames: 0 }
    }

    /// Allows for a request.
    pub(crate) fn requested(&mut self) {
        self.excess = self.excess.saturating_sub(PER_REQUEST);
    }

    /// Allows for so many bytes of answers.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.answered_bytes = self.answered_bytes.saturating_add(bytes);
    }

    /// Returns the number of frames of any kind since the last call.
    pub(crate) fn take_frames(&mut self) -> usize {
        std::mem::take(&mut self.frames)
    }

    /// Counts the frames that are in these bytes. Returns true if they are a flood.
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

    /// Goes through these bytes; how many frames that count have their heads end there.
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
    fn frames_are_found_however_they_arrive() {
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
    fn answers_allow_updates_of_windows_and_pings_and_nothing_else_does() {
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
