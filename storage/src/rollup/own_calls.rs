//! Which of the calls that files count for themselves count after all.
//!
//! A file has counted a trace as if it had all of it. Where others have some of it too, the calls
//! of the whole trace count: what is among them stays in the file's cells, each once, and the rest
//! is taken away there.

use std::collections::{HashMap, HashSet};

use super::{Call, adder::GroupNumber, covered::TakenCalls, taken::Taken};

/// A call and its group in the answer.
pub(super) type OwnCall = (GroupNumber, Call);

/// The calls that files have counted for themselves, of traces that are in several places.
#[derive(Debug)]
pub(super) struct OwnCalls {
    /// In which files' cells a call still is that has not been found to count.
    files: HashMap<OwnCall, Vec<usize>>,
    counts: HashSet<OwnCall>,
    stay: Vec<Vec<OwnCall>>,
}

impl OwnCalls {
    /// None yet, of so many files.
    pub(super) fn of(files: usize) -> Self {
        Self { files: HashMap::new(), counts: HashSet::new(), stay: vec![Vec::new(); files] }
    }

    /// A file has counted this call.
    pub(super) fn push(&mut self, file: usize, call: OwnCall) {
        self.files.entry(call).or_default().push(file);
    }

    /// This call counts; whether it is in a cell and stays there.
    pub(super) fn stays(&mut self, call: OwnCall) -> bool {
        let Some(file) = self.files.get_mut(&call).and_then(Vec::pop) else { return false };
        self.stay[file].push(call);
        self.counts.insert(call);
        true
    }

    /// Of each file what is to be taken away, and what stays.
    pub(super) fn settled(self) -> impl Iterator<Item = (TakenCalls, Vec<OwnCall>)> {
        let mut taken: Vec<TakenCalls> = self.stay.iter().map(|_| TakenCalls::new()).collect();
        for ((group, call), files) in self.files {
            let counts = self.counts.contains(&(group, call));
            for file in files {
                taken[file].entry(group).or_default().push(Taken { call, counts });
            }
        }
        taken.into_iter().zip(self.stay)
    }
}
