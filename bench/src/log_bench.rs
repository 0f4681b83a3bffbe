//! Measures what log records cost and how long questions about them take, on the real server, and on
//! VictoriaLogs where its program is given.
//!
//! Both get the same records by the same client, OTLP over HTTP, on an empty folder. Processor time is
//! that of the process until it has ended, for ours with `tidings compact`. Then it is started again
//! and asked one question after the other. Lists and counts must be those of what was sent; of
//! patterns only the total is compared. An answer about more records than a search reads may be
//! partial, and its cell says so.
//!
//! Records are generated for each request, and again for the expected answers, and are not kept. Free
//! disk is compared with their number before anything is sent.

mod log_plan;
mod log_questions;
mod question_samples;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::{
    log_plan::LogPlan,
    log_questions::{AnswerExtent, LogQuestion, questions},
    question_samples::{AskBounds, sample_question},
};
use crate::{
    Report,
    bench_report::count,
    client::{Client, Otlp},
    cost::{Costs, Cpu},
    load::{self, LoadRate, LoadResult},
    machine,
    peers::victoria,
    process::IdleCriterion,
    server::{Launch, folder_bytes},
};

/// Options of a benchmark of log records.
#[derive(Debug, Clone)]
pub struct LogsOptions {
    /// The program `tidings`.
    pub server: PathBuf,
    /// The program of VictoriaLogs, if it is measured beside it.
    pub victoria_logs: Option<PathBuf>,
    /// Data is put into this folder: its disk is measured.
    pub folder: PathBuf,
    /// Number of records, for each column of the table.
    pub records: Vec<u64>,
    /// Length of the time over which the records are spread, evenly.
    pub window: Duration,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Maximum time to send all records.
    pub longest: Duration,
    /// An ask without an answer after this time is given up, and its question with it.
    pub patience: Duration,
    /// Number of times that each question is asked after the first time.
    pub repeats: usize,
}

const CONNECTIONS: usize = 4;
/// Disk that a record takes at the peak of a run. Merged files take 60 bytes; the log and the files
/// that merged ones replace come on top.
const DISK_BYTES_PER_RECORD: u64 = 300;
/// VictoriaLogs is idle when it takes less than a fiftieth of one processor for this long.
const REST: IdleCriterion = IdleCriterion {
    window: Duration::from_secs(20),
    part: 0.02,
    patience: Duration::from_secs(180),
};
/// Time to end after SIGTERM; a process that takes longer is killed.
const END_MAX: Duration = Duration::from_secs(60);

/// Measures all columns.
///
/// # Errors
/// When the disk is too small, or a system cannot be started, refuses records, or answers something
/// that is not so.
pub fn measure_logs(options: &LogsOptions) -> Result<Report> {
    let records_max = options.records.iter().copied().max().unwrap_or(0);
    if let Some(free_bytes) = machine::free_disk_bytes(&options.folder) {
        ensure_disk_fits(records_max, free_bytes, &options.folder)?;
    }
    let runtime = Runtime::new()?;
    let mut report = Report::default();
    for records in &options.records {
        let window = u64::try_from(options.window.as_nanos()).unwrap_or(u64::MAX);
        let plan = LogPlan::new(*records, options.seed, machine::unix_nanos(), window);
        let facts = plan.facts();
        let questions = questions(&plan, &facts);
        let bench = LogsBench { options, plan: &plan, questions: &questions, runtime: &runtime };
        report.column(format!("Tidings, {}", count(*records)));
        bench.server(&mut report)?;
        if let Some(program) = &options.victoria_logs {
            report.column(format!("VictoriaLogs, {}", count(*records)));
            bench.victoria(program, &mut report).context("VictoriaLogs")?;
        }
    }
    for note in machine::describe(&options.folder) {
        report.note(note);
    }
    Ok(report)
}

/// Fails when this number of records may not fit into the free disk of a folder.
fn ensure_disk_fits(records: u64, free_bytes: u64, folder: &Path) -> Result<()> {
    let needed_bytes = records.saturating_mul(DISK_BYTES_PER_RECORD);
    ensure!(
        needed_bytes <= free_bytes,
        "{}: {} records take up to {} MiB of disk, and {} MiB are free",
        folder.display(),
        count(records),
        needed_bytes >> 20,
        free_bytes >> 20
    );
    Ok(())
}

struct LogsBench<'a> {
    options: &'a LogsOptions,
    plan: &'a LogPlan,
    questions: &'a [LogQuestion],
    runtime: &'a Runtime,
}

/// Costs of taking the records in.
struct IngestCosts {
    sent: LoadResult,
    cpu: Cpu,
    resident_bytes: u64,
    disk_bytes: u64,
}

