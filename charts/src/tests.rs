//! Whatever rows there are, the picture is well-formed, says what it shows, and runs nothing.

use crate::{BARS_MAX, Chart, Kind, STYLE, Series, Unit, Width, fixed, pictures};

fn chart(kind: Kind, labels: &[&str], series: &[(&str, &[f64])]) -> Chart {
    Chart {
        kind,
        title: "A title".into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        series: series.iter().map(|(name, values)| Series { name: (*name).into(), values: values.to_vec() }).collect(),
        ..Chart::default()
    }
}

fn svg(chart: &Chart) -> String {
    crate::svg(chart, Width::Wide)
}

/// Elements open and close in order, attributes are quoted, and numbers are numbers.
fn check(picture: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = picture;
    while let Some((text, tail)) = rest.split_once('<') {
        assert!(!text.contains('>'), "a bare > in {text:?}");
        let (tag, tail) = tail.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        for number in tag.split(['"', ' ', ',']).filter_map(|word| word.parse::<f64>().ok()) {
            assert!(number.abs() < 10_000.0, "{number} lies outside of any picture: {tag}");
        }
        let known = ["svg", "title", "desc", "rect", "line", "polyline", "polygon", "circle", "text"];
        assert!(known.contains(&name), "<{name}> in a picture");
        assert!(!tag.contains(" on") && !tag.contains("href") && !tag.contains("style="), "{tag}");
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = tail;
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn elements<'a>(picture: &'a str, name: &str) -> Vec<&'a str> {
    picture.lines().filter(|line| line.starts_with(&format!("<{name} "))).collect()
}

fn bars(picture: &str) -> Vec<i32> {
    let wide = |line: &&str| line.split_once(" width=\"")?.1.split('"').next()?.parse().ok();
    elements(picture, "rect").iter().filter_map(wide).collect()
}

#[test]
fn a_bar_is_as_long_as_its_figure() {
    let picture = svg(&chart(Kind::Bar, &["a", "b", "c"], &[("n", &[4.0, 2.0, 0.0])]));
    check(&picture);
    let long = bars(&picture);
    assert!((long[0] - 2 * long[1]).abs() <= 2 && long[2] <= 1, "{long:?}");
    for text in [
        ">\na\n<",
        ">\n4\n<",
        "<title>A title</title>",
        "<desc>Bar chart of 3 rows. n: highest 4 (a), lowest 0 (c).</desc>",
    ] {
        assert!(picture.contains(text), "{text} is missing in {picture}");
    }
}

#[test]
fn shares_fill_their_row_and_stacks_add_up() {
    let series: &[(&str, &[f64])] = &[("x", &[1.0, 1.0]), ("y", &[3.0, 0.0])];
    let share = svg(&chart(Kind::Share, &["a", "b"], series));
    check(&share);
    // Two of the legend, then the parts row by row.
    let long = &bars(&share)[2..];
    assert!((long[0] + long[1] - long[2]).abs() <= 2 && (long[1] - 3 * long[0]).abs() <= 4, "{long:?}");
    assert!(share.contains("100 %"));
    let stacked = svg(&chart(Kind::Stacked, &["a", "b"], series));
    check(&stacked);
    let long = &bars(&stacked)[2..];
    assert!((long[0] - long[2]).abs() <= 1 && (long[1] - 3 * long[0]).abs() <= 4, "{long:?}");
}

#[test]
fn a_line_over_time_keeps_distances_and_gaps() {
    let days = ["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-06", "2026-01-07"];
    let picture = svg(&chart(Kind::Line, &days, &[("n", &[1.0, 2.0, 3.0, f64::NAN, 4.0])]));
    check(&picture);
    let lines = elements(&picture, "polyline");
    let points = lines.iter().find(|line| line.contains("stroke-width=\"2\"")).unwrap();
    let points = points.split_once("points=\"").unwrap().1;
    let x: Vec<i32> = points.split(' ').filter_map(|point| point.split_once(',')?.0.parse().ok()).collect();
    assert_eq!(x.len(), 3);
    assert!((x[2] - x[1] - 3 * (x[1] - x[0])).abs() <= 4, "{x:?}");
    assert_eq!(elements(&picture, "circle").len(), 1, "the point alone");
    assert!(picture.contains("2026-01-03"), "{picture}");
}

/// The texts of a picture: where each stands, its anchor, and what it says.
fn texts(picture: &str) -> Vec<(f64, f64, String, String)> {
    let attribute = |line: &str, name: &str| {
        line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("").to_owned()
    };
    let mut lines = picture.lines();
    let mut texts = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("<text ") {
            let at = |name| attribute(line, name).parse::<f64>().unwrap();
            texts.push((at("x"), at("y"), attribute(line, "text-anchor"), lines.next().unwrap().to_owned()));
        }
    }
    texts
}

