//! What answers requests: a generation's tables, and the graph over them.

use std::sync::Arc;

use crate::engine::{Definitions, EngineError};
use crate::resolve::{Graph, GraphSettings, Limits};
use crate::store::Tables;

/// How a process answers.
#[derive(Clone, Debug)]
pub struct AnswerSettings {
    pub limits: Limits,
    /// Keys for cursors: the first signs, all verify. At least one.
    pub cursor_secrets: Vec<Vec<u8>>,
    pub introspection: bool,
}

impl AnswerSettings {
    /// Every setting at its default, and a key for cursors.
    pub fn new(cursor_secret: impl Into<Vec<u8>>) -> AnswerSettings {
        AnswerSettings {
            limits: Limits::default(),
            cursor_secrets: vec![cursor_secret.into()],
            introspection: true,
        }
    }
}

/// What answers requests at one moment. A request keeps the one it began with.
pub struct Serving {
    pub generation: u32,
    pub graph: Arc<Graph>,
    pub tables: Arc<dyn Tables>,
}

impl Serving {
    /// The graph of definitions over the tables of a generation.
    pub(super) fn new(
        definitions: &Definitions,
        (generation, tables): (u32, Arc<dyn Tables>),
        settings: &AnswerSettings,
    ) -> Result<Arc<Serving>, EngineError> {
        let settings = GraphSettings {
            limits: settings.limits,
            cursor_secrets: settings.cursor_secrets.clone(),
            definitions_hash: definitions.hash.clone(),
            feeds: definitions.feeds.clone(),
            introspection: settings.introspection,
        };
        let graph = Graph::new(Arc::clone(&definitions.model), Arc::clone(&definitions.plan), settings)
            .map_err(EngineError::Graph)?;
        Ok(Arc::new(Serving { generation, graph: Arc::new(graph), tables }))
    }
}
