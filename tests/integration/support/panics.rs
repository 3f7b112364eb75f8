//! A panic anywhere in a story fails it, not only one in its own lines: in a task of a
//! support server, which runs on the story's thread, or in headset.
//!
//! A hook notes who panicked; what a story starts holds a [`PanicWatch`], which looks there
//! when it is dropped. headset's control thread carries the name that its watch was given.
//! Worker threads carry the same names in every headset, so a panic of one fails every
//! story that runs then.

use std::sync::{Mutex, Once};
use std::thread::{self, ThreadId};

static PANICS: Mutex<Vec<Panic>> = Mutex::new(Vec::new());

#[derive(Clone)]
struct Panic {
    thread: ThreadId,
    name: String,
    text: String,
}

/// Fails the story when it is dropped, where something of the story's has panicked since.
pub struct PanicWatch {
    seen: usize,
    control: Option<String>,
}

impl PanicWatch {
    /// Over the tasks on this thread, and over workers.
    pub fn begin() -> PanicWatch {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let thread = thread::current();
                PANICS.lock().unwrap().push(Panic {
                    thread: thread.id(),
                    name: thread.name().unwrap_or_default().to_owned(),
                    text: panic.to_string(),
                });
                usual(panic);
            }));
        });
        PanicWatch {
            seen: PANICS.lock().unwrap().len(),
            control: None,
        }
    }

    /// And over the thread of this name.
    pub fn and_thread(self, name: &str) -> PanicWatch {
        PanicWatch {
            control: Some(name.to_owned()),
            ..self
        }
    }

    fn found(&self) -> Option<Panic> {
        let here = thread::current().id();
        let panics = PANICS.lock().unwrap();
        let ours = |panic: &&Panic| {
            panic.thread == here
                || panic.name.starts_with("worker-")
                || Some(&panic.name) == self.control.as_ref()
        };
        panics[self.seen..].iter().find(ours).cloned()
    }
}

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        if let Some(Panic { name, text, .. }) = self.found() {
            panic!("a task or thread of this story has panicked: `{name}` {text}");
        }
    }
}

#[tokio::test]
async fn a_panic_in_a_servers_task_or_in_headsets_thread_fails_the_story() {
    let caught = |story: Box<dyn FnOnce() + Send>| {
        let story = thread::Builder::new().name("a story".into()).spawn(story);
        story.unwrap().join().is_err()
    };
    let on = |future: fn() -> tokio::task::JoinHandle<()>| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let _ = future().await;
        });
    };
    assert!(caught(Box::new(move || {
        let _watch = PanicWatch::begin();
        on(|| tokio::spawn(async { panic!("on purpose, in a task") }));
    })));
    assert!(caught(Box::new(|| {
        let _watch = PanicWatch::begin().and_thread("a headset");
        let headset = thread::Builder::new().name("a headset".into());
        let _ = headset
            .spawn(|| panic!("on purpose, in headset"))
            .unwrap()
            .join();
    })));
    // Another story's is not ours.
    assert!(!caught(Box::new(|| {
        let _watch = PanicWatch::begin().and_thread("a headset");
        let other = thread::Builder::new().name("another".into());
        let _ = other
            .spawn(|| panic!("on purpose, elsewhere"))
            .unwrap()
            .join();
    })));
}
