//! The sizes of OpenAI's images, which other vendors have as ratios.

use crate::conversation::Text;

/// Sizes, and the ratios of their width to their height.
const SIZES: [(&str, &str); 3] = [("1024x1024", "1:1"), ("1536x1024", "3:2"), ("1024x1536", "2:3")];

/// The ratio of a size; `None` for `auto`, and for sizes that only OpenAI's models have.
pub(super) fn ratio(size: &Text<'_>) -> Option<Text<'static>> {
    SIZES.iter().find(|(known, _)| size.is(known)).map(|(_, ratio)| Text::from(*ratio))
}

/// The size for a ratio, and whether it has exactly that: else it is only as wide or as high.
pub(super) fn size(ratio: &Text<'_>) -> (&'static str, bool) {
    if let Some((size, _)) = SIZES.iter().find(|(_, known)| ratio.is(known)) {
        return (size, true);
    }
    let ratio = ratio.decode();
    let sides = ratio.split_once(':').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match sides {
        Some((width, height)) if u32::gt(&width, &height) => ("1536x1024", false),
        Some((width, height)) if u32::lt(&width, &height) => ("1024x1536", false),
        _ => ("1024x1024", false),
    }
}
