//! Replies that are generated and changed at random, for [`differential::check`].

use std::{
    env,
    fmt::Write,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::differential::check;

/// Replies of a run of `cargo test`.
const CASES: u32 = 4000;

const STATUS_LINES: [&str; 16] = [
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200",
    "HTTP/1.1 500 ",
    "HTTP/1.1 429 T\u{e9}",
    "HTTP/1.0 200 OK",
    "HTTP/1.0 502 Bad Gateway",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 205 Reset Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 999 X",
    "HTTP/1.1 99 X",
    "HTTP/2 200 OK",
];

const HEADERS: [&str; 30] = [
    "content-type: application/json",
    "connection: close",
    "connection: keep-alive",
    "Connection: x, Close",
    "connection: \"close\"",
    "connection: keep-alive, close",
    "proxy-connection: close",
    "content-length: 5",
    "content-length: 05",
    "content-length: +5",
    "content-length: 5, 5",
    "content-length: 5,6",
    "content-length:",
    "content-length: 0",
    "content-length: 18446744073709551615",
    "content-length: 18446744073709551616",
    "transfer-encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: identity",
    "transfer-encoding: \u{b}chunked",
    "transfer-encoding:",
    "transfer-encoding : chunked",
    "www-authenticate: Negotiate",
    "x-empty:",
    "x: \u{e9}\t\"",
    "x-folded: a\r\n b",
    "trailer: x",
    "no colon",
];

/// Pieces that have a meaning in some place.
const WORDS: [&str; 24] = [
    "\r\n",
    "\r",
    "\n",
    "\r\n\r\n",
    " ",
    "\t",
    ";",
    ":",
    ",",
    "0",
    "00000000000000000000",
    "f",
    "ffffffffffffffff",
    "-",
    "0\r\n\r\n",
    "\0",
    "\u{e9}",
    "5;a=\"b\r\n\"\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\n",
    "content-length: 3\r\n",
    "transfer-encoding: chunked\r\n",
    "connection: close\r\n",
    "x: y\r\n",
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

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A length: mostly small, now and then around a bound.
    fn length(&mut self) -> usize {
        let around = self.pick(&[0, 0, 0, 0, 0, 0, 0, 1020, 4090, 16 * 1024 - 20, 64 * 1024 - 60]);
        around + self.below(40)
    }

    /// A reply, most of the time a valid one.
    fn reply(&mut self) -> Vec<u8> {
        let mut out = String::new();
        while self.one_in(8) {
            out +=
                self.pick(&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", "\r\n"]);
        }
        writeln!(out, "{}\r", self.pick(&STATUS_LINES)).unwrap();
        while !self.one_in(3) {
            writeln!(out, "{}\r", self.pick(&HEADERS)).unwrap();
        }
        if self.one_in(50) {
            writeln!(out, "x-long: {}\r", "y".repeat(self.length())).unwrap();
        }
        if self.one_in(50) {
            out += &"x: y\r\n".repeat(self.below(160));
        }
        let body = "b".repeat(self.length());
        match self.below(4) {
            0 => write!(out, "content-length: {}\r\n\r\n{body}", body.len()).unwrap(),
            1 => write!(out, "\r\n{body}").unwrap(),
            _ => {
                out += "transfer-encoding: chunked\r\n\r\n";
                self.chunks(&mut out);
            }
        }
        if self.one_in(6) {
            out += self.pick(&WORDS);
        }
        out.into_bytes()
    }

    fn chunks(&mut self, out: &mut String) {
        while !self.one_in(4) {
            let length = 1 + self.length();
            match self.below(12) {
                0 => write!(out, "{length:X}").unwrap(),
                1 => write!(out, "{length:015x}").unwrap(),
                2 => write!(out, "{length:016x}").unwrap(),
                3 => write!(out, "{length:x};a={}", "e".repeat(self.length())).unwrap(),
                4 => write!(out, "{length:x}{}", self.pick(&[" ", "\t;", " ; a=\"b;c\"", " 1", ";a\rb", "; \u{e9}"]))
                    .unwrap(),
                _ => write!(out, "{length:x}").unwrap(),
            }
            write!(out, "\r\n{}\r\n", "c".repeat(length)).unwrap();
        }
        *out += self.pick(&["0", "0", "0", "000", "0;last"]);
        *out += "\r\n";
        while self.one_in(4) {
            let long = "t".repeat(self.length());
            *out +=
                self.pick(&["x-trailer: 1", "content-length: 7", "no colon", ": x", "a\rb: c", &format!("x: {long}")]);
            *out += "\r\n";
        }
        *out += "\r\n";
    }

    /// Makes one or a few changes to `wire`.
    fn mutate(&mut self, wire: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(wire.len() + 1);
            let end = (at + 1 + self.below(24)).min(wire.len());
            match self.below(6) {
                0 if at < wire.len() => wire[at] ^= 1 << self.below(8),
                1 => drop(wire.drain(at.min(end)..end)),
                2 => {
                    let piece = wire[at.min(end)..end].to_vec();
                    wire.splice(at..at, piece);
                }
                3 | 4 => drop(wire.splice(at..at, self.pick(&WORDS).bytes())),
                _ => wire.truncate(at),
            }
        }
    }

    fn case(&mut self) {
        let mut wire = self.reply();
        if self.one_in(2) {
            self.mutate(&mut wire);
        }
        let plan = self.pick(&[0, 1, 2, 3]);
        check(plan, self.next(), &wire);
    }
}

#[test]
fn replies_are_read_as_hyper_reads_them() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..CASES).for_each(|_| random.case());
}

#[test]
fn replies_are_read_alike_at_every_cut() {
    for (plan, wire) in [
        (0, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (1, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
        (2, "HTTP/1.0 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 2\r\n\r\nhi"),
        (2, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n1 \r\n!\r\n0\r\nx: y\r\n\r\n"),
        (2, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end"),
        (2, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ] {
        for end in 0..=wire.len() {
            check(plan, end as u64, &wire.as_bytes()[..end]);
        }
    }
}

/// `just fuzz SECONDS`. What fails is printed as a literal of bytes; `FUZZ_SEED` repeats a run.
#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_upstream_replies() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FUZZ_SECONDS").unwrap_or(10);
    let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let seed = number("FUZZ_SEED").unwrap_or_else(now) | 1;
    println!("upstream_replies: FUZZ_SEED={seed}");
    let (mut random, end, mut cases) = (Random(seed), Instant::now() + Duration::from_secs(seconds), 0_u64);
    while Instant::now() < end {
        random.case();
        cases += 1;
    }
    println!("upstream_replies: {cases} replies in {seconds} s");
}
