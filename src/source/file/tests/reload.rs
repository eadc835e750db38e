//! A second load of files that changed or broke.

use super::*;

struct Reloaded {
    dir: TempDir,
    loader: Loader,
}

impl Reloaded {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = dir(files);
        let mut loader = Loader::new(vec![dir.path().to_owned()], LoadOptions::default());
        loader.load(&env).unwrap();
        assert_eq!(loader.objects().rejected, []);
        Self { dir, loader }
    }

    fn load(&mut self) -> (bool, Vec<String>, Vec<Rejected>) {
        let changed = self.loader.load(&env).unwrap();
        let objects = self.loader.objects();
        (changed, gateways(&objects), objects.rejected)
    }
}

fn two() -> String {
    format!("{}---\n{}", gateway("a", "one"), gateway("b", "one"))
}

#[test]
fn equal_objects_are_unchanged_and_share_memory() {
    let mut r = Reloaded::new(&[("a.yaml", &two()), ("s.yaml", &secret("s", "$KEY"))]);
    let before = r.loader.objects();
    assert_eq!(before.revision, 1);
    assert!(!r.load().0);
    // A comment does not change an object, and one object's change does not affect the other.
    write(&r.dir, "a.yaml", &format!("# c\n{}", two()));
    assert!(!r.load().0);
    write(&r.dir, "a.yaml", &format!("{}---\n{}", gateway("a", "one"), gateway("b", "two")));
    assert!(r.load().0);
    let after = r.loader.objects();
    assert_eq!(after.revision, 2, "it counts changes alone");
    assert!(Arc::ptr_eq(&before.gateways[&key("a")], &after.gateways[&key("a")]));
    assert!(!Arc::ptr_eq(&before.gateways[&key("b")], &after.gateways[&key("b")]));
    assert!(Arc::ptr_eq(&before.secrets[&key("s")], &after.secrets[&key("s")]));
    assert_eq!(gateways(&after), ["default/a=one", "default/b=two"]);
    // The environment is read again, though the file is the same.
    assert!(r.loader.load(&|_| Some("sk-2".to_owned())).unwrap());
    assert_eq!(r.loader.objects().secrets[&key("s")].get("Authorization"), Some(Ok(b"sk-2".as_slice())));
}

#[test]
fn a_named_document_that_breaks_keeps_its_last_version() {
    for broken in [
        // A wrong type; and invalid YAML, with a name in its lines.
        gateway("b", "two").replace("80", "x"),
        gateway("b", "two").replace("port: 80", "port: ["),
    ] {
        let mut r = Reloaded::new(&[("a.yaml", &two())]);
        write(&r.dir, "a.yaml", &format!("---\n{broken}"));
        let (changed, served, rejected) = r.load();
        // `a` was removed from its file; `b` is as it was.
        assert_eq!((changed, served), (true, vec!["default/b=one".to_owned()]), "{rejected:?}");
        assert!(rejected[0].error.ends_with("; its last good version is still served"), "{rejected:?}");
        // Also at the load after that, and until it is fixed or removed.
        assert_eq!(r.load().1, ["default/b=one"]);
        write(&r.dir, "a.yaml", &gateway("b", "three"));
        assert_eq!(r.load().1, ["default/b=three"]);
        write(&r.dir, "a.yaml", "");
        assert_eq!(r.load().1, [""; 0]);
    }
}

#[test]
fn a_document_without_a_name_keeps_its_whole_file() {
    for broken in
        ["apiVer", "kind: [", "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  na", "{", "\u{0}"]
    {
        let mut r = Reloaded::new(&[("a.yaml", &two()), ("b.yaml", &gateway("c", "one"))]);
        write(&r.dir, "a.yaml", &format!("{}---\n{broken}", gateway("a", "two")));
        let (_, served, rejected) = r.load();
        assert_eq!(served, ["default/a=two", "default/b=one", "default/c=one"], "{broken:?}");
        assert!(rejected[0].error.ends_with("; what was last read from this file is still served"), "{rejected:?}");
        // Objects that another file describes are not retained.
        write(&r.dir, "b.yaml", &gateway("b", "two"));
        assert_eq!(r.load().1, ["default/a=two", "default/b=two"]);
        // With a file, everything it described is removed.
        fs::remove_file(r.dir.path().join("a.yaml")).unwrap();
        assert_eq!(r.load().1, ["default/b=two"]);
    }
}

#[test]
fn a_half_written_name_keeps_the_object() {
    let mut r = Reloaded::new(&[("a.yaml", &gateway("gemini", "one"))]);
    write(&r.dir, "a.yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: gem\n bad");
    assert_eq!(r.load().1, ["default/gemini=one"]);
}

#[test]
fn an_unreadable_file_keeps_its_objects() {
    let mut r = Reloaded::new(&[("a.yaml", &two())]);
    fs::write(r.dir.path().join("a.yaml"), b"\xff\xfe").unwrap();
    let (_, served, rejected) = r.load();
    assert_eq!((served.len(), rejected.len()), (2, 1));
}

#[test]
fn unknown_and_duplicate_documents_have_no_last_version() {
    let mut r = Reloaded::new(&[("a.yaml", &two())]);
    let other = "apiVersion: example.com/v1\nkind: X\nmetadata: {name: b}\n";
    write(&r.dir, "a.yaml", &format!("{}---\n{}---\n{other}", gateway("a", "one"), gateway("a", "two")));
    let (_, served, rejected) = r.load();
    assert_eq!((served, rejected.len()), (vec!["default/a=one".to_owned()], 2));
}

#[test]
fn a_directory_that_vanishes_changes_nothing() {
    let mut r = Reloaded::new(&[("m/a.yaml", &two())]);
    r.loader = Loader::new(vec![r.dir.path().join("m")], LoadOptions::default());
    r.load();
    fs::rename(r.dir.path().join("m"), r.dir.path().join("away")).unwrap();
    let error = r.loader.load(&env).unwrap_err().to_string();
    assert!(error.contains("/m"), "{error}");
    assert_eq!(gateways(&r.loader.objects()).len(), 2);
    fs::rename(r.dir.path().join("away"), r.dir.path().join("m")).unwrap();
    assert!(!r.loader.load(&env).unwrap());
}
