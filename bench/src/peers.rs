//! Measures other systems beside the server: the same telemetry, sent by the same client on the
//! same machine, to one after the other and back again, so that ratios mean something where single
//! figures do not.
//!
//! Each is started on an empty folder, takes everything as fast as it says that it has it, is asked
//! until the sampled traces are whole, left alone until it rests, asked again with the time taken,
//! and stopped. Its processor time is that of its process from start to end, whatever it does when,
//! but for the questions after its rest; ours has `tidings compact` in it. What a system promises
//! with its acknowledgement differs, and is in the table.
//!
//! Adding a system is a file below this and its line in [`SYSTEMS`].

mod jaeger_badger;
mod system;
mod tempo;
mod tidings;
pub(crate) mod victoria;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::system::{Running, System, spans_of_jaeger, spans_of_tempo};
use crate::{
    Corpus, Plan, Report, SentTrace, TelemetryKind,
    bench_report::count,
    client::Client,
    cost::{Costs, Cpu},
    latency_samples::{Latencies, millis},
    load::{self, LoadRate},
    machine,
    process::IdleCriterion,
    server::folder_bytes,
};

/// All that can be measured, ours among them.
const SYSTEMS: &[System] =
    &[tidings::SYSTEM, victoria::TRACES, jaeger_badger::SYSTEM, tempo::SYSTEM];

const CONNECTIONS: usize = 4;
/// Number of sampled traces that every system must return whole.
const SAMPLED: usize = 100;
/// Number of these that are asked for as soon as everything is sent.
const WATCHED: usize = 5;
/// Maximum time from the last acknowledgement until the spans are visible.
const VISIBLE_MAX: Duration = Duration::from_secs(300);
/// A system is idle when it takes less than a fiftieth of one processor for this long.
const REST: IdleCriterion = IdleCriterion {
    window: Duration::from_secs(20),
    part: 0.02,
    patience: Duration::from_secs(180),
};
/// Time to end after SIGTERM; a system that takes longer is killed.
const END_MAX: Duration = Duration::from_secs(60);
/// Searches for the newest traces of a service.
const SEARCHES: usize = 40;

/// Options of a comparison with other systems.
#[derive(Debug, Clone)]
pub struct PeersOptions {
    /// The programs by their systems' names, ours among them.
    pub programs: BTreeMap<String, PathBuf>,
    /// Data is put into this folder: its disk is measured.
    pub folder: PathBuf,
    /// Number of spans sent to each system.
    pub spans: u64,
    /// Number of rounds; every second one is in the opposite order.
    pub rounds: usize,
    /// Number of spans that requests are encoded for. Requests are sent repeatedly with new ids and
    /// values.
    pub corpus_spans: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Maximum time of a load.
    pub longest: Duration,
    /// True to wait until systems are idle, which takes 20 seconds or longer.
    pub rest: bool,
}

impl PeersOptions {
    /// The names that programs can be given for.
    pub fn systems() -> impl Iterator<Item = &'static str> {
        SYSTEMS.iter().map(|system| system.name)
    }
}

/// Measurements of a system in all rounds.
#[derive(Default)]
struct Measured {
    costs: Costs,
    seconds: Vec<f64>,
    per_second: Vec<f64>,
    refusals: u64,
    /// Number of times that it did not end by itself.
    kills: u32,
    resident_bytes: u64,
    bytes_per_span: f64,
    whole_after: Latencies,
    answers: BTreeMap<&'static str, Latencies>,
}

/// Measures all systems that there are programs for.
///
/// # Errors
/// When one cannot be started, refuses spans, or does not give back what was sent.
pub fn measure_peers(options: &PeersOptions) -> Result<Report> {
    let runtime = Runtime::new()?;
    let corpus = Corpus::new(TelemetryKind::Realistic, options.corpus_spans, options.seed);
    let bench = PeersBench { options, corpus: &corpus, runtime: &runtime };
    let there = SYSTEMS.iter().filter_map(|system| {
        options.programs.get(system.name).map(|program| (system, program.as_path()))
    });
    let there: Vec<_> = there.collect();
    let mut measured: Vec<Measured> = there.iter().map(|_| Measured::default()).collect();
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..there.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let (system, program) = there[at];
            eprintln!("round {}: {}", round + 1, system.name);
            bench.round(system, program, &mut measured[at]).context(system.name)?;
        }
    }
    let mut report = Report::default();
    let is_ours = |(system, _): &(&System, &Path)| system.name == tidings::SYSTEM.name;
    let ours = there.iter().position(is_ours).map(|at| measured[at].of_ratios());
    for ((system, _), measured) in there.iter().zip(&measured) {
        report.column(format!("{}, {}", system.title, count(options.spans)));
        measured.tell(system, &mut report, ours.as_ref());
    }
    for note in machine::describe(&options.folder) {
        report.note(note);
    }
    Ok(report)
}

