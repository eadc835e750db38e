//! How events are written, in each framing of streams.

use super::shape::Made;
use crate::{
    dialect::StreamMode,
    stream::{aws, sse},
};

/// Appends an event that the gateway made.
pub(super) fn write_made(framing: StreamMode, made: &Made, out: &mut Vec<u8>) {
    match framing {
        StreamMode::EventStream => {
            aws::write_event(out, made.name.unwrap_or_default(), |out| out.extend_from_slice(&made.json));
        }
        StreamMode::JsonArray => {
            out.extend_from_slice(&made.json);
            out.extend_from_slice(b",\r\n");
        }
        StreamMode::Sse | StreamMode::No => {
            if let Some(name) = made.name {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(name.as_bytes());
                out.push(b'\n');
            }
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&made.json);
            out.extend_from_slice(b"\n\n");
        }
    }
}

/// Appends an event that the gateway made, after the last one.
pub(super) fn write_behind(framing: StreamMode, made: &Made, out: &mut Vec<u8>) {
    if framing == StreamMode::JsonArray {
        out.extend_from_slice(b",\r\n");
        out.extend_from_slice(&made.json);
    } else {
        write_made(framing, made, out);
    }
}

/// Appends the provider's event `raw` with other data.
pub(super) fn write_changed(framing: StreamMode, raw: &[u8], data: &[u8], out: &mut Vec<u8>) {
    match framing {
        StreamMode::EventStream => aws::write_with_payload(out, raw, data),
        StreamMode::JsonArray => out.extend_from_slice(data),
        StreamMode::Sse | StreamMode::No => sse::write_with_data(out, raw, data),
    }
}
