//! The changes of a proxy's belief, as its admin endpoint tells them.

use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::admin::view::EventView;
use crate::cli::admin_client::{AdminTarget, open};
use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;

/// Events that may wait to be printed.
const WAITING: usize = 64;
/// No event is longer; a longer line is not ours and is dropped.
const LONGEST_LINE: usize = 64 << 10;
/// How long to wait before the endpoint is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The events from now on. The endpoint is asked again when it breaks off; that it cannot be
/// reached is said once.
pub(super) fn follow(admin: AdminTarget, terminal: Terminal) -> Receiver<EventView> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut is_said = false;
        while !sender.is_closed() {
            if let Err(error) = read(&admin, &sender).await
                && !std::mem::replace(&mut is_said, true)
            {
                terminal.say(&format!("changes of belief are not shown: {error}"));
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
    receiver
}

async fn read(admin: &AdminTarget, sender: &Sender<EventView>) -> Result<(), Failure> {
    let mut body = open(admin, "/api/v1/events", "text/event-stream").await?;
    let mut lines = EventLines::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        for event in lines.events(&data) {
            if sender.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What has come of a line that is not over.
#[derive(Debug, Default)]
struct EventLines {
    rest: BytesMut,
}

impl EventLines {
    /// The events that these bytes complete. Everything else of the stream is passed over:
    /// comments, the events' names, and data that is no event.
    fn events(&mut self, data: &[u8]) -> Vec<EventView> {
        self.rest.extend_from_slice(data);
        let mut found = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            let event = line.strip_prefix(b"data:");
            found.extend(event.and_then(|event| serde_json::from_slice(event).ok()));
        }
        if self.rest.len() > LONGEST_LINE {
            self.rest.clear();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_may_come_in_pieces_between_comments() {
        let text = b": alive\n\nevent: region\ndata: {\"at_unix_seconds\":1.0,\"kind\":\"region\",\
            \"region\":\"eu\",\"address\":null,\"from\":\"healthy\",\"to\":\"unhealthy\",\
            \"cause\":\"refused\"}\n\nevent: missed\ndata: 3\n\n";
        let mut lines = EventLines::default();
        let events: Vec<_> = text.chunks(7).flat_map(|part| lines.events(part)).collect();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].to.as_deref(), Some("unhealthy"));
        assert!(lines.rest.is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut lines = EventLines::default();
        assert!(lines.events(&vec![b'x'; LONGEST_LINE + 1]).is_empty());
        assert!(lines.rest.is_empty());
    }
}
