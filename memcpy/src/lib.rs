//! `memcpy` and `memmove` for the static binary of x86-64.
//!
//! Those of musl copy by `rep movsq`, which takes tens of processor cycles to begin; a call over
//! HTTP/2 copies some ninety short pieces (docs/performance.md). On aarch64 musl has Arm's own, and
//! glibc has its own: there this crate is empty, but for its tests on x86-64.
//!
//! This is the only code of headset that is `unsafe`, since a C function cannot be anything else. A
//! short piece is loaded whole, from its beginning and from its end, before any of it is stored; so
//! the halves may overlap, and none is read or written beyond the piece.

#![cfg_attr(not(test), no_std)]
// Else the compiler may take a loop that copies for memcpy, and have it call itself.
#![no_builtins]

#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod copying {
    use core::arch::asm;
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};
    use core::mem::MaybeUninit;

    /// From here on the processor's own `rep movsq` is as fast as any loop, and reads ahead. Not
    /// `rep movsb`, which is slow where a processor lacks ERMS.
    const LONG: usize = 2048;

    /// # Safety
    /// 16 bytes at `from + at` can be read.
    #[inline(always)]
    unsafe fn load(from: *const u8, at: usize) -> __m128i {
        // SAFETY: the caller's word; it need not be aligned.
        unsafe { _mm_loadu_si128(from.add(at).cast()) }
    }

    /// # Safety
    /// 16 bytes at `to + at` can be written.
    #[inline(always)]
    unsafe fn store(to: *mut u8, at: usize, value: __m128i) {
        // SAFETY: the caller's word; it need not be aligned.
        unsafe { _mm_storeu_si128(to.add(at).cast(), value) }
    }

    /// Copies the 64 bytes at `at`, all loaded before the first is stored.
    ///
    /// # Safety
    /// 64 bytes can be read at `from + at` and written at `to + at`.
    #[inline(always)]
    unsafe fn move_64(to: *mut u8, from: *const u8, at: usize) {
        // SAFETY: the caller's word.
        unsafe {
            let (a, b) = (load(from, at), load(from, at + 16));
            let (c, d) = (load(from, at + 32), load(from, at + 48));
            store(to, at, a);
            store(to, at + 16, b);
            store(to, at + 32, c);
            store(to, at + 48, d);
        }
    }

    /// At most 64 bytes, all loaded before the first is stored: they may overlap.
    ///
    /// # Safety
    /// `len` bytes can be read at `from` and written at `to`; `len` is at most 64.
    #[inline(always)]
    unsafe fn short(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: each piece begins at 0 or more and ends at `len` or less.
        unsafe {
            match len {
                33.. => {
                    let (a, b) = (load(from, 0), load(from, 16));
                    let (c, d) = (load(from, len - 32), load(from, len - 16));
                    store(to, 0, a);
                    store(to, 16, b);
                    store(to, len - 32, c);
                    store(to, len - 16, d);
                }
                16..33 => {
                    let (a, b) = (load(from, 0), load(from, len - 16));
                    store(to, 0, a);
                    store(to, len - 16, b);
                }
                8..16 => {
                    let a = from.cast::<MaybeUninit<u64>>().read_unaligned();
                    let b = from
                        .add(len - 8)
                        .cast::<MaybeUninit<u64>>()
                        .read_unaligned();
                    to.cast::<MaybeUninit<u64>>().write_unaligned(a);
                    to.add(len - 8)
                        .cast::<MaybeUninit<u64>>()
                        .write_unaligned(b);
                }
                4..8 => {
                    let a = from.cast::<MaybeUninit<u32>>().read_unaligned();
                    let b = from
                        .add(len - 4)
                        .cast::<MaybeUninit<u32>>()
                        .read_unaligned();
                    to.cast::<MaybeUninit<u32>>().write_unaligned(a);
                    to.add(len - 4)
                        .cast::<MaybeUninit<u32>>()
                        .write_unaligned(b);
                }
                1..4 => {
                    let (to, from) = (to.cast::<MaybeUninit<u8>>(), from.cast::<MaybeUninit<u8>>());
                    let (a, b, c) = (*from, *from.add(len / 2), *from.add(len - 1));
                    *to = a;
                    *to.add(len / 2) = b;
                    *to.add(len - 1) = c;
                }
                0 => {}
            }
        }
    }

    /// Copies `len` bytes to `to`, first to last; `from` may overlap it where it lies behind it, but that
    /// takes long.
    ///
    /// # Safety
    /// `len` bytes can be read at `from` and written at `to`, which does not lie within the `len`
    /// bytes at `from`, but for its beginning.
    #[inline(always)]
    pub(crate) unsafe fn forward(to: *mut u8, from: *const u8, len: usize) {
        if len <= 64 {
            // SAFETY: the caller's word.
            return unsafe { short(to, from, len) };
        }
        if len >= LONG {
            // SAFETY: it copies eight bytes after eight, upwards: the direction flag is clear whenever
            // a function is called (System V ABI, §3.2.1). What the eights leave over is within the
            // last 8 bytes, which are loaded before anything is stored.
            unsafe {
                let last = from
                    .add(len - 8)
                    .cast::<MaybeUninit<u64>>()
                    .read_unaligned();
                asm!("rep movsq", inout("rcx") len / 8 => _, inout("rdi") to => _, inout("rsi") from => _,
                    options(nostack, preserves_flags));
                to.add(len - 8)
                    .cast::<MaybeUninit<u64>>()
                    .write_unaligned(last);
            }
            return;
        }
        // SAFETY: the caller's word, and `len` is above 64.
        unsafe { by_loop(to, from, len) }
    }

    /// As [`forward`], and as fast where the two overlap.
    ///
    /// # Safety
    /// As there; `len` is above 64.
    #[inline(always)]
    unsafe fn by_loop(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: `len` is above 64. The last 64 bytes are loaded before anything is stored, and what
        // the loop reads lies no further down than what it wrote.
        unsafe {
            let (a, b) = (load(from, len - 64), load(from, len - 48));
            let (c, d) = (load(from, len - 32), load(from, len - 16));
            let mut done = 0;
            while done < len - 64 {
                move_64(to, from, done);
                done += 64;
            }
            store(to, len - 64, a);
            store(to, len - 48, b);
            store(to, len - 32, c);
            store(to, len - 16, d);
        }
    }

    /// Copies `len` bytes to `to`, last to first; `from` may overlap it where it lies before it.
    ///
    /// # Safety
    /// `len` bytes can be read at `from` and written at `to`.
    #[inline(always)]
    unsafe fn backward(to: *mut u8, from: *const u8, len: usize) {
        if len <= 64 {
            // SAFETY: the caller's word.
            return unsafe { short(to, from, len) };
        }
        // SAFETY: `len` is above 64. The first 64 bytes are loaded before anything is stored, and what
        // the loop reads lies no further up than what it wrote.
        unsafe {
            let (a, b) = (load(from, 0), load(from, 16));
            let (c, d) = (load(from, 32), load(from, 48));
            let mut left = len;
            while left > 64 {
                left -= 64;
                move_64(to, from, left);
            }
            store(to, 0, a);
            store(to, 16, b);
            store(to, 32, c);
            store(to, 48, d);
        }
    }

    /// Copies `len` bytes from `from` to `to`, however they overlap.
    ///
    /// # Safety
    /// `len` bytes can be read at `from` and written at `to`.
    #[inline(always)]
    pub(crate) unsafe fn either_way(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's word. `to` lies before `from`, or behind all of it, where their
        // difference is not less than `len` as an unsigned number.
        unsafe {
            if to.addr().wrapping_sub(from.addr()) < len {
                backward(to, from, len);
            } else if len > 64 && from.addr().wrapping_sub(to.addr()) < len {
                by_loop(to, from, len);
            } else {
                forward(to, from, len);
            }
        }
    }
}

