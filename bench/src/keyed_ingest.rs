//! Measures what keys and TLS cost whoever takes spans in: the same load for a server that asks for
//! nothing, for one that asks for keys, and for one that asks for keys and speaks TLS.
//!
//! Servers keep everything in memory and in the log, so that the cost of files, which is the same
//! for all of them, does not hide the difference. Each round measures all of them, each round in
//! another order, and ratios compare what was measured in one round.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Runtime;

use crate::{
    Corpus, Report, TelemetryKind,
    bench_report::count,
    client::SenderSecurity,
    cost::{Costs, Cpu},
    load::{self, LoadRate, LoadResult},
    machine,
    random::whole,
    server::{IN_MEMORY, Launch},
};

/// Options of the benchmark of keys.
#[derive(Debug, Clone)]
pub struct KeysOptions {
    /// The program `tidings`.
    pub server: PathBuf,
    /// Data directories are made in this folder: its disk is measured.
    pub folder: PathBuf,
    /// Number of spans that each server takes in each round.
    pub spans: u64,
    /// Number of rounds.
    pub rounds: usize,
    /// Number of spans that requests are encoded for.
    pub corpus_spans: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Maximum time of a load.
    pub longest: Duration,
}

/// Credentials that a server asks of its senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Nothing,
    Key,
    KeyOverTls,
}

const DEMANDS: [(Demand, &str); 3] =
    [(Demand::Nothing, "no keys"), (Demand::Key, "keys"), (Demand::KeyOverTls, "keys over TLS")];
const CONNECTIONS: usize = 4;
/// Load that takes less than a core. At full speed the client, which shares the machine,
/// makes more noise than keys cost.
const SPANS_PER_SECOND: f64 = 100_000.0;

/// Measures all rounds.
///
/// # Errors
/// When a server cannot be started, or refuses spans.
pub fn measure_keys(options: &KeysOptions) -> Result<Report> {
    let runtime = Runtime::new()?;
    let corpus = Corpus::new(TelemetryKind::Realistic, options.corpus_spans, options.seed);
    let bench = KeysBench { options, corpus: &corpus, runtime: &runtime };
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut measured = Vec::new();
        for place in 0..DEMANDS.len() {
            let at = (round + place) % DEMANDS.len();
            measured.push((at, bench.measure(DEMANDS[at].0)?));
        }
        measured.sort_by_key(|(at, _)| *at);
        rounds.push(measured);
    }
    let mut report = Report::default();
    for (at, (_, name)) in DEMANDS.iter().enumerate() {
        report.column((*name).to_owned());
        let (mut costs, mut ratios) = (Costs::default(), Vec::new());
        for round in &rounds {
            let ((_, (open, _)), (_, (cpu, sent))) = (&round[0], &round[at]);
            costs.add(*cpu, sent.spans);
            ratios.push(cpu.total() / open.total());
        }
        report.cell("CPU-seconds per million spans, acknowledged", "", costs.to_string());
        report.cell("ratio to no keys, same round", "keys 1.03", spread(ratios));
    }
    let sent = &rounds[0][0].1.1;
    let requests = sent.acknowledged.len().max(1) as u64;
    report.note(format!(
        "{} rounds of {} spans each at {} a second, {} spans and {} KiB a request, OTLP/gRPC; medians, with their interval of 95 %, the least and the most.",
        options.rounds,
        count(options.spans),
        count(whole(SPANS_PER_SECOND)),
        sent.spans / requests,
        (sent.bytes / requests) >> 10
    ));
    machine::describe(&options.folder).into_iter().for_each(|note| report.note(note));
    Ok(report)
}

/// Formats the median, the interval in which the true median lies with 95 %, the least and the
/// most.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
    let (count, last) = (ratios.len() as f64, ratios.len().saturating_sub(1));
    // The interval is one of ranks: the number of ratios below the true median is binomial.
    let rank = whole((count / 2.0 - 0.98 * count.sqrt()).max(1.0));
    let rank = usize::try_from(rank).unwrap_or(1);
    let (low, high) = (at(rank.saturating_sub(1)), at((last + 1).saturating_sub(rank)));
    format!(
        "{:.3} (95 % within {low:.3} to {high:.3}; {:.3} to {:.3})",
        at(ratios.len() / 2),
        at(0),
        at(last)
    )
}

struct KeysBench<'a> {
    options: &'a KeysOptions,
    corpus: &'a Corpus,
    runtime: &'a Runtime,
}

impl KeysBench<'_> {
    /// Fills a server. Returns its processor time from before the load until it is idle again.
    fn measure(&self, demand: Demand) -> Result<(Cpu, LoadResult)> {
        let folder = &self.options.folder;
        let folder = tempfile::tempdir_in(folder).with_context(|| folder.display().to_string())?;
        let data_dir = folder.path().join("data");
        let mut flags: Vec<String> =
            IN_MEMORY.as_flattened().iter().map(|&flag| flag.into()).collect();
        let mut security = SenderSecurity::default();
        if demand != Demand::Nothing {
            security.key = Some(self.key(&data_dir)?);
            flags.extend(["--require-keys", "true"].map(str::to_owned));
        }
        if demand == Demand::KeyOverTls {
            let (certificate, files) = certificate(folder.path())?;
            security.certificate = Some(certificate);
            flags.extend(files);
        }
        let plan = self.corpus.plan(self.options.spans, machine::unix_nanos());
        let server = Launch { binary: self.options.server.clone(), data_dir, flags }.start()?;
        let idle = server.cpu_at_rest()?;
        let rate = LoadRate {
            connections: CONNECTIONS,
            spans_per_second: Some(SPANS_PER_SECOND),
            longest: self.options.longest,
        };
        let sent = self.runtime.block_on(load::send_as(&security, &plan, &server.otlp, rate))?;
        ensure!(sent.complete, "not everything was sent within {:?}", self.options.longest);
        let cpu = server.cpu_at_rest()? - idle;
        server.kill()?;
        Ok((cpu, sent))
    }

    /// Makes a key for senders.
    fn key(&self, data_dir: &Path) -> Result<String> {
        let mut command = Command::new(&self.options.server);
        command.args(["keys", "create", "--name", "bench", "--role", "ingest", "--data-dir"]);
        let made = command.arg(data_dir).output()?;
        let error = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "a key cannot be made: {error}");
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }
}

/// Makes a certificate for loopback. Returns it, and the flags of a server that has it.
#[expect(clippy::disallowed_methods, reason = "a certificate of a measurement needs no durability")]
fn certificate(folder: &Path) -> Result<(CertificateDer<'static>, Vec<String>)> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
    let mut flags = Vec::new();
    for (flag, file, text) in [
        ("--tls-certificate", "certificate.pem", certificate.pem()),
        ("--tls-key", "key.pem", key.serialize_pem()),
    ] {
        let path = folder.join(file);
        fs::write(&path, text)?;
        flags.extend([flag.to_owned(), path.display().to_string()]);
    }
    Ok((certificate.der().clone(), flags))
}
