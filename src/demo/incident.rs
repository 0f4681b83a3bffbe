//! Incidents: faults that change how transactions run, and where.
//!
//! An incident changes the tree of a transaction before it gets ids and times, depending on the
//! instances that its services run on. Wrong clocks and lost spans are added while rendering.

use fastrand::Rng;
use tidings_proto::otlp::SpanKind;

use super::{
    demo_call::{Child, ChildStart, DemoCall, Failure},
    fleet::Crew,
    shop,
};

const WARN: i32 = 13;
const ERROR: i32 = 17;

/// Kind of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incident {
    /// The bank that payment calls takes four times as long.
    SlowDependency,
    /// A new version of catalog queries each review of a product on its own.
    NPlusOne,
    /// Fraud is unavailable most of the time, and payment tries again and again.
    RetryStorm,
    /// A new version of payment fails; half of its instances run it.
    FailingVersion,
    /// Mailer works slowly, and its messages wait.
    QueueBacklog,
    /// The clock of fraud is ahead.
    ClockSkew,
    /// Most instances of cart send no spans any more.
    LostSpans,
    /// Whatever runs on one node is slow.
    NoisyNeighbour,
    /// The cache has lost its entries, and the database of catalog is asked for all of them.
    CacheStampede,
    /// One customer's order has hundreds of lines.
    OneCustomersOrder,
}

/// The names of incidents on the command line.
pub(crate) const INCIDENTS: [(&str, Incident); 10] = [
    ("slow-dependency", Incident::SlowDependency),
    ("n-plus-one", Incident::NPlusOne),
    ("retry-storm", Incident::RetryStorm),
    ("failing-version", Incident::FailingVersion),
    ("queue-backlog", Incident::QueueBacklog),
    ("clock-skew", Incident::ClockSkew),
    ("lost-spans", Incident::LostSpans),
    ("noisy-neighbour", Incident::NoisyNeighbour),
    ("cache-stampede", Incident::CacheStampede),
    ("one-customers-order", Incident::OneCustomersOrder),
];

/// The node whose processors a neighbour uses.
pub(super) const NOISY_NODE: &str = "node-3";
/// The service whose clock is ahead, and by how much; nanoseconds.
pub(super) const AHEAD: (&str, u64) = ("fraud", 1_500_000_000);
/// The service that loses spans.
pub(super) const LOSING: &str = "cart";
/// The customer and the order of [`Incident::OneCustomersOrder`].
const CUSTOMER: &str = "c-1042";
const ORDER: &str = "A-20931";

impl Incident {
    /// Returns the incident with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        INCIDENTS.iter().find(|(known, _)| *known == name).map(|(_, incident)| *incident)
    }

    /// Changes a transaction by the incident. The recursion is safe: the trees are generated and
    /// shallow.
    pub(super) fn strike(self, call: &mut DemoCall, crew: &Crew, rng: &mut Rng) {
        match self {
            Self::SlowDependency => each(call, &mut |call| {
                if call.name == "POST /charge" {
                    slow_down(call, 4);
                }
            }),
            Self::NPlusOne => each(call, &mut |call| {
                if call.name == "Catalog.Get" {
                    for _ in 0..rng.u32(25..60) {
                        let review = shop::review(rng);
                        call.children.push(Child { call: review, start: ChildStart::Next });
                    }
                }
            }),
            Self::RetryStorm => {
                storm(call, rng);
            }
            Self::FailingVersion => {
                fail_new_version(call, crew, rng);
            }
            Self::QueueBacklog => each(call, &mut |call| {
                if call.kind == SpanKind::Producer {
                    delay_mail(call, rng);
                }
            }),
            Self::NoisyNeighbour => each(call, &mut |call| {
                let is_work = !matches!(call.kind, SpanKind::Client | SpanKind::Producer);
                if is_work && crew.node(call.service) == NOISY_NODE {
                    slow_down(call, 12);
                }
            }),
            Self::CacheStampede => each(call, &mut |call| {
                if call.name == "Catalog.Get" {
                    shop::miss_cache(call, rng);
                    let queries = call.children.iter_mut().map(|child| &mut child.call);
                    for query in queries.filter(|query| query.name == "SELECT products") {
                        slow_down(query, 25);
                    }
                }
            }),
            Self::OneCustomersOrder => {
                if attribute(call, "customer.id").as_deref() == Some(CUSTOMER) {
                    each(call, &mut |call| enlarge(call, rng));
                }
            }
            Self::ClockSkew | Self::LostSpans => {}
        }
    }
}

/// Visits a call and all below it, the deepest first.
fn each(call: &mut DemoCall, visit: &mut impl FnMut(&mut DemoCall)) {
    for child in &mut call.children {
        each(&mut child.call, visit);
    }
    visit(call);
}

