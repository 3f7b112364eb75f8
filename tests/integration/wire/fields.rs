//! Fields: what stays, what goes, what is refused.

use super::run::{Asked, Expect, ask, get, leaves, leaves_with, post, with};

// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn table() -> Vec<Asked> {
    let case = |covers, name, sends: &str, expects| Asked { covers, name, sends: sends.into(), expects };
    // A GET of /a with these lines, which leaves with those fields.
    let field = |covers, name, lines: &str, fields| case(covers, name, &with(lines), leaves("GET /a", fields));
    let bad = |name, lines: &str| case(&["bad-field"], name, &with(lines), Expect::Refused(400, "bad_head"));
    // On the route without a credential.
    let open = |covers, name, lines: &str, fields| {
        let sends = format!("GET /open HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
        case(covers, name, &sends, leaves("GET /open", fields))
    };
    let long: &'static str = Box::leak(format!("x-a: {}", "v".repeat(16_000)).into_boxed_str());
    let trailers = "Transfer-Encoding: chunked\r\nTrailer: x-sum, authorization, sessionid, host, content-length";
    let chunked_end = |trailers: &str| format!("1\r\na\r\n0\r\n{trailers}\r\n\r\n");
    vec![
        field(&["order"], "repeated fields keep their order", "X-A: 1\r\nX-B: 2\r\nX-A: 3\r\nX-A: 2", &["x-a: 1", "x-a: 3", "x-a: 2", "x-b: 2"]),
        field(&["order"], "equal values of a repeated field stay", "X-A: 1\r\nX-A: 1", &["x-a: 1", "x-a: 1"]),
        field(&["values"], "a list in a value is not split", "X-A: 1, 2,,3", &["x-a: 1, 2,,3"]),
        field(&["values"], "an empty value stays", "X-A:", &["x-a: "]),
        field(&["values"], "an empty value among others stays", "X-A: 1\r\nX-A: \r\nX-A: 2", &["x-a: 1", "x-a: ", "x-a: 2"]),
        field(&["values"], "octets above 127 in a value stay", "X-A: \u{e9}\u{ff}\u{80}", &["x-a: \u{e9}\u{ff}\u{80}"]),
        field(&["values"], "a tab inside a value stays", "X-A: a\tb", &["x-a: a\tb"]),
        field(&["values"], "two blanks inside a value stay", "X-A: a  b", &["x-a: a  b"]),
        field(&["values"], "quotes and backslashes in a value stay", "X-A: \"a\\\"b\"", &["x-a: \"a\\\"b\""]),
        field(&["values"], "colons in a value stay", "X-A: a: b:c", &["x-a: a: b:c"]),
        field(&["values"], "a value of 16000 bytes stays", &long.replace("x-a", "X-A"), Box::leak(Box::new([long]))),
        field(&["values"], "an encoded word in a value is not decoded", "X-A: =?utf-8?q?a?= %0d%0ab", &["x-a: =?utf-8?q?a?= %0d%0ab"]),
        field(&["blanks"], "blanks and tabs around a value go", "X-A: \t 1 \t", &["x-a: 1"]),
        field(&["blanks"], "no blank after the colon is needed", "X-A:1", &["x-a: 1"]),
        field(&["name-case"], "names of any case pass", "X-MiXeD: V", &["x-mixed: V"]),
        field(&["odd-names"], "a name with an underscore stays", "x_a: 1", &["x_a: 1"]),
        field(&["odd-names"], "a name with a dot stays", "x.a: 1", &["x.a: 1"]),
        field(&["odd-names"], "a name of every mark stays", "!#$%&'*+-.^_`|~9a: 1", &["!#$%&'*+-.^_`|~9a: 1"]),
        field(&["values"], "Cookie stays as it is", "Cookie: a=1; b=\"2\"", &["cookie: a=1; b=\"2\""]),
        field(&["values"], "Date, Via and Accept-Encoding stay", "Date: x\r\nVia: 1.0 a\r\nAccept-Encoding: gzip", &["date: x", "via: 1.0 a", "accept-encoding: gzip"]),
        field(&["not-added"], "the caller's Forwarded and X-Forwarded-For stay, and no more is added", "Forwarded: for=a\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b", &["forwarded: for=a", "x-forwarded-for: a", "x-forwarded-for: b"]),
        field(&["values"], "conditional and range fields stay", "If-None-Match: \"a\"\r\nRange: bytes=0-1", &["if-none-match: \"a\"", "range: bytes=0-1"]),
        // Hop by hop.
        field(&["hop"], "Connection and what it names go", "Connection: x-a, X-B\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3", &["x-c: 3"]),
        field(&["hop"], "what Connection names goes, also where nobody else looks for it", "User-Agent: a\r\nConnection: user-agent\r\nAccept: b", &["accept: b"]),
        field(&["order"], "fields that nobody looks for stay in order, among others and in odd lines", "Accept: 1\r\nX-A: 1\r\nAccept:2\r\nX-B: 1\r\nAccept: 3", &["accept: 1", "x-a: 1", "accept: 2", "x-b: 1", "accept: 3"]),
        field(&["hop"], "every Connection field is read", "Connection: keep-alive\r\nConnection: x-a\r\nX-A: 1", &[]),
        field(&["hop"], "what Connection names goes with all its values", "Connection: x-a\r\nX-A: 1\r\nX-A: 2", &[]),
        field(&["hop"], "blanks in Connection do not hide a name", "Connection: \t x-a ,, , x-b\t\r\nX-A: 1\r\nX-B: 1", &[]),
        field(&["hop"], "Keep-Alive goes", "Keep-Alive: timeout=5", &[]),
        field(&["hop"], "Proxy-Connection goes", "Proxy-Connection: keep-alive", &[]),
        field(&["hop"], "Proxy-Authenticate goes", "Proxy-Authenticate: Basic", &[]),
        field(&["hop"], "Upgrade that Connection does not name goes", "Upgrade: h2c", &[]),
        field(&["hop"], "an upgrade to h2c goes with its settings", "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA", &[]),
        field(&["hop"], "TE without trailers goes", "TE: gzip;q=0.5\r\nConnection: te", &[]),
        field(&["te"], "TE: trailers is set anew", "TE: trailers\r\nConnection: te", &["te: trailers", "connection: te"]),
        field(&["te"], "of a longer TE only trailers stays", "TE: gzip;q=0.5, Trailers\r\nConnection: te", &["te: trailers", "connection: te"]),
        field(&["te"], "TE: trailers counts although Connection does not name it", "TE: trailers", &["te: trailers", "connection: te"]),
        field(&["proxy-authorization"], "Proxy-Authorization goes", "Proxy-Authorization: Basic bWluZQ==", &[]),
        open(&["proxy-authorization"], "Proxy-Authorization goes on a route without a credential too", "Proxy-Authorization: Basic bWluZQ==", &[]),
        field(&["connection-cannot"], "Connection cannot remove the credential", "Connection: authorization", &[]),
        field(&["connection-cannot"], "Connection cannot remove Host", "Connection: host", &[]),
        case(&["connection-cannot"], "Connection cannot remove the length", &post("Connection: content-length\r\nContent-Length: 1", "a"), leaves_with("POST /a", &["content-length: 1"], "a", &[])),
        case(&["connection-cannot"], "Connection cannot remove the coding", &post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", "1\r\na\r\n0\r\n\r\n"), leaves_with("POST /a", &["transfer-encoding: chunked"], "a", &[])),
        case(&["connection-cannot"], "Connection: close does not close the upstream's connection", &with("Connection: close"), leaves("GET /a", &[])),
        // Credentials.
        field(&["own-credential"], "the caller's Authorization goes", "Authorization: mine", &[]),
        field(&["own-credential"], "every one of several goes", "Authorization: mine\r\nAUTHORIZATION: mine\r\nauthorization: mine", &[]),
        field(&["own-credential"], "sessionId goes", "sessionId: mine\r\nSESSIONID: mine", &[]),
        field(&["own-credential"], "an empty Authorization goes", "Authorization:", &[]),
        field(&["headset-fields"], "fields beginning with headset- go", "Headset-Generation: 9\r\nheadset-x: 1", &[]),
        open(&["headset-fields"], "they go on a route without a credential too", "Headset-Generation: 9", &[]),
        open(&["passes-credential"], "a route without a credential passes the caller's own", "Authorization: mine\r\nsessionId: s", &["authorization: mine", "sessionid: s"]),
        field(&["alias"], "a name that is a credential's but for an underscore goes", "session-id: kept\r\nProxy_Authorization: mine\r\nproxy_authorization: mine", &["session-id: kept"]),
        field(&["headset-fields"], "headset_ with an underscore goes too", "headset_generation: 9", &[]),
        case(&["own-credential", "trailers-up"], "credentials and framing in trailers go, an announced trailer stays", &post(trailers, &chunked_end("X-Sum: 7\r\nAuthorization: mine\r\nsessionId: mine\r\nHost: evil\r\nContent-Length: 9")), leaves_with("POST /a", &["transfer-encoding: chunked", "trailer: x-sum, authorization, sessionid, host, content-length"], "a", &["x-sum: 7"])),
        case(&["trailers-up"], "a trailer that was not announced passes", &post("Transfer-Encoding: chunked", &chunked_end("X-Sum: 7")), leaves_with("POST /a", &["transfer-encoding: chunked"], "a", &["x-sum: 7"])),
        case(&["trailers-up"], "several trailers stay in order", &post("Transfer-Encoding: chunked\r\nTrailer: x-a\r\nTrailer: X-B", &chunked_end("X-A: 1\r\nX-B: 2\r\nX-A: 3\r\nX-C: 4")), leaves_with("POST /a", &["transfer-encoding: chunked", "trailer: x-a", "trailer: X-B"], "a", &["x-a: 1", "x-a: 3", "x-b: 2", "x-c: 4"])),
        // Refused.
        bad("NUL in a value is refused", "X-A: a\0b"),
        bad("a control byte in a value is refused", "X-A: a\u{1}b"),
        bad("DEL in a value is refused", "X-A: a\u{7f}b"),
        bad("ESC in a value is refused", "X-A: a\u{1b}b"),
        bad("a bare CR in a value is refused", "X-A: a\rb"),
        bad("a bare CR at the end of a value is refused", "X-A: a\r\r\nX-B: b"),
        bad("a blank before the colon is refused", "X-A : 1"),
        bad("a tab before the colon is refused", "X-A\t: 1"),
        bad("a blank in a name is refused", "X A: 1"),
        bad("NUL in a name is refused", "X\0A: 1"),
        bad("a control byte in a name is refused", "X\u{1}A: 1"),
        bad("octets above 127 in a name are refused", "X\u{e9}A: 1"),
        bad("an empty name is refused", ": 1"),
        bad("a line without a colon is refused", "X-A"),
        bad("brackets in a name are refused", "X(A): 1"),
        bad("a slash in a name is refused", "X/A: 1"),
        bad("a quote in a name is refused", "\"X\": 1"),
        bad("a folded line is refused", "X-A: 1\r\n 2"),
        bad("a line folded by a tab is refused", "X-A: 1\r\n\t2"),
        case(&["bad-field"], "a folded first line is refused", "GET /a HTTP/1.1\r\n Host: localhost\r\n\r\n", Expect::Refused(400, "bad_head")),
        case(&["bad-field"], "a folded Transfer-Encoding is refused", &post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), Expect::Refused(400, "bad_head")),
        case(&["bare-lf"], "a bare LF ends no line", &with("X-A: 1\nX-B: 2"), Expect::Refused(400, "bad_head")),
        case(&["too-large"], "a head over the limit is refused", &with(&format!("X-A: {}", "v".repeat(70_000))), Expect::Refused(431, "head_too_large")),
        case(&["too-large"], "more than a hundred fields are refused", &with("X-A: 1\r\n".repeat(120).trim_end()), Expect::Refused(431, "head_too_large")),
        case(&["too-large"], "a hundred fields pass", &with("X-A: 1\r\n".repeat(99).trim_end()), leaves("GET /a", &["x-a: 1"; 99])),
        case(&["too-large"], "a target over the limit is refused", &get(&format!("/{}", "p".repeat(70_000))), Expect::Refused(431, "head_too_large")),
        // Who calls.
        case(&["cross-site"], "a page of another site is refused", &with("Sec-Fetch-Site: cross-site"), Expect::Refused(403, "cross_site")),
        case(&["origin"], "an origin that is not allowed is refused", &with("Origin: https://evil.example"), Expect::Refused(403, "origin_not_allowed")),
        case(&["origin"], "an opaque origin is refused", &with("Origin: null"), Expect::Refused(403, "origin_not_allowed")),
        field(&["origin"], "the listener's own origin passes", "Origin: http://localhost:3000", &["origin: http://localhost:3000"]),
    ]
}

