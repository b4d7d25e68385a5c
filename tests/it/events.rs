//! Changes of belief as data: what `/api/v1/events` answers is what is documented, and reads back.

use std::time::{Duration, SystemTime};

use meridian::admin::view::HistoryView;
use meridian::board::journal::Journal;
use meridian_core::change::{Change, ChangeCause, Comparison, Subject, What};
use meridian_core::health::failback::{FailbackCause, Stage};
use meridian_core::health::rise_fall::Health;
use meridian_core::health::traffic_count::Trouble;
use meridian_core::model::admin::AdminState;
use meridian_core::model::outcome::{ErrorKind, ProbeFailure};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../docs/operations.md");

/// The example of the document.
fn example() -> Value {
    let (_, rest) = DOCUMENT.split_once("```json\n{ \"oldest\"").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    serde_json::from_str(&format!("{{ \"oldest\"{text}")).unwrap()
}

#[test]
fn the_documents_example_is_what_its_changes_are_served_as() {
    let journal = Journal::default();
    let documented: HistoryView = serde_json::from_value(example()).unwrap();
    for event in documented.events {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(event.at_unix_seconds);
        let evidence = String::leak(event.evidence);
        journal.keep(at, event.revision, evidence, event.change.unwrap());
    }
    let served = HistoryView::of(&journal.since(0));
    assert_eq!(json!(served), example());
}

fn causes() -> Vec<ChangeCause> {
    let in_a_row = 3;
    let probe_failed = |failure| ChangeCause::ProbeFailed { in_a_row, failure };
    let limit = Duration::from_millis(1500);
    let error = || "no route to host".to_owned();
    let failback = [
        FailbackCause::Forced,
        FailbackCause::Fell,
        FailbackCause::Excused,
        FailbackCause::FirstService,
        FailbackCause::HoldDown { left: limit },
        FailbackCause::AwaitsOperator,
        FailbackCause::HoldDownEnded,
        FailbackCause::RampStep { share: 25 },
        FailbackCause::RampEnded,
    ];
    let mut all = vec![
        ChangeCause::TimePassed,
        ChangeCause::ProbePassed { in_a_row },
        probe_failed(ProbeFailure::Refused),
        probe_failed(ProbeFailure::Connect(error())),
        probe_failed(ProbeFailure::Tls(error())),
        probe_failed(ProbeFailure::Timeout { limit }),
        probe_failed(ProbeFailure::Status(503)),
        probe_failed(ProbeFailure::Text(error())),
        probe_failed(ProbeFailure::Json {
            field: "status".to_owned(),
            found: "down".to_owned(),
            expected: "up".to_owned(),
        }),
        probe_failed(ProbeFailure::WrongRegion("us".to_owned())),
        probe_failed(ProbeFailure::Protocol(error())),
        ChangeCause::Suspicion,
        ChangeCause::RequestsFailed {
            in_a_row,
            error: ErrorKind::FreshReset,
        },
        ChangeCause::RequestsLate { in_a_row },
        ChangeCause::Compared(Comparison {
            trouble: Trouble::Overloaded,
            count: 30,
            requests: 40,
            route: "api".into(),
            sibling: "b".into(),
            sibling_count: 1,
            sibling_requests: 50,
        }),
        ChangeCause::ComparedAnew,
        ChangeCause::Probation,
        ChangeCause::ProbationRequest,
        ChangeCause::ProbationFailed,
        ChangeCause::ProbationPassed { in_a_row },
        ChangeCause::Operator {
            state: AdminState::Drained,
        },
        ChangeCause::Confirmed,
        ChangeCause::TableLoaded { generation: 2 },
        ChangeCause::Resolved {
            url: "https://a.example".into(),
            addresses: 2,
        },
        ChangeCause::Restored,
        ChangeCause::Suppressed,
        ChangeCause::SuppressionEnded,
        ChangeCause::FellTogether,
        ChangeCause::WellAgain,
        ChangeCause::Faster {
            median: Some(limit),
            than: "b".into(),
            other: None,
            after: Box::new(ChangeCause::Suspicion),
        },
    ];
    all.extend(failback.map(ChangeCause::Failback));
    all
}

fn whats() -> Vec<What> {
    let stages = [
        Stage::Full,
        Stage::Down,
        Stage::HoldDown,
        Stage::Ramping { share: 10 },
        Stage::AwaitingConfirm,
    ];
    let mut all = vec![
        What::Health {
            from: Health::Unproven,
            to: Health::Healthy,
        },
        What::Leader { before: "b".into() },
        What::EjectionSuppressed,
        What::CorrelatedFailure { began: true },
        What::Addresses {
            added: 2,
            removed: 1,
        },
        What::Operator {
            state: AdminState::Forced,
        },
    ];
    all.extend(stages.map(What::Failback));
    all
}

#[test]
fn every_change_reads_back_from_its_json_as_what_it_was_in_words_that_are_documented() {
    let region = || "a".into();
    let subjects = [
        Subject::Fleet,
        Subject::Region { region: region() },
        Subject::Origin {
            region: region(),
            url: "https://a.example".into(),
        },
        Subject::Endpoint {
            region: region(),
            address: "192.0.2.7:443".parse().unwrap(),
        },
    ];
    let change = |what, subject, cause| Change {
        subject,
        what,
        cause,
    };
    let what = What::EjectionSuppressed;
    let whats = whats().into_iter();
    let of_what = whats.map(|what| change(what, Subject::Fleet, ChangeCause::TimePassed));
    let of_cause = causes().into_iter();
    let of_cause = of_cause.map(|cause| change(what.clone(), Subject::Fleet, cause));
    let of_subject = subjects.into_iter();
    let of_subject = of_subject.map(|subject| change(what.clone(), subject, ChangeCause::Restored));
    for change in of_what.chain(of_cause).chain(of_subject) {
        let data = json!(change);
        for word in ["/subject/kind", "/what", "/cause/kind", "/cause/reason"] {
            let word = data.pointer(word).map(|word| word.as_str().unwrap());
            let is_said = word.is_none_or(|word| DOCUMENT.contains(&format!("`{word}`")));
            assert!(is_said, "{word:?} is not in the document");
        }
        let read: Change = serde_json::from_value(data.clone()).unwrap();
        assert_eq!(read, change, "{data}");
    }
}
