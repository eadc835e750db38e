//! The root of a tool's schema, which every API requires to be that of an object.

use crate::{
    conversation::{Json, Unsupported},
    stream::{Member, TopLevel, json::ObjectWriter},
};

/// The schema of a tool without arguments.
const NOTHING: &[u8] = br#"{"type":"object","properties":{}}"#;
/// The name in reports for keywords that were left out.
pub(in crate::dialect) const KEYWORDS: &str = "schema keywords";

/// The form that a target accepts at the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect) struct Root {
    /// Whether `anyOf`, `oneOf` and `allOf` are accepted.
    pub combined: bool,
    /// Whether an object must list its properties.
    pub properties: bool,
}

/// The form that OpenAI accepts: "object schema missing properties" is its error for others.
pub(in crate::dialect) const OPENAI: Root = Root { combined: true, properties: true };

impl Root {
    fn refuses(self, member: &Member<'_>) -> bool {
        !self.combined && ["anyOf", "oneOf", "allOf"].contains(&&*member.name())
    }

    fn takes(self, top: &TopLevel<'_>) -> bool {
        let listed = !self.properties || top.contains("properties");
        listed && top.get("type").is_some_and(is_object) && !top.members().iter().any(|member| self.refuses(member))
    }

    /// Whether the schema has such a root.
    pub fn fits(self, schema: &Json<'_>) -> bool {
        TopLevel::scan(schema.get().as_bytes()).is_ok_and(|top| self.takes(&top))
    }

    /// Appends the schema unchanged, except for its root.
    pub fn write(self, schema: Option<&Json<'_>>, dropped: &mut Unsupported, out: &mut Vec<u8>) {
        let top = schema.and_then(|schema| TopLevel::scan(schema.get().as_bytes()).ok());
        // The input of a tool can't be a list or a number.
        let Some(top) = top.filter(|top| top.get("type").is_none_or(may_be_object)) else {
            dropped.add_if(schema.is_some(), KEYWORDS);
            return out.extend_from_slice(NOTHING);
        };
        if self.takes(&top) {
            return out.extend_from_slice(top.body().trim_ascii());
        }
        let mut object = ObjectWriter::begin(out);
        object.field("type", "object");
        for member in top.members().iter().filter(|member| !member.is("type")) {
            if self.refuses(member) {
                dropped.add(KEYWORDS);
            } else {
                object.key(member.key).extend_from_slice(member.value);
            }
        }
        if self.properties && !top.contains("properties") {
            object.raw("properties", "{}");
        }
    }
}

fn is_object(kind: &Member<'_>) -> bool {
    kind.value == br#""object""#
}

/// Whether a `type` allows objects, alone or beside others.
fn may_be_object(kind: &Member<'_>) -> bool {
    is_object(kind) || serde_json::from_slice::<Vec<&str>>(kind.value).is_ok_and(|kinds| kinds.contains(&"object"))
}
