//! `tollgate guard test`: what a policy's guard does to a text.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, bail};

use crate::{
    api::traffic_policy::TrafficPolicy,
    args::{GuardCommand, GuardTestArgs},
    compile::Objects,
    dialect::text::TextKind,
    policy::{
        Direction,
        prompt_guard::{Trial, try_texts},
    },
    source::file::{self, LoadOptions},
};

/// Runs the command.
///
/// # Errors
/// When the policy or the text can't be read, or the guard can't be used.
pub fn run(command: GuardCommand) -> anyhow::Result<ExitCode> {
    let GuardCommand::Test(args) = command;
    let objects = file::load(std::slice::from_ref(&args.policy), &|_| None, LoadOptions::default())?;
    if let Some(rejected) = objects.rejected.first() {
        bail!("{}", rejected.error);
    }
    let (name, policy) = choose(&objects, &args)?;
    let (direction, kind) =
        if args.response { (Direction::Response, TextKind::Answer) } else { (Direction::Request, TextKind::User) };
    let text = text(&args)?;
    let pieces: Vec<&str> = if args.stream.is_some() { text.lines().collect() } else { vec![&text] };
    let trial = try_texts(&policy.spec, direction, kind, &pieces).map_err(anyhow::Error::msg)?;
    print(&name, direction, &trial, args.stream.is_some());
    Ok(ExitCode::SUCCESS)
}

/// The policy with a guard that the arguments name, or the only one.
fn choose<'a>(objects: &'a Objects, args: &GuardTestArgs) -> anyhow::Result<(String, &'a TrafficPolicy)> {
    let has_guard = |policy: &TrafficPolicy| policy.spec.ai.as_ref().is_some_and(|ai| ai.prompt_guard.is_some());
    let mut found = objects.traffic_policies.iter().filter(|(key, policy)| {
        has_guard(policy) && args.name.as_ref().is_none_or(|name| *name == key.name || *name == key.to_string())
    });
    match (found.next(), found.next()) {
        (Some((key, policy)), None) => Ok((key.to_string(), policy)),
        (None, _) => bail!("{} has no such TrafficPolicy with a promptGuard", args.policy.display()),
        (Some(_), Some(_)) => {
            bail!("{} has several TrafficPolicies with a promptGuard: choose one with --name", args.policy.display())
        }
    }
}

fn text(args: &GuardTestArgs) -> anyhow::Result<String> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    match (&args.text, args.file.as_deref().or(args.stream.as_deref())) {
        (Some(text), _) => Ok(text.clone()),
        (None, Some(path)) => read(path),
        (None, None) => bail!("give a text with --text, --file or --stream"),
    }
}

fn print(name: &str, direction: Direction, trial: &Trial, by_piece: bool) {
    eprintln!("{name}, {}:", direction.as_str());
    if trial.findings.is_empty() {
        eprintln!("  nothing matches");
    }
    for found in &trial.findings {
        eprintln!("  {}: {} {}", found.rule, found.action, found.count);
    }
    if let Some(message) = &trial.refused {
        eprintln!("  refused: {message}");
    }
    if by_piece {
        for (number, released) in trial.released.iter().enumerate() {
            println!("{}: {released}", number + 1);
        }
    } else {
        println!("{}", trial.released.concat());
    }
}
