//! What the micro-benchmarks share: CPU time of threads, medians, and the table that is printed.

#![allow(dead_code, clippy::cast_precision_loss, reason = "each benchmark uses a part; hours have fewer nanoseconds")]

use std::fs;

/// Nanoseconds of CPU time that the calling thread has used so far.
///
/// The kernel adds to it when the thread is switched and at every tick, so one reading may lag by some milliseconds.
pub fn thread_cpu_ns() -> f64 {
    sched_time("/proc/thread-self/schedstat")
}

/// Nanoseconds of CPU time that the other threads of this process have used so far. Threads that have ended are not
/// counted.
pub fn other_threads_cpu_ns() -> f64 {
    let own = fs::read_link("/proc/thread-self").unwrap();
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    tasks.filter(|task| task.file_name() != own.file_name()).map(|task| sched_time(task.join("schedstat"))).sum()
}

/// The first number of a `schedstat` file: nanoseconds on a processor.
fn sched_time(path: impl AsRef<std::path::Path>) -> f64 {
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace().next().unwrap().parse::<u64>().unwrap() as f64
}

/// The middle of `values`.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints rows of cells as a Markdown table. The first row is the heading, and only the first column is aligned left.
pub fn print_table(rows: &[Vec<String>]) {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        let cell = |(column, text): (usize, &String)| match column {
            0 => format!("{text:<0$}", widths[0]),
            _ => format!("{text:>0$}", widths[column]),
        };
        println!("| {} |", row.iter().enumerate().map(cell).collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let rule = |(column, width): (usize, &usize)| match column {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width - 1)),
            };
            println!("| {} |", widths.iter().enumerate().map(rule).collect::<Vec<_>>().join(" | "));
        }
    }
}
