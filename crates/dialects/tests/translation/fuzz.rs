//! Random bytes made from the golden files, for machines without a coverage-guided fuzzer: `fuzz/run SECONDS`.
//!
//! Each target does the same as the one of its name in `fuzz/fuzz_targets`. An input that fails is written to a file,
//! whose name is printed.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use tollgate_dialects::dialect::DialectId;

use super::{
    exercise::{self, DESTINATIONS},
    filters,
    hostile::{golden, wire},
    properties::{Dice, events, lost_of_request, lost_of_stream, reply, request},
};

/// How long each target runs by default.
const SECONDS: u64 = 10;
/// Longest input.
const MAX_INPUT: usize = 64 * 1024;

/// Pieces that have a meaning in some dialect.
const WORDS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "1e999",
    "\"\"",
    "{}",
    "[]",
    "\"\\ud800\"",
    "\\u0000",
    "\"type\":",
    "\"text\"",
    "\"tool_use\"",
    "\"function\"",
    "\"index\":0",
    "\"delta\":{}",
    "\"thought\":true",
    "\"cachePoint\":{}",
    "data: ",
    "event: error\n",
    "\n\n",
    "[DONE]",
    "\r",
    "\u{feff}",
    "}{",
];

/// A random number generator without a dependency: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`; zero if `end` is zero.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap_or_default().checked_rem(end).unwrap_or_default()
    }

    /// Makes one or a few changes to `input`, with pieces of `other`.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = (at + 1 + self.below(24)).min(input.len());
            match self.below(7) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 => drop(input.drain(at.min(end)..end)),
                2 => {
                    let piece = input[at.min(end)..end].to_vec();
                    input.splice(at..at, piece);
                }
                3 | 4 => {
                    let word = WORDS[self.below(WORDS.len())];
                    input.splice(at..at, word.bytes());
                }
                5 => {
                    let from = self.below(other.len());
                    let to = (from + self.below(200)).min(other.len());
                    input.splice(at..at, other[from..to].iter().copied());
                }
                _ => input.truncate(at),
            }
        }
        input.truncate(MAX_INPUT);
    }
}

/// Calls `target` with `corpus`, changed at random, for `FUZZ_SECONDS` seconds.
fn run(name: &str, corpus: &[Vec<u8>], target: impl Fn(&[u8])) {
    let seconds = env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let seed = env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) | 1
    });
    let (mut random, end, mut rounds) = (Random(seed), Instant::now() + Duration::from_secs(seconds), 0_u64);
    while Instant::now() < end {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        random.mutate(&mut input, other);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/artifacts").join(name);
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("{seed}-{rounds}"));
            fs::write(&file, &input).unwrap();
            panic!("{name} (FUZZ_SEED={seed}, round {rounds}): broken by {}", file.display());
        }
        rounds += 1;
    }
    println!("{name}: {rounds} inputs in {seconds} s");
}

fn number(dialect: DialectId) -> u8 {
    DialectId::ALL.iter().position(|own| *own == dialect).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
}

/// Golden files with the byte of their dialect in front, in the form that the targets read.
fn corpus(kinds: &[&str]) -> Vec<Vec<u8>> {
    let inputs = kinds.iter().flat_map(|kind| golden(kind));
    inputs.map(|(dialect, input)| [&[number(dialect)], input.as_bytes()].concat()).collect()
}

fn streams() -> Vec<(DialectId, Vec<u8>)> {
    golden("streams").into_iter().map(|(dialect, input)| (dialect, wire(dialect, &input))).collect()
}

#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_requests() {
    run("requests", &corpus(&["requests"]), exercise::fuzz_requests);
}

#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_replies() {
    run("replies", &corpus(&["replies", "errors"]), exercise::fuzz_replies);
}

#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_events() {
    let corpus: Vec<Vec<u8>> =
        streams().into_iter().map(|(dialect, wire)| [&[number(dialect), 7], &*wire].concat()).collect();
    run("events", &corpus, exercise::fuzz_events);
}

#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_aws_frames() {
    let frames = streams().into_iter().filter(|(dialect, _)| *dialect == DialectId::Converse);
    let corpus: Vec<Vec<u8>> = frames.map(|(_, wire)| [&[3], &*wire].concat()).collect();
    run("aws_frames", &corpus, exercise::fuzz_aws_frames);
}

#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_filters() {
    let corpus: Vec<Vec<u8>> =
        streams().into_iter().map(|(dialect, wire)| [&[number(dialect), 7, 0], &*wire].concat()).collect();
    run("filters", &corpus, filters::fuzz_filters);
}

/// Runs the properties that proptest checks for a moment, for longer.
#[test]
#[ignore = "runs for as long as one likes: fuzz/run"]
fn fuzz_conversations() {
    let corpus = vec![(0..=255).collect::<Vec<u8>>(), vec![7; 160]];
    run("conversations", &corpus, |bytes| {
        let lost = if bytes.first().is_some_and(|byte| byte % 2 == 0) {
            lost_of_request(&request(&mut Dice::new(bytes.to_vec())))
        } else {
            let mut dice = Dice::new(bytes.to_vec());
            let reply = reply(&mut dice);
            lost_of_stream(&events(&mut dice, &reply))
        };
        assert!(lost.is_empty(), "{}", lost.join("\n"));
    });
}

#[test]
fn changed_inputs_reach_the_targets() {
    // The first bytes select the case, and every dialect has its destinations.
    for dialect in DialectId::ALL {
        assert_eq!(exercise::dialect(number(dialect)), dialect);
        assert!(DESTINATIONS.iter().any(|(to, ..)| *to == dialect));
    }
    let corpus = corpus(&["requests"]);
    let mut random = Random(1);
    let changed = (0..200).filter(|_| {
        let mut input = corpus[0].clone();
        random.mutate(&mut input, &corpus[1]);
        input != corpus[0]
    });
    assert!(changed.count() > 190);
    exercise::fuzz_requests(&corpus[0]);
}
