//! Generates `docs/compatibility.md`: the features that every client dialect keeps at every provider, found by
//! translating.
//!
//! `UPDATE_DOCS=1 cargo test compatibility` writes the file; without it the test compares.

use std::{fmt::Write as _, fs, path::Path};

use tollgate_dialects::{
    conversation::{Names, Reply},
    dialect::DialectId,
    stream::TopLevel,
};

use super::{
    carried::{self, To, Verdict, judge},
    exercise::presets::{
        AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, DEEPSEEK, MISTRAL, OPENAI, VERTEX, VERTEX_CLAUDE,
    },
    fixtures::FIXTURES,
    replies::{self, NO_PLACES, REPLY_FIXTURES, both_ways, excuse},
};

/// A provider with a typical model.
struct Column {
    provider: &'static str,
    to: To,
    /// The dialects that it accepts without translation.
    native: &'static [DialectId],
}

const fn column(provider: &'static str, to: To, native: &'static [DialectId]) -> Column {
    Column { provider, to, native }
}

const OPENAI_DIALECTS: &[DialectId] = &[DialectId::Chat, DialectId::Responses];
const COLUMNS: [Column; 13] = [
    column("openai", (DialectId::Chat, OPENAI, "gpt-4.1"), OPENAI_DIALECTS),
    column("openai", (DialectId::Chat, OPENAI, "gpt-5.1"), OPENAI_DIALECTS),
    column("azureopenai", (DialectId::Chat, AZURE, "gpt-4.1"), OPENAI_DIALECTS),
    column("anthropic", (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"), &[DialectId::Messages]),
    column("anthropic", (DialectId::Messages, ANTHROPIC, "claude-opus-4-7"), &[DialectId::Messages]),
    column("gemini", (DialectId::Gemini, AI_STUDIO, "gemini-3-pro"), &[DialectId::Gemini]),
    column("vertexai", (DialectId::Gemini, VERTEX, "gemini-2.5-flash"), &[DialectId::Gemini]),
    column(
        "vertexai, Claude",
        (DialectId::Messages, VERTEX_CLAUDE, "claude-sonnet-4-5@20250929"),
        &[DialectId::Messages],
    ),
    column(
        "bedrock, Claude",
        (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        &[DialectId::Messages, DialectId::Converse],
    ),
    column("bedrock, Nova", (DialectId::Converse, BEDROCK, "amazon.nova-2-lite-v1:0"), &[DialectId::Converse]),
    column("OpenAI-compatible", (DialectId::Chat, COMPATIBLE, "llama-3.3-70b"), OPENAI_DIALECTS),
    column("Mistral", (DialectId::Chat, MISTRAL, "mistral-large-latest"), &[DialectId::Chat]),
    column("DeepSeek", (DialectId::Chat, DEEPSEEK, "deepseek-chat"), &[DialectId::Chat]),
];

/// Notes below a table, each once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// The mark of a note in a cell.
    fn mark(&mut self, note: &str) -> String {
        let at = self.0.iter().position(|known| known == note).unwrap_or_else(|| {
            self.0.push(note.to_owned());
            self.0.len() - 1
        });
        format!("<sup>{}</sup>", at + 1)
    }

    fn write(&self, out: &mut String) {
        out.push('\n');
        for (at, note) in self.0.iter().enumerate() {
            let _ = writeln!(out, "{}. {note}", at + 1);
        }
    }
}

/// The number of cells of a column for each mark.
#[derive(Clone, Copy, Default)]
struct Count {
    carried: u32,
    changed: u32,
    dropped: u32,
    refused: u32,
}

fn anchor(dialect: DialectId) -> String {
    dialect.as_str().to_lowercase().replace(' ', "-")
}

/// The result for a request of `client` at a target.
fn verdict(client: DialectId, body: &str, feature: &str, to: To) -> Verdict {
    let top = TopLevel::scan(body.as_bytes()).unwrap();
    let mut asked = match client.dialect().read_request(&top) {
        Ok(asked) => asked,
        Err(invalid) => return Verdict::Refused(invalid.to_string()),
    };
    let _ = Names::fit(&mut asked);
    if feature == "unknown" {
        let named = asked.dropped.names().iter().any(|name| name == "new_setting");
        return if named {
            Verdict::Unsupported("new_setting".into())
        } else {
            Verdict::UnsupportedInReply("it is not named".into())
        };
    }
    let feature = carried::named(feature);
    if (feature.of)(&asked).is_none() {
        let names = asked.dropped.to_string();
        assert!(!names.is_empty(), "{client:?}: the decoder does not find {}: {body}\n{asked:#?}", feature.name);
        return Verdict::Unsupported(names);
    }
    assert!(asked.dropped.is_empty(), "{client:?}: {} drops {}: {body}", feature.name, asked.dropped);
    let verdict = judge(feature, &asked, to);
    match carried::named_though_carried(feature, &asked, to).filter(|_| verdict == Verdict::Carried) {
        Some(names) => Verdict::UnsupportedInReply(format!("carried, and named `{names}` all the same")),
        None => verdict,
    }
}

/// The table of requests of one client dialect, with the count of each column.
fn requests(client: DialectId, lost: &mut Vec<String>) -> (String, Vec<Option<Count>>) {
    let mut counts: Vec<Option<Count>> =
        COLUMNS.iter().map(|c| (!c.native.contains(&client)).then(Count::default)).collect();
    let mut out = String::from("| |");
    for column in &COLUMNS {
        let _ = write!(out, " {}<br>`{}` |", column.provider, column.to.2);
    }
    out.push_str("\n| --- |");
    out.push_str(&" --- |".repeat(COLUMNS.len()));
    out.push('\n');
    let mut notes = Notes::default();
    for fixture in FIXTURES {
        let Some(body) = fixture.request(client) else {
            let _ = writeln!(out, "| {} |{}", fixture.title, " – |".repeat(COLUMNS.len()));
            continue;
        };
        let _ = write!(out, "| {} |", fixture.title);
        for (column, count) in COLUMNS.iter().zip(&mut counts) {
            let Some(count) = count else {
                out.push_str(" = |");
                continue;
            };
            let cell = match verdict(client, &body, fixture.feature, column.to) {
                Verdict::Carried => {
                    count.carried += 1;
                    "●".to_owned()
                }
                Verdict::Changed(note) => {
                    count.changed += 1;
                    format!("◐{}", notes.mark(&note))
                }
                Verdict::Unsupported(names) => {
                    count.dropped += 1;
                    format!("○ `{names}`")
                }
                Verdict::Refused(words) => {
                    count.refused += 1;
                    format!("400{}", notes.mark(&words))
                }
                Verdict::UnsupportedInReply(what) => {
                    lost.push(format!("{client:?} to {:?}: {}: {what}", column.to, fixture.title));
                    "LOST".into()
                }
            };
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    notes.write(&mut out);
    (out, counts)
}

/// The table of replies that a client of one dialect gets.
fn replies(client: DialectId, lost: &mut Vec<String>, used: &mut Vec<&'static str>) -> String {
    let mut out = String::from("| |");
    for from in DialectId::ALL {
        let _ = write!(out, " {} |", from.as_str());
    }
    out.push_str("\n| --- | --- | --- | --- | --- | --- |\n");
    let mut notes = Notes::default();
    for fixture in REPLY_FIXTURES {
        let _ = write!(out, "| {} |", fixture.title);
        for from in DialectId::ALL {
            let cell = match fixture.reply(from) {
                None => "–".to_owned(),
                Some(_) if from == client => "=".to_owned(),
                Some(body) => {
                    let reply = from.dialect().read_reply(body.as_bytes()).unwrap();
                    reply_cell(fixture.feature, &reply, (from, client), &mut notes, lost, used)
                }
            };
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    notes.write(&mut out);
    out
}

fn reply_cell(
    feature: &str,
    reply: &Reply<'_>,
    (from, client): (DialectId, DialectId),
    notes: &mut Notes,
    lost: &mut Vec<String>,
    used: &mut Vec<&'static str>,
) -> String {
    let of = replies::named(feature).of;
    let wanted = of(reply).unwrap_or_else(|| panic!("{from:?} has no {feature}: {reply:#?}"));
    let [mut whole, streamed] = both_ways(client, reply).map(|got| of(&got));
    if feature.contains("signature") || feature.contains("encrypted") || feature.contains("redacted") {
        // Only the next request reads these.
        whole = of(&replies::echoed(client, reply));
    }
    let is = |got: &Option<String>| got.as_ref() == Some(&wanted);
    match (is(&whole), is(&streamed), excuse(client, feature)) {
        (true, true, _) => "●".into(),
        (false, false, Some(excuse)) => {
            used.push(excuse.why);
            let note = notes.mark(excuse.why);
            if excuse.name.is_empty() {
                return format!("{}{note}", excuse.mark);
            }
            let name = format!("reply.{}", excuse.name);
            for told in replies::lost(client, reply) {
                if !told.split(", ").any(|told| told.trim_end_matches(";hint") == name) {
                    lost.push(format!("{from:?} to {client:?}: {feature}: not named: {told}"));
                }
            }
            format!("{} `{name}`{note}", excuse.mark)
        }
        // Events can't carry these: they are carried in buffered replies only.
        (true, false, _) if matches!(feature, "image" | "service tier") => {
            format!("◐{}", notes.mark("in one piece; not in streams"))
        }
        _ => {
            lost.push(format!("{from:?} to {client:?}: {feature}: {wanted:?}, whole {whole:?}, streamed {streamed:?}"));
            "LOST".into()
        }
    }
}

/// The text before the tables.
const HEAD: &str = "# Compatibility

What a client of one API keeps when a provider of another serves it. This file is made by a test that does what it says:
`UPDATE_DOCS=1 cargo test compatibility` writes it, and `cargo test` fails when it is no longer true.

Each row is one small request. It is read in the client's dialect and written for the provider and model of the column;
the body is then read again in the provider's dialect, and the two are compared.

| mark | means |
| --- | --- |
| = | the provider speaks this dialect: the request and the reply pass as they are, whatever is in them |
| ● | carried: the provider is told the same |
| ◐ | carried in another form, or as near as the provider gets; the number names a note below the table |
| ○ | not carried; the name is the one in `x-tollgate-dropped` and in the log. With `strict: true` a request is answered with 400, with `strict: losses` unless it is a [hint](translation.md#unsupported-fields-are-reported) |
| 400 | refused, with the words of the note |
| – | the client's dialect has no word for it |

Streams are translated event by event, from and to every cell. What a model takes depends on its generation: the columns
are examples, and a model that Tollgate does not know is asked with all settings.

";

fn document() -> String {
    let (mut lost, mut used) = (Vec::new(), Vec::new());
    let mut out = HEAD.to_owned();
    let mut chapters = String::new();
    out.push_str("## The grid\n\nHow many of the rows below are ● carried, ◐ carried in another form, ○ dropped by name.\n\n| client |");
    for column in &COLUMNS {
        let _ = write!(out, " {}<br>`{}` |", column.provider, column.to.2);
    }
    let _ = writeln!(out, "\n| --- |{}", " --- |".repeat(COLUMNS.len()));
    for client in DialectId::ALL {
        let name = client.as_str();
        let (table, counts) = requests(client, &mut lost);
        let _ = write!(out, "| [{name}](#{}) |", anchor(client));
        for count in counts {
            let _ = match count {
                None => write!(out, " as it is |"),
                Some(Count { carried, changed, dropped, refused: 0 }) => {
                    write!(out, " ● {carried} ◐ {changed} ○ {dropped} |")
                }
                Some(Count { carried, changed, dropped, refused }) => {
                    write!(out, " ● {carried} ◐ {changed} ○ {dropped} 400 {refused} |")
                }
            };
        }
        out.push('\n');
        let replies = replies(client, &mut lost, &mut used);
        let _ = write!(
            chapters,
            "\n## {name}\n\n### {name}: requests\n\n{table}\n### {name}: replies\n\nWhat the client sees of a reply \
             that came in the dialect of the column, in one piece and as a stream.\n\n{replies}"
        );
    }
    assert!(lost.is_empty(), "lost silently:\n{}", lost.join("\n"));
    for excuse in NO_PLACES {
        assert!(used.contains(&excuse.why), "never met: {}", excuse.why);
    }
    out.push_str(&chapters);
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

#[test]
fn compatibility_is_what_the_documentation_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let made = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(made == written, "docs/compatibility.md is not what is true (UPDATE_DOCS=1 writes it): {differs:#?}");
}

#[test]
fn every_feature_has_a_row() {
    for feature in carried::FEATURES {
        assert!(FIXTURES.iter().any(|fixture| fixture.feature == feature.name), "no row for {}", feature.name);
    }
    for feature in replies::REPLY_FEATURES {
        assert!(REPLY_FIXTURES.iter().any(|fixture| fixture.feature == feature.name), "no row for {}", feature.name);
    }
}
