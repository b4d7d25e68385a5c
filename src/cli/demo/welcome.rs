//! What a demo prints once it serves: where everything is, and commands to paste.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::demo::control_flag::DEFAULT_CONTROL;
use crate::cli::options::DEFAULT_ADMIN;
use crate::cli::table::columns;
use crate::demo::Regions;
use crate::demo::fault::Fault;
use crate::demo::files::{DemoFiles, WorldPlan};

/// How this program is called in commands to paste: by its name where the search path leads to
/// it, else by the file that runs now.
fn own_command() -> String {
    let Ok(own) = std::env::current_exe() else {
        return "meridian".to_owned();
    };
    let is_own = |file: PathBuf| file.canonicalize().is_ok_and(|file| file == own);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The first of that name is the one a shell takes.
    let first = std::env::split_paths(&path)
        .map(|folder| folder.join("meridian"))
        .find(|file| file.is_file());
    if first.is_some_and(is_own) {
        "meridian".to_owned()
    } else {
        shell_word(&own.display().to_string())
    }
}

/// The text as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/+@%:,=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What the demo prints once it serves.
pub(super) fn welcome(
    plan: &WorldPlan,
    regions: &Regions,
    control: SocketAddr,
    world: &DemoFiles,
) -> String {
    let mut rows = vec![["REGION", "DELAY", "ADDRESSES"].map(str::to_owned).to_vec()];
    for region in regions.all() {
        let ports: Vec<_> = region.ports().iter().map(u16::to_string).collect();
        rows.push(vec![
            region.name().to_owned(),
            format!("{} ms", region.delay().as_millis()),
            format!("127.0.0.1:{}", ports.join(" ")),
        ]);
    }
    let admin = format!("http://{}", plan.admin);
    let admin_flag = flag_unless("--admin", &admin, DEFAULT_ADMIN);
    let control = format!("http://{control}");
    let control_flag = flag_unless("--control", &control, DEFAULT_CONTROL);
    let https = format!("https://{}/", shown_host(plan.https));
    let http = format!("http://{}/", shown_host(plan.http));
    let config = world.config();
    let (config, certificate) = (config.display(), world.certificate());
    let certificate = certificate.display();
    let regions = columns(&rows);
    let meridian = own_command();
    let faults = faults_to_try(&meridian, &control_flag, &http);
    format!(
        "{regions}\n\
         proxy   {https}  {http}\n\
         admin   {admin}\n\
         config  {config} (edit it: it reloads; certificate: {certificate})\n\n\
         Try, in another terminal:\n  \
         curl -k -i {https}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: JP' {https}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: DE' {https}records/7\n  \
         {meridian} explain --live --country BR --path /{admin_flag}\n  \
         {meridian} status{admin_flag}\n\n\
         Watch a region's bad day. In a second terminal, what viewers notice, a line a second:\n  \
         {meridian} demo watch{control_flag}\n\n\
         In a third, one fault after the other, the last command after each:\n\
         {faults}  \
         {meridian} demo --help  # lists all {count}\n\n\
         Ctrl-C ends everything.\n",
        count = Fault::WORDS.len(),
    )
}

/// Commands to paste, each with what one should see then.
fn faults_to_try(meridian: &str, control_flag: &str, http: &str) -> String {
    let download = format!("now try: curl -o /dev/null {http}download");
    let row = |command: &str, seen: &str| {
        let command = format!("  {meridian} demo {command}{control_flag}");
        vec![command, format!("# {seen}")]
    };
    let mut rows: Vec<_> = TO_TRY.map(|(command, seen)| row(command, seen)).into();
    rows.push(row("cut us-east-1", &download));
    rows.push(row("heal all", "wait until us-east-1 serves again"));
    columns(&rows)
}

/// Faults that show the most, and what one should see.
const TO_TRY: [(&str, &str); 9] = [
    ("fail us-east-1", "eu-west-1 answers; no GET lost"),
    (
        "hang us-east-1",
        "the same, GETs wait some 100 ms for a moment",
    ),
    ("slow us-east-1", "the same, though its health checks pass"),
    ("gray us-east-1", "the same, though its health checks pass"),
    (
        "half us-east-1",
        "the same: no broken body reaches a viewer",
    ),
    (
        "endpoint-gray us-east-1",
        "one endpoint leaves, the region stays",
    ),
    (
        "flap us-east-1",
        "one move away; it is not trusted at once again",
    ),
    (
        "pause us-east-1",
        "an ordinary day: nobody moves, and so for deploy, crawl, batch",
    ),
    (
        "fail us-east-1 eu-west-1",
        "ap-southeast-1 answers, 120 ms away",
    ),
];

/// The flag with its value, where the default would not do.
fn flag_unless(flag: &str, value: &str, default: &str) -> String {
    if value == default {
        String::new()
    } else {
        format!(" {flag} {value}")
    }
}

/// The address as a client on this machine writes it.
fn shown_host(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_or_quotes_is_one_word_of_a_shell() {
        assert_eq!(shell_word("/opt/bin/meridian"), "/opt/bin/meridian");
        assert_eq!(shell_word("/my apps/it's"), r"'/my apps/it'\''s'");
    }
}