#[tokio::test]
async fn of_every_field_one_reading_leaves_or_none() {
    ask(&table(), "").await;
}

#[tokio::test]
async fn odd_names_go_where_the_route_says_so() {
    let case = |name, lines: &str, fields| Asked {
        covers: &["odd-names"],
        name,
        sends: format!("GET /strict HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n"),
        expects: leaves("GET /strict", fields),
    };
    let table = [
        case(
            "an underscore goes",
            "tenant_id: 7\r\ntenant-id: 8",
            &["tenant-id: 8"],
        ),
        case(
            "every other mark goes",
            "a.b: 1\r\n!#$%&'*+^`|~: 2\r\nA-9: 3",
            &["a-9: 3"],
        ),
    ];
    ask(
        &table,
        "[route.strict]\nmatch.path = \"/strict\"\nupstream = \"UPSTREAM\"\n\
         credential = \"robot\"\nodd_names = \"drop\"\n",
    )
    .await;
}

#[tokio::test]
async fn a_tenant_reaches_the_upstream_once_and_in_one_spelling() {
    let case = |name, sends: String, expects| Asked {
        covers: &["alias"],
        name,
        sends,
        expects,
    };
    let head = |lines: &str| {
        format!("POST /tenant HTTP/1.1\r\nHost: localhost\r\nX-Context-Id: 1\r\n{lines}\r\n\r\n")
    };
    let table = [
        case(
            "other spellings of the tenant's field are removed",
            head("x_context_id: 9\r\nX-Context_Id: 9\r\nx_other: 2\r\nContent-Length: 0"),
            leaves_with(
                "POST /tenant",
                &["content-length: 0", "x-context-id: 1", "x_other: 2"],
                "",
                &[],
            ),
        ),
        case(
            "so is the field among trailers, in whatever spelling",
            head("Transfer-Encoding: chunked\r\nTrailer: x-context-id, x_context_id, x-sum")
                + "1\r\na\r\n0\r\nX-Context-Id: 9\r\nx_context_id: 9\r\nX-Sum: 7\r\n\r\n",
            leaves_with(
                "POST /tenant",
                &[
                    "transfer-encoding: chunked",
                    "trailer: x-context-id, x_context_id, x-sum",
                    "x-context-id: 1",
                ],
                "a",
                &["x-sum: 7"],
            ),
        ),
    ];
    ask(
        &table,
        "[route.tenant]\nmatch.path = \"/tenant\"\nupstream = \"UPSTREAM\"\n\
         credential = \"robot\"\ntenant = { header = \"x-context-id\", allow = [\"1\"] }\n",
    )
    .await;
}
