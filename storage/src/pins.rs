//! Pinned traces: retention keeps them regardless of their age and the size of the tables.
//!
//! Owns the file `<data-dir>/pins` and its content. `store::pin` changes it, and
//! `maintenance::retention` applies it. The file is written whole under another name, synced, and
//! renamed:
//!
//! ```text
//! <CRC-32C of everything behind this line, 8 hex digits>
//! {"pins":[{"trace":"<32 hex digits>","pinned_unix_nanos":…,"note":"…"}, …]}
//! ```
//!
//! A damaged file leaves the pins unknown. Treating it as empty would delete what was pinned.

use std::{collections::BTreeMap, io, path::Path};

use serde_json::{Value, json};
use tidings_disk::{Disk, read_all, replace_durably};
use tidings_files::{StorageError, error::failed};
use tidings_proto::{TraceId, UnixNanos};

/// Maximum number of pinned traces. Retention searches every due file for each of them.
pub const PINS_MAX: usize = 1_000;
/// Maximum length of a note in characters.
pub const PIN_NOTE_CHARS_MAX: usize = 500;
/// Maximum size of the file. A file with the largest pins is smaller.
const BYTES_MAX: u64 = 16 << 20;

/// A pinned trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The trace.
    pub trace_id: TraceId,
    /// Time at which it was pinned.
    pub pinned: UnixNanos,
    /// Note of the user, possibly empty.
    pub note: String,
}

/// All pinned traces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pins(BTreeMap<TraceId, Pin>);

impl Pins {
    /// Reads the pins from the file. A missing file contains none.
    ///
    /// # Errors
    /// `Corrupt` when the file is damaged.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let corrupt = || StorageError::Corrupt {
            path: path.to_owned(),
            reason: "it does not say which traces are pinned".to_owned(),
        };
        let size = match disk.open(path).and_then(|file| file.size()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            size => size.map_err(failed("read", path))?,
        };
        if size > BYTES_MAX {
            return Err(corrupt());
        }
        let bytes = read_all(disk, path).map_err(failed("read", path))?;
        Self::decode(&bytes).ok_or_else(corrupt)
    }

    /// Writes the file, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
        replace_durably(disk, path, self.encode().as_bytes()).map_err(failed("write", path))
    }

    pub(crate) fn get(&self, trace: TraceId) -> Option<&Pin> {
        self.0.get(&trace)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the pinned traces, ascending.
    pub(crate) fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.0.keys().copied()
    }

    /// Returns the pins, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Pin> {
        let mut pins: Vec<Pin> = self.0.values().cloned().collect();
        pins.sort_by_key(|pin| (std::cmp::Reverse(pin.pinned), pin.trace_id));
        pins
    }

    /// Returns the pins with another one added, which replaces that of the same trace.
    pub(crate) fn with(&self, pin: Pin) -> Self {
        let mut pins = self.0.clone();
        pins.insert(pin.trace_id, pin);
        Self(pins)
    }

    /// Returns the pins without that of a trace.
    pub(crate) fn without(&self, trace: TraceId) -> Self {
        let mut pins = self.0.clone();
        pins.remove(&trace);
        Self(pins)
    }

    fn encode(&self) -> String {
        let pins: Vec<Value> = self.0.values().map(Pin::encode).collect();
        let said = json!({ "pins": pins }).to_string();
        format!("{:08x}\n{said}", crc32c::crc32c(said.as_bytes()))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (check, said) = bytes.split_at_checked(9)?;
        let check = str::from_utf8(check).ok()?.strip_suffix('\n')?;
        if u32::from_str_radix(check, 16).ok()? != crc32c::crc32c(said) {
            return None;
        }
        Self::from_json(said)
    }

    pub(crate) fn from_json(bytes: &[u8]) -> Option<Self> {
        let said: Value = serde_json::from_slice(bytes).ok()?;
        let pins = said.get("pins")?.as_array()?.iter().map(Pin::decode);
        pins.map(|pin| pin.map(|pin| (pin.trace_id, pin))).collect::<Option<_>>().map(Self)
    }
}

impl Pin {
    fn encode(&self) -> Value {
        json!({
            "trace": self.trace_id.to_string(),
            "pinned_unix_nanos": self.pinned.0,
            "note": self.note,
        })
    }

    fn decode(said: &Value) -> Option<Self> {
        Some(Self {
            trace_id: said.get("trace")?.as_str()?.parse().ok()?,
            pinned: UnixNanos(said.get("pinned_unix_nanos")?.as_u64()?),
            note: said.get("note")?.as_str()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{TraceId, UnixNanos};

    use super::{Pin, Pins};

    fn pin(number: u128, pinned: u64, note: &str) -> Pin {
        let trace_id = TraceId::from_wire(&number.to_be_bytes()).unwrap();
        Pin { trace_id, pinned: UnixNanos(pinned), note: note.to_owned() }
    }

    #[test]
    fn pins_are_read_as_they_were_written() {
        let none = Pins::default();
        let two = none.with(pin(7, 1, "the slow one")).with(pin(9, 2, "\"\n\u{202e}☂"));
        let three = two.with(pin(3, 2, ""));
        for pins in [&none, &two, &three, &three.without(pin(7, 0, "").trace_id)] {
            assert_eq!(Pins::decode(pins.encode().as_bytes()).as_ref(), Some(pins));
        }
        let newest: Vec<_> = three.newest_first().into_iter().map(|pin| pin.note).collect();
        assert_eq!(newest, ["", "\"\n\u{202e}☂", "the slow one"]);
        assert_eq!(two.with(pin(7, 5, "again")).len(), 2);
    }

    #[test]
    fn any_damage_of_the_file_is_detected() {
        let bytes = Pins::default().with(pin(7, 1, "why")).encode().into_bytes();
        for at in 0..bytes.len() {
            assert_eq!(Pins::decode(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << bit;
                // A checksum with upper-case digits is the same checksum.
                let same = Pins::decode(&bytes)
                    .is_none_or(|pins| pins.get(pin(7, 0, "").trace_id) == Some(&pin(7, 1, "why")));
                assert!(same, "bit {bit} of byte {at}");
            }
        }
    }
}
