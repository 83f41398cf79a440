//! A client's wish to end what runs on its connection. The protocol's library heeds it until a statement has its
//! answer; here it is heeded while the answer's rows are computed, which is where the time goes.

use datafusion_postgres::pgwire::api::ConnectionHandle;
use futures::channel::oneshot::Receiver;
use std::sync::Arc;

/// Waits for such wishes on one connection.
pub(crate) struct Interrupt {
    handle: Option<Arc<ConnectionHandle>>,
    wish: Option<Receiver<()>>,
}

impl Interrupt {
    /// Of the connection with this handle; without one there are none.
    pub(crate) const fn new(handle: Option<Arc<ConnectionHandle>>) -> Self {
        Self { handle, wish: None }
    }

    /// Ends when the client wants an end. May be dropped and called again: no wish is lost.
    pub(crate) async fn came(&mut self) {
        let Some(handle) = &self.handle else { return std::future::pending().await };
        loop {
            if let Some(wish) = &mut self.wish {
                let told = wish.await;
                self.wish = None;
                if told.is_ok() {
                    return;
                }
                // Another statement of the connection took its place for a while.
            }
            self.wish = Some(handle.start_query().await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, poll};
    use std::pin::pin;

    #[tokio::test]
    async fn a_wish_is_heard_once_also_behind_another_statement() {
        let handle = Arc::new(ConnectionHandle::new());
        let mut interrupt = Interrupt::new(Some(handle.clone()));
        assert!(interrupt.came().now_or_never().is_none());
        assert!(handle.cancel().await, "somebody waits");
        assert!(interrupt.came().now_or_never().is_some());
        assert!(interrupt.came().now_or_never().is_none());
        drop(handle.start_query().await);
        assert!(interrupt.came().now_or_never().is_none());
        assert!(handle.cancel().await, "somebody waits again");
        assert!(interrupt.came().now_or_never().is_some());
    }

    #[tokio::test]
    async fn without_a_connection_there_are_none() {
        let mut interrupt = Interrupt::new(None);
        assert!(poll!(pin!(interrupt.came())).is_pending());
    }
}
