//! The content of a reply: deterministic text, tool calls and token counts.

use serde_json::Value;

use super::{ApiRequest, received, sample};

/// Bytes of a word that cost one token; a longer word costs one more for each started dozen.
const WORD_BYTES: usize = 12;

/// Tokens that an image, a file, audio or video costs, whatever its size.
const MEDIA_TOKENS: u64 = 256;

/// Longest part of a prompt that the default reply quotes, in characters.
const QUOTE_CHARS: usize = 80;

/// The question of the getting-started guide, and the reply that its text shows.
const GUIDE: (&str, &str) =
    ("Explain how AI works in a few words", "Learning patterns from data to make predictions.\n");

/// The text of a refusal.
pub(super) const REFUSAL: &str = "I can't help with that.";

/// Number of words of the prompt that the reasoning quotes.
const REASONING_WORDS: usize = 6;

/// The prompt of a request, the same for all dialects.
#[derive(Default)]
pub(super) struct Prompt {
    tokens: u64,
    user: String,
    results: Vec<String>,
    /// Media read since the last turn ended.
    pending: Media,
    /// Media of the turn that the reply answers.
    media: Media,
    /// Functions that the model may call.
    pub(super) tools: Vec<Tool>,
    /// Whether the model may call a function, or must.
    pub(super) choice: ToolChoice,
    /// Schema of the reply, when the request is for JSON.
    pub(super) schema: Option<Value>,
    /// Most tokens the reply may have.
    pub(super) limit: Option<u64>,
    /// Stop sequences.
    pub(super) stop: Vec<String>,
    /// Whether reasoning is turned on.
    pub(super) thinks: bool,
}

/// Numbers of images, documents, audio clips and videos.
#[derive(Clone, Copy, Default)]
struct Media([usize; 4]);

/// The names of media in a reply, each with the words that requests use for it.
const KINDS: [(&str, &[&str]); 4] = [
    ("image", &["image"]),
    ("document", &["document", "file", "pdf", "text/"]),
    ("audio clip", &["audio"]),
    ("video", &["video"]),
];

/// A function that the model may call.
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) schema: Value,
}

/// Whether the model calls a tool.
#[derive(Default)]
pub(super) enum ToolChoice {
    /// When the user's text names one.
    #[default]
    Auto,
    /// Never.
    None,
    /// Always a tool.
    Any,
    /// Always this one.
    Named(String),
}

/// The content of a reply, the same for all dialects.
#[derive(Default)]
pub(super) struct Answer {
    /// The text in the pieces in which it streams; empty when tools are called.
    pub(super) pieces: Vec<String>,
    pub(super) calls: Vec<ToolCall>,
    /// Why the reply ends.
    pub(super) end: FinishReason,
    /// The reasoning before the text.
    pub(super) reasoning: Option<String>,
    /// Whether part of the reasoning is redacted.
    pub(super) redacted: bool,
    /// Whether the arguments of several calls are interleaved in a stream.
    pub(super) interleaved: bool,
    pub(super) prompt_tokens: u64,
    /// Tokens of the text or of the calls.
    pub(super) reply_tokens: u64,
    /// Tokens of the reasoning.
    pub(super) reasoning_tokens: u64,
}

/// Why a reply ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum FinishReason {
    /// The reply is complete.
    #[default]
    Done,
    /// The token limit ended the text.
    Limit,
    /// This stop sequence ended the text.
    Stop(String),
    /// The reply calls tools.
    Calls,
    /// The model refuses.
    Refused,
}

