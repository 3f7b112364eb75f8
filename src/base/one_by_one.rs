//! Collecting one by one, into maps and sets that are kept in order.

/// All of `items` in a map or set, each put into its place when its turn comes.
///
/// `collect` sorts a list of them first, by code that is made anew for each kind of iterator:
/// 4 KB of the binary each time, to order a handful of names.
pub fn one_by_one<All: Default + Extend<Item>, Item>(items: impl IntoIterator<Item = Item>) -> All {
    let mut all = All::default();
    all.extend(items);
    all
}
