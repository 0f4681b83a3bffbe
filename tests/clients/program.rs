//! Prepares and runs other programs, bounded in time.
//!
//! Owns the folder `clients` under cargo's target directory. Does not own the package managers'
//! caches, which the preparations fill.

use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::{Duration, Instant},
};

use crate::harness::{PATIENCE, has, leave_out};

const PROGRAM_PATIENCE: Duration = Duration::from_secs(120);
/// The first time, hundreds of libraries are fetched and compiled, beside other tests.
const PREPARATION_PATIENCE: Duration = Duration::from_secs(1_800);

/// A program that must be installed, the argument that makes it say its version, and the oldest
/// version that can run the client.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) version: &'static str,
    pub(crate) least: (u32, u32),
}

impl Tool {
    /// Whether it is there and new enough; says so in one line when this part is left out without it.
    pub(crate) fn is_installed(&self, part: &str) -> bool {
        if !has(self.program, part) {
            return false;
        }
        let said = run(Command::new(self.program).arg(self.version));
        let found = version_in(&said).unwrap_or_else(|| panic!("no version in {said}"));
        let (major, minor) = self.least;
        found >= self.least
            || leave_out::<()>(&format!("{part}: {} is older than {major}.{minor}", self.program))
                .is_some()
    }
}

/// The first `major.minor` in a text.
fn version_in(text: &str) -> Option<(u32, u32)> {
    text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).find_map(|numbers| {
        let mut numbers = numbers.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

/// A file of this folder's programs.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

/// The folder in which `prepare` left what it makes: once for each version of `recipe`, or every
/// time when there is none. One preparation runs at a time, in this process and in others.
pub(crate) fn prepared(name: &str, recipe: &str, prepare: impl FnOnce(&Path)) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let folder = all.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let lock = File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    let stamp = all.join(format!("{name}.recipe"));
    if recipe.is_empty() {
        prepare(&folder);
    } else if std::fs::read_to_string(&stamp).ok().as_deref() != Some(recipe) {
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        prepare(&folder);
        std::fs::write(&stamp, recipe).unwrap();
    }
    folder
}

/// Runs a client to its end and gives what it printed; fails when it fails or takes too long.
pub(crate) fn run(command: &mut Command) -> String {
    run_within(PROGRAM_PATIENCE, command)
}

/// As [`run`], with this patience: for clients that ask thousands of things.
pub(crate) fn run_within(patience: Duration, command: &mut Command) -> String {
    Running::start(command).end(patience)
}

/// As [`run`], with the patience that fetching and compiling needs.
pub(crate) fn make(command: &mut Command) {
    Running::start(command).end(PREPARATION_PATIENCE);
}

/// A program that runs. Dropping it kills it, and all that it started.
pub(crate) struct Running {
    name: String,
    /// Its process group, until it has ended.
    group: Option<u32>,
    ended: Receiver<ExitStatus>,
    printed: File,
    complained: File,
}

impl Running {
    /// Starts it; what it writes is kept for the report of a failure.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let (printed, complained) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(printed.try_clone().unwrap())
            .stderr(complained.try_clone().unwrap())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (tell, ended) = sync_channel(1);
        let group = Some(child.id());
        std::thread::spawn(move || {
            let _ = tell.send(child.wait().unwrap());
        });
        Self { name, group, ended, printed, complained }
    }

    /// Waits until something is so while it runs.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let ended = self.ended.recv_timeout(Duration::from_millis(20)).ok();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "waited until {what} ({ended:?}); {} said:\n{}",
                self.name,
                self.output().join("\n"),
            );
        }
    }

    fn end(mut self, patience: Duration) -> String {
        let status = self.ended.recv_timeout(patience);
        if status.is_ok() {
            self.group = None;
        }
        let [printed, complained] = self.output();
        let status = status.unwrap_or_else(|_| {
            panic!("{} runs for {patience:?}:\n{printed}\n{complained}", self.name)
        });
        assert!(status.success(), "{} ended with {status}:\n{printed}\n{complained}", self.name);
        printed
    }

    fn output(&self) -> [String; 2] {
        [&self.printed, &self.complained].map(|mut file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
        }
    }
}
