//! Which addresses media is fetched from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::FetcherOptions;
use crate::upstream::{
    Reach,
    networks::{LOCAL, is_own, meanings},
};

impl FetcherOptions {
    /// Whether a connection may go to `address`, in every meaning that an IPv6 address has.
    pub(super) fn allows(&self, address: SocketAddr) -> bool {
        let admin = Reach { no_local: false, allowed: Vec::new(), admin: self.admin };
        let meanings = meanings(address.ip());
        let refused = |ip: &IpAddr| self.refused.iter().any(|network| network.contains(*ip));
        let local = |ip: &IpAddr| LOCAL.iter().any(|network| network.contains(*ip)) || is_own(*ip);
        admin.check(address).is_ok()
            && !meanings.iter().any(refused)
            && (self.private || meanings.iter().all(|ip| is_public(*ip) && !local(ip)))
    }
}

/// Whether an address is on the public internet: not private, local, shared, reserved, for documentation or
/// translation.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || v4.is_multicast();
    // This network, shared by carriers, IETF protocols, benchmarks, reserved.
    let reserved = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special && !reserved
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    // Only 2000::/3 is handed out; of it, 2001:db8::/32 is for documentation, and Teredo and 6to4 hide IPv4 addresses.
    (0x2000..0x4000).contains(&first) && !(first == 0x2001 && (second == 0x0db8 || second == 0)) && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Network;

    fn allows(options: &FetcherOptions, address: &str) -> bool {
        options.allows(SocketAddr::new(address.parse().unwrap(), 80))
    }

    #[test]
    fn only_the_public_internet_is_reached() {
        let options = FetcherOptions::default();
        for address in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            // Azure's WireServer has a public address, and hands out what its machine may know.
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "64:ff9b::168.63.129.16",
            // ISATAP.
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::5efe:168.63.129.16",
        ] {
            assert!(!allows(&options, address), "{address}");
        }
        for address in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "168.63.129.17", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(allows(&options, address), "{address}");
        }
    }

    #[test]
    fn networks_that_the_operator_names_are_refused() {
        let refused: Vec<Network> = ["2a01:4f8:1:2::/64", "203.0.114.0/24"].map(|n| n.parse().unwrap()).into();
        for private in [false, true] {
            let options = FetcherOptions { private, refused: refused.clone(), ..FetcherOptions::default() };
            for address in ["2a01:4f8:1:2::10", "203.0.114.9", "::ffff:203.0.114.9", "2002:cb00:7209::1"] {
                assert!(!allows(&options, address), "{address}");
            }
            assert!(allows(&options, "2a01:4f8:1:3::10") && allows(&options, "203.0.115.9"));
            assert_eq!(allows(&options, "10.0.0.1"), private);
        }
    }

    #[test]
    fn the_admin_port_is_never_reached() {
        let admin = Some("0.0.0.0:8080".parse().unwrap());
        let options = FetcherOptions { private: true, admin, ..FetcherOptions::default() };
        assert!(!options.allows("127.0.0.1:8080".parse().unwrap()));
        assert!(options.allows("127.0.0.1:8443".parse().unwrap()));
    }
}
