//! Roles of a pair's groups: retracted calls of one file, or calls added by the pair.

use crate::rollup::cells::RawKey;

/// The role is above the bits that groups need of their last number.
const SHIFT: u32 = 16;

/// Effect of the calls in a cell of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::rollup) enum CorrectionRole {
    /// The file with this place in the pair has counted them; they are none.
    Gone(usize),
    /// It has counted them, and so has the other, where they stay.
    Doubled(usize),
    /// Neither has counted them.
    Added,
}

impl CorrectionRole {
    const ALL: [Self; 5] =
        [Self::Gone(0), Self::Doubled(0), Self::Gone(1), Self::Doubled(1), Self::Added];

    /// The key of the group, for calls with this role.
    pub(in crate::rollup) fn key(self, (texts, [part, detail]): RawKey<'_>) -> RawKey<'_> {
        let role = Self::ALL.iter().position(|role| *role == self).unwrap_or_default();
        let role = i32::try_from(role).unwrap_or_default();
        (texts, [part, detail | role << SHIFT])
    }

    /// The role, and the key of the group; `None` when it is not known.
    pub(in crate::rollup) fn decode(
        (texts, [part, detail]): RawKey<'_>,
    ) -> Option<(Self, RawKey<'_>)> {
        let role = *Self::ALL.get(usize::try_from(detail >> SHIFT).ok()?)?;
        Some((role, (texts, [part, detail & ((1 << SHIFT) - 1)])))
    }
}
