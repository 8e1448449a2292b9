//! Strongly connected components (Tarjan), without recursion.

/// Those of more than one node, given the nodes after each.
pub(super) fn components(after: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        after,
        marks: vec![None; after.len()],
        low: vec![0; after.len()],
        open: Vec::new(),
        is_open: vec![false; after.len()],
        found: Vec::new(),
        next: 0,
    };
    for root in 0..after.len() {
        if search.marks[root].is_none() {
            search.from(root);
        }
    }
    search.found
}

struct Search<'a> {
    after: &'a [Vec<usize>],
    /// When each node was first visited.
    marks: Vec<Option<usize>>,
    /// The earliest mark known to be reachable.
    low: Vec<usize>,
    /// Visited, and not yet in a component.
    open: Vec<usize>,
    is_open: Vec<bool>,
    found: Vec<Vec<usize>>,
    next: usize,
}

impl Search<'_> {
    fn from(&mut self, root: usize) {
        // Nodes on the way, each with how many of those after it were looked at.
        let mut way = vec![(root, 0)];
        self.visit(root);
        while let Some((node, looked)) = way.last_mut() {
            let node = *node;
            if let Some(next) = self.after[node].get(*looked) {
                *looked += 1;
                match self.marks[*next] {
                    None => {
                        self.visit(*next);
                        way.push((*next, 0));
                    }
                    Some(mark) if self.is_open[*next] => self.low[node] = self.low[node].min(mark),
                    Some(_) => {}
                }
                continue;
            }
            way.pop();
            if let Some((before, _)) = way.last() {
                self.low[*before] = self.low[*before].min(self.low[node]);
            }
            if Some(self.low[node]) == self.marks[node] {
                self.close(node);
            }
        }
    }

    fn visit(&mut self, node: usize) {
        self.marks[node] = Some(self.next);
        self.low[node] = self.next;
        self.next += 1;
        self.open.push(node);
        self.is_open[node] = true;
    }

    /// Everything opened since `node` is its component.
    fn close(&mut self, node: usize) {
        let at = self.open.iter().rposition(|open| *open == node).unwrap_or(0);
        let component = self.open.split_off(at);
        for member in &component {
            self.is_open[*member] = false;
        }
        if component.len() > 1 {
            self.found.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::components;

    /// Those of more than one node, by whether each can be reached from the other.
    fn by_reach(after: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let nodes = after.len();
        let mut reach: Vec<Vec<bool>> = after
            .iter()
            .map(|after| (0..nodes).map(|to| after.contains(&to)).collect())
            .collect();
        for by in 0..nodes {
            for from in 0..nodes {
                for to in 0..nodes {
                    reach[from][to] |= reach[from][by] && reach[by][to];
                }
            }
        }
        let together = |a: usize, b: usize| a == b || (reach[a][b] && reach[b][a]);
        let of = |node: usize| (0..nodes).filter(|other| together(node, *other)).collect();
        let mut all: Vec<Vec<usize>> = (0..nodes).map(of).collect();
        all.retain(|component| component.len() > 1);
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn of_every_graph_of_four_nodes_they_are_those_that_reach_each_other() {
        const NODES: usize = 4;
        for edges in 0..1_u32 << (NODES * NODES) {
            let is = |from: usize, to: usize| edges >> (from * NODES + to) & 1 == 1;
            let after: Vec<Vec<usize>> = (0..NODES)
                .map(|from| (0..NODES).filter(|to| is(from, *to)).collect())
                .collect();
            let mut found = components(&after);
            found.iter_mut().for_each(|component| component.sort_unstable());
            found.sort_unstable();
            assert_eq!(found, by_reach(&after), "{after:?}");
        }
    }
}
