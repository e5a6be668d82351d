//! Pages of GetMetricData: at most so many datapoints, then a token that says where the next page begins.

use standfast_api::cloudwatch::MetricDataResult;
use standfast_core::{Error, Result};

pub struct Page {
    pub results: Vec<MetricDataResult>,
    pub next: Option<String>,
}

/// Cuts the page at a token out of all results. The token names a result by its place, and how much of it was given.
pub fn cut(results: Vec<MetricDataResult>, token: Option<&str>, limit: usize) -> Result<Page> {
    let (first, skip) = match token {
        None => (0, 0),
        Some(token) => read(token)
            .filter(|(first, _)| *first < results.len())
            .ok_or_else(|| Error::client("InvalidNextToken", format!("The token '{token}' is not valid.")))?,
    };
    let (mut left, mut page) = (limit, Vec::new());
    for (place, mut result) in results.into_iter().enumerate().skip(first) {
        let skip = if place == first { skip } else { 0 };
        let size = result.values.as_ref().map_or(0, Vec::len).saturating_sub(skip);
        if left == 0 && size > 0 {
            return Ok(Page { results: page, next: Some(write(place, skip)) });
        }
        let taken = size.min(left);
        result.values = result.values.map(|values| part(values, skip, taken));
        result.timestamps = result.timestamps.map(|times| part(times, skip, taken));
        left -= taken;
        if taken < size {
            result.status_code = Some("PartialData".to_owned());
            page.push(result);
            return Ok(Page { results: page, next: Some(write(place, skip + taken)) });
        }
        page.push(result);
    }
    Ok(Page { results: page, next: None })
}

fn part<T>(all: Vec<T>, skip: usize, take: usize) -> Vec<T> {
    all.into_iter().skip(skip).take(take).collect()
}

fn write(place: usize, skip: usize) -> String {
    format!("{place:x}-{skip:x}")
}

fn read(token: &str) -> Option<(usize, usize)> {
    let (place, skip) = token.split_once('-')?;
    Some((usize::from_str_radix(place, 16).ok()?, usize::from_str_radix(skip, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(sizes: &[usize]) -> Vec<MetricDataResult> {
        let of = |(i, size): (usize, &usize)| MetricDataResult {
            id: Some(format!("m{i}")),
            values: Some((0..*size).map(|v| v as f64).collect()),
            timestamps: Some(vec![Default::default(); *size]),
            status_code: Some("Complete".to_owned()),
            ..Default::default()
        };
        sizes.iter().enumerate().map(of).collect()
    }

    #[test]
    fn pages_give_everything_once() {
        for sizes in [&[3, 0, 5, 1][..], &[4, 4], &[0], &[0, 0, 9, 0]] {
            for limit in 1..12 {
                let (mut seen, mut token, mut pages) = (vec![Vec::new(); sizes.len()], None::<String>, 0);
                loop {
                    let page = cut(results(sizes), token.as_deref(), limit).expect("a good token");
                    let given: usize = page.results.iter().map(|r| r.values.as_ref().map_or(0, Vec::len)).sum();
                    assert!(given <= limit && page.results.iter().all(|r| r.id.is_some()));
                    for result in page.results {
                        let place: usize = result.id.unwrap_or_default()[1..].parse().expect("a number");
                        seen[place].extend(result.values.unwrap_or_default());
                    }
                    (token, pages) = (page.next, pages + 1);
                    assert!(pages < 20);
                    if token.is_none() {
                        break;
                    }
                }
                let all: Vec<Vec<f64>> = sizes.iter().map(|size| (0..*size).map(|v| v as f64).collect()).collect();
                assert_eq!(seen, all, "{sizes:?} by {limit}");
            }
        }
    }

    #[test]
    fn other_tokens_are_refused() {
        for bad in ["", "x", "1", "9-0", "-", "0-x"] {
            assert!(cut(results(&[1]), Some(bad), 1).is_err_and(|e| e.is("InvalidNextToken")), "{bad}");
        }
    }
}
