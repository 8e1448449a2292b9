//! For tests and simulations: a controller without threads and without chance, and a disk that stops at a given call.

mod bus;
mod cluster;
mod stopping_disk;

pub use crate::raft::Seeded;
pub use bus::{Envelope, Event, Fate, Kind};
pub use cluster::{Crash, Settings, SimCluster, Ticket};
pub use stopping_disk::{StoppingDisk, StoppingFile};

use crate::controller::Identity;
use crate::{Controller, ControllerConfig, ControllerId, Nowhere, StartError};
use quipu_metadata::ClusterId;
use quipu_storage::Disk;

/// Starts a controller that has no threads, draws its ids from `seed`, and takes its random numbers from what
/// [`Seeded::seed`] was last told on this thread. With tokio's clock paused and its own generator seeded
/// (`tokio_unstable`), one seed gives one history.
///
/// # Errors
/// [`StartError`].
pub async fn start_seeded<D: Disk>(
    config: ControllerConfig,
    disk: D,
    seed: u64,
) -> Result<Controller, StartError> {
    let controller = ControllerId::new((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1).max(1));
    let identity = Identity {
        controller,
        cluster: ClusterId::from_u128(u128::from(seed) + 1),
    };
    Controller::start_on::<Seeded, D, Nowhere>(config, disk, Nowhere, identity).await
}
