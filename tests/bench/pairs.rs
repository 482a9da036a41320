//! Two sides measured in turn, A B B A: what else the machine does then falls on both.

/// What came of it.
#[allow(dead_code, reason = "each benchmark uses what it reports")]
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Medians of both sides.
    pub ours: f64,
    pub theirs: f64,
    /// Ours by theirs in each pair: the median, the least and the greatest.
    pub ratio: f64,
    pub least: f64,
    pub greatest: f64,
}

/// Measures both sides in so many pairs, after once that does not count. Each side answers what it took.
#[allow(dead_code, reason = "each benchmark uses what it reports")]
pub fn compared(pairs: usize, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) -> Compared {
    ours();
    theirs();
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let (first, second) = if pair % 2 == 0 {
            let ours = ours();
            (ours, theirs())
        } else {
            let theirs = theirs();
            (ours(), theirs)
        };
        a.push(first);
        b.push(second);
        ratios.push(first / second);
    }
    let ratio = median(&mut ratios);
    Compared {
        ours: median(&mut a),
        theirs: median(&mut b),
        ratio,
        least: ratios[0],
        greatest: ratios[ratios.len() - 1],
    }
}

/// Sorts, and gives the middle.
pub fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
