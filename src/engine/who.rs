//! Who does something, for logs and for other people: a person at a machine, or a process of one.
//!
//! Comes in: what the environment says, which anybody can set: it names, and proves nothing.

/// Letters of a name that are kept.
const NAME_MAX: usize = 64;

/// `user@host`.
pub fn person() -> String {
    let user = first_of(&["USER", "LOGNAME", "USERNAME"]).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", host())
}

/// `host:pid`.
pub fn process() -> String {
    format!("{}:{}", host(), std::process::id())
}

fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().and_then(|name| plain(&name));
    kernel.or_else(|| first_of(&["HOSTNAME", "COMPUTERNAME"])).unwrap_or_else(|| "localhost".to_owned())
}

fn first_of(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| plain(&std::env::var(name).ok()?))
}

/// A name without what would break a line or a table.
fn plain(name: &str) -> Option<String> {
    let plain: String = name
        .chars()
        .filter(|letter| letter.is_alphanumeric() || "._-+".contains(*letter))
        .take(NAME_MAX)
        .collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_breaks_a_line() {
        assert_eq!(plain("ada\n"), Some("ada".to_owned()));
        assert_eq!(plain("build box\t7"), Some("buildbox7".to_owned()));
        assert_eq!(plain(" \n"), None);
        assert_eq!(plain(&"x".repeat(100)).map(|name| name.len()), Some(NAME_MAX));
        assert!(person().contains('@') && process().contains(':'));
    }
}