#[test]
fn a_phone_s_picture_fits_a_phone() {
    let name = "player-320dd7-00075 · MissFortune";
    let picture = crate::svg(&chart(Kind::Bar, &[name, "b"], &[("n", &[12_345.0, 6.0])]), Width::Narrow);
    check(&picture);
    assert!(picture.contains("width=\"340\""));
    let texts = texts(&picture);
    let (x, y, _, _) = texts.iter().find(|(.., text)| text == name).unwrap();
    let (_, figure, ..) = texts.iter().find(|(.., text)| text == "12.35k").unwrap();
    assert!(*x < 20.0 && figure - y > 10.0, "the name stands above its bar, at the left: {texts:?}");
    let percent =
        crate::svg(&Chart { unit: Unit::Percent, ..chart(Kind::Bar, &[name], &[("n", &[0.5])]) }, Width::Narrow);
    let (x, ..) = self::texts(&percent).into_iter().find(|(.., text)| text == "0 %").unwrap();
    assert!(x > 13.0, "half of the first tick's text has room to the left of {x}");
    let longest = bars(&picture).into_iter().max().unwrap();
    assert!((150..300).contains(&longest), "the bar has the width that names don't take: {longest}");
}

#[test]
fn ticks_of_time_leave_room_for_each_other() {
    let day = |day: i64| (chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(day)).format("%Y-%m-%d").to_string();
    for days in [1, 2, 3, 5, 8, 14, 31, 90, 366, 5_000] {
        let labels: Vec<String> = (20_000..20_000 + days).map(day).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let values = vec![1.0; labels.len()];
        for width in [Width::Wide, Width::Narrow] {
            let picture = crate::svg(&chart(Kind::Line, &labels, &[("n", &values)]), width);
            let texts = texts(&picture);
            assert!(texts.iter().all(|(.., text)| !text.contains(':')), "days have no time of day: {texts:?}");
            let mut at: Vec<f64> = texts.iter().filter(|(.., text)| text.contains('-')).map(|(x, ..)| *x).collect();
            at.sort_by(f64::total_cmp);
            assert!(
                !at.is_empty() && at.windows(2).all(|two| two[1] - two[0] > 80.0),
                "{days} days, {width:?}: {at:?}"
            );
        }
    }
}

#[test]
fn small_counts_have_no_ticks_between_them() {
    for (most, ticks) in [(1.0, vec!["0", "1"]), (2.0, vec!["0", "1", "2"]), (4.0, vec!["0", "1", "2", "3", "4"])] {
        let picture = svg(&chart(Kind::Bar, &["a"], &[("n", &[most])]));
        let mut texts: Vec<String> = texts(&picture).into_iter().map(|(.., text)| text).collect();
        texts.retain(|text| text != "a");
        texts.sort();
        texts.dedup();
        assert_eq!(texts, ticks);
    }
    assert!(svg(&chart(Kind::Bar, &["a"], &[("n", &[0.5])])).contains(">\n0.2\n"), "but shares have");
}