impl LogsBench<'_> {
    fn server(&self, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let data_dir = folder.path().join("data");
        let launch = Launch { binary: self.options.server.clone(), data_dir, flags: Vec::new() };
        let server = launch.start()?;
        let sent = self.send(&Otlp::Http(format!("http://{}/v1/logs", server.otlp_http)))?;
        server.cpu_at_rest()?;
        let resident_bytes = server.peak_resident_bytes()?;
        let cpu = server.stop()? + launch.compact()?;
        let disk_bytes = folder_bytes(&launch.data_dir.join("tables"))?;
        self.tell(report, &IngestCosts { sent, cpu, resident_bytes, disk_bytes });
        let server = launch.start()?;
        let client = Client::new()?;
        for question in self.questions {
            let check = |body: &[u8]| question.check(body);
            let cell = self.ask(&client, &server.http, &question.path, check)?;
            report.cell(question.name, question.target, cell);
        }
        let resident = format!("{} MiB", server.peak_resident_bytes()? >> 20);
        report.cell("resident memory while asked, most", "", resident);
        server.stop().map(|_| ())
    }

    fn victoria(&self, program: &Path, report: &mut Report) -> Result<()> {
        let folder = self.folder()?;
        let running = victoria::start_logs(program, folder.path())?;
        let sent = self.send(&running.otlp)?;
        running.process.cpu_at_rest(REST)?;
        let resident_bytes = running.process.peak_resident_bytes()?;
        let (cpu, _) = running.process.stop_or_kill(END_MAX)?;
        let disk_bytes = folder_bytes(&folder.path().join("data"))?;
        self.tell(report, &IngestCosts { sent, cpu, resident_bytes, disk_bytes });
        let running = victoria::start_logs(program, folder.path())?;
        let client = Client::new()?;
        for question in self.questions {
            let Some(path) = &question.victoria else { continue };
            let check = |body: &[u8]| question.check_victoria(body);
            let cell = self.ask(&client, &running.http, path, check)?;
            report.cell(question.name, question.target, cell);
        }
        let resident = format!("{} MiB", running.process.peak_resident_bytes()? >> 20);
        report.cell("resident memory while asked, most", "", resident);
        running.process.stop_or_kill(END_MAX).map(|_| ())
    }

    fn send(&self, otlp: &Otlp) -> Result<LoadResult> {
        let longest = self.options.longest;
        let pace = LoadRate { connections: CONNECTIONS, spans_per_second: None, longest };
        let sent = self.runtime.block_on(load::send(self.plan, otlp, pace))?;
        ensure!(sent.complete, "not everything was sent within {longest:?}");
        Ok(sent)
    }

    fn tell(&self, report: &mut Report, taken: &IngestCosts) {
        let records = taken.sent.spans;
        let each = |bytes: u64| format!("{:.1}", bytes as f64 / records.max(1) as f64);
        let mut costs = Costs::default();
        costs.add(taken.cpu, records);
        let name = "CPU-seconds per million records, all in, compacted";
        report.cell(name, "2.5, without a word index", costs.to_string());
        let rate = format!("{:.0}", taken.sent.spans_per_second());
        report.cell("records per second taken in, load on the same machine", "", rate);
        report.cell("requests told to try again", "", taken.sent.refusals.to_string());
        report.cell("bytes per record, OTLP", "", each(taken.sent.bytes));
        report.cell("bytes per record on disk, all indexes", "60; 45", each(taken.disk_bytes));
        let resident = format!("{} MiB", taken.resident_bytes >> 20);
        report.cell("resident memory while it takes them, most", "", resident);
    }

    /// Asks one question and returns its cell.
    fn ask(
        &self,
        client: &Client,
        address: &str,
        path: &str,
        check: impl Fn(&[u8]) -> Result<AnswerExtent>,
    ) -> Result<String> {
        let longest = self.options.patience;
        let get = || {
            let answer = async { tokio::time::timeout(longest, client.get(address, path)).await };
            self.runtime.block_on(answer).ok().transpose()
        };
        let bounds = AskBounds { repeats: self.options.repeats, longest };
        sample_question(bounds, get, check).with_context(|| path.to_owned())
    }

    fn folder(&self) -> Result<TempDir> {
        let folder = &self.options.folder;
        tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ensure_disk_fits;

    #[test]
    fn records_that_do_not_fit_the_disk_are_not_sent() {
        let folder = Path::new("target/bench");
        ensure_disk_fits(100_000_000, 30_000_000_000, folder).unwrap();
        let error = ensure_disk_fits(100_000_000, 20_000_000_000, folder).unwrap_err().to_string();
        let expected =
            "target/bench: 100 M records take up to 28610 MiB of disk, and 19073 MiB are free";
        assert_eq!(error, expected);
    }
}
