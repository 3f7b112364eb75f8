//! The house keeps its own rules: one name for one type, floors that import downward
//! only, no circles of files, no archives. What breaks one fails here by file and line.

mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rules::{Circle, Floors};
use source::Source;

/// Rooms with circles that still have to be ended, and the most files of one. A number
/// may only fall; a room without a circle leaves the list.
const CIRCLES_LEFT: [(&str, usize); 0] = [];

static HEADSET: LazyLock<Source> = LazyLock::new(|| Source::read(&root().join("src")));

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn none(told: &[String]) {
    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

#[test]
fn a_types_name_stands_once_in_each_crate() {
    none(&rules::types_defined_twice("src", &HEADSET));
    let simulator = Source::read(&root().join("simulator/src"));
    none(&rules::types_defined_twice("simulator/src", &simulator));
}

/// `ARCHITECTURE.md` draws them.
#[test]
fn floors_import_only_from_below() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    none(&Floors::read(&page).broken(&HEADSET));
}

#[test]
fn files_use_each_other_in_small_circles_of_one_folder_at_most() {
    let circles = rules::circles(&HEADSET);
    let room = |circle: &Circle| {
        circle
            .files
            .first()
            .unwrap()
            .split(['/', '.'])
            .next()
            .unwrap()
            .to_owned()
    };
    let left = |circle: &Circle| {
        CIRCLES_LEFT
            .iter()
            .any(|(name, most)| room(circle) == *name && circle.files.len() <= *most)
    };
    let told: Vec<String> = circles
        .iter()
        .filter(|circle| !left(circle))
        .map(ToString::to_string)
        .collect();
    none(&told);
    for (name, _) in CIRCLES_LEFT {
        assert!(
            circles.iter().any(|circle| room(circle) == name),
            "`{name}` has no circle any more: take it off CIRCLES_LEFT"
        );
    }
}

#[test]
fn a_file_holds_one_idea() {
    let told: Vec<String> = rules::archives(&HEADSET).into_values().collect();
    none(&told);
}

#[test]
fn nine_files_in_ten_are_short() {
    assert_eq!(rules::long_ones(&HEADSET), None);
}
