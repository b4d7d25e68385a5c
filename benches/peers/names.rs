//! Names on a command line, and what they stand for.

use crate::proxy::{PROXIES, Proxy};

/// The proxy of this name.
pub(crate) fn proxy(name: &str) -> Option<Proxy> {
    PROXIES.into_iter().find(|proxy| proxy.name() == name)
}

/// What each of the names, which commas divide, stands for.
///
/// # Errors
/// When nothing is called so, with the name.
pub(crate) fn each<T>(names: &str, named: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let each = names.split(',').map(str::trim);
    each.map(|name| named(name).ok_or_else(|| format!("nothing is called `{name}`")))
        .collect()
}
