//! Parameters of requests: sampling, limits, and the account that a request belongs to.
//!
//! Each dialect has one table of them. A row defines for a field of the conversation the key, the type and the range
//! that it has in the dialect's requests. Reading and writing follow the table; exceptions are code of the dialect. A
//! field that a table does not contain is reported where a client sets it, so that none is lost silently.

use serde::de::DeserializeOwned;

use super::{SamplingFacts, fields::parse};
use crate::{
    conversation::{Invalid, Json, Request, Text, Unsupported, safe_id},
    stream::{Member, json::ObjectWriter},
};

/// A field of the conversation's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are named as the request's fields")]
pub enum Field {
    Temperature,
    TopP,
    TopK,
    Stop,
    N,
    Seed,
    PresencePenalty,
    FrequencyPenalty,
    Logprobs,
    TopLogprobs,
    MaxTokens,
    User,
    ServiceTier,
    Metadata,
    ParallelToolCalls,
}

/// Sampling fields and limits, with the name under which each is reported.
const SAMPLING: [(Field, &str); 11] = [
    (Field::Temperature, "temperature"),
    (Field::TopP, "top_p"),
    (Field::TopK, "top_k"),
    (Field::Stop, "stop"),
    (Field::N, "n"),
    (Field::Seed, "seed"),
    (Field::PresencePenalty, "presence_penalty"),
    (Field::FrequencyPenalty, "frequency_penalty"),
    (Field::Logprobs, "logprobs"),
    (Field::TopLogprobs, "logprobs"),
    (Field::MaxTokens, "max_tokens"),
];
/// Fields about the request itself.
const ACCOUNT: [(Field, &str); 4] = [
    (Field::User, "user"),
    (Field::ServiceTier, "service_tier"),
    (Field::Metadata, "metadata"),
    (Field::ParallelToolCalls, "parallel_tool_calls"),
];

/// The value of a field.
enum Value<'r, 'a> {
    Float(f64),
    Count(u64),
    Integer(i64),
    Switch(bool),
    Text(&'r Text<'a>),
    Texts(&'r [Text<'a>]),
    Object(&'r Json<'a>),
}

