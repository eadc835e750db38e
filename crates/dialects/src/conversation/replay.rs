//! Replays a buffered reply as a stream: for a client that requests a stream where the provider does not stream.

use super::{BlockStart, Content, Event, Part, Reply, Text};

impl Reply<'_> {
    /// Passes the reply to `sink` event by event, to its end.
    pub fn replay(&self, sink: &mut dyn FnMut(Event<'_>)) {
        let again = |text: &Option<Text<'_>>| text.as_ref().map(|t| t.clone().into_owned());
        sink(Event::Start { id: again(&self.id), model: again(&self.model), usage: self.usage });
        for name in self.lost.names() {
            sink(Event::Unsupported(name.clone()));
        }
        for (choice, answer) in (0..).zip(&self.choices) {
            // Log-probabilities come before the text they belong to, as with providers that stream them.
            if !answer.logprobs.is_empty() {
                sink(Event::Logprobs { choice, tokens: answer.logprobs.clone() });
            }
            for (block, part) in (0..).zip(&answer.parts) {
                part.replay(choice, block, sink);
            }
            sink(Event::Finish { choice, reason: answer.finish, stop_sequence: answer.stop_sequence.clone() });
        }
        sink(Event::Usage(self.usage));
        sink(Event::End);
    }
}

impl Part<'_> {
    /// Passes the part to `sink` as a block of its own. Results are not passed.
    pub fn replay(&self, choice: u32, block: u32, sink: &mut dyn FnMut(Event<'_>)) {
        let empty = Text::from("");
        let (opened, text, citations, signature) = match &self.content {
            Content::Text { text, citations, signature } => {
                (BlockStart::Text, text.reborrow(), citations.as_slice(), signature.as_ref())
            }
            Content::Refusal(text) => (BlockStart::Refusal, text.reborrow(), &[][..], None),
            Content::Thinking { text, signature } => {
                (BlockStart::Thinking, text.reborrow(), &[][..], signature.as_ref())
            }
            Content::Redacted(signature) => (BlockStart::Redacted(signature.clone()), empty, &[][..], None),
            Content::Call(call) => {
                let (id, name) = (call.id.reborrow(), call.name.reborrow());
                let start = BlockStart::Call { id, name, signature: call.signature.clone() };
                (start, Text::from(&*call.arguments), &[][..], None)
            }
            Content::Hosted(call) => (BlockStart::Hosted(call.clone()), empty, &[][..], None),
            Content::Media(media) => (BlockStart::Media(Box::new(media.clone())), empty, &[][..], None),
            // No model answers with results.
            Content::Result(_) => return,
        };
        sink(Event::Open { choice, block, opened });
        if !text.is_empty() {
            sink(Event::Delta { choice, block, text });
        }
        for citation in citations {
            sink(Event::Citation { choice, block, citation: citation.clone() });
        }
        if let Some(signature) = signature.cloned() {
            sink(Event::Signature { choice, block, signature });
        }
        sink(Event::Close { choice, block });
    }
}
