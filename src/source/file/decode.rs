//! Documents to typed objects.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    LoadOptions,
    parse::{self, SyntaxError},
    secret, split,
};
use crate::{
    api::{
        Kind, ObjectKey,
        field::{Step, display},
    },
    compile::{Rejected, Unread},
    source::{
        kinds::{FieldError, KINDS, KindRow, Object, join_version},
        schema, tolerant,
    },
};

/// The result of one document, or one item of a list.
#[derive(Clone)]
pub(super) enum Outcome {
    /// An object.
    Object(Decoded),
    /// An object that is used without some of its parts, which are errors.
    Partial(Rejected, Decoded),
    /// Not an object.
    Rejected(Rejected, Broken),
}

/// An object and its location.
#[derive(Clone)]
pub(super) struct Decoded {
    pub kind: Kind,
    pub key: ObjectKey,
    /// `FILE:LINE`.
    pub location: String,
    pub object: Object,
    /// Its parts that could not be read.
    pub unread: Arc<[Unread]>,
    /// A hash of the document. Zero for Secrets, which are compared by value.
    pub fingerprint: u64,
}

/// Whether a rejected document may contain an object that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// No: it is complete, and not for Tollgate.
    No,
    /// Certainly this object.
    Object(Kind, ObjectKey),
    /// Possibly; this object, if the reading of its lines is right.
    Something(Option<(Kind, ObjectKey)>),
}

/// The data that decoding needs in addition to the text.
pub(super) struct Context<'a> {
    /// The file's name, for locations.
    pub file: &'a str,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub options: &'a LoadOptions,
}

/// Groups of kinds that manifest directories usually hold and that a gateway does not use.
const OTHER_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// As [`OTHER_GROUPS`], in the core group.
const OTHER_CORE_KINDS: &[&str] = &[
    "Endpoints",
    "Event",
    "LimitRange",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
];

/// Decodes the text of one file, at most `most` documents of it.
pub(super) fn file(text: &str, is_json: bool, most: usize, context: &Context<'_>) -> Vec<Outcome> {
    let mut out = Vec::new();
    if is_json {
        for json in parse::json(text) {
            context.document(json.line, json.text, json.value, most, &mut out);
        }
    } else {
        for chunk in split::documents(text) {
            if out.len() >= most {
                break;
            }
            context.document(chunk.line, chunk.text, parse::yaml(chunk.text), most, &mut out);
        }
    }
    out.truncate(most);
    out
}

/// The location of a document: the line it starts at and its text, and for an item of a list the path to it.
struct Place<'a> {
    line: usize,
    text: &'a str,
    prefix: &'a [Step],
}

impl Context<'_> {
    fn document(
        &self,
        line: usize,
        text: &str,
        value: Result<Value, SyntaxError>,
        most: usize,
        out: &mut Vec<Outcome>,
    ) {
        match value {
            Err(error) => out.push(self.syntax_error(line, text, error)),
            Ok(Value::Null) => {}
            Ok(Value::Object(mut map)) if is_list(&map) => {
                let Some(Value::Array(items)) = map.remove("items") else { return };
                let lines = parse::item_lines(text);
                for (index, item) in items.into_iter().enumerate().take(most) {
                    let at = line + lines.get(index).copied().unwrap_or(1) - 1;
                    let place = Place { line, text, prefix: &[Step::Key("items".to_owned()), Step::Index(index)] };
                    out.extend(self.value(at, item, &place));
                }
            }
            Ok(value) => {
                let at = line + split::content_line(text) - 1;
                out.extend(self.value(at, value, &Place { line, text, prefix: &[] }));
            }
        }
    }

    fn syntax_error(&self, line: usize, text: &str, error: SyntaxError) -> Outcome {
        let salvage = parse::salvage(text);
        let row = salvage.kind.and_then(|kind| KINDS.iter().find(|row| row.kind.as_str() == kind));
        let object = row.zip(salvage.name).map(|(row, name)| {
            (row.kind, ObjectKey::new(if row.cluster { "" } else { salvage.namespace.unwrap_or("default") }, name))
        });
        let (kind, key) = object.clone().unzip();
        let location = self.location(line + error.line - 1);
        Outcome::Rejected(
            Rejected { location, kind: kind.or(row.map(|row| row.kind)), key, error: error.message },
            Broken::Something(object),
        )
    }

    fn location(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }

    /// Decodes one document that starts at line `at`. `None` for an empty one and for kinds that are skipped silently.
    fn value(&self, at: usize, value: Value, place: &Place<'_>) -> Option<Outcome> {
        let location = self.location(at);
        let rejected = |kind, key, error: String, broken| {
            Some(Outcome::Rejected(Rejected { location: location.clone(), kind, key, error }, broken))
        };
        let mut map = match value {
            Value::Object(map) => map,
            Value::Null => return None,
            _ => {
                let error = "a manifest is a map with apiVersion, kind and metadata".to_owned();
                return rejected(None, None, error, Broken::Something(None));
            }
        };
        let word = |field| map.get(field).and_then(Value::as_str).filter(|word: &&str| !word.is_empty());
        let (Some(api_version), Some(kind)) = (word("apiVersion"), word("kind")) else {
            let field = if word("apiVersion").is_none() { "apiVersion" } else { "kind" };
            return rejected(None, None, format!("{field} is missing"), Broken::Something(None));
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(row) = KINDS.iter().find(|row| row.group == group && row.kind.as_str() == kind) else {
            let core = group.is_empty() && OTHER_CORE_KINDS.contains(&kind);
            if core || OTHER_GROUPS.contains(&group) {
                tracing::debug!(location, api_version, kind, "ignored: not for a gateway");
                return None;
            }
            return rejected(None, any_key(&map), unknown_kind(api_version, kind), Broken::No);
        };
        if !row.versions.contains(&version) {
            let known = row.versions.iter().map(|v| join_version(group, v)).collect::<Vec<_>>().join(", ");
            let error = format!("ignored: {kind} of {api_version} is not supported; write {known}");
            return rejected(Some(row.kind), any_key(&map), error, Broken::No);
        }
        let key = match key(&map, row) {
            Ok(key) => key,
            Err(error) => return rejected(Some(row.kind), None, error, Broken::Something(None)),
        };
        complete(&mut map, row, &key);
        let value = Value::Object(map);
        let fingerprint = if row.kind == Kind::Secret { 0 } else { hash(&value) };
        let decoded = match row.decode {
            Some(decode) => decode(&value),
            None if row.kind == Kind::ConfigMap => {
                secret::decode_config_map(&value).map(|values| Object::ConfigMap(Arc::new(values)))
            }
            None => secret::decode(&value, self.env, self.options).map(|secret| Object::Secret(Arc::new(secret))),
        };
        let decoded = decoded.and_then(|object| match schema::unknown_fields(row.kind, &value) {
            unknown if unknown.is_empty() => Ok(object),
            unknown => Err(unknown_error(unknown)),
        });
        let error = match decoded {
            Ok(object) => {
                let unread = Arc::default();
                let decoded = Decoded { kind: row.kind, key, location, object, unread, fingerprint };
                return Some(Outcome::Object(decoded));
            }
            Err(error) => error,
        };
        let path = [place.prefix, &error.path].concat();
        let line = self.location(place.line + parse::line_of(place.text, &path) - 1);
        let error = if path.is_empty() { error.message } else { format!("{}: {}", display(&path), error.message) };
        let rejected = Rejected { location: line, kind: Some(row.kind), key: Some(key.clone()), error };
        // Without a policy its targets would be unprotected.
        if matches!(row.kind, Kind::TrafficPolicy | Kind::BackendTlsPolicy)
            && let Some(Ok((object, unread))) = tolerant::decode(row, &value)
        {
            let decoded = Decoded { kind: row.kind, key, location, object, unread: unread.into(), fingerprint };
            return Some(Outcome::Partial(rejected, decoded));
        }
        Some(Outcome::Rejected(rejected, Broken::Object(row.kind, key)))
    }
}

