//! A collector on free ports, a sink that records or fails, and clients.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine, alphabet, engine};
use bytes::{BufMut, Bytes};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tidings_collector::{
    Collector, CollectorLimits, CollectorSettings, RECEIVERS, ReadApi, Sink, TrustedProxies,
};
use tidings_proto::otlp::{BadRequest, RetryInfo, RpcStatus, decode_json};
use tidings_storage::{Clock, StorageError, SystemClock, TelemetryBatch};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
};

pub(crate) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// Maximum time of a response, on a slow machine, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The behaviour of the sink instead of storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    WalFull,
    DiskFull,
    Io,
    Closed,
    Corrupt,
    Panic,
    /// Memory is full, which is known before decoding.
    NoRoom,
    /// Memory is full, which is found by the conversion to rows.
    NoRoomForRows,
}

#[derive(Debug)]
pub(crate) struct RecordingSink {
    pub(crate) batches: Mutex<Vec<TelemetryBatch>>,
    pub(crate) fault: Mutex<Option<Fault>>,
    /// Appends wait for a permit, of which there are plenty unless a test takes them.
    pub(crate) permits: Semaphore,
    pub(crate) waiting: watch::Sender<usize>,
    pub(crate) appends: AtomicUsize,
    pub(crate) conversions: AtomicUsize,
}

impl Sink for RecordingSink {
    fn append(&self, batch: TelemetryBatch) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.appends.fetch_add(1, SeqCst);
            self.waiting.send_modify(|count| *count += 1);
            self.permits.acquire().await.unwrap().forget();
            self.waiting.send_modify(|count| *count -= 1);
            let fault = *self.fault.lock().unwrap();
            match fault {
                None => {
                    self.batches.lock().unwrap().push(batch);
                    Ok(())
                }
                Some(Fault::WalFull) => Err(StorageError::WalFull { bytes: 2, limit: 1 }),
                Some(Fault::DiskFull) => Err(StorageError::DiskFull { free: 1, reserve: 2 }),
                Some(Fault::Io) => Err(StorageError::Io {
                    action: "sync",
                    path: "wal/1".into(),
                    source: std::io::Error::other("no"),
                }),
                Some(Fault::Closed) => Err(StorageError::Closed),
                Some(Fault::Corrupt) => {
                    Err(StorageError::Corrupt { path: "wal/1".into(), reason: "bits".to_owned() })
                }
                Some(Fault::Panic) => panic!("the sink panics, as this test wants"),
                Some(Fault::NoRoom | Fault::NoRoomForRows) => unreachable!("refused before"),
            }
        })
    }

    fn convert(&self, batch: TelemetryBatch) -> Result<TelemetryBatch, StorageError> {
        if *self.fault.lock().unwrap() == Some(Fault::NoRoomForRows) {
            return Err(StorageError::MemoryFull { bytes: 2, limit: 1 });
        }
        self.conversions.fetch_add(1, SeqCst);
        Ok(batch)
    }

    fn check_capacity(&self) -> Result<(), StorageError> {
        match *self.fault.lock().unwrap() {
            Some(Fault::NoRoom) => Err(StorageError::MemoryFull { bytes: 2, limit: 1 }),
            _ => Ok(()),
        }
    }
}

pub(crate) struct Running {
    pub(crate) collector: Collector,
    pub(crate) sink: Arc<RecordingSink>,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) zipkin: SocketAddr,
}

pub(crate) async fn start() -> Running {
    start_with(CollectorLimits::default()).await
}

pub(crate) async fn start_with(limits: CollectorLimits) -> Running {
    start_all(settings(limits), None, Arc::new(SystemClock)).await
}

/// Starts a collector behind these trusted proxies.
pub(crate) async fn start_behind(proxies: &[&str], limits: CollectorLimits) -> Running {
    let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
    let proxies = TrustedProxies::read(&proxies).unwrap();
    let settings = CollectorSettings { proxies, ..settings(limits) };
    start_all(settings, None, Arc::new(SystemClock)).await
}

/// Starts a collector with an API that answers queries on the Zipkin address.
pub(crate) async fn start_beside(reads: Arc<dyn ReadApi>) -> Running {
    start_beside_at(reads, Arc::new(SystemClock)).await
}

/// As [`start_beside`], with this clock.
pub(crate) async fn start_beside_at(reads: Arc<dyn ReadApi>, clock: Arc<dyn Clock>) -> Running {
    start_all(settings(CollectorLimits::default()), Some(reads), clock).await
}

/// Returns settings with free ports and these bounds.
fn settings(limits: CollectorLimits) -> CollectorSettings {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let receivers = RECEIVERS.iter().map(|receiver| (receiver.setting, any)).collect();
    CollectorSettings { limits, ..CollectorSettings::new(receivers) }
}

