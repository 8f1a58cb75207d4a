//! A report as a picture.

use std::fmt::Write as _;

use crate::report::{Measure, Report, number};

/// Of the picture, in pixels, as all numbers here.
const WIDTH: f64 = 860.0;
/// Where bars begin; what was measured stands before it.
const LEFT: f64 = 380.0;
/// How long the longest bar is; its number stands behind it.
const LONGEST: f64 = 300.0;
const BAR: f64 = 14.0;
const GAP: f64 = 16.0;
const TOP: f64 = 44.0;

/// One pair of bars, ours above the peer's, for each measure that has a peer; the longer bar of each is as long as that of any other.
pub fn draw(report: &Report) -> String {
    let compared: Vec<&Measure> = report.measures.iter().filter(|m| m.peer.is_some()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let height = (compared.len() as f64).mul_add(2.0 * BAR + GAP, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(
        &mut svg,
        10.0,
        18.0,
        "#24292f",
        &format!("Commit {}, {}; shorter is better", report.commit, report.machine),
    );
    let mut y = TOP;
    for measure in compared {
        let Some(peer) = &measure.peer else { continue };
        let longest = measure.ours.max(peer.value);
        text(&mut svg, 10.0, y + BAR - 3.0, "#24292f", &measure.what);
        text(&mut svg, 10.0, y + 2.0 * BAR - 3.0, "#6e7781", &peer.what);
        for (value, row, colour) in [(measure.ours, 0.0, "#0969da"), (peer.value, BAR, "#afb8c1")] {
            let length = (value / longest * LONGEST).max(1.0);
            // a line of an attribute each cannot be broken by what was measured: numbers alone are placed
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
                y + row,
                BAR - 2.0
            );
            let says = format!("{} {}", number(value), measure.unit);
            text(&mut svg, LEFT + length + 6.0, y + row + BAR - 4.0, "#24292f", &says);
        }
        y += 2.0f64.mul_add(BAR, GAP);
    }
    svg + "</svg>\n"
}

fn text(svg: &mut String, x: f64, y: f64, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // writing to a string does not fail
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::chart::draw;
    use crate::report::{Measure, Report};

    #[test]
    fn the_longer_bar_is_the_longest() {
        let measures =
            vec![Measure::new("a <push>", 1.0, "ms").beside("git", 2.0), Measure::new("alone", 1.0, "ms")];
        let svg = draw(&Report { measures, ..Report::default() });
        assert!(svg.contains("width=\"150.0\"") && svg.contains("width=\"300.0\""), "{svg}");
        assert!(svg.contains("a &lt;push&gt;") && !svg.contains("alone"), "{svg}");
    }

    #[test]
    fn the_chart_in_docs_is_drawn_from_the_numbers_beside_it() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let numbers = std::fs::read(docs.join("benchmark.json")).unwrap();
        let report: Report = serde_json::from_slice(&numbers).unwrap();
        assert_eq!(draw(&report), std::fs::read_to_string(docs.join("benchmark.svg")).unwrap());
    }
}
