//! Meridian with one worker between a viewer and two regions.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use crate::callgrind::{self, Counted};
use crate::certificates::{CERTIFICATE, Certificates, KEY};
use crate::client::Client;
use crate::count::Count;
use crate::origin::{HEALTH_PATH, Origins};
use crate::process::Running;
use crate::row::Load;

/// The program under measurement, of this bench's own profile.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_meridian");
/// How long the proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Until both regions' probes have been answered, also under valgrind.
const SETTLES: Duration = Duration::from_millis(2500);
/// The same without valgrind.
const SETTLES_SOON: Duration = Duration::from_millis(700);
/// Requests that are not counted: connections are made, latencies are learnt, and buffers have
/// grown to their size by then.
const WARM_UP: usize = 128;
/// Requests of one window.
const WINDOW: usize = 400;
/// Windows that are counted.
const WINDOWS: usize = 3;
/// Windows that are thrown away, because a request was hedged, before we give up.
const SPOILT: usize = 5;

/// A proxy under callgrind and what is around it.
struct Setting {
    proxy: Counted,
    origins: Origins,
    client: Client,
}

/// Counts what a request costs.
pub(crate) fn count(
    load: Load,
    certificates: &Certificates,
    folder: &Path,
    running: &Running,
) -> io::Result<Count> {
    let options = ["--separate-threads=yes"];
    let command = callgrind::command(PROGRAM, folder, &options);
    let mut setting = Setting::start(load, command, certificates, folder, running, SETTLES)?;
    setting.client.send(WARM_UP)?;
    setting.proxy.take()?;
    let mut count = Count::default();
    let mut spoilt = 0;
    while count.windows() < WINDOWS {
        let before = setting.origins.served();
        let sent = setting.client.send(WINDOW)?;
        let profile = setting.proxy.take()?;
        let after = setting.origins.served();
        if after == [before[0] + sent as u64, before[1]] {
            count.add(profile, sent);
        } else {
            spoilt += 1;
            if spoilt > SPOILT {
                let problem = format!("{sent} requests: {before:?} became {after:?} at origins");
                return Err(io::Error::other(problem));
            }
        }
    }
    Ok(count)
}

/// Some requests without valgrind, to show that all works.
pub(crate) fn look(
    load: Load,
    certificates: &Certificates,
    folder: &Path,
    running: &Running,
) -> io::Result<()> {
    let command = Command::new(PROGRAM);
    let mut setting = Setting::start(load, command, certificates, folder, running, SETTLES_SOON)?;
    setting.client.send(2 * load.streams).map(|_| ())
}

impl Setting {
    fn start(
        load: Load,
        mut command: Command,
        certificates: &Certificates,
        folder: &Path,
        running: &Running,
        settles: Duration,
    ) -> io::Result<Self> {
        certificates.write(folder)?;
        let origins = Origins::start(load.streams)?;
        let address = free_address()?;
        let file = folder.join("meridian.toml");
        fs::write(&file, settings(load, address, &origins, folder))?;
        command.arg("run").arg("-c").arg(&file);
        let mut proxy = Counted::start(&mut command, folder, running)?;
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(words) = proxy.last_words() {
                return Err(io::Error::other(words));
            }
            if begun.elapsed() > START_LIMIT {
                return Err(io::Error::other("the proxy does not listen"));
            }
            sleep(Duration::from_millis(20));
        }
        sleep(settles);
        origins.stop_while_answering(proxy.id());
        let client = Client::connect(address, load, folder)?;
        Ok(Self {
            proxy,
            origins,
            client,
        })
    }
}

/// The defaults, but for what keeps the counts free of other work: no access log where the row has
/// none, and probes so rare that none falls into a window.
fn settings(load: Load, address: SocketAddr, origins: &Origins, folder: &Path) -> String {
    let folder = folder.display();
    let tls = if load.speech.is_tls() {
        format!("tls = {{ cert = \"{folder}/{CERTIFICATE}\", key = \"{folder}/{KEY}\" }}\n")
    } else {
        String::new()
    };
    let log = if load.is_logged {
        format!("path = \"{folder}/access.log\"")
    } else {
        "enabled = false".to_owned()
    };
    let trusted = if load.is_trusted { "\"loopback\"" } else { "" };
    let Origins { near, far, .. } = origins;
    format!(
        r#"workers = 1
[access_log]
{log}
[[listener]]
address = "{address}"
trusted_peers = [{trusted}]
{tls}[admin]
address = "127.0.0.1:0"
[probe]
path = "{HEALTH_PATH}"
interval = "60s"
fast_interval = "60s"
timeout = "2s"
rise = 1
[region.near]
origins = ["http://{near}"]
[region.far]
origins = ["http://{far}"]
[[route]]
name = "all"
path = "/"
regions = ["near", "far"]
[route.residency]
"@eu" = ["near", "far"]
"#
    )
}

/// An address that nobody has, below the range of outgoing connections.
fn free_address() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..200 {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(15_000..32_000)));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
