//! How many files this process may open, and who gets them: a process that runs out of them while it works fails where it
//! hurts, so it is seen to before it begins.

use crate::config;
use crate::source::broker::BrokerSettings;
use crate::store::embedded::EmbeddedSettings;

/// Files without which `dev` does not begin: log, store, watches of definitions, and some connections.
const FILES_MIN: usize = 256;
/// Most that the store keeps open.
const STORE_FILES_MAX: usize = 900;

/// Shares what may be opened: half for connections, a quarter for the store's tables, as many for the log.
/// What projections read the log with comes from what the others leave: connections are seldom as many as they may be. Answers what was
/// lowered, for a person.
///
/// # Errors
/// They are too few.
pub fn share(
    files_max: Option<usize>,
    (serve, store, log): (&mut config::Serve, &mut EmbeddedSettings, &mut BrokerSettings),
) -> Result<Option<String>, String> {
    let Some(files_max) = files_max else { return Ok(None) };
    if files_max < FILES_MIN {
        return Err(format!(
            "this process may open {files_max} files at once, but {FILES_MIN} are the least that log, store and \
             connections need; raise the limit before it starts, as with `ulimit -n 4096`"
        ));
    }
    store.open_files = (files_max / 4).min(STORE_FILES_MAX);
    log.partitions_max = log.partitions_max.min(files_max / 4);
    let connections_max = files_max / 2;
    if serve.connections <= connections_max {
        return Ok(None);
    }
    let wanted = std::mem::replace(&mut serve.connections, connections_max);
    Ok(Some(format!(
        "`serve.connections` is {connections_max} instead of {wanted}: this process may open {files_max} files at once"
    )))
}

/// The limit of this process; `None` where the system does not say it, or there is none.
pub fn files_max() -> Option<usize> {
    soft_limit(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(files_max: usize) -> (Result<Option<String>, String>, usize, usize) {
        let (mut serve, mut store) = (config::Serve::default(), EmbeddedSettings::default());
        let mut log = BrokerSettings::default();
        let said = share(Some(files_max), (&mut serve, &mut store, &mut log));
        assert!(said.is_err() || log.partitions_max <= files_max / 4);
        (said, serve.connections, store.open_files)
    }

    #[test]
    fn few_files_are_shared_and_too_few_are_refused() {
        let (said, ..) = shared(255);
        assert!(said.is_err_and(|said| said.contains("may open 255 files") && said.contains("ulimit -n")));
        let (said, connections, store) = shared(256);
        assert!(said.is_ok_and(|said| said.is_some_and(|said| said.contains("is 128 instead of 1024"))));
        assert_eq!((connections, store), (128, 64));
        assert_eq!(shared(2_048), (Ok(None), 1_024, 512));
        assert_eq!(shared(1_000_000), (Ok(None), 1_024, 900));
    }

    #[test]
    fn the_limit_is_read_as_linux_writes_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             7823                 7823                 processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
