//! A store that is slower than the saves: the queue is bounded, training does not wait, and at the end the
//! best and the newest are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn_trainer::config::FailedMirror;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use system_tests::models::small::{Script, train_by};
use system_tests::object_stores::{HookedStore, give_store};
use system_tests::train;

use super::{in_mirror, lose_disk, mirrored};

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// A store whose writes of content wait until it is opened.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<AtomicBool>,
    waiting: Arc<AtomicU64>,
}

impl Gate {
    fn at(address: &str) -> Self {
        let gate = Self::default();
        let Self { is_open, waiting } = gate.clone();
        let store = HookedStore::new(Arc::new(InMemory::new()), move |operation| {
            if operation.path.ends_with(".ckpt") && operation.name == "put" {
                waiting.fetch_add(1, Ordering::SeqCst);
                let begun = Instant::now();
                while !is_open.load(Ordering::SeqCst) {
                    assert!(begun.elapsed() < PATIENCE, "the gate was not opened");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(())
        });
        give_store(address, Arc::new(store) as Arc<dyn ObjectStore>);
        gate
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_is_replaced_before_its_turn_is_not_sent_and_the_end_waits_for_the_best_and_the_newest() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:slow";
    let gate = Gate::at(address);
    let opener = gate.clone();
    // The gate opens in the last epoch: everything before was saved and replaced meanwhile.
    let script = Script::default();
    let opens = OpenAtEnd(opener);
    let config = mirrored(root.path(), 4, address);
    let result = train_by(config, script, |trainer| trainer.callback(opens)).unwrap();
    let mirror = result.mirror.unwrap();
    assert!(gate.waiting.load(Ordering::SeqCst) > 0 && mirror.skipped > 0, "{mirror:?}");
    assert!(mirror.unsent.is_empty() && mirror.failed == 0, "{mirror:?}");
    let there = in_mirror(address);
    assert!(there.contains(&"last/epoch=3-step=40.ckpt".to_owned()), "{there:?}");
    assert!(there.iter().any(|name| name.starts_with("best/")), "{there:?}");
}

/// Lets the store work when training has ended.
struct OpenAtEnd(Gate);

impl<M: burn::train::LearnerModel> burn_trainer::callbacks::Callback<M> for OpenAtEnd {
    fn name(&self) -> String {
        "open".to_owned()
    }

    fn on_fit_end(
        &mut self,
        _: &mut burn_trainer::callbacks::CallbackContext<'_, M>,
    ) -> burn_trainer::callbacks::CallbackResult {
        self.0.open();
        Ok(())
    }
}

#[test]
fn the_wait_at_the_end_is_bounded_and_the_program_can_fail_for_what_is_not_sent() {
    let root = tempfile::tempdir().unwrap();
    let address = "memory:bounded";
    let gate = Gate::at(address);
    let mut config = mirrored(root.path(), 1, address);
    config.mirror = config
        .mirror
        .map(|mirror| mirror.with_wait_at_end_seconds(0.01).with_failed_mirror(FailedMirror::FailIfLast));
    let result = train(config.clone()).unwrap();
    let mirror = result.mirror.as_ref().unwrap();
    assert!(mirror.sent == 0 && mirror.unsent.len() == 2, "{mirror:?}");
    let program = burn_trainer::cli::print_result(Ok(result), &config, "program").unwrap();
    assert_eq!(format!("{program:?}"), format!("{:?}", std::process::ExitCode::FAILURE));
    gate.open();
    lose_disk(root.path());
}
