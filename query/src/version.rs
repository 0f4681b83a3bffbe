//! The version of an answer. It is equal for the same spans, the same number of log records and the
//! same state, whatever their order of arrival and the process that answers.

/// A sum of hashes, which does not depend on order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Version(u64);

impl Version {
    /// Adds a part to the version.
    pub(crate) fn add(&mut self, part: u64) {
        self.0 = self.0.wrapping_add(mixed(part));
    }

    /// Adds all parts of another version.
    pub(crate) fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Returns the text for clients.
    pub(crate) fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The finaliser of [SplitMix64](https://doi.org/10.1145/2714064.2660195): neighbouring numbers
/// must not add up to equal sums.
pub(crate) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Hashes some texts in their order; the hash is the same in every process.
pub(crate) fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    texts.into_iter().fold(0, |hash, text| {
        let hash = mixed(hash ^ text.len() as u64);
        text.bytes().fold(hash, |hash, byte| mixed(hash ^ u64::from(byte)))
    })
}
