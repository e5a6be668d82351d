//! Public parameters: which image is the newest of a family.

use standfast_api::ec2;
use standfast_core::Result;
use standfast_kernel::Cx;

/// A family of parameter names, the owner of its images, and the pattern of their names.
const FAMILIES: &[(&str, &str, &str)] = &[
    ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "amazon", "al2023-ami-2023*-x86_64"),
    ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64", "amazon", "al2023-ami-2023*-x86_64"),
    (
        "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-x86_64",
        "amazon",
        "al2023-ami-2023*-x86_64",
    ),
    ("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64", "amazon", "al2023-ami-2023*-arm64"),
    ("/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2", "amazon", "amzn2-ami-hvm-*-x86_64-*"),
    ("/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-ebs", "amazon", "amzn2-ami-hvm-*-x86_64-*"),
    ("/aws/service/ami-amazon-linux-latest/amzn2-ami-kernel-5.10-hvm-x86_64-gp2", "amazon", "amzn2-ami-hvm-*-x86_64-*"),
    (
        "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
        "099720109477",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-*",
    ),
    (
        "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
        "099720109477",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-*",
    ),
];

/// Whether the name is a public parameter's: reserved, never stored.
pub fn is_public(name: &str) -> bool {
    name.starts_with("/aws/service/")
}

/// All public names below a path.
pub fn names_below(path: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = FAMILIES.iter().map(|(name, ..)| *name).filter(|name| name.starts_with(path)).collect();
    names.sort_unstable();
    names
}

/// The newest image that a public parameter stands for.
pub async fn value(cx: &Cx, name: &str) -> Result<Option<String>> {
    let Some((_, owner, pattern)) = FAMILIES.iter().find(|(family, ..)| *family == name) else { return Ok(None) };
    let filter = ec2::Filter { name: Some("name".into()), values: Some(vec![(*pattern).to_owned()]) };
    let input = ec2::DescribeImagesInput {
        owners: Some(vec![(*owner).to_owned()]),
        filters: Some(vec![filter]),
        ..Default::default()
    };
    let mut images = cx.call(ec2::DescribeImages, input).await?.images.unwrap_or_default();
    images.sort_by(|a, b| (&a.creation_date, &a.image_id).cmp(&(&b.creation_date, &b.image_id)));
    Ok(images.pop().and_then(|image| image.image_id))
}
