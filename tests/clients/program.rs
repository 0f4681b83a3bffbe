//! Prepares and runs other programs, bounded in time.
//!
//! It owns the folder `clients` under cargo's target directory. It does not own the package
//! managers' caches, which the preparations fill.

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
/// The first preparation downloads and compiles hundreds of libraries while other tests run.
const PREPARATION_PATIENCE: Duration = Duration::from_secs(1_800);

/// A program that must be installed, the argument that prints its version, and the oldest version
/// that can run the client.
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) version: &'static str,
    pub(crate) least: (u32, u32),
}

impl Tool {
    /// Returns true if it is installed and new enough; otherwise it prints that this part is left
    /// out.
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

/// Returns the first `major.minor` in a text.
fn version_in(text: &str) -> Option<(u32, u32)> {
    text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).find_map(|numbers| {
        let mut numbers = numbers.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

/// Returns the path of a file in `tests/clients`.
pub(crate) fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

/// Returns the folder that `prepare` has filled. It runs once for each version of `recipe`, or each
/// time if the recipe is empty. Only one preparation runs at a time, across all processes.
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

/// Runs a client until it ends and returns its output. Panics if it fails or takes too long.
pub(crate) fn run(command: &mut Command) -> String {
    run_within(PROGRAM_PATIENCE, command)
}

/// Runs a client as [`run`] does, with this time limit, for clients that send thousands of queries.
pub(crate) fn run_within(patience: Duration, command: &mut Command) -> String {
    Running::start(command).end(patience)
}

/// Runs a command as [`run`] does, with a time limit for downloading and compiling.
pub(crate) fn make(command: &mut Command) {
    Running::start(command).end(PREPARATION_PATIENCE);
}

/// A running program. Dropping it kills the program and its child processes.
pub(crate) struct Running {
    name: String,
    /// Its process group; `None` after the program has ended.
    group: Option<u32>,
    ended: Receiver<ExitStatus>,
    printed: File,
    complained: File,
}

impl Running {
    /// Starts the program and records its output for the report of a failure.
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

    /// Waits until a condition holds while the program runs.
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
