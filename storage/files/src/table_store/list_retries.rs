//! Retries lists whose answer breaks off.
//!
//! `object_store` retries a request until its answer begins, and resumes reading an object after a
//! broken connection. However, a list whose answer breaks off is an error. At startup it would end
//! the process, although the store works.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// Maximum attempts to get a list, without pauses: the requests themselves have backoff.
const TRIES: u32 = 5;

/// A store that retries incomplete lists.
#[derive(Debug, Clone)]
pub(super) struct ListRetries(pub(super) Arc<dyn ObjectStore>);

impl fmt::Display for ListRetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Retries until there is a complete answer or a permanent error.
async fn whole<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match ask().await {
            Err(Error::Generic { .. }) => {}
            answer => return answer,
        }
    }
    ask().await
}

#[async_trait]
impl ObjectStore for ListRetries {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (Arc::clone(&self.0), prefix.cloned());
        let listed = async move { whole(|| store.list(prefix.as_ref()).try_collect()).await };
        flat(listed)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (Arc::clone(&self.0), prefix.cloned(), offset.clone());
        let listed = async move {
            whole(|| store.list_with_offset(prefix.as_ref(), &offset).try_collect()).await
        };
        flat(listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        whole(|| self.0.list_with_delimiter(prefix)).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// Converts a future list to a stream of its elements.
fn flat(
    list: impl Future<Output = Result<Vec<ObjectMeta>>> + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>> {
    stream::once(list).map_ok(|list| stream::iter(list).map(Ok)).try_flatten().boxed()
}
