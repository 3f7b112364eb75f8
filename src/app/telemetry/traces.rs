//! Traces of this process: who takes spans, and what sends them, from its start to its end.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[cfg(feature = "otlp")]
use crate::base::task::boxed_local;
use crate::base::time::Clock;
use crate::base::trace::SpanSink;
use crate::net::egress::Egress;

/// See the module. Without the feature `otlp` there are none.
#[derive(Debug, Default)]
pub struct Traces {
    #[cfg(feature = "otlp")]
    on: Option<(Arc<dyn SpanSink>, super::otlp::SpanExporter)>,
}

impl Traces {
    /// As the variables of this process say.
    pub fn of_environment() -> Traces {
        Traces {
            #[cfg(feature = "otlp")]
            on: super::otlp::of_environment(),
        }
    }

    /// Who takes spans; `None` where there are no traces.
    pub fn sink(&self) -> Option<Arc<dyn SpanSink>> {
        #[cfg(feature = "otlp")]
        return self.on.as_ref().map(|(sink, _)| sink.clone());
        #[cfg(not(feature = "otlp"))]
        None
    }

    /// Sends what the sink takes by `egress`. Needs a `LocalSet`.
    pub fn send(self, egress: Egress, clock: Clock) -> SendingTraces {
        let (end, ended) = oneshot::channel::<()>();
        #[cfg(feature = "otlp")]
        let task = self.on.map(|(_, exporter)| {
            let ended = async { drop(ended.await) };
            tokio::task::spawn_local(boxed_local(exporter.run(egress, clock, ended)))
        });
        #[cfg(not(feature = "otlp"))]
        let task = {
            drop((egress, clock, ended));
            None
        };
        SendingTraces { end, task }
    }
}

/// Traces that are being sent.
#[derive(Debug)]
pub struct SendingTraces {
    end: oneshot::Sender<()>,
    task: Option<JoinHandle<()>>,
}

impl SendingTraces {
    /// Sends what still waits, within 2 s.
    pub async fn finish(self) {
        drop(self.end);
        if let Some(task) = self.task {
            let _ = task.await;
        }
    }
}
