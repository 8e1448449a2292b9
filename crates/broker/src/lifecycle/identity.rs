//! Who a data directory is: `meta.properties`, written once. A directory under another broker's or cluster's id is
//! refused, since its logs would be taken for copies that they are not.

use crate::config::Config;
use quipu_metadata::{ClusterId, DirectoryId};
use quipu_record::BrokerId;
use quipu_storage::{DataDirError, Disk, ReplaceFile};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use thiserror::Error;

const FILE: &str = "meta.properties";
const VERSION: &str = "1";

/// Who a data directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) broker: BrokerId,
    pub(crate) directory: DirectoryId,
}

/// Why a data directory is not this broker's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It is another broker's.
    #[error(
        "{}: this data directory belongs to broker {theirs}, and broker.id is {ours}: set broker.id to {theirs}, or give \
         broker {ours} a data.dir of its own",
        file.display()
    )]
    WrongBroker {
        /// `meta.properties`.
        file: PathBuf,
        /// What it says.
        theirs: BrokerId,
        /// What is configured.
        ours: BrokerId,
    },
    /// It is another cluster's.
    #[error(
        "{}: this data directory belongs to cluster {theirs}, not {ours}: name the right data.dir, or the right cluster.id",
        file.display()
    )]
    WrongCluster {
        /// `meta.properties`.
        file: PathBuf,
        /// What it says.
        theirs: ClusterId,
        /// What is configured, or what the controller says.
        ours: ClusterId,
    },
    /// The controllers that are configured are another cluster's.
    #[error(
        "{}: this data directory belongs to cluster {ours}, and the controller at {address} to cluster {theirs}: set \
         controllers.voters to the controllers of cluster {ours}, or name another data.dir",
        file.display()
    )]
    ControllersElsewhere {
        /// `meta.properties`.
        file: PathBuf,
        /// What it says.
        ours: ClusterId,
        /// Which controller.
        address: String,
        /// What it says.
        theirs: ClusterId,
    },
    /// It is gone, though the directory was in use.
    #[error(
        "{} is missing, though this data directory was in use: put it back from a backup; without it nobody knows whether \
         these are the logs that the cluster means",
        file.display()
    )]
    Missing {
        /// `meta.properties`.
        file: PathBuf,
    },
    /// It does not say what it should.
    #[error("{}: {what}; put it back from a backup", file.display())]
    Unreadable {
        /// `meta.properties`.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    File(#[from] DataDirError),
}

/// The path of `meta.properties`.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join(FILE)
}

impl Identity {
    /// Reads who the directory is; `None`: nobody yet.
    pub(crate) fn read<D: Disk>(disk: &D, root: &Path) -> Result<Option<Self>, IdentityError> {
        let file = path(root);
        let Some(bytes) = ReplaceFile::read(disk, &file)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        match Self::parse(&text) {
            Ok(identity) => Ok(Some(identity)),
            Err(what) => Err(IdentityError::Unreadable { file, what }),
        }
    }

    /// Writes it. Durable on return.
    pub(crate) fn write<D: Disk>(&self, disk: &D, root: &Path) -> Result<(), IdentityError> {
        Ok(ReplaceFile::write(disk, &path(root), self.text().as_bytes())?)
    }

    /// Whether it is the one that is configured.
    pub(crate) fn check(&self, config: &Config, root: &Path) -> Result<(), IdentityError> {
        if self.broker != config.broker.id {
            return Err(IdentityError::WrongBroker {
                file: path(root),
                theirs: self.broker,
                ours: config.broker.id,
            });
        }
        match config.cluster_id {
            Some(ours) => self.check_cluster(ours, root),
            None => Ok(()),
        }
    }

    /// Whether it belongs to this cluster.
    pub(crate) fn check_cluster(&self, ours: ClusterId, root: &Path) -> Result<(), IdentityError> {
        if self.cluster == ours {
            return Ok(());
        }
        Err(IdentityError::WrongCluster {
            file: path(root),
            theirs: self.cluster,
            ours,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let Self {
            cluster,
            broker,
            directory,
        } = self;
        // Writing into a `String` cannot fail.
        let _ = write!(
            text,
            "version={VERSION}\ncluster.id={cluster}\nbroker.id={broker}\ndirectory.id={directory}\n"
        );
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.ok_or_else(|| format!("it does not say {key}"))
        };
        let version = value("version")?;
        if version != VERSION {
            return Err(format!(
                "it has version {version}, and this program reads version {VERSION}"
            ));
        }
        let bad = |key: &str| format!("{key} cannot be read");
        Ok(Self {
            cluster: ClusterId::parse(value("cluster.id")?).ok_or_else(|| bad("cluster.id"))?,
            broker: BrokerId::new(value("broker.id")?.parse().map_err(|_| bad("broker.id"))?),
            directory: DirectoryId::parse(value("directory.id")?).ok_or_else(|| bad("directory.id"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        cluster: ClusterId::from_u128(0x6f1c_8c2e_3f55_4d0b_9a43_0a5d_1d2b_9f10),
        broker: BrokerId::new(7),
        directory: DirectoryId::from_u128(3),
    };

    #[test]
    fn text_comes_back_as_it_went() {
        let text = IDENTITY.text();
        assert!(
            text.contains("cluster.id=6f1c8c2e-3f55-4d0b-9a43-0a5d1d2b9f10\nbroker.id=7\n"),
            "{text}"
        );
        assert_eq!(Identity::parse(&text), Ok(IDENTITY));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let text = IDENTITY.text();
        for (from, to, told) in [
            ("version=1", "version=2", "version 2"),
            ("broker.id=7", "broker.id=x", "broker.id cannot"),
            ("directory.id", "directory", "does not say directory.id"),
            ("cluster.id=6", "cluster.id=!", "cluster.id cannot"),
        ] {
            let error = Identity::parse(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn another_brokers_and_another_clusters_directory_are_refused_by_name() {
        let root = Path::new("data");
        let mut config = Config::ephemeral(root);
        config.broker.id = BrokerId::new(2);
        let told = IDENTITY.check(&config, root).unwrap_err().to_string();
        assert!(
            told.contains("data/meta.properties") && told.contains("belongs to broker 7"),
            "{told}"
        );

        config.broker.id = BrokerId::new(7);
        IDENTITY.check(&config, root).unwrap();
        config.cluster_id = Some(ClusterId::from_u128(1));
        let told = IDENTITY.check(&config, root).unwrap_err().to_string();
        assert!(told.contains("belongs to cluster 6f1c8c2e"), "{told}");
    }
}
