//! Splits a YAML stream into its documents, so that one that does not parse does not affect the others.

/// One document of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The line of the file it starts at, from 1.
    pub line: usize,
    /// Its text, with its own `---` line and directives.
    pub text: &'a str,
}

/// The documents of `text` that hold more than comments. YAML forbids `---` and `...` at the start of a line inside any
/// scalar, so looking at line starts is enough.
pub(super) fn documents(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    Splitter { rest: text, line: 1 }.filter(|chunk| !is_blank(chunk.text))
}

struct Splitter<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Iterator for Splitter<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (start, whole) = (self.line, self.rest);
        let mut end = 0;
        // Comments and directives before the first `---` belong to the document that follows.
        let mut begun = false;
        for line in whole.split_inclusive('\n') {
            if is_marker(line, "---") {
                if begun {
                    return Some(self.cut(start, end, end));
                }
                begun = true;
            } else if is_marker(line, "...") {
                self.line += 1;
                return Some(self.cut(start, end, end + line.len()));
            } else if !is_preamble(line) {
                begun = true;
            }
            end += line.len();
            self.line += 1;
        }
        Some(self.cut(start, end, end))
    }
}

impl<'a> Splitter<'a> {
    fn cut(&mut self, line: usize, end: usize, next: usize) -> Chunk<'a> {
        let text = self.rest.get(..end).unwrap_or_default();
        self.rest = self.rest.get(next..).unwrap_or_default();
        Chunk { line, text }
    }
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_preamble(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with('%')
}

/// Whether a document is nothing but comments and an empty `---` line.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| is_preamble(after_marker(line)))
}

/// The first line of a document, from 1, that holds more than a comment or a marker.
pub(super) fn content_line(text: &str) -> usize {
    1 + text.lines().position(|line| !is_preamble(after_marker(line))).unwrap_or_default()
}

fn after_marker(line: &str) -> &str {
    if is_marker(line, "---") { line.strip_prefix("---").unwrap_or_default() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(usize, &str)]) {
        let got: Vec<_> = documents(text).map(|c| (c.line, c.text)).collect();
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn documents_start_at_line_starts_only() {
        check("", &[]);
        check("\n\n# nothing\n", &[]);
        check("---\n---\n# c\n---\n", &[]);
        check("a: 1", &[(1, "a: 1")]);
        check("a: 1\n---\nb: 2\n", &[(1, "a: 1\n"), (2, "---\nb: 2\n")]);
        check("---\na: 1\n---\nb: 2\n", &[(1, "---\na: 1\n"), (3, "---\nb: 2\n")]);
        check("a: 1\r\n---\r\nb: 2\r\n", &[(1, "a: 1\r\n"), (2, "---\r\nb: 2\r\n")]);
        // Indented inside a block scalar, or longer than a marker: not a separator.
        check("a: |\n  x\n  ---\n  y\n----\n", &[(1, "a: |\n  x\n  ---\n  y\n----\n")]);
        // Content and comments on the marker's own line.
        check("--- {a: 1}\n--- # c\nb: 2\n", &[(1, "--- {a: 1}\n"), (2, "--- # c\nb: 2\n")]);
        // An end marker, with a directive for the next document.
        check("a: 1\n...\n%YAML 1.2\n---\nb: 2\n", &[(1, "a: 1\n"), (3, "%YAML 1.2\n---\nb: 2\n")]);
        check("# head\n---\na: 1\n...", &[(1, "# head\n---\na: 1\n")]);
    }
}
