//! What a name means. A peer knows the catalogue a moment after it is decided: before it says that there is no such thing,
//! it asks the catalogue's leader, once, how far it should know.

use super::{Asked, Failure};
use model::Catalogue;
use std::sync::Arc;

/// The catalogue as it is known here if it has what is asked for, else as it is now.
pub async fn catalogue(
    asked: &Asked,
    has: impl Fn(&Catalogue) -> bool,
) -> Result<Arc<Catalogue>, Failure> {
    let known = asked.router.board.catalogue();
    if has(&known) {
        return Ok(known);
    }
    Ok(asked.router.catalogue_now().await?)
}

/// The catalogue in which a stream of this name is looked for.
pub async fn with_stream(asked: &Asked, name: &str) -> Result<Arc<Catalogue>, Failure> {
    catalogue(asked, |known| known.stream(name).is_some()).await
}