/// One call of a tool.
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl Prompt {
    /// Counts the tokens of a text that needs no reply: instructions and earlier turns.
    pub(super) fn count_text(&mut self, text: &str) {
        self.tokens += tokens(text);
    }

    /// Adds a text of the user. The reply answers the last one.
    pub(super) fn user(&mut self, text: &str) {
        self.count_text(text);
        text.clone_into(&mut self.user);
        self.results.clear();
        self.media = std::mem::take(&mut self.pending);
    }

    /// Adds the result of a tool. The reply quotes the results that no text of the user follows.
    pub(super) fn result(&mut self, text: &str) {
        self.count_text(text);
        if self.results.is_empty() {
            self.media = Media::default();
        }
        self.media.add(std::mem::take(&mut self.pending));
        self.results.push(text.to_owned());
    }

    /// Adds an image, a file, audio or video, by its type or media type. It belongs to the next text or result.
    pub(super) fn media(&mut self, kind: &str) {
        self.tokens += MEDIA_TOKENS;
        for ((_, words), count) in KINDS.iter().zip(&mut self.pending.0) {
            *count += usize::from(words.iter().any(|word| kind.contains(word)));
        }
    }

    /// Adds a function that the model may call.
    pub(super) fn tool(&mut self, name: &str, schema: Option<&Value>, definition: &Value) {
        self.count_text(&definition.to_string());
        let schema = schema.cloned().unwrap_or(Value::Null);
        self.tools.push(Tool { name: name.to_owned(), schema });
    }

    /// Tokens of the prompt so far.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The reply to this prompt.
    pub(super) fn answer(&self, request: &ApiRequest) -> Answer {
        let mut answer = Answer { prompt_tokens: self.tokens, ..Answer::default() };
        // A request for a given text or number of words gets all of it: no stop sequence and no limit applies.
        let wanted = request.text.is_some() || request.words.is_some();
        if self.thinks && request.text.is_none() {
            let reasoning = self.reasoning();
            answer.reasoning_tokens = tokens(&reasoning);
            answer.reasoning = Some(reasoning);
            answer.redacted = self.contains_word("redacted");
        }
        if !wanted && self.results.is_empty() && self.contains_word("refuse") {
            answer.end = FinishReason::Refused;
            answer.reply_tokens = tokens(REFUSAL);
            answer.pieces = REFUSAL.split_inclusive(' ').map(str::to_owned).collect();
            return answer;
        }
        if request.text.is_none() && self.results.is_empty() {
            answer.calls = self.calls();
        }
        if !answer.calls.is_empty() {
            let cost = |call: &ToolCall| tokens(&call.name) + tokens(&call.arguments.to_string());
            answer.reply_tokens = answer.calls.iter().map(cost).sum();
            answer.interleaved = self.contains_word("interleaved");
            answer.end = FinishReason::Calls;
            return answer;
        }
        let mut text = request.text.clone().unwrap_or_else(|| self.text());
        if !wanted && let Some((at, stop)) = first_stop(&text, &self.stop) {
            text.truncate(at);
            answer.end = FinishReason::Stop(stop.to_owned());
        }
        let words = text.split_inclusive(' ').map(str::to_owned);
        answer.pieces = match request.words {
            None => words.collect(),
            Some(count) => repeat(&words.collect::<Vec<_>>(), count),
        };
        let limit =
            self.limit.filter(|_| !wanted).map_or(u64::MAX, |most| most.saturating_sub(answer.reasoning_tokens));
        let (reply_tokens, cut_short) = shorten(&mut answer.pieces, limit);
        answer.reply_tokens = reply_tokens;
        if cut_short {
            answer.end = FinishReason::Limit;
        }
        answer
    }

    fn text(&self) -> String {
        if !self.results.is_empty() {
            return format!("The tool answered: {}{}", self.results.join("; "), self.media);
        }
        if let Some(schema) = &self.schema {
            return sample::value(schema).to_string();
        }
        let user = self.user.trim();
        if user == GUIDE.0 {
            return GUIDE.1.to_owned();
        }
        let media = self.media;
        if let Some(wanted) = user.strip_prefix("Say: ") {
            return format!("{wanted}{media}");
        }
        match user.char_indices().nth(QUOTE_CHARS) {
            Some((end, _)) => format!("A simulated answer to: {}...{media}", user.get(..end).unwrap_or_default()),
            None => format!("A simulated answer to: {user}{media}"),
        }
    }

    fn reasoning(&self) -> String {
        let words: Vec<&str> = self.user.split_whitespace().take(REASONING_WORDS).collect();
        let about = if words.is_empty() { "the request".to_owned() } else { words.join(" ") };
        format!("Thinking about: {about}")
    }

    /// Whether the user's last text contains this word, which is in lower case.
    fn contains_word(&self, word: &str) -> bool {
        self.user.split(|c: char| !c.is_alphanumeric()).any(|own| own.eq_ignore_ascii_case(word))
    }

    fn calls(&self) -> Vec<ToolCall> {
        let call = |tool: &Tool| ToolCall { name: tool.name.clone(), arguments: arguments(&tool.schema) };
        let text = self.user.to_lowercase();
        let forced = match &self.choice {
            ToolChoice::None => return Vec::new(),
            ToolChoice::Named(name) => return self.tools.iter().filter(|tool| tool.name == *name).map(call).collect(),
            ToolChoice::Any => true,
            ToolChoice::Auto => false,
        };
        let meant = self.tools.iter().find(|tool| mentions(&text, &tool.name));
        if !forced && meant.is_none() && !text.contains("tool") && !text.contains("function") {
            return Vec::new();
        }
        if text.contains("parallel") {
            return self.tools.iter().map(call).collect();
        }
        meant.or(self.tools.first()).map(call).into_iter().collect()
    }
}

impl Answer {
    /// The whole text.
    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }

    /// Tokens of the reply, with its reasoning.
    pub(super) fn output_tokens(&self) -> u64 {
        self.reply_tokens + self.reasoning_tokens
    }
}

impl Media {
    fn add(&mut self, other: Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own += more;
        }
    }
}

/// ` (with 2 images and 1 document)`; nothing when there is none.
impl std::fmt::Display for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = KINDS.iter().zip(self.0).filter(|(_, count)| *count > 0);
        let parts: Vec<String> =
            named.map(|((name, _), count)| format!("{count} {name}{}", if count == 1 { "" } else { "s" })).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " (with {})", parts.join(" and ")) }
    }
}

/// The position of the first stop sequence in the text, and the sequence.
fn first_stop<'a>(text: &str, stops: &'a [String]) -> Option<(usize, &'a str)> {
    let found = stops.iter().filter(|stop| !stop.is_empty());
    found.filter_map(|stop| Some((text.find(stop.as_str())?, stop.as_str()))).min_by_key(|(at, _)| *at)
}

