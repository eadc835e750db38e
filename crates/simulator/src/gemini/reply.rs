//! Replies of `generateContent` and their streams.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::read::field;
use crate::answer::{Answer, FinishReason, halves, tokens};
use crate::sign::{SignatureOrigin, signature};
use crate::wire::{Node, ordered};

/// The log probability of every token.
const LOGPROB: f64 = -0.017_732_446_392_377_216;

/// The image of every answer that has one.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Whether a model makes images.
pub(super) fn draws(model: &str) -> bool {
    model.contains("-image")
}

/// Most candidates of one reply.
const MOST_CANDIDATES: u64 = 8;

/// A reply of `generateContent`.
pub(super) struct Generation<'a> {
    id: u64,
    model: &'a str,
    answer: Answer,
    candidates: u64,
    /// Whether the reply shows the reasoning.
    shows_reasoning: bool,
    /// Whether calls carry a signature.
    signs: bool,
    /// Whether the answer has an image.
    draws: bool,
    /// Number of alternatives for each token, when log probabilities are requested.
    logprobs: Option<u64>,
}

impl<'a> Generation<'a> {
    pub(super) fn new(id: u64, model: &'a str, answer: Answer, body: &Value) -> Self {
        let config = field(body, "generationConfig").unwrap_or(&Value::Null);
        let thinking = field(config, "thinkingConfig").unwrap_or(&Value::Null);
        let flag = |from: &Value, name: &str| field(from, name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| field(config, name).and_then(Value::as_u64);
        let signs = answer.reasoning.is_some() || model.contains("gemini-3");
        Self {
            id,
            model,
            answer,
            candidates: number("candidateCount").unwrap_or(1).clamp(1, MOST_CANDIDATES),
            shows_reasoning: flag(thinking, "includeThoughts"),
            signs,
            draws: draws(model),
            logprobs: flag(config, "responseLogprobs").then(|| number("logprobs").unwrap_or(0)),
        }
    }

    /// The reply as one document.
    pub(super) fn buffered(&self) -> Node {
        let candidate = |index: u64| {
            let content = content(self.parts());
            let mut candidate = self.indexed(self.finished(content), index).and("avgLogprobs", LOGPROB);
            if let Some(most) = self.logprobs {
                candidate = candidate.and("logprobsResult", logprobs(&self.answer.pieces, most));
            }
            candidate
        };
        self.response((0..self.candidates).map(candidate).collect(), self.answer.reply_tokens)
    }

    /// The reply in the pieces in which it streams.
    pub(super) fn chunks(&self) -> Vec<Node> {
        let mut chunks: Vec<Node> = Vec::with_capacity(self.answer.pieces.len() + 4);
        for index in 0..self.candidates {
            let mut spent = 0;
            let chunk = |part: Node, spent: u64, logprobs: Option<Node>| {
                let mut candidate = self.indexed(content(vec![part]), index);
                if let Some(logprobs) = logprobs {
                    candidate = candidate.and("logprobsResult", logprobs);
                }
                self.response(vec![candidate], spent)
            };
            if let Some(reasoning) = self.answer.reasoning.as_deref().filter(|_| self.shows_reasoning) {
                chunks.extend(halves(reasoning).map(|half| chunk(reasoning_part(half), 0, None)));
            }
            if self.answer.end != FinishReason::Refused {
                for piece in &self.answer.pieces {
                    spent += tokens(piece);
                    let listed = self.logprobs.map(|most| logprobs(std::slice::from_ref(piece), most));
                    chunks.push(chunk(ordered!({"text": piece}), spent, listed));
                }
            }
            chunks.extend(self.image().map(|image| chunk(image, spent, None)));
            chunks.extend(self.calls().into_iter().map(|call| chunk(call, self.answer.reply_tokens, None)));
            let last = ordered!({"text": ""});
            let signed = self.answer.reasoning.is_some() && self.answer.calls.is_empty();
            let last = if signed { last.and("thoughtSignature", self.signature()) } else { last };
            let last = self.indexed(self.finished(content(vec![last])), index);
            chunks.push(self.response(vec![last], self.answer.reply_tokens));
        }
        chunks
    }

    fn parts(&self) -> Vec<Node> {
        let reasoning = self.answer.reasoning.as_deref().filter(|_| self.shows_reasoning);
        let mut parts: Vec<Node> = reasoning.map(reasoning_part).into_iter().collect();
        if self.answer.calls.is_empty() {
            let text = ordered!({"text": (self.answer.text())});
            let signed = self.answer.reasoning.is_some();
            parts.push(if signed { text.and("thoughtSignature", self.signature()) } else { text });
        }
        parts.extend(self.image());
        parts.extend(self.calls());
        parts
    }

    /// The image of a model that makes images, signed as those of Gemini 3 are.
    fn image(&self) -> Option<Node> {
        let part = || ordered!({"inlineData": {"mimeType": "image/png", "data": PIXEL}});
        self.draws.then(|| if self.signs { part().and("thoughtSignature", self.signature()) } else { part() })
    }

    /// The calls. The first one is signed while thinking is on.
    fn calls(&self) -> Vec<Node> {
        let calls = self.answer.calls.iter().enumerate().map(|(number, call)| {
            let id = format!("call_{:016x}{number}", self.id);
            let call = ordered!({"id": id, "name": (&call.name), "args": (call.arguments.clone())});
            let part = ordered!({"functionCall": call});
            if self.signs && number == 0 { part.and("thoughtSignature", self.signature()) } else { part }
        });
        calls.collect()
    }

    fn signature(&self) -> String {
        signature(SignatureOrigin::Gemini, self.answer.reasoning.as_deref().unwrap_or_default())
    }

    /// A finished candidate. A refusal has no content.
    fn finished(&self, candidate: Node) -> Node {
        match self.answer.end {
            FinishReason::Refused => {
                let rating = ordered!({
                    "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true,
                });
                ordered!({"finishReason": "SAFETY", "safetyRatings": [rating]})
            }
            FinishReason::Limit => candidate.and("finishReason", "MAX_TOKENS"),
            _ => candidate.and("finishReason", "STOP"),
        }
    }

    /// Adds the index where there are several candidates.
    fn indexed(&self, candidate: Node, index: u64) -> Node {
        if self.candidates > 1 { candidate.and("index", index) } else { candidate }
    }

    fn response(&self, candidates: Vec<Node>, reply_tokens: u64) -> Node {
        let bytes = [self.id.to_le_bytes(), self.id.rotate_left(17).to_le_bytes()].concat();
        let response_id = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        ordered!({
            "candidates": candidates, "usageMetadata": (self.usage(reply_tokens)), "modelVersion": (self.model),
            "responseId": response_id,
        })
    }

    fn usage(&self, reply_tokens: u64) -> Node {
        let (prompt, reasoning) = (self.answer.prompt_tokens, self.answer.reasoning_tokens);
        let reply = reply_tokens * self.candidates;
        let usage = ordered!({
            "promptTokenCount": prompt,
            "candidatesTokenCount": reply,
            "totalTokenCount": (prompt + reply + reasoning),
            "promptTokensDetails": (details(prompt)),
            "candidatesTokensDetails": (details(reply)),
        });
        if self.answer.reasoning.is_some() { usage.and("thoughtsTokenCount", reasoning) } else { usage }
    }
}

fn content(parts: Vec<Node>) -> Node {
    ordered!({"content": {"parts": parts, "role": "model"}})
}

fn reasoning_part(text: &str) -> Node {
    ordered!({"text": text, "thought": true})
}

/// Tokens by modality; all count as text.
pub(super) fn details(tokens: u64) -> Node {
    ordered!([{"modality": "TEXT", "tokenCount": tokens}])
}

fn logprobs(pieces: &[String], most: u64) -> Node {
    let token = |piece: &String| ordered!({"token": piece, "tokenId": (tokens(piece)), "logProbability": LOGPROB});
    let chosen: Vec<Node> = pieces.iter().map(token).collect();
    let top = pieces.iter().filter(|_| most > 0).map(|piece| ordered!({"candidates": [(token(piece))]}));
    let top: Vec<Node> = top.collect();
    ordered!({"topCandidates": top, "chosenCandidates": chosen})
}
