//! A crate's source, read: its files, what each one uses of the others, the types it
//! defines, and how long it is.
//!
//! A use is a path that begins with `crate`, `self` or `super`, with a module below, or
//! with a name that such a path imported; in a `use`, in code or in a macro's tokens.
//! What only tests compile counts for type names and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree};

/// The files of a crate, by their path below its `src`.
#[derive(Debug, Default)]
pub struct Source {
    pub files: BTreeMap<String, File>,
}

/// One file without its tests, but for the types.
#[derive(Debug)]
pub struct File {
    pub uses: Vec<Use>,
    pub types: Vec<(String, usize)>,
    /// `None` where only tests compile the file.
    pub lines: Option<usize>,
}

/// One path to a module of the same crate or to something in it.
#[derive(Debug)]
pub struct Use {
    pub line: usize,
    /// From the crate's root.
    pub path: Vec<String>,
    /// It was written by the name that an import gave, and so stands here once more.
    pub by_alias: bool,
}

impl Source {
    /// All of a folder's `.rs` files.
    pub fn read(folder: &Path) -> Source {
        let mut texts = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ext| ext == "rs") {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                    texts.insert(name.to_owned(), std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        Source::parse(&texts)
    }

    /// Files that a test of the rules makes up.
    pub fn made_up(files: &[(&str, &str)]) -> Source {
        let texts = files.iter();
        Source::parse(
            &texts
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    fn parse(texts: &BTreeMap<String, String>) -> Source {
        let mut source = Source::default();
        let mut tests = BTreeSet::new();
        for (path, text) in texts {
            let parsed = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
            let module = module_of(path);
            let mut reader = Reader {
                root: module.clone(),
                module,
                ..Reader::default()
            };
            for found in [Pass::Names, Pass::Uses] {
                reader.pass = found;
                reader.visit_file(&parsed);
            }
            tests.append(&mut reader.test_modules);
            let file = File {
                uses: reader.uses,
                types: reader.types,
                lines: Some(text.lines().count() - reader.test_lines),
            };
            source.files.insert(path.clone(), file);
        }
        for (path, file) in &mut source.files {
            let module = module_of(path);
            if (1..=module.len()).any(|depth| tests.contains(&module[..depth])) {
                file.uses.clear();
                file.lines = None;
            }
        }
        source
    }

    /// The file of the module that a path leads to or into.
    pub fn file_of(&self, path: &[String]) -> Option<&str> {
        (1..=path.len()).rev().find_map(|depth| {
            let name = format!("{}.rs", path[..depth].join("/"));
            let (name, _) = self.files.get_key_value(&name)?;
            Some(name.as_str())
        })
    }
}

/// `a/b.rs` is `crate::a::b`.
fn module_of(path: &str) -> Vec<String> {
    match path.strip_suffix(".rs").unwrap() {
        "lib" => Vec::new(),
        module => module.split('/').map(str::to_owned).collect(),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Pass {
    /// Which modules there are below, and which names imports give.
    #[default]
    Names,
    Uses,
}

#[derive(Debug, Default)]
struct Reader {
    pass: Pass,
    root: Vec<String>,
    /// Where the reader is: the file's module, or one written inside it.
    module: Vec<String>,
    below: BTreeSet<Vec<String>>,
    imported: BTreeMap<(Vec<String>, String), Vec<String>>,
    in_function: bool,
    in_tests: bool,
    uses: Vec<Use>,
    types: Vec<(String, usize)>,
    test_modules: BTreeSet<Vec<String>>,
    test_lines: usize,
}

impl Reader {
    /// Where a path leads from the crate's root, and whether by an import's name; `None`
    /// if out of the crate.
    fn absolute(&self, path: &[String]) -> Option<(Vec<String>, bool)> {
        let mut at = self.module.clone();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                // The binary's view of its library.
                "headset" if self.root == ["main"] => at.clear(),
                "self" => {}
                "super" => {
                    at.pop();
                }
                _ => break,
            }
            rest = after;
        }
        if rest.len() < path.len() {
            at.extend_from_slice(rest);
            return Some((at, false));
        }
        at.push(rest.first()?.clone());
        if self.below.contains(&at) {
            at.extend_from_slice(&rest[1..]);
            return Some((at, false));
        }
        at.pop();
        let imported = self.imported.get(&(at, rest[0].clone()))?;
        Some(([imported, &rest[1..]].concat(), true))
    }

    fn path(&mut self, path: &[String], line: usize) {
        if self.pass == Pass::Uses
            && !self.in_tests
            && let Some((path, by_alias)) = self.absolute(path)
        {
            self.uses.push(Use {
                line,
                path,
                by_alias,
            });
        }
    }

    fn tree(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        let (ident, name) = match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(before, &path.tree);
                before.pop();
                return;
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(before, tree);
                }
                return;
            }
            UseTree::Glob(glob) => return self.path(before, line(glob.star_token.span())),
            UseTree::Name(name) => (&name.ident, &name.ident),
            UseTree::Rename(name) => (&name.ident, &name.rename),
        };
        let mut whole = before.clone();
        let mut given = name.to_string();
        if ident == "self" {
            given = whole.last().cloned().unwrap_or(given);
        } else {
            whole.push(ident.to_string());
        }
        if self.pass == Pass::Uses {
            self.path(&whole, line(ident.span()));
        } else if let Some((path, _)) = self.absolute(&whole) {
            self.imported.insert((self.module.clone(), given), path);
        }
    }

