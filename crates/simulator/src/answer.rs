//! What the model says: deterministic text, tool calls and token counts.

use serde_json::Value;

use super::{Ask, received, sample};

/// Bytes of a word that cost one token; a longer word costs one more for each started dozen.
const WORD_BYTES: usize = 12;

/// What an image, a file or a sound costs, whatever its size.
const MEDIA_TOKENS: u64 = 256;

/// Longest part of a prompt that the default reply quotes, in characters.
const QUOTE_CHARS: usize = 80;

/// The question of the getting-started guide, and the reply that its text shows.
const GUIDE: (&str, &str) =
    ("Explain how AI works in a few words", "Learning patterns from data to make predictions.\n");

/// What a model says that will not.
pub(super) const REFUSAL: &str = "I can't help with that.";

/// Words of the prompt that a thought quotes.
const THOUGHT_WORDS: usize = 6;

/// What a request says to the model, in whichever dialect it was written.
#[derive(Default)]
pub(super) struct Prompt {
    tokens: u64,
    user: String,
    results: Vec<String>,
    /// Media seen since the last turn was closed.
    pending: Media,
    /// Media of the turn that is answered.
    media: Media,
    /// Functions the model may call.
    pub(super) tools: Vec<Tool>,
    /// Whether it may, or must.
    pub(super) choice: Choice,
    /// Schema of the reply, when the request wants JSON.
    pub(super) schema: Option<Value>,
    /// Most tokens the reply may have.
    pub(super) limit: Option<u64>,
    /// Texts that end the reply.
    pub(super) stop: Vec<String>,
    /// Whether the model is to think first.
    pub(super) thinks: bool,
}

/// How many images, documents, sounds and videos there are.
#[derive(Clone, Copy, Default)]
struct Media([usize; 4]);

/// What media are called in an answer, each with the words by which requests name it.
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
pub(super) enum Choice {
    /// When the user's words ask for one.
    #[default]
    Auto,
    /// Never.
    None,
    /// Always.
    Any,
    /// Always this one.
    Named(String),
}

/// What the model says.
#[derive(Default)]
pub(super) struct Answer {
    /// The text in the pieces in which it streams; empty when tools are called.
    pub(super) pieces: Vec<String>,
    pub(super) calls: Vec<ToolCall>,
    /// Why it ends.
    pub(super) end: End,
    /// What was thought first.
    pub(super) thought: Option<String>,
    /// Whether part of the thought is hidden.
    pub(super) redacted: bool,
    /// Whether the arguments of several calls stream in turn.
    pub(super) interleaved: bool,
    pub(super) prompt_tokens: u64,
    /// Tokens of the text or of the calls.
    pub(super) reply_tokens: u64,
    /// Tokens of the thought.
    pub(super) thought_tokens: u64,
}

/// Why a reply ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum End {
    /// All is said.
    #[default]
    Done,
    /// The limit of tokens ended the text.
    Limit,
    /// This text of the request ended it.
    Stop(String),
    /// Tools are called.
    Calls,
    /// The model will not.
    Refused,
}

