//! Values with a range or a unit: what a key takes, read and described in one place.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::fault::ValueFault;
use crate::config::scalar::Scalar;
use crate::config::value;

/// `true` or `false`, also as a string, where a variable was replaced.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend("type" = ["boolean", "string"], "x-takes" = "boolean"))]
pub(super) struct Boolean(bool);

impl TryFrom<Scalar> for Boolean {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        match scalar {
            Scalar::Boolean(flag) => Ok(Self(flag)),
            Scalar::Text(text) if text == "true" => Ok(Self(true)),
            Scalar::Text(text) if text == "false" => Ok(Self(false)),
            other => Err(other.wrong_type("`true` or `false`")),
        }
    }
}

impl From<Boolean> for bool {
    fn from(Boolean(flag): Boolean) -> Self {
        flag
    }
}

/// A whole number, both ends included, also as a string.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "anyOf" = [{ "type": "integer", "minimum": LEAST, "maximum": MOST }, { "type": "string" }],
    "x-takes" = format!("integer, {LEAST} to {MOST}"),
))]
pub(super) struct Integer<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> TryFrom<Scalar> for Integer<LEAST, MOST> {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let number = match scalar {
            Scalar::Integer(number) => u32::try_from(number).ok(),
            Scalar::Text(text) if text.parse::<i64>().is_ok() => text.parse().ok(),
            other => return Err(other.wrong_type("an integer")),
        };
        let number = number.filter(|number| (LEAST..=MOST).contains(number));
        let fault = || out_of_range(format!("this is from {LEAST} to {MOST}"));
        number.map(Self).ok_or_else(fault)
    }
}

impl<const LEAST: u32, const MOST: u32> From<Integer<LEAST, MOST>> for u32 {
    fn from(Integer(number): Integer<LEAST, MOST>) -> Self {
        number
    }
}

impl<const LEAST: u32, const MOST: u32> From<Integer<LEAST, MOST>> for u8 {
    fn from(Integer(number): Integer<LEAST, MOST>) -> Self {
        const { assert!(MOST <= Self::MAX as u32, "more than a byte holds") }
        number as Self
    }
}

impl<const LEAST: u32, const MOST: u32> From<Integer<LEAST, MOST>> for usize {
    fn from(Integer(number): Integer<LEAST, MOST>) -> Self {
        number as Self
    }
}

/// A share from 0 to 1, also as `"20%"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "anyOf" = [{ "type": "number", "minimum": 0, "maximum": 1 }, { "type": "string" }],
    "x-takes" = "share, 0 to 1 or `\"20%\"`",
))]
pub(super) struct Fraction(f64);

impl TryFrom<Scalar> for Fraction {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let share = match scalar {
            Scalar::Float(number) => (0.0..=1.0).contains(&number).then_some(number),
            Scalar::Integer(0) => Some(0.0),
            Scalar::Integer(1) => Some(1.0),
            Scalar::Integer(_) => None,
            Scalar::Text(text) => value::share(&text),
            other => return Err(other.wrong_type("a number from 0 to 1")),
        };
        let fault = || out_of_range("a share is from 0 to 1, or from \"0%\" to \"100%\"");
        share.map(Self).ok_or_else(fault)
    }
}

impl From<Fraction> for f64 {
    fn from(Fraction(share): Fraction) -> Self {
        share
    }
}

/// Degrees, at most so many either way.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "anyOf" = [
        { "type": "number", "minimum": -f64::from(MOST), "maximum": MOST },
        { "type": "string" },
    ],
    "x-takes" = format!("number, -{MOST} to {MOST}"),
))]
pub(super) struct Degrees<const MOST: u8>(f64);

impl<const MOST: u8> TryFrom<Scalar> for Degrees<MOST> {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let number = match scalar {
            Scalar::Float(number) => Some(number),
            Scalar::Integer(number) => i32::try_from(number).ok().map(f64::from),
            Scalar::Text(text) => text.parse().ok(),
            other => return Err(other.wrong_type("a number")),
        };
        let most = f64::from(MOST);
        let number = number.filter(|number| (-most..=most).contains(number));
        let fault = || out_of_range(format!("this is from -{MOST} to {MOST} degrees"));
        number.map(Self).ok_or_else(fault)
    }
}

impl<const MOST: u8> From<Degrees<MOST>> for f32 {
    fn from(Degrees(number): Degrees<MOST>) -> Self {
        // Six digits are a metre: more than any policy asks for.
        number as Self
    }
}

/// A duration with a unit, at least so many milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "type" = "string",
    "pattern" = r"^(([0-9]+(us|ms|s|m|h|d))+|.*\$.*)$",
    "x-takes" = at_least("duration", LEAST, "ms"),
))]
pub(super) struct TimeSpan<const LEAST: u64>(Duration);

