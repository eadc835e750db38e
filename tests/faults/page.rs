//! The table of faults in the manual, made of what the run has seen.

use std::{fs, path::Path};

use crate::{
    cell::{Api, Kind, Seen, Size},
    provider::Mode,
};

/// The lines of one fault: one for both forms of reply, or one for each where they differ.
pub fn lines(fault: &str, results: &[(&str, Vec<(Kind, Seen)>)]) -> Vec<String> {
    let (_, seen) = results.iter().find(|(name, _)| *name == fault).unwrap();
    let of = |mode, api, second| {
        let wanted = Kind { mode, api, size: Size::KiB, second };
        seen.iter().find(|(kind, _)| *kind == wanted).map(|(_, seen)| seen)
    };
    let line = |mode| {
        let (alone, second) = (of(mode, Api::Same, false)?, of(mode, Api::Same, true)?);
        let translated = of(mode, Api::Translated, false)?;
        let translated =
            if translated.reply == alone.reply { String::new() } else { format!("; translated: {}", translated.reply) };
        let Seen { reply, requests, counted, cools } = alone;
        Some(format!("{reply}{translated} | {} | {requests} | {counted} | {cools} |", second.reply))
    };
    match (line(Mode::Buffered), line(Mode::Streaming)) {
        (Some(buffered), Some(streaming)) if buffered == streaming => vec![format!("| {fault} | both | {buffered}")],
        (buffered, streaming) => [("buffered", buffered), ("stream", streaming)]
            .into_iter()
            .filter_map(|(form, line)| Some(format!("| {fault} | {form} | {}", line?)))
            .collect(),
    }
}

/// Fails unless these are the lines of the manual's table. `UPDATE_DOCS=1` writes them.
pub fn compare(expected: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let manual = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = manual.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("| fault | reply | ")).expect("there is a table") + 2;
    let rows = lines[first..].iter().take_while(|line| line.starts_with('|')).count();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let expected = expected.iter().map(String::as_str);
        let rest = lines[first + rows..].iter().copied();
        let all: Vec<&str> = lines[..first].iter().copied().chain(expected).chain(rest).collect();
        fs::write(path, all.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(lines[first..first + rows], *expected, "run with UPDATE_DOCS=1");
}
