//! Traffic returns to a region when, and only when, `[failback]` and the operator say so.

use std::time::Duration;

use meridian_core::apply::{Beliefs, Event, apply};
use meridian_core::change::What;
use meridian_core::health::failback::Stage;
use meridian_core::health::rise_fall::Health;
use meridian_core::model::outcome::{ErrorKind, Phases, ProbeFailure, ProbeOutcome};
use meridian_core::table::policy::Policy;
use serde_json::{Value, json};

use crate::support::client::{Reply, get, request, send};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};
use crate::support::world::{MEASURED, World};

/// Regions `a` before `b`, and what is told of them without a word from probes of their own.
pub(crate) struct Two {
    pub(crate) edge: Edge,
    pub(crate) origins: [FakeOrigin; 2],
    folder: tempfile::TempDir,
}

impl Two {
    pub(crate) async fn start(more: &str) -> Self {
        let origins = [FakeOrigin::start("a").await, FakeOrigin::start("b").await];
        let folder = tempfile::tempdir().unwrap();
        let regions = [("a", &*origins[0].url()), ("b", &*origins[1].url())];
        let log = format!("[access_log]\npath = {:?}\n", folder.path().join("log"));
        let text = Edge::text(&regions, more).replace("[access_log]\nenabled = false\n", &log);
        let edge = Edge::start(&text).await;
        let two = Self {
            edge,
            origins,
            folder,
        };
        let board = two.edge.app.board();
        let mut revisions = board.revisions();
        while (0..2).any(|region| two.health(region) != Health::Healthy) {
            revisions.changed().await.unwrap();
        }
        two
    }

    /// The access log, once `enough` of it is there.
    pub(crate) async fn log(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let path = self.folder.path().join("log");
        let reading = async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                // The last line may be on its way.
                let whole = text
                    .split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'));
                let lines: Vec<Value> = whole.map(|l| serde_json::from_str(l).unwrap()).collect();
                if enough(&lines) {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, reading).await.unwrap()
    }

    fn health(&self, region: usize) -> Health {
        self.edge.app.board().live().snapshot.regions[region].health
    }

    pub(crate) async fn tell(&self, event: Event) {
        self.edge.app.board().ask(event).await;
    }

    /// Requests fail there.
    pub(crate) async fn fall(&self, region: usize) {
        let endpoint = self.endpoint(region);
        let kind = ErrorKind::GatewayStatus;
        self.tell(Event::TrafficFailed {
            endpoint,
            kind,
            in_a_row: 5,
        })
        .await;
        assert_eq!(self.health(region), Health::Unhealthy);
    }

    /// Probes pass, so many in a row.
    pub(crate) async fn probes_pass(&self, region: usize, times: usize) {
        for _ in 0..times {
            let event = probed(&self.edge.app.board().live().beliefs, region, true);
            self.tell(event).await;
        }
    }

    /// Probes pass, and the requests that try it are answered well.
    async fn recover(&self, region: usize) {
        let endpoint = self.endpoint(region);
        self.probes_pass(region, 2).await;
        // After a probation that failed it is put off for a moment.
        while self.stage(region).await["stage"] != "on_probation" {
            self.probes_pass(region, 1).await;
        }
        while self.health(region) != Health::Healthy {
            let good = true;
            self.tell(Event::ProbationAnswered { endpoint, good }).await;
        }
    }

    fn endpoint(&self, region: usize) -> meridian_core::model::id::EndpointId {
        self.edge.app.board().live().snapshot.regions[region].endpoints[0].id
    }

    /// The region that answers a request for this path.
    async fn serves(&self, path: &str) -> String {
        get(self.edge.address, path, &[]).await.text()
    }

    async fn confirm(&self, name: &str) -> Reply {
        let path = format!("/api/v1/regions/{name}:confirm");
        self.edge.admin("POST", &path).await
    }

