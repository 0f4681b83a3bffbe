//! `tidings import FILE…`: files of any known format, sent to a running server as OTLP.

mod split;

use std::{
    io::{Cursor, Read, Write},
    path::Path,
};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::ArgMatches;
use prost::Message;
use tidings_proto::{
    import::{Imported, detect},
    otlp::{ExportLogsServiceResponse, ExportTraceServiceResponse, RpcStatus},
};

use crate::{
    client::{Client, HttpAnswer},
    client_identity::ClientIdentity,
    settings::Sources,
    terminal::error_with_causes,
};

/// The largest file that is read into memory, decompressed.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Counts of sent items.
#[derive(Debug, Default)]
struct Report {
    spans: usize,
    log_records: usize,
    rejected: i64,
    reasons: Vec<String>,
}

/// Sends every file and prints its result. A file that fails does not stop the others, but the
/// command fails.
pub(crate) fn run(matches: &ArgMatches, sources: &Sources) -> Result<()> {
    let files: Vec<_> =
        matches.get_many::<std::path::PathBuf>("file").unwrap_or_default().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&ClientIdentity::from_matches(matches, sources)?)?;
    let server = sources.text("otlp-http");
    let mut out = std::io::stdout().lock();
    let (mut failed, mut refused) = (0_usize, 0_u64);
    for path in &files {
        let name = path.display();
        let sent = read(path)
            .and_then(|content| Ok(detect(&content)?))
            .and_then(|found| runtime.block_on(send(&client, &server, found)));
        let report = match sent {
            Ok(report) => report,
            Err(error) if files.len() == 1 => return Err(error.context(name.to_string())),
            Err(error) => {
                failed += 1;
                writeln!(out, "{name}: not sent: {}", error_with_causes(&error))?;
                continue;
            }
        };
        writeln!(out, "{name}: {} spans, {} log records sent", report.spans, report.log_records)?;
        if report.rejected > 0 {
            writeln!(out, "{name}: {} refused: {}", report.rejected, report.reasons.join("; "))?;
            refused += u64::try_from(report.rejected).unwrap_or_default();
        }
    }
    if failed > 0 {
        bail!("{failed} of {} files could not be imported", files.len());
    }
    if refused > 0 {
        bail!("{refused} of the records that were sent were refused");
    }
    Ok(())
}

/// Reads the file's content, decompressed when it is gzip or zstd.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut raw)?;
    } else {
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut raw)?;
    }
    let content = match raw.as_slice() {
        [0x1f, 0x8b, ..] => limited(flate2::read::MultiGzDecoder::new(Cursor::new(raw)))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            limited(zstd::stream::read::Decoder::new(Cursor::new(raw))?)?
        }
        _ => raw,
    };
    if u64::try_from(content.len())? > FILE_BYTES_MAX {
        bail!("it has more than {} GiB; import it in parts", FILE_BYTES_MAX >> 30);
    }
    Ok(content)
}

fn limited(decoder: impl Read) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    decoder.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok(content)
}

async fn send(client: &Client, server: &str, found: Vec<Imported>) -> Result<Report> {
    let mut report = Report::default();
    for part in found {
        match part {
            Imported::Traces(request) => {
                for request in split::split(request) {
                    report.spans += split::spans(&request);
                    let answer =
                        post(client, server, "/v1/traces", request.encode_to_vec()).await?;
                    let answer = ExportTraceServiceResponse::decode(answer.body)?;
                    if let Some(partial) = answer.partial_success {
                        report.refuse(partial.rejected_spans, partial.error_message);
                    }
                }
            }
            Imported::Logs(request) => {
                for request in split::split(request) {
                    report.log_records += split::log_records(&request);
                    let answer = post(client, server, "/v1/logs", request.encode_to_vec()).await?;
                    let answer = ExportLogsServiceResponse::decode(answer.body)?;
                    if let Some(partial) = answer.partial_success {
                        report.refuse(partial.rejected_log_records, partial.error_message);
                    }
                }
            }
        }
    }
    Ok(report)
}

impl Report {
    fn refuse(&mut self, count: i64, reason: String) {
        self.rejected += count;
        if !reason.is_empty() && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

async fn post(client: &Client, server: &str, path: &str, body: Vec<u8>) -> Result<HttpAnswer> {
    let answer = client.post(server, path, "application/x-protobuf", Bytes::from(body)).await?;
    if !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let reason = RpcStatus::decode(answer.body).map_or(text, |status| status.message);
        bail!("{server} answered {}: {reason}", answer.status);
    }
    Ok(answer)
}
