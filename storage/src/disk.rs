//! Contract stage: replaced by its owner.
