//! Both ends of the proxy benchmark: `loadgen mock` is the upstream, `loadgen load` the clients.
//!
//! Both speak just enough HTTP/1.1 for the benchmark, on one thread each, so that on a two-core machine
//! they fit on the core which the measured proxy does not use. `benches/run` and `benches/grid` start them.

#![allow(clippy::disallowed_methods, reason = "it measures times, on threads of its own")]

mod answer;
mod load;
mod mock;
mod payload;
mod wire;

use std::process::ExitCode;

const USAGE: &str = "\
loadgen mock --listen ADDR:PORT [--events-per-write N] [--events-per-chunk N]
loadgen load --target ADDR:PORT --path PATH --scenario chat|prompt|stream --connections N
             [--dialect chat|responses|messages|gemini|converse] [--translated yes] [--warmup N]
             [--seconds S] [--proxy-pid PID]... [--proxy-ticks N]
loadgen shape                                prints sizes and token counts of the payloads as JSON";

/// The value after `--name`, or the values, in order, when it is given several times.
fn options<'a>(args: &'a [String], name: &str) -> Vec<&'a str> {
    args.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].as_str()).collect()
}

/// One option parsed; `default` when it is absent, an error when it is missing without a default or unreadable.
fn option<T: std::str::FromStr>(args: &[String], name: &str, default: Option<T>) -> Result<T, String> {
    match (options(args, name).last(), default) {
        (Some(text), _) => text.parse().map_err(|_| format!("{name}: cannot read {text:?}")),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(format!("{name} is missing")),
    }
}

fn command(args: &[String]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    match args.first().map(String::as_str) {
        Some("mock") => {
            let listen: std::net::SocketAddr = option(args, "--listen", None)?;
            let events = payload::Batching {
                per_write: option(args, "--events-per-write", Some(payload::EVENTS_PER_WRITE))?,
                per_chunk: option(args, "--events-per-chunk", Some(1))?,
            };
            runtime.block_on(mock::serve(listen, &events)).map_err(|e| format!("mock on {listen}: {e}"))
        }
        Some("load") => {
            let plan = load::Plan {
                target: option(args, "--target", None)?,
                path: option(args, "--path", None)?,
                dialect: option(args, "--dialect", Some(payload::DialectId::Chat))?,
                scenario: option(args, "--scenario", None)?,
                translated: options(args, "--translated") == ["yes"],
                connections: option(args, "--connections", None)?,
                warmup: option(args, "--warmup", Some(200))?,
                seconds: option(args, "--seconds", Some(20.0))?,
                proxy_ticks: option(args, "--proxy-ticks", Some(0))?,
                proxy_pids: options(args, "--proxy-pid").into_iter().map(str::to_owned).collect(),
            };
            let local = tokio::task::LocalSet::new();
            let report = runtime.block_on(local.run_until(load::run(plan)))?;
            println!("{report}");
            Ok(())
        }
        Some("shape") => {
            println!("{}", payload::shape());
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match command(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
