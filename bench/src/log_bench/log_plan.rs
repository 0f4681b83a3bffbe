//! Log records to send: generated for each request, always the same for a seed.
//!
//! Forty templates of twelve services, with ids, amounts, hosts, paths and users in them. Expected
//! answers are found by generating all records again.

use std::collections::BTreeMap;

use crate::{
    load::RequestSource,
    piece::{Piece, TextPart},
    random::{Random, mix},
};

/// Number of records in a request.
const REQUEST_RECORDS: u64 = 500;
/// A phrase that a share of all records has.
pub(super) const PHRASE: &str = "payment declined";
const PHRASES: f64 = 0.001;
/// A word of one template.
pub(super) const WORD: &str = "deadlock";
/// A regular expression without a rare word, which one record or two in a million match.
pub(super) const PATTERN: &str = "order [0-9a-f]{9}[01]a7 failed";
/// Number of records in a list.
pub(super) const LISTED: usize = 100;
/// The service with most errors.
pub(super) const PAYMENT: &str = "payment";
/// Numbers and names of severities, and the share of records up to each.
const SEVERITIES: [(u64, &str, f64); 4] =
    [(9, "info", 0.8), (5, "debug", 0.92), (13, "warn", 0.98), (17, "error", 1.0)];
const USERS: [&str; 12] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory",
    "peggy",
];

/// Methods and statuses of requests.
const REQUESTS: [(&str, u64); 8] = [
    ("GET", 200),
    ("GET", 200),
    ("GET", 200),
    ("GET", 304),
    ("GET", 404),
    ("POST", 201),
    ("POST", 409),
    ("PUT", 204),
];

/// Messages by severity: service and text. `#` stands for a number, `%` for twelve hexadecimal
/// digits, `@` for a user, `^` for a host, `~` for a path and `$` for an amount.
const INFO: [(&str, &str); 20] = [
    ("gateway", "GET ~ 200 in # ms from ^"),
    ("gateway", "POST ~ 201 in # ms from ^"),
    ("checkout", "checkout started for cart % with # items"),
    ("checkout", "order % placed by @, total $"),
    ("cart", "item % added to cart of @"),
    ("cart", "cart % restored from session in # ms"),
    ("payment", "authorizing card of @ for order %, amount $"),
    ("payment", "captured $ for order % at acquirer ^"),
    ("payment", "refund of $ issued to @ for order %"),
    ("catalog", "listing # products of category #"),
    ("catalog", "price of product % is now $"),
    ("search", "query took # ms, # hits, shard ^"),
    ("shipping", "label % printed for order %"),
    ("shipping", "parcel % handed over at ^"),
    ("mailer", "confirmation % queued for @"),
    ("auth", "session % opened for @ from ^"),
    ("auth", "token of @ renewed, expires in # s"),
    ("ledger", "booked $ on account #, entry %"),
    ("inventory", "reserved # units of product %"),
    ("fraud", "score # for order % by model #"),
];
const DEBUG: [(&str, &str); 8] = [
    ("gateway", "connection % to ^ reused, # idle"),
    ("cart", "cache hit for key cart/% after # us"),
    ("catalog", "cache miss for key product/%, loading"),
    ("search", "plan for query %: # terms, # filters"),
    ("auth", "claims of @ read in # us"),
    ("ledger", "transaction % begun on ^"),
    ("inventory", "lock on product % held for # us"),
    ("payment", "request % to acquirer: # bytes"),
];
const WARN: [(&str, &str); 6] = [
    ("gateway", "slow upstream ^: ~ took # ms"),
    ("payment", "charge of order % timed out, retrying in # ms"),
    ("search", "shard ^ answers late by # ms"),
    ("inventory", "stock of product % below #"),
    ("mailer", "mailbox of @ is full, attempt #"),
    ("auth", "# failed sign-ins of @ from ^"),
];
const ERROR: [(&str, &str); 6] = [
    ("payment", "acquirer ^ refused order %: code #"),
    ("ledger", "deadlock detected, transaction % rolled back after # ms"),
    ("gateway", "upstream ^ reset the connection of ~"),
    ("shipping", "no carrier for parcel % of # kg"),
    ("checkout", "order % failed: java.lang.IllegalStateException: no stock left for %"),
    ("fraud", "model # cannot be loaded from ^"),
];

/// A plan of records.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogPlan {
    pub(super) records: u64,
    seed: u64,
    pub(super) begin_unix_nanos: u64,
    nanos_per_record: u64,
}

/// A record, before it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedRecord {
    time_unix_nanos: u64,
    pub(super) service: &'static str,
    severity: usize,
    pub(super) body: String,
    pub(super) order: Option<String>,
    duration_millis: u64,
    thread: String,
    trace: Option<u64>,
    /// Method and status of the request that it belongs to.
    http: Option<(&'static str, u64)>,
}

/// The records that a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RecordSubset {
    All,
    PaymentErrors,
    Phrase,
    Word,
    /// Records of the order that [`LogPlan::order`] returns.
    Order,
    /// Records with the word that [`LogPlan::needle`] returns.
    Needle,
    Pattern,
}

