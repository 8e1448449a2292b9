//! One direction of one connection.

use super::Weather;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Pieces that wait at most: beyond, the sender feels it.
const PIECES: usize = 256;
const PIECE_BYTES: usize = 64 * 1024;

/// Which direction, and how slow this connection is: a share of the greatest slowness, in thousandths.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Requests { share: u32 },
    Replies { share: u32 },
}

/// Connections are slow in different degrees, and the same one always in the same.
pub(super) fn share_of(number: u64) -> u32 {
    // Successive ones lie far apart.
    u32::try_from(number.wrapping_mul(619) % 1000).unwrap_or_default()
}

impl Way {
    fn late(self, weather: &Weather) -> Duration {
        match self {
            Self::Requests { share } => weather.requests_late * share / 1000,
            Self::Replies { share } => weather.replies_late * share / 1000,
        }
    }

    fn held(self, weather: &Weather) -> bool {
        matches!(self, Self::Replies { .. }) && weather.replies_held
    }
}

/// Carries bytes until either end is closed; counts the pieces that it hindered.
pub(super) async fn pump<R, W>(
    mut from: R,
    mut to: W,
    way: Way,
    mut weather: watch::Receiver<Weather>,
    hindered: &AtomicU64,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = weather.clone();
    let reading = async move {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length) = from.read(&mut piece).await {
            if length == 0 {
                return;
            }
            let (late, held) = (way.late(&read.borrow()), way.held(&read.borrow()));
            if held || late > Duration::ZERO {
                hindered.fetch_add(1, Ordering::Relaxed);
            }
            let due = Instant::now() + late;
            if sender.send((due, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if weather.wait_for(|now| !way.held(now)).await.is_err() {
                return;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    // The writer ends after the reader, with all that was read.
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_arrives_whole_once_it_may() {
        let (sender, weather) = watch::channel(Weather {
            replies_held: true,
            ..Weather::default()
        });
        let (mut to, mut out) = tokio::io::duplex(1024);
        let carrying = tokio::spawn(async move {
            let hindered = AtomicU64::new(0);
            pump(
                &b"an answer"[..],
                &mut to,
                Way::Replies { share: 0 },
                weather,
                &hindered,
            )
            .await;
            assert_eq!(hindered.into_inner(), 1);
        });
        let mut got = [0; 9];
        let early = tokio::time::timeout(Duration::from_secs(5), out.read_exact(&mut got)).await;
        assert!(early.is_err(), "it passed while replies were held");
        sender.send_modify(|now| now.replies_held = false);
        out.read_exact(&mut got).await.expect("it arrives");
        assert_eq!(&got, b"an answer");
        carrying.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_late_each_by_its_own_share() {
        let slow = Weather {
            requests_late: Duration::from_secs(1),
            ..Weather::default()
        };
        let (_sender, weather) = watch::channel(slow);
        for (share, millis) in [(0, 0), (500, 500), (999, 999)] {
            let begun = Instant::now();
            let (mut to, mut out) = tokio::io::duplex(1024);
            let way = Way::Requests { share };
            let hindered = AtomicU64::new(0);
            pump(&b"x"[..], &mut to, way, weather.clone(), &hindered).await;
            assert_eq!(hindered.into_inner(), u64::from(share > 0));
            out.read_u8().await.expect("it arrives");
            assert_eq!(begun.elapsed().as_millis(), millis);
        }
        let shares: std::collections::BTreeSet<u32> = (0..10).map(share_of).collect();
        assert_eq!(shares.len(), 10);
    }
}
