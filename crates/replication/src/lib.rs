//! One partition's agreement: leader epochs, high watermark, idempotent producers; pure rules and their driver.
