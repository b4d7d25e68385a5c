//! `[viewer]`: how to learn where a viewer is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::listener::ListenerConfig;
use crate::config::problem::Span;
use crate::config::quantity::FilePath;
use crate::model::country::Country;
use crate::model::token::is_token;
use crate::model::viewer::UnknownViewer;

/// The header that is asked for a country unless the file says otherwise.
const COUNTRY_HEADER: &str = "CloudFront-Viewer-Country";

/// How to learn where a viewer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewerConfig {
    /// Headers that carry a country code, believed from trusted peers only; lower case.
    pub country_headers: Vec<String>,
    /// The user's own MMDB.
    pub geoip: Option<PathBuf>,
    /// What to do when no source knows.
    #[serde(serialize_with = "in_words")]
    pub unknown: UnknownViewer,
}

impl Default for ViewerConfig {
    fn default() -> Self {
        Self {
            country_headers: vec![COUNTRY_HEADER.to_ascii_lowercase()],
            geoip: None,
            unknown: UnknownViewer::Any,
        }
    }
}

fn in_words<S: Serializer>(unknown: &UnknownViewer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{unknown:?}").to_lowercase())
}

/// How to learn where a viewer is: a country header from a trusted peer, the database, the
/// built-in table, and `unknown` in the end.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct ViewerSection {
    /// Headers that carry a country code, in the order they are asked. Believed from
    /// `trusted_peers` only, removed from everyone else's requests.
    #[schemars(extend("default" = [COUNTRY_HEADER]))]
    country_headers: Field<Vec<Field<String>>>,
    /// A country or city database in MMDB format, loaded again when the file changes. Absent: the
    /// built-in table alone.
    geoip: Field<FilePath>,
    /// A viewer whose country no source knows may use `"any"` region of the route, counts as from
    /// a country (`"US"`), or is refused by routes that have a residency (`"refuse"`).
    #[schemars(extend(
        "default" = "any",
        "examples" = ["any", "refuse"],
        "x-takes" = "`\"any\"`, `\"refuse\"` or a country code"
    ))]
    pub(super) unknown: Field<String>,
}

impl ViewerSection {
    pub(super) fn check(
        &self,
        span: Span,
        listeners: &[ListenerConfig],
        context: &CheckContext<'_>,
    ) -> ViewerConfig {
        let default = ViewerConfig::default();
        let believed = listeners
            .iter()
            .any(|listener| !listener.trusted_peers.is_empty());
        if self.country_headers.items().next().is_some() && !believed {
            let message = "country headers are believed from `trusted_peers` only, and no listener \
                           has any";
            let help =
                "name the proxies in front on the listener: trusted_peers = [\"10.0.0.0/8\"]";
            let place = self.country_headers.place(span);
            context.error("header-without-trusted-peers", place, message, help);
        }
        ViewerConfig {
            country_headers: match self.country_headers.get() {
                Some(_) => self.headers(context),
                None => default.country_headers,
            },
            geoip: context.path(&self.geoip),
            unknown: self.unknown(context).unwrap_or(default.unknown),
        }
    }

    fn headers(&self, context: &CheckContext<'_>) -> Vec<String> {
        let good = self.country_headers.items().filter(|(name, span)| {
            let good = is_token(name);
            if !good {
                let message = format!("`{name}` cannot be the name of a header");
                context.fault("bad-header", *span, message);
            }
            good
        });
        good.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    fn unknown(&self, context: &CheckContext<'_>) -> Option<UnknownViewer> {
        let (word, span) = self.unknown.written()?;
        match word.as_str() {
            "any" => Some(UnknownViewer::Any),
            "refuse" => Some(UnknownViewer::Refuse),
            code => {
                let country = Country::parse(code.as_bytes());
                if country.is_none() {
                    let message = format!("`{code}` is not a country code");
                    let help = "write \"any\", \"refuse\", or a code of two letters such as \"US\"";
                    context.error("bad-country", span, message, help);
                }
                country.map(UnknownViewer::Country)
            }
        }
    }
}
