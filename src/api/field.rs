//! Paths of fields inside an object.

/// One step of a path inside an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field of an object, or a key of a map.
    Key(String),
    /// An element of a list.
    Index(usize),
}

impl Step {
    /// Whether this is the field `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Key(key) if key == name)
    }

    /// The index, if this is an element of a list.
    #[must_use]
    pub const fn index(&self) -> Option<usize> {
        match self {
            Self::Index(index) => Some(*index),
            Self::Key(_) => None,
        }
    }
}

/// A path as `spec.rules[0].name`.
#[must_use]
pub fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}
