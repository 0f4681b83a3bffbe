//! Disk bytes per span, column by column, as flushed and as compacted.
//!
//! `cargo xtask bench layout` runs it. The crate's telemetry goes through the real store in this
//! process: appended, flushed into several files, compacted. Sizes come from the footers of the
//! data files, so every machine gets the same ones. Processor time is this process's.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads what the store wrote and says what it found"
)]

mod entropy;
mod index_sizes;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use parquet::file::reader::{FileReader, SerializedFileReader};
use tempfile::TempDir;
use tidings_bench::{Corpus, TelemetryKind};
use tidings_storage::{Clock, Store, StoreSettings, SystemClock, TelemetryBatch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
layout [--shape J10|realistic] [--spans N] [--flushes N] [--folder FOLDER] [--columns]

  --shape    of the telemetry (both)
  --spans    how many, or some more (500000)
  --flushes  into how many files they go before they are compacted (5)
  --folder   where the data goes (the folder for temporary files)
  --columns  with a line for every column of the files and section of the indexes, with the
             entropy bound of the column's values";

/// Linux counts the time of processes in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// Requests that the corpus is made of, before they are sent again with other ids.
const CORPUS_SPANS: usize = 60_000;
const SEED: u64 = 1;
const HOUR_NANOS: u64 = 3600 * 1_000_000_000;

struct LayoutOptions {
    shapes: Vec<TelemetryKind>,
    spans: u64,
    flushes: u64,
    folder: PathBuf,
    columns: bool,
}

fn main() -> Result<()> {
    let mut options = LayoutOptions {
        shapes: vec![TelemetryKind::J10, TelemetryKind::Realistic],
        spans: 500_000,
        flushes: 5,
        folder: std::env::temp_dir(),
        columns: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let mut value = || args.next().with_context(|| format!("{flag} needs a value:\n{USAGE}"));
        match flag.as_str() {
            "--shape" => options.shapes = vec![shape(&value()?)?],
            "--spans" => options.spans = value()?.replace('_', "").parse()?,
            "--flushes" => options.flushes = value()?.parse()?,
            "--folder" => options.folder = value()?.into(),
            "--columns" => options.columns = true,
            _ => bail!("there is no flag `{flag}`:\n{USAGE}"),
        }
    }
    let runtime = tokio::runtime::Runtime::new()?;
    for shape in &options.shapes {
        runtime.block_on(measure(*shape, &options))?;
    }
    Ok(())
}

fn shape(name: &str) -> Result<TelemetryKind> {
    let shapes = [TelemetryKind::J10, TelemetryKind::Realistic];
    shapes.into_iter().find(|shape| shape.name() == name).context("there is no such shape")
}

async fn measure(shape: TelemetryKind, options: &LayoutOptions) -> Result<()> {
    let folder = TempDir::new_in(&options.folder)?;
    let spans_folder = folder.path().join("tables/spans");
    let clock = SystemClock;
    let corpus = Corpus::new(shape, CORPUS_SPANS, SEED);
    // Up to the end of the last hour: figures must not depend on where the next one begins.
    let plan = corpus.plan(options.spans, clock.now().0 / HOUR_NANOS * HOUR_NANOS - 1);
    let settings = StoreSettings {
        memory_flush_bytes: 4 << 30,
        memory_flush_age: Duration::from_secs(86_400),
        memory_bytes_max: 8 << 30,
        wal_bytes_max: 64 << 30,
        removed_file_age: Duration::ZERO,
        ..StoreSettings::new(folder.path())
    };
    let (store, _) = Store::open(settings, Arc::new(clock)).await?;
    let per_flush = plan.spans.div_ceil(options.flushes.max(1));
    let (mut appending, mut flushing) = (Spent::default(), Spent::default());
    let mut sent = 0;
    let mut waiting = 0;
    for (number, send) in plan.sends.iter().enumerate() {
        let body = plan.body(send);
        let begin = cpu_seconds()?;
        store.append(TelemetryBatch::EncodedTraces(body.into())).await?;
        appending.0 += cpu_seconds()? - begin;
        (sent, waiting) = (sent + send.spans, waiting + send.spans);
        if waiting >= per_flush || number + 1 == plan.sends.len() {
            let begin = cpu_seconds()?;
            store.flush().await?;
            flushing.0 += cpu_seconds()? - begin;
            waiting = 0;
        }
    }
    let flushed = Sizes::read(&spans_folder, false)?;
    let begin = cpu_seconds()?;
    store.compact(true).await?;
    let compacting = Spent(cpu_seconds()? - begin);
    let compacted = Sizes::read(&spans_folder, options.columns)?;
    store.close().await?;
    for sizes in [&flushed, &compacted] {
        ensure!(sizes.rows == sent, "{} rows are in files, {sent} were sent", sizes.rows);
    }
    println!(
        "\n{}: {sent} spans in {} files, then {}",
        shape.name(),
        flushed.files,
        compacted.files
    );
    println!(
        "CPU-seconds per million spans: append {:.2}, flush {:.2}, compact {:.2}",
        appending.per_million(sent),
        flushing.per_million(sent),
        compacting.per_million(sent)
    );
    print(&flushed, &compacted, options.columns);
    Ok(())
}

/// Processor time in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Spent(f64);

impl Spent {
    fn per_million(self, spans: u64) -> f64 {
        self.0 * 1e6 / spans as f64
    }
}

/// The processor time of this process so far.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("an unknown form of stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |field: usize| -> Result<f64> {
        Ok(fields.get(field).context("stat is short")?.parse::<f64>()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The bytes of a table's files.
#[derive(Debug, Default)]
struct Sizes {
    files: u64,
    rows: u64,
    columns: BTreeMap<String, ColumnSize>,
    /// Bytes of files outside of columns: footers, page indexes, filters.
    besides: u64,
    /// Bytes of the files of `_index`.
    indexes: u64,
    /// Bytes of their sections, by name.
    sections: BTreeMap<&'static str, u64>,
}

/// A column of a table's files.
#[derive(Debug, Default)]
struct ColumnSize {
    compressed_bytes: u64,
    /// Of the last file.
    encodings: String,
    /// Entropy bound in bytes; 0 when it was not asked for.
    bound: f64,
}

impl Sizes {
    /// Sizes of the files of a table, with entropy bounds or without.
    fn read(table: &Path, with_bounds: bool) -> Result<Self> {
        let mut sizes = Self::default();
        let mut folders = vec![table.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                let ending = path.extension().and_then(|ending| ending.to_str());
                match ending {
                    _ if path.is_dir() => folders.push(path),
                    Some("parquet") if !path.starts_with(table.join("_delta_log")) => {
                        sizes.add(&path, with_bounds)?;
                    }
                    Some("index") => {
                        let index = fs::read(&path)?;
                        sizes.indexes += index.len() as u64;
                        index_sizes::add(&index, &mut sizes.sections)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(sizes)
    }

    fn add(&mut self, path: &Path, with_bounds: bool) -> Result<()> {
        let bytes = fs::metadata(path)?.len();
        let reader = SerializedFileReader::new(File::open(path)?)?;
        let mut in_columns = 0;
        for group in reader.metadata().row_groups() {
            self.rows += u64::try_from(group.num_rows())?;
            for column in group.columns() {
                let size = u64::try_from(column.compressed_size())?;
                in_columns += size;
                let of_column = self.columns.entry(column.column_path().string()).or_default();
                of_column.compressed_bytes += size;
                let encodings: Vec<_> = column.encodings().map(|one| format!("{one}")).collect();
                of_column.encodings = encodings.join("+");
            }
        }
        if with_bounds {
            let columns = reader.metadata().file_metadata().schema_descr().columns();
            for (column, bound) in columns.iter().zip(entropy::bounds(&reader)?) {
                self.columns.entry(column.path().string()).or_default().bound += bound;
            }
        }
        self.files += 1;
        self.besides += bytes.saturating_sub(in_columns);
        Ok(())
    }

    fn column(&self, name: &str) -> f64 {
        self.columns.get(name).map_or(0.0, |column| self.per_row(column.compressed_bytes))
    }

    fn per_row(&self, bytes: u64) -> f64 {
        bytes as f64 / self.rows.max(1) as f64
    }

    fn total(&self) -> u64 {
        self.in_columns() + self.besides + self.indexes
    }

    fn in_columns(&self) -> u64 {
        self.columns.values().map(|column| column.compressed_bytes).sum()
    }
}

fn print(flushed: &Sizes, compacted: &Sizes, columns: bool) {
    println!("{:>9} {:>9}  bytes per span", "flushed", "compacted");
    if columns {
        println!("{:>9} {:>9} {:>9}  column", "", "", "bound");
        let mut names: Vec<&String> = compacted.columns.keys().collect();
        names.sort_by(|a, b| compacted.column(b).total_cmp(&compacted.column(a)));
        for name in names {
            let Some(ColumnSize { encodings, bound, .. }) = compacted.columns.get(name) else {
                continue;
            };
            let (before, after) = (flushed.column(name), compacted.column(name));
            let bound = bound / compacted.rows.max(1) as f64;
            println!("{before:9.3} {after:9.3} {bound:9.3}  {name}  {encodings}");
        }
        for (name, bytes) in &compacted.sections {
            let before = flushed.sections.get(name).copied().unwrap_or_default();
            let (before, after) = (flushed.per_row(before), compacted.per_row(*bytes));
            println!("{before:9.3} {after:9.3} {:>9}  index: {name}", "");
        }
    }
    let line = |name: &str, of: &dyn Fn(&Sizes) -> u64| {
        let (before, after) = (flushed.per_row(of(flushed)), compacted.per_row(of(compacted)));
        println!("{before:9.2} {after:9.2}  {name}");
    };
    line("columns", &Sizes::in_columns);
    line("footers, page indexes, bloom filters", &|sizes| sizes.besides);
    line("_index", &|sizes| sizes.indexes);
    line("all", &|sizes| sizes.total());
}