/// A mutable reference to a field.
enum Slot<'r, 'a> {
    Float(&'r mut Option<f64>),
    Count(&'r mut Option<u64>),
    Integer(&'r mut Option<i64>),
    Switch(&'r mut Option<bool>),
    Text(&'r mut Option<Text<'a>>),
    Texts(&'r mut Vec<Text<'a>>),
    Object(&'r mut Option<Json<'a>>),
}

impl Field {
    /// The name under which it is reported.
    #[must_use]
    pub fn name(self) -> &'static str {
        SAMPLING.iter().chain(&ACCOUNT).find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    /// The value, if the client sets it.
    fn value<'r, 'a>(self, request: &'r Request<'a>) -> Option<Value<'r, 'a>> {
        let sampling = &request.sampling;
        match self {
            Self::Temperature => sampling.temperature.map(Value::Float),
            Self::TopP => sampling.top_p.map(Value::Float),
            Self::TopK => sampling.top_k.map(Value::Float),
            Self::PresencePenalty => sampling.presence_penalty.map(Value::Float),
            Self::FrequencyPenalty => sampling.frequency_penalty.map(Value::Float),
            Self::Stop => Some(Value::Texts(&sampling.stop)),
            Self::N => sampling.n.map(Value::Count),
            Self::Seed => sampling.seed.map(Value::Integer),
            Self::Logprobs => sampling.logprobs.map(Value::Switch),
            Self::TopLogprobs => {
                // Other APIs refuse the number without the switch.
                sampling.top_logprobs.filter(|n| *n > 0 && sampling.logprobs == Some(true)).map(Value::Count)
            }
            Self::MaxTokens => request.max_tokens.map(Value::Count),
            Self::User => request.user.as_ref().map(Value::Text),
            Self::ServiceTier => request.service_tier.as_ref().map(Value::Text),
            Self::Metadata => request.metadata.as_ref().map(Value::Object),
            Self::ParallelToolCalls => request.parallel_tool_calls.map(Value::Switch),
        }
    }

    /// Where the value goes.
    fn slot<'r, 'a>(self, request: &'r mut Request<'a>) -> Slot<'r, 'a> {
        let sampling = &mut request.sampling;
        match self {
            Self::Temperature => Slot::Float(&mut sampling.temperature),
            Self::TopP => Slot::Float(&mut sampling.top_p),
            Self::TopK => Slot::Float(&mut sampling.top_k),
            Self::PresencePenalty => Slot::Float(&mut sampling.presence_penalty),
            Self::FrequencyPenalty => Slot::Float(&mut sampling.frequency_penalty),
            Self::Stop => Slot::Texts(&mut sampling.stop),
            Self::N => Slot::Count(&mut sampling.n),
            Self::Seed => Slot::Integer(&mut sampling.seed),
            Self::Logprobs => Slot::Switch(&mut sampling.logprobs),
            Self::TopLogprobs => Slot::Count(&mut sampling.top_logprobs),
            Self::MaxTokens => Slot::Count(&mut request.max_tokens),
            Self::User => Slot::Text(&mut request.user),
            Self::ServiceTier => Slot::Text(&mut request.service_tier),
            Self::Metadata => Slot::Object(&mut request.metadata),
            Self::ParallelToolCalls => Slot::Switch(&mut request.parallel_tool_calls),
        }
    }

    /// Whether models with fixed sampling refuse it.
    fn is_fixed_with_sampling(self) -> bool {
        !matches!(self, Self::Stop | Self::Seed | Self::MaxTokens) && SAMPLING.iter().any(|(field, _)| *field == self)
    }

    /// Whether a value differs from the default that every API has: leaving out a default is no loss.
    fn means_something(self, value: &Value<'_, '_>) -> bool {
        match (self, value) {
            (Self::Temperature | Self::TopP, Value::Float(value)) => (value - 1.0).abs() > f64::EPSILON,
            (Self::PresencePenalty | Self::FrequencyPenalty, Value::Float(value)) => *value != 0.0,
            (Self::N, Value::Count(n)) => *n > 1,
            (Self::Logprobs, Value::Switch(on)) => *on,
            (Self::ParallelToolCalls, Value::Switch(on)) => !on,
            (_, Value::Texts(texts)) => texts.iter().any(|text| !text.is_empty()),
            (_, Value::Object(object)) => !object.is_null(),
            _ => true,
        }
    }
}

/// The type and range of a parameter on the wire. Values outside the range are clamped, and that is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// The server does not accept it.
    Absent,
    /// A number.
    Number(f64, f64),
    /// A number; whole numbers are written without a fraction.
    Compact(f64, f64),
    /// A number that is rounded to a whole one.
    Rounded(f64, f64),
    /// A count.
    Count(u64, u64),
    /// A count that may be clamped without a report.
    Capped(u64),
    /// A count that is written only if it is above one.
    Several,
    /// A whole number.
    Integer,
    /// A whole number without its sign.
    Unsigned,
    /// A whole number of 32 bits. For a seed its value does not matter, but equal seeds must stay equal.
    Int32,
    /// A boolean that is written only if it is `true`.
    Switch,
    /// A text of up to this many characters. A longer one is replaced by one that is as unique.
    Short(usize),
    /// A text of printable ASCII up to this length. Any other text is replaced by one that is as unique.
    Id(usize),
    /// A text that names no person: no mail address and no telephone number. One of more bytes than this is replaced by
    /// one that is as unique.
    Opaque(usize),
    /// One of some words: the client's, and the server's, which is empty where saying nothing means the same.
    Word(&'static [(&'static str, &'static str)]),
    /// Up to this many texts; the flag is set if texts of white space are refused.
    Texts(usize, bool),
    /// Up to this many texts. Models whose sampling settings are fixed accept none.
    SamplingTexts(usize),
    /// An object, as it is.
    Object,
    /// The dialect's own code writes it.
    Own,
}

/// One row of a dialect's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    /// The key, or those of an object and of a field in it (`outer.inner`); empty where it is no field of its own.
    /// Fields in objects are only written by the table.
    pub key: &'static str,
    /// The conversation's field.
    pub field: Field,
    /// Its type and range.
    pub form: Form,
}

/// A row of a dialect's table.
pub const fn param(key: &'static str, field: Field, form: Form) -> Param {
    Param { key, field, form }
}

/// How a dialect reads numbers.
pub(super) trait Numbers {
    type Float: DeserializeOwned + Into<f64>;
    type Count: DeserializeOwned + Into<u64>;
    type Integer: DeserializeOwned + Into<i64>;
}

/// Numbers are JSON numbers.
pub(super) struct Plain;

impl Numbers for Plain {
    type Float = f64;
    type Count = u64;
    type Integer = i64;
}

/// Reads `member` into `request` if its key is in the table, and returns whether it is. `at` is the path of the field.
///
/// # Errors
/// When the value is of another type.
pub(super) fn read<'a, N: Numbers>(
    table: &[Param],
    key: &str,
    member: &Member<'a>,
    at: impl FnOnce() -> String,
    request: &mut Request<'a>,
) -> Result<bool, Invalid> {
    let param = table.iter().find(|param| param.key == key && !key.is_empty() && !key.contains('.'));
    let Some(param) = param else { return Ok(false) };
    let json = member.as_json();
    match param.field.slot(request) {
        Slot::Float(slot) => *slot = Some(parse::<N::Float>(json, at)?.into()),
        Slot::Count(slot) => *slot = Some(parse::<N::Count>(json, at)?.into()),
        Slot::Integer(slot) => *slot = Some(parse::<N::Integer>(json, at)?.into()),
        Slot::Switch(slot) => *slot = Some(parse(json, at)?),
        Slot::Text(slot) => *slot = Some(parse(json, at)?),
        Slot::Texts(slot) => *slot = parse(json, at)?,
        Slot::Object(slot) => {
            let object: Json<'a> = parse(json, String::new)?;
            if !object.is_object() {
                return Err(Invalid::new(at(), "must be an object"));
            }
            *slot = Some(object).filter(|object| !object.is_empty_object());
        }
    }
    Ok(true)
}

/// Writes the parameters of a request for one server, by a table.
pub(super) struct Writer<'w, 'a> {
    pub table: &'static [Param],
    /// Rows that replace those of the table for this server and model.
    pub quirks: &'static [Param],
    pub request: &'w Request<'a>,
    /// The sampling settings that the model accepts with this request's other settings.
    pub sampling: SamplingFacts,
}

impl Writer<'_, '_> {
    /// Writes sampling settings and limits.
    pub fn sampling(&self, object: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
        self.write(&SAMPLING, object, dropped);
    }

    /// Writes the fields about the request itself.
    pub fn account(&self, object: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
        self.write(&ACCOUNT, object, dropped);
    }

    /// Writes the fields that the table has, which are reported elsewhere where it has none.
    pub fn rows(&self, object: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
        self.write_rows(&SAMPLING, object, dropped);
    }

    fn write(&self, fields: &[(Field, &'static str)], object: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
        self.write_rows(fields, object, dropped);
        for (field, name) in fields.iter().filter(|(field, _)| self.table.iter().all(|param| param.field != *field)) {
            let value = field.value(self.request);
            dropped.add_if(value.is_some_and(|value| field.means_something(&value)), name);
        }
    }

    fn write_rows(&self, fields: &[(Field, &'static str)], object: &mut ObjectWriter<'_>, dropped: &mut Unsupported) {
        let name = |field| fields.iter().find(|(known, _)| *known == field).map(|(_, name)| *name);
        for param in self.table {
            let (Some(name), Some(value)) = (name(param.field), param.field.value(self.request)) else { continue };
            let param = self.quirks.iter().find(|quirk| quirk.field == param.field).unwrap_or(param);
            let lost =
                if self.refuses(param) { param.field.means_something(&value) } else { !param.write(&value, object) };
            dropped.add_if(lost, name);
        }
    }

    /// Whether the server or the model refuses a parameter.
    fn refuses(&self, Param { field, form, .. }: &Param) -> bool {
        let fixed = match self.sampling {
            SamplingFacts::All => false,
            SamplingFacts::One => *field == Field::TopP && self.request.sampling.temperature.is_some(),
            SamplingFacts::None => field.is_fixed_with_sampling() || matches!(form, Form::SamplingTexts(_)),
        };
        fixed || *form == Form::Absent
    }
}

impl Param {
    /// Writes a value; returns whether nothing of it was lost.
    fn write(self, value: &Value<'_, '_>, object: &mut ObjectWriter<'_>) -> bool {
        match (self.form, value) {
            (
                Form::Number(least, most) | Form::Compact(least, most) | Form::Rounded(least, most),
                Value::Float(value),
            ) => self.write_number(*value, (least, most), object),
            (Form::Several, Value::Count(n)) => *n <= 1 || self.write_whole(n, object),
            (Form::Capped(most), Value::Count(n)) => self.write_whole(n.min(&most), object),
            (Form::Count(least, most), Value::Count(n)) => {
                let fitting = (*n).clamp(least, most);
                self.write_whole(fitting, object) && fitting == *n
            }
            (Form::Integer, Value::Integer(n)) => self.write_whole(*n, object),
            (Form::Unsigned, Value::Integer(n)) => self.write_whole(n.unsigned_abs(), object),
            (Form::Int32, Value::Integer(n)) => {
                let fitting = i32::try_from(*n).map_or_else(|_| n.rem_euclid(1 << 31), i64::from);
                self.write_whole(fitting, object) && fitting == *n
            }
            (Form::Switch, Value::Switch(on)) => !on || self.write_whole(true, object),
            (Form::Short(longest), Value::Text(text)) if text.decode().chars().count() <= longest => {
                self.write_whole(text, object)
            }
            (Form::Short(longest) | Form::Id(longest), Value::Text(text)) => {
                let id = safe_id(&text.decode(), longest, |b| b.is_ascii_graphic() || b == b' ').into_owned();
                self.write_whole(id, object)
            }
            (Form::Opaque(longest), Value::Text(text)) => {
                let id = text.decode();
                let kept = if id.len() > longest { safe_id(&id, longest, |b| b.is_ascii_graphic()) } else { id };
                is_opaque(&kept) && self.write_whole(&kept, object)
            }
            (Form::Word(words), Value::Text(text)) => match word(words, text) {
                Some("") => true,
                Some(word) => self.write_whole(word, object),
                None => false,
            },
            (Form::Texts(most, blank), Value::Texts(texts)) => self.write_texts(texts, most, blank, object),
            (Form::SamplingTexts(most), Value::Texts(texts)) => self.write_texts(texts, most, false, object),
            (Form::Object, Value::Object(json)) => self.write_whole(json, object),
            // Its own code reports what is lost.
            _ => true,
        }
    }

    fn write_whole(self, value: impl serde::Serialize, object: &mut ObjectWriter<'_>) -> bool {
        if let Some((outer, inner)) = self.key.split_once('.') {
            let mut nested = object.object(outer);
            nested.field(inner, &value);
        } else {
            object.field(self.key, &value);
        }
        true
    }

    fn write_texts(self, texts: &[Text<'_>], most: usize, blank: bool, object: &mut ObjectWriter<'_>) -> bool {
        let fit = |text: &&Text<'_>| if blank { !text.is_blank() } else { !text.is_empty() };
        let fitting: Vec<_> = texts.iter().filter(fit).take(most).collect();
        (fitting.is_empty() || self.write_whole(&fitting, object))
            && fitting.len() == texts.iter().filter(|text| !text.is_empty()).count()
    }

    #[expect(clippy::float_cmp, reason = "whether it was changed")]
    fn write_number(self, value: f64, (least, most): (f64, f64), object: &mut ObjectWriter<'_>) -> bool {
        let fitting = value.clamp(least, most);
        let fitting = if matches!(self.form, Form::Rounded(..)) { fitting.round() } else { fitting };
        let written = if matches!(self.form, Form::Number(..)) || fitting.fract() != 0.0 {
            self.write_whole(fitting, object)
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "the ranges are small")]
            self.write_whole(fitting as i64, object)
        };
        written && fitting == value
    }
}

/// The server's word for the client's.
pub(super) fn word(words: &[(&str, &'static str)], text: &Text<'_>) -> Option<&'static str> {
    words.iter().find(|(client, _)| text.is(client)).map(|(_, server)| *server)
}

/// Whether it names no person.
fn is_opaque(text: &str) -> bool {
    let telephone = text.len() >= 7 && text.bytes().all(|b| b.is_ascii_digit() || b" ()+-".contains(&b));
    !text.trim().is_empty() && !text.contains('@') && !telephone
}
