//! How long a page of the console takes where 200 instances run.

use anyhow::Result;

use super::client::{ask, ec2, element};
use super::table::{self, Row, Subject, Target};
use super::{Bench, machine};

const INSTANCES: usize = 200;
/// Pages of one round, of which the median is taken.
const PAGES: usize = 50;
/// What is asked for, and what it is called here.
const ASKED: [(&str, &str); 2] = [("", "the map"), ("instances", "the list of instances")];

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let server = bench.standfast(&["--driver", "sim"], Some(bench.cores.server))?;
    let owner = "&Owner.1=amazon&Filter.1.Name=architecture&Filter.1.Value.1=x86_64";
    let image = element(&ask(server.address, &ec2("DescribeImages", owner))?, "imageId")?;
    let launch = format!("&ImageId={image}&InstanceType=t3.micro&MinCount={INSTANCES}&MaxCount={INSTANCES}");
    ask(server.address, &ec2("RunInstances", &launch))?;
    let mut rows = Vec::new();
    for (path, name) in ASKED {
        let request = format!("GET /_standfast/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let measure = || {
            let mut took_ms = Vec::with_capacity(PAGES);
            for _ in 0..PAGES {
                let start = machine::now();
                ask(server.address, request.as_bytes())?;
                took_ms.push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok(table::median(took_ms))
        };
        let subjects = vec![Subject { name: "standfast", measure: Box::new(measure) }];
        let what = format!("console, {INSTANCES} instances: {name}");
        rows.push(table::row(what, "ms", Target::Below(50.0), table::medians(bench.rounds, subjects)?));
    }
    Ok(rows)
}
