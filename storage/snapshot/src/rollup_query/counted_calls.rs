//! Selects the calls in files' rollups that still count after split traces are assembled.
//!
//! A file has counted its part of a split trace as a whole trace, but the calls of the assembled
//! trace are the right ones. A right call that a file has counted stays in that file's rollup
//! buckets, once. All other counted calls are retracted. Calls are grouped by trace, so that each
//! search is short.

use std::collections::HashMap;

use ahash::RandomState;
use tidings_proto::TraceId;
use tidings_rollup::{Call, retraction::RetractedCall, rollup_encoding::GroupNumber};

use super::file_buckets::RetractedCalls;

/// A call and its group in the answer.
pub(crate) type GroupCall = (GroupNumber, Call);

/// Calls that files have counted, of traces that are in several places.
#[derive(Debug)]
pub(crate) struct CountedCalls {
    files: usize,
    /// Indexes in `traces`.
    places: HashMap<TraceId, usize, RandomState>,
    traces: Vec<TraceCalls>,
    /// Trace that was looked up last, and its index, if any. Calls come trace by trace.
    recent: Option<(TraceId, Option<usize>)>,
}

/// Calls of one trace.
#[derive(Debug, Default)]
struct TraceCalls {
    calls: Vec<CountedCall>,
    is_sorted: bool,
}

/// Call in the rollup buckets of a file.
#[derive(Debug)]
struct CountedCall {
    call: GroupCall,
    file: usize,
    /// True if the call counts and stays in these rollup buckets.
    stays: bool,
    /// True if a pair retracted the call because it counted elsewhere.
    is_away: bool,
}

impl CountedCalls {
    /// Creates an empty set of calls of this many files.
    pub(crate) fn new(files: usize) -> Self {
        Self { files, places: HashMap::default(), traces: Vec::new(), recent: None }
    }

    /// Adds a call that a file has counted.
    pub(crate) fn push(&mut self, file: usize, call: GroupCall) {
        let of = self.of_trace(call.1.exemplar.trace_id);
        of.calls.push(CountedCall { call, file, stays: false, is_away: false });
        of.is_sorted = false;
    }

    /// Adds a call that a file has counted and that a pair retracted. It may stay an exemplar of
    /// the file only if it counts elsewhere.
    pub(crate) fn push_retracted(&mut self, file: usize, call: GroupCall) {
        let of = self.of_trace(call.1.exemplar.trace_id);
        of.calls.push(CountedCall { call, file, stays: false, is_away: true });
        of.is_sorted = false;
    }

    /// Marks a call that counts. Returns true if it is in a rollup bucket and stays there.
    pub(crate) fn stays(&mut self, call: GroupCall) -> bool {
        let Some(place_of_trace) = self.find(call.1.exemplar.trace_id) else { return false };
        let of = &mut self.traces[place_of_trace];
        of.sort();
        let first = of.calls.partition_point(|own| place(&own.call) < place(&call));
        let same = &mut of.calls[first..];
        let count = same.partition_point(|own| place(&own.call) == place(&call));
        // Calls that stay are sorted first. A binary search therefore finds the first other one.
        let next = same[..count].partition_point(|own| own.stays);
        let next = same[..count].get_mut(next).filter(|own| !own.is_away);
        next.map(|own| own.stays = true).is_some()
    }

    /// Returns the index of a trace, if it has calls.
    fn find(&mut self, trace: TraceId) -> Option<usize> {
        if let Some((_, place)) = self.recent.filter(|(recent, _)| *recent == trace) {
            return place;
        }
        let place = self.places.get(&trace).copied();
        self.recent = Some((trace, place));
        place
    }

    /// Returns the calls of a trace, which is added if it is new.
    fn of_trace(&mut self, trace: TraceId) -> &mut TraceCalls {
        let place = self.find(trace).unwrap_or_else(|| {
            let place = self.traces.len();
            self.traces.push(TraceCalls::default());
            self.places.insert(trace, place);
            self.recent = Some((trace, Some(place)));
            place
        });
        &mut self.traces[place]
    }

    /// Returns, for each file, the calls to retract and the calls that stay.
    pub(crate) fn into_retractions(self) -> impl Iterator<Item = (RetractedCalls, Vec<GroupCall>)> {
        let mut settled = vec![(RetractedCalls::new(), Vec::new()); self.files];
        for mut of in self.traces {
            of.sort();
            for same in of.calls.chunk_by(|left, right| left.call == right.call) {
                let counts = same.iter().any(|own| own.stays);
                for CountedCall { call: (group, call), file, stays, is_away } in same {
                    let (taken, stay) = &mut settled[*file];
                    if *stays {
                        stay.push((*group, *call));
                    } else if !(*is_away && counts) {
                        let of = RetractedCall { call: *call, counts, is_away: *is_away };
                        taken.entry(*group).or_default().push(of);
                    }
                }
            }
        }
        for group in settled.iter_mut().flat_map(|(taken, _)| taken.values_mut()) {
            group.sort_by_key(|taken| taken.call.exemplar.start_unix_nano);
        }
        settled.into_iter()
    }
}

impl TraceCalls {
    /// Sorts the calls so that equal ones are consecutive.
    fn sort(&mut self) {
        if !self.is_sorted {
            // The order makes the choice of the file deterministic. Retractions of pairs come last.
            self.calls
                .sort_unstable_by_key(|own| (place(&own.call), !own.stays, own.is_away, own.file));
            self.is_sorted = true;
        }
    }
}

/// Returns the sort key of a call among those of its trace.
fn place((group, call): &GroupCall) -> impl Ord + use<> {
    let Call { exemplar, failed, timed } = call;
    let times = (exemplar.start_unix_nano, exemplar.duration_nano);
    (exemplar.span_id, *group, times, *failed, *timed)
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos, api::Exemplar};

    use super::{Call, CountedCalls};

    #[test]
    fn very_many_equal_calls_keep_their_count() {
        let exemplar = Exemplar {
            trace_id: TraceId::from_wire(&[1; 16]).unwrap(),
            span_id: SpanId::from_wire(&[1; 8]).unwrap(),
            start_unix_nano: UnixNanos(1),
            duration_nano: DurationNanos(1),
        };
        let call = Call { exemplar, failed: false, timed: true };
        let (count, files) = (200_000, 2);
        let mut own = CountedCalls::new(files);
        (0..count).for_each(|n| own.push(n % files, (0, call)));
        assert_eq!((0..count + 5).filter(|_| own.stays((0, call))).count(), count);
        own.push(0, (0, call));
        assert!(own.stays((0, call)) && !own.stays((0, call)));
        for (taken, stay) in own.into_retractions() {
            assert!(taken.is_empty());
            assert!(stay.len() >= count / files);
        }
    }
}