#[test]
fn lines_that_lie_on_each_other_can_be_told_apart() {
    let values: &[f64] = &[0.5, 0.25, f64::NAN, 0.5];
    let picture = svg(&chart(Kind::Line, &["a", "b", "c", "d"], &[("x", values), ("y", values), ("z", values)]));
    check(&picture);
    // Each in the legend, and as a line that parts at the gap, from a to b; the first of them whole.
    let dashes: Vec<&str> = elements(&picture, "polyline")
        .iter()
        .filter(|line| line.contains("stroke-width=\"2\""))
        .map(|line| line.split_once("stroke-dasharray=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap()))
        .collect();
    let of = |dash: &str| dashes.iter().filter(|found| **found == dash).count();
    assert!(of("") >= 2 && of("9 5") >= 2 && of("3 4") >= 2, "{dashes:?}");
    // A mark of its own for each of its three figures, and in the legend.
    assert_eq!(elements(&picture, "circle").len(), 4, "{picture}");
    assert_eq!(elements(&picture, "polygon").len(), 4, "{picture}");
    let many: Vec<String> = (0..200).map(|row| row.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let picture = svg(&chart(Kind::Line, &many, &[("x", &[1.0; 200]), ("y", &[1.0; 200])]));
    assert_eq!(elements(&picture, "circle").len(), 1, "only in the legend: marks of many points are a band");
}

#[test]
fn halves_are_rounded_away_from_zero() {
    for (value, decimals, said) in [
        (0.125, 2, "0.13"),
        (-0.125, 2, "-0.13"),
        (31.25, 1, "31.3"),
        (100.0 * 0.0725, 1, "7.3"),
        (2.5, 0, "3"),
        (0.124_9, 2, "0.12"),
        (0.0, 1, "0.0"),
        (1e300, 2, &format!("{:.2}", 1e300)),
        (f64::NAN, 1, "NaN"),
    ] {
        assert_eq!(fixed(value, decimals), said, "{value}");
    }
    let picture = svg(&Chart { unit: Unit::Percent, ..chart(Kind::Bar, &["a", "b"], &[("n", &[0.3125, 0.5])]) });
    assert!(picture.contains(">\n31.25 %\n<") && picture.contains(">\n50 %\n<"), "{picture}");
}

#[test]
fn every_odd_input_gives_a_picture() {
    let numbers: &[&[f64]] = &[
        &[],
        &[0.0],
        &[f64::NAN, f64::INFINITY],
        &[f64::MAX, f64::MIN],
        &[f64::MAX, f64::MAX],
        &[f64::MIN_POSITIVE, 5e-324],
        &[-1.0, -2.0],
        &[-1.0, 3.0],
        &[1e-9, 1e9],
        &[f64::NEG_INFINITY, 1.0],
    ];
    let names: &[&[&str]] =
        &[&[], &["only"], &["a", "b"], &["2026-01-01T00:00:00Z", "2026-01-01"], &["+262142-01-01", "0000-01-01"]];
    for kind in Kind::ALL {
        for unit in [Unit::Number, Unit::Percent] {
            for values in numbers {
                for labels in names {
                    for series in [&[("n", *values)][..], &[("n", *values), ("m", &[1.0, 2.0, 3.0])]] {
                        check(&pictures(&Chart { unit, ..chart(kind, labels, series) }));
                    }
                }
            }
        }
        let empty = pictures(&Chart { kind, ..Chart::default() });
        check(&empty);
        assert!(empty.contains("No figures to draw"));
    }
}

#[test]
fn hostile_names_stay_text() {
    let evil = "</text><script>alert(1)</script>\" onload=\"x\u{0}\u{202e}&";
    for kind in Kind::ALL {
        let mut hostile = chart(kind, &[evil, evil], &[(evil, &[1.0, 2.0]), (evil, &[1.0, 2.0])]);
        hostile.title = evil.into();
        for description in ["", evil] {
            hostile.description = description.into();
            let picture = pictures(&hostile);
            check(&picture);
            assert!(!picture.contains("<script") && !picture.contains(['\u{0}', '\u{202e}']));
        }
    }
}

#[test]
fn long_and_many_are_cut_and_said() {
    let long = "ß".repeat(10_000);
    let picture = svg(&chart(Kind::Bar, &[&long], &[(&long, &[1.0])]));
    check(&picture);
    assert!(picture.len() < 30_000 && picture.contains("ßß…"));
    let labels: Vec<String> = (0..5_000).map(|row| format!("row {row}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let values: Vec<f64> = (0..5_000).map(f64::from).collect();
    let picture = svg(&chart(Kind::Bar, &labels, &[("n", &values)]));
    check(&picture);
    assert_eq!(bars(&picture).len(), BARS_MAX);
    assert!(picture.contains("of 5000 rows, the first 40 drawn"));
    let picture = svg(&chart(Kind::Line, &labels, &[("n", &values)]));
    assert!(picture.contains("of 5000 points, one in 5 drawn") && picture.len() < 100_000);
    let nine: Vec<(&str, &[f64])> = labels[..9].iter().map(|name| (*name, &values[..])).collect();
    assert!(svg(&chart(Kind::Line, &labels, &nine)).contains("6 of 9 series drawn"));
}

#[test]
fn each_color_of_a_picture_is_exchanged_by_the_style_sheet() {
    for kind in Kind::ALL {
        let names = ["a", "b", "c", "d", "e", "f"];
        let series: Vec<(&str, &[f64])> = names.iter().map(|name| (*name, &[1.0, 2.0][..])).collect();
        let picture = svg(&chart(kind, &["x", "y"], &series));
        for attribute in ["fill", "stroke"] {
            for part in picture.split(&format!(" {attribute}=\"#")).skip(1) {
                let rule = format!("[{attribute}=\"#{}\"]", &part[..6]);
                assert!(STYLE.contains(&rule), "no rule for {rule}");
            }
        }
    }
    let both = pictures(&chart(Kind::Bar, &["a"], &[("n", &[1.0])]));
    assert!(both.contains("class=\"chart wide\"") && both.contains("class=\"chart narrow\""));
    assert!(STYLE.contains(".chart.narrow{display:none}") && STYLE.contains(".chart.wide{display:none}"));
    assert!(STYLE.contains("prefers-color-scheme:dark") && !STYLE.contains("url(") && !STYLE.contains('<'));
}
