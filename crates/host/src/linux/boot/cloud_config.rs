//! What a cloud-config says, done: as cloud-init does it on EC2's images, for the keys that people use.
//!
//! Done: `bootcmd`, `write_files`, `hostname` and `fqdn`, `groups`, `users`, `ssh_authorized_keys`, `runcmd`. What is not
//! done is said in the console. A failing step does not keep the others from being done.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use super::parts::{decode, gunzip};
use super::yaml::{self, Value};
use super::{PER_BOOT, make_script, say};
use crate::linux::base::USER;

const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";
const BOOTCMD: &str = "00-bootcmd";
const DEFAULT_MODE: u32 = 0o644;
/// Keys that are read here, and those that change nothing in an instance without their programs.
const KNOWN: [&str; 14] = [
    "bootcmd",
    "write_files",
    "hostname",
    "fqdn",
    "groups",
    "users",
    "ssh_authorized_keys",
    "runcmd",
    "packages",
    "package_update",
    "package_upgrade",
    "preserve_hostname",
    "manage_etc_hosts",
    "output",
];

/// Does all but `runcmd`, whose script is returned.
pub fn apply(text: &str) -> Option<String> {
    let config = match yaml::parse(text) {
        Ok(config @ (Value::Map(_) | Value::Null)) => config,
        Ok(_) => return complain("the cloud-config is not a map"),
        Err(error) => return complain(&format!("the cloud-config is not valid: {error}")),
    };
    if let Value::Map(pairs) = &config {
        for (key, _) in pairs.iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
            say(&format!("cloud-config: {key} is not supported and left out"));
        }
    }
    if let Some(commands) = config.get("bootcmd") {
        let script = shell(commands);
        attempt("bootcmd", super::run_text("bootcmd", script.as_bytes()));
        attempt("bootcmd", make_script(&Path::new(PER_BOOT).join(BOOTCMD), script.as_bytes()));
    }
    write_files(&config, false);
    if let Some(name) = ["fqdn", "hostname"].iter().find_map(|key| config.get(key)?.text()) {
        attempt("hostname", hostname(name));
    }
    for item in config.get("groups").map(Value::items).unwrap_or_default() {
        groups(item);
    }
    for user in config.get("users").map(Value::items).unwrap_or_default() {
        if user.text() != Some("default") {
            attempt("users", self::user(user));
        }
    }
    let keys = strings(config.get("ssh_authorized_keys"));
    if !keys.is_empty() {
        attempt("ssh_authorized_keys", authorize(USER, &keys));
    }
    write_files(&config, true);
    let packages = packages(&config);
    if !packages.is_empty() {
        say(&format!(
            "packages skipped: {} (instances have the programs of the machine; nothing is downloaded)",
            packages.join(" ")
        ));
    }
    config.get("runcmd").map(shell)
}

fn complain(text: &str) -> Option<String> {
    say(text);
    None
}

fn attempt(what: &str, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        say(&format!("{what}: {error}"));
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value.map(Value::items).unwrap_or_default().iter().filter_map(Value::text).map(str::to_owned).collect()
}

fn packages(config: &Value) -> Vec<String> {
    let items = config.get("packages").map(Value::items).unwrap_or_default();
    // A package may be a list of its name and version.
    items.iter().filter_map(|item| item.items().first()?.text()).map(str::to_owned).collect()
}

/// Commands as one script: text as it is, lists word by word.
fn shell(commands: &Value) -> String {
    let mut script = "#!/bin/sh\n".to_owned();
    for command in commands.items() {
        match command {
            Value::Text(text) => script += text,
            Value::List(words) => {
                script += &words.iter().filter_map(Value::text).map(quoted).collect::<Vec<_>>().join(" ")
            }
            Value::Null | Value::Map(_) => continue,
        }
        script.push('\n');
    }
    script
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn write_files(config: &Value, deferred: bool) {
    for file in config.get("write_files").map(Value::items).unwrap_or_default() {
        if file.get("defer").is_some_and(Value::is_true) == deferred {
            attempt("write_files", write_file(file));
        }
    }
}

fn write_file(file: &Value) -> io::Result<()> {
    let text = |key: &str| file.get(key).and_then(Value::text);
    let path = text("path").ok_or_else(|| io::Error::other("a file without a path"))?;
    let content = content(text("content").unwrap_or_default(), text("encoding").unwrap_or_default())
        .ok_or_else(|| io::Error::other(format!("{path}: its content is not in its encoding")))?;
    let mode = text("permissions")
        .map_or(Some(DEFAULT_MODE), |mode| u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok());
    let mode = mode.ok_or_else(|| io::Error::other(format!("{path}: its permissions are not octal")))?;
    let path = Path::new(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let append = file.get("append").is_some_and(Value::is_true);
    let mut options = File::options();
    options.create(true).mode(mode).append(append).write(true).truncate(!append);
    let mut open = options.open(path)?;
    open.write_all(&content)?;
    open.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    match text("owner") {
        Some(owner) => give(path, owner),
        None => Ok(()),
    }
}

fn content(text: &str, encoding: &str) -> Option<Vec<u8>> {
    let encoding = encoding.to_ascii_lowercase();
    let bytes = match encoding.contains("b64") || encoding.contains("base64") {
        true => decode(text)?,
        false => text.as_bytes().to_vec(),
    };
    if encoding.contains("gz") { gunzip(&bytes) } else { Some(bytes) }
}

/// `user:group`, by name or number.
fn give(path: &Path, owner: &str) -> io::Result<()> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let unknown = || io::Error::other(format!("{}: there is no {owner}", path.display()));
    let uid = number("/etc/passwd", user).ok_or_else(unknown)?;
    let gid = if group.is_empty() { None } else { Some(number("/etc/group", group).ok_or_else(unknown)?) };
    chown(path, Some(uid), gid)
}

/// The number of a name in a file like `/etc/passwd`.
fn number(file: &str, name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| field(file, name, 2)?.parse().ok())
}

