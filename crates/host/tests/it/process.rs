//! What an instance is in the process driver.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::Clock;
use standfast_core::host::{HostDriver, Phase};
use standfast_host::{CONSOLE_BYTES_MAX, ProcessConfig, ProcessDriver};

use crate::world::*;

#[tokio::test]
async fn user_data_runs_at_the_first_boot_and_the_boot_hook_at_the_others() {
    let first = script("echo once >> runs\nprintf '#!/bin/sh\\necho again >> runs\\n' > rc.local\nchmod 700 rc.local");
    let real = Real::booted(&first).await;
    assert_eq!(real.text(1, "runs").await, "once\n");
    eventually("the end of the script", || console(&real).contains("user data ended with 0").then_some(())).await;
    for boot in 2..=3 {
        real.host.obey(changed(&first, |s| s.instances.values_mut().for_each(|spec| spec.boot = boot)));
        until_running(&*real.host, 1, boot).await;
        let runs = "once\n".to_string() + &"again\n".repeat(boot as usize - 1);
        let now = || std::fs::read_to_string(real.file(1, "runs")).ok().filter(|text| *text == runs);
        eventually("the hook", now).await;
    }
    real.host.shutdown().await;
}

fn console(real: &Real) -> String {
    String::from_utf8_lossy(&real.host.console(&id(1))).into_owned()
}

#[tokio::test]
async fn an_instance_sees_its_environment_and_nothing_of_the_cloud() {
    let real = Real::booted(&one(|_| ())).await;
    let address = real.host.observe().instances[&id(1)].address.expect("it has one");
    let output = real.sh(1, "env; pwd").await;
    let text = String::from_utf8(output.stdout).expect("text");
    for line in [
        format!("STANDFAST_ADDRESS={address}"),
        format!("INSTANCE_ID={}", id(1)),
        "INSTANCE_TYPE=t3.micro".into(),
        "AVAILABILITY_ZONE=eu-west-1a".into(),
        "STANDFAST_AVAILABILITY_ZONE=eu-west-1a".into(),
        "AWS_REGION=eu-west-1".into(),
        "AWS_DEFAULT_REGION=eu-west-1".into(),
        format!("PRIVATE_IP={}", private_ip(1)),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in {text}");
    }
    let home = text.lines().find_map(|line| line.strip_prefix("HOME=")).expect("a home");
    assert_eq!(text.lines().last(), Some(home), "it starts at home");
    assert!(!text.contains("CARGO"), "the cloud's environment leaked: {text}");
    let files = real.sh(1, "ls /proc/$$/fd").await;
    assert_eq!(files.stdout, b"0\n1\n2\n", "open files leaked");
    real.host.shutdown().await;
}

#[tokio::test]
async fn an_instance_does_not_stop_the_machine_by_accident() {
    let real = Real::booted(&one(|_| ())).await;
    for name in ["reboot", "poweroff", "halt", "shutdown"] {
        let found = real.sh(1, &format!("command -v {name}")).await.stdout;
        let guard = real.dir.path().join("state/bin").join(name).canonicalize().expect("it is there");
        assert_eq!(String::from_utf8_lossy(&found).trim(), guard.to_string_lossy());
        assert_eq!(real.sh(1, guard.to_str().expect("text")).await.code, 1);
    }
    real.host.shutdown().await;
}

#[tokio::test]
async fn an_address_of_its_own_can_be_listened_on() {
    let real = Real::booted(&one(|_| ())).await;
    let address = real.host.observe().instances[&id(1)].address.expect("it has one");
    std::net::TcpListener::bind((address, 0)).expect("the machine has the whole of 127.0.0.0/8");
    real.host.shutdown().await;
}

#[tokio::test]
async fn other_user_data_is_stored_and_not_run() {
    let real = Real::booted(&one(|spec| spec.user_data = b"\x00\x01 not a script".to_vec())).await;
    let output = real.sh(1, "cat ../user-data").await;
    assert_eq!(output.stdout, b"\x00\x01 not a script");
    real.host.shutdown().await;
}

