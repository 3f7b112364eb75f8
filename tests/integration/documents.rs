//! Every file in `config/` loads, what is generated says what the code says, and what
//! is written by hand names neither more nor less than there is: error codes, metric
//! families with their labels, crates, floors, and a newcomer's way to the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use headset::app::build::{PlanDraft, kind_keys};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::config::reference;
use headset::credential::kinds::KINDS;
use headset::gateway::error;
use headset_simulator::{Faults, Options, Simulator};

use crate::support::client;
use crate::support::headset::Setup;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The rows of all tables of a page, as cells, without the lines that rule them.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn load_file(path: &Path) -> Result<headset::config::Config, String> {
    let sources = Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    };
    load::load(&sources, &kind_keys()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let rules = read("deploy/prometheus/rules.yml");
    let named = |prefix: &str| -> Vec<String> {
        let lines = rules.lines().map(str::trim);
        let found = lines.filter_map(|line| line.strip_prefix(prefix));
        found.map(str::to_owned).collect()
    };
    let alerts = named("- alert: ");
    let links = named("runbook_url: docs/runbooks/");
    let pages: Vec<String> = alerts.iter().map(|name| format!("{name}.md")).collect();
    assert_eq!(links, pages);
    let folder = std::fs::read_dir(root().join("docs/runbooks")).unwrap();
    let kept = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        kept.collect::<BTreeSet<_>>(),
        pages.iter().cloned().collect()
    );
    let index = read("docs/runbooks.md");
    for name in &alerts {
        let page = read(&format!("docs/runbooks/{name}.md"));
        for part in [&format!("# {name}\n"), "**Means:**", "**Look at", "**Do"] {
            let same = part.starts_with("**") && page.contains("**Look at and do:**");
            assert!(same || page.contains(part), "{name} lacks {part}");
        }
        assert!(index.contains(&format!("(runbooks/{name}.md)")), "{name}");
    }
    let page = read("docs/runbooks/HeadsetHumanActionRequired.md");
    for action in headset::credential::human::Action::ALL {
        let row = format!("| `{}` |", action.as_str());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn every_file_in_config_loads() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            load_file(&path).unwrap_or_else(|why| panic!("{}:\n{why}", path.display()));
            seen += 1;
        }
    }
    assert!(seen >= 2, "minimal.toml and full.toml");
}

#[test]
fn the_tenants_page_shows_a_configuration_that_loads_without_a_warning() {
    let page = read("docs/tenants.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (toml, _) = rest.split_once("```").unwrap();
    let folder = crate::support::folder::Folder::new();
    let config = load_file(&folder.write("tenants.toml", toml)).unwrap();
    assert_eq!(config.warnings, []);
    assert!(config.credentials[0].is_per_tenant());
}

/// Every block of the page, each with a route of its own as users copy it.
#[test]
fn the_credentials_page_has_a_section_for_every_kind_with_blocks_that_load() {
    let page = read("docs/credentials.md");
    let listener = "[listener.app]\nbind = \"127.0.0.1:8080\"\n";
    let folder = crate::support::folder::Folder::new();
    let mut sections = page.split("\n## ");
    let _introduction = sections.next();
    let mut kinds = Vec::new();
    for section in sections {
        let (title, text) = section.split_once('\n').unwrap();
        let blocks: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split_once("```").unwrap().0)
            .collect();
        assert!(!blocks.is_empty(), "{title} shows no configuration");
        for block in blocks {
            let file = folder.write("block.toml", &format!("{listener}{block}"));
            let config = load_file(&file).unwrap_or_else(|why| panic!("{title}:\n{why}"));
            assert_eq!(config.warnings, [], "{title}");
            let judged = PlanDraft::judge(&config, &Clock::system());
            assert_eq!(judged, [], "{title}");
            let first = config.routes[0].credential.as_ref().unwrap();
            let mut named = config.credentials.iter();
            let credential = named.find(|credential| credential.name == *first);
            assert_eq!(credential.unwrap().kind, title);
        }
        kinds.push(title);
    }
    let all: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(kinds, all);
}

/// Where the alerts stand beside `deploy/prometheus/rules.yml`: in the chart, which can read no file
/// outside itself, and as the Prometheus operator takes them.
fn alerts() -> [(String, String); 2] {
    let rules = read("deploy/prometheus/rules.yml");
    let (_, groups) = rules.split_once("\ngroups:\n").expect("the groups");
    let groups: String = groups
        .lines()
        .map(|line| format!("  {line}\n").replace("  \n", "\n"))
        .collect();
    let rule = format!(
        "# Generated from ../prometheus/rules.yml, for the Prometheus operator:\n\
         #   UPDATE=1 cargo test generated_files\n\
         apiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\n\
         metadata:\n  name: headset\n\
         spec:\n  groups:\n{groups}"
    );
    [
        ("deploy/helm/headset/files/rules.yml".to_owned(), rules),
        ("deploy/kubernetes/prometheus-rule.yaml".to_owned(), rule),
    ]
}

