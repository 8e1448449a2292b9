//! I15: what a broker holds of the metadata is a prefix of what was decided.

use crate::report::Violation;
use quipu_metadata::Image;
use quipu_record::BrokerId;

pub(crate) const NAME: &str = "I15 metadata";

/// Compares a broker's image with the truth, once they are of one version.
pub(crate) fn same_image(broker: BrokerId, image: &Image, truth: &Image) -> Result<(), Violation> {
    if image.version() > truth.version() || (image.version() == truth.version() && image != truth) {
        return Err(Violation {
            invariant: NAME,
            what: format!(
                "broker {broker} has an image of version {} that was never decided",
                image.version().get()
            ),
        });
    }
    Ok(())
}
