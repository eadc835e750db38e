//! Manifests for the providers whose usual variables are set in the environment.
//!
//! They are a text like that of a file, so that what is served without any manifest is exactly what `tollgate init`
//! prints: one endpoint, whose model chooses the provider. The text names variables, and holds none of their values.

use std::fmt::Write as _;

use crate::provider::{PROVIDERS, ProviderDef, Usual};

/// The name of everything in the text, in the namespace `default`.
const NAME: &str = "tollgate";

/// The providers that are simulated, or printed as an example, where no variable is set.
const EXAMPLES: usize = 3;

/// One entry of the Backend.
struct Entry {
    name: &'static str,
    /// The Secret's key with its variable, if it needs a Secret.
    variable: Option<&'static str>,
    provider: String,
    models: &'static [&'static str],
}

/// What the environment serves.
pub struct Environment {
    entries: Vec<Entry>,
    port: u16,
}

impl Environment {
    /// The providers whose variables `get` finds, at `port`; `None` when there are none.
    pub fn read(get: &dyn Fn(&str) -> Option<String>, port: u16) -> Option<Self> {
        let set = |names: &[&'static str]| {
            names.iter().copied().find(|name| get(name).is_some_and(|value| !value.trim().is_empty()))
        };
        let entry = |(def, usual): (&ProviderDef, &'static Usual)| {
            let variable = set(usual.keys);
            let has_credential =
                !usual.credential.is_empty() && usual.credential.iter().all(|name| set(&[name]).is_some());
            let region = set(usual.region).and_then(get).filter(|region| is_region(region));
            let is_enabled = (variable.is_some() || has_credential) && (usual.region.is_empty() || region.is_some());
            is_enabled.then(|| entry(def, usual, variable, region))
        };
        let entries: Vec<Entry> = usual().filter_map(entry).collect();
        (!entries.is_empty()).then_some(Self { entries, port })
    }

    /// The largest vendors, whether their variables are set or not.
    pub fn example(port: u16) -> Self {
        let with_key = usual().filter(|(_, usual)| !usual.keys.is_empty()).take(EXAMPLES);
        let entries = with_key.map(|(def, usual)| entry(def, usual, usual.keys.first().copied(), None)).collect();
        Self { entries, port }
    }

    /// The names of the providers, joined with commas.
    pub fn providers(&self) -> String {
        self.entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
    }

    /// The manifests.
    pub fn manifests(&self) -> String {
        let mut text = format!(
            "# One endpoint for all models: the model that a request names chooses the provider. PROVIDER/MODEL does\n\
             # for all its models. Serve it to this machine alone:\n\
             #   tollgate run --manifests FILE --listen-address 127.0.0.1\n\
             apiVersion: gateway.networking.k8s.io/v1\n\
             kind: Gateway\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  gatewayClassName: tollgate\n  listeners:\n  - name: http\n    protocol: HTTP\n    port: {}\n\
             ---\n\
             apiVersion: gateway.networking.k8s.io/v1\n\
             kind: HTTPRoute\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  parentRefs:\n  - name: {NAME}\n  rules:\n  - backendRefs:\n    - name: {NAME}\n      \
             group: gateway.kgateway.dev\n      kind: Backend\n\
             ---\n\
             apiVersion: gateway.kgateway.dev/v1alpha1\n\
             kind: Backend\n\
             metadata:\n  name: {NAME}\n  namespace: default\n\
             spec:\n  type: AI\n  ai:\n    priorityGroups:\n    - providers:\n",
            self.port
        );
        let is_alone = self.entries.len() == 1;
        for entry in &self.entries {
            let models = if is_alone { &["*"] } else { entry.models };
            // Writing to a String does not fail.
            let _ = writeln!(text, "      - name: {}\n        {}", entry.name, entry.provider);
            if !models.is_empty() {
                let models: Vec<String> = models.iter().map(|model| format!("\"{model}\"")).collect();
                let _ = writeln!(text, "        models: [{}]", models.join(", "));
            }
            let _ = writeln!(text, "        modelAliases: {{\"{}/*\": \"*\"}}", entry.name);
        }
        for entry in &self.entries {
            let Some(variable) = entry.variable else { continue };
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n  namespace: default\n\
                 stringData:\n  Authorization: ${variable}\n",
                entry.name
            );
        }
        text
    }
}

/// The variables of all providers: first those of each itself, then those of servers with its API.
fn usual() -> impl Iterator<Item = (&'static ProviderDef, &'static Usual)> {
    let of = |from: usize, to: usize| {
        let some = move |def: &'static ProviderDef| def.usual.iter().take(to).skip(from).map(move |usual| (def, usual));
        PROVIDERS.iter().copied().flat_map(some)
    };
    of(0, 1).chain(of(1, usize::MAX))
}

fn entry(def: &ProviderDef, usual: &'static Usual, variable: Option<&'static str>, region: Option<String>) -> Entry {
    let token = variable.map(|_| format!("authToken: {{kind: SecretRef, secretRef: {{name: {}}}}}", usual.name));
    let fields = Some(usual.fields.to_owned()).filter(|fields| !fields.is_empty());
    let fields = [fields, region.map(|region| format!("region: {region}")), token];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    let provider = format!("{}: {{{}}}", def.info.name, fields.join(", "));
    Entry { name: usual.name, variable, provider, models: usual.models }
}

/// Whether this is the name of a region, which becomes part of the text.
fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        compile::Objects,
        source::file::{self, LoadOptions},
    };

    fn read(set: &[(&str, &str)]) -> Option<Environment> {
        let set: HashMap<String, String> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Environment::read(&|name| set.get(name).cloned(), 8080)
    }

    fn objects(text: &str) -> Objects {
        file::read_text("environment", text, &|name| Some(format!("value-of-{name}")), &LoadOptions::default())
    }

    #[test]
    fn variables_enable_their_providers() {
        for (set, providers) in [
            (&[("OPENAI_API_KEY", "k")][..], "openai"),
            (&[("GOOGLE_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")], "anthropic, gemini"),
            (&[("OPENAI_API_KEY", " "), ("GROQ_API_KEY", "k")], "groq"),
            (
                &[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_DEFAULT_REGION", "eu-west-1")],
                "bedrock",
            ),
        ] {
            assert_eq!(read(set).unwrap().providers(), providers, "{set:?}");
        }
        // Not a whole credential, or a region that would write manifests of its own.
        assert!(read(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_REGION", "us-east-1")]).is_none());
        let odd = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "x}\n---")];
        assert!(read(&odd).is_none());
        assert!(read(&[]).is_none());
    }

    #[test]
    fn the_text_is_manifests_that_hold_no_value() {
        let all: Vec<(&str, &str)> =
            usual().flat_map(|(_, usual)| usual.keys).map(|name| (*name, "sk-secret")).collect();
        let aws = [("AWS_ACCESS_KEY_ID", "sk-secret"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_REGION", "us-east-1")];
        let text = read(&[all, aws.to_vec()].concat()).unwrap().manifests();
        assert!(!text.contains("sk-secret"), "{text}");
        let objects = objects(&text);
        assert_eq!(objects.rejected, []);
        assert_eq!((objects.gateways.len(), objects.http_routes.len(), objects.backends.len()), (1, 1, 1));
        assert_eq!(objects.secrets.len(), usual().filter(|(_, usual)| !usual.keys.is_empty()).count());
        let shape = crate::compile::shape::shape(&objects.backends.values().next().unwrap().spec).unwrap();
        assert!(shape.providers().starts_with("openai,anthropic,gemini"), "{}", shape.providers());
    }
}
