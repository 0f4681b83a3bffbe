//! Precomputed corrections for traces split across two files, stored in the index of one of them.
//!
//! A file's rollups count its part of a trace as a whole trace ([`super::graph`],
//! [`super::kinds`]). Without corrections, a query has to read the rows of all split traces. Files
//! that are not merged any more get a section with the corrections against each other such file of
//! their hour. It lists the traces that exactly these two files have, and the change of both files'
//! rollups. `pair_section` encodes it, and `crate::rollup_query` computes and uses it. A cell's
//! [`CorrectionRole`] is the effect of its calls.
//!
//! A section is valid while both files exist. Pairs without a section are compared during the
//! query. Corrections change no answer.

pub(crate) mod pair_section;

pub(crate) use pair_section::{CorrectionBytes, CorrectionSection};

use super::cells::RawKey;

/// Bits of a group's last number below the role.
const SHIFT: u32 = 16;

/// Effect of the calls in a correction cell of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CorrectionRole {
    /// This file of the pair, 0 or 1, has counted the calls, but they do not exist.
    Gone(usize),
    /// This file has counted the calls. The other file has counted them too and keeps them.
    Doubled(usize),
    /// Neither file has counted the calls, but they exist.
    Added,
}

impl CorrectionRole {
    const ALL: [Self; 5] =
        [Self::Gone(0), Self::Doubled(0), Self::Gone(1), Self::Doubled(1), Self::Added];

    /// Returns the key of the group for calls with this role.
    pub(crate) fn key(self, (texts, [part, detail]): RawKey<'_>) -> RawKey<'_> {
        let role = Self::ALL.iter().position(|role| *role == self).unwrap_or_default();
        let role = i32::try_from(role).unwrap_or_default();
        (texts, [part, detail | role << SHIFT])
    }

    /// Returns the role and the key of the group. `None` when the role is unknown.
    pub(crate) fn decode((texts, [part, detail]): RawKey<'_>) -> Option<(Self, RawKey<'_>)> {
        let role = *Self::ALL.get(usize::try_from(detail >> SHIFT).ok()?)?;
        Some((role, (texts, [part, detail & ((1 << SHIFT) - 1)])))
    }
}
