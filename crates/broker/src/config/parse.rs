//! From text to values. An error says what was wanted, to stand after "is not".

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A host and a port; the host may be a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPort {
    /// A name or an address; of IPv6 without brackets.
    pub host: String,
    /// 0: any free port.
    pub port: u16,
}

impl HostPort {
    /// On loopback; port 0 takes any free one.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
        }
    }

    /// Whether it means every interface: a place to listen on, but nowhere to connect to.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        let ip: Option<std::net::IpAddr> = self.host.parse().ok();
        ip.is_some_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "host:port, as 127.0.0.1:4600 or [::1]:4600; port 0 takes any free one".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = match in_brackets {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(wanted()),
            None => host,
        };
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let sane = in_brackets.is_some() || host.bytes().all(name);
        if host.is_empty() || host.len() > 253 || !sane || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wanted());
        }
        let port = port.parse().map_err(|_| wanted())?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

pub(super) fn int<T>(text: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let value = text.replace('_', "").parse().ok();
    let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
    value.filter(|value| range.contains(value)).ok_or_else(wanted)
}

pub(super) fn bytes(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((text, 1_u64));
    let value = digits
        .replace('_', "")
        .parse()
        .ok()
        .and_then(|n: u64| n.checked_mul(unit));
    let wanted = || {
        let (start, end) = (readable(*range.start()), readable(*range.end()));
        format!("a number of bytes (65536, 64KiB, 1MiB, 2GiB) from {start} to {end}")
    };
    value.filter(|value| range.contains(value)).ok_or_else(wanted)
}

fn readable(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        b if b % (1 << 40) == 0 => format!("{}TiB", b >> 40),
        b if b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => b.to_string(),
    }
}

/// One of some words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    })
}