/// One call of a tool.
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl Prompt {
    /// Text that only costs tokens: instructions, earlier turns.
    pub(super) fn says(&mut self, text: &str) {
        self.tokens += tokens(text);
    }

    /// What the user says; the last of these is answered.
    pub(super) fn user(&mut self, text: &str) {
        self.says(text);
        text.clone_into(&mut self.user);
        self.results.clear();
        self.media = std::mem::take(&mut self.pending);
    }

    /// What a tool returned; answered with a quote when the user said nothing since.
    pub(super) fn result(&mut self, text: &str) {
        self.says(text);
        if self.results.is_empty() {
            self.media = Media::default();
        }
        self.media.add(std::mem::take(&mut self.pending));
        self.results.push(text.to_owned());
    }

    /// An image, a file or a sound, by its type or media type; it belongs to what the user or a tool says next.
    pub(super) fn media(&mut self, kind: &str) {
        self.tokens += MEDIA_TOKENS;
        for ((_, words), count) in KINDS.iter().zip(&mut self.pending.0) {
            *count += usize::from(words.iter().any(|word| kind.contains(word)));
        }
    }

    /// A function the model may call.
    pub(super) fn tool(&mut self, name: &str, schema: Option<&Value>, definition: &Value) {
        self.says(&definition.to_string());
        let schema = schema.cloned().unwrap_or(Value::Null);
        self.tools.push(Tool { name: name.to_owned(), schema });
    }

    /// Tokens of everything said so far.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// What the model says to this.
    pub(super) fn answer(&self, ask: &Ask) -> Answer {
        let mut answer = Answer { prompt_tokens: self.tokens, ..Answer::default() };
        // Who asks for this text or for so many words wants all of it.
        let wanted = ask.text.is_some() || ask.words.is_some();
        if self.thinks && ask.text.is_none() {
            let thought = self.thought();
            answer.thought_tokens = tokens(&thought);
            answer.thought = Some(thought);
            answer.redacted = self.says_word("redacted");
        }
        if !wanted && self.results.is_empty() && self.says_word("refuse") {
            answer.end = End::Refused;
            answer.reply_tokens = tokens(REFUSAL);
            answer.pieces = REFUSAL.split_inclusive(' ').map(str::to_owned).collect();
            return answer;
        }
        if ask.text.is_none() && self.results.is_empty() {
            answer.calls = self.calls();
        }
        if !answer.calls.is_empty() {
            let cost = |call: &ToolCall| tokens(&call.name) + tokens(&call.arguments.to_string());
            answer.reply_tokens = answer.calls.iter().map(cost).sum();
            answer.interleaved = self.says_word("interleaved");
            answer.end = End::Calls;
            return answer;
        }
        let mut text = ask.text.clone().unwrap_or_else(|| self.text());
        if !wanted && let Some((at, stop)) = first_stop(&text, &self.stop) {
            text.truncate(at);
            answer.end = End::Stop(stop.to_owned());
        }
        let words = text.split_inclusive(' ').map(str::to_owned);
        answer.pieces = match ask.words {
            None => words.collect(),
            Some(count) => repeat(&words.collect::<Vec<_>>(), count),
        };
        let limit = self.limit.filter(|_| !wanted).map_or(u64::MAX, |most| most.saturating_sub(answer.thought_tokens));
        let (reply_tokens, cut_short) = shorten(&mut answer.pieces, limit);
        answer.reply_tokens = reply_tokens;
        if cut_short {
            answer.end = End::Limit;
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

    fn thought(&self) -> String {
        let words: Vec<&str> = self.user.split_whitespace().take(THOUGHT_WORDS).collect();
        let about = if words.is_empty() { "the request".to_owned() } else { words.join(" ") };
        format!("Thinking about: {about}")
    }

    /// Whether the user's last words have this one, in lower case.
    fn says_word(&self, word: &str) -> bool {
        self.user.split(|c: char| !c.is_alphanumeric()).any(|own| own.eq_ignore_ascii_case(word))
    }

    fn calls(&self) -> Vec<ToolCall> {
        let call = |tool: &Tool| ToolCall { name: tool.name.clone(), arguments: arguments(&tool.schema) };
        let said = self.user.to_lowercase();
        let forced = match &self.choice {
            Choice::None => return Vec::new(),
            Choice::Named(name) => return self.tools.iter().filter(|tool| tool.name == *name).map(call).collect(),
            Choice::Any => true,
            Choice::Auto => false,
        };
        let meant = self.tools.iter().find(|tool| mentions(&said, &tool.name));
        if !forced && meant.is_none() && !said.contains("tool") && !said.contains("function") {
            return Vec::new();
        }
        if said.contains("parallel") {
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

    /// Everything the model wrote, its thought included.
    pub(super) fn output_tokens(&self) -> u64 {
        self.reply_tokens + self.thought_tokens
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

/// Where the first of these texts stands, and which it is.
fn first_stop<'a>(text: &str, stops: &'a [String]) -> Option<(usize, &'a str)> {
    let found = stops.iter().filter(|stop| !stop.is_empty());
    found.filter_map(|stop| Some((text.find(stop.as_str())?, stop.as_str()))).min_by_key(|(at, _)| *at)
}

/// The strings of a list, or the one string there is.
pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Whether the user's words (in lower case) have a word of the tool's name that says something: `weather` of `get_weather`.
fn mentions(said: &str, tool: &str) -> bool {
    let name = tool.to_lowercase();
    said.contains(&name) || name.split(|c: char| !c.is_alphanumeric()).any(|word| word.len() > 3 && said.contains(word))
}

/// Arguments are an object, whatever the schema says.
fn arguments(schema: &Value) -> Value {
    match sample::value(schema) {
        value @ Value::Object(_) => value,
        _ => serde_json::json!({}),
    }
}

/// Exactly `count` words, those of a text over and over.
fn repeat(words: &[String], count: usize) -> Vec<String> {
    let spaced = words.iter().map(|word| format!("{} ", word.trim_end())).cycle();
    let mut pieces: Vec<String> = spaced.take(count).collect();
    if let Some(last) = pieces.last_mut() {
        last.truncate(last.trim_end().len());
    }
    pieces
}

/// Ends a text at its limit; returns what it costs and whether the limit did it.
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

/// What a text costs: one token for each word (one more for each started dozen of bytes beyond the first), for each other
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

/// A text in two pieces, as the arguments of a tool call arrive.
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