fn field(file: &str, name: &str, n: usize) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(n).map(str::to_owned)
}

fn hostname(name: &str) -> io::Result<()> {
    rustix::system::sethostname(name.as_bytes())?;
    fs::write("/etc/hostname", format!("{name}\n"))?;
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let short = name.split('.').next().unwrap_or(name);
    fs::write("/etc/hosts", format!("{hosts}127.0.1.1 {name} {short}\n"))
}

/// A name, or a map from names to members.
fn groups(item: &Value) {
    let names: Vec<(&str, &Value)> = match item {
        Value::Text(name) => vec![(name, &Value::Null)],
        Value::Map(pairs) => pairs.iter().map(|(name, members)| (name.as_str(), members)).collect(),
        Value::Null | Value::List(_) => Vec::new(),
    };
    for (name, members) in names {
        attempt("groups", program("groupadd", &["-f", name]));
        for member in members.items().iter().filter_map(Value::text) {
            attempt("groups", program("usermod", &["-a", "-G", name, member]));
        }
    }
}

fn user(user: &Value) -> io::Result<()> {
    let text = |key: &str| user.get(key).and_then(Value::text);
    let name = text("name").or(user.text()).ok_or_else(|| io::Error::other("a user without a name"))?;
    let groups: Vec<String> = strings(user.get("groups"))
        .iter()
        .flat_map(|list| list.split(',').map(|group| group.trim().to_owned()).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect();
    for group in &groups {
        program("groupadd", &["-f", group])?;
    }
    let joined = groups.join(",");
    if field("/etc/passwd", name, 2).is_none() {
        let mut arguments = vec!["-s", text("shell").unwrap_or("/bin/bash")];
        let is = |key: &str| user.get(key).is_some_and(Value::is_true);
        arguments.push(if is("no_create_home") || is("system") { "-M" } else { "-m" });
        arguments.extend(is("system").then_some("-r"));
        for (key, option) in [("uid", "-u"), ("homedir", "-d"), ("gecos", "-c"), ("primary_group", "-g")] {
            arguments.extend(text(key).into_iter().flat_map(|value| [option, value]));
        }
        if !joined.is_empty() {
            arguments.extend(["-G", &joined]);
        }
        arguments.push(name);
        program("useradd", &arguments)?;
    } else if !joined.is_empty() {
        program("usermod", &["-a", "-G", &joined, name])?;
    }
    let rules = strings(user.get("sudo"));
    if rules.iter().any(|rule| rule != "False" && rule != "false") {
        let old = fs::read_to_string(SUDOERS).unwrap_or_default();
        let new: String = rules.iter().map(|rule| format!("{name} {rule}\n")).collect();
        let _ = fs::create_dir("/etc/sudoers.d");
        fs::write(SUDOERS, old + &new)?;
        fs::set_permissions(SUDOERS, fs::Permissions::from_mode(0o440))?;
    }
    let mut keys = strings(user.get("ssh_authorized_keys"));
    keys.extend(strings(user.get("ssh-authorized-keys")));
    if keys.is_empty() { Ok(()) } else { authorize(name, &keys) }
}

fn authorize(user: &str, keys: &[String]) -> io::Result<()> {
    let unknown = || io::Error::other(format!("there is no user {user}"));
    let home = field("/etc/passwd", user, 5).ok_or_else(unknown)?;
    let (uid, gid) = (number("/etc/passwd", user).ok_or_else(unknown)?, field("/etc/passwd", user, 3));
    let gid = gid.and_then(|gid| gid.parse().ok());
    let directory = Path::new(&home).join(".ssh");
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        chown(&directory, Some(uid), gid)?;
    }
    let path = directory.join("authorized_keys");
    let mut file = File::options().append(true).create(true).mode(0o600).open(&path)?;
    for key in keys {
        writeln!(file, "{}", key.trim())?;
    }
    chown(&path, Some(uid), gid)
}

fn program(name: &str, arguments: &[&str]) -> io::Result<()> {
    let failed = |text: String| io::Error::other(format!("{name} {}: {text}", arguments.join(" ")));
    match Command::new(name).args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_script_and_lists_are_words() {
        let config = yaml::parse("runcmd:\n - cd /tmp\n - [echo, \"it's\", '$HOME']\n").expect("valid");
        let script = shell(config.get("runcmd").expect("there"));
        assert_eq!(script, "#!/bin/sh\ncd /tmp\n'echo' 'it'\\''s' '$HOME'\n");
    }

    #[test]
    fn contents_are_decoded_as_they_say() {
        assert_eq!(content("aGk=", "b64"), Some(b"hi".to_vec()));
        assert_eq!(content("hi", ""), Some(b"hi".to_vec()));
        assert_eq!(content("hi", "gzip"), None);
        assert_eq!(content("!", "base64"), None);
    }
}
