//! Prints what each policy makes of the simulated tree, over all seeds together and seed by seed:
//! `cargo run -p balance --release --example policies -- [tight] [SEED]...`

#[path = "../sim/mod.rs"]
mod sim;

use sim::{BANDS, CONTENDERS, LOOSE, Results, Scale, TIGHT, World};
use std::time::Duration;

const SEEDS: std::ops::Range<u64> = 101..113;

/// The bands of one policy, seed by seed; the last is the whole ramp.
type Played = Vec<Vec<Results>>;

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tight = args.iter().any(|it| it == "tight");
    let mut seeds: Vec<u64> = args.iter().filter_map(|it| it.parse().ok()).collect();
    if seeds.is_empty() {
        seeds = SEEDS.collect();
    }
    let limits = if tight { TIGHT } else { LOOSE };
    let (ramp, work_mean) = (Duration::from_secs(60), Duration::from_millis(20));
    let scale = Scale { ramp, work_mean, limits };
    let played: Vec<Played> = CONTENDERS
        .iter()
        .map(|&contender| {
            let with_whole = |seed: &u64| {
                let mut bands = World::play(contender, scale, *seed);
                bands.push(sum(&bands));
                bands
            };
            seeds.iter().map(with_whole).collect()
        })
        .collect();
    println!("seeds {seeds:?}, {limits:?}\nmilliseconds; * = an error counts as the deadline\n");
    println!("| Load | Policy | p50 | p99 | p99.9 | p99.9* | refused | failed | timed out |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for band in 0..=BANDS.len() {
        for (contender, seeds) in CONTENDERS.iter().zip(&played) {
            let all: Vec<Results> = seeds.iter().map(|bands| bands[band].clone()).collect();
            println!("| {} | {} | {} |", load(band), contender.name, row(&sum(&all), scale));
        }
    }
    println!("\nSeeds of {} on which least-load is lower (p99.9 / errors)\n", seeds.len());
    println!(
        "| Load | {} |",
        CONTENDERS[1..].iter().map(|it| it.name).collect::<Vec<_>>().join(" | ")
    );
    println!("| --- |{}", " ---: |".repeat(CONTENDERS.len() - 1));
    for band in 0..=BANDS.len() {
        let wins: Vec<String> = played[1..].iter().map(|it| wins(&played[0], it, band)).collect();
        println!("| {} | {} |", load(band), wins.join(" | "));
    }
}

fn wins(ours: &Played, theirs: &Played, band: usize) -> String {
    let count = |measure: fn(&Results) -> f64| {
        let lower = |(a, b): &(&Vec<Results>, &Vec<Results>)| measure(&a[band]) < measure(&b[band]);
        ours.iter().zip(theirs).filter(lower).count()
    };
    format!("{} / {}", count(|it| it.quantile_ms(999)), count(Results::errors_percent))
}

fn load(band: usize) -> String {
    BANDS.get(band).map_or("whole ramp".to_owned(), |(low, high)| format!("{low}–{high} %"))
}

fn sum(all: &[Results]) -> Results {
    all.iter().fold(Results::default(), |sum, it| sum.plus(it))
}

fn row(results: &Results, scale: Scale) -> String {
    let quantiles = [500, 990, 999].map(|it| format!("{:.0}", results.quantile_ms(it)));
    let percent = |count: u64| format!("{:.3} %", 100.0 * count as f64 / results.total() as f64);
    format!(
        "{} | {:.0} | {} | {} | {}",
        quantiles.join(" | "),
        results.quantile_with_errors_ms(scale, 999),
        percent(results.refused),
        percent(results.failed),
        percent(results.timeouts)
    )
}
