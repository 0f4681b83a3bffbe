//! Why a question has no answer from rollups.

use std::{ops::ControlFlow, path::PathBuf};

use arrow_schema::ArrowError;

use crate::StorageError;

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Too much would have to be read as rows, or nobody waits for it.
    Never,
    /// What is added up takes too much memory, with so many groups told apart.
    TooManyGroups(usize),
    /// The rollups of this file cannot be read.
    Damaged(PathBuf),
    Failed(StorageError),
}

impl From<StorageError> for Unanswered {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

impl From<ArrowError> for Unanswered {
    fn from(error: ArrowError) -> Self {
        Self::Failed(error.into())
    }
}

/// Asked every now and then whether to go on.
pub(super) type GoOn<'a> = dyn FnMut() -> ControlFlow<()> + 'a;
