//! A part that can't work ends the program with status 1 and its reason, whatever the source of objects is.

use std::{net::TcpListener, process::Command};

use tempfile::TempDir;

/// The status and the output of the program, which must end by itself.
fn run(args: &[&str], kubeconfig: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(args)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", "/nonexistent")
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cant_start_ends_the_program_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let manifests = dir.path().to_str().unwrap();
    // An API server that is never reached: the cause is another.
    let config = dir.path().join("kubeconfig");
    let cluster = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]";
    let context = "contexts: [{name: c, context: {cluster: c, user: ''}}]";
    std::fs::write(&config, format!("{{apiVersion: v1, kind: Config, {cluster}, {context}, current-context: c}}"))
        .unwrap();
    let config = config.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let refused = format!("tollgate: listen on {taken}: Address already in use");
    let no_source = "tollgate: no --manifests DIR, no provider's variable such as OPENAI_API_KEY, and no cluster: \
                     find the cluster: ";
    let cases: [(&[&str], &str, &str); 5] = [
        (&["run", "--manifests", manifests, "--admin-listen", &taken], "/nonexistent", &refused),
        (&["run", "--admin-listen", &taken], config, &refused),
        (&["run", "--admin-listen", &taken, "--pod-name", "pod"], config, &refused),
        (&["simulate", "--listen", &taken], "/nonexistent", &refused),
        (&["run"], "/nonexistent", no_source),
    ];
    for (args, kubeconfig, reason) in cases {
        let (status, stderr) = run(args, kubeconfig);
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!(status, Some(1), "{args:?}: {stderr}");
        assert!(last.starts_with(reason), "{args:?}: {stderr}");
    }
}
