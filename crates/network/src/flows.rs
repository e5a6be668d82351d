//! Flows that connection tracking knows, in one namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use rustix::net::netlink::NETFILTER;

use crate::namespace::in_namespace;
use crate::netlink::{Messages, NLM_F_DUMP, Socket, attributes};

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
/// `struct nfgenmsg` for IPv4.
const GENERAL: [u8; 4] = [2, 0, 0, 0];
/// ENOENT: the flow has ended by itself.
const GONE: i32 = 2;

/// Forgets every flow from or to one of these addresses, so that its next packet is judged and translated anew.
pub fn forget(namespace: BorrowedFd, addresses: &BTreeSet<Ipv4Addr>) -> io::Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let socket = in_namespace(namespace, || Socket::open(Some(NETFILTER)))??;
    let mut ask = Messages::default();
    ask.begin(GET, NLM_F_DUMP, &GENERAL);
    let mut found = Vec::new();
    socket.dump(ask, |flow| {
        let concerned = attributes(flow.body.get(4..).unwrap_or_default())
            .filter(|(kind, _)| matches!(*kind, ORIGINAL | REPLY))
            .any(|(_, tuple)| ends(tuple).iter().any(|address| addresses.contains(address)));
        if concerned && let Some((_, tuple)) = attributes(&flow.body[4..]).find(|(kind, _)| *kind == ORIGINAL) {
            found.push(tuple.to_vec());
        }
    })?;
    for tuple in found {
        let mut delete = Messages::default();
        delete.begin(DELETE, 0, &GENERAL).nested(ORIGINAL, |inner| {
            inner.raw(&tuple);
        });
        match socket.execute(delete) {
            Err(error) if error.raw_os_error() != Some(GONE) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Source and destination of a tuple.
fn ends(tuple: &[u8]) -> Vec<Ipv4Addr> {
    let ip = attributes(tuple).find(|(kind, _)| *kind == TUPLE_IP).map(|(_, value)| value).unwrap_or_default();
    attributes(ip).filter_map(|(_, value)| Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))).collect()
}