impl RecordSubset {
    pub(super) const EACH: [Self; 7] = [
        Self::All,
        Self::PaymentErrors,
        Self::Phrase,
        Self::Word,
        Self::Order,
        Self::Needle,
        Self::Pattern,
    ];
}

/// Records and counts that answers must have.
#[derive(Debug, Clone, Default)]
pub(super) struct LogFacts {
    /// Time and body of the newest [`LISTED`] records of each subset, the newest first.
    pub(super) newest: BTreeMap<RecordSubset, Vec<(u64, String)>>,
    /// Counts by service and severity.
    pub(super) groups: BTreeMap<(&'static str, &'static str), u64>,
}

impl LogPlan {
    /// Plans this many records, spread evenly over a window.
    pub(super) fn new(records: u64, seed: u64, end_unix_nanos: u64, window_nanos: u64) -> Self {
        let nanos_per_record = window_nanos / records.max(1);
        let begin_unix_nanos = end_unix_nanos.saturating_sub(records * nanos_per_record);
        Self { records, seed, begin_unix_nanos, nanos_per_record }
    }

    /// Returns the end of the window.
    pub(super) fn end_unix_nanos(&self) -> u64 {
        self.begin_unix_nanos + self.records * self.nanos_per_record
    }

    /// Returns a word that one record has.
    pub(super) fn needle(&self) -> String {
        format!("needle{:016x}", mix(self.seed, 91))
    }

    /// Returns an order that a record in the middle has.
    pub(super) fn order(&self) -> Option<String> {
        (self.records / 2..self.records).find_map(|index| self.record(index).order)
    }

    /// Makes a record.
    pub(super) fn record(&self, index: u64) -> PlannedRecord {
        let mut random = Random::new(mix(mix(self.seed, 90), index));
        let (severity, (service, text)) = if random.chance(PHRASES) {
            (2, (PAYMENT, "payment declined for order %: insufficient funds of @"))
        } else {
            let chance = random.unit();
            let upto = |of: &(u64, &str, f64)| chance < of.2;
            let severity = SEVERITIES.iter().position(upto).unwrap_or(0);
            let template = match severity {
                0 => *random.pick(&INFO),
                1 => *random.pick(&DEBUG),
                2 => *random.pick(&WARN),
                _ => *random.pick(&ERROR),
            };
            (severity, template)
        };
        let mut body = filled(text, &mut random);
        if index == self.records / 2 {
            body = format!("{} found at last", self.needle());
        }
        PlannedRecord {
            time_unix_nanos: self.begin_unix_nanos + index * self.nanos_per_record,
            service,
            severity,
            body,
            order: random.chance(0.3).then(|| format!("ord-{:09}", random.below(1_000_000_000))),
            duration_millis: random.skewed(5_000) as u64,
            thread: format!("worker-{}", random.below(64)),
            trace: random.chance(0.5).then(|| random.next()),
            http: random.chance(0.6).then(|| *random.pick(&REQUESTS)),
        }
    }

    /// Generates all records, the newest first, and collects the expected answers.
    pub(super) fn facts(&self) -> LogFacts {
        let (order, needle) = (self.order(), self.needle());
        let mut facts = LogFacts::default();
        for index in (0..self.records).rev() {
            let record = self.record(index);
            let severity = SEVERITIES[record.severity].1;
            for subset in RecordSubset::EACH {
                let is_in = match subset {
                    RecordSubset::All => true,
                    RecordSubset::PaymentErrors => record.service == PAYMENT && severity == "error",
                    RecordSubset::Phrase => record.body.contains(PHRASE),
                    RecordSubset::Word => record.body.contains(WORD),
                    RecordSubset::Order => order.is_some() && record.order == order,
                    RecordSubset::Needle => record.body.contains(&needle),
                    RecordSubset::Pattern => fits_pattern(&record.body),
                };
                let newest = facts.newest.entry(subset).or_default();
                if is_in && newest.len() < LISTED {
                    newest.push((record.time_unix_nanos, record.body.clone()));
                }
            }
            *facts.groups.entry((record.service, severity)).or_default() += 1;
        }
        facts
    }
}

/// Returns true if [`PATTERN`] matches; orders have twelve digits.
fn fits_pattern(body: &str) -> bool {
    let order = body.strip_prefix("order ").and_then(|rest| rest.split_once(" failed"));
    order.is_some_and(|(order, _)| order.ends_with("0a7") || order.ends_with("1a7"))
}

/// Fills the signs of a template with values.
fn filled(text: &str, random: &mut Random) -> String {
    let mut body = String::with_capacity(text.len() + 32);
    for sign in text.chars() {
        match sign {
            '#' => body.push_str(&random.skewed(100_000).to_string()),
            '%' => body.push_str(&format!("{:012x}", random.next() >> 16)),
            '@' => body.push_str(random.pick::<&str>(&USERS)),
            '^' => body.push_str(&format!("10.{}.{}.7", random.below(16), random.below(256))),
            '~' => body.push_str(&format!("/api/v1/items/{}", random.below(1_000_000))),
            '$' => {
                let (euros, cents) = (random.skewed(2_000), random.below(100));
                body.push_str(&format!("{euros}.{cents:02} EUR"));
            }
            other => body.push(other),
        }
    }
    body
}

