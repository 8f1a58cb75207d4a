//! Tekton's `$(…)`.

use anyhow::{Result, bail};

/// Replace each `$(…)` in `text` by what `value` says of it, once and from left to right: what was put in is not looked at
/// again. An expression that `value` does not know is an error, as it would arrive in the step as it stands.
pub(super) fn substitute(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> Result<String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((expression, tail)) = after.split_once(')') else { bail!("`{text}`: `$(` without `)`") };
        let Some(put) = value(expression) else { bail!("`$({expression})` in `{text}` is not known here") };
        done.push_str(before);
        done.push_str(&put);
        rest = tail;
    }
    done.push_str(rest);
    Ok(done)
}

/// Every expression in `$(…)`.
pub fn expressions(text: &str) -> Vec<&str> {
    text.split("$(")
        .skip(1)
        .filter_map(|part| part.split_once(')').map(|(expression, _)| expression))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{expressions, substitute};

    fn known(expression: &str) -> Option<String> {
        (expression == "params.a").then(|| "x$(params.a)".to_owned())
    }

    #[test]
    fn each_expression_is_replaced_once() {
        assert_eq!(substitute("-$(params.a)-$(params.a)$", known).unwrap(), "-x$(params.a)-x$(params.a)$");
        assert_eq!(expressions("$(a.b)/$(c)$"), ["a.b", "c"]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (text, error) in [
            ("$(params.b)", "`$(params.b)` in `$(params.b)` is not known here"),
            ("$(params.a", "`$(params.a`: `$(` without `)`"),
        ] {
            assert_eq!(substitute(text, known).unwrap_err().to_string(), error);
        }
    }
}
