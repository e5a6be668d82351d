//! Which target gets a request.
//!
//! Pure: targets are looked at through a closure by index. Cross-zone is on: zones do not matter here. Draining targets
//! get nothing. When no target is healthy, all of them count as usable (fail open). A target that was already tried for
//! this request is not chosen again.

use standfast_core::lb::Algorithm;

use crate::fingerprint;

/// The cookie that binds a client to a target.
pub const COOKIE: &str = "AWSALB";
/// Its twin for cross-origin requests.
pub const COOKIE_CORS: &str = "AWSALBCORS";
/// The cookie that binds a client to a target group of a forward action, and its twin.
pub const GROUP_COOKIE: &str = "AWSALBTG";
pub const GROUP_COOKIE_CORS: &str = "AWSALBTGCORS";

const COOKIE_DIGITS: usize = 48;
/// Makes the cookie opaque, not secret: a client that forges one reaches a target it could reach anyway.
const COOKIE_SALT: u64 = 0x5374_616e_6466_6173;
/// 2^64 divided by the golden ratio: multiples of it spread evenly over the whole range.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a choice needs to know of a target.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub standing: Standing,
    pub tried: bool,
    /// Requests under way.
    pub outstanding: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Healthy,
    /// Initial or unhealthy.
    Unproven,
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Target(usize),
    /// There are usable targets, and all were tried.
    AllTried,
    /// No target is registered, or all of them are draining.
    NoTargets,
}

/// Chooses among `count` targets; `turn` grows by one with each choice of the group.
pub fn target(algorithm: Algorithm, turn: usize, count: usize, look: impl Fn(usize) -> Look) -> Choice {
    let healthy = (0..count).any(|index| look(index).standing == Standing::Healthy);
    let is_usable = |look: &Look| match look.standing {
        Standing::Healthy => true,
        Standing::Unproven => !healthy,
        Standing::Draining => false,
    };
    let usable = || (0..count).map(|index| (index, look(index))).filter(|(_, look)| is_usable(look));
    let open = || usable().filter(|(_, look)| !look.tried);
    let open_count = open().count();
    if open_count == 0 {
        return if usable().next().is_some() { Choice::AllTried } else { Choice::NoTargets };
    }
    let rotated = || open().cycle().skip(turn % open_count).take(open_count);
    let chosen = match algorithm {
        Algorithm::RoundRobin => rotated().next(),
        // The first of equals, counted from this turn's place.
        Algorithm::LeastOutstandingRequests => rotated().min_by_key(|(_, look)| look.outstanding),
    };
    // The closure reads live counters, so the second look may differ from the first.
    chosen.map_or(Choice::AllTried, |(index, _)| Choice::Target(index))
}

/// Chooses among weights; the choices of successive turns are spread evenly. `None` when all weigh nothing.
pub fn weighted(weights: impl Iterator<Item = u32> + Clone, turn: usize) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let spread = (turn as u64).wrapping_mul(GOLDEN);
    let mut point = ((u128::from(spread) * u128::from(total)) >> 64) as u64;
    for (index, weight) in weights.enumerate() {
        let weight = u64::from(weight);
        if point < weight {
            return Some(index);
        }
        point -= weight;
    }
    None
}

/// The value of a stickiness cookie: an own, opaque encoding of the target's fingerprint and the expiry.
pub fn cookie_value(target: u64, expires_s: u64) -> String {
    let check = fingerprint::mix(target ^ expires_s.rotate_left(32) ^ COOKIE_SALT);
    format!("{:016X}{:016X}{check:016X}", target ^ fingerprint::mix(check), expires_s ^ fingerprint::mix(!check))
}

/// The target of a stickiness cookie that is ours and has not expired at `now_s`.
pub fn cookie_target(value: &str, now_s: u64) -> Option<u64> {
    if value.len() != COOKIE_DIGITS || !value.is_ascii() {
        return None;
    }
    let word = |at: usize| u64::from_str_radix(&value[at..at + 16], 16).ok();
    let check = word(32)?;
    let target = word(0)? ^ fingerprint::mix(check);
    let expires_s = word(16)? ^ fingerprint::mix(!check);
    let genuine = check == fingerprint::mix(target ^ expires_s.rotate_left(32) ^ COOKIE_SALT);
    (genuine && expires_s > now_s).then_some(target)
}

