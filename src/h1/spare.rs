//! Maps of fields that nobody needs any more, for the heads that this thread reads next: one
//! takes two pieces of memory, which would come from the allocator for each head.

use std::cell::RefCell;

use http::HeaderMap;

/// Maps that may wait for a head.
const MOST: usize = 64;

/// A map with room for more fields is not kept.
const LARGE: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map, with room for `fields` where none waits.
pub(super) fn take(fields: usize) -> HeaderMap {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    let spare = spare.ok().flatten();
    spare.unwrap_or_else(|| HeaderMap::with_capacity(fields))
}

/// Gives back `fields` whose head was written or is not needed any more.
pub fn give(mut fields: HeaderMap) {
    if (1..=LARGE).contains(&fields.capacity()) {
        fields.clear();
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST {
                spare.push(fields);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_map_comes_back_empty_and_a_large_one_not_at_all() {
        let mut fields = take(3);
        fields.insert("x", HeaderValue::from_static("1"));
        fields.append("x", HeaderValue::from_static("2"));
        give(fields);
        let again = take(0);
        assert!(again.is_empty() && again.capacity() >= 3);
        give(HeaderMap::with_capacity(LARGE + 1));
        give(HeaderMap::new());
        assert_eq!(take(0).capacity(), 0);
        (0..MOST + 1).for_each(|_| give(HeaderMap::with_capacity(1)));
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), MOST));
    }
}
