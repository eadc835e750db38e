//! Which addresses connections of Backends may go to.
//!
//! Permission to write a Backend in a cluster must not give access to what only the pod can reach: loopback, the node's
//! metadata service with its keys, Tollgate's own ports. Addresses are checked after DNS and before the connection, in
//! every form in which an IPv6 address contains an IPv4 one. Redirects need no check, because they are not followed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

use smallvec::SmallVec;

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, third: u16, last: u16, prefix: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, last)), prefix }
    }

    /// Whether `address` is in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no network such as 10.0.0.0/8, and no address");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| wrong())?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

/// Addresses that only the machine, or the cloud on its behalf, may use: loopback, "this host", link-local, and the
/// addresses at which clouds serve their machines (AWS, Google Cloud, Azure, Alibaba, Oracle).
pub(super) const LOCAL: [Network; 12] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(100, 100, 100, 200, 32),
    Network::v4(192, 0, 0, 192, 32),
    Network::v6(0, 0, 0, 0, 128),
    Network::v6(0, 0, 0, 1, 128),
    Network::v6(0xfe80, 0, 0, 0, 10),
    Network::v6(0xfd00, 0xec2, 0, 0, 32),
    Network::v6(0xfd20, 0xce, 0, 0x254, 128),
    Network::v6(0xfec0, 0, 0, 0, 10),
];

/// Addresses that are valid on their own link only.
pub(super) const LINK_LOCAL: [Network; 3] =
    [Network::v4(169, 254, 0, 0, 16), Network::v6(0xfe80, 0, 0, 0, 10), Network::v6(0xfd00, 0xec2, 0, 0, 32)];

/// `address` and the IPv4 addresses that a network may translate it to: IPv4-mapped and IPv4-compatible addresses,
/// those of SIIT, NAT64 (`64:ff9b::/96` and `64:ff9b:1::/48`), 6to4 and ISATAP.
pub(super) fn meanings(address: IpAddr) -> SmallVec<[IpAddr; 4]> {
    let mut all = SmallVec::from_slice(&[address]);
    let IpAddr::V6(v6) = address else { return all };
    let octets = v6.octets();
    let mut add = |places: [usize; 4]| {
        let at = |place: usize| octets.get(place).copied().unwrap_or_default();
        all.push(IpAddr::V4(Ipv4Addr::from(places.map(at))));
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            add([12, 13, 14, 15]);
        }
        // RFC 6052 puts the address after the prefix, whose length the operator chooses.
        [0x64, 0xff9b, 1, ..] => {
            add([12, 13, 14, 15]);
            add([6, 7, 9, 10]);
            add([7, 9, 10, 11]);
            add([9, 10, 11, 12]);
        }
        [0x2002, ..] => add([2, 3, 4, 5]),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => add([12, 13, 14, 15]),
        _ => {}
    }
    all
}

/// Whether `address` is one of this machine's. The kernel chooses such an address as the source of packets to itself;
/// connecting a UDP socket sends nothing.
pub(super) fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == address)
}

/// Which addresses connections may go to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whether local addresses are refused: for Backends that come from a cluster.
    pub no_local: bool,
    /// Local addresses that are allowed nevertheless.
    pub allowed: Vec<Network>,
    /// Tollgate's own admin port, which no Backend may reach, whatever its source.
    pub admin: Option<SocketAddr>,
}

/// An address that may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(SocketAddr);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not for Backends to reach; --allow-upstream-networks allows networks", self.0)
    }
}

impl std::error::Error for Refused {}

impl Reach {
    /// Whether a connection may go to `address`.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, address: SocketAddr) -> Result<(), Refused> {
        let meanings = meanings(address.ip());
        let any = |is: &dyn Fn(IpAddr) -> bool| meanings.iter().any(|address| is(*address));
        let is_here = || any(&|ip| ip.is_loopback() || ip.is_unspecified() || is_own(ip));
        if self.admin.is_some_and(|admin| admin.port() == address.port()) && is_here() {
            return Err(Refused(address));
        }
        if !self.no_local || any(&|ip| self.allowed.iter().any(|network| network.contains(ip))) {
            return Ok(());
        }
        let is_local = any(&|ip| LOCAL.iter().any(|network| network.contains(ip)) || is_own(ip));
        if is_local { Err(Refused(address)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, port: u16) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), port)
    }

    fn from_cluster() -> Reach {
        Reach { no_local: true, allowed: Vec::new(), admin: Some(at("0.0.0.0", 9092)) }
    }

    /// Local addresses, and their other forms.
    const LOCAL_FORMS: [&str; 23] = [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "100.100.100.200",
        "::1",
        "::",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:db8::5efe:127.0.0.1",
    ];

    #[test]
    fn local_addresses_are_refused_in_every_form() {
        let reach = from_cluster();
        for address in LOCAL_FORMS {
            assert!(reach.check(at(address, 80)).is_err(), "{address}");
            assert_eq!(Reach { no_local: false, ..reach.clone() }.check(at(address, 80)), Ok(()), "{address}");
        }
        for address in ["1.1.1.1", "10.0.0.1", "192.168.1.1", "168.63.129.17", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
            assert_eq!(reach.check(at(address, 9092)), Ok(()), "{address}");
        }
    }

    #[test]
    fn the_admin_port_is_never_reached() {
        for reach in [from_cluster(), Reach { no_local: false, ..from_cluster() }] {
            let allowed = Reach { allowed: vec!["127.0.0.0/8".parse().unwrap()], ..reach };
            for address in ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"] {
                assert!(allowed.check(at(address, 9092)).is_err(), "{address}");
            }
            assert_eq!(allowed.check(at("127.0.0.1", 9093)), Ok(()));
        }
    }

    #[test]
    fn own_addresses_are_recognised() {
        // The address from which this machine would connect to a public one, if it has a network at all.
        let source = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        if let Ok(source) = source {
            assert!(is_own(source.ip()) && from_cluster().check(at(&source.ip().to_string(), 80)).is_err());
        }
        assert!(is_own("127.0.0.1".parse().unwrap()) && !is_own("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn networks_are_read_and_allow_what_is_in_them() {
        let mut reach = from_cluster();
        reach.allowed = vec!["169.254.169.0/24".parse().unwrap(), "fe80::/10".parse().unwrap()];
        assert_eq!(reach.check(at("::ffff:169.254.169.254", 80)), Ok(()));
        assert_eq!(reach.check(at("fe80::1", 80)), Ok(()));
        assert!(reach.check(at("169.254.170.2", 80)).is_err());
        for wrong in ["", "a", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        assert_eq!("10.1.2.3".parse(), Ok(Network::v4(10, 1, 2, 3, 32)));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("9.9.9.9".parse().unwrap()));
    }
}
