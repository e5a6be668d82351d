//! The load balancer beside nginx and haproxy: one core for the proxy, the other for client and backend.

use std::fmt::Write;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::backend::Backend;
use super::load::Load;
use super::machine::{self, Process};
use super::server::Server;
use super::table::{self, Row, Target};

const CONNECTIONS: usize = 64;
const SIZES_BYTES: &[(usize, &str)] = &[(100, "100 bytes"), (64 * 1024, "64 KiB")];
const WARM_UP: Duration = Duration::from_millis(300);
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const READY_PAUSE: Duration = Duration::from_millis(2);
const REQUEST: &[u8] = b"GET /a/path HTTP/1.1\r\nHost: bench.elb.localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (body_bytes, size) in SIZES_BYTES {
        let backend = Backend::start(bench.cores.client, *body_bytes)?;
        let mut proxies = vec![("standfast", lb_bench(bench, backend.address)?)];
        for (name, start) in [("haproxy", haproxy as Start), ("nginx", nginx)] {
            match start(bench, backend.address)? {
                Some(server) => proxies.push((name, server)),
                None => bench.leave_out(format!("the load balancer beside {name}: it is not installed")),
            }
        }
        rows.extend(compare(bench, &proxies, size)?);
    }
    Ok(rows)
}

type Start = fn(&Bench, SocketAddrV4) -> Result<Option<Server>>;

/// Throughput and processor time of each proxy; they take turns.
fn compare(bench: &Bench, proxies: &[(&'static str, Server)], size: &str) -> Result<Vec<Row>> {
    let mut loads = Vec::new();
    for (_, server) in proxies {
        let mut load = Load::new(server.address, CONNECTIONS, vec![REQUEST.to_vec()])?;
        machine::pinned(bench.cores.client, || load.run(WARM_UP, u64::MAX))?;
        loads.push(load);
    }
    let mut figures = vec![(Vec::new(), Vec::new()); proxies.len()];
    for _ in 0..bench.rounds {
        for (i, (_, server)) in proxies.iter().enumerate() {
            let before = server.process.cpu_time()?;
            let answered = machine::pinned(bench.cores.client, || loads[i].run(bench.window, u64::MAX))?;
            let cpu = server.process.cpu_time()?.saturating_sub(before);
            figures[i].0.push(answered.per_second());
            figures[i].1.push(cpu.as_secs_f64() * 1e6 / answered.requests as f64);
        }
    }
    let names = proxies.iter().map(|(name, _)| *name);
    let (rates, costs): (Vec<_>, Vec<_>) = names
        .zip(figures)
        .map(|(name, (rates, costs))| ((name, table::median(rates)), (name, table::median(costs))))
        .unzip();
    Ok(vec![
        table::row(format!("load balancer, {size}"), "requests/s", Target::None, rates),
        table::row(format!("load balancer, {size}, processor"), "us/request", Target::None, costs),
    ])
}

fn lb_bench(bench: &Bench, backend: SocketAddrV4) -> Result<Server> {
    let file = bench.scratch.join(format!("lb-port-{}", backend.port()));
    let mut command = Command::new(bench.built("examples/lb_bench"));
    command.arg("--listen-port-file").arg(&file).arg(backend.to_string());
    let mut process = Process::spawn(command, Some(bench.cores.server))?;
    let start = machine::now();
    loop {
        if let Some(address) = std::fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()) {
            return Ok(Server { process, address });
        }
        if process.ended() || start.elapsed() > READY_TIMEOUT {
            bail!("lb_bench does not say where it listens");
        }
        machine::pause(READY_PAUSE);
    }
}

fn haproxy(bench: &Bench, backend: SocketAddrV4) -> Result<Option<Server>> {
    let Some(program) = installed("haproxy") else { return Ok(None) };
    let address = machine::free_port()?;
    let mut text = String::from("global\n  nbthread 1\n  maxconn 4096\n");
    text += "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";
    text += "  option http-keep-alive\n  http-reuse always\n  option forwardfor\n";
    write!(text, "listen bench\n  bind {address}\n  server backend {backend}\n")?;
    let file = bench.scratch.join(format!("haproxy-{}.cfg", backend.port()));
    std::fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    Ok(Some(Server::at(address, command, Some(bench.cores.server), REQUEST).context("starting haproxy")?))
}

fn nginx(bench: &Bench, backend: SocketAddrV4) -> Result<Option<Server>> {
    let Some(program) = installed("nginx") else { return Ok(None) };
    let address = machine::free_port()?;
    let folder = bench.scratch.join(format!("nginx-{}", backend.port()));
    std::fs::create_dir_all(&folder)?;
    let folder = folder.to_string_lossy();
    // One process, and buffers that hold the largest answer, so that it never goes through a file.
    let text = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off; keepalive_requests 1000000000;\n  \
         client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n  \
         uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n  \
         upstream backend {{ server {backend}; keepalive {CONNECTIONS}; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://backend; proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      \
         proxy_buffers 16 16k; proxy_buffer_size 16k;\n    }}\n  }}\n}}\n"
    );
    let file = format!("{folder}/nginx.conf");
    std::fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.args(["-e", &format!("{folder}/error.log"), "-c", &file, "-p", &folder]);
    Ok(Some(Server::at(address, command, Some(bench.cores.server), REQUEST).context("starting nginx")?))
}

/// A program's path. Debian keeps servers where an ordinary user's PATH does not look.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.exists())
}
