//! Connections that stay on this machine.
//!
//! Nothing is lost on them, and there is no bandwidth to find. A congestion control that looks for it (bbr, where the machine
//! is set to that) has the sender wait for timers between segments, which cost a producer a tenth of what it sends. So they
//! use reno, which every Linux has and lets everybody use. Whatever leaves the machine keeps what the machine is set to.

use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::{TcpSocket, TcpStream};
use tonic::codegen::{Service, http::Uri};

/// Connects to one address of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loopback(SocketAddr);

impl Loopback {
    /// `None`: it is not known to be an address of this machine.
    pub(crate) fn of(address: &str) -> Option<Self> {
        let address: SocketAddr = address.parse().ok()?;
        address.ip().is_loopback().then_some(Self(address))
    }

    async fn connect(self) -> io::Result<TokioIo<TcpStream>> {
        let socket = match self.0 {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Without it the connection is as good, and slower.
        let _ = rustix::net::sockopt::set_tcp_congestion(&socket, "reno");
        let stream = socket.connect(self.0).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Loopback {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.connect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn only_an_address_of_this_machine_is_one() {
        for address in ["127.0.0.1:9092", "127.3.2.1:1", "[::1]:9092"] {
            assert!(Loopback::of(address).is_some(), "{address}");
        }
        for address in [
            "10.0.0.1:9092",
            "[fe80::1]:9092",
            "broker-0:9092",
            "localhost:9092",
            "127.0.0.1",
        ] {
            assert!(Loopback::of(address).is_none(), "{address}");
        }
    }

    #[tokio::test]
    async fn its_connections_are_not_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connection = Loopback::of(&address).unwrap().connect().await.unwrap();
        let stream = connection.inner();
        assert_eq!(rustix::net::sockopt::tcp_congestion(stream).unwrap(), "reno");
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_so() {
        let free = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let error = Loopback(free).connect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
