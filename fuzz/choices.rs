//! Choices out of a fuzzer's bytes: what is not random is not ours to invent.
//!
//! Bytes that have run out read as zero, so every input means something, and a
//! kept input means the same for ever (no crate decides how it is read).

/// What is left of an input.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn of(input: &'a [u8]) -> Choices<'a> {
        Choices(input)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of `list`.
    pub fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    /// Up to `most` bytes as they are; fewer where they run out.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        some
    }

    /// Up to `most` characters out of `alphabet`.
    pub fn word(&mut self, alphabet: &[u8], most: usize) -> String {
        let length = self.below(most + 1);
        (0..length)
            .map(|_| char::from(self.one(alphabet)))
            .collect()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
