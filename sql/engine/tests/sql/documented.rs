//! The examples of `docs/sql.md`, exactly as written: each is sent and answered.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use serde_json::Value as Json;
use tidings_sql::router;
use tidings_sql_engine::vocabulary;

use crate::{
    harness::{Harness, story},
    http::ask,
};

const PAGE: &str = include_str!("../../../../docs/sql.md");

/// Splits a line of shell into words.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for sign in line.chars() {
        match (quote, sign) {
            (None, '\'' | '"') => quote = Some(sign),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (Some(open), _) if open == sign => quote = None,
            _ => word.push(sign),
        }
    }
    words.push(word);
    words
}

/// Builds the request of a line.
fn request(line: &str) -> Request<Body> {
    let (mut query, mut posted, mut header) = (None, None, None);
    let words = words(line);
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-G" => {}
            "-H" => header = words.next().unwrap().split_once(": "),
            "--data-urlencode" => query = words.next().unwrap().split_once('='),
            "--data-binary" => posted = words.next(),
            address => assert_eq!(address, "localhost:8434/api/v1/sql", "{line}"),
        }
    }
    let encoded = query.map(|(name, value)| {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        format!("?{name}={}", value.bytes().map(byte).collect::<String>())
    });
    let address = format!("/api/v1/sql{}", encoded.unwrap_or_default());
    let mut request = match posted {
        Some(_) => Request::post(address),
        None => Request::get(address),
    };
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    request.body(posted.map_or_else(Body::empty, |body| Body::from(body.clone()))).unwrap()
}

#[tokio::test]
async fn every_example_is_answered() {
    let harness = Harness::new().await;
    story(&harness).await;
    let router = router(Some(harness.service.clone()));
    let lines: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 8, "{} examples", lines.len());
    for line in &lines {
        let asked = ask(&router, request(line)).await;
        let body = String::from_utf8_lossy(&asked.body);
        assert_eq!(asked.status, 200, "{line}: {body}");
        assert!(!line.contains("EXPLAIN") || body.contains("trace_id = "), "{line}: {body}");
    }
    let (_, shown) = PAGE.split_once("```json\n").unwrap();
    let shown: Json = serde_json::from_str(shown.split_once("```").unwrap().0).unwrap();
    let answer = ask(&router, request(lines[0])).await.json();
    for (key, value) in shown.as_object().unwrap() {
        match key.as_str() {
            "elapsedNano" => assert!(answer[key].is_string()),
            _ => assert_eq!(answer[key], *value, "{key}"),
        }
    }
}

/// The functions listed on the page can be called.
#[tokio::test]
async fn every_function_of_the_page_is_there() {
    let harness = Harness::new().await;
    let section = PAGE.split_once("## What a query may be").unwrap().1;
    let lists = section.lines().filter(|line| line.starts_with("- Of a "));
    let names: Vec<&str> = lists
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .flat_map(str::split_whitespace)
        .filter(|name| {
            name.chars()
                .all(|sign| sign.is_ascii_lowercase() || sign == '_' || sign.is_ascii_digit())
        })
        .collect();
    assert!(names.len() > 100, "{}", names.len());
    for name in names {
        let Err(refusal) = harness.ask(&format!("SELECT {name}(1, 2, 3, 4, 5, 6) OVER ()")).await
        else {
            continue;
        };
        let refusal = refusal.to_string();
        assert!(!refusal.contains("there is no function `"), "{name}: {refusal}");
    }
}

/// The page lists each clause, operator, cast and type that a query may use, and no other.
#[test]
fn every_clause_of_the_allowlist_is_on_the_page() {
    let (_, section) = PAGE.split_once("### Clauses, operators and types").unwrap();
    let (section, _) = section.split_once("### Functions").unwrap();
    let lists = section.lines().filter(|line| line.starts_with("- "));
    let listed: BTreeSet<&str> =
        lists.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let vocabulary = vocabulary();
    let allowed: BTreeSet<&str> = [vocabulary.clauses, vocabulary.casts, vocabulary.types]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    assert_eq!(listed, allowed);
}