#[tokio::test]
async fn a_script_that_cannot_be_run_leaves_the_machine_up_and_a_word_in_the_console() {
    let real = Real::booted(&one(|spec| spec.user_data = b"#!/no/such/interpreter\n".to_vec())).await;
    assert!(console(&real).contains("user data could not be started"), "{}", console(&real));
    assert_eq!(real.host.observe().instances[&id(1)].phase, Phase::Running);
    real.host.shutdown().await;
}

#[tokio::test]
async fn daemons_outlive_the_script_and_end_with_the_boot() {
    let real = Real::booted(&script(
        "sleep 1000 & echo $! > plain\nsetsid sh -c 'echo $$ > session; exec sleep 1000' &\n\
         (env -i setsid sh -c 'echo $$ > hidden; exec sleep 1000' &)\necho out; echo err >&2",
    ))
    .await;
    let mut pids = Vec::new();
    for name in ["plain", "session", "hidden"] {
        pids.push(real.text(1, name).await);
    }
    eventually("the end of the script", || console(&real).contains("user data ended with 0").then_some(())).await;
    assert!(pids.iter().all(|pid| lives(pid)));
    assert!(console(&real).contains("out\nerr\n"), "{}", console(&real));
    real.host.obey(one(|spec| spec.power = false));
    until_phase(&*real.host, 1, Phase::Off, 1).await;
    assert!(!pids.iter().any(|pid| lives(pid)), "off means that nothing runs");
    real.host.shutdown().await;
}

#[tokio::test]
async fn a_program_may_end_in_order_when_the_instance_is_shut_down() {
    let real =
        Real::booted(&script("trap 'echo bye > last; exit' TERM\necho up > ready\nwhile :; do sleep 0.01; done")).await;
    real.text(1, "ready").await;
    real.host.obey(one(|spec| spec.power = false));
    until_phase(&*real.host, 1, Phase::Off, 1).await;
    assert_eq!(real.text(1, "last").await, "bye\n");
    real.host.shutdown().await;
}

#[tokio::test]
async fn a_program_that_does_not_end_is_killed_at_the_end_of_the_cloud() {
    let real = Real::booted(&script("trap '' TERM\necho $$ > pid\nwhile :; do sleep 0.01; done")).await;
    let pid = real.text(1, "pid").await;
    real.host.shutdown().await;
    assert!(!lives(&pid));
}

#[tokio::test]
async fn a_terminated_instance_leaves_no_directory_and_a_cloud_no_trace() {
    let real = Real::booted(&script("echo x > file")).await;
    real.text(1, "file").await;
    real.host.obey(Arc::default());
    until(&*real.host, "no instance", |seen| seen.instances.is_empty()).await;
    assert!(!real.file(1, "..").exists());
    real.host.shutdown().await;
    assert_eq!(std::fs::read_dir(real.dir.path()).expect("it is there").count(), 0);
}

#[tokio::test]
async fn commands_have_codes_limits_and_an_end() {
    let real = Real::booted(&one(|_| ())).await;
    assert_eq!(real.sh(1, "echo err >&2; exit 3").await.code, 3);
    assert_eq!(real.sh(1, "kill -9 $$").await.code, 137);
    assert_eq!(real.sh(1, "cat").await.code, 0, "its input is empty");
    let missing = real.host.exec(&id(1), vec!["no-such-program".into()], LIMIT).await.expect("it runs");
    assert_eq!(missing.code, 127);
    assert!(!missing.stderr.is_empty());
    let output = real.sh(1, "head -c 3000000 /dev/zero; echo end >&2").await;
    assert_eq!(
        (output.stdout.len(), &output.stderr[..]),
        (standfast_host::process::EXEC_OUTPUT_BYTES_MAX, &b"end\n"[..])
    );
    let background = real.sh(1, "echo at once; sleep 1000 &").await;
    assert_eq!(background.stdout, b"at once\n", "what is left in the background is not waited for");
    let slow = vec!["sh".into(), "-c".into(), "echo $$ > slow; echo begun; sleep 1000".into()];
    let output = real.host.exec(&id(1), slow, Duration::from_millis(300)).await.expect("it runs");
    assert_eq!((output.code, &output.stdout[..]), (124, &b"begun\n"[..]));
    assert!(!lives(&real.text(1, "slow").await));
    assert!(real.host.exec(&id(1), Vec::new(), LIMIT).await.is_err());
    let left = std::fs::read_dir(real.file(1, "..")).expect("it is there");
    assert!(!left.flatten().any(|f| f.file_name().to_string_lossy().starts_with("exec-")), "a pipe is left");
    real.host.shutdown().await;
}

