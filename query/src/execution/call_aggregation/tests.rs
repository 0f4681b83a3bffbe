use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use tidings_proto::{DurationNanos, UnixNanos};
use tidings_storage::{
    Call, CallAccumulator, CallAccumulatorFactory, CallKey, RollupBucket, SpanFilter,
};

use super::CallAggregation;
use crate::{
    QueryLimits,
    execution::stored_calls::{HOUR, StoredCalls},
};

/// Number of an operation without room.
const NONE: u32 = u32::MAX;

/// Counts of calls by operation. Calls of operations without room are counted together.
#[derive(Debug, Default)]
struct OperationCounts {
    operations_max: usize,
    numbers: BTreeMap<String, u32>,
    counts: Vec<u64>,
    other_count: u64,
    left_out: bool,
}

/// Aggregation with room for this number of operations. It begins with the oldest share, so that
/// its operations depend on the division into shares where they do not fit.
#[derive(Debug)]
struct OldestFirst {
    operations_max: usize,
    /// Number of shares of each reading.
    share_counts: Mutex<Vec<usize>>,
}

impl CallAccumulatorFactory for OldestFirst {
    type Accumulator = OperationCounts;

    fn unordered(&self) -> OperationCounts {
        OperationCounts { operations_max: self.operations_max, ..OperationCounts::default() }
    }

    fn for_range(&self, _: Range<UnixNanos>, _: &Arc<OperationCounts>) -> OperationCounts {
        self.unordered()
    }
}

impl CallAccumulator for OperationCounts {
    fn group(&mut self, key: CallKey<'_>) -> u32 {
        self.number(key.operation)
    }

    fn call(&mut self, group: u32, _: &Call) {
        self.add(group, 1);
    }

    fn add_bucket(&mut self, group: u32, bucket: &RollupBucket<'_>) -> Option<()> {
        self.add(group, bucket.count());
        Some(())
    }
}

impl CallAggregation<OperationCounts> for OldestFirst {
    fn joined(
        &self,
        unordered: Arc<OperationCounts>,
        shares: Vec<OperationCounts>,
    ) -> OperationCounts {
        self.share_counts.lock().unwrap().push(shares.len());
        let mut all = self.unordered();
        shares.iter().rev().chain([&*unordered]).for_each(|share| all.join(share));
        all
    }

    fn is_cut(&self, counts: &OperationCounts) -> bool {
        counts.left_out
    }
}

impl OperationCounts {
    fn number(&mut self, operation: &str) -> u32 {
        if let Some(number) = self.numbers.get(operation) {
            return *number;
        }
        if self.counts.len() >= self.operations_max {
            self.left_out = true;
            return NONE;
        }
        let number = u32::try_from(self.counts.len()).unwrap();
        self.numbers.insert(operation.to_owned(), number);
        self.counts.push(0);
        number
    }

    fn add(&mut self, group: u32, count: u64) {
        match self.counts.get_mut(group as usize) {
            Some(known) => *known += count,
            None => self.other_count += count,
        }
    }

    fn join(&mut self, other: &Self) {
        self.left_out |= other.left_out;
        self.other_count += other.other_count;
        for (operation, number) in &other.numbers {
            let group = self.number(operation);
            self.add(group, other.counts[*number as usize]);
        }
    }

    fn by_operation(&self) -> BTreeMap<&str, u64> {
        let count = |number: u32| self.counts[number as usize];
        let numbers = self.numbers.iter();
        numbers.map(|(operation, number)| (operation.as_str(), count(*number))).collect()
    }
}

#[tokio::test]
async fn any_number_of_threads_answers_the_same_groups() {
    let operations = |hour: u32| -> Vec<String> {
        let own = (0..3).map(|number| format!("operation {hour}.{number}"));
        own.chain(["common".to_owned()]).collect()
    };
    let hours: Vec<Vec<String>> = (0..4).map(operations).collect();
    let stored = StoredCalls::new(&hours).await;
    let filter = SpanFilter { start: stored.range(), ..SpanFilter::default() };
    let read = |helper_threads: usize, operations_max: usize| {
        let aggregation = OldestFirst { operations_max, share_counts: Mutex::default() };
        let reader = stored.reader(helper_threads, QueryLimits::default());
        let found = reader.aggregate_calls(&filter, DurationNanos(HOUR), &aggregation).unwrap();
        assert!(found.scan.complete && !found.repeats_counted);
        (found.calls, aggregation.share_counts.into_inner().unwrap())
    };
    // All 13 operations fit; those of half of the hours do, and not all; those of an hour do.
    for (operations_max, other_count) in [(13, 0), (9, 4), (5, 8)] {
        let (expected, share_counts) = read(0, operations_max);
        let expected = (expected.by_operation(), expected.other_count);
        assert_eq!((expected.0.len(), expected.1), (operations_max, other_count));
        assert_eq!((expected.0["common"], share_counts), (4, vec![1]));
        for helper_threads in [1, 3] {
            let (found, share_counts) = read(helper_threads, operations_max);
            assert_eq!((found.by_operation(), found.other_count), expected, "{helper_threads}");
            let threads = helper_threads + 1;
            let expected = if other_count > 0 { vec![threads, 1] } else { vec![threads] };
            assert_eq!(share_counts, expected, "{operations_max}");
        }
    }
}
