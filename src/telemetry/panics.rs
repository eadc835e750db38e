//! Panics: a bug ends one request, never the process. Each is counted and logged with its location.

use std::panic::{self, PanicHookInfo};

use prometheus::IntCounter;

/// From now on panics of every thread are counted in `counter` and logged, instead of printed.
pub fn install(counter: IntCounter) {
    panic::set_hook(Box::new(move |info| {
        counter.inc();
        let place = info.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(place, message = message(info), thread = thread.name(), "panic: please report this");
    }));
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    info.payload_as_str().unwrap_or("no message")
}
