//! What a Backend does with requests that its provider's API can't carry whole.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which unsupported fields of a request make its answer a 400: `true`, `false` or `losses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strict {
    /// None: they are left out (`false`).
    #[default]
    Never,
    /// Those that are more than hints (`losses`).
    Losses,
    /// All of them (`true`).
    Always,
}

/// The word for [`Strict::Losses`].
const LOSSES: &str = "losses";

impl Serialize for Strict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_bool(false),
            Self::Losses => serializer.serialize_str(LOSSES),
            Self::Always => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or losses")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Strict, E> {
                Ok(if on { Strict::Always } else { Strict::Never })
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Strict, E> {
                if word == LOSSES {
                    Ok(Strict::Losses)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(word), &self))
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Strict {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Strict".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Structural schemas have no union of types but that of a number and a string: without a type the field must be
        // one that keeps its content.
        json_schema!({ "enum": [true, false, LOSSES], "x-kubernetes-preserve-unknown-fields": true })
    }
}
