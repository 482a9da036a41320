//! Projections paused and resumed: in the store, where whoever folds looks; on tables of one process its loops are told at once.
//!
//! A pause is that of a generation: changed definitions fold everything anew, and begin unpaused.

use crate::clock::now_ms;
use crate::engine::{Definitions, Embedded, Overseeing, parked};
use crate::handler::Projection;
use crate::serve::{ParkedError, PauseOrder, Paused};
use crate::store::Tables;
use crate::store::coordination::Pause;

/// The projection of that name.
pub(super) fn projection<'d>(
    definitions: &'d Definitions,
    name: &str,
) -> Result<&'d Projection, ParkedError> {
    let projections = &definitions.projections;
    projections.iter().find(|found| *found.name == *name).map(|found| &**found).ok_or_else(|| {
        let names: Vec<&str> = projections.iter().map(|projection| &*projection.name).collect();
        ParkedError::Refused(format!("there is no projection {name:?}; there are {}", names.join(", ")))
    })
}

/// Writes down what is ordered; answers what stands now, and what stood. Whoever folds heeds it within about a second.
///
/// # Errors
/// There is no such projection; the store fails.
pub(super) async fn order(
    tables: &dyn Tables,
    definitions: &Definitions,
    order: PauseOrder,
) -> Result<Paused, ParkedError> {
    let name = &projection(definitions, &order.projection)?.name;
    let standing = tables.pauses().await.map_err(parked::failed)?;
    let standing = standing.into_iter().find(|pause| pause.projection == *name);
    let (is_news, pause) = match order.pause {
        true => {
            let new = Pause { projection: name.clone(), by: order.by.into(), since_ms: now_ms() };
            let pause = tables.pause(&new).await.map_err(parked::failed)?;
            (standing.is_none(), Some(pause))
        }
        false => {
            tables.resume(name).await.map_err(parked::failed)?;
            (standing.is_some(), standing)
        }
    };
    Ok(Paused {
        projection: name.to_string(),
        paused: order.pause,
        changed: is_news,
        by: pause.as_ref().map(|pause| pause.by.to_string()),
        since_ms: pause.as_ref().map(|pause| pause.since_ms),
    })
}

impl Embedded {
    /// Pauses a projection of the generation that answers, or lets it fold again. It outlives the process.
    ///
    /// # Errors
    /// There is no such projection; nothing answers yet; the store fails.
    pub async fn set_paused(&self, ordered: PauseOrder) -> Result<Paused, ParkedError> {
        let nothing =
            || ParkedError::Unavailable("no generation answers yet, so none can be paused".to_owned());
        let (definitions, serving) =
            (self.definitions().ok_or_else(nothing)?, self.serving().ok_or_else(nothing)?);
        let done = order(serving.tables.as_ref(), &definitions, ordered).await?;
        self.set_pauses(&serving.tables.pauses().await.map_err(parked::failed)?);
        Ok(done)
    }
}

impl Overseeing {
    /// Pauses a projection, or lets it fold again: whoever folds it heeds that within about a second.
    ///
    /// # Errors
    /// There is no such projection; the store fails.
    pub async fn set_paused(&self, ordered: PauseOrder) -> Result<Paused, ParkedError> {
        order(self.tables().as_ref(), self.definitions(), ordered).await
    }
}
