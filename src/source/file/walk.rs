//! Lists manifest files, and reads them.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{MAX_FILE_BYTES, SourceError};

/// Deepest directory below a root. Cycles of symlinks are detected before; this bounds the rest.
const MAX_DEPTH: usize = 32;

/// Up to this many bytes in all, the fingerprint covers the contents and not only sizes and times: file systems with
/// coarse clocks hide a change that follows another at once, and reading this much each second costs nothing.
const MAX_HASHED_BYTES: u64 = 1024 * 1024;

/// The manifest files under `roots`, in order of roots and names, each file once.
///
/// # Errors
///
/// When a root or a directory below it can't be listed.
pub(super) fn files(roots: &[PathBuf]) -> Result<Vec<PathBuf>, SourceError> {
    let mut found = Found::default();
    for root in roots {
        let unreadable = |source| SourceError::Unreadable { path: root.clone(), source };
        if fs::metadata(root).map_err(unreadable)?.is_dir() {
            found.walk(root, &mut Vec::new())?;
        } else {
            found.file(root.clone());
        }
    }
    Ok(found.files)
}

#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

impl Found {
    fn walk(&mut self, dir: &Path, above: &mut Vec<PathBuf>) -> Result<(), SourceError> {
        let unreadable = |source| SourceError::Unreadable { path: dir.to_owned(), source };
        let real = dir.canonicalize().map_err(unreadable)?;
        if above.contains(&real) || above.len() >= MAX_DEPTH {
            return Ok(());
        }
        let mut entries = fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>())
            .map_err(unreadable)?;
        entries.sort_unstable();
        above.push(real);
        for path in entries {
            // Also skips `..data` and the dated directories of a ConfigMap mount; the visible links lead there.
            if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => self.walk(&path, above)?,
                // A dangling link is listed, so that reading it reports the error.
                _ if is_manifest(&path) => self.file(path),
                _ => {}
            }
        }
        above.pop();
        Ok(())
    }

    fn file(&mut self, path: PathBuf) {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if self.seen.insert(real) {
            self.files.push(path);
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
}

/// The text of a manifest file, without a byte order mark.
///
/// # Errors
///
/// The reason why it could not be read or is not text, with the line of the problem, from 1.
pub(super) fn read(path: &Path) -> Result<String, (usize, String)> {
    let cannot = |e: io::Error| (1, format!("can't be read: {e}"));
    let meta = fs::metadata(path).map_err(cannot)?;
    // Opening a pipe would wait for a writer.
    if !meta.is_file() {
        return Err((1, "is no regular file".to_owned()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(MAX_FILE_BYTES)).unwrap_or_default());
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err((1, format!("is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', e.as_bytes().get(..at).unwrap_or_default()).count();
        (line, format!("is not UTF-8 text: the byte at offset {at} belongs to no character"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A hash that changes with every change of the manifests. It also differs when a directory can't be listed.
pub(super) fn fingerprint(roots: &[PathBuf]) -> u64 {
    let mut hash = DefaultHasher::new();
    match files(roots) {
        Ok(files) => {
            let metas: Vec<_> = files.iter().map(|path| fs::metadata(path).ok()).collect();
            for (path, meta) in files.iter().zip(&metas) {
                path.hash(&mut hash);
                meta.as_ref().map(stamp).hash(&mut hash);
            }
            if metas.iter().flatten().map(Metadata::len).sum::<u64>() <= MAX_HASHED_BYTES {
                for path in &files {
                    read(path).hash(&mut hash);
                }
            }
        }
        Err(error) => error.to_string().hash(&mut hash),
    }
    hash.finish()
}

fn stamp(meta: &Metadata) -> [u64; 7] {
    let signed = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()].map(i64::cast_unsigned);
    let [mtime, mtime_nsec, ctime, ctime_nsec] = signed;
    [meta.dev(), meta.ino(), meta.len(), mtime, mtime_nsec, ctime, ctime_nsec]
}
