//! Which operation comes before which. The nodes are the operations by number, and then moments in time.

use crate::history::{EventId, History, Kind, Operation, Process};
use crate::observed::Observed;
use std::collections::HashMap;

/// Why one comes before another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relation {
    /// It wrote the value before the other's.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// One process did both.
    Process,
    /// It had ended when the other began.
    Realtime,
}

pub(super) struct Graph {
    operations: usize,
    nodes: usize,
    edges: Vec<(Relation, usize, usize)>,
}

impl Graph {
    pub(super) fn of(history: &History, observed: &Observed<'_>) -> Self {
        let operations = history.operations().len();
        let mut graph = Self {
            operations,
            nodes: operations,
            edges: Vec::new(),
        };
        let numbers: HashMap<EventId, usize> = history
            .operations()
            .iter()
            .enumerate()
            .map(|(number, operation)| (operation.invoke, number))
            .collect();
        graph.add_versions(history, observed, &numbers);
        graph.add_reads(history, &numbers);
        graph.add_orders(history, &numbers);
        graph
    }

    pub(super) const fn is_operation(&self, node: usize) -> bool {
        node < self.operations
    }

    /// For each node, those after it along some relations.
    pub(super) fn along(&self, relations: &[Relation]) -> Vec<Vec<usize>> {
        let mut after = vec![Vec::new(); self.nodes];
        for (relation, from, to) in &self.edges {
            if relations.contains(relation) {
                after[*from].push(*to);
            }
        }
        after
    }

    fn add(&mut self, relation: Relation, from: usize, to: usize) {
        if from != to {
            self.edges.push((relation, from, to));
        }
    }

    /// ww: the writers of adjacent versions.
    fn add_versions(
        &mut self,
        history: &History,
        observed: &Observed<'_>,
        numbers: &HashMap<EventId, usize>,
    ) {
        for (_, partition) in observed.partitions() {
            let mut before = None;
            for value in partition.in_order().filter_map(|sighting| sighting.value) {
                let Some(writer) = history.sender(value) else {
                    continue;
                };
                let writer = numbers[&writer.invoke];
                if let Some(before) = before.replace(writer) {
                    self.add(Relation::Ww, before, writer);
                }
            }
        }
    }

    /// wr: each value's writer and its readers.
    fn add_reads(&mut self, history: &History, numbers: &HashMap<EventId, usize>) {
        for (reader, operation) in history.operations().iter().enumerate() {
            if history.outcome(*operation) != Kind::Ok {
                continue;
            }
            let parts = history
                .last_word(*operation)
                .op
                .polls()
                .flat_map(|poll| &poll.partitions);
            let values = parts
                .flat_map(|part| &part.records)
                .filter_map(|record| record.value);
            for writer in values.filter_map(|value| history.sender(value)) {
                self.add(Relation::Wr, numbers[&writer.invoke], reader);
            }
        }
    }

    /// The orders of each process and of time. Moments, one for each completion, keep the latter few: what has ended
    /// comes before the moment, each moment before the next, and the last moment before what begins.
    fn add_orders(&mut self, history: &History, numbers: &HashMap<EventId, usize>) {
        let mut moment: Option<usize> = None;
        let mut last: HashMap<Process, usize> = HashMap::new();
        let mut ended: HashMap<EventId, usize> = HashMap::new();
        for (number, Operation { completion, .. }) in history.operations().iter().enumerate() {
            ended.extend(completion.map(|completion| (completion, number)));
        }
        for (index, event) in history.events().iter().enumerate() {
            let id = EventId(index);
            if let Some(number) = numbers.get(&id) {
                if let Some(before) = last.insert(event.process, *number) {
                    self.add(Relation::Process, before, *number);
                }
                if let Some(moment) = moment {
                    self.add(Relation::Realtime, moment, *number);
                }
            }
            let ok = event.kind == Kind::Ok;
            if let Some(number) = ended.get(&id).filter(|_| ok) {
                let next = self.nodes;
                self.nodes += 1;
                self.add(Relation::Realtime, *number, next);
                if let Some(moment) = moment.replace(next) {
                    self.add(Relation::Realtime, moment, next);
                }
            }
        }
    }
}
