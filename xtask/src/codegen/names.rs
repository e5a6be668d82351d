//! Rust names for the model's names.
//!
//! Invariant: a name depends on the model's name alone, never on its neighbours, except where two would clash (see
//! `resolve`). So a growing manifest does not rename what is already in use.

/// Type names that generated code itself uses without a path; a shape of such a name takes the suffix `Shape`.
pub const RESERVED_TYPES: [&str; 5] = ["Box", "Option", "Result", "String", "Vec"];

const KEYWORDS: [&str; 49] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];

/// These cannot be raw identifiers.
const NEVER_RAW: [&str; 5] = ["_", "crate", "self", "super", "Self"];

/// Mixed-case words that no rule would keep together.
const ATOMS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "MBps", "VCpu"];

/// An identifier, raw or with a `_` when it is a keyword.
pub fn identifier(name: &str) -> String {
    if NEVER_RAW.contains(&name) {
        format!("{name}_")
    } else if KEYWORDS.contains(&name) {
        format!("r#{name}")
    } else {
        name.to_owned()
    }
}

/// A type's name: the model's, with an upper first letter and nothing but letters and digits.
pub fn type_name(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    upper_first(&plain)
}

pub fn upper_first(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// `VPCZoneIdentifier` as `vpc_zone_identifier`, not yet made safe against keywords.
pub fn snake(name: &str) -> String {
    words(name).join("_")
}

/// A constant for an enum's value: `t3.micro` as `T3_MICRO`.
pub fn constant(value: &str) -> String {
    let name = snake(value).to_uppercase();
    match name.chars().next() {
        None if value.is_empty() => "EMPTY".to_owned(),
        None if value == "*" => "ALL".to_owned(),
        None => "OTHER".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("_{name}"),
        Some(_) => name,
    }
}

/// Lower-case words. A run of capitals is one word, and its last letter belongs to the next word when a small letter
/// follows (`VPCZone`), unless that letter only makes a plural or a version (`ARNs`, `IPv4`, `TLSv1`). Digits end a
/// word that capitals follow (`S3Bucket`).
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    let mut i = 0;
    while i < letters.len() {
        let letter = letters[i];
        if !letter.is_ascii_alphanumeric() {
            words.push(std::mem::take(&mut word));
            i += 1;
        } else if letter.is_ascii_uppercase() {
            words.push(std::mem::take(&mut word));
            let end = capitals_end(&letters, i);
            word.extend(&letters[i..end]);
            i = end;
        } else {
            word.push(letter);
            i += 1;
        }
    }
    words.push(word);
    words.into_iter().filter(|word| !word.is_empty()).map(|word| word.to_ascii_lowercase()).collect()
}

/// Where the part of a word that starts with the capital at `start` ends; small letters may continue the word.
fn capitals_end(letters: &[char], start: usize) -> usize {
    let atom = ATOMS.iter().find(|atom| letters[start..].iter().copied().take(atom.len()).eq(atom.chars()));
    if let Some(atom) = atom {
        return start + atom.len();
    }
    let run = letters[start..].iter().take_while(|c| c.is_ascii_uppercase()).count();
    let end = start + run;
    let next = letters.get(end).copied().unwrap_or('_');
    if run == 1 || !next.is_ascii_lowercase() {
        return end;
    }
    let after = letters.get(end + 1).copied().unwrap_or('_');
    let plural = next == 's' && !after.is_ascii_lowercase();
    let version = next == 'v' && after.is_ascii_digit();
    if plural || version { end + 1 } else { end - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_splits_where_people_do() {
        let table = [
            ("VPCZoneIdentifier", "vpc_zone_identifier"),
            ("LoadBalancerARN", "load_balancer_arn"),
            ("LoadBalancerARNs", "load_balancer_arns"),
            ("VPCs", "vpcs"),
            ("IpV4", "ip_v4"),
            ("IPv4CidrBlock", "ipv4_cidr_block"),
            ("Ipv6Addresses", "ipv6_addresses"),
            ("S3Bucket", "s3_bucket"),
            ("EC2SecurityGroup", "ec2_security_group"),
            ("MD5OfBody", "md5_of_body"),
            ("DBSnapshots", "db_snapshots"),
            ("SSLPolicies", "ssl_policies"),
            ("TLSv1.2", "tlsv1_2"),
            ("vpcId", "vpc_id"),
            ("x-amz-date", "x_amz_date"),
            ("x86_64", "x86_64"),
            ("DNSSupport", "dns_support"),
            ("SizeInMiB", "size_in_mib"),
            ("DefaultVCpus", "default_vcpus"),
            ("BaselineThroughputInMBps", "baseline_throughput_in_mbps"),
            ("HTTPCode_Target_5XX", "http_code_target_5_xx"),
        ];
        for (name, expected) in table {
            assert_eq!(snake(name), expected, "for {name}");
        }
    }

    #[test]
    fn keywords_become_usable_identifiers() {
        assert_eq!(identifier("type"), "r#type");
        assert_eq!(identifier("self"), "self_");
        assert_eq!(identifier("name"), "name");
    }

    #[test]
    fn enum_values_become_constants() {
        assert_eq!(constant("t3.micro"), "T3_MICRO");
        assert_eq!(constant("InService"), "IN_SERVICE");
        assert_eq!(constant("2xx"), "_2XX");
        assert_eq!(constant("*"), "ALL");
        assert_eq!(constant(""), "EMPTY");
    }
}