/// C's `memcpy` (C17, 7.24.2.1).
///
/// # Safety
/// `len` bytes can be read at `from` and written at `to`. None of them are the same, or `to` is
/// `from`: the compiler takes that for granted, beyond what C says.
#[cfg(all(target_arch = "x86_64", target_env = "musl", not(test)))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's word.
    unsafe { copying::forward(to, from, len) };
    to
}

/// C's `memmove` (C17, 7.24.2.2).
///
/// # Safety
/// `len` bytes can be read at `from` and written at `to`.
#[cfg(all(target_arch = "x86_64", target_env = "musl", not(test)))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's word.
    unsafe { copying::either_way(to, from, len) };
    to
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::copying::{either_way, forward};

    /// Where pieces are copied in another way, and what lies around these lengths.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=330).chain(2_030..=2_120).chain([4_095, 4_096, 65_537])
    }

    /// Bytes of which no two of a few hundred neighbours are the same.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn all_bytes_arrive_and_none_beside_them_is_touched() {
        for len in lengths() {
            for (from, to) in [(0, 0), (1, 0), (0, 7), (13, 5), (15, 16), (3, 63)] {
                let source = pattern(from + len);
                let mut target = vec![0xEE; to + len + 64];
                // SAFETY: both lie within their vectors, which are not the same.
                unsafe { forward(target[to..].as_mut_ptr(), source[from..].as_ptr(), len) };
                assert_eq!(
                    target[to..to + len],
                    source[from..],
                    "{len} from {from} to {to}"
                );
                let around = target[..to].iter().chain(&target[to + len..]);
                assert!(
                    { around }.all(|byte| *byte == 0xEE),
                    "{len} from {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn pieces_that_overlap_are_moved_whole_in_both_directions() {
        for len in lengths() {
            for apart in (0..=70).chain([127, 128, 129, 1_000, 2_048]) {
                for (from, to) in [(0, apart), (apart, 0)] {
                    let mut moved = pattern(len + apart);
                    let mut expected = moved.clone();
                    expected.copy_within(from..from + len, to);
                    let start = moved.as_mut_ptr();
                    // SAFETY: both lie within the vector.
                    unsafe { either_way(start.add(to), start.add(from), len) };
                    assert_eq!(moved, expected, "{len} from {from} to {to}");
                    if to <= from {
                        let mut again = pattern(len + apart);
                        let start = again.as_mut_ptr();
                        // SAFETY: both lie within the vector, and `to` is not behind `from`.
                        unsafe { forward(start.add(to), start.add(from), len) };
                        assert_eq!(again, expected, "{len} from {from} to {to}");
                    }
                }
            }
        }
    }
}
