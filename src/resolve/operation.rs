//! Text → operation: limits, parsing, validation, variables, and the plan of execution.
//!
//! The one place where an operation's text is judged. Comes in: text, operation name, variables. Goes out: an
//! [`Operation`], ready to execute, or the refusal that is the answer. What was accepted once is kept, in a bounded
//! cache, with its plans: one for each combination of `@skip` and `@include` that was asked for.

use std::sync::{Arc, Mutex};

use apollo_compiler::ast;
use apollo_compiler::collections::HashMap;
use apollo_compiler::executable as exe;
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Name, Schema};

use crate::observe::Limit;
use crate::plan::Plan;
use crate::schema::ReadModel;

use super::Limits;
use super::error::{Code, Fault, Place, Refusal};
use super::limits;
use super::planned::Planned;
use super::select::{Planner, json_text, place};
use super::variables::{self, Variables};

/// Longer texts are parsed each time: they would push all others out of memory.
const CACHED_TEXT_BYTES: usize = 32 * 1024;
/// Combinations of conditions kept for one text.
const CACHED_PLANS: usize = 8;

/// Accepts operations against one schema.
pub(super) struct Operations {
    schema: Valid<Schema>,
    implementers: HashMap<Name, Implementers>,
    sdl: Arc<[u8]>,
    accepted: quick_cache::sync::Cache<Box<str>, Arc<Accepted>>,
}

/// A text that was parsed and validated.
struct Accepted {
    document: Valid<ExecutableDocument>,
    /// Variables that decide `@skip` and `@include`, sorted.
    conditions: Vec<Box<str>>,
    plans: Mutex<Vec<(PlanKey, Arc<Planned>)>>,
}

/// Which operation of the text, and the values of its conditions.
#[derive(Clone, PartialEq, Eq)]
struct PlanKey {
    operation: Option<Box<str>>,
    conditions: Vec<bool>,
}

/// An operation with its variables.
pub(super) struct Operation {
    pub planned: Arc<Planned>,
    pub variables: Variables,
    /// What `__schema` and `__type` answer, by response key.
    pub introspection: serde_json::Map<String, serde_json::Value>,
}

impl Operations {
    /// Reads the schema that operations are validated against.
    ///
    /// # Errors
    /// The schema is not valid: a fault of ours, since it was made from definitions that passed `check`.
    pub fn new(model: &ReadModel, limits: &Limits) -> Result<Operations, String> {
        let schema = Schema::parse_and_validate(&*model.api_sdl, "schema.graphql").map_err(|faults| {
            format!("the schema made from the definitions is not valid: {}", faults.errors)
        })?;
        let implementers = schema.implementers_map();
        Ok(Operations {
            schema,
            implementers,
            sdl: json_text(&model.sdl),
            accepted: quick_cache::sync::Cache::new(limits.cached_operations.max(1)),
        })
    }

    /// Makes a request's text an operation.
    ///
    /// # Errors
    /// The answer for a text, a name or a variable that does not fit.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the request or of the graph")]
    pub fn accept(
        &self,
        text: &str,
        name: Option<&str>,
        variables: serde_json::Map<String, serde_json::Value>,
        model: &ReadModel,
        plan: &Plan,
        limits: &Limits,
        introspection_allowed: bool,
    ) -> Result<Operation, Refusal> {
        let accepted = self.text(text, limits)?;
        let operation = accepted
            .document
            .operations
            .get(name)
            .map_err(|error| Refusal::of(Fault::new(Code::BadUserInput, error.message().to_string())))?;
        let variables = variables::coerce(operation, variables, &self.schema, &accepted.document.sources)?;
        let key = PlanKey {
            operation: name.map(Into::into),
            conditions: accepted.conditions.iter().map(|name| variables.truth(name)).collect(),
        };
        let planned = match accepted.planned(&key) {
            Some(planned) => planned,
            None => {
                let planner = Planner {
                    model,
                    plan,
                    document: &accepted.document,
                    conditions: &|name| variables.truth(name),
                    introspection_allowed,
                    sdl: self.sdl.clone(),
                    planned: Planned::empty(),
                };
                accepted.keep(key, Arc::new(planner.plan(operation)?))
            }
        };
        let introspection = if planned.introspection {
            self.introspect(&accepted, operation, &variables)?
        } else {
            serde_json::Map::new()
        };
        Ok(Operation { planned, variables, introspection })
    }

