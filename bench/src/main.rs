//! Measures the server; `cargo xtask bench` builds both and calls this.

use std::{io::Write, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use tidings_bench::{
    KeysOptions, LogsOptions, PeersOptions, QueryOptions, StorageOptions, measure, measure_keys,
    measure_logs, measure_peers, measure_queries,
};

/// Spans that requests are encoded for.
const CORPUS_SPANS: usize = 60_000;

const USAGE: &str = "\
tidings-bench storage --server PROGRAM --folder FOLDER [--spans N,N…] [--rounds N]
                      [--costs-only yes] [--into PAGE]
tidings-bench keys    --server PROGRAM --folder FOLDER [--spans N] [--rounds N] [--into PAGE]
tidings-bench query   --server PROGRAM --folder FOLDER [--spans N,N…] [--window HOURS]
                      [--keep yes] [--seconds N] [--only WORDS] [--into PAGE]
tidings-bench logs    --server PROGRAM --folder FOLDER [--records N,N…] [--window HOURS]
                      [--asks N] [--ask-seconds N] [--victoria-logs PROGRAM] [--into PAGE]
tidings-bench peers   --server PROGRAM --folder FOLDER [--spans N] [--rounds N] [--into PAGE]
                      [--victoria-traces PROGRAM] [--jaeger PROGRAM] [--tempo PROGRAM]

  --server   the program to measure
  --folder   where its data goes, on the disk to measure
  --into     the page whose table is replaced
storage, keys, query, peers:
  --spans    how many spans, for each column of the table (1000000)
storage, keys, peers:
  --rounds   how often what storing costs is measured (3)
storage:
  --costs-only  measure nothing else
query, logs:
  --window   within how many hours the spans begin (24)
query:
  --seconds  how long each question is asked again and again (20)
  --keep     leave data in the folder, and measure what was left there without sending it again
  --only     only questions with these words in their names
logs:
  --records  how many log records, for each column of the table (1000000)
  --asks     how often each question is asked after the first time (30)
  --ask-seconds  how long one ask may take; a question that takes longer is given up (60)
  --victoria-logs  the program of VictoriaLogs, to measure it beside
peers:
  --victoria-traces, --jaeger, --tempo  programs to measure beside";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let [subject, flags @ ..] = args else { bail!("what to measure?\n{USAGE}") };
    let flags = Flags::parse(flags)?;
    let report = match subject.as_str() {
        "storage" => measure(&storage(&flags)?)?,
        "keys" => measure_keys(&keys(&flags)?)?,
        "query" => measure_queries(&query(&flags)?)?,
        "logs" => measure_logs(&logs(&flags)?)?,
        "peers" => measure_peers(&peers(&flags)?)?,
        _ => bail!("`{subject}` cannot be measured:\n{USAGE}"),
    };
    writeln!(std::io::stdout(), "{}", report.markdown())?;
    flags.text("--into").map_or(Ok(()), |page| report.write_into(Path::new(page), subject))
}

fn storage(flags: &Flags) -> Result<StorageOptions> {
    flags.allow(&["--spans", "--rounds", "--costs-only"])?;
    Ok(StorageOptions {
        server: flags.text("--server").unwrap_or_default().into(),
        folder: flags.text("--folder").unwrap_or_default().into(),
        spans: flags.spans()?,
        rounds: flags.number("--rounds")?.unwrap_or(3),
        costs_only: flags.text("--costs-only") == Some("yes"),
        corpus_spans: CORPUS_SPANS,
        seed: 1,
        half_load: Duration::from_secs(15),
        longest: Duration::from_secs(1800),
        questions: 300,
    })
}

fn keys(flags: &Flags) -> Result<KeysOptions> {
    flags.allow(&["--spans", "--rounds"])?;
    let [spans] = flags.spans()?[..] else { bail!("keys are measured with one number of spans") };
    Ok(KeysOptions {
        server: flags.text("--server").unwrap_or_default().into(),
        folder: flags.text("--folder").unwrap_or_default().into(),
        spans,
        rounds: flags.number("--rounds")?.unwrap_or(5),
        corpus_spans: CORPUS_SPANS,
        seed: 1,
        longest: Duration::from_secs(600),
    })
}

