//! Availability over time, not over beats: `up / (up + down)`, with what is not known and what was
//! away on purpose left out of both and shown apart.

use super::check::{State, between};
use std::time::Duration;
use wire::Timestamp;

/// How a stretch of time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Up,
    Down,
    /// Nobody listened, or nothing had been heard yet.
    Unknown,
    /// Away because somebody wanted it.
    Away,
    /// Within a maintenance window: whatever it was, it counts for nothing.
    Maintenance,
}

impl Mark {
    /// How time in a state counts. Late is a doubt, and strained still serves. So does sick, but a
    /// node that is counts as down all the same, for nobody was to rely on it.
    pub const fn of(state: State) -> Mark {
        match state {
            State::Up | State::Late | State::Strained => Mark::Up,
            State::Down | State::Sick => Mark::Down,
            State::New => Mark::Unknown,
            State::Starting | State::Draining | State::Stopped | State::Paused => Mark::Away,
        }
    }
}

/// From this moment on the check counts so, until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub at: Timestamp,
    pub mark: Mark,
}

/// What a window of time was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub up: Duration,
    pub down: Duration,
    pub unknown: Duration,
    pub away: Duration,
    pub maintenance: Duration,
    /// Stretches of down time that began in the window or before it.
    pub outages: u32,
    pub outage_longest: Duration,
    /// The outage that the window begins with, and the one that it ends with: zero without one.
    pub head: Duration,
    pub tail: Duration,
}

impl Report {
    /// A window that was all alike.
    pub fn all(mark: Mark, length: Duration) -> Report {
        let mut out = Report::default();
        match mark {
            Mark::Up => out.up = length,
            Mark::Unknown => out.unknown = length,
            Mark::Away => out.away = length,
            Mark::Maintenance => out.maintenance = length,
            Mark::Down => {
                (out.down, out.outages) = (length, 1);
                (out.outage_longest, out.head, out.tail) = (length, length, length);
            }
        }
        out
    }

    /// The whole window.
    pub fn length(&self) -> Duration {
        self.up + self.down + self.unknown + self.away + self.maintenance
    }

    /// This window and the one right after it as one; an outage that spans both is one outage.
    #[must_use]
    pub fn then(&self, next: &Report) -> Report {
        let spanning = if self.tail.is_zero() || next.head.is_zero() {
            Duration::ZERO
        } else {
            self.tail + next.head
        };
        let is_all_down = |it: &Report, edge: Duration| edge == it.length();
        Report {
            up: self.up + next.up,
            down: self.down + next.down,
            unknown: self.unknown + next.unknown,
            away: self.away + next.away,
            maintenance: self.maintenance + next.maintenance,
            outages: self.outages + next.outages - u32::from(!spanning.is_zero()),
            outage_longest: self.outage_longest.max(next.outage_longest).max(spanning),
            head: if is_all_down(self, self.head) { self.head + next.head } else { self.head },
            tail: if is_all_down(next, next.tail) { self.tail + next.tail } else { next.tail },
        }
    }

    /// Share of up in millionths; `None` when neither up nor down was seen.
    pub fn available_ppm(&self) -> Option<u64> {
        let seen = (self.up + self.down).as_micros();
        let up = self.up.as_micros() * 1_000_000;
        (seen != 0).then(|| u64::try_from(up / seen).unwrap_or(1_000_000))
    }

    /// Mean time to recover.
    pub fn mttr(&self) -> Option<Duration> {
        (self.outages != 0).then(|| self.down / self.outages)
    }

    /// Mean time between failures: up time for each outage.
    pub fn mtbf(&self) -> Option<Duration> {
        (self.outages != 0).then(|| self.up / self.outages)
    }

    /// What is left of an error budget: the part of down time that a target in millionths allows
    /// and that has not been used. Negative when overspent; in microseconds.
    pub fn budget_left(&self, target_ppm: u64) -> i128 {
        let seen = i128::try_from((self.up + self.down).as_micros()).unwrap_or(i128::MAX);
        let down = i128::try_from(self.down.as_micros()).unwrap_or(i128::MAX);
        let allowed = seen / 1_000_000 * i128::from(1_000_000_u64.saturating_sub(target_ppm));
        allowed - down
    }
}

/// Adds a window up. `turns` are in order of time; what came before the first one is unknown, and
/// so is every stretch of `blind`, which are [`merged`], except where the check was down before and after it, or
/// in maintenance.
pub fn report(
    turns: &[Turn],
    blind: &[(Timestamp, Timestamp)],
    window: (Timestamp, Timestamp),
) -> Report {
    let from = window.0;
    let to = window.1.max(from); // The wrong way round it is nothing.
    let mut out = Report::default();
    let mut mark = Mark::Unknown;
    let mut at = from;
    let mut outage = Duration::ZERO;
    let end = Turn { at: to, mark: Mark::Unknown };
    for turn in turns.iter().chain([&end]) {
        let until = turn.at.clamp(at, to);
        let length = between(at, until);
        let is_certain = matches!(mark, Mark::Down | Mark::Maintenance);
        let deaf = if is_certain { Duration::ZERO } else { overlap(blind, at, until) };
        out.unknown += deaf;
        let heard = length.saturating_sub(deaf);
        match mark {
            Mark::Up => out.up += heard,
            Mark::Down => {
                out.down += heard;
                outage += heard;
            }
            Mark::Unknown => out.unknown += heard,
            Mark::Away => out.away += heard,
            Mark::Maintenance => out.maintenance += heard,
        }
        let is_over = turn.mark != Mark::Down || turn.at >= to;
        if mark == Mark::Down && is_over && outage != Duration::ZERO {
            out.outages += 1;
            out.outage_longest = out.outage_longest.max(outage);
            if outage == out.length() {
                out.head = outage; // Nothing else came before it.
            }
            if until == to {
                out.tail = outage;
            }
            outage = Duration::ZERO;
        }
        at = until;
        mark = turn.mark;
        if turn.at >= to {
            break;
        }
    }
    out
}