impl<const LEAST: u64> TryFrom<Scalar> for TimeSpan<LEAST> {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let help = "write a number and a unit: \"250ms\", \"5s\", \"10m\", \"24h\"";
        let Scalar::Text(text) = scalar else {
            return Err(scalar.wrong_type("a duration").help(help));
        };
        let Some(duration) = value::duration(&text) else {
            let message = format!("`{text}` is not a duration");
            return Err(ValueFault::new("bad-duration", message).help(help));
        };
        let least = Duration::from_millis(LEAST);
        if duration < least {
            return Err(out_of_range(format!("this is at least {least:?}")));
        }
        Ok(Self(duration))
    }
}

impl<const LEAST: u64> From<TimeSpan<LEAST>> for Duration {
    fn from(TimeSpan(duration): TimeSpan<LEAST>) -> Self {
        duration
    }
}

/// A number of bytes, at least so many.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "anyOf" = [{ "type": "integer", "minimum": 0 }, { "type": "string" }],
    "x-takes" = at_least("size", LEAST as u64, " bytes"),
))]
pub(super) struct ByteSize<const LEAST: usize>(usize);

impl<const LEAST: usize> TryFrom<Scalar> for ByteSize<LEAST> {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let help = "write bytes, or a number and a unit: \"64KiB\", \"10MB\"";
        let bytes = match scalar {
            Scalar::Integer(bytes) => u64::try_from(bytes).ok(),
            Scalar::Text(text) => value::size(&text),
            other => return Err(other.wrong_type("a size").help(help)),
        };
        let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
            return Err(ValueFault::new("bad-size", "this is not a size").help(help));
        };
        if bytes < LEAST {
            return Err(out_of_range(format!("this is at least {LEAST} bytes")));
        }
        Ok(Self(bytes))
    }
}

impl<const LEAST: usize> From<ByteSize<LEAST>> for usize {
    fn from(ByteSize(bytes): ByteSize<LEAST>) -> Self {
        bytes
    }
}

/// `200` or `"200-299"`: both ends of a range of status codes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "anyOf" = [{ "type": "integer", "minimum": 100, "maximum": 599 }, { "type": "string" }],
    "x-takes" = "status, or a range",
))]
pub(super) struct StatusRange(u16, u16);

impl TryFrom<Scalar> for StatusRange {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let range = match scalar {
            Scalar::Integer(code) => value::status(&code.to_string()),
            Scalar::Text(text) => value::status(&text),
            other => return Err(other.wrong_type("a status or a range of them")),
        };
        let fault = || {
            ValueFault::new("bad-status", "this is no range of status codes")
                .help("write 200 or \"200-299\"")
        };
        let (first, last) = range.ok_or_else(fault)?;
        Ok(Self(first, last))
    }
}

impl From<StatusRange> for (u16, u16) {
    fn from(StatusRange(first, last): StatusRange) -> Self {
        (first, last)
    }
}

/// Any value but a table or an array, as JSON has it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(extend(
    "type" = ["string", "number", "boolean"],
    "x-takes" = "string, number or boolean",
))]
pub(super) struct Plain(Value);

impl TryFrom<Scalar> for Plain {
    type Error = ValueFault;

    fn try_from(scalar: Scalar) -> Result<Self, ValueFault> {
        let help = "name a field within by its dotted path: { \"checks.db\" = \"ok\" }";
        let wrong =
            |kind| ValueFault::wrong_type("a string, a number or a boolean", kind).help(help);
        match scalar {
            Scalar::Text(text) => Ok(Self(text.into())),
            Scalar::Integer(number) => Ok(Self(number.into())),
            Scalar::Boolean(flag) => Ok(Self(flag.into())),
            Scalar::Float(number) => serde_json::Number::from_f64(number)
                .map(|number| Self(number.into()))
                .ok_or_else(|| wrong("no number")),
            Scalar::Other(kind) => Err(wrong(kind)),
        }
    }
}

impl From<Plain> for Value {
    fn from(Plain(value): Plain) -> Self {
        value
    }
}

/// A file, relative to the file that names it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(extend("x-takes" = "path"))]
pub(super) struct FilePath(pub(super) String);

fn out_of_range(message: impl Into<String>) -> ValueFault {
    ValueFault::new("out-of-range", message)
}

/// What a key takes that has a least value.
fn at_least(noun: &str, least: u64, unit: &str) -> String {
    if least == 0 {
        noun.to_owned()
    } else {
        format!("{noun}, at least {least}{unit}")
    }
}
