//! Commented files to begin with.

/// The presets by name, in the order to show them.
pub(super) const PRESETS: [(&str, &str); 4] = [
    (
        "cloudfront",
        include_str!("../../../config/cloudfront.toml"),
    ),
    (
        "global-accelerator",
        include_str!("../../../config/global-accelerator.toml"),
    ),
    ("sidecar", include_str!("../../../config/sidecar.toml")),
    ("local", include_str!("../../../config/local.toml")),
];

/// The text of the preset called `name`, if there is one.
#[must_use]
pub(super) fn preset(name: &str) -> Option<&'static str> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}
