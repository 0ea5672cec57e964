//! A plot as SVG: lines over an axis with round marks.

use super::write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 236.0;
/// Room for the figures of the axes.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// Intervals that an axis aims at.
const MARKS: f64 = 5.0;

/// A line of a plot; where a value is missing it has a gap.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// What the axis to the right means.
pub(super) enum Across {
    /// Seconds; the first so many were warm-up.
    Seconds { warm_up: f64 },
    /// Nines of a share: 1 is 90 %, 2 is 99 %.
    Nines,
}

/// How the values are laid out.
pub(super) enum Up {
    Linear,
    /// By powers of ten.
    Log,
}

/// Adds a plot under its title.
pub(super) fn plot(out: &mut String, title: &str, lines: &[Line<'_>], across: &Across, up: &Up) {
    write(out, format_args!("<figure><figcaption><h2>{title}</h2><ul>"));
    for Line { name, class, .. } in lines.iter().filter(|_| 1 < lines.len()) {
        write(out, format_args!("<li class=\"{class}\">{name}</li>"));
    }
    out.push_str("</ul></figcaption>");
    let values = || lines.iter().flat_map(|it| &it.points).filter_map(|it| it.1);
    if values().next().is_none() {
        out.push_str("<p>Nothing was answered.</p></figure>\n");
        return;
    }
    let x_max = lines.iter().flat_map(|it| &it.points).fold(1e-9_f64, |max, it| max.max(it.0));
    let marks = match up {
        Up::Linear => linear_marks(values().fold(0.0, f64::max)),
        Up::Log => {
            let of = values().filter(|it| 0.0 < *it);
            log_marks(of.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it))))
        }
    };
    let scale = |it: f64| match up {
        Up::Linear => it,
        Up::Log => it.max(1e-3).log10(),
    };
    let (low, high) = (scale(marks[0]), scale(*marks.last().expect("an axis has two marks")));
    let x = |at: f64| LEFT + at / x_max * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| {
        let part = ((scale(value) - low) / (high - low)).clamp(0.0, 1.0);
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - part)
    };
    write(
        out,
        format_args!(
            "<div><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
        ),
    );
    if let Across::Seconds { warm_up } = across
        && 0.0 < *warm_up
    {
        write(
            out,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>\
                 <text x=\"{}\" y=\"{}\">warm-up</text>",
                x(warm_up.min(x_max)) - LEFT,
                HEIGHT - TOP - BOTTOM,
                LEFT + 4.0,
                HEIGHT - BOTTOM - 6.0
            ),
        );
    }
    for mark in &marks {
        let (at, end) = (y(*mark), WIDTH - RIGHT);
        write(
            out,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                shown(*mark)
            ),
        );
    }
    for (at, words) in marks_across(across, x_max) {
        let at = x(at);
        write(
            out,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{words}</text>",
                HEIGHT - 6.0
            ),
        );
    }
    for line in lines {
        let path = path(&line.points, &x, &y);
        write(out, format_args!("<path class=\"{}\" d=\"{path}\"/>", line.class));
    }
    out.push_str("</svg></div></figure>\n");
}

/// Begins anew after each gap; a lone point is a line of no length, which shows as a dot.
fn path(points: &[(f64, Option<f64>)], x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut out = String::new();
    let mut is_drawing = false;
    for (at, value) in points {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let (at, value) = (x(*at), y(*value));
        if !is_drawing {
            write(&mut out, format_args!("M{at:.1} {value:.1}"));
        }
        write(&mut out, format_args!("L{at:.1} {value:.1}"));
        is_drawing = true;
    }
    out
}

/// 1, 2 or 5 times a power of ten: the smallest that is at least this.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|it| least <= it * power * 1.000_001);
    step.unwrap_or(10.0) * power
}

/// From zero to at least the greatest value.
fn linear_marks(max: f64) -> Vec<f64> {
    let step = round_step(max.max(1.0) / MARKS);
    let mut marks = vec![0.0];
    while marks.last().is_some_and(|it| *it < max.max(1.0)) {
        marks.push(step * marks.len() as f64);
    }
    marks
}

/// 1, 2, 5 of each power of ten around the values; over many powers, the powers only.
fn log_marks((low, high): (f64, f64)) -> Vec<f64> {
    // Latencies are whole microseconds, in milliseconds.
    let (low, high) = (low.clamp(1e-3, 1e9), high.clamp(1e-3, 1e9));
    let steps: &[f64] = if high / low <= 1e3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all: Vec<f64> =
        (-3..=10).flat_map(|power| steps.iter().map(move |it| it * 10_f64.powi(power))).collect();
    let first = all.iter().rposition(|it| *it <= low).unwrap_or(0);
    let last = all.iter().position(|it| high <= *it).unwrap_or(all.len() - 1).max(first + 1);
    all[first..=last].to_vec()
}

fn marks_across(across: &Across, x_max: f64) -> Vec<(f64, String)> {
    match across {
        Across::Seconds { .. } => {
            let step = round_step(x_max / (2.0 * MARKS));
            let marks = (0_u32..).map(|it| f64::from(it) * step);
            let marks = marks.take_while(|it| *it <= x_max * 1.000_001);
            marks.map(|it| (it, format!("{} s", shown(it)))).collect()
        }
        Across::Nines => {
            let marks = [(0.0, "0 %"), (0.301, "50 %"), (1.0, "90 %"), (2.0, "99 %")];
            let more = [(3.0, "99.9 %"), (4.0, "99.99 %"), (5.0, "100 %")];
            let marks = marks.into_iter().chain(more).filter(|(at, _)| *at <= x_max);
            marks.map(|(at, words)| (at, words.to_owned())).collect()
        }
    }
}

/// A mark without the noise of its fractions: `0.05`, `2.5`, `10,000`.
fn shown(mark: f64) -> String {
    if 10.0 <= mark {
        return super::rate(mark);
    }
    let text = format!("{mark:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_hold_all_values() {
        for (max, marks) in [
            (0.0, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0][..]),
            (100.0, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (101.0, &[0.0, 50.0, 100.0, 150.0]),
        ] {
            let found = linear_marks(max);
            assert_eq!(found.len(), marks.len(), "{max}: {found:?}");
            assert!(found.iter().zip(marks).all(|(a, b)| (a - b).abs() < 1e-9), "{max}: {found:?}");
        }
        let words = |low, high| log_marks((low, high)).into_iter().map(shown).collect::<Vec<_>>();
        assert_eq!(words(3.5, 26.0), ["2", "5", "10", "20", "50"]);
        assert_eq!(words(0.05, 1_500.0), ["0.01", "0.1", "1", "10", "100", "1,000", "10,000"]);
        assert!(2 <= log_marks((0.0, 0.0)).len() && 2 <= log_marks((1e12, 1e12)).len());
    }

    #[test]
    fn a_missing_value_is_a_gap() {
        let points = [(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.0)), (3.0, Some(4.0))];
        let same = |it: f64| it;
        assert_eq!(path(&points, &same, &same), "M0.0 1.0L0.0 1.0M2.0 3.0L2.0 3.0L3.0 4.0");
    }
}
