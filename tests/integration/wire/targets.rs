//! Request lines, targets and hosts.

use super::rig::Door;
use super::run::{Asked, Expect, ask, ask_by, get, leaves, leaves_with};

// A case a line: they are read as a table.
#[rustfmt::skip]
pub fn table() -> Vec<Asked> {
    let case = |covers, name, sends: &str, expects| Asked {
        covers,
        name,
        sends: sends.into(),
        expects,
    };
    let to = |target: &'static str, name: &'static str| Asked {
        covers: &["target"],
        name,
        sends: get(target),
        expects: leaves(
            Box::leak(format!("GET {target}").into_boxed_str()),
            &[],
        ),
    };
    let line = |covers, name, line: &str, expects| Asked {
        covers,
        name,
        sends: format!("{line}\r\nHost: localhost\r\n\r\n"),
        expects,
    };
    let hosts = |name, hosts: &str, expects| Asked {
        covers: &["host-refused"],
        name,
        sends: format!("GET /a HTTP/1.1\r\n{hosts}\r\n"),
        expects,
    };
    let bad = Expect::Refused(400, "bad_head");
    let framing = Expect::Refused(400, "framing");
    let odd = Expect::Refused(400, "ambiguous_path");
    vec![
        to("/", "the root passes"),
        to("/a/b/", "a trailing slash stays"),
        to("/a?", "an empty query stays"),
        to("/a??x", "a second question mark stays"),
        to("/a?b={c}", "braces in a query stay"),
        to("/{a}", "braces in a path stay"),
        to("/a?b=%zz", "a broken percent in a query stays"),
        to("/a%zz", "a broken percent in a path stays"),
        to("/a%", "a percent at the end of a path stays"),
        to("/a%20b", "an encoded blank stays encoded"),
        to("/%61", "an encoded letter stays encoded"),
        to("/a;b=c", "parameters of a segment stay"),
        to("/a//b", "an empty segment stays"),
        to("/a?b=../..", "dots in a query stay"),
        to("/a?b=|c[d]", "a bar and brackets in a query stay"),
        to("/a|b", "a bar in a path stays"),
        to("/a[b]", "brackets in a path stay"),
        to("/a\"b", "a quote in a path stays"),
        to("/a?b=\\c", "a backslash in a query stays"),
        to("/a?b=^c", "a caret in a query stays"),
        to("/a?b=`c", "a backtick in a query stays"),
        to("/a?b='c", "an apostrophe in a query stays"),
        to("/a?\u{c3}\u{a9}", "raw UTF-8 in a query stays"),
        to("/\u{c3}\u{a9}", "raw UTF-8 in a path stays"),
        to("/a?b=c+d&e=f%2Fg", "plus and encoded slash in a query stay"),
        to("/A/b?C", "letter case stays"),
        to("/a:b@c!$&'()*+,=~-_.", "every mark of a path stays"),
        case(
            &["target"],
            "a query of 8000 bytes passes whole",
            &get(&format!("/a?{}", "q".repeat(8000))),
            leaves(Box::leak(format!("GET /a?{}", "q".repeat(8000)).into_boxed_str()), &[]),
        ),
        case(&["fragment"], "a fragment is cut", &get("/a#b"), leaves("GET /a", &[])),
        case(&["fragment"], "a fragment after a query is cut", &get("/a?b#c"), leaves("GET /a?b", &[])),
        case(&["uri-refuses"], "a path with < is refused", &get("/a<b"), bad.clone()),
        case(&["uri-refuses"], "a path with > is refused", &get("/a>b"), bad.clone()),
        to("/a^b", "a caret in a path stays"),
        case(&["uri-refuses"], "a quote in a query is refused", &get("/a?b={\"c\":1}"), bad.clone()),
        case(&["uri-refuses"], "a path with a backtick is refused", &get("/a`b"), bad.clone()),
        case(&["uri-refuses"], "a query with < is refused", &get("/a?b<c"), bad.clone()),
        case(&["uri-refuses"], "a query with > is refused", &get("/a?b>c"), bad.clone()),
        case(&["uri-refuses"], "a target that is no path is refused", &get("a/b"), bad.clone()),
        case(&["uri-refuses"], "a target that is only a query is refused", &get("?a"), bad.clone()),
        case(&["uri-refuses"], "octets that are not UTF-8 in a path are refused", &get("/\u{ff}"), bad.clone()),
        case(&["uri-refuses"], "a control byte in a target is refused", &get("/a\u{1}b"), bad.clone()),
        case(&["uri-refuses"], "DEL in a target is refused", &get("/a\u{7f}b"), bad.clone()),
        case(&["uri-refuses"], "NUL in a target is refused", &get("/a\0b"), bad.clone()),
        case(&["uri-refuses"], "a tab in a target is refused", &get("/a\tb"), bad.clone()),
        case(&["origin-form"], "an absolute target loses scheme and host", "GET http://localhost/a?b HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /a?b", &[])),
        case(&["origin-form"], "an absolute target without a path is the root", "GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /", &[])),
        case(&["origin-form"], "an absolute target with only a query gets its slash", "GET http://localhost?a HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /?a", &[])),
        case(&["origin-form"], "an absolute https target goes where the route says", "GET https://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /a", &[])),
        case(&["origin-form"], "an absolute target of any scheme goes where the route says", "GET ftp://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /a", &[])),
        case(&["origin-form"], "letter case in an absolute target's host does not matter", "GET http://LOCALHOST/a HTTP/1.1\r\nHost: localhost\r\n\r\n", leaves("GET /a", &[])),
        case(&["host-refused"], "an absolute target without Host is refused", "GET http://localhost/a HTTP/1.1\r\n\r\n", framing.clone()),
        case(&["host-differs"], "an absolute target for another host is refused", "GET http://evil/a HTTP/1.1\r\nHost: localhost\r\n\r\n", framing.clone()),
        case(&["host-differs"], "an absolute target for another port is refused", "GET http://localhost:1/a HTTP/1.1\r\nHost: localhost\r\n\r\n", framing.clone()),
        case(&["host-differs"], "an absolute target with user information is refused", "GET http://u@localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n", framing.clone()),
        case(&["host-differs"], "a target that is an authority is refused", "GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", framing.clone()),
        case(&["host-differs"], "an authority equal to Host is no target of a GET", "GET localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", framing.clone()),
        line(&["star"], "OPTIONS * passes", "OPTIONS * HTTP/1.1", leaves("OPTIONS *", &[])),
        line(&["star-refused"], "GET * is refused", "GET * HTTP/1.1", framing.clone()),
        line(&["connect"], "CONNECT is refused", "CONNECT localhost HTTP/1.1", Expect::Refused(403, "connect_refused")),
        line(&["connect"], "CONNECT with a path is refused", "CONNECT /a HTTP/1.1", Expect::Refused(403, "connect_refused")),
        case(&["connect"], "CONNECT to a host that is not ours is told what to do, not that the host is not ours", "CONNECT cms.example.com:443 HTTP/1.1\r\nHost: cms.example.com:443\r\n\r\n", Expect::Refused(403, "connect_refused")),
        line(&["trace"], "TRACE is refused where a credential would be echoed", "TRACE /a HTTP/1.1", Expect::Refused(403, "trace_refused")),
        line(&["trace"], "TRACE passes on a route without a credential", "TRACE /open HTTP/1.1", leaves("TRACE /open", &[])),
        line(&["method"], "an unknown method passes", "PURGE /a HTTP/1.1", leaves("PURGE /a", &[])),
        line(&["method"], "a lower-case method stays as it is", "get /a HTTP/1.1", leaves("get /a", &[])),
        line(&["method"], "a lower-case trace is not TRACE", "trace /a HTTP/1.1", leaves("trace /a", &[])),
        line(&["method"], "a method of odd marks passes", "A!#$%&'*+-.^_`|~z /a HTTP/1.1", leaves("A!#$%&'*+-.^_`|~z /a", &[])),
        line(&["method"], "PROPFIND passes", "PROPFIND /a HTTP/1.1", leaves("PROPFIND /a", &[])),
        line(&["method"], "DELETE without a body has no framing", "DELETE /a HTTP/1.1", leaves("DELETE /a", &[])),
        line(&["bad-line"], "a method that is no token is refused", "G(T /a HTTP/1.1", bad.clone()),
        line(&["bad-line"], "two blanks before the target are refused", "GET  /a HTTP/1.1", bad.clone()),
        line(&["bad-line"], "two blanks after the target are refused", "GET /a  HTTP/1.1", bad.clone()),
        line(&["bad-line"], "a blank in the target is refused", "GET /a b HTTP/1.1", bad.clone()),
        line(&["bad-line"], "a blank before the method is refused", " GET /a HTTP/1.1", bad.clone()),
        line(&["bad-line"], "a blank after the version is refused", "GET /a HTTP/1.1 ", bad.clone()),
        line(&["bad-line"], "a tab for a blank is refused", "GET\t/a HTTP/1.1", bad.clone()),
        line(&["bad-line"], "a request without a version is refused", "GET /a", bad.clone()),
        line(&["bad-line"], "HTTP/0.9 is refused", "GET /a HTTP/0.9", bad.clone()),
        line(&["bad-line"], "HTTP/1.2 is refused", "GET /a HTTP/1.2", bad.clone()),
        line(&["bad-line"], "HTTP/2.0 in a request line is refused", "GET /a HTTP/2.0", bad.clone()),
        line(&["bad-line"], "a version in lower case is refused", "GET /a http/1.1", bad.clone()),
        line(&["bad-line"], "HTTP/1.10 is refused", "GET /a HTTP/1.10", bad.clone()),
        line(&["bad-line"], "HTTP/01.1 is refused", "GET /a HTTP/01.1", bad.clone()),
        case(&["dots"], "a dot segment is refused", &get("/a/../b"), odd.clone()),
        case(&["dots"], "a single dot is refused", &get("/a/./b"), odd.clone()),
        case(&["dots"], "encoded dots are refused", &get("/a/%2e%2E/b"), odd.clone()),
        case(&["dots"], "dots with parameters are refused", &get("/a/..;x/b"), odd.clone()),
        case(&["dots"], "an encoded slash is refused", &get("/a%2fb"), odd.clone()),
        case(&["dots"], "a twice encoded slash is refused", &get("/a%252fb"), odd.clone()),
        case(&["dots"], "a backslash is refused", &get("/a\\b"), odd.clone()),
        case(&["dots"], "an encoded backslash is refused", &get("/a%5cb"), odd.clone()),
        case(&["dots"], "an encoded NUL is refused", &get("/a%00b"), odd.clone()),
        case(&["dots"], "a %u escape is refused", &get("/a%u0062"), odd.clone()),
        case(&["dots"], "overlong UTF-8 is refused", &get("/a%c0%afb"), odd.clone()),
        case(&["dots"], "a dot segment passes on a route without a credential", &get("/open/a/./b"), leaves("GET /open/a/./b", &[])),
        case(&["dots"], "so does one that leads out of it, without a credential", &get("/open/../a"), leaves("GET /open/../a", &[])),
        case(&["two-routes"], "a path that reads as another route than it is written is refused", &get("/%6fpen/a"), odd.clone()),
        case(&["two-routes"], "an empty segment that changes the route is refused", &get("//open/a"), odd.clone()),
        case(&["no-prefix"], "a path that only begins like a route is not on it", &get("/opener"), leaves("GET /opener", &[])),
        hosts("a request without Host is refused", "", framing.clone()),
        hosts("two equal Hosts are refused", "Host: localhost\r\nHost: localhost\r\n", framing.clone()),
        hosts("two different Hosts are refused", "Host: localhost\r\nHost: evil\r\n", framing.clone()),
        hosts("an empty Host is refused", "Host: \r\n", framing.clone()),
        hosts("a list of Hosts is refused", "Host: localhost, localhost\r\n", framing.clone()),
        hosts("a Host with user information is refused", "Host: u@localhost\r\n", framing.clone()),
        hosts("a Host with a path is refused", "Host: localhost/a\r\n", framing.clone()),
        hosts("a Host with a query is refused", "Host: localhost?a\r\n", framing.clone()),
        hosts("a Host with a fragment is refused", "Host: localhost#a\r\n", framing.clone()),
        hosts("a Host with a blank is refused", "Host: local host\r\n", framing.clone()),
        hosts("a Host with a tab is refused", "Host: localhost\tevil\r\n", framing.clone()),
        hosts("a Host with bytes above 127 is refused", "Host: localhost\u{e9}\r\n", framing.clone()),
        hosts("a Host with a scheme is refused", "Host: http://localhost\r\n", framing.clone()),
        hosts("a Host with a backslash is refused", "Host: localhost\\\r\n", framing.clone()),
        hosts("a Host with a port that is no number is refused", "Host: localhost:a\r\n", framing.clone()),
        hosts("a Host with two ports is refused", "Host: localhost:1:2\r\n", framing.clone()),
        hosts("a Host that is only a port is refused", "Host: :80\r\n", framing.clone()),
        hosts("Host in capitals is Host", "HOST: localhost\r\n", leaves("GET /a", &[])),
        hosts("a Host with a port passes", "Host: localhost:8080\r\n", leaves("GET /a", &[])),
        hosts("a Host with an empty port passes", "Host: localhost:\r\n", leaves("GET /a", &[])),
        hosts("an IPv6 Host passes", "Host: [::1]:80\r\n", leaves("GET /a", &[])),
        case(&["host-served"], "a Host that is not served is refused", "GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", Expect::Refused(421, "host_not_served")),
        case(&["host-served"], "HTTP/1.0 without Host names none that is served", "GET /a HTTP/1.0\r\n\r\n", Expect::Refused(421, "host_not_served")),
        case(&["versions-up"], "HTTP/1.0 leaves as HTTP/1.1", "GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n", leaves("GET /a", &[]).and_closes()),
        case(&["versions-up"], "HTTP/1.0 with keep-alive leaves as HTTP/1.1", "GET /a HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", leaves("GET /a", &[])),
        case(&["versions-up"], "a body of HTTP/1.0 leaves with its length", "POST /a HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", leaves_with("POST /a", &["content-length: 3"], "abc", &[])),
        case(&["empty-lines"], "empty lines before a request line are skipped", &format!("\r\n\r\n{}", get("/a")), leaves("GET /a", &[])),
        case(&["bare-lf"], "a head whose lines end in a bare LF is refused", "GET /a HTTP/1.1\nHost: localhost\nX-A: 1\n\n", bad.clone()),
        case(&["bare-lf"], "an empty line before the head that is a bare LF is refused", "\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", bad.clone()),
        case(&["bare-lf"], "a bare LF for the empty line is refused", "GET /a HTTP/1.1\r\nHost: localhost\r\n\n", bad.clone()),
        case(&["bad-field"], "a bare CR in a request line is refused", "GET /a\rb HTTP/1.1\r\nHost: localhost\r\n\r\n", bad.clone()),
    ]
}

#[tokio::test]
async fn of_every_request_line_and_host_one_reading_leaves_or_none() {
    ask(&table(), "").await;
}

#[tokio::test]
async fn a_credential_goes_nowhere_but_to_its_origins() {
    let case = |name, line: &str, expects| Asked {
        covers: &["foreign"],
        name,
        sends: format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        expects,
    };
    let table = [
        case(
            "below its prefix it goes",
            "GET /a",
            leaves("GET /v1/a", &[]),
        ),
        case(
            "the server as a whole is not below a prefix",
            "OPTIONS *",
            Expect::Refused(403, "credential_origin"),
        ),
    ];
    // A forward listener asks nobody's host: the target is the upstream.
    ask_by(
        &[Door::Reverse],
        &table,
        "[route.bound]\nmatch.host = \"127.0.0.1\"\nupstream = \"UPSTREAM/v1\"\n\
         credential = \"bound\"\n[credential.bound]\nkind = \"static\"\n\
         basic.username = \"robot\"\nbasic.password = { file = \"{folder}/password\" }\n\
         origins = [\"UPSTREAM/v1\"]\n",
    )
    .await;
}
