//! `${VAR}` inside string values.

use crate::config::problem::Problem;

/// Looks up a variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a string cannot be expanded.
#[derive(Debug)]
pub(super) struct ExpandFault<'a> {
    /// The piece of the string at fault, as written.
    pub(super) reference: &'a str,
    /// What is wrong with it; its place is not known here.
    pub(super) problem: Problem,
}

/// `text` with `${VAR}`, `${VAR:-default}` and `${VAR:?message}` replaced and `$$` as one dollar.
///
/// As in a shell, `:-` and `:?` treat an empty variable like an absent one. A value is taken as
/// it is: a `$` in it means nothing.
pub(super) fn expand<'a>(text: &'a str, env: Environment<'_>) -> Result<String, ExpandFault<'a>> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}');
            let reference = end.map_or(&rest[dollar..], |end| &rest[dollar..dollar + 2 + end + 1]);
            let value = match end {
                Some(end) => variable(&inner[..end], env),
                None => Err(malformed("`${` without a closing `}`")),
            };
            expanded.push_str(&value.map_err(|problem| ExpandFault { reference, problem })?);
            rest = &rest[dollar + reference.len()..];
        } else {
            // A lone dollar, as in a regular expression or a password.
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(inner: &str, env: Environment<'_>) -> Result<String, Problem> {
    let (name, alternative) = match inner.split_once(':') {
        Some((name, alternative)) => (name, Some(alternative)),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts_well || !goes_on_well {
        return Err(malformed(&format!("`{name}` names no variable")));
    }
    let value = env(name);
    let unset = format!("the environment variable `{name}` is not set");
    let undefined = |message| Problem::error("undefined-variable", None, message);
    let Some(alternative) = alternative else {
        let help = format!("set it, or write a default: `${{{name}:-default}}`");
        return value.ok_or_else(|| undefined(unset).help(help));
    };
    let value = value.filter(|value| !value.is_empty());
    match (alternative.strip_prefix('-'), alternative.strip_prefix('?')) {
        (Some(default), _) => Ok(value.unwrap_or_else(|| default.to_owned())),
        (None, Some(message)) => value.ok_or_else(|| undefined(format!("{unset}: {message}"))),
        (None, None) => Err(malformed("after the `:` comes `-default` or `?message`")),
    }
}

fn malformed(message: &str) -> Problem {
    Problem::error("bad-variable", None, message).help("write `$$` for a dollar sign")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_home(text: &str) -> Result<String, &'static str> {
        let env = |name: &str| match name {
            "HOME" => Some("/home/me$HOME".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &env).map_err(|fault| fault.problem.code)
    }

    #[test]
    fn variables_are_replaced_once_and_never_in_their_values() {
        assert_eq!(with_home("a ${HOME} b").unwrap(), "a /home/me$HOME b");
        assert_eq!(with_home("${NONE:-x:y}${EMPTY:-z}").unwrap(), "x:yz");
        assert_eq!(with_home("$$ $5 ${EMPTY}").unwrap(), "$ $5 ");
    }

    #[test]
    fn absent_variables_and_rubbish_are_faults() {
        assert_eq!(with_home("${NONE}"), Err("undefined-variable"));
        assert_eq!(with_home("${EMPTY:?give it}"), Err("undefined-variable"));
        assert_eq!(with_home("${HOME"), Err("bad-variable"));
        assert_eq!(with_home("${1a}"), Err("bad-variable"));
        assert_eq!(with_home("${HOME:x}"), Err("bad-variable"));
    }
}
