//! Where cores, disk, network and time meet: partition threads, RPC services, waiting, limits, metrics, shutdown.
