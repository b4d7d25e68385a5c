//! `${VAR}` inside string values.

/// Looks up a variable of the environment.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a string cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpandFault {
    /// A stable short name.
    pub(super) code: &'static str,
    /// The piece of the string at fault, as written.
    pub(super) reference: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// `text` with `${VAR}`, `${VAR:-default}` and `${VAR:?message}` replaced and `$$` as one dollar.
///
/// As in a shell, `:-` and `:?` treat an empty variable like an absent one. A value is taken as
/// it is: a `$` in it means nothing.
pub(super) fn expand(text: &str, env: Environment<'_>) -> Result<String, ExpandFault> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(reference) = after.strip_prefix('{') {
            let Some(end) = reference.find('}') else {
                return Err(malformed(&rest[dollar..], "`${` without a closing `}`"));
            };
            let whole = &rest[dollar..dollar + 2 + end + 1];
            expanded.push_str(&variable(&reference[..end], whole, env)?);
            rest = &reference[end + 1..];
        } else {
            // A lone dollar, as in a regular expression or a password.
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(inner: &str, whole: &str, env: Environment<'_>) -> Result<String, ExpandFault> {
    let (name, alternative) = match inner.find(':') {
        Some(colon) => (&inner[..colon], Some(&inner[colon + 1..])),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts_well || !goes_on_well {
        return Err(malformed(whole, &format!("`{name}` names no variable")));
    }
    let value = env(name);
    let Some(alternative) = alternative else {
        return value.ok_or_else(|| ExpandFault {
            code: "undefined-variable",
            reference: whole.to_owned(),
            message: format!("the environment variable `{name}` is not set"),
            help: Some(format!(
                "set it, or write a default: `${{{name}:-default}}`"
            )),
        });
    };
    let value = value.filter(|value| !value.is_empty());
    if let Some(default) = alternative.strip_prefix('-') {
        return Ok(value.unwrap_or_else(|| default.to_owned()));
    }
    let Some(message) = alternative.strip_prefix('?') else {
        return Err(malformed(
            whole,
            "after the `:` comes `-default` or `?message`",
        ));
    };
    value.ok_or_else(|| ExpandFault {
        code: "undefined-variable",
        reference: whole.to_owned(),
        message: format!("the environment variable `{name}` is not set: {message}"),
        help: None,
    })
}

fn malformed(reference: &str, message: &str) -> ExpandFault {
    ExpandFault {
        code: "bad-variable",
        reference: reference.to_owned(),
        message: message.to_owned(),
        help: Some("write `$$` for a dollar sign".to_owned()),
    }
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
        expand(text, &env).map_err(|fault| fault.code)
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
