//! Answers that are read slowly or not at all, beside queries of other clients.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::Request,
    response::{IntoResponse, Response},
};
use futures::{FutureExt, StreamExt};
use http_body_util::BodyExt;
use tidings_query::ClientId;
use tidings_sql::{AnswerFormat, SqlError, SqlLimits, router};
use tidings_storage::{Clock, SystemClock};
use tower::ServiceExt;

use crate::harness::{Harness, span};

/// Maximum time until another client is answered, on a slow machine too.
const SECONDS: Duration = Duration::from_secs(20);

async fn filled(limits: SqlLimits) -> Harness {
    let harness = Harness::with(limits).await;
    harness.send("shop", (1..=3_000).map(|id| span(1, id, "a")).collect()).await;
    harness
}

async fn ask(router: &Router, client: &str) -> Response {
    let request = Request::get("/api/v1/sql?query=SELECT+*+FROM+spans");
    let request = request.extension(ClientId::new(client)).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.into_response()
}

/// Checks that this client reads its whole answer in time.
async fn check_answered(router: &Router, client: &str) {
    let begun = SystemClock.instant();
    let answer = tokio::time::timeout(SECONDS, ask(router, client)).await.unwrap();
    assert_eq!(answer.status(), 200, "{client}");
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(answer.len() > 3_000 && begun.elapsed() < SECONDS, "{client}");
}

#[tokio::test]
async fn four_unread_answers_of_one_client_keep_no_other_out() {
    let sending_min = Duration::from_millis(100);
    for running_max in [1, 2, 4] {
        let limits = SqlLimits { running_max, sending_min, ..SqlLimits::default() };
        let limits = SqlLimits { slot_wait: SECONDS, ..limits };
        let harness = filled(limits).await;
        let of_default = router(Some(harness.service.clone()));
        let other = Harness::new().await;
        other.send("other", (1..=3_000).map(|id| span(1, id, "a")).collect()).await;
        let of_other = router(Some(harness.service.beside(other.store.clone())));
        let mut unread = Vec::new();
        for _ in 0..running_max {
            let asked = ask(&of_default, "greedy");
            // One client may not have all four slots.
            match tokio::time::timeout(Duration::from_secs(2), asked).await {
                Ok(answer) => unread.push(answer),
                Err(_) => break,
            }
        }
        assert!(unread.iter().all(|answer| answer.status() == 200));
        check_answered(&of_default, "another").await;
        check_answered(&of_other, "of another tenant").await;
        drop(unread);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_gives_its_place_back_in_the_end() {
    let sending_max = Duration::from_millis(300);
    let harness = filled(SqlLimits { sending_max, ..SqlLimits::default() }).await;
    let answer = harness.ask("SELECT * FROM spans").await.unwrap();
    let mut parts = answer.parts(AnswerFormat::Json);
    assert_eq!(harness.service.running(), 1);
    while harness.service.running() > 0 {
        tokio::task::yield_now().await;
    }
    // Waiting parts are dropped, and the reader gets an error.
    let mut last = parts.next().await;
    while let Some(Ok(_)) = last {
        last = parts.next().await;
    }
    assert!(matches!(last, Some(Err(SqlError::SlowReader { .. }))), "{last:?}");
    assert!(parts.next().now_or_never().unwrap().is_none());
}

#[tokio::test]
async fn an_answer_that_is_read_piece_by_piece_arrives_whole() {
    let harness = Arc::new(filled(SqlLimits::default()).await);
    let whole = harness.ask("SELECT * FROM spans").await.unwrap();
    let whole: Vec<_> = whole.parts(AnswerFormat::Csv).map(Result::unwrap).collect().await;
    let slowly = harness.ask("SELECT * FROM spans").await.unwrap();
    let (mut slowly, mut read) = (slowly.parts(AnswerFormat::Csv), Vec::new());
    while let Some(piece) = slowly.next().await {
        read.extend_from_slice(&piece.unwrap());
        // Others are answered between each of its pieces.
        assert_eq!(harness.value("SELECT 1").await, 1);
    }
    assert!(read == whole.concat() && !read.is_empty());
    while harness.service.running() > 0 {
        tokio::task::yield_now().await;
    }
}
