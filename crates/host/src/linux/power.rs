//! Switching an instance's power from inside: small programs in the place of the machine's, and what they write to.

/// What init reads the word from, inside.
pub const SWITCH: &str = "/run/standfast.power";

pub const OFF: &str = "off";
pub const REBOOT: &str = "reboot";

/// The commands that are shadowed.
pub const COMMANDS: [&str; 4] = ["halt", "poweroff", "reboot", "shutdown"];

/// A shadow. `shutdown` knows its options; when it is to happen is always now.
pub fn script(name: &str) -> String {
    let word = if name == "reboot" { REBOOT } else { OFF };
    format!(
        "#!/bin/sh\n\
         # Tells the instance's init, as the program of this name does on a real machine.\n\
         word={word}\n\
         for argument; do\n\
         \x20 case $argument in\n\
         \x20   -r|--reboot) word={REBOOT};;\n\
         \x20   -h|-H|-P|-p|--halt|--poweroff) word={OFF};;\n\
         \x20   -c) exit 0;;\n\
         \x20 esac\n\
         done\n\
         if ! [ -w {SWITCH} ]; then echo \"$0: only root may do this\" >&2; exit 1; fi\n\
         echo $word > {SWITCH}\n"
    )
}
