//! A whole run: set-up, load, questions, audit.

use crate::{
    audit::Position,
    books::{AuditReport, Books},
    driver::{self, Bounds},
    ending::Ending,
    errand,
    error::RunError,
    letter::Letters,
    limits::{LOGGED_MAX, WINDOWS_WAITING_MAX},
    load::{Load, Times},
    log::Log,
    news::News,
    opening::Opening,
    plan::{Pace, Plan},
    report::{Measured, Report},
    settling::Settling,
    tally::{Point, Window},
    work::Chooser,
};
use net::clock;
use std::{
    collections::BTreeMap,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

/// Time for the threads to start and to connect before the first operation is due.
const HEAD_START: Duration = Duration::from_millis(250);

/// Carries out a plan; `news` hears of it while it goes on.
pub fn run(plan: &Plan, news: &mut dyn FnMut(News<'_>)) -> Result<Report, RunError> {
    if let Some(complaint) = plan.complaint() {
        return Err(RunError::Plan(complaint));
    }
    let plan = &plan.in_whole_windows();
    let letters = Letters::new(plan);
    let mut opening = Opening::new(&letters, plan.accounts, news);
    errand::run(plan, &mut opening)?;
    let openings = opening.openings;
    let started = clock::wall();
    let (mut log, mut measured) = load(plan, &letters, news)?;
    let mut settling = Settling::new(&letters, &mut log, news);
    errand::run(plan, &mut settling)?;
    let (executed, refused) = (settling.executed, settling.refused);
    let mut ending = Ending::new(&letters, &mut log, news);
    errand::run(plan, &mut ending)?;
    let ended_later = ending.ended;
    measured.audit = match plan.audit {
        true => {
            let report = audit(plan, &letters, &mut log, &openings, news)?;
            let (settled_executed, settled_refused) = (executed, refused);
            Some(AuditReport { settled_executed, settled_refused, ended_later, ..report })
        }
        false => None,
    };
    Ok(Report::new(plan, started, measured))
}

fn audit(
    plan: &Plan,
    letters: &Letters,
    log: &mut Log,
    openings: &[Position],
    news: &mut dyn FnMut(News<'_>),
) -> Result<AuditReport, RunError> {
    let mut books = Books::new(letters, log, openings, &plan.services, news);
    errand::run(plan, &mut books)?;
    Ok(books.close())
}

/// Puts the load on, and puts together what the threads measured.
fn load(
    plan: &Plan,
    letters: &Letters,
    news: &mut dyn FnMut(News<'_>),
) -> Result<(Log, Measured), RunError> {
    let (sender, windows) = mpsc::sync_channel(WINDOWS_WAITING_MAX);
    let chooser = Chooser::new(plan.workload, plan.accounts, plan.seed);
    let times = Times::of(plan, clock::now() + HEAD_START);
    let cpu_before = cpu_time();
    let (logs, mut measured) = thread::scope(|scope| {
        let mut threads = Vec::with_capacity(plan.threads);
        for index in 0..plan.threads {
            let (sender, chooser) = (sender.clone(), &chooser);
            let thread = thread::Builder::new().name(format!("load-{index}"));
            let body = move || -> Result<(Log, u64), RunError> {
                // The connections are spread over the threads, the first ones get what is left.
                let more = usize::from(index < plan.connections % plan.threads);
                let bounds = Bounds {
                    addr: plan.target.addr,
                    connections: plan.connections / plan.threads + more,
                    streams: plan.streams,
                    answer_time_max: plan.answer_time_max,
                    connection_requests: plan.connection_requests,
                };
                let seed = plan.seed ^ u64::try_from(index).expect("a few threads").rotate_left(32);
                let chooser = chooser.reseeded(seed);
                let share = (bounds.lanes(), LOGGED_MAX / plan.threads);
                let mut load = Load::new(plan, letters, chooser, index, times, share, &sender);
                driver::drive(bounds, &mut load)?;
                Ok(load.finish(clock::now()))
            };
            threads.push(thread.spawn_scoped(scope, body)?);
        }
        drop(sender);
        let measured = gather(plan, &windows, news);
        let mut logs = Vec::with_capacity(threads.len());
        for thread in threads {
            logs.push(thread.join().map_err(|_| RunError::Refused("a thread panicked".into()))??);
        }
        Ok::<_, RunError>((logs, measured))
    })?;
    measured.cpu = cpu_time().saturating_sub(cpu_before);
    let mut whole = Log::new(plan.accounts, LOGGED_MAX);
    for (log, unsent) in logs {
        whole.absorb(log);
        measured.unsent += unsent;
    }
    Ok((whole, measured))
}

/// Adds up the windows of all threads in the order of time.
fn gather(plan: &Plan, windows: &Receiver<Window>, news: &mut dyn FnMut(News<'_>)) -> Measured {
    let mut measured = Measured::new();
    let mut parts: BTreeMap<u64, (Window, usize)> = BTreeMap::new();
    let whole_ms = millis(plan.warm_up + plan.duration);
    let mut take = |measured: &mut Measured, window: Window| {
        let point = point_of(plan, &window);
        let end_ms = point.at_ms.saturating_add(millis(plan.window));
        if !point.is_warm_up {
            measured.whole.add(&window);
            if end_ms <= whole_ms {
                measured.in_time.add(&window.counts);
                measured.in_time_ms = end_ms.saturating_sub(millis(plan.warm_up));
            }
        }
        news(News::Window { point: &point, whole_ms });
        measured.series.push(point);
    };
    for window in windows {
        let index = window.index;
        let (sum, count) = parts.entry(index).or_insert_with(|| (Window::new(index), 0));
        sum.add(&window);
        *count += 1;
        while let Some(first) = parts.first_entry() {
            if first.get().1 < plan.threads {
                break;
            }
            take(&mut measured, first.remove().0);
        }
    }
    // A thread may end a window before the others do.
    for (window, _) in parts.into_values() {
        take(&mut measured, window);
    }
    measured
}

fn point_of(plan: &Plan, window: &Window) -> Point {
    let at_ms = window.index.saturating_mul(millis(plan.window));
    Point {
        at_ms,
        is_warm_up: at_ms < millis(plan.warm_up),
        counts: window.counts,
        p50: window.due.at(0.5),
        p99: window.due.at(0.99),
        max: window.due.max(),
        errors_max: window.errors.max(),
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What pace was asked for, in operations a second.
pub(crate) fn offered(plan: &Plan) -> Option<u32> {
    match plan.pace {
        Pace::Open(rate) => Some(rate),
        Pace::Closed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::plan;

    /// A thousand operations in each window of a second: so many a second are found, however long
    /// the warm-up and the rest are.
    #[test]
    fn what_is_counted_and_how_long_are_of_the_same_windows() {
        for (warm_up_ms, duration_ms, counted) in
            [(0, 3_000, 3_000), (1_000, 3_000, 3_000), (500, 2_500, 3_000), (300, 2_000, 2_000)]
        {
            let mut plan = plan("127.0.0.1:1");
            (plan.warm_up, plan.duration) =
                (Duration::from_millis(warm_up_ms), Duration::from_millis(duration_ms));
            let plan = plan.in_whole_windows();
            let windows = millis(plan.warm_up + plan.duration).div_ceil(1_000);
            let (sender, news) = mpsc::channel();
            for index in 0..windows {
                let mut window = Window::new(index);
                window.counts.ok = 1_000;
                sender.send(window).unwrap();
            }
            drop(sender);
            let measured = gather(&plan, &news, &mut |_| ());
            assert_eq!(measured.whole.counts.ok, counted, "{warm_up_ms}, {duration_ms}");
            assert_eq!(measured.in_time.ok, measured.in_time_ms, "{warm_up_ms}, {duration_ms}");
        }
    }
}
