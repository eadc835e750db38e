//! The tools of Responses that the client runs, and how each is carried as a function: the one place for their forms.
//!
//! The declaration becomes that of a function, the fields of a call become its arguments, and in replies the arguments
//! become the fields of the call again.
//! <https://developers.openai.com/api/docs/guides/tools>

use std::borrow::Cow;

use super::wire::Item;
use crate::{
    conversation::{Text, ToolForm, ToolName, Unsupported, earlier_arguments, free_text, object_text},
    stream::{
        Member, TopLevel,
        json::{ObjectWriter, write_string},
    },
};

/// A kind of tool.
pub(super) struct ClientTool {
    pub form: ToolForm,
    /// `type` of its declaration.
    pub kind: &'static str,
    /// `type` of its calls.
    pub call: &'static str,
    /// `type` of its results.
    pub output: &'static str,
    /// Prefix of the ids of calls.
    pub prefix: &'static str,
    pub arguments: Arguments,
    /// Fields that every call has.
    constant: &'static [(&'static str, &'static str)],
    /// The function that carries it, unless the declaration has a name.
    pub function: Option<Function>,
}

/// A function that carries a tool without a name of its own.
pub(super) struct Function {
    pub name: &'static str,
    pub description: &'static str,
    pub schema: &'static str,
}

/// Where a call's item holds the arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    /// In this field, as the text of a JSON object.
    Json(&'static str),
    /// In this field, as free text.
    Free(&'static str),
    /// In this field, as an object, which has these fields in any case.
    Object(&'static str, &'static [(&'static str, &'static str)]),
    /// In this field, which the arguments have, too.
    Member(&'static str),
}

impl Arguments {
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Json(field) | Self::Free(field) | Self::Object(field, _) | Self::Member(field) => field,
        }
    }
}

