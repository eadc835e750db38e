//! Tools that a provider runs itself.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Invalid, Request, Text, ToolChoice, Unsupported};

/// What such a tool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostedKind {
    /// Searches the web.
    WebSearch,
    /// Reads pages at URLs that the conversation has.
    UrlFetch,
    /// Runs code in a container.
    CodeExecution,
    /// Makes images, or lets the model answer in them.
    ImageGeneration,
    /// Anything that only one vendor has.
    Other,
}

impl HostedKind {
    /// The kind's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSearch => "web_search",
            Self::UrlFetch => "web_fetch",
            Self::CodeExecution => "code_execution",
            Self::ImageGeneration => "image_generation",
            Self::Other => "tool",
        }
    }
}

/// A tool that the client's vendor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct HostedTool<'a> {
    /// What it does.
    pub kind: HostedKind,
    /// Its name, or its kind in the client's dialect if it has none.
    pub name: Text<'a>,
    /// What limits it.
    pub limits: HostedLimits<'a>,
}

/// The limits of a tool that a vendor runs, nearly all of a search.
#[derive(Clone, Default, PartialEq)]
pub struct HostedLimits<'a> {
    /// The only domains that it may use; empty for all.
    pub allowed_domains: Vec<Text<'a>>,
    /// The domains that it may not use.
    pub blocked_domains: Vec<Text<'a>>,
    /// Most calls in one request.
    pub max_uses: Option<u64>,
    /// How much of the pages the model gets: `low`, `medium` or `high`.
    pub context_size: Option<Text<'a>>,
    /// Where the user is.
    pub location: Option<Location<'a>>,
    /// The form of images.
    pub image: ImageForm<'a>,
}

impl fmt::Debug for HostedLimits<'_> {
    /// Few tools make images.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HostedLimits");
        shown.field("allowed_domains", &self.allowed_domains);
        shown.field("blocked_domains", &self.blocked_domains);
        shown.field("max_uses", &self.max_uses);
        shown.field("context_size", &self.context_size);
        shown.field("location", &self.location);
        if self.image != ImageForm::default() {
            shown.field("image", &self.image);
        }
        shown.finish()
    }
}

/// The form of images that a model makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageForm<'a> {
    /// Width and height, as in `16:9`.
    pub aspect_ratio: Option<Text<'a>>,
    /// The resolution, as in `2K`.
    pub size: Option<Text<'a>>,
}

/// Where a user is, approximately.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Location<'a> {
    /// The city's name.
    pub city: Option<Text<'a>>,
    /// The region's name.
    pub region: Option<Text<'a>>,
    /// The country's two letters, as in ISO 3166.
    pub country: Option<Text<'a>>,
    /// The time zone, as IANA names it.
    pub timezone: Option<Text<'a>>,
}

/// Reads a limit. One that can't be read is none.
pub fn limit<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

impl<'a> HostedTool<'a> {
    /// A tool of this kind.
    pub fn new(kind: HostedKind, name: impl Into<Text<'a>>) -> Self {
        Self { kind, name: name.into(), limits: HostedLimits::default() }
    }
}

impl<'a> Request<'a> {
    /// The tools that the target runs, one of each kind; `runs` decides which it does.
    pub fn hosted_by(&self, runs: impl Fn(HostedKind) -> bool) -> Vec<&HostedTool<'a>> {
        let mut found: Vec<&HostedTool<'a>> = Vec::new();
        for tool in self.hosted.iter().filter(|tool| runs(tool.kind)) {
            if found.iter().all(|known| known.kind != tool.kind) {
                found.push(tool);
            }
        }
        found
    }

    /// The tool that makes images, which is added under `name` if there is none.
    pub fn image_tool(&mut self, name: &str) -> &mut HostedTool<'a> {
        let known = self.hosted.iter().position(|tool| tool.kind == HostedKind::ImageGeneration);
        let at = known.unwrap_or(self.hosted.len());
        if known.is_none() {
            self.hosted.push(HostedTool::new(HostedKind::ImageGeneration, name.to_owned()));
        }
        #[expect(clippy::indexing_slicing, reason = "it is there, or was just added")]
        &mut self.hosted[at]
    }

    /// Reports the tools that the target does not run itself; `runs` decides which it does.
    ///
    /// # Errors
    /// When the client requires a call of one of them: the model would answer from memory instead.
    pub fn report_hosted(&self, runs: impl Fn(HostedKind) -> bool, dropped: &mut Unsupported) -> Result<(), Invalid> {
        let missing = || self.hosted.iter().filter(|tool| !runs(tool.kind));
        missing().for_each(|tool| dropped.add(tool.name.decode().into_owned()));
        let runs_none = missing().count() == self.hosted.len();
        let runs_it = |name: &Text<'_>| self.hosted.iter().any(|tool| tool.name == *name && runs(tool.kind));
        let forced = match &self.tool_choice {
            Some(ToolChoice::Hosted(name)) if !runs_it(name) => Some(name),
            Some(ToolChoice::Required) if self.tools.is_empty() && runs_none => missing().next().map(|tool| &tool.name),
            Some(ToolChoice::Allowed { names, required: true }) if names.is_empty() && runs_none => {
                missing().next().map(|tool| &tool.name)
            }
            _ => None,
        };
        let Some(name) = forced else { return Ok(()) };
        let message = format!(
            "requires a call of {}, which the client's vendor runs itself: this route's provider can't run it",
            name.decode()
        );
        Err(Invalid::new("tool_choice", message))
    }
}

impl fmt::Debug for Request<'_> {
    /// Few requests have tools that a vendor runs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Request");
        shown.field("messages", &self.messages);
        shown.field("tools", &self.tools);
        if !self.hosted.is_empty() {
            shown.field("hosted", &self.hosted);
        }
        shown.field("tool_choice", &self.tool_choice);
        shown.field("parallel_tool_calls", &self.parallel_tool_calls);
        shown.field("max_tokens", &self.max_tokens);
        shown.field("sampling", &self.sampling);
        shown.field("format", &self.format);
        shown.field("reasoning", &self.reasoning);
        shown.field("user", &self.user);
        shown.field("service_tier", &self.service_tier);
        shown.field("metadata", &self.metadata);
        shown.field("stream", &self.stream);
        shown.field("dropped", &self.dropped);
        shown.finish()
    }
}
