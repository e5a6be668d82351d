//! What patterns match, by table.

use serde_json::{Value, json};

use super::{Dialect, parse};

fn fits(pattern: &Value, value: &Value, dialect: Dialect) -> bool {
    parse(&pattern.to_string(), dialect).unwrap_or_else(|why| panic!("{pattern}: {why}")).matches_value(value)
}

#[test]
fn conditions_hold_as_documented() {
    let cases: &[(Value, &[Value], &[Value])] = &[
        (json!(["a", "b"]), &[json!("a"), json!(["x", "b"])], &[json!("c"), json!("A"), json!(null), json!([])]),
        (json!([1.5, null, true]), &[json!(1.5), json!(null), json!(true)], &[json!("1.5"), json!(false), json!(2)]),
        (json!([300]), &[json!(300.0), json!(3e2)], &[json!("300")]),
        (json!([{"prefix": "au"}]), &[json!("auto"), json!(["x", "au"])], &[json!("bau"), json!("AU"), json!(1)]),
        (json!([{"prefix": {"equals-ignore-case": "AU"}}]), &[json!("auto"), json!("Auto")], &[json!("bau")]),
        (json!([{"suffix": ".png"}]), &[json!("a.png")], &[json!("a.png ")]),
        (json!([{"suffix": {"equals-ignore-case": ".PNG"}}]), &[json!("a.png")], &[json!("a.jpg")]),
        (json!([{"equals-ignore-case": "Tennis"}]), &[json!("TENNIS"), json!("tennis")], &[json!("tennis2")]),
        (json!([{"anything-but": "x"}]), &[json!("y"), json!(1), json!(["x", "y"])], &[json!("x"), json!(["x"])]),
        (json!([{"anything-but": ["x", 100]}]), &[json!("y"), json!(101)], &[json!("x"), json!(100.0)]),
        (json!([{"anything-but": {"prefix": "a"}}]), &[json!("b")], &[json!("ab")]),
        (json!([{"anything-but": {"suffix": [".a", ".b"]}}]), &[json!("x.c")], &[json!("x.b")]),
        (json!([{"anything-but": {"equals-ignore-case": ["a", "b"]}}]), &[json!("c")], &[json!("B")]),
        (json!([{"numeric": ["=", 5]}]), &[json!(5), json!(5.0)], &[json!(6), json!("5")]),
        (json!([{"numeric": [">", 0, "<=", 150]}]), &[json!(150), json!(0.1)], &[json!(0), json!(151)]),
        (json!([{"numeric": ["<", -1]}]), &[json!(-2)], &[json!(-1)]),
        (json!([{"exists": true}]), &[json!("x"), json!(null), json!(0), json!([])], &[json!({"deeper": 1})]),
        (json!([{"cidr": "10.0.0.0/24"}]), &[json!("10.0.0.255")], &[json!("10.0.1.0"), json!("x"), json!("::1")]),
        (json!([{"cidr": "0.0.0.0/0"}]), &[json!("10.0.1.0")], &[json!("::1")]),
        (json!([{"cidr": "2001:db8::/32"}]), &[json!("2001:db8::1")], &[json!("2001:db9::1")]),
        (json!(["a", {"prefix": "b"}]), &[json!("a"), json!("bb")], &[json!("aa")]),
        (json!([{"wildcard": "*.txt"}]), &[json!("a.txt"), json!(".txt")], &[json!("a.txt2")]),
        (json!([{"wildcard": "a*b*c"}]), &[json!("abc"), json!("axbbyc")], &[json!("ac"), json!("abcd")]),
        (json!([{"wildcard": "ab*ba"}]), &[json!("abba")], &[json!("aba")]),
        (json!([{"wildcard": "plain"}]), &[json!("plain")], &[json!("plainer")]),
    ];
    for (conditions, yes, no) in cases {
        let pattern = json!({ "k": conditions });
        for value in *yes {
            assert!(fits(&pattern, &json!({ "k": value, "other": 1 }), Dialect::Events), "{pattern} is for {value}");
        }
        for value in *no {
            assert!(!fits(&pattern, &json!({ "k": value }), Dialect::Events), "{pattern} is not for {value}");
        }
        let absent = fits(&pattern, &json!({}), Dialect::Events);
        assert!(!absent, "{pattern} is not for what is not there");
    }
}

