//! Who can tell about what is folded, and is asked to do something: a running `dev`, this process on the data of one, or the
//! store that many processes share.
//!
//! Where `cassandra.nodes` is set commands speak of the processes that share that cluster, unless `--data` names the data of a
//! `dev`; else of the `dev` whose data these settings name.

use std::path::Path;
use std::sync::Arc;

use crate::cli::data::{self, DataLock, Holder};
use crate::cli::{Context, Exit, Failed, unreachable};
use crate::engine::{Embedded, Looked, Overseeing, Status};
use crate::serve::client::ClientError;
use crate::serve::{
    Backend, Endpoint, ParkedAction, ParkedDetail, ParkedDone, ParkedError, ParkedList, ParkedQuery,
    PauseOrder, Paused,
};

/// Who is asked.
pub enum Teller {
    /// A running process.
    Running(Endpoint),
    /// This process, which has opened the data without folding anything, and holds them.
    Own { engine: Arc<Embedded>, _lock: DataLock },
    /// This process, which looks into the store that others share.
    Cluster(Arc<Overseeing>),
}

impl Teller {
    /// Finds out who is to be asked.
    pub async fn find(context: &Context, data: Option<&std::path::PathBuf>) -> Result<Teller, Failed> {
        match data.is_none() && !context.settings.cassandra.nodes.is_empty() {
            true => cluster(context).await.map(Teller::Cluster),
            false => of_data(context, &context.data_dir(data)).await,
        }
    }

    /// Says why where the data cannot be looked at.
    pub async fn opened(&self) -> Result<(), Failed> {
        match self {
            Teller::Own { engine, .. } if engine.serving().is_none() => {
                Err(unreachable(engine.status().await.diagnostics.join("; ")))
            }
            _ => Ok(()),
        }
    }

    pub async fn status(&self) -> Result<Status, Failed> {
        match self {
            Teller::Running(endpoint) => read(endpoint.get("/admin/status").await),
            Teller::Own { engine, .. } => Ok(engine.status().await),
            Teller::Cluster(overseeing) => overseeing.status().await.map_err(unreachable),
        }
    }

    pub async fn parked(&self, query: ParkedQuery) -> Result<ParkedList, Failed> {
        match self {
            Teller::Running(endpoint) => {
                read(endpoint.get(&format!("/admin/parked?{}", encoded(&query))).await)
            }
            Teller::Own { engine, .. } => engine.parked(query).await.map_err(failed),
            Teller::Cluster(overseeing) => overseeing.parked(query).await.map_err(failed),
        }
    }

    pub async fn parked_key(&self, key: &str, query: ParkedQuery) -> Result<Vec<ParkedDetail>, Failed> {
        match self {
            Teller::Running(endpoint) => {
                let path = format!("/admin/parked/{}?{}", percent_encoded(key), encoded(&query));
                let mut reply: serde_json::Value = read(endpoint.get(&path).await)?;
                read(Ok(reply["parked"].take()))
            }
            Teller::Own { engine, .. } => engine.parked_key(key.to_owned(), query).await.map_err(failed),
            Teller::Cluster(overseeing) => overseeing.parked_key(key, query).await.map_err(failed),
        }
    }

    /// Pauses a projection, or lets it fold again.
    pub async fn set_paused(&self, order: PauseOrder) -> Result<Paused, Failed> {
        match self {
            Teller::Running(endpoint) => {
                let what = if order.pause { "pause" } else { "resume" };
                let (projection, by) = (percent_encoded(&order.projection), percent_encoded(&order.by));
                let path = format!("/admin/projections/{projection}/{what}?by={by}");
                match endpoint.post(&path, "application/json", b"").await {
                    Err(ClientError::Refused { status: 400, message, .. }) => Err((Exit::Usage, message)),
                    reply => read(reply),
                }
            }
            Teller::Own { engine, .. } => engine.set_paused(order).await.map_err(failed),
            Teller::Cluster(overseeing) => overseeing.set_paused(order).await.map_err(failed),
        }
    }

    /// One step for the key of an id.
    pub async fn release_parked(&self, id: &str, action: ParkedAction) -> Result<ParkedDone, Failed> {
        let done = match self {
            Teller::Running(endpoint) => {
                let first = action.first.map(|first| format!("?first={}", percent_encoded(&first)));
                let (id, release, first) = (percent_encoded(id), action.release, first.unwrap_or_default());
                let path = format!("/admin/parked/{id}/{release}{first}");
                return read(endpoint.post(&path, "application/json", b"").await);
            }
            Teller::Own { engine, .. } => engine.release_parked(id.to_owned(), action).await,
            Teller::Cluster(overseeing) => overseeing.release_parked(id, action).await,
        };
        match done {
            // Another process has freed it meanwhile.
            Err(ParkedError::NotThere(_)) => Ok(ParkedDone::default()),
            done => done.map_err(failed),
        }
    }
}

