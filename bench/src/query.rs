//! Measures how long the query service's questions take, on the real server as it comes configured.
//!
//! For each number of spans a data directory is filled and compacted. A server is started on it and
//! asked one question after the other, each as often as there is time. A directory can be kept,
//! with a description of its telemetry beside it, and be measured again without being filled. Every
//! answer is compared with the telemetry that was sent.

mod answers;
mod questions;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Corpus, Plan, Report, TelemetryKind,
    bench_report::count,
    client::{Client, TimedAnswer},
    latency_samples::{Latencies, millis},
    load::{self, LoadRate},
    machine,
    server::{Launch, RunningServer, folder_bytes},
};
use questions::{Asked, BenchQuery};

/// Options of a query benchmark.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// The program `tidings`.
    pub server: PathBuf,
    /// Data directories are made in this folder.
    pub folder: PathBuf,
    /// Number of spans, for each column of the table.
    pub spans: Vec<u64>,
    /// Length of the time over which the spans begin, evenly.
    pub window: Duration,
    /// True to keep data directories, and to reuse those that exist.
    pub keep: bool,
    /// Part of a name: only questions with it are asked. `None` for all questions.
    pub only: Option<String>,
    /// Number of spans that requests are encoded for. Requests are sent repeatedly with new ids and
    /// values.
    pub corpus_spans: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Maximum time to fill a directory.
    pub longest: Duration,
    /// Time for a question, after which it is not asked again.
    pub patience: Duration,
    /// Maximum number of times that a question is asked.
    pub repeats: usize,
}

const CONNECTIONS: usize = 4;

/// Measures every question.
///
/// # Errors
/// When the server cannot be started, refuses spans, or answers something that is not so.
pub fn measure_queries(options: &QueryOptions) -> Result<Report> {
    let runtime = Runtime::new()?;
    let corpus = Corpus::new(TelemetryKind::Realistic, options.corpus_spans, options.seed);
    let mut report = Report::default();
    for spans in &options.spans {
        let bench = QueryBench { options, corpus: &corpus, runtime: &runtime };
        report.column(format!("{} spans in {}", count(*spans), hours(options.window)));
        bench.column(&mut report, *spans)?;
    }
    for note in machine::describe(&options.folder) {
        report.note(note);
    }
    Ok(report)
}

struct QueryBench<'a> {
    options: &'a QueryOptions,
    corpus: &'a Corpus,
    runtime: &'a Runtime,
}

/// Folder of a data directory; a passing one is removed when it is dropped.
enum Folder {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }
}

