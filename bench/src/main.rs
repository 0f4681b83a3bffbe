//! Measures the server; `cargo xtask bench storage` builds both and calls this.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use tidings_bench::{Options, measure};

const USAGE: &str = "\
tidings-bench storage --server PROGRAM --folder FOLDER [--spans N,N…] [--rounds N]
                      [--costs-only yes] [--into PAGE]

  --server   the program to measure
  --folder   where its data goes, on the disk to measure
  --spans    how many spans, for each column of the table (1000000)
  --rounds   how often what storing costs is measured (3)
  --costs-only  measure nothing else
  --into     the page whose table is replaced";

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
    if subject != "storage" {
        bail!("`{subject}` cannot be measured:\n{USAGE}");
    }
    let mut options = Options {
        server: PathBuf::new(),
        folder: PathBuf::new(),
        spans: vec![1_000_000],
        rounds: 3,
        costs_only: false,
        corpus_spans: 60_000,
        seed: 1,
        half_load: Duration::from_secs(15),
        longest: Duration::from_secs(1800),
        questions: 300,
    };
    let mut page = None;
    for pair in flags.chunks(2) {
        let [flag, value] = pair else { bail!("{} needs a value:\n{USAGE}", pair[0]) };
        match flag.as_str() {
            "--server" => options.server = value.into(),
            "--folder" => options.folder = value.into(),
            "--rounds" => options.rounds = value.parse().context("--rounds")?,
            "--costs-only" => options.costs_only = value == "yes",
            "--into" => page = Some(PathBuf::from(value)),
            "--spans" => {
                let numbers = value.split(',').map(|number| number.replace('_', "").parse());
                options.spans = numbers
                    .collect::<Result<_, _>>()
                    .with_context(|| format!("--spans {value}"))?;
            }
            _ => bail!("there is no flag `{flag}`:\n{USAGE}"),
        }
    }
    let report = measure(&options)?;
    writeln!(std::io::stdout(), "{}", report.markdown())?;
    page.map_or(Ok(()), |page| report.write_into(&page, "storage"))
}
