//! The configuration loader: what is refused, where the caret goes, and what comes out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian_core::config::problem::{Problem, Severity};
use meridian_core::config::problems::{PlacedProblem, Problems};
use meridian_core::config::{self, Config, Reader};
use meridian_core::model::id::RegionId;
use meridian_core::table::Written;
use meridian_core::table::origin::{HostField, UpstreamHttp};
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;
use meridian_core::table::traffic_policy::TrafficPolicy;
use proptest::prelude::*;
use serde_json::json;

/// The folder of the whole project.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package is in a folder")
}

/// A small world of files and variables.
#[derive(Default)]
struct FileWorld {
    files: BTreeMap<PathBuf, String>,
    variables: BTreeMap<String, String>,
}

impl FileWorld {
    fn of(main: &str) -> Self {
        Self::default().file("/etc/m/main.toml", main)
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(PathBuf::from(path), text.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self) -> Result<Config, Problems> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let read = |path: &Path| self.files.get(path).cloned().ok_or_else(missing);
        let list = |folder: &Path| {
            let files = self.files.keys();
            let inside = files.filter(|path| path.parent() == Some(folder));
            Ok(inside.cloned().collect())
        };
        let env = |name: &str| self.variables.get(name).cloned();
        let reader = Reader {
            read: &read,
            list: &list,
            env: &env,
        };
        config::load(Path::new("/etc/m/main.toml"), &reader)
    }
}

/// The least that works, to which a test adds its own lines.
const BASE: &str = r#"
[[listener]]
address = "127.0.0.1:8080"
[region.eu-west-1]
origins = ["https://eu.example.com"]
[region.us-east-1]
origins = ["https://us.example.com"]
[[route]]
regions = ["us-east-1", "eu-west-1"]
"#;

/// `BASE` begins with an empty line, so what is written after it begins at this line.
const AFTER_BASE: usize = 10;

fn problems_of(text: &str) -> Vec<PlacedProblem> {
    match FileWorld::of(text).load() {
        Ok(config) => config.problems(config.warnings.clone()).placed(),
        Err(problems) => problems.placed(),
    }
}

