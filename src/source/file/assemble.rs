//! Combines many files into one set of objects, with the last good version of broken documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{
    LoadOptions, MAX_DOCUMENTS, SourceError,
    decode::{self, Broken, Context, Decoded, NAMESPACE_NAME_LABEL, Outcome},
    walk,
};
use crate::{
    api::{Kind, ObjectKey},
    compile::{Objects, Rejected},
    source::kinds::Object,
};

type Id = (Kind, ObjectKey);

/// Reads manifests on every load, and stores the last good version of each document.
pub(super) struct Loader {
    paths: Vec<PathBuf>,
    options: LoadOptions,
    files: BTreeMap<PathBuf, Cached>,
    served: BTreeMap<Id, Served>,
    rejected: Vec<Rejected>,
    /// Counts loads that changed something, including the first.
    revision: u64,
}

/// The objects and errors of a file. They are used again while its text is the same.
struct Cached {
    digest: u64,
    outcomes: Vec<Outcome>,
    /// Whether it depends only on the text.
    reusable: bool,
}

/// An object that is served, and its file.
struct Served {
    file: Arc<Path>,
    decoded: Decoded,
}

/// A rejected document that may contain an object that was served.
struct Hidden {
    file: Arc<Path>,
    /// The object, or everything of the file.
    object: Option<Id>,
    /// Its entry among the rejected.
    entry: usize,
}

impl Loader {
    /// A loader without documents.
    pub(super) fn new(paths: Vec<PathBuf>, options: LoadOptions) -> Self {
        Self { paths, options, files: BTreeMap::new(), served: BTreeMap::new(), rejected: Vec::new(), revision: 0 }
    }

    /// Reads everything. Returns whether the objects differ from those of the last load.
    ///
    /// # Errors
    ///
    /// When a directory can't be listed; then nothing is changed.
    pub(super) fn load(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<bool, SourceError> {
        let paths = walk::files(&self.paths)?;
        let mut files = BTreeMap::new();
        let mut next = Next::default();
        let mut room = MAX_DOCUMENTS;
        for path in paths {
            if room == 0 {
                next.reject(
                    Rejected {
                        location: format!("{}:1", path.display()),
                        kind: None,
                        key: None,
                        error: format!("there are more than {MAX_DOCUMENTS} documents; the rest is not read"),
                    },
                    None,
                );
                break;
            }
            let cached = self.read(&path, room, env);
            room = room.saturating_sub(cached.outcomes.len());
            next.add(&Arc::from(path.as_path()), &cached.outcomes, &self.served);
            files.insert(path, cached);
        }
        next.keep_last_good(&self.served);
        next.share_unchanged(&self.served);
        let changed = !next.same_as(&self.served) || next.rejected != self.rejected;
        self.files = files;
        self.served = next.served;
        self.rejected = next.rejected;
        if changed || self.revision == 0 {
            self.revision += 1;
        }
        Ok(changed)
    }

    /// Reads the documents of `text` alone, as if they were in a file of the name `name`.
    pub(super) fn load_text(&mut self, name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) {
        let context = Context { file: name, env, options: &self.options };
        let mut next = Next::default();
        next.add(&Arc::from(Path::new(name)), &decode::file(text, false, MAX_DOCUMENTS, &context), &self.served);
        self.served = next.served;
        self.rejected = next.rejected;
        self.revision += 1;
    }

    /// The objects of the last load.
    pub(super) fn objects(&self) -> Objects {
        let mut objects = Objects { rejected: self.rejected.clone(), revision: self.revision, ..Objects::default() };
        for ((_, key), served) in &self.served {
            served.decoded.object.insert(key.clone(), &mut objects);
            if !served.decoded.unread.is_empty() {
                let id = (served.decoded.kind, key.clone());
                objects.unread.insert(id, Arc::clone(&served.decoded.unread));
            }
        }
        // In a cluster a namespace exists before it has any objects.
        let names: BTreeSet<_> = self.served.keys().map(|(_, key)| &key.namespace).filter(|n| !n.is_empty()).collect();
        for name in names {
            objects.namespaces.entry(ObjectKey::cluster(name)).or_insert_with(|| Arc::new(implied_namespace(name)));
        }
        objects
    }

    fn read(&mut self, path: &Path, room: usize, env: &dyn Fn(&str) -> Option<String>) -> Cached {
        let name = path.display().to_string();
        let text = match walk::read(path) {
            Ok(text) => text,
            Err((line, error)) => {
                let rejected = Rejected {
                    location: format!("{name}:{line}"),
                    kind: None,
                    key: None,
                    error: format!("the file {error}"),
                };
                let outcomes = vec![Outcome::Rejected(rejected, Broken::Something(None))];
                return Cached { digest: 0, outcomes, reusable: false };
            }
        };
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let digest = hasher.finish();
        if let Some(cached) = self.files.remove(path)
            && cached.reusable
            && cached.digest == digest
            && cached.outcomes.len() <= room
        {
            return cached;
        }
        let is_json = path.extension().is_some_and(|e| e == "json");
        let outcomes = decode::file(&text, is_json, room, &Context { file: &name, env, options: &self.options });
        let secret = outcomes.iter().any(|o| matches!(o, Outcome::Object(d) if d.kind == Kind::Secret));
        Cached { digest, reusable: !secret && outcomes.len() < room, outcomes }
    }
}

fn implied_namespace(name: &str) -> Namespace {
    let labels = BTreeMap::from([(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned())]);
    Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    }
}

