//! Media types of files.

use std::borrow::Cow;

use super::{Source, Text};

/// Media types by the endings of names. Programs and settings are text to a model.
const TYPES: &[(&str, &[&str])] = &[
    ("application/pdf", &["pdf"]),
    ("application/msword", &["doc"]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx"]),
    ("application/vnd.ms-excel", &["xls"]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx"]),
    ("application/json", &["json"]),
    ("application/xml", &["xml"]),
    ("text/csv", &["csv"]),
    ("text/html", &["html", "htm"]),
    ("text/markdown", &["md", "markdown"]),
    ("text/plain", &["txt", "log", "yaml", "yml", "toml", "ini", "sql", "sh", "diff", "patch"]),
    (
        "text/plain",
        &["py", "rs", "go", "js", "ts", "tsx", "jsx", "java", "kt", "c", "h", "cc", "cpp", "cs", "rb", "php"],
    ),
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
];

/// The media type that the ending of a file's name shows.
pub fn type_of_name(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    let has = |endings: &&[&str]| endings.iter().any(|known| known.eq_ignore_ascii_case(ending));
    TYPES.iter().find(|(_, endings)| has(endings)).map(|(mime, _)| *mime)
}

/// Whether files of this media type are text.
pub fn is_text(mime: &str) -> bool {
    let kind = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/") || matches!(&*kind, "application/json" | "application/xml" | "application/yaml")
}

impl Source<'_> {
    /// The source with the type that the file's name shows, where the client states none: `application/octet-stream`
    /// is any file.
    #[must_use]
    pub fn typed_by(mut self, name: Option<&Text<'_>>) -> Self {
        if let Self::Data { mime, .. } = &mut self
            && matches!(&**mime, "application/octet-stream" | "binary/octet-stream" | "")
            && let Some(known) = name.and_then(|name| type_of_name(&name.decode()))
        {
            *mime = Cow::Borrowed(known);
        }
        self
    }
}