/// With `UPDATE=1` the files are written instead.
#[test]
fn generated_files_are_what_the_table_of_keys_says() {
    let reference = reference::files(&kind_keys()).into_iter();
    let reference = reference.map(|(name, text)| (name.to_owned(), text));
    for (name, text) in reference.chain(alerts()) {
        let path = root().join(&name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{name} is stale: run UPDATE=1 cargo test generated_files"
        );
    }
}

#[test]
fn every_error_code_has_an_entry_and_every_entry_a_code() {
    let page = read("docs/errors.md");
    let entries: BTreeSet<&str> = rows(&page)
        .iter()
        .filter(|row| row.len() == 4 && row[0].starts_with('`'))
        .map(|row| row[0].trim_matches('`'))
        .collect();
    let codes = error::CODES.iter().chain(error::HEAD_CODES);
    assert_eq!(entries, codes.copied().collect());
}

/// Label keys whose values come from the configuration or the build.
const OPEN: [&str; 6] = ["route", "listener", "credential", "version", "hash", "le"];

#[test]
fn the_simulators_page_names_every_fault_and_no_other() {
    let page = read("docs/simulator.md");
    let (_, faults) = page.split_once("## Faults").unwrap();
    let (faults, _) = faults.split_once("\n## ").unwrap();
    let all = serde_json::to_value(Faults::default()).unwrap();
    let all = all.as_object().unwrap();
    for key in all.keys() {
        assert!(faults.contains(&format!("\n| `{key}` | ")), "{key}");
    }
    let rows = faults.matches("\n| `").count();
    assert_eq!(rows, all.len());
}

#[tokio::test]
async fn the_metrics_page_lists_what_a_running_headset_exports() {
    let center = Simulator::start(Options::default()).await.unwrap();
    // What only a listener with a certificate has, and what only a forward proxy.
    let folder = crate::support::folder::Folder::new();
    let identity = crate::support::certificates::Certificate::self_signed();
    let cert = folder.write("tls.crt", &identity.cert_pem);
    let key = folder.write("tls.key", &identity.key_pem);
    let headset = Setup {
        rest: format!(
            "[listener.secure]\nbind = \"127.0.0.1:0\"\ntls = {{ cert = {cert:?}, key = {key:?} }}\n\
             [listener.proxy]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n\
             [route.other]\nmatch.path = \"/other\"\nupstream = \"https://cms.example.com\""
        ),
        ..Setup::default()
    }
    .before(&center)
    .await;
    // What is absent until the upstream says something: let it say it.
    center.faults(Faults {
        too_many_next: 1,
        ..Faults::default()
    });
    let limited = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(limited.status, 429);
    let exported = headset.metrics().await;
    let page = read("docs/metrics.md");
    let documented: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = rows(&page)
        .iter()
        .filter(|row| row[0].starts_with('`'))
        .map(|row| (row[0].trim_matches('`'), (quoted(row[1]), quoted(row[2]))))
        // They exist where there is a fleet; the next test has them.
        .filter(|(family, _)| !family.starts_with("headset_fleet_"))
        .collect();

    let families: BTreeSet<&str> = exported
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| cfg!(target_os = "linux") || !name.starts_with("process_"))
        .collect();
    assert_eq!(
        families,
        documented.keys().copied().collect(),
        "exported on the left, documented on the right"
    );

    let mut labelled = 0;
    for line in exported.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels)) = line.split_once('{') else {
            continue;
        };
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| {
                name.strip_suffix(end)
                    .filter(|name| families.contains(name))
            })
            .unwrap_or(name);
        let (keys, values) = &documented[family];
        let (labels, _) = labels.rsplit_once('}').unwrap();
        let pairs = labels.split(',').map(|pair| pair.split_once('=').unwrap());
        let mut seen = BTreeSet::new();
        for (key, value) in pairs {
            let value = value.trim_matches('"');
            let known = match key {
                "code_name" => error::CODES.contains(&value),
                open if OPEN.contains(&open) => true,
                _ => values.contains(value),
            };
            assert!(known, "{family} does not list {key}={value}");
            if key != "le" {
                seen.insert(key);
            }
        }
        assert_eq!(&seen, keys, "{family}");
        labelled += 1;
    }
    assert!(labelled > 200, "{labelled} series had labels");
}

