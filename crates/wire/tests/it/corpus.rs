//! The fuzzer's corpus, run through the fuzzer's entries; and frames that a seed damages.

use crate::entry;
use std::{fs, path::PathBuf};
use stdx::Rng;
use wire::{
    Epoch, PartitionId,
    frame::{
        Farewell, HeaderList, Hello, HelloLimits, LoadReport, Proof, RequestRef, ResetReason,
        ResponseRef, Side, Target, append_data, append_going_away, append_load_report,
        append_owner_map, append_ping, append_pong, append_reset, append_window,
    },
};

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fuzz/corpus"].iter().collect()
}

type Entry = fn(&[u8]);

const TARGETS: [(&str, Entry); 3] =
    [("frame", entry::frame), ("feed", entry::feed), ("hello", entry::hello)];

#[test]
fn every_file_of_the_corpus_passes_its_entry() {
    for (target, entry) in TARGETS {
        let files = fs::read_dir(folder().join(target)).unwrap();
        let count = files.map(|file| entry(&fs::read(file.unwrap().path()).unwrap())).count();
        assert!(5 <= count, "{target}: {count} files");
    }
}

/// One frame of every kind, and more of the kinds that have several shapes.
pub(crate) fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut headers = HeaderList::new();
    headers.push("content-type", b"application/json").unwrap();
    headers.push("x-request-id", b"req_01").unwrap();
    let http = Target::Http { method: "POST", path: "/v1/a/accounts", headers: headers.as_ref() };
    let ledger = Target::Ledger { service: "a", partition: PartitionId(3), partitions: 16 };
    let hello = |node, challenge| {
        let limits = HelloLimits::OURS;
        Hello { node, boot: 7, challenge: [challenge; 32], limits }
    };
    let report =
        LoadReport { in_flight: 9, latency_us: 70, limit_permille: 400, ..LoadReport::default() };
    let make = |append: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        append(&mut out);
        out
    };
    let request = |target, out: &mut Vec<u8>, open: bool| {
        let mut request = RequestRef::new(target, 9_000, b"{\"currency\":\"EUR\"}");
        (request.id, request.key, request.trace) = (2, b"key-1", "00-1-2-01");
        if open { request.append_open(out).unwrap() } else { _ = request.append(out).unwrap() }
    };
    let response = |out: &mut Vec<u8>, body: &[u8]| {
        let mut response = ResponseRef::new(201, "a-1", body);
        (response.id, response.headers) = (2, headers.as_ref());
        response.append(out).unwrap();
    };
    vec![
        ("hello", make(&|out| hello("edge", 1).append(out))),
        (
            "proof",
            make(&|out| {
                Proof::new(b"key", Side::Client, &hello("edge", 1), &hello("layer", 2)).append(out);
            }),
        ),
        ("request", make(&|out| request(http, out, false))),
        ("request-open", make(&|out| request(http, out, true))),
        ("request-ledger", make(&|out| request(ledger, out, false))),
        ("response", make(&|out| response(out, b"{}"))),
        ("response-long", make(&|out| response(out, &[7; 70_000]))),
        ("data", make(&|out| append_data(out, 2, false, b"more"))),
        ("data-end", make(&|out| append_data(out, 2, true, b""))),
        ("reset", make(&|out| append_reset(out, 2, ResetReason::Cancelled))),
        ("window", make(&|out| append_window(out, 2, 131_072))),
        ("ping", make(&|out| append_ping(out, 5))),
        ("pong", make(&|out| append_pong(out, 5))),
        (
            "owner-map",
            make(&|out| {
                append_owner_map(
                    out,
                    &[(PartitionId(3), Epoch(7)), (PartitionId(4), Epoch(1 << 40))],
                );
            }),
        ),
        ("going-away", make(&|out| append_going_away(out, Farewell::Draining, "draining"))),
        ("load-report", make(&|out| append_load_report(out, report))),
    ]
}

/// Writes the seeds of the corpus: `cargo test -p wire --test it corpus -- --ignored`.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_seeds() {
    let mut all = vec![3, 7];
    for (name, bytes) in samples() {
        if bytes.len() < 1_000 {
            fs::write(folder().join("frame").join(name), &bytes[4..]).unwrap();
            fs::write(folder().join("feed").join(name), [&[1, 2], &bytes[..]].concat()).unwrap();
            all.extend_from_slice(&bytes);
        }
    }
    fs::write(folder().join("feed/all"), all).unwrap();
    let (_, hello) = &samples()[0];
    for cut in [0, 8, 10, 16, hello.len() - 5] {
        fs::write(folder().join(format!("hello/cut-{cut}")), &hello[5..5 + cut]).unwrap();
    }
}

/// Frames that are cut, flipped and spliced never make a reader panic, and what is still read is
/// written as it was.
#[test]
fn damaged_frames_are_read_whole_or_refused() {
    let samples = samples();
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut bytes = samples[rng.below(samples.len())].1.clone();
        for _ in 0..=rng.below(3) {
            damage(&mut bytes, &samples, &mut rng);
        }
        entry::frame(bytes.get(4..).unwrap_or_default());
        entry::hello(bytes.get(5..).unwrap_or_default());
        // Long ones are few, and take a thousand chunks each.
        if bytes.len() < 2_000 || seed % 100 == 0 {
            entry::feed(&[&[byte(&mut rng), byte(&mut rng)], &bytes[..]].concat());
        }
    }
}

fn damage(bytes: &mut Vec<u8>, samples: &[(&str, Vec<u8>)], rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len());
    let other = &samples[rng.below(samples.len())].1;
    match rng.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << rng.below(8),
        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
        3 => {
            // The tail of another frame in place of its own.
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.below(other.len())..]);
        }
        _ => bytes.extend_from_slice(other),
    }
}

fn byte(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(256)).expect("below 256")
}
