//! The generator of projections and the independent reference, as the model tests have them.

#[path = "../model/language/blind.rs"]
pub mod blind;
#[path = "../model/language/copy.rs"]
pub mod copy;
#[path = "../model/language/events.rs"]
pub mod events;
#[path = "../model/language/program.rs"]
pub mod program;
#[allow(dead_code, reason = "faults of the reference itself are the model tests' matter")]
#[path = "../model/language/reference.rs"]
pub mod reference;
#[path = "../model/language/stored.rs"]
pub mod stored;
