//! JSON Schemas in the form that a target accepts: one walk over a schema, controlled by a table of rules per target.
//!
//! A table defines for each keyword whether it is kept, removed or renamed, or contains schemas itself. Exceptions are
//! code. Fields keep their order: a model writes its answer in the schema's order, and reasons worse when the answer
//! comes before the reasons.

pub(super) mod claude;
pub(super) mod inline;
pub(super) mod openai;
pub(super) mod root;

use std::borrow::Cow;

use crate::conversation::Tree;

/// Converts one keyword.
pub(super) type Special<S> = for<'w, 't, 'a> fn(&'w mut Walk<'t, 'a, S>, &Keyword<'t, 'a>, &mut Node<'a, S>);
/// Completes one schema.
pub(super) type Finish<S> = for<'w, 't, 'a> fn(&'w mut Walk<'t, 'a, S>, &mut Node<'a, S>);

/// The treatment of a keyword. `S` is a target's state while it rewrites one schema.
pub(super) enum Rule<S: 'static> {
    /// It stays as it is.
    Keep,
    /// It is left out, and nothing is lost.
    Ignore,
    /// It is left out, and that is reported.
    Drop,
    /// It stays under another name.
    Rename(&'static str),
    /// Its value is a schema.
    Schema,
    /// Its value is an object or an array of schemas, and gets this name.
    Each(&'static str),
    /// Code decides.
    Special(Special<S>),
    /// The rule applies only to these values; others are left to the next rule of that keyword.
    If(fn(&Tree<'_>) -> bool, &'static Rule<S>),
}

/// How schemas are written for one target.
pub(super) struct Rules<S: 'static> {
    /// The rules of keywords, whose names are separated by spaces. The first rule counts.
    pub keywords: &'static [(&'static str, Rule<S>)],
    /// The rule of all other keywords.
    pub others: Rule<S>,
    /// The spelling under which a keyword is looked up.
    pub spelling: fn(&str) -> Cow<'_, str>,
    /// Completes a schema when all its keywords have been seen.
    pub finish: Finish<S>,
    /// Whether schemas may be `true` and `false`; otherwise they become objects without keywords.
    pub booleans: bool,
    /// The type of a schema that exceeds a bound.
    pub bound: &'static str,
    /// Deepest schema that is rewritten, references followed.
    pub max_depth: usize,
    /// Most schemas in one: references that are replaced by their schemas multiply.
    pub max_schemas: usize,
}

/// A keyword of a schema.
pub(super) struct Keyword<'t, 'a> {
    pub name: &'t str,
    pub value: &'t Tree<'a>,
    /// The depth of its schema.
    pub depth: usize,
}

/// A schema that is being built.
pub(super) struct Node<'a, S> {
    pub fields: Vec<(Cow<'a, str>, Tree<'a>)>,
    pub state: S,
}

impl<'a, S> Node<'a, S> {
    /// Adds a keyword. The first one counts: a keyword next to a reference is more specific than the referenced schema.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: Tree<'a>) {
        let key = key.into();
        if !self.has(&key) {
            self.fields.push((key, value));
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn get(&self, key: &str) -> Option<&Tree<'a>> {
        self.fields.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Tree<'a>> {
        self.fields.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

/// One walk over a schema.
pub(super) struct Walk<'t, 'a, S: 'static> {
    rules: &'static Rules<S>,
    root: &'t Tree<'a>,
    schemas: usize,
    /// Whether a keyword with a meaning was left out.
    pub lost: bool,
    /// Whether the schema exceeds a bound: the rest was left out.
    pub cut: bool,
}

impl<'t, 'a, S: Default> Walk<'t, 'a, S> {
    /// Begins a walk over `root`.
    pub fn new(rules: &'static Rules<S>, root: &'t Tree<'a>) -> Self {
        Self { rules, root, schemas: 0, lost: false, cut: false }
    }

    /// The whole schema, rewritten.
    pub fn run(&mut self) -> Tree<'a> {
        self.schema(self.root, 0)
    }

    /// A schema inside the keyword of another one.
    pub fn schema(&mut self, tree: &'t Tree<'a>, depth: usize) -> Tree<'a> {
        self.schemas += 1;
        let Tree::Object(fields) = tree else {
            return if self.rules.booleans { tree.clone() } else { Tree::Object(Vec::new()) };
        };
        if depth > self.rules.max_depth || self.schemas > self.rules.max_schemas {
            (self.lost, self.cut) = (true, true);
            return Tree::Object(vec![("type".into(), Tree::string(self.rules.bound))]);
        }
        let mut node = Node { fields: Vec::with_capacity(fields.len()), state: S::default() };
        for (key, value) in fields {
            self.keyword(key, value, depth, &mut node);
        }
        (self.rules.finish)(self, &mut node);
        Tree::Object(node.fields)
    }

    fn keyword(&mut self, key: &'t str, value: &'t Tree<'a>, depth: usize, node: &mut Node<'a, S>) {
        let spelled = (self.rules.spelling)(key);
        let found = self.rules.keywords.iter().find_map(|(names, rule)| {
            let name = names.split(' ').find(|name| *name == spelled)?;
            match rule {
                Rule::If(holds, rule) => holds(value).then_some((name, *rule)),
                rule => Some((name, rule)),
            }
        });
        let (name, rule) = found.unwrap_or((key, &self.rules.others));
        let keyword = Keyword { name, value, depth };
        match rule {
            Rule::Keep => node.set(name.to_owned(), value.clone()),
            Rule::Ignore => {}
            Rule::Drop | Rule::If(..) => self.lost = true,
            Rule::Rename(other) => node.set(*other, value.clone()),
            Rule::Schema => node.set(name.to_owned(), self.schema(value, depth + 1)),
            Rule::Each(other) => node.set(*other, self.each(&keyword)),
            Rule::Special(special) => special(self, &keyword, node),
        }
    }

    /// An object or an array of schemas.
    pub fn each(&mut self, keyword: &Keyword<'t, 'a>) -> Tree<'a> {
        let inside = keyword.depth + 1;
        match keyword.value {
            Tree::Object(fields) => {
                Tree::Object(fields.iter().map(|(key, one)| (key.clone(), self.schema(one, inside))).collect())
            }
            Tree::Array(elements) => Tree::Array(elements.iter().map(|one| self.schema(one, inside)).collect()),
            leaf @ Tree::Leaf(_) => leaf.clone(),
        }
    }

    /// The schema that a reference names, written out. A reference to the whole document would never end.
    pub fn referred(&mut self, keyword: &Keyword<'t, 'a>) -> Option<Tree<'a>> {
        let reference = keyword.value.as_str().filter(|reference| reference != "#")?;
        let target = self.root.referred(&reference)?;
        Some(self.schema(target, keyword.depth + 1))
    }
}