const fn named(form: ToolForm, [kind, call, output, prefix]: [&'static str; 4], arguments: Arguments) -> ClientTool {
    ClientTool { form, kind, call, output, prefix, arguments, constant: &[], function: None }
}

/// The action of `computer_call`, as OpenAI's SDK types it.
macro_rules! action {
    () => {
        concat!(
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["click","double_click","#,
            r#""drag","keypress","move","screenshot","scroll","type","wait"]},"x":{"type":"integer","#,
            r#""description":"For click, double_click, move and scroll: the column in pixels."},"#,
            r#""y":{"type":"integer","description":"For click, double_click,"#,
            r#" move and scroll: the row in pixels."},"button":{"type":"string","enum":["left","right","#,
            r#""wheel","back","forward"],"description":"For click."},"keys":{"type":"array","#,
            r#""items":{"type":"string"},"#,
            r#""description":"For keypress: the keys to press together. Else the keys to hold."},"#,
            r#""path":{"type":"array","items":{"type":"object","properties":{"x":{"type":"integer"},"#,
            r#""y":{"type":"integer"}},"required":["x","y"]},"description":"For drag."},"#,
            r#""scroll_x":{"type":"integer","description":"For scroll: the horizontal distance."},"#,
            r#""scroll_y":{"type":"integer","description":"For scroll: the vertical distance."},"#,
            r#""text":{"type":"string","description":"For type."}},"required":["type"]}"#,
        )
    };
}

/// Every kind, functions first.
pub(super) const CLIENT_TOOLS: &[ClientTool] = &[
    named(
        ToolForm::Function,
        ["function", "function_call", "function_call_output", "fc"],
        Arguments::Json("arguments"),
    ),
    named(ToolForm::Custom, ["custom", "custom_tool_call", "custom_tool_call_output", "ctc"], Arguments::Free("input")),
    ClientTool {
        constant: &[("execution", r#""client""#)],
        function: Some(Function {
            name: "tool_search",
            description: "Searches for further tools. Those that it finds can be called afterwards.",
            schema: r#"{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}"#,
        }),
        ..named(
            ToolForm::ToolSearch,
            ["tool_search", "tool_search_call", "tool_search_output", "tsc"],
            Arguments::Object("arguments", &[]),
        )
    },
    ClientTool {
        function: Some(Function {
            name: "local_shell",
            description: "Runs a command on the user's machine.",
            schema: concat!(
                r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"#,
                r#""description":"The program and its arguments."},"working_directory":{"type":"string"},"#,
                r#""timeout_ms":{"type":"integer"}},"required":["command"]}"#,
            ),
        }),
        ..named(
            ToolForm::LocalShell,
            ["local_shell", "local_shell_call", "local_shell_call_output", "lsh"],
            Arguments::Object("action", &[("type", r#""exec""#), ("env", "{}")]),
        )
    },
    ClientTool {
        constant: &[("environment", r#"{"type":"local"}"#)],
        function: Some(Function {
            name: "shell",
            description: "Runs shell commands, one after the other, and returns the output and exit code of each.",
            schema: concat!(
                r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"}},"#,
                r#""timeout_ms":{"type":"integer","#,
                r#""description":"The longest time that the commands may take."},"#,
                r#""max_output_length":{"type":"integer","#,
                r#""description":"Most characters of output to return."}},"required":["commands"]}"#,
            ),
        }),
        ..named(ToolForm::Shell, ["shell", "shell_call", "shell_call_output", "sh"], Arguments::Object("action", &[]))
    },
    ClientTool {
        function: Some(Function {
            name: "apply_patch",
            description: "Creates, updates or deletes a file. `diff` is a V4A diff: each line begins with ' ' \
                          (context), '-' (removed) or '+' (added), and '@@' begins a section, with a line of the file \
                          that precedes it. All lines of a new file begin with '+'.",
            schema: concat!(
                r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","#,
                r#""delete_file"]},"path":{"type":"string","description":"The file,"#,
                r#" relative to the root of the workspace."},"diff":{"type":"string","#,
                r#""description":"For create_file and update_file."}},"required":["type","path"]}"#,
            ),
        }),
        ..named(
            ToolForm::ApplyPatch,
            ["apply_patch", "apply_patch_call", "apply_patch_call_output", "apc"],
            Arguments::Object("operation", &[]),
        )
    },
    ClientTool {
        constant: &[("pending_safety_checks", "[]")],
        function: Some(Function {
            name: "computer",
            description: "Performs actions on a computer's screen, in order, and returns a screenshot.",
            schema: concat!(
                r#"{"type":"object","properties":{"actions":{"type":"array","items":"#,
                action!(),
                r#"}},"required":["actions"]}"#
            ),
        }),
        ..named(
            ToolForm::Computer,
            ["computer", "computer_call", "computer_call_output", "cu"],
            Arguments::Member("actions"),
        )
    },
    ClientTool {
        constant: &[("pending_safety_checks", "[]")],
        function: Some(Function {
            name: "computer",
            description: "Performs an action on a computer's screen, and returns a screenshot.",
            schema: concat!(r#"{"type":"object","properties":{"action":"#, action!(), r#"},"required":["action"]}"#),
        }),
        ..named(
            ToolForm::ComputerPreview,
            ["computer_use_preview", "computer_call", "computer_call_output", "cu"],
            Arguments::Member("action"),
        )
    },
];

impl ClientTool {
    /// The kind of tools of this form.
    pub(super) fn of(form: ToolForm) -> Option<&'static Self> {
        CLIENT_TOOLS.iter().find(|tool| tool.form == form)
    }

    /// The kind that is declared, or chosen, by this `type`.
    pub(super) fn declared(kind: &str) -> Option<&'static Self> {
        let kind = if kind == "computer_use" { "computer" } else { kind };
        CLIENT_TOOLS.iter().find(|tool| tool.kind == kind)
    }

    /// The kind that an item calls.
    pub(super) fn called(kind: &str, item: &Item<'_>) -> Option<&'static Self> {
        let fits = |tool: &&Self| match tool.arguments {
            Arguments::Member(field) => item.field(field).is_some(),
            _ => true,
        };
        CLIENT_TOOLS.iter().filter(|tool| tool.call == kind).find(fits)
    }

    /// The kind that an item is a result of.
    pub(super) fn answered(kind: &str) -> Option<&'static Self> {
        CLIENT_TOOLS.iter().find(|tool| tool.output == kind)
    }

    /// The tool itself, by the name that its declaration or call has.
    pub(super) fn name<'a>(&self, written: Option<Text<'a>>, namespace: Option<Text<'a>>) -> Option<ToolName<'a>> {
        match &self.function {
            Some(function) => Some(ToolName::of(self.form, function.name)),
            None => written.map(|name| ToolName::of(self.form, name).within(namespace)),
        }
    }

    /// Writes a call's fields beside its id and status. Without `arguments` the call is only announced.
    pub(super) fn write_call(&self, name: &ToolName<'_>, arguments: Option<&str>, item: &mut ObjectWriter<'_>) {
        if self.function.is_none() {
            item.field("name", name);
            item.maybe("namespace", name.namespace.as_ref());
        }
        for (key, value) in self.constant {
            item.raw(key, value);
        }
        let text = arguments.unwrap_or_default();
        match self.arguments {
            Arguments::Json(field) | Arguments::Free(field) => write_string(item.key(field), text),
            Arguments::Object(field, always) => {
                let object = object_text(text).unwrap_or(Cow::Borrowed("{}"));
                let mut value = item.object(field);
                let top = TopLevel::scan(object.as_bytes());
                let members = top.as_ref().map(TopLevel::members).unwrap_or_default();
                for (key, json) in always.iter().filter(|(key, _)| !members.iter().any(|member| member.is(key))) {
                    value.raw(key, json);
                }
                for member in members {
                    value.key(member.key).extend_from_slice(member.value);
                }
            }
            Arguments::Member(field) => {
                let top = TopLevel::scan(text.as_bytes()).ok();
                let value = top.as_ref().and_then(|top| top.get(field)).map(Member::as_json);
                item.raw(field, value.unwrap_or("null"));
            }
        }
    }

    /// The arguments of the function that carries a call with this value in the field of the arguments. `None` if the
    /// value has another form.
    pub(super) fn read_arguments<'a>(&self, item: &Item<'a>, dropped: &mut Unsupported) -> Option<Cow<'a, str>> {
        let raw = item.field(self.arguments.field());
        match self.arguments {
            Arguments::Json(_) => {
                let text = raw.map_or_else(|| Some(Text::from("")), Text::of)?;
                Some(earlier_arguments(text.into_decoded(), dropped))
            }
            Arguments::Free(_) => Text::of(raw?).map(|text| free_text::arguments(&text)),
            Arguments::Object(..) => object_text(raw?.get()),
            Arguments::Member(field) => Some(Cow::Owned(format!("{{\"{field}\":{}}}", raw?.get()))),
        }
    }
}
