//! A process under measurement: its processor time and memory, as Linux tells them, and its end.

use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{cost::Cpu, machine};

/// Linux counts a process's time in these on every architecture that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Definition of an idle process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleCriterion {
    /// Length of the time in which processor time is counted.
    pub(crate) window: Duration,
    /// Part of the window that an idle process takes of a processor, at most.
    pub(crate) part: f64,
    /// Maximum time to wait until the process is idle.
    pub(crate) patience: Duration,
}

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct ChildProcess(Child);

impl ChildProcess {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.spawn().map(Self).with_context(|| program)
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let stat = self.proc("stat")?;
        let (_, fields) = stat.rsplit_once(") ").context("an unknown form of stat")?;
        let seconds = |field: usize| -> Result<f64> {
            let ticks: f64 = fields.split(' ').nth(field).context("stat is short")?.parse()?;
            Ok(ticks / TICKS_PER_SECOND)
        };
        Ok(Cpu { user: seconds(11)?, system: seconds(12)? })
    }

    /// Waits until the process is idle, when work that requests left behind is done. Returns its
    /// processor time so far.
    pub(crate) fn cpu_at_rest(&self, rest: IdleCriterion) -> Result<Cpu> {
        let deadline = machine::now() + rest.patience;
        let mut before = self.cpu()?;
        while machine::now() < deadline {
            machine::pause(rest.window);
            let now = self.cpu()?;
            if (now - before).total() < rest.part * rest.window.as_secs_f64() {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    /// Returns the peak of its resident memory, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Sends SIGTERM, at which servers write their memory to files, and waits for the end. Returns
    /// all its processor time.
    pub(crate) fn stop(self, patience: Duration) -> Result<Cpu> {
        self.terminate()?;
        self.end(patience)
    }

    /// Sends SIGTERM and kills the process when it does not end in time. Also returns true if it
    /// was killed.
    pub(crate) fn stop_or_kill(mut self, patience: Duration) -> Result<(Cpu, bool)> {
        self.terminate()?;
        let was_killed = !self.ends_within(patience)?;
        if was_killed {
            self.0.kill()?;
            ensure!(self.ends_within(patience)?, "it cannot be killed");
        }
        Ok((self.cpu()?, was_killed))
    }

    fn terminate(&self) -> Result<()> {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status()?;
        ensure!(asked.success(), "the process is gone");
        Ok(())
    }

    /// Waits until it has ended with success. Returns all its processor time.
    pub(crate) fn end(mut self, patience: Duration) -> Result<Cpu> {
        ensure!(self.ends_within(patience)?, "it did not end within {patience:?}");
        let cpu = self.cpu()?;
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(cpu)
    }

    fn ends_within(&self, patience: Duration) -> Result<bool> {
        let deadline = machine::now() + patience;
        // An ended process keeps its times until it is waited for.
        while !self.has_ended()? {
            if machine::now() > deadline {
                return Ok(false);
            }
            machine::pause(Duration::from_millis(5));
        }
        Ok(true)
    }

    pub(crate) fn has_ended(&self) -> Result<bool> {
        let stat = self.proc("stat")?;
        Ok(stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z')))
    }

    fn proc(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))?)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
