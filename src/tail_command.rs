//! `tidings tail [QUERY]`: log records as the server stores them, a line for each.
//!
//! Reads the server-sent events of `/api/v1/logs/tail`. When the connection breaks it connects
//! again and continues after the last record. Telemetry is hostile text: control characters never
//! reach the terminal.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Write},
    mem,
    ops::ControlFlow,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::ArgMatches;
use http_body_util::BodyExt;
use hyper::{StatusCode, body::Incoming};
use serde_json::Value as Json;
use tidings_access::is_printable;
use tidings_proto::{UnixNanos, api::LogView, rfc_3339};
use tidings_storage::{Clock, SystemClock};

use crate::{
    client::{Client, HttpAnswer, percent_encoded},
    client_identity::ClientIdentity,
    settings::Sources,
};

/// Time before the first attempt to connect again. Each further one waits twice as long.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Maximum time between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Maximum silence of a connection. The server sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Maximum bytes of an event: more than a request with one record may have.
const EVENT_BYTES_MAX: usize = 256 << 20;

/// Reads a tail and keeps its position.
#[derive(Debug)]
struct TailReader {
    client: Client,
    server: String,
    path: String,
    /// True when records are printed as the API shows them.
    is_json: bool,
    /// The id of the last record.
    last: Option<String>,
    /// True when the current connection returned a record.
    has_record: bool,
}

/// Reason why a connection gives no more records.
#[derive(Debug)]
enum TailEnd {
    /// Standard output has no reader any more.
    Unread,
    /// Another attempt may succeed.
    Broken(anyhow::Error),
    /// Another attempt would fail as well.
    Failed(anyhow::Error),
}

