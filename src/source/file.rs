//! Manifest files: directories of YAML and JSON, read as the API server would read them.
//!
//! ```text
//! walk (which files, fingerprint) -> split (documents) -> parse (values, lines) -> decode (objects) -> assemble
//! ```
//!
//! **One bad document affects only itself.** It becomes a [`Rejected`](crate::compile::Rejected) entry that names file,
//! line and field. On a reload, the objects that it described before keep their last good version:
//!
//! * When kind and name of the broken document can be read and were served before, that object stays as it was.
//! * When they can't be read (a half-written file), every object last read from that file stays, unless it is
//!   described elsewhere.
//! * A file that can't be read keeps all its objects. A deleted file removes its objects.
//! * A directory that can't be listed changes no object, until it can be listed again.
//!
//! **As in a cluster**: a missing namespace means `default`; a namespace has the label `kubernetes.io/metadata.name`,
//! and exists when any object is in it; YAML scalars have types, so a quoted number is a string and is no port; of two
//! objects of one name the first, in order of file names, is served.
//!
//! **Secrets** are the one place where `$NAME` and `${NAME}` are replaced, from the environment, in `stringData` only;
//! `$$` is a dollar sign.

mod assemble;
mod decode;
mod parse;
mod secret;
mod split;
#[cfg(test)]
mod tests;
mod walk;
mod watch;

use std::{path::PathBuf, sync::Arc};

pub use watch::watch;

use crate::compile::Objects;

/// Largest manifest file, in bytes. A ConfigMap holds 1 MiB at most; lists written by `kubectl get -o yaml` hold more.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Most documents of one load, list items included: twenty times the largest cluster in Tollgate's tests.
pub const MAX_DOCUMENTS: usize = 100_000;

/// Looks up an environment variable.
pub type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How manifests are read.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The replacement for an environment variable that is not set. `None` makes that key of the Secret unusable. Meant
    /// for simulated providers, where no real key is needed.
    pub placeholder_for_unset: Option<String>,
}

/// The reason why no objects could be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A directory could not be listed, or a file named as such could not be found.
    #[error("read manifests in {}", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The thread that read the files ended.
    #[error("the thread that reads manifests ended")]
    Reader(#[from] tokio::task::JoinError),
}

/// Reads every `*.yaml`, `*.yml` and `*.json` under each of `paths` (recursively, in order of names), or the file
/// itself where a path is a file.
///
/// # Errors
///
/// When one of `paths`, or a directory below it, can't be listed. Problems of a file or a document are
/// in [`Objects::rejected`].
pub fn load(
    paths: &[PathBuf],
    env: &dyn Fn(&str) -> Option<String>,
    options: LoadOptions,
) -> Result<Objects, SourceError> {
    let mut loader = assemble::Loader::new(paths.to_vec(), options);
    loader.load(env)?;
    Ok(loader.objects())
}

/// Reads the documents of `text` as if they were in a file of the name `name`.
pub fn read_text(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>, options: &LoadOptions) -> Objects {
    let mut loader = assemble::Loader::new(Vec::new(), options.clone());
    loader.load_text(name, text, env);
    loader.objects()
}
