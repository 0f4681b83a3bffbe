//! Measures what storing costs and how fast it is found again, on the real server.
//!
//! Per number of spans: servers take part of them into memory only; another does the same, is
//! killed, and its log is replayed by one that is configured as it comes; others take all of them
//! as it comes configured, and the last of those is stopped and started again, and is asked. What
//! is measured of the server is its own process's processor time and memory; what is measured of
//! requests includes the client's part. Processor time is the median of several rounds, each on an
//! empty folder.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Corpus, Plan, Report, TelemetryKind,
    bench_report::count,
    client::Client,
    cost::{Costs, Cpu},
    fsync::Probe,
    latency_samples::{Latencies, millis},
    load::{self, LoadRate, LoadResult},
    machine,
    random::whole,
    server::{IN_MEMORY, Launch, RunningServer, folder_bytes},
};

/// Options of a storage benchmark.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// The program `tidings`.
    pub server: PathBuf,
    /// Data directories are made in this folder: its disk is measured.
    pub folder: PathBuf,
    /// Number of spans, for each column of the table.
    pub spans: Vec<u64>,
    /// Number of rounds in which the cost of storing is measured.
    pub rounds: usize,
    /// True to measure ingest costs only.
    pub costs_only: bool,
    /// Number of spans that requests are encoded for. Requests are sent repeatedly with new ids and
    /// values.
    pub corpus_spans: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Duration of the load at half the highest rate.
    pub half_load: Duration,
    /// Maximum time of a load.
    pub longest: Duration,
    /// Number of traces that are looked up, and of other questions.
    pub questions: usize,
}

/// Maximum number of spans in memory where memory is measured without files.
const IN_MEMORY_MAX: u64 = 400_000;
/// Maximum number of spans in the log that is replayed, which take about a gibibyte.
const RESTART_MAX: u64 = 1_250_000;
/// Number of spans for the shape of published figures.
const PUBLISHED_MAX: u64 = 1_000_000;
const CONNECTIONS: usize = 4;
/// Times that a sent span is waited for.
const WAITS: usize = 20;
/// Measures everything.
///
/// # Errors
/// When the server cannot be started, refuses spans, or answers with others than were sent.
pub fn measure(options: &StorageOptions) -> Result<Report> {
    let runtime = Runtime::new()?;
    let corpus = Corpus::new(TelemetryKind::Realistic, options.corpus_spans, options.seed);
    let mut report = Report::default();
    for spans in &options.spans {
        let bench = StorageBench { options, corpus: &corpus, runtime: &runtime };
        report.column(format!("{} realistic", count(*spans)));
        bench.without_files(&mut report, (*spans).min(IN_MEMORY_MAX))?;
        if !options.costs_only {
            bench.restart(&mut report, (*spans).min(RESTART_MAX))?;
        }
        bench.with_files(&mut report, *spans)?;
    }
    let published = options.spans.iter().copied().max().unwrap_or(0).min(PUBLISHED_MAX);
    let corpus = Corpus::new(TelemetryKind::J10, options.corpus_spans, options.seed);
    report.column(format!("{} J10", count(published)));
    StorageBench { options, corpus: &corpus, runtime: &runtime }
        .published(&mut report, published)?;
    for note in machine::describe(&options.folder) {
        report.note(note);
    }
    Ok(report)
}

/// A data directory with everything in it.
struct Filled {
    sent: LoadResult,
    /// Processor time from the start of the server to its end.
    in_files: Cpu,
    compacting: Cpu,
    /// Peak of resident memory.
    resident_bytes: u64,
    bytes: u64,
    compacted_bytes: u64,
}

struct StorageBench<'a> {
    options: &'a StorageOptions,
    corpus: &'a Corpus,
    runtime: &'a Runtime,
}

