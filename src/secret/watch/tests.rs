use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::base::temp_folder::TempFolder;

/// Well above the two seconds that are promised, well below the slow re-read,
/// so that what passes was told and not stumbled upon.
const SOON: Duration = Duration::from_secs(25);

/// A subscriber who only listens.
struct RecordingSubscriber {
    subscription: Subscription,
    told: Receiver<Vec<PathBuf>>,
}

impl RecordingSubscriber {
    fn to<const N: usize>(watch: &FileWatch, files: [&PathBuf; N]) -> RecordingSubscriber {
        let (tell, told) = channel();
        let notice = move |changed: &[PathBuf]| {
            let _ = tell.send(changed.to_vec());
        };
        RecordingSubscriber {
            subscription: watch.subscribe(files.map(PathBuf::clone), notice),
            told,
        }
    }

    fn next(&self) -> Vec<PathBuf> {
        self.told
            .recv_timeout(SOON)
            .expect("the change was noticed")
    }
}

#[test]
fn one_watcher_tells_each_subscriber_of_its_own_files() {
    let folder = TempFolder::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| folder.write(name, "one"));
    let watch = FileWatch::default();
    let all = [
        RecordingSubscriber::to(&watch, [&a]),
        RecordingSubscriber::to(&watch, [&a, &b]),
        RecordingSubscriber::to(&watch, [&b]),
        RecordingSubscriber::to(&watch.clone(), [&c]),
    ];
    let watched: Vec<PathBuf> = watch.0.lock().files.keys().cloned().collect();
    assert_eq!(watched, [a.clone(), b.clone(), c.clone()], "each file once");
    folder.write("a", "two");
    assert_eq!(all[0].next(), std::slice::from_ref(&a));
    assert_eq!(all[1].next(), std::slice::from_ref(&a));
    folder.write("b", "two");
    assert_eq!(all[1].next(), std::slice::from_ref(&b));
    assert_eq!(all[2].next(), std::slice::from_ref(&b));
    folder.write("c", "two");
    assert_eq!(all[3].next(), [c]);
    assert!(all[0].told.try_recv().is_err(), "only of its own");
}

#[test]
fn a_file_renamed_into_place_is_noticed() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    let beside = folder.write("a.new", "two");
    std::fs::rename(beside, &path).unwrap();
    assert_eq!(subscriber.next(), [path]);
}

#[cfg(unix)]
#[test]
fn the_data_link_of_kubernetes_is_followed_swap_after_swap() {
    use std::os::unix::fs::symlink;
    let folder = TempFolder::new();
    let root = folder.path();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(root.join(name)).unwrap();
        folder.write(&format!("{name}/password"), text);
    };
    version("..1", "one");
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/password", root.join("password")).unwrap();
    let path = root.join("password");
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    for (old, new) in [("..1", "..2"), ("..2", "..3")] {
        version(new, new);
        symlink(new, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        std::fs::remove_dir_all(root.join(old)).unwrap();
        assert_eq!(subscriber.next(), std::slice::from_ref(&path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), new);
    }
}

#[cfg(unix)]
#[test]
fn a_link_from_elsewhere_into_a_swapped_folder_is_followed() {
    use std::os::unix::fs::symlink;
    let folder = TempFolder::new();
    let root = folder.path();
    for version in ["v1", "v2"] {
        std::fs::create_dir(root.join(version)).unwrap();
        folder.write(&format!("{version}/password"), version);
    }
    symlink("v1", root.join("current")).unwrap();
    let away = TempFolder::new();
    let link = away.path().join("password");
    symlink(root.join("current/password"), &link).unwrap();
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&link]);
    symlink("v2", root.join("next")).unwrap();
    std::fs::rename(root.join("next"), root.join("current")).unwrap();
    assert_eq!(subscriber.next(), [link]);
}

#[test]
fn a_file_that_appears_later_is_noticed_in_a_later_folder_too() {
    let folder = TempFolder::new();
    let path = folder.path().join("later/still/password");
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    std::fs::create_dir_all(folder.path().join("later/still")).unwrap();
    folder.write("later/still/password", "one");
    assert_eq!(subscriber.next(), [path]);
}

#[test]
fn the_same_content_anew_and_a_vanished_file_are_no_change() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let marker = folder.write("marker", "one");
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&path, &marker]);
    folder.write("a", "one");
    std::fs::remove_file(&path).unwrap();
    folder.write("a", "");
    folder.write("marker", "two");
    assert_eq!(subscriber.next(), std::slice::from_ref(&marker));
    folder.write("a", "one");
    folder.write("marker", "three");
    assert_eq!(subscriber.next(), [marker]);
}