#[tokio::test]
async fn a_command_ends_with_its_instance() {
    let real = Real::booted(&one(|_| ())).await;
    let argv = ["sh", "-c", "echo $$ > pid; sleep 1000"].map(String::from).to_vec();
    let command = tokio::spawn(real.host.exec(&id(1), argv, LIMIT));
    let pid = real.text(1, "pid").await;
    real.host.kill(&id(1)).expect("it runs");
    let error = command.await.expect("no panic").expect_err("it did not end on its own");
    assert!(error.is("IncorrectInstanceState"));
    until_phase(&*real.host, 1, Phase::Crashed("killed".into()), 1).await;
    assert!(!lives(&pid));
    real.host.shutdown().await;
}

#[tokio::test]
async fn the_console_is_bounded_and_shows_the_newest() {
    let real = Real::booted(&script("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end")).await;
    eventually("the end", || console(&real).contains("the end\n").then_some(())).await;
    assert!(console(&real).len() <= CONSOLE_BYTES_MAX);
    let sizes =
        ["../console.log", "../console.log.old"].map(|f| std::fs::metadata(real.file(1, f)).map_or(0, |m| m.len()));
    assert!(sizes.iter().sum::<u64>() <= 1024 * 1024, "{sizes:?}");
    real.host.shutdown().await;
}

#[tokio::test]
async fn cpu_time_of_all_processes_counts_on_the_control_planes_clock() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = ProcessConfig { clock: Clock::system(100.0), ..config(dir.path().join("state"), false) };
    let host = ProcessDriver::start(config).expect("it starts");
    host.obey(script("setsid sh -c 'while :; do :; done' &\nsleep 1000"));
    until_running(&*host, 1, 1).await;
    let used = || host.observe().instances[&id(1)].cpu_time;
    eventually("CPU time", || (used() > Duration::from_secs(10)).then_some(())).await;
    host.shutdown().await;
}

#[tokio::test]
async fn user_data_that_no_init_came_to_runs_at_the_next_boot() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wanted = script("echo ran > ran");
    let broken = ProcessConfig { init_program: "/bin/false".into(), ..config(dir.path().join("state"), true) };
    let host = ProcessDriver::start(broken).expect("it starts");
    host.obey(wanted.clone());
    let failed = |phase: &Phase| matches!(phase, Phase::Failed(_));
    until(&*host, "a failure", |seen| seen.instances.values().any(|o| failed(&o.phase))).await;
    host.shutdown().await;
    drop(host);
    let host = ProcessDriver::start(config(dir.path().join("state"), true)).expect("it starts");
    host.obey(changed(&wanted, |s| s.instances.values_mut().for_each(|spec| spec.boot = 2)));
    until_running(&*host, 1, 2).await;
    lines(dir.path().join("state/instances").join(id(1).as_str()).join("root/ran")).await;
    host.shutdown().await;
}

#[tokio::test]
async fn an_init_that_cannot_be_started_is_a_failed_instance() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (program, why) in [("/no/such/program", "could not be started"), ("/bin/false", "ended before it was up")] {
        let config = ProcessConfig { init_program: program.into(), ..config(dir.path().join("state"), false) };
        let host = ProcessDriver::start(config).expect("it starts");
        host.obey(one(|_| ()));
        until(&*host, why, |seen| match seen.instances.get(&id(1)).map(|o| &o.phase) {
            Some(Phase::Failed(text)) => text.contains(why),
            _ => false,
        })
        .await;
        host.shutdown().await;
    }
}
