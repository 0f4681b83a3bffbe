//! A model of what a power cut could still lose, based on the system calls.
//!
//! Bytes of a file are durable when a sync of the file has succeeded that began after they were
//! written. A name is durable when a sync of its folder has succeeded that began after the name was
//! made.

use std::collections::{BTreeMap, HashMap};

use super::events::{Event, Phase};

/// The writes of a file: their number, and the number that a sync has covered.
#[derive(Debug, Clone, Copy, Default)]
struct Content {
    writes: usize,
    synced: usize,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Index into `contents` by name.
    files: HashMap<String, usize>,
    contents: Vec<Content>,
    /// Names that are not durable yet, with the number of calls begun when each was made.
    names: BTreeMap<String, usize>,
    /// Number of writes or calls that each running sync covers.
    syncs: HashMap<usize, usize>,
    begun: usize,
}

impl Model {
    /// Applies a call to the model.
    pub(super) fn take(&mut self, event: &Event<'_>) {
        self.begun += 1;
        let ended = event.phase == Phase::Ends(true);
        match event.name {
            "write" | "writev" | "pwrite64" | "pwritev" | "ftruncate" | "fallocate"
                if event.phase == Phase::Begins =>
            {
                if let Some(file) = event.file().map(|path| self.file(path)) {
                    self.contents[file].writes += 1;
                }
            }
            "fsync" | "fdatasync" => self.sync(event),
            "openat" if ended && event.args.contains("O_CREAT") => {
                if let Some(path) = event.paths().first() {
                    self.file(path);
                    self.give(path);
                }
            }
            "mkdir" | "mkdirat" if ended => {
                if let Some(path) = event.paths().first() {
                    self.give(path);
                }
            }
            "link" | "linkat" | "rename" | "renameat" | "renameat2" if ended => {
                if let [from, to] = event.paths()[..] {
                    let file = self.file(from);
                    self.files.insert(to.to_owned(), file);
                    self.give(to);
                    if event.name.starts_with("rename") {
                        self.lose(from);
                    }
                }
            }
            "unlink" | "unlinkat" if ended => {
                if let Some(path) = event.paths().first() {
                    self.lose(path);
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, event: &Event<'_>) {
        let Some(path) = event.file() else { return };
        let file = self.file(path);
        match event.phase {
            Phase::Begins => {
                let covers =
                    if self.is_folder(path) { self.begun } else { self.contents[file].writes };
                self.syncs.insert(event.call, covers);
            }
            Phase::Ends(succeeded) => {
                let covers = self.syncs.remove(&event.call).unwrap_or(0);
                if !succeeded {
                    return;
                }
                self.contents[file].synced = self.contents[file].synced.max(covers);
                let folder = format!("{path}/");
                self.names.retain(|name, given| {
                    let is_in_it =
                        name.strip_prefix(&folder).is_some_and(|name| !name.contains('/'));
                    !is_in_it || *given > covers
                });
            }
        }
    }

    /// Returns the files and names that a power cut could lose, limited to those that `concerns`
    /// accepts.
    pub(super) fn at_risk(&self, concerns: impl Fn(&str) -> bool) -> Vec<String> {
        let names = self.names.keys().filter(|name| concerns(name));
        let mut risks: Vec<String> = names.map(|name| format!("the name {name}")).collect();
        for (name, file) in &self.files {
            let content = self.contents[*file];
            if content.synced < content.writes && concerns(name) {
                risks.push(format!("bytes of {name}"));
            }
        }
        risks.sort();
        risks
    }

    fn is_folder(&self, path: &str) -> bool {
        std::path::Path::new(path).is_dir()
    }

    fn file(&mut self, path: &str) -> usize {
        if let Some(file) = self.files.get(path) {
            return *file;
        }
        self.contents.push(Content::default());
        self.files.insert(path.to_owned(), self.contents.len() - 1);
        self.contents.len() - 1
    }

    /// Names with a `#` belong to files that are still being written and are ignored.
    fn give(&mut self, path: &str) {
        if path.contains('#') {
            return;
        }
        self.names.insert(path.to_owned(), self.begun);
    }

    fn lose(&mut self, path: &str) {
        self.files.remove(path);
        self.names.remove(path);
    }
}