fn good(text: &str) -> Config {
    FileWorld::of(text)
        .load()
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of `BASE` with `lines` after it: code, line after the base, column.
fn problems_after_base(lines: &str) -> Vec<(&'static str, usize, usize)> {
    let problems = problems_of(&format!("{BASE}{lines}")).into_iter();
    let place = |problem: PlacedProblem| {
        let line = problem.line.unwrap_or(0) + 1;
        let column = problem.column.unwrap_or(0);
        (problem.code, line.saturating_sub(AFTER_BASE), column)
    };
    problems.map(place).collect()
}

#[test]
fn every_kind_of_mistake_has_its_code_line_and_column() {
    let route =
        |lines: &str| format!("[[route]]\npath = \"/x\"\nregions = [\"eu-west-1\"]\n{lines}");
    let cases: &[(&str, (&str, usize, usize))] = &[
        ("[limts]", ("unknown-key", 1, 2)),
        ("[limits]\nheader_bites = 5", ("unknown-key", 2, 1)),
        ("[limits]\nheader_bytes = \"64 kib\"", ("bad-size", 2, 16)),
        ("[limits]\nheader_bytes = \"9MiB\"", ("out-of-range", 2, 16)),
        ("[limits]\nheader_fields = 1", ("out-of-range", 2, 17)),
        ("[limits]\nheader_fields = true", ("wrong-type", 2, 17)),
        ("[limits]\nretry_budget = \"120%\"", ("out-of-range", 2, 16)),
        ("[limits]\nreplay_bytes = \"1GiB\"", ("bad-order", 2, 16)),
        ("[timeouts]\nconnect = \"5\"", ("bad-duration", 2, 11)),
        ("[timeouts]\nconnect = 5", ("wrong-type", 2, 11)),
        ("[timeouts]\nconnect = \"0s\"", ("out-of-range", 2, 11)),
        (
            "[timeouts]\nfirst_byte = \"31s\"",
            ("first-byte-over-request", 2, 14),
        ),
        (
            "[timeouts]\nrequest = \"4s\"",
            ("first-byte-over-request", 2, 11),
        ),
        (
            "[dns]\nservers = [\"ns.example.com\"]",
            ("bad-address", 2, 12),
        ),
        ("[dns]\nmin_ttl = \"2m\"", ("bad-order", 2, 11)),
        ("[drain]\ndelay = \"10s\"", ("drain-too-long", 1, 1)),
        (
            "[outlier_detection]\nfailure_percent = 101",
            ("out-of-range", 2, 19),
        ),
        (
            "[outlier_detection]\nsuspect_after = 0",
            ("out-of-range", 2, 17),
        ),
        ("[hedge]\nmin_delay = \"2s\"", ("bad-order", 2, 13)),
        ("[hedge]\nmax_delay = \"10ms\"", ("bad-order", 2, 13)),
        ("[probation]\nanswers = 0", ("out-of-range", 2, 11)),
        ("[probation]\ninterval = 5", ("wrong-type", 2, 12)),
        ("[state]\ndir = \"\"", ("bad-value", 2, 7)),
        ("[access_log]\nenabled = \"yes\"", ("wrong-type", 2, 11)),
        (
            "[admin]\naddress = \"0.0.0.0:9901\"",
            ("admin-without-token", 2, 11),
        ),
        (
            "[admin]\naddress = \"127.0.0.1:8080\"",
            ("duplicate-listener", 2, 11),
        ),
        (
            "[admin]\ntoken = { file = \"none\" }",
            ("unreadable", 2, 18),
        ),
        (
            "[admin]\ntoken = { env = \"NONE\" }",
            ("undefined-variable", 2, 17),
        ),
        ("[admin]\ntoken = {}", ("bad-secret", 2, 9)),
        (
            "[admin]\ntoken = \"x${NONE}\"",
            ("undefined-variable", 2, 11),
        ),
        ("[admin]\ntoken = \"${NONE:x}\"", ("bad-variable", 2, 10)),
        (
            "[viewer]\ncountry_headers = [\"X-C\"]",
            ("header-without-trusted-peers", 2, 19),
        ),
        ("[viewer]\nunknown = \"germany\"", ("bad-country", 2, 11)),
        ("[probe]\ninterval = \"0s\"", ("out-of-range", 2, 12)),
        ("[probe]\nstatus = 42", ("bad-status", 2, 10)),
        ("[probe]\npath = \"health\"", ("bad-path", 2, 8)),
        ("[probe]\nfast_interval = \"9s\"", ("bad-order", 2, 17)),
        ("[probe]\njson = { a = [1] }", ("wrong-type", 2, 14)),
        ("[region.a]", ("missing-key", 1, 1)),
        ("[region.a]\norigins = []", ("empty-origins", 2, 11)),
        (
            "[region.a]\norigins = [\"eu.example.com\"]",
            ("bad-url", 2, 12),
        ),
        ("[region.a]\norigins = \"https://a\"", ("wrong-type", 2, 11)),
        (
            "[region.z]\norigins = [\"https://us.example.com\"]",
            ("duplicate-origin", 2, 12),
        ),
        (
            "[region.\"a b\"]\norigins = [\"https://a\"]",
            ("bad-name", 1, 9),
        ),
        (
            "[region.a]\norigins = [\"https://a\"]\nhttp = \"3\"",
            ("bad-value", 3, 8),
        ),
        (
            "[region.a]\norigins = [\"https://a\"]\nhost = \"a b\"",
            ("bad-host", 3, 8),
        ),
        (
            "[region.a]\norigins = [\"https://a\"]\ntls = { cert = \"c\" }",
            ("bad-tls", 3, 7),
        ),
        (
            "[region.a]\norigins = [\"https://a\"]\nlocation = { lat = 91, lon = 0 }",
            ("out-of-range", 3, 20),
        ),
        ("[[listener]]", ("missing-key", 1, 1)),
        ("[[listener]]\naddress = \":8080\"", ("bad-address", 2, 11)),
        (
            "[[listener]]\naddress = \"127.0.0.1:8080\"",
            ("duplicate-listener", 2, 11),
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:1\"\ntls = { cert = \"c\" }",
            ("bad-tls", 3, 7),
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:1\"\ntrusted_peers = [\"10.0.0.0/33\"]",
            ("bad-cidr", 3, 18),
        ),
        (
            "[[listener]]\naddress = \"0.0.0.0:1\"\nproxy_protocol = \"v1v2\"",
            ("proxy-without-trusted-peers", 3, 18),
        ),
        (
            "[[route]]\nregions = [\"eu-west-1\"]",
            ("duplicate-match", 1, 1),
        ),
        ("[[route]]\npath = \"/x\"", ("missing-key", 1, 1)),
        (
            "[[route]]\npath = \"/x\"\nregions = []",
            ("no-regions", 3, 11),
        ),
        (
            "[[route]]\npath = \"/x\"\nregions = [\"eu-wst-1\"]",
            ("unknown-region", 3, 12),
        ),
        (
            "[[route]]\npath = \"/x\"\nregions = [\"eu-west-1\", \"eu-west-1\"]",
            ("duplicate-region", 3, 25),
        ),
        (&route("name = \"route-1\""), ("duplicate-route", 4, 8)),
        (&route("host = \"a:80\""), ("bad-host", 4, 8)),
        (&route("policy = \"fastest\""), ("bad-value", 4, 10)),
        (&route("policy = \"weighted\""), ("bad-weights", 4, 10)),
        (&route("weights = { eu-west-1 = 1 }"), ("bad-weights", 4, 1)),
        (
            &route("policy = \"weighted\"\nweights = { eu-west-1 = 0 }"),
            ("out-of-range", 5, 25),
        ),
        (
            &route("prefer = { DE = [\"us-east-1\"] }"),
            ("region-not-in-route", 4, 18),
        ),
        (
            &route("prefer = { Germany = [\"eu-west-1\"] }"),
            ("bad-country", 4, 12),
        ),
        (&route("prefer = { DE = [] }"), ("no-regions", 4, 17)),
        (
            &route("prefer = { DE = [\"eu-west-1\"], de = [\"eu-west-1\"] }"),
            ("duplicate-country", 4, 32),
        ),
        (&route("retry = { attempts = 9 }"), ("out-of-range", 4, 22)),
        (&route("data = {}"), ("unknown-key", 4, 1)),
    ];
    let wrong = cases.iter().filter_map(|(lines, expected)| {
        let found = problems_after_base(lines);
        (found != [*expected])
            .then(|| format!("{lines}\n  expected {expected:?}\n  found {found:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_file_without_anything_says_what_is_missing() {
    let codes: Vec<_> = problems_of("").iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["no-listener", "no-region", "no-route"]);
}

#[test]
fn a_missing_main_file_is_a_problem_of_no_line() {
    let problems = FileWorld::default().load().unwrap_err();
    assert_eq!(problems.placed()[0].code, "unreadable");
    assert_eq!(problems.placed()[0].line, None);
    assert!(
        problems
            .render(false)
            .starts_with("error[unreadable]: /etc/m/main.toml: no such file")
    );
}

/// Ten mistakes of ten kinds.
const TEN: &str = r#"workers = "many"
[[listener]]
adress = "0.0.0.0:8080"
address = "0.0.0.0"
trusted_peers = ["10.0.0/8"]
[region.eu-west-1]
origins = ["eu.example.com"]
[region.us-east-1]
origins = []
[probe]
interval = "5 seconds"
[[route]]
regions = ["us-east-1", "eu-wst-1"]
policy = "fastest"
[route.residency]
"@eurpe" = ["us-east-1"]
"#;

#[test]
fn ten_mistakes_give_ten_carets() {
    let problems = FileWorld::of(TEN).load().unwrap_err();
    let text = problems.render(false);
    let carets = text
        .lines()
        .filter(|line| line.trim_start().starts_with('|') && line.contains('^'));
    assert_eq!(carets.count(), 10, "{text}");
    assert!(text.ends_with("meridian: 10 errors\n"), "{text}");
}

#[test]
fn a_problem_looks_like_rustc_says_it() {
    let text = format!("{BASE}[probe]\nintervall = \"5s\"\n");
    insta::assert_snapshot!(FileWorld::of(&text).load().unwrap_err().render(false), @r#"
    error[unknown-key]: unknown key `intervall`
      --> /etc/m/main.toml:11:1
       |
    11 | intervall = "5s"
       | ^^^^^^^^^
       |
       = help: did you mean `interval`?

    meridian: 1 error
    "#);
}

#[test]
fn every_syntax_error_is_reported_and_causes_no_others() {
    let text = BASE.replace("address = \"127", "address = 127") + "[probe\nfall = = 3\n";
    let codes: Vec<_> = problems_of(&text)
        .iter()
        .map(|problem| problem.code)
        .collect();
    assert!(codes.len() >= 3, "{codes:?}");
    assert!(codes.iter().all(|code| *code == "syntax"), "{codes:?}");
}

#[test]
fn the_line_of_an_included_file_is_named() {
    let main = format!("include = [\"routes.d/*.toml\"]\n{BASE}");
    let world = FileWorld::of(&main)
        .file(
            "/etc/m/routes.d/b.toml",
            "\n[[route]]\nname = \"b\"\npath = \"/b\"\nregions = [\"us-est-1\"]",
        )
        .file(
            "/etc/m/routes.d/a.toml",
            "[dns]\nmin_tll = \"5s\"\n[region.us-east-1]\norigins = [\"https://x\"]",
        )
        .file("/etc/m/routes.d/c.txt", "not read");
    let problems = world.load().unwrap_err().placed();
    let places: Vec<_> = problems
        .iter()
        .map(|p| {
            (
                p.code,
                p.file.as_deref().unwrap(),
                p.line.unwrap(),
                p.column.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            ("unknown-key", "/etc/m/routes.d/a.toml", 2, 1),
            ("duplicate-key", "/etc/m/routes.d/a.toml", 3, 9),
            ("unknown-region", "/etc/m/routes.d/b.toml", 5, 12),
        ]
    );
    assert_eq!(
        problems[2].help.as_deref(),
        Some("did you mean `us-east-1`?")
    );
}

#[test]
fn included_files_add_to_the_main_one_and_paths_are_their_own() {
    let main = format!("include = [\"more/x.toml\"]\n{BASE}");
    let world = FileWorld::of(&main).file(
        "/etc/m/more/x.toml",
        "[[listener]]\naddress = \"127.0.0.1:8443\"\ntls = { cert = \"c.pem\", key = \"/k.pem\" }\n\
         [[route]]\nname = \"x\"\npath = \"/x\"\nregions = [\"eu-west-1\"]\npolicy = \"geo\"\n",
    );
    let config = world.load().unwrap();
    assert_eq!(config.listeners.len(), 2);
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].cert, Path::new("/etc/m/more/c.pem"));
    assert_eq!(tls.certificates[0].key, Path::new("/k.pem"));
    let route = &config.table.routes[1];
    assert_eq!(config.table.place(route.written), "/etc/m/more/x.toml:4");
    assert_eq!(route.policy_written, Written { file: 1, line: 8 });
    let span = config.named_files[Path::new("/k.pem")];
    let problem = Problem::error("bad-certificate", Some(span), "it is empty");
    let placed = config.problems(vec![problem]).placed();
    assert_eq!((placed[0].line, placed[0].column), (Some(3), Some(31)));
}

#[test]
fn an_included_file_that_is_missing_or_includes_more_is_refused() {
    let main =
        format!("include = [\"gone.toml\", \"*/x.toml\", \"more.toml\", \"none/*\"]\n{BASE}");
    let world = FileWorld::of(&main).file("/etc/m/more.toml", "include = []");
    let problems = world.load().unwrap_err().placed();
    let codes: Vec<_> = problems
        .iter()
        .map(|p| (p.code, p.line, p.column))
        .collect();
    assert_eq!(
        codes,
        [
            ("unreadable", Some(1), Some(12)),
            ("bad-include", Some(1), Some(25)),
            ("bad-include", Some(1), Some(1)),
        ]
    );
}

#[test]
fn a_route_carries_what_was_written_and_where() {
    let config = good(
        r#"
[[listener]]
address = "127.0.0.1:8080"
[region.us-east-1]
origins = ["https://us.example.com"]
[region.eu-west-1]
origins = ["http://10.0.0.1:81"]
host = "origin"
http = "auto"
[region.eu-west-1.probe]
path = "/eu"
[probe]
path = "/all"
interval = "500ms"
[timeouts]
connect = "2s"
idle = "80s"
[[route]]
name = "api"
host = "*.Example.com"
path = "/v1"
regions = ["us-east-1", "eu-west-1"]
policy = "weighted"
weights = { us-east-1 = 3, eu-west-1 = "1" }
timeouts = { first_byte = "1s" }
[route.prefer]
"@europe" = ["us-east-1"]
"@eu" = ["eu-west-1", "us-east-1"]
DE = ["eu-west-1"]
[route.residency]
FR = ["eu-west-1", "us-east-1"]
"#,
    );
    let table = &config.table;
    let names: Vec<_> = table.regions.iter().map(|region| &*region.name).collect();
    assert_eq!(names, ["eu-west-1", "us-east-1"]);
    let (eu, us) = (&table.regions[0], &table.regions[1]);
    assert_eq!((&*eu.probe.path, &*us.probe.path), ("/eu", "/all"));
    assert_eq!(eu.probe.interval, Duration::from_millis(500));
    assert_eq!(eu.probe.fast_interval, Duration::from_millis(500));
    assert_eq!(eu.upstream.host, HostField::Origin);
    assert_eq!(eu.upstream.http, UpstreamHttp::Auto);
    assert!(eu.place.is_some());
    assert_eq!(table.place(eu.written), "/etc/m/main.toml:6");
    let route = &table.routes[0];
    assert_eq!(route.host, HostPattern::Suffix("example.com".to_owned()));
    assert_eq!(route.order, [RegionId(1), RegionId(0)]);
    assert_eq!(
        route.policy,
        Policy::Weighted(vec![(RegionId(0), 1), (RegionId(1), 3)])
    );
    assert_eq!((route.written.line, route.policy_written.line), (18, 23));
    let lines: Vec<_> = route.prefer.iter().map(|line| line.written.line).collect();
    assert_eq!(lines, [29, 28, 27]);
    assert_eq!(route.residency[0].written.line, 31);
    assert_eq!(route.timeouts.connect, Duration::from_secs(2));
    assert_eq!(route.timeouts.first_byte, Duration::from_secs(1));
    assert_eq!(config.listeners[0].timeouts.idle, Duration::from_secs(80));
    let codes: Vec<_> = config.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["residency-unknown-any"]);
}

#[test]
fn what_is_written_of_live_requests_reaches_the_table_and_the_rest_is_default() {
    let lines = "[outlier_detection]\nfailure_percent = 35\nlate_write_at_least = \"1s\"\n\
                 [hedge]\ntimes_p99 = 5\n[probation]\nanswers = 3\n";
    let traffic = good(&format!("{BASE}{lines}")).table.traffic;
    let default = TrafficPolicy::default();
    assert_eq!(traffic.outlier_detection.failure_percent, 35);
    let second = Duration::from_secs(1);
    assert_eq!(traffic.outlier_detection.late_write_at_least, second);
    let failures = default.outlier_detection.consecutive_failures;
    assert_eq!(traffic.outlier_detection.consecutive_failures, failures);
    assert_eq!(traffic.hedge.times_p99, 5);
    assert_eq!(traffic.hedge.min_delay, default.hedge.min_delay);
    assert_eq!(traffic.probation.answers, 3);
    assert_eq!(good(BASE).table.traffic, default);
}

#[test]
fn residency_lines_that_leave_a_country_without_a_region_are_refused() {
    let lines = "[viewer]\nunknown = \"refuse\"\n[[route]]\npath = \"/x\"\n\
                 regions = [\"eu-west-1\", \"us-east-1\"]\n\
                 [route.residency]\nDE = [\"us-east-1\"]\n\"@eu\" = [\"eu-west-1\"]\n";
    assert_eq!(
        problems_after_base(lines),
        [
            ("residency-conflict", 6, 8),
            ("residency-single-region", 7, 1),
            ("residency-single-region", 8, 1),
        ]
    );
}

#[test]
fn more_regions_than_a_table_holds_are_refused_once() {
    let mut text = String::from("[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let names: Vec<_> = (0..70).map(|number| format!("\"r{number:02}\"")).collect();
    for name in &names {
        text += &format!(
            "[region.{name}]\norigins = [\"https://{}\"]\n",
            name.replace('"', "")
        );
    }
    text += &format!("[[route]]\nregions = [{}]\n", names.join(", "));
    let codes: Vec<_> = problems_of(&text)
        .iter()
        .map(|problem| problem.code)
        .collect();
    assert_eq!(codes, ["too-many-regions"]);
}

#[test]
fn variables_and_secrets_are_resolved_and_secrets_never_shown() {
    let text = format!(
        "workers = \"${{WORKERS:-2}}\"\n{BASE}[admin]\naddress = \"0.0.0.0:${{PORT}}\"\n\
         token = {{ file = \"token\" }}\n"
    );
    let world = FileWorld::of(&text)
        .variable("PORT", "9000")
        .file("/etc/m/token", "hush-hush\n");
    let config = world.load().unwrap();
    assert_eq!(config.workers, 2);
    assert_eq!(config.admin.address.unwrap().port(), 9000);
    assert_eq!(config.admin.token.as_ref().unwrap().0, "hush-hush");
    assert!(!format!("{config:?}").contains("hush-hush"));
    assert!(config.named_files.contains_key(Path::new("/etc/m/token")));
}

#[test]
fn a_text_changes_the_content_hash_and_the_same_text_does_not() {
    let hash = |text: &str| good(text).content_hash;
    assert_eq!(hash(BASE), hash(BASE));
    assert_ne!(hash(BASE), hash(&format!("{BASE}# a word\n")));
}

#[test]
fn the_effective_configuration_says_how_traffic_returns() {
    let text = format!("{BASE}failback = {{ ramp = \"0s\" }}\n[failback]\nhold_down = \"90s\"\n");
    let effective = config::effective(&good(&text));
    let failback =
        |ramp| json!({"mode": "auto", "hold_down": 90.0, "hold_down_at_least": 2.0, "ramp": ramp});
    assert_eq!(effective["failback"], failback(300.0));
    assert_eq!(effective["route"][0]["failback"], failback(0.0));
}

/// The files of `config/`, from the disk.
fn shipped(name: &str) -> Result<Config, Problems> {
    let read = |path: &Path| std::fs::read_to_string(path);
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let reader = Reader {
        read: &read,
        list: &list,
        env: &|_| None,
    };
    let folder = root().join("config");
    config::load(&folder.join(name), &reader)
}

#[test]
fn every_shipped_file_loads_without_a_warning() {
    let folder = root().join("config");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".toml") {
            continue;
        }
        let config = shipped(&name).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = config.render_warnings(false);
        assert!(config.warnings.is_empty(), "{name}: {warnings}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen} files");
}

/// Each path through the schema's objects to a key, `*` for a name of the user's.
fn described(schema: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    let properties = schema["properties"].as_object();
    for (key, inner) in properties.into_iter().flatten() {
        let path = format!("{path}/{key}");
        found.push(path.clone());
        described(inner, &path, found);
        described(&inner["items"], &path, found);
        described(&inner["additionalProperties"], &path, found);
        for alternative in inner["anyOf"].as_array().into_iter().flatten() {
            described(alternative, &path, found);
        }
    }
}

/// Each path through the tables of a file, names of regions left out.
fn written(value: &toml::Value, path: &str, found: &mut Vec<String>) {
    match value {
        toml::Value::Array(items) => items.iter().for_each(|item| written(item, path, found)),
        toml::Value::Table(table) => {
            for (key, inner) in table {
                let path = format!("{path}/{key}");
                found.push(path.clone());
                match inner.as_table().filter(|_| path == "/region") {
                    Some(regions) => regions.values().for_each(|r| written(r, &path, found)),
                    None => written(inner, &path, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_example_shows_every_key_the_schema_describes() {
    let mut known = Vec::new();
    described(&config::schema(), "", &mut known);
    assert!(known.len() > 100, "{} keys", known.len());
    // A key that would only say again what another line of the example does.
    let unshown = ["/admin/token/", "/region/probe/", "/probe/host"];
    let folder = root().join("config");
    let text = std::fs::read_to_string(folder.join("example.toml")).unwrap();
    let mut shown = Vec::new();
    written(&text.parse::<toml::Table>().unwrap().into(), "", &mut shown);
    let is_shown = |path: &&String| {
        shown.contains(path) || unshown.iter().any(|prefix| path.starts_with(prefix))
    };
    let missing: Vec<_> = known.iter().filter(|path| !is_shown(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_described_key_is_read() {
    // A date fits no key: whoever reads it complains where it stands.
    let mut known = Vec::new();
    described(&config::schema(), "", &mut known);
    for path in known {
        let steps: Vec<_> = path.split('/').skip(1).collect();
        let line = match steps.as_slice() {
            ["listener" | "route" | "region"] => continue,
            ["region", rest @ ..] => format!("[region.x]\n{} = 2026-01-01\n", rest.join(".")),
            [table @ ("listener" | "route"), "tls", "certs", key] => {
                format!("[[{table}]]\ntls = {{ certs = [{{ {key} = 2026-01-01 }}] }}\n")
            }
            [table @ ("listener" | "route"), rest @ ..] => {
                format!("[[{table}]]\n{} = 2026-01-01\n", rest.join("."))
            }
            steps => format!("{} = 2026-01-01\n", steps.join(".")),
        };
        let problems = problems_of(&line);
        let complaint =
            |p: &&PlacedProblem| p.code == "wrong-type" && p.message.ends_with("a date");
        let alone = ["/admin/token/file", "/admin/token/env"];
        assert!(
            problems.iter().filter(complaint).count() == 1
                || alone.contains(&&*path)
                || path == "/route/weights",
            "{path} in {line}: {problems:#?}"
        );
    }
}

#[test]
fn the_reference_is_the_one_that_is_shipped() {
    let path = root().join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, config::reference()).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        shipped == config::reference(),
        "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_text_makes_the_loader_panic(text in "[\\[\\]{}=\"'.,#$a-z0-9 \n\u{e9}-]{0,120}") {
        let outcome = FileWorld::of(&text).load();
        if let Err(problems) = outcome {
            prop_assert!(problems.errors() > 0);
            let _ = problems.render(true);
        }
    }

    #[test]
    fn no_mutation_of_a_good_file_makes_the_loader_panic(
        cuts in proptest::collection::vec((0.0..1.0f64, 0usize..12, "[\\[\\]{}=\"$a-z0-9\n\u{e9}]{0,4}"), 1..5),
    ) {
        let mut text: Vec<char> = include_str!("../../../config/example.toml").chars().collect();
        for (place, length, new) in cuts {
            let start = (place * text.len() as f64) as usize;
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        match FileWorld::of(&text).load() {
            Ok(config) => prop_assert!(config.warnings.iter().all(|w| w.severity == Severity::Warning)),
            Err(problems) => prop_assert!(!problems.render(false).is_empty()),
        }
    }
}
