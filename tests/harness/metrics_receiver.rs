//! A collector that receives metrics over OTLP/HTTP.

use std::sync::{
    Arc, LazyLock, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use prost::Message;
use tidings_proto::otlp::ExportMetricsServiceRequest;
use tokio::{net::TcpListener, runtime::Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

/// A running collector.
pub(crate) struct MetricsReceiver {
    /// Its URL, such as `http://127.0.0.1:4318`.
    pub(crate) url: String,
    state: Arc<ReceivedMetrics>,
}

struct ReceivedMetrics {
    status: AtomicU16,
    requests: Mutex<Vec<ExportMetricsServiceRequest>>,
}

impl MetricsReceiver {
    pub(crate) fn start() -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let status = AtomicU16::new(200);
        let state = Arc::new(ReceivedMetrics { status, requests: Mutex::default() });
        let routes = Router::new().route("/v1/metrics", post(take)).with_state(Arc::clone(&state));
        RUNTIME.spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }

    /// Answers requests with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Returns all requests so far, whatever status they were answered with.
    pub(crate) fn requests(&self) -> Vec<ExportMetricsServiceRequest> {
        self.state.requests.lock().unwrap().clone()
    }
}

async fn take(
    State(state): State<Arc<ReceivedMetrics>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    if headers["content-type"] != "application/x-protobuf" {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "");
    }
    let Ok(request) = ExportMetricsServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, "no protobuf");
    };
    state.requests.lock().unwrap().push(request);
    let status = StatusCode::from_u16(state.status.load(Ordering::Relaxed)).unwrap();
    (status, if status.is_success() { "" } else { "no room" })
}
