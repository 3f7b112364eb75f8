//! The table `resolve` as a configuration writes it: names with an address or a list of
//! them; as text outside a file.

use std::net::SocketAddr;

use crate::base::problem::{Place, Problem};
use crate::config::fault::{ValueFault, Verdict, fault, key_path};
use crate::config::resolve::{Address, Resolve};
use crate::config::rules::host;
use crate::config::text::{plain, unquoted};
use crate::config::tree::{Node, ScalarForm, Shape};
use crate::config::url::{plain_host, shown};
use crate::config::values::Value;

/// Reads a table of names; outside a file `name=address` with commas between them, where
/// a name may stand again with its next address.
///
/// # Errors
/// With every fault of the table.
pub(super) fn read(node: &Node, at: &str) -> Result<Resolve, Vec<Problem>> {
    let mut rows: Vec<(Box<str>, Vec<Address>)> = Vec::new();
    let mut problems = Vec::new();
    match &node.shape {
        Shape::Table(children) if !children.is_empty() => {
            for (name, child) in children {
                let key = format!("{at}.{}", key_path([name.as_str()].into_iter()));
                match one_name(name, child) {
                    Ok((name, addresses)) => rows.push((name, addresses)),
                    Err((place, (why, fix))) => {
                        problems.push(Problem::new(place, key, why, fix));
                    }
                }
            }
        }
        Shape::Scalar(text, ScalarForm::Loose) => {
            for item in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
                match pair(item) {
                    Ok((name, address)) => match rows.iter_mut().find(|row| row.0 == name) {
                        Some((_, addresses)) => addresses.push(address),
                        None => rows.push((name, vec![address])),
                    },
                    Err((why, fix)) => {
                        problems.push(Problem::new(node.place.clone(), at, why, fix));
                    }
                }
            }
        }
        _ => problems.push(Problem::new(
            node.place.clone(),
            at,
            "a table of names, each with its address, is expected here",
            "write { \"cms.example.com\" = \"192.0.2.10\" }",
        )),
    }
    for (index, (name, _)) in rows.iter().enumerate() {
        if rows[..index].iter().any(|(earlier, _)| earlier == name) {
            let why = format!("{name} stands here twice: case and a dot at the end do not count");
            let fix = "write one list of its addresses";
            problems.push(Problem::new(node.place.clone(), at, why, fix));
        }
    }
    if problems.is_empty() {
        Ok(Resolve::new(rows))
    } else {
        Err(problems)
    }
}

/// A name of the file with its address or its list of them.
fn one_name(name: &str, node: &Node) -> Result<(Box<str>, Vec<Address>), (Place, ValueFault)> {
    let here = |fault: ValueFault| (node.place.clone(), fault);
    let name = host_name(name).map_err(here)?;
    let items = match &node.shape {
        Shape::List(items) if !items.is_empty() => items.as_slice(),
        Shape::Table(_) => {
            return Err(here((
                "a name without quotes ends at its first dot, as TOML reads it".into(),
                "write the whole name in quotes, such as \"cms.example.com\"".into(),
            )));
        }
        _ => std::slice::from_ref(node),
    };
    let mut addresses = Vec::new();
    for item in items {
        let read = match &item.shape {
            Shape::Scalar(text, ScalarForm::Text | ScalarForm::Loose) => {
                plain(text).and_then(address)
            }
            _ => fault(
                format!("this is {} where an address is expected", item.what()),
                "write it in quotes, such as \"192.0.2.10\"",
            ),
        };
        addresses.push(read.map_err(|fault| (item.place.clone(), fault))?);
    }
    Ok((name, addresses))
}

/// `name=address`.
fn pair(item: &str) -> Result<(Box<str>, Address), ValueFault> {
    let Some((name, at)) = plain(unquoted(item)?)?.split_once('=') else {
        return fault(
            format!("{} has no = between a name and an address", shown(item)),
            "write name=address, with commas between them",
        );
    };
    Ok((host_name(name.trim())?, address(at.trim())?))
}

