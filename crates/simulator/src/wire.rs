//! Ordered JSON, replies and the framing of events.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// The media type of a JSON reply.
pub(super) const JSON: &str = "application/json";

/// The media type of a stream of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";

/// The media type of a stream of AWS frames.
pub(super) const FRAMES: &str = "application/vnd.amazon.eventstream";

/// JSON whose keys keep the provider's order; the map of `serde_json` sorts them.
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Count(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(&'static str, Node)>),
    Value(Value),
}

impl Node {
    /// This object with one more field at its end.
    pub(super) fn and(mut self, key: &'static str, value: impl Into<Node>) -> Self {
        if let Node::Map(fields) = &mut self {
            fields.push((key, value.into()));
        }
        self
    }

    /// One line, without spaces.
    pub(super) fn compact(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => serializer.serialize_unit(),
            Node::Bool(value) => serializer.serialize_bool(*value),
            Node::Int(value) => serializer.serialize_i64(*value),
            Node::Count(value) => serializer.serialize_u64(*value),
            Node::Float(value) => serializer.serialize_f64(*value),
            Node::Text(value) => serializer.serialize_str(value),
            Node::Value(value) => value.serialize(serializer),
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Node::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

macro_rules! node_from {
    ($($source:ty => |$value:ident| $node:expr),* $(,)?) => {
        $(impl From<$source> for Node {
            fn from($value: $source) -> Self {
                $node
            }
        })*
    };
}

node_from! {
    bool => |value| Node::Bool(value),
    i32 => |value| Node::Int(i64::from(value)),
    u64 => |value| Node::Count(value),
    usize => |value| Node::Count(value as u64),
    f64 => |value| Node::Float(value),
    &str => |value| Node::Text(value.to_owned()),
    String => |value| Node::Text(value),
    &String => |value| Node::Text(value.clone()),
    Value => |value| Node::Value(value),
    Vec<Node> => |value| Node::List(value),
}

impl<T: Into<Node>> From<Option<T>> for Node {
    fn from(value: Option<T>) -> Self {
        value.map_or(Node::Null, Into::into)
    }
}

/// A [`Node`] written as JSON. A value is one token: a literal, a name, `{..}`, `[..]`, or any expression in `(..)`.
macro_rules! ordered {
    ({ $($key:literal : $value:tt),* $(,)? }) => {
        $crate::wire::Node::Map(vec![$(($key, $crate::wire::ordered!($value))),*])
    };
    ([ $($value:tt),* $(,)? ]) => {
        $crate::wire::Node::List(vec![$($crate::wire::ordered!($value)),*])
    };
    (null) => { $crate::wire::Node::Null };
    (($value:expr)) => { $crate::wire::Node::from($value) };
    ($value:tt) => { $crate::wire::Node::from($value) };
}
pub(super) use ordered;

/// The reply of a provider, before faults.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content,
}

/// The body of a reply.
pub(super) enum Content {
    /// The complete body.
    Buffered { media_type: &'static str, bytes: Bytes },
    /// The framed events of a stream.
    Events { media_type: &'static str, events: Vec<Bytes> },
}

impl Reply {
    /// A reply that is one JSON document.
    pub(super) fn json(status: StatusCode, node: &Node) -> Self {
        Self::buffered(status, JSON, node.compact())
    }

    /// A reply that is one JSON document, indented.
    pub(super) fn pretty(status: StatusCode, node: &Node) -> Self {
        let text = serde_json::to_string_pretty(node).unwrap_or_default() + "\n";
        Self::buffered(status, "application/json; charset=UTF-8", text)
    }

    /// A reply without a body.
    pub(super) fn status(status: StatusCode) -> Self {
        Self::buffered(status, "text/plain", "")
    }

    /// A reply with a body of any kind.
    pub(super) fn buffered(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Buffered { media_type, bytes: bytes.into() } }
    }

    /// A stream.
    pub(super) fn events(media_type: &'static str, events: Vec<Bytes>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), content: Content::Events { media_type, events } }
    }

    /// This reply with one more header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Splits into an empty response with status and headers, and the content.
    pub(super) fn into_parts(self) -> (Response, Content) {
        let mut response = self.status.into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        (response, self.content)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (mut response, content) = self.into_parts();
        let (media_type, bytes) = match content {
            Content::Buffered { media_type, bytes } => (media_type, bytes),
            Content::Events { media_type, events } => (media_type, events.concat().into()),
        };
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
        *response.body_mut() = Body::from(bytes);
        response
    }
}

/// An event without a name: `data: {..}`.
pub(super) fn data_event(node: &Node) -> Bytes {
    format!("data: {}\n\n", node.compact()).into()
}

/// An event with a name.
pub(super) fn named_event(name: &str, node: &Node) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", node.compact()).into()
}

/// A frame of an AWS event stream, with a JSON payload.
pub(super) fn frame(name: &str, payload: impl Into<Bytes>) -> Bytes {
    message([(":event-type", name), (":content-type", JSON), (":message-type", "event")], payload)
}

/// The frame with which an AWS event stream fails.
pub(super) fn exception(name: &str, node: &Node) -> Bytes {
    let headers = [(":exception-type", name), (":content-type", JSON), (":message-type", "exception")];
    message(headers, node.compact())
}

/// A message in the framing of AWS event streams.
fn message(headers: [(&'static str, &str); 3], payload: impl Into<Bytes>) -> Bytes {
    let header = |(name, value): (&'static str, &str)| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new_from_parts(headers.into_iter().map(header).collect(), payload);
    let mut out = Vec::new();
    // Only headers and payloads beyond the limits of the format can't be written.
    match write_message_to(&message, &mut out) {
        Ok(()) => out.into(),
        Err(_) => Bytes::new(),
    }
}
