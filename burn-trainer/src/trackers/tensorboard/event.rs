//! TensorBoard's events: scalars, a text, and the two of the HParams tab.
//!
//! The fields are those of `event.proto`, `summary.proto`, `tensor.proto` and the plugin's
//! `plugin_data.proto` of TensorBoard. Fields that are 0 or empty are left out, as Protocol Buffers does.

use serde_json::Value;

use super::message::Message;

/// What event files of this kind begin with.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.START`.
const START: u64 = 1;
/// `DataType.DT_STRING`.
const DT_STRING: u64 = 7;
/// `DataClass.DATA_CLASS_TENSOR`.
const TENSOR: u64 = 2;
/// The tags of the HParams tab.
const SESSION_START: &str = "_hparams_/session_start_info";
const SESSION_END: &str = "_hparams_/session_end_info";

/// How a run ended, in the HParams tab.
#[derive(Debug, Clone, Copy)]
pub(super) enum SessionStatus {
    Success = 1,
    Failure = 2,
}

/// The first event of a file.
pub(super) fn version(time: f64) -> Message {
    event(time, 0).text(3, FILE_VERSION)
}

/// Says to a reader that the run's values follow from this step on: what it has of them is out of date.
pub(super) fn restart(time: f64, step: u64) -> Message {
    event(time, step).message(7, &Message::new().number(1, START))
}

/// Values at a step.
pub(super) fn scalars<'a>(time: f64, step: u64, values: impl Iterator<Item = (String, &'a f64)>) -> Message {
    let summary = values.fold(Message::new(), |summary, (tag, value)| {
        // TensorBoard has 32 bits for a value.
        summary.message(1, &Message::new().text(1, &tag).float(2, *value as f32))
    });
    event(time, step).message(5, &summary)
}

/// A text in Markdown.
pub(super) fn text(time: f64, tag: &str, text: &str) -> Message {
    let tensor = Message::new().number(1, DT_STRING).message(2, &Message::new()).text(8, text);
    let metadata = Message::new().message(1, &Message::new().text(1, "text")).number(4, TENSOR);
    of_value(time, &Message::new().text(1, tag).message(8, &tensor).message(9, &metadata))
}

/// The hyperparameters of the run, by their names.
pub(super) fn session_start<'a>(time: f64, hparams: impl Iterator<Item = (String, &'a Value)>) -> Message {
    let info = hparams.fold(Message::new(), |info, (name, value)| {
        info.message(1, &Message::new().text(1, &name).message(2, &protobuf_value(value)))
    });
    hparams_data(time, SESSION_START, 3, &info.double(5, time))
}

/// The end of the run.
pub(super) fn session_end(time: f64, status: SessionStatus) -> Message {
    hparams_data(time, SESSION_END, 4, &Message::new().number(1, status as u64).double(2, time))
}

/// `google.protobuf.Value`. What is neither a number, a text nor a truth value is its JSON.
fn protobuf_value(value: &Value) -> Message {
    match value {
        Value::Bool(value) => Message::new().number(4, u64::from(*value)),
        Value::Number(number) => Message::new().double(2, number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Message::new().text(3, text),
        other => Message::new().text(3, &other.to_string()),
    }
}

fn hparams_data(time: f64, tag: &str, field: u64, data: &Message) -> Message {
    let content = Message::new().message(field, data);
    let plugin = Message::new().text(1, "hparams").bytes(2, content.as_bytes());
    of_value(time, &Message::new().text(1, tag).message(9, &Message::new().message(1, &plugin)))
}

fn of_value(time: f64, value: &Message) -> Message {
    event(time, 0).message(5, &Message::new().message(1, value))
}

fn event(time: f64, step: u64) -> Message {
    Message::new().double(1, time).number(2, step)
}
