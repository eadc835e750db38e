//! Tables of text slots: the rows that a dialect defines, and the tree of paths along which a body is walked.

use super::TextKind;

/// One place of a wire format with text, or a place that determines a property of such text.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The object that the path begins at, in tables where several objects have the same rows: its own path, with a
    /// `.` at its end.
    pub within: &'static str,
    /// The place: field names joined with `.`, `[]` for each element of an array, and `.**` at the end for every string
    /// and number inside.
    pub path: &'static str,
    /// A further condition of the place.
    pub when: When,
    /// The kind of the text.
    pub kind: TextKind,
    /// Whether the `role` of an enclosing object decides the kind of the text, instead of [`kind`](Self::kind).
    pub by_role: bool,
    /// The effect of the place.
    pub role: SlotRole,
    /// Whether the text is a JSON document, whose strings and numbers are examined one by one.
    pub json: bool,
    /// A field beside the text that signs it: changing the text invalidates the signature.
    pub signed_by: Option<&'static str>,
    /// Number of the answer that the text belongs to.
    pub choice: Number,
    /// Number of the block in the answer.
    pub block: Number,
    /// Number of the part in the block.
    pub part: Number,
    /// For deltas: the event that carries text of this block, for text that no event of the provider can carry.
    /// `$text`, `$choice`, `$block` and `$part` are the text and the block's numbers, `@name` is that field of the
    /// provider's events.
    pub shape: Option<Shape>,
}

/// The shape of an event that is made for text that was held back.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The event's name, where the framing has one.
    pub name: Option<&'static str>,
    /// Its JSON, with placeholders.
    pub json: &'static str,
}

/// A condition of a row. Rows of one path are tried in their order.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// None.
    Always,
    /// The object that the place is a field of has this field with this value: a string's text, or `true`.
    Field(&'static str, &'static str),
    /// The event has this name.
    Event(&'static str),
}

/// The effect of a row on its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRole {
    /// More text of a block; in a body that is not streamed, all of it or a part.
    Delta,
    /// All text of a block, repeated.
    Repeat,
    /// Text that is complete in itself.
    Whole,
    /// A field that repeats text in a form that can't be filtered, such as log-probabilities of tokens: it is replaced
    /// by this.
    Erase(&'static str),
    /// A value here, unless it is null or empty, ends the block with these numbers.
    EndBlock,
    /// A value here ends all blocks of the answer, unless the next event brings more of its text.
    EndChoice,
    /// A value here ends all blocks.
    EndAll,
}

/// Where a number of a block is found.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// It is this number.
    Is(u32),
    /// In this field of the top-level object.
    Top(&'static str),
    /// In this field of the element of the path's n-th array; the element's position where the field is absent or
    /// empty.
    Element(u8, &'static str),
    /// Each place has a number of its own.
    Place,
}

const ROW: Row = Row {
    within: "",
    path: "",
    when: When::Always,
    kind: TextKind::Answer,
    by_role: false,
    role: SlotRole::Delta,
    json: false,
    signed_by: None,
    choice: Number::Is(0),
    block: Number::Is(0),
    part: Number::Is(0),
    shape: None,
};

/// A row for text that is a block, or a part of one.
pub(in crate::dialect) const fn delta(path: &'static str, kind: TextKind) -> Row {
    Row { path, kind, ..ROW }
}

/// A row for text that repeats a block.
pub(in crate::dialect) const fn repeat(path: &'static str, kind: TextKind) -> Row {
    Row { path, kind, role: SlotRole::Repeat, ..ROW }
}

/// A row for text that is complete in itself.
pub(in crate::dialect) const fn whole(path: &'static str, kind: TextKind) -> Row {
    Row { path, kind, role: SlotRole::Whole, block: Number::Place, ..ROW }
}

/// A row for a value that is replaced by `with`.
pub(in crate::dialect) const fn erase(path: &'static str, with: &'static str) -> Row {
    Row { path, role: SlotRole::Erase(with), ..ROW }
}

/// A row for a value that ends blocks.
pub(in crate::dialect) const fn end(path: &'static str, role: SlotRole) -> Row {
    Row { path, role, ..ROW }
}

impl Row {
    pub(in crate::dialect) const fn when(mut self, field: &'static str, value: &'static str) -> Self {
        self.when = When::Field(field, value);
        self
    }

    pub(in crate::dialect) const fn event(mut self, name: &'static str) -> Self {
        self.when = When::Event(name);
        self
    }

    pub(in crate::dialect) const fn by_role(mut self) -> Self {
        self.by_role = true;
        self
    }

    pub(in crate::dialect) const fn json(mut self) -> Self {
        self.json = true;
        self
    }

    pub(in crate::dialect) const fn signed_by(mut self, field: &'static str) -> Self {
        self.signed_by = Some(field);
        self
    }

    pub(in crate::dialect) const fn choice(mut self, number: Number) -> Self {
        self.choice = number;
        self
    }

    pub(in crate::dialect) const fn block(mut self, number: Number) -> Self {
        self.block = number;
        self
    }

    pub(in crate::dialect) const fn part(mut self, number: Number) -> Self {
        self.part = number;
        self
    }

    pub(in crate::dialect) const fn shape(mut self, name: Option<&'static str>, json: &'static str) -> Self {
        self.shape = Some(Shape { name, json });
        self
    }
}

/// The rows of one table, as a tree of paths.
#[derive(Debug)]
pub struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) nodes: Vec<Node>,
    /// Fields beside their place that rows need.
    pub(super) facts: Vec<&'static str>,
    /// Whether some row repeats text, so that released text must be kept.
    pub(super) repeats: bool,
}

