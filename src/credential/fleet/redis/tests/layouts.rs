//! Sentinels and clusters, real ones: who can write is found, also after a failover.

use tokio::time::{Instant, sleep};

use super::*;

/// A failover, on a busy machine, ends within this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn origin(port: u16) -> HttpOrigin {
    config(port).origin
}

/// Asks for the lease until it is given, and publishes; other tries than the last may fail.
async fn publish_until_done(fleet: &RedisFleet, place: &RecordPlace, token: &str) -> u64 {
    let begun = Instant::now();
    loop {
        let seen = match fleet.look(place).await {
            Ok(view) => view.generation,
            Err(down) => {
                assert!(begun.elapsed() < PATIENCE, "{down}");
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let leased = fleet.lease(place, &request(token, seen)).await;
        if let Ok(LeaseAnswer::Granted { generation, .. }) = leased {
            let published = fleet.publish(place, token, generation, token.as_bytes(), None);
            if let Ok(PublishAnswer::Accepted) = published.await {
                return generation;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "{leased:?}");
    }
}

#[tokio::test]
async fn sentinels_say_where_the_writable_server_is_also_after_a_failover() {
    let Some(mut first) = RedisServer::start(&[]) else {
        return;
    };
    let port = first.port.to_string();
    let second = RedisServer::start(&["--replicaof", "127.0.0.1", &port]).unwrap();
    second.until(&["INFO", "replication"], |told| {
        told.contains("master_link_status:up")
    });
    let watch = |_| RedisServer::sentinel("crm", first.port, 2).unwrap();
    let sentinels: Vec<RedisServer> = (0..3).map(watch).collect();
    for sentinel in &sentinels {
        sentinel.until(&["SENTINEL", "CKQUORUM", "crm"], |told| {
            told.starts_with("+OK 3")
        });
        sentinel.until(&["INFO", "sentinel"], |told| told.contains("slaves=1"));
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = SharedStoreConfig {
        // The first of them is gone.
        origin: origin(nobody.local_addr().unwrap().port()),
        nodes: sentinels.iter().map(|one| origin(one.port)).collect(),
        layout: StoreLayout::Sentinel {
            service: "crm".into(),
            username: None,
            password: None,
        },
        timeout: Duration::from_secs(2),
        ..config(first.port)
    };
    drop(nobody);
    let (keeper, holder) = (fleet(&config), fleet(&config));
    steps_are_kept(&keeper).await;
    let cms = place("cms_key", "failover");
    let mut told = holder.listen(&cms);
    let before = publish_until_done(&keeper, &cms, "before").await;
    let news = told.wait_for(|news| news.generation == before);
    news.await.unwrap();

    first.kill();
    let after = publish_until_done(&keeper, &cms, "after").await;
    assert!(after > before);
    let news = told.wait_for(|news| news.generation == after);
    news.await.unwrap();
    assert_eq!(holder.look(&cms).await.unwrap().sealed, b"after");
    assert!(second.say(&["INFO", "replication"]).contains("role:master"));

    // What is written wrong is told.
    let StoreLayout::Sentinel { service, .. } = &mut config.layout else {
        unreachable!()
    };
    *service = "mymaster".into();
    config.origin = config.nodes[0].clone();
    config.nodes.clear();
    let down = fleet(&config).look(&cms).await.unwrap_err();
    assert!(down.why.contains("store.sentinel"), "{down}");
    config.layout = StoreLayout::Single;
    let down = fleet(&config).look(&cms).await.unwrap_err();
    assert!(down.why.contains("this is a Sentinel"), "{down}");
}

/// Three nodes that share the slots, and a replica of each.
fn cluster() -> Option<Vec<RedisServer>> {
    let mut nodes = vec![RedisServer::node(&[])?];
    for _ in 1..6 {
        nodes.push(RedisServer::node(&[]).unwrap());
    }
    let slots = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for (node, (from, to)) in nodes.iter().zip(slots) {
        let said = node.say(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        assert!(said.starts_with("+OK"), "{said}");
    }
    let first = nodes[0].port.to_string();
    for node in &nodes[1..] {
        let said = node.say(&["CLUSTER", "MEET", "127.0.0.1", &first, nodes[0].bus()]);
        assert!(said.starts_with("+OK"), "{said}");
    }
    for node in &nodes {
        node.until(&["CLUSTER", "INFO"], |told| {
            told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:6")
        });
    }
    for (node, replica) in nodes[..3].iter().zip(&nodes[3..]) {
        let id = node.say(&["CLUSTER", "MYID"]);
        replica.until(&["CLUSTER", "REPLICATE", &id], |said| {
            said.starts_with("+OK")
        });
        replica.until(&["INFO", "replication"], |told| {
            told.contains("master_link_status:up")
        });
    }
    Some(nodes)
}

#[tokio::test]
async fn in_a_cluster_the_node_of_each_name_is_found_also_after_a_failover() {
    let Some(mut nodes) = cluster() else {
        return;
    };
    let config = SharedStoreConfig {
        nodes: vec![origin(nodes[1].port)],
        layout: StoreLayout::Cluster,
        timeout: Duration::from_secs(2),
        ..config(nodes[0].port)
    };
    let (keeper, holder) = (fleet(&config), fleet(&config));
    // Their slots, by CRC16: on different nodes.
    let places = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| place(name, "aa"));
    let mut told = Vec::new();
    for place in &places {
        let mut feed = holder.listen(place);
        let generation = publish_until_done(&keeper, place, "before").await;
        feed.wait_for(|news| news.generation == generation)
            .await
            .unwrap();
        told.push(feed);
    }
    let counts: Vec<String> = nodes[..3]
        .iter()
        .map(|node| node.say(&["DBSIZE"]))
        .collect();
    assert!(!counts.contains(&":0\r\n".to_owned()), "{counts:?}");
    steps_are_kept(&keeper).await;
    crate::credential::store::tests::contract(&entries(&config));

    // The one that is asked first goes, with a third of the names, and its replica follows.
    nodes[0].kill();
    for (place, feed) in places.iter().zip(&mut told) {
        let generation = publish_until_done(&keeper, place, "after").await;
        feed.wait_for(|news| news.generation == generation)
            .await
            .unwrap();
        assert_eq!(holder.look(place).await.unwrap().sealed, b"after");
    }

    let alone = SharedStoreConfig {
        layout: StoreLayout::Single,
        nodes: Vec::new(),
        ..config
    };
    let alone = SharedStoreConfig {
        origin: origin(nodes[1].port),
        ..alone
    };
    let alone = fleet(&alone);
    let mut said = Vec::new();
    for place in &places {
        said.extend(alone.look(place).await.err().map(|down| down.why));
    }
    assert!(said[0].contains("store.cluster = true"), "{said:?}");
}

/// While a slot is between two nodes, `ASK` sends a call to the new one without its being
/// there for good.
#[tokio::test]
async fn a_name_that_is_being_moved_between_nodes_is_read_and_written() {
    let Some(nodes) = cluster() else {
        return;
    };
    let config = SharedStoreConfig {
        layout: StoreLayout::Cluster,
        ..config(nodes[0].port)
    };
    let (keeper, cms) = (fleet(&config), place("cms_key", "aa"));
    let ids: Vec<String> = nodes
        .iter()
        .map(|one| one.say(&["CLUSTER", "MYID"]))
        .collect();
    let slot = nodes[0].say(&["CLUSTER", "KEYSLOT", &cms.record]);
    let slot = slot.trim_start_matches(':').trim();
    let from = (slot.parse::<usize>().unwrap() * 3) / 16384;
    let to = (from + 1) % 3;
    let before = publish_until_done(&keeper, &cms, "before").await;
    let ok = |said: String| assert!(said.starts_with("+OK"), "{said}");
    ok(nodes[to].say(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[from]]));
    ok(nodes[from].say(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[to]]));
    let port = nodes[to].port.to_string();
    let moves = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    let moves = [&moves[..], &[&cms.record, &cms.known]].concat();
    ok(nodes[from].say(&moves));
    // Who has the slot still says who has the keys.
    assert_eq!(keeper.look(&cms).await.unwrap().generation, before);
    let asked = publish_until_done(&keeper, &cms, "asked").await;
    assert!(asked > before);
    for node in [to, from] {
        ok(nodes[node].say(&["CLUSTER", "SETSLOT", slot, "NODE", &ids[to]]));
    }
    assert!(publish_until_done(&keeper, &cms, "moved").await > asked);
}
