//! Changes of transactions and services against an earlier time, and the culprits behind them.
//!
//! Counts, failures and durations come from rollups (`groups`, `services`), so they cover every
//! call. Self times come from a sample of traces of both times, which is assembled (`reading`).
//! Each unit (an operation, a call to a service, an endpoint without spans) is compared with its
//! own past (`effects`, `shapes`). Its weight is the part of the transactions' change that it
//! explains (`attribution`). Attributes of the changed calls are compared last (`reasons`), and the
//! exceptions and messages of failed calls are read (`failures`). All of it except the reading is
//! pure. This module owns the order of these steps and the choice of what is left out when time is
//! short.

mod attribution;
mod changed_groups;
mod clocks;
mod deployments;
mod effects;
mod endpoints;
mod failures;
mod onset;
mod reading;
mod reasons;
mod report;
mod roles;
mod sampled;
mod sentences;
mod services;
mod shapes;
pub(super) mod statistics;
mod symptoms;
mod traffic_end;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use tidings_proto::{
    DurationNanos, TraceId, UnixNanos,
    api::{
        Baseline, BaselineState, ChangeReport, ChangedGroup, CulpritRanking, PartialReason, Reason,
        ReportPart,
    },
};
use tidings_storage::{ScanStats, TimeRange};

use super::window::Window;
use crate::{
    QueryError,
    analysis::transaction_types::{self, RootOperation, RootOperations},
    execution::{Reader, search_stats},
    name_search::newest,
    trace::trace_rows::Names,
};
use attribution::{Attribution, attribute};
use changed_groups::{ComparedGroup, ComparedPeriods, GroupCalls, RECENT, rank_changes};
use deployments::{NewVersion, SampledServices, ServiceValue, VERSION};
use endpoints::Suspect;
use reading::TraceSample;
use reasons::Cases;
use report::Findings;
use sampled::Sides;
use services::{Endpoints, ServiceCalls};
use traffic_end::{LastSpan, traffic_end};

const MINUTE: u64 = 60_000_000_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// Length of the window when neither its start nor its end is given.
const WINDOW_DEFAULT: u64 = 30 * MINUTE;
/// Maximum number of transaction types that are compared.
const TRANSACTIONS_MAX: usize = 200;
/// Maximum number of types that are read of one side. A type that is frequent on one side only is
/// counted on both.
const TRANSACTIONS_READ_MAX: usize = 1_000;
/// Maximum number of traces of each side that self times are computed from. Traces of the most
/// changed types come first.
const TRACES_MAX: usize = 600;
/// Maximum number of traces of each side when the explanation may take longer.
const TRACES_EXPLAINED_MAX: usize = 2_000;
/// Maximum number of parties and operations that are listed.
const CULPRITS_MAX: usize = 10;
/// Minimum number of culprits that are listed. Further ones are left out when their score is below
/// [`SCORE_SHARE_MIN`] times the best one.
const CULPRITS_MIN: usize = 5;
const SCORE_SHARE_MIN: f64 = 0.02;
/// Maximum number of parties whose attributes are compared.
const REASONED_MAX: usize = 1;
/// Maximum number of parties whose attributes are compared when the explanation may take longer.
const REASONED_EXPLAINED_MAX: usize = 4;
/// Maximum number of reasons that are listed of a party.
const REASONS_MAX: usize = 8;
/// Maximum number of causes whose first spans are looked up.
const FIRST_SPANS_MAX: usize = 4;
/// Maximum number of traces of each side whose versions and instances are examined.
const VERSIONED_MAX: usize = 120;
/// Divisor of the window's length. A changed part that is shorter than the result is not examined
/// by itself.
const CHANGED_PART_MIN: u64 = 12;
/// A baseline with fewer transactions than this is short.
const BASELINE_CALLS_MIN: u64 = 20;

/// The time that a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BaselineChoice {
    /// The time range of the same length before the window.
    #[default]
    Previous,
    /// The same time one day before.
    Day,
    /// The same time one week before.
    Week,
    /// The time from one moment to another.
    Between(UnixNanos, UnixNanos),
}

