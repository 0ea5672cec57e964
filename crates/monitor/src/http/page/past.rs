//! The past as the page shows it: a bar for each node's last day and each job's last month, and
//! what has ended lately.

use super::words;
use crate::{
    core::{
        availability::Report,
        check::{CheckId, Now},
        incident::Incident,
        rollup::{Grain, joined},
    },
    node::{Node, now},
    store::{Bucket, History, StoreError},
};
use std::{collections::BTreeMap, fmt::Write, rc::Rc, time::Duration};
use stdx::Moment;

/// Incidents that have ended and are shown.
const ENDED_SHOWN: u32 = 10;
/// How far the bar of a node goes back, by the hour, and that of a job, by the day.
const NODE_SHOWN: Duration = Duration::from_secs(24 * 3_600);
const JOB_SHOWN: Duration = Duration::from_secs(30 * 86_400);
/// The past is looked at again once the last look is this many times as old as it took.
const REST: u32 = 10;

/// What a page shows of the past.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(super) ended: Vec<Incident>,
    bars: BTreeMap<CheckId, Vec<Bucket>>,
    /// Until when it is good enough.
    until: Option<Moment>,
}

/// The past of these nodes and jobs. Everybody who looks at the same time gets the same.
pub(super) async fn of(node: &Node, nodes: Vec<CheckId>, jobs: Vec<CheckId>) -> Rc<Past> {
    let began = now();
    let last = Rc::clone(&node.past.borrow());
    if last.until.is_some_and(|until| began.moment < until) {
        return last;
    }
    match node.history.ask(move |it| read(it, began, &nodes, &jobs)).await {
        Ok(past) => {
            let ended = now().moment;
            let until = Some(ended + ended.since(began.moment) * REST);
            let past = Rc::new(Past { until, ..past });
            node.past.replace(Rc::clone(&past));
            past
        }
        Err(err) => {
            tracing::error!(%err, "cannot read what was kept");
            last // Better than nothing: what is open now is told all the same.
        }
    }
}

fn read(
    history: &History,
    now: Now,
    nodes: &[CheckId],
    jobs: &[CheckId],
) -> Result<Past, StoreError> {
    let mut bars = BTreeMap::new();
    for (ids, shown, grain) in [(nodes, NODE_SHOWN, Grain::Hour), (jobs, JOB_SHOWN, Grain::Day)] {
        let found = history.bars(ids, (now.wall_before(shown), now.wall), grain)?;
        bars.extend(ids.iter().copied().zip(found));
    }
    let mut ended = history.incidents(ENDED_SHOWN)?;
    ended.retain(|it| it.resolved_at.is_some());
    Ok(Past { ended, bars, until: None })
}

impl Past {
    /// How much of its time a check was up, and a bar of it; a dash where nothing is known.
    pub(super) fn bar(&self, out: &mut String, id: Option<CheckId>) {
        let bar = id.and_then(|id| self.bars.get(&id)).map_or(&[][..], Vec::as_slice);
        let whole = joined(bar.iter().map(|it| &it.report));
        let Some(share) = whole.available_ppm().map(percent) else {
            out.push('–');
            return;
        };
        let outages = match whole.outages {
            0 => "no outage".to_owned(),
            1 => "1 outage".to_owned(),
            count => format!("{count} outages"),
        };
        // A string takes all.
        _ = write!(out, "{share} <span class=\"bar\" role=\"img\" aria-label=\"{outages}\">");
        for it in bar {
            let at = it.at.to_string();
            let at = match it.grain {
                Grain::Day => at.get(..10),
                Grain::Hour | Grain::Minute => at.get(11..16),
            };
            let (class, words) = cell(&it.report);
            let at = at.unwrap_or_default();
            _ = write!(out, "<i class=\"{class}\" title=\"{at} {words}\"></i>");
        }
        out.push_str("</span>");
    }
}

/// What one cell of a bar looks like, and says.
fn cell(it: &Report) -> (&'static str, String) {
    let down = u64::try_from(it.down.as_millis()).unwrap_or(u64::MAX);
    match (it.available_ppm(), it.up.is_zero()) {
        (Some(_), false) if down == 0 => ("up", "up".to_owned()),
        (Some(ppm), false) => {
            ("part", format!("{} up, {} down", percent(ppm), words::length(down)))
        }
        (Some(_), true) => ("down", format!("down for {}", words::length(down))),
        (None, _) if !it.maintenance.is_zero() => ("away", "maintenance".to_owned()),
        (None, _) if !it.away.is_zero() => ("away", "away on purpose".to_owned()),
        (None, _) => ("none", "nothing known".to_owned()),
    }
}

/// Never rounded up: what was down at all is not 100 %.
fn percent(ppm: u64) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::availability::Mark;
    use wire::Timestamp;

    #[test]
    fn a_bar_says_what_it_shows() {
        let hour = |at: i64, mark| Bucket {
            grain: Grain::Hour,
            at: Timestamp(at * 3_600_000_000),
            report: Report::all(mark, Grain::Hour.length()),
            count: None,
        };
        let mixed = Bucket {
            report: Report::all(Mark::Up, Duration::from_secs(3_240))
                .then(&Report::all(Mark::Down, Duration::from_secs(360))),
            ..hour(2, Mark::Up)
        };
        let bar = vec![hour(0, Mark::Unknown), hour(1, Mark::Up), mixed, hour(3, Mark::Down)];
        let past = Past { bars: [(CheckId(1), bar)].into(), ..Past::default() };
        let mut out = String::new();
        past.bar(&mut out, Some(CheckId(1)));
        for part in [
            "63.33 % <span",
            "aria-label=\"1 outage\"",
            "class=\"none\" title=\"00:00 nothing known\"",
            "class=\"up\" title=\"01:00 up\"",
            "class=\"part\" title=\"02:00 90.00 % up, 6 min down\"",
            "class=\"down\" title=\"03:00 down for 1 h\"",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        let mut out = String::new();
        past.bar(&mut out, None);
        assert_eq!(out, "–");
    }
}