/// Prints records until Ctrl-C.
pub(crate) fn run(matches: &ArgMatches, sources: &Sources) -> Result<()> {
    let query = matches.get_one::<String>("query").map(|query| percent_encoded(query));
    let query = query.map_or_else(String::new, |query| format!("?q={query}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut tail = TailReader {
        client: Client::new(&ClientIdentity::from_matches(matches, sources)?)?,
        server: sources.text("http"),
        path: format!("/api/v1/logs/tail{query}"),
        is_json: matches.get_flag("json"),
        last: None,
        has_record: false,
    };
    runtime.block_on(async {
        tokio::select! {
            ended = tail.follow() => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C"),
        }
    })
}

impl TailReader {
    /// Prints records until standard output has no reader. Fails when the server was never reached.
    async fn follow(&mut self) -> Result<()> {
        let mut was_connected = false;
        let mut wait = WAIT_MIN;
        loop {
            self.has_record = false;
            let end = match self.connect().await {
                Ok(body) => {
                    was_connected = true;
                    self.print(body).await
                }
                Err(end) => end,
            };
            match end {
                TailEnd::Unread => return Ok(()),
                TailEnd::Broken(error) if was_connected => {
                    if self.has_record {
                        wait = WAIT_MIN;
                    }
                    let reason = printable(&format!("{error:#}"));
                    let gap = match self.last {
                        Some(_) => "",
                        None => "; records that come before that are not shown",
                    };
                    eprintln!("tidings: {reason}; connecting again in {} s{gap}", wait.as_secs());
                    SystemClock.sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
                TailEnd::Broken(error) | TailEnd::Failed(error) => return Err(error),
            }
        }
    }

    /// Opens the stream of events.
    async fn connect(&self) -> Result<Incoming, TailEnd> {
        let response = self.client.events(&self.server, &self.path, self.last.as_deref()).await;
        let response = response.map_err(TailEnd::Broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let answer = HttpAnswer::read(response).await.map_err(TailEnd::Broken)?;
        let error = anyhow!(answer.detail());
        let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(if may_pass { TailEnd::Broken(error) } else { TailEnd::Failed(error) })
    }

    /// Prints the records of a stream.
    async fn print(&mut self, mut body: Incoming) -> TailEnd {
        let mut decoder = EventDecoder::default();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = SystemClock.sleep(SILENCE_MAX) => {
                    let seconds = SILENCE_MAX.as_secs();
                    return TailEnd::Broken(anyhow!("nothing came for {seconds} s"));
                }
            };
            let bytes = match frame {
                None => return TailEnd::Broken(anyhow!("the connection ended")),
                Some(Err(error)) => return TailEnd::Broken(error.into()),
                // Trailers have no records.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let events = match decoder.push(&bytes) {
                Ok(events) => events,
                Err(error) => return TailEnd::Failed(error),
            };
            for event in events {
                if let ControlFlow::Break(end) = self.take(event) {
                    return end;
                }
            }
        }
    }

    fn take(&mut self, event: ServerEvent) -> ControlFlow<TailEnd> {
        match event.name.as_str() {
            "log" => {
                let line = match self.is_json {
                    true => Ok(json_line(&event.data)),
                    false => serde_json::from_str(&event.data).map(|log| line(&log)),
                };
                let printed = line.context("the answer is not what this version expects");
                match printed.map(|line| writeln!(std::io::stdout(), "{line}")) {
                    Ok(Ok(())) => {
                        self.last = event.id.or(self.last.take());
                        self.has_record = true;
                    }
                    Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                        return ControlFlow::Break(TailEnd::Unread);
                    }
                    Ok(Err(error)) => {
                        let error = anyhow::Error::new(error).context("standard output");
                        return ControlFlow::Break(TailEnd::Failed(error));
                    }
                    Err(error) => return ControlFlow::Break(TailEnd::Failed(error)),
                }
            }
            "dropped" => {
                let data: Json = serde_json::from_str(&event.data).unwrap_or_default();
                let count = data["count"].as_u64().unwrap_or_default();
                eprintln!("tidings: {count} records were left out: more came than were taken");
            }
            "end" => return ControlFlow::Break(TailEnd::Broken(anyhow!("the server stops"))),
            "problem" => {
                let data: Json = serde_json::from_str(&event.data).unwrap_or_default();
                let detail = data["detail"].as_str().unwrap_or("the server failed").to_owned();
                return ControlFlow::Break(TailEnd::Broken(anyhow!(detail)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Formats time, severity, service and message of a record.
fn line(log: &LogView) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let (severity, service) = (or_dash(&log.severity), or_dash(&log.service));
    format!("{} {severity:<5} {service} {}", time(log.time_unix_nano), printable(&log.text))
}

/// Formats a time as RFC 3339 does.
fn time(time: UnixNanos) -> String {
    rfc_3339(i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX))
}

/// Returns a text on one line, without control sequences of a terminal.
fn printable(text: &str) -> String {
    let shown = |sign| match sign {
        '\n' | '\r' | '\t' => ' ',
        sign if is_printable(sign) => sign,
        _ => '·',
    };
    text.chars().map(shown).collect()
}

/// Escapes in JSON all that a terminal would obey; such characters occur only in its texts.
fn json_line(data: &str) -> String {
    data.chars().fold(String::with_capacity(data.len()), |mut line, sign| {
        if is_printable(sign) {
            line.push(sign);
        } else {
            for unit in sign.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
        line
    })
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServerEvent {
    name: String,
    id: Option<String>,
    data: String,
}

/// Finds the events in a stream of bytes.
#[derive(Debug, Default)]
struct EventDecoder {
    /// The line that has no end yet.
    line: Vec<u8>,
    /// The event that has no end yet.
    event: ServerEvent,
}

impl EventDecoder {
    /// Takes bytes, and returns the events that end in them.
    ///
    /// # Errors
    /// Fails if an event is longer than any that the server sends.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.event.data.len() + piece.len() > EVENT_BYTES_MAX {
                bail!("an event has more than {} MiB", EVENT_BYTES_MAX >> 20);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.end_line(line.trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(events)
    }

    /// Takes a line, and returns the event that it ends. A comment has an empty name.
    fn end_line(&mut self, line: &str) -> Option<ServerEvent> {
        if line.is_empty() {
            return Some(mem::take(&mut self.event)).filter(|event| !event.name.is_empty());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => self.event.data.push_str(value),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{UnixNanos, api::LogView};

    use super::{EventDecoder, ServerEvent, json_line, line, time};

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream =
            ":\n\nid: a1\nevent: log\ndata: {\"text\":\"é\"}\n\nevent: end\r\ndata: {}\r\n\r\n";
        let event = |name: &str, id: Option<&str>, data: &str| ServerEvent {
            name: name.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        };
        let expected = [event("log", Some("a1"), "{\"text\":\"é\"}"), event("end", None, "{}")];
        for size in 1..stream.len() {
            let mut decoder = EventDecoder::default();
            let pieces = stream.as_bytes().chunks(size);
            let events: Vec<ServerEvent> =
                pieces.flat_map(|piece| decoder.push(piece).unwrap()).collect();
            assert_eq!(events, expected, "{size}");
        }
    }

    #[test]
    fn a_record_is_a_line_that_no_terminal_obeys() {
        let data = serde_json::json!({
            "id": "00000000000000aa", "timeUnixNano": "1795161600020999999",
            "observedUnixNano": "0", "severityNumber": 9, "severityText": "", "severity": "info",
            "service": "shop", "text": "a\u{1b}[2J\n\tb \u{202e}c \u{9b}d", "flags": 0,
            "attributes": [], "droppedAttributesCount": 0, "resource": {}, "scope": {},
        });
        let mut log: LogView = serde_json::from_value(data).unwrap();
        assert_eq!(line(&log), "2026-11-20T08:00:00.020Z info  shop a·[2J  b ·c ·d");
        (log.severity, log.service) = (String::new(), String::new());
        assert_eq!(line(&log), "2026-11-20T08:00:00.020Z -     - a·[2J  b ·c ·d");
        assert_eq!(time(UnixNanos(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(json_line("{\"text\":\"é\u{9b}\u{202e}\"}"), r#"{"text":"é\u009b\u202e"}"#);
    }
}
