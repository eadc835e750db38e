//! The models that an entry lists.

use crate::{
    api::backend::LlmProvider,
    provider::{ModelNames, check::Problems},
};

/// The most names of one entry, and the most aliases, as the schema defines them.
const MAX_NAMES: usize = 256;
/// The longest name, in bytes. Names of fine-tuned models and inference profiles have some 150.
const MAX_NAME: usize = 256;

/// The models that the entry at `path` lists, if it lists any.
pub(super) fn names(written: &LlmProvider, path: &str, problems: &mut Problems) -> Option<ModelNames> {
    let (models, aliases) = (written.models.as_ref(), written.model_aliases.as_ref());
    if models.is_none() && aliases.is_none() {
        return None;
    }
    let size = |count: Option<usize>, field: &str, problems: &mut Problems| match count {
        Some(0) => problems.push(format!("{path}.{field}"), "no model is there: write at least one, or remove it"),
        Some(n) if n > MAX_NAMES => {
            problems.push(format!("{path}.{field}"), format!("{n} are too many: at most {MAX_NAMES}"));
        }
        _ => {}
    };
    size(models.map(Vec::len), "models", problems);
    size(aliases.map(std::collections::BTreeMap::len), "modelAliases", problems);
    let mut taken = std::collections::HashSet::new();
    for (i, name) in models.into_iter().flatten().enumerate() {
        let path = format!("{path}.models[{i}]");
        if !is_name(name) {
            problems.push(&path, NOT_A_NAME);
        } else if name.matches('*').count() > 1 {
            problems.push(&path, "a pattern has one `*`: write several patterns");
        }
        if !taken.insert(name) {
            problems.push(path, "this name is there twice: remove one of them");
        }
    }
    for (alias, model) in aliases.into_iter().flatten() {
        let path = format!("{path}.modelAliases");
        if !is_name(alias) || !is_name(model) {
            problems.push(&path, NOT_A_NAME);
        } else if alias.matches('*').count() > 1 || if alias.contains('*') { model != "*" } else { model.contains('*') }
        {
            problems.push(&path, ODD_ALIAS);
        }
        if taken.contains(alias) {
            problems.push(path, format!("'{alias}' is in `models`, too: remove one of them"));
        }
    }
    let listed = models.into_iter().flatten().map(String::as_str);
    let aliases = aliases.into_iter().flatten().map(|(alias, model)| (alias.as_str(), model.as_str()));
    Some(ModelNames::new(listed, aliases))
}

const ODD_ALIAS: &str = "an alias with `*` has the model `*`, the part that it matches; every other alias and model is a \
                         name without `*`";
const NOT_A_NAME: &str = "not the name of a model: write 1 to 256 visible characters without spaces";

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}