/// A query for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeSearch {
    /// The window.
    pub start: TimeRange,
    /// The time it is compared with.
    pub baseline: BaselineChoice,
    /// The length of a step.
    pub step: Option<DurationNanos>,
    /// True for a longer search: more traces, reasons of more culprits, patterns of log records.
    pub explain: bool,
    /// Maximum number of transaction types, and of services.
    pub limit: usize,
}

/// The changes.
pub(crate) fn changes(reader: &Reader, search: &ChangeSearch) -> Result<ChangeReport, QueryError> {
    let windows = windows(reader, search)?;
    let last_span = LastSpan::read(reader, windows)?;
    let mut asked = ChangeQuery {
        reader,
        search,
        windows,
        last_span,
        partial: Vec::new(),
        stats: ScanStats::NOTHING,
    };
    asked.report()
}

/// State of a query for changes.
struct ChangeQuery<'a> {
    reader: &'a Reader,
    search: &'a ChangeSearch,
    windows: Sides<Window>,
    last_span: Option<LastSpan>,
    partial: Vec<PartialReason>,
    stats: ScanStats,
}

/// The moment after the newest span; the present when nothing is stored.
fn end_of_data(reader: &Reader) -> Result<UnixNanos, QueryError> {
    let last = newest(reader)?;
    Ok(if last.0 == 0 { reader.now } else { UnixNanos(last.0.saturating_add(1)) })
}

/// A step that is at least as long as a range, for reads whose steps are not used. Rollups can
/// answer for whole days, and not for seconds.
fn whole_days(range: TimeRange) -> DurationNanos {
    let [start, end] = [range.start, range.end].map(Option::unwrap_or_default);
    DurationNanos(end.since(start).0.div_ceil(DAY).max(1).saturating_mul(DAY))
}

/// The window and its baseline, with steps of the same length.
fn windows(reader: &Reader, search: &ChangeSearch) -> Result<Sides<Window>, QueryError> {
    let range = match search.start {
        TimeRange { start: None, end } => {
            let end = match end {
                Some(end) => UnixNanos(end.0.max(1)),
                None => end_of_data(reader)?,
            };
            let start = UnixNanos(end.0.saturating_sub(WINDOW_DEFAULT));
            TimeRange { start: Some(start), end: Some(end) }
        }
        given => given,
    };
    let now = Window::new(reader, range, search.step)?;
    let [start, end] = now.times();
    let earlier = |by: u64| [start, end].map(|time| UnixNanos(time.0.saturating_sub(by)));
    let [from, to] = match search.baseline {
        BaselineChoice::Previous => [now.before(), start],
        BaselineChoice::Day => earlier(DAY),
        BaselineChoice::Week => earlier(7 * DAY),
        BaselineChoice::Between(from, to) => [from, to],
    };
    if from >= to {
        let reason = "nothing lies before `start` that the window could be compared with";
        return Err(QueryError::parameter("start", reason));
    }
    let range = TimeRange { start: Some(from), end: Some(to) };
    let before = Window::new(reader, range, Some(now.step())).map_err(|error| match error {
        QueryError::Parameter { reason, .. } => QueryError::parameter(
            "step",
            format!("{reason}; the baseline is cut into steps as long as the window's"),
        ),
        error => error,
    })?;
    Ok(Sides { now, before })
}

