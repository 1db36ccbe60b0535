//! Tables in Markdown, as the benchmarks print them.

/// The cells of the row that begins with `name`, in the table whose header begins with `table`.
///
/// # Panics
///
/// When there is no such row.
#[must_use]
pub fn row<'a>(page: &'a str, table: &str, name: &str) -> Vec<&'a str> {
    let cells = |line: &'a str| line.split('|').map(str::trim).skip(1).collect::<Vec<_>>();
    let mut lines = page.lines().map(cells).skip_while(|cells| cells.first() != Some(&table));
    lines.find(|cells| cells.first() == Some(&name)).unwrap_or_else(|| panic!("no {name} in {page}"))
}
