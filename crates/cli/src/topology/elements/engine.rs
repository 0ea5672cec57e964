//! Where a service keeps its accounts.

pub(crate) use engine::EngineUrl;

/// Reads `sqlite:FOLDER` or `postgres://…`.
pub(crate) fn parse(text: &str) -> Result<EngineUrl, String> {
    EngineUrl::parse(text)
}