    /// Paths and types in what a macro is given, which nobody parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let ident = |at: usize| match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => Some(ident),
            _ => None,
        };
        let colon =
            |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        let mut at = 0;
        while at < tokens.len() {
            if let TokenTree::Group(group) = &tokens[at] {
                self.tokens(group.stream());
            }
            let Some(first) = ident(at) else {
                at += 1;
                continue;
            };
            let keyword = ["struct", "enum", "trait", "union"];
            if keyword.iter().any(|keyword| first == keyword)
                && let Some(name) = ident(at + 1)
            {
                self.defined(name);
            }
            let mut path = vec![first.to_string()];
            at += 1;
            while colon(at)
                && colon(at + 1)
                && let Some(next) = ident(at + 2)
            {
                path.push(next.to_string());
                at += 3;
            }
            if path.len() > 1 {
                self.path(&path, line(first.span()));
            }
        }
    }

    fn defined(&mut self, name: &Ident) {
        if self.pass == Pass::Uses && !self.in_function {
            self.types.push((name.to_string(), line(name.span())));
        }
    }

    /// Reads on below, with a mark set meanwhile.
    fn within(&mut self, mark: fn(&mut Reader) -> &mut bool, read: impl FnOnce(&mut Reader)) {
        let before = std::mem::replace(mark(self), true);
        read(self);
        *mark(self) = before;
    }

    /// An item that only tests compile.
    fn test_item(&mut self, item: &Item) {
        let span = item.span();
        if self.pass == Pass::Uses && !self.in_tests {
            self.test_lines += span.end().line - span.start().line + 1;
        }
        if let Item::Mod(module) = item
            && module.content.is_none()
        {
            let named = named_file(&module.attrs);
            let mut path = self.module.clone();
            match named {
                // Beside the file, not below it.
                Some(file) => {
                    path.pop();
                    path.extend(module_of(&file));
                }
                None => path.push(module.ident.to_string()),
            }
            self.test_modules.insert(path);
        }
        self.within(|r| &mut r.in_tests, |r| visit::visit_item(r, item));
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(item) => self.defined(&item.ident),
            Item::Enum(item) => self.defined(&item.ident),
            Item::Union(item) => self.defined(&item.ident),
            Item::Trait(item) => self.defined(&item.ident),
            Item::Type(item) => self.defined(&item.ident),
            _ => {}
        }
        if attributes(item).iter().any(for_tests) {
            self.test_item(item);
        } else {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let tests = self.in_tests || item.attrs.iter().any(for_tests);
        let before = std::mem::replace(&mut self.in_tests, tests);
        visit::visit_impl_item_fn(self, item);
        self.in_tests = before;
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        self.below.insert(self.module.clone());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names.len() > 1 {
            self.path(&names, line(path.segments[0].ident.span()));
        }
        visit::visit_path(self, path);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.within(|r| &mut r.in_function, |r| visit::visit_block(r, block));
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.tokens(item.tokens.clone());
    }

    /// `pub(in crate::…)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn line(span: proc_macro2::Span) -> usize {
    span.start().line
}

fn for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<Ident>()
            .is_ok_and(|what| what == "test")
}

/// What `#[path = "…"]` says.
fn named_file(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let named = attribute.meta.require_name_value().ok()?;
        let syn::Expr::Lit(literal) = &named.value else {
            return None;
        };
        match &literal.lit {
            syn::Lit::Str(file) if named.path.is_ident("path") => Some(file.value()),
            _ => None,
        }
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