impl ChangeQuery<'_> {
    #[expect(clippy::too_many_lines, reason = "a list of steps, each of which uses the last")]
    fn report(&mut self) -> Result<ChangeReport, QueryError> {
        let traces_max = if self.search.explain { TRACES_EXPLAINED_MAX } else { TRACES_MAX };
        let (roots, endpoints) = self.roots_and_endpoints(traces_max)?;
        let calls = self.services()?;
        let traffic_end = self
            .last_span
            .map(|last| traffic_end(self.reader, last, self.windows.now, &roots, calls.as_ref()));
        let traffic_end = traffic_end.transpose()?.flatten();
        let periods = self.periods(&roots, calls.as_ref(), traffic_end.is_some());
        let baseline = self.baseline(&roots, calls.before.span_count(), periods);
        let (types, wanted) = TransactionNumbers::new(&roots);
        let transaction_count = types.names.len() as u64;
        let recent = self.recent();
        let groups = transaction_groups(&types, &roots, &wanted, &recent);
        let mut transactions = rank_changes(groups, periods);
        let mut service_groups = services::services(calls.as_ref());
        service_groups.extend(self.endpoints(endpoints, calls.as_ref())?);
        let service_count = service_groups.len() as u64;
        let mut services = rank_changes(service_groups, periods);
        let window = self.windows.now;
        let since =
            services::read_quantiles_since(self.reader, window, calls.as_ref(), &mut services)?;
        self.stats += since;
        if baseline.state != BaselineState::Empty && !self.reader.is_late(7) {
            symptoms::add_exceptions(self, &mut services, periods)?;
            if self.search.explain {
                symptoms::add_log_patterns(self, &mut services)?;
            }
        }
        let ids = wanted.as_ref().map(|wanted| some_traces(wanted));
        let mut culprits = CulpritRanking::default();
        let (mut headline, mut clocks) = (None, Vec::new());
        let versions;
        if baseline.state != BaselineState::Empty && !roots.now.listed.is_empty() {
            let begin = self.changed_from(&transactions, &services);
            let changed = begin.map(|begin| self.changed_part(begin, traces_max, &types));
            let now = changed.transpose()?.unwrap_or(wanted.now);
            let mut wanted = Sides { now, before: wanted.before };
            let ranked = transactions
                .iter()
                .filter_map(|of| types.number(&of.service, of.operation.as_deref()?));
            if reading::retain_first(&mut wanted, ranked, traces_max) {
                let reason = "self times are of the transaction types that changed most";
                self.lacks(ReportPart::Culprits, reason);
            }
            let (sample, numbered) = self.samples(&wanted)?;
            versions = self.new_versions(ids, &calls.now, &mut services)?;
            let traces = sample.as_ref().map(|sample| sample.traces.as_slice());
            let attribution = attribute(traces);
            let mut findings = Findings {
                attribution: &attribution,
                traces,
                names: &numbered,
                types: &types,
                begin: begin.or_else(|| periods.contiguous.then(|| self.windows.now.times()[0])),
                peers: BTreeMap::new(),
            };
            let reasons = self.reasons(&mut findings, &versions)?;
            culprits = ranking(&findings, reasons);
            sentences::set_sentences(&findings, &culprits, &mut transactions, &mut services);
            failures::set_failures(self, &findings, &mut transactions, &mut services)?;
            clocks = clocks::clocks(traces, &numbered);
            headline = sentences::headline(&culprits, &transactions, &services)
                .or_else(|| sentences::of_clock(clocks.first()?, begin));
        } else {
            versions = self.new_versions(ids, &calls.now, &mut services)?;
            sentences::set_own_sentences(&mut transactions, &mut services);
            if traffic_end.is_none() {
                headline = sentences::headline(&culprits, &transactions, &services);
            }
        }
        sentences::agree(headline.as_mut(), &mut culprits, &mut transactions, &mut services);
        changed_groups::rank(&mut services);
        transactions.truncate(self.search.limit);
        services.truncate(self.search.limit);
        self.partial.sort_by(|a, b| {
            let order = |of: &PartialReason| (of.shorter_range_helps, of.part);
            order(a).cmp(&order(b)).then_with(|| a.reason.cmp(&b.reason))
        });
        self.partial.dedup();
        Ok(ChangeReport {
            window: self.windows.now.view(),
            baseline,
            traffic_end,
            headline,
            transactions,
            transaction_count,
            services,
            service_count,
            culprits,
            deployments: versions.into_iter().map(|version| version.deployment).collect(),
            clocks,
            partial: std::mem::take(&mut self.partial),
            searched: search_stats(self.reader, self.stats),
        })
    }

    /// Notes a part that is incomplete in a shorter range as well.
    fn lacks(&mut self, part: ReportPart, reason: &str) {
        let reason = reason.to_owned();
        self.partial.push(PartialReason { part, reason, shorter_range_helps: false });
    }

    /// Notes a part that is incomplete because the range is long.
    fn lacks_by_length(&mut self, part: ReportPart, reason: &str) {
        let reason = reason.to_owned();
        self.partial.push(PartialReason { part, reason, shorter_range_helps: true });
    }

    /// The end of the window, or the last span when it is long before that end.
    fn end_of_spans(&self) -> UnixNanos {
        let window = self.windows.now;
        let [start, end] = window.times();
        let last = self.last_span.and_then(|last| last.candidate(window));
        last.filter(|last| *last > start).unwrap_or(end)
    }

    /// Start times of the last parts of the window that have spans. Each is the start of a step.
    fn recent(&self) -> Vec<UnixNanos> {
        let window = self.windows.now;
        let ([start, _], end) = (window.times(), self.end_of_spans());
        let length = end.since(start).0;
        let begin = |part: &u64| UnixNanos(end.0.saturating_sub(length / part));
        RECENT.iter().map(|part| window.step_of(begin(part)).max(start)).collect()
    }

    /// The moment in the window at which groups changed. `None` when it is unknown, or too late for
    /// enough traces to follow.
    fn changed_from(
        &self,
        transactions: &[ChangedGroup],
        services: &[ChangedGroup],
    ) -> Option<UnixNanos> {
        let ([start, _], end) = (self.windows.now.times(), self.end_of_spans());
        let latest = UnixNanos(end.0.saturating_sub(end.since(start).0 / CHANGED_PART_MIN));
        let is_usable = |begin: UnixNanos| begin > start && begin <= latest;
        first_begin(transactions.iter().chain(services), is_usable)
    }

    /// Traces from this moment on. Culprits are searched in traces after the change.
    fn changed_part(
        &self,
        begin: UnixNanos,
        traces_max: usize,
        types: &TransactionNumbers<'_>,
    ) -> Result<Vec<(u32, Vec<TraceId>)>, QueryError> {
        let range = TimeRange { start: Some(begin), end: self.windows.now.range().end };
        let part = Window::new(self.reader, range, Some(whole_days(range)))?;
        let roots = transaction_types::root_operations(
            self.reader,
            part,
            TRANSACTIONS_READ_MAX,
            traces_max,
        )?;
        let numbered = |root: RootOperation| {
            Some((types.number(&root.service, &root.operation)?, root.traces))
        };
        Ok(roots.listed.into_iter().filter_map(numbered).collect())
    }

    /// The transaction types and, at the same time where a thread is free, the endpoints that
    /// storage has aggregated by step for both sides at once. These two reads take the longest.
    fn roots_and_endpoints(
        &mut self,
        traces_max: usize,
    ) -> Result<(Sides<RootOperations>, Option<Sides<Endpoints>>), QueryError> {
        let (reader, windows, recent) = (self.reader, self.windows, self.recent());
        let roots = || read_roots(reader, windows, traces_max);
        let (mut roots, endpoints) = match windows.before.times()[1] == windows.now.times()[0] {
            true => {
                reader.both(roots, || services::aggregated_endpoints(reader, windows, &recent))?
            }
            false => (roots()?, None),
        };
        retain_comparable(&mut roots);
        for (part, of) in [(ReportPart::Window, &roots.now), (ReportPart::Baseline, &roots.before)]
        {
            self.stats += of.scan;
            if !of.scan.complete {
                let reason = "more spans than a question may read: the newest were read";
                self.lacks_by_length(part, reason);
            }
            if of.sampled_one_in > 1 {
                let reason = format!("one transaction in {} was counted", of.sampled_one_in);
                self.lacks_by_length(part, &reason);
            }
            if of.other_count > 0 {
                let reason = format!("{} transactions of rarer types are in none", of.other_count);
                self.lacks(ReportPart::Groups, &reason);
            }
        }
        Ok((roots, endpoints))
    }

    fn services(&mut self) -> Result<Sides<ServiceCalls>, QueryError> {
        let (reader, windows, recent) = (self.reader, self.windows, self.recent());
        let (now, before) = reader.both(
            || ServiceCalls::read(reader, windows.now, &recent),
            || ServiceCalls::read(reader, windows.before, &[]),
        )?;
        let calls = Sides { now, before };
        for (part, of) in [(ReportPart::Window, &calls.now), (ReportPart::Baseline, &calls.before)]
        {
            self.stats += of.stats;
            if !of.stats.complete {
                self.lacks_by_length(part, "not every span of the services was counted");
            }
            if of.other_count > 0 {
                let reason = format!("{} spans of rarer services are in none", of.other_count);
                self.lacks(ReportPart::Groups, &reason);
            }
        }
        Ok(calls)
    }

    fn endpoints(
        &mut self,
        aggregated: Option<Sides<Endpoints>>,
        calls: Sides<&ServiceCalls>,
    ) -> Result<Vec<ComparedGroup<'static>>, QueryError> {
        let counts = calls.map(ServiceCalls::span_count);
        let sides = match aggregated {
            Some(sides) => Some(sides),
            None => services::endpoints(self.reader, self.windows, &self.recent(), counts)?,
        };
        let Some(sides) = sides else {
            let reason = "calls to endpoints without spans are not added up yet";
            self.lacks_by_length(ReportPart::Groups, reason);
            return Ok(Vec::new());
        };
        Ok(services::of_endpoints(sides))
    }

    /// The time ranges with traffic.
    fn periods(
        &self,
        roots: &Sides<RootOperations>,
        calls: Sides<&ServiceCalls>,
        has_ended: bool,
    ) -> ComparedPeriods {
        let step = self.windows.now.step().0;
        let windows = self.windows;
        let seconds = |window: Window, calls: &ServiceCalls| {
            let [start, end] = window.times();
            let Some((first, last)) = calls.bounds() else { return 0.0 };
            let from = first.0.max(start.0);
            let to = last.0.saturating_add(step).min(end.0);
            statistics::float(to.saturating_sub(from)) / 1e9
        };
        let whole = |window: Window| {
            let [start, end] = window.times();
            statistics::float(end.since(start).0) / 1e9
        };
        let [start, _] = windows.now.times();
        let now = match has_ended {
            true => statistics::float(self.end_of_spans().since(start).0) / 1e9,
            // A service that stops in the window is missing until its end.
            false => whole(windows.now),
        };
        let before = seconds(windows.before, calls.before);
        let transactions: u64 = roots.before.listed.iter().map(|root| root.calls.count).sum();
        let is_full = before * 2.0 >= whole(windows.before) && transactions >= BASELINE_CALLS_MIN;
        ComparedPeriods {
            windows,
            seconds: Sides { now, before },
            contiguous: windows.before.times()[1] == windows.now.times()[0],
            is_full,
        }
    }

    fn baseline(
        &self,
        roots: &Sides<RootOperations>,
        span_count: u64,
        periods: ComparedPeriods,
    ) -> Baseline {
        let [start_unix_nano, end_unix_nano] = self.windows.before.times();
        let is_empty = roots.before.listed.is_empty() && span_count == 0;
        let state = match (is_empty, periods.is_full) {
            (true, _) => BaselineState::Empty,
            (false, true) => BaselineState::Full,
            (false, false) => BaselineState::Short,
        };
        Baseline { start_unix_nano, end_unix_nano, span_count, state }
    }

    fn samples(
        &mut self,
        wanted: &TracesByType,
    ) -> Result<(Sides<TraceSample>, Names), QueryError> {
        let (sample, names) = reading::read_both(self.reader, wanted)?;
        if sample.now.is_cut || sample.before.is_cut {
            let reason = "traces are large: self times are of fewer of them";
            self.lacks(ReportPart::Culprits, reason);
        }
        Ok((sample, names))
    }

    /// Sets the versions and instances of the services from these traces. Returns the versions that
    /// are new in the window.
    fn new_versions(
        &mut self,
        traces: Sides<Vec<TraceId>>,
        now: &ServiceCalls,
        services: &mut [ChangedGroup],
    ) -> Result<Vec<NewVersion>, QueryError> {
        if self.reader.is_late(7) {
            let reason = "time was short: versions and instances were not looked for";
            self.lacks_by_length(ReportPart::Reasons, reason);
            return Ok(Vec::new());
        }
        let sampled = SampledServices::read(self.reader, traces)?;
        sampled.set_versions_and_instances(services);
        let ranges = self.windows.map(Window::range);
        let spans_of = |service: &str| now.spans_of(service);
        let (versions, is_complete) = sampled.deployments(self.reader, ranges, spans_of)?;
        if !is_complete {
            let reason = "there are too many spans to tell which versions are new";
            self.lacks_by_length(ReportPart::Reasons, reason);
        }
        Ok(versions)
    }

    /// The reasons of the first parties. Sets the names of the endpoints that they call.
    fn reasons(
        &mut self,
        findings: &mut Findings<'_>,
        versions: &[NewVersion],
    ) -> Result<Vec<Reason>, QueryError> {
        let reasoned = if self.search.explain { REASONED_EXPLAINED_MAX } else { REASONED_MAX };
        if self.reader.is_late(6) {
            let reason = "time was short: attributes of culprits were not compared";
            self.lacks_by_length(ReportPart::Reasons, reason);
            return Ok(Vec::new());
        }
        let (mut parties, mut sets) = (Vec::new(), Vec::new());
        for (party, _) in findings.attribution.parties(None).into_iter().take(CULPRITS_MAX) {
            let is_reasoned = sets.len() < reasoned;
            if !is_reasoned && !matches!(party, Suspect::Peer { .. }) {
                continue;
            }
            let Some(part) = findings.best_part(party, None).copied() else { continue };
            let mut cases = findings.cases(&part);
            if !is_reasoned {
                // A few cases are enough to find the name.
                cases.truncate(20);
            }
            parties.push((party, is_reasoned));
            sets.push(cases);
        }
        let (sets, stats) = Cases::read(self.reader, sets)?;
        self.stats += stats;
        for ((party, _), cases) in parties.iter().zip(&sets) {
            if let (Suspect::Peer { from, operation }, Some(name)) = (*party, cases.peer()) {
                findings.peers.insert((from, operation), name);
            }
        }
        let of_parties = parties.into_iter().zip(sets).filter(|((_, is_reasoned), _)| *is_reasoned);
        let reasons = of_parties
            .flat_map(|((party, _), cases)| cases.reasons(&findings.subject(party), REASONS_MAX));
        let mut reasons: Vec<Reason> = reasons.collect();
        self.look_up_first_spans(&mut reasons, versions)?;
        Ok(reasons)
    }

    /// Replaces the first sampled call of each cause by the first span that is stored. That of a new
    /// version is known. A time that is not known exactly is removed.
    fn look_up_first_spans(
        &self,
        reasons: &mut [Reason],
        versions: &[NewVersion],
    ) -> Result<(), QueryError> {
        let ranges = self.windows.map(Window::range);
        let mut looked_up = 0;
        for cause in reasons.iter_mut().map(|reason| &mut reason.cause) {
            let Some(sampled) = cause.first_seen_unix_nano.take() else { continue };
            let (Some(attribute), Some(value)) = (&cause.attribute, &cause.value) else { continue };
            if attribute.scope != "resource" {
                continue;
            }
            let of_cause = versions.iter().find(|version| {
                let NewVersion { deployment, is_first_known } = version;
                *is_first_known
                    && attribute.key == VERSION
                    && deployment.service == cause.service
                    && deployment.version == *value
            });
            if let Some(NewVersion { deployment, .. }) = of_cause {
                cause.first_seen_unix_nano = Some(deployment.first_seen_unix_nano);
            } else if looked_up < FIRST_SPANS_MAX && !self.reader.is_late(7) {
                looked_up += 1;
                let of = ServiceValue { service: &cause.service, key: &attribute.key, value };
                cause.first_seen_unix_nano = of.first_start(self.reader, ranges, sampled)?;
            }
        }
        Ok(())
    }
}

