//! What topics would have mailed.

use bytes::Bytes;
use http::Response;
use maud::html;
use standfast_core::Result;

use crate::Page;
use crate::html::{self as ui, Live};

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let all = (page.sources.mails)(page.cx.cloud(), &page.asked.region);
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let content = html! {
        h1 { "Mail" }
        @if all.is_empty() {
            (ui::empty("No mail was sent from this region. Topics send it to subscriptions of the protocol email; it is kept \
                        here unless the cloud was started with --smtp.", &[
                ("aws sns subscribe --protocol email --notification-endpoint you@example.com --topic-arn ARN", "makes one."),
            ]))
        }
        @for mail in all.iter().rev() {
            @let text = |name: &str| mail[name].as_str().unwrap_or_default();
            details.card {
                summary { (text("At")) " · to " (text("To")) " · " strong { (text("Subject")) } }
                pre.console tabindex="0" { (text("Body")) }
            }
        }
    };
    Ok(ui::shell(page, Live::Yes, "Mail", content))
}
