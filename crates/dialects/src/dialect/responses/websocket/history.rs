//! The conversation of a connection's latest responses.

/// The items of each lane's latest response: the input that led to it, and its output.
///
/// OpenAI keeps the same. A response is found by its id from any lane, so that a lane may begin with that of another.
#[derive(Debug)]
pub struct Histories {
    latest: Vec<Latest>,
    limit: usize,
}

#[derive(Debug)]
struct Latest {
    lane: Option<String>,
    id: String,
    /// Elements of a JSON array, without its brackets.
    items: Vec<u8>,
}

impl Histories {
    /// No history. A conversation over `limit` bytes is not kept: it could not be sent as a request either.
    pub const fn new(limit: usize) -> Self {
        Self { latest: Vec::new(), limit }
    }

    /// The longest conversation that is kept.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The bytes of all conversations.
    pub fn bytes(&self) -> usize {
        self.latest.iter().map(|latest| latest.items.len()).sum()
    }

    /// How many lanes have a response, apart from `lane`.
    pub(super) fn lanes_beside(&self, lane: &str) -> usize {
        self.latest.iter().filter_map(|latest| latest.lane.as_deref()).filter(|other| *other != lane).count()
    }

    /// The items of the response with this id.
    pub(super) fn find(&self, id: &str) -> Option<&[u8]> {
        self.latest.iter().find(|latest| latest.id == id).map(|latest| &*latest.items)
    }

    /// Keeps a response as the latest of its lane: `input` led to it, and `output` is its own. Both are elements of a
    /// JSON array.
    pub fn remember(&mut self, lane: Option<String>, id: String, mut input: Vec<u8>, output: &[u8]) {
        self.forget(lane.as_deref());
        append(&mut input, output);
        if input.len() <= self.limit {
            // It stays for as long as the connection rests.
            input.shrink_to_fit();
            self.latest.push(Latest { lane, id, items: input });
        }
    }

    /// Forgets the response of `lane`.
    pub fn forget(&mut self, lane: Option<&str>) {
        self.latest.retain(|latest| latest.lane.as_deref() != lane);
    }
}

/// Appends elements of a JSON array to others.
pub(super) fn append(items: &mut Vec<u8>, more: &[u8]) {
    if !items.is_empty() && !more.is_empty() {
        items.push(b',');
    }
    items.extend_from_slice(more);
}
