//! Secrets: which are read, when they are read again, and failures of reads.

use super::*;

#[tokio::test]
async fn only_secrets_that_are_referred_to_are_read() {
    let mut harness = Harness::synced();
    harness.secret(Event::Apply(seen("mine", 1)));
    harness.secret(Event::Apply(seen("foreign", 1)));
    assert_eq!(harness.source.store.take_fetches(), []);

    // The reference comes after the Secret.
    harness.event(Kind::Backend, Event::Apply(backend("b", 2, "mine")));
    let get = harness.get();
    assert_eq!((&get.key, get.delay), (&key("mine"), Duration::ZERO));
    harness.got(&get, found(1, "one"));
    let objects = harness.published().unwrap();
    assert_eq!((value(&objects, "mine"), objects.secrets.len()), (Some(b"one".as_slice()), 1));

    harness.secret(Event::Apply(seen("mine", 1)));
    assert_eq!(harness.source.store.take_fetches(), [], "that version is known");
    harness.secret(Event::Apply(seen("mine", 2)));
    let get = harness.get();
    harness.got(&get, found(2, "two"));
    assert_eq!(value(&harness.published().unwrap(), "mine"), Some(b"two".as_slice()));
    harness.secret(Event::Apply(seen("mine", 3)));
    let get = harness.get();
    harness.got(&get, found(3, "two"));
    assert!(harness.published().is_none(), "a label has changed, no value");

    harness.secret(Event::Delete(seen("mine", 4)));
    let get = harness.get();
    harness.got(&get, Fetched::Absent);
    assert_eq!(value(&harness.published().unwrap(), "mine"), None);
    harness.secret(Event::Apply(seen("mine", 5)));
    let get = harness.get();
    harness.got(&get, found(5, "five"));
    assert_eq!(value(&harness.published().unwrap(), "mine"), Some(b"five".as_slice()));

    // Two refer to it, then one, then none.
    harness.event(Kind::Backend, Event::Apply(backend("c", 6, "mine")));
    harness.event(Kind::Backend, Event::Apply(backend("b", 7, "other")));
    let get = harness.get();
    harness.got(&get, Fetched::Absent);
    assert_eq!(names(&harness.published().unwrap().secrets), ["mine"]);
    harness.event(Kind::Backend, Event::Delete(backend("c", 8, "mine")));
    assert!(harness.published().unwrap().secrets.is_empty());
    harness.secret(Event::Apply(seen("mine", 9)));
    assert_eq!(harness.source.store.take_fetches(), []);
}

#[tokio::test]
async fn a_list_of_secrets_reveals_missed_changes() {
    let mut harness = Harness::synced();
    harness.list(Kind::Backend, [backend("a", 1, "kept"), backend("b", 1, "changed"), backend("c", 1, "gone")]);
    for fetch in harness.source.store.take_fetches() {
        harness.got(&fetch, found(1, "x"));
    }
    harness.list(
        Kind::Secret,
        [object("kept", 1, json!({})), object("changed", 2, json!({})), object("foreign", 1, json!({}))],
    );
    let keys: Vec<_> = harness.source.store.take_fetches().into_iter().map(|fetch| fetch.key).collect();
    assert_eq!(keys, [key("changed"), key("gone")]);
}

#[tokio::test]
async fn a_get_that_was_overtaken_is_done_again() {
    let mut harness = Harness::synced();
    harness.event(Kind::Backend, Event::Apply(backend("b", 1, "s")));
    let get = harness.get();
    harness.secret(Event::Delete(seen("s", 2)));
    assert_eq!(harness.source.store.take_fetches(), [], "one at a time");
    harness.got(&get, found(1, "old"));
    let second = harness.get();
    // Its reference is removed and added again meanwhile: the result of the old `get` is ignored.
    harness.event(Kind::Backend, Event::Delete(backend("b", 3, "s")));
    harness.event(Kind::Backend, Event::Apply(backend("b", 4, "s")));
    let third = harness.get();
    harness.got(&second, found(1, "old"));
    harness.got(&third, Fetched::Absent);
    assert!(harness.published().unwrap().secrets.is_empty());
}

