//! Why a question has no answer from rollups.

use std::{collections::HashSet, ops::ControlFlow, path::PathBuf};

use arrow_schema::ArrowError;

use crate::StorageError;

/// Why there is no answer.
pub(super) enum QueryFailure {
    /// Rollups have no answer, or the query was cancelled.
    Never,
    /// Too much would have to be read as rows.
    TooMuch,
    /// The aggregate of this many groups exceeds the memory bound.
    TooManyGroups(usize),
    /// The rollups of this file cannot be read.
    Damaged(PathBuf),
    /// The pair corrections of these files cannot be used.
    Alone(Vec<PathBuf>),
    Failed(StorageError),
}

/// Files whose indexes a query cannot use completely.
#[derive(Debug, Default)]
pub(super) struct UnusableFiles {
    /// Their rollups cannot be read.
    pub(super) damaged: HashSet<PathBuf>,
    /// Their pairs are not used.
    pub(super) alone: HashSet<PathBuf>,
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

/// Asked every now and then whether to go on.
pub(super) type GoOn<'a> = dyn FnMut() -> ControlFlow<()> + 'a;