/// The most frequent transaction types of both sides, one after the other: a report holds the
/// aggregates of two reads at most.
fn read_roots(
    reader: &Reader,
    windows: Sides<Window>,
    traces_max: usize,
) -> Result<Sides<RootOperations>, QueryError> {
    let read = |window| {
        transaction_types::root_operations(reader, window, TRANSACTIONS_READ_MAX, traces_max)
    };
    Ok(Sides { now: read(windows.now)?, before: read(windows.before)? })
}

/// Keeps the types that are most frequent on both sides together. A type is dropped from both sides
/// when it is missing on a side whose rarer types are not known.
fn retain_comparable(roots: &mut Sides<RootOperations>) {
    let name = |root: &RootOperation| (root.service.clone(), root.operation.clone());
    let mut counts: HashMap<(String, String), [u64; 2]> = HashMap::new();
    for (side, of) in [&roots.now, &roots.before].into_iter().enumerate() {
        for root in &of.listed {
            counts.entry(name(root)).or_default()[side] += root.calls.count;
        }
    }
    let is_cut = [roots.now.other_count > 0, roots.before.other_count > 0];
    counts.retain(|_, counts| !counts.iter().zip(is_cut).any(|(count, cut)| *count == 0 && cut));
    let mut ranked: Vec<_> = counts.into_iter().collect();
    let sum = |counts: &[u64; 2]| counts[0].saturating_add(counts[1]);
    ranked
        .sort_unstable_by(|(a, of_a), (b, of_b)| sum(of_b).cmp(&sum(of_a)).then_with(|| a.cmp(b)));
    ranked.truncate(TRANSACTIONS_MAX);
    let kept: HashSet<_> = ranked.into_iter().map(|(name, _)| name).collect();
    for side in [&mut roots.now, &mut roots.before] {
        let mut left_out = 0;
        side.listed.retain(|root| {
            let is_kept = kept.contains(&name(root));
            left_out += if is_kept { 0 } else { root.calls.count };
            is_kept
        });
        side.other_count += left_out;
    }
}