#[tokio::test]
async fn a_failed_get_keeps_what_is_known_and_is_tried_again() {
    let mut harness = Harness::synced();
    harness.event(Kind::Backend, Event::Apply(backend("b", 1, "s")));
    let get = harness.get();
    harness.got(&get, found(1, "one"));
    harness.published().unwrap();
    harness.secret(Event::Apply(seen("s", 2)));
    let mut delays = Vec::new();
    for n in 0..9 {
        let get = harness.get();
        delays.push(get.delay.as_millis());
        // An API server that has just started forbids requests that it will allow later.
        harness.got(&get, if n % 2 == 0 { Fetched::Failed } else { Fetched::Refused }("no".to_owned()));
    }
    assert_eq!(delays, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
    assert!(harness.published().is_none(), "what is known stays");
    let waiting = harness.get();
    // A change arrives while the next try waits.
    harness.secret(Event::Apply(seen("s", 3)));
    let get = harness.get();
    assert_eq!(get.delay, Duration::ZERO);
    harness.got(&get, found(3, "three"));
    harness.got(&waiting, found(2, "two"));
    assert_eq!(value(&harness.published().unwrap(), "s"), Some(b"three".as_slice()));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_does_not_hold_up_the_rest() {
    for refused in [true, false] {
        let mut harness = Harness::new();
        for row in KINDS {
            match row.kind {
                Kind::Backend => harness.list(row.kind, [backend("b", 1, "s")]),
                kind => harness.list(kind, []),
            }
        }
        assert!(harness.published().is_none(), "the first snapshot waits for Secrets");
        for _ in 0..4 {
            assert!(harness.published().is_none());
            let get = harness.get();
            let why = "secrets \"s\" is forbidden".to_owned();
            harness.got(&get, if refused { Fetched::Refused(why) } else { Fetched::Failed(why) });
        }
        let objects = harness.published().unwrap();
        assert_eq!(objects.backends.len(), 1);
        let problem = objects.secrets[&key("s")].get("Authorization");
        assert_eq!(problem, Some(Err("can't be read: secrets \"s\" is forbidden")), "other than one that is not there");
        // The Secret becomes readable again.
        let get = harness.get();
        harness.got(&get, found(1, "one"));
        let objects = harness.published().unwrap();
        assert_eq!(value(&objects, "s"), Some(b"one".as_slice()));
    }
}

#[tokio::test]
async fn gets_go_on_without_a_watch() {
    let mut harness = Harness::synced();
    harness.event(Kind::Backend, Event::Apply(backend("b", 1, "s")));
    let get = harness.get();
    harness.got(&get, found(1, "one"));
    harness.published().unwrap();
    harness.failed(Kind::Secret, Trouble::Forbidden(health::Verb::List));
    let get = harness.get();
    harness.got(&get, found(2, "two"));
    assert_eq!(value(&harness.published().unwrap(), "s"), Some(b"two".as_slice()));
}

#[tokio::test]
async fn config_maps_with_authorities_are_read_as_secrets_are() {
    let tls = json!({"caCertificateRefs": [{"name": "ca"}, {"group": "", "kind": "Secret", "name": "s"}]});
    let host = json!({"host": "a", "port": 1, "tls": tls});
    let of = |host: &Value| json!({"spec": {"type": "Static", "static": {"hosts": [host]}}});
    let mut harness = Harness::synced();
    harness.metadata(Kind::ConfigMap, Event::Apply(seen("ca", 1)));
    assert_eq!(harness.source.store.take_fetches(), [], "nothing refers to it");
    harness.event(Kind::Backend, Event::Apply(object("b", 2, of(&host))));
    let fetches = harness.source.store.take_fetches();
    let wanted: Vec<_> = fetches.iter().map(|fetch| (fetch.kind, fetch.key.name.as_str())).collect();
    assert_eq!(wanted, [(Kind::Secret, "s"), (Kind::ConfigMap, "ca")]);
    harness.got(&fetches[0], Fetched::Absent);
    assert!(!harness.source.store.complete(), "the ConfigMap is waited for");
    harness.got(&fetches[1], found(1, "one"));
    let read = |objects: &Objects| objects.config_maps[&key("ca")].get("Authorization").map(|v| v.unwrap().to_vec());
    assert_eq!(read(&harness.published().unwrap()), Some(b"one".to_vec()));
    // A Secret of the same name is another object.
    harness.secret(Event::Apply(seen("ca", 9)));
    assert_eq!(harness.source.store.take_fetches(), []);
    harness.metadata(Kind::ConfigMap, Event::Apply(seen("ca", 3)));
    let get = harness.get();
    harness.got(&get, found(3, "two"));
    assert_eq!(read(&harness.published().unwrap()), Some(b"two".to_vec()));
    harness.event(Kind::Backend, Event::Delete(object("b", 4, json!({}))));
    assert!(harness.published().unwrap().config_maps.is_empty());
}

#[tokio::test]
async fn references_are_found_in_all_fields() {
    let check = |kind, spec: Value, expect: &[(&str, &str)]| {
        let mut harness = Harness::synced();
        harness.event(kind, Event::Apply(object("a", 1, json!({"spec": spec}))));
        let mut keys: Vec<_> = harness.source.store.take_fetches().into_iter().map(|fetch| fetch.key).collect();
        keys.sort();
        let expect: Vec<_> = expect.iter().map(|(namespace, name)| ObjectKey::new(*namespace, *name)).collect();
        assert_eq!(keys, expect, "{kind} {spec}");
    };
    let token = |name| json!({"kind": "SecretRef", "secretRef": {"name": name}});
    let provider = |name| json!({"provider": {"openai": {"authToken": token(name)}}});
    let pools = json!([{"pool": [provider("p"), provider("q")]}, {"pool": [provider("p")]}]);
    check(
        Kind::Backend,
        json!({"type": "AI", "ai": {"multipool": {"priorities": pools}}}),
        &[("ns", "p"), ("ns", "q")],
    );
    let moderation = json!({"moderation": {"openAIModeration": {"authToken": token("m")}}});
    check(Kind::TrafficPolicy, json!({"ai": {"promptGuard": {"request": moderation}}}), &[("ns", "m")]);
    let listener = |refs: Value| json!({"name": "l", "port": 1, "protocol": "HTTPS", "tls": {"certificateRefs": refs}});
    let gateway = |refs| json!({"gatewayClassName": "c", "listeners": [listener(refs)]});
    check(
        Kind::Gateway,
        gateway(json!([{"name": "a"}, {"group": "", "kind": "Secret", "name": "b", "namespace": "other"}])),
        &[("ns", "a"), ("other", "b")],
    );
    check(Kind::Gateway, gateway(json!([{"kind": "ConfigMap", "name": "a"}, {"group": "x", "name": "b"}])), &[]);
    check(Kind::Service, json!({"secretRef": {"name": "a"}}), &[]);
}
