//! Expressions without a read model: compiled with names of any type, run with any values.

use kinora::diagnostic::{Diagnostic, FileId, Span};
use kinora::event::Json;
use kinora::expr::{Compiled, Env, Expected, Slot, Type, Val, compile};
use kinora::schema::{ReadModel, TypeId};

/// A read model without types.
pub fn empty_model() -> ReadModel {
    ReadModel {
        types: Vec::new(),
        enums: Vec::new(),
        query: TypeId(0),
        sdl: "".into(),
        draft: Default::default(),
        api_sdl: "".into(),
    }
}

/// What expressions see under the name `record`, of an event that is alone in its record.
pub fn record(topic: &str, partition: u32, offset: u64) -> Json {
    let position = format!("{topic}:{partition}@{offset}");
    let text = format!(
        r#"{{"topic":"{topic}","partition":{partition},"offset":{offset},"position":"{position}","id":"{position}"}}"#
    );
    sonic_rs::from_str(&text).expect("it is JSON")
}

/// Why there is no value.
#[derive(Debug)]
pub enum Failed {
    /// When definitions are checked: every fault.
    Check(Vec<Diagnostic>),
    /// When it runs.
    Run(String),
}

/// Compiles an expression whose place takes anything.
pub fn compiled(text: &str, names: &[(String, Type)]) -> Result<Compiled, Vec<Diagnostic>> {
    let model = empty_model();
    let end = u32::try_from(text.len()).expect("a text of a test is short");
    let env = Env { model: &model, names: names.to_vec(), shapes: Vec::new(), columns_of: None };
    compile(text, Span { file: FileId(0), start: 0, end }, &env, &Expected::Any)
}

/// Runs an expression and hands its value to `then`.
pub fn evaluate<T>(
    text: &str,
    names: &[(String, Type)],
    frame: &[Slot<'_>],
    then: impl FnOnce(&Val<'_>) -> T,
) -> Result<T, Failed> {
    let compiled = compiled(text, names).map_err(Failed::Check)?;
    match compiled.slot(frame) {
        Ok(Slot::Made(value)) => Ok(then(&value)),
        Ok(Slot::Json(json)) => Ok(then(&Val::Json(json))),
        Ok(Slot::Record(Some(cells))) => Ok(then(&Val::Record(cells))),
        Ok(other) => panic!("{text} gives {other:?}"),
        Err(fault) => Err(Failed::Run(fault.0)),
    }
}
