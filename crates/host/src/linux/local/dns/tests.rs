//! Names as an instance asks for them, and the bytes that answer.

use simple_dns::rdata::RData;

use super::*;
use crate::linux::local::view::tests::with_names;

const ME: &str = "ip-10-0-0-4.eu-west-1.compute.internal";

fn view() -> View {
    with_names(&[(ME, &[[10, 0, 0, 4]]), ("a-name.example.net", &[[10, 0, 0, 4], [10, 0, 0, 5]])])
}

fn query(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new_unchecked(name), kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("a small packet")
}

/// The code, the answers' data as text, and the type of the authority's record.
fn ask(view: &View, name: &str, kind: TYPE) -> (RCODE, Vec<String>, bool) {
    let bytes = answer(view, &query(name, kind), Transport::Udp).expect("an answer");
    let packet = Packet::parse(&bytes).expect("well formed");
    assert_eq!((packet.id(), packet.questions.len()), (7, 1));
    assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE | PacketFlag::RECURSION_DESIRED));
    let text = |record: &ResourceRecord| match &record.rdata {
        RData::A(a) => Ipv4Addr::from(a.address).to_string(),
        RData::PTR(name) => name.0.to_string(),
        other => format!("{other:?}"),
    };
    let soa = packet.name_servers.iter().any(|record| matches!(record.rdata, RData::SOA(_)));
    let mut answers: Vec<String> = packet.answers.iter().map(text).collect();
    answers.sort();
    (packet.rcode(), answers, soa)
}

#[test]
fn a_public_name_of_another_network_is_the_public_address() {
    let own = "ec2-127-128-0-5.eu-west-1.compute.amazonaws.com";
    let view = with_names(&[(own, &[[10, 0, 0, 4]])]);
    assert_eq!(ask(&view, own, TYPE::A).1, ["10.0.0.4"], "within its VPC it is the private one");
    for name in ["ec2-127-128-0-9.eu-west-1.compute.amazonaws.com", "ec2-127-128-0-9.compute-1.amazonaws.com"] {
        assert_eq!(ask(&view, name, TYPE::A), (RCODE::NoError, vec!["127.128.0.9".into()], false));
        assert_eq!(ask(&view, name, TYPE::AAAA), (RCODE::NoError, vec![], true));
        assert!(!is_foreign(&view, &query(name, TYPE::A)), "public addresses are the cloud's");
    }
    for name in ["ec2-127-128-0.compute-1.amazonaws.com", "ec2-127-128-0-9.example.com", "ec2.eu-west-1.amazonaws.com"]
    {
        assert_eq!(ask(&view, name, TYPE::A).0, RCODE::NameError, "{name}");
    }
}

#[test]
fn names_have_addresses_and_addresses_a_name() {
    let view = view();
    let found = |answers: &[&str]| (RCODE::NoError, answers.iter().map(|a| (*a).to_owned()).collect(), false);
    assert_eq!(ask(&view, ME, TYPE::A), found(&["10.0.0.4"]));
    assert_eq!(ask(&view, &ME.to_uppercase(), TYPE::A), found(&["10.0.0.4"]), "case does not matter");
    assert_eq!(ask(&view, "a-name.example.net", TYPE::A), found(&["10.0.0.4", "10.0.0.5"]));
    assert_eq!(ask(&view, "4.0.0.10.in-addr.arpa", TYPE::PTR), found(&[ME]));
    assert_eq!(ask(&view, "5.0.0.10.in-addr.arpa", TYPE::PTR), found(&["a-name.example.net"]));
    assert_eq!(ask(&view, "checkip.amazonaws.com", TYPE::A), found(&["198.51.100.80"]));
}

#[test]
fn others_are_asked_for_names_that_are_not_the_vpcs_own_affair() {
    let view = view();
    let foreign = ["www.debian.org", "example.com", "amazonaws.com", "com", "34.216.184.93.in-addr.arpa", "notlocal"];
    for name in foreign {
        assert!(is_foreign(&view, &query(name, TYPE::A)), "{name}");
    }
    let own = [
        ME,
        "A-name.example.net",
        "nobody.eu-west-1.compute.internal",
        "checkip.amazonaws.com",
        "elb.localhost",
        "printer.local",
        "9.9.0.10.in-addr.arpa",
        "1.129.127.in-addr.arpa",
        "in-addr.arpa",
    ];
    for name in own {
        assert!(!is_foreign(&view, &query(name, TYPE::A)), "{name}");
    }
    assert!(!is_foreign(&view, b"nonsense"));
    let failure = failure(&query("www.debian.org", TYPE::A)).expect("an answer");
    let failure = Packet::parse(&failure).expect("well formed");
    assert_eq!((failure.id(), failure.rcode(), failure.questions.len()), (7, RCODE::ServerFailure, 1));
}

#[test]
fn what_is_not_there_is_said_so_with_an_authority() {
    let view = view();
    let nothing = (RCODE::NoError, Vec::new(), true);
    let missing = (RCODE::NameError, Vec::new(), true);
    assert_eq!(ask(&view, ME, TYPE::AAAA), nothing, "a name without IPv6 addresses exists");
    assert_eq!(ask(&view, "compute.internal", TYPE::A), nothing, "so does one with names below it");
    assert_eq!(ask(&view, "ec2.eu-west-1.amazonaws.com", TYPE::A), missing);
    assert_eq!(ask(&view, "9.9.9.9.in-addr.arpa", TYPE::PTR), missing);
    assert_eq!(ask(&view, "www.debian.org", TYPE::A), missing, "nothing is asked of the real world");
}

#[test]
fn what_does_not_fit_a_packet_is_asked_again_over_tcp() {
    let many: Vec<[u8; 4]> = (0..90).map(|n| [10, 0, 1, n]).collect();
    let view = with_names(&[("many.internal", &many)]);
    let query = query("many.internal", TYPE::A);
    let udp = answer(&view, &query, Transport::Udp).expect("an answer");
    let packet = Packet::parse(&udp).expect("well formed");
    assert!(udp.len() <= UDP_BYTES && packet.has_flags(PacketFlag::TRUNCATION) && packet.answers.is_empty());
    let tcp = answer(&view, &query, Transport::Tcp).expect("an answer");
    assert_eq!(Packet::parse(&tcp).expect("well formed").answers.len(), 90);
}

#[test]
fn garbage_is_refused_without_work() {
    let view = view();
    assert_eq!(answer(&view, b"", Transport::Udp), None);
    assert_eq!(answer(&view, &[0; 11], Transport::Udp), None);
    let reply = [0, 7, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(answer(&view, &reply, Transport::Udp), None, "answers are not answered");
    for bad in [&[0, 7, 1, 0, 255, 255, 0, 0, 0, 0, 0, 0][..], &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63][..]] {
        let bytes = answer(&view, bad, Transport::Udp).expect("an answer");
        assert_eq!(Packet::parse(&bytes).expect("well formed").rcode(), RCODE::FormatError);
    }
}
