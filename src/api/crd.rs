//! The CustomResourceDefinitions, generated from the types and made fit for an API server.

use std::{fs, io, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;
use serde_json::Value;

use super::{backend::Backend, gateway_parameters::GatewayParameters, traffic_policy::TrafficPolicy};

/// First lines of every generated file.
const HEADER: &str = "# Generated from src/api by `cargo run -- crds --write crds`. Do not edit.\n";

/// The CustomResourceDefinitions of Backend, TrafficPolicy and GatewayParameters, in that order.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![Backend::crd(), TrafficPolicy::crd(), GatewayParameters::crd()];
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            if let Some(root) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                tidy(root);
            }
        }
    }
    crds
}

/// All definitions as one YAML stream, ready for `kubectl apply -f -`. The order and the text are stable.
///
/// # Errors
/// When a definition can't be written as YAML, which the tests rule out.
pub fn crds_yaml() -> Result<String, serde_saphyr::ser::Error> {
    let mut stream = String::from(HEADER);
    for crd in crds() {
        stream.push_str("---\n");
        stream.push_str(&yaml(&crd)?);
    }
    Ok(stream)
}

/// Writes each definition to `dir` as `GROUP_PLURAL.yaml`, the way kgateway names them. Creates `dir`.
///
/// # Errors
/// When `dir` or a file in it can't be written.
pub fn write_crds(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for crd in crds() {
        let text = format!("{HEADER}---\n{}", yaml(&crd).map_err(io::Error::other)?);
        fs::write(dir.join(format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)), text)?;
    }
    Ok(())
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    let mut value = serde_json::to_value(crd).map_err(|e| e.to_string())?;
    whole_numbers(&mut value);
    serde_saphyr::to_string(&value)
}

/// Bounds are floats in the API's types; written as `32.0` they would read badly.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Every bound in our schemas is small and whole; others stay as they are.
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within 32 bits")]
            if let Some(float) = number.as_f64().filter(|f| number.is_f64() && f.fract() == 0.0 && f.abs() < 2e9) {
                *value = Value::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Removes what Rust's types add and kgateway's own definitions don't have: `nullable` (so that an API server drops
/// an empty `provider:` instead of keeping a null that CEL's `has` counts), null enum values and defaults, and number
/// formats that API servers warn about.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|v| !v.0.is_null());
    }
    schema.default = schema.default.take().filter(|v| !v.0.is_null());
    schema.format = match schema.format.take().as_deref() {
        Some("uint8" | "uint16" | "int8" | "int16" | "int32") => Some("int32".into()),
        Some("uint32" | "uint64" | "uint" | "int64") => Some("int64".into()),
        Some("date-time") => Some("date-time".into()),
        _ => None,
    };
    schema.description = schema.description.take().map(|text| unwrap_paragraphs(&text));
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Joins the lines of each paragraph: doc comments are wrapped for source code, `kubectl explain` wraps for the terminal.
fn unwrap_paragraphs(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}
