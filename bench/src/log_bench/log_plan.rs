//! Log records to send: made for each request, always the same for a seed.
//!
//! Forty templates of twelve services, with ids, amounts, hosts, paths and users in them. What was
//! sent is counted by making it again.

use std::collections::BTreeMap;

use crate::{
    load::RequestSource,
    piece::{Piece, TextPart},
    random::{Random, mix},
};

/// Records of a request.
const REQUEST_RECORDS: u64 = 500;
/// A phrase of this share of all records.
pub(super) const PHRASE: &str = "payment declined";
const PHRASES: f64 = 0.001;
/// A word of one template.
pub(super) const WORD: &str = "deadlock";
/// The beginning of the messages that a regular expression finds.
pub(super) const REFUND: &str = "refund of ";
/// The service of what failed most often.
pub(super) const PAYMENT: &str = "payment";
/// Numbers and names of severities, and the share of records up to each.
const SEVERITIES: [(u64, &str, f64); 4] =
    [(9, "info", 0.8), (5, "debug", 0.92), (13, "warn", 0.98), (17, "error", 1.0)];
const USERS: [&str; 12] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory",
    "peggy",
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
}

/// Counts of what a plan sends.
#[derive(Debug, Clone, Default)]
pub(super) struct LogFacts {
    pub(super) payment_errors: u64,
    pub(super) phrases: u64,
    pub(super) words: u64,
    pub(super) refunds: u64,
    /// Records of the order that [`LogPlan::order`] names.
    pub(super) of_order: u64,
    /// By service and severity.
    pub(super) groups: BTreeMap<(&'static str, &'static str), u64>,
}

impl LogPlan {
    /// So many records, spread evenly over this window.
    pub(super) fn new(records: u64, seed: u64, end_unix_nanos: u64, window_nanos: u64) -> Self {
        let nanos_per_record = window_nanos / records.max(1);
        let begin_unix_nanos = end_unix_nanos.saturating_sub(records * nanos_per_record);
        Self { records, seed, begin_unix_nanos, nanos_per_record }
    }

    /// When the last record is over.
    pub(super) fn end_unix_nanos(&self) -> u64 {
        self.begin_unix_nanos + self.records * self.nanos_per_record
    }

    /// A word that one record has.
    pub(super) fn needle(&self) -> String {
        format!("needle{:016x}", mix(self.seed, 91))
    }

    /// An order that a record in the middle has.
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
        }
    }

    /// Counts all records.
    pub(super) fn facts(&self) -> LogFacts {
        let order = self.order();
        let mut facts = LogFacts::default();
        for index in 0..self.records {
            let record = self.record(index);
            let severity = SEVERITIES[record.severity].1;
            let is_error = record.service == PAYMENT && severity == "error";
            facts.payment_errors += u64::from(is_error);
            facts.phrases += u64::from(record.body.contains(PHRASE));
            facts.words += u64::from(record.body.contains(WORD));
            facts.refunds += u64::from(record.body.starts_with(REFUND));
            facts.of_order += u64::from(order.is_some() && record.order == order);
            *facts.groups.entry((record.service, severity)).or_default() += 1;
        }
        facts
    }
}

/// The text with values for its signs.
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
    /// OTLP's `ExportLogsServiceRequest`: a resource for each service.
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
    /// OTLP's `LogRecord`.
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
        if let Some(trace) = self.trace {
            let id = u128::from(trace) << 64 | u128::from(mix(trace, 1));
            record.data(9, &id.to_be_bytes());
            record.data(10, &mix(trace, 2).to_be_bytes());
        }
        record.fixed64(11, self.time_unix_nanos);
        record
    }
}

/// `AnyValue` of a text.
fn text_value(text: &str) -> Piece {
    let mut value = Piece::default();
    value.text(1, &[TextPart::Text(text)]);
    value
}

/// `KeyValue`.
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

    use super::{LogPlan, RequestSource};

    #[test]
    fn what_is_sent_is_what_is_counted() {
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
        assert!(groups > 5 * 8 && facts.of_order >= 1 && facts.payment_errors > 0);
        assert!(facts.refunds > 0 && facts.words > 0);
    }
}
