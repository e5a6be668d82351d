//! The files of an instance that say who it is.

use std::ffi::OsString;

use standfast_core::host::InstanceSpec;
use standfast_core::id::{Id, Instance};

use super::base::{USER, USER_ID};
use super::launcher::Text;

pub fn of(id: &Id<Instance>, spec: &InstanceSpec, environment: &[(&str, OsString)]) -> Vec<Text> {
    let short = spec.hostname.split('.').next().unwrap_or_default();
    let text = |path: &str, text: String| Text { path: path.into(), text, mode: 0o644, owner: 0, every_boot: false };
    let hosts = format!(
        "127.0.0.1 localhost localhost.localdomain\n::1 localhost6 localhost6.localdomain6\n{} {} {short}\n",
        spec.private_ip, spec.hostname
    );
    // Programs that log in as a user have another home.
    let shared = || environment.iter().filter(|(name, _)| *name != "HOME");
    let pairs = |before: &str| -> String {
        shared().map(|(name, value)| format!("{before}{name}={}\n", value.to_string_lossy())).collect()
    };
    let mut files = vec![
        text("/etc/hostname", format!("{}\n", spec.hostname)),
        text("/etc/hosts", hosts),
        Text { every_boot: true, ..text("/etc/resolv.conf", resolvers(spec)) },
        text("/etc/machine-id", format!("{}\n", machine_id(id))),
        text("/etc/environment", pairs("")),
        text("/etc/profile.d/standfast.sh", pairs("export ")),
    ];
    if !spec.ssh_keys.is_empty() {
        let keys: String = spec.ssh_keys.iter().map(|key| format!("{}\n", key.trim())).collect();
        for (home, owner) in [("/root".to_owned(), 0), (format!("/home/{USER}"), USER_ID)] {
            let path = format!("{home}/.ssh/authorized_keys");
            files.push(Text { path, text: keys.clone(), mode: 0o600, owner, every_boot: false });
        }
    }
    files
}

/// What a DHCP client makes of what it is told.
fn resolvers(spec: &InstanceSpec) -> String {
    let search = Some(&spec.search).filter(|search| !search.is_empty()).map(|search| format!("search {search}\n"));
    let servers = spec.resolvers.iter().map(|address| format!("nameserver {address}\n"));
    search.into_iter().chain(servers).chain(["options timeout:2 attempts:3\n".to_owned()]).collect()
}

/// 32 digits that are the instance's alone, as its id is.
fn machine_id(id: &Id<Instance>) -> String {
    let digits: String = id.as_str().chars().filter(char::is_ascii_hexdigit).collect();
    format!("{digits:0<32}").chars().take(32).collect()
}
