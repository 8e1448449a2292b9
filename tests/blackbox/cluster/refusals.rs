//! What cannot be one cluster is refused, and the error names what is wrong.

use crate::support::cluster::{Cluster, free_addresses};
use crate::support::{Broker, Result, run};

/// Starts one more broker with these settings, which must refuse: what it says.
fn refused(settings: &[String]) -> Result<String> {
    match Broker::start_with(&std::env::temp_dir(), settings) {
        Ok(_) => Err(format!("{settings:?} was accepted").into()),
        Err(error) => Ok(error.to_string()),
    }
}

fn settings(of: &[(&str, &str)]) -> Vec<String> {
    of.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[test]
fn a_broker_that_does_not_fit_is_refused_by_name() -> Result<()> {
    let cluster = Cluster::start(3, &std::env::temp_dir(), &[])?;
    let voters = cluster.voters();
    let own = free_addresses(1)?.remove(0);
    let broker = |id: &str, internal: &str| {
        settings(&[
            ("broker.roles", "broker"),
            ("controllers.voters", &voters),
            ("broker.id", id),
            ("internal.bind", internal),
        ])
    };
    let twice = refused(&broker("2", &own))?;
    assert!(twice.contains("broker id 2 is in use"), "{twice}");

    let other = "6f1c8c2e-3f55-4d0b-9a43-0a5d1d2b9f10";
    let foreign = [broker("9", &own), settings(&[("cluster.id", other)])].concat();
    let foreign = refused(&foreign)?;
    assert!(
        foreign.contains("cluster") && foreign.contains(other),
        "{foreign}"
    );

    let port = voters.split(',').next().unwrap_or_default();
    let taken = refused(&broker("9", port))?;
    assert!(taken.contains(port), "{taken}");
    Ok(())
}

#[test]
fn voters_that_disagree_are_refused_by_name() -> Result<()> {
    let said = Cluster::start_disagreeing(&std::env::temp_dir())?;
    assert!(said.contains("controllers.voters"), "{said}");
    Ok(())
}

#[test]
fn replicas_that_cannot_be_are_refused_by_name() -> Result<()> {
    let cluster = Cluster::start(3, &std::env::temp_dir(), &[])?;
    let addresses = cluster.addresses();
    let many = run(
        &addresses,
        &["topic", "create", "t", "--replication-factor", "4"],
        b"",
    )?;
    assert_eq!(many.code, Some(1));
    assert!(
        many.stderr.contains("replication factor") || many.stderr.contains("replication.factor"),
        "{}",
        many.stderr
    );
    let args = [
        "topic",
        "create",
        "t",
        "--replication-factor",
        "3",
        "--config",
        "min.insync.replicas=4",
    ];
    let high = run(&addresses, &args, b"")?;
    assert_eq!(high.code, Some(1));
    assert!(high.stderr.contains("min.insync.replicas"), "{}", high.stderr);
    Ok(())
}
