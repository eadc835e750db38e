//! Decodes the API server's objects to typed objects.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use ::kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value};

use crate::{
    api::{Kind, ObjectKey, field::display},
    compile::{Rejected, Unread},
    source::{
        kinds::{KindRow, Object, join_version},
        tolerant,
    },
};

/// `kubectl apply` keeps a copy of the whole object here, a Secret's values included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One object of the API server, decoded.
#[derive(Clone)]
pub(super) struct Entry {
    /// The API server's version of the object: equal versions are equal objects.
    pub version: String,
    /// The decoded object. An object that does not decode affects only itself.
    pub object: Result<Object, Rejected>,
    /// Its parts that could not be read.
    pub unread: Arc<[Unread]>,
    /// The Secrets and ConfigMaps it refers to.
    pub references: BTreeSet<(Kind, ObjectKey)>,
    /// A digest of everything that affects the snapshot. Status is not part of it, as controllers write it all the
    /// time.
    digest: u64,
}

impl Entry {
    /// Whether the two differ only in parts that are not compiled.
    pub(super) fn same_but_status(&self, other: &Self) -> bool {
        self.digest == other.digest && self.object.is_ok() == other.object.is_ok()
    }
}

/// The key of an object.
pub(super) fn key(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The version of an object.
pub(super) fn version(metadata: &ObjectMeta) -> &str {
    metadata.resource_version.as_deref().unwrap_or_default()
}

/// The location of the object at `key`: `gateway.kgateway.dev/v1alpha1 backends NAMESPACE/NAME`.
fn location(row: &KindRow, key: &ObjectKey) -> String {
    let version = row.versions.first().copied().unwrap_or_default();
    format!("{} {} {key}", join_version(row.group, version), row.plural)
}

/// Decodes one object. Unused parts that take memory are dropped first.
pub(super) fn entry(row: &KindRow, key: &ObjectKey, object: DynamicObject) -> Entry {
    let DynamicObject { mut metadata, data, .. } = object;
    let version = version(&metadata).to_owned();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    let mut map = match data {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let api_version = join_version(row.group, row.versions.first().copied().unwrap_or_default());
    // Items of lists come without them.
    map.insert("apiVersion".to_owned(), api_version.into());
    map.insert("kind".to_owned(), row.kind.as_str().into());
    map.insert("metadata".to_owned(), serde_json::to_value(metadata).unwrap_or_default());
    let value = Value::Object(map);
    let references = references(row.kind, &key.namespace, &value);
    let digest = digest(row.kind, &value);
    let error = match tolerant::decode(row, &value) {
        Some(Ok((object, unread))) => {
            return Entry { version, object: Ok(object), unread: unread.into(), references, digest };
        }
        Some(Err(error)) if error.path.is_empty() => error.message,
        Some(Err(error)) => format!("{}: {}", display(&error.path), error.message),
        None => "is not read as a whole".to_owned(),
    };
    let rejected = Rejected {
        location: location(row, key),
        kind: Some(row.kind),
        key: Some(key.clone()),
        // The API server checked the object against the CRD that is installed, so it is not half-written. An older
        // version would be served as if it were this one.
        error: format!(
            "{error}; the object is not served (the API server accepted it: is its CustomResourceDefinition the one of \
             this version?)"
        ),
    };
    Entry { version, object: Err(rejected), unread: Arc::default(), references: BTreeSet::new(), digest }
}

/// A digest of the fields that affect the snapshot.
fn digest(kind: Kind, value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        match name.as_str() {
            "metadata" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    let noise = match name.as_str() {
                        "resourceVersion" => true,
                        // The endpoints controller writes the time of its last change here.
                        "annotations" | "generation" => kind == Kind::EndpointSlice,
                        _ => false,
                    };
                    if !noise {
                        (name, value).hash(&mut hasher);
                    }
                }
            }
            // The source of a Gateway's address.
            "status" if kind == Kind::Service => value.get("loadBalancer").hash(&mut hasher),
            "status" => {}
            _ => (name, value).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The Secrets and ConfigMaps that the document `value` of a kind refers to, in whichever generation of manifests it is
/// written.
fn references(kind: Kind, namespace: &str, value: &Value) -> BTreeSet<(Kind, ObjectKey)> {
    let mut found = BTreeSet::new();
    let Some(spec) = value.get("spec") else { return found };
    match kind {
        // Credentials are at many places (providers, priority groups, moderation), always as `secretRef`.
        Kind::Backend | Kind::TrafficPolicy => {
            walk(spec, &mut |name, value| {
                if name == "secretRef" {
                    found.extend(reference(value, Kind::Secret, namespace));
                } else if name == "caCertificateRefs" {
                    found.extend(items(value).filter_map(|r| reference(r, Kind::ConfigMap, namespace)));
                }
            });
        }
        Kind::Gateway => {
            walk(spec, &mut |name, value| {
                if name == "certificateRefs" {
                    let secrets = items(value).filter_map(|r| reference(r, Kind::Secret, namespace));
                    found.extend(secrets.filter(|(kind, _)| *kind == Kind::Secret));
                }
            });
        }
        _ => {}
    }
    found
}

/// Calls `see` with every field below `value`. Recursion ends at the API server's own limit of depth.
fn walk(value: &Value, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                see(name, value);
                walk(value, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        _ => {}
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The object that a reference leads to, which is of the kind `default` if none is written.
fn reference(value: &Value, default: Kind, namespace: &str) -> Option<(Kind, ObjectKey)> {
    let text = |field| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = match (text("group"), text("kind")) {
        (None, None) => default,
        (None, Some("Secret")) => Kind::Secret,
        (None, Some("ConfigMap")) => Kind::ConfigMap,
        _ => return None,
    };
    Some((kind, ObjectKey::new(text("namespace").unwrap_or(namespace), text("name")?)))
}