impl RequestSource for LogPlan {
    /// Encodes OTLP's `ExportLogsServiceRequest` with a resource for each service.
    fn request(&self, index: usize) -> Option<(Vec<u8>, u64)> {
        let first = index as u64 * REQUEST_RECORDS;
        let end = (first + REQUEST_RECORDS).min(self.records);
        let mut services: BTreeMap<&str, Piece> = BTreeMap::new();
        for index in first..end {
            let record = self.record(index);
            services.entry(record.service).or_default().message(2, &record.encode());
        }
        let mut request = Piece::default();
        for (service, records) in services {
            let mut resource = Piece::default();
            resource.message(1, &text_attribute("service.name", service));
            resource.message(1, &text_attribute("service.version", "1.4.2"));
            let mut of_resource = Piece::default();
            of_resource.message(1, &resource);
            of_resource.message(2, &records);
            request.message(1, &of_resource);
        }
        (first < self.records).then(|| (request.into_bytes(), end - first))
    }
}

impl PlannedRecord {
    /// Encodes OTLP's `LogRecord`.
    fn encode(&self) -> Piece {
        let (number, name, _) = SEVERITIES[self.severity];
        let mut record = Piece::default();
        record.fixed64(1, self.time_unix_nanos);
        record.number(2, number);
        record.text(3, &[TextPart::Text(name)]);
        record.message(5, &text_value(&self.body));
        if let Some(order) = &self.order {
            record.message(6, &text_attribute("order.id", order));
        }
        let mut duration = Piece::default();
        duration.number(3, self.duration_millis);
        record.message(6, &attribute("duration_ms", &duration));
        record.message(6, &text_attribute("thread.name", &self.thread));
        if let Some((method, status)) = self.http {
            record.message(6, &text_attribute("http.request.method", method));
            record.message(6, &text_attribute("http.route", "/api/v1/items/{id}"));
            let mut code = Piece::default();
            code.number(3, status);
            record.message(6, &attribute("http.response.status_code", &code));
        }
        if let Some(trace) = self.trace {
            let id = u128::from(trace) << 64 | u128::from(mix(trace, 1));
            record.data(9, &id.to_be_bytes());
            record.data(10, &mix(trace, 2).to_be_bytes());
        }
        record.fixed64(11, self.time_unix_nanos);
        record
    }
}

/// Encodes OTLP's `AnyValue` of a text.
fn text_value(text: &str) -> Piece {
    let mut value = Piece::default();
    value.text(1, &[TextPart::Text(text)]);
    value
}

/// Encodes OTLP's `KeyValue`.
fn attribute(key: &str, value: &Piece) -> Piece {
    let mut attribute = Piece::default();
    attribute.text(1, &[TextPart::Text(key)]);
    attribute.message(2, value);
    attribute
}

fn text_attribute(key: &str, text: &str) -> Piece {
    attribute(key, &text_value(text))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings_proto::otlp::ExportLogsServiceRequest;

    use super::{LISTED, LogPlan, RecordSubset, RequestSource, fits_pattern};

    #[test]
    fn sent_records_match_the_counted_facts() {
        let plan = LogPlan::new(2_100, 7, 3_600_000_000_000, 3_600_000_000_000);
        let facts = plan.facts();
        let (mut records, mut needles, mut groups) = (0, 0, 0);
        for index in 0.. {
            let Some((body, count)) = plan.request(index) else { break };
            assert_eq!(plan.request(index).unwrap().0, body);
            let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            let sent: Vec<_> = scopes.flat_map(|scope| &scope.log_records).collect();
            assert_eq!(sent.len() as u64, count);
            records += count;
            let is_needle = |body: &str| body.contains(&plan.needle());
            needles += sent.iter().filter(|record| is_needle(&format!("{record:?}"))).count();
            groups += request.resource_logs.len();
        }
        assert_eq!((records, needles), (2_100, 1));
        assert_eq!(facts.groups.values().sum::<u64>(), 2_100);
        assert!(groups > 5 * 8);
        let listed = |subset| facts.newest[&subset].len();
        assert_eq!((listed(RecordSubset::All), listed(RecordSubset::Needle)), (LISTED, 1));
        let others = [RecordSubset::PaymentErrors, RecordSubset::Word, RecordSubset::Order];
        assert!(others.into_iter().all(|subset| listed(subset) > 0), "{facts:?}");
        let all = &facts.newest[&RecordSubset::All];
        assert_eq!(all[0].0 + plan.nanos_per_record, plan.end_unix_nanos());
        assert!(all.is_sorted_by(|one, other| one.0 > other.0));
    }

    #[test]
    fn the_pattern_finds_what_its_expression_does() {
        for (body, fits) in [
            ("order 0123456780a7 failed: no stock", true),
            ("order 0123456781a7 failed: no stock", true),
            ("order 0123456782a7 failed: no stock", false),
            ("order 0123456780a7 placed by alice", false),
            ("the order 0123456780a7 failed", false),
        ] {
            assert_eq!(fits_pattern(body), fits, "{body}");
        }
    }
}