impl QueryBench<'_> {
    fn column(&self, report: &mut Report, spans: u64) -> Result<()> {
        let folder = self.folder(spans)?;
        let launch = Launch {
            binary: self.options.server.clone(),
            data_dir: folder.path().join("data"),
            flags: Vec::new(),
        };
        let loaded = folder.path().join("loaded.json");
        let end = match self.end_of(&loaded, spans)? {
            Some(end) => end,
            None => self.fill(&launch, &loaded, spans)?,
        };
        let plan = self.plan(spans, end);
        let bytes = folder_bytes(&launch.data_dir.join("tables"))?;
        report.cell("data files and indexes", "", format!("{} MiB", bytes >> 20));
        let server = launch.start()?;
        report.cell("start of the server", "", millis(server.started_in));
        self.ask(report, &server, &plan)?;
        let resident = format!("{} MiB", server.peak_resident_bytes()? >> 20);
        report.cell("resident memory meanwhile, most", "", resident);
        server.stop().map(|_| ())
    }

    fn folder(&self, spans: u64) -> Result<Folder> {
        let folder = &self.options.folder;
        let context = || folder.display().to_string();
        if !self.options.keep {
            return Ok(Folder::Passing(tempfile::tempdir_in(folder).with_context(context)?));
        }
        let kept = folder.join(format!("query-{spans}-in-{}", hours(self.options.window)));
        fs::create_dir_all(&kept).with_context(context)?;
        Ok(Folder::Kept(kept))
    }

    fn plan(&self, spans: u64, end_unix_nanos: u64) -> Plan<'_> {
        let window = u64::try_from(self.options.window.as_nanos()).unwrap_or(u64::MAX);
        self.corpus.plan_within(spans, end_unix_nanos, Some(window))
    }

    /// Describes the contents of a directory, so that the same generator can send them again.
    fn description(&self, spans: u64) -> Json {
        json!({
            "spans": spans,
            "windowSeconds": self.options.window.as_secs(),
            "corpusSpans": self.options.corpus_spans,
            "seed": self.options.seed,
        })
    }

    /// Returns when the spans end that the directory already has; `None` when it is empty.
    fn end_of(&self, loaded: &Path, spans: u64) -> Result<Option<u64>> {
        let Ok(text) = fs::read_to_string(loaded) else { return Ok(None) };
        let json: Json = serde_json::from_str(&text)?;
        ensure!(
            json["of"] == self.description(spans),
            "{} is of other telemetry: {}",
            loaded.display(),
            json["of"]
        );
        json["endUnixNanos"].as_u64().map(Some).context("the end is missing")
    }

    /// Sends everything and compacts it. Returns when the spans end.
    #[expect(clippy::disallowed_methods, reason = "a note beside what is measured")]
    fn fill(&self, launch: &Launch, loaded: &Path, spans: u64) -> Result<u64> {
        ensure!(
            !launch.data_dir.exists(),
            "{} is there, and was not filled to the end: remove it",
            launch.data_dir.display()
        );
        let end = machine::unix_nanos();
        let plan = self.plan(spans, end);
        let server = launch.start()?;
        let longest = self.options.longest;
        let pace = LoadRate { connections: CONNECTIONS, spans_per_second: None, longest };
        let sent = self.runtime.block_on(load::send(&plan, &server.otlp, pace))?;
        if !sent.complete {
            bail!("not everything was sent within {longest:?}");
        }
        eprintln!("{} spans were sent in {:.0} s", sent.spans, sent.seconds);
        server.stop()?;
        let begin = machine::now();
        launch.compact()?;
        eprintln!("and merged in {:.0} s", begin.elapsed().as_secs_f64());
        let note = json!({ "of": self.description(spans), "endUnixNanos": end });
        fs::write(loaded, note.to_string()).with_context(|| loaded.display().to_string())?;
        Ok(end)
    }

    fn ask(&self, report: &mut Report, server: &RunningServer, plan: &Plan<'_>) -> Result<()> {
        let client = Client::new()?;
        let asker = Asker { bench: self, client: &client, server };
        let asked = Asked::new(plan, |path| asker.json(path))?;
        for question in asked.questions() {
            let wanted = self.options.only.as_ref();
            if wanted.is_none_or(|only| question.name.contains(only.as_str())) {
                report.cell(question.name, question.target, asker.measure(&question)?);
            }
        }
        Ok(())
    }
}

struct Asker<'a> {
    bench: &'a QueryBench<'a>,
    client: &'a Client,
    server: &'a RunningServer,
}

impl Asker<'_> {
    fn get(&self, path: &str) -> Result<TimedAnswer> {
        self.bench.runtime.block_on(self.client.get(&self.server.http, path))
    }

    fn json(&self, path: &str) -> Result<Json> {
        let got = self.get(path)?;
        ensure!(got.status == 200, "{path}: {}", String::from_utf8_lossy(&got.body));
        Ok(serde_json::from_slice(&got.body)?)
    }

    /// Measures the latency of a query: of its first request, and of repeated requests in all its
    /// variants.
    fn measure(&self, question: &BenchQuery<'_>) -> Result<String> {
        let options = self.bench.options;
        let begin = machine::now();
        let mut latencies = Latencies::default();
        let (mut first, mut rows, mut whole) = (None, None, true);
        let wordings = question.paths.len();
        for (number, path) in question.paths.iter().cycle().enumerate() {
            let enough = number >= wordings + options.repeats.max(wordings);
            if latencies.len() > 0 && (enough || begin.elapsed() > options.patience) {
                break;
            }
            let got = self.get(path)?;
            if got.status != 200 {
                let took = millis(got.took);
                eprintln!("{path}: {}", String::from_utf8_lossy(&got.body));
                return Ok(format!("status {} after {took}", got.status));
            }
            let answer: Json = serde_json::from_slice(&got.body)?;
            if question.counts && !answers::is_of_everything(&answer) {
                whole = false;
            } else {
                (question.check)(number % wordings, &answer).with_context(|| path.clone())?;
            }
            rows = rows.max(answers::rows_read(&answer));
            match first {
                None => first = Some(got.took),
                Some(_) if number < wordings => {}
                Some(_) => latencies.add(got.took),
            }
        }
        Ok(cell(first.unwrap_or_default(), &latencies, rows, whole))
    }
}

/// Formats the table cell of a query.
fn cell(first: Duration, latencies: &Latencies, rows: Option<u64>, whole: bool) -> String {
    let mut cell = format!("{latencies} (first {}; {}×)", millis(first), latencies.len());
    if let Some(rows) = rows {
        cell.push_str(&format!(", {rows} rows"));
    }
    if !whole {
        cell.push_str(", of a part");
    }
    cell
}

fn hours(window: Duration) -> String {
    match window.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{seconds} s"),
    }
}
