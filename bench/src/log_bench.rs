//! Measures what log records cost and how long questions about them take, on the real server, and on
//! VictoriaLogs where its program is given.
//!
//! Both get the same records by the same client, OTLP over HTTP, on an empty folder. Processor time is
//! that of the process until it has ended, for ours with `tidings compact`. Then it is started again
//! and asked one question after the other. Lists and counts must be those of what was sent; of
//! patterns only the total is compared.

mod log_plan;
mod log_questions;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::{
    log_plan::LogPlan,
    log_questions::{LogQuestion, questions},
};
use crate::{
    Report,
    bench_report::count,
    client::{Client, Otlp},
    cost::{Costs, Cpu},
    latency_samples::{Latencies, millis},
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
    /// The records are of so long a time, evenly.
    pub window: Duration,
    /// Seed of the random numbers.
    pub seed: u64,
    /// No load lasts longer.
    pub longest: Duration,
    /// A question is asked no more often once it took so long altogether,
    pub patience: Duration,
    /// and no more often than this.
    pub repeats: usize,
}

const CONNECTIONS: usize = 4;
/// VictoriaLogs does nothing more when it takes less than a fiftieth of one processor for so long.
const REST: IdleCriterion = IdleCriterion {
    window: Duration::from_secs(20),
    part: 0.02,
    patience: Duration::from_secs(180),
};
/// A process that has not ended so long after it was told to is killed.
const END_MAX: Duration = Duration::from_secs(60);

/// Measures all columns.
///
/// # Errors
/// When a system cannot be started, refuses records, or answers something that is not so.
pub fn measure_logs(options: &LogsOptions) -> Result<Report> {
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

    /// Asks once, and then as often as there is time.
    fn ask(
        &self,
        client: &Client,
        address: &str,
        path: &str,
        check: impl Fn(&[u8]) -> Result<()>,
    ) -> Result<String> {
        let (begin, mut first, mut latencies) = (machine::now(), None, Latencies::default());
        while latencies.len() == 0
            || latencies.len() < self.options.repeats && begin.elapsed() < self.options.patience
        {
            let got = self.runtime.block_on(client.get(address, path))?;
            ensure!(got.status == 200, "{path}: {}", String::from_utf8_lossy(&got.body));
            check(&got.body).with_context(|| path.to_owned())?;
            match first {
                None => first = Some(got.took),
                Some(_) => latencies.add(got.took),
            }
        }
        let first = millis(first.unwrap_or_default());
        Ok(format!("{latencies} (first {first}; {}×)", latencies.len()))
    }

    fn folder(&self) -> Result<TempDir> {
        let folder = &self.options.folder;
        tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())
    }
}
