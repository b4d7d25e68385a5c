//! Traffic returns to a region when, and only when, `[failback]` and the operator say so.

use meridian::apply::Event;
use meridian::health::state::Health;
use meridian::model::outcome::{ErrorKind, Phases, ProbeOutcome};
use serde_json::{Value, json};

use crate::support::client::{Reply, get};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

/// Regions `a` before `b`, and what is told of them without a word from probes of their own.
struct Two {
    edge: Edge,
    _origins: [FakeOrigin; 2],
}

impl Two {
    async fn start(more: &str) -> Self {
        let origins = [FakeOrigin::start("a").await, FakeOrigin::start("b").await];
        let regions = [("a", &*origins[0].url()), ("b", &*origins[1].url())];
        let edge = Edge::in_front_of(&regions, more).await;
        let two = Self {
            edge,
            _origins: origins,
        };
        let board = two.edge.app.board();
        let mut revisions = board.revisions();
        while (0..2).any(|region| two.health(region) != Health::Healthy) {
            revisions.changed().await.unwrap();
        }
        two
    }

    fn health(&self, region: usize) -> Health {
        self.edge.app.board().live().snapshot.regions[region].health
    }

    async fn tell(&self, event: Event) {
        self.edge.app.board().ask(event).await;
    }

    /// Requests fail there.
    async fn fall(&self, region: usize) {
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

    /// Probes pass, and the requests that try it are answered well.
    async fn recover(&self, region: usize) {
        let endpoint = self.endpoint(region);
        for _ in 0..2 {
            let outcome = ProbeOutcome::Passed {
                phases: Phases::default(),
                warm: true,
            };
            self.tell(Event::Probed { endpoint, outcome }).await;
        }
        assert_eq!(self.stage(region).await["stage"], "on_trial");
        while self.health(region) != Health::Healthy {
            self.tell(Event::Tried {
                endpoint,
                good: true,
            })
            .await;
        }
    }

    fn endpoint(&self, region: usize) -> meridian::model::id::EndpointId {
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

    async fn stage(&self, region: usize) -> Value {
        let regions = self.edge.admin("GET", "/api/v1/regions").await;
        value(&regions)[region].clone()
    }
}

fn value(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn by_hand_a_region_returns_when_the_operator_confirms_it_and_not_before() {
    let two = Two::start("[failback]\nmode = \"manual\"\nhold = \"0s\"\nramp = \"0s\"\n").await;
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
    let two = Two::start("[failback]\nhold = \"1h\"\nramp = \"1h\"\n").await;
    two.fall(0).await;
    two.recover(0).await;
    assert_eq!(two.stage(0).await["stage"], "held");
    let reply = two.confirm("a").await;
    assert_eq!(
        value(&reply)["message"],
        "a takes 5 % of its viewers now, and more step by step"
    );
    assert_eq!(two.stage(0).await["share_percent"], 5);
}

#[tokio::test]
async fn what_waits_for_nothing_is_a_conflict_and_an_unknown_name_is_not_found() {
    let two = Two::start("[failback]\nhold = \"0s\"\nramp = \"1h\"\n").await;
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
         [failback]\nhold = \"0s\"\nramp = \"0s\"\n",
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
    let two = Two::start("[failback]\nmode = \"confirm\"\nhold = \"0s\"\nramp = \"0s\"\n").await;
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
