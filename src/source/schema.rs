//! The fields that each kind has, from the schemas of its definition. Decoding alone ignores unknown fields.

use std::{collections::BTreeMap, sync::LazyLock};

use ::kube::core::schema::StructuralSchemaRewriter;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{
    api::{
        Kind,
        backend::Backend,
        field::{Step, display},
        gateway::{BackendTlsPolicy, Gateway, GatewayClass, HttpRoute, ReferenceGrant},
        gateway_parameters::GatewayParameters,
        traffic_policy::TrafficPolicy,
    },
    compile::Unread,
};

/// Unknown fields of one object that are reported. Beyond them, more would only make the message longer.
const MAX_UNKNOWN: usize = 16;
/// The longest name of an unknown field that is shown, in bytes.
const MAX_NAME: usize = 64;
/// How deep the search for a field at the wrong level goes.
const MAX_DEPTH: usize = 8;

static SHAPES: LazyLock<BTreeMap<Kind, Shape>> = LazyLock::new(|| {
    BTreeMap::from([
        (Kind::GatewayClass, Shape::of::<GatewayClass>()),
        (Kind::Gateway, Shape::of::<Gateway>()),
        (Kind::HttpRoute, Shape::of::<HttpRoute>()),
        (Kind::ReferenceGrant, Shape::of::<ReferenceGrant>()),
        (Kind::BackendTlsPolicy, Shape::of::<BackendTlsPolicy>()),
        (Kind::Backend, Shape::of::<Backend>()),
        (Kind::TrafficPolicy, Shape::of::<TrafficPolicy>()),
        (Kind::GatewayParameters, Shape::of::<GatewayParameters>()),
    ])
});

/// The fields that a schema has. The schemas themselves take megabytes.
#[derive(Default)]
struct Shape {
    fields: BTreeMap<Box<str>, Shape>,
    /// Every value of a map.
    values: Option<Box<Shape>>,
    /// Every element of a list.
    elements: Option<Box<Shape>>,
    /// Other fields are kept.
    open: bool,
}

impl Shape {
    /// The shape of a kind's objects. The definition itself, which kube makes of the same schema, takes three times the
    /// memory while it exists.
    fn of<T: JsonSchema>() -> Self {
        let inlined = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
        let generator = inlined.with_transform(StructuralSchemaRewriter).into_generator();
        Self::read(generator.into_root_schema_for::<T>().as_value())
    }

    fn read(schema: &Value) -> Self {
        let fields = schema["properties"].as_object().into_iter().flatten();
        let inner = |name: &str| schema.get(name).filter(|it| it.is_object()).map(|it| Box::new(Self::read(it)));
        Self {
            fields: fields.map(|(name, field)| (name.as_str().into(), Self::read(field))).collect(),
            values: inner("additionalProperties"),
            elements: inner("items"),
            open: schema["x-kubernetes-preserve-unknown-fields"] == true,
        }
    }
}

/// The fields of an object that its kind does not have, in order of their paths. None for kinds of Kubernetes itself.
/// `metadata` and `status` are not examined: every kind has the same, and other controllers write them.
pub(super) fn unknown_fields(kind: Kind, value: &Value) -> Vec<Unread> {
    let mut found = Vec::new();
    let (Some(root), Some(object)) = (SHAPES.get(&kind), value.as_object()) else { return found };
    let mut search = Search { root, strict: kind == Kind::TrafficPolicy, found: &mut found };
    for (name, value) in object {
        match name.as_str() {
            "apiVersion" | "kind" | "metadata" | "status" => {}
            _ => search.field(root, name, value, &mut Vec::new()),
        }
    }
    found
}

/// The search in one object.
struct Search<'a> {
    root: &'a Shape,
    /// Whether objects that keep unknown fields are examined too. Such a field of a policy may be a protection, and the
    /// API server keeps it so that it can be reported here.
    strict: bool,
    found: &'a mut Vec<Unread>,
}