/// The strings of a list, or a single string as a list.
pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Whether the user's text (in lower case) contains a word of the tool's name of more than three letters:
/// `weather` of `get_weather`.
fn mentions(text: &str, tool: &str) -> bool {
    let name = tool.to_lowercase();
    text.contains(&name) || name.split(|c: char| !c.is_alphanumeric()).any(|word| word.len() > 3 && text.contains(word))
}

/// Arguments that fit a schema; always an object.
fn arguments(schema: &Value) -> Value {
    match sample::value(schema) {
        value @ Value::Object(_) => value,
        _ => serde_json::json!({}),
    }
}

/// Repeats the words of a text until there are `count`.
fn repeat(words: &[String], count: usize) -> Vec<String> {
    let spaced = words.iter().map(|word| format!("{} ", word.trim_end())).cycle();
    let mut pieces: Vec<String> = spaced.take(count).collect();
    if let Some(last) = pieces.last_mut() {
        last.truncate(last.trim_end().len());
    }
    pieces
}

/// Cuts a text at its limit. Returns its tokens, and whether it was cut.
fn shorten(pieces: &mut Vec<String>, limit: u64) -> (u64, bool) {
    let mut total = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let cost = tokens(piece);
        if total + cost > limit {
            pieces.truncate(index);
            return (total, true);
        }
        total += cost;
    }
    (total, false)
}

/// The tokens of a text: one for each word (one more for each started dozen of bytes beyond the first), for each other
/// character that is not a space, and for each end of line.
pub(super) fn tokens(text: &str) -> u64 {
    let mut total = 0;
    let mut word = 0_usize;
    for c in text.chars() {
        if c.is_alphanumeric() {
            word += c.len_utf8();
            continue;
        }
        total += word.div_ceil(WORD_BYTES) as u64 + u64::from(c == '\n' || !c.is_whitespace());
        word = 0;
    }
    total + word.div_ceil(WORD_BYTES) as u64
}

/// Splits a text in two, as the arguments of a tool call are streamed.
pub(super) fn halves(text: &str) -> [&str; 2] {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.split_at(middle).into()
}

/// An embedding of length 1, made from the text's hash: equal texts are equal, others are unrelated.
pub(super) fn vector(text: &str, dimensions: u64) -> Vec<f64> {
    let mut state = received::fnv(text.bytes());
    let mut next = || {
        state = received::fnv(state.to_le_bytes().into_iter());
        f64::from(i16::from_le_bytes([state.to_le_bytes()[0], state.to_le_bytes()[5]]))
    };
    let numbers: Vec<f64> = (0..dimensions).map(|_| next()).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt().max(1.0);
    // Seven digits are what 32 bits can hold; more would only make the JSON longer.
    numbers.into_iter().map(|number| (number / length * 1e7).round() / 1e7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_the_guide_are_those_it_prints() {
        let check = |text: &str, expect: u64| assert_eq!(tokens(text), expect, "{text:?}");
        check(GUIDE.0, 8);
        check(GUIDE.1, 9);
        check("", 0);
        check("  ", 0);
        check("internationalisation", 2);
        check("{\"a\":1}", 7);
        check("日本語日本", 2);
    }

    #[test]
    fn pieces_cost_what_their_text_costs() {
        let text = "One, two\nthree  four-five. ";
        let pieces: u64 = text.split_inclusive(' ').map(tokens).sum();
        assert_eq!(pieces, tokens(text));
    }

    #[test]
    fn a_limit_ends_the_text() {
        let mut pieces = vec!["one ".to_owned(), "two, ".to_owned(), "three".to_owned()];
        assert_eq!(shorten(&mut pieces, 2), (1, true));
        assert_eq!(pieces, ["one "]);
        assert_eq!(shorten(&mut pieces, 1), (1, false));
    }

    #[test]
    fn the_first_stop_counts() {
        let stops = ["four".to_owned(), String::new(), "two".to_owned()];
        assert_eq!(first_stop("one two three four", &stops), Some((4, "two")));
        assert_eq!(first_stop("one", &stops), None);
    }

    #[test]
    fn media_are_counted_by_kind_and_belong_to_the_turn_they_stand_in() {
        let mut prompt = Prompt::default();
        for kind in ["image_url", "application/pdf", "image/png", "input_audio", "tool_reference"] {
            prompt.media(kind);
        }
        prompt.user("Say: hi");
        assert_eq!(prompt.text(), "hi (with 2 images and 1 document and 1 audio clip)");
        prompt.media("image");
        prompt.result("sunny");
        assert_eq!(prompt.text(), "The tool answered: sunny (with 1 image)");
        prompt.user("Say: bye");
        assert_eq!(prompt.text(), "bye");
    }

    #[test]
    fn a_tool_is_meant_by_a_word_of_its_name() {
        assert!(mentions("what is the weather in paris?", "get_weather"));
        assert!(!mentions("get me a coffee", "get_weather"));
    }
}