/// The load under way.
#[derive(Default)]
struct Next {
    served: BTreeMap<Id, Served>,
    rejected: Vec<Rejected>,
    hidden: Vec<Hidden>,
}

impl Next {
    fn add(&mut self, file: &Arc<Path>, outcomes: &[Outcome], last: &BTreeMap<Id, Served>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Object(decoded) => self.object(file, decoded),
                Outcome::Partial(rejected, decoded) => {
                    let id = (decoded.kind, decoded.key.clone());
                    if last.get(&id).is_some_and(|served| served.decoded.unread.is_empty()) {
                        // Its last good version protects as intended.
                        self.reject(rejected.clone(), Some((file, Some(id))));
                    } else {
                        self.object(file, decoded);
                        self.reject(rejected.clone(), None);
                    }
                }
                Outcome::Rejected(rejected, broken) => {
                    let object = match broken {
                        Broken::No => {
                            self.reject(rejected.clone(), None);
                            continue;
                        }
                        Broken::Object(kind, key) => Some((*kind, key.clone())),
                        // An unknown name may itself be half-written.
                        Broken::Something(guess) => guess.clone().filter(|id| last.contains_key(id)),
                    };
                    self.reject(rejected.clone(), Some((file, object)));
                }
            }
        }
    }

    fn object(&mut self, file: &Arc<Path>, decoded: &Decoded) {
        let id = (decoded.kind, decoded.key.clone());
        if let Some(first) = self.served.get(&id) {
            let error = format!("is there twice: {}, the first, is served", first.decoded.location);
            let (kind, key) = id;
            let location = decoded.location.clone();
            self.reject(Rejected { location, kind: Some(kind), key: Some(key), error }, None);
        } else {
            self.served.insert(id, Served { file: Arc::clone(file), decoded: decoded.clone() });
        }
    }

    fn reject(&mut self, rejected: Rejected, hides: Option<(&Arc<Path>, Option<Id>)>) {
        if let Some((file, object)) = hides {
            self.hidden.push(Hidden { file: Arc::clone(file), object, entry: self.rejected.len() });
        }
        self.rejected.push(rejected);
    }

    /// Serves the objects that broken documents described before, as long as no other document describes them.
    fn keep_last_good(&mut self, last: &BTreeMap<Id, Served>) {
        for Hidden { file, object, entry } in std::mem::take(&mut self.hidden) {
            let mut kept = 0_usize;
            match &object {
                Some(id) => kept += usize::from(last.get(id).is_some_and(|served| self.keep(&file, id, served))),
                None => {
                    for (id, served) in last.iter().filter(|(_, served)| served.file == file) {
                        kept += usize::from(self.keep(&file, id, served));
                    }
                }
            }
            let Some(rejected) = self.rejected.get_mut(entry).filter(|_| kept > 0) else { continue };
            rejected.error.push_str(match object {
                Some(_) => "; its last good version is still served",
                None => "; what was last read from this file is still served",
            });
        }
    }

    fn keep(&mut self, file: &Arc<Path>, id: &Id, served: &Served) -> bool {
        if self.served.contains_key(id) {
            return false;
        }
        self.served.insert(id.clone(), Served { file: Arc::clone(file), decoded: served.decoded.clone() });
        true
    }

    /// Takes the objects of the last load where they are equal, so that unchanged objects are the same memory.
    fn share_unchanged(&mut self, last: &BTreeMap<Id, Served>) {
        for (id, served) in &mut self.served {
            if let Some(old) = last.get(id).filter(|old| equal(&old.decoded, &served.decoded)) {
                served.decoded.object = old.decoded.object.clone();
            }
        }
    }

    fn same_as(&self, last: &BTreeMap<Id, Served>) -> bool {
        self.served.len() == last.len()
            && self
                .served
                .iter()
                .zip(last)
                .all(|((id, new), (old_id, old))| id == old_id && equal(&old.decoded, &new.decoded))
    }
}

fn equal(a: &Decoded, b: &Decoded) -> bool {
    match (&a.object, &b.object) {
        (Object::Secret(a), Object::Secret(b)) => a == b,
        _ => a.fingerprint == b.fingerprint,
    }
}
