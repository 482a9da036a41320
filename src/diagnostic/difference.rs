//! What has changed between two texts, line by line, for a person. Knows nothing of findings.

/// Lines around a change.
const AROUND: usize = 2;
/// Lines that are compared one by one; more are shown as gone and come.
const LINES_MAX: usize = 2_000;

/// The changed lines, `-` before those that went and `+` before those that came, with a few around them; each piece
/// under `@@ line` of the old text. Empty where nothing has changed.
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = lines(&old, &new);
    let mut text = String::new();
    let mut shown = 0;
    for (index, (sign, _, _)) in lines.iter().enumerate() {
        if *sign == ' ' {
            continue;
        }
        let from = index.saturating_sub(AROUND).max(shown);
        if from > shown || shown == 0 {
            text.push_str(&format!("@@ line {}\n", lines[from].1));
        }
        let to = (index + AROUND + 1).min(lines.len());
        // Up to the next change, which shows what is around itself.
        let next = lines[index + 1..to].iter().position(|(sign, ..)| *sign != ' ');
        let to = next.map_or(to, |next| index + 1 + next);
        for (sign, _, line) in &lines[from..to] {
            text.push_str(&format!("{sign} {line}\n"));
        }
        shown = to;
    }
    text
}

/// Every line of both texts once: what became of it, its number in the old text, and itself.
fn lines<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(char, usize, &'t str)> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old[same..].iter().rev().zip(new[same..].iter().rev());
    let same_end = rest.take_while(|(a, b)| a == b).count();
    let (from, to) = (&old[same..old.len() - same_end], &new[same..new.len() - same_end]);
    let mut all: Vec<(char, usize, &str)> =
        old[..same].iter().enumerate().map(|(index, line)| (' ', index + 1, *line)).collect();
    middle(from, to, same, &mut all);
    let end = old.len() - same_end;
    all.extend(old[end..].iter().enumerate().map(|(index, line)| (' ', end + index + 1, *line)));
    all
}

/// The longest common lines stay, the others go or come.
fn middle<'t>(old: &[&'t str], new: &[&'t str], before: usize, all: &mut Vec<(char, usize, &'t str)>) {
    let is_long = old.len().max(new.len()) > LINES_MAX;
    let (rows, width) = if is_long { (0, 1) } else { (old.len(), new.len() + 1) };
    // How many lines the rests from (i, j) on have in common.
    let mut common = vec![0_u32; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..width - 1).rev() {
            common[i * width + j] = match old[i] == new[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let both = i < old.len() && j < new.len();
        if both && !is_long && old[i] == new[j] {
            all.push((' ', before + i + 1, old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (both && (is_long || common[(i + 1) * width + j] >= common[i * width + j + 1]))
        {
            all.push(('-', before + i + 1, old[i]));
            i += 1;
        } else {
            all.push(('+', before + i + 1, new[j]));
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_came_is_shown_with_the_lines_around_it() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), "");
        assert_eq!(
            difference("a\nb\nc\nd\ne\n", "a\nb\nX\nd\ne\n"),
            "@@ line 1\n  a\n  b\n- c\n+ X\n  d\n  e\n"
        );
        let numbered: String = (1..=20).map(|number| format!("{number}\n")).collect();
        let changed = numbered.replace("3\n4\n", "3\nnew\n4\n").replace("18\n", "");
        let shown = "@@ line 2\n  2\n  3\n+ new\n  4\n  5\n@@ line 16\n  16\n  17\n- 18\n  19\n  20\n";
        assert_eq!(difference(&numbered, &changed), shown);
        assert_eq!(difference("", "a\n"), "@@ line 1\n+ a\n");
        assert_eq!(difference("a\n", ""), "@@ line 1\n- a\n");
    }

    #[test]
    fn very_long_changes_are_shown_as_gone_and_come() {
        let text = |word: &str| (0..LINES_MAX + 1).map(|n| format!("{word}{n}\n")).collect::<String>();
        let shown = difference(&text("a"), &text("b"));
        assert_eq!(shown.lines().filter(|line| line.starts_with('-')).count(), LINES_MAX + 1);
        assert_eq!(shown.lines().filter(|line| line.starts_with('+')).count(), LINES_MAX + 1);
    }
}