fn host_name(text: &str) -> Result<Box<str>, ValueFault> {
    let text = plain(text)?;
    let verdict: Verdict = host::host(&Value::Text(text.to_owned()));
    verdict.map(|()| plain_host(text).into())
}

fn address(text: &str) -> Result<Address, ValueFault> {
    let write = "write an IP address, with or without a port, such as \"127.0.0.1:8443\"";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => fault(format!("{text:?} has the port 0"), write),
            port => Ok(Address {
                ip: address.ip(),
                port: Some(port),
            }),
        };
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare.unwrap_or(text).parse() {
        Ok(ip) => Ok(Address { ip, port: None }),
        Err(_) => fault(format!("{} is not an IP address", shown(text)), write),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file;
    use crate::config::url::HttpUrl;

    fn told(toml: &str) -> Result<Resolve, String> {
        let (layer, problems) = file::parse(Path::new("h.toml"), &format!("resolve = {toml}\n"));
        assert_eq!(problems, [], "{toml}");
        judged(layer.root.at(["resolve"].into_iter()).unwrap())
    }

    fn loose(text: &str) -> Result<Resolve, String> {
        judged(&Node {
            shape: Shape::Scalar(text.into(), ScalarForm::Loose),
            place: Place::Default,
        })
    }

    fn judged(node: &Node) -> Result<Resolve, String> {
        let all = |problems: Vec<Problem>| {
            let each: Vec<String> = problems.iter().map(Problem::to_string).collect();
            each.join("\n")
        };
        read(node, "route.a.resolve").map_err(all)
    }

    fn dialled(resolve: &Resolve, url: &str) -> Option<Vec<String>> {
        let found = resolve.of(&HttpUrl::parse(url).unwrap().origin)?;
        Some(found.iter().map(SocketAddr::to_string).collect())
    }

    #[test]
    fn a_name_has_one_address_or_several_and_the_port_of_its_url_where_none_is_said() {
        let resolve = told(
            "{ \"CMS.example.com.\" = \"127.0.0.1:8443\", b = [\"192.0.2.1\", \"[::1]:9\", \"::2\"] }",
        )
        .unwrap();
        assert_eq!(
            dialled(&resolve, "https://cms.example.com").unwrap(),
            ["127.0.0.1:8443"]
        );
        assert_eq!(
            dialled(&resolve, "http://b:81").unwrap(),
            ["192.0.2.1:81", "[::1]:9", "[::2]:81"]
        );
        assert_eq!(dialled(&resolve, "https://a.cms.example.com"), None);
        let variable = loose("cms.example.com=127.0.0.1:8443, b=192.0.2.1,b=[::1]:9,b=::2");
        assert_eq!(variable.unwrap().canonical(), resolve.canonical());
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_what_to_write() {
        for (written, part) in [
            (
                "{ a = \"localhost\" }",
                "\"localhost\" is not an IP address",
            ),
            ("{ a = \"127.0.0.1:0\" }", "has the port 0"),
            ("{ a = \"127.0.0.1:x\" }", "is not an IP address"),
            ("{ a = 1 }", "this is a number where an address"),
            ("{ a = [] }", "this is a list where an address"),
            ("{ cms.example = \"127.0.0.1\" }", "in quotes"),
            ("{ \"a:443\" = \"127.0.0.1\" }", "has a port (443)"),
            ("{ \"*.a\" = \"127.0.0.1\" }", "is not a host name"),
            ("{ a = \"::1\", \"A.\" = \"::1\" }", "a stands here twice"),
            ("{}", "a table of names"),
            ("\"a=127.0.0.1\"", "a table of names"),
        ] {
            let error = told(written).expect_err(written);
            assert!(error.contains(part), "{written}: {error}");
        }
        for (written, part) in [
            ("a", "has no = between"),
            ("a=b", "\"b\" is not an IP address"),
            ("\"a=::1\"", "without quotes"),
        ] {
            let error = loose(written).expect_err(written);
            assert!(error.contains(part), "{written}: {error}");
        }
        let secret = loose("a=robot:hunter2@b").unwrap_err();
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