/// The value of the cookie that binds to a target in a Cookie header.
pub fn find_cookie(header: &str) -> Option<&str> {
    find(header, COOKIE)
}

/// The value of the cookie that binds to a target group.
pub fn find_group_cookie(header: &str) -> Option<&str> {
    find(header, GROUP_COOKIE)
}

fn find<'a>(header: &'a str, cookie: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == cookie).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn look(standing: Standing) -> Look {
        Look { standing, tried: false, outstanding: 0 }
    }
    const HEALTHY: Look = look(Standing::Healthy);
    const UNPROVEN: Look = look(Standing::Unproven);
    const DRAINING: Look = look(Standing::Draining);

    fn turns(algorithm: Algorithm, looks: &[Look], count: usize) -> Vec<Choice> {
        (0..count).map(|turn| target(algorithm, turn, looks.len(), |index| looks[index])).collect()
    }

    #[test]
    fn healthy_targets_take_turns() {
        use Choice::Target;
        let looks = [HEALTHY, UNPROVEN, HEALTHY, DRAINING, HEALTHY];
        let chosen = turns(Algorithm::RoundRobin, &looks, 4);
        assert_eq!(chosen, [Target(0), Target(2), Target(4), Target(0)]);
    }

    #[test]
    fn all_unhealthy_fails_open_but_never_to_the_draining() {
        use Choice::Target;
        assert_eq!(turns(Algorithm::RoundRobin, &[UNPROVEN, DRAINING, UNPROVEN], 2), [Target(0), Target(2)]);
        assert_eq!(turns(Algorithm::RoundRobin, &[DRAINING], 1), [Choice::NoTargets]);
        assert_eq!(turns(Algorithm::RoundRobin, &[], 1), [Choice::NoTargets]);
    }

    #[test]
    fn a_tried_target_is_not_tried_again() {
        let tried = Look { tried: true, ..HEALTHY };
        assert_eq!(turns(Algorithm::RoundRobin, &[tried, HEALTHY], 2), [Choice::Target(1); 2]);
        assert_eq!(turns(Algorithm::RoundRobin, &[tried, UNPROVEN], 1), [Choice::AllTried]);
    }

    #[test]
    fn least_outstanding_wins_and_equals_take_turns() {
        let busy = |outstanding| Look { outstanding, ..HEALTHY };
        let chosen = turns(Algorithm::LeastOutstandingRequests, &[busy(3), busy(1), busy(2)], 3);
        assert_eq!(chosen, [Choice::Target(1); 3]);
        let equals = turns(Algorithm::LeastOutstandingRequests, &[busy(1), busy(1)], 2);
        assert_eq!(equals, [Choice::Target(0), Choice::Target(1)]);
    }

    #[test]
    fn weights_are_kept_over_time() {
        let mut seen = [0; 3];
        for turn in 0..1000 {
            seen[weighted([70, 0, 30].into_iter(), turn).expect("some weigh")] += 1;
        }
        assert!((690..=710).contains(&seen[0]) && seen[1] == 0, "{seen:?}");
        assert_eq!(weighted([0, 0].into_iter(), 1), None);
        assert_eq!(weighted([].into_iter(), 1), None);
    }

    #[test]
    fn cookies_come_back_until_they_expire() {
        let value = cookie_value(42, 1000);
        assert_eq!(value.len(), COOKIE_DIGITS);
        assert_eq!(cookie_target(&value, 999), Some(42));
        assert_eq!(cookie_target(&value, 1000), None);
        let mut forged = value.clone().into_bytes();
        forged[3] = if forged[3] == b'0' { b'1' } else { b'0' };
        assert_eq!(cookie_target(&String::from_utf8(forged).expect("ascii"), 1), None);
        assert_eq!(cookie_target("", 0), None);
        assert_eq!(cookie_target(&"é".repeat(24), 0), None);
        assert_eq!(find_cookie("a=b; AWSALB=xyz; c=d"), Some("xyz"));
        assert_eq!(find_cookie("AWSALBCORS=1"), None);
        assert_eq!(find_group_cookie("AWSALB=1; AWSALBTG=2"), Some("2"));
    }
}
