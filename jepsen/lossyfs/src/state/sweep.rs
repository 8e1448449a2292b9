//! Inodes that nothing refers to any more go, now and then: not the names, live or durable, nor the kernel.

use super::{Content, Ino, State};
use crate::medium::Medium;
use std::collections::HashSet;

pub(super) const SWEEP_AT_LEAST: usize = 64;

impl<M: Medium> State<M> {
    pub(super) fn sweep(&mut self) {
        if self.nodes.len() >= self.sweep_at {
            self.sweep_now();
        }
    }

    pub(super) fn sweep_now(&mut self) {
        let held = self.nodes.iter().filter(|(_, node)| node.lookups > 0);
        let mut todo: Vec<Ino> = held.map(|(ino, _)| *ino).collect();
        todo.push(Ino::ROOT);
        let mut seen = HashSet::new();
        while let Some(ino) = todo.pop() {
            if seen.insert(ino)
                && let Some(Content::Dir(names)) = self.nodes.get(&ino).map(|node| &node.content)
            {
                names.every_ino(|ino| todo.push(ino));
            }
        }
        self.nodes.retain(|ino, _| seen.contains(ino));
        self.held = self.nodes.values().map(|node| node.held()).sum();
        self.sweep_at = SWEEP_AT_LEAST.max(self.nodes.len() + self.nodes.len() / 2);
    }
}

impl<M: Medium> super::Node<M> {
    pub(super) fn held(&self) -> u64 {
        match &self.content {
            Content::File(contents) => contents.held(),
            Content::Dir(_) => 0,
        }
    }

    pub(super) const fn len(&self) -> u64 {
        match &self.content {
            Content::File(contents) => contents.len(),
            Content::Dir(_) => 0,
        }
    }
}