/// The traces of transaction types, each with its number.
type TracesByType = Sides<Vec<(u32, Vec<TraceId>)>>;

/// Transaction types by service and operation. Types of the window are numbered first, then those
/// of the baseline.
#[derive(Debug, Default)]
struct TransactionNumbers<'a> {
    names: Vec<(&'a str, &'a str)>,
    numbers: HashMap<(&'a str, &'a str), u32>,
}

impl<'a> TransactionNumbers<'a> {
    /// Numbers the types of the window and of the baseline.
    fn new(roots: &'a Sides<RootOperations>) -> (Self, TracesByType) {
        let mut types = Self::default();
        let traces = roots.as_ref().map(|roots| {
            let of_type = |root: &'a RootOperation| (types.add(root), root.traces.clone());
            roots.listed.iter().map(of_type).collect()
        });
        (types, traces)
    }

    fn add(&mut self, root: &'a RootOperation) -> u32 {
        let name = (root.service.as_str(), root.operation.as_str());
        *self.numbers.entry(name).or_insert_with(|| {
            self.names.push(name);
            u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn number(&self, service: &str, operation: &str) -> Option<u32> {
        self.numbers.get(&(service, operation)).copied()
    }
}

/// The types as groups, by number.
fn transaction_groups<'a>(
    types: &TransactionNumbers<'_>,
    roots: &'a Sides<RootOperations>,
    traces: &TracesByType,
    recent: &[UnixNanos],
) -> Vec<ComparedGroup<'a>> {
    let group = |(service, operation): &(&str, &str)| ComparedGroup {
        service: (*service).to_owned(),
        operation: Some((*operation).to_owned()),
        uninstrumented: false,
        sides: Sides::default(),
    };
    let mut groups: Vec<ComparedGroup<'a>> = types.names.iter().map(group).collect();
    for (root, (number, _)) in roots.now.listed.iter().zip(&traces.now) {
        let steps = Cow::Borrowed(&root.steps);
        groups[*number as usize].sides.now = GroupCalls::new(&root.calls, steps, recent);
    }
    for (root, (number, _)) in roots.before.listed.iter().zip(&traces.before) {
        let steps = Cow::Borrowed(&root.steps);
        groups[*number as usize].sides.before = GroupCalls::new(&root.calls, steps, &[]);
    }
    groups
}

/// Traces of all types, taken from each type in turn.
fn some_traces(wanted: &[(u32, Vec<TraceId>)]) -> Vec<TraceId> {
    let longest = wanted.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
    let turns =
        (0..longest).flat_map(|turn| wanted.iter().filter_map(move |(_, ids)| ids.get(turn)));
    turns.take(VERSIONED_MAX).copied().collect()
}

/// The culprits as the API lists them. Endpoints of the same name are merged.
fn ranking(findings: &Findings<'_>, reasons: Vec<Reason>) -> CulpritRanking {
    let attribution: &Attribution = findings.attribution;
    let mut services = Vec::new();
    let mut seen: Vec<(String, bool)> = Vec::new();
    let parties = attribution.parties(None);
    let best = parties.first().map_or(0.0, |(_, score)| *score);
    for (party, score) in parties {
        let is_close = score >= best * SCORE_SHARE_MIN || services.len() < CULPRITS_MIN;
        if services.len() >= CULPRITS_MAX || !is_close {
            break;
        }
        let mut subject = findings.subject(party);
        let key = (
            subject.peer.clone().unwrap_or_else(|| subject.service.clone()),
            subject.peer.is_some(),
        );
        if seen.contains(&key) {
            continue;
        }
        let Some(part) = findings.best_part(party, None) else { continue };
        subject.operation = None;
        services.push(findings.culprit(subject, part, score));
        seen.push(key);
    }
    let mut operations = Vec::new();
    let (mut named, mut seen) = (Vec::new(), HashSet::new());
    for part in &attribution.parts {
        if operations.len() >= CULPRITS_MAX {
            break;
        }
        // The parts of one unit, in all its transaction types, name the same operation.
        if !seen.insert(part.unit) {
            continue;
        }
        let subject = findings.operation(part);
        if !named.contains(&subject) {
            operations.push(findings.culprit(subject.clone(), part, part.score));
            named.push(subject);
        }
    }
    let Sides { now, before } = findings.traces.map(|traces| traces.len() as u64);
    CulpritRanking { services, operations, reasons, traces_now: now, traces_before: before }
}

/// The begin of the heaviest change of the most changed group that became worse. Where none did,
/// that of the most changed group: more calls of an endpoint tell since when one service makes
/// them. A group without a usable begin leaves it to the others.
fn first_begin<'a>(
    groups: impl Iterator<Item = &'a ChangedGroup>,
    is_usable: impl Fn(UnixNanos) -> bool,
) -> Option<UnixNanos> {
    let begins = groups.filter_map(|group| {
        let change = group.changes.first()?;
        let begin = change.since_unix_nano.filter(|begin| is_usable(*begin))?;
        Some((change.is_worse, group.score, begin))
    });
    let first = begins.max_by(|(is_worse, score, _), (is_other_worse, other, _)| {
        is_worse.cmp(is_other_worse).then_with(|| score.total_cmp(other))
    });
    first.map(|(.., begin)| begin)
}

/// Reports whether any group of the service or transaction type changed.
fn is_changed(group: &ChangedGroup) -> bool {
    !group.changes.is_empty()
}

#[cfg(test)]
mod tests;