    pub(crate) async fn stage(&self, region: usize) -> Value {
        let regions = self.edge.admin("GET", "/api/v1/regions").await;
        value(&regions)[region].clone()
    }
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn by_hand_a_region_returns_when_the_operator_confirms_it_and_not_before() {
    let two =
        Two::start("[failback]\nmode = \"manual\"\nhold_down = \"0s\"\nramp = \"0s\"\n").await;
    two.fall(0).await;
    assert_eq!(two.serves("/").await, "b");
    two.recover(0).await;
    two.tell(Event::Tick).await;
    assert_eq!(two.serves("/").await, "b");
    assert_eq!(two.stage(0).await["stage"], "awaiting_confirm");
    let reply = two.confirm("a").await;
    assert_eq!(
        (reply.status, value(&reply)),
        (
            200,
            json!({
                "region": "a",
                "stage": "full",
                "share_percent": 100,
                "message": "a takes all of its viewers again",
            })
        )
    );
    assert_eq!(two.serves("/").await, "a");
}

#[tokio::test]
async fn a_confirmation_cuts_the_hold_short_and_begins_the_ramp() {
    let two = Two::start("[failback]\nhold_down = \"1h\"\nramp = \"1h\"\n").await;
    two.fall(0).await;
    two.recover(0).await;
    assert_eq!(two.stage(0).await["stage"], "hold_down");
    let reply = two.confirm("a").await;
    assert_eq!(
        value(&reply)["message"],
        "a takes 5 % of its viewers now, and more step by step"
    );
    assert_eq!(two.stage(0).await["share_percent"], 5);
}

#[tokio::test]
async fn what_waits_for_nothing_is_a_conflict_and_an_unknown_name_is_not_found() {
    let two = Two::start("[failback]\nhold_down = \"0s\"\nramp = \"1h\"\n").await;
    let detail = |reply: &Reply| value(reply)["detail"].as_str().unwrap().to_owned();
    let reply = two.confirm("c").await;
    assert_eq!(reply.status, 404);
    assert_eq!(detail(&reply), "no region is called `c`; there is a, b");
    assert_eq!(value(&reply)["errors"]["regions"], json!(["a", "b"]));
    let reply = two.confirm("a").await;
    assert_eq!(
        (reply.status, detail(&reply)),
        (409, "a waits for nothing".to_owned())
    );
    two.fall(0).await;
    let reply = two.confirm("a").await;
    assert_eq!(reply.status, 409);
    assert!(
        detail(&reply).starts_with("a is down: "),
        "{}",
        detail(&reply)
    );
    two.recover(0).await;
    let reply = two.confirm("a").await;
    assert_eq!(reply.status, 409);
    assert!(detail(&reply).contains("5 % of its viewers already"));
    let read = two.edge.admin("GET", "/api/v1/regions/a:confirm").await;
    assert_eq!((read.status, read.field("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_route_may_leave_the_return_to_a_person_while_others_do_not() {
    let two = Two::start(
        "[route.failback]\nmode = \"manual\"\n\
         [[route]]\nname = \"reads\"\npath = \"/reads\"\nregions = [\"a\", \"b\"]\n\
         policy = \"failover\"\n\
         [failback]\nhold_down = \"0s\"\nramp = \"0s\"\n",
    )
    .await;
    two.fall(0).await;
    assert_eq!(two.serves("/").await, "b");
    assert_eq!(two.serves("/reads").await, "b");
    two.recover(0).await;
    assert_eq!(two.serves("/reads").await, "a");
    assert_eq!(two.serves("/").await, "b");
    let stage = two.stage(0).await;
    assert_eq!(stage["stage"], "full");
    let own = json!([{ "route": "all", "stage": "awaiting_confirm", "share_percent": 0 }]);
    assert_eq!(stage["routes"], own);
    assert_eq!(two.confirm("a").await.status, 200);
    assert_eq!(two.serves("/").await, "a");
}

#[tokio::test]
async fn of_two_regions_that_wait_the_one_that_was_well_first_keeps_the_traffic() {
    let two =
        Two::start("[failback]\nmode = \"confirm\"\nhold_down = \"0s\"\nramp = \"0s\"\n").await;
    two.fall(1).await;
    two.recover(1).await;
    assert_eq!(two.serves("/").await, "a");
    two.fall(0).await;
    assert_eq!(two.serves("/").await, "b", "it waits, and no other serves");
    two.recover(0).await;
    assert_eq!(two.serves("/").await, "b", "nobody agreed to a return");
    assert_eq!(two.confirm("a").await.status, 200);
    assert_eq!(two.serves("/").await, "a");
}

#[tokio::test]
async fn the_command_confirms_and_its_exit_code_says_whether() {
    let two = Two::start("[failback]\nmode = \"manual\"\nramp = \"1h\"\n").await;
    let admin = format!("http://{}", two.edge.app.admin_address().unwrap());
    let run = async |line: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_meridian"));
        command.args(line.split(' ')).args(["--admin", &admin]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, _, complaint) = run("confirm a").await;
    assert_eq!(code, 1);
    assert!(complaint.contains("a waits for nothing"), "{complaint}");
    let (code, _, complaint) = run("confirm a/b").await;
    assert_eq!(code, 1);
    assert!(complaint.contains("there is a, b"), "{complaint}");
    assert_eq!(run("confirm").await.0, 2);
    two.fall(0).await;
    two.recover(0).await;
    let (code, said, _) = run("confirm a").await;
    assert_eq!(
        (code, said.as_str()),
        (0, "a takes 5 % of its viewers now, and more step by step\n")
    );
    two.fall(0).await;
    two.recover(0).await;
    let (code, said, _) = run("confirm a -o json").await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["stage"]), (0, &json!("ramping")));
}

#[tokio::test]
async fn a_fall_and_the_way_back_are_told_with_their_reasons() {
    let two = Two::start(
        "[failback]\nhold_down = \"1h\"\nhold_down_at_least = \"1h\"\nramp = \"1h\"\n[probation]\nbackoff_max = \"1ms\"\n",
    )
    .await;
    two.fall(0).await;
    let region = two.stage(0).await;
    assert_eq!(
        (&region["stage"], &region["serving"]),
        (&json!("down"), &json!(false))
    );
    let cause = "5 in a row: a request failed: gateway_status";
    assert_eq!(region["cause"], cause);
    assert!(region["changed_seconds_ago"].as_f64().unwrap() < 60.0);
    assert_eq!(region["endpoints"][0]["ejected_by"], "traffic");
    two.edge
        .counted(
            "meridian_transitions_total{kind=\"region\",cause=\"requests_failed\"}",
            1.0,
        )
        .await;
    two.probes_pass(0, 2).await;
    let region = two.stage(0).await;
    assert_eq!(region["stage"], "on_probation");
    assert_eq!(region["endpoints"][0]["on_probation"], true);
    let endpoint = two.endpoint(0);
    two.tell(Event::ProbationAnswered {
        endpoint,
        good: false,
    })
    .await;
    let region = two.stage(0).await;
    assert_eq!(region["stage"], "down");
    assert_eq!(region["cause"], "a probation request was not answered well");
    two.recover(0).await;
    let region = two.stage(0).await;
    assert_eq!(region["stage"], "hold_down");
    assert!(region["hold_down_left_seconds"].as_f64().unwrap() > 3500.0);
    assert!(
        region["cause"]
            .as_str()
            .unwrap()
            .contains("; it is well again")
    );
    let held = two
        .edge
        .metric("meridian_region_stage{region=\"a\",stage=\"hold_down\"}")
        .await;
    let full = two
        .edge
        .metric("meridian_region_stage{region=\"a\",stage=\"full\"}")
        .await;
    assert!(held > full, "{held} {full}");
    two.confirm("a").await;
    let share = two
        .edge
        .metric("meridian_region_share_ratio{region=\"a\"}")
        .await;
    assert!((share - 0.05).abs() < 1e-9, "{share}");
    two.tell(Event::Suspected { endpoint }).await;
    let suspected = &two.stage(0).await["endpoints"][0]["suspected_seconds_ago"];
    assert!(suspected.as_f64().unwrap() < 60.0);
}

#[test]
fn an_ejection_that_was_suppressed_and_then_is_not_says_so() {
    let mut world = World::new(&["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        world.measured(name, 5.0);
    }
    world.route("all", "/", &["a", "b", "c"], Policy::Latency);
    let mut beliefs = world.beliefs();
    let mut told = Vec::new();
    let mut tell = |second, event: &dyn Fn(&Beliefs) -> Event| {
        let now = MEASURED + Duration::from_secs(second);
        let (after, changes) = apply(&beliefs, event(&beliefs), now);
        beliefs = after;
        told.extend(changes);
        (
            beliefs.regions[1].availability.is_out(),
            beliefs.regions[1].last_change.clone(),
        )
    };
    for (second, region, passes) in [
        (1, 0, false),
        (1, 0, false),
        (1, 0, false),
        (2, 2, true),
        (3, 1, false),
        (3, 1, false),
        (3, 1, false),
        (4, 2, true),
    ] {
        tell(second, &|beliefs| probed(beliefs, region, passes));
    }
    let (out, why) = tell(6, &|_| Event::Tick);
    assert!(!out);
    assert!(why.unwrap().cause().starts_with("no other region is sure"));
    tell(69, &|beliefs| probed(beliefs, 2, true));
    let (out, why) = tell(70, &|_| Event::Tick);
    assert!(out);
    assert_eq!(
        why.unwrap().cause(),
        "its probes still fail, and nothing keeps it any more"
    );
    let of_b = told.iter().filter(|told| {
        let is_of_b = told.subject.region().is_some_and(|region| **region == *"b");
        let is_it = matches!(
            told.what,
            What::EjectionSuppressed | What::Failback(Stage::Down)
        );
        is_of_b && is_it
    });
    assert_eq!(of_b.count(), 2, "{told:?}");
}

fn probed(beliefs: &Beliefs, region: usize, passes: bool) -> Event {
    let outcome = if passes {
        ProbeOutcome::Passed {
            phases: Phases::default(),
            warm: true,
        }
    } else {
        ProbeOutcome::Failed(ProbeFailure::Refused)
    };
    let endpoint = beliefs.regions[region].endpoints[0].id;
    Event::Probed { endpoint, outcome }
}

#[tokio::test]
async fn a_write_that_hung_before_the_fall_says_nothing_of_what_returned() {
    const ONE_IS_ENOUGH: &str = "timeouts = { first_byte = \"1500ms\" }\n[outlier_detection]\n\
        minimum_failures = 1\nminimum_uncompared_failures = 1\nminimum_breadth = 1\n";
    for falls in [false, true] {
        let two = Two::start(ONE_IS_ENOUGH).await;
        let [a, _] = &two.origins;
        a.behave(Behaviour::Hang);
        let write = tokio::spawn(send(two.edge.address, request("POST", "/", &[], "x")));
        a.saw(1).await;
        if falls {
            two.fall(0).await;
            two.recover(0).await;
        }
        assert_eq!(write.await.unwrap().unwrap().status, 504);
        two.tell(Event::Tick).await;
        assert_eq!(two.health(0) == Health::Healthy, falls);
    }
}
