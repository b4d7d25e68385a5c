//! Every key a configuration may hold, described once: the reader, the JSON Schema and the
//! reference all follow this page.

use std::time::Duration;

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// What it is for, as Markdown.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

impl Section {
    /// The key called `name`.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What holds when it is absent, as it would be written; empty: nothing does.
    pub(super) default: &'static str,
    pub(super) required: bool,
    /// What it does, as Markdown.
    pub(super) doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Flag,
    /// A whole number, both ends included.
    Integer(u64, u64),
    /// `0.2` or `"20%"`.
    Share,
    /// Degrees, both ends included.
    Degrees(f64),
    /// `"250ms"`, at least the given one.
    Duration(Duration),
    /// `"64KiB"`, at least this many bytes.
    Size(u64),
    /// A file, relative to the file that names it.
    Path,
    /// A string, `{ file = ".." }` or `{ env = ".." }`; never printed.
    Secret,
    /// `200` or `"200-299"`.
    Status,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a text the description names.
    WordOr(&'static [&'static str], &'static str),
    List(&'static Self),
    /// A table whose keys are the user's: what a key is, and what each value is.
    Map(&'static str, &'static Self),
    /// Any value but a table.
    Plain,
    Table(&'static Section),
    /// `[[name]]`.
    Tables(&'static Section),
    /// One table of the first kind, or an array of the second.
    TableOrTables(&'static Section, &'static Section),
    /// `[name.X]`.
    Named(&'static str, &'static Section),
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        required: false,
        doc,
    }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: "",
        required: true,
        doc,
    }
}

const NONZERO: Kind = Kind::Duration(Duration::from_millis(1));
const ANY_DURATION: Kind = Kind::Duration(Duration::ZERO);
const COUNT: u64 = u32::MAX as u64;

/// The whole file.
pub(super) static ROOT: Section = Section {
    doc: "One TOML file, read as a whole: all mistakes are reported at once.",
    keys: &[
        key(
            "workers",
            Kind::Integer(0, 1024),
            "0",
            "Worker threads, each with its own listeners and pools; `0`: one per core. A change needs a restart.",
        ),
        key(
            "name",
            Kind::Text,
            "\"meridian\"",
            "What this proxy calls itself in `Via`, `CDN-Loop` and `Proxy-Status`. A request that already carries it in `CDN-Loop` is refused (508), so two proxies in one path need two names.",
        ),
        key(
            "include",
            Kind::List(&Kind::Text),
            "[]",
            "More files, relative to this one; a name may hold `*` and `?`. They may add listeners, routes, regions and sections this file does not have.",
        ),
        key(
            "listener",
            Kind::Tables(&LISTENER),
            "",
            "Where viewers connect; at least one.",
        ),
        key("admin", Kind::Table(&ADMIN), "", "Where operators connect."),
        key(
            "viewer",
            Kind::Table(&VIEWER),
            "",
            "How to learn where a viewer is.",
        ),
        key(
            "region",
            Kind::Named("region", &REGION),
            "",
            "A named place and the service as deployed there; at least one, at most 64.",
        ),
        key(
            "probe",
            Kind::Table(&PROBE),
            "",
            "What to ask every endpoint, all the time, to learn whether it is well and how far it is. `[region.X.probe]` overrides single keys.",
        ),
        key(
            "timeouts",
            Kind::Table(&TIMEOUTS),
            "",
            "Time limits. Those towards viewers may also stand on a listener, those towards origins on a route.",
        ),
        key(
            "limits",
            Kind::Table(&LIMITS),
            "",
            "Bounds that hold everywhere.",
        ),
        key(
            "dns",
            Kind::Table(&DNS),
            "",
            "How names of origins are resolved. The last good answer is kept when an answer is empty or an error.",
        ),
        key(
            "drain",
            Kind::Table(&DRAIN),
            "",
            "How to leave without dropping a request.",
        ),
        key(
            "access_log",
            Kind::Table(&ACCESS_LOG),
            "",
            "One JSON line per request.",
        ),
        key(
            "failback",
            Kind::Table(&FAILBACK),
            "",
            "How traffic returns to a region that was down and is well again.",
        ),
        key(
            "state",
            Kind::Table(&STATE),
            "",
            "What survives a restart: health, latency, what operators said, the last good configuration.",
        ),
        key(
            "route",
            Kind::Tables(&ROUTE),
            "",
            "Which requests may use which regions, and how to choose; at least one. The most specific host wins, then the longest path, whatever the order in the file.",
        ),
    ],
};

static LISTENER: Section = Section {
    doc: "Where viewers connect.",
    keys: &[
        required(
            "address",
            Kind::Text,
            "Address and port to bind: `\"0.0.0.0:8443\"` or `\"[::]:8443\"`.",
        ),
        key(
            "tls",
            Kind::TableOrTables(&TLS, &CERTIFICATE),
            "",
            "Speak TLS: one certificate, or an array of certificates chosen by SNI, of which the first is the default. Absent: plain text.",
        ),
        key(
            "trusted_peers",
            Kind::List(&Kind::Text),
            "[]",
            "Who may set viewer headers and send a PROXY header: networks (`\"10.0.0.0/8\"`), addresses, or `\"loopback\"`. Nobody unless written.",
        ),
        key(
            "proxy_protocol",
            Kind::Word(&["off", "v1v2"]),
            "\"off\"",
            "Whether trusted peers begin each connection with a PROXY header, version 1 or 2.",
        ),
        key(
            "timeouts",
            Kind::Table(&LISTENER_TIMEOUTS),
            "",
            "Time limits of this listener's viewers.",
        ),
    ],
};

static TLS: Section = Section {
    doc: "Certificates of a listener. They are loaded again when the files change.",
    keys: &[
        key(
            "cert",
            Kind::Path,
            "",
            "PEM file of the certificate chain, leaf first.",
        ),
        key("key", Kind::Path, "", "PEM file of its key."),
        key(
            "certs",
            Kind::Tables(&CERTIFICATE),
            "",
            "Several certificates instead of `cert` and `key`, chosen by SNI; the first is the default.",
        ),
        key(
            "client_ca",
            Kind::Path,
            "",
            "PEM file of the authorities that sign viewers' certificates. When present, a viewer must show one.",
        ),
    ],
};

static CERTIFICATE: Section = Section {
    doc: "A certificate and its key.",
    keys: &[
        required(
            "cert",
            Kind::Path,
            "PEM file of the certificate chain, leaf first.",
        ),
        required("key", Kind::Path, "PEM file of its key."),
    ],
};

static ADMIN: Section = Section {
    doc: "Where operators connect.",
    keys: &[
        key(
            "address",
            Kind::WordOr(&["off"], "an address and port"),
            "\"127.0.0.1:9901\"",
            "Address and port to bind, or `\"off\"`. Any but a loopback one needs a `token`. A change needs a restart.",
        ),
        key(
            "token",
            Kind::Secret,
            "",
            "What callers must send as `Authorization: Bearer ..`.",
        ),
    ],
};

static VIEWER: Section = Section {
    doc: "How to learn where a viewer is: a country header from a trusted peer, the database, the built-in table, and `unknown` in the end.",
    keys: &[
        key(
            "country_headers",
            Kind::List(&Kind::Text),
            "[\"CloudFront-Viewer-Country\"]",
            "Headers that carry a country code, in the order they are asked. Believed from `trusted_peers` only, removed from everyone else's requests.",
        ),
        key(
            "geoip",
            Kind::Path,
            "",
            "A country or city database in MMDB format, loaded again when the file changes. Absent: the built-in table alone.",
        ),
        key(
            "unknown",
            Kind::WordOr(&["any", "refuse"], "a country code"),
            "\"any\"",
            "A viewer whose country no source knows may use `\"any\"` region of the route, counts as from a country (`\"US\"`), or is refused by routes that have a residency (`\"refuse\"`).",
        ),
    ],
};

static REGION: Section = Section {
    doc: "A named place and the service as deployed there.",
    keys: &[
        required(
            "origins",
            Kind::List(&Kind::Text),
            "The service there, as URLs of scheme, host and port: `\"https://api-us.example.com\"`. Each address a name resolves to is an endpoint of its own.",
        ),
        key(
            "host",
            Kind::WordOr(&["viewer", "origin"], "a host name"),
            "\"viewer\"",
            "The `Host` the origin gets: the viewer's, the origin URL's, or always this one.",
        ),
        key(
            "http",
            Kind::Word(&["1.1", "2", "auto"]),
            "\"1.1\"",
            "The HTTP version to speak: HTTP/2 is by ALPN over TLS and by prior knowledge without; `\"auto\"` takes what the origin picks by ALPN.",
        ),
        key(
            "tls",
            Kind::Table(&ORIGIN_TLS),
            "",
            "How to verify `https` origins. Absent: by the system's roots and the URL's host.",
        ),
        key(
            "location",
            Kind::Table(&LOCATION),
            "",
            "Where it stands, for the `geo` policy. Known already for the names of AWS regions.",
        ),
        key(
            "probe",
            Kind::Table(&PROBE),
            "",
            "Keys of `[probe]` that differ here.",
        ),
    ],
};

static ORIGIN_TLS: Section = Section {
    doc: "TLS towards the origins of a region.",
    keys: &[
        key(
            "ca",
            Kind::Path,
            "",
            "PEM file of the authorities to trust instead of the system's.",
        ),
        key(
            "server_name",
            Kind::Text,
            "",
            "The name to ask for (SNI) and to verify, instead of the URL's host.",
        ),
        key(
            "cert",
            Kind::Path,
            "",
            "PEM file of our own certificate chain, when the origin asks for one.",
        ),
        key("key", Kind::Path, "", "PEM file of its key."),
    ],
};

static LOCATION: Section = Section {
    doc: "A point on the globe.",
    keys: &[
        required("lat", Kind::Degrees(90.0), "Degrees north."),
        required("lon", Kind::Degrees(180.0), "Degrees east."),
    ],
};

static PROBE: Section = Section {
    doc: "A probe.",
    keys: &[
        key(
            "path",
            Kind::Text,
            "\"/health\"",
            "Path and query of the GET.",
        ),
        key(
            "host",
            Kind::Text,
            "",
            "The `Host` of the probe. Absent: the origin URL's.",
        ),
        key(
            "interval",
            Kind::Duration(Duration::from_millis(100)),
            "\"5s\"",
            "Time between probes of one endpoint; each gap varies by 20 % either way.",
        ),
        key(
            "fast_interval",
            Kind::Duration(Duration::from_millis(100)),
            "\"1s\"",
            "The same while the endpoint's state is changing; at most `interval`.",
        ),
        key("timeout", NONZERO, "\"2s\"", "For one whole probe."),
        key(
            "status",
            Kind::Status,
            "\"200-299\"",
            "Status codes that pass.",
        ),
        key("text", Kind::Text, "", "Text the body must contain."),
        key(
            "json",
            Kind::Map("dotted path", &Kind::Plain),
            "",
            "JSON fields of the body and the value each must have: `{ status = \"healthy\", \"checks.*\" = \"ok\" }`; a `*` step stands for every member.",
        ),
        key(
            "region_field",
            Kind::Text,
            "",
            "The JSON field, by dotted path, that must name this region: an answer of another region fails. Absent: not checked.",
        ),
        key(
            "fall",
            Kind::Integer(1, 100),
            "3",
            "Failures in a row until unhealthy.",
        ),
        key(
            "rise",
            Kind::Integer(1, 100),
            "2",
            "Successes in a row until healthy.",
        ),
    ],
};

const HANDSHAKE: Key = key(
    "handshake",
    NONZERO,
    "\"5s\"",
    "A viewer's TLS handshake, and the PROXY header before it.",
);
const HEAD: Key = key("head", NONZERO, "\"10s\"", "A whole request head.");
const BODY_PROGRESS: Key = key(
    "body_progress",
    NONZERO,
    "\"15s\"",
    "A body that stands still, either way.",
);
const IDLE: Key = key(
    "idle",
    NONZERO,
    "\"75s\"",
    "A viewer's connection between requests. Longer than a load balancer in front keeps its own (60 s for an ALB), so that it closes first.",
);
const CONNECT: Key = key(
    "connect",
    NONZERO,
    "\"1s\"",
    "TCP towards an origin, and then TLS, each.",
);
const FIRST_BYTE: Key = key(
    "first_byte",
    NONZERO,
    "\"5s\"",
    "From sending a request to the response head, one attempt; at most `request`.",
);
const REQUEST: Key = key(
    "request",
    NONZERO,
    "\"30s\"",
    "All attempts together, until the response head.",
);
const RESUME_AFTER: Key = key(
    "resume_after",
    NONZERO,
    "\"1s\"",
    "A download that stands still for so long is asked for from another region, where that can go on with it; whichever sends the next byte first goes on.",
);
const UPSTREAM_IDLE: Key = key(
    "upstream_idle",
    NONZERO,
    "\"50s\"",
    "An unused connection to an origin. Shorter than an ALB (60 s) keeps it.",
);

static TIMEOUTS: Section = Section {
    doc: "Time limits.",
    keys: &[
        HANDSHAKE,
        HEAD,
        BODY_PROGRESS,
        IDLE,
        CONNECT,
        FIRST_BYTE,
        REQUEST,
        RESUME_AFTER,
        UPSTREAM_IDLE,
    ],
};

static LISTENER_TIMEOUTS: Section = Section {
    doc: "Time limits of one listener's viewers. Absent: as in `[timeouts]`.",
    keys: &[HANDSHAKE, HEAD, BODY_PROGRESS, IDLE],
};

static ROUTE_TIMEOUTS: Section = Section {
    doc: "Time limits of one route towards its origins. Absent: as in `[timeouts]`.",
    keys: &[
        BODY_PROGRESS,
        CONNECT,
        FIRST_BYTE,
        REQUEST,
        RESUME_AFTER,
        UPSTREAM_IDLE,
    ],
};

static LIMITS: Section = Section {
    doc: "Bounds that hold everywhere.",
    keys: &[
        key(
            "header_bytes",
            Kind::Size(1024),
            "\"64KiB\"",
            "One head, either way; at most 1 MiB.",
        ),
        key(
            "header_fields",
            Kind::Integer(10, 10_000),
            "100",
            "Fields of one head.",
        ),
        key(
            "connections_per_worker",
            Kind::Integer(1, 10_000_000),
            "10000",
            "Viewers' connections of one worker.",
        ),
        key(
            "replay_bytes",
            Kind::Size(0),
            "\"64KiB\"",
            "Of one request body, kept to send it again; a longer body is streamed and sent once.",
        ),
        key(
            "replay_total_bytes",
            Kind::Size(0),
            "\"64MiB\"",
            "All such bodies together.",
        ),
        key(
            "retry_budget",
            Kind::Share,
            "\"20%\"",
            "Retries as a share of requests, per destination region.",
        ),
        key(
            "retry_budget_minimum",
            Kind::Integer(0, COUNT),
            "3",
            "Retries that are always allowed at once, per destination region.",
        ),
        key(
            "idle_connections_per_endpoint",
            Kind::Integer(0, 100_000),
            "1024",
            "Unused connections kept per endpoint and worker.",
        ),
    ],
};

static DNS: Section = Section {
    doc: "How names of origins are resolved.",
    keys: &[
        key(
            "servers",
            Kind::List(&Kind::Text),
            "[]",
            "Servers to ask, port 53 unless written: `\"10.0.0.2\"`, `\"10.0.0.2:5353\"`. Empty: the system's.",
        ),
        key(
            "min_ttl",
            NONZERO,
            "\"5s\"",
            "An answer is kept at least this long, whatever its TTL.",
        ),
        key(
            "max_ttl",
            NONZERO,
            "\"60s\"",
            "An answer is asked for again after this long, whatever its TTL.",
        ),
        key(
            "keep_last_good",
            ANY_DURATION,
            "\"24h\"",
            "How long the last good answer is used while none comes.",
        ),
    ],
};

static DRAIN: Section = Section {
    doc: "How to leave without dropping a request. Together below 30 s, after which ECS and Kubernetes kill.",
    keys: &[
        key(
            "delay",
            ANY_DURATION,
            "\"5s\"",
            "From `/readyz` answering 503 to the listeners closing.",
        ),
        key(
            "timeout",
            ANY_DURATION,
            "\"20s\"",
            "From there to the end of the process at the latest.",
        ),
    ],
};

static ACCESS_LOG: Section = Section {
    doc: "One JSON line per request.",
    keys: &[
        key("enabled", Kind::Flag, "true", "Whether to write it at all."),
        key(
            "sample",
            Kind::Share,
            "1.0",
            "Share of successful requests to write; failovers and errors are always written.",
        ),
        key(
            "path",
            Kind::Path,
            "",
            "A file to append to. Absent: standard output.",
        ),
    ],
};

static FAILBACK: Section = Section {
    doc: "How traffic returns to a region that was down and is well again.",
    keys: &[
        key(
            "mode",
            Kind::Word(&["auto", "confirm", "manual"]),
            "\"auto\"",
            "`\"auto\"`: by itself, after the hold-down. `\"confirm\"`: after the hold-down it waits for `meridian confirm REGION`. `\"manual\"`: it waits for that, without a hold-down. The command leaves out what is left of a hold-down, and the ramp follows.",
        ),
        key(
            "hold_down",
            ANY_DURATION,
            "\"60s\"",
            "How long a region that was down must stay well before it gets viewers again. Doubled, up to 16 times as long, each time it falls again after that; ten calm minutes take a doubling back.",
        ),
        key(
            "ramp",
            ANY_DURATION,
            "\"5m\"",
            "How long its share of the viewers then takes to grow: 5, 10, 25 and 50 % for a quarter of this each, then all. Stands still while the region does worse than others. `\"0s\"`: all at once.",
        ),
    ],
};

static STATE: Section = Section {
    doc: "What survives a restart.",
    keys: &[key(
        "dir",
        Kind::Path,
        "",
        "A directory to keep it in, made where it is missing. Absent: memory only.",
    )],
};

static ROUTE: Section = Section {
    doc: "Which requests may use which regions, and how to choose.",
    keys: &[
        key(
            "name",
            Kind::Text,
            "\"route-N\"",
            "Unique; names the route in metrics and logs.",
        ),
        key(
            "host",
            Kind::Text,
            "",
            "`\"api.example.com\"`, or `\"*.example.com\"` for all names below it. Absent: any.",
        ),
        key("path", Kind::Text, "\"/\"", "How paths must begin."),
        required(
            "regions",
            Kind::List(&Kind::Text),
            "The regions it may use; the `failover` policy follows this order.",
        ),
        key(
            "policy",
            Kind::Word(&["latency", "failover", "geo", "weighted"]),
            "\"latency\"",
            "Among healthy regions: the lowest measured latency, the order written, the nearest to the viewer, or by weight.",
        ),
        key(
            "weights",
            Kind::Map("region", &Kind::Integer(1, 1_000_000)),
            "",
            "For `policy = \"weighted\"`: each region's weight, such as `{ us-east-1 = 3, eu-west-1 = 1 }`. One viewer stays in one region.",
        ),
        key(
            "prefer",
            Kind::Map("country or group", &Kind::List(&Kind::Text)),
            "",
            "Regions to try first, in order, by country code (`JP`) or group (`\"@eu\"`, `\"@eea\"`, `\"@europe\"`, `\"@asia\"`, ..); the most specific line counts.",
        ),
        key(
            "residency",
            Kind::Map("country or group", &Kind::List(&Kind::Text)),
            "",
            "The only regions that may ever serve these viewers, whatever happens. Every line that names the viewer's country holds.",
        ),
        key(
            "retry",
            Kind::Table(&RETRY),
            "",
            "How far to go for an answer.",
        ),
        key(
            "timeouts",
            Kind::Table(&ROUTE_TIMEOUTS),
            "",
            "Time limits of this route.",
        ),
        key(
            "failback",
            Kind::Table(&FAILBACK),
            "",
            "Keys of `[failback]` that differ on this route.",
        ),
    ],
};

static RETRY: Section = Section {
    doc: "How far to go for an answer.",
    keys: &[
        key(
            "attempts",
            Kind::Integer(1, 8),
            "3",
            "Attempts at most, the first included.",
        ),
        key(
            "idempotency_key",
            Kind::Flag,
            "false",
            "Whether a request with an `Idempotency-Key` may be sent again like a PUT.",
        ),
        key(
            "grpc",
            Kind::Flag,
            "false",
            "Whether gRPC requests may be sent again on UNAVAILABLE or a missing first byte.",
        ),
    ],
};
