//! Types that requests and replies share on the wire. No field is required, and unknown fields are ignored.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::value::RawValue;

use crate::{
    conversation::{Invalid, Text, Unsupported},
    dialect::fields,
    stream::{JsonErrorKind, Member, TopLevel},
};

/// Fields of a request that are ignored without a report: that a call or a result came in pieces, when the model is to
/// read a result, and metadata of earlier answers and agents.
const PASSED: &[&str] = &[
    "willContinue",
    "will_continue",
    "scheduling",
    "partMetadata",
    "part_metadata",
    "audioTranscription",
    "audio_transcription",
];

/// The value of `member`, which is in the object at `path` (empty for the body itself).
pub(super) fn value<'a, T: Deserialize<'a>>(path: &str, member: &Member<'a>) -> Result<T, Invalid> {
    fields::parse(member.as_json(), || field(path, member))
}

/// The value of `member` as with [`value`]. Unknown fields inside it are reported.
pub(super) fn whole<'a, T: Deserialize<'a>>(
    path: &str,
    member: &Member<'a>,
    dropped: &mut Unsupported,
) -> Result<T, Invalid> {
    fields::parse_all(member.as_json(), || field(path, member), PASSED, dropped)
}

fn field(path: &str, member: &Member<'_>) -> String {
    let name = member.name();
    if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") }
}

/// The fields of the object at `path`.
pub(super) fn members<'a>(path: &str, value: &'a [u8]) -> Result<TopLevel<'a>, Invalid> {
    TopLevel::scan(value).map_err(|error| match error.kind {
        JsonErrorKind::NotAnObject(kind) => Invalid::new(path, format!("must be an object, not {kind}")),
        _ => Invalid::new(path, error.to_string()),
    })
}

/// A list, or its only element without brackets, which Google's servers accept too.
pub(super) struct Many<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Many<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Many)
            }

            fn visit_map<A: MapAccess<'de>>(self, one: A) -> Result<Many<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(one)).map(|one| Many(vec![one]))
            }
        }
        deserializer.deserialize_any(OneOrMany(PhantomData))
    }
}

/// A whole number: a JSON number or, as proto3 allows, a string.
#[derive(Clone, Copy)]
pub(super) struct Int(pub(super) i64);

impl Int {
    /// The number, if it is not negative.
    pub(super) fn count(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Float(value) = match Number::deserialize(deserializer)? {
            Number::Whole(value) => return Ok(Self(value)),
            Number::Other(value) => value,
        };
        if value.fract() != 0.0 || value.abs() > 9e15 {
            return Err(D::Error::custom("expected a whole number"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Ok(Self(value as i64))
    }
}

impl From<Int> for i64 {
    fn from(number: Int) -> Self {
        number.0
    }
}

/// A whole number that is not negative.
pub(super) struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = Int::deserialize(deserializer)?.count();
        count.map(Self).ok_or_else(|| D::Error::custom("must not be negative"))
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        count.0
    }
}

impl From<Float> for f64 {
    fn from(number: Float) -> Self {
        number.0
    }
}

/// A number: a JSON number or a string.
#[derive(Clone, Copy)]
pub(super) struct Float(pub(super) f64);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Number::deserialize(deserializer)? {
            #[expect(clippy::cast_precision_loss, reason = "settings are small numbers")]
            Number::Whole(value) => Self(value as f64),
            Number::Other(value) => value,
        })
    }
}

/// The forms of a number on the wire.
enum Number {
    Whole(i64),
    Other(Float),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Number::Whole(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                // Real counts are much smaller, and a reply should not fail because of one.
                Ok(Number::Whole(i64::try_from(value).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Number::Other(Float(value)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let float =
                    || text.parse().ok().filter(|value: &f64| value.is_finite()).map(|v| Number::Other(Float(v)));
                text.parse().ok().map(Number::Whole).or_else(float).ok_or_else(|| E::custom("expected a number"))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// One message.
#[derive(Deserialize, Default)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct Content<'a> {
    pub(super) role: Option<Text<'a>>,
    pub(super) parts: Option<Many<Part<'a>>>,
}

/// A part: one of the data fields, with modifiers.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Part<'a> {
    pub(super) text: Option<Text<'a>>,
    pub(super) thought: Option<bool>,
    #[serde(alias = "thought_signature")]
    pub(super) thought_signature: Option<Text<'a>>,
    #[serde(alias = "inline_data")]
    pub(super) inline_data: Option<Blob<'a>>,
    #[serde(alias = "file_data")]
    pub(super) file_data: Option<FileData<'a>>,
    #[serde(alias = "function_call")]
    pub(super) function_call: Option<FunctionCall<'a>>,
    #[serde(alias = "function_response")]
    pub(super) function_response: Option<FunctionResponse<'a>>,
    #[serde(alias = "executable_code")]
    pub(super) executable_code: Option<&'a RawValue>,
    #[serde(alias = "code_execution_result")]
    pub(super) code_execution_result: Option<&'a RawValue>,
    #[serde(alias = "tool_call")]
    pub(super) tool_call: Option<&'a RawValue>,
    #[serde(alias = "tool_response")]
    pub(super) tool_response: Option<&'a RawValue>,
    #[serde(alias = "video_metadata")]
    pub(super) video_metadata: Option<IgnoredAny>,
    #[serde(alias = "media_resolution")]
    pub(super) media_resolution: Option<IgnoredAny>,
}

impl<'a> Part<'a> {
    /// Content that only Google's own tools produce or read, with its name.
    pub(super) fn of_googles_tools(&self) -> Option<(&'static str, &'a RawValue)> {
        let kinds = [
            (self.executable_code, "executableCode"),
            (self.code_execution_result, "codeExecutionResult"),
            (self.tool_call, "toolCall"),
            (self.tool_response, "toolResponse"),
        ];
        kinds.into_iter().find_map(|(raw, name)| raw.map(|raw| (name, raw)))
    }
}

/// Inline data.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Blob<'a> {
    #[serde(alias = "mime_type")]
    pub(super) mime_type: Option<Text<'a>>,
    pub(super) data: Option<Text<'a>>,
    #[serde(alias = "display_name")]
    pub(super) display_name: Option<Text<'a>>,
}

/// Data at a URI.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub(super) struct FileData<'a> {
    #[serde(alias = "mime_type")]
    pub(super) mime_type: Option<Text<'a>>,
    #[serde(alias = "file_uri")]
    pub(super) file_uri: Option<Text<'a>>,
    #[serde(alias = "display_name")]
    pub(super) display_name: Option<Text<'a>>,
}

/// A call of a tool.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct FunctionCall<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) args: Option<&'a RawValue>,
}

/// The result of a tool call.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub(super) struct FunctionResponse<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) response: Option<&'a RawValue>,
    pub(super) parts: Option<Many<Part<'a>>>,
}