fn slow_down(call: &mut DemoCall, factor: u64) {
    call.before_us *= factor;
    call.after_us *= factor;
}

fn attribute(call: &DemoCall, key: &str) -> Option<String> {
    let found = call.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(tidings_proto::otlp::KeyValue::value) {
        Some(tidings_proto::otlp::Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Makes the callers of a failed call fail too.
fn fail_with(call: &mut DemoCall, failure: &Failure) {
    call.failure = Some(failure.clone());
    for attribute in &mut call.attributes {
        let status: i64 = match attribute.key.as_str() {
            "http.response.status_code" => 500,
            "rpc.grpc.status_code" => 2,
            _ => continue,
        };
        *attribute = tidings_proto::otlp::KeyValue::new(&attribute.key, status);
    }
}

/// Most calls of fraud fail after a while; payment makes up to four.
fn storm(call: &mut DemoCall, rng: &mut Rng) -> Option<Failure> {
    let mut failed = None;
    for child in &mut call.children {
        let failure = storm(&mut child.call, rng);
        if !matches!(child.start, ChildStart::Later(_)) {
            failed = failed.or(failure);
        }
    }
    if let Some(failure) = &failed {
        fail_with(call, failure);
        return failed;
    }
    if call.service != "payment" || call.name != "Payment.Authorize" {
        return None;
    }
    let place = call.children.iter().position(|child| child.call.name == "Fraud.Score")?;
    let scored = call.children.remove(place);
    let unavailable = Failure {
        kind: "Unavailable",
        message: "fraud rejected the request: 64 requests are waiting".to_owned(),
    };
    for attempt in 1..=4_u32 {
        if rng.u32(0..100) < 30 {
            call.children.insert(place, scored);
            return None;
        }
        let mut tried = scored.call.clone();
        each(&mut tried, &mut |of| {
            if of.name == "Fraud.Score" {
                of.failure = Some(unavailable.clone());
                if of.kind == SpanKind::Server {
                    of.children.clear();
                    of.before_us = rng.u64(150_000..300_000);
                }
            }
        });
        call.lines.push(super::demo_call::DemoLogLine {
            at_percent: u64::from(attempt) * 20,
            severity: WARN,
            text: format!("fraud is unavailable, attempt {attempt} of 4"),
        });
        let at = place.min(call.children.len());
        call.children.insert(at, Child { call: tried, start: ChildStart::Next });
    }
    // It gave up: nothing is charged.
    call.children.retain(|child| child.call.name != "POST /charge");
    fail_with(call, &unavailable);
    Some(unavailable)
}

/// Three in five authorisations by the new version fail before the bank is called.
fn fail_new_version(call: &mut DemoCall, crew: &Crew, rng: &mut Rng) -> Option<Failure> {
    let mut failed = None;
    for child in &mut call.children {
        let failure = fail_new_version(&mut child.call, crew, rng);
        if !matches!(child.start, ChildStart::Later(_)) {
            failed = failed.or(failure);
        }
    }
    if let Some(failure) = &failed {
        fail_with(call, failure);
        if call.name == "Checkout.Place" {
            call.children.retain(|child| child.call.name != "Orders.Create");
        }
        return failed;
    }
    let is_new = call.service == "payment" && crew.runs_new_version("payment");
    let is_hit = is_new && call.name == "Payment.Authorize" && rng.u32(0..100) < 60;
    if !is_hit {
        return None;
    }
    let failure = Failure {
        kind: "CurrencyMissing",
        message: "no currency in the acquirer's profile".to_owned(),
    };
    call.children.retain(|child| child.call.name != "POST /charge");
    call.failure = Some(failure.clone());
    call.lines.push(super::demo_call::DemoLogLine {
        at_percent: 90,
        severity: ERROR,
        text: "authorisation failed: no currency in the profile of acquirer northpay".to_owned(),
    });
    Some(failure)
}

/// The mailer takes its messages half a minute late and works slowly.
fn delay_mail(publish: &mut DemoCall, rng: &mut Rng) {
    for child in publish.children.iter_mut().filter(|child| child.call.service == "mailer") {
        if let ChildStart::Later(delay) = &mut child.start {
            *delay += rng.u64(15_000_000..35_000_000);
        }
        slow_down(&mut child.call, 60);
    }
}

/// Gives the order of one customer hundreds of lines.
fn enlarge(call: &mut DemoCall, rng: &mut Rng) {
    for attribute in &mut call.attributes {
        if attribute.key == "order.id" {
            *attribute = tidings_proto::otlp::KeyValue::new("order.id", ORDER);
        }
    }
    if call.name == "Orders.Create" && call.kind == SpanKind::Server {
        for _ in 0..rng.u32(180..260) {
            let line = shop::order_line(rng);
            call.children.insert(1, Child { call: line, start: ChildStart::Next });
        }
    }
}
