//! Reasons why a query has no answer from rollups.

use std::{collections::HashSet, ops::ControlFlow, path::PathBuf};

use arrow_schema::ArrowError;

use crate::StorageError;

/// Reason why there is no answer.
pub(crate) enum QueryFailure {
    /// Rollups have no answer, or the query was cancelled.
    Never,
    /// Too many rows would have to be read.
    TooMuch,
    /// The aggregate of this many groups exceeds the memory bound.
    TooManyGroups(usize),
    /// The rollups of this file cannot be read.
    Damaged(PathBuf),
    /// The pair corrections of these files cannot be used.
    Alone(Vec<PathBuf>),
    Failed(StorageError),
}

/// Files whose indexes a query cannot use, or cannot use completely.
#[derive(Debug, Default)]
pub(crate) struct UnusableFiles {
    /// Files with unreadable rollups.
    pub(crate) damaged: HashSet<PathBuf>,
    /// Files whose pair corrections are not used.
    pub(crate) alone: HashSet<PathBuf>,
}

impl From<StorageError> for QueryFailure {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

impl From<ArrowError> for QueryFailure {
    fn from(error: ArrowError) -> Self {
        Self::Failed(error.into())
    }
}

/// Callback that is called regularly. It breaks to cancel the query.
pub(crate) type CancellationCheck<'a> = dyn FnMut() -> ControlFlow<()> + 'a;
