//! An ordered map whose clone costs one reference count, and whose change copies one chunk.
//!
//! The image is cloned at every change, by the state machine and by every watcher; a plain map of 10,000 topics would
//! be copied whole each time.

use std::sync::Arc;

/// A chunk splits in two when it grows past this.
const CHUNK_MAX: usize = 128;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A sorted map in chunks. No chunk is empty; keys ascend within and across chunks.
#[derive(Debug)]
pub(crate) struct ChunkMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for ChunkMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for ChunkMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for ChunkMap<K, V> {}

impl<K, V> ChunkMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }
}

impl<K: Ord + Clone, V: Clone> ChunkMap<K, V> {
    /// The chunk that holds `key`, or would; `None` only if the map is empty.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: std::borrow::Borrow<Q>,
    {
        let after = self
            .chunks
            .partition_point(|c| c.first().is_some_and(|(k, _)| k.borrow() <= key));
        if self.chunks.is_empty() {
            None
        } else {
            Some(after.saturating_sub(1))
        }
    }

    /// The entries from `key` on, in order.
    pub(crate) fn starting_at<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let first = self.chunk_of(key).unwrap_or(0);
        let chunks = self.chunks.get(first..).unwrap_or(&[]);
        let below = chunks.first().map_or(0, |c| c.partition_point(|(k, _)| k < key));
        let entries = chunks.iter().flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)));
        entries.skip(below)
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let chunk = &self.chunks[self.chunk_of(key)?];
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let index = self.chunk_of(key)?;
        let at = self.chunks[index]
            .binary_search_by(|(k, _)| k.borrow().cmp(key))
            .ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[index]);
        Some(&mut chunk[at].1)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(index) = self.chunk_of(&key) else {
            self.chunks = Arc::new(vec![Arc::new(vec![(key, value)])]);
            self.len = 1;
            return None;
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[index]);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => chunk.insert(at, (key, value)),
        }
        if chunk.len() > CHUNK_MAX {
            let upper = chunk.split_off(chunk.len() / 2);
            chunks.insert(index + 1, Arc::new(upper));
        }
        self.len += 1;
        None
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let index = self.chunk_of(key)?;
        let at = self.chunks[index]
            .binary_search_by(|(k, _)| k.borrow().cmp(key))
            .ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[index]);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(index);
        }
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_as_a_sorted_map(ops in prop::collection::vec((0u8..3, 0u32..600, 0u32..9), 1..900)) {
            let mut model = BTreeMap::new();
            let mut map = ChunkMap::default();
            for (op, key, value) in ops {
                let before = map.clone();
                let model_before = model.clone();
                match op {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    _ => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(before.iter().eq(model_before.iter()), "a clone changed");
            }
            prop_assert!(map.iter().eq(model.iter()));
            for key in [0, 1, 250, 599, 600] {
                prop_assert!(map.starting_at(&key).eq(model.range(key..)));
            }
            prop_assert!(map.chunks.iter().all(|c| !c.is_empty() && c.len() <= CHUNK_MAX));
        }
    }

    #[test]
    fn get_mut_leaves_clones_alone() {
        let mut map: ChunkMap<u32, u32> = ChunkMap::default();
        for i in 0..1_000 {
            map.insert(i, i);
        }
        let before = map.clone();
        *map.get_mut(&700).expect("there") = 1;
        assert_eq!(map.get_mut(&1_000), None);
        assert_eq!((before.get(&700), map.get(&700)), (Some(&700), Some(&1)));
    }
}