#[tokio::test]
async fn what_a_subscriber_turns_to_is_told_and_what_it_keeps_is_not() {
    let folder = TempFolder::new();
    let [a, b] = ["a", "b"].map(|name| folder.write(name, "one"));
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, []);
    let turn_to = |files: &[&PathBuf]| {
        let files: Vec<PathBuf> = files.iter().map(|path| (*path).clone()).collect();
        subscriber.subscription.turn_to(files)
    };
    assert_eq!(turn_to(&[&a]).await, std::slice::from_ref(&a));
    assert_eq!(turn_to(&[&a, &b]).await, std::slice::from_ref(&b));
    assert!(turn_to(&[&b]).await.is_empty());
    folder.write("a", "two");
    folder.write("b", "three");
    assert_eq!(subscriber.next(), std::slice::from_ref(&b));
    assert!(turn_to(&[&b]).await.is_empty(), "it was told");
}

/// What a reload reads right after a change, it must not be told of again.
#[tokio::test]
async fn a_change_is_yielded_or_noticed_and_others_are_told_of_it_too() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::default();
    let [first, second] = [(); 2].map(|()| RecordingSubscriber::to(&watch, [&path]));
    folder.write("a", "two");
    let yielded = first.subscription.turn_to([path.clone()]).await;
    assert_eq!(second.next(), std::slice::from_ref(&path));
    match yielded.is_empty() {
        true => assert_eq!(first.next(), [path]),
        false => assert_eq!(yielded, [path]),
    }
}

/// A writer that never pauses keeps notify's thread busy, and nobody waits for it to fall
/// silent.
#[test]
fn a_folder_that_is_written_to_without_a_pause_hides_no_change() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::default();
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    let noise = folder.path().join("noise");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::fs::write(&noise, "x").unwrap();
            }
        });
        folder.write("a", "two");
        let told = subscriber.told.recv_timeout(SOON);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(told.expect("the change was noticed"), [path]);
    });
}

#[test]
fn what_follows_its_files_does_so_for_as_long_as_it_lives() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::default();
    let (tell, told) = channel();
    let target = Arc::new("it".to_owned());
    watch.follow(&target, [path.clone()], move |target: &String| {
        let _ = tell.send(target.clone());
    });
    assert_eq!(told.try_recv().unwrap(), "it", "once at the beginning");
    folder.write("a", "two");
    assert_eq!(told.recv_timeout(SOON).unwrap(), "it");
    drop(target);
    let marker = folder.write("marker", "one");
    let subscriber = RecordingSubscriber::to(&watch, [&marker]);
    folder.write("a", "three");
    folder.write("marker", "two");
    subscriber.next();
    let error = told.recv_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(error, RecvTimeoutError::Disconnected, "it was let go");
}

#[test]
fn who_is_told_may_subscribe_or_panic() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::default();
    let _panics = watch.subscribe([path.clone()], |_| panic!("a fault"));
    let (inner, file) = (watch.clone(), path.clone());
    let _subscribes = watch.subscribe([path.clone()], move |_| {
        drop(inner.subscribe([file.clone()], |_| {}));
    });
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    for text in ["two", "three"] {
        folder.write("a", text);
        assert_eq!(subscriber.next(), std::slice::from_ref(&path));
    }
}

#[test]
fn the_thread_begins_with_the_first_file_and_ends_with_the_service() {
    let watch = FileWatch::default();
    let nothing = watch.subscribe([], |_| {});
    assert!(watch.0.lock().wake.is_none());
    drop(nothing);
    let folder = TempFolder::new();
    let subscription = watch.subscribe([folder.write("a", "one")], |_| {});
    let service = Arc::downgrade(&watch.0);
    assert!(watch.0.lock().wake.is_some());
    drop((watch, subscription));
    let begun = Instant::now();
    while service.upgrade().is_some() {
        assert!(begun.elapsed() < SOON, "the thread holds it");
        std::thread::yield_now();
    }
}

#[test]
fn what_changes_before_the_service_begins_is_told_after_it() {
    let folder = TempFolder::new();
    let path = folder.write("a", "one");
    let watch = FileWatch::waiting();
    let subscriber = RecordingSubscriber::to(&watch, [&path]);
    assert!(watch.0.lock().wake.is_none(), "no thread yet");
    folder.write("a", "two");
    watch.begin();
    assert_eq!(subscriber.next(), std::slice::from_ref(&path));
    folder.write("a", "three");
    assert_eq!(subscriber.next(), [path]);
}
