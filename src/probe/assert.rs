//! Whether an answer to a probe is the one that was asked for.

use serde_json::Value;

use meridian_core::model::outcome::ProbeFailure;
use meridian_core::table::origin::ProbeSpec;

/// Bytes of a found value that are shown to people.
const SHOWN: usize = 100;

/// Whether `spec` looks at the body at all.
#[must_use]
pub fn reads_body(spec: &ProbeSpec) -> bool {
    spec.text.is_some() || !spec.json.is_empty() || spec.region_field.is_some()
}

/// Checks status, the region's name, text and JSON fields, in this order; the first thing that
/// is wrong is the failure. `region` is the name the answer must carry if `spec` has a region
/// field.
pub fn check(spec: &ProbeSpec, region: &str, status: u16, body: &[u8]) -> Result<(), ProbeFailure> {
    let (lowest, highest) = spec.status;
    if !(lowest..=highest).contains(&status) {
        return Err(ProbeFailure::Status(status));
    }
    let json = if spec.region_field.is_some() || !spec.json.is_empty() {
        serde_json::from_slice::<Value>(body).ok()
    } else {
        None
    };
    if let Some(field) = &spec.region_field {
        check_region(json.as_ref(), field, region)?;
    }
    if let Some(text) = &spec.text
        && !contains(body, text.as_bytes())
    {
        return Err(ProbeFailure::Text(text.clone()));
    }
    for (field, expected) in &spec.json {
        check_field(json.as_ref(), field, expected)?;
    }
    Ok(())
}

fn check_region(json: Option<&Value>, field: &str, region: &str) -> Result<(), ProbeFailure> {
    let found = json.map(|json| at_path(json, field)).unwrap_or_default();
    match found.first() {
        Some(Value::String(name)) if name == region => Ok(()),
        Some(Value::String(name)) => Err(ProbeFailure::WrongRegion(shorten(name.clone()))),
        other => Err(mismatch(json, field, other.copied(), region.to_owned())),
    }
}

fn check_field(json: Option<&Value>, field: &str, expected: &Value) -> Result<(), ProbeFailure> {
    let found = json.map(|json| at_path(json, field)).unwrap_or_default();
    let wrong = found.iter().find(|value| !equal(value, expected));
    // A path that leads nowhere fails: an answer without the checks proves nothing.
    if found.is_empty() || wrong.is_some() {
        let wrong = wrong.copied();
        return Err(mismatch(json, field, wrong, expected.to_string()));
    }
    Ok(())
}

fn mismatch(
    json: Option<&Value>,
    field: &str,
    found: Option<&Value>,
    expected: String,
) -> ProbeFailure {
    let found = match (json, found) {
        (None, _) => "not there, the body is no JSON".to_owned(),
        (Some(_), None) => "absent".to_owned(),
        (Some(_), Some(value)) => shorten(value.to_string()),
    };
    ProbeFailure::Json {
        field: field.to_owned(),
        found,
        expected,
    }
}

/// All values `path` leads to: steps are parted by dots, a step is an object's member, an array's
/// index, or `*` for every member. A member that is missing under a `*` counts as null.
fn at_path<'a>(json: &'a Value, path: &str) -> Vec<&'a Value> {
    const NOTHING: &Value = &Value::Null;
    let mut found = vec![json];
    let mut spread = false;
    for step in path.split('.') {
        let mut next = Vec::new();
        for value in found {
            match (step, value) {
                ("*", Value::Object(members)) => next.extend(members.values()),
                ("*", Value::Array(items)) => next.extend(items),
                (_, Value::Object(members)) if members.contains_key(step) => {
                    next.extend(members.get(step));
                }
                (_, Value::Array(items)) if item(items, step).is_some() => {
                    next.extend(item(items, step));
                }
                _ if spread => next.push(NOTHING),
                _ => {}
            }
        }
        spread |= step == "*";
        found = next;
    }
    found
}

fn item<'a>(items: &'a [Value], step: &str) -> Option<&'a Value> {
    step.parse::<usize>()
        .ok()
        .and_then(|index| items.get(index))
}

/// Equality as people mean it: 1 and 1.0 are the same number; strings differ by case.
fn equal(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            found == expected || found.as_f64() == expected.as_f64()
        }
        _ => found == expected,
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

fn shorten(mut text: String) -> String {
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(json: &[(&str, Value)]) -> ProbeSpec {
        ProbeSpec {
            json: json
                .iter()
                .map(|(field, value)| ((*field).to_owned(), value.clone()))
                .collect(),
            ..ProbeSpec::default()
        }
    }

    #[test]
    fn a_star_holds_only_if_every_member_does() {
        let spec = spec(&[("checks.*.status", json!("ok"))]);
        let good = br#"{"checks":{"db":{"status":"ok"},"queue":{"status":"ok"}}}"#;
        assert_eq!(check(&spec, "eu", 200, good), Ok(()));
        let bad = br#"{"checks":{"db":{"status":"ok"},"queue":{"status":"OK"}}}"#;
        assert!(matches!(
            check(&spec, "eu", 200, bad),
            Err(ProbeFailure::Json { found, .. }) if found == "\"OK\""
        ));
        let missing = br#"{"checks":{"db":{"status":"ok"},"queue":{}}}"#;
        assert!(check(&spec, "eu", 200, missing).is_err());
        assert!(check(&spec, "eu", 200, br#"{"checks":{}}"#).is_err());
    }

    #[test]
    fn arrays_are_walked_by_star_and_by_index() {
        let spec = spec(&[("a.*", json!(1)), ("a.0", json!(1.0))]);
        assert_eq!(check(&spec, "eu", 200, br#"{"a":[1,1.0]}"#), Ok(()));
        assert!(check(&spec, "eu", 200, br#"{"a":[1,2]}"#).is_err());
    }

    #[test]
    fn an_answer_of_another_region_is_said_as_such() {
        let spec = ProbeSpec {
            region_field: Some("region".to_owned()),
            ..ProbeSpec::default()
        };
        assert_eq!(check(&spec, "eu", 200, br#"{"region":"eu"}"#), Ok(()));
        assert_eq!(
            check(&spec, "eu", 200, br#"{"region":"us"}"#),
            Err(ProbeFailure::WrongRegion("us".to_owned()))
        );
        assert!(matches!(
            check(&spec, "eu", 200, b"fine"),
            Err(ProbeFailure::Json { .. })
        ));
    }

    #[test]
    fn status_and_text_are_checked_too() {
        let spec = ProbeSpec {
            text: Some("ready".to_owned()),
            ..ProbeSpec::default()
        };
        assert_eq!(
            check(&spec, "eu", 503, b"ready"),
            Err(ProbeFailure::Status(503))
        );
        assert_eq!(check(&spec, "eu", 204, b"we are ready"), Ok(()));
        assert_eq!(
            check(&spec, "eu", 200, b"Ready"),
            Err(ProbeFailure::Text("ready".to_owned()))
        );
    }

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        let spec = spec(&[("status", json!("ok"))]);
        let body = json!({ "status": "é".repeat(500) }).to_string();
        let failure = check(&spec, "eu", 200, body.as_bytes()).unwrap_err();
        assert!(failure.to_string().len() < 200);
    }
}
