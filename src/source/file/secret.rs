//! Secrets: base64 `data`, and `stringData` with variables of the environment. ConfigMaps: `data`, and base64
//! `binaryData`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::LoadOptions;
use crate::{
    api::{SecretData, field::Step},
    source::kinds::FieldError,
};

/// The values of the Secret `document`. A value that can't be used is a problem of its key alone.
///
/// # Errors
///
/// The path to a field of the wrong type, and its error. Never shows a value.
pub(super) fn decode(
    document: &Value,
    env: &dyn Fn(&str) -> Option<String>,
    options: &LoadOptions,
) -> Result<SecretData, FieldError> {
    let mut secret = SecretData::default();
    insert_base64(&mut secret, document, "data", "stringData")?;
    for (key, value) in entries(document, "stringData")? {
        match expand(value, env, options.placeholder_for_unset.as_deref()) {
            Ok(text) => secret.insert(key, text.into_bytes()),
            Err(problem) => secret.insert_problem(key, problem),
        }
    }
    Ok(secret)
}

/// The values of the ConfigMap `document`, whose text is taken as it is.
///
/// # Errors
///
/// The path to a field of the wrong type, and its error. Never shows a value.
pub(super) fn decode_config_map(document: &Value) -> Result<SecretData, FieldError> {
    let mut values = SecretData::default();
    for (key, text) in entries(document, "data")? {
        values.insert(key, text.as_bytes().to_vec());
    }
    insert_base64(&mut values, document, "binaryData", "data")?;
    Ok(values)
}

/// Inserts the values of `field`, which are in base64; `plain` is the field for text.
fn insert_base64(values: &mut SecretData, document: &Value, field: &str, plain: &str) -> Result<(), FieldError> {
    for (key, value) in entries(document, field)? {
        // Like the API server: line breaks are not part of base64.
        match STANDARD.decode(value.replace(['\r', '\n'], "")) {
            Ok(bytes) => values.insert(key, bytes),
            Err(_) => values.insert_problem(key, format!("not valid base64; plain text belongs in {plain}")),
        }
    }
    Ok(())
}

fn entries<'a>(document: &'a Value, field: &str) -> Result<Vec<(&'a str, &'a str)>, FieldError> {
    let map = match document.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(_) => {
            let path = vec![Step::Key(field.to_owned())];
            return Err(FieldError { path, message: "must be a map of strings".to_owned() });
        }
    };
    map.iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.as_str(), text.as_str())),
            Value::Null => Ok((key.as_str(), "")),
            _ => {
                let path = vec![Step::Key(field.to_owned()), Step::Key(key.clone())];
                Err(FieldError { path, message: "must be a string; put it in quotes".to_owned() })
            }
        })
        .collect()
}

/// Replaces `$NAME` and `${NAME}` in `text`, and `$$` by `$`. A dollar sign before anything else is literal.
fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>, placeholder: Option<&str>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (braced, body) = match after.strip_prefix('{') {
            Some(body) => (true, body),
            None => (false, after),
        };
        let (name, tail) = body.split_at(name_len(body));
        rest = match (braced, name) {
            (false, "") => {
                out.push('$');
                after.strip_prefix('$').unwrap_or(after)
            }
            (true, name) if name.is_empty() || !tail.starts_with('}') => {
                // An unreplaced name would be sent as a wrong key, so it is an error instead.
                return Err(
                    "`${` must be followed by the name of an environment variable and `}`; a dollar sign itself \
                            is written `$$`"
                        .to_owned(),
                );
            }
            (braced, name) => {
                match (env(name), placeholder) {
                    (Some(value), _) => out.push_str(&value),
                    (None, Some(placeholder)) => out.push_str(placeholder),
                    (None, None) => return Err(format!("environment variable {name} is not set")),
                }
                tail.get(usize::from(braced)..).unwrap_or_default()
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// The length of the variable name that `text` starts with: `[A-Za-z_][A-Za-z0-9_]*`.
fn name_len(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("sk-1".to_owned()),
            "_k2" => Some("two".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_expanded() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let got = expand(text, &env, None);
            assert_eq!(got.as_deref().map_err(String::as_str), expect, "{text}");
        };
        check("plain", Ok("plain"));
        check("$KEY", Ok("sk-1"));
        check("${KEY}", Ok("sk-1"));
        check("a-${KEY}b$_k2.$EMPTY", Ok("a-sk-1btwo."));
        check("$$KEY", Ok("$KEY"));
        check("$$$KEY", Ok("$sk-1"));
        check("5$", Ok("5$"));
        check("$1 $- é$é", Ok("$1 $- é$é"));
        check("$NO", Err("environment variable NO is not set"));
        check("${NO}", Err("environment variable NO is not set"));
        // A value is not expanded again.
        assert_eq!(expand("$A", &|_| Some("$B".to_owned()), None).unwrap(), "$B");
        assert_eq!(expand("x$A${B}", &|_| None, Some("sim")).unwrap(), "xsimsim");
        for text in ["${", "${}", "${1}", "${KEY", "${KEY:-x}"] {
            assert!(expand(text, &env, None).unwrap_err().starts_with("`${` must"), "{text}");
        }
    }

    #[test]
    fn string_data_wins_and_bad_values_are_problems_of_their_key() {
        let document = json!({
            "data": {"a": "b25l", "b": "b25l\nb25l\n", "c": "%%", "d": "JEtFWQ==", "e": "b25l", "n": null},
            "stringData": {"a": "two", "e": "$NO", "f": "$KEY"},
        });
        let secret = decode(&document, &env, &LoadOptions::default()).unwrap();
        assert_eq!(secret.get("a"), Some(Ok(b"two".as_slice())));
        assert_eq!(secret.get("b"), Some(Ok(b"oneone".as_slice())));
        assert!(secret.get("c").unwrap().unwrap_err().contains("base64"));
        assert_eq!(secret.get("d"), Some(Ok(b"$KEY".as_slice())), "data is not expanded");
        assert_eq!(secret.get("e"), Some(Err("environment variable NO is not set")));
        assert_eq!(secret.get("f"), Some(Ok(b"sk-1".as_slice())));
        assert_eq!(secret.get("n"), Some(Ok(b"".as_slice())));
        assert_eq!(secret.get("x"), None);
    }

    #[test]
    fn config_maps_hold_text_as_it_is_and_binary_data_in_base64() {
        let document = json!({"data": {"a": "$KEY\n", "n": null}, "binaryData": {"b": "b25l", "c": "%%"}});
        let values = decode_config_map(&document).unwrap();
        assert_eq!(values.get("a"), Some(Ok(b"$KEY\n".as_slice())), "variables are for Secrets");
        assert_eq!(values.get("b"), Some(Ok(b"one".as_slice())));
        assert!(values.get("c").unwrap().unwrap_err().contains("base64"));
        assert_eq!(values.get("n"), Some(Ok(b"".as_slice())));
        assert!(decode_config_map(&json!({"data": {"a": 1}})).is_err());
    }

    #[test]
    fn wrong_shapes_name_the_field_and_no_value() {
        let FieldError { path, message } =
            decode(&json!({"stringData": {"a": 12345}}), &env, &LoadOptions::default()).err().unwrap();
        assert_eq!(path, [Step::Key("stringData".to_owned()), Step::Key("a".to_owned())]);
        assert!(!message.contains("12345"));
        let FieldError { path, .. } = decode(&json!({"data": ["x"]}), &env, &LoadOptions::default()).err().unwrap();
        assert_eq!(path, [Step::Key("data".to_owned())]);
    }
}
