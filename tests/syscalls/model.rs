//! What a power cut could still take, as far as the system calls tell.
//!
//! Bytes of a file are durable when a sync of it that began after they were written has succeeded,
//! a name when a sync of its folder that began after it was given has.

use std::collections::{BTreeMap, HashMap};

use super::events::{Event, Phase};

/// A file's bytes: how often it was written to, and up to which of these writes it was synced.
#[derive(Debug, Clone, Copy, Default)]
struct Content {
    writes: usize,
    synced: usize,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    /// Which file has a name.
    files: HashMap<String, usize>,
    contents: Vec<Content>,
    /// Names that were given, and by how many calls before.
    names: BTreeMap<String, usize>,
    /// Syncs under way: what they cover.
    syncs: HashMap<usize, usize>,
    begun: usize,
}

impl Model {
    /// Takes a call into account.
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

    /// What a power cut could take of files and names that this is so for.
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

    /// The name of a file that is being written (it has a `#`) counts for nothing.
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