#[test]
fn fields_are_all_needed_and_alternatives_are_not() {
    let or = json!({"source": ["aws.ec2"], "$or": [{"a": [1]}, {"b": [{"numeric": [">", 5]}], "c": ["x"]}]});
    for (value, expected) in [
        (json!({"source": "aws.ec2", "a": 1}), true),
        (json!({"source": "aws.ec2", "b": 6, "c": "x"}), true),
        (json!({"source": "aws.ec2", "b": 6}), false),
        (json!({"source": "aws.s3", "a": 1}), false),
        (json!({"source": "aws.ec2"}), false),
    ] {
        assert_eq!(fits(&or, &value, Dialect::Events), expected, "{value}");
    }
    let nested = json!({"detail": {"state": ["stopped"], "gone": [{"exists": false}]}});
    for (value, expected) in [
        (json!({"detail": {"state": "stopped"}}), true),
        (json!({"detail": {"state": "stopped", "gone": 1}}), false),
        (json!({"detail": [{"state": "x"}, {"state": "stopped"}]}), true),
        (json!({"detail": "stopped"}), false),
        (json!({"state": "stopped"}), false),
    ] {
        assert_eq!(fits(&nested, &value, Dialect::Body), expected, "{value}");
    }
    assert!(fits(&json!({"a": {"b": [{"exists": false}]}}), &json!({}), Dialect::Body));
    assert!(fits(&json!({}), &json!({}), Dialect::Attributes), "a policy without keys takes everything");
}

#[test]
fn what_is_no_pattern_is_refused() {
    for bad in [
        json!("x"),
        json!([]),
        json!({"a": "x"}),
        json!({"a": 1}),
        json!({"a": []}),
        json!({"a": [["x"]]}),
        json!({"a": [{}]}),
        json!({"a": [{"prefix": "x", "suffix": "y"}]}),
        json!({"a": [{"prefix": 1}]}),
        json!({"a": [{"starts": "x"}]}),
        json!({"a": [{"exists": "true"}]}),
        json!({"a": [{"numeric": []}]}),
        json!({"a": [{"numeric": ["<"]}]}),
        json!({"a": [{"numeric": ["!", 1]}]}),
        json!({"a": [{"numeric": ["=", "1"]}]}),
        json!({"a": [{"numeric": [">", 5, "<", 1]}]}),
        json!({"a": [{"numeric": ["<", 5, ">", 1]}]}),
        json!({"a": [{"anything-but": []}]}),
        json!({"a": [{"anything-but": [{"prefix": "x"}]}]}),
        json!({"a": [{"anything-but": {"numeric": ["=", 1]}}]}),
        json!({"a": [{"cidr": "10.0.0.0/33"}]}),
        json!({"a": [{"cidr": "10.0.0.0"}]}),
        json!({"a": [{"wildcard": "a**b"}]}),
    ] {
        for dialect in [Dialect::Attributes, Dialect::Body, Dialect::Events] {
            assert!(parse(&bad.to_string(), dialect).is_err(), "{bad} {dialect:?}");
        }
    }
    let only = |pattern: Value, dialects: &[Dialect]| {
        for dialect in [Dialect::Attributes, Dialect::Body, Dialect::Events] {
            let parsed = parse(&pattern.to_string(), dialect);
            assert_eq!(parsed.is_ok(), dialects.contains(&dialect), "{pattern} {dialect:?} {parsed:?}");
        }
    };
    only(json!({"a": {"b": ["x"]}}), &[Dialect::Body, Dialect::Events]);
    only(json!({"a": [{"wildcard": "a*"}]}), &[Dialect::Events]);
    only(json!({"a": [1], "b": [1], "c": [1], "d": [1], "e": [1], "f": [1]}), &[Dialect::Events]);
    let values = |count: usize| (0..count).collect::<Vec<_>>();
    let sns = [Dialect::Attributes, Dialect::Body];
    only(json!({"a": values(150)}), &[sns[0], sns[1], Dialect::Events]);
    only(json!({"a": values(151)}), &[Dialect::Events]);
    only(json!({"a": values(10), "b": values(16)}), &[Dialect::Events]);
    // A value counts as often as it is deep: 5 x 2 times 4 x 4 is over 150.
    only(json!({"a": {"b": values(5)}, "c": values(15)}), &[Dialect::Body, Dialect::Events]);
    only(json!({"a": {"b": values(5)}, "c": values(16)}), &[Dialect::Events]);
}