/// Looks into the store that processes share.
#[cfg(all(feature = "cassandra", feature = "kafka"))]
async fn cluster(context: &Context) -> Result<Arc<Overseeing>, Failed> {
    use crate::cli::cluster;
    use crate::engine::who;
    use crate::source::{Source, kafka::Kafka};

    let loaded = crate::engine::load_with(&context.project, &Default::default(), &context.settings.lint);
    let loaded = loaded.map_err(|error| (Exit::Invalid, error.to_string()))?;
    let definitions = loaded.definitions.ok_or_else(faulty)?;
    let kafka = &context.settings.kafka;
    let source = match kafka.brokers.is_empty() {
        true => None,
        false => Some(Arc::new(Kafka::open(kafka).map_err(unreachable)?) as Arc<dyn Source>),
    };
    let store = cluster::connect(context, &definitions).await?;
    let asking = (who::person(), Default::default());
    Overseeing::open(definitions, store.as_ref(), source, asking).await.map_err(cluster::failed)
}

#[cfg(not(all(feature = "cassandra", feature = "kafka")))]
async fn cluster(_: &Context) -> Result<Arc<Overseeing>, Failed> {
    let reason =
        "`cassandra.nodes` is set, and this program was built without its features `cassandra` and `kafka`";
    Err((Exit::Invalid, reason.to_owned()))
}

/// Finds a running process, or opens the data.
async fn of_data(context: &Context, data: &Path) -> Result<Teller, Failed> {
    if !data.join("log").is_dir() {
        return Err(unreachable(format!(
            "{} holds no data of Kinora; `kinora dev` makes them",
            data.display()
        )));
    }
    let lock = match data::take(data).map_err(unreachable)? {
        Holder::Running(endpoint) => return Ok(Teller::Running(endpoint)),
        Holder::Us(lock) => lock,
    };
    let (broker, store) = (data::open_log(data)?, data::open_store(data)?);
    let settings = super::dev::engine_settings(&context.settings, vec![0; 32]);
    let engine = Embedded::idle(Arc::new(broker), Arc::new(store), settings);
    engine.set_refused(unseen(context, &engine).await?);
    Ok(Teller::Own { engine, _lock: lock })
}

/// Opens what answered last. Says why nothing of it can be shown where the definitions do not fit.
async fn unseen(context: &Context, engine: &Embedded) -> Result<Vec<String>, Failed> {
    let loaded = crate::engine::load_with(&context.project, &Default::default(), &context.settings.lint);
    let Some(definitions) = loaded.map_err(|error| (Exit::Invalid, error.to_string()))?.definitions else {
        return Ok(vec![FAULTY.to_owned()]);
    };
    let found = engine.look(&definitions).await.map_err(unreachable)?;
    Ok(match found {
        Looked::Opened => Vec::new(),
        Looked::Empty => vec!["nothing is folded yet; `kinora dev` does it".to_owned()],
        Looked::OtherDefinitions => {
            vec![
                "the definitions have changed since the rows were made; `kinora dev` makes them anew"
                    .to_owned(),
            ]
        }
    })
}

const FAULTY: &str = "the definitions have faults, see `kinora check`";

#[cfg(all(feature = "cassandra", feature = "kafka"))]
fn faulty() -> Failed {
    (Exit::Invalid, FAULTY.to_owned())
}

fn failed(error: ParkedError) -> Failed {
    match error {
        ParkedError::NotThere(_) | ParkedError::Refused(_) => (Exit::Usage, error.to_string()),
        ParkedError::Unavailable(reason) => unreachable(reason),
    }
}

fn read<T: serde::de::DeserializeOwned>(reply: Result<serde_json::Value, ClientError>) -> Result<T, Failed> {
    let reply = reply.map_err(unreachable)?;
    serde_json::from_value(reply)
        .map_err(|error| unreachable(format!("the answer is not of this program: {error}")))
}

fn encoded(query: &ParkedQuery) -> String {
    let mut text = format!("limit={}", query.limit);
    for (name, value) in [("projection", query.projection.as_deref()), ("after", query.after.as_deref())] {
        if let Some(value) = value {
            text.push_str(&format!("&{name}={}", percent_encoded(value)));
        }
    }
    text
}

/// A path segment: all but letters, digits and `-._~` as `%XX` (RFC 3986, section 2).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_key_becomes_one_path_segment() {
        assert_eq!(percent_encoded("{\"id\":\"a/b\"}"), "%7B%22id%22%3A%22a%2Fb%22%7D");
        assert_eq!(percent_encoded("o-1_x.~"), "o-1_x.~");
    }
}