fn query(flags: &Flags) -> Result<QueryOptions> {
    flags.allow(&["--spans", "--window", "--keep", "--seconds", "--only"])?;
    let hours = flags.number("--window")?.unwrap_or(24);
    let seconds = flags.number("--seconds")?.unwrap_or(20);
    Ok(QueryOptions {
        server: flags.text("--server").unwrap_or_default().into(),
        folder: flags.text("--folder").unwrap_or_default().into(),
        spans: flags.spans()?,
        window: Duration::from_secs(3600 * hours as u64),
        keep: flags.text("--keep") == Some("yes"),
        only: flags.text("--only").map(str::to_owned),
        corpus_spans: CORPUS_SPANS,
        seed: 1,
        longest: Duration::from_secs(2 * 3600),
        patience: Duration::from_secs(seconds as u64),
        repeats: 100,
    })
}

fn logs(flags: &Flags) -> Result<LogsOptions> {
    flags.allow(&["--records", "--window", "--asks", "--ask-seconds", "--victoria-logs"])?;
    let hours = flags.number("--window")?.unwrap_or(24);
    let seconds = flags.number("--ask-seconds")?.unwrap_or(60);
    Ok(LogsOptions {
        server: flags.text("--server").unwrap_or_default().into(),
        victoria_logs: flags.text("--victoria-logs").map(Into::into),
        folder: flags.text("--folder").unwrap_or_default().into(),
        records: flags.numbers("--records")?,
        window: Duration::from_secs(3600 * hours as u64),
        seed: 1,
        longest: Duration::from_secs(2 * 3600),
        patience: Duration::from_secs(seconds as u64),
        repeats: flags.number("--asks")?.unwrap_or(30),
    })
}

fn peers(flags: &Flags) -> Result<PeersOptions> {
    let names: Vec<String> = PeersOptions::systems().map(|name| format!("--{name}")).collect();
    let mut allowed: Vec<&str> = names.iter().map(String::as_str).collect();
    allowed.extend(["--spans", "--rounds"]);
    flags.allow(&allowed)?;
    let program =
        |name: &'static str| Some((name.to_owned(), flags.text(&format!("--{name}"))?.into()));
    let [spans] = flags.spans()?[..] else { bail!("one number of spans is compared at a time") };
    Ok(PeersOptions {
        programs: PeersOptions::systems().filter_map(program).collect(),
        folder: flags.text("--folder").unwrap_or_default().into(),
        spans,
        rounds: flags.number("--rounds")?.unwrap_or(3),
        corpus_spans: CORPUS_SPANS,
        seed: 1,
        longest: Duration::from_secs(1800),
        rest: true,
    })
}

/// Flags with their values.
struct Flags(Vec<(String, String)>);

impl Flags {
    fn parse(args: &[String]) -> Result<Self> {
        let pairs = args.chunks(2).map(|pair| match pair {
            [flag, value] => Ok((flag.clone(), value.clone())),
            _ => bail!("{} needs a value:\n{USAGE}", pair[0]),
        });
        pairs.collect::<Result<_>>().map(Self)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<usize>> {
        let text = self.text(name);
        text.map(|text| text.replace('_', "").parse().with_context(|| name.to_owned())).transpose()
    }

    fn spans(&self) -> Result<Vec<u64>> {
        self.numbers("--spans")
    }

    fn numbers(&self, name: &str) -> Result<Vec<u64>> {
        let text = self.text(name).unwrap_or("1000000");
        let numbers = text.split(',').map(|number| number.replace('_', "").parse());
        numbers.collect::<Result<_, _>>().with_context(|| format!("{name} {text}"))
    }

    /// Refuses all others but those that every subject has.
    fn allow(&self, allowed: &[&str]) -> Result<()> {
        let every = ["--server", "--folder", "--into"];
        let mut flags = self.0.iter().map(|(flag, _)| flag.as_str());
        match flags.find(|flag| !every.contains(flag) && !allowed.contains(flag)) {
            Some(flag) => bail!("there is no flag `{flag}` here:\n{USAGE}"),
            None => Ok(()),
        }
    }
}