struct PeersBench<'a> {
    options: &'a PeersOptions,
    corpus: &'a Corpus,
    runtime: &'a Runtime,
}

impl PeersBench<'_> {
    fn round(&self, system: &System, program: &Path, measured: &mut Measured) -> Result<()> {
        let folder = self.folder()?;
        let plan = self.corpus.plan(self.options.spans, machine::unix_nanos());
        let running = (system.start)(program, folder.path())?;
        let pace = LoadRate {
            connections: CONNECTIONS,
            spans_per_second: None,
            longest: self.options.longest,
        };
        let sent = self.runtime.block_on(load::send(&plan, &running.otlp, pace))?;
        ensure!(sent.complete, "not everything was sent within {:?}", pace.longest);
        let traces = plan.traces(SAMPLED);
        measured.whole_after.add(self.whole(
            system,
            &running,
            &traces[..WATCHED.min(traces.len())],
        )?);
        if self.options.rest {
            running.process.cpu_at_rest(REST)?;
        }
        let at_rest = running.process.cpu()?;
        self.whole(system, &running, &traces)?;
        self.ask(system, &running, &plan, measured)?;
        let asking = running.process.cpu()? - at_rest;
        measured.resident_bytes =
            measured.resident_bytes.max(running.process.peak_resident_bytes()?);
        let (cpu, was_killed) = running.process.stop_or_kill(END_MAX)?;
        measured.kills += u32::from(was_killed);
        let cpu = cpu - asking;
        let after = system.after.map_or(Ok(Cpu::default()), |after| after(program, folder.path()));
        let cpu = cpu + after?;
        measured.costs.add(cpu, sent.spans);
        measured.seconds.push(cpu.total() * 1e6 / sent.spans as f64);
        measured.per_second.push(sent.spans_per_second());
        measured.refusals = measured.refusals.max(sent.refusals);
        measured.bytes_per_span =
            folder_bytes(&folder.path().join(system.stored))? as f64 / sent.spans as f64;
        Ok(())
    }

    fn folder(&self) -> Result<TempDir> {
        let folder = &self.options.folder;
        tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())
    }

    /// Asks for the traces until all of them have all spans that were sent. Returns how long that
    /// took.
    fn whole(&self, system: &System, running: &Running, traces: &[SentTrace]) -> Result<Duration> {
        let client = Client::new()?;
        let begin = machine::now();
        self.runtime.block_on(async {
            for trace in traces {
                loop {
                    let found = spans_found(&client, system, running, trace).await?;
                    if found >= u64::from(trace.spans) {
                        break;
                    }
                    if begin.elapsed() > VISIBLE_MAX {
                        bail!("trace {} has {found} of {} spans", trace.id(), trace.spans);
                    }
                    machine::wait(Duration::from_secs(1)).await;
                }
            }
            Ok(begin.elapsed())
        })
    }

    /// Asks the same things twice, and takes the time of the second.
    fn ask(
        &self,
        system: &System,
        running: &Running,
        plan: &Plan<'_>,
        measured: &mut Measured,
    ) -> Result<()> {
        let client = Client::new()?;
        let (begin, end) = plan.bounds_unix_nanos();
        let facts = plan.facts();
        let services = facts.services_by_spans();
        let services: Vec<&str> = services.iter().cycle().take(SEARCHES).copied().collect();
        let ids: Vec<String> = plan.traces(SAMPLED).iter().map(SentTrace::id).collect();
        let mut questions: Vec<(&'static str, Vec<String>)> = Vec::new();
        if let Some(root) = system.jaeger {
            let traces = ids.iter().map(|id| format!("{root}/api/traces/{id}")).collect();
            questions.push(("trace by id, Jaeger's API", traces));
            let (begin, end) = (begin / 1000, end / 1000 + 1);
            let window = format!("start={begin}&end={end}&limit=20");
            let of = |service: &&str| format!("{root}/api/traces?service={service}&{window}");
            questions
                .push(("newest 20 of a service, Jaeger's API", services.iter().map(of).collect()));
        }
        if let Some(root) = system.tempo {
            let traces = ids.iter().map(|id| format!("{root}/api/traces/{id}")).collect();
            questions.push(("trace by id, Tempo's API", traces));
            let (begin, end) = (begin / 1_000_000_000, end / 1_000_000_000 + 1);
            let window = format!("start={begin}&end={end}&limit=20");
            let of = |service: &&str| {
                let query = format!("%7Bresource.service.name%3D%22{service}%22%7D");
                format!("{root}/api/search?q={query}&{window}")
            };
            questions
                .push(("newest 20 of a service, Tempo's API", services.iter().map(of).collect()));
        }
        self.runtime.block_on(async {
            for (name, paths) in &questions {
                let latencies = measured.answers.entry(name).or_default();
                for warm in [false, true] {
                    for path in paths {
                        let got = client.get(&running.http, path).await?;
                        ensure!(got.status == 200, "{path} answered {}", got.status);
                        if warm {
                            latencies.add(got.took);
                        } else {
                            check(path, &got.body)?;
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// Fails if an answer has no traces.
fn check(path: &str, body: &[u8]) -> Result<()> {
    let answer: serde_json::Value = serde_json::from_slice(body)?;
    let listed = answer["data"].as_array().or_else(|| answer["traces"].as_array());
    let is_there = spans_of_tempo(&answer) > 0 || listed.is_some_and(|traces| !traces.is_empty());
    ensure!(is_there, "{path} has nothing");
    Ok(())
}

async fn spans_found(
    client: &Client,
    system: &System,
    running: &Running,
    trace: &SentTrace,
) -> Result<u64> {
    let root = system.jaeger.or(system.tempo).unwrap_or_default();
    let got = client.get(&running.http, &format!("{root}/api/traces/{}", trace.id())).await?;
    if got.status == 404 {
        return Ok(0);
    }
    ensure!(got.status == 200, "a trace: {} {}", got.status, String::from_utf8_lossy(&got.body));
    let answer = serde_json::from_slice(&got.body)?;
    let spans = if system.jaeger.is_some() { spans_of_jaeger } else { spans_of_tempo };
    Ok(spans(&answer))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Figures of Tidings that others are compared with.
struct TidingsFigures {
    seconds: f64,
    per_second: f64,
    resident_bytes: f64,
    bytes_per_span: f64,
    answers: BTreeMap<&'static str, Duration>,
}

impl Measured {
    fn of_ratios(&self) -> TidingsFigures {
        let median = |latencies: &Latencies| latencies.at(0.5);
        TidingsFigures {
            seconds: self::median(&self.seconds),
            per_second: self::median(&self.per_second),
            resident_bytes: self.resident_bytes as f64,
            bytes_per_span: self.bytes_per_span,
            answers: self.answers.iter().map(|(name, took)| (*name, median(took))).collect(),
        }
    }

    fn tell(&self, system: &System, report: &mut Report, ours: Option<&TidingsFigures>) {
        let own = self.of_ratios();
        let ratio = |of: fn(&TidingsFigures) -> f64| {
            ours.map_or_else(String::new, |ours| format!(" ({:.2}×)", of(&own) / of(ours)))
        };
        report.cell("acknowledges when", "", system.acknowledges.to_owned());
        let cell = format!("{}{}", self.costs, ratio(|of| of.seconds));
        report.cell("CPU-seconds per million spans, all in", "", cell);
        let cell = format!("{:.0}{}", own.per_second, ratio(|of| of.per_second));
        report.cell("spans per second taken in, load on the same machine", "", cell);
        report.cell("requests told to try again", "", self.refusals.to_string());
        let mebibytes = self.resident_bytes >> 20;
        let cell = format!("{mebibytes} MiB{}", ratio(|of| of.resident_bytes));
        report.cell("resident memory, most", "", cell);
        let cell = format!("{:.1}{}", own.bytes_per_span, ratio(|of| of.bytes_per_span));
        report.cell("bytes per span on disk", "", cell);
        if self.kills > 0 {
            report.cell(
                "killed, because it did not end within a minute",
                "",
                self.kills.to_string(),
            );
        }
        let cell = millis(self.whole_after.at(1.0));
        report.cell("sampled traces whole after the last acknowledgement, longest", "", cell);
        for (name, took) in &self.answers {
            let ours = ours.and_then(|ours| ours.answers.get(name));
            let ratio = ours.map_or_else(String::new, |ours| {
                format!(" ({:.2}×)", took.at(0.5).as_secs_f64() / ours.as_secs_f64())
            });
            report.cell(&format!("{name}, p50 / p99"), "", format!("{took}{ratio}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_value_in_the_middle() {
        assert!(median(&[]).abs() < f64::EPSILON);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
