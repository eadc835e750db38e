//! Anthropic's tools that the client runs, as functions. Their calls and results have the form of any other tool's.
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview>

use crate::conversation::{HostedKind, Json, Text};

/// A kind of tool: what all versions of its `type` begin with, and the definition that Claude has without being given
/// one.
struct ClientTool {
    prefix: &'static str,
    /// The last version with this definition, by its date; later ones have the next row's.
    until: &'static str,
    description: &'static str,
    schema: &'static str,
}

/// A date after every version's.
const LATEST: &str = "9";

const CLIENT_TOOLS: [ClientTool; 5] = [
    ClientTool {
        prefix: "bash_",
        until: LATEST,
        description: "Runs a command in a bash session that keeps its state between calls.",
        schema: concat!(
            r#"{"type":"object","properties":{"command":{"type":"string","#,
            r#""description":"The command to run. Required unless restart is set."},"#,
            r#""restart":{"type":"boolean","description":"Set to restart the session."}}}"#,
        ),
    },
    ClientTool {
        prefix: "text_editor_",
        until: "20250124",
        description: "Views and edits text files. Edits can be undone with undo_edit.",
        schema: concat!(
            r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","#,
            r#""str_replace","insert","undo_edit"]},"path":{"type":"string","#,
            r#""description":"The file or directory."},"file_text":{"type":"string","#,
            r#""description":"For create: the content of the file."},"old_str":{"type":"string","#,
            r#""description":"For str_replace: the text to replace, which must occur exactly once."},"#,
            r#""new_str":{"type":"string","description":"For str_replace and insert: the new text."},"#,
            r#""insert_line":{"type":"integer","#,
            r#""description":"For insert: the line after which to insert; 0 is the beginning of the "#,
            r#"file."},"view_range":{"type":"array","items":{"type":"integer"},"#,
            r#""description":"For view of a file: the first and last line, from 1; -1 is the last one."}},"#,
            r#""required":["command","path"]}"#,
        ),
    },
    ClientTool {
        prefix: "text_editor_",
        until: LATEST,
        description: "Views and edits text files.",
        schema: concat!(
            r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","#,
            r#""str_replace","insert"]},"path":{"type":"string","description":"The file or directory."},"#,
            r#""file_text":{"type":"string","description":"For create: the content of the file."},"#,
            r#""old_str":{"type":"string","description":"For str_replace: the text to replace,"#,
            r#" which must occur exactly once."},"new_str":{"type":"string","#,
            r#""description":"For str_replace: the new text."},"insert_line":{"type":"integer","#,
            r#""description":"For insert: the line after which to insert; 0 is the beginning of the "#,
            r#"file."},"insert_text":{"type":"string","description":"For insert: the text to insert."},"#,
            r#""view_range":{"type":"array","items":{"type":"integer"},"#,
            r#""description":"For view of a file: the first and last line, from 1; -1 is the last one."}},"#,
            r#""required":["command","path"]}"#,
        ),
    },
    ClientTool {
        prefix: "memory_",
        until: LATEST,
        description: "Reads and writes files in the directory /memories, which is kept between conversations. View it \
                      before you begin, and record what will be of use later.",
        schema: concat!(
            r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","#,
            r#""str_replace","insert","delete","rename"]},"path":{"type":"string","#,
            r#""description":"The file or directory; for all commands except rename."},"#,
            r#""view_range":{"type":"array","items":{"type":"integer"},"#,
            r#""description":"For view of a file: the first and last line."},"file_text":{"type":"string","#,
            r#""description":"For create: the content of the file."},"old_str":{"type":"string","#,
            r#""description":"For str_replace: the text to replace."},"new_str":{"type":"string","#,
            r#""description":"For str_replace: the new text."},"insert_line":{"type":"integer","#,
            r#""description":"For insert: the line after which to insert."},"insert_text":{"type":"string","#,
            r#""description":"For insert: the text to insert."},"old_path":{"type":"string","#,
            r#""description":"For rename."},"new_path":{"type":"string","description":"For rename."}},"#,
            r#""required":["command"]}"#,
        ),
    },
    ClientTool {
        prefix: "computer_",
        until: LATEST,
        description: "Controls a computer with mouse and keyboard, and takes screenshots.",
        schema: concat!(
            r#"{"type":"object","properties":{"action":{"type":"string","enum":["screenshot","left_click","#,
            r#""right_click","middle_click","double_click","triple_click","left_click_drag","#,
            r#""left_mouse_down","left_mouse_up","mouse_move","cursor_position","scroll","key","hold_key","#,
            r#""type","wait","zoom"]},"coordinate":{"type":"array","items":{"type":"integer"},"#,
            r#""description":"[x, y] in pixels from the top left corner: of clicks, scroll and mouse_move,"#,
            r#" and the end of a drag."},"start_coordinate":{"type":"array","items":{"type":"integer"},"#,
            r#""description":"[x, y]: the start of left_click_drag."},"text":{"type":"string","#,
            r#""description":"For type: the text. For key and hold_key: the key or keys,"#,
            r#" such as ctrl+s. For clicks and scroll: the keys to hold."},"#,
            r#""scroll_direction":{"type":"string","enum":["up","down","left","right"]},"#,
            r#""scroll_amount":{"type":"integer","#,
            r#""description":"For scroll: the number of clicks of the wheel."},"duration":{"type":"number","#,
            r#""description":"For hold_key and wait: seconds."},"region":{"type":"array","#,
            r#""items":{"type":"integer"},"description":"For zoom: [x0, y0, x1, y1]."}},"#,
            r#""required":["action"]}"#,
        ),
    },
];

/// The description and the schema that Claude has of a tool of type `kind`; `None` if the client does not run it, or its
/// definition is not known. `screen` is the size of the screen in pixels, of a tool that uses one.
pub(super) fn definition(kind: &str, screen: Option<(u64, u64)>) -> Option<(Text<'static>, Json<'static>)> {
    let version = |row: &&ClientTool| {
        kind.strip_prefix(row.prefix).is_some_and(|date| date.bytes().all(|b| b.is_ascii_digit()) && date <= row.until)
    };
    let row = CLIENT_TOOLS.iter().find(version)?;
    let description = match screen {
        Some((width, height)) => format!("{} The screen has {width} x {height} pixels.", row.description).into(),
        None => row.description.into(),
    };
    Some((description, Json::parse(row.schema).ok()?))
}

/// What a tool of type `kind` does, which Anthropic runs.
pub(super) fn hosted_kind(kind: &str) -> HostedKind {
    let is = |prefix: &str| kind.starts_with(prefix);
    if is("web_search_") {
        HostedKind::WebSearch
    } else if is("web_fetch_") {
        HostedKind::UrlFetch
    } else if is("code_execution_") {
        HostedKind::CodeExecution
    } else {
        HostedKind::Other
    }
}