    /// Parses and validates, or remembers that it did.
    fn text(&self, text: &str, limits: &Limits) -> Result<Arc<Accepted>, Refusal> {
        if let Some(accepted) = self.accepted.get(text) {
            return Ok(accepted);
        }
        limits::check(text, limits).map_err(Refusal::of)?;
        let document = ast::Document::parser()
            .token_limit(limits.tokens.saturating_mul(4).max(64))
            .parse_ast(text, "operation.graphql")
            .map_err(|faults| refusal(&faults.errors, false))?;
        expanded_within(&document, limits).map_err(Refusal::of)?;
        let conditions = condition_variables(&document);
        let document =
            document.to_executable_validate(&self.schema).map_err(|faults| refusal(&faults.errors, true))?;
        let accepted = Arc::new(Accepted { document, conditions, plans: Mutex::new(Vec::new()) });
        if text.len() <= CACHED_TEXT_BYTES {
            self.accepted.insert(text.into(), accepted.clone());
        }
        Ok(accepted)
    }

    fn introspect(
        &self,
        accepted: &Accepted,
        operation: &exe::Operation,
        variables: &Variables,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Refusal> {
        use apollo_compiler::introspection;
        let refused = |error: apollo_compiler::request::RequestError| {
            Refusal::of(Fault::new(Code::LimitExceeded, error.message().to_string()))
        };
        introspection::check_max_depth(&accepted.document, operation).map_err(refused)?;
        let failed = |cause: &dyn std::fmt::Display| Refusal::of(Fault::internal("introspection", cause));
        let values = serde_json::to_value(variables.values()).map_err(|error| failed(&error))?;
        let values = serde_json::from_value(values).map_err(|error| failed(&error))?;
        let response = introspection::partial_execute(
            &self.schema,
            &self.implementers,
            &accepted.document,
            operation,
            &Valid::assume_valid(values),
        )
        .map_err(|error| failed(&error.message()))?;
        match serde_json::to_value(&response.data).map_err(|error| failed(&error))? {
            serde_json::Value::Object(data) => Ok(data),
            _ => Ok(serde_json::Map::new()),
        }
    }
}

impl Accepted {
    fn planned(&self, key: &PlanKey) -> Option<Arc<Planned>> {
        let plans = self.plans.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        plans.iter().find(|(other, _)| other == key).map(|(_, planned)| planned.clone())
    }

    fn keep(&self, key: PlanKey, planned: Arc<Planned>) -> Arc<Planned> {
        let mut plans = self.plans.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if plans.len() >= CACHED_PLANS {
            plans.remove(0);
        }
        plans.push((key, planned.clone()));
        planned
    }
}

impl std::fmt::Debug for Operations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operations {{ {} kept }}", self.accepted.len())
    }
}

/// The answer to a text with faults.
fn refusal(faults: &DiagnosticList, parsed: bool) -> Refusal {
    let faults = faults
        .iter()
        .map(|diagnostic| {
            let error = diagnostic.to_json();
            let places = error.locations.iter().filter_map(|at| {
                Some(Place { line: u32::try_from(at.line).ok()?, column: u32::try_from(at.column).ok()? })
            });
            (Fault::new(Code::BadUserInput, error.message), places.collect())
        })
        .collect();
    Refusal { parsed, faults }
}

