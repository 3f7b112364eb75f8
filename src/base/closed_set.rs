//! A closed set of words: an enum that names each of its values as metric labels, logs
//! and JSON show it.
//!
//! Declared once, it gives the variants, the list of all (`ALL`, in the order of the
//! declaration) and the word of each (`as_str`), so none of the three can miss a variant.

/// Declares such an enum: `enum Name { Variant = "word", … }`, with docs as usual.
macro_rules! closed_set {
    (
        $(#[$about:meta])*
        $visible:vis enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visible enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Its word, which users may rely on.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }
    };
}

pub(crate) use closed_set;
