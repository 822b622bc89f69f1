//! What a list of measured ratios says.

pub(crate) fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// Of the median: by rank, whatever the numbers are distributed like.
pub(crate) fn confidence(sorted: &[f64]) -> (f64, f64) {
    let (middle, reach) = (sorted.len() / 2, (0.98 * (sorted.len() as f64).sqrt()).ceil() as usize);
    (sorted[middle.saturating_sub(reach)], sorted[(middle + reach).min(sorted.len() - 1)])
}
