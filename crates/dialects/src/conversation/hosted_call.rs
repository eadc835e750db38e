//! Calls of tools that a provider ran itself.

use super::{HostedKind, Text};

/// A call of such a tool, with its result. Only replies have them. In a history they are text, because no vendor can
/// check what another one's tool has found.
#[derive(Clone, Debug, PartialEq)]
pub struct HostedCall<'a> {
    /// What was done.
    pub action: HostedAction<'a>,
    /// Why there is no result: a short code.
    pub error: Option<Text<'a>>,
}

/// What a call did, and what it found.
#[derive(Clone, Debug, PartialEq)]
pub enum HostedAction<'a> {
    /// A search of the web.
    Search {
        /// What was searched for.
        queries: Vec<Text<'a>>,
        /// The pages that were found.
        pages: Vec<Page<'a>>,
    },
    /// A page that was read.
    Fetch(Page<'a>),
    /// Code that was run.
    Code {
        /// The code.
        code: Text<'a>,
        /// What it printed.
        output: Text<'a>,
        /// What it printed as errors.
        errors: Text<'a>,
        /// Its exit code: 0 if it succeeded.
        exit: i64,
    },
}

/// A page of the web.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<'a> {
    /// Its address.
    pub url: Text<'a>,
    /// Its title.
    pub title: Option<Text<'a>>,
    /// How old it is, in words.
    pub age: Option<Text<'a>>,
    /// Its text.
    pub text: Option<Text<'a>>,
}

/// The error of a call whose result is not known, in Anthropic's words.
pub const NO_RESULT: &str = "unavailable";

impl<'a> HostedCall<'a> {
    /// A call with its result.
    pub const fn done(action: HostedAction<'a>) -> Self {
        Self { action, error: None }
    }

    /// A call without a result.
    pub fn begun(action: HostedAction<'a>) -> Self {
        Self { action, error: Some(NO_RESULT.into()) }
    }

    /// What kind of tool was called.
    pub const fn kind(&self) -> HostedKind {
        match self.action {
            HostedAction::Search { .. } => HostedKind::WebSearch,
            HostedAction::Fetch(_) => HostedKind::UrlFetch,
            HostedAction::Code { .. } => HostedKind::CodeExecution,
        }
    }

    /// An owned copy, which borrows nothing.
    pub fn into_owned(self) -> HostedCall<'static> {
        HostedCall { action: self.action.into_owned(), error: self.error.map(Text::into_owned) }
    }

    /// Approximate bytes.
    pub fn size(&self) -> usize {
        let page = |page: &Page<'_>| {
            page.url.size() + [&page.title, &page.age, &page.text].into_iter().flatten().map(Text::size).sum::<usize>()
        };
        match &self.action {
            HostedAction::Search { queries, pages } => {
                queries.iter().map(Text::size).sum::<usize>() + pages.iter().map(page).sum::<usize>()
            }
            HostedAction::Fetch(fetched) => page(fetched),
            HostedAction::Code { code, output, errors, .. } => code.size() + output.size() + errors.size(),
        }
    }
}

impl HostedAction<'_> {
    fn into_owned(self) -> HostedAction<'static> {
        match self {
            Self::Search { queries, pages } => HostedAction::Search {
                queries: queries.into_iter().map(Text::into_owned).collect(),
                pages: pages.into_iter().map(Page::into_owned).collect(),
            },
            Self::Fetch(page) => HostedAction::Fetch(page.into_owned()),
            Self::Code { code, output, errors, exit } => HostedAction::Code {
                code: code.into_owned(),
                output: output.into_owned(),
                errors: errors.into_owned(),
                exit,
            },
        }
    }
}

impl<'a> Page<'a> {
    /// The page at `url`.
    pub const fn at(url: Text<'a>) -> Self {
        Self { url, title: None, age: None, text: None }
    }

    fn into_owned(self) -> Page<'static> {
        let [title, age, text] = [self.title, self.age, self.text].map(|text| text.map(Text::into_owned));
        Page { url: self.url.into_owned(), title, age, text }
    }
}
