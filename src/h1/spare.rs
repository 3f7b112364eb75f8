//! What heads are made of, kept for those that this thread reads next: maps of fields, and
//! boxes of requests and responses. Each takes memory that would come from the allocator for
//! each head.

use std::cell::RefCell;

use http::{HeaderMap, Request, Response, Uri};

/// Maps, or boxes of one type, that may wait for a head: as many as calls of a busy application end
/// before others begin. All of them together have 1 MiB.
const MOST: usize = 1024;

/// A map with room for more fields is not kept.
const LARGE: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map, with room for `fields` where none waits.
pub(super) fn take(fields: usize) -> HeaderMap {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    let spare = spare.ok().flatten();
    spare.unwrap_or_else(|| HeaderMap::with_capacity(fields))
}

/// Gives back `fields` whose head was written or is not needed any more.
pub fn give(mut fields: HeaderMap) {
    if (1..=LARGE).contains(&fields.capacity()) {
        fields.clear();
        let _ = SPARE.try_with(|spare| {
            keep(&mut spare.borrow_mut(), fields);
        });
    }
}

/// A body by whose type boxes for heads are kept, if they are.
pub trait Boxed: Default + 'static {
    /// Where boxes wait; nowhere, unless a type says so.
    fn boxes() -> Option<&'static std::thread::LocalKey<Boxes<Self>>> {
        None
    }
}

impl Boxed for () {}

/// Boxes that wait for a head with a body of this type: of a thread.
#[derive(Debug)]
pub struct Boxes<B> {
    requests: RefCell<Vec<Box<Request<B>>>>,
    responses: RefCell<Vec<Box<Response<B>>>>,
}

impl<B> Boxes<B> {
    /// None yet.
    pub const fn new() -> Boxes<B> {
        Boxes {
            requests: RefCell::new(Vec::new()),
            responses: RefCell::new(Vec::new()),
        }
    }
}

impl<B> Default for Boxes<B> {
    fn default() -> Boxes<B> {
        Boxes::new()
    }
}

/// A request without fields, extensions and body; its method, target and version are to be set.
pub(super) fn request<B: Boxed>() -> Box<Request<B>> {
    let take = |boxes: &Boxes<B>| boxes.requests.borrow_mut().pop();
    let spare = B::boxes().and_then(|boxes| boxes.try_with(take).ok().flatten());
    spare.unwrap_or_else(|| Box::new(Request::new(B::default())))
}

/// The request with this `head`, in a box and without a body.
pub fn boxed<B: Boxed>(head: http::request::Parts) -> Box<Request<B>> {
    let mut request = self::request::<B>();
    // Each part to its place: a whole request would be moved once more.
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    *request.extensions_mut() = head.extensions;
    request
}

/// A response without fields, extensions and body; its status and version are to be set.
pub(super) fn response<B: Boxed>() -> Box<Response<B>> {
    let take = |boxes: &Boxes<B>| boxes.responses.borrow_mut().pop();
    let spare = B::boxes().and_then(|boxes| boxes.try_with(take).ok().flatten());
    spare.unwrap_or_else(|| Box::new(Response::new(B::default())))
}

/// Gives back a request that was sent and is not needed any more. Nothing of it is kept but its
/// memory.
pub fn give_request<B: Boxed>(mut request: Box<Request<B>>) {
    give(std::mem::take(request.headers_mut()));
    *request.uri_mut() = Uri::default();
    *request.body_mut() = B::default();
    request.extensions_mut().clear();
    if let Some(boxes) = B::boxes() {
        let _ = boxes.try_with(|boxes| keep(&mut boxes.requests.borrow_mut(), request));
    }
}

/// Gives back a response whose head was written. Nothing of it is kept but its memory.
pub fn give_response<B: Boxed>(mut response: Box<Response<B>>) {
    give(std::mem::take(response.headers_mut()));
    *response.body_mut() = B::default();
    response.extensions_mut().clear();
    if let Some(boxes) = B::boxes() {
        let _ = boxes.try_with(|boxes| keep(&mut boxes.responses.borrow_mut(), response));
    }
}

fn keep<T>(spare: &mut Vec<T>, one: T) {
    if spare.len() < MOST {
        spare.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_map_comes_back_empty_and_a_large_one_not_at_all() {
        let mut fields = take(3);
        fields.insert("x", HeaderValue::from_static("1"));
        fields.append("x", HeaderValue::from_static("2"));
        give(fields);
        let again = take(0);
        assert!(again.is_empty() && again.capacity() >= 3);
        give(HeaderMap::with_capacity(LARGE + 1));
        give(HeaderMap::new());
        assert_eq!(take(0).capacity(), 0);
        (0..MOST + 1).for_each(|_| give(HeaderMap::with_capacity(1)));
        SPARE.with_borrow(|spare| assert_eq!(spare.len(), MOST));
    }

    #[derive(Debug, Default, PartialEq)]
    struct Body(u8);

    thread_local! {
        static BOXES: Boxes<Body> = const { Boxes::new() };
    }

    impl Boxed for Body {
        fn boxes() -> Option<&'static std::thread::LocalKey<Boxes<Body>>> {
            Some(&BOXES)
        }
    }

    #[test]
    fn a_box_comes_back_with_nothing_of_what_it_held() {
        let mut used = Box::new(Request::new(Body(1)));
        *used.uri_mut() = Uri::from_static("/secret");
        used.headers_mut()
            .insert("x", HeaderValue::from_static("1"));
        used.extensions_mut().insert(1u8);
        let at = std::ptr::from_ref(&*used);
        give_request(used);
        let again = request::<Body>();
        assert_eq!(std::ptr::from_ref(&*again), at);
        assert_eq!((again.uri().path(), again.body()), ("/", &Body(0)));
        assert!(again.headers().is_empty() && again.extensions().is_empty());

        let mut used = Box::new(Response::new(Body(1)));
        used.headers_mut()
            .insert("x", HeaderValue::from_static("1"));
        used.extensions_mut().insert(1u8);
        let at = std::ptr::from_ref(&*used);
        give_response(used);
        let again = response::<Body>();
        assert_eq!(std::ptr::from_ref(&*again), at);
        assert_eq!(again.body(), &Body(0));
        assert!(again.headers().is_empty() && again.extensions().is_empty());

        (0..=MOST).for_each(|_| give_request(Box::new(Request::new(Body(0)))));
        BOXES.with(|boxes| assert_eq!(boxes.requests.borrow().len(), MOST));
        give_request(Box::new(Request::new(())));
        assert!(<()>::boxes().is_none());
    }
}
