//! Volumes and addresses, briefly.

use bytes::Bytes;
use http::Response;
use maud::html;
use standfast_api::ec2;
use standfast_core::Result;

use crate::Page;
use crate::html::{self as ui, Live};

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let volumes = page.cx.call(ec2::DescribeVolumes, ec2::DescribeVolumesInput::default()).await?.volumes;
    let volumes = volumes.unwrap_or_default();
    let addresses = page.cx.call(ec2::DescribeAddresses, ec2::DescribeAddressesInput::default()).await?.addresses;
    let addresses = addresses.unwrap_or_default();
    let volume = |volume: &ec2::Volume| {
        html! {
            td.mono { (volume.volume_id.as_deref().unwrap_or_default()) }
            td { (ui::state(volume.state.as_deref().unwrap_or_default())) }
            td { (volume.size.unwrap_or_default()) " GiB " (volume.volume_type.as_deref().unwrap_or_default()) }
            td { (volume.availability_zone.as_deref().unwrap_or_default()) }
            td {
                @for attachment in volume.attachments.iter().flatten() {
                    div { span.mono { (ui::link("instances", attachment.instance_id.as_deref().unwrap_or_default())) }
                        " as " (attachment.device.as_deref().unwrap_or_default()) }
                }
            }
        }
    };
    let address = |address: &ec2::Address| {
        html! {
            td.mono { (address.public_ip.as_deref().unwrap_or_default()) }
            td.mono { (address.allocation_id.as_deref().unwrap_or_default()) }
            td.mono { @if let Some(id) = &address.instance_id { (ui::link("instances", id)) } @else { "–" } }
            td.mono { (address.private_ip_address.as_deref().unwrap_or("–")) }
        }
    };
    let content = html! {
        h1 { "Storage and addresses" }
        h2 { "Volumes" }
        @if volumes.is_empty() { (ui::empty("There is no volume in this region.", &ui::BEGIN[..1])) }
        @else { (ui::table("Volumes", &["Volume", "State", "Size", "Zone", "Attached to"], volumes.iter().map(volume))) }
        h2 { "Elastic IP addresses" }
        @if addresses.is_empty() {
            (ui::empty("No address is allocated in this region.", &[("aws ec2 allocate-address", "allocates one.")]))
        } @else {
            (ui::table("Addresses", &["Address", "Allocation", "Instance", "Private address"], addresses.iter().map(address)))
        }
    };
    Ok(ui::shell(page, Live::Yes, "Storage and addresses", content))
}
