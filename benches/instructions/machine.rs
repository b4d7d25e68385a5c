//! What counts depend on besides the source.

use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::proxy::PROGRAM;

/// The argument that makes this program only say what the processor can do.
pub(crate) const FEATURES: &str = "--features-alone";

/// Two counts can be compared when these are the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// Another compiler makes other code.
    rustc: String,
    target: String,
    profile: String,
    /// It chooses what processor programs see.
    valgrind: String,
    /// The version of what `memcpy` comes from.
    libc: String,
    /// By these, libraries choose between their ways to copy, hash and encrypt.
    features: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here(valgrind: String) -> io::Result<Self> {
        let compiler = said(Command::new("rustc").arg("-vV"))?;
        let line = |key| {
            let value = compiler.lines().find_map(|line| line.strip_prefix(key));
            value.unwrap_or_default().trim().to_owned()
        };
        let folder = Path::new(PROGRAM).parent().and_then(Path::file_name);
        let libc = said(Command::new("ldd").arg("--version"))?;
        let program = std::env::current_exe()?;
        let mut features = Command::new("valgrind");
        features.args(["--tool=none", "-q"]).arg(program);
        Ok(Self {
            rustc: line("release:"),
            target: line("host:"),
            profile: folder.unwrap_or_default().to_string_lossy().into_owned(),
            valgrind,
            libc: libc_version(&libc),
            features: said(features.arg(FEATURES))?.trim().to_owned(),
        })
    }

    /// What differs, in words.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let all = [
            ("rustc", &self.rustc, &other.rustc),
            ("target", &self.target, &other.target),
            ("profile", &self.profile, &other.profile),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("libc", &self.libc, &other.libc),
            ("processor", &self.features, &other.features),
        ];
        all.into_iter()
            .filter(|(_, here, there)| here != there)
            .map(|(what, here, there)| format!("{what} \"{there}\", here \"{here}\""))
            .collect()
    }
}

/// What the processor can do, as a program sees it; under valgrind that is less than it can.
pub(crate) fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("lzcnt", is_x86_feature_detected!("lzcnt")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("movbe", is_x86_feature_detected!("movbe")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("aes", is_x86_feature_detected!("aes")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
        ("adx", is_x86_feature_detected!("adx")),
        ("rdrand", is_x86_feature_detected!("rdrand")),
        ("rdseed", is_x86_feature_detected!("rdseed")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let all = [("unknown", true)];
    let names = all.into_iter().filter(|(_, is_there)| *is_there);
    let names: Vec<_> = names.map(|(name, _)| name).collect();
    names.join(" ")
}

/// The last word of the first line of what `ldd --version` says; the words before name the
/// distributor's own patches, which leave `memcpy` alone.
fn libc_version(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

fn said(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("{program}: {}", output.status)))
}
