//! Brings every change of the metadata into effect on this broker, in order, and only then shows it to services.

use super::boot::blocking;
use crate::applied::Applied;
use crate::data_plane::DataPlane;
use crate::fatal::Fatal;
use quipu_controller::{Subscription, Update};
use quipu_metadata::Image;
use std::sync::Arc;

/// Follows the metadata until the controller stops.
pub(super) async fn follow(
    mut subscription: Subscription,
    data: Arc<DataPlane>,
    applied: Arc<Applied>,
    fatal: Fatal,
) {
    let mut image: Arc<Image> = applied.image();
    while let Some(update) = subscription.next().await {
        let data = data.clone();
        match update {
            Update::Delta(delta) => {
                if let Err(error) = Arc::make_mut(&mut image).apply(&delta) {
                    fatal.announce(error);
                    return;
                }
                let after = image.clone();
                blocking(move || data.apply(&after, &delta)).await;
            }
            Update::Image(whole) => {
                image = whole;
                let after = image.clone();
                blocking(move || data.reset(&after)).await;
            }
        }
        applied.publish(image.clone());
    }
}