async fn start_all(
    settings: CollectorSettings,
    reads: Option<Arc<dyn ReadApi>>,
    clock: Arc<dyn Clock>,
) -> Running {
    let sink = Arc::new(RecordingSink {
        batches: Mutex::default(),
        fault: Mutex::default(),
        permits: Semaphore::new(1 << 20),
        waiting: watch::Sender::new(0),
        appends: AtomicUsize::new(0),
        conversions: AtomicUsize::new(0),
    });
    let same_sink = Arc::clone(&sink) as Arc<dyn Sink>;
    let collector = Collector::start_beside(settings, same_sink, reads, clock).await.unwrap();
    let address = |name: &str| {
        let receivers = collector.receivers();
        let receiver = receivers.iter().find(|receiver| receiver.name == name).unwrap();
        receiver.address.parse().unwrap()
    };
    let (grpc, http, zipkin) = (address("otlp/grpc"), address("otlp/http"), address("zipkin"));
    Running { collector, sink, grpc, http, zipkin }
}

impl Running {
    pub(crate) fn fail(&self, fault: impl Into<Option<Fault>>) {
        *self.sink.fault.lock().unwrap() = fault.into();
    }

    /// Returns the stored batches, decoded. `bytes` is set for those that were stored as they were
    /// sent.
    pub(crate) fn batches(&self) -> Vec<TelemetryBatch> {
        let decoded = |batch| match batch {
            TelemetryBatch::EncodedTraces(bytes) => TelemetryBatch::Traces {
                request: Message::decode(bytes.clone()).unwrap(),
                bytes: Some(bytes),
            },
            TelemetryBatch::EncodedLogs(bytes) => TelemetryBatch::Logs {
                request: Message::decode(bytes.clone()).unwrap(),
                bytes: Some(bytes),
            },
            batch => batch,
        };
        self.sink.batches.lock().unwrap().iter().cloned().map(decoded).collect()
    }

    /// Returns the number of refusals of a receiver for a reason.
    pub(crate) fn refused(&self, receiver: &str, reason: &str) -> u64 {
        self.collector
            .refusals()
            .iter()
            .find(|count| count.receiver == receiver && count.reason == reason)
            .map_or(0, |count| count.count)
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        request(self.http, Method::POST, path, headers, body).await
    }

    pub(crate) async fn zipkin(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        request(self.zipkin, Method::POST, "/api/v2/spans", headers, body).await
    }

    pub(crate) async fn call(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> GrpcReply {
        let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
        all.extend(headers);
        let reply = request2(self.grpc, path, &all, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        GrpcReply::of(reply)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Decodes the body as `google.rpc.Status`, in the encoding of its content type.
    pub(crate) fn rpc_status(&self) -> RpcStatus {
        match self.header("content-type").unwrap() {
            "application/x-protobuf" => RpcStatus::decode(self.body.clone()).unwrap(),
            "application/json" => decode_json(&self.body).unwrap(),
            other => panic!("content type {other}: {self:?}"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct GrpcReply {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) details: Option<RpcStatus>,
    /// The response message, if there is one.
    pub(crate) response: Option<Bytes>,
    pub(crate) headers: HeaderMap,
}

impl GrpcReply {
    fn of(reply: Reply) -> Self {
        assert_eq!(reply.header("content-type"), Some("application/grpc"));
        let end = reply.trailers.as_ref().unwrap_or(&reply.headers);
        let text = |name| end.get(name).map(|value| value.to_str().unwrap().to_owned());
        let indifferent = engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(engine::DecodePaddingMode::Indifferent);
        let base64 = engine::GeneralPurpose::new(&alphabet::STANDARD, indifferent);
        let details = text("grpc-status-details-bin")
            .map(|details| RpcStatus::decode(&*base64.decode(details).unwrap()).unwrap());
        let response = (!reply.body.is_empty()).then(|| {
            assert_eq!(reply.body[0], 0);
            let length = u32::from_be_bytes(reply.body[1..5].try_into().unwrap());
            assert_eq!(reply.body.len(), 5 + length as usize);
            reply.body.slice(5..)
        });
        let code = text("grpc-status").expect("every answer has a status").parse().unwrap();
        if let Some(details) = &details {
            assert_eq!(details.code, code);
        }
        let message = text("grpc-message").unwrap_or_default();
        Self { code, message, details, response, headers: reply.headers }
    }

    pub(crate) fn retry(&self) -> Option<i64> {
        retry(self.details.as_ref()?)
    }
}

/// Returns the delay in a status' `RetryInfo`, in seconds.
pub(crate) fn retry(status: &RpcStatus) -> Option<i64> {
    let info: RetryInfo = detail(status, "google.rpc.RetryInfo")?;
    Some(info.retry_delay.unwrap().seconds)
}

pub(crate) fn bad_request(status: &RpcStatus) -> Option<BadRequest> {
    detail(status, "google.rpc.BadRequest")
}

fn detail<T: Message + Default>(status: &RpcStatus, name: &str) -> Option<T> {
    let any = status.details.iter().find(|any| any.type_url.ends_with(name))?;
    Some(T::decode(any.value.as_slice()).unwrap())
}

pub(crate) async fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", address.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let answer = async { collect(sender.send_request(request).await.unwrap()).await };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
}

pub(crate) async fn request2(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let answer = async { collect(sender.send_request(request).await.unwrap()).await };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
}

pub(crate) async fn collect(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    Reply { status: head.status, headers: head.headers, trailers, body: collected.to_bytes() }
}

/// Returns the message with gRPC's prefix.
pub(crate) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.put_u32(message.len() as u32);
    framed.extend(message);
    framed
}
