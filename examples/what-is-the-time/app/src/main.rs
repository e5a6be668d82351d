//! The application as a program of its own. The Standfast binary carries the same one for its instances.

fn main() -> std::process::ExitCode {
    what_is_the_time::run()
}
