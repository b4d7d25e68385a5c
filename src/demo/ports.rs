//! Free ports near the wanted ones.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

/// How many ports are tried beyond a taken one.
const REACH: u16 = 100;

/// Ports found free, held until this is dropped so that no two uses are given the same one.
#[derive(Debug, Default)]
pub struct FreePorts {
    held: Vec<TcpListener>,
}

impl FreePorts {
    /// The wanted port, or the next free one above it; for port 0, any free one.
    ///
    /// The port is free again once `self` is dropped; whoever binds it then may, in theory, be
    /// beaten to it.
    ///
    /// # Errors
    /// When none of the next hundred is free, or the address is not one of this machine.
    pub fn find(&mut self, address: IpAddr, wanted: u16) -> io::Result<u16> {
        let mut port = wanted;
        loop {
            match TcpListener::bind(SocketAddr::new(address, port)) {
                Ok(listener) => {
                    let found = listener.local_addr()?.port();
                    self.held.push(listener);
                    return Ok(found);
                }
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && wanted != 0
                        && port - wanted < REACH
                        && port < u16::MAX =>
                {
                    port += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_taken_port_moves_on_to_the_next_free_one() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let taken = TcpListener::bind((address, 0)).unwrap();
        let wanted = taken.local_addr().unwrap().port();
        let found = FreePorts::default().find(address, wanted).unwrap();
        assert!(found > wanted, "{found} after {wanted}");
    }

    #[test]
    fn the_same_port_is_not_given_twice() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut ports = FreePorts::default();
        let first = ports.find(address, 0).unwrap();
        let second = ports.find(address, first).unwrap();
        assert_ne!(first, second);
    }
}
