//! The identity of a tool: what the client calls it, and the form in which it declares and calls it.

use std::{fmt, ops::Deref};

use serde::{Serialize, Serializer};

use super::Text;

/// The form in which a client declares and calls a tool that it runs itself.
///
/// Only functions have a form in every dialect. Tools of the other forms are carried as functions: see
/// [`Names::fit`](super::Names::fit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ToolForm {
    /// A function with a JSON object as its arguments.
    #[default]
    Function,
    /// A tool that takes free text (OpenAI's `custom`).
    Custom,
    /// A search for further tools, run by the client (Responses).
    ToolSearch,
    /// `local_shell` of Responses.
    LocalShell,
    /// `shell` of Responses, in the client's environment.
    Shell,
    /// `apply_patch` of Responses.
    ApplyPatch,
    /// `computer` of Responses.
    Computer,
    /// `computer_use_preview` of Responses.
    ComputerPreview,
}

/// The identity of a tool. Two tools may have the same name in different namespaces or forms.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolName<'a> {
    /// The name within the namespace.
    name: Text<'a>,
    /// The group of tools that it belongs to (Responses).
    pub namespace: Option<Text<'a>>,
    /// The form of its declaration and its calls.
    pub form: ToolForm,
}

impl<'a> ToolName<'a> {
    /// A tool of this form.
    pub fn of(form: ToolForm, name: impl Into<Text<'a>>) -> Self {
        Self { name: name.into(), namespace: None, form }
    }

    /// The same tool in `namespace`.
    #[must_use]
    pub fn within(self, namespace: Option<Text<'a>>) -> Self {
        Self { namespace, ..self }
    }

    /// Whether it is a function without a namespace, as every dialect has them.
    pub const fn is_plain(&self) -> bool {
        matches!(self.form, ToolForm::Function) && self.namespace.is_none()
    }

    /// The name with its namespace in front, as it is carried unless that name is taken or too long.
    pub fn flat(&self) -> String {
        let name = self.name.decode();
        match &self.namespace {
            Some(namespace) => format!("{}__{name}", namespace.decode().trim_end_matches("__")),
            None => name.into_owned(),
        }
    }

    /// A key that is equal for equal tools only.
    pub fn key(&self) -> String {
        let namespace = self.namespace.as_ref().map(Text::decode);
        format!("{:?}\0{namespace:?}\0{}", self.form, self.name.decode())
    }

    /// A borrow for a shorter lifetime, without a copy.
    pub fn reborrow(&self) -> ToolName<'_> {
        let namespace = self.namespace.as_ref().map(Text::reborrow);
        ToolName { name: self.name.reborrow(), namespace, form: self.form }
    }

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> ToolName<'static> {
        let namespace = self.namespace.map(Text::into_owned);
        ToolName { name: self.name.into_owned(), namespace, form: self.form }
    }

    /// The name within the namespace.
    pub fn into_text(self) -> Text<'a> {
        self.name
    }
}

impl<'a> Deref for ToolName<'a> {
    type Target = Text<'a>;

    fn deref(&self) -> &Text<'a> {
        &self.name
    }
}

impl<'a> From<Text<'a>> for ToolName<'a> {
    fn from(name: Text<'a>) -> Self {
        Self::of(ToolForm::Function, name)
    }
}

impl<'a> From<&'a str> for ToolName<'a> {
    fn from(name: &'a str) -> Self {
        Text::from(name).into()
    }
}

impl From<String> for ToolName<'_> {
    fn from(name: String) -> Self {
        Text::from(name).into()
    }
}

impl Serialize for ToolName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(serializer)
    }
}

impl fmt::Debug for ToolName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return self.name.fmt(f);
        }
        write!(f, "{:?}({:?})", self.form, self.flat())
    }
}
