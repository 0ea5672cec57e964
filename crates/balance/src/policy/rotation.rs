//! Each in turn: by index, or as its weight says.

use super::View;

/// The candidate after the last one.
pub(super) fn next(view: &View<'_>, last: &mut Option<usize>) -> usize {
    let after = last.map_or(0, |last| view.candidates.partition_point(|&it| it <= last));
    let chosen = view.candidates[after % view.candidates.len()];
    *last = Some(chosen);
    chosen
}

/// Smooth weighted round robin (nginx, 2012): everyone earns its weight, the richest is chosen and
/// pays what all earned. Over a cycle of the sum of the weights each is chosen exactly as often as
/// its weight says, and the turns of the heavy ones are spread among those of the light.
pub(super) fn smooth(view: &mut View<'_>) -> usize {
    let mut total = 0;
    let mut richest: Option<(i64, usize)> = None;
    for &index in &*view.candidates {
        let endpoint = &mut view.endpoints[index];
        let weight = i64::from(endpoint.spec.weight.get());
        endpoint.credit = endpoint.credit.saturating_add(weight);
        total += weight;
        if richest.is_none_or(|(credit, _)| credit < endpoint.credit) {
            richest = Some((endpoint.credit, index));
        }
    }
    let (_, chosen) = richest.expect("there is a candidate");
    view.endpoints[chosen].credit -= total;
    chosen
}