/// Checks what only shows once fragments are opened: fields, root fields and depth. Counts, without opening: a
/// fragment that is spread twice in each of thirty others would be a billion fields.
fn expanded_within(document: &ast::Document, limits: &Limits) -> Result<(), Fault> {
    let mut sizes = Sizes { fragments: HashMap::default() };
    for definition in &document.definitions {
        if let ast::Definition::FragmentDefinition(fragment) = definition {
            sizes.fragments.entry(&fragment.name).or_insert((&fragment.selection_set, None));
        }
    }
    for definition in &document.definitions {
        let ast::Definition::OperationDefinition(operation) = definition else { continue };
        let size = sizes.of(&operation.selection_set);
        if size.fields > limits.tokens {
            return Err(limits::exceeded(
                Limit::Tokens,
                "fields once its fragments are opened",
                limits.tokens,
            ));
        }
        if size.root_fields > limits.root_fields {
            return Err(limits::exceeded(Limit::RootFields, "root fields", limits.root_fields));
        }
        if size.depth > limits.depth {
            return Err(limits::too_deep(limits.depth));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Size {
    fields: usize,
    root_fields: usize,
    depth: usize,
}

struct Sizes<'d> {
    /// A fragment without a size yet is being counted: meeting it again is a cycle, which validation refuses.
    fragments: HashMap<&'d Name, (&'d [ast::Selection], Option<Size>)>,
}

impl<'d> Sizes<'d> {
    fn of(&mut self, selections: &'d [ast::Selection]) -> Size {
        let mut total = Size { depth: 1, ..Size::default() };
        for selection in selections {
            let size = match selection {
                ast::Selection::Field(field) => {
                    let inside = if field.selection_set.is_empty() {
                        Size::default()
                    } else {
                        self.of(&field.selection_set)
                    };
                    Size { fields: inside.fields.saturating_add(1), root_fields: 1, depth: inside.depth + 1 }
                }
                ast::Selection::InlineFragment(fragment) => self.of(&fragment.selection_set),
                ast::Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name),
            };
            total.fields = total.fields.saturating_add(size.fields);
            total.root_fields = total.root_fields.saturating_add(size.root_fields);
            total.depth = total.depth.max(size.depth);
        }
        total
    }

    fn fragment(&mut self, name: &Name) -> Size {
        let Some((name, (selections, size))) = self.fragments.remove_entry(name) else {
            return Size::default();
        };
        let size = size.unwrap_or_else(|| self.of(selections));
        self.fragments.insert(name, (selections, Some(size)));
        size
    }
}

fn condition_variables(document: &ast::Document) -> Vec<Box<str>> {
    let mut names = Vec::new();
    for definition in &document.definitions {
        match definition {
            ast::Definition::OperationDefinition(operation) => {
                conditions_in(&operation.selection_set, &mut names)
            }
            ast::Definition::FragmentDefinition(fragment) => {
                conditions_in(&fragment.selection_set, &mut names)
            }
            _ => {}
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn conditions_in(selections: &[ast::Selection], names: &mut Vec<Box<str>>) {
    for selection in selections {
        let (directives, inside): (_, &[ast::Selection]) = match selection {
            ast::Selection::Field(field) => (&field.directives, &field.selection_set),
            ast::Selection::InlineFragment(fragment) => (&fragment.directives, &fragment.selection_set),
            ast::Selection::FragmentSpread(spread) => (&spread.directives, &[]),
        };
        for name in ["skip", "include"] {
            let variable = directives.get(name).and_then(|directive| {
                directive.specified_argument_by_name("if").and_then(|value| value.as_variable())
            });
            names.extend(variable.map(|name| name.as_str().into()));
        }
        conditions_in(inside, names);
    }
}

/// Where a variable was declared.
pub(super) fn declared_at(
    definition: &apollo_compiler::Node<ast::VariableDefinition>,
    sources: &apollo_compiler::parser::SourceMap,
) -> Option<Place> {
    place(definition.location(), sources)
}
