//! The run over all faults and kinds of requests.

use std::{any::Any, panic::AssertUnwindSafe, sync::Mutex, thread};

use crate::{
    cell::{Api, Cell, Kind, Seen, Size, gateway},
    page,
    provider::Mode,
    rows::{Expected, ROWS, Row},
};

/// Faults that are tried at a time: most of them wait, and the others are short of processors.
const ROWS_AT_A_TIME: usize = 4;

/// The kinds of requests: all with small bodies, and of the larger ones those where the size may matter.
fn kinds(row: &Row) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (mode, expected) in [(Mode::Buffered, &row.buffered), (Mode::Streaming, &row.streaming)] {
        if expected.is_none() {
            continue;
        }
        for api in [Api::Same, Api::Translated] {
            for second in [false, true] {
                kinds.push(Kind { mode, api, size: Size::KiB, second });
            }
        }
        kinds.push(Kind { mode, api: Api::Translated, size: Size::MiB, second: true });
        kinds.push(Kind { mode, api: Api::Same, size: Size::MiB, second: false });
    }
    let mode = if row.buffered.is_some() { Mode::Buffered } else { Mode::Streaming };
    kinds.push(Kind { mode, api: Api::Same, size: Size::MiB20, second: !row.large_alone });
    kinds
}

/// What became of each kind of request.
fn run(row: &Row) -> Vec<(Kind, Seen)> {
    let cells: Vec<Cell> =
        kinds(row).into_iter().enumerate().map(|(number, kind)| Cell::new(row, number, kind)).collect();
    let gateway = gateway(&cells, row.bounded);
    let (large, small): (Vec<&Cell>, Vec<&Cell>) = cells.iter().partition(|cell| cell.kind.size == Size::MiB20);
    let mut seen: Vec<(Kind, Seen)> = thread::scope(|scope| {
        let started: Vec<_> = small.iter().map(|cell| (cell.kind, scope.spawn(|| cell.run(&gateway)))).collect();
        started
            .into_iter()
            .map(|(kind, running)| (kind, running.join().unwrap_or_else(|panic| failed(&*panic))))
            .collect()
    });
    let run = |cell: &Cell| {
        std::panic::catch_unwind(AssertUnwindSafe(|| cell.run(&gateway))).unwrap_or_else(|panic| failed(&*panic))
    };
    seen.extend(large.into_iter().map(|cell| (cell.kind, run(cell))));
    seen
}

/// A panic is a complaint like any other.
fn failed(panic: &(dyn Any + Send)) -> Seen {
    let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    Seen { reply: message, requests: 0, counted: String::new(), cools: String::new() }
}

fn expected(expected: &Expected, kind: Kind) -> Seen {
    let reply = match (kind.second, kind.api) {
        (true, _) => expected.second,
        (false, Api::Same) => expected.alone,
        (false, Api::Translated) => expected.translated,
    };
    Seen {
        reply: reply.to_owned(),
        requests: expected.requests,
        counted: expected.counted.to_owned(),
        cools: expected.cools.to_owned(),
    }
}

#[test]
fn every_fault_has_the_effect_that_the_manual_promises() {
    let all = ROWS;
    let (next, results) = (Mutex::new(all.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..ROWS_AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(row) = next.lock().unwrap().next() else { return };
                    let seen = run(row);
                    results.lock().unwrap().push((row.fault, seen));
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let mut complaints = Vec::new();
    for row in all {
        let (_, seen) = results.iter().find(|(fault, _)| *fault == row.fault).unwrap();
        for (kind, seen) in seen {
            let of_mode = if kind.mode == Mode::Buffered { &row.buffered } else { &row.streaming };
            let expected = expected(of_mode.as_ref().unwrap(), *kind);
            if *seen != expected {
                complaints.push(format!("{}, {kind:?}:\n      got {seen:?}\n expected {expected:?}", row.fault));
            }
        }
    }
    assert!(complaints.is_empty(), "{} differ\n{}", complaints.len(), complaints.join("\n"));
    page::compare(&all.iter().flat_map(|row| page::lines(row.fault, &results)).collect::<Vec<_>>());
}
