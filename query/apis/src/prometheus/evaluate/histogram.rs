//! Quantiles of histograms with buckets, computed as Prometheus does.

use std::collections::BTreeMap;

use tidings_promql::{labels::Labels, number::number_of};

use super::{Evaluator, SeriesSample, check_distinct};
use crate::prometheus::{PromqlError, metric_names::LE};

/// Returns the quantile of each histogram among the samples.
pub(super) fn quantiles(
    evaluator: &Evaluator<'_>,
    part: f64,
    samples: Vec<SeriesSample>,
) -> Result<Vec<SeriesSample>, PromqlError> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        evaluator.check()?;
        let Some(bound) = bound_of(sample.labels.get(LE)) else { continue };
        let labels = sample.labels.unnamed().only(|label| label != LE);
        histograms.entry(labels).or_default().push((bound, sample.value));
    }
    let quantiles = histograms
        .into_iter()
        .map(|(labels, buckets)| SeriesSample { labels, value: quantile(part, buckets) });
    check_distinct(quantiles.collect())
}

fn bound_of(text: &str) -> Option<f64> {
    match text.strip_prefix('-') {
        Some(rest) => number_of(rest).map(|bound| -bound),
        None => number_of(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Returns the quantile from cumulative counts by upper bound, interpolated linearly inside its
/// bucket.
fn quantile(part: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if part.is_nan() {
        return f64::NAN;
    }
    if part < 0.0 {
        return f64::NEG_INFINITY;
    }
    if part > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|next, kept| {
        let same = next.0.to_bits() == kept.0.to_bits();
        kept.1 += if same { next.1 } else { 0.0 };
        same
    });
    let Some((last, all)) = buckets.last().copied() else { return f64::NAN };
    if last < f64::INFINITY || buckets.len() < 2 || all.is_nan() || all == 0.0 {
        return f64::NAN;
    }
    // Rounding makes rates inexact, but cumulative counts must never fall.
    let mut most = 0.0_f64;
    for (_, count) in &mut buckets {
        most = most.max(*count);
        *count = most;
    }
    let rank = part * all;
    let open = buckets.len() - 1;
    let place = buckets[..open].iter().position(|(_, count)| *count >= rank).unwrap_or(open);
    if place == open {
        return buckets[open - 1].0;
    }
    let (end, count) = buckets[place];
    if place == 0 && end <= 0.0 {
        return end;
    }
    let (begin, before) =
        place.checked_sub(1).map_or((0.0, 0.0), |before| (buckets[before].0, buckets[before].1));
    let inside = count - before;
    if inside <= 0.0 { end } else { begin + (end - begin) * ((rank - before) / inside) }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_lie_where_prometheus_puts_them() {
        let inf = f64::INFINITY;
        for (part, buckets, expected) in [
            (0.5, vec![(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.0),
            (0.75, vec![(1.0, 2.0), (2.0, 4.0), (inf, 4.0)], 1.5),
            (1.0, vec![(1.0, 2.0), (inf, 4.0)], 1.0),
            (0.0, vec![(1.0, 2.0), (inf, 2.0)], 0.0),
            (0.9, vec![(2.0, 0.0), (1.0, 0.0), (4.0, 10.0), (inf, 10.0)], 3.8),
            (-1.0, vec![(1.0, 1.0), (inf, 1.0)], f64::NEG_INFINITY),
            (2.0, vec![(1.0, 1.0), (inf, 1.0)], inf),
        ] {
            let found = quantile(part, buckets.clone());
            assert!(
                (found - expected).abs() < 1e-12 || found == expected,
                "{part} {buckets:?} {found}"
            );
        }
        for buckets in [vec![], vec![(inf, 3.0)], vec![(1.0, 3.0)], vec![(1.0, 0.0), (inf, 0.0)]] {
            assert!(quantile(0.5, buckets).is_nan());
        }
    }
}