impl Search<'_> {
    /// Examines the field `name` of an object with `shape`, which is at `path`.
    fn field(&mut self, shape: &Shape, name: &str, value: &Value, path: &mut Vec<Step>) {
        if self.found.len() >= MAX_UNKNOWN {
            return;
        }
        path.push(Step::Key(clipped(name)));
        match shape.fields.get(name) {
            Some(inner) => self.walk(inner, value, path),
            None if shape.open && !self.strict => {}
            None => {
                let message = match nearest(self.root, shape, name) {
                    Some(nearest) => format!("unknown field; did you mean {nearest}?"),
                    None => "unknown field".to_owned(),
                };
                self.found.push(Unread { path: path.clone(), message, is_field: true });
            }
        }
        path.pop();
    }

    fn walk(&mut self, shape: &Shape, value: &Value, path: &mut Vec<Step>) {
        match value {
            Value::Object(object) => {
                if !shape.fields.is_empty() {
                    object.iter().for_each(|(name, value)| self.field(shape, name, value, path));
                } else if let Some(values) = &shape.values {
                    for (name, value) in object {
                        path.push(Step::Key(clipped(name)));
                        self.walk(values, value, path);
                        path.pop();
                    }
                }
                // Otherwise it may have any field.
            }
            Value::Array(array) => {
                let Some(element) = &shape.elements else { return };
                for (index, value) in array.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.walk(element, value, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

fn clipped(name: &str) -> String {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default().escape_debug().to_string()
}

/// The field that `name` was probably meant to be: a field of the same object with a similar spelling, or one of
/// exactly this name elsewhere.
fn nearest(root: &Shape, shape: &Shape, name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return None;
    }
    let wanted = name.to_lowercase();
    let allowed = (name.chars().count() / 3).clamp(1, 3);
    let distances = shape.fields.keys().map(|known| (strsim::osa_distance(&known.to_lowercase(), &wanted), known));
    if let Some((_, known)) = distances.filter(|(distance, _)| *distance <= allowed).min() {
        return Some(format!("`{known}`"));
    }
    let spec = root.fields.get("spec")?;
    let mut path = vec![Step::Key("spec".to_owned())];
    find(spec, name, MAX_DEPTH, &mut path).then(|| format!("`{}`", display(&path)))
}

/// Extends `path` to the first field called `name` below `shape`, the least deep one first; false when there is none.
fn find(shape: &Shape, name: &str, depth: usize, path: &mut Vec<Step>) -> bool {
    (1..=depth).any(|depth| find_at(shape, name, depth, path))
}

fn find_at(shape: &Shape, name: &str, depth: usize, path: &mut Vec<Step>) -> bool {
    for (field, inner) in shape.fields.iter().filter(|(field, _)| depth > 1 || ***field == *name) {
        path.push(Step::Key(field.to_string()));
        if depth == 1 || find_at(inner, name, depth - 1, path) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use ::kube::CustomResourceExt;
    use serde_json::json;

    use super::*;

    /// The names of all fields below a shape, with `[]` for elements, `{}` for values and `*` where others are kept.
    fn paths(shape: &Shape, path: &str, found: &mut Vec<String>) {
        found.push(format!("{path}{}", if shape.open { "*" } else { "" }));
        shape.fields.iter().for_each(|(name, inner)| paths(inner, &format!("{path}.{name}"), found));
        shape.elements.iter().for_each(|inner| paths(inner, &format!("{path}[]"), found));
        shape.values.iter().for_each(|inner| paths(inner, &format!("{path}{{}}"), found));
    }

    #[test]
    fn shapes_have_the_fields_of_the_definitions() {
        for (kind, definition) in [
            (Kind::HttpRoute, HttpRoute::crd()),
            (Kind::Gateway, Gateway::crd()),
            (Kind::Backend, Backend::crd()),
            (Kind::TrafficPolicy, TrafficPolicy::crd()),
            (Kind::GatewayParameters, GatewayParameters::crd()),
        ] {
            let version = serde_json::to_value(&definition.spec.versions[0]).unwrap();
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            paths(&Shape::read(&version["schema"]["openAPIV3Schema"]), "", &mut expected);
            paths(&SHAPES[&kind], "", &mut found);
            assert!(found.len() > 10, "{kind}: {found:?}");
            assert_eq!(found, expected, "{kind}");
        }
    }

    #[track_caller]
    fn check(kind: Kind, spec: &Value, expect: &[&str]) {
        let found = unknown_fields(kind, &json!({"apiVersion": "x", "kind": "y", "metadata": {"a": 1}, "spec": spec}));
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn misspelt_fields_have_their_nearest_name() {
        let llm = |field: &str| json!({"ai": {"llm": {"provider": {"openai": {}}, field: {"host": "h", "port": 1}}}});
        check(Kind::Backend, &llm("hostOverride"), &[]);
        check(
            Kind::Backend,
            &llm("hostOveride"),
            &["spec.ai.llm.hostOveride: unknown field; did you mean `hostOverride`?"],
        );
        check(
            Kind::TrafficPolicy,
            &json!({"ratelimit": {}}),
            &["spec.ratelimit: unknown field; did you mean `rateLimit`?"],
        );
        check(
            Kind::Gateway,
            &json!({"listeners": [{"name": "a"}, {"hostName": "x"}]}),
            &["spec.listeners[1].hostName: unknown field; did you mean `hostname`?"],
        );
        check(
            Kind::HttpRoute,
            &json!({"rules": [{"filters": [{"type": "Sparkle", "glitter": {}}]}]}),
            &["spec.rules[0].filters[0].glitter: unknown field"],
        );
        check(Kind::ReferenceGrant, &json!({"form": []}), &["spec.form: unknown field; did you mean `from`?"]);
        check(Kind::GatewayClass, &json!({"controler": "x"}), &["spec.controler: unknown field"]);
        check(Kind::GatewayParameters, &json!({"kub": {}}), &["spec.kub: unknown field; did you mean `kube`?"]);
    }

    #[test]
    fn a_field_at_the_wrong_level_has_its_place() {
        check(
            Kind::TrafficPolicy,
            &json!({"promptGuard": {"request": {}}, "basicAuth": {}}),
            &["spec.basicAuth: unknown field", "spec.promptGuard: unknown field; did you mean `spec.ai.promptGuard`?"],
        );
    }

    #[test]
    fn free_form_parts_and_maps_have_any_field() {
        check(Kind::TrafficPolicy, &json!({"extAuth": {"any": {"thing": 1}}}), &[]);
        check(Kind::Gateway, &json!({"infrastructure": {"labels": {"a/b": "c"}}}), &[]);
        check(Kind::Gateway, &json!({"listeners": [{"tls": {"options": {"x/y": "z"}}}]}), &[]);
    }

    #[test]
    fn the_top_level_counts_and_status_does_not() {
        let found = unknown_fields(Kind::Backend, &json!({"Spec": {}, "status": {"any": 1}}));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["Spec: unknown field; did you mean `spec`?"]
        );
    }
}
