//! `[admin]`: where operators connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::listener::{ListenerConfig, socket_address};
use crate::config::problem::Span;
use crate::config::secret::{Secret, SecretSource};

/// Where operators connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdminConfig {
    /// The address to bind; `None`: no admin.
    pub address: Option<SocketAddr>,
    /// Required from every caller when the address is not a loopback one.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901)),
            token: None,
        }
    }
}

/// Where operators connect.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct AdminSection {
    /// Address and port to bind, or `"off"`. Any but a loopback one needs a `token`. A change
    /// needs a restart.
    #[schemars(extend(
        "default" = AdminConfig::default().address,
        "examples" = ["off"],
        "x-takes" = "`\"off\"` or an address and port"
    ))]
    address: Field<String>,
    /// What callers must send as `Authorization: Bearer ..`.
    token: Field<SecretSource>,
}

impl AdminSection {
    pub(super) fn check(
        &self,
        span: Span,
        listeners: &[ListenerConfig],
        context: &CheckContext<'_>,
    ) -> AdminConfig {
        let address = match self.address.get().map(String::as_str) {
            Some("off") => None,
            Some(_) => socket_address(&self.address, context),
            None => AdminConfig::default().address,
        };
        let token = self.token.secret(context);
        let place = self.address.place(span);
        if let Some(address) = address {
            if !address.ip().is_loopback() && !self.token.is_written() {
                let message = format!("the admin address {address} can be reached from elsewhere");
                let help = "add token = { file = \"/run/secrets/admin-token\" }, or bind 127.0.0.1";
                context.error("admin-without-token", place, message, help);
            }
            if address.port() != 0 && listeners.iter().any(|l| l.address == address) {
                let message = format!("a listener has the address {address} already");
                context.fault("duplicate-listener", place, message);
            }
        }
        AdminConfig { address, token }
    }
}