#[test]
fn every_crate_stands_in_the_table_of_dependencies_with_its_reason() {
    let manifest = read("Cargo.toml");
    let named = |table: &str| -> BTreeSet<String> {
        manifest
            .lines()
            .skip_while(|line| *line != format!("[{table}]"))
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let page = read("ARCHITECTURE.md");
    let (_, section) = page.split_once("## Dependencies").unwrap();
    // Names stand before any remark in brackets.
    let words = |text: &str| -> BTreeSet<String> {
        text.split(',')
            .map(|name| name.split(" (").next().unwrap().trim().to_owned())
            .collect()
    };
    let table: BTreeSet<String> = rows(section)
        .iter()
        .skip(1)
        .flat_map(|row| words(row[0]))
        .collect();
    let mut all = named("dependencies");
    for target in [
        r#"target_env = "musl""#,
        r#"all(target_env = "musl", target_arch = "x86_64")"#,
    ] {
        all.extend(named(&format!("target.'cfg({target})'.dependencies")));
    }
    assert_eq!(all, table);
    let development = section
        .lines()
        .find_map(|line| line.strip_prefix("Development: ")?.split('.').next())
        .unwrap();
    let only_there = named("dev-dependencies");
    assert_eq!(
        only_there
            .difference(&table)
            .cloned()
            .collect::<BTreeSet<_>>(),
        words(development)
    );
}

/// Each floor, that is; what is below one says the `//!` of its front page.
#[test]
fn the_architecture_names_every_floor_and_nothing_that_is_not_there() {
    let page = read("ARCHITECTURE.md");
    let (page, _) = page.split_once("## Dependencies").unwrap();
    let named = quoted(page);
    for place in named.iter().filter(|word| is_path(word)) {
        assert!(
            found(place),
            "ARCHITECTURE.md names {place}, which is not there"
        );
    }
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let floor = path.file_stem().unwrap().to_str().unwrap();
        let names = [format!("{floor}/"), format!("{floor}.rs")];
        assert!(
            floor == "lib" || names.iter().any(|name| named.contains(name.as_str())),
            "ARCHITECTURE.md does not name {floor}"
        );
    }
    let glossary = page.split_once("## Glossary").unwrap().1;
    let lines = glossary.lines().filter(|line| line.starts_with('|'));
    assert!(lines.count() <= 25, "the glossary is longer than 25 lines");
}

/// Each question is answered in at most three steps, from ARCHITECTURE.md to the line:
/// every file that a step names is there, and holds what the step names of it.
#[test]
fn the_newcomers_page_leads_from_the_architecture_to_the_line() {
    let architecture = read("ARCHITECTURE.md");
    let page = read("docs/newcomer.md");
    let questions: Vec<&str> = page.split("\n## ").skip(1).collect();
    assert!(questions.len() >= 10, "{} questions", questions.len());
    for question in questions {
        let mut parts = question.split("\n1. ");
        let title = parts.next().unwrap();
        let steps: Vec<&str> = parts.collect();
        assert!(
            (1..=3).contains(&steps.len()),
            "{title}: {} steps",
            steps.len()
        );
        let mut named = 0;
        for (at, step) in steps.iter().enumerate() {
            let mut file = None;
            for word in step.split('`').skip(1).step_by(2) {
                if is_path(word) {
                    assert!(found(word), "{title}: {word} is not there");
                    let short = word.trim_start_matches("src/");
                    assert!(
                        at > 0 || architecture.contains(short),
                        "{title}: ARCHITECTURE.md does not name {word}"
                    );
                    file = (!word.ends_with('/')).then(|| (word, read(word)));
                } else if let Some((path, text)) = &file {
                    assert!(text.contains(word), "{title}: {path} has no {word}");
                    named += 1;
                }
            }
        }
        assert!(named > 0, "{title} ends at no item");
    }
}

/// A file or folder of the repository, as the pages write them.
fn is_path(word: &str) -> bool {
    let ends = [".rs", ".md", ".toml", "/"];
    ends.iter().any(|end| word.ends_with(end)) && !word.starts_with(['/', '<', '*'])
}

/// Whether `path` is there, from the root or below `src/`.
fn found(path: &str) -> bool {
    root().join(path).exists() || root().join("src").join(path).exists()
}

#[test]
fn the_metrics_page_lists_what_a_replica_of_a_fleet_exports() {
    let registry = prometheus::Registry::new();
    let metrics = headset::credential::fleet::metrics::FleetMetrics::new().unwrap();
    metrics.register(&registry).unwrap();
    let health = headset::credential::fleet::health::StoreHealth::new();
    health.register(&registry).unwrap();
    let exported: BTreeSet<String> = registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        // They have series from the first credential or pace on.
        .chain(
            [
                "headset_fleet_credentials_total",
                "headset_fleet_pace_replicas",
                "headset_fleet_pace_shared",
            ]
            .map(str::to_owned),
        )
        .collect();
    let page = read("docs/metrics.md");
    let documented: BTreeSet<String> = rows(&page)
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .filter(|family| family.starts_with("headset_fleet_"))
        .collect();
    assert_eq!(exported, documented);
}
