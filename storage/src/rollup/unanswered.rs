//! Why a question has no answer from rollups.

use std::{collections::HashSet, ops::ControlFlow, path::PathBuf};

use arrow_schema::ArrowError;

use crate::StorageError;

/// Why there is no answer.
pub(super) enum Unanswered {
    /// There is none, or nobody waits for it.
    Never,
    /// Too much would have to be read as rows.
    TooMuch,
    /// What is added up takes too much memory, with so many groups told apart.
    TooManyGroups(usize),
    /// The rollups of this file cannot be read.
    Damaged(PathBuf),
    /// What pairs of these files say cannot be used.
    Alone(Vec<PathBuf>),
    Failed(StorageError),
}

/// Files of which a question cannot use all that their indexes say.
#[derive(Debug, Default)]
pub(super) struct Unusable {
    /// Their rollups cannot be read.
    pub(super) damaged: HashSet<PathBuf>,
    /// Their pairs are not used.
    pub(super) alone: HashSet<PathBuf>,
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