const CPU_STORED: &str = "CPU-seconds per million spans, acknowledged and queryable";
const CPU_FILES: &str = "the same, all in, in files";
const CPU_COMPACTED: &str = "the same, all in, compacted";
const SIZE: &str = "bytes per span on disk, indexes and Delta log included";
const SIZE_COMPACTED: &str = "the same, compacted";
const RATE: &str = "spans per second taken in, load on the same machine";

impl StorageBench<'_> {
    /// Measures storing in the log and in memory only.
    fn without_files(&self, report: &mut Report, spans: u64) -> Result<()> {
        let mut costs = Costs::default();
        for round in 1..=self.options.rounds {
            let folder = self.folder()?;
            let launch = self.launch(folder.path(), IN_MEMORY.as_flattened());
            let plan = self.corpus.plan(spans, machine::unix_nanos());
            let server = launch.start()?;
            let idle = server.cpu_at_rest()?;
            let sent = self.send(&plan, &server, None, self.options.longest)?;
            costs.add(server.cpu_at_rest()? - idle, sent.spans);
            if round == self.options.rounds {
                report.cell(CPU_STORED, "4.0; 2.0", costs.to_string());
                report.cell("bytes per span, OTLP", "", per_span(sent.bytes, sent.spans));
                let log = folder_bytes(&launch.data_dir.join("wal"))?;
                report.cell("bytes per span, log", "", per_span(log, sent.spans));
            }
            server.kill()?;
        }
        Ok(())
    }

    /// Measures the replay of a log of which nothing is in files, by a server with default
    /// settings.
    fn restart(&self, report: &mut Report, spans: u64) -> Result<()> {
        let folder = self.folder()?;
        let launch = self.launch(folder.path(), IN_MEMORY.as_flattened());
        let plan = self.corpus.plan(spans, machine::unix_nanos());
        let server = launch.start()?;
        let sent = self.send(&plan, &server, None, self.options.longest)?;
        server.kill()?;
        let log = folder_bytes(&launch.data_dir.join("wal"))?;
        let server = self.launch(folder.path(), &[]).start()?;
        let peak = server.peak_resident_bytes()?;
        self.check(&plan, &server, &sent)?;
        let took = format!(
            "{:.1} s, {} MiB, for {} MiB of log",
            server.started_in.as_secs_f64(),
            peak >> 20,
            log >> 20
        );
        report.cell("restart after a kill", "1 GiB in 20 s, 512 MiB; 4 s", took);
        server.kill()
    }

    /// Measures a server with default settings, and the questions afterwards.
    fn with_files(&self, report: &mut Report, spans: u64) -> Result<()> {
        let folder = self.folder()?;
        let launch = self.launch(folder.path(), &[]);
        let plan = self.corpus.plan(spans, machine::unix_nanos());
        let sent = self.fill_often(report, &launch, &plan)?;
        if self.options.costs_only {
            return Ok(());
        }
        let server = launch.start()?;
        report.cell("start with everything in files", "", millis(server.started_in));
        self.check(&plan, &server, &sent)?;
        self.ask(report, &plan, &server)?;
        let half = sent.spans_per_second() / 2.0;
        self.half_load(report, &server, folder.path(), half)?;
        self.visible(report, &server)?;
        server.stop().map(|_| ())
    }

    /// Measures size and cost for the shape that others publish figures of.
    fn published(&self, report: &mut Report, spans: u64) -> Result<()> {
        let folder = self.folder()?;
        let launch = self.launch(folder.path(), &[]);
        let plan = self.corpus.plan(spans, machine::unix_nanos());
        let sent = self.fill_often(report, &launch, &plan)?;
        report.cell("bytes per span, OTLP", "", per_span(sent.bytes, sent.spans));
        Ok(())
    }

    /// Fills data directories, the last of them that of `launch`, and says what that cost.
    fn fill_often(
        &self,
        report: &mut Report,
        launch: &Launch,
        plan: &Plan<'_>,
    ) -> Result<LoadResult> {
        let (mut in_files, mut compacted) = (Costs::default(), Costs::default());
        let mut add = |filled: &Filled| {
            in_files.add(filled.in_files, filled.sent.spans);
            compacted.add(filled.in_files + filled.compacting, filled.sent.spans);
        };
        for _ in 1..self.options.rounds {
            let folder = self.folder()?;
            add(&self.fill(&self.launch(folder.path(), &[]), plan)?);
        }
        let filled = self.fill(launch, plan)?;
        add(&filled);
        let sent = filled.sent;
        report.cell(CPU_FILES, "", in_files.to_string());
        report.cell(RATE, "", format!("{:.0}", sent.spans_per_second()));
        report.cell("requests told to try again", "", sent.refusals.to_string());
        let resident = format!("{} MiB", filled.resident_bytes >> 20);
        report.cell("resident memory, most", "1.5 GiB; 600 MiB", resident);
        report.cell(SIZE, "", per_span(filled.bytes, sent.spans));
        report.cell(CPU_COMPACTED, "7; 3.5", compacted.to_string());
        report.cell(SIZE_COMPACTED, "J10 50; 32", per_span(filled.compacted_bytes, sent.spans));
        Ok(sent)
    }

    /// Sends everything, stops the server, which writes what it has into files, and compacts them.
    fn fill(&self, launch: &Launch, plan: &Plan<'_>) -> Result<Filled> {
        let server = launch.start()?;
        let sent = self.send(plan, &server, None, self.options.longest)?;
        let resident_bytes = server.peak_resident_bytes()?;
        let in_files = server.stop()?;
        let tables = launch.data_dir.join("tables");
        let bytes = folder_bytes(&tables)?;
        let compacting = launch.compact()?;
        let compacted_bytes = folder_bytes(&tables)?;
        Ok(Filled { sent, in_files, compacting, resident_bytes, bytes, compacted_bytes })
    }

    /// Checks that traces are returned with as many spans as were sent.
    fn check(&self, plan: &Plan<'_>, server: &RunningServer, sent: &LoadResult) -> Result<()> {
        if !sent.complete {
            bail!("not everything was sent within {:?}", self.options.longest);
        }
        let client = Client::new()?;
        self.runtime.block_on(async {
            for trace in plan.traces(self.options.questions) {
                let path = format!("/traces/{}/skeleton", trace.id());
                let (answer, _) = client.ask(&server.http, &path).await?;
                let answer = answer.with_context(|| format!("{path} is not there"))?;
                let found = answer["summary"]["spanCount"].as_u64();
                ensure!(
                    found == Some(u64::from(trace.spans)),
                    "{path} has {found:?}, sent {}",
                    trace.spans
                );
            }
            Ok(())
        })
    }

    fn ask(&self, report: &mut Report, plan: &Plan<'_>, server: &RunningServer) -> Result<()> {
        let questions = self.options.questions;
        let traces = plan.traces(questions);
        let traces = traces.iter().map(|trace| format!("/traces/{}", trace.id()));
        let took = self.questions(server, traces.collect(), |_| Ok(()))?;
        report.cell("trace by id, warm, p50 / p99", "8 / 40 ms; 1.5 / 6 ms", took.to_string());
        let newest = vec!["/traces?status=error&limit=20".to_owned(); questions.min(20)];
        let took = self.questions(server, newest, |answer| {
            let found = answer["traces"].as_array().map_or(0, Vec::len);
            ensure!(found > 0, "no trace failed");
            Ok(())
        })?;
        report.cell("newest 20 that failed, p50 / p99", "40 ms; 5 ms", took.to_string());
        let needles = plan.needles(questions.min(10));
        let needles = needles.iter().map(|needle| format!("/traces?attribute={needle}"));
        let took = self.questions(server, needles.collect(), |answer| {
            let found = answer["traces"].as_array().map_or(0, Vec::len);
            ensure!(found == 1, "{found} traces have a unique value");
            Ok(())
        })?;
        report.cell("the one with an attribute, p50 / p99", "300 ms; 40 ms", took.to_string());
        Ok(())
    }

    /// Asks twice: the second time everything that can be in memory is.
    fn questions(
        &self,
        server: &RunningServer,
        paths: Vec<String>,
        check: impl Fn(&serde_json::Value) -> Result<()>,
    ) -> Result<Latencies> {
        let client = Client::new()?;
        self.runtime.block_on(async {
            let mut latencies = Latencies::default();
            for warm in [false, true] {
                for path in &paths {
                    let (answer, took) = client.ask(&server.http, path).await?;
                    check(&answer.with_context(|| format!("{path} is not there"))?)?;
                    if warm {
                        latencies.add(took);
                    }
                }
            }
            Ok(latencies)
        })
    }

    fn half_load(
        &self,
        report: &mut Report,
        server: &RunningServer,
        folder: &Path,
        rate: f64,
    ) -> Result<()> {
        let spans = (rate * self.options.half_load.as_secs_f64()).max(1.0);
        let seed = self.options.seed + 1;
        let corpus =
            Corpus::new(TelemetryKind::Realistic, self.options.corpus_spans.min(20_000), seed);
        let plan = corpus.plan(whole(spans), machine::unix_nanos());
        let probe = Probe::start(folder);
        let sent = self.send(&plan, server, Some(rate), self.options.half_load * 2)?;
        let disk = probe.finish()?;
        let ratio =
            sent.acknowledged.at(0.99).as_secs_f64() / disk.at(0.99).as_secs_f64().max(1e-9);
        report.cell("acknowledgement at half load, p50 / p99", "", sent.acknowledged.to_string());
        report.cell("the disk's write and fsync meanwhile, p50 / p99", "", disk.to_string());
        report.cell("ratio of the p99s", "10; 4", format!("{ratio:.1}"));
        Ok(())
    }

    /// Measures the time from the acknowledgement of a trace until it is visible.
    fn visible(&self, report: &mut Report, server: &RunningServer) -> Result<()> {
        let client = Client::new()?;
        let mut latencies = Latencies::default();
        for number in 0..WAITS as u64 {
            let corpus =
                Corpus::new(TelemetryKind::Realistic, 10, self.options.seed + 100 + number);
            let plan = corpus.plan(1, machine::unix_nanos());
            let trace = plan.traces(20).into_iter().max_by_key(|trace| trace.spans);
            let path = trace.map_or_else(String::new, |trace| format!("/traces/{}", trace.id()));
            let took = self.runtime.block_on(async {
                for send in &plan.sends {
                    client.export(&server.otlp, plan.body(send)).await?;
                }
                let acknowledged = machine::now();
                while client.ask(&server.http, &path).await?.0.is_none() {
                    ensure!(acknowledged.elapsed() < self.options.longest, "{path} stays away");
                }
                Ok(acknowledged.elapsed())
            })?;
            latencies.add(took);
        }
        let name = "acknowledged span visible, the question included, p50 / p99";
        report.cell(name, "1 s; 100 ms", latencies.to_string());
        Ok(())
    }

    fn send(
        &self,
        plan: &Plan<'_>,
        server: &RunningServer,
        spans_per_second: Option<f64>,
        longest: Duration,
    ) -> Result<LoadResult> {
        let pace = LoadRate { connections: CONNECTIONS, spans_per_second, longest };
        self.runtime.block_on(load::send(plan, &server.otlp, pace))
    }

    fn folder(&self) -> Result<TempDir> {
        let folder = &self.options.folder;
        tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())
    }

    fn launch(&self, folder: &Path, flags: &[&str]) -> Launch {
        Launch {
            binary: self.options.server.clone(),
            data_dir: folder.join("data"),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        }
    }
}

fn per_span(bytes: u64, spans: u64) -> String {
    format!("{:.1}", bytes as f64 / spans.max(1) as f64)
}
