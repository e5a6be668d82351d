//! What actions do to packets, and whether the hosts can do it.

use standfast_core::network::{Harm, Impairment, PacketFault, Traffic, Way};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::catalogue::{CORRUPT, DELAY, JITTER, LOSS, OTHER_ZONE, ZONE};
use super::model::Action;
use super::parse;

const NO_NETWORKS: &str = "instances have no networks of their own";
const NO_DEVICES: &str = "the kernel has no TUN devices, or nftables without device hooks";

/// What this driver cannot do on this machine.
pub fn cannot(cx: &Cx, what: &str, why: &str) -> Error {
    let driver = cx.host().name();
    parse::invalid(format!("The {driver} driver cannot {what} here: {why}. `standfast doctor` says more."))
}

pub fn needs_networks(cx: &Cx, what: &str) -> Result<()> {
    if cx.host().abilities().networks { Ok(()) } else { Err(cannot(cx, what, NO_NETWORKS)) }
}

fn needs(cx: &Cx, loses: bool, delays: bool) -> Result<()> {
    let able = cx.host().abilities();
    match (loses, delays) {
        (true, _) if !able.loss => Err(cannot(cx, "lose packets", NO_NETWORKS)),
        (_, true) if !able.networks => Err(cannot(cx, "delay packets", NO_NETWORKS)),
        (_, true) if !able.delay => Err(cannot(cx, "delay packets", NO_DEVICES)),
        _ => Ok(()),
    }
}

/// A number that the template's check has seen.
fn number(action: &Action, name: &str) -> u32 {
    action.parameters.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What the action does to a link between zones.
pub fn between_zones(cx: &Cx, action: &Action) -> Result<Impairment> {
    let zone = |name: &str| action.parameters.get(name).cloned().unwrap_or_default();
    let (loss, delay_ms) = (number(action, LOSS), number(action, DELAY));
    if (loss, delay_ms) == (0, 0) {
        return Err(parse::invalid(format!("One of {LOSS} and {DELAY} must be over 0.")));
    }
    needs(cx, loss > 0, delay_ms > 0)?;
    Ok(Impairment { zones: (zone(ZONE), zone(OTHER_ZONE)), loss_percent: loss.min(100) as u8, delay_ms })
}

/// What the action does to the packets of its instances.
pub fn of_instances(cx: &Cx, action: &Action) -> Result<Vec<PacketFault>> {
    let (loss, delay_ms, corrupt) = (number(action, LOSS), number(action, DELAY), number(action, CORRUPT));
    if (loss, delay_ms, corrupt) == (0, 0, 0) {
        return Err(parse::invalid(format!("One of {LOSS}, {DELAY} and {CORRUPT} must be over 0.")));
    }
    let jitter_ms = number(action, JITTER);
    if jitter_ms > delay_ms {
        let message = format!("The {JITTER} of {jitter_ms} must not be over the {DELAY}, which is {delay_ms}.");
        return Err(parse::invalid(message));
    }
    needs(cx, loss > 0, delay_ms > 0 || corrupt > 0)?;
    let fault = |way, harm| PacketFault { way, peers: Vec::new(), traffic: Traffic::All, harm };
    let lost = (loss > 0).then(|| fault(Way::Sent, Harm::Loss(loss.min(100) as u8)));
    let late = Harm::Late { delay_ms, jitter_ms, corrupt_percent: corrupt.min(100) as u8 };
    let late = (delay_ms > 0 || corrupt > 0).then(|| fault(Way::Received, late));
    Ok(lost.into_iter().chain(late).collect())
}

/// Whether the hosts can do what a document of FIS is for; what its parameters must be is its service's business.
pub fn document_is_feasible(cx: &Cx, document: &str) -> Result<()> {
    let Some(kind) = document.strip_prefix("AWSFIS-Run-") else { return Ok(()) };
    match kind.strip_prefix("Network-") {
        Some(kind) => needs(cx, !kind.starts_with("Latency"), kind.starts_with("Latency")),
        None if !cx.host().abilities().volumes => {
            Err(cannot(cx, "stress instances", "they are no machines of their own"))
        }
        None => Ok(()),
    }
}