/// A node on the path to rows.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) fields: Vec<(&'static str, usize)>,
    pub(super) element: Option<usize>,
    /// Rows whose path ends here.
    pub(super) rows: Vec<usize>,
    /// Rows for all strings and numbers inside.
    pub(super) leaves: Vec<usize>,
}

/// The node of the top-level object.
pub(super) const ROOT: usize = 0;

impl Table {
    /// The tree of `rows`.
    pub fn new(rows: &[Row]) -> Self {
        Self::of(&[("", rows)])
    }

    /// The tree of several groups of rows, each with the object that its paths begin at (see [`Row::within`]).
    pub fn of(groups: &[(&'static str, &[Row])]) -> Self {
        let inside = |(within, rows): &(&'static str, &[Row])| rows.iter().map(|row| Row { within, ..*row }).collect();
        let rows: Vec<Row> = groups.iter().flat_map::<Vec<Row>, _>(inside).collect();
        let repeats = rows.iter().any(|row| row.role == SlotRole::Repeat);
        let mut table = Self { rows: Vec::new(), nodes: vec![Node::default()], facts: Vec::new(), repeats };
        for (index, row) in rows.iter().enumerate() {
            table.insert(index, row);
            if row.by_role {
                table.fact("role");
            }
            if let When::Field(field, _) = row.when {
                table.fact(field);
            }
            if let Some(field) = row.signed_by {
                table.fact(field);
            }
            for number in [row.choice, row.block, row.part] {
                if let Number::Top(field) | Number::Element(_, field) = number {
                    table.fact(field);
                }
            }
        }
        Self { rows, ..table }
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn insert(&mut self, index: usize, row: &Row) {
        let (path, leaves) = row.path.strip_suffix(".**").map_or((row.path, false), |path| (path, true));
        let mut node = ROOT;
        for segment in row.within.split_terminator('.').chain(path.split('.')) {
            let name = segment.trim_end_matches("[]");
            node = self.field(node, name);
            for _ in 0..(segment.len() - name.len()) / 2 {
                node = self.element(node);
            }
        }
        if let Some(node) = self.nodes.get_mut(node) {
            if leaves { node.leaves.push(index) } else { node.rows.push(index) }
        }
    }

    fn field(&mut self, parent: usize, name: &'static str) -> usize {
        if let Some(found) = self.child(parent, name) {
            return found;
        }
        let new = self.add();
        if let Some(node) = self.nodes.get_mut(parent) {
            node.fields.push((name, new));
        }
        new
    }

    fn element(&mut self, parent: usize) -> usize {
        if let Some(found) = self.nodes.get(parent).and_then(|node| node.element) {
            return found;
        }
        let new = self.add();
        if let Some(node) = self.nodes.get_mut(parent) {
            node.element = Some(new);
        }
        new
    }

    fn add(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// The node of a field of the object at `parent`.
    pub(super) fn child(&self, parent: usize, name: &str) -> Option<usize> {
        self.nodes.get(parent)?.fields.iter().find(|(field, _)| *field == name).map(|(_, child)| *child)
    }

    /// The index of the field among the fields that rows need.
    pub(super) fn fact_of(&self, name: &str) -> Option<usize> {
        self.facts.iter().position(|fact| *fact == name)
    }

    fn fact(&mut self, name: &'static str) {
        if !name.is_empty() && self.fact_of(name).is_none() {
            self.facts.push(name);
        }
    }
}
