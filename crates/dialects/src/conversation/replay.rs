//! A whole reply told as a stream: for a client that asked for one and a provider that did not give it.

use super::{BlockStart, Content, Event, Part, Reply, Text};

impl Reply<'_> {
    /// Tells the reply event by event, to its end.
    pub fn replay(&self, sink: &mut dyn FnMut(Event<'_>)) {
        let again = |text: &Option<Text<'_>>| text.as_ref().map(|t| t.clone().into_owned());
        sink(Event::Start { id: again(&self.id), model: again(&self.model), usage: self.usage });
        for name in self.lost.names() {
            sink(Event::Unsupported(name.clone()));
        }
        for (choice, answer) in (0..).zip(&self.choices) {
            // In front of the text they belong to, as providers that stream them do.
            if !answer.logprobs.is_empty() {
                sink(Event::Logprobs { choice, tokens: answer.logprobs.clone() });
            }
            for (block, part) in (0..).zip(&answer.parts) {
                replay_part(part, choice, block, sink);
            }
            sink(Event::Finish { choice, reason: answer.finish, stop_sequence: answer.stop_sequence.clone() });
        }
        sink(Event::Usage(self.usage));
        sink(Event::End);
    }
}

fn replay_part(part: &Part<'_>, choice: u32, block: u32, sink: &mut dyn FnMut(Event<'_>)) {
    let delta = |text: Text<'_>, sink: &mut dyn FnMut(Event<'_>)| {
        if !text.is_empty() {
            sink(Event::Delta { choice, block, text });
        }
    };
    match &part.content {
        Content::Text { text, citations, signature } => {
            sink(Event::Open { choice, block, opened: BlockStart::Text });
            delta(text.reborrow(), sink);
            for citation in citations {
                sink(Event::Citation { choice, block, citation: citation.clone() });
            }
            if let Some(signature) = signature.clone() {
                sink(Event::Signature { choice, block, signature });
            }
        }
        Content::Refusal(text) => {
            sink(Event::Open { choice, block, opened: BlockStart::Refusal });
            delta(text.reborrow(), sink);
        }
        Content::Thinking { text, signature } => {
            sink(Event::Open { choice, block, opened: BlockStart::Thinking });
            delta(text.reborrow(), sink);
            if let Some(signature) = signature.clone() {
                sink(Event::Signature { choice, block, signature });
            }
        }
        Content::Redacted(signature) => {
            sink(Event::Open { choice, block, opened: BlockStart::Redacted(signature.clone()) });
        }
        Content::Call(call) => {
            let opened = BlockStart::Call {
                id: call.id.reborrow(),
                name: call.name.reborrow(),
                signature: call.signature.clone(),
            };
            sink(Event::Open { choice, block, opened });
            delta(Text::from(&*call.arguments), sink);
        }
        // Streams have no word for media, and no model answers with results.
        Content::Media(media) => return sink(Event::Unsupported(media.kind.as_str().into())),
        Content::Result(_) => return,
    }
    sink(Event::Close { choice, block });
}
