//! The same suite over every store, then what only the sealed files promise.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::file::{FileStore, OpenError};
use super::*;
use crate::base::temp_folder::TempFolder;
use crate::secret::Secret;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn label(credential: &str, part: &str) -> Label {
    Label {
        credential: Name::parse(credential).unwrap(),
        tenant: None,
        part: part.into(),
        spec: digest_of(&["spec"]),
    }
}

fn open(folder: &Path, key: &str) -> FileStore {
    FileStore::open(folder, &Secret::new(key.to_owned(), "file /key")).unwrap()
}

/// What every store promises.
pub(crate) fn contract(store: &dyn Store) {
    let (a, b) = (label("a", "ledger"), label("b", "ledger"));
    assert!(store.load(&a).unwrap().is_none());
    store.remove(&a).unwrap();
    store.save(&a, b"one").unwrap();
    store.save(&a, b"two").unwrap();
    store.save(&b, b"").unwrap();
    let loaded = |label: &Label| store.load(label).unwrap().map(|found| found.to_vec());
    let expected = |content: &[u8]| store.keeps().then(|| content.to_vec());
    assert_eq!(loaded(&a), expected(b"two"));
    assert_eq!(loaded(&b), expected(b""));
    let mut tenant = a.clone();
    tenant.tenant = Some("../x/\u{0}".into());
    assert_eq!(loaded(&tenant), None, "a tenant has entries of its own");
    store.save(&tenant, b"three").unwrap();
    assert_eq!(loaded(&tenant), expected(b"three"));
    assert_eq!(loaded(&a), expected(b"two"));
    store.remove(&a).unwrap();
    assert_eq!(loaded(&a), None);
    assert_eq!(loaded(&b), expected(b""));

    assert_eq!(store.print("r", b"secret"), store.print("r", b"secret"));
    assert_ne!(store.print("r", b"secret"), store.print("r", b"Secret"));
    assert_ne!(store.print("r", b"secret"), store.print("s", b"secret"));
    assert_ne!(store.print("r", b"xs"), store.print("rx", b"s"));
    assert!(!store.place(&a).is_empty());
    assert!(!format!("{store:?}").contains(KEY));
}

#[test]
fn every_store_keeps_its_contract() {
    let folder = TempFolder::new();
    let stores: [Box<dyn Store>; 3] = [
        Box::new(NullStore::new()),
        Box::new(super::model_tests::Shelf::default()),
        Box::new(open(&folder.path().join("deep/store"), KEY)),
    ];
    for store in stores {
        contract(&*store);
    }
}

#[test]
fn entries_outlive_the_store_and_are_nobody_elses_business() {
    let folder = TempFolder::new();
    let path = folder.path().join("store");
    let a = label("a", "live");
    let first = open(&path, KEY);
    first.save(&a, b"hunter2 hunter2").unwrap();
    let print = first.print("r", b"s");
    drop(first);

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = path.join("a.live");
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    let raw = std::fs::read(&file).unwrap();
    assert!(!raw.windows(7).any(|part| part == b"hunter2"));

    let again = open(&path, KEY);
    assert_eq!(
        again.load(&a).unwrap().unwrap().as_slice(),
        b"hunter2 hunter2"
    );
    assert_eq!(again.print("r", b"s"), print);
    again.save(&a, b"hunter2 hunter2").unwrap();
    let anew = std::fs::read(&file).unwrap();
    assert_ne!(raw, anew);
    assert_eq!((raw[23], anew[23]), (1, 2), "the generation counts on");
    assert_eq!(
        std::fs::read_dir(&path).unwrap().count(),
        1,
        "nothing is left beside"
    );
}

fn refused(store: &FileStore, label: &Label) -> bool {
    matches!(store.load(label), Err(StoreError::Sealed { .. }))
}

#[test]
fn a_damaged_file_is_refused_wherever_it_is_damaged() {
    let folder = TempFolder::new();
    let store = open(folder.path(), KEY);
    let a = label("a", "live");
    store.save(&a, b"content").unwrap();
    let file = folder.path().join("a.live");
    let whole = std::fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 1;
        std::fs::write(&file, &bad).unwrap();
        assert!(refused(&store, &a), "octet {at}");
        std::fs::write(&file, &whole[..at]).unwrap();
        assert!(refused(&store, &a), "cut at {at}");
    }
    std::fs::write(&file, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(refused(&store, &a));
    std::fs::write(&file, &whole).unwrap();
    assert!(store.load(&a).unwrap().is_some());
}

#[test]
fn a_foreign_file_is_refused_whatever_is_foreign_about_it() {
    let folder = TempFolder::new();
    let store = open(folder.path(), KEY);
    let a = label("a", "live");
    store.save(&a, b"content").unwrap();
    let copy = |to: &str| std::fs::copy(folder.path().join("a.live"), folder.path().join(to));

    copy("b.live").unwrap();
    assert!(refused(&store, &label("b", "live")), "another credential");
    copy("a.ledger").unwrap();
    assert!(refused(&store, &label("a", "ledger")), "another part");
    let mut other = a.clone();
    other.spec = digest_of(&["another"]);
    assert!(refused(&store, &other), "another configuration");
    let other = open(folder.path(), &KEY.replace('0', "1"));
    assert!(refused(&other, &a), "another key");
    // Which can be written over.
    other.save(&a, b"anew").unwrap();
    assert!(refused(&store, &a));
    assert_eq!(other.load(&a).unwrap().unwrap().as_slice(), b"anew");
}

#[test]
fn a_weak_key_and_a_path_that_is_no_folder_are_refused() {
    let folder = TempFolder::new();
    let short = Secret::new("short".to_owned(), "file /key");
    let error = FileStore::open(folder.path(), &short).unwrap_err();
    assert!(matches!(error, OpenError::WeakKey(_)), "{error}");
    assert!(error.to_string().contains("file /key is shorter than 32"));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let key = Secret::new(KEY.to_owned(), "file /key");
    assert!(matches!(
        FileStore::open(&file, &key),
        Err(OpenError::NotAFolder(_))
    ));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_not_a_loss() {
    let folder = TempFolder::new();
    let store = open(&folder.path().join("store"), KEY);
    let a = label("a", "live");
    store.save(&a, b"one").unwrap();
    // Root ignores modes, so something is put in the way instead.
    std::fs::create_dir_all(folder.path().join("store/a.live.new/x")).unwrap();
    assert!(matches!(store.save(&a, b"two"), Err(StoreError::Io { .. })));
    assert_eq!(store.load(&a).unwrap().unwrap().as_slice(), b"one");
}

#[test]
fn what_is_hidden_is_read_back_and_never_shown() {
    let hidden = Hidden::new(b"hunter2\"\\\n");
    assert_eq!(format!("{hidden:?}"), "Hidden");
    let text = serde_json::to_string(&hidden).unwrap();
    assert!(!text.contains("hunter2"));
    let back: Hidden = serde_json::from_str(&text).unwrap();
    assert_eq!(back, hidden);
    assert!(serde_json::from_str::<Hidden>("\"*\"").is_err());
}