/// Puts stretches of maintenance over the turns of a check: within them nothing else counts.
pub fn overlay(turns: &[Turn], maintenance: &[(Timestamp, Timestamp)]) -> Vec<Turn> {
    let mut out = Vec::with_capacity(turns.len() + 2 * maintenance.len());
    let mut turns = turns.iter().peekable();
    let mut mark = Mark::Unknown;
    for (from, until) in merged(maintenance.to_vec()) {
        while let Some(turn) = turns.next_if(|it| it.at < from) {
            mark = turn.mark;
            out.push(*turn);
        }
        out.push(Turn { at: from, mark: Mark::Maintenance });
        while let Some(turn) = turns.next_if(|it| it.at <= until) {
            mark = turn.mark;
        }
        out.push(Turn { at: until, mark });
    }
    out.extend(turns);
    out
}

/// Stretches of time in order, those that touch or overlap as one.
pub fn merged(mut spans: Vec<(Timestamp, Timestamp)>) -> Vec<(Timestamp, Timestamp)> {
    spans.sort_unstable();
    let mut out: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            Some(_) | None => out.push((from, to)),
        }
    }
    out
}

fn overlap(blind: &[(Timestamp, Timestamp)], from: Timestamp, to: Timestamp) -> Duration {
    blind.iter().map(|(start, end)| between((*start).max(from), (*end).min(to))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Rng;

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000_000)
    }

    /// Second by second.
    fn oracle(turns: &[Turn], blind: &[(Timestamp, Timestamp)], window: (i64, i64)) -> Report {
        let mut out = Report::default();
        let mut outage = 0;
        for second in window.0..=window.1 {
            let last = turns.iter().rev().find(|it| it.at <= at(second));
            let mark = last.map_or(Mark::Unknown, |it| it.mark);
            let is_end = second == window.1;
            if mark == Mark::Down && !is_end {
                outage += 1;
                out.down += Duration::from_secs(1);
                continue;
            }
            if 0 < outage {
                let length = Duration::from_secs(outage);
                out.outages += 1;
                out.outage_longest = out.outage_longest.max(length);
                let begins = second - i64::try_from(outage).unwrap() == window.0;
                out.head = if begins { length } else { out.head };
                out.tail = if is_end { length } else { out.tail };
                outage = 0;
            }
            let deaf = blind.iter().any(|(from, to)| *from <= at(second) && at(second) < *to);
            let sum = match mark {
                Mark::Up if !deaf => &mut out.up,
                Mark::Away if !deaf => &mut out.away,
                Mark::Maintenance => &mut out.maintenance,
                Mark::Up | Mark::Away | Mark::Unknown | Mark::Down => &mut out.unknown,
            };
            if !is_end {
                *sum += Duration::from_secs(1);
            }
        }
        out
    }

    #[test]
    fn agrees_with_counting_the_seconds() {
        let mut rng = Rng::new(5);
        for _ in 0..500 {
            let mut second = 0;
            let mut turns = Vec::new();
            for _ in 0..rng.below(12) {
                second += i64::try_from(rng.below(30)).unwrap() + 1;
                let mark = [Mark::Up, Mark::Down, Mark::Unknown, Mark::Away][rng.below(4)];
                turns.push(Turn { at: at(second), mark });
            }
            let from = i64::try_from(rng.below(100)).unwrap();
            let to = from + i64::try_from(rng.below(200)).unwrap();
            let start = i64::try_from(rng.below(100)).unwrap();
            let blind = [(at(start), at(start + 7)), (at(start + 20), at(start + 21))];
            let ours = report(&turns, &blind, (at(from), at(to)));
            assert_eq!(ours, oracle(&turns, &blind, (from, to)), "{turns:?} {from} {to} {start}");
            // The same with maintenance over it.
            let spans = [(at(start + 3), at(start + 40)), (at(start + 20), at(start + 60))];
            let laid = overlay(&turns, &spans);
            assert!(laid.is_sorted_by_key(|it| it.at), "{laid:?}");
            let within = |it: i64| spans.iter().any(|(from, to)| *from <= at(it) && at(it) < *to);
            let by_second = (0..400).map(|it| {
                let last = turns.iter().rev().find(|turn| turn.at <= at(it));
                let mark = last.map_or(Mark::Unknown, |turn| turn.mark);
                Turn { at: at(it), mark: if within(it) { Mark::Maintenance } else { mark } }
            });
            let by_second: Vec<Turn> = by_second.collect();
            let ours = report(&laid, &blind, (at(from), at(to)));
            assert_eq!(ours, oracle(&by_second, &blind, (from, to)), "{turns:?} {start}");
        }
    }

    #[test]
    fn shares_leave_out_what_nobody_saw() {
        let turns = [
            Turn { at: at(100), mark: Mark::Up },
            Turn { at: at(190), mark: Mark::Down },
            Turn { at: at(200), mark: Mark::Away },
        ];
        let report = report(&turns, &[], (at(0), at(1_000)));
        assert_eq!(report.available_ppm(), Some(900_000));
        assert_eq!(
            (report.mttr(), report.mtbf()),
            (Some(Duration::from_secs(10)), Some(Duration::from_secs(90)))
        );
        assert_eq!(report.budget_left(900_000), 0);
        assert!(report.budget_left(999_000) < 0);
        assert_eq!(Report::default().available_ppm(), None);
    }
}
