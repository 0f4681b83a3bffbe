//! Ways to run other programs: paths of the project, installed programs, output of commands, and
//! progress of commands with several steps.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Arguments that build the libraries of the server: the test `kept_sizes` needs them all. With the
/// whole workspace, and a test of it, dependencies have the features that all tests need.
pub(crate) const LIBRARIES: [&str; 4] = ["build", "--workspace", "--test", "kept_sizes"];

/// The steps of a command, each announced with its number and closed with the time it took. Cargo
/// itself says within a step which crates it compiles.
#[derive(Debug)]
pub(crate) struct StepReport {
    begun: Instant,
    count: usize,
    /// Names and durations of the steps that have ended.
    ended: Vec<(String, Duration)>,
}

impl StepReport {
    /// Begins a command with this many steps.
    pub(crate) fn new(count: usize) -> Self {
        Self { begun: now(), count, ended: Vec::new() }
    }

    /// Returns the time at which the command began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Returns the time since the command began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Runs the next step.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub(crate) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (place, begun) = (format!("{}/{}", self.ended.len() + 1, self.count), now());
        eprintln!("── {place} {name} ({} since the start)", minutes(self.begun.elapsed()));
        let result = work();
        let end = if result.is_ok() { "done" } else { "failed" };
        let duration = begun.elapsed();
        eprintln!("── {place} {name}: {end} in {}", minutes(duration));
        self.ended.push((name.to_owned(), duration));
        result
    }

    /// Prints how long each step took, for the end of a long log.
    pub(crate) fn summarize(&self) {
        let steps = self.ended.iter().map(|(name, took)| format!("{name} {}", minutes(*took)));
        let steps: Vec<String> = steps.collect();
        eprintln!("── {} in all: {}", minutes(self.begun.elapsed()), steps.join(", "));
    }
}

/// Formats a duration as `4 min 09 s`, or `9 s` below a minute.
fn minutes(duration: Duration) -> String {
    match (duration.as_secs() / 60, duration.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[expect(clippy::disallowed_methods, reason = "measures the developer's own wait")]
fn now() -> Instant {
    Instant::now()
}

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the folder of cargo's build output. A relative `CARGO_TARGET_DIR` is below the root of
/// the checkout, where [`cargo`] runs.
pub(crate) fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns a command that runs the cargo in use, in the root of the checkout.
///
/// Cargo's variables about this package are removed. The build scripts of some crates (`ring`) read
/// them, and everything above such a crate would be rebuilt after every `cargo test` in a shell.
///
/// In CI nothing is compiled a second time, so incremental builds are switched off: they would take
/// time and fill the disk.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    if is_ci() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    remove_package_variables(&mut command);
    command
}

/// Returns a command with this niceness, where `nice` exists: what runs beside it is slowed down less.
pub(crate) fn with_niceness(command: &Command, niceness: u8) -> Command {
    let program = command.get_program();
    let mut nice = if works("nice", &["--version"]) {
        let mut nice = Command::new("nice");
        nice.args(["-n", &niceness.to_string()]).arg(program);
        nice
    } else {
        Command::new(program)
    };
    nice.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    nice
}

/// Removes cargo's variables about this package from the environment of a command.
pub(crate) fn remove_package_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let said = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| said.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// Reports whether this is the project's CI, where every part is required.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Reports whether a program of this name starts and succeeds.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Returns a program's standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| describe(command))?;
    if !output.status.success() {
        bail!("{} ended with {}", describe(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns this machine's platform, as rustc calls it.
pub(crate) fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}

/// Runs a program to its end.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| describe(command))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Installs Debian packages where possible: as root, on Debian.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    if !works("apt-get", &["--version"]) {
        bail!("install {} with your package manager", packages.join(", "));
    }
    let install = |quiet: bool| {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        if quiet {
            command.stderr(Stdio::null());
        }
        check(&mut command)
    };
    if install(true).is_ok() {
        return Ok(());
    }
    check(Command::new("apt-get").args(["update", "-q"]).stdout(Stdio::null()))?;
    install(false).with_context(|| format!("could not install {}", packages.join(", ")))
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::minutes;

    #[test]
    fn durations_are_minutes_and_seconds() {
        let cases = [(0, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (3_849, "64 min 09 s")];
        for (seconds, expected) in cases {
            assert_eq!(minutes(Duration::from_secs(seconds)), expected);
        }
    }
}