/// The error of a document with unknown fields, at the first of them.
fn unknown_error(unknown: Vec<Unread>) -> FieldError {
    let mut unknown = unknown.into_iter();
    let (path, mut message) = unknown.next().map(|first| (first.path, first.message)).unwrap_or_default();
    for field in unknown {
        message.extend(["; ", &field.to_string()]);
    }
    FieldError { path, message }
}

/// `kind: List`, and the typed lists of the API server.
fn is_list(map: &Map<String, Value>) -> bool {
    map.get("items").is_some_and(Value::is_array)
        && map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"))
}

fn unknown_kind(api_version: &str, kind: &str) -> String {
    let known = KINDS
        .iter()
        .filter(|row| !row.kind.is_unserved())
        .map(|row| format!("{} ({})", row.kind, join_version(row.group, row.versions.first().unwrap_or(&"v1"))))
        .collect::<Vec<_>>()
        .join(", ");
    format!("ignored: unknown kind {} of {}; supported are {known}", kind.escape_debug(), api_version.escape_debug())
}

fn metadata<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    map.get("metadata")?.get(field)?.as_str()
}

/// The key of an object of an unknown kind.
fn any_key(map: &Map<String, Value>) -> Option<ObjectKey> {
    Some(ObjectKey::new(metadata(map, "namespace").unwrap_or("default"), metadata(map, "name")?))
}

fn key(map: &Map<String, Value>, row: &KindRow) -> Result<ObjectKey, String> {
    let Some(name) = metadata(map, "name").filter(|name| !name.is_empty()) else {
        return Err("metadata.name is missing".to_owned());
    };
    if !is_dns_name(name) || (row.kind == Kind::Namespace && !is_dns_label(name)) {
        return Err("metadata.name is not a DNS name: lower case letters, digits, `-` and `.`".to_owned());
    }
    if row.cluster {
        return Ok(ObjectKey::cluster(name));
    }
    match metadata(map, "namespace").filter(|namespace| !namespace.is_empty()).unwrap_or("default") {
        namespace if is_dns_label(namespace) => Ok(ObjectKey::new(namespace, name)),
        _ => Err("metadata.namespace is not a DNS label: lower case letters, digits and `-`".to_owned()),
    }
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

fn is_dns_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Adds the defaults that the API server would add.
fn complete(map: &mut Map<String, Value>, row: &KindRow, key: &ObjectKey) {
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else { return };
    if row.cluster {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".to_owned(), key.namespace.clone().into());
    }
    if row.kind == Kind::Namespace {
        let labels = metadata.entry("labels").or_insert(Value::Null);
        if labels.is_null() {
            *labels = json!({});
        }
        if let Value::Object(labels) = labels {
            labels.insert(NAMESPACE_NAME_LABEL.to_owned(), key.name.clone().into());
        }
    }
}

/// The label every namespace has.
pub(super) const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
