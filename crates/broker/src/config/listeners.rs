//! Named listeners: where to listen, and what address clients are told.

use super::cluster::INTERNAL;
use super::parse::{self, HostPort};
use super::reader::Reader;
use std::sync::Arc;

/// The listener that is there when none is configured.
pub(super) const CLIENT: &str = "client";
const CLIENT_PORT: u16 = 4600;
const HTTP_PORT: u16 = 4602;

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `quipu.v1` over gRPC.
    Grpc,
}

impl Protocol {
    /// Its name in the configuration and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
        }
    }
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerConfig {
    /// Its name: who comes in by it is told addresses of listeners of this name.
    pub name: Arc<str>,
    /// Where to listen.
    pub bind: HostPort,
    /// What clients are told; absent: where it listens. Port 0: the port it listens on.
    pub advertised: Option<HostPort>,
    /// What is spoken.
    pub protocol: Protocol,
}

impl ListenerConfig {
    /// The key that says where it listens.
    #[must_use]
    pub fn bind_key(&self) -> String {
        match &*self.name {
            INTERNAL => "internal.bind".to_owned(),
            name => format!("listeners.{name}.bind"),
        }
    }

    fn advertised_key(&self) -> String {
        match &*self.name {
            INTERNAL => "internal.advertised".to_owned(),
            name => format!("listeners.{name}.advertised"),
        }
    }

    /// What others are told, as far as the configuration says: port 0 is not known before it listens.
    #[must_use]
    pub fn told(&self) -> HostPort {
        let mut told = self.advertised.clone().unwrap_or_else(|| self.bind.clone());
        if told.port == 0 {
            told.port = self.bind.port;
        }
        told
    }
}

/// Probes and metrics over plain HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpConfig {
    /// Where to listen; absent: off.
    pub bind: Option<HostPort>,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            bind: reader.value(
                "http.bind",
                Some(HostPort::loopback(HTTP_PORT)),
                |text| match text {
                    "off" => Ok(None),
                    text => text
                        .parse()
                        .map(Some)
                        .map_err(|wanted: String| format!("{wanted}, or off")),
                },
            ),
        }
    }
}

pub(super) fn read(reader: &mut Reader) -> Vec<ListenerConfig> {
    let mut names = reader.names_below("listeners");
    if names.is_empty() {
        names.insert(CLIENT.to_owned());
    }
    names.iter().map(|name| listener(name, reader)).collect()
}

fn listener(name: &str, reader: &mut Reader) -> ListenerConfig {
    let key = |field: &str| format!("listeners.{name}.{field}");
    let set_by = |reader: &mut Reader, problem: String| {
        let keys = [key("bind"), key("advertised"), key("protocol")];
        reader.mistake(&keys.each_ref().map(String::as_str), problem);
    };
    let sane = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(sane) {
        set_by(
            reader,
            "a listener's name is 1 to 32 of a-z, 0-9 and -".to_owned(),
        );
    }
    if name == INTERNAL {
        let problem =
            "this name is that of the listener between brokers, set by internal.bind: choose another";
        set_by(reader, problem.to_owned());
    }
    // One whose place is wrong gets port 0, which can clash with nothing.
    let bind: Option<HostPort> = reader.optional(&key("bind"), str::parse);
    if bind.is_none() && name != CLIENT && !reader.is_set(&key("bind")) {
        set_by(
            reader,
            format!(
                "listener {name} does not say where it listens; set {} to host:port",
                key("bind")
            ),
        );
    }
    let default_port = if name == CLIENT { CLIENT_PORT } else { 0 };
    ListenerConfig {
        name: Arc::from(name),
        bind: bind.unwrap_or_else(|| HostPort::loopback(default_port)),
        advertised: reader.optional(&key("advertised"), str::parse),
        protocol: reader.value(&key("protocol"), Protocol::Grpc, |text| {
            parse::choice(text, &[(Protocol::Grpc.name(), Protocol::Grpc)])
        }),
    }
}

pub(super) fn check(
    listeners: &[ListenerConfig],
    internal: &ListenerConfig,
    http: &HttpConfig,
    reader: &mut Reader,
) {
    let listeners: Vec<_> = listeners.iter().chain([internal]).collect();
    for listener in &listeners {
        let bind_key = listener.bind_key();
        let key = listener.advertised_key();
        match &listener.advertised {
            None if listener.bind.is_wildcard() => {
                let bind = &listener.bind;
                let problem = format!(
                    "{bind} is every interface, which is nowhere to connect to; set {key} to host:port as clients \
                     see it"
                );
                reader.mistake(&[&bind_key], problem);
            }
            Some(told) if told.is_wildcard() => {
                reader.mistake(
                    &[&key],
                    format!("nobody can connect to {told}; set host:port as clients see it"),
                );
            }
            _ => {}
        }
    }
    let http = http.bind.iter().map(|bind| ("http.bind".to_owned(), bind));
    let binds = listeners.iter().map(|l| (l.bind_key(), &l.bind));
    let binds: Vec<_> = binds.chain(http).collect();
    for (at, (key, bind)) in binds.iter().enumerate() {
        let taken = binds[..at].iter().find(|(_, other)| clash(bind, other));
        if let Some((other, _)) = taken {
            reader.mistake(
                &[key],
                format!("{bind} is taken by {other}; give it another port"),
            );
        }
    }
}

/// Whether both cannot be listened on.
fn clash(a: &HostPort, b: &HostPort) -> bool {
    a.port != 0 && a.port == b.port && (a.host == b.host || a.is_wildcard() || b.is_wildcard())
}
