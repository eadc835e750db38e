//! Files that a request names by URL, fetched for providers that don't.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::try_join_all;

use super::{ErrorKind, ProxyError};
use crate::upstream::{Allowance, Fetched, Fetcher};

/// Most files that are fetched for one request: the most images that a provider takes.
const MAX_FETCHES: usize = 20;
/// Largest request with all its files in it, in bytes. Providers accept less.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A file to be fetched.
pub struct Wanted {
    /// Its name in errors for the client: a field, or its number among the request's URLs.
    pub place: String,
    /// Its URL.
    pub url: String,
}

/// The files that were fetched for one request, for all its targets.
#[derive(Default)]
pub struct Files {
    found: HashMap<String, Fetched>,
    held: Option<Held>,
}

/// A share of the budget for the fetched files of all requests.
pub type Held = Arc<Allowance>;

impl Files {
    /// The file from `url`.
    pub fn get(&self, url: &str) -> Option<&Fetched> {
        self.found.get(url)
    }

    /// A handle that keeps the bytes counted for as long as it exists.
    pub fn held(&self) -> Option<Held> {
        self.held.clone()
    }

    /// Fetches each URL of `wanted` that was not fetched before, once, however often it is named. `size` is that of the
    /// request without the files on entry, and with them on return.
    ///
    /// # Errors
    /// When one can't be fetched, or they are too many or too large.
    pub async fn fetch(&mut self, wanted: &[Wanted], size: &mut usize, fetcher: &Fetcher) -> Result<(), ProxyError> {
        if let Some(one) = wanted.get(MAX_FETCHES) {
            return Err(bad(&one.place, "it is one too many to fetch"));
        }
        let mut missing: Vec<&Wanted> = Vec::new();
        for one in wanted {
            if self.get(&one.url).is_none() && !missing.iter().any(|other| other.url == one.url) {
                missing.push(one);
            }
        }
        if !missing.is_empty() {
            let allowance: &Allowance = self.held.get_or_insert_with(|| Arc::new(fetcher.allowance()));
            let running = missing
                .iter()
                .map(async |one| fetcher.get(&one.url, allowance).await.map_err(|why| bad(&one.place, &why)));
            let files = try_join_all(running).await?;
            self.found.extend(missing.iter().map(|one| one.url.clone()).zip(files));
        }
        for one in wanted {
            *size += self.get(&one.url).map_or(0, |file| file.base64.len());
            if *size > MAX_BODY {
                return Err(bad(&one.place, "with it the request becomes too large"));
            }
        }
        Ok(())
    }
}

/// The error for a file that can't be fetched or used.
pub fn bad(place: &str, why: &str) -> ProxyError {
    let message = format!("{place}: the file at this URL can't be had: {why}");
    ProxyError::new(ErrorKind::BadBody, message)
}
